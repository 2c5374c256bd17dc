"""A console that runs for long does not grow: what it remembers of what was said has a bound."""

from __future__ import annotations

import errno
import gc
import re
import tracemalloc
from collections.abc import Sequence
from types import SimpleNamespace
from typing import cast

from twisted.internet.defer import Deferred

from encchat.client import events as e
from encchat.client.screen.drawing import BEHIND, DRAW_EVERY, DRAWN, WRITTEN
from encchat.client.screen.prompt import Prompt
from encchat.client.screen.terminal import Terminal, TerminalGone
from encchat.client.view.colours import Line, Painter
from encchat.client.view.depth import Depth
from encchat.client.view.wrapping import wrapped
from encchat.messages import Entry
from tests.client.screen.test_console import LOBBY, ConsoleTestCase, Screen


class Forgetful(Screen):
    """Paints, and keeps nothing of it."""

    painter = Painter(Depth.MANY)

    def show(self, lines: Sequence[Line]) -> None:
        self.painter.paint([row for line in lines for row in wrapped(line, 80)])


class LongRuns(ConsoleTestCase):
    def make(self, history: int | None) -> Forgetful:
        return Forgetful(self.world.clock, self.world.chat, LOBBY, history)

    def hear(self, first: int, last: int) -> None:
        for seq in range(first, last):
            sender, kind = f"name{seq}", "reply" if seq % 10 == 0 else "text"
            body = b'{"target": %d, "text": "yes"}' % (seq - 5) if kind == "reply" else b"hello %d" % seq
            for room in (LOBBY, "+other"):
                entry = Entry(room, seq, seq * 1000, sender, "", kind, seq.to_bytes(16, "big"), body * 3)
                self.screen.happened([e.NewEntry(entry, False, False)])

    def test_what_is_heard_does_not_pile_up(self) -> None:
        self.start()
        self.screen.tabs.entered("+other", 0)
        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        self.hear(1, 5000)  # every cache is full
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        self.hear(5000, 8000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        self.assertLess(after - before, 200_000)
        self.assertEqual(self.screen.tabs.unread, {"+other": 7999})


class Paper:
    """A prompt that nobody types at."""

    columns = 80

    def __init__(self) -> None:
        self.written: list[str] = []
        self.gone = False
        self.over = SimpleNamespace(done=lambda: True)

    def put(self, text: str) -> None:
        if self.gone:
            raise OSError(errno.EIO, "gone")
        self.written.append(text)

    def redraw(self) -> None:
        """Nobody looks."""


class FarBehind(ConsoleTestCase):
    """The terminal, without one."""

    def make(self, history: int | None) -> Terminal:
        self.paper = Paper()
        self.written = self.paper.written
        terminal = Terminal(
            self.world.clock,
            self.world.chat,
            LOBBY,
            "chat.example:9999",
            history,
            cast(Prompt, self.paper),
        )
        self.patch(terminal, "converse", self.never)
        return terminal

    async def never(self) -> None:
        await Deferred()

    def seen(self) -> str:
        """What was written, without its colours."""
        return re.sub(r"\x1b\[[0-9;]*m", "", "".join(self.written))

    def test_a_screen_that_is_gone_ends_the_conversation(self) -> None:
        terminal = self.start()
        self.paper.gone = True
        terminal.show([[("", "who sees this?")]])
        self.world.clock.advance(1)
        self.world.settle()
        self.assertIsInstance(self.error, TerminalGone)

    def test_the_server_waits_while_the_screen_is_far_behind(self) -> None:
        terminal = self.start()
        self.world.clock.advance(1)
        self.written.clear()
        terminal.show([[("", str(number))] for number in range(BEHIND + 1)])
        self.assertTrue(self.world.transport.paused)
        for drawn in range(1, 4):
            self.world.clock.advance(DRAW_EVERY)
            self.assertEqual(sum(text.count("\r\n") for text in self.written), drawn * DRAWN)
        self.assertEqual(len(self.written), 3)
        self.world.later(30, step=0.1)
        self.assertFalse(self.world.transport.paused)
        shown = "".join(self.written).split("\r\n")
        self.assertEqual(shown[: BEHIND + 1], [str(number) for number in range(BEHIND + 1)])

    def test_little_is_written_at_once_however_long_the_lines_are(self) -> None:
        terminal = self.start()
        self.world.clock.advance(1)
        self.written.clear()
        terminal.show([[("", "x" * 3000)] for _ in range(50)])
        self.world.clock.advance(DRAW_EVERY)
        self.assertLess(len(self.written[0]), WRITTEN + 3010)
        self.world.later(2, step=0.1)
        self.assertEqual(self.seen().count("x"), 150_000)
        self.assertEqual(len(self.written), 9)

    def test_what_is_typed_and_does_not_come_back_is_shown_as_queued(self) -> None:
        terminal = self.start()
        self.world.transport.paused = True
        terminal.typed("are you there?")
        self.world.clock.advance(0.5)
        self.assertNotIn("queued", "".join(self.written))
        self.world.later(2, step=0.2)
        self.assertEqual(self.seen().count("alice: are you there?  (queued)"), 1)
        terminal.typed("hello?")
        self.world.later(2, step=0.2)
        self.assertEqual(self.seen().count("(queued)"), 2)
        self.world.transport.paused = False
        self.world.later(1)
        self.assertIn("alice: are you there?\r\n", self.seen())

    def test_the_latency_is_asked_for_now_and_then(self) -> None:
        self.start()
        self.assertIsNotNone(self.world.chat.session.latency)
        self.assertEqual(self.screen._status().latency, 0.0)
