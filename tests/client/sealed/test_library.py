"""Programs in sealed rooms: joined, made, iterated over, slow; and what cannot be."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import Deferred

from encchat.client import NotJoined, RequestRefused, Room, connect
from encchat.library import room as room_module
from encchat.library.pending import Pending
from tests.client.sealed.town import TALK, TownCase


class Programs(TownCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice = self.person("alice")
        self.bot = self.person("bot", by_itself=False)
        self.client: Any = connect("chat.example:9999", name="bot", reactor=self.town.clock)
        self.client.chat, self.client._link = self.bot.chat, self.bot.link
        self.client._pending = Pending(self.town.clock)
        self.bot.chat._console = self.client

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Do something to its end."""
        result = Deferred.fromCoroutine(work)
        self.town.settle()
        return self.successResultOf(result)

    def fails(self, work: Coroutine[Any, Any, Any], kind: type[Exception]) -> str:
        result = Deferred.fromCoroutine(work)
        self.town.settle()
        return str(self.failureResultOf(result, kind).value)

    def next(self, room: Room) -> Any:
        return self.do(room.__anext__())

    def test_a_conversation(self) -> None:
        room = self.do(self.client.join("@alice"))
        self.assertEqual(room.name, "@alice&bot")
        self.assertEqual(self.do(room.send("hello")), 2)
        self.assertEqual(self.alice.texts(room.name), ["hello"])
        self.alice.say(room.name, "hello bot")
        heard = [self.next(room) for _ in range(3)]
        self.assertEqual([x.kind for x in heard], ["roster", "text", "text"])
        self.assertEqual((heard[2].text, heard[2].seal.state, heard[2].own), ("hello bot", "opened", False))
        found = self.do(room.search("hello"))
        self.assertEqual([x.body for x in found.entries], [b"hello", b"hello bot"])
        self.assertEqual(len(self.do(room.history()).entries), 3)

    def test_a_room(self) -> None:
        room = self.do(self.client.create("#bots", "alice"))
        self.do(room.send("made"))
        self.assertEqual(self.alice.texts("#bots"), ["made"])
        self.assertIn("already", self.fails(self.client.create("#bots"), RequestRefused))

    def test_what_cannot_be(self) -> None:
        self.assertIn("keys", self.fails(self.client.conversation("nobody"), NotJoined))
        self.assertIn("#none", self.fails(self.client.join("#none"), NotJoined))

    def test_whoever_is_slow_reads_what_is_kept(self) -> None:
        self.patch(room_module, "QUEUE", 3)
        room = self.do(self.client.join("@alice"))
        for number in range(12):
            self.alice.say(room.name, f"line {number}")
        self.assertLessEqual(room.waiting, 3)
        texts = [self.next(room).text for _ in range(13)][1:]
        self.assertEqual(texts, [f"line {number}" for number in range(12)])
        self.alice.say(room.name, "and live again")
        self.assertEqual(self.next(room).text, "and live again")
        self.assertNotIn(TALK, self.client._rooms)
