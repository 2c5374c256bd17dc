"""One room, as a program uses it: entries out of it in order, messages into it.

What arrives while nobody iterates is kept up to a bound; beyond it the room remembers only where it was, and
reads on from there in pages once it is iterated over. So memory is bounded, nothing is skipped, and the hash
chain is followed from entry to entry across both ways.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from encchat.client import events as e
from encchat.client.protocol.roomcopy import LogMismatch, Stage
from encchat.contents import CONTENTS, Content, body_of
from encchat.core.names import is_open
from encchat.errors import PeerError, RefusedError, UsageError
from encchat.library.heard import Heard
from encchat.library.waiting import wait
from encchat.messages import Member, Position
from encchat.wire import advance

if TYPE_CHECKING:
    from encchat.library.client import Client

#: Entries and bytes of bodies that wait to be iterated over at most.
QUEUE, QUEUE_BYTES = 1000, 1024 * 1024
#: Entries of one page, when reading on.
PAGE = 200
#: Seconds until a page is asked for again that the server did not give.
AGAIN = 2.0

_KINDS = {content: kind for kind, content in CONTENTS.items()}


class NotJoined(RefusedError):
    """The server does not let us into {room}: {reason}"""


class PutOut(RefusedError):
    """We were put out of {room}: {reason}"""


class NotIn(UsageError):
    """{room} was left. Join it first."""


class NotSent(RefusedError):
    """The server does not take the message to {room}: {reason}"""


class TooLong(UsageError):
    """A message of {size:,} bytes is longer than this server takes ({limit:,} bytes). Cut it, or send it as
    a file."""


class ReadTwice(UsageError):
    """Somebody iterates over {room} already. Have one reader, which hands on."""


class Room:
    """``async for heard in room`` gives each entry (``Heard``); ``await room.send(...)`` is done once the
    message is stored.

    An entry counts as read when the next one is asked for: the next run goes on behind it, so that each is
    handled at least once.
    """

    def __init__(self, client: Client, name: str) -> None:
        self._client = client
        self.name = name
        self._queue: deque[Heard] = deque()
        self._queued_bytes = 0
        #: Where the last entry that was queued ends.
        self._at: Position | None = None
        self._behind = False
        self._handled: Heard | None = None
        self._wake: Deferred[None] | None = None
        self._over: Exception | None = None

    # ------------------------------------------------------------------------------------- about it

    @property
    def topic(self) -> str:
        """The topic; not cleaned for a terminal."""
        copy = self._client.chat.session.rooms.get(self.name)
        return "" if copy is None else copy.topic

    @property
    def members(self) -> tuple[Member, ...]:
        """Who is here now."""
        copy = self._client.chat.session.rooms.get(self.name)
        return () if copy is None else tuple(copy.members.values())

    @property
    def error(self) -> Exception | None:
        """Why nothing more comes; None: it does, or we left it."""
        return None if isinstance(self._over, StopAsyncIteration) else self._over

    @property
    def waiting(self) -> int:
        """How many entries are held for whoever iterates."""
        return len(self._queue)

    # -------------------------------------------------------------------------------------- writing

    async def send(self, what: str | Content, kind: str = "text") -> int:
        """Send a text, or a reply, edit, reaction ... (``encchat.contents``); returns its seq once the server
        has stored it. What was sent and not answered when the program ends is sent by its next run.

        :raises NotSent: the server refuses it for good.
        :raises TooLong: it is longer than the server takes.
        :raises StoreFailed: it cannot be kept here, and was not sent.
        """
        if self._over is not None:
            raise NotIn(room=self.name)
        if not isinstance(what, str):
            kind, what = _KINDS[type(what)], body_of(what).decode()
        limit = self._client.chat.max_body(self.name)
        size = len(what.encode("utf-8", "replace"))
        if size > limit:
            raise TooLong(size=size, limit=limit)
        return await self._client.stored(self.name, what, kind)

    async def send_file(self, path: str | Path) -> int:
        """Give a file to the room; returns the seq of its entry once that is stored. After an interruption
        it goes on where it was.

        :raises EncchatError: it cannot be read, or the server does not take it.
        """
        if self._over is not None:
            raise NotIn(room=self.name)
        return await self._client.given(self.name, Path(path))

    async def save_file(self, seq: int, path: str | Path | None = None) -> Path:
        """Fetch the file that the entry ``seq`` tells of, to ``path`` or into the downloads; returns where it
        is. Nothing that is there is overwritten."""
        return await self._client.saved(self.name, seq, None if path is None else Path(path))

    async def part(self) -> None:
        """Leave the room; whoever iterates comes to the end."""
        self._client.leave_room(self)

    # -------------------------------------------------------------------------------------- reading

    async def history(self, before: int = 0, limit: int = 100) -> e.History:
        """The last ``limit`` entries before seq ``before`` (0: of all), from the server; of a sealed room
        those that were opened here.

        :raises RefusedError: it does not give them.
        """
        if not is_open(self.name):
            return self._client.chat.sealed.history(self.name, before, limit)
        session = self._client.chat.session
        await self._inside()
        found = await self._client.answer(
            lambda: session.read(self.name, before=before or 2**62, limit=limit)
        )
        assert isinstance(found, e.History)
        return found

    async def search(self, words: str, before: int = 0, limit: int = 50) -> e.SearchFound:
        """The last entries with all these words; ``before`` = ``reached`` of one answer goes on. A sealed
        room is searched here."""
        if not is_open(self.name):
            return self._client.chat.sealed.search(self.name, words, before, limit)
        session = self._client.chat.session
        await self._inside()
        found = await self._client.answer(lambda: session.search(self.name, words, before, limit))
        assert isinstance(found, e.SearchFound)
        return found

    def __aiter__(self) -> Room:
        return self

    async def __anext__(self) -> Heard:
        if self._wake is not None:
            raise ReadTwice(room=self.name)
        self._handle()
        while not self._queue:
            if self._over is not None:
                if isinstance(self._over, StopAsyncIteration):
                    raise StopAsyncIteration
                raise self._over
            if self._behind:
                await self._read_on()
            else:
                self._wake = Deferred(lambda _: self._awake())
                await wait(self._wake)
        self._handled = heard = self._queue.popleft()
        self._queued_bytes -= len(heard.entry.body)
        return heard

    def _handle(self) -> None:
        """The last entry was handled: the next run goes on behind it."""
        late = self._handled is not None and self._handled.seal is not None and self._handled.seal.late
        if self._handled is not None and not late:
            position = {self.name: self._handled.after}
            self._client.chat.mark(position)
            self._client.chat.read(position)
            self._handled = None

    def _awake(self) -> None:
        self._wake = None

    async def _inside(self) -> None:
        """Wait until we are in the room, with a connection."""
        rooms = self._client.chat.session.rooms

        def there() -> bool:
            copy = rooms.get(self.name)
            return copy is None or copy.stage is Stage.IN

        await self._client.until(there)
        if self.name not in rooms:
            raise self.error or NotIn(room=self.name)

    async def _read_on(self) -> None:
        """A page of what was not queued when it came."""
        at = self._at
        assert at is not None, "behind something"
        if not is_open(self.name):
            self._read_kept(at)
            return
        await self._inside()
        session = self._client.chat.session
        try:
            page = await self._client.answer(lambda: session.read(self.name, after=at.seq, limit=PAGE))
        except RefusedError:  # rate-limited, or the connection was lost
            await self._client.pause(AGAIN)
            return
        assert isinstance(page, e.History)
        if page.start.seq < at.seq or (page.start.seq == at.seq and page.start.chain != at.chain):
            raise LogMismatch(room=self.name, reason=f"entry {at.seq} is another")
        here = page.start  # further on where the server has dropped entries meanwhile
        for entry, frame in zip(page.entries, page.frames, strict=True):
            here = advance(here, (frame,))
            self._put(Heard(entry, session.is_own(entry), self._old(entry.seq), here))
        self._at = here
        live = session.rooms[self.name].position
        if live is None or here.seq >= live.seq:
            if live is not None and here.seq == live.seq and here.chain != live.chain:
                raise LogMismatch(room=self.name, reason=f"entry {here.seq} is another")
            self._behind = False
        elif not page.entries:
            raise PeerError(reason=f"it has no entry of {self.name} after {here.seq}, but told one")

    def _read_kept(self, at: Position) -> None:
        """As above, of a sealed room: what was opened is kept here."""
        kept = self._client.chat.sealed.kept_after(self.name, at.seq, PAGE)
        for each in kept:
            self._put(Heard(each.entry, False, self._old(each.entry.seq), each.after, each.seal))
            self._at = each.after
        self._behind = len(kept) == PAGE

    def _old(self, seq: int) -> bool:
        copy = self._client.chat.session.rooms.get(self.name)
        return copy is not None and copy.is_old(seq)

    def _put(self, heard: Heard) -> None:
        self._queue.append(heard)
        self._queued_bytes += len(heard.entry.body)

    # ---------------------------------------------------------------------------------- for the client

    def joined(self, event: e.JoinedRoom) -> None:
        """We are in it; what follows is told."""
        if event.first or self._at is None:
            self._at = event.start
            self._behind = False

    def heard(self, event: e.NewEntry) -> None:
        """An entry came."""
        if event.seal is not None:
            self._heard_sealed(event, event.seal)
            return
        at = self._at
        if at is None or self._behind or event.start.seq < at.seq:
            return  # it is read in a page, or was
        if len(self._queue) >= QUEUE or self._queued_bytes >= QUEUE_BYTES or event.start.seq > at.seq:
            self._behind = True
        elif event.start.chain != at.chain:
            self.ended(LogMismatch(room=self.name, reason=f"entry {at.seq} is another"))
        else:
            self._at = advance(at, (event.frame,))
            self._put(Heard(event.entry, event.own, event.old, self._at))

    def _heard_sealed(self, event: e.NewEntry, seal: e.Seal) -> None:
        after = advance(event.start, (event.frame,)) if event.frame else event.start
        full = len(self._queue) >= QUEUE or self._queued_bytes >= QUEUE_BYTES
        if seal.late:
            if not full:
                self._put(Heard(event.entry, event.own, event.old, after, seal))
        elif full or self._behind:
            self._behind = True
        elif self._at is None or after.seq > self._at.seq:
            self._at = after
            self._put(Heard(event.entry, event.own, event.old, after, seal))

    def ended(self, error: Exception | None) -> None:
        """Nothing more comes: whoever iterates comes to the end, or hears why."""
        if self._over is None:
            self._over = error or StopAsyncIteration()

    def rouse(self) -> None:
        """Let whoever iterates look again."""
        if self._wake is not None and (self._queue or self._behind or self._over is not None):
            wake, self._wake = self._wake, None
            wake.callback(None)
