"""``encchat-client`` on a terminal, as a person sees it."""

from __future__ import annotations

import json
import re
import shlex
import signal
import sys

from tests.process.harness import PATIENT, Child, ProcessCase, Service
from tests.process.keys import place_identity
from tests.process.screen import Screen

#: What a program may send to a terminal: CSI sequences, and nothing else that begins with ESC.
_CSI = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\x1b=|\x1b>")


class TerminalCase(ProcessCase):
    """A test with a client on a terminal."""

    def setUp(self) -> None:
        super().setUp()
        for name in ("alice", "bob"):
            place_identity(self.home / "client" / name, name)

    def screen(
        self, *options: str, name: str = "alice", columns: int = 80, rows: int = 24, **environment: str
    ) -> Screen:
        screen = Screen(f"encchat-client {name}", columns, rows)
        self.children.append(screen)
        state = str(self.home / "client")
        command = [sys.executable, PATIENT, "--name", name, "--state", state, *options]
        screen.start(command, self.environment(**environment), str(self.home))
        return screen

    async def enter(self, service: Service, *options: str, **more: object) -> Screen:
        """A client that has come in."""
        screen = self.screen("--accept-new", *options, service.address, **more)  # type: ignore[arg-type]  # as given
        await screen.told("in +lobby with")
        return screen

    async def bob(self, service: Service) -> Child:
        """Somebody else, who says what the test says with ``say``."""
        bob = self.client("--accept-new", "--json", service.address, name="bob")
        await bob.line('"caught-up"')
        return bob

    def say(self, who: Child, text: str, kind: str = "text") -> None:
        who.say(json.dumps({"text": text, "kind": kind}))

    async def finish(self, screen: Screen, code: int = 0) -> None:
        self.assertEqual(await screen.end(), code, screen.report())
        self.assertNotIn("Traceback", screen.report())


class FirstVisit(TerminalCase):
    async def test_the_key_is_shown_and_asked_for_once(self) -> None:
        service = await self.serve("--motd", "Be kind.")
        key = service.listener()["fingerprint"]
        refused = self.screen(service.address)
        await refused.shows("[yes/no]")
        refused.enter("no")
        await self.finish(refused, 77)
        self.assertIn("a server that you have not met", refused.scrollback)
        screen = self.screen(service.address)
        await screen.shows("[yes/no]")
        self.assertIn(key, screen.text)
        screen.enter("maybe")
        await screen.shows("Please type yes or no:")
        screen.enter("yes")
        await screen.shows("+lobby> ".rstrip())
        await screen.shows("-- Be kind.")
        screen.enter("hello world")
        await screen.shows("alice: hello world")
        self.assertEqual(screen.scrollback.count("hello world"), 1, screen.report())
        screen.enter("/me waves")
        await screen.shows("* alice waves")
        screen.enter("/wohis bob")
        await screen.shows("Did you mean /whois?")
        await screen.shows(f" +lobby · open · 1 here · {service.address} · ")
        screen.enter("/quit")
        await self.finish(screen)
        again = self.screen(service.address)
        await again.told("in +lobby with alice")
        self.assertNotIn("[yes/no]", again.scrollback)
        again.press("\x04")
        await self.finish(again)


class Typing(TerminalCase):
    async def test_what_is_typed_stays_while_others_talk_and_the_window_changes(self) -> None:
        service = await self.serve()
        bob = await self.bob(service)
        screen = await self.enter(service, columns=40, rows=10)
        await screen.shows("+lobby>")
        screen.press("half a line")
        await screen.shows("+lobby> half a line")
        self.say(bob, "first")
        self.say(bob, "two\nlines")
        await screen.shows("      | lines")
        await screen.shows("+lobby> half a line")
        screen.resize(100, 30)
        self.say(bob, "wide now " + "x" * 70)
        await screen.shows("bob: wide now " + "x" * 70)
        await screen.shows("+lobby> half a line")
        screen.enter(" is whole")
        await screen.shows("alice: half a line is whole")
        for number in range(60):
            self.say(bob, f"line {number}")
        await screen.shows("bob: line 59")
        told = re.findall(r"bob: line (\d+)", screen.scrollback)
        self.assertEqual(told, [str(number) for number in range(60)])
        await self.paste_and_complete(screen)
        screen.press("something")
        await screen.shows("+lobby> something")
        screen.press("\x03")
        await screen.hides("something")
        screen.press("\x03")
        await screen.shows("-- C-d leaves, or C-c once more")
        screen.press("\x03")
        await self.finish(screen, 130)

    async def paste_and_complete(self, screen: Screen) -> None:
        """A paste of lines is one message, after a question; and Tab completes a command."""
        screen.press("\x1b[200~one\ntwo\n\x1b[201~")
        screen.press("\r")
        await screen.shows("send 2 lines as one message? y/n")
        screen.press("xn")
        await screen.hides("y/n")
        screen.press("\r")
        await screen.shows("send 2 lines as one message? y/n")
        screen.press("y")
        await screen.shows("alice: one")
        await screen.shows("      | two")
        screen.press("/he\t")
        await screen.shows("+lobby> /help")
        screen.press("\x03")
        await screen.hides("/help")


