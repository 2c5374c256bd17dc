"""The prompt before anybody listens, what reaches the terminal in one write, and how it ends."""

from __future__ import annotations

import asyncio
import errno
import io
import sys
from collections.abc import Callable
from contextlib import nullcontext

from prompt_toolkit.application import application
from prompt_toolkit.input import create_pipe_input
from twisted.trial.unittest import SynchronousTestCase

from encchat.client.screen.keys import INTERRUPTED
from encchat.client.screen.listening import Early
from encchat.client.screen.paste import MAX_LINES
from encchat.client.screen.prompt import Prompt
from encchat.client.screen.window import Display
from encchat.client.view.depth import Depth

#: Far more turns of the loop than anything takes.
TURNS = 10_000


class Sheet(io.StringIO):
    """Remembers each write."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[str] = []
        self.gone = False

    def write(self, text: str) -> int:
        if self.gone:
            raise OSError(errno.EIO, "gone")
        self.writes.append(text)
        return len(text)


class Listening:
    """Remembers what it is told."""

    question = ""

    def __init__(self) -> None:
        self.told: list[object] = []

    def label(self) -> str:
        return "+tea"

    def bar(self, before: str, columns: int) -> str:
        return "the bar"

    def entered(self, text: str) -> None:
        self.told.append(text)

    def warn(self, text: str) -> None:
        self.told.append(("warned", text[:7]))

    def complete(self, before: str, by: int) -> str | None:
        return before + "!"

    def go_to(self, number: int) -> None:
        self.told.append(number)

    def go_beside(self, step: int) -> None:
        self.told.append(("beside", step))

    def go_unread(self) -> None:
        self.told.append("unread")

    def paged(self) -> None:
        self.told.append("paged")

    def refused(self) -> None:
        self.told.append("refused")

    def interrupted(self) -> None:
        self.told.append("interrupted")


class OnALoop(SynchronousTestCase):
    def setUp(self) -> None:
        self.sheet = Sheet()
        self.patch(sys, "stdout", self.sheet)
        # The reactor that runs other tests has its own way to be woken by signals.
        self.patch(application, "attach_winch_signal_handler", lambda handler: nullcontext())
        display = Display(Depth.MONO)
        self.loop = asyncio.new_event_loop()
        self.addCleanup(self.loop.close)
        pipe = create_pipe_input()
        self.keyboard = pipe.__enter__()
        self.addCleanup(pipe.__exit__, None, None, None)
        self.prompt = Prompt(Early("+lobby", lambda columns: "soon"), display, self.keyboard)
        self.prompt.start(self.loop)
        self.addCleanup(self.end)
        self.loop.run_until_complete(self.prompt.shown())

    def end(self) -> None:
        if not self.prompt.over.done():
            self.prompt.leave(0)
            self.loop.run_until_complete(self.prompt.over)

    def until(self, done: Callable[[], bool]) -> None:
        """Let the loop turn until something is so; nothing of it takes time."""
        for _ in range(TURNS):
            if done():
                return
            self.loop.run_until_complete(asyncio.sleep(0))
        self.fail("".join(self.sheet.writes))

    def type(self, keys: str, done: Callable[[], bool]) -> None:
        self.keyboard.send_text(keys)
        self.until(done)


class BeforeAnybodyListens(OnALoop):
    def test_it_stands_there(self) -> None:
        text = "".join(self.sheet.writes)
        self.assertIn("+lobby", text)
        self.assertIn("soon", text)
        self.assertTrue(self.prompt.running)

    def test_what_is_entered_is_told_in_its_order(self) -> None:
        self.type("one\rtwo\r\x03", lambda: len(self.prompt._early._kept) == 3)
        paste = "\x1b[200~" + "\n" * (MAX_LINES + 1) + "\x1b[201~"
        self.type(f"\t\x1b1\x1b[5~\x1ba{paste}three", lambda: self.prompt.text == "three")
        listener = Listening()
        self.prompt.attach(listener)
        self.assertEqual(listener.told, ["one", "two", "interrupted", ("warned", "That is")])
        self.type("\r", lambda: listener.told[-1] == "three")
        self.until(lambda: "the bar" in "".join(self.sheet.writes))

    def test_one_may_leave(self) -> None:
        self.type("\x04", self.prompt.over.done)
        self.assertEqual(self.prompt.over.result(), 0)
        self.assertFalse(self.prompt.running)

    def test_c_c_leaves_at_the_second_time(self) -> None:
        self.type("x\x03\x03", lambda: not self.prompt.text and len(self.prompt._early._kept) == 1)
        self.assertTrue(self.prompt.running)
        self.type("\x03", self.prompt.over.done)
        self.assertEqual(self.prompt.over.result(), INTERRUPTED)

    def test_another_in_its_place_has_what_was_typed(self) -> None:
        self.type("half a li", lambda: self.prompt.text == "half a li")
        self.prompt.leave(0)
        self.loop.run_until_complete(self.prompt.over)
        self.prompt = self.prompt.again()
        self.prompt.start(self.loop)
        self.loop.run_until_complete(self.prompt.shown())
        self.assertEqual(self.prompt.text, "half a li")


class Above(OnALoop):
    def test_lines_and_the_prompt_are_one_write(self) -> None:
        self.prompt.attach(Listening())
        self.until(lambda: "the bar" in "".join(self.sheet.writes))
        self.sheet.writes.clear()
        self.prompt.put("one\r\n")
        self.prompt.put("two\r\n")
        self.assertEqual(self.sheet.writes, [])
        self.until(lambda: bool(self.sheet.writes))
        (text,) = self.sheet.writes
        self.assertLess(text.index("one\r\n"), text.index("two\r\n"))
        self.assertLess(text.index("two\r\n"), text.index("+tea"))
        self.assertIn("the bar", text)

    def test_a_key_meanwhile_is_in_it(self) -> None:
        self.prompt.put("one\r\n")
        self.sheet.writes.clear()
        self.type("k", lambda: "k" in "".join(self.sheet.writes))
        self.assertIn("one\r\n", self.sheet.writes[0])

    def test_after_the_end_lines_are_just_written(self) -> None:
        self.prompt.leave(0)
        self.loop.run_until_complete(self.prompt.over)
        self.sheet.writes.clear()
        self.prompt.tell("bye\x1b[31m")
        self.assertEqual(self.sheet.writes, ["bye\r\n"])

    def test_what_it_is_asked_and_told(self) -> None:
        listener = Listening()
        self.prompt.attach(listener)
        self.type("\x1b1\x1b0\x1b[5~\x1ba", lambda: "unread" in listener.told)
        self.assertEqual(listener.told, [1, 10, "paged", "unread"])
        self.type("ab\t", lambda: self.prompt.text == "ab!")
        self.type("\x15", lambda: not self.prompt.text)
        listener.question = "Passphrase"
        self.type("abc\t", lambda: self.prompt.text == "abc")
        self.prompt.redraw()
        self.until(lambda: "***" in "".join(self.sheet.writes))
        self.type("\x03\x03", lambda: listener.told[-1] == "refused")
        self.assertTrue(self.prompt.running)


class Ends(OnALoop):
    def test_a_terminal_that_is_gone(self) -> None:
        self.sheet.gone = True
        self.prompt.put("who sees this?\r\n")
        self.until(self.prompt.over.done)
        self.assertIsInstance(self.prompt.over.exception(), OSError)
        self.sheet.gone = False

    def test_what_nobody_foresaw_ends_it(self) -> None:
        self.loop.call_soon(lambda: 1 / 0)
        self.until(self.prompt.over.done)
        self.assertIsInstance(self.prompt.over.exception(), ZeroDivisionError)

    def test_a_keyboard_that_is_gone(self) -> None:
        self.keyboard.close()
        self.until(self.prompt.over.done)
        self.assertEqual(self.prompt.over.result(), 0)
