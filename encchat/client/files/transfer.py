"""How the bytes of one file get to the server or from it, whatever happens to the connection.

Pieces are asked for a few ahead of their answers; after anything that time may cure the transfer begins where
the server, or the disk, says that it ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from encchat import messages as m
from encchat.client import events as e
from encchat.client.files.disk import FileChanged, Part, Source
from encchat.client.protocol.requests import FileMessage
from encchat.client.protocol.roomcopy import Stage
from encchat.core.names import is_open
from encchat.errors import PeerError, RefusedError, UsageError

if TYPE_CHECKING:
    from encchat.client.chat import Chat

#: Pieces that are on their way at once.
WINDOW = 4
#: Seconds between two reports of progress.
REPORT = 0.25
#: Seconds to wait at least when the server asks to slow down: then a good part of its allowance is back.
BREATH = 0.5
#: Codes after which a transfer goes on where it was.
PASSING = frozenset({"rate-limited", "storage-unavailable", "conflict"})
AGAIN = frozenset({"disconnected", "no-upload", "wrong-offset", "wrong-hash"})
#: How often a transfer tries again without having come further.
TRIES = 8


class NoFileThere(UsageError):
    """#{seq} of {room} is no file."""


class OtherFile(PeerError):
    """The server gives another file than the one that was asked for."""


class Failed(RefusedError):
    """{text}"""

    def __init__(self, code: str, text: str, wait: float) -> None:
        super().__init__(text=text or code)
        self.reason, self.wait = code, wait


@dataclass(slots=True)
class Transfer:
    """One file on its way."""

    number: int
    room: str
    name: str
    up: bool
    size: int = 0
    done: int = 0
    msgid: bytes = b""
    #: Under what the store remembers it; empty: under ``msgid``.
    kept: bytes = b""
    tries: int = 0
    told_at: float = -1e9
    work: Deferred[None] = field(default_factory=Deferred)

    @property
    def percent(self) -> int:
        """How much of it has gone, or come."""
        return 100 * self.done // self.size if self.size else 0


