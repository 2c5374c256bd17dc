"""The safety number: 60 digits that two people compare to be sure that they mean each other.

Each half stands for one name and its identity, as in Signal's numeric fingerprints: SHA-512, iterated 5200
times so that nobody finds another key with the same digits by trying, cut to 30 digits. The halves are
sorted, so both people see the same number. https://signal.org/docs/ has the idea; the label and the input
are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha512

ITERATIONS = 5200
_LABEL = b"encchat/safety-number/1"


@dataclass(frozen=True, slots=True)
class SafetyNumber:
    """``digits`` in twelve groups of five, for whoever has ``identity`` as ``name``."""

    name: str
    identity: bytes
    digits: str


def safety_number(name: str, identity: bytes, other: str, other_identity: bytes) -> str:
    """The number of two names with their identities; the order makes no difference. Takes about 5 ms."""
    halves = sorted((_half(name, identity), _half(other, other_identity)))
    digits = "".join(halves)
    return " ".join(digits[start : start + 5] for start in range(0, 60, 5))


def _half(name: str, identity: bytes) -> str:
    start = _LABEL + identity + name.encode("utf-8")
    hashed = start
    for _ in range(ITERATIONS):
        hashed = sha512(hashed + identity).digest()
    groups = (int.from_bytes(hashed[at : at + 5], "big") % 100_000 for at in range(0, 30, 5))
    return "".join(f"{group:05d}" for group in groups)
