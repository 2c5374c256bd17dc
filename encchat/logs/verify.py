"""Whether the SQLite log is what it says: every chain recomputed, every entry where it belongs.

Works on any reader's connection, while the server runs or not, in memory that does not grow with the log.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from encchat.core.interfaces import Unavailable
from encchat.errors import PeerError
from encchat.logs import index
from encchat.logs.blocks import Block, split
from encchat.logs.queries import Extent
from encchat.logs.schema import open_reader
from encchat.messages import Position
from encchat.wire import decode_entry


def verify(path: Path) -> Iterator[str]:
    """A line for each problem of the log in ``path``; none if all is well. A file that is no database at
    all is one problem."""
    try:
        with closing(open_reader(path)) as connection:
            yield from problems(connection)
    except sqlite3.Error as error:
        yield f"{path} cannot be read: {error}"


def index_problem(path: Path) -> str | None:
    """What is wrong with the search index of the log in ``path``, if anything is. It is made of the entries,
    so nothing is lost by making it anew (``offline.reindex``)."""
    try:
        with closing(open_reader(path)) as connection:
            return index_problem_of(connection)
    except (sqlite3.Error, Unavailable) as error:
        return f"the search index cannot be read: {error}"


def index_problem_of(connection: sqlite3.Connection) -> str | None:
    """The same behind a connection, as it is at this moment.

    :raises sqlite3.Error: it cannot be read.
    :raises Unavailable: entries cannot be read.
    """
    connection.execute("BEGIN")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        return index.problem(connection) if version > 1 else None
    finally:
        connection.execute("ROLLBACK")


def problems(connection: sqlite3.Connection) -> Iterator[str]:
    """A line for each problem of the log, as it is at this moment.

    :raises sqlite3.Error: it is so damaged that SQLite cannot go on.
    """
    connection.execute("BEGIN")
    try:
        for (line,) in connection.execute("PRAGMA integrity_check"):
            if line != "ok":
                yield f"SQLite: {line}"
        rooms = "SELECT name, id, head, chain, floor, floor_chain FROM rooms ORDER BY name"
        for name, id_, head, chain, floor, floor_chain in connection.execute(rooms):
            extent = Extent(id_, Position(head, chain), Position(floor, floor_chain))
            yield from (f"{name}: {problem}" for problem in _room_problems(connection, name, extent))
        yield from _strays(connection)
    finally:
        connection.execute("ROLLBACK")


def _room_problems(connection: sqlite3.Connection, room: str, extent: Extent) -> Iterator[str]:
    at = extent.floor
    rows = connection.execute(
        "SELECT first, chain, frames FROM blocks WHERE room = ? ORDER BY first", (extent.id,)
    )
    for row in rows:
        block = Block(*row)
        if block.first != at.seq + 1:
            yield f"entries {at.seq + 1} to {block.first - 1} are missing, or some are there twice"
        elif block.chain != at.chain:
            yield f"the chain breaks after entry {at.seq}: something before it was changed"
        try:
            entries = split(block.frames)
        except Unavailable as error:
            yield f"entry {block.first} and those beside it: {error.facts['reason']}"
            return
        yield from _entry_problems(connection, room, extent.id, block, entries)
        at = block.position(entries, len(entries))
    if at.seq != extent.head.seq:
        yield f"the last entry is {at.seq}, but {extent.head.seq} were acknowledged"
    elif at.chain != extent.head.chain:
        yield f"the chain does not end as it should: an entry up to {at.seq} was changed"


def _entry_problems(
    connection: sqlite3.Connection, room: str, room_id: int, block: Block, entries: list[bytes]
) -> Iterator[str]:
    for seq, frame in enumerate(entries, block.first):
        try:
            entry = decode_entry(frame)
        except PeerError as error:
            yield f"entry {seq} cannot be decoded: {error.facts['reason']}"
            continue
        if (entry.room, entry.seq) != (room, seq):
            yield f"entry {seq} says that it is entry {entry.seq} of {entry.room}"
        known = connection.execute(
            "SELECT seq FROM msgids WHERE msgid = ? AND room = ? AND sender = ?",
            (entry.msgid, room_id, entry.sender),
        ).fetchone()
        if known != (seq,):
            yield f"entry {seq} would not be known again if it were sent twice"


def _strays(connection: sqlite3.Connection) -> Iterator[str]:
    for table, what in (("blocks", "entries"), ("msgids", "msgids"), ("memos", "memos")):
        query = f"SELECT count(*) FROM {table} WHERE room NOT IN (SELECT id FROM rooms)"  # noqa: S608 - names of our own
        (count,) = connection.execute(query).fetchone()
        if count:
            yield f"{count} rows of {what} belong to no room"
    (msgids,) = connection.execute("SELECT count(*) FROM msgids").fetchone()
    (entries,) = connection.execute("SELECT coalesce(sum(head), 0) FROM rooms").fetchone()
    if msgids != entries:
        yield f"{entries} entries were acknowledged, but {msgids} msgids are known"
    (memos,) = connection.execute("SELECT count(*) FROM memos").fetchone()
    (gone,) = connection.execute("SELECT coalesce(sum(floor), 0) FROM rooms").fetchone()
    if memos != gone:
        yield f"{gone} entries left the log, but {memos} are remembered"
