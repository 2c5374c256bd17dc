"""How much the local history keeps, and what goes when it is more."""

from __future__ import annotations

import sqlite3

from msgspec import Struct


class Bounds(Struct, frozen=True):
    """How much is kept: entries and sealed bytes of each room (0 entries: nothing), and of all rooms."""

    entries: int = 50_000
    room_bytes: int = 64 * 1024 * 1024
    total_bytes: int = 512 * 1024 * 1024


def bound_room(database: sqlite3.Connection, room: int, bounds: Bounds) -> None:
    """Of a room that has too much, the oldest entries go."""
    count, size = database.execute(
        "SELECT total(last - first + 1), total(size) FROM blocks WHERE room = ?", (room,)
    ).fetchone()
    if count <= bounds.entries and size <= bounds.room_bytes:
        return
    oldest = database.execute(
        "SELECT number, last - first + 1, size FROM blocks WHERE room = ? ORDER BY first", (room,)
    ).fetchall()
    for number, entries, bytes_ in oldest:
        if count <= bounds.entries and size <= bounds.room_bytes:
            return
        database.execute("DELETE FROM blocks WHERE number = ?", (number,))
        count, size = count - entries, size - bytes_


def bound_all(database: sqlite3.Connection, bounds: Bounds) -> None:
    """Of all rooms together, what was written first goes first."""
    (size,) = database.execute("SELECT total(size) FROM blocks").fetchone()
    while size > bounds.total_bytes:
        number, one = database.execute("SELECT number, size FROM blocks ORDER BY number LIMIT 1").fetchone()
        database.execute("DELETE FROM blocks WHERE number = ?", (number,))
        size -= one
