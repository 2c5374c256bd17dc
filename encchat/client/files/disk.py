"""The two ends of a transfer on this machine's disk: the file that is read, and the one that is written.

Everything here waits for the disk, and is called in a thread. What is written grows in a file of its own,
which a later attempt goes on with, and gets its name once its hash was checked; no file is ever overwritten.
"""

from __future__ import annotations

import fcntl
import os
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import Lock

from encchat.client.files.filenames import candidates
from encchat.errors import RefusedError, StorageError, UsageError

#: Bytes that are read at a time for a hash.
STEP = 1024 * 1024


class CannotRead(UsageError):
    """{path} cannot be sent: {reason}."""


class FileChanged(UsageError):
    """{path} has changed while it was being sent, and is not sent. Send it again."""


class CannotWrite(StorageError):
    """{path} cannot be written: {reason}. Name another place: /save NUMBER PATH"""

    code = "cannot-write"


class FetchedTwice(UsageError):
    """This file is being saved to {path} already."""


class NotTheFile(RefusedError):
    """What the server gave is not the file that was offered (its hash differs); it was deleted."""

    code = "wrong-hash"


class Stopped(Exception):
    """Nobody wants it any more."""


class Source:
    """An open file that is sent. Its methods may be called in any thread, one at a time."""

    def __init__(self, path: Path) -> None:
        """Open it.

        :raises CannotRead: it is not there, or no plain file.
        """
        self.path = path
        self._lock = Lock()
        self._stopped = False
        try:
            # Not blocking: a pipe without a writer would otherwise be waited for.
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise CannotRead(path=str(path), reason=error.strerror or error) from None
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            os.close(self._file)
            kind = "it is a directory" if stat.S_ISDIR(found.st_mode) else "it is not a plain file"
            raise CannotRead(path=str(path), reason=kind)
        self.size = found.st_size

    def digest(self) -> bytes:
        """The SHA-256 of its first ``size`` bytes."""
        hash_ = sha256()
        for offset in range(0, self.size, STEP):
            hash_.update(self.read(offset, min(STEP, self.size - offset)))
        return hash_.digest()

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes from there.

        :raises FileChanged: there are fewer.
        :raises CannotRead: the disk fails.
        """
        with self._lock:
            if self._stopped:
                raise Stopped
            try:
                data = os.pread(self._file, size, offset)
            except OSError as error:
                raise CannotRead(path=str(self.path), reason=error.strerror or error) from None
        if len(data) < size:
            raise FileChanged(path=str(self.path))
        return data

    def close(self) -> None:
        """Let go of it."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                os.close(self._file)


class Part:
    """A file that is received: as ``NAME.HASH.part`` while it grows. Nobody else writes it meanwhile."""

    def __init__(self, directory: Path, name: str, blob: bytes, size: int) -> None:
        """Open it, and go on where an earlier attempt ended.

        :raises CannotWrite: it cannot be.
        :raises FetchedTwice: somebody else is writing it.
        """
        self._directory = directory
        self._name = name
        self._blob = blob
        #: The bytes that are to come.
        self.size = size
        self._lock = Lock()
        self._stopped = False
        self.path = directory / f"{name}.{blob.hex()[:12]}.part"
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise CannotWrite(path=str(self.path), reason=error.strerror or error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._file)
            raise FetchedTwice(path=str(self.path)) from None
        found = os.fstat(self._file)
        if not stat.S_ISREG(found.st_mode):
            os.close(self._file)
            raise CannotWrite(path=str(self.path), reason="it is not a plain file")
        #: The bytes that are there.
        self.held = found.st_size
        if self.held > size:
            os.ftruncate(self._file, 0)
            self.held = 0

    def write(self, data: bytes) -> None:
        """Add to it.

        :raises CannotWrite: the disk is full, or fails.
        """
        with self._lock:
            if self._stopped:
                raise Stopped
            view = memoryview(data)
            try:
                while view:
                    written = os.pwrite(self._file, view, self.held)
                    view = view[written:]
                    self.held += written
            except OSError as error:
                raise CannotWrite(path=str(self.path), reason=error.strerror or error) from None

    def finish(self) -> Path:
        """All is here: check it, and give it its name, or one with a number where that is taken.

        :raises NotTheFile: it is another one; it was deleted.
        :raises CannotWrite: it cannot be named so.
        """
        with self._lock:
            if self._stopped:
                raise Stopped
            try:
                if self._digest() != self._blob:
                    self.path.unlink(missing_ok=True)
                    raise NotTheFile()
                whole = self._checked()
                path = self._reserve()
                try:
                    whole.replace(path)
                except BaseException:
                    path.unlink()
                    raise
            except OSError as error:
                raise CannotWrite(path=str(self.path), reason=error.strerror or error) from None
            return path

    def _checked(self) -> Path:
        """Where what was received lies, now that its hash is known to be right."""
        os.fsync(self._file)
        return self.path

    def _digest(self) -> bytes:
        hash_ = sha256()
        offset = 0
        while data := os.pread(self._file, STEP, offset):
            hash_.update(data)
            offset += len(data)
        return hash_.digest()

    def _reserve(self) -> Path:
        """An empty file that was not there before."""
        for name in candidates(self._name):
            path = self._directory / name
            with suppress(FileExistsError):
                os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
                return path
        raise CannotWrite(path=str(self._directory / self._name), reason="too many files are called so")

    def close(self) -> None:
        """Let go of it; what is there stays for a later attempt, unless it is nothing."""
        with self._lock:
            if not self._stopped:
                self._stopped = True
                if not self.held and self.size:
                    self.path.unlink(missing_ok=True)
                os.close(self._file)
