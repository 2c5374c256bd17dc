"""Sealed rooms where the server wants patience, refuses, or the disk is full."""

from __future__ import annotations

from typing import Any

from encchat import messages as m
from encchat.client import events as e
from encchat.client.sealed.holding import SealedUnavailable
from encchat.client.store.database import StoreFailed
from encchat.client.store.records import Records
from encchat.client.view.show import status_line
from encchat.core.sealed import events as fx
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
    """The disk fills up, and has room again."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.person("alice"), self.person("bob")
        self.alice.say(self.alice.sealed.conversation("bob"), "one")
        self.full, records = False, self.alice.sealed._records
        assert records is not None
        self.hers = records.name
        write, probe = Records.write, Records.probe

        def writing(records: Records, changes: Any) -> None:
            self.fail_if_full(records)
            write(records, changes)

        def probing(records: Records) -> None:
            self.fail_if_full(records)
            probe(records)

        self.patch(Records, "write", writing)
        self.patch(Records, "probe", probing)

    def fail_if_full(self, records: Records) -> None:
        if self.full and records.name == self.hers:
            raise StoreFailed(path="client.sqlite", reason="no space left")

    def test_what_cannot_be_kept_is_not_sent(self) -> None:
        """It says so, in words, and nothing is sent. Open rooms go on."""
        self.full = True
        self.assertRaises(SealedUnavailable, self.alice.chat.say, TALK, "lost in words")
        self.assertIn("no space left", str(self.alice.listener.warnings))
        self.assertIn("no space left", self.alice.sealed.why_not)
        self.assertEqual((self.alice.sealed.available, self.alice.chat.unacknowledged), (False, 0))
        self.alice.chat.session.join("+lobby")
        self.town.later(300, 5)
        self.alice.chat.say("+lobby", "open rooms go on")
        self.town.settle()
        self.assertEqual(self.alice.texts("+lobby"), ["open rooms go on"])
        self.assertEqual(str(self.alice.listener.warnings).count("no space left"), 1, "told once")

    def test_it_goes_on_by_itself(self) -> None:
        """What was said meanwhile is read, in order and once; what was not acknowledged is sent, once."""
        self.alice.bend = lambda message: () if isinstance(message, m.Sent) else (message,)
        self.alice.chat.say(TALK, "on its way")
        self.full = True
        self.town.settle()
        for text in ("two", "three"):
            self.bob.say(TALK, text)
            self.town.later(10)
        self.assertFalse(self.alice.sealed.available)
        self.assertRaises(SealedUnavailable, self.alice.chat.say, TALK, "lost in words")
        self.assertEqual(self.alice.texts(TALK), ["one"])
        self.assertEqual(self.alice.chat.unacknowledged, 1)
        self.assertIn("not sent yet: ", str(status_line(self.alice.of(e.Delayed)[-1])))
        self.full = False
        self.alice.bend = lambda message: (message,)
        self.town.later(70)
        self.assertTrue(self.alice.sealed.available)
        self.assertIn("go on", self.alice.listener.warnings[-1])
        said = ["one", "on its way", "two", "three"]
        self.assertEqual(self.alice.texts(TALK), said)
        self.alice.say(TALK, "four")
        self.bob.say(TALK, "five")
        for person in (self.alice, self.bob):
            self.assertEqual(person.texts(TALK), [*said, "four", "five"])
            self.assertEqual(person.news(fx.RolledBack) + person.news(fx.Forked), [])
        self.assertEqual(self.alice.chat.unacknowledged, 0)

    def test_full_when_it_is_said(self) -> None:
        """A process that is ended on a full disk goes on in the next run."""
        self.full = True
        self.bob.say(TALK, "two")
        self.assertFalse(self.alice.sealed.available)
        self.full = False
        self.alice.restart()
        self.town.later(1)
        self.assertEqual(self.alice.texts(TALK), ["one", "two"])
        self.alice.say(TALK, "three")
        self.assertEqual(self.bob.texts(TALK), ["one", "two", "three"])

    def test_full_again_and_again(self) -> None:
        """However often."""
        for number in range(6):
            self.full = True
            self.bob.say(TALK, f"bob {number}")
            self.town.later(20, 5)
            self.full = False
            self.town.later(70, 5)
            self.alice.say(TALK, f"alice {number}")
        expected = ["one", *(f"{name} {number}" for number in range(6) for name in ("bob", "alice"))]
        for person in (self.alice, self.bob):
            self.assertEqual(person.texts(TALK), expected)
