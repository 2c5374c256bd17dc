"""A hostile server and the real consoles: only text reaches the terminal, whatever is said in which field."""

from __future__ import annotations

import json
import re
import signal

from tests.hostile import is_unsafe
from tests.process.hostile_server import Listening, attacks
from tests.process.keys import place_identity
from tests.process.screen import Screen
from tests.process.test_client_terminal import TerminalCase

#: What the terminal console itself sends besides text: CR, LF, BS (one column back), and these.
OWN = re.compile(r"\x1b\[[0-9;]*[ABCDHJKm]|\x1b\[\?(?:1|7|12|25|2004)[hl]|\x1b\[0 q|[\r\n\x08]")


class Hostile(TerminalCase):
    async def listen(self) -> Listening:
        place_identity(self.home / "hostile", "service")
        listening = Listening(self.home / "hostile")
        await listening.start()
        self.addCleanup(listening.stop)
        return listening

    async def attacked(self, *options: str, **environment: str) -> Screen:
        """A client that has been through all of it."""
        listening = await self.listen()
        screen = self.screen("--accept-new", *options, listening.address, columns=100, rows=30, **environment)
        await screen.told("in +lobby with")
        listening.server.attack()
        await screen.until(lambda: "that was all" in screen.scrollback, "all of it")
        for command in ("/rooms", "/who", "/whois bob", "/topic", "/access", "/history 200", "/go"):
            screen.enter(command)
        screen.enter("/search all")
        await screen.until(lambda: "found in +lobby" in screen.scrollback, "answers")
        return screen

    def check(self, screen: Screen, text: str) -> None:
        """That ``text`` has nothing in it that is not text, and the screen shows what it should."""
        bad = {character for character in text if is_unsafe(character)}
        self.assertEqual(bad, set())
        self.assertEqual(screen.title, "")
        self.assertLess(text.count("\u0301"), 50_000)
        self.assertNotRegex(text, "\u0301{9}")
        self.assertIn("bob: that was all", screen.scrollback)

    async def test_terminal(self) -> None:
        screen = await self.attacked()
        raw = screen.raw.decode("utf-8", "strict")
        self.assertNotIn("\x1b[66", raw)
        self.assertNotIn("\x07", raw)
        self.check(screen, OWN.sub("", raw))
        await screen.shows("+lobby>")
        screen.enter("/quit")
        await self.finish(screen)

    async def test_linear(self) -> None:
        screen = await self.attacked("--linear", NO_COLOR="1")
        self.check(screen, screen.raw.decode("utf-8", "strict").replace("\r\n", "\n"))
        screen.press("\x04")
        await self.finish(screen)

    async def test_pipe_and_json(self) -> None:
        for options in ((), ("--json",)):
            listening = await self.listen()
            pipe = self.client(
                "--accept-new", "--follow", *options, listening.address, name="bob" if options else "alice"
            )
            await pipe.error_line("in +lobby") if not options else await pipe.line('"caught-up"')
            listening.server.attack()
            await pipe.line("that was all")
            pipe.signal(signal.SIGTERM)
            await pipe.end()
            for line in (*pipe.out, *pipe.err):
                self.assertFalse([c for c in line if is_unsafe(c)], line)
            if options:
                for line in pipe.out:
                    json.loads(line)

    def test_the_attacks_are_ones(self) -> None:
        """They hold every control character, and fit into every field."""
        said = "".join(attacks())
        self.assertTrue(set(map(chr, (*range(0x20), *range(0x7F, 0xA0)))) <= set(said))
        self.assertLessEqual(max(map(len, attacks())), 24)
