"""The console on a terminal: a prompt at the bottom, the talk scrolling above it in the usual scrollback.

Needs Twisted's asyncio reactor, on whose loop prompt_toolkit runs.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

from prompt_toolkit import PromptSession, print_formatted_text
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import has_focus
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.shortcuts import CompleteStyle
from prompt_toolkit.styles import Style
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat.client.chat import Chat
from encchat.client.commands import COMMANDS
from encchat.client.console import Line, PersonConsole
from encchat.errors import EncchatError
from encchat.text import clean_line

#: Seconds that lines wait to be drawn together.
DRAW_AFTER = 0.03
#: Exit code after C-c on an empty line.
INTERRUPTED = 130

#: Colours that can be read on light and dark ground.
STYLE = Style.from_dict(
    {
        "time": "ansibrightblack",
        "room": "bold",
        "note": "ansibrightblack",
        "warning": "ansired bold",
        "own": "bold",
        "name0": "ansicyan bold",
        "name1": "ansigreen bold",
        "name2": "ansimagenta bold",
        "name3": "ansired bold",
        "name4": "ansiblue bold",
        "name5": "ansiyellow bold",
        "bottom-toolbar": "reverse",
    }
)


class Interrupted(Exception):
    """C-c on an empty line. (A task that ends with KeyboardInterrupt would stop asyncio's loop.)"""


class TerminalGone(EncchatError):
    """The terminal is gone. What was typed is kept, and sent when you come back."""

    exit_code = 129


class Terminal(PersonConsole):
    """Draws around a prompt."""

    def __init__(self, clock: IReactorTime, chat: Chat, room: str, address: str, history: int | None) -> None:
        super().__init__(clock, chat, room, history)
        self._address = address
        self._waiting: list[Line] = []
        self._timer: IDelayedCall | None = None
        self._session: PromptSession[str] | None = None
        self._depth = ColorDepth.DEPTH_1_BIT if os.environ.get("NO_COLOR") else None

    async def run(self) -> int:
        """As the base, and everything is on the screen at the end."""
        try:
            return await super().run()
        except OSError:
            raise TerminalGone() from None
        finally:
            self._session = None
            with suppress(OSError):
                self._draw()

    async def converse(self) -> None:
        """One prompt from here to the end. (Were there one for each line, what is typed between two of
        them would be echoed anywhere, and C-d be lost.)"""
        await self.chat.when(lambda: self.ready)
        session: PromptSession[str] = PromptSession(
            lambda: [("class:room", f"{clean_line(self.room or 'no room')}"), ("", "> ")],
            bottom_toolbar=self._status,
            style=STYLE,
            color_depth=self._depth,
            erase_when_done=True,
            completer=Words(self),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            key_bindings=self._keys(),
            history=InMemoryHistory(),
            input=RawInput(sys.stdin),
        )
        self._session = session
        prompt = asyncio.ensure_future(session.prompt_async(handle_sigint=False))
        try:
            await Deferred.fromFuture(prompt)
        except EOFError:
            return
        except Interrupted:
            self.finish(INTERRUPTED)

    def show(self, lines: Sequence[Line]) -> None:
        """Draw lines above the prompt, soon."""
        self._waiting += lines
        if self._timer is None:
            self._timer = self.clock.callLater(DRAW_AFTER, self._draw)

    def changed(self) -> None:
        """Draw the status line anew."""
        if self._session is not None:
            self._session.app.invalidate()

    def _draw(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        lines, self._waiting = self._waiting, []
        if lines:
            text = FormattedText([piece for line in lines for piece in (*line, ("", "\n"))])
            print_formatted_text(text, end="", style=STYLE, color_depth=self._depth)
            self.seen(self.chat.reached(self.chat.session.rooms))

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
        def _(event: KeyPressEvent) -> None:
            """Say it, or do it."""
            buffer = event.current_buffer
            text = buffer.text
            buffer.append_to_history()
            buffer.reset()
            self.typed(text)

        @keys.add("c-c")
        def _(event: KeyPressEvent) -> None:
            """Clear the line; on an empty one, leave."""
            if event.current_buffer.text:
                event.current_buffer.reset()
            else:
                event.app.exit(exception=Interrupted(), style="class:aborting")

        return keys

    def _status(self) -> FormattedText:
        """The line at the bottom: room, who is there, the link, what waits, what is unread elsewhere."""
        room = self.chat.session.rooms.get(self.room or "")
        parts = [clean_line(self.room or "no room")]
        if room is not None:
            parts.append(f"{len(room.members)} here")
        parts.append(self._address if self.connected else f"{self._address} is not connected")
        if self.chat.unacknowledged:
            parts.append(f"{self.chat.unacknowledged} waiting to be sent")
        parts += [f"{clean_line(name)} {count} unread" for name, count in self.unread.items()]
        return FormattedText([("", " " + " · ".join(parts))])


class RawInput(Vt100Input):
    """Keys that are pressed while lines are drawn above the prompt wait, as at any other time; they would
    be echoed in the midst of the lines if the terminal were cooked meanwhile."""

    def cooked_mode(self) -> AbstractContextManager[None]:
        """Nothing that draws here needs it."""
        return nullcontext()


class Words(Completer):
    """Completes commands, rooms and names."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the word before the cursor may become."""
        before = document.text_before_cursor
        word = before.rpartition(" ")[2]
        first = word == before
        for known in self._known(first, word):
            if known.casefold().startswith(word.casefold()) and known != word:
                yield Completion(known, start_position=-len(word))

    def _known(self, first: bool, word: str) -> Iterable[str]:
        if first and word.startswith("/"):
            return [f"/{name} " for name in COMMANDS]
        session = self._terminal.chat.session
        room = session.rooms.get(self._terminal.room or "")
        names = sorted(map(clean_line, room.members)) if room is not None and word else []
        return [*session.rooms, *(f"{name}: " if first else f"{name} " for name in names)]
