"""The line that a person types, the bar below it, and whatever is to stand above both.

It needs nothing but asyncio's loop and prompt_toolkit, and knows nothing of chats: so it is on the screen
before anything else of the client is imported. What is entered until somebody listens waits. Lines that come
above it, and the line itself, reach the terminal in one write.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from typing import Any

from prompt_toolkit.application import Application
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.enums import DEFAULT_BUFFER, SEARCH_BUFFER
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.input import Input
from prompt_toolkit.layout import BufferControl, FormattedTextControl, HSplit, Layout, Window
from prompt_toolkit.layout.containers import ConditionalContainer
from prompt_toolkit.layout.controls import SearchBufferControl
from prompt_toolkit.layout.processors import (
    ConditionalProcessor,
    HighlightIncrementalSearchProcessor,
    HighlightSelectionProcessor,
    PasswordProcessor,
    ReverseSearchProcessor,
)
from prompt_toolkit.styles import Style

from encchat.client.screen.keys import bindings
from encchat.client.screen.listening import Early, Listener
from encchat.client.screen.paste import Pasting, TooLong
from encchat.client.screen.window import Display, Keyboard
from encchat.client.view.depth import depth_of
from encchat.text import clean_line

#: Seconds that ESC waits for what may follow it.
ESCAPE = 0.1
STYLE = Style.from_dict({"room": "bold", "bottom-toolbar": "reverse"})


class Prompt:
    """One prompt from here to the end. (Were there one for each line, what is typed between two of them would
    be echoed anywhere, and C-d be lost.)"""

    def __init__(self, listener: Early, display: Display, keyboard: Input) -> None:
        self._display = display
        self._keyboard = keyboard
        self._early: Early | None = listener
        self._listener: Listener = listener
        self._pasting = Pasting()
        self._interrupts = 0
        self._line = Buffer(name=DEFAULT_BUFFER)
        self._app = Application[int](
            layout=self._layout(),
            style=STYLE,
            include_default_pygments_style=False,
            key_bindings=bindings(self),
            erase_when_done=True,
            # A key is shown in the next turn of the loop, however busy it is.
            max_render_postpone_time=None,
            input=keyboard,
            output=display,
        )
        self._app.ttimeoutlen = self._app.timeoutlen = ESCAPE
        self._app.after_render += self._rendered
        display.gone = self._fail
        #: Done once the prompt is on the screen.
        self.painted: asyncio.Future[None]
        #: Done once the person has left, with the exit code; fails with an OSError if the terminal is gone.
        self.over: asyncio.Task[int]

    def _layout(self) -> Layout:
        searching = Condition(lambda: self._app.layout.current_control == search)
        search = SearchBufferControl(
            buffer=Buffer(name=SEARCH_BUFFER), input_processors=[ReverseSearchProcessor()]
        )
        hidden = Condition(lambda: bool(self._listener.question))
        line = Window(
            BufferControl(
                buffer=self._line,
                search_buffer_control=search,
                input_processors=[
                    HighlightIncrementalSearchProcessor(),
                    HighlightSelectionProcessor(),
                    ConditionalProcessor(PasswordProcessor(), hidden),
                ],
                include_default_input_processors=False,
                preview_search=True,
            ),
            get_line_prefix=self._before,
            wrap_lines=True,
        )
        bar = Window(
            FormattedTextControl(self._bar), style="class:bottom-toolbar", dont_extend_height=True, height=1
        )
        shown = HSplit(
            [
                ConditionalContainer(line, ~searching),
                ConditionalContainer(Window(search), searching),
                bar,
            ]
        )
        return Layout(shown, line)

    # ------------------------------------------------------------------------------- from start to end

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to show it, as soon as the loop runs."""
        loop.set_exception_handler(self._failed)
        self.painted = loop.create_future()
        self.over = loop.create_task(self._run())

    async def shown(self) -> None:
        """Wait until it is on the screen, or cannot be."""
        awaited: set[asyncio.Future[Any]] = {self.painted, self.over}
        await asyncio.wait(awaited, return_when="FIRST_COMPLETED")

    async def _run(self) -> int:
        try:
            return await self._app.run_async(handle_sigint=False, set_exception_handler=False)
        except EOFError:
            return 0

    def again(self) -> Prompt:
        """Another one in its place, with what was typed in this one."""
        other = Prompt(Early(self._listener.label(), lambda columns: ""), self._display, self._keyboard)
        other.prefill(self.text)
        return other

    def attach(self, listener: Listener) -> None:
        """From here on this one listens; what was entered before is told now."""
        early, self._early = self._early, None
        self._listener = listener
        if early is not None:
            early.tell(listener)
        self.redraw()

    @property
    def running(self) -> bool:
        """Whether it is on the screen."""
        return self._app.is_running and not self._app.is_done

    def _rendered(self, app: Application[int]) -> None:
        self._display.release()
        if not self.painted.done():
            self.painted.set_result(None)

    def _failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Something that the loop called has failed (asyncio's exception handler)."""
        self._fail(context.get("exception") or RuntimeError(context["message"]))

    def _fail(self, error: BaseException) -> None:
        if self.running:
            self._app.exit(exception=error)

    # ------------------------------------------------------------------------------------ what is shown

    @property
    def columns(self) -> int:
        """The columns of the window."""
        return self._display.get_size().columns

    def put(self, text: str) -> None:
        """Write above the prompt what a terminal in raw mode wants, each line ended by CR LF.

        :raises OSError: the terminal is gone.
        """
        if not self.running:
            self._display.write_raw(text)
            self._display.flush()
            return
        self._display.hold()
        self._app.renderer.erase(leave_alternate_screen=False)
        self._app.renderer.request_absolute_cursor_position()
        self._display.write_raw(text)
        self._app.invalidate()

    def tell(self, text: str) -> None:
        """Put a line of words."""
        self.put(f"{clean_line(text)}\r\n")

    def redraw(self) -> None:
        """What the listener says has changed."""
        if self.running:
            self._app.invalidate()

    def clear(self) -> None:
        """Clear the screen, as C-l does."""
        if self.running:
            self._app.renderer.clear()
            self._app.invalidate()

    def prefill(self, text: str) -> bool:
        """Put a text into the line; whether there still is one."""
        self._line.text = text
        self._line.cursor_position = len(text)
        return self.running

    def _before(self, number: int, wraps: int) -> StyleAndTextTuples:
        if number or wraps:
            return []
        argument = self._app.key_processor.arg
        if argument is not None:
            return [("", f"(arg: {argument}) ")]
        return [("class:room", self._listener.question or self._listener.label()), ("", "> ")]

    def _bar(self) -> StyleAndTextTuples:
        if self.asking:
            return [("", " " + self._pasting.question(self._line.text))]
        return [("", self._listener.bar(self._line.document.text_before_cursor, self.columns))]

    # ---------------------------------------------------------------------------- for the keys (keys.Desk)

    @property
    def asking(self) -> bool:
        """Whether a question about a paste waits for its answer."""
        return self._pasting.asking

    @property
    def text(self) -> str:
        """What stands in the line."""
        return self._line.text

    @property
    def question(self) -> str:
        """What is asked, of which the answer must not be seen."""
        return self._listener.question

    def may_send(self, text: str) -> bool:
        """Whether what is typed can go without a question."""
        return self._pasting.may_send(text)

    def refuse(self) -> None:
        """The answer is no."""
        self._pasting.kept()

    def entered(self, text: str) -> None:
        """A line is complete."""
        self.cleared()
        self._listener.entered(text)

    def pasted(self, data: str, already: str) -> str:
        """Something is pasted; returns what of it is taken."""
        try:
            return self._pasting.paste(data, already)
        except TooLong as error:
            self._listener.warn(str(error))
            return ""

    def complete(self, before: str, by: int) -> str | None:
        """Tab."""
        return None if self._listener.question else self._listener.complete(before, by)

    def go_to(self, number: int) -> None:
        """The room of that number."""
        self._listener.go_to(number)

    def go_beside(self, step: int) -> None:
        """The room before or after this one."""
        self._listener.go_beside(step)

    def go_unread(self) -> None:
        """Where something is unread."""
        self._listener.go_unread()

    def paged(self) -> None:
        """Somebody wants to see what was said before."""
        self._listener.paged()

    def cleared(self) -> None:
        """The line is empty."""
        self._pasting.cleared()
        self._interrupts = 0

    def interrupted(self) -> bool:
        """C-c on an empty line; whether to leave."""
        if self._listener.question:
            self._listener.refused()
            return False
        self._interrupts += 1
        if self._interrupts == 1:
            self._listener.interrupted()
        return self._interrupts > 1

    def leave(self, code: int) -> None:
        """The person wants to leave."""
        if self.running:
            self._app.exit(result=code)


def standing(room: str, bar: Callable[[int], str]) -> Prompt:
    """A prompt on this process's terminal, which is to be started: ``room`` is what it says before the line,
    ``bar`` what it says below, in so many columns."""
    return Prompt(Early(room, bar), Display(depth_of(os.environ)), Keyboard(sys.stdin))
