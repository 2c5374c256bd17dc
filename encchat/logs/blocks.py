"""How the SQLite log keeps entries: joined frames, a page's worth in a row.

A block is a run of consecutive entries of one room: the seq of the first, the chain before it, and their
frames one after the other. The block at a room's end grows until the next frame would not fit; a frame
larger than a block has one of its own. So appending rewrites one page of the file, reading takes one row
for some fifteen entries, and the chain costs 32 bytes a block rather than 32 an entry: the chain at any
position is at most a block's hashing away.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from struct import Struct

from encchat.core.interfaces import Damaged
from encchat.messages import Position
from encchat.wire import advance

#: What a block's frames take together at most, unless it is one alone: a row of this size just fits a
#: page of 4096 bytes, so that no block needs an overflow page.
BLOCK_SIZE = 4000

_LENGTH = Struct(">I")


@dataclass(slots=True)
class Block:
    """A run of entries: ``chain`` is the chain before entry ``first``."""

    first: int
    chain: bytes
    frames: bytes

    def has_room_for(self, frame: bytes) -> bool:
        """Whether one more frame fits."""
        return len(self.frames) + len(frame) <= BLOCK_SIZE

    def position(self, entries: Sequence[bytes], count: int) -> Position:
        """The position behind the first ``count`` of the block's entries, as :func:`split` gave them."""
        return advance(Position(self.first - 1, self.chain), entries[:count])


def split(frames: bytes) -> list[bytes]:
    """The single frames of a block.

    :raises Damaged: they are not whole.
    """
    found = []
    unpack = _LENGTH.unpack_from
    start, size = 0, len(frames)
    while start + 4 <= size:
        end = start + 4 + unpack(frames, start)[0]
        found.append(frames[start:end])
        start = end
    if start != size:
        raise Damaged(reason="a block does not hold whole frames")
    return found


class Page:
    """Takes frames until ``limit`` of them or ``size`` bytes are there; one is taken in any case."""

    def __init__(self, limit: int, size: int) -> None:
        self.frames: list[bytes] = []
        self._limit = limit
        self._size = size

    def take(self, frames: Iterable[bytes]) -> bool:
        """Take the frames in order; whether all of them were taken and more may come."""
        for frame in frames:
            self._size -= len(frame)
            if self._size < 0 and self.frames:
                return False
            self.frames.append(frame)
            if len(self.frames) == self._limit:
                return False
        return True
