"""What readers ask of the SQLite log, each from one consistent moment of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from encchat.core.interfaces import Damaged, Findings, Item, Slice, Trimmed, UnknownPosition
from encchat.logs import index
from encchat.logs.blocks import Block, Page, split
from encchat.logs.searching import Search
from encchat.messages import Position

_BLOCKS_FROM = """SELECT first, chain, frames FROM blocks WHERE room = ?1
    AND first >= (SELECT max(first) FROM blocks WHERE room = ?1 AND first <= ?2) ORDER BY first"""
_BLOCKS_BACK = "SELECT first, chain, frames FROM blocks WHERE room = ? AND first <= ? ORDER BY first DESC"


@dataclass(frozen=True, slots=True)
class Extent:
    """A room's row: where the log of it ends, and where retention lets it begin."""

    id: int
    head: Position
    floor: Position


def read(connection: sqlite3.Connection, room: str, after: int, limit: int, size: int) -> Slice:
    """As ``IRoomLog.read``."""
    page = Page(limit, size)
    with _moment(connection):
        extent = _reached(connection, room, after)
        if after == extent.head.seq:
            return Slice(extent.head, page.frames, False)
        start = None
        for block in _blocks(connection, _BLOCKS_FROM, extent.id, after + 1):
            entries = split(block.frames)
            if start is None:
                skipped = after + 1 - block.first
                start = block.position(entries, skipped)
                entries = entries[skipped:]
            elif block.first != start.seq + len(page.frames) + 1:
                break
            if not page.take(entries):
                break
    if start is None or start.seq != after or not page.frames:
        raise _lost(room, after + 1)
    return Slice(start, page.frames, after + len(page.frames) < extent.head.seq)


def read_back(connection: sqlite3.Connection, room: str, before: int, limit: int, size: int) -> Slice:
    """As ``IRoomLog.read_back``."""
    page = Page(limit, size)
    with _moment(connection):
        extent = _extent(connection, room)
        end = min(before - 1, extent.head.seq)
        if end <= extent.floor.seq:
            return Slice(extent.floor, page.frames, False)
        start = None
        for block in _blocks(connection, _BLOCKS_BACK, extent.id, end):
            entries = split(block.frames)[: end + 1 - block.first]
            had = len(page.frames)
            if block.first + len(entries) != end - had + 1:
                break
            whole = page.take(reversed(entries))
            start = block.position(entries, len(entries) - (len(page.frames) - had))
            if not whole:
                break
    if start is None:
        raise _lost(room, end)
    page.frames.reverse()
    return Slice(start, page.frames, start.seq > extent.floor.seq)


def search(
    connection: sqlite3.Connection, room: str, words: frozenset[str], before: int, limit: int, size: int
) -> Findings:
    """As ``IRoomLog.search``: what the index has not got to yet is looked at, the rest asked of it."""
    with _moment(connection):
        extent = _extent(connection, room)
        floor = extent.floor.seq
        end = max(floor, min(before - 1, extent.head.seq))
        search = Search(words, end + 1, limit, size)
        (indexed,) = connection.execute(
            "SELECT coalesce((SELECT indexed FROM rooms WHERE id = ?), 0)", (extent.id,)
        ).fetchone()
        if (
            _search_blocks(connection, search, room, extent.id, max(floor, indexed))
            and search.reached > floor + 1
        ):
            _search_index(connection, search, room, extent)
    return search.findings(floor)


def _search_blocks(
    connection: sqlite3.Connection, search: Search, room: str, number: int, down_to: int
) -> bool:
    """Look at every entry behind ``down_to``; whether more are wanted."""
    if search.reached > down_to + 1:
        for block in _blocks(connection, _BLOCKS_BACK, number, search.reached - 1):
            entries = split(block.frames)[: max(0, search.reached - block.first)]
            if block.first + len(entries) != search.reached:
                raise _lost(room, search.reached - 1)
            if not search.take(reversed(entries)):
                return False
            if search.reached <= down_to + 1:
                break
        if search.reached > down_to + 1:
            raise _lost(room, search.reached - 1)
    return True


def _search_index(connection: sqlite3.Connection, search: Search, room: str, extent: Extent) -> None:
    with closing(index.candidates(connection, extent.id, search.words, search.reached - 1)) as found:
        for block in found:
            entries = split(block.frames)[: max(0, search.reached - block.first)]
            search.skip(block.first + len(entries))
            if not search.take(reversed(entries)):
                return
    search.skip(extent.floor.seq + 1)


def head(connection: sqlite3.Connection, room: str) -> Position:
    """As ``IRoomLog.head``."""
    return _extent(connection, room).head


def position(connection: sqlite3.Connection, room: str, seq: int) -> Position:
    """As ``IRoomLog.position``."""
    with _moment(connection):
        extent = _reached(connection, room, seq)
        for known in (extent.head, extent.floor):
            if seq == known.seq:
                return known
        for block in _blocks(connection, _BLOCKS_BACK, extent.id, seq):
            entries = split(block.frames)
            found = block.position(entries, seq + 1 - block.first)
            if found.seq == seq and seq < block.first + len(entries):
                return found
            break
    raise _lost(room, seq)


def rooms(connection: sqlite3.Connection, after: str, limit: int) -> list[str]:
    """As ``IRoomLog.rooms``."""
    found = connection.execute("SELECT name FROM rooms WHERE name > ? ORDER BY name LIMIT ?", (after, limit))
    return [name for (name,) in found]


def get(connection: sqlite3.Connection, kind: str, key: str) -> Item | None:
    """As ``IDirectory.get``."""
    row = connection.execute(
        "SELECT value, revision FROM directory WHERE kind = ? AND key = ?", (kind, key)
    ).fetchone()
    return None if row is None else Item(*row)


def scan(connection: sqlite3.Connection, kind: str, after: str, limit: int) -> dict[str, Item]:
    """As ``IDirectory.scan``."""
    rows = connection.execute(
        "SELECT key, value, revision FROM directory WHERE kind = ? AND key > ? ORDER BY key LIMIT ?",
        (kind, after, limit),
    )
    return {key: Item(value, revision) for key, value, revision in rows}


@contextmanager
def _moment(connection: sqlite3.Connection) -> Iterator[None]:
    """All that is read within is of one moment."""
    connection.execute("BEGIN")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")


def _blocks(connection: sqlite3.Connection, query: str, room: int, seq: int) -> Iterator[Block]:
    cursor = connection.execute(query, (room, seq))
    try:
        for row in cursor:
            yield Block(*row)
    finally:
        cursor.close()


def _extent(connection: sqlite3.Connection, room: str) -> Extent:
    row = connection.execute(
        "SELECT id, head, chain, floor, floor_chain FROM rooms WHERE name = ?", (room,)
    ).fetchone()
    if row is None:
        return Extent(0, Position(), Position())
    return Extent(row[0], Position(row[1], row[2]), Position(row[3], row[4]))


def _reached(connection: sqlite3.Connection, room: str, seq: int) -> Extent:
    extent = _extent(connection, room)
    if seq < extent.floor.seq:
        raise Trimmed(room=room, first=extent.floor.seq)
    if seq > extent.head.seq:
        raise UnknownPosition(room=room, seq=seq)
    return extent


def _lost(room: str, seq: int) -> Damaged:
    return Damaged(reason=f"entry {seq} of {room} is missing")
