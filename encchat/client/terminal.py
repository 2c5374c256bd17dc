"""The console on a terminal: a prompt at the bottom, the talk scrolling above it in the usual scrollback.

Needs Twisted's asyncio reactor, on whose loop prompt_toolkit runs. What is drawn waits a moment, to be drawn
together with what comes meanwhile, and only so much at once: keys are heard between. When the screen is
far behind, the server has to wait.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress

from prompt_toolkit import PromptSession
from prompt_toolkit.application import Application, in_terminal
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.styles import Style
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat.client import events as e
from encchat.client.aliases import ALIASES
from encchat.client.chat import Chat
from encchat.client.colours import Line, Painter, depth_of
from encchat.client.commands import COMMANDS
from encchat.client.completion import Completion, Known
from encchat.client.console import PersonConsole
from encchat.client.keys import bindings
from encchat.client.outbox import Item
from encchat.client.paste import Pasting, TooLong
from encchat.client.sealnews import room_words
from encchat.client.show import now
from encchat.client.status import Status, shown_room, status_text
from encchat.client.window import Keyboard, Window
from encchat.client.wrapping import wrapped
from encchat.errors import EncchatError
from encchat.text import clean_line

#: Seconds from one drawing to the next at least: what comes meanwhile is drawn together.
DRAW_EVERY = 0.1
#: Lines that are drawn at once, and that wait above which the server must not send more.
DRAWN, BEHIND = 200, 2000
#: Seconds between questions of how fast the server answers.
PING_EVERY = 15.0
#: Seconds that what was typed may take to come back before it is shown as queued.
SHOWN_AFTER = 1.0
#: Exit code after C-c on an empty line.
INTERRUPTED = 130

STYLE = Style.from_dict({"room": "bold", "bottom-toolbar": "reverse"})


class Interrupted(Exception):
    """C-c twice on an empty line. (A task that ends with KeyboardInterrupt would stop asyncio's loop.)"""


class TerminalGone(EncchatError):
    """The terminal is gone. What was typed is kept, and sent when you come back."""

    exit_code = 129


class Terminal(PersonConsole):
    """Draws around a prompt (keys.Desk)."""

    def __init__(self, clock: IReactorTime, chat: Chat, room: str, address: str, history: int | None) -> None:
        super().__init__(clock, chat, room, history)
        self._address = address
        self._waiting: deque[Line] = deque()
        self._signals = ""
        self._timer: IDelayedCall | None = None
        self._ping_timer: IDelayedCall | None = None
        self._held = False
        self._draw_at = 0.0
        self._unsent: list[Item] = []
        self._session: PromptSession[str] | None = None
        self._prompt: asyncio.Future[str] | None = None
        #: Fires once the prompt is on the screen; what takes long waits for it.
        self.painted: Deferred[None] = Deferred()
        depth = depth_of(os.environ)
        self._painter = Painter(depth)
        self._window = Window(depth)
        self._pasting = Pasting()
        self._completion = Completion(self._known)
        self._interrupts = 0
        #: Whether it was said where to scroll.
        self._paged = False
        #: The room that is shown, and how it is protected.
        self._seal = "", ""

    async def run(self) -> int:
        """As the base, and everything is on the screen at the end."""
        try:
            return await super().run()
        except OSError:
            raise TerminalGone() from None
        finally:
            self._session = None
            if self._ping_timer is not None and self._ping_timer.active():
                self._ping_timer.cancel()
            if self._prompt is None or self._prompt.done():
                self._draw_last()

    def _draw_last(self) -> None:
        with suppress(OSError):
            self._draw_all()

    async def closed(self) -> None:
        """Wait until the terminal is given back, when the conversation was cut off; nothing may be written to
        it before."""
        if self._prompt is not None and not self._prompt.done():
            await Deferred.fromFuture(asyncio.ensure_future(asyncio.wait([self._prompt])))
            self._draw_last()

    async def converse(self) -> None:
        """One prompt from here to the end. (Were there one for each line, what is typed between two of
        them would be echoed anywhere, and C-d be lost.)"""
        session: PromptSession[str] = PromptSession(
            lambda: [
                (
                    "class:room",
                    self.question or shown_room(self.title(self.room) if self.room else "no room"),
                ),
                ("", "> "),
            ],
            bottom_toolbar=self._bottom,
            style=STYLE,
            erase_when_done=True,
            key_bindings=bindings(self),
            history=InMemoryHistory(),
            input=Keyboard(sys.stdin),
            output=self._window,
            enable_suspend=True,
            is_password=Condition(lambda: bool(self.question)),
        )
        session.app.ttimeoutlen = session.app.timeoutlen = 0.1  # seconds that ESC waits for what may follow
        session.app.after_render += self._rendered
        self._session = session
        self._ping()
        # What is here now stays to the end: not to be looked through again each time that garbage is
        # collected, which would make keys wait.
        gc.freeze()
        self._prompt = asyncio.ensure_future(session.prompt_async(handle_sigint=False))
        try:
            await Deferred.fromFuture(self._prompt)
        except EOFError:
            return
        except Interrupted:
            self.finish(INTERRUPTED)

    def _rendered(self, app: Application[str]) -> None:
        if not self.painted.called:
            self.painted.callback(None)

    # ------------------------------------------------------------------------------------- drawing

    def show(self, lines: Sequence[Line]) -> None:
        """Draw lines above the prompt, soon."""
        self._waiting += lines
        if len(self._waiting) > BEHIND and not self._held:
            self._held = True
            self.chat.hold()
        self._draw_soon()

    def signal(self, code: str) -> None:
        """Sent with what is drawn next: once, however often it is wanted until then."""
        self._signals = code

    def changed(self) -> None:
        """Draw the status line anew, soon."""
        self._seal = "", ""
        self._draw_soon()

    def _draw_soon(self) -> None:
        if self._timer is None:
            self._timer = self.clock.callLater(max(0.0, self._draw_at - self.clock.seconds()), self._draw_due)

    def _draw_due(self) -> None:
        try:
            self._draw()
        except OSError:
            if not self.over.called:
                self.over.errback(TerminalGone())

    def _draw(self) -> None:
        self._timer = None
        self._draw_at = self.clock.seconds() + DRAW_EVERY
        if not self._waiting and not self._signals:
            if self._session is not None:
                self._session.app.invalidate()
            return
        lines = [self._waiting.popleft() for _ in range(min(DRAWN, len(self._waiting)))]
        columns = self._window.get_size().columns
        rows = [row for line in lines for row in wrapped(line, columns)]
        text, self._signals = self._painter.paint(rows) + self._signals, ""
        if self._session is None or not self._session.app.is_running:
            self._write(text)
        else:
            self._session.app.create_background_task(self._write_above(text))
        if self._waiting:
            self._draw_soon()
            return
        if self._held:
            self._held = False
            self.chat.release()
        self.seen(self.chat.reached(self.chat.session.rooms))

    def _draw_all(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        while self._waiting:
            self._draw()
            if self._timer is not None and self._timer.active():
                self._timer.cancel()

    async def _write_above(self, text: str) -> None:
        with self._window.at_once():
            async with in_terminal():
                self._window.write_raw(text)

    def _write(self, text: str) -> None:
        self._window.write_raw(text)
        self._window.flush()

    def _bottom(self) -> FormattedText:
        """The line at the bottom."""
        columns = self._window.get_size().columns
        assert self._session is not None
        before = self._session.default_buffer.document.text_before_cursor
        if self._pasting.asking:
            text = " " + self._pasting.question(self._session.default_buffer.text)
        else:
            text = self._completion.shown(before, columns) or status_text(self._status(), columns)
        return FormattedText([("", text)])

    def _status(self) -> Status:
        copy = self.chat.session.rooms.get(self.room or "")
        numbers = self.tabs.numbers
        return Status(
            room=self.room and self.title(self.room),
            seal=self._sealed(),
            members=len(copy.members) or None if copy is not None else None,
            connected=self.connected,
            coming=not (self._greeted or self._apart),
            address=self._address,
            latency=self.chat.session.latency,
            unanswered=self.chat.session.unanswered(self.clock.seconds()),
            queued=self.chat.unacknowledged,
            unread=[
                (numbers[room], self.title(room), number, self.tabs.mentioned(room))
                for room, number in self.tabs.unread.items()
            ],
            files=[(t.name, t.up, t.percent) for t in self.chat.files.transfers],
        )

    def _sealed(self) -> str:
        """How the room is protected, which is looked up again only when something has happened."""
        if self.room and self._seal[0] != self.room:
            self._seal = self.room, room_words(self.chat, self.room)
        return self._seal[1] if self.room else ""

    # -------------------------------------------------------------------------------- what happens

    def happened(self, events: Sequence[e.Event]) -> None:
        """As the base; and each time that we come in, how fast the server answers."""
        super().happened(events)
        if any(isinstance(event, e.JoinedRoom) for event in events):
            self._ping()

    def _ping(self) -> None:
        if self._ping_timer is not None and self._ping_timer.active():
            self._ping_timer.cancel()
        self._ping_timer = self.clock.callLater(PING_EVERY, self._ping)
        self.chat.session.ping()
        self.chat.flush()
        self._draw_soon()  # the server may owe the last answer still

    def queued(self, items: Sequence[Item]) -> None:
        """Show them as queued now; they are shown again, as any other message, once they are sent."""
        items = [item for item in items if item.msgid not in self._queued]
        self._queued.update(item.msgid for item in items)
        for item in items:
            if item.kind in ("text", "me"):
                text = item.body.decode("utf-8", "replace")
                self.show(self.entries.waiting(item.room, item.kind, text, now()))
            else:
                self.note("queued: it is done when the connection is back")

    def say(self, room: str, kind: str, text: str) -> None:
        """As the base; what does not come back soon is shown as queued."""
        super().say(room, kind, text)
        if self.connected and self.chat.unacknowledged:
            self._unsent = self.chat.waiting()
            self.clock.callLater(SHOWN_AFTER, self._look_after, self._unsent)

    def _look_after(self, items: Sequence[Item]) -> None:
        if self._unsent is items:
            waiting = {item.msgid for item in self.chat.waiting()}
            self.queued([item for item in items if item.msgid in waiting])

    def hide(self, question: str) -> None:
        """The prompt asks, and shows stars (``converse``)."""
        self._draw_soon()

    def prefill(self, text: str) -> bool:
        """Put a text into the line."""
        if self._session is None:
            return False
        self._session.default_buffer.text = text
        self._session.default_buffer.cursor_position = len(text)
        return True

    def clear(self) -> bool:
        """As C-l."""
        if self._session is not None:
            self._session.app.renderer.clear()
            self._draw_soon()
        return True

    # -------------------------------------------------------------------------------- for the keys

    @property
    def asking(self) -> bool:
        """Whether a question waits for its answer."""
        return self._pasting.asking

    def may_send(self, text: str) -> bool:
        """Whether what is typed can go without a question."""
        return self._pasting.may_send(text)

    def refuse(self) -> None:
        """The answer is no."""
        self._pasting.kept()

    def entered(self, text: str) -> None:
        """A line is complete."""
        self.cleared()
        self.typed(text)

    def pasted(self, data: str, already: str) -> str:
        """Something is pasted; returns what of it is taken."""
        try:
            return self._pasting.paste(data, already)
        except TooLong as error:
            self.warn(str(error))
            return ""

    def cleared(self) -> None:
        """The line is empty."""
        self._pasting.cleared()
        self._interrupts = 0

    def complete(self, before: str, by: int) -> str | None:
        """Tab."""
        return None if self.question else self._completion.step(before, by)

    def go_to(self, number: int) -> None:
        """The room of that number."""
        room = self.tabs.numbered(number)
        if room is None:
            self.note(f"there is no room {number}; /go lists yours")
        elif room != self.room:
            self.go(room)

    def go_beside(self, step: int) -> None:
        """The room before or after this one."""
        room = self.tabs.beside(self.room, step)
        if room is not None and room != self.room:
            self.go(room)

    def go_unread(self) -> None:
        """Where something is unread."""
        room = self.tabs.next_unread()
        if room is None:
            self.note("nothing is unread in your other rooms")
        else:
            self.go(room)

    def paged(self) -> None:
        """Somebody wants to see what was said before."""
        if not self._paged:
            self._paged = True
            self.note(
                "what was said is in your terminal's own scrollback (often Shift-PageUp); /history shows more"
            )

    def interrupted(self) -> bool:
        """C-c on an empty line; whether to leave."""
        if self.question:
            self.answer(None)
            return False
        self._interrupts += 1
        if self._interrupts > 1:
            return True
        self.note("C-d leaves, or C-c once more")
        return False

    def leave(self) -> None:
        """End the conversation as by an interrupt."""
        assert self._session is not None
        self._session.app.exit(exception=Interrupted(), style="class:aborting")

    def _known(self) -> Known:
        copy = self.chat.session.rooms.get(self.room or "")
        spoke = [] if self.room is None else self.memory.speakers(self.room)
        members = [] if copy is None else sorted(copy.members, key=str.casefold)
        names = [name for name in dict.fromkeys([*spoke, *members]) if name != self.chat.name]
        return Known(
            commands=list(COMMANDS),
            paths=frozenset(name for name, command in COMMANDS.items() if command.takes_path),
            rooms=[self.title(room) for room in self.tabs.numbers],
            names=[clean_line(name) for name in names],
            aliases=list(ALIASES),
        )
