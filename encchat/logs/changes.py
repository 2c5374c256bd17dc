"""The writer's work besides appending: directory records, retention, and the probe.

Each is a function of the writer's connection, called within its transaction; it checks before it changes
anything, so that one that is refused leaves the transaction of the others as it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from encchat.core.interfaces import Conflict, Damaged
from encchat.logs import index
from encchat.logs.blocks import Block, split
from encchat.logs.numbering import Memo
from encchat.messages import MAX_BODY, Position
from encchat.wire import decode_entry

#: Entries that leave in one transaction at most, so that no send waits long for retention.
TRIM_STEP = 2000


def put(connection: sqlite3.Connection, kind: str, key: str, value: bytes, expected: int) -> int:
    """As ``IDirectory.put``. Revisions count for the whole log, so none comes again after a delete."""
    _expect(connection, kind, key, expected)
    (revision,) = connection.execute("UPDATE log SET revision = revision + 1 RETURNING revision").fetchall()[
        0
    ]
    connection.execute(
        "INSERT INTO directory (kind, key, value, revision) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (kind, key) DO UPDATE SET value = excluded.value, revision = excluded.revision",
        (kind, key, value, revision),
    )
    return int(revision)


def delete(connection: sqlite3.Connection, kind: str, key: str, expected: int) -> None:
    """As ``IDirectory.delete``."""
    _expect(connection, kind, key, expected)
    connection.execute("DELETE FROM directory WHERE kind = ? AND key = ?", (kind, key))


def probe(connection: sqlite3.Connection) -> None:
    """Write as much as the largest entry takes, to see whether that works."""
    connection.execute("INSERT OR REPLACE INTO probe (id, bytes) VALUES (1, randomblob(?))", (MAX_BODY,))


def trim(connection: sqlite3.Connection, room: str, before: int) -> tuple[Position, bool]:
    """Let the first entries of a room go, at most ``TRIM_STEP`` of those with seq below ``before``.

    Returns the position after the last one that is gone, and whether there is more to do.
    """
    row = connection.execute(
        "SELECT id, head, floor, floor_chain, indexed FROM rooms WHERE name = ?", (room,)
    ).fetchone()
    if row is None:
        return Position(), False
    number, head, floor, chain, indexed = row
    goal = min(before - 1, head)
    if goal <= floor:
        return Position(floor, chain), False
    last = min(goal, floor + TRIM_STEP)
    rows = connection.execute(
        "SELECT id, first, chain, frames FROM blocks WHERE room = ? AND first <= ? ORDER BY first",
        (number, last),
    ).fetchall()
    blocks = [(id_, Block(*fields)) for id_, *fields in rows]
    _check_whole(room, [block for _, block in blocks], floor, last)
    at = Position(floor, chain)
    for id_, block in blocks:
        at = _trim_block(connection, number, id_, block, last)
        if block.first <= indexed:
            _trim_index(connection, number, id_, block, at)
    connection.execute("UPDATE rooms SET floor = ?, floor_chain = ? WHERE id = ?", (at.seq, at.chain, number))
    return at, last < goal


def _check_whole(room: str, blocks: Sequence[Block], floor: int, last: int) -> None:
    """Whether the blocks hold all entries from behind ``floor`` to ``last``: else none is taken away.

    :raises Damaged: they do not.
    """
    reached = floor
    for block in blocks:
        if block.first != reached + 1:
            break
        reached += len(split(block.frames))
    if reached < last or not blocks or blocks[-1].first > reached:
        raise Damaged(reason=f"entry {reached + 1} of {room} is missing")


def _trim_block(connection: sqlite3.Connection, number: int, id_: int, block: Block, last: int) -> Position:
    entries = split(block.frames)
    count = min(len(entries), last + 1 - block.first)
    memos = [Memo.of(decode_entry(frame)) for frame in entries[:count]]
    connection.executemany(
        "INSERT INTO memos (room, seq, time, device, digest) VALUES (?, ?, ?, ?, ?)",
        [(number, memo.seq, memo.time, memo.device, memo.digest) for memo in memos],
    )
    at = block.position(entries, count)
    if count == len(entries):
        connection.execute("DELETE FROM blocks WHERE id = ?", (id_,))
    else:
        connection.execute(
            "UPDATE blocks SET first = ?, chain = ?, frames = ? WHERE id = ?",
            (at.seq + 1, at.chain, b"".join(entries[count:]), id_),
        )
    return at


def _trim_index(connection: sqlite3.Connection, number: int, id_: int, block: Block, at: Position) -> None:
    entries = split(block.frames)
    index.remove(connection, number, id_, entries)
    kept = entries[at.seq + 1 - block.first :]
    if kept:
        index.add(connection, number, [(id_, kept)])


def _expect(connection: sqlite3.Connection, kind: str, key: str, expected: int) -> None:
    row = connection.execute(
        "SELECT revision FROM directory WHERE kind = ? AND key = ?", (kind, key)
    ).fetchone()
    if (row[0] if row else 0) != expected:
        raise Conflict(key=key)
