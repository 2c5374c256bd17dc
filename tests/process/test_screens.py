"""What stands on the screen of the terminal console, in a large window and a small one.

``ENCCHAT_SCREENS=write`` has the last test write the picture of the README anew (make screens).
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

from tests.client.screen.test_terminal_parts import luminance
from tests.process.harness import ROOT, Service
from tests.process.picture import svg
from tests.process.screen import Screen
from tests.process.test_client_terminal import TerminalCase

SIZES = ((80, 24), (40, 10))
PICTURE = ROOT / "docs" / "screen.svg"


class ScreenCase(TerminalCase):
    async def rooms(self, service: Service, told: str = "", **more: Any) -> tuple[Screen, Any]:
        """Alice in +lobby (1) and +ops (2), with +lobby shown, and bob in +ops; he comes when she was
        ``told`` something."""
        screen = await self.enter(service, "--history", "0", **more)
        await screen.shows("+lobby>")
        await screen.told(told)
        bob = await self.bob(service)
        bob.say('{"command": "/join +ops"}')
        await bob.line('"joined","room":"+ops"')
        screen.enter("/join ops")
        await screen.shows("+ops>")
        screen.press("\x1b1")
        await screen.shows("+lobby>")
        return screen, bob

    def bottom(self, screen: Screen) -> str:
        """The status line."""
        return next((line for line in reversed(screen.lines) if line), "")

    async def narrower(self, screen: Screen, columns: int) -> None:
        """Wait for a status line of the lobby that leaves room in a window of so many columns."""
        await screen.until(
            lambda: self.bottom(screen).startswith(" +lobby · ") and len(self.bottom(screen)) < columns,
            "status line",
        )


class Rooms(ScreenCase):
    async def test_numbers_and_what_is_unread(self) -> None:
        service = await self.serve()
        for columns, rows in SIZES:
            screen, bob = await self.rooms(service, columns=columns, rows=rows)
            bob.say('{"room": "+ops", "text": "over here"}')
            await screen.shows("[+ops] bob: over here")
            await screen.shows("[2:+ops 1]")
            bob.say('{"room": "+ops", "text": "Alice, are you there?"}')
            await screen.shows("[2:+ops 2!]")
            await screen.shows("Alice, are you there?")
            await screen.until(lambda: screen.raw.count(b"\x07") == 1, "bell")  # noqa: B023  # of this round
            screen.press("half\x1ba")
            await screen.shows("+ops> half")
            await screen.shows("-- now in +ops, 2 unread")
            await screen.hides("[2:+ops")
            screen.press("\x15\x1b[1;3D")  # C-u, Alt-Left
            await screen.shows("+lobby>")
            screen.press("\x1b9")
            await screen.shows("-- there is no room 9")
            screen.press("\x1ba")
            await screen.shows("-- nothing is unread")
            await self.narrower(screen, columns)
            screen.press("\x04")
            await self.finish(screen)
            bob.close_stdin()
            await bob.end()

    async def test_fingers_that_know_another_client(self) -> None:
        service = await self.serve("--rate", "0")
        for columns, rows in SIZES:
            screen, bob = await self.rooms(service, columns=columns, rows=rows)
            screen.enter("/names")
            await screen.told("in +lobby:")
            screen.press("/lis\t")
            await screen.shows("+lobby> /list")
            screen.press("\x15\x1b[5~")  # C-u, PageUp
            await screen.told("/history")
            screen.enter("/away")
            await screen.told("There is no /away here:")
            screen.enter("/clear")
            await screen.until(lambda: screen.lines[0] == "+lobby>", "an empty screen")  # noqa: B023  # of this round
            screen.press("\x1b0")
            await screen.told("-- there is no room 10")
            screen.enter("/win 2")
            await screen.shows("+ops>")
            screen.enter("/join a,b,c,d,e")
            await screen.told("-- in +e with alice")
            screen.press("\x1b1")
            await screen.shows("+lobby>")
            for room in "abcde":
                bob.say(json.dumps({"command": f"/join +{room}"}))
                await bob.line(f'"joined","room":"+{room}"')
                bob.say(json.dumps({"room": f"+{room}", "text": "alice!" if room == "d" else "hello"}))
            await screen.told("[+e] bob: hello")
            numbers = " · [3 4 5 6! 7]" if columns == 40 else " · [3:+a 1] · [4:+b 1] · [5:+c 1] · [6:+d 1!]"
            await screen.shows(numbers)
            screen.enter("/quit")
            await self.finish(screen)
            bob.close_stdin()
            await bob.end()


class Editing(ScreenCase):
    async def test_tab_history_and_lines(self) -> None:
        service = await self.serve()
        bob = await self.bob(service)
        for columns, rows in SIZES:
            screen = await self.enter(service, columns=columns, rows=rows)
            await screen.shows("+lobby>")
            self.say(bob, "hello")
            await screen.shows("bob: hello")
            screen.press("b\t")
            await screen.shows("+lobby> bob:")
            screen.enter("hi\x1b\rthere")  # Alt-Enter
            await screen.shows("alice: bob: hi")
            await screen.shows("      | there")
            screen.press("/h\t")
            await screen.shows("+lobby> /history")
            await screen.shows(" [/history] /help")
            screen.press("\t")
            await screen.shows("+lobby> /help")
            screen.press("\x1b[Z\x15")  # Shift-Tab, C-u
            await screen.shows(" +lobby · ")
            screen.press("\x12bob: h")  # C-r
            await screen.shows("(reverse-i-search)`bob: h'")
            screen.press("\r")
            await screen.shows("there")
            await screen.hides("reverse-i-search")
            screen.press("\x03")
            await screen.hides("reverse")
            screen.enter("/reply bob me too")
            await screen.shows('[to bob, "hello"]')
            screen.enter("/edit me three")
            await screen.shows("alice corrects #")
            screen.press("\x04")
            await self.finish(screen)

    async def test_wide_and_combining_characters_and_a_resize(self) -> None:
        service = await self.serve()
        bob = await self.bob(service)
        screen = await self.enter(service, columns=40, rows=10)
        await screen.shows("+lobby>")
        screen.press("日本語\x7f字")
        await screen.until(lambda: "日 本 字" in screen.text or "日本字" in screen.text, "what was typed")
        self.say(bob, "漢字" * 15 + " e\u0301te\u0301")
        await screen.until(lambda: "te\u0301" in screen.text or "té" in screen.text, "what bob said")
        await screen.until(lambda: any(x.startswith("+lobby> 日") for x in screen.lines), "the prompt")
        screen.resize(80, 24)
        await screen.shows(f"{service.address}")
        await screen.until(lambda: any(x.startswith("+lobby> 日") for x in screen.lines), "the prompt")
        screen.resize(30, 8)
        await screen.until(
            lambda: "here" in self.bottom(screen) and "open" not in screen.text, "a shorter line"
        )
        screen.enter("!")
        await screen.until(lambda: screen.text.count("日") == 1 and "alice" in screen.text, "it as said")
        screen.press("\x04")
        await self.finish(screen)

    async def test_a_paste_that_is_too_much(self) -> None:
        service = await self.serve()
        screen = await self.enter(service)
        await screen.shows("+lobby>")
        screen.press("\x1b[200~" + "line\n" * 3000 + "\x1b[201~")
        await screen.shows("!! That is 3000 lines")
        screen.press("\x1b[200~" + "a\rb\r\nc\n" + "\x1b[201~\r")
        await screen.shows("send 3 lines as one message? y/n")
        screen.press("\x1b")
        await screen.hides("y/n")
        screen.press("\r\r")
        await screen.shows("alice: a")
        await screen.shows("      | c")
        screen.press("\x04")
        await self.finish(screen)


class Colours(ScreenCase):
    async def test_they_can_be_read_on_light_and_dark(self) -> None:
        service = await self.serve()
        bob = await self.bob(service)
        raws = []
        for ground in ("15;0", "0;15"):
            screen = await self.enter(service, "--history", "1", COLORFGBG=ground)
            await screen.shows("+lobby>")
            self.say(bob, f"on {ground}")
            await screen.shows(f"bob: on {ground}")
            used = {character.fg for row in screen.cells for character in row if character.data.strip()}
            for colour in used - {"default"}:
                self.assertRegex(colour, "^[0-9a-f]{6}$")
                light = luminance(*bytes.fromhex(colour))
                self.assertGreater(min(1.05 / (light + 0.05), (light + 0.05) / 0.05), 3.8, colour)
            self.assertGreaterEqual(len(used), 3, "names, times and notes have colours")
            raws.append({character.bg for row in screen.cells for character in row})
            screen.press("\x04")
            await self.finish(screen)
        self.assertEqual(raws, [{"default"}, {"default"}], "the ground is the terminal's own")


class Picture(ScreenCase):
    async def test_the_one_in_the_readme(self) -> None:
        service = await self.serve("--motd", "Be kind.")
        screen, bob = await self.rooms(service, told="this device takes part in sealed rooms")
        self.say(bob, "good morning! shall we have tea?")
        await screen.shows("bob: good morning!")
        screen.enter("/reply bob yes, at four")
        await screen.shows("yes, at four")
        screen.enter("the build is gren")
        await screen.shows("is gren")
        screen.enter("/edit the build is green")
        await screen.shows("alice corrects #")
        bob.say('{"command": "/react 👍 3"}')
        await screen.shows("bob: 👍")
        self.say(bob, "alice: have you seen\n  the log of the\n  last night?")
        await screen.shows("      |   last night?")
        bob.say('{"room": "+ops", "text": "deploying"}')
        await screen.shows("[2:+ops 1]")
        screen.enter("/me looks")
        await screen.shows("* alice looks")
        screen.press("bob: all gr")
        await screen.shows("+lobby> bob: all gr")
        await screen.until(lambda: re.search(r"· \d+ ms ·", screen.text), "latency")
        if os.environ.get("ENCCHAT_SCREENS") == "write":
            PICTURE.write_text(self.drawn(screen, service), encoding="utf-8")
        picture = PICTURE.read_text(encoding="utf-8")
        await screen.until(
            lambda: self.drawn(screen, service) == picture, "such screen (make screens draws it anew)"
        )
        screen.press("\x03\x04")
        await self.finish(screen)

    def drawn(self, screen: Screen, service: Service) -> str:
        """The picture of what is on the screen now."""
        return svg(self.steady(screen, service), "encchat-client on a terminal")

    def steady(self, screen: Screen, service: Service) -> list[list[Any]]:
        """The rows, with what is another on each run made the same: times, the port, the latency."""
        rows = screen.cells
        for row in rows:
            text = "".join(character.data for character in row)
            steady = re.sub(r"^\d\d:\d\d ", "09:41 ", text)
            steady = re.sub(r"\b\d+ ms\b", "2 ms", steady.replace(service.address, "127.0.0.1:9999"))
            steady = steady.ljust(len(row))[: len(row)]
            row[:] = [cell._replace(data=data) for cell, data in zip(row, steady, strict=True)]
        return rows

    def test_it_is_small(self) -> None:
        self.assertLess(Path(PICTURE).stat().st_size, 30_000)
