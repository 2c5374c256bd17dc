"""Sessions and the hub: what each request does, in order, and what happens when it cannot."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.chat.intake import MAX_WAITING, MAX_WAITING_BYTES
from encchat.core.chat.session import (
    GONE_AFTER,
    HELLO_DEADLINE,
    PING_AFTER,
)
from encchat.core.chat.states import LEGAL, State
from encchat.core.interfaces import Unavailable
from encchat.logs.memory import MemoryLog
from encchat.wire import advance, decode_entry, encode
from tests.core.world import LOG_ID, GatedLog, World, identity, msgid, text


class Greeting(SynchronousTestCase):
    """From the handshake to Welcome."""

    def test_welcome(self) -> None:
        world = World(motd="Be kind.", software="encchat test")
        peer = world.peer()
        self.assertFalse(peer.welcomed)
        (welcome,) = peer.ask(m.Hello((1, 2), "Alice", "laptop"))
        self.assertEqual(
            (welcome.name, welcome.motd, welcome.log, welcome.software),
            ("Alice", "Be kind.", LOG_ID, "encchat test"),
        )
        self.assertTrue(peer.welcomed)

    def test_no_common_version(self) -> None:
        peer = World().peer()
        (refused,) = peer.ask(m.Hello((7, 8), "alice"))
        self.assertEqual(refused.code, "no-version")
        self.assertIn("7, 8", refused.text)
        self.assertTrue(peer.closed)

    def test_bad_name(self) -> None:
        peer = World().peer()
        (refused,) = peer.ask(m.Hello((1,), "a\nb\x1b[31m"))
        self.assertEqual(refused.code, "bad-name")
        self.assertNotIn("\x1b", refused.text)
        self.assertEqual(len(peer.notes), 1)

    def test_name_taken_and_same_key_again(self) -> None:
        world = World()
        first = world.named("Alice")
        self.assertEqual(first.session.name.shown, "Alice")
        other = world.peer("another key")
        (refused,) = other.ask(m.Hello((1,), "aLiCe"))
        self.assertEqual(refused.code, "name-taken")
        self.assertIn(identity("Alice's key").fingerprint, refused.text)
        again = world.peer("Alice's key")
        (welcome,) = again.ask(m.Hello((1,), "alice"))
        self.assertEqual(welcome.name, "Alice")

    def test_two_keys_race_for_a_name(self) -> None:
        log = GatedLog(LOG_ID)
        world = World(log)
        one, two = world.peer("one"), world.peer("two")
        log.gates = []
        one.send(m.Hello((1,), "alice"))
        two.send(m.Hello((1,), "alice"))
        while log.gates:  # each step of the one, then the same step of the other
            world.turn.open(log.gates.pop(0))
        world.turn.end()
        kinds = [type(peer.news()[0]) for peer in (one, two)]
        self.assertEqual(kinds, [m.Welcome, m.Refused])

    def test_hello_late(self) -> None:
        world = World()
        peer = world.peer()
        world.turn.time += HELLO_DEADLINE - 1
        world.hub.tick()
        self.assertFalse(peer.closed)
        world.turn.time += 1
        world.hub.tick()
        self.assertTrue(peer.closed)
        self.assertEqual(peer.news()[0].code, "hello-timeout")

    def test_anything_before_hello_is_an_error(self) -> None:
        for message in (m.Ping(1), m.Join(1, "+lobby"), text(1, "hi")):
            peer = World().peer()
            (error,) = peer.ask(message)
            self.assertEqual((error.id, error.code), (0, "malformed"))
            self.assertTrue(peer.closed)

    def test_hello_twice(self) -> None:
        peer = World().named("alice")
        self.assertEqual(peer.ask(m.Hello((1,), "alice"))[0].code, "malformed")
        self.assertTrue(peer.closed)

    def test_unknown_message_before_hello_closes(self) -> None:
        peer = World().peer()
        peer.session.receive_frames([b"\x00\x00\x00\x05\x92\xa2zz\x01"])
        self.assertEqual(peer.news()[0].code, "unknown-message")
        self.assertTrue(peer.closed)

    def test_server_full(self) -> None:
        world = World(max_sessions=1)
        world.named("alice")
        peer = world.peer("bob")
        self.assertEqual(peer.ask(m.Hello((1,), "bob"))[0].code, "server-full")
        world.settings.max_sessions = 2
        self.assertEqual(world.named("bob", "another key").session.name.shown, "bob")

    def test_directory_unavailable(self) -> None:
        log = GatedLog(LOG_ID)
        world = World(log)
        peer = world.peer()
        log.gates = []
        peer.send(m.Hello((1,), "alice"))
        gate = log.gates.pop()
        gate.error = Unavailable(reason="the disk is away")
        world.turn.open(gate)
        self.assertEqual(peer.news()[0].code, "storage-unavailable")

    def test_lost_while_the_directory_is_asked(self) -> None:
        log = GatedLog(LOG_ID)
        world = World(log)
        peer = world.peer()
        log.gates = []
        peer.send(m.Hello((1,), "alice"))
        peer.session.lost()
        while log.gates:
            world.turn.open(log.gates.pop(0))
        world.turn.end()
        self.assertEqual((peer.writes, world.hub.sessions), ([], set()))
        log.gates = None
        self.assertEqual(world.named("bob").session.name.shown, "bob")

    def test_bye_before_hello(self) -> None:
        peer = World().peer()
        self.assertEqual(peer.ask(m.Bye()), [])
        self.assertTrue(peer.closed)


class Rooms(SynchronousTestCase):
    """Joining, speaking, leaving."""

    def test_a_conversation(self) -> None:
        world = World()
        alice, bob = world.member("alice"), world.member("bob")
        self.assertEqual([n.name for n in alice.news()], ["bob"])
        sent, *_ = alice.ask(text(7, "hello"))
        self.assertEqual((sent.id, sent.seq), (7, 1))
        entries = [n for n in bob.news() if type(n) is m.Entry]
        self.assertEqual(
            [(e.sender, e.seq, e.room, e.kind, e.body, e.msgid) for e in entries],
            [("alice", 1, "+lobby", "text", b"hello", msgid(7))],
        )

    def test_everyone_gets_the_stored_bytes_once_a_turn(self) -> None:
        world = World()
        members = [world.member(name) for name in ("alice", "bob", "carol")]
        world.turn.end()
        for member in members:
            member.frames()
            member.writes.clear()
            member._seen = 0
        for number, member in enumerate(members):
            member.send(text(number, "one"), text(number + 10, "two"))
        world.turn.end()
        stored = world.log_frames("+lobby")
        self.assertEqual(len(stored), 6)
        for member in members:
            self.assertEqual(len(member.writes), 1)
            self.assertEqual(member.frames()[-6:], stored)

    def test_names_of_rooms_are_one_form(self) -> None:
        world = World()
        alice = world.member("alice", "+Tea")
        self.assertEqual(alice.ask(m.Who(2, "+TEA"))[0].room, "+tea")

    def test_joined_tells_head_members_and_topic(self) -> None:
        world = World()
        alice = world.member("alice")
        alice.ask(text(1, "one"), m.Topic(2, "+lobby", msgid(2), "Tea\x1b[31m & cake\n"))
        bob = world.named("bob")
        joined, *entries = bob.ask(m.Join(5, "+lobby", None, 10))
        self.assertEqual((joined.id, joined.topic, joined.head.seq), (5, "Tea & cake ", 2))
        self.assertEqual(joined.start, m.Position())
        self.assertEqual([member.name for member in joined.members], ["alice", "bob"])
        frames = [encode(entry) for entry in entries if type(entry) is m.Entry]
        self.assertEqual(advance(joined.start, frames), joined.head)

    def test_history_is_bounded_by_what_there_is(self) -> None:
        world = World()
        alice = world.member("alice")
        alice.ask(*[text(i, f"{i}") for i in range(5)])
        for history, expected in ((0, []), (2, [4, 5]), (99, [1, 2, 3, 4, 5])):
            bob = world.named("bob")
            found = bob.ask(m.Join(1, "+lobby", None, history))
            self.assertEqual([e.seq for e in found if type(e) is m.Entry], expected)
            bob.session.lost()

    def test_resume_after_a_position(self) -> None:
        world = World()
        alice = world.member("alice")
        alice.ask(*[text(i, f"{i}") for i in range(5)])
        here = advance(m.Position(), world.log_frames("+lobby")[:3])
        bob = world.named("bob")
        joined, *rest = bob.ask(m.Join(1, "+lobby", here))
        self.assertEqual(joined.start, here)
        self.assertEqual([e.seq for e in rest if type(e) is m.Entry], [4, 5])

    def test_a_position_of_another_log(self) -> None:
        world = World()
        alice = world.member("alice")
        alice.ask(text(1, "one"))
        bob = world.named("bob")
        for position, code in (
            (m.Position(1, b"x" * 32), "wrong-chain"),
            (m.Position(99, b"x" * 32), "unknown-position"),
            (m.Position(0, b"x" * 32), "wrong-chain"),
        ):
            (error,) = bob.ask(m.Join(3, "+lobby", position))
            self.assertEqual((error.id, error.code), (3, code))
        self.assertFalse(bob.closed)
        self.assertEqual(bob.ask(text(9, "hi"))[0].code, "not-in-room")

    def test_join_again_starts_again_from_there(self) -> None:
        world = World()
        alice = world.member("alice")
        alice.ask(text(1, "one"), text(2, "two"))
        again = alice.ask(m.Join(9, "+lobby", None, 2))
        self.assertEqual([e.seq for e in again if type(e) is m.Entry], [1, 2])
        self.assertEqual([mem.name for mem in again[0].members], ["alice"])

    def test_part_and_presence(self) -> None:
        world = World()
        alice, bob = world.member("alice"), world.member("bob")
        alice.news()
        self.assertEqual(bob.ask(m.Part(3, "+lobby"))[0], m.Done(3))
        self.assertEqual(alice.news(), [m.Presence("+lobby", "bob", False)])
        self.assertEqual(bob.ask(text(1, "hi"))[0].code, "not-in-room")
        self.assertEqual(bob.ask(m.Part(4, "+lobby"))[0].code, "not-in-room")

    def test_two_devices_are_one_member(self) -> None:
        world = World()
        alice = world.member("alice")
        one = world.member("bob")
        two = world.member("bob")
        arrived = [n for n in alice.news() if type(n) is m.Presence]
        self.assertEqual(len(arrived), 1)
        self.assertEqual([x.name for x in two.ask(m.Who(1, "+lobby"))[0].members], ["alice", "bob"])
        one.session.lost()
        world.turn.end()
        self.assertEqual(alice.news(), [])
        two.session.lost()
        world.turn.end()
        self.assertEqual(alice.news(), [m.Presence("+lobby", "bob", False)])

    def test_sealed_rooms_are_for_members(self) -> None:
        alice = World().named("alice")
        for room in ("#secret", "@alice&bob"):
            self.assertEqual(alice.ask(m.Join(1, room))[0].code, "invite-only")

    def test_bad_rooms(self) -> None:
        alice = World().named("alice")
        for room in ("lobby", "", "+", "+a b", "+" + "x" * 40):
            self.assertEqual(alice.ask(m.Join(1, room))[0].code, "bad-room")

    def test_too_many_rooms(self) -> None:
        world = World(max_rooms=2)
        alice = world.named("alice")
        answers = [alice.ask(m.Join(i, f"+r{i}"))[0] for i in range(3)]
        self.assertEqual([type(a) for a in answers], [m.Joined, m.Joined, m.Error])
        self.assertEqual(answers[2].code, "too-many-rooms")
        self.assertIs(type(alice.ask(m.Join(9, "+r1"))[0]), m.Joined)

    def test_ten_thousand_joins_are_slowed_down(self) -> None:
        world = World()
        alice = world.named("alice")
        answers = alice.ask(*[m.Join(i, f"+r{i}") for i in range(10_000)])
        refused = [a for a in answers if type(a) is m.Error]
        self.assertGreater(len(refused), 9_800)
        self.assertEqual({a.code for a in refused}, {"rate-limited"})
        self.assertTrue(all(a.wait > 0 for a in refused))

    def test_rooms_are_made_slowly(self) -> None:
        world = World()
        alice = world.named("alice")
        answers = alice.ask(*[m.Join(i, f"+r{i}") for i in range(50)])
        made = [a for a in answers if type(a) is m.Joined]
        self.assertEqual(len(made), 20)
        self.assertEqual({a.code for a in answers if type(a) is m.Error}, {"rate-limited"})
        bob = world.named("bob")
        self.assertEqual(len([a for a in bob.ask(m.Rooms(1))[0].rooms if a.room != "+lobby"]), 20)

    def test_pages_cost_what_they_weigh(self) -> None:
        world = World(limits=m.Limits(rate=20, burst=60))
        alice = world.member("alice")
        alice.ask(*[m.Send(n, "+lobby", msgid(n), "text", b"x" * 60_000) for n in range(4)])
        answers = alice.ask(*[m.Read(n, "+lobby") for n in range(100)])
        pages = [a for a in answers if type(a) is m.Page]
        self.assertLess(len(pages), 15)
        self.assertGreater(len(pages), 8)

    def test_a_deserted_room_is_forgotten_and_comes_back(self) -> None:
        world = World()
        alice = world.member("alice", "+tea")
        alice.ask(text(1, "one", "+tea"), m.Topic(2, "+tea", msgid(2), "Earl Grey"), m.Part(3, "+tea"))
        self.assertIsNone(world.hub.present_room("+tea"))
        joined, *rest = alice.ask(m.Join(4, "+tea", None, 9))
        self.assertEqual((joined.topic, joined.head.seq), ("Earl Grey", 2))
        self.assertEqual([e.seq for e in rest if type(e) is m.Entry], [1, 2])

    def test_a_room_left_before_its_entry_was_stored(self) -> None:
        world = World()
        alice = world.member("alice", "+tea")
        alice.send(text(1, "bye all", "+tea"), m.Part(2, "+tea"))
        world.turn.end()
        self.assertIsNone(world.hub.present_room("+tea"))
        self.assertEqual(len(world.log_frames("+tea")), 1)
        self.assertEqual([type(n) for n in alice.news() if type(n) is not m.Presence], [m.Done, m.Sent])

    def test_lists(self) -> None:
        world = World()
        alice = world.member("alice")
        self.assertEqual([r.room for r in alice.ask(m.Rooms(1))[0].rooms], ["+lobby"])
        alice.ask(m.Join(2, "+tea"), text(3, "x", "+tea"), m.Part(4, "+tea"))
        rooms = alice.ask(m.Rooms(5))[0].rooms
        self.assertEqual([(r.room, r.members, r.entries) for r in rooms], [("+lobby", 1, 0), ("+tea", 0, 1)])

    def test_whois(self) -> None:
        world = World()
        alice, bob = world.member("alice"), world.member("Bob", "+tea")
        profile = alice.ask(m.Whois(1, "bob"))[0]
        self.assertEqual(
            (profile.name, profile.online, profile.rooms, profile.vouched), ("Bob", True, (), False)
        )
        self.assertEqual(profile.fingerprint, bob.session.identity.fingerprint)
        alice.ask(m.Join(2, "+tea"))
        bob.session.lost()
        self.assertEqual(alice.ask(m.Whois(1, "BOB"))[0].online, False)
        self.assertEqual(alice.ask(m.Whois(1, "carol"))[0].code, "no-such-name")
        self.assertEqual(alice.ask(m.Whois(1, "a b"))[0].code, "bad-name")

    def test_read_both_ways(self) -> None:
        world = World()
        alice = world.member("alice")
        alice.ask(*[text(i, f"{i}") for i in range(1, 8)])
        page = alice.ask(m.Read(1, "+lobby", 2, 0, 3))[0]
        self.assertEqual([decode_entry(f).seq for f in page.entries], [3, 4, 5])
        self.assertEqual((page.start.seq, page.more), (2, True))
        page = alice.ask(m.Read(1, "+lobby", 0, 4, 2))[0]
        self.assertEqual([decode_entry(f).seq for f in page.entries], [2, 3])
        self.assertTrue(page.more)
        self.assertEqual(advance(m.Position(), world.log_frames("+lobby")[:1]), page.start)
        self.assertEqual(alice.ask(m.Read(1, "+tea"))[0].code, "not-in-room")
        self.assertEqual(alice.ask(m.Read(1, "+lobby", 99))[0].code, "unknown-position")

    def test_typing(self) -> None:
        world = World()
        alice, bob = world.member("alice"), world.member("bob")
        alice.news()
        bob.ask(m.Typing("+lobby", "mallory"))
        self.assertEqual(alice.news(), [m.Typing("+lobby", "bob")])

    def test_guest(self) -> None:
        world = World()
        alice = world.member("alice")
        guest = world.guest()
        guest.session.admit()
        guest.session.receive(m.Join(0, "+lobby"))
        guest.session.receive(text(1, "hi"))
        world.turn.end()
        name = guest.session.name.shown
        self.assertRegex(name, r"\Aguest-[0-9a-f]{4}\Z")
        news = alice.news()
        self.assertIn(m.Presence("+lobby", name, True, True), news)
        self.assertEqual([(e.sender, e.device) for e in news if type(e) is m.Entry], [(name, "classic")])
        self.assertTrue(alice.ask(m.Whois(1, name))[0].classic)
        self.assertEqual(alice.ask(m.Who(1, "+lobby"))[0].members[1], m.Member(name, True))
        world.turn.time += 1000
        world.hub.tick()
        self.assertFalse(guest.closed)


class Sending(SynchronousTestCase):
    """Stored before it is answered; once, whatever is sent again; within limits."""

    def test_answered_only_when_stored(self) -> None:
        log = GatedLog(LOG_ID)
        world = World(log)
        alice = world.member("alice")
        log.gates = []
        self.assertEqual(alice.ask(text(1, "one")), [])
        world.turn.open(log.gates.pop())
        self.assertEqual([type(n) for n in alice.news()], [m.Sent, m.Entry])

    def test_resend_is_the_same_entry(self) -> None:
        world = World()
        alice, bob = world.member("alice"), world.member("bob")
        alice.news()
        first = alice.ask(text(1, "one"))[0]
        bob.news()
        second = alice.ask(text(1, "one", request=2))[0]
        self.assertEqual((second.seq, second.time), (first.seq, first.time))
        self.assertEqual(bob.news(), [])
        self.assertEqual(alice.ask(text(1, "another"))[0].code, "msgid-reused")

    def test_storage_unavailable_then_back(self) -> None:
        log = GatedLog(LOG_ID)
        world = World(log)
        alice, bob = world.member("alice"), world.member("bob")
        bob.news()
        log.gates = []
        alice.ask(text(1, "one"))
        gate = log.gates.pop()
        gate.error = Unavailable(reason="the disk is full")
        world.turn.open(gate)
        world.turn.end()
        (error,) = alice.news()[-1:]
        self.assertEqual((error.id, error.code), (1, "storage-unavailable"))
        self.assertGreater(error.wait, 0)
        self.assertEqual(bob.news(), [])
        log.gates = None
        self.assertEqual(alice.ask(text(1, "one"))[0].seq, 1)
        self.assertEqual([type(n) for n in bob.news()], [m.Entry])

    def test_limits(self) -> None:
        world = World()
        alice = world.member("alice")
        too_large = m.Send(1, "+lobby", msgid(1), "text", b"x" * (m.MAX_BODY + 1))
        largest = m.Send(2, "+lobby", msgid(2), "text", b"x" * m.MAX_BODY)
        self.assertEqual(alice.ask(too_large)[0].code, "too-large")
        self.assertEqual(alice.ask(largest)[0].seq, 1)
        self.assertEqual(alice.ask(m.Send(3, "+lobby", msgid(3), "text", b"\xff"))[0].code, "not-text")
        self.assertEqual(alice.ask(m.Send(4, "+lobby", msgid(4), "roster", b"x"))[0].code, "unknown-kind")
        self.assertEqual(alice.ask(m.Send(5, "+lobby", msgid(5), "me", b"waves"))[0].seq, 2)

    def test_rate(self) -> None:
        world = World(limits=m.Limits(rate=10, burst=3))
        alice = world.member("alice")
        answers = alice.ask(*[text(i, "x") for i in range(5)])
        errors = [a for a in answers if type(a) is m.Error]
        self.assertEqual([(e.id, e.code) for e in errors], [(3, "rate-limited"), (4, "rate-limited")])
        world.turn.time += errors[0].wait / 1000
        self.assertIs(type(alice.ask(text(3, "x"))[0]), m.Sent)

    def test_no_rate(self) -> None:
        world = World(limits=m.Limits(rate=0))
        alice = world.member("alice")
        answers = alice.ask(*[text(i, "x") for i in range(500)])
        self.assertEqual(len([a for a in answers if type(a) is m.Sent]), 500)

    def test_a_malformed_frame_closes_that_connection_alone(self) -> None:
        world = World()
        alice, bob = world.member("alice"), world.member("bob")
        alice.session.receive_frames([b"\x00\x00\x00\x02\x92\xa4"])
        self.assertTrue(alice.closed)
        self.assertEqual(alice.news()[-1].code, "malformed")
        self.assertEqual(len(alice.notes), 1)
        world.turn.end()
        self.assertFalse(bob.closed)
        self.assertIs(type(bob.ask(text(1, "still here"))[-1]), m.Entry)

    def test_an_unknown_message_is_answered(self) -> None:
        alice = World().named("alice")
        alice.session.receive_frames([b"\x00\x00\x00\x06\x92\xa3zzz\x05"])
        alice.world.turn.end()
        error = alice.news()[-1]
        self.assertEqual((error.id, error.code), (5, "unknown-message"))
        self.assertFalse(alice.closed)

    def test_nothing_is_handled_after_the_end(self) -> None:
        world = World()
        alice = world.member("alice")
        alice.send(m.Bye())
        alice.send(text(1, "ghost"))
        world.turn.end()
        self.assertEqual(world.log_frames("+lobby"), [])
        self.assertTrue(alice.closed)

    def test_requests_are_handled_in_order(self) -> None:
        log = GatedLog(LOG_ID)
        world = World(log)
        alice = world.named("alice")
        log.gates = []
        alice.send(m.Join(1, "+tea"), text(2, "hi", "+tea"), m.Part(3, "+tea"), m.Ping(4))
        for _ in range(20):
            if log.gates:
                world.turn.open(log.gates.pop(0))
            world.turn.end()
        kinds = [type(n) for n in alice.news() if type(n) not in (m.Presence, m.Entry)]
        self.assertEqual(kinds, [m.Joined, m.Done, m.Pong, m.Sent])

    def test_a_peer_that_does_not_wait_is_no_longer_read(self) -> None:
        log = GatedLog(LOG_ID)
        world = World(log)
        alice = world.named("alice")
        log.gates = []
        alice.send(m.Whois(0, "alice"), *[m.Ping(i) for i in range(MAX_WAITING)])
        self.assertTrue(alice.held)
        world.turn.open(log.gates.pop())
        world.turn.end()
        self.assertFalse(alice.held)
        self.assertEqual(len(alice.news()), MAX_WAITING + 1)

    def test_large_requests_that_wait(self) -> None:
        """Few of them are enough for the peer not to be read any more."""
        log = GatedLog(LOG_ID)
        world = World(log, limits=m.Limits(rate=0))
        alice = world.member("alice")
        log.gates = []
        alice.send(m.Whois(0, "alice"))
        sent = 0
        while not alice.held:
            alice.send(m.Send(sent, "+lobby", msgid(sent), "text", b"x" * m.MAX_BODY))
            sent += 1
            self.assertLessEqual(sent * m.MAX_BODY, MAX_WAITING_BYTES + m.MAX_BODY)
        gates, log.gates = log.gates, None
        world.turn.open(gates.pop())
        world.turn.end()
        self.assertFalse(alice.held)
        self.assertEqual(len([one for one in alice.news() if isinstance(one, m.Sent)]), sent)

    def test_an_unforeseen_error_ends_that_session_alone(self) -> None:
        class Broken(MemoryLog):
            async def get(self, kind: str, key: str) -> None:  # type: ignore[override]  # that is the point
                if key == "boom":
                    raise ZeroDivisionError
                return await super().get(kind, key)  # type: ignore[return-value]

        world = World(Broken(LOG_ID))
        alice, bob = world.member("alice"), world.member("bob")
        alice.ask(m.Whois(1, "boom"))
        self.assertIs(type(world.turn.unforeseen[0]), ZeroDivisionError)
        self.assertTrue(alice.closed)
        self.assertFalse(bob.closed)


class Silence(SynchronousTestCase):
    """Asked after 30 seconds, gone after 90."""

    def test_ping_then_gone(self) -> None:
        world = World()
        alice = world.named("alice")
        world.turn.time += PING_AFTER
        world.hub.tick()
        world.hub.tick()
        world.turn.end()
        self.assertEqual(alice.news(), [m.Ping()])
        world.turn.time += GONE_AFTER - PING_AFTER
        world.hub.tick()
        self.assertEqual(type(alice.news()[0]), m.Closing)
        self.assertTrue(alice.closed)
        self.assertEqual(world.hub.sessions, set())

    def test_an_answer_is_enough(self) -> None:
        world = World()
        alice = world.named("alice")
        for _ in range(5):
            world.turn.time += PING_AFTER
            world.hub.tick()
            self.assertEqual(alice.ask(m.Pong()), [m.Ping()])
        self.assertFalse(alice.closed)

    def test_close_tells_everybody(self) -> None:
        world = World()
        alice, waiting = world.member("alice"), world.peer("late")
        world.hub.close("the server is stopping")
        for peer in (alice, waiting):
            self.assertEqual(peer.news()[-1], m.Closing("the server is stopping"))
            self.assertTrue(peer.closed)
            peer.session.lost()


class Table(SynchronousTestCase):
    """The state table names every message of the protocol, and nothing else."""

    def test_complete(self) -> None:
        for message in m.CLIENT_MESSAGES:
            legal = [state for state in State if message in LEGAL[state]]
            self.assertEqual(
                legal,
                {m.Hello: [State.GREETING], m.Bye: [State.GREETING, State.ADMITTED]}.get(
                    message, [State.ADMITTED]
                ),
            )
