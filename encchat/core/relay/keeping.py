"""What the core needs kept for sealed rooms besides the log and the directory: mail between devices, and the
keys with which others can begin to write to a device.

The bounds are here, as every implementation keeps to the same ones; ``tests/contracts/keeping.py`` proves it.
A *box* is where the mail of one device waits, named by :func:`box_of`; so is its pool of keys.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from zope.interface import Attribute, Interface

from encchat.core.interfaces import IDirectory

#: Letters and bytes of letters that wait for one device at most, and for how long, in milliseconds.
MAX_LETTERS = 1000
MAX_MAIL = 1024 * 1024
MAIL_LIFETIME = 30 * 24 * 60 * 60 * 1000
#: What all strangers together may have in a box: the rest is for those whom its owner has met.
STRANGERS_LETTERS, STRANGERS_MAIL = MAX_LETTERS // 2, MAX_MAIL // 2
#: One-time keys of a device that are kept at most.
MAX_ONE_TIME = 100
#: Keys of a device that are remembered at most, with those that were handed out.
MAX_REMEMBERED = 1000


def box_of(name: str, device: str) -> str:
    """The box of a device, given the key of its name and its id."""
    return f"{name} {device}"


@dataclass(frozen=True, slots=True)
class Posting:
    """A letter on its way into a box: when (milliseconds), from which name and device, and whether the box's
    owner has met that name."""

    box: str
    time: int
    sender: str
    device: str
    body: bytes
    met: bool = True


@dataclass(frozen=True, slots=True)
class Mailed:
    """A letter that waits: ``seq`` rises in each box and never comes again while the box is there."""

    seq: int
    sender: str
    device: str
    body: bytes


@dataclass(slots=True)
class Usage:
    """Letters, and their bytes."""

    letters: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        """One more."""
        self.letters += 1
        self.size += size


def has_room(total: Usage, own: Usage, size: int, strangers: Usage | None = None) -> bool:
    """Whether a box takes another letter, of ``size`` bytes, from somebody whose letters there are ``own``;
    from a stranger if what ``strangers`` have there is given.

    Nobody may have more in a box than stays free: one sender alone fills half of it, the next one half of
    what is left. So whoever floods a box shuts out nobody but itself. As somebody may have any number of
    names, strangers do all of that within one half of the box.
    """
    if strangers is not None:
        letters, mail = STRANGERS_LETTERS - strangers.letters, STRANGERS_MAIL - strangers.size
        if own.letters >= letters or own.size + size > mail:
            return False
    return own.letters < MAX_LETTERS - total.letters and own.size + size <= MAX_MAIL - total.size


class IMail(Interface):
    """Letters to devices, in order, until they are discarded. All may raise ``Unavailable``; of a ``post``
    the outcome is unknown then."""

    async def post(postings: Sequence[Posting]) -> Sequence[int]:
        """Put letters into their boxes, in order; returns once all are durable. For each its seq, or 0
        where the box has no room for it."""

    async def fetch(box: str, after: int, limit: int, size: int) -> Sequence[Mailed]:
        """The letters with seq above ``after``, in order: at most ``limit``, and at most ``size`` bytes of
        bodies unless the first alone is larger."""

    async def discard(box: str, upto: int) -> None:
        """Let go of the letters with seq up to ``upto``, durably."""

    async def close_box(box: str) -> None:
        """Let go of all letters, and of the box."""

    async def expire(before: int) -> None:
        """Let go of the letters of all boxes that were posted before that time (milliseconds)."""


class IKeyPool(Interface):
    """The one-time keys of devices: each is handed out once. All may raise ``Unavailable``."""

    async def add(box: str, keys: Sequence[bytes]) -> int:
        """Keep those of the keys that the box never had, as far as there is room; returns how many it has
        now. The same key again is not kept again, also when it was handed out."""

    async def take(boxes: Sequence[str]) -> Sequence[bytes]:
        """Hand out the oldest key of each box, and none where there is none (``b""``). Durable before it
        returns: whatever happens then, nobody is given them again."""

    async def empty(box: str) -> None:
        """Let go of all keys of a box."""


class IStore(IDirectory):
    """All that the core keeps besides the log."""

    mail: IMail = Attribute("The mail between devices.")
    keys: IKeyPool = Attribute("The one-time keys of devices.")
