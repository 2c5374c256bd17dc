"""Files on their way: given to a room from a path, and fetched from a room to one.

Each transfer is a coroutine that goes on (``transfer``) after a lost connection, a restart of the server, and
(for what is given) of this client. What is given is told in the room once the server has all of it, by an
entry that goes through the outbox like any message. The disk is read and written in threads. Who listens
hears ``FileProgress`` now and then, and at the end ``FileGiven``, ``FileSaved`` or ``FileFailed``.
"""

from __future__ import annotations

import mimetypes
import os
from base64 import b64encode
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore
from twisted.internet.interfaces import IReactorTime
from twisted.internet.threads import deferToThread
from twisted.python.failure import Failure

from encchat import messages as m
from encchat.client import events as e
from encchat.client.files.disk import FetchedTwice, Part, Source, Stopped
from encchat.client.files.filenames import place, safe_name
from encchat.client.files.transfer import Carrier, Failed, NoFileThere, Transfer
from encchat.client.store import StoreFailed
from encchat.client.store.uploads import Waiting
from encchat.contents import File, NoContent, body_of, parse
from encchat.core.names import is_open
from encchat.errors import EncchatError, UsageError

if TYPE_CHECKING:
    from encchat.client.chat import Chat
    from encchat.client.store.keeping import Keeper

#: Transfers that run at once; others wait for their turn.
AT_ONCE = 2


class NoFilesThere(UsageError):
    """This server takes no files."""


class TooLargeThere(UsageError):
    """{name} has {size:,} bytes, where this server takes files of at most {limit:,}."""


