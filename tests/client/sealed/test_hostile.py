"""What a server that cheats gets: the console shows each thing as what it is; nothing else is believed."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from encchat import messages as m
from encchat.client import events as e
from encchat.core.interfaces import Draft
from encchat.core.plain import happening_line
from encchat.core.sealed import events as fx
from encchat.wire import decode_entry
from tests.client.sealed.town import TALK, Person, Town, TownCase
from tests.core.sealed.world import identity


class Cheating(TownCase):
    """A server that writes into logs whatever it likes."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.person("alice"), self.person("bob")
        self.alice.say(self.alice.sealed.conversation("bob"), "pay 10")

    def stored(self, room: str = TALK) -> list[m.Entry]:
        """All entries of a room."""
        return list(map(decode_entry, self.town.world.log_frames(room)))

    def write(self, *drafts: Draft) -> None:
        """Put entries into the log while nobody looks, and let Bob read on."""
        self.bob.end()

        async def append() -> None:
            await self.town.log.append(drafts)

        self.town.world.turn.spawn(append(), None)
        self.bob.start()

    def draft(self, entry: m.Entry, **other: Any) -> Draft:
        """An entry once more, with something else."""
        facts = {
            field: getattr(entry, field) for field in ("room", "sender", "device", "kind", "msgid", "body")
        }
        return Draft(time=entry.time, **(facts | other))

    def seals(self) -> list[tuple[str, str]]:
        """What Bob's console was told last."""
        return [(x.seal.state, x.seal.code) for x in self.bob.of(e.NewEntry) if not x.old or x.seal.code]

    def shown_as(self, code: str, *drafts: Draft) -> None:
        self.write(*drafts)
        failed = [x for x in self.bob.of(e.NewEntry) if x.seal.state == "failed"]
        self.assertEqual([x.seal.code for x in failed], [code])
        self.assertTrue(failed[0].seal.reason)
        self.assertEqual(
            (failed[0].entry.kind, failed[0].entry.body.decode()), ("failed", failed[0].seal.reason)
        )
        self.assertIn(failed[0].seal.reason.rstrip("."), happening_line(failed[0].entry))
        self.alice.say(TALK, "and on it goes")
        self.assertEqual(self.bob.texts(TALK)[-1], "and on it goes")

    def test_replayed(self) -> None:
        entry = self.stored()[1]
        self.shown_as("replayed", self.draft(entry, msgid=b"R" * 16))

    def test_replayed_as_somebody_else(self) -> None:
        entry = self.stored()[1]
        self.shown_as("wrong-sender", self.draft(entry, msgid=b"R" * 16, sender="bob"))

    def test_changed(self) -> None:
        entry = self.stored()[1]
        body = bytearray(entry.body)
        body[len(body) // 2] ^= 1
        self.shown_as("tampered", self.draft(entry, msgid=b"R" * 16, body=bytes(body)))

    def test_not_sealed(self) -> None:
        entry = self.stored()[1]
        self.shown_as("not-sealed", self.draft(entry, msgid=b"R" * 16, kind="text", body=b"pay 1000"))

    def test_by_a_stranger(self) -> None:
        entry = self.stored()[1]
        self.shown_as("not-a-member", self.draft(entry, sender="mallory"))

    def test_kinds_of_our_own_making(self) -> None:
        """What a client makes of entries cannot be sent."""
        entry = self.stored()[1]
        forged = b'{"by":"alice","epoch":2,"added":["mallory"],"removed":[],"promoted":[],"demoted":[]}'
        self.shown_as("roster-rejected", self.draft(entry, msgid=b"R" * 16, kind="roster", body=forged))
        self.assertEqual([person.name for person in self.bob.sealed.members(TALK)], ["alice", "bob"])

    def test_from_another_room(self) -> None:
        self.alice.sealed.create("#tea", ["bob"])
        self.town.settle()
        self.alice.say("#tea", "in the other room")
        entry = self.stored("#tea")[1]
        self.shown_as("wrong-room", self.draft(entry, room=TALK))


class Swapping(TownCase):
    """A server that gives out other keys."""

    def other_bob(self) -> Person:
        """Somebody who has claimed the name of Bob, on another server."""
        town = Town()
        other = Person(town, self.here / "mallory", "bob", key=identity("mallory"))
        self.addCleanup(other.end)
        return other

    def test_a_changed_identity_blocks_until_it_is_accepted(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "hello")
        other = self.other_bob()
        lists: list[m.DeviceList] = []

        def spy(message: Any) -> tuple[Any, ...]:
            if isinstance(message, m.DeviceList):
                lists.append(message)
            return (message,)

        other.bend = spy
        other.sealed.meet("bob")
        other.town.settle()

        def swap(message: Any) -> tuple[Any, ...]:
            if isinstance(message, m.DeviceList) and message.name == "bob":
                return (m.DeviceList(message.id, "bob", lists[-1].devices, lists[-1].certificates),)
            return (message,)

        alice.bend = swap
        alice.sealed.meet("bob")
        self.town.settle()
        self.assertEqual([x.name for x in alice.news(fx.IdentityChanged)], ["bob"])
        alice.say(TALK, "for bob alone")
        self.assertEqual([x.names for x in alice.news(fx.SendBlocked)], [("bob",)])
        self.assertEqual(alice.sealed.seal_of(TALK).blocked, ("bob",))
        self.assertEqual((bob.texts(TALK), alice.chat.unacknowledged), (["hello"], 1))
        alice.restart()
        self.assertEqual(alice.chat.unacknowledged, 1)
        alice.bend = lambda message: (message,)
        self.town.later(1)
        alice.cut()
        alice.sealed.meet("bob")  # the true one again: nothing blocks any more
        self.town.later(11 * 60, 60)
        alice.sealed.meet("bob")
        self.town.later(1)
        self.assertEqual((bob.texts(TALK)[-1], alice.chat.unacknowledged), ("for bob alone", 0))

    def test_a_key_that_does_not_come_and_comes_late(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.conversation("bob")
        self.town.settle()
        bob.bend = lambda message: () if isinstance(message, m.Mail) else (message,)
        alice.say(TALK, "who can read that?")
        (waiting,) = [x for x in bob.of(e.NewEntry) if x.seal.state == "waiting"]
        self.assertEqual((waiting.entry.kind, waiting.entry.body), ("waiting", b""))
        self.assertIn("[no key yet from alice]", happening_line(waiting.entry))
        self.assertEqual(bob.sealed.seal_of(TALK).waiting, 1)
        self.assertEqual(bob.sealed.history(TALK).seals[-1].state, "waiting")
        bob.bend = lambda message: (message,)
        self.town.later(20)
        late = bob.of(e.NewEntry)[-1]
        self.assertEqual((late.entry.body, late.entry.seq), (b"who can read that?", waiting.entry.seq))
        self.assertEqual((late.seal.state, late.seal.late), ("opened", True))
        self.assertEqual(bob.sealed.seal_of(TALK).waiting, 0)
        self.assertEqual(bob.sealed.history(TALK).entries[-1].body, b"who can read that?")

    def test_two_histories(self) -> None:
        """Bob is shown another entry than Alice: her next message makes it evident."""
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "one")

        def other(message: Any) -> tuple[Any, ...]:
            if isinstance(message, m.Entry):
                return (replace(message, time=message.time + 1),)
            return (message,)

        bob.bend = other
        alice.say(TALK, "two")
        bob.bend = lambda message: (message,)
        alice.say(TALK, "three")
        forked = bob.of(e.NewEntry)[-1]
        self.assertEqual((forked.seal.state, forked.seal.code), ("failed", "forked"))
        self.assertEqual([x.room for x in bob.news(fx.Forked)], [TALK])
        self.assertTrue(bob.sealed.seal_of(TALK).forked)

    def test_left_out_and_out_of_order(self) -> None:
        """A server that leaves an entry out, or begins in the middle, is given up or parted from."""
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "one")
        bob.bend = lambda message: () if isinstance(message, m.Entry) else (message,)
        alice.say(TALK, "two")
        bob.bend = lambda message: (message,)
        alice.say(TALK, "three")
        self.assertIn("where 3 was due", str(bob.failure))
        bob.failure = None
        bob.restart()
        self.town.later(1)
        self.assertEqual(bob.texts(TALK)[-2:], ["two", "three"])

    def test_nonsense_for_answers(self) -> None:
        """Whatever the server makes up, the rest goes on."""
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "one")

        def nonsense(message: Any) -> tuple[Any, ...]:
            match message:
                case m.DeviceList():
                    return (m.DeviceList(message.id, message.name, b"\x93nonsense", (b"x" * 300, b"")),)
                case m.Keys():
                    return (m.Keys(message.id, message.name, (b"no key",) * 9),)
                case m.Published():
                    return (m.Published(message.id, "another", 2**31 - 1),)
                case m.Posted():
                    return (m.Posted(message.id, (99, 0, 7)),)
            return (message,)

        bob.bend = nonsense
        bob.restart()
        bob.chat.say(TALK, "two")
        self.town.later(30)
        mail = [m.Mail(10**6 + n, "alice", "none", b"\x00" * 100) for n in range(50)]
        bob.bend = lambda message: (*mail, message) if isinstance(message, m.Entry) else (message,)
        alice.say(TALK, "three")
        self.town.later(70)
        self.assertEqual(bob.texts(TALK)[-1], "three")
        self.assertTrue(bob.sealed.available)

    def test_an_answer_about_somebody_else(self) -> None:
        alice = self.person("alice")
        self.person("bob")
        other = m.DeviceList(0, "carol", b"", ())

        def lie(message: Any) -> tuple[Any, ...]:
            if isinstance(message, m.DeviceList):
                return (m.DeviceList(message.id, other.name, b"", ()),)
            return (message,)

        alice.bend = lie
        alice.sealed.meet("bob")
        self.town.settle()
        self.assertEqual(alice.news(fx.IdentityMet), [])
        alice.bend = lambda message: (message,)
        alice.sealed.meet("bob")
        self.town.settle()
        self.assertEqual([x.name for x in alice.news(fx.IdentityMet)], ["bob"])
