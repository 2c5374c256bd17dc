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
