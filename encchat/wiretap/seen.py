"""What the taps see, in order: connections, plain text above the cipher, bytes below it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from encchat.ciphers.explaining import Part
from encchat.messages import Message


@dataclass(frozen=True, slots=True)
class Wire:
    """One connection. ``number`` counts from 1; ``here`` and ``there`` are (host, port) of each end."""

    number: int
    cipher: str
    #: Whether our end is the client.
    client: bool
    here: tuple[str, int]
    there: tuple[str, int]


@dataclass(frozen=True, slots=True)
class Began:
    """A connection is there, and nothing was said yet."""

    wire: Wire
    time: int


@dataclass(frozen=True, slots=True)
class Proved:
    """The handshake is complete: ``protocol`` is spoken above (None: lines of the classic profile) with
    the holder of a key."""

    wire: Wire
    time: int
    protocol: str | None
    fingerprint: str
    summary: str


@dataclass(frozen=True, slots=True)
class Opened:
    """A message above the cipher, as plain as it is: a frame, or a line of the classic profile.

    ``number`` counts everything that passed on all connections. ``message`` is None for a line, and for a
    frame that cannot be read; then ``trouble`` says why.
    """

    wire: Wire
    time: int
    number: int
    out: bool
    data: bytes
    message: Message | None = None
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Sealed:
    """Bytes below the cipher, as the network carries them, and the parts that they complete. ``after`` is
    the number of the last message that was opened in this direction before them."""

    wire: Wire
    time: int
    number: int
    out: bool
    data: bytes
    parts: Sequence[Part]
    after: int


@dataclass(frozen=True, slots=True)
class Ended:
    """The connection is gone."""

    wire: Wire
    time: int
    reason: str


Seen: TypeAlias = Began | Proved | Opened | Sealed | Ended


class Witness(Protocol):
    """Where it goes."""

    def saw(self, seen: Seen) -> None:
        """It passed. Must not raise."""

    def close(self) -> None:
        """There is no more."""
