"""Sealed rooms where the server wants patience, refuses, or the disk is full."""

from __future__ import annotations

from typing import Any

from encchat import messages as m
from encchat.client import events as e
from encchat.client.sealed.holding import SealedUnavailable
from encchat.client.store.database import StoreFailed
from encchat.client.store.records import Records
from encchat.wire import decode_client
from tests.client.sealed.town import TALK, Person, TownCase


class Patience(TownCase):
    def refuse(self, person: Person, answer: type, code: str, times: int, wait: int = 0) -> None:
        """The next answers of a kind are errors."""
        left = [times]

        def bend(message: Any) -> tuple[Any, ...]:
            if type(message) is answer and left[0]:
                left[0] -= 1
                return (m.Error(message.id, code, "not now", wait),)
            return (message,)

        person.bend = bend

    def sent(self, person: Person, kind: type) -> int:
        """How many messages of a kind somebody sent."""
        return sum(type(decode_client(frame)) is kind for frame in person.sent)

    def test_whoever_claims_too_often_waits(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.conversation("bob")
        self.town.settle()
        self.refuse(alice, m.Keys, "rate-limited", 1, 4000)
        alice.say(TALK, "hello")
        self.assertEqual([x.seal.state for x in bob.of(e.NewEntry)][1:], ["waiting"])
        self.assertEqual(self.sent(alice, m.ClaimKeys), 1)
        self.town.later(6)
        self.assertEqual(self.sent(alice, m.ClaimKeys), 2)
        late = bob.of(e.NewEntry)[-1]
        self.assertEqual((late.entry.body, late.seal.state, late.seal.late), (b"hello", "opened", True))

    def test_every_kind_of_answer_may_be_late(self) -> None:
        for number, answer in enumerate((m.DeviceList, m.Published, m.Posted, m.Keys)):
            alice, bob = self.person(f"alice{number}"), self.person(f"bob{number}")
            self.refuse(alice, answer, "rate-limited", 1, 2000)
            alice.restart()
            self.town.later(4)
            room = alice.sealed.conversation(bob.name)
            self.town.later(4)
            alice.say(room, "hello")
            self.town.later(20)
            self.assertEqual(bob.texts(room), ["hello"], answer)
            self.assertEqual(alice.chat.unacknowledged, 0)

    def test_keys_that_the_server_never_takes(self) -> None:
        alice = self.person("alice")
        self.refuse(alice, m.Published, "bad-keys", 1000)
        before = self.sent(alice, m.PublishKeys)
        alice.restart()
        self.town.later(120, 5)
        self.assertLess(self.sent(alice, m.PublishKeys) - before, 10)
        self.assertEqual(str(alice.listener.warnings).count("does not take the keys"), 1)
        alice.chat.session.join("+lobby")
        alice.chat.say("+lobby", "open rooms go on")
        self.town.settle()
        self.assertEqual(alice.texts("+lobby"), ["open rooms go on"])

    def test_a_message_is_asked_to_wait(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "one")
        self.refuse(alice, m.Sent, "storage-unavailable", 1, 1000)
        alice.say(TALK, "two")
        alice.say(TALK, "three")
        self.town.later(5)
        self.assertEqual(bob.texts(TALK), ["one", "two", "three"])
        self.assertEqual(alice.chat.unacknowledged, 0)


class Disk(TownCase):
    def test_a_full_disk(self) -> None:
        alice = self.person("alice")
        self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "one")

        def full(records: Records, changes: object) -> None:
            raise StoreFailed(path="client.sqlite", reason="no space left")

        self.patch(Records, "write", full)
        self.assertRaises(SealedUnavailable, alice.chat.say, TALK, "lost in words")
        self.assertIn("no space left", str(alice.listener.warnings))
        self.assertIn("no space left", alice.sealed.why_not)
        self.assertEqual((alice.sealed.available, alice.chat.unacknowledged), (False, 0))

    def test_full_and_then_not(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "one")

        def full(changes: object) -> None:
            raise StoreFailed(path="client.sqlite", reason="no space left")

        self.patch(alice.sealed._records, "write", full)
        bob.say(TALK, "two")
        self.assertFalse(alice.sealed.available)
        alice.restart()
        self.town.later(1)
        self.assertEqual(alice.texts(TALK), ["one", "two"])
        alice.say(TALK, "three")
        self.assertEqual(bob.texts(TALK), ["one", "two", "three"])
