"""Sessions to which writing is dear: they get everything, and one turn does little for them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.reading import DEAR_BYTES, DEAR_PAGE_BYTES, DearShare
from tests.core.world import LOG_ID, GatedLog, ManualTurn, Peer, World, text


class DearSessions(SynchronousTestCase):
    """A room with members over RSA, and one who is not."""

    def setUp(self) -> None:
        self.log = GatedLog(LOG_ID)
        self.world = World(self.log, limits=m.Limits(rate=0))
        self.alice = self.world.member("alice")
        self.dear = [self.world.member(f"dear{number}") for number in range(20)]
        for peer in self.dear:
            peer.session.dear = True
        for peer in (self.alice, *self.dear):
            peer.news()

    def seqs(self, peer: Peer) -> list[int]:
        return [entry.seq for entry in peer.news() if type(entry) is m.Entry]

    def test_a_short_message_is_pushed_to_all(self) -> None:
        self.alice.send(text(1, "hello"))
        self.log.gates = None
        self.world.turn.end()
        for peer in (self.alice, *self.dear):
            self.assertEqual((self.seqs(peer), len(peer.writes[-1:])), ([1], 1))

    def test_a_long_one_is_pushed_to_few(self) -> None:
        """The others read it from the log, one at a time; who is not dear waits for none of them."""
        self.alice.send(text(1, "x" * (DEAR_BYTES // 2)))
        self.log.gates = []
        self.world.turn.end()
        self.world.turn.open(self.log.gates.pop())  # the append
        self.assertEqual(self.seqs(self.alice), [1])
        pushed = [peer for peer in self.dear if self.seqs(peer) == [1]]
        self.assertEqual(len(pushed), 2)
        others = [peer for peer in self.dear if peer not in pushed]
        reads = 0
        while self.log.gates:
            self.assertEqual(len(self.log.gates), 1)
            before = sum(len(peer.writes) for peer in others)
            self.world.turn.open(self.log.gates.pop())
            self.assertEqual(sum(len(peer.writes) for peer in others), before + 1)
            reads += 1
            self.world.turn.end()
        self.assertEqual(reads, len(others))
        for peer in others:
            self.assertEqual(self.seqs(peer), [1])

    def test_many_in_order(self) -> None:
        """Whoever is pushed to and who reads: all get all, in order, in pages of a bounded size."""
        for number in range(1, 60):
            self.alice.send(text(number, "x" * 2000))
            if number % 7 == 0:
                self.world.turn.end()
        self.world.turn.end()
        for peer in (self.alice, *self.dear):
            self.assertEqual(self.seqs(peer), list(range(1, 60)))
        late = max(len(write) for write in self.dear[-1].writes)
        self.assertLess(late, DEAR_PAGE_BYTES + 3000)

    def test_presence_is_not_missed(self) -> None:
        """What is no entry and could not be pushed comes as the whole list."""
        bob = self.world.named("bob")
        self.alice.send(text(1, "x" * (DEAR_BYTES + 1)))
        bob.send(m.Join(1, "+lobby"))
        self.world.turn.end()
        for peer in self.dear:
            news = peer.news()
            self.assertIn(1, [entry.seq for entry in news if type(entry) is m.Entry])
            here = [one for one in news if type(one) is m.Presence and one.name == "bob"]
            lists = [one for one in news if type(one) is m.Members and m.Member("bob") in one.members]
            self.assertTrue(here or lists)

    def test_the_share_of_a_turn(self) -> None:
        share = DearShare(ManualTurn())
        self.assertTrue(share.spend(DEAR_BYTES * 10))
        self.assertFalse(share.spend(1))
        share.renew()
        self.assertTrue(share.spend(1))
