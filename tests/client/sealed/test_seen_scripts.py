"""Backups, and what scripts do where a person would have to decide."""

from __future__ import annotations

import json
import os
from typing import Any

from twisted.internet.defer import Deferred

from encchat.client.commands.backing import (
    CannotRestore,
    NoPassphrase,
    Restoring,
    read_backup,
    read_passphrase,
)
from encchat.client.pipe.pipe import Manner, Pipe, Withheld
from encchat.client.pipe.sending import Sending
from encchat.client.shown import NobodyToAsk, Shown
from encchat.core.sealed.backup import BackupUnreadable, WrongPassphrase
from tests.client.sealed.town import Person
from tests.client.sealed.viewer import LOBBY, ROOM, SeenCase
from tests.client.world import FakeReader, FakeWriter
from tests.core.sealed.world import identity


class Backups(SeenCase):
    def test_written_once_under_what_was_typed_twice(self) -> None:
        self.alice.type("/create #tea bob", "one")
        path = self.here / "keys"
        self.assertIn("Write /backup FILE", self.alice.type("/backup"))
        self.alice.type(f"/backup {path}")
        self.assertIn("passphrase", self.alice.screen.question)
        self.assertIn("at least 10 characters", self.alice.type("short"))
        self.assertIn("differ", self.alice.type(f"/backup {path}", "long enough 1", "long enough 2"))
        self.assertIn("no backup was written", self.alice.type(f"/backup {path}", ""))
        self.assertFalse(path.exists())
        shown = self.alice.type(f"/backup {path}", "long enough 1", "long enough 1")
        self.assertIn(f"sealed rooms are in {path}", shown)
        self.assertNotIn("long enough", self.alice.text)
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.alice.screen.trouble = False
        self.assertIn("something already", self.alice.type(f"/backup {path}"))
        self.assertTrue(self.alice.screen.trouble, "a script is told by the exit code that there is none")
        self.assertNotIn("long enough", self.bob.text)
        self.assertRaises(WrongPassphrase, read_backup, str(path), lambda: "long enough 2")
        contents = read_backup(str(path), lambda: "long enough 1")
        told: list[str] = []
        other = self.person("alice", "anew", key=self.alice.identity)
        restoring = Restoring(other.chat, contents, told.append)
        self.assertEqual(self.successResultOf(Deferred.fromCoroutine(restoring.run())), 0)
        self.assertIn("for reading sealed rooms taken", told[0])

    def test_what_is_none(self) -> None:
        path = self.here / "none"
        self.assertRaises(CannotRestore, read_backup, str(path), self.fail)
        path.write_bytes(b"something else")
        self.assertRaises(BackupUnreadable, read_backup, str(path), self.fail)
        self.assertIn(
            "!!", self.alice.type(f"/backup {self.here / 'no' / 'keys'}", "long enough", "long enough")
        )

    def test_nobody_to_ask(self) -> None:
        console = Shown(self.alice.chat, LOBBY)
        self.assertRaises(NobodyToAsk, console.ask_secret, "?")
        reading, writing = os.pipe()
        os.write(writing, b"long enough\nmore")
        os.close(writing)
        console.secret_fd = reading
        self.assertEqual(self.successResultOf(console.ask_secret("?")), "long enough")
        self.assertEqual(self.successResultOf(console.ask_secret("again?")), "long enough")
        self.assertRaises(NoPassphrase, read_passphrase, reading)
        os.close(reading)
        self.assertRaises(NoPassphrase, read_passphrase, reading)


