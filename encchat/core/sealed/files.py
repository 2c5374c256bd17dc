"""Files in sealed rooms: encrypted piece by piece under a key that is made for the one file.

The STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its
Nonce-Reuse Misuse-Resistance, 2015): each piece of 64 KiB is ChaCha20-Poly1305 with the nonce ``7 zero
bytes, u32 counter, last flag``, so that pieces cannot be left out, exchanged, repeated or cut off at the
end. The key travels in the body of the ``file`` entry (``contents.File.key``) and is used for this file
alone. Memory stays at one piece.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from binascii import Error as Base64Error

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from encchat.errors import PeerError

MAGIC = b"encchat file 1\n\x00"
PIECE = 64 * 1024
TAG = 16
MAX_PIECES = 2**32


class BadFile(PeerError):
    """The file cannot be opened: {reason}. It was not saved."""

    code = "bad-file"


def key_text(key: bytes) -> str:
    """A file's key as the body of its entry carries it."""
    return b64encode(key).decode("ascii").rstrip("=")


def key_bytes(text: str) -> bytes:
    """The key that an entry's body carries.

    :raises BadFile: it is none.
    """
    try:
        key = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (Base64Error, ValueError):
        key = b""
    if len(key) != 32 or key_text(key) != text:
        raise BadFile(reason="its entry has no key for it")
    return key


def sealed_size(size: int) -> int:
    """How many bytes the server keeps of a file of ``size`` bytes."""
    return len(MAGIC) + size + TAG * max(1, -(-size // PIECE))


def seal_piece(key: bytes, number: int, piece: bytes, *, last: bool) -> bytes:
    """The ``number``-th piece (from 0) of a file as it is kept; MAGIC stands before the first one. Under one
    key no number may ever be used for two different pieces."""
    return ChaCha20Poly1305(key).encrypt(_nonce(number, last), piece, MAGIC)


class FileSealer:
    """Encrypts one file: ``update`` with any pieces, then ``finish`` once. ``key`` is 32 random bytes that
    nothing else is ever encrypted under."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._held = bytearray()
        self._count = 0
        self._start = MAGIC

    def update(self, data: bytes) -> bytes:
        """What can be written already."""
        self._held += data
        out, self._start = bytearray(self._start), b""
        while len(self._held) > PIECE:
            out += self._seal(bytes(self._held[:PIECE]), last=False)
            del self._held[:PIECE]
        return bytes(out)

    def finish(self) -> bytes:
        """The rest."""
        return self.update(b"") + self._seal(bytes(self._held), last=True)

    def _seal(self, piece: bytes, *, last: bool) -> bytes:
        nonce = _nonce(self._count, last)
        self._count += 1
        return self._aead.encrypt(nonce, piece, MAGIC)


class FileOpener:
    """Decrypts one file: ``update`` with any pieces, then ``finish`` once. What ``update`` returned is the
    file's beginning; only ``finish`` says that it is whole, so keep it aside until then."""

    def __init__(self, key: bytes) -> None:
        self._aead = ChaCha20Poly1305(key)
        self._held = bytearray()
        self._count = 0
        self._begun = False

    def update(self, data: bytes) -> bytes:
        """What is certain already.

        :raises BadFile: it was changed, or has another key.
        """
        self._held += data
        out = bytearray()
        if not self._begun and len(self._held) >= len(MAGIC):
            if self._held[: len(MAGIC)] != MAGIC:
                raise BadFile(reason="it is not sealed as files are")
            del self._held[: len(MAGIC)]
            self._begun = True
        while self._begun and len(self._held) > PIECE + TAG:
            out += self._open(bytes(self._held[: PIECE + TAG]), last=False)
            del self._held[: PIECE + TAG]
        return bytes(out)

    def finish(self) -> bytes:
        """The rest, once all has come.

        :raises BadFile: it was changed or cut off, or has another key.
        """
        if not self._begun:
            raise BadFile(reason="it was cut off")
        return self._open(bytes(self._held), last=True)

    def _open(self, piece: bytes, *, last: bool) -> bytes:
        try:
            plain = self._aead.decrypt(_nonce(self._count, last), piece, MAGIC)
        except InvalidTag:
            raise BadFile(reason="it was changed or cut off on its way") from None
        self._count += 1
        return plain


def _nonce(count: int, last: bool) -> bytes:
    if count >= MAX_PIECES:
        raise BadFile(reason="it is too large")
    return bytes(7) + count.to_bytes(4, "big") + bytes([last])
