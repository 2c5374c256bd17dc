"""/file, /save, /files, and the errands --send-file and --get: what they do and what they say."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client import events as e
from encchat.client.pipe.carrying import CannotUse, Carrying, NoSpace, NotCarried, StandsStill, result_fields
from encchat.client.pipe.pipe import PATIENCE, CannotJoin
from encchat.core.files.blobs import FileRules
from tests.client.files.test_files import LOBBY, _now
from tests.client.hub_server import HubServer
from tests.client.screen.test_console import ConsoleTestCase
from tests.client.world import World
from tests.core.world import msgid


class Commands(ConsoleTestCase):
    """On a terminal."""

    def setUp(self) -> None:
        super().setUp()
        self.server = HubServer(self.world.clock)
        self.world.server = self.server  # type: ignore[assignment]  # as far as a World needs one
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()
        self.path = self.here / "my plan.txt"
        self.path.write_text("hello")
        self.world.chat.files.in_thread = _now
        self.start()

    def type(self, *lines: str) -> str:
        """Type, and let a little time pass."""
        before = len(self.screen.lines)
        for line in lines:
            self.screen.typed(line)
            self.world.later(2)
        return "\n".join(self.screen.lines[before:])

    def test_there_and_back(self) -> None:
        shown = self.type(f"/file {self.path}")
        self.assertIn("the server has all of my plan.txt", shown)
        self.assertIn("alice: [file #1: my plan.txt, 5 bytes; /save 1 fetches it]", shown)
        target = self.here / "got.txt"
        for line, name in (
            (f"/save 1 {target}", "got.txt"),
            (f"/save #1 '{target}'", "got (1).txt"),
            (f'/save 1 "{self.here}"', "my plan (1).txt"),
        ):
            self.assertIn(f"saved my plan.txt (5 bytes) as {self.here / name}", self.type(line))
            self.assertEqual((self.here / name).read_text(), "hello")
        self.assertIn("no file is on its way", self.type("/files"))

    def test_the_last_one_to_the_downloads(self) -> None:
        self.type(f"/file '{self.path}'")
        self.patch(__import__("platformdirs"), "user_downloads_path", lambda: self.here)
        self.assertIn(f"as {self.here / 'my plan (1).txt'}", self.type("/save"))

    def test_an_entry_that_was_not_shown(self) -> None:
        self.type(f"/file {self.path}")
        self.screen.memory.forget(LOBBY)
        self.assertIn("saved", self.type(f"/save 1 {self.here}"))

    def test_what_is_wrong(self) -> None:
        self.type("hello")
        for line, words in (
            ("/file", "Write /file PATH"),
            ("/file /nowhere/at/all", "all was not sent: /nowhere/at/all cannot be sent: No such file"),
            (f"/file {self.here}", "it is a directory"),
            ("/save", "Nobody has given a file to this room lately"),
            ("/save plan", "Write /save"),
            ("/save 1", "#1 of +lobby is no file"),
            ("/save 99", "#99 of +lobby is no file"),
            ("/files what", "Write /files"),
            ("/files stop x", "Write /files"),
            ("/files stop 99", "No file with the number 99"),
        ):
            self.assertIn(words, self.type(line), line)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_stopping(self) -> None:
        self.server.links[-1].deaf = True
        self.type(f"/file {self.path}")
        self.assertIn("1: my plan.txt to +lobby, 0 % of 5 bytes", self.type("/files"))
        self.assertIn("stopped", self.type("/files stop 1"))
        self.assertIn("no file is on its way", self.type("/files"))

    def test_a_name_that_is_a_trap_shows_harmless(self) -> None:
        path = self.here / "a\x1b]52;c;x\x07\u202eb"
        path.write_text("x")
        shown = self.type(f"/file {path}")
        self.assertIn("[file #1: ab, 1 byte", shown)
        self.assertNotIn("\x1b", "\n".join(self.screen.lines))


class Errands(TestCase):
    """One file, and an exit code."""

    rules = FileRules()

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()
        self.path = self.here / "plan.bin"
        self.path.write_bytes(bytes(300_000))
        self.world = World(self.here / "profile", lane=None)
        self.addCleanup(self.world.store.close)
        self.server = HubServer(self.world.clock, self.rules, rate=0)
        self.world.server = self.server  # type: ignore[assignment]  # as far as a World needs one
        self.status: list[str] = []
        self.told: list[Any] = []

    def errand(self, start: Callable[[], int], *, progress: bool = False) -> Deferred[int]:
        """Run it for a while."""

        def done(event: Any, sent: Any) -> None:
            self.told.append(result_fields(event, sent))

        self.world.chat.files.in_thread = _now
        console = Carrying(
            self.world.clock, self.world.chat, LOBBY, start, done, self.status.append, progress=progress
        )
        self.world.start(console)
        result = Deferred.fromCoroutine(console.run())
        self.world.later(5)
        return result

    def give(self, path: Path | None = None, **options: Any) -> Deferred[int]:
        return self.errand(lambda: self.world.chat.files.give(LOBBY, str(path or self.path)), **options)

    def test_given_once_it_is_acknowledged(self) -> None:
        self.assertEqual(self.successResultOf(self.give()), 0)
        (told,) = self.told
        self.assertEqual(
            (told["room"], told["name"], told["size"], told["seq"]), (LOBBY, "plan.bin", 300_000, 1)
        )
        self.assertEqual(self.status, [])
        self.assertEqual(len(self.server.world.log_frames(LOBBY)), 1)

    def test_somebody_watches(self) -> None:
        self.give(progress=True)
        percents = [int(shlex.split(line)[1]) for line in self.status]
        self.assertEqual((percents[-1], percents), (100, sorted(set(percents))))
        self.assertEqual(self.status[-1], "plan.bin: 100 % of 292 KiB")

    def test_fetched(self) -> None:
        self.give()
        self.world.chat.stop()
        self.world.new_run()
        got = str(self.here / "got.bin")
        fetched = self.errand(lambda: self.world.chat.files.fetch(LOBBY, 1, got))
        self.assertEqual(self.successResultOf(fetched), 0)
        self.assertEqual(self.told[-1]["path"], got)
        self.assertNotIn("seq", self.told[-1])

    def test_whose_fault_it_is(self) -> None:
        self.failureResultOf(self.give(self.here / "none"), CannotUse)

    def test_nowhere_to_write(self) -> None:
        self.give()
        self.world.chat.stop()
        self.world.new_run()
        wish = str(self.here / "none" / "x")
        self.failureResultOf(self.errand(lambda: self.world.chat.files.fetch(LOBBY, 1, wish)), NoSpace)

    def test_put_out(self) -> None:
        self.server.connect("olga's key")
        olga = self.server.world.peer("olga's key")
        olga.ask(m.Hello((1,), "olga"))
        olga.ask(m.Join(1, "+tea"))
        olga.ask(m.Ban(2, "+tea", msgid(2), "alice"))
        self.world.start(
            console := Carrying(
                self.world.clock,
                self.world.chat,
                "+tea",
                lambda: self.world.chat.files.give("+tea", str(self.path)),
                lambda event, sent: None,
                self.status.append,
            )
        )
        self.world.later(1)
        olga.ask(m.Ban(3, "+tea", msgid(3), "alice"))
        result = Deferred.fromCoroutine(console.run())
        self.world.later(5)
        self.failureResultOf(result, CannotJoin)

    def test_it_stands_still(self) -> None:
        self.world.clock.callLater(0, lambda: None)
        result = self.errand(lambda: 0)
        self.world.later(PATIENCE - 10)
        self.assertNoResult(result)
        for _ in range(10):
            self.server.links[-1].session.heard()
            self.world.later(2)
        self.failureResultOf(result, StandsStill)

    def test_without_a_link_it_is_the_link_that_gives_up(self) -> None:
        result = self.errand(lambda: 0)
        self.world.refuse_connections(100)
        self.world.cut()
        self.world.later(PATIENCE + 10)
        self.assertNoResult(result)
        result.cancel()
        self.failureResultOf(result)

    def test_a_failure_of_the_server_s(self) -> None:
        result = self.errand(lambda: 0)
        self.world.chat.happened([e.FileFailed(1, LOBBY, "x", True, "quota-full", "Too much.")])
        self.world.later(1)
        self.assertEqual(str(self.failureResultOf(result, NotCarried).value), "Too much.")
