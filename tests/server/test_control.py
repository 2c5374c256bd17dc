"""The control socket: what it answers, in memory and over a real socket, and who may open it."""

from __future__ import annotations

import json
import os
import socket
import stat
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.internet.threads import deferToThread
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from encchat import messages as m
from encchat.cli.control import NoServer, Refusal, ask
from encchat.core.accounts import operator
from encchat.core.chat.hub import Hub, Settings
from encchat.core.moderation.rules import Rank
from encchat.logs.memory import MemoryLog
from encchat.server.control import FILE, MAX_CONNECTIONS, MAX_LINE, MAX_PATH, Control, ControlFactory
from encchat.server.turn import ReactorTurn
from tests.core.accounts.test_operator import Notebook
from tests.core.moderation.test_moderation import TEA, access
from tests.core.world import LOG_ID, World, identity


class InMemory(SynchronousTestCase):
    """Requests and answers."""

    def setUp(self) -> None:
        self.world = World(motd="")
        self.factory = ControlFactory(self.world.hub)
        self.protocol = self.factory.buildProtocol(None)
        assert self.protocol is not None
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> list[dict[str, Any]]:
        assert self.protocol is not None
        self.protocol.dataReceived(data)
        self.world.turn.end()
        said, _ = self.transport.value(), self.transport.clear()
        self.assertTrue(said.endswith(b"\n") or not said)
        return [json.loads(line) for line in said.splitlines()]

    def ask(self, **request: Any) -> dict[str, Any]:
        (answer,) = self.send(json.dumps(request).encode() + b"\n")
        return answer

    def test_users(self) -> None:
        self.world.member("bob", TEA)
        self.world.named("alice")
        alice, bob = self.ask(do="users")["users"]
        self.assertEqual((alice["name"], alice["rooms"], bob["rooms"]), ("alice", [], [TEA]))
        self.assertEqual(bob["key"], identity("bob's key").fingerprint)
        self.assertEqual((bob["classic"], bob["admin"], bob["cipher"]), (False, False, "test"))

    def test_rooms(self) -> None:
        bob = self.world.member("bob", TEA)
        bob.ask(access("private"), m.Topic(1, TEA, bytes(16), "Earl"), m.Join(2, "+other"))
        (other, tea) = self.ask(do="rooms")["rooms"]
        self.assertEqual((other["room"], tea["room"]), ("+other", TEA))
        self.assertEqual(
            (tea["access"], tea["owners"], tea["topic"], tea["members"]), ("private", ["bob"], "Earl", 1)
        )

    def test_many_rooms(self) -> None:
        self.patch(operator, "ROOMS_AT_A_TIME", 3)
        self.patch(operator, "MAX_ROOMS", 6)
        bob = self.world.named("bob")
        for n in range(8):
            bob.ask(m.Join(n, f"+r{n}"))
        self.assertEqual(
            [room["room"] for room in self.ask(do="rooms")["rooms"]], [f"+r{n}" for n in range(6)]
        )

    def test_kick_ban_unban(self) -> None:
        bob = self.world.named("bob")
        self.assertEqual(self.ask(do="kick", who="bob", reason="go"), {"ok": True, "closed": 1})
        self.assertTrue(bob.closed)
        self.world.named("bob")
        self.assertEqual(self.ask(do="ban", who="bob", seconds=60), {"ok": True, "closed": 1})
        refused = self.world.peer("bob's key").ask(m.Hello((1,), "bob"))[0]
        self.assertEqual(refused.code, "banned")
        self.assertEqual(self.ask(do="unban", who="bob"), {"ok": True, "found": True})
        self.assertEqual(self.ask(do="unban", who="bob"), {"ok": True, "found": False})
        self.world.named("bob")
        self.assertEqual(self.ask(do="ban", who=identity("bob's key").fingerprint)["closed"], 1)

    def test_rename_and_announce(self) -> None:
        bob, alice = self.world.member("bob", TEA), self.world.named("alice")
        self.assertEqual(self.ask(do="announce", text="hear, hear"), {"ok": True, "told": 2})
        self.assertIn(m.Notice("hear, hear"), alice.news())
        self.assertEqual(self.ask(do="rename", who="bob", to="robert"), {"ok": True})
        self.assertTrue(bob.closed)
        record = self.world.member("robert", TEA, "bob's key").session.room(TEA).record
        self.assertEqual(record.roles, {"robert": Rank.OWNER})

    def test_rekey(self) -> None:
        bob = self.world.member("bob", TEA)
        new = identity("bob's new key").fingerprint
        self.assertEqual(self.ask(do="rekey", who="bob", key=new), {"ok": True, "closed": 1})
        self.assertTrue(bob.closed)
        self.world.named("bob", "bob's new key")
        self.assertEqual(self.ask(do="rekey", who="bob", key="x")["code"], "bad-fingerprint")

    def test_refusals_are_answers(self) -> None:
        answer = self.ask(do="kick", who="nobody")
        self.assertEqual((answer["ok"], answer["code"]), (False, "no-such-name"))
        self.assertIn("nobody", answer["text"])

    def test_malformed(self) -> None:
        for line in (
            b"",
            b"what",
            b"{}",
            b"[]",
            b'{"do": "format"}',
            b'{"do": "kick"}',
            b'{"do": "kick", "who": 7}',
            b'{"do": "ban", "who": "bob", "seconds": -1}',
            b'{"do": "ban", "who": "bob", "seconds": 1e300}',
            b'{"do": "kick", "who": "' + b"x" * 100 + b'"}',
            b'{"do": "kick", "who": "\xff"}',
            b"[" * 5000,
        ):
            (answer,) = self.send(line + b"\n")
            self.assertEqual((answer["ok"], answer["code"]), (False, "malformed"), line[:50])
        self.assertEqual(self.ask(do="users"), {"ok": True, "users": []})

    def test_too_long(self) -> None:
        (answer,) = self.send(b"x" * (MAX_LINE + 1))
        self.assertEqual(answer["code"], "malformed")
        self.assertTrue(self.transport.disconnecting)

    def test_in_order(self) -> None:
        self.world.named("bob")
        asked = [{"do": "ban", "who": "bob"}, {"do": "unban", "who": "bob"}, {"do": "unban", "who": "bob"}]
        answers = self.send(b"".join(json.dumps(one).encode() + b"\n" for one in asked))
        self.assertEqual(
            answers, [{"ok": True, "closed": 1}, {"ok": True, "found": True}, {"ok": True, "found": False}]
        )

    def test_answered_when_the_disk_has_it(self) -> None:
        self.world.hub.audit = notebook = Notebook()
        notebook.disk = self.world.turn.promise()
        self.assertEqual(self.send(b'{"do": "announce", "text": "hear"}\n'), [])
        notebook.disk.resolve(None)
        self.assertEqual(self.send(b""), [{"ok": True, "told": 0}])

    def test_an_unforeseen_error(self) -> None:
        self.patch(operator, "users", lambda hub: 1 // 0)
        self.assertEqual(self.ask(do="users")["code"], "error")
        self.assertIs(type(self.world.turn.unforeseen[0]), ZeroDivisionError)
        self.assertEqual(self.ask(do="rooms")["ok"], True)

    def test_gone_before_the_answer(self) -> None:
        assert self.protocol is not None
        self.world.member("bob", TEA)
        self.protocol.dataReceived(b'{"do": "rename", "who": "bob", "to": "robert"}\n')
        self.protocol.connectionLost()
        self.world.turn.end()
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(self.world.turn.unforeseen, [])

    def test_bounded(self) -> None:
        for _ in range(MAX_CONNECTIONS - 1):
            protocol = self.factory.buildProtocol(None)
            assert protocol is not None
            protocol.makeConnection(StringTransport())
        self.assertIsNone(self.factory.buildProtocol(None))


class OnDisk(TestCase):
    """A real socket, asked by the code of encchat-admin."""

    def setUp(self) -> None:
        # Not mktemp(): a socket's path must be short.
        place = tempfile.TemporaryDirectory(prefix="encchat")
        self.addCleanup(place.cleanup)
        self.data = Path(place.name)
        log = MemoryLog(LOG_ID)
        self.hub = Hub(log, log, ReactorTurn(reactor), Settings())  # type: ignore[arg-type]  # it tells the time
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def start(self, path: Path | None = None) -> Control:
        control = Control(path or self.data / FILE, reactor)
        control.start(self.hub)
        self.addCleanup(lambda: Deferred.fromCoroutine(control.stop()))
        return control

    def errors(self) -> list[str]:
        return [event["reason"] for event in self.events if "reason" in event]

    async def test_asked(self) -> None:
        self.start()
        self.assertEqual(await deferToThread(ask, self.data, {"do": "users"}), {"ok": True, "users": []})
        error = await self.assertFailure(deferToThread(ask, self.data, {"do": "kick", "who": "bob"}), Refusal)
        self.assertIn("Nobody has the name bob", str(error))

    async def test_its_owner_alone(self) -> None:
        self.start()
        self.assertEqual(stat.S_IMODE((self.data / FILE).stat().st_mode), 0o600)

    async def test_nobody_there(self) -> None:
        control = self.start()
        await control.stop()
        self.assertFalse((self.data / FILE).exists())
        for data in (self.data, self.data / "none"):
            await self.assertFailure(deferToThread(ask, data, {"do": "users"}), NoServer)

    async def test_what_a_killed_server_left(self) -> None:
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(os.fspath(self.data / FILE))
            left.listen()
        await self.assertFailure(deferToThread(ask, self.data, {"do": "users"}), NoServer)
        self.start()
        self.assertEqual((await deferToThread(ask, self.data, {"do": "users"}))["ok"], True)
        self.assertEqual(self.errors(), [])

    async def test_another_server(self) -> None:
        self.start()
        self.start()
        self.assertIn("another server listens", self.errors()[0])
        self.assertEqual((await deferToThread(ask, self.data, {"do": "users"}))["ok"], True)

    async def test_places_that_cannot_be(self) -> None:
        (self.data / "file").write_text("precious")
        for path in (self.data / "file", self.data / ("x" * MAX_PATH), self.data / "none" / FILE):
            self.start(path)
        self.assertEqual((self.data / "file").read_text(), "precious")
        self.assertEqual(len(self.errors()), 3)
        self.assertIn("too long", self.errors()[1])
