"""Files on disk: ``blobs/ab/abcd…`` under their hash, and ``uploads/…`` while they are on their way.

A file in ``blobs`` is whole and never changes, so that a copy of the directory can be made at any time. What
an upload holds outlives the process as it is, and a power cut only once it is whole: its hash is made from
what is on disk, so that what was lost on the way shows. All of it runs in threads of its own.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from zope.interface import implementer

from encchat.core.interfaces import IBlobs, Unavailable
from encchat.logs.files import prepare_directory, sync_directory
from encchat.logs.pool import Workers

#: Threads: while one reads a large file for its hash, others get on.
THREADS = 4

#: Where blobs are in a data directory.
DIRECTORY = "blobs"

_UPLOAD = re.compile(r"[0-9a-z]{1,64}\Z")
_BLOB = re.compile(r"[0-9a-f]{64}\Z")
_PLAIN = os.O_CLOEXEC | os.O_NOFOLLOW

_T = TypeVar("_T")


@implementer(IBlobs)
class FileBlobs:
    """``IBlobs`` in a data directory.

    :raises ConfigError: it cannot be used, or is not private to this user.
    """

    def __init__(self, directory: Path, reactor: Any) -> None:
        self._uploads = directory / "uploads"
        self._blobs = directory / DIRECTORY
        for path in (directory, self._uploads, self._blobs):
            prepare_directory(path)
        self._workers = Workers(reactor, THREADS, "encchat-files", "the server is stopping")

    async def held(self, upload: str) -> int:
        """How many bytes of an upload there are."""
        return await self._run(_size, self._upload(upload))

    async def write(self, upload: str, offset: int, data: bytes) -> None:
        """Add to it."""
        await self._run(_write, self._upload(upload), offset, data)

    async def digest(self, upload: str) -> bytes:
        """The SHA-256 of what is held, once all of it is durable."""
        return await self._run(_digest, self._upload(upload))

    async def keep(self, upload: str, blob: bytes) -> None:
        """Make a blob of it."""
        await self._run(_keep, self._upload(upload), self._blob(blob))

    async def discard(self, upload: str) -> None:
        """Forget it."""
        await self._run(_unlink, self._upload(upload))

    async def read(self, blob: bytes, offset: int, size: int) -> bytes | None:
        """Some bytes of a blob."""
        return await self._run(_read, self._blob(blob), offset, size)

    async def remove(self, blob: bytes) -> None:
        """Forget it."""
        await self._run(_unlink, self._blob(blob))

    async def blobs(self, after: bytes = b"", limit: int = 1000) -> Sequence[bytes]:
        """Those that there are."""
        return await self._run(_list_blobs, self._blobs, after.hex(), limit)

    async def uploads(self) -> Mapping[str, tuple[int, float]]:
        """Those that there are."""
        return await self._run(_list_uploads, self._uploads)

    async def close(self) -> None:
        """Wait for what is under way, then end the threads."""
        await self._workers.close()

    async def _run(self, work: Callable[..., _T], *args: Any) -> _T:
        try:
            return await self._workers.run(work, *args)
        except OSError as error:
            raise Unavailable(reason=error.strerror or str(error)) from None

    def _upload(self, upload: str) -> Path:
        if not _UPLOAD.match(upload):
            raise ValueError(f"{upload!r} is no name of an upload")
        return self._uploads / upload

    def _blob(self, blob: bytes) -> Path:
        return self._blobs / place_of(blob.hex())


def place_of(name: str) -> Path:
    """Where a blob is, among the others; its name is its SHA-256 in hexadecimal."""
    return Path(name[:2], name)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _write(path: Path, offset: int, data: bytes) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | _PLAIN, 0o600)
    try:
        held = os.fstat(file).st_size
        if held < offset:
            raise OSError(0, "the upload has lost bytes")
        if held > offset:
            os.ftruncate(file, offset)
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(file, view, offset)
                view, offset = view[written:], offset + written
        except OSError:
            with suppress(OSError):
                os.ftruncate(file, offset)
            raise
    finally:
        os.close(file)


def _digest(path: Path) -> bytes:
    try:
        file = os.open(path, os.O_RDONLY | _PLAIN)
    except FileNotFoundError:
        return hashlib.sha256().digest()
    with os.fdopen(file, "rb", 0) as opened:
        try:
            os.fsync(file)
        except OSError:  # from here on the system takes what it has lost for kept: let it be sent again
            path.unlink()
            raise
        return hashlib.file_digest(opened, "sha256").digest()


def _keep(upload: Path, blob: Path) -> None:
    if not blob.parent.is_dir():
        blob.parent.mkdir(mode=0o700, exist_ok=True)
        sync_directory(blob.parent.parent)
    upload.replace(blob)
    sync_directory(blob.parent)


def _read(path: Path, offset: int, size: int) -> bytes | None:
    try:
        file = os.open(path, os.O_RDONLY | _PLAIN)
    except FileNotFoundError:
        return None
    try:
        return os.pread(file, size, offset)  # of a regular file it gives all that there is
    finally:
        os.close(file)


def _unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def _list_blobs(directory: Path, after: str, limit: int) -> list[bytes]:
    found: list[str] = []
    for part in sorted(name for name in os.listdir(directory) if len(name) == 2 and name >= after[:2]):
        names = os.listdir(directory / part)
        found += sorted(name for name in names if name > after and _BLOB.match(name))
        if len(found) >= limit:
            break
    return [bytes.fromhex(name) for name in found[:limit]]


def _list_uploads(directory: Path) -> dict[str, tuple[int, float]]:
    found = {}
    now = time.time()
    with os.scandir(directory) as entries:
        for entry in entries:
            if _UPLOAD.match(entry.name):
                with suppress(FileNotFoundError):
                    state = entry.stat(follow_symlinks=False)
                    found[entry.name] = (state.st_size, max(0.0, now - state.st_mtime))
    return found
