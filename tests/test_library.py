"""docs/library.md is true: its programs are run as they stand on the page, against a real service, the one
under Twisted and the other under asyncio."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import encchat
from tests.process.harness import ROOT, Child, ProcessCase, Service
from tests.process.keys import place_identity

PAGE = ROOT / "docs" / "library.md"


def programs() -> dict[str, str]:
    """The programs of the page, by the file name in their first line."""
    blocks = re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)
    return dict(blocks)


class Page(ProcessCase):
    async def serve_with(self, *names: str) -> Service:
        """A service, and clients that have keys already."""
        for name in names:
            place_identity(self.home / ".local" / "share" / "encchat" / "client" / name, name)
        service = await self.serve()
        self.where = (service.address, service.listener()["fingerprint"])
        return service

    def program(self, name: str, *arguments: str) -> Child:
        """A program of the page, running."""
        (self.home / name).write_text(programs()[name])
        return self.spawn([str(self.home / name), *self.where, *arguments], Child(name))

    async def test_a_bot_under_twisted(self) -> None:
        await self.serve_with("echo", "alice")
        bot = self.program("echo.py")
        await bot.line("echo is in +lobby")
        alice = self.client("--accept-new", self.where[0], name="alice", state=".local/share/encchat/client")
        await alice.error_line("in +lobby")
        alice.say("!echo hello", "not for you", "!echo again")
        await alice.line("echo: alice: hello")
        await alice.line("echo: alice: again")
        self.assertNotIn("not for you", "\n".join(alice.out))
        alice.close_stdin()
        self.assertEqual(await alice.end(), 0, alice.report())

    async def test_a_bridge_under_asyncio(self) -> None:
        await self.serve_with("bridge", "alice")
        bridge = self.program("bridge.py", "seq 1 500")
        self.assertEqual(await bridge.end(), 0, bridge.report())
        self.assertEqual(bridge.out, ["done: 0"])
        self.assertEqual(bridge.err, [])
        alice = self.client(
            "--accept-new",
            "--room",
            "+ops",
            "--history",
            "1000",
            self.where[0],
            name="alice",
            state=".local/share/encchat/client",
        )
        alice.close_stdin()
        self.assertEqual(await alice.end(), 0, alice.report())
        self.assertEqual(alice.out, [f"bridge: {number}" for number in range(1, 501)])

    async def test_an_error_under_asyncio_ends_the_program(self) -> None:
        await self.serve_with("bridge")
        self.where = (self.where[0], "SHA256:" + "A" * 43)
        bridge = self.program("bridge.py", "echo secret")
        self.assertEqual(await bridge.end(), 1, bridge.report())
        self.assertIn("NotThePinnedKey", bridge.err[-1])

    def test_the_page_shows_both(self) -> None:
        self.assertEqual(set(programs()), {"echo.py", "bridge.py"})

    def test_the_package_says_that_it_has_types(self) -> None:
        self.assertTrue((Path(encchat.__file__).parent / "py.typed").exists())

    def test_importing_it_installs_no_reactor(self) -> None:
        """Else a program under asyncio.run could not use it."""
        code = (
            "import sys; from encchat.client import connect; print('twisted.internet.reactor' in sys.modules)"
        )
        ran = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
        )
        self.assertEqual(ran.stdout, "False\n")


#: Two connections in one process; reading that is cancelled, one connection that is closed thrice while the
#: other goes on, errors with types of their own, an exception of the program's: no thread is left at the end.
BOTH = """
import asyncio, sys, threading
from pathlib import Path

kind, address, fingerprint, state = sys.argv[1:]
if kind == "asyncio reactor":
    from twisted.internet import asyncioreactor
    asyncioreactor.install()

from twisted.internet.defer import CancelledError, Deferred
from encchat.client import connect
from encchat.errors import RefusedError

begin = asyncio.ensure_future if kind == "asyncio" else Deferred.fromCoroutine


def client(name):
    return connect(address, name=name, cipher="tls:trust=pin", pin=fingerprint, state=f"{state}/{name}")


async def main(reactor=None):
    alice = client("alice")
    async with client("bob") as bob:
        room = await bob.join("+lobby")
        async with alice:
            there = await alice.join("+lobby")
            reading = begin(room.__anext__())
            reading.cancel()
            try:
                await reading
            except (asyncio.CancelledError, CancelledError):
                print("cancelled")
            await there.send("nothing was lost")
            print((await room.__anext__()).text)
        await alice.close()
        await alice.close()
        (Path(state) / "plan").write_text("plan" * 1000)
        seq = await room.send_file(f"{state}/plan")
        await room.save_file(seq, f"{state}/back")
        print((Path(state) / "back").read_text() == "plan" * 1000)
        try:
            await bob.whois("nobody")
        except RefusedError as error:
            print(type(error).__name__)
    try:
        async with client("bob"):
            raise ValueError("mine")
    except ValueError as error:
        print(error)


if kind == "asyncio":
    asyncio.run(main())
else:
    from twisted.internet.task import react
    try:
        react(lambda reactor: Deferred.fromCoroutine(main()))
    except SystemExit as end:
        print("code", end.code)
print(*(thread.name for thread in threading.enumerate()))
"""


class Both(ProcessCase):
    async def test_under_every_reactor(self) -> None:
        service = await self.serve("--cipher", "tls:trust=pin")
        fingerprint = service.listener()["fingerprint"]
        (self.home / "both.py").write_text(BOTH)
        (self.home / "state").mkdir(mode=0o700)
        said = ["cancelled", "nothing was lost", "True", "RequestRefused", "mine"]
        for kind in ("asyncio", "asyncio reactor", "reactor"):
            child = self.spawn(
                [str(self.home / "both.py"), kind, service.address, fingerprint, str(self.home / "state")],
                Child(kind),
            )
            self.assertEqual(await child.end(), 0, child.report())
            self.assertEqual(child.err, [])
            code = [] if kind == "asyncio" else ["code 0"]
            self.assertEqual(child.out, [*said, *code, "MainThread"], child.report())
            (self.home / "state" / "back").unlink()
