"""Two people, then three, in sealed rooms and conversations: what they see, and what the server has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from encchat.client import events as e
from encchat.core.sealed import events as fx
from tests.client.sealed.town import Person, Town

TALK = "@alice&bob"


class TownCase(TestCase):
    """A town, and people who leave it when a test ends."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.town = Town()

    def person(self, name: str, directory: str = "", **more: Any) -> Person:
        person = Person(self.town, self.here / (directory or name), name, **more)
        self.addCleanup(self.leave, person)
        return person

    def leave(self, person: Person) -> None:
        if person.sealed.available or person.chat.session.admitted:
            person.end()


class Conversations(TownCase):
    def test_from_the_first_line(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        room = alice.sealed.conversation("bob")
        self.assertEqual(room, TALK)
        alice.say(room, "hello")
        self.assertEqual(alice.texts(room), ["hello"])
        self.assertEqual(bob.texts(room), ["hello"])
        self.assertEqual(alice.chat.unacknowledged, 0)
        bob.say(room, "hi alice")
        self.assertEqual(alice.texts(room), ["hello", "hi alice"])
        self.assertEqual([x.by_itself for x in bob.of(e.JoinedRoom)], [True])
        seals = [x.seal for x in bob.of(e.NewEntry)]
        self.assertEqual([x.state for x in seals], ["roster", "opened", "opened"])
        self.assertEqual(bob.sealed.seal_of(room).trust, fx.PINNED)
        self.assertEqual((alice.sealed.title(room), bob.sealed.title(room)), ("@bob", "@alice"))
