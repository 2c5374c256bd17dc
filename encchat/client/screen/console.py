"""What the consoles for people have in common: which room is shown, what is said of what happens.

A console shows lines made of pieces, each a style and a text that is already clean. How they reach the
screen is the subclass's matter: redrawn around a prompt (``terminal``), or plain (``linear``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.commands.table import HISTORY, Commands
from encchat.client.entering import CannotJoin, enter
from encchat.client.protocol.outbox import Item
from encchat.client.shown import Shown
from encchat.client.streams.ending import race
from encchat.client.streams.lines import pieces
from encchat.client.view.colours import Line
from encchat.client.view.fates import fates, merged
from encchat.client.view.memory import SAID
from encchat.client.view.notify import call
from encchat.client.view.pages import found_lines, history_lines, note, sealed_lines, warning
from encchat.client.view.sealnews import news_lines
from encchat.client.view.show import answer_lines, count, day_words, moment, now, status_line
from encchat.client.view.titles import retold, titled
from encchat.core.names import is_conversation, is_open
from encchat.errors import EncchatError, StorageError
from encchat.messages import Entry, Position
from encchat.text import clean, clean_line

#: Of the entries that a user has missed, those that are shown at once; /history shows the others.
MISSED = 200
#: Kinds of entries of other people that count as unread.
COUNTED = SAID | {"waiting"}
#: Unread messages of a room that are shown again when one goes there.
RECALLED = 10

#: Seconds that a user who leaves waits for what was typed last to be stored.
LAST_MOMENT = 2.0


class PersonConsole(Shown):
    """A conversation on a screen. Subclasses show lines and read what is typed."""

    #: Whether what the user has just typed stands on the screen already.
    echoes = False

    def __init__(self, clock: IReactorTime, chat: Chat, room: str, history: int | None) -> None:
        super().__init__(chat, room)
        self.clock = clock
        chat.joins_by_itself = True
        self.first_room = room
        self.history = history
        self.commands = Commands(chat, self, self.say)
        self.connected = False
        self.over: Deferred[int] = Deferred()
        self._hidden_up_to: dict[str, int] = {}
        self._greeted = False
        #: This server was never met: nothing is said to it before somebody has seen its key.
        self.unmet = False
        #: What was asked that nobody else should see, and who waits for it.
        self._asked: tuple[str, Deferred[str | None]] | None = None
        #: Of sealed rooms that were entered and not looked at yet, what was kept from before.
        self._older: dict[str, e.History] = {}
        #: There was no connection yet, but there will be.
        self._apart = False
        #: Why the last attempt to connect failed, since there was a connection.
        self._outage = ""
        #: The day of what was shown last; None: nothing was.
        self._day: str | None = None
        #: What was queued without a connection, and is to be told when it is sent.
        self._queued: set[bytes] = set()
        #: What stands on the screen since it was typed, and need not be shown when it comes back.
        self._echoed: set[bytes] = set()

    # ----------------------------------------------------------------------------- for subclasses

    def show(self, lines: Sequence[Line]) -> None:
        """Put lines on the screen, below those before."""
        raise NotImplementedError  # abstract

    def signal(self, code: str) -> None:
        """Send the terminal what calls the person."""

    def changed(self) -> None:
        """Something that the status line tells has changed."""

    async def converse(self) -> None:
        """Read what is typed, until the user leaves."""
        raise NotImplementedError  # abstract

    def queued(self, items: Sequence[Item]) -> None:
        """These were typed, and wait to be sent: there is no connection."""
        self._queued.update(item.msgid for item in items)
        self.note("queued: it is sent when the connection is back")

    async def run(self) -> int:
        """Join the first room and talk; returns the exit code.

        :raises EncchatError: it cannot go on.
        """
        history = HISTORY if self.history is None else self.history
        self._enter(history)
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

    def _enter(self, history: int) -> None:
        if not is_conversation(self.first_room):
            self.chat.session.join(self.first_room, history, resume=self.history is None)
            self.chat.flush()
            return
        self.commands.going.add(self.first_room)
        entering = Deferred.fromCoroutine(enter(self.chat, self.first_room))
        entering.addErrback(self._not_entered)

    def _not_entered(self, failure: Failure) -> None:
        failure.trap(EncchatError)
        self._apart = True
        self.warn(str(failure.value))

    def _last_moment(self) -> Deferred[None]:
        return cast("Deferred[None]", deferLater(self.clock, LAST_MOMENT))

    @property
    def ready(self) -> bool:
        """Whether we have been let into the first room, or begin without a connection."""
        room = self.chat.session.rooms.get(self.first_room)
        return self._apart or (room is not None and room.entered)

    @property
    def unread(self) -> dict[str, int]:
        """How much came in other rooms since they were shown."""
        return self.tabs.unread

    def typed(self, text: str) -> None:
        """The user has entered a line; what is wrong with it is told."""
        if self._asked is not None:
            self.answer(text or None)
            return
        if self.unmet and not self._greeted and text.strip() and not text.startswith("/"):
            self.note("not taken yet: this server was never met, and its key comes first")
            self.prefill(text)
            return
        try:
            self.commands.typed(text)
        except EncchatError as error:
            self.warn(str(error))
            if isinstance(error, StorageError):  # not kept, and so not sent: nothing typed is lost
                self.prefill(text)

    def ask_secret(self, question: str) -> Deferred[str | None]:
        """As the base; where no file descriptor was named, the next line that is typed is the answer, and
        nobody sees it."""
        if self.secret_fd is not None:
            return super().ask_secret(question)
        self.answer(None)
        answer: Deferred[str | None] = Deferred()
        self._asked = question, answer
        self.hide(question)
        return answer

    def answer(self, secret: str | None) -> None:
        """What was asked is answered; None: it is not to be."""
        asked, self._asked = self._asked, None
        if asked is not None:
            self.hide("")
            asked[1].callback(secret)

    def hide(self, question: str) -> None:
        """Show nothing of what is typed from now on; with no question, show it again."""

    @property
    def question(self) -> str:
        """What is asked, of which the answer must not be seen."""
        return "" if self._asked is None else self._asked[0]

    def finish(self, code: int) -> None:
        """The conversation is over."""
        if not self.over.called:
            self.over.callback(code)

    # -------------------------------------------------------------------------------- for commands

    def say(self, room: str, kind: str, text: str) -> None:
        """Send what the user said."""
        parts = [text]
        if kind in ("text", "me"):
            cut = pieces(text.encode("utf-8", "replace"), self.chat.max_body(room))
            parts = [part.decode("utf-8", "replace") for part in cut]
        items = self.chat.say(room, *parts, kind=kind)
        if self.echoes and kind in SAID:
            self._echoed.update(item.msgid for item in items)
        if not self.connected:
            self.queued(items)
        self.changed()

    def go(self, room: str) -> None:
        """Show a room that we are in, and again what was not read there."""
        super().go(room)
        unread = self.tabs.read(room)
        self.note(f"now in {self.title(room)}" + (f", {unread} unread" if unread else ""))
        older = self._older.pop(room, None)
        if older is not None:
            self.show(self._history_lines(older))
        self.show(
            [
                line
                for entry in self.memory.latest(room, min(unread, RECALLED))
                for line in self.entries.lines(entry)
            ]
        )
        self.changed()

    def note(self, text: str) -> None:
        """Tell something that is no message."""
        self.show([note(line) for line in text.split("\n")])

    def warn(self, text: str) -> None:
        """Tell what went wrong."""
        self.show([warning(clean_line(retold(text, self.chat.name), 2000))])

    def quit(self, reason: str) -> None:
        """The user wants to leave."""
        self.finish(0)

    # ------------------------------------------------------------------------------------ for chat

    def happened(self, events: Sequence[e.Event]) -> None:
        """What the server said, or became of the link."""
        lines: list[Line] = []
        for event in events:
            self.commands.notice(event)
            self.observe(event)
            if not self.chat.hides(event):
                lines += self._lines(event)
        if lines:
            self.show(lines)
        self.changed()

    def _lines(self, event: e.Event) -> list[Line]:
        match event:
            case e.NewEntry():
                return self._entry_lines(event)
            case e.History():
                return self._history_lines(event)
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
                again, self._outage = event.reason == self._outage, event.reason
                if not self._greeted and not self._apart:
                    return [note(status_line(event) or ""), *self._begin_apart()]
                if again:  # a night without a network is not to fill the screen
                    return []
            case e.CameOrWent(room) if (
                room != self.room
            ):  # of ten rooms that would be ten lines for one person
                return []
            case e.RoomsListed() | e.ProfileFound() | e.RoomDescribed() | e.LinkCode():
                return [note(line) for line in answer_lines(titled(event, self.chat.name))]
            case e.ReadElsewhere(room, seq):
                reached = self.chat.reached([room])
                self.tabs.read_elsewhere(room, seq, reached[room].seq if reached else seq)
            case e.SealedNews(news):
                if self.commands.trusting.is_known(news):
                    return []
                return [
                    warning(text) if loud else note(text) for loud, text in news_lines(news, self.chat.name)
                ]
            case e.Acknowledged(item):
                return self._sent(item)
            case e.NotSent(item):
                self._queued.discard(item.msgid)
                self._echoed.discard(item.msgid)
        words = status_line(titled(event, self.chat.name))
        return [] if words is None else [note(words)]

    def _begin_apart(self) -> list[Line]:
        """What there is to show before the first connection: what was kept of the room."""
        self._apart = True
        self.tabs.entered(self.first_room, 0)
        kept = self.chat.local_history(self.first_room, 0, HISTORY)
        self.observe(kept)
        return self._history_lines(kept) if kept.entries else []

    def _greeted_in(self, room: str) -> bool:
        return room in self._hidden_up_to

    def _admitted(self, event: e.Admitted) -> list[Line]:
        self.connected, self._outage = True, ""
        lines = [note(status_line(event) or "")]
        if not self._greeted:
            self._greeted = True
            lines += [note(line) for line in clean(event.motd).splitlines()]
        return lines

    def _joined(self, event: e.JoinedRoom) -> list[Line]:
        if event.first and (not event.by_itself or self.commands.wants(event.room)):
            self.room = event.room
        missed = event.head.seq - event.start.seq
        self._hidden_up_to[event.room] = event.head.seq - MISSED
        lines: list[Line] = []
        if event.first or missed or event.room == self.room:  # to be back elsewhere goes without saying
            lines.append(note(status_line(titled(event, self.chat.name)) or ""))
        if event.first and not is_open(event.room):
            lines += self._kept(event)
        if missed > MISSED:
            lines.append(note(f"the last {MISSED} of them follow; /history shows older ones"))
        return lines

    def _kept(self, event: e.JoinedRoom) -> list[Line]:
        """What was said before in a sealed room, which only this client has: now, or when it is looked at."""
        kept = self.chat.local_history(event.room, event.start.seq + 1, HISTORY)
        self.observe(kept)
        if not kept.entries:
            return []
        if self.room == event.room:
            return self._history_lines(kept)
        self._older[event.room] = kept
        return []

    def _left(self, room: str) -> None:
        self.memory.forget(room)
        self._older.pop(room, None)
        if self.room == room:
            self.room = next(iter(self.tabs.numbers), None)

    def _sent(self, item: Item) -> list[Line]:
        if item.msgid not in self._queued:
            return []
        self._queued.discard(item.msgid)
        return [note("what was queued is sent")] if self.echoes and not self._queued else []

    def _entry_lines(self, event: e.NewEntry) -> list[Line]:
        entry = event.entry
        if event.old and entry.seq <= self._hidden_up_to.get(entry.room, 0):
            return []
        for_me = self.entries.is_for_me(entry)
        if entry.room != self.room and entry.kind in COUNTED and entry.sender != self.chat.name:
            self.tabs.arrived(entry.room, entry.seq, for_me)
        if not event.old and not event.own:
            self._call(entry, for_me)
        if event.own and entry.msgid in self._echoed:
            self._echoed.discard(entry.msgid)
            return []
        late = event.seal is not None and event.seal.late
        lines = sealed_lines(self.entries, entry, event.seal, numbered=late)
        return [*self._day_line(entry.time), *lines]

    def _call(self, entry: Entry, for_me: bool) -> None:
        when = self.preferences["bell"]
        if when == "off" or entry.sender == self.chat.name or not (for_me or when == "all"):
            return
        if for_me or entry.kind in SAID:
            self.signal(call(self.preferences["call"], entry.sender, self.title(entry.room)))

    def _day_line(self, time: int) -> list[Line]:
        """A line for the day of what follows, where it is another one than before; today needs none at
        the beginning."""
        day = moment(time, "%Y-%m-%d")
        before, self._day = self._day or moment(now(), "%Y-%m-%d"), day
        return [] if day == before else [[("day", f"---- {day_words(time)} ----")]]

    def seen(self, reached: dict[str, Position]) -> None:
        """What lies before these positions is on the screen; of the room that is shown, the person has
        read it."""
        self.chat.mark(reached)
        if self.room in reached:
            self.tabs.read(self.room)
            self.chat.read({self.room: reached[self.room]})

    def _found_lines(self, found: e.SearchFound) -> list[Line]:
        told = merged(
            self.chat.fates(found.room, found.entries),
            fates(found.entries, self.memory.newest_first(found.room)),
        )
        return found_lines(self.entries, found, self.title(found.room), told)

    def _history_lines(self, page: e.History) -> list[Line]:
        return history_lines(self.entries, page, self.title(page.room))
