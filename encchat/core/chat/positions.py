"""Where to read on when retention may take entries at any moment."""

from __future__ import annotations

from encchat.core.interfaces import IRoomLog, Slice, Trimmed
from encchat.messages import Position


async def position_from(log: IRoomLog, room: str, seq: int) -> Position:
    """The position after entry ``seq``; where retention has passed it, the first one that there is.

    :raises UnknownPosition: it lies beyond the head.
    """
    while True:
        try:
            return await log.position(room, seq)
        except Trimmed as trimmed:  # and perhaps again before we have asked for that one
            seq = max(seq + 1, trimmed.first)


async def read_from(log: IRoomLog, room: str, after: int, limit: int, size: int) -> Slice:
    """The entries after ``after``, bounded as ``IRoomLog.read`` bounds them; where retention has passed
    it, the first ones that there are.

    :raises UnknownPosition: ``after`` lies beyond the head.
    """
    while True:
        try:
            return await log.read(room, after, limit, size)
        except Trimmed as trimmed:
            after = max(after + 1, trimmed.first)
