"""Errands of the real program: what a person sees of them on a terminal, and how they end when stopped."""

from __future__ import annotations

import os
import random
import shlex
import signal
import sys

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol

from tests.process.harness import CLIENT, Service, reactor
from tests.process.screen import Screen
from tests.process.test_client_pipe import QUICK
from tests.process.test_client_terminal import TerminalCase

#: More than are on their way at once, so that the line is shown however fast the machine is.
LINES = 600


class Watched(TerminalCase):
    """A person watches; what goes in and out may go elsewhere."""

    def on_terminal(self, arguments: str, redirect: str = "", **environment: str) -> Screen:
        """A shell command on a terminal of its own."""
        screen = Screen(arguments, columns=100)
        self.children.append(screen)
        state = self.home / "client"
        client = shlex.join([sys.executable, *CLIENT, "--name", "alice", "--state", str(state)])
        command = ["/bin/sh", "-c", f"{client} --accept-new {arguments} {redirect}"]
        screen.start(command, self.environment(**environment), str(self.home))
        return screen

    async def test_a_large_input(self) -> None:
        service = await self.serve("--rate", "0", *QUICK)
        (self.home / "input").write_text("\n".join(map(str, range(LINES))) + "\n")
        arguments = f"{shlex.join(QUICK)} {service.address}"
        for redirect in ("<input >/dev/null", "<input"):
            screen = self.on_terminal(arguments, redirect)
            await self.finish(screen)
            self.assertRegex(screen.raw, rb"\r\x1b\[K[\d,]+ stored, [\d,]+ on their way, \d+ % read")
            self.assertNotIn("on their way", screen.text, "it is cleared at the end")
            self.assertNotIn("stored", screen.text)
        # Nobody watches, or the terminal cannot draw it.
        for redirect, terminal in (("<input 2>errors", "xterm"), ("<input", "dumb")):
            screen = self.on_terminal(arguments, redirect, TERM=terminal)
            await self.finish(screen)
            self.assertNotIn(b"on their way", screen.raw)

    async def test_a_file_there_and_back(self) -> None:
        service = await self.serve()
        data = random.Random(1).randbytes(50_000)
        (self.home / "plan.bin").write_bytes(data)
        screen = self.on_terminal(f"--send-file +lobby plan.bin {service.address}")
        await self.finish(screen)
        self.assertIn("plan.bin: 100 % of 48 KiB", screen.text)
        screen = self.on_terminal(f"--get +lobby 1 --to back.bin {service.address}")
        await self.finish(screen)
        self.assertIn("back.bin: 100 % of 48 KiB", screen.text)
        self.assertEqual((self.home / "back.bin").read_bytes(), data)

    async def test_on_the_screen_of_a_conversation(self) -> None:
        """/file and /save: in the line at the bottom while they are on their way, and told at the end."""
        service = await self.serve()
        data = random.Random(2).randbytes(300_000)
        (self.home / "plan.bin").write_bytes(data)
        screen = await self.enter(service)
        await screen.shows("+lobby>")
        for command, mark, done in (
            ("/file plan.bin", "↑ plan.bin ░", "/save 1 fetches it"),  # it is in the room, not only there
            ("/save 1 back.bin", "↓ ", "saved plan.bin (292 KiB) as"),
        ):
            os.kill(service.pid, signal.SIGSTOP)  # else it may be quicker than the screen
            screen.enter(command)
            await screen.shows(mark)
            os.kill(service.pid, signal.SIGCONT)
            await screen.told(done)
            await screen.hides(mark[0])
        self.assertEqual((self.home / "back.bin").read_bytes(), data)
        screen.press("\x04")
        await self.finish(screen)


class Stopped(TerminalCase):
    """C-c, which is SIGINT where no line is edited."""

    async def silent(self) -> tuple[str, Deferred[None]]:
        """A server that never says a word; and what fires when somebody comes."""
        came: Deferred[None] = Deferred()

        class Silent(Protocol):
            def connectionMade(self) -> None:
                came.callback(None)

        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(Silent))
        self.addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}", came

    async def test_an_interrupt_is_130_and_says_nothing(self) -> None:
        (self.home / "plan.bin").write_bytes(b"plan")
        for number, code, *errand in (
            (signal.SIGINT, 130, "--send-file", "+lobby", "plan.bin"),
            (signal.SIGINT, 130, "--tail", "3"),
            (signal.SIGTERM, 143, "--send", "+lobby", "hello"),
        ):
            address, came = await self.silent()
            child = self.client("--accept-new", *errand, address, name="alice")
            await came
            child.signal(number)
            self.assertEqual(await child.end(), code, child.report())
            self.assertEqual((child.out, child.err), ([], []))

    async def test_what_was_to_be_sent_is_not_sent_later(self) -> None:
        """Whoever called it knows from the exit code, and calls again."""
        address, came = await self.silent()
        child = self.client("--accept-new", "--send", "+lobby", "given up", address, name="alice")
        await came
        child.signal(signal.SIGINT)
        self.assertEqual(await child.end(), 130, child.report())
        service: Service = await self.serve()
        after = self.client("--accept-new", "--send", "+lobby", "said", service.address, name="alice")
        self.assertEqual(await after.end(), 0, after.report())
        told = self.client("--accept-new", "--tail", "9", service.address, name="bob")
        self.assertEqual(await told.end(), 0, told.report())
        self.assertEqual(told.out, ["alice: said"])
