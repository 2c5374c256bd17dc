"""Blocks of entries, as the local history keeps them: consecutive frames of one room, with the chain before
the first, so that the hash chain can be computed again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from encchat.client.store.vault import Unreadable
from encchat.errors import PeerError
from encchat.messages import Entry, Position
from encchat.wire import FrameSplitter, advance, decode_entry

#: Frames and bytes of one block at most (one larger frame is a block by itself): what a damaged row costs.
BLOCK_FRAMES, BLOCK_BYTES = 128, 32 * 1024


class Run(Struct):
    """Consecutive frames that follow ``start``."""

    start: Position
    frames: list[bytes]

    @property
    def first(self) -> int:
        """The seq of the first frame."""
        return self.start.seq + 1

    @property
    def last(self) -> int:
        """The seq of the last frame."""
        return self.start.seq + len(self.frames)

    @property
    def end(self) -> Position:
        """Where the chain has come to after the last frame."""
        return advance(self.start, self.frames)

    def without(self, covered: Iterable[tuple[int, int]]) -> Iterator[Run]:
        """What of it is not ``covered``: ranges (first, last) in order, which do not overlap."""
        here = self
        for first, last in covered:
            before, here = here.split(first - 1)
            if before.frames:
                yield before
            _, here = here.split(last)
        if here.frames:
            yield here

    def split(self, seq: int) -> tuple[Run, Run]:
        """What lies up to ``seq``, and what lies after it."""
        count = min(max(0, seq - self.start.seq), len(self.frames))
        head = Run(self.start, self.frames[:count])
        return head, Run(head.end, self.frames[count:])

    def blocks(self) -> Iterator[Run]:
        """The same in pieces that are not too large."""
        start, frames, size = self.start, list[bytes](), 0
        for frame in self.frames:
            if frames and (len(frames) == BLOCK_FRAMES or size + len(frame) > BLOCK_BYTES):
                block = Run(start, frames)
                yield block
                start, frames, size = block.end, [], 0
            frames.append(frame)
            size += len(frame)
        if frames:
            yield Run(start, frames)


def packed(run: Run) -> bytes:
    """What is sealed of a block."""
    return b"".join((run.start.chain, *run.frames))


def unpacked(data: bytes, first: int) -> Run:
    """The block that was packed; ``first`` is the seq of its first entry."""
    return Run(Position(first - 1, data[:32]), FrameSplitter(2**31).feed(data[32:]))


def entries_of(run: Run, room: str) -> list[Entry]:
    """The entries of a block of ``room``.

    :raises Unreadable: they are not what they should be.
    """
    try:
        entries = [decode_entry(frame) for frame in run.frames]
    except PeerError:
        raise Unreadable() from None
    if any(entry.room != room or entry.seq != run.first + at for at, entry in enumerate(entries)):
        raise Unreadable()
    return entries
