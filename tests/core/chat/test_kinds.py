"""Replies, edits, deletions and reactions in open rooms: who may send which about what."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.contents import CONTENTS, Content, Delete, Edit, File, Reaction, Reply, body_of
from encchat.core.chat import appends
from encchat.core.interfaces import Unavailable
from encchat.logs.memory import MemoryLog
from encchat.wire import decode_entry
from tests.core.world import LOG_ID, GatedLog, LateLog, Peer, World, msgid, text

_KINDS = {content: kind for kind, content in CONTENTS.items()}


def say(number: int, content: Content, room: str = "+lobby") -> m.Send:
    """A Send of it; its request id is the number."""
    return m.Send(number, room, msgid(number), _KINDS[type(content)], body_of(content))


def answers(peer: Peer, *sent: m.ClientMessage) -> list[Any]:
    """What a peer is answered, apart from what everybody is told."""
    return [n for n in peer.ask(*sent) if type(n) in (m.Sent, m.Error)]


class Case(SynchronousTestCase):
    """Alice, who owns +tea, and Bob are in it."""

    def setUp(self) -> None:
        self.world = World()
        self.alice = self.world.member("Alice", "+tea")
        self.bob = self.world.member("Bob", "+tea")

    def accepted(self, peer: Peer, *sent: m.ClientMessage) -> None:
        self.assertEqual([type(a) for a in answers(peer, *sent)], [m.Sent] * len(sent))

    def refused(self, peer: Peer, code: str, *sent: m.ClientMessage) -> None:
        before = len(self.world.log_frames("+tea"))
        self.assertEqual([getattr(a, "code", a) for a in answers(peer, *sent)], [code] * len(sent))
        self.assertEqual(len(self.world.log_frames("+tea")), before)
        self.assertFalse(peer.closed)


class Legitimate(Case):
    """What may be said is stored as it was sent, and told to everybody."""

    def test_every_kind(self) -> None:
        self.accepted(self.alice, text(1, "hello", "+tea"))
        self.bob.news()
        said = (Reply(1, "hi"), Edit(2, "hi!"), Reaction(1, "👍"), Reaction(1, "👍", undo=True), Delete(2))
        sent = [say(number, content, "+tea") for number, content in enumerate(said, 2)]
        for message in sent:
            self.accepted(self.bob, message)
        news = self.alice.news()
        entries = [n for n in news if type(n) is m.Entry]
        self.assertEqual([(e.kind, e.body) for e in entries], [(s.kind, s.body) for s in sent])
        self.assertEqual({e.sender for e in entries}, {"Bob"})

    def test_again_with_the_same_msgid(self) -> None:
        self.accepted(self.alice, text(1, "hello", "+tea"))
        reply = say(2, Reply(1, "hi"), "+tea")
        (first,), (again,) = answers(self.bob, reply), answers(self.bob, reply)
        self.assertEqual((first.seq, first.time), (again.seq, again.time))

    def test_another_device_of_the_name(self) -> None:
        self.accepted(self.alice, text(1, "hello", "+tea"))
        other = self.world.named("Alice")
        other.ask(m.Join(1, "+tea"))
        self.accepted(other, say(2, Edit(1, "hello!"), "+tea"), say(3, Delete(1), "+tea"))

    def test_order_is_kept_among_the_sender_s_requests(self) -> None:
        self.accepted(self.alice, text(1, "hello", "+tea"))
        log = self.world.log
        assert isinstance(log, GatedLog)
        log.gates = []
        self.alice.send(say(2, Edit(1, "one"), "+tea"), text(3, "two", "+tea"), say(4, Delete(1), "+tea"))
        for _ in range(50):
            self.world.turn.end()
            if not log.gates:
                break
            self.world.turn.open(log.gates.pop(0))
        log.gates = None
        kinds = [decode_entry(frame).kind for frame in self.world.log_frames("+tea")]
        self.assertEqual(kinds, ["text", "edit", "text", "delete"])

    def test_a_moderator_takes_back_anybody_s(self) -> None:
        self.accepted(self.bob, text(1, "spam", "+tea"))
        self.accepted(self.alice, say(2, Delete(1), "+tea"))

    def test_about_what_an_act_did(self) -> None:
        self.accepted(self.alice, m.Topic(1, "+tea", msgid(1), "Earl Grey"))
        self.accepted(self.bob, say(2, Reply(1, "finally"), "+tea"), say(3, Reaction(1, "+1"), "+tea"))

    def test_about_an_entry_that_has_left_the_log(self) -> None:
        self.accepted(self.alice, *[text(n, "x", "+tea") for n in range(1, 6)])

        async def trim() -> None:
            await self.world.log.trim("+tea", 4)

        self.world.turn.spawn(trim(), None)
        self.accepted(self.bob, say(10, Reply(2, "what was that?"), "+tea"))
        self.refused(self.alice, "no-such-entry", say(11, Edit(2, "y"), "+tea"), say(12, Delete(3), "+tea"))
        self.accepted(self.alice, say(13, Edit(4, "y"), "+tea"))

    def test_gone_while_it_was_looked_up(self) -> None:
        """A connection that has ended is told nothing any more, nor to wait; what was sent comes again."""
        self.accepted(self.alice, text(1, "hello", "+tea"))
        log = self.world.log
        assert isinstance(log, GatedLog)
        log.gates = []
        self.bob.send(say(2, Edit(1, "hello?"), "+tea"))
        self.bob.session.lost()
        self.patch(appends, "QUEUE", 0)
        gates, log.gates = log.gates, None
        self.world.turn.open(gates.pop())
        self.world.turn.end()
        self.assertFalse(self.bob.held)


class Refused(Case):
    """What may not be said is answered with a stable code, and changes nothing."""

    def setUp(self) -> None:
        super().setUp()
        self.accepted(self.alice, text(1, "hello", "+tea"))

    def test_no_such_entry(self) -> None:
        for n, content in enumerate((Reply(2, "x"), Edit(2, "x"), Delete(9), Reaction(2**63 - 1, "x"))):
            self.refused(self.alice, "no-such-entry", say(10 + n, content, "+tea"))

    def test_an_entry_of_another_room(self) -> None:
        self.bob.ask(m.Join(9, "+lobby"))
        self.refused(self.bob, "no-such-entry", say(10, Reply(1, "x"), "+lobby"))

    def test_somebody_else_s(self) -> None:
        self.refused(self.bob, "not-allowed", say(10, Edit(1, "bye"), "+tea"), say(11, Delete(1), "+tea"))
        self.accepted(self.bob, text(12, "mine", "+tea"))
        self.refused(self.alice, "not-allowed", say(13, Edit(2, "his"), "+tea"))

    def test_what_is_no_message(self) -> None:
        self.accepted(self.alice, m.Topic(2, "+tea", msgid(2), "Earl Grey"))
        self.accepted(self.alice, say(3, Reaction(1, "x"), "+tea"), say(4, Edit(1, "x"), "+tea"))
        for n, target in enumerate((2, 3, 4)):
            self.refused(
                self.alice,
                "not-a-message",
                say(10 + n, Edit(target, "x"), "+tea"),
                say(20 + n, Delete(target), "+tea"),
            )

    def test_bodies(self) -> None:
        for n, (kind, body) in enumerate(
            (
                ("reply", b""),
                ("reply", b"hi"),
                ("reply", b'{"target": 1, "text": ""}'),
                ("reply", b'{"target": 1, "text": "\\ud800"}'),
                ("edit", b'{"target": "1", "text": "x"}'),
                ("delete", b'{"target": 0}'),
                ("delete", b"[" * 60_000),
                ("reaction", b'{"target": 1, "sign": ""}'),
                ("file", b'{"name": "a", "size": 1, "hash": "..", "key": ""}'),
                ("file", body_of(File("a", 1, "0" * 64, "", "a key"))),
            )
        ):
            self.refused(self.alice, "bad-content", m.Send(10 + n, "+tea", msgid(10 + n), kind, body))

    def test_too_large(self) -> None:
        self.refused(self.alice, "too-large", say(10, Reply(1, "é" * 40_000), "+tea"))

    def test_an_unknown_kind_says_which_there_are(self) -> None:
        (error,) = answers(self.alice, m.Send(1, "+tea", msgid(9), "poll\x1b", b"{}"))
        self.assertEqual(error.code, "unknown-kind")
        self.assertIn("reaction", error.text)
        self.assertNotIn("\x1b", error.text)

    def test_acts_cannot_be_forged(self) -> None:
        for kind in ("ban", "topic", "role", "roster", "sealed", ""):
            self.refused(self.bob, "unknown-kind", m.Send(10, "+tea", msgid(10), kind, b"{}"))

    def test_muted(self) -> None:
        self.accepted(self.alice, m.Mute(2, "+tea", msgid(2), "bob"))
        self.refused(self.bob, "muted", say(10, Reply(1, "x"), "+tea"), say(11, Reaction(1, "x"), "+tea"))

    def test_not_in_the_room(self) -> None:
        self.bob.ask(m.Part(9, "+tea"))
        self.refused(self.bob, "not-in-room", say(10, Reply(1, "x"), "+tea"))

    def test_the_rate_holds_for_every_kind(self) -> None:
        world = World(limits=m.Limits(rate=5, burst=10))
        alice = world.member("alice")
        alice.ask(text(1, "x"))
        told = answers(alice, *[say(n, Reaction(1, "x")) for n in range(2, 50)])
        codes = sorted(getattr(a, "code", "") for a in told)
        self.assertEqual(codes, [""] * 9 + ["rate-limited"] * 39)

    def test_the_log_cannot_be_read(self) -> None:
        class Broken(MemoryLog):
            async def read(self, room: str, after: int, limit: int, size: int) -> Any:
                raise Unavailable(reason="tests")

        world = World(Broken(LOG_ID))
        alice = world.member("alice")
        alice.ask(text(1, "x"))
        (error,) = answers(alice, say(2, Edit(1, "y")))
        self.assertEqual((error.code, error.wait), ("storage-unavailable", 2000))


class Meanwhile(SynchronousTestCase):
    """What happens while the log is asked counts."""

    def race(self, then: Any) -> tuple[World, Peer, Peer]:
        """Bob corrects himself, and ``then`` happens before the log has told what he corrects."""
        world = World(LateLog(LOG_ID))
        alice, bob = world.member("alice", "+tea"), world.member("bob", "+tea")
        bob.ask(text(1, "x", "+tea"))
        log = world.log
        assert isinstance(log, GatedLog)
        log.gates = []
        bob.send(say(2, Edit(1, "y"), "+tea"))
        (gate,) = log.gates
        log.gates = None
        then(alice)
        world.turn.open(gate)
        world.turn.end()
        return world, alice, bob

    def test_put_out(self) -> None:
        world, _, bob = self.race(lambda alice: alice.ask(m.Kick(3, "+tea", msgid(3), "bob")))
        self.assertEqual([n.code for n in bob.news() if type(n) is m.Error], ["not-in-room"])
        self.assertEqual([decode_entry(f).kind for f in world.log_frames("+tea")], ["text", "kick"])

    def test_muted(self) -> None:
        world, _, bob = self.race(lambda alice: alice.ask(m.Mute(3, "+tea", msgid(3), "bob")))
        self.assertEqual([n.code for n in bob.news() if type(n) is m.Error], ["muted"])
        self.assertEqual([decode_entry(f).kind for f in world.log_frames("+tea")], ["text", "mute"])

    def test_gone(self) -> None:
        world, _, bob = self.race(lambda alice: None)
        self.assertEqual([type(n) for n in bob.news() if type(n) is m.Sent], [m.Sent])
        bob.send(say(3, Edit(1, "z"), "+tea"))
        bob.session.lost()
        world.turn.end()
        self.assertEqual(world.turn.unforeseen, [])
