"""Keeps files: takes them in piece by piece, gives them out to the rooms that have them, and lets them go.

Nobody learns from an upload whether the server has the same bytes from somebody else: who does not have
access to them sends them all. What is counted against quotas is counted here, in the turn in which it is
judged, so that two sessions cannot both have the last of a quota. After a restart it is counted anew, from
the records and from what is on disk; unfinished uploads are then again nobody's until somebody goes on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from encchat.core.chat.lock import Lock
from encchat.core.expiry import Expiry
from encchat.core.files.blobs import (
    BlobRecord,
    FileRules,
    Link,
    NoSuchFile,
    NoUpload,
    PastEnd,
    SpaceFull,
    WrongHash,
    WrongOffset,
    cost,
)
from encchat.core.files.counts import Counts
from encchat.core.files.partial import Partial
from encchat.errors import StorageError
from encchat.messages import MAX_PIECE

if TYPE_CHECKING:
    from encchat.core.directory import Directory
    from encchat.core.interfaces import IBlobs, ITurn

#: Uploads that may be unfinished at once.
MAX_OPEN_ALL = 4096
#: Seconds after which an upload is given up to which nothing was added; and one that never had anything.
ABANDONED, UNSTARTED = 24 * 3600.0, 600.0
#: Records that are looked at at once.
PAGE = 500
#: What stands behind a name, in records, whose files are of somebody who had it before: no name has a blank.
GONE = "before"
_DAY = 24 * 3600 * 1000


class Keeper:
    """The files of one hub. Every method may raise ``Unavailable``."""

    def __init__(self, blobs: IBlobs, directory: Directory, turn: ITurn, rules: FileRules) -> None:
        self._counts = Counts(rules)
        self._blobs = blobs
        self._directory = directory
        self._turn = turn
        self._expiry = Expiry(turn)
        #: Held by whoever changes which blobs there are, or their records.
        self._lock = Lock(turn)
        self._counted = False
        self._stopping = False
        self._partials: dict[tuple[str, bytes], Partial] = {}

    # ---------------------------------------------------------------------------------------- uploads

    async def begin(self, name: str, room: str, blob: bytes, size: int, may: Callable[[str], bool]) -> int:
        """Begin an upload for a room, or go on with it; how many bytes are here. ``may`` says to which rooms
        the uploader may give something now.

        :raises RefusedError: it is not taken; says why.
        """
        self._counts.check_size(size)
        await self._count()
        record = await self._directory.blob(blob)
        if record is not None and record.size == size and record.is_open_to(room, name, self.now()):
            await self._share(blob, size, name, room)
            return size
        partial = self._partials.get((name, blob))
        if partial is not None and partial.size != size:  # one of the two was a lie
            async with partial.lock:
                await self._drop(partial)
            return await self.begin(name, room, blob, size, may)
        if partial is None:
            partial = self._register(name, blob, size)
        partial.rooms.add(room)
        partial.touched = self._turn.now()
        async with partial.lock:
            if not partial.ended:
                await self._find(partial)
                if partial.offset < size:
                    return partial.offset
                try:
                    await self._finish(partial, may)
                    return size
                except WrongHash:
                    if not size:
                        raise
        # Another session of the name has ended it meanwhile; or what was held has suffered, and is gone.
        return await self.begin(name, room, blob, size, may)

    async def add(self, name: str, blob: bytes, offset: int, data: bytes, may: Callable[[str], bool]) -> int:
        """Add to an upload; how many bytes are here. With the last ones it becomes a blob, in those of its
        rooms to which the uploader ``may`` give it.

        :raises RefusedError: they are not taken; says why.
        """
        partial = self._partials.get((name, blob))
        if partial is None:
            raise NoUpload()
        async with partial.lock:
            if partial.ended or not partial.known or not any(map(may, partial.rooms)):
                raise NoUpload()
            if offset != partial.offset:
                raise WrongOffset(offset=partial.offset)
            if offset + len(data) > partial.size:
                raise PastEnd(size=partial.size)
            self._counts.check_space(len(data))
            self._counts.total += len(data)
            try:
                await self._blobs.write(partial.id, offset, data)
            except StorageError:
                self._counts.total -= len(data)
                partial.known = False
                self._counts.strays[partial.id] = partial.offset
                raise
            partial.offset += len(data)
            partial.touched = self._turn.now()
            if partial.offset == partial.size:
                await self._finish(partial, may)
            return partial.offset

    def _register(self, name: str, blob: bytes, size: int) -> Partial:
        if len(self._partials) >= MAX_OPEN_ALL:
            self._make_room()
        self._counts.begin(name, size)
        partial = self._partials[name, blob] = Partial(name, blob, size, self._turn)
        return partial

    def _make_room(self) -> None:
        """Let go of an upload that nobody adds to just now: of one that has no bytes if there is any, else of
        the one that was left longest. Its bytes stay, for whoever goes on with it."""
        idle = [partial for partial in self._partials.values() if partial.known and not partial.lock.held]
        if not idle:
            raise SpaceFull()
        left = min(idle, key=lambda partial: (partial.offset > 0, partial.touched))
        if left.offset:
            self._counts.strays[left.id] = left.offset
        self._end(left)

    async def _find(self, partial: Partial) -> None:
        """Find out how much of an upload there is."""
        if partial.known:
            return
        held = await self._blobs.held(partial.id)
        if held > partial.size:  # cannot be: begin anew
            await self._blobs.discard(partial.id)
            held = 0
        if not held and not partial.size:
            await self._blobs.write(partial.id, 0, b"")
        self._counts.total += held - self._counts.strays.pop(partial.id, 0)
        partial.offset, partial.known = held, True

    async def _finish(self, partial: Partial, may: Callable[[str], bool]) -> None:
        """All bytes are here: the upload becomes a blob. The caller holds the upload's lock."""
        if await self._blobs.digest(partial.id) != partial.blob:
            await self._drop(partial)
            raise WrongHash()
        async with self._lock:
            rooms = [room for room in partial.rooms if may(room)]
            if not rooms:
                raise NoUpload()
            try:
                await self._blobs.keep(partial.id, partial.blob)
                await self._link(partial.blob, partial.size, partial.name, rooms)
            except StorageError:
                partial.known = False
                self._counts.strays[partial.id] = partial.offset
                raise
            self._counts.total -= partial.size
            self._end(partial)

    async def _drop(self, partial: Partial) -> None:
        """Give an upload up; the caller holds its lock."""
        if not partial.ended:
            await self._blobs.discard(partial.id)
            self._counts.total -= partial.offset if partial.known else self._counts.strays.pop(partial.id, 0)
            self._end(partial)

    def _end(self, partial: Partial) -> None:
        partial.ended = True
        del self._partials[partial.name, partial.blob]
        self._counts.end(partial.name, partial.size)

    # ------------------------------------------------------------------------------------------ blobs

    async def _share(self, blob: bytes, size: int, name: str, room: str) -> None:
        """Give a blob that is here to a room, or for longer."""
        async with self._lock:
            record = await self._directory.blob(blob)
            if record is None:  # it went meanwhile
                raise NoUpload()
            if not record.is_of(name):
                self._counts.check_quota(name, size)
            await self._link(blob, size, name, [room])

    async def _link(self, blob: bytes, size: int, name: str, rooms: Collection[str]) -> None:
        """Record that a name gave a blob to rooms; the caller holds the lock."""
        now = self.now()
        until = now + self._counts.rules.days * _DAY if self._counts.rules.days else 0
        links = [Link(room, name, now, until) for room in rooms]
        before: list[BlobRecord | None] = []

        def linked(record: BlobRecord | None) -> BlobRecord:
            before[:] = [record]
            return (record or BlobRecord(size, now)).with_links(links)

        await self._directory.change_blob(blob, linked)
        known = before[0]
        if known is None:
            self._counts.total += cost(size)
        if known is None or not known.is_of(name):
            self._counts.names[name] += cost(size)

    async def read(self, room: str, blob: bytes, offset: int) -> tuple[int, bytes]:
        """A blob's size and a piece of it, for who is in a room that it was given to.

        :raises NoSuchFile: it was not, or has gone.
        :raises PastEnd: it is shorter.
        """
        record = await self._directory.blob(blob)
        if record is None or not record.is_in(room, self.now()):
            raise NoSuchFile(room=room)
        if offset > record.size:
            raise PastEnd(size=record.size)
        data = await self._blobs.read(blob, offset, MAX_PIECE)
        if data is None or (not data and offset < record.size):
            raise NoSuchFile(room=room)
        return record.size, data

    async def check(self, room: str, blob: bytes, size: int) -> None:
        """Whether a blob of this size was given to a room.

        :raises NoSuchFile: it was not, or has gone.
        """
        record = await self._directory.blob(blob)
        if record is None or record.size != size or not record.is_in(room, self.now()):
            raise NoSuchFile(room=room)

    async def withdraw(self, room: str, blob: bytes, name: str | None) -> None:
        """Take a blob from a room, as far as ``name`` gave it, or (None) whoever did."""
        await self._count()
        record = await self._directory.blob(blob)
        if record is not None:
            here = [link for link in record.links if link.room == room]
            await self._unlink(blob, [link for link in here if name in (None, link.by)])

    async def _unlink(self, blob: bytes, links: Collection[Link]) -> None:
        """Take these links from a blob, and let it go if it has no others."""
        gone: list[Link] = []

        def unlinked(record: BlobRecord | None) -> BlobRecord:
            record = record or BlobRecord(0, 0)
            gone[:] = [link for link in record.links if link in links]
            return record.without(gone)

        async with self._lock:
            if await self._directory.blob(blob) is None:
                return
            record = await self._directory.change_blob(blob, unlinked)
            for name in {link.by for link in gone}:
                if not record.is_of(name):
                    self._counts.release(name, record.size)
            if not record.links and await self._directory.forget_blob(blob):
                self._counts.total -= cost(record.size)
                await self._blobs.remove(blob)

    async def disown(self, name: str) -> None:
        """What a name gave is not of who has the name from now on: it counts as that of somebody who is gone.
        Nobody is in under the name."""
        await self._count()
        for partial in [partial for partial in self._partials.values() if partial.name == name]:
            async with partial.lock:
                await self._drop(partial)
        after, gone = b"", f"{name} {GONE}"
        while records := await self._directory.blobs(after, PAGE):
            for blob in [blob for blob, record in records.items() if record.is_of(name)]:
                async with self._lock:
                    if await self._directory.blob(blob) is not None:
                        record = await self._directory.change_blob(
                            blob, lambda held: _passed(held, name, gone)
                        )
                        self._counts.release(name, record.size)
                        self._counts.names[gone] += cost(record.size)
            after = max(records)

    # ------------------------------------------------------------------------------------------- time

    def now(self) -> int:
        """Milliseconds since 1970; while this runs, a clock that is set forward lets nothing expire."""
        return self._expiry.milliseconds()

    async def _count(self) -> None:
        """Count, once, what there is."""
        if self._counted:
            return
        async with self._lock:
            if self._counted:
                return
            names: Counter[str] = Counter()
            total, after = 0, b""
            while records := await self._directory.blobs(after, PAGE):
                for record in records.values():
                    total += cost(record.size)
                    names.update(dict.fromkeys({link.by for link in record.links}, cost(record.size)))
                after = max(records)
            strays = {id: size for id, (size, _) in (await self._blobs.uploads()).items()}
            counts = self._counts
            counts.names, counts.strays, counts.total = names, strays, total + sum(strays.values())
            self._counted = True

    async def sweep(self) -> None:
        """Let go what has expired, what was begun and given up, and what nothing is recorded of."""
        await self._count()
        after, now = b"", self.now()
        while records := await self._directory.blobs(after, PAGE):
            for blob, record in records.items():
                if self._stopping:
                    return
                expired = [link for link in record.links if not link.lasts(now)]
                if expired or not record.links:
                    await self._unlink(blob, expired)
            after = max(records)
        for partial in list(self._partials.values()):
            if self._is_abandoned(partial):
                async with partial.lock:
                    if self._is_abandoned(partial):
                        await self._drop(partial)
        active = {partial.id for partial in self._partials.values()}
        for id, (_, idle) in (await self._blobs.uploads()).items():
            if idle > ABANDONED and id not in active and id in self._counts.strays:
                self._counts.total -= self._counts.strays.pop(id)
                await self._blobs.discard(id)
        await self._sweep_orphans()

    def _is_abandoned(self, partial: Partial) -> bool:
        return self._turn.now() - partial.touched > (ABANDONED if partial.offset else UNSTARTED)

    async def _sweep_orphans(self) -> None:
        after = b""
        while blobs := await self._blobs.blobs(after, PAGE):
            for blob in blobs:
                if self._stopping:
                    return
                async with self._lock:  # nothing becomes a blob meanwhile
                    if await self._directory.blob(blob) is None:
                        await self._blobs.remove(blob)
            after = blobs[-1]

    def stop_sweeping(self) -> None:
        """Let a look that is under way end soon."""
        self._stopping = True

    async def close(self) -> None:
        """Let what was begun end."""
        await self._blobs.close()


def _passed(record: BlobRecord | None, name: str, other: str) -> BlobRecord:
    assert record is not None  # the lock is held: none goes meanwhile
    return record.passed(name, other)