class Carrier:
    """Carries the bytes of the transfers of one chat. ``in_thread`` runs what waits for the disk."""

    def __init__(self, chat: Chat, clock: IReactorTime, in_thread: Callable[..., Deferred[Any]]) -> None:
        self._chat = chat
        self._clock = clock
        self._in_thread = in_thread
        self._waiting: dict[int, Deferred[Any]] = {}

    def notice(self, event: e.Event) -> bool:
        """Take the answer to a question of a transfer; whether it was one, and so is nobody else's."""
        request = getattr(event, "request", 0)
        waiting = self._waiting.pop(request, None) if request else None
        if waiting is not None:
            if isinstance(event, e.RequestFailed):
                failed = Failed(event.code, event.text, event.wait)
                self._clock.callLater(0, _fail, waiting, failed)
            else:
                self._clock.callLater(0, _answer, waiting, event)
        return waiting is not None or isinstance(event, e.FileReady | e.FilePiece)

    def progress(self, transfer: Transfer, done: int) -> None:
        if done > transfer.done:
            transfer.tries = 0
        transfer.done = done
        now = self._clock.seconds()
        if now - transfer.told_at >= REPORT or done == transfer.size:
            transfer.told_at = now
            t = transfer
            self._chat.happened([e.FileProgress(t.number, t.room, t.name, t.up, done, t.size)])

    def _ask(self, message: FileMessage) -> Deferred[Any]:
        """Ask the server, under an id of its own; the answer's event, or ``Failed``."""
        return self._await_answer(lambda: self._chat.ask(lambda id: replace(message, id=id)))

    def _await_answer(self, ask: Callable[[], int]) -> Deferred[Any]:
        answer: Deferred[Any] = Deferred()
        if not self._chat.session.admitted:
            answer.errback(Failed("disconnected", "There is no connection.", 0))
            return answer
        self._waiting[ask()] = answer
        return answer

    async def _judge(self, transfer: Transfer, failed: Failed) -> None:
        """Wait as long as it takes until the transfer may go on; raise if it cannot."""
        if failed.reason in PASSING:
            await self._pause(max(failed.wait, BREATH))
        elif failed.reason in AGAIN and transfer.tries < TRIES:
            transfer.tries += 1
            await self._pause(BREATH)
        elif failed.reason != "not-in-room" or transfer.room not in self._chat.session.rooms:
            raise failed
        else:
            transfer.tries += 1
            await self._pause(BREATH)

    def _pause(self, seconds: float) -> Deferred[None]:
        pause: Deferred[None] = Deferred(lambda _: timer.cancel())
        timer = self._clock.callLater(seconds, pause.callback, None)
        return pause

    async def in_room(self, room: str) -> None:
        """Wait until we are in the room."""

        def entered() -> bool:
            copy = self._chat.session.rooms.get(room)
            return self._chat.session.admitted and copy is not None and copy.stage is Stage.IN

        await self._chat.when(entered)

    async def upload(self, transfer: Transfer, source: Source, digest: bytes) -> None:
        begin = m.Upload(0, transfer.room, digest, source.size)
        while True:
            await self.in_room(transfer.room)
            try:
                ready = await self._ask(begin)
                await self._send_pieces(transfer, source, digest, ready.offset)
                return
            except Failed as failed:
                if failed.reason == "wrong-hash" and await self._in_thread(source.digest) != digest:
                    raise FileChanged(path=str(source.path)) from None
                await self._judge(transfer, failed)

    async def _send_pieces(self, transfer: Transfer, source: Source, digest: bytes, offset: int) -> None:
        if offset > source.size:
            raise OtherFile()
        self.progress(transfer, offset)
        flying: deque[Deferred[Any]] = deque()
        try:
            while flying or offset < source.size:
                while offset < source.size and len(flying) < WINDOW:
                    data = await self._in_thread(source.read, offset, min(m.MAX_PIECE, source.size - offset))
                    flying.append(self._ask(m.Chunk(0, digest, offset, data)))
                    offset += len(data)
                ready = await flying.popleft()
                self.progress(transfer, ready.offset)
        finally:
            _ignore(flying)

    async def entry(self, room: str, seq: int) -> m.Entry:
        """An entry that was not shown lately: the server has it, or this client."""
        kept = self._chat.local_history(room, seq + 1, 1).entries
        if kept and kept[0].seq == seq:
            return kept[0]
        if not is_open(room):  # the server has it sealed only
            raise NoFileThere(seq=seq, room=room)
        await self.in_room(room)
        session, chat = self._chat.session, self._chat

        def read() -> int:
            request = session.read(room, after=seq - 1, limit=1)
            chat.flush()
            return request

        try:
            page: e.History = await self._await_answer(read)
        except Failed as failed:
            if failed.reason == "unknown-position":
                raise NoFileThere(seq=seq, room=room) from None
            raise
        if not page.entries or page.entries[0].seq != seq:
            raise NoFileThere(seq=seq, room=room)
        return page.entries[0]

    async def download(self, transfer: Transfer, part: Part, blob: bytes) -> None:
        self.progress(transfer, part.held)
        while part.held < transfer.size:
            await self.in_room(transfer.room)
            try:
                await self._receive_pieces(transfer, part, blob)
            except Failed as failed:
                await self._judge(transfer, failed)

    async def _receive_pieces(self, transfer: Transfer, part: Part, blob: bytes) -> None:
        offset = part.held
        flying: deque[Deferred[Any]] = deque()
        try:
            while part.held < transfer.size:
                while offset < transfer.size and len(flying) < WINDOW:
                    flying.append(self._ask(m.Download(0, transfer.room, blob, offset)))
                    offset += m.MAX_PIECE
                piece: e.FilePiece = await flying.popleft()
                held = part.held + len(piece.data)
                if (piece.offset, piece.size) != (part.held, transfer.size) or not piece.data:
                    raise OtherFile()
                if held > transfer.size or (held < transfer.size and len(piece.data) < m.MAX_PIECE):
                    raise OtherFile()
                await self._in_thread(part.write, piece.data)
                self.progress(transfer, part.held)
        finally:
            _ignore(flying)


def _ignore(flying: deque[Deferred[Any]]) -> None:
    """Nobody waits for these answers any more."""
    for answer in flying:
        answer.addErrback(lambda _: None)


def _answer(waiting: Deferred[Any], event: e.Event) -> None:
    if not waiting.called:
        waiting.callback(event)


def _fail(waiting: Deferred[Any], error: Exception) -> None:
    if not waiting.called:
        waiting.errback(error)
