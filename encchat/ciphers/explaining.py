"""What a cipher can say of its own bytes to somebody who watches the network: for ``--wire``.

A cipher may offer it or not; without it the bytes are shown as they are. An explainer sees what any
observer sees, both ways, and holds no keys: so what it tells is exactly what the cipher does not hide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from zope.interface import Interface

#: What can be read of a part without any key.
Fact: TypeAlias = str | int


@dataclass(frozen=True, slots=True)
class Part:
    """One part of what went over the network: a record, a key, a block."""

    #: What it is, in a few words.
    name: str
    #: Its bytes on the network, framing included.
    size: int
    #: Read from the network, so not yet cleaned for a screen.
    facts: Mapping[str, Fact] = field(default_factory=dict)


class Explainer(Protocol):
    """One connection, watched from its first byte."""

    def feed(self, from_client: bool, data: bytes) -> Sequence[Part]:
        """The parts that ``data`` completes. Never raises for what it is fed, and holds a bounded part of
        it: bytes that make no sense are a part of their own, and from then on everything is."""


class IExplained(Interface):
    """A cipher (``ICipher``) that explains its bytes."""

    def explainer() -> Explainer:
        """An explainer for a new connection."""


class Stream:
    """One direction's bytes that are not explained yet, taken off the front."""

    __slots__ = ("data", "lost")

    def __init__(self) -> None:
        self.data = bytearray()
        #: What follows makes no sense any more.
        self.lost = False

    def take(self, size: int) -> bytes:
        """The first ``size`` bytes."""
        taken = bytes(self.data[:size])
        del self.data[:size]
        return taken

    def give_up(self) -> Part:
        """The rest is not what was expected."""
        self.lost = True
        return Part("bytes that do not belong here", len(self.take(len(self.data))))
