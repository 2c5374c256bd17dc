"""The console on a terminal: a prompt at the bottom, the talk scrolling above it in the usual scrollback.

Needs Twisted's asyncio reactor, on whose loop the prompt stands. What is drawn above it waits a moment
(``drawing``); when the screen is far behind, the server has to wait.
"""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.commands.aliases import ALIASES
from encchat.client.commands.completion import Completion, Known
from encchat.client.commands.table import COMMANDS
from encchat.client.protocol.outbox import Item
from encchat.client.screen.console import PersonConsole
from encchat.client.screen.drawing import Drawing
from encchat.client.screen.prompt import Prompt
from encchat.client.view.colours import Line, Painter
from encchat.client.view.depth import depth_of
from encchat.client.view.sealnews import room_words
from encchat.client.view.show import now
from encchat.client.view.status import Status, shown_room, status_text
from encchat.errors import EncchatError
from encchat.text import clean_line

#: Seconds between questions of how fast the server answers.
PING_EVERY = 15.0
#: Seconds that what was typed may take to come back before it is shown as queued.
SHOWN_AFTER = 1.0


class TerminalGone(EncchatError):
    """The terminal is gone. What was typed is kept, and sent when you come back."""

    exit_code = 129


class Terminal(PersonConsole):
    """Draws above a prompt, and does what is typed there (listening.Listener, drawing.Owner)."""

    def __init__(
        self, clock: IReactorTime, chat: Chat, room: str, address: str, history: int | None, prompt: Prompt
    ) -> None:
        super().__init__(clock, chat, room, history)
        self._address = address
        self._prompt = prompt
        self._drawing = Drawing(clock, prompt, Painter(depth_of(os.environ)), self)
        self._ping_timer: IDelayedCall | None = None
        self._held = False
        self._unsent: list[Item] = []
        self._completion = Completion(self._known)
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
            if self._ping_timer is not None and self._ping_timer.active():
                self._ping_timer.cancel()
            if self._prompt.over.done():
                self._drawing.finish()

    async def closed(self) -> None:
        """Wait until the terminal is given back, when the conversation was cut off; nothing may be written to
        it before."""
        if not self._prompt.over.done():
            await Deferred.fromFuture(asyncio.ensure_future(asyncio.wait([self._prompt.over])))
            self._drawing.finish()

    async def converse(self) -> None:
        """Listen to the prompt, which stands already, until the person leaves."""
        self._prompt.attach(self)
        self._ping()
        # What is here now stays to the end: not to be looked through again each time that garbage is
        # collected, which would make keys wait.
        gc.freeze()
        code = await Deferred.fromFuture(self._prompt.over)
        if code:
            self.finish(code)

    # ------------------------------------------------------------------------------------- drawing

    def show(self, lines: Sequence[Line]) -> None:
        """Draw lines above the prompt, soon."""
        self._drawing.show(lines)

    def signal(self, code: str) -> None:
        """Sent with what is drawn next."""
        self._drawing.signal(code)

    def changed(self) -> None:
        """Draw the status line anew, soon."""
        self._seal = "", ""
        self._drawing.soon()

    def behind(self) -> None:
        """Let the server wait."""
        if not self._held:
            self._held = True
            self.chat.hold()

    def drawn(self) -> None:
        """All that came is on the screen."""
        if self._held:
            self._held = False
            self.chat.release()
        self.seen(self.chat.reached(self.chat.session.rooms))

    def gone(self) -> None:
        """Nothing can be drawn any more."""
        if not self.over.called:
            self.over.errback(TerminalGone())

    def label(self) -> str:
        """What stands before the line."""
        return shown_room(self.title(self.room) if self.room else "no room")

    def bar(self, before: str, columns: int) -> str:
        """The line at the bottom."""
        return self._completion.shown(before, columns) or status_text(self._status(), columns)

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
        self._drawing.soon()  # the server may owe the last answer still

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
        """The prompt asks, and shows stars."""
        self._drawing.soon()

    def prefill(self, text: str) -> bool:
        """Put a text into the line."""
        return self._prompt.prefill(text)

    def clear(self) -> bool:
        """As C-l."""
        self._prompt.clear()
        return True

    # ------------------------------------------------------------------------------- for the prompt

    def entered(self, text: str) -> None:
        """A line is complete."""
        self.typed(text)

    def complete(self, before: str, by: int) -> str | None:
        """Tab."""
        return self._completion.step(before, by)

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

    def refused(self) -> None:
        """A question is not to be answered."""
        self.answer(None)

    def interrupted(self) -> None:
        """C-c on an empty line, once."""
        self.note("C-d leaves, or C-c once more")

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
