"""What the consoles for people have in common: which room is shown, what is said of what happens.

A console shows lines made of pieces, each a style and a text that is already clean. How they reach the
screen is the subclass's matter: redrawn around a prompt (``terminal``), or plain (``linear``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.commands import HISTORY, Commands
from encchat.client.ending import race
from encchat.client.lines import pieces
from encchat.client.show import answer_lines, body_lines, count, moment, status_line
from encchat.core.plain import TALK, happening_line, shown_name
from encchat.errors import EncchatError, RefusedError
from encchat.messages import Entry, Position
from encchat.text import clean, clean_line

#: Of the entries that a user has missed, those that are shown at once; /history shows the others.
MISSED = 200

#: Seconds that a user who leaves waits for what was typed last to be stored.
LAST_MOMENT = 2.0

#: A line to show: pieces of (style, text).
Line: TypeAlias = list[tuple[str, str]]


class CannotJoin(RefusedError):
    """You cannot join {room}: {reason}"""


class PersonConsole:
    """A conversation on a screen. Subclasses show lines and read what is typed."""

    #: Whether what the user has just typed stands on the screen already.
    echoes = False

    def __init__(self, clock: IReactorTime, chat: Chat, room: str, history: int | None) -> None:
        self.clock = clock
        self.chat = chat
        self.first_room = room
        self.history = history
        #: The room that is shown and written to; None after the last was left (commands.Screen).
        self.room: str | None = room
        self.commands = Commands(chat, self, self.say)
        self.unread: dict[str, int] = {}
        self.connected = False
        self.over: Deferred[int] = Deferred()
        self._hidden_up_to: dict[str, int] = {}
        self._greeted = False
        #: How far this person has read each room, on any device.
        self._read: dict[str, int] = {}

    # ----------------------------------------------------------------------------- for subclasses

    def show(self, lines: Sequence[Line]) -> None:
        """Put lines on the screen, below those before."""
        raise NotImplementedError  # abstract

    def changed(self) -> None:
        """Something that the status line tells has changed."""

    async def converse(self) -> None:
        """Read what is typed, until the user leaves."""
        raise NotImplementedError  # abstract

    async def run(self) -> int:
        """Join the first room and talk; returns the exit code.

        :raises EncchatError: it cannot go on.
        """
        history = HISTORY if self.history is None else self.history
        self.chat.session.join(self.first_room, history, resume=self.history is None)
        self.chat.flush()
        code: list[int] = []

        async def leave() -> None:
            code.append(await self.over)

        await race(self.clock, Deferred.fromCoroutine(self.converse()), Deferred.fromCoroutine(leave()))
        if self.connected:
            await race(self.clock, self.chat.when(lambda: not self.chat.unacknowledged), self._last_moment())
        if self.chat.unacknowledged:
            left = count(self.chat.unacknowledged, "message is", "messages are")
            self.note(f"{left} kept, and sent when you come back")
        return code[0] if code else 0

    def _last_moment(self) -> Deferred[None]:
        return cast("Deferred[None]", deferLater(self.clock, LAST_MOMENT))

    @property
    def ready(self) -> bool:
        """Whether we have been let into the first room."""
        room = self.chat.session.rooms.get(self.first_room)
        return room is not None and room.entered

    def typed(self, text: str) -> None:
        """The user has entered a line; what is wrong with it is told."""
        try:
            self.commands.typed(text)
        except EncchatError as error:
            self.warn(str(error))

    def finish(self, code: int) -> None:
        """The conversation is over."""
        if not self.over.called:
            self.over.callback(code)

    # -------------------------------------------------------------------------------- for commands

    def say(self, room: str, kind: str, text: str) -> None:
        """Send what the user said."""
        parts = pieces(text.encode("utf-8", "replace"), self.chat.session.max_body)
        self.chat.say(room, *(part.decode("utf-8", "replace") for part in parts), kind=kind)
        if not self.connected:
            self.note("that is kept, and sent when the connection is back")
        self.changed()

    def note(self, text: str) -> None:
        """Tell something that is no message."""
        self.show([[("class:note", f"-- {line}")] for line in text.split("\n")])

    def warn(self, text: str) -> None:
        """Tell what went wrong."""
        self.show([[("class:warning", f"!! {clean_line(text, 2000)}")]])

    def quit(self, reason: str) -> None:
        """The user wants to leave."""
        self.finish(0)

    # ------------------------------------------------------------------------------------ for chat

    def happened(self, events: Sequence[e.Event]) -> None:
        """What the server said, or became of the link."""
        lines: list[Line] = []
        for event in events:
            self.commands.notice(event)
            if not self.chat.hides(event):
                lines += self._lines(event)
        if lines:
            self.show(lines)
        self.changed()

    def _lines(self, event: e.Event) -> list[Line]:
        match event:
            case e.NewEntry():
                return self._entry_lines(event)
            case e.History(_, room, entries, more):
                return self._history_lines(room, entries, more)
            case e.SearchFound():
                return self._found_lines(event)
            case e.Admitted():
                return self._admitted(event)
            case e.JoinedRoom():
                return self._joined(event)
            case e.LeftRoom(room) | e.PutOut(room):
                self._left(room)
            case e.NotJoined(room, _, text) if room == self.first_room and not self._greeted_in(room):
                if not self.over.called:
                    self.over.errback(CannotJoin(room=room, reason=text))
            case e.NotJoined(room):
                self._left(room)
            case e.LinkLost():
                self.connected = False
            case e.RoomsListed() | e.ProfileFound() | e.RoomDescribed() | e.LinkCode():
                return [_note(line) for line in answer_lines(event)]
            case e.ReadElsewhere(room, seq):
                self._read_elsewhere(room, seq)
        words = status_line(event)
        return [] if words is None else [_note(words)]

    def _greeted_in(self, room: str) -> bool:
        return room in self._hidden_up_to

    def _admitted(self, event: e.Admitted) -> list[Line]:
        self.connected = True
        lines = [_note(status_line(event) or "")]
        if not self._greeted:
            self._greeted = True
            lines += [_note(line) for line in clean(event.motd).splitlines()]
        return lines

    def _joined(self, event: e.JoinedRoom) -> list[Line]:
        if event.first:
            self.room = event.room
        missed = event.head.seq - event.start.seq
        self._hidden_up_to[event.room] = event.head.seq - MISSED
        self._read[event.room] = event.mark
        lines = [_note(status_line(event) or "")]
        if missed > MISSED:
            lines.append(_note(f"the last {MISSED} of them follow; /history shows older ones"))
        return lines

    def _left(self, room: str) -> None:
        self.unread.pop(room, None)
        if self.room == room:
            self.room = next(iter(self.chat.session.rooms), None)

    def _entry_lines(self, event: e.NewEntry) -> list[Line]:
        entry = event.entry
        if event.old and entry.seq <= self._hidden_up_to.get(entry.room, 0):
            return []
        if event.own and self.echoes and entry.kind in TALK:
            return []
        if entry.room != self.room and entry.seq > self._read.get(entry.room, 0):
            self.unread[entry.room] = self.unread.get(entry.room, 0) + 1
        return self.entry_lines(entry)

    def _read_elsewhere(self, room: str, seq: int) -> None:
        self._read[room] = max(seq, self._read.get(room, 0))
        reached = self.chat.reached([room])
        left = min(self.unread.get(room, 0), reached[room].seq - seq if reached else 0)
        if left > 0:
            self.unread[room] = left
        else:
            self.unread.pop(room, None)

    def seen(self, reached: dict[str, Position]) -> None:
        """What lies before these positions is on the screen; of the room that is shown, the person has
        read it."""
        self.chat.mark(reached)
        if self.room in reached:
            self.unread.pop(self.room, None)
            self.chat.read({self.room: reached[self.room]})

    def _history_lines(self, room: str, entries: Sequence[Entry], more: bool) -> list[Line]:
        name = clean_line(room)
        if not entries:
            return [_note(f"{name} has nothing older")]
        shown = [line for entry in entries for line in self.entry_lines(entry)]
        day = moment(entries[0].time, "%Y-%m-%d")
        return [_note(f"{name} from {day}:"), *shown, _note("as far as there is" if not more else "so far")]

    def _found_lines(self, found: e.SearchFound) -> list[Line]:
        lines: list[Line] = []
        for entry in found.entries:
            first, *others = self.entry_lines(entry)
            lines += [[("class:note", f"#{entry.seq} {moment(entry.time, '%Y-%m-%d')} "), *first], *others]
        count = len(found.entries)
        words = f"{count} found in {clean_line(found.room)}" if count else "nothing found"
        further = f", back to #{found.reached}: /search looks further back" if found.more else ""
        around = "; /context NUMBER shows what was said around one" if count else ""
        return [*lines, _note(words + further + around)]

    def entry_lines(self, entry: Entry) -> list[Line]:
        """An entry as it is shown."""
        start: Line = [("class:time", moment(entry.time, "%H:%M") + " ")]
        if entry.room != self.room:
            start.append(("class:room", f"[{clean_line(entry.room)}] "))
        if entry.kind not in TALK:
            return [[*start, ("class:note", f"-- {happening_line(entry)}")]]
        name = shown_name(entry.sender)
        style = "class:own" if entry.sender == self.chat.name else f"class:name{_colour(name)}"
        first, *others = body_lines(entry)
        if entry.kind == "me":
            start += [("", "* "), (style, name), ("", f" {first}")]
        else:
            start += [(style, name), ("", f": {first}")]
        # Lines of the same message stand out from what others might have said.
        return [start, *([("class:time", "      | "), ("", line)] for line in others)]


#: How many colours names have.
COLOURS = 6


def _colour(name: str) -> int:
    return sum(name.casefold().encode("utf-8", "replace")) % COLOURS


def _note(text: str) -> Line:
    return [("class:note", f"-- {text}")]
