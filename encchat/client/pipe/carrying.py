"""``--send-file ROOM PATH`` and ``--get ROOM NUMBER``: one file, and an exit code that says how it went.

Like ``--send`` it reads nothing else of the room and leaves its position as it is. What it could not send is
forgotten, as whoever called it knows from the exit code; called again, it goes on where the server is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.entering import CannotJoin, enter
from encchat.client.pipe.errands import PATIENCE, Withheld
from encchat.client.pipe.sending import Unwanted
from encchat.client.streams.ending import race
from encchat.client.view.sealnews import news_lines
from encchat.client.view.show import progress_words, status_line
from encchat.core.names import is_open
from encchat.core.plain import shown_name
from encchat.core.sealed import events as fx
from encchat.errors import EncchatError, RefusedError, StorageError, UsageError
from encchat.text import clean_line

#: Percents between two lines of progress.
STEP = 10


class NotCarried(RefusedError):
    """{text}"""


class CannotUse(UsageError):
    """{text}"""


class NoSpace(StorageError):
    """{text}"""


class StandsStill(StorageError):
    """The file has not come further for {seconds:g} seconds. Try again when the server is well: it goes on
    where it ended."""


#: Whose fault a failure is, by its code; else the server refuses.
_FAULTS: dict[str, type[EncchatError]] = {
    "usage": CannotUse,
    "cannot-write": NoSpace,
    "storage-unavailable": NoSpace,
}


class Carrying:
    """A console that carries one file. ``start`` begins it and returns the transfer's number; ``done`` is
    told at the end what happened: ``FileGiven`` with its ``Acknowledged``, or ``FileSaved``. ``progress``
    says whether somebody watches."""

    def __init__(
        self,
        clock: IReactorTime,
        chat: Chat,
        room: str,
        start: Callable[[], int],
        done: Callable[[e.FileGiven | e.FileSaved, e.Acknowledged | None], None],
        status: Callable[[str], None],
        *,
        progress: bool = False,
    ) -> None:
        self._clock = clock
        self._chat = chat
        self._room = room
        self._start = start
        self._done = done
        self._status = status
        self._progress = progress
        self._told = 0
        #: All that was in the room before has come.
        self._read = False
        self._moved = clock.seconds()
        self._given: e.FileGiven | None = None
        self._end: Deferred[None] = Deferred()

    async def run(self) -> int:
        """Carry it; returns the exit code.

        :raises EncchatError: it could not be carried; says why.
        """
        watch = LoopingCall(self._watch)
        watch.clock = self._clock
        watch.start(1.0, now=False)
        try:
            await race(self._clock, Deferred.fromCoroutine(self._carry()), self._end)
        finally:
            watch.stop()
        return 0

    async def _carry(self) -> None:
        await enter(self._chat, self._room, resume=False)
        if not is_open(self._room):  # what is there to be fetched has to be read first
            await self._chat.when(lambda: self._read)
        self._moved = self._clock.seconds()
        self._start()
        await Deferred()  # until _end

    def _watch(self) -> None:
        """A link that is lost is the link's to give up."""
        if not self._chat.session.admitted:
            self._moved = self._clock.seconds()
        elif self._clock.seconds() - self._moved >= PATIENCE:
            self._give_up(StandsStill(seconds=PATIENCE))

    def happened(self, events: Sequence[e.Event]) -> None:
        """What the server said, or became of the file."""
        for event in events:
            match event:
                case e.NotJoined() | e.PutOut():
                    self._give_up(CannotJoin(room=event.room, reason=event.text))
                case e.JoinedRoom() if event.room == self._room:
                    self._read = event.start.seq >= event.head.seq
                case e.CaughtUp() if event.room == self._room:
                    self._read = True
                case e.SealedNews(news) if isinstance(news, fx.SendBlocked | fx.RolledBack):
                    words = " ".join(text.strip() for _, text in news_lines(news, self._chat.name))
                    self._give_up(Withheld(reason=words))
                case e.FileProgress():
                    self._moved = self._clock.seconds()
                    self._tell(event)
                case e.FileGiven():
                    self._given = event
                case e.FileSaved():
                    self._finish(event, None)
                case e.FileFailed():
                    self._give_up(_FAULTS.get(event.code, NotCarried)(text=event.text))
                case e.Acknowledged() if self._given and event.item.msgid == self._given.msgid:
                    self._finish(self._given, event)
                case e.NotSent():
                    self._give_up(Unwanted(reason=event.text))
                case e.LinkLost() | e.ServerComplains() | e.ServerCloses():
                    self._status(status_line(event) or "")

    def warn(self, text: str) -> None:
        """Tell what went wrong on our side."""
        self._status(text)

    def _tell(self, event: e.FileProgress) -> None:
        percent = 100 * event.done // event.size if event.size else 100
        if self._progress and percent >= self._told + STEP:
            self._told = percent - percent % STEP
            self._status(f"{shown_name(event.name)}: {progress_words(event.done, event.size)}")

    def _finish(self, event: e.FileGiven | e.FileSaved, sent: e.Acknowledged | None) -> None:
        if not self._end.called:
            self._done(event, sent)
            self._end.callback(None)

    def _give_up(self, error: EncchatError) -> None:
        if not self._end.called:
            self._end.errback(error)


def result_fields(event: e.FileGiven | e.FileSaved, sent: e.Acknowledged | None) -> dict[str, str | int]:
    """What ``--json`` tells of it."""
    fields: dict[str, str | int] = {
        "room": clean_line(event.room),
        "name": clean_line(event.name),
        "size": event.size,
        "hash": event.hash,
    }
    if isinstance(event, e.FileSaved):
        fields["path"] = event.path
    if sent is not None:
        fields |= {"msgid": sent.item.msgid.hex(), "seq": sent.seq, "time": sent.time}
    return fields
