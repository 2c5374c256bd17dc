"""A slow reader holds nothing in memory, loses nothing, and slows nobody else."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.chat.intake import MAX_WAITING
from encchat.core.chat.session import STUCK_AFTER
from encchat.core.interfaces import Damaged, Unavailable
from tests.core.world import LOG_ID, GatedLog, LateLog, Peer, World, text


def seqs(peer: Peer) -> list[int]:
    return [n.seq for n in peer.news() if type(n) is m.Entry]


class SlowReaders(SynchronousTestCase):
    """Congested: pushed to no more. Drained: reads on from the log."""

    def setUp(self) -> None:
        self.log = GatedLog(LOG_ID)
        self.world = World(self.log, limits=m.Limits(rate=0))
        self.alice = self.world.member("alice")
        self.bob = self.world.member("bob")
        self.bob.news()

    def say(self, first: int, last: int, size: int = 1) -> None:
        self.alice.send(*[text(n, "x" * size) for n in range(first, last + 1)])
        self.world.turn.end()

    def test_nothing_is_pushed_to_a_congested_session(self) -> None:
        self.bob.session.congested = True
        self.say(1, 50)
        self.assertEqual(self.bob.frames(), [])
        self.assertEqual(len(seqs(self.alice)), 50)
        self.bob.drain()
        self.assertEqual(seqs(self.bob), list(range(1, 51)))
        self.say(51, 52)
        self.assertEqual(seqs(self.bob), [51, 52])

    def test_a_room_that_cannot_be_read_keeps_nobody_from_the_others(self) -> None:
        for peer in (self.alice, self.bob):
            for room in ("+bad", "+good"):
                peer.ask(m.Join(1, room))
        self.bob.session.congested = True
        self.alice.ask(text(1, "lost", "+bad"), text(2, "found", "+good"))
        real = self.log.read

        async def read(room: str, after: int, limit: int, size: int) -> object:
            if room == "+bad":
                raise Damaged(reason="a page is malformed")
            return await real(room, after, limit, size)

        self.patch(self.log, "read", read)
        self.bob.news()
        self.bob.drain()
        self.assertEqual([n.room for n in self.bob.news() if type(n) is m.Entry], ["+good"])
        self.assertEqual([type(note) for note in self.bob.notes], [Damaged])
        self.patch(self.log, "read", real)
        self.world.hub.tick()
        self.world.turn.end()
        self.assertEqual([n.room for n in self.bob.news() if type(n) is m.Entry], ["+bad"])

    def test_a_congested_session_is_not_answered_and_soon_not_read(self) -> None:
        """Else whoever asks and never reads the answers fills our memory with them."""
        self.bob.session.congested = True
        asked = 0
        while not self.bob.held:
            self.bob.send(m.Who(asked, "+lobby"))
            self.world.turn.end()
            asked += 1
            self.assertLessEqual(asked, MAX_WAITING)
        self.assertEqual(self.bob.frames(), [])
        self.bob.drain()
        self.assertEqual([n.id for n in self.bob.news()], list(range(asked)))
        self.assertFalse(self.bob.held)

    def test_requests_that_waited_are_not_handled_inside_one_another(self) -> None:
        """A log in memory answers at once; hundreds of calls deep would be too deep."""
        self.bob.session.congested = True
        self.bob.send(*[m.Whois(n, "alice") for n in range(MAX_WAITING)])
        self.bob.drain()
        self.assertEqual([n.id for n in self.bob.news()], list(range(MAX_WAITING)))
        self.assertEqual(self.world.turn.unforeseen, [])

    def test_who_never_takes_anything_has_to_go(self) -> None:
        self.bob.session.congested = True
        self.world.hub.tick()
        self.world.turn.time += STUCK_AFTER - 1
        self.bob.session.heard()
        self.world.hub.tick()
        self.assertFalse(self.bob.closed)
        self.bob.drain()
        self.bob.session.congested = True
        self.world.hub.tick()
        self.world.turn.time += STUCK_AFTER
        self.bob.session.heard()
        self.world.hub.tick()
        self.assertTrue(self.bob.closed)

    def test_a_congested_guest_is_still_heard(self) -> None:
        guest = self.world.guest()
        guest.session.admit()
        guest.session.receive(m.Join(0, "+lobby"))
        self.world.turn.end()
        self.alice.news()
        guest.session.congested = True
        guest.ask(text(1, "hello"))
        self.assertEqual(len(seqs(self.alice)), 1)

    def test_catching_up_stops_at_each_congestion(self) -> None:
        self.bob.session.congested = True
        self.say(1, 40, 20_000)
        found: list[int] = []
        rounds = 0
        while len(found) < 40:
            self.bob.congest_at = sum(map(len, self.bob.writes)) + 1
            self.bob.session.drained()
            self.world.turn.end()
            page = seqs(self.bob)
            self.assertLess(len(page), 10)
            found += page
            rounds += 1
        self.assertEqual(found, list(range(1, 41)))
        self.assertGreater(rounds, 4)

    def test_entries_during_the_catch_up_come_once(self) -> None:
        self.bob.session.congested = True
        self.say(1, 3)
        self.log.gates = []
        self.bob.session.drained()
        gate = self.log.gates.pop()
        self.log.gates = None
        self.say(4, 5)
        self.world.turn.open(gate)
        self.world.turn.end()
        self.assertEqual(seqs(self.bob), [1, 2, 3, 4, 5])
        self.say(6, 6)
        self.assertEqual(seqs(self.bob), [6])

    def test_what_is_read_and_pushed_at_once_comes_once(self) -> None:
        """Stored and not yet answered, an entry is counted by a joiner's head: so it can be read from the
        log by one who lags, and pushed to the same one when the answer comes."""
        late = LateLog(LOG_ID)
        world = World(late)
        alice, bob, carol = world.member("alice"), world.member("bob"), world.named("carol")
        bob.news()
        late.gates = []
        alice.ask(text(1, "x"))
        world.turn.open(late.gates.pop())
        (answer,) = late.gates
        late.gates = None
        carol.send(m.Join(1, "+lobby"))
        late.gates = []
        world.turn.end()
        begun, late.gates = late.gates, []
        for gate in begun:  # alice's and bob's reads
            world.turn.open(gate)
        pages = late.gates
        self.assertEqual(len(pages), 2)
        world.turn.open(answer)
        for page in pages:
            world.turn.open(page)
        world.turn.end()
        self.assertEqual((seqs(alice), seqs(bob)), ([1], [1]))

    def test_presence_that_was_missed_comes_as_a_list(self) -> None:
        self.bob.session.congested = True
        carol = self.world.member("carol")
        carol.session.lost()
        self.world.member("dave")
        self.assertEqual(self.bob.frames(), [])
        self.bob.drain()
        self.assertEqual(
            self.bob.news(),
            [m.Members(0, "+lobby", (m.Member("alice"), m.Member("bob"), m.Member("dave")))],
        )

    def test_a_log_that_fails_meanwhile_is_tried_again(self) -> None:
        self.bob.session.congested = True
        self.say(1, 3)
        self.log.gates = []
        self.bob.session.drained()
        gate = self.log.gates.pop()
        self.log.gates = None
        gate.error = Unavailable(reason="the disk is away")
        self.world.turn.open(gate)
        self.assertEqual(seqs(self.bob), [])
        self.assertFalse(self.bob.closed)
        self.world.hub.tick()
        self.world.turn.end()
        self.assertEqual(seqs(self.bob), [1, 2, 3])

    def test_gone_while_catching_up(self) -> None:
        self.bob.session.congested = True
        self.say(1, 3)
        self.log.gates = []
        self.bob.session.drained()
        gate = self.log.gates.pop()
        self.bob.session.lost()
        self.world.turn.open(gate)
        self.world.turn.end()
        self.assertEqual(self.bob.frames(), [])

    def test_what_retention_took_is_told(self) -> None:
        self.bob.session.congested = True
        self.say(1, 9)
        self.world.turn.spawn(self.log.trim("+lobby", 7), None)  # type: ignore[arg-type]
        self.bob.drain()
        news = self.bob.news()
        self.assertEqual([(n.id, n.start.seq, n.entries) for n in news if type(n) is m.Page], [(0, 6, ())])
        self.assertEqual([n.seq for n in news if type(n) is m.Entry], [7, 8, 9])

    def test_a_hint_of_a_foreign_append(self) -> None:
        foreign = World(self.log)  # another server on the same log
        carol = foreign.member("carol")
        carol.news()
        carol.ask(text(1, "from elsewhere"))
        self.world.turn.end()
        self.assertEqual(seqs(self.bob), [1])
        self.say(2, 2)
        foreign.turn.end()
        self.assertEqual(seqs(self.bob), [2])
        self.assertEqual(seqs(carol), [2])

    def test_one_who_never_reads_costs_nothing(self) -> None:
        self.bob.session.congested = True
        self.say(1, 2000, 1000)
        self.assertEqual(self.bob.session._out, [])
        self.assertEqual(self.bob.frames(), [])