class Files:
    """The transfers of one chat. ``in_thread`` runs what waits for the disk."""

    def __init__(self, chat: Chat, clock: IReactorTime, keeper: Keeper) -> None:
        self._chat = chat
        self._clock = clock
        self._keeper = keeper
        self.in_thread: Callable[..., Deferred[Any]] = deferToThread
        self._carrier = Carrier(chat, clock, self._in_thread)
        self._transfers: dict[int, Transfer] = {}
        self._count = 0
        self._turns = DeferredSemaphore(AT_ONCE)
        self._stopping = False

    @property
    def transfers(self) -> list[Transfer]:
        """Those that are on their way, or wait for their turn."""
        return list(self._transfers.values())

    @property
    def next_number(self) -> int:
        """The number that the next transfer will have."""
        return self._count + 1

    def give(self, room: str, path: str, msgid: bytes | None = None, secret: bytes = b"") -> int:
        """Give the file at ``path`` to a room; returns the transfer's number. How it went is told by events.

        :raises StoreFailed: it cannot be remembered.
        """
        where = Path(path).expanduser().absolute()
        transfer = self._new(room, safe_name(where.name), up=True)
        transfer.msgid = msgid or self._chat.new_msgid()
        if not is_open(room):
            secret = secret or os.urandom(32)
        if msgid is None:
            secret = self._remember(Waiting(transfer.msgid, room, str(where), secret), transfer)
        self._start(transfer, self._give(transfer, where, secret))
        return transfer.number

    def _remember(self, waiting: Waiting, transfer: Transfer) -> bytes:
        """Have a later run go on with it, by itself or (without a lane) if it is asked to. Returns the secret
        to go on with: the same file is to be the same for the server."""
        uploads, endpoint, now = self._keeper.store.uploads, self._keeper.endpoint, self._chat.milliseconds()
        transfer.kept = waiting.msgid
        if self._keeper.lane is not None:
            uploads.keep(endpoint, self._keeper.lane, waiting, now)
        elif waiting.secret:
            waiting = uploads.remember(endpoint, waiting, now)
            transfer.kept = waiting.msgid
        return waiting.secret

    def resume(self) -> int:
        """Go on with what an earlier run was giving; returns how many files that is."""
        if self._keeper.lane is None:
            return 0
        left = self._keeper.store.uploads.waiting(self._keeper.endpoint, self._keeper.lane)
        for waiting in left:
            self.give(waiting.room, waiting.path, waiting.msgid, waiting.secret)
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
        return self._carrier.notice(event)

    # ----------------------------------------------------------------------------------------- common

    def _in_thread(self, *work: Any) -> Deferred[Any]:
        return self.in_thread(*work)

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
        if transfer.up and not isinstance(error, StoreFailed) and self._keeper.lane is not None:
            self._forget(transfer)
        code = error.reason if isinstance(error, Failed) else error.code
        self._tell(e.FileFailed(transfer.number, transfer.room, transfer.name, transfer.up, code, str(error)))

    def _forget(self, transfer: Transfer) -> None:
        try:
            self._keeper.store.uploads.forget(transfer.kept or transfer.msgid)
        except StoreFailed as error:
            self._chat.warn(str(error))

    def _tell(self, event: e.Event) -> None:
        self._chat.happened([event])

    # ---------------------------------------------------------------------------------------- giving

    async def _give(self, transfer: Transfer, path: Path, secret: bytes) -> None:
        source = await self._source(transfer.room, path, secret)
        size = getattr(source, "plain_size", source.size)
        try:
            await self._carrier.in_room(transfer.room)
            limit = self._chat.session.limits.file
            if not limit:
                raise NoFilesThere()
            if source.size > limit:
                raise TooLargeThere(name=transfer.name, size=source.size, limit=limit)
            transfer.size = source.size
            self._carrier.progress(transfer, 0)
            digest: bytes = await self.in_thread(source.digest)
            await self._carrier.upload(transfer, source, digest)
        finally:
            self.in_thread(source.close)
        kind = (mimetypes.guess_type(transfer.name)[0] or "")[:100]
        key = b64encode(getattr(source, "key", b"")).decode().rstrip("=")
        file = File(transfer.name, size, digest.hex(), kind, key)
        self._chat.say(transfer.room, body_of(file).decode(), kind="file", msgid=transfer.msgid)
        self._forget(transfer)
        self._tell(
            e.FileGiven(transfer.number, transfer.room, transfer.name, size, file.hash, transfer.msgid)
        )

    async def _source(self, room: str, path: Path, secret: bytes) -> Source:
        """The file as the server is to have it."""
        if is_open(room):
            return cast(Source, await self.in_thread(Source, path))
        from encchat.client.files.sealedfiles import SealedSource  # slow to import, and seldom needed

        return cast(Source, await self.in_thread(SealedSource, path, secret))

    # -------------------------------------------------------------------------------------- fetching

    async def _fetch(self, transfer: Transfer, seq: int, wish: str | None, entry: m.Entry | None) -> None:
        if entry is None:
            entry = await self._carrier.entry(transfer.room, seq)
        file = _file_of(entry, transfer.room, seq)
        directory, name = await self.in_thread(place, wish, file.name)
        blob = bytes.fromhex(file.hash)
        if any(other.name == name and not other.up and other is not transfer for other in self.transfers):
            raise FetchedTwice(path=str(directory / name))
        part = await self._part(directory, name, blob, file)
        transfer.name, transfer.size = name, part.size
        try:
            await self._carrier.download(transfer, part, blob)
            path: Path = await self.in_thread(part.finish)
        finally:
            self.in_thread(part.close)
        self._tell(
            e.FileSaved(transfer.number, transfer.room, safe_name(file.name), file.size, file.hash, str(path))
        )

    async def _part(self, directory: Path, name: str, blob: bytes, file: File) -> Part:
        """Where it goes; what was sealed is opened there."""
        if not file.key:
            return cast(Part, await self.in_thread(Part, directory, name, blob, file.size))
        from encchat.client.files.sealedfiles import SealedPart
        from encchat.core.sealed.files import key_bytes

        key = key_bytes(file.key)
        return cast(Part, await self.in_thread(SealedPart, directory, name, blob, file.size, key))


def _file_of(entry: m.Entry, room: str, seq: int) -> File:
    if entry.kind == "file":
        try:
            content = parse("file", entry.body)
        except NoContent:
            content = None
        if isinstance(content, File) and bool(content.key) != is_open(room):
            return content
    raise NoFileThere(seq=seq, room=room)