class Suspended(TerminalCase):
    async def test_c_z_and_fg(self) -> None:
        """Whatever the shell makes of the terminal meanwhile, keys are keys again afterwards."""
        service = await self.serve()
        screen = Screen("sh")
        self.children.append(screen)
        state = str(self.home / "client")
        options = ["--name", "alice", "--state", state, "--accept-new", service.address]
        client = shlex.join([sys.executable, PATIENT, *options])
        screen.start(
            ["/bin/sh", "-m", "-c", f"{client}; stty sane; echo stopped; fg"],
            self.environment(),
            str(self.home),
        )
        await screen.told("in +lobby with")
        screen.press("\x1a")
        await screen.told("stopped")
        await screen.shows("+lobby>")
        screen.press("half a line")
        await screen.shows("+lobby> half a line")
        screen.press("\x03")
        await screen.hides("half a line")
        screen.enter("hello again")
        await screen.told("alice: hello again")
        self.assertEqual(screen.scrollback.count("hello again"), 1, screen.report())
        screen.press("\x04")
        await self.finish(screen)


class Outages(TerminalCase):
    async def test_lines_wait_for_the_service(self) -> None:
        service = await self.serve()
        port = service.port
        screen = await self.enter(service)
        await screen.shows("+lobby>")
        service.signal(signal.SIGKILL)
        await service.end()
        await screen.shows("Trying again")
        screen.enter("typed meanwhile")
        await screen.shows("alice: typed meanwhile  (queued)")
        await screen.hides(" here")
        await screen.shows(" · not connected · 1 queued")
        await self.serve(port=port)
        screen.enter("/reconnect")
        await screen.until(lambda: screen.text.count("alice: typed meanwhile") == 2, "it as sent")
        await screen.hides("1 queued")
        screen.press("\x04")
        await self.finish(screen)

    async def test_a_start_without_the_service_shows_what_was_kept_and_queues(self) -> None:
        service = await self.serve()
        port = service.port
        screen = await self.enter(service)
        await screen.shows("+lobby>")
        screen.enter("said before")
        await screen.shows("alice: said before")
        screen.press("\x04")
        await self.finish(screen)
        await service.stop()
        screen = self.screen(service.address)
        await screen.shows("alice: said before")
        screen.enter("said without")
        await screen.shows("alice: said without  (queued)")
        await self.serve(port=port)
        screen.enter("/reconnect")
        await screen.until(lambda: screen.text.count("alice: said without") == 2, "it as sent")
        screen.press("\x04")
        await self.finish(screen)

    async def test_what_was_typed_is_kept_when_the_terminal_goes_away(self) -> None:
        service = await self.serve()
        port = service.port
        for number, options in enumerate(((), ("--linear",))):
            screen = await self.enter(service, *options)
            service.signal(signal.SIGKILL)
            await service.end()
            await screen.shows("Trying again")
            screen.enter(f"kept {number}")
            await screen.shows("queued")
            screen.hang_up()
            await self.finish(screen, 129)
            service = await self.serve(port=port)
            screen = await self.enter(service, *options)
            await screen.shows("1 message of an earlier run to be sent")
            bob = await self.bob(service)
            self.say(bob, "/history 10")
            await screen.shows("bob: /history 10")
            screen.enter("/history")
            await screen.shows(f"alice: kept {number}")
            screen.press("\x04")
            await self.finish(screen)
            bob.close_stdin()
            await bob.end()

    async def test_a_terminal_that_goes_away(self) -> None:
        service = await self.serve()
        for options in ((), ("--linear",)):
            screen = await self.enter(service, *options, TMPDIR=str(self.home))
            screen.hang_up()
            await self.finish(screen, 129)
        self.assertEqual(list(self.home.glob("encchat-client-*")), [], "it was not foreseen")


class Safety(TerminalCase):
    async def test_nothing_of_a_message_steers_the_terminal(self) -> None:
        service = await self.serve()
        bob = await self.bob(service)
        screen = await self.enter(service, NO_COLOR="1")
        evil = "\x1b]52;c;QUJD\x07\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b5m\x9d0;x\x9c\u202egnp\r\x08\x00."
        self.say(bob, evil)
        self.say(bob, f"dances {evil}", "me")
        bob.say(json.dumps({"command": f"/topic {evil}"}))
        await screen.shows("bob set the topic")
        self.assertIn("bob: redgnp.", screen.text)
        self.assertIn("* bob dances redgnp.", screen.text)
        screen.signal(signal.SIGTERM)
        await self.finish(screen, 143)  # before that, the last thing sent may be half of one
        left = _CSI.sub(b"", screen.raw)
        self.assertNotIn(b"\x1b", left)
        self.assertNotIn(b"\x07", left)
        self.assertNotIn("\u202e".encode(), screen.raw)
        self.assertNotIn("\x9b".encode(), screen.raw)
        # And no colour comes to where none is wanted.
        for codes in re.findall(rb"\x1b\[([0-9;]*)m", screen.raw):
            self.assertLessEqual({int(code or b"0") for code in codes.split(b";")}, {0, 1, 7}, codes)

    async def test_linear_and_dumb_terminals_get_plain_lines(self) -> None:
        service = await self.serve()
        for options, environment in ((("--linear",), {}), ((), {"TERM": "dumb"})):
            screen = await self.enter(service, *options, **environment)
            screen.enter("/who")
            await screen.shows("-- in +lobby: alice")
            screen.enter("said once")
            screen.enter("/topic tea")
            await screen.shows("alice set the topic of +lobby to: tea")
            self.assertEqual(screen.text.count("said once"), 1, screen.report())
            self.assertNotIn(b"\x1b", screen.raw)
            screen.press("\x04")
            await self.finish(screen)
