"""One-time codes that let another device use a name: how they are written, and what is kept of one.

A code has 75 random bits, in Crockford's base 32 (https://www.crockford.com/base32.html), so that it can
be read out and typed: case, hyphens and spaces make no difference, nor do O for 0 and I or L for 1. Of it
the directory keeps a hash, bound to the name; as the code cannot be guessed, the hash needs no salt, and a
wrong code needs no penalty but that its connection ends: whoever tried a million of them a second for as
long as a code is good would find it with a chance of one in 60 trillion.
"""

from __future__ import annotations

from hashlib import sha256

from msgspec import Struct

from encchat.core.refusals import BadLink

#: Milliseconds for which a code is good.
LIFETIME = 10 * 60 * 1000
#: Random bytes that a code is made from.
ENTROPY = 10

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_LENGTH, _GROUP = 15, 5
_READ = str.maketrans("OIL", "011", "- ")


class LinkRecord(Struct, frozen=True, array_like=True):
    """A code that is out: its hash, until when it is good, and whose key asked for it."""

    digest: bytes
    expires: int
    by: str

    def is_good(self, now: int) -> bool:
        """Whether it is good at this time (milliseconds)."""
        return self.expires - LIFETIME <= now < self.expires


def make_code(token: bytes) -> str:
    """The code made from ``ENTROPY`` random bytes, such as ``7K2QX-0M9DF-3HWTB``."""
    number = int.from_bytes(token, "big")
    symbols = [_ALPHABET[number >> 5 * place & 31] for place in range(_LENGTH)]
    return "-".join("".join(symbols[at : at + _GROUP]) for at in range(0, _LENGTH, _GROUP))


def digest(code: str, name: str) -> bytes:
    """What is kept of a code for the name with this key, however a person wrote it.

    :raises BadLink: it cannot be a code.
    """
    symbols = code.upper().translate(_READ)
    if len(symbols) != _LENGTH or not set(symbols) <= set(_ALPHABET):
        raise BadLink()
    return sha256(f"encchat/link {symbols} {name}".encode()).digest()
