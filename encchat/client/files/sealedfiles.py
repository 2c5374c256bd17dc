"""Files for sealed rooms: encrypted as they are read for the server, opened once they have come from it.

The key of a file is made from a secret of its own, which is kept while it is on its way, and from what the
file says: the same file goes on under the same key after a restart, a changed one never meets a used key.
For the same reason no piece is encrypted that is not what it was when the key was made. Memory stays at a few
pieces, whatever the size.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from encchat.client.files.disk import CannotWrite, FileChanged, Part, Source
from encchat.core.sealed.files import MAGIC, PIECE, TAG, BadFile, FileOpener, seal_piece, sealed_size

_LABEL = b"encchat/file-key/1"
#: Bytes of a piece's digest that are remembered.
_DIGEST = 16


class SealedSource(Source):
    """A file as the server is to have it: ``size``, ``digest`` and ``read`` are of the ciphertext. ``secret``
    is 32 random bytes that no other file has."""

    def __init__(self, path: Path, secret: bytes) -> None:
        super().__init__(path)
        #: Bytes of the file itself.
        self.plain_size = self.size
        self.size = sealed_size(self.plain_size)
        self.key = b""
        self._secret = secret
        self._pieces: list[bytes] = []
        self._last: tuple[int, bytes] = -1, b""

    def digest(self) -> bytes:
        """The SHA-256 of the ciphertext; makes the key first, and looks whether the file is what it was.

        :raises FileChanged: it is not.
        """
        pieces, whole = [], sha256()
        for number in range(self._count):
            data = self._plain(number)
            whole.update(data)
            pieces.append(sha256(data).digest()[:_DIGEST])
        if self.key and pieces != self._pieces:
            raise FileChanged(path=str(self.path))
        self._pieces = pieces
        self.key = sha256(_LABEL + self._secret + whole.digest()).digest()
        hash_ = sha256(MAGIC)
        for number in range(self._count):
            hash_.update(self._sealed(number))
        return hash_.digest()

    def read(self, offset: int, size: int) -> bytes:
        """So many bytes of the ciphertext from there; ``digest`` comes first.

        :raises FileChanged: the file is no longer what it was.
        :raises CannotRead: the disk fails.
        """
        end = offset + size
        out = bytearray(MAGIC[offset:end])
        first = max(0, offset - len(MAGIC)) // (PIECE + TAG)
        for number in range(first, self._count):
            start = len(MAGIC) + number * (PIECE + TAG)
            if start >= end:
                break
            out += self._sealed(number)[max(0, offset - start) : end - start]
        return bytes(out)

    @property
    def _count(self) -> int:
        return max(1, -(-self.plain_size // PIECE))

    def _plain(self, number: int) -> bytes:
        return super().read(number * PIECE, min(PIECE, self.plain_size - number * PIECE))

    def _sealed(self, number: int) -> bytes:
        if self._last[0] != number:
            data = self._plain(number)
            if sha256(data).digest()[:_DIGEST] != self._pieces[number]:
                raise FileChanged(path=str(self.path))
            sealed = seal_piece(self.key, number, data, last=number == self._count - 1)
            self._last = number, sealed
        return self._last[1]


class SealedPart(Part):
    """A file that is received as ciphertext of so many bytes, and gets its name once it was opened. ``size``
    is the file's own, and what its entry says; another one is refused."""

    def __init__(self, directory: Path, name: str, blob: bytes, size: int, key: bytes) -> None:
        super().__init__(directory, name, blob, sealed_size(size))
        self._plain_size = size
        self._key = key

    def _checked(self) -> Path:
        """Open it into a file of its own, which is not there under any name that a person would use."""
        plain = self.path.with_suffix(".opening")
        plain.unlink(missing_ok=True)
        file = os.open(plain, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(file, "wb") as out:
                self._open_into(out.write)
                out.flush()
                os.fsync(out.fileno())
        except BadFile:
            plain.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            raise
        except OSError as error:
            plain.unlink(missing_ok=True)
            raise CannotWrite(path=str(plain), reason=error.strerror or error) from None
        self.path.unlink()
        return plain

    def _open_into(self, write: Callable[[bytes], object]) -> None:
        opener, offset, size = FileOpener(self._key), 0, 0
        while data := os.pread(self._file, PIECE + TAG, offset):
            offset += len(data)
            plain = opener.update(data)
            size += len(plain)
            write(plain)
        rest = opener.finish()
        write(rest)
        if size + len(rest) != self._plain_size:
            raise BadFile(reason="it is not as large as its entry says")
