"""What a person and a program see when the server shows two histories, or a device's keys are an old copy:
whole clients, driven to it by what the server and the disk do."""

from __future__ import annotations

import json
import shutil
from typing import Any

from msgspec.structs import replace

from encchat import messages as m
from encchat.client import events as e
from encchat.client.pipe import jsonlines
from encchat.client.view.sealnews import room_words
from encchat.core.sealed import events as fx
from tests.client.sealed.viewer import ROOM, SeenCase, Viewer


class AttackCase(SeenCase):
    def news(self, viewer: Viewer, kind: type[fx.Event]) -> list[Any]:
        """What this console was told, of one kind."""
        return [x for x in viewer.told if isinstance(x, e.SealedNews) and isinstance(x.news, kind)]

    def json(self, event: e.Event) -> dict[str, Any]:
        """A line of --json."""
        told = jsonlines.of_event(event)
        assert told is not None
        fields = json.loads(told)
        assert isinstance(fields, dict)
        return fields


class Forked(AttackCase):
    """The server shows bob another entry than alice in the same place."""

    def setUp(self) -> None:
        super().setUp()
        self.alice.type("/create #tea bob", "before")
        self.bob.bend = self.other_history
        self.alice.type("the fork begins here", "and goes on here")

    def other_history(self, message: Any) -> tuple[Any, ...]:
        if isinstance(message, m.Entry) and message.room == ROOM and message.seq == 3:
            return (replace(message, time=message.time + 1),)
        return (message,)

    def test_screen(self) -> None:
        self.assertIn("!! THE SERVER SHOWS #tea DIFFERENTLY to alice: see #4.", self.bob.text)
        self.assertIn("!! Rely on nothing in this room any more", self.bob.text)
        self.assertIn("another history of this room", self.bob.text)
        self.assertNotIn("and goes on here", self.bob.text)
        self.assertEqual(room_words(self.bob.chat, ROOM), "sealed, FORKED")
        self.assertEqual(room_words(self.alice.chat, ROOM), "sealed, bob not verified")

    def test_events_and_json(self) -> None:
        (event,) = self.news(self.bob, fx.Forked)
        self.assertEqual(event.news, fx.Forked(ROOM, 4, "alice"))
        fields = self.json(event)
        self.assertEqual([fields[x] for x in ("event", "room", "seq", "name")], ["forked", ROOM, 4, "alice"])
        self.assertIn("DIFFERENTLY", fields["text"])
        shown = [x for x in self.bob.told if isinstance(x, e.NewEntry) and x.entry.seq == 4]
        seal = self.json(shown[-1])["seal"]
        self.assertEqual((seal["state"], seal["code"]), ("failed", "forked"))
        self.assertTrue(self.bob.sealed.seal_of(ROOM).forked)

    def test_it_stays_known(self) -> None:
        self.bob.end()
        self.bob.start()
        self.town.later(2)
        self.assertEqual(room_words(self.bob.chat, ROOM), "sealed, FORKED")


class RolledBack(AttackCase):
    """Alice's disk is put back to what it was, while the log goes on."""

    def setUp(self) -> None:
        super().setUp()
        self.alice.type("/create #tea bob", "one")
        self.alice.end()
        copy = self.here / "copy"
        shutil.copytree(self.alice.directory, copy)
        self.alice.start()
        self.town.later(2)
        self.alice.type("/go #tea", "two")
        self.alice.end()
        shutil.rmtree(self.alice.directory)
        shutil.copytree(copy, self.alice.directory)
        self.alice.start()
        self.town.later(10)

    def test_screen(self) -> None:
        self.assertIn(
            "!! This device's keys are an OLD COPY: #tea has messages of it that it does", self.alice.text
        )
        self.assertIn("!! /renew makes it a new device", self.alice.text)
        self.assertIn("[no key yet from alice]", self.alice.text)

    def test_events_and_json(self) -> None:
        event = self.news(self.alice, fx.RolledBack)[0]
        self.assertEqual(event.news, fx.RolledBack(ROOM, 3))
        fields = self.json(event)
        self.assertEqual([fields[x] for x in ("event", "room", "seq")], ["rolled-back", ROOM, 3])
        self.assertIn("OLD COPY", fields["text"])

    def test_nothing_is_sent_before_it_is_a_new_device(self) -> None:
        old = self.alice.sealed.device
        self.alice.type("/go #tea", "with old keys")
        self.town.later(30)
        self.assertNotIn("with old keys", self.bob.text)
        self.alice.end()
        self.alice.start()
        self.town.later(30)
        self.assertNotIn("with old keys", self.bob.text)
        self.assertIn("a new one now", self.alice.type("/renew"))
        self.town.later(70)
        self.assertNotEqual(self.alice.sealed.device, old)
        self.assertRegex(self.bob.text, r"alice: with old keys")
        self.assertEqual(self.bob.text.count("alice: with old keys"), 1)
        self.bob.type("/go #tea", "welcome back")
        self.assertIn("bob: welcome back", self.alice.text)
        self.assertNotIn(old, [each.id for each in self.alice.sealed.devices()], "it is out of the list")