class Scripts(SeenCase):
    """What does one thing, or reads a pipe, where a person would have to decide."""

    def setUp(self) -> None:
        super().setUp()
        self.alice.type("/create #tea bob", "hi")
        self.alice.end()
        self.bob.end()
        self.person("bob", "elsewhere", key=identity("mallory"), vouched="bob")
        self.town.later(700)
        self.alice.by_itself = False
        Person.start(self.alice)
        self.status: list[str] = []

    def run_(self, console: Any) -> Deferred[int]:
        self.alice.chat._console = console
        work: Deferred[int] = Deferred.fromCoroutine(console.run())
        self.town.later(30)
        return work

    def pipe(self, *, json: bool) -> tuple[Pipe, FakeReader]:
        reader = FakeReader()
        manner = Manner(ROOM, json=json)
        return Pipe(
            self.town.clock,
            self.alice.chat,
            manner,
            reader,  # type: ignore[arg-type]  # a stub
            FakeWriter,  # type: ignore[arg-type]  # a stub
            self.status.append,
        ), reader

    def test_one_message(self) -> None:
        console = Sending(self.town.clock, self.alice.chat, ROOM, "hello", self.status.append)
        error = self.failureResultOf(self.run_(console), Withheld).value
        self.assertIn("not sent to #tea yet", str(error))
        self.assertEqual(error.exit_code, 77)
        self.assertIn("BOB'S KEY CHANGED", "\n".join(self.status))

    def test_lines(self) -> None:
        pipe, reader = self.pipe(json=False)
        reader.feed(b"hello\n", b"")
        self.failureResultOf(self.run_(pipe), Withheld)
        self.assertIn("BOB'S KEY CHANGED", "\n".join(self.status))
        self.assertNotIn("hello", pipe._writer.data.decode())  # type: ignore[attr-defined]  # a stub's

    def test_left_as_it_was_told(self) -> None:
        """Who leaves for good is told just that, and what was asked for was done."""
        pipe, reader = self.pipe(json=True)
        reader.feed(b'{"command": "/leave yes"}\n', b"")
        self.assertEqual(self.successResultOf(self.run_(pipe)), 0)
        told = [json.loads(line) for line in pipe._writer.data.splitlines()]  # type: ignore[attr-defined]
        names = [line["event"] for line in told]
        self.assertIn("left", names)
        self.assertNotIn("put-out", names)

    def test_on_a_machine_that_was_not_let_in(self) -> None:
        """A script does not wait for a person to let its machine in: it says so, and ends."""
        self.alice.end()
        person = self.person("bob", "a third", key=identity("bob's third"), vouched="bob", lane=None)
        person.end()
        person.by_itself, person.offline = False, True
        Person.start(person)
        console = Sending(self.town.clock, person.chat, "@alice&bob", "x", self.status.append)
        person.chat._console = console
        work: Deferred[int] = Deferred.fromCoroutine(console.run())
        person.offline = False
        self.town.later(30)
        self.assertIn("let it in", str(self.failureResultOf(work, Withheld).value))

    def test_a_backup_from_a_script(self) -> None:
        pipe, reader = self.pipe(json=True)
        reading, writing = os.pipe()
        os.write(writing, b"long enough\n")
        os.close(writing)
        self.addCleanup(os.close, reading)
        pipe.secret_fd = reading
        path = self.here / "script.backup"
        for _ in range(2):
            reader.feed(json.dumps({"command": f"/backup {path}"}).encode() + b"\n")
        reader.feed(json.dumps({"command": f"/backup {self.here / 'no' / 'x'}"}).encode() + b"\n", b"")
        work = self.run_(pipe)
        self.assertEqual(self.successResultOf(work), 1, "the last one was not written")
        self.assertIn("cannot be written", "\n".join(self.status))
        self.assertEqual(read_backup(str(path), lambda: "long enough").user, "alice")

    def test_objects_and_a_command_that_frees_it(self) -> None:
        pipe, reader = self.pipe(json=True)
        reader.feed(b'{"text": "hello", "ref": 1}\n')
        work = self.run_(pipe)
        told = [json.loads(line) for line in pipe._writer.lines]  # type: ignore[attr-defined]  # a stub's
        (blocked,) = [line for line in told if line["event"] == "send-blocked"]
        self.assertEqual((blocked["room"], blocked["names"]), (ROOM, ["bob"]))
        reader.feed(b'{"command": "/accept bob"}\n', b"")
        self.town.later(60)
        self.assertEqual(self.successResultOf(work), 0)
        told = [json.loads(line) for line in pipe._writer.lines]  # type: ignore[attr-defined]  # a stub's
        self.assertEqual([line["ref"] for line in told if line["event"] == "sent"], [1])
