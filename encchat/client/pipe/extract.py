"""``--tail``, ``--since`` and ``--until``: a part of an open room's log on stdout, and then the end.

Nothing is read from the input, and nothing is changed: neither where the next run in a pipe goes on, nor
what counts as read. With ``--follow`` it stays for what is said from then on.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.pipe.excerpt import Excerpt
from encchat.client.pipe.pipe import Manner
from encchat.client.pipe.span import Span, first_since
from encchat.client.protocol.roomcopy import Stage
from encchat.client.protocol.session import PASSING
from encchat.client.streams.lines import Reader, Writer
from encchat.errors import RefusedError

#: Entries that may be stored between a look at the log's end and the Join that goes back from there.
SPARE = 200
#: Seconds until the server is asked again after it could not answer.
PAUSE = 2.0


class CannotRead(RefusedError):
    """{room} cannot be read: {reason}"""


class Extract(Excerpt):
    """A console that reads a :class:`Span`."""

    def __init__(
        self,
        clock: IReactorTime,
        chat: Chat,
        manner: Manner,
        span: Span,
        reader: Reader,
        make_writer: Callable[[Callable[[], None]], Writer],
        status: Callable[[str], None],
        milliseconds: Callable[[], int],
    ) -> None:
        super().__init__(clock, chat, manner, span, reader, make_writer, status, milliseconds)
        self._answers: dict[int, Deferred[e.Event]] = {}
        #: The seq to begin with; None while it is not known.
        self._first: int | None = 0 if span.since is None else None
        #: How many entries the last Join went back.
        self._back = span.tail or 0
        self._head = 0
        #: Whether a Join that goes back is on its way, and whether the log had outgrown the last one.
        self._going_back = False
        self._too_late = False

    def _enter(self) -> None:
        self._chat.session.join(self._manner.room, self._back, resume=False)
        self._chat.flush()

    async def _work(self) -> None:
        self._enter()
        await self._chat.when(self._inside)
        if self._span.since is not None:
            await self._go_back_to(self._span.since)
        elif self._span.tail is None:  # everything, up to some time
            await self._go_back_to(0)
        await self._ended(self._chat.when(self._finished))
        await self._writer.written()

    def _finished(self) -> bool:
        return self._quit or self._past or (self._caught_up and not self._manner.follow)

    # -------------------------------------------------------------------------------- where it begins

    async def _go_back_to(self, since: int) -> None:
        """Find the first entry, and join the room anew from there: so what is read is proved by the chain of
        hashes as always, waits for whoever reads, and goes on after a lost connection."""
        first = await first_since(since, self._head, self._time_after)
        while True:
            self._first, self._too_late, self._caught_up = first, False, False
            self._back = max(0, self._head - first + 1) + SPARE
            self._going_back = True
            self._chat.session.part(self._manner.room)
            self._enter()
            await self._chat.when(lambda: not self._going_back and self._inside())
            if not self._too_late:
                return

    def _inside(self) -> bool:
        room = self._chat.session.rooms.get(self._manner.room)
        return room is not None and room.stage is Stage.IN and self._chat.session.admitted

    async def _time_after(self, seq: int) -> tuple[int, int] | None:
        while True:
            await self._chat.when(self._inside)
            request = self._chat.session.read(self._manner.room, after=seq, limit=1)
            answer = self._answers[request] = Deferred()
            self._chat.flush()
            event = await answer
            if isinstance(event, e.History):
                return (event.entries[0].seq, event.entries[0].time) if event.entries else None
            assert isinstance(event, e.RequestFailed)
            if event.code in PASSING:
                await deferLater(self._clock, PAUSE)
            elif event.code != "disconnected":
                raise CannotRead(room=self._manner.room, reason=event.text)

    # --------------------------------------------------------------------------------------- output

    def _wants(self, event: e.Event) -> bool:
        if isinstance(event, e.History | e.RequestFailed) and event.request in self._answers:
            self._answers.pop(event.request).callback(event)
            return False
        if isinstance(event, e.JoinedRoom) and event.room == self._manner.room:
            self._head = event.head.seq
            if self._going_back and self._first is not None:
                self._going_back = False
                self._too_late = event.start.seq >= self._first and event.head.seq - self._first >= self._back
        if self._first is None or self._too_late or self._past:
            return not isinstance(event, e.JoinedRoom | e.NewEntry | e.CaughtUp | e.CameOrWent)
        if isinstance(event, e.NewEntry) and event.entry.room == self._manner.room:
            until = self._span.until
            self._past = until is not None and event.entry.time >= until
            return event.entry.seq >= self._first and not self._past
        return True
