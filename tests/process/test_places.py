"""What becomes of a person when the place is bad where the client keeps what it needs.

The real program with no home, a read-only one, a full one, and stores that are damaged or of another version.
"""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
from pathlib import Path

from twisted.internet.utils import getProcessValue
from twisted.trial.unittest import SkipTest

from tests.process.harness import CLIENT, Child, Service
from tests.process.screen import Screen
from tests.process.test_client_terminal import TerminalCase

#: Bytes of a page of SQLite's.
PAGE = 4096


class Places(TerminalCase):
    @property
    def profile(self) -> Path:
        """Where alice keeps what is hers."""
        return self.home / "client" / "alice"

    async def bob_comes(self, service: Service) -> Child:
        bob = self.client("--accept-new", "--json", service.address, name="bob")
        await bob.line('"caught-up"')
        return bob

    async def typed_without_the_service(self) -> tuple[Service, Screen]:
        """Alice has talked, and typed something that waits. Returns the service, which is killed."""
        service = await self.serve()
        screen = await self.enter(service)
        screen.enter("said before")
        await screen.shows("alice: said before")
        service.signal(signal.SIGKILL)
        await service.end()
        await screen.shows("Trying again")
        screen.enter("typed meanwhile")
        await screen.shows("alice: typed meanwhile  (queued)")
        screen.press("\x04")
        await self.finish(screen)
        self.assertTrue(screen.said("1 message is kept"), screen.report())
        return service, screen

    async def heard_once(self, service: Service, screen: Screen) -> None:
        """What was typed meanwhile is in the room, once; and what was said before can be seen again."""
        bob = self.client("--accept-new", "--tail", "10", service.address, name="bob")
        bob.close_stdin()
        self.assertEqual(await bob.end(), 0, bob.report())
        self.assertEqual(bob.out, ["alice: said before", "alice: typed meanwhile"])
        screen.enter("/history 10")
        await screen.told("alice: said before")
        screen.press("\x04")
        await self.finish(screen)

    async def test_a_damaged_store_is_set_aside_and_what_was_typed_is_sent(self) -> None:
        service, _ = await self.typed_without_the_service()
        spoil(self.profile / "client.sqlite", "ignored")
        service = await self.serve(port=service.port)
        screen = self.screen("--accept-new", service.address)
        await screen.told("in +lobby with")
        for words in (
            "client.sqlite was damaged",
            "is kept as client.sqlite.damaged-1. 1 unsent message was saved from it.",
            "The key of 1 known server was saved",
        ):
            self.assertTrue(screen.said(words), screen.report())
        self.assertTrue((self.profile / "client.sqlite.damaged-1").exists())
        await screen.told("1 message of an earlier run to be sent")
        await screen.hides("queued")
        await self.heard_once(service, screen)

    async def test_a_damaged_history_fills_again(self) -> None:
        service, _ = await self.typed_without_the_service()
        (self.profile / "history.sqlite").write_bytes(b"no database" * 1000)
        service = await self.serve(port=service.port)
        screen = self.screen(service.address)
        await screen.told("the local history cannot be read")
        await screen.told("alice: typed meanwhile")
        await screen.hides("queued")
        self.assertTrue((self.profile / "history.sqlite.damaged-1").exists())
        await self.heard_once(service, screen)

    async def test_a_store_of_a_newer_version_is_left_alone(self) -> None:
        service, _ = await self.typed_without_the_service()
        path = self.profile / "client.sqlite"
        with sqlite3.connect(path) as database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            database.execute("PRAGMA user_version = 99")
        database.close()
        before = path.read_bytes()
        for options in ((), ("--linear",)):
            screen = self.screen(*options, service.address)
            await self.finish(screen, 78)
            for words in ("was written by a newer encchat", "name another place with --state DIR"):
                self.assertTrue(screen.said(words), screen.report())
        self.assertEqual(path.read_bytes(), before)
        with sqlite3.connect(path) as database:
            database.execute(f"PRAGMA user_version = {version}")
        database.close()
        service = await self.serve(port=service.port)
        screen = self.screen(service.address)
        await screen.told("1 message of an earlier run to be sent")
        await screen.told("in +lobby with")
        await screen.hides("queued")
        await self.heard_once(service, screen)

    async def test_two_clients_of_one_name(self) -> None:
        """The second says so and is one more session: neither loses, doubles or sends what the other typed,
        and what they share stays whole."""
        service = await self.serve("--rate", "0")
        first = await self.enter(service)
        second = self.screen(service.address, columns=40, rows=10)
        await second.told("one more")
        await second.told("in +lobby with")
        screens = (first, second)
        for number in range(3):
            for who, screen in enumerate(screens):
                screen.enter(f"line {number} of {who}")
        for screen in screens:
            await screen.told("line 2 of 0")
            await screen.told("line 2 of 1")
        service.signal(signal.SIGKILL)
        await service.end()
        for who, screen in enumerate(screens):
            await screen.told("Trying again")
            screen.enter(f"queued by {who}")
            await screen.shows(f"queued by {who}  (queued)")
        second.hang_up()  # what it had typed is the next client's to send
        await second.end()
        service = await self.serve("--rate", "0", port=service.port)
        third = self.screen(service.address)
        await third.told("1 message of an earlier run to be sent")
        first.enter("/reconnect")
        await third.told("alice: queued by 1")
        await first.told("alice: queued by 1")
        await first.until(lambda: first.scrollback.count("alice: queued by 0") == 2, "it as sent")
        for screen in (first, third):
            screen.press("\x04")
            await self.finish(screen)
        told = self.client("--accept-new", "--tail", "20", service.address, name="bob")
        self.assertEqual(await told.end(), 0, told.report())
        said = [f"alice: line {number} of {who}" for number in range(3) for who in range(2)]
        self.assertEqual(sorted(told.out), sorted([*said, "alice: queued by 0", "alice: queued by 1"]))
        for name in ("client.sqlite", "history.sqlite"):
            database = sqlite3.connect(self.profile / name)
            self.assertEqual(database.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            database.close()

    async def test_no_home(self) -> None:
        """Nor one that could be made, whoever asks."""
        for home in ("/dev/null", "/proc/none"):
            child = self.spawn([*CLIENT, "--name", "alice"], environment={"HOME": home})
            child.close_stdin()
            await child.end()
            self.assertEqual(child.status, 78, child.report())
            (words,) = child.err
            self.assertIn("cannot be used to keep your key in", words)
            self.assertIn("--state DIR", words)

    async def test_a_read_only_home(self) -> None:
        service = await self.serve()
        screen = await self.enter(service)
        screen.press("\x04")
        await self.finish(screen)
        await self.make_read_only(self.profile)
        for options in ((), ("--linear",)):
            screen = self.screen(*options, service.address)
            await self.finish(screen, 78)
            ways = ("opened", "used", "written")
            self.assertTrue(any(screen.said(f"cannot be {way}") for way in ways), screen.report())
            self.assertTrue(screen.said("--state DIR"), screen.report())

    async def make_read_only(self, directory: Path) -> None:
        if os.geteuid() != 0:
            for path in (*sorted(directory.iterdir()), directory):  # noqa: ASYNC240 -- a few small files
                os.chmod(path, 0o500)
            return
        mount = ["--bind", str(directory), str(directory)]
        if await getProcessValue("/bin/mount", mount):
            raise SkipTest("root may write everywhere, and mounting is not allowed here")
        self.addCleanup(getProcessValue, "/bin/umount", ["-l", str(directory)])
        await getProcessValue("/bin/mount", ["-o", "remount,bind,ro", str(directory)])

    async def test_a_full_disk_and_room_again(self) -> None:
        """What cannot be kept is not sent, is told, and stays in the line, to be sent when there is room."""
        service = await self.serve()
        screen = await self.enter(service)
        await screen.shows("+lobby>")
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.prlimit(screen.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        screen.enter("there is no room")
        await screen.told("cannot be written")
        await screen.shows("+lobby> there is no room")
        resource.prlimit(screen.pid, resource.RLIMIT_FSIZE, unlimited)
        screen.press("\r")
        await screen.shows("alice: there is no room")
        self.assertEqual(screen.scrollback.count("alice: there is no room"), 1)
        screen.press("\x04")
        await self.finish(screen)

    async def test_a_full_disk_in_a_pipe(self) -> None:
        """It ends with 1 and says why; what was acknowledged before is there, and nothing is sent twice."""
        service = await self.serve()
        child = self.client("--accept-new", service.address, name="alice")
        bob = await self.bob_comes(service)
        child.say("there is room")
        await bob.line('"text":"there is room"')
        resource.prlimit(child.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        child.say("there is none")
        self.assertEqual(await child.end(), 1, child.report())
        self.assertIn("cannot be written", child.err[-1])
        again = self.client(service.address, name="alice")
        again.say("there is room again")
        again.close_stdin()
        self.assertEqual(await again.end(), 0, again.report())
        await bob.line("there is room again")
        said = [line for line in bob.out if '"event":"message"' in line]
        self.assertEqual(len(said), 2, said)


def spoil(path: Path, table: str) -> None:
    """Overwrite the page of a file that a table begins in, as a disk that fails would."""
    database = sqlite3.connect(path)
    (page,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()
    database.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * PAGE)
        file.write(b"\xff" * PAGE)
