"""Files on their way: given to a room from a path, and fetched from a room to one.

Each transfer is a coroutine that asks the server piece by piece, a few ahead, and begins where the server or
the disk says that it ended: after a lost connection, a restart of the server, and (for what is given) of this
client. What is given is told in the room once the server has all of it, by an entry that goes through the
outbox like any message. The disk is read and written in threads. Who listens hears ``FileProgress`` now and
then, and at the end ``FileGiven``, ``FileSaved`` or ``FileFailed``.
"""

from __future__ import annotations

import mimetypes
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from encchat import messages as m
from encchat.client import events as e
from encchat.client.disk import FetchedTwice, FileChanged, Part, Source, Stopped
from encchat.client.filenames import place, safe_name
from encchat.client.requests import FileMessage
from encchat.client.roomcopy import Stage
from encchat.client.store import StoreFailed
from encchat.client.store.uploads import Waiting
from encchat.contents import File, NoContent, body_of, parse
from encchat.core.names import is_open
from encchat.errors import EncchatError, PeerError, RefusedError, UsageError

if TYPE_CHECKING:
    from encchat.client.chat import Chat
    from encchat.client.keeping import Keeper

#: Pieces that are on their way at once.
WINDOW = 4
#: Transfers that run at once; others wait for their turn.
AT_ONCE = 2
#: Seconds between two reports of progress.
REPORT = 0.25
#: Seconds to wait at least when the server asks to slow down: then a good part of its allowance is back.
BREATH = 0.5
#: Codes after which a transfer goes on where it was.
PASSING = frozenset({"rate-limited", "storage-unavailable", "conflict"})
AGAIN = frozenset({"disconnected", "no-upload", "wrong-offset", "wrong-hash"})
#: How often a transfer tries again without having come further.
TRIES = 8

_T = TypeVar("_T")


class NoFilesThere(UsageError):
    """This server takes no files."""


class TooLargeThere(UsageError):
    """{name} has {size:,} bytes, where this server takes files of at most {limit:,}."""


class NoFileThere(UsageError):
    """#{seq} of {room} is no file."""


class NotInSealed(UsageError):
    """Files go to open rooms only, whose names begin with '+'."""


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
    tries: int = 0
    told_at: float = -1e9
    work: Deferred[None] = field(default_factory=Deferred)

    @property
    def percent(self) -> int:
        """How much of it has gone, or come."""
        return 100 * self.done // self.size if self.size else 0


