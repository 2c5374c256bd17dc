"""Sealing what a store says of what was said: each row by itself, under the store's key.

ChaCha20-Poly1305 (RFC 8439) with a random nonce in front of each ciphertext; the row's identity is
authenticated with it, so that no row can be put in the place of another. A nonce of 96 random bits may be
drawn 2**32 times under one key before two alike are to be feared (NIST SP 800-38D, section 8.3): more
rows than a client writes. What must be found again without being read is kept under a ``tag``, a keyed
hash of its name.
"""

from __future__ import annotations

import hmac
import os
from typing import TYPE_CHECKING

from encchat.errors import StorageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

#: Bytes of a store's key, of a nonce, and of a tag.
KEY, NONCE, TAG = 32, 12, 16


class Unreadable(StorageError):
    """A row of the local store was altered or cut off, and cannot be read."""


class Vault:
    """Seals and opens rows under ``key``. (``cryptography`` is imported with the first one.)"""

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY
        self._seal_key = _derive(key, b"rows")
        self._tag_key = _derive(key, b"tags")
        #: Tells in a store which key it was written under, and nothing else.
        self.check = _derive(key, b"check")
        #: What the keys of sealed rooms are kept under, which seal themselves (``core.sealed.keeper``).
        self.sealed_rooms = _derive(key, b"sealed rooms")
        self._cipher: ChaCha20Poly1305 | None = None

    def tag(self, *name: str | bytes) -> bytes:
        """What a name is kept under."""
        return hmac.digest(self._tag_key, _joined(name), "sha256")[:TAG]

    def seal(self, data: bytes, *row: str | bytes) -> bytes:
        """``data``, sealed for the row that is identified by ``row``."""
        nonce = os.urandom(NONCE)
        return nonce + self._aead().encrypt(nonce, data, _joined(row))

    def open(self, sealed: bytes, *row: str | bytes) -> bytes:
        """What was sealed for this row.

        :raises Unreadable: it was not, or not under this key.
        """
        from cryptography.exceptions import InvalidTag

        try:
            return self._aead().decrypt(sealed[:NONCE], sealed[NONCE:], _joined(row))
        except (InvalidTag, ValueError):  # a ValueError: it is shorter than a nonce
            raise Unreadable() from None

    def _aead(self) -> ChaCha20Poly1305:
        if self._cipher is None:
            from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

            self._cipher = ChaCha20Poly1305(self._seal_key)
        return self._cipher


def _derive(key: bytes, purpose: bytes) -> bytes:
    return hmac.digest(key, b"encchat store 1 " + purpose, "sha256")


def _joined(parts: tuple[str | bytes, ...]) -> bytes:
    """The parts in one string, from which they could be told again."""
    encoded = [part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