class Files:
    """The transfers of one chat. ``in_thread`` runs what waits for the disk."""

    def __init__(self, chat: Chat, clock: IReactorTime, keeper: Keeper) -> None:
        self._chat = chat
        self._clock = clock
        self._keeper = keeper
        self.in_thread: Callable[..., Deferred[Any]] = deferToThread
        self._transfers: dict[int, Transfer] = {}
        self._count = 0
        self._waiting: dict[int, Deferred[Any]] = {}
        self._turns = DeferredSemaphore(AT_ONCE)
        self._stopping = False

    @property
    def transfers(self) -> list[Transfer]:
        """Those that are on their way, or wait for their turn."""
        return list(self._transfers.values())

    def give(self, room: str, path: str, msgid: bytes | None = None) -> int:
        """Give the file at ``path`` to a room; returns the transfer's number. How it went is told by events.

        :raises NotInSealed: files do not go there.
        :raises StoreFailed: it cannot be remembered.
        """
        if not is_open(room):
            raise NotInSealed()
        where = Path(path).expanduser().absolute()
        transfer = self._new(room, safe_name(where.name), up=True)
        transfer.msgid = msgid or self._chat.new_msgid()
        if self._keeper.lane is not None and msgid is None:
            waiting = Waiting(transfer.msgid, room, str(where))
            self._keeper.store.uploads.keep(
                self._keeper.endpoint, self._keeper.lane, waiting, self._chat.milliseconds()
            )
        self._start(transfer, self._give(transfer, where))
        return transfer.number

    def resume(self) -> int:
        """Go on with what an earlier run was giving; returns how many files that is."""
        if self._keeper.lane is None:
            return 0
        left = self._keeper.store.uploads.waiting(self._keeper.endpoint, self._keeper.lane)
        for waiting in left:
            self.give(waiting.room, waiting.path, waiting.msgid)
        return len(left)

    def fetch(self, room: str, seq: int, wish: str | None = None, entry: m.Entry | None = None) -> int:
        """Fetch the file that entry ``seq`` of a room offers (``entry``, where the caller has it) to where
        the person wishes; returns the transfer's number."""
        transfer = self._new(room, f"#{seq}", up=False)
        self._start(transfer, self._fetch(transfer, seq, wish, entry))
        return transfer.number

    def cancel(self, number: int) -> bool:
        """Stop a transfer for good; whether there was one of this number. What was fetched so far stays."""
        transfer = self._transfers.get(number)
        if transfer is None:
            return False
        if transfer.up:
            self._forget(transfer)
        transfer.work.cancel()
        return True

    def stop(self) -> None:
        """The chat ends: what is given goes on in the next run, what is fetched when it is asked for."""
        self._stopping = True
        for transfer in self.transfers:
            transfer.work.cancel()

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

    # ----------------------------------------------------------------------------------------- common

    def _new(self, room: str, name: str, *, up: bool) -> Transfer:
        self._count += 1
        transfer = self._transfers[self._count] = Transfer(self._count, room, name, up)
        return transfer

    def _start(self, transfer: Transfer, work: Coroutine[Any, Any, None]) -> None:
        def ended(result: object) -> None:
            del self._transfers[transfer.number]
            if isinstance(result, Failure):
                self._failed(transfer, result)
            self._chat.look()

        transfer.work = Deferred.fromCoroutine(self._in_turn(work))
        transfer.work.addBoth(ended)

    async def _in_turn(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await self._turns.acquire()
        except BaseException:
            work.close()
            raise
        try:
            await work
        finally:
            self._turns.release()

    def _failed(self, transfer: Transfer, failure: Failure) -> None:
        error = failure.value
        if self._stopping or isinstance(error, CancelledError | Stopped):
            return
        if not isinstance(error, EncchatError):
            failure.raiseException()
        if transfer.up and not isinstance(error, StoreFailed):
            self._forget(transfer)
        code = error.reason if isinstance(error, Failed) else error.code
        self._tell(e.FileFailed(transfer.number, transfer.room, transfer.name, transfer.up, code, str(error)))

    def _forget(self, transfer: Transfer) -> None:
        if self._keeper.lane is not None:
            try:
                self._keeper.store.uploads.forget(transfer.msgid)
            except StoreFailed as error:
                self._chat.warn(str(error))

    def _tell(self, event: e.Event) -> None:
        self._chat.happened([event])

    def _progress(self, transfer: Transfer, done: int) -> None:
        if done > transfer.done:
            transfer.tries = 0
        transfer.done = done
        now = self._clock.seconds()
        if now - transfer.told_at >= REPORT or done == transfer.size:
            transfer.told_at = now
            self._tell(
                e.FileProgress(
                    transfer.number, transfer.room, transfer.name, transfer.up, done, transfer.size
                )
            )

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

    async def _in_room(self, room: str) -> None:
        """Wait until we are in the room."""

        def entered() -> bool:
            copy = self._chat.session.rooms.get(room)
            return self._chat.session.admitted and copy is not None and copy.stage is Stage.IN

        await self._chat.when(entered)

    # ---------------------------------------------------------------------------------------- giving

    async def _give(self, transfer: Transfer, path: Path) -> None:
        source: Source = await self.in_thread(Source, path)
        try:
            await self._in_room(transfer.room)
            limit = self._chat.session.limits.file
            if not limit:
                raise NoFilesThere()
            if source.size > limit:
                raise TooLargeThere(name=transfer.name, size=source.size, limit=limit)
            transfer.size = source.size
            self._progress(transfer, 0)
            digest: bytes = await self.in_thread(source.digest)
            await self._upload(transfer, source, digest)
        finally:
            self.in_thread(source.close)
        kind = (mimetypes.guess_type(transfer.name)[0] or "")[:100]
        file = File(transfer.name, transfer.size, digest.hex(), kind)
        self._chat.say(transfer.room, body_of(file).decode(), kind="file", msgid=transfer.msgid)
        self._forget(transfer)
        self._tell(
            e.FileGiven(
                transfer.number, transfer.room, transfer.name, transfer.size, file.hash, transfer.msgid
            )
        )

    async def _upload(self, transfer: Transfer, source: Source, digest: bytes) -> None:
        begin = m.Upload(0, transfer.room, digest, source.size)
        while True:
            await self._in_room(transfer.room)
            try:
                ready = await self._ask(begin)
                await self._send_pieces(transfer, source, digest, ready.offset)
                return
            except Failed as failed:
                if failed.reason == "wrong-hash" and await self.in_thread(source.digest) != digest:
                    raise FileChanged(path=str(source.path)) from None
                await self._judge(transfer, failed)

    async def _send_pieces(self, transfer: Transfer, source: Source, digest: bytes, offset: int) -> None:
        if offset > source.size:
            raise OtherFile()
        self._progress(transfer, offset)
        flying: deque[Deferred[Any]] = deque()
        try:
            while flying or offset < source.size:
                while offset < source.size and len(flying) < WINDOW:
                    data = await self.in_thread(source.read, offset, min(m.MAX_PIECE, source.size - offset))
                    flying.append(self._ask(m.Chunk(0, digest, offset, data)))
                    offset += len(data)
                ready = await flying.popleft()
                self._progress(transfer, ready.offset)
        finally:
            _ignore(flying)

    # -------------------------------------------------------------------------------------- fetching

    async def _fetch(self, transfer: Transfer, seq: int, wish: str | None, entry: m.Entry | None) -> None:
        if entry is None:
            entry = await self._entry(transfer.room, seq)
        file = _file_of(entry, transfer.room, seq)
        directory, name = await self.in_thread(place, wish, file.name)
        blob = bytes.fromhex(file.hash)
        if any(other.name == name and not other.up and other is not transfer for other in self.transfers):
            raise FetchedTwice(path=str(directory / name))
        transfer.name, transfer.size = name, file.size
        part: Part = await self.in_thread(Part, directory, name, blob, file.size)
        try:
            await self._download(transfer, part, blob)
            path: Path = await self.in_thread(part.finish)
        finally:
            self.in_thread(part.close)
        self._tell(
            e.FileSaved(transfer.number, transfer.room, safe_name(file.name), file.size, file.hash, str(path))
        )

    async def _entry(self, room: str, seq: int) -> m.Entry:
        """An entry that was not shown lately: the server has it, or this client."""
        kept = self._chat.local_history(room, seq + 1, 1).entries
        if kept and kept[0].seq == seq:
            return kept[0]
        await self._in_room(room)
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

    async def _download(self, transfer: Transfer, part: Part, blob: bytes) -> None:
        self._progress(transfer, part.held)
        while part.held < transfer.size:
            await self._in_room(transfer.room)
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
                await self.in_thread(part.write, piece.data)
                self._progress(transfer, part.held)
        finally:
            _ignore(flying)


def _file_of(entry: m.Entry, room: str, seq: int) -> File:
    if entry.kind == "file":
        try:
            content = parse("file", entry.body)
        except NoContent:
            content = None
        if isinstance(content, File) and not content.key:
            return content
    raise NoFileThere(seq=seq, room=room)


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
