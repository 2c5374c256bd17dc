"""The search index of the SQLite log: which words are in which block of an open room.

An FTS5 table without contents (https://www.sqlite.org/fts5.html#contentless_tables): a row for each block
that grows no more, with the words of all its entries as ``core.words`` makes them and one more word that
names the room. It only says where to look: an entry is found when ``words.matches`` says so, so that a
search gives what a look at every entry would give. A room's ``indexed`` tells how far the index got there;
what follows is looked at entry by entry.

Our words are letters and digits, in one form and case, so FTS5's ``ascii`` tokenizer takes each as it is: it
keeps apart at ASCII signs only. The index lags behind the log and is made in steps (``indexing``); taking
entries away takes their words away in the same transaction.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Generator, Iterable

from encchat.core.words import said, words_of
from encchat.logs.blocks import Block, split
from encchat.wire import decode_entry

#: Of longer words so many characters are indexed.
MAX_WORD = 64
#: What made the words; an index of other ones is made anew.
STAMP = f"1 {unicodedata.unidata_version}"

_TABLE = """CREATE VIRTUAL TABLE search USING fts5(words, content='', columnsize=0, detail=none,
    tokenize="ascii tokenchars '_'")"""
_ADD = "INSERT INTO search (rowid, words) VALUES (?, ?)"
_REMOVE = "INSERT INTO search (search, rowid, words) VALUES ('delete', ?, ?)"


def create(connection: sqlite3.Connection) -> None:
    """Make the tables, within an upgrade of the schema."""
    connection.execute(_TABLE)
    # One row, id 1: what made the words, and whether words of entries that left may still be there.
    connection.execute(
        """CREATE TABLE search_state (id INTEGER PRIMARY KEY CHECK (id = 1), stamp TEXT NOT NULL,
            remains INTEGER NOT NULL DEFAULT 0)"""
    )
    connection.execute("INSERT INTO search_state (id, stamp) VALUES (1, ?)", (STAMP,))
    connection.execute("ALTER TABLE rooms ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0")


def is_current(connection: sqlite3.Connection) -> bool:
    """Whether its words were made by this rule and this version of Unicode."""
    return bool(connection.execute("SELECT stamp FROM search_state").fetchone() == (STAMP,))


def prepare(connection: sqlite3.Connection) -> None:
    """Empty the index when its words were made by another rule or another version of Unicode."""
    if not is_current(connection):
        connection.execute("BEGIN IMMEDIATE")
        try:
            empty(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def empty(connection: sqlite3.Connection) -> None:
    """Forget all of it, within a transaction; it is made anew from the entries."""
    connection.execute("DROP TABLE search")
    connection.execute(_TABLE)
    connection.execute("UPDATE rooms SET indexed = 0")
    connection.execute("INSERT OR REPLACE INTO search_state (id, stamp) VALUES (1, ?)", (STAMP,))


def words_in(room: int, entries: Iterable[bytes]) -> set[str]:
    """The words that are indexed of a block of a room."""
    # No word goes on behind the end of a line, so all can be taken apart as one text.
    words = words_of("\n".join([said(decode_entry(frame)) for frame in entries]))
    return {_room_word(room)}.union([word[:MAX_WORD] for word in words])


def add(connection: sqlite3.Connection, room: int, blocks: Iterable[tuple[int, list[bytes]]]) -> None:
    """Index blocks: pairs of id and entries."""
    connection.executemany(_ADD, [(id_, " ".join(words_in(room, entries))) for id_, entries in blocks])


def remove(connection: sqlite3.Connection, room: int, id_: int, entries: Iterable[bytes]) -> None:
    """Take a block out, that was indexed with these entries."""
    connection.execute(_REMOVE, (id_, " ".join(words_in(room, entries))))
    connection.execute("UPDATE search_state SET remains = 1")


def merge(connection: sqlite3.Connection, pages: int, *, begin: bool) -> bool:
    """Write so many pages of the index anew, without what was taken away; whether there is more to do.
    ``begin``: with all that there is now."""
    before = connection.total_changes
    connection.execute("INSERT INTO search (search, rank) VALUES ('merge', ?)", (-pages if begin else pages,))
    if connection.total_changes - before >= 2:
        return True
    connection.execute("UPDATE search_state SET remains = 0")
    return False


def candidates(
    connection: sqlite3.Connection, room: int, words: Iterable[str], seq: int
) -> Generator[Block, None, None]:
    """The indexed blocks of a room that have all the words somewhere, of those that begin at ``seq`` or
    before; the last first."""
    # All of these are letters, digits and "_": nothing in them means anything to FTS5 but itself.
    query = " ".join(f'"{word[:MAX_WORD]}"' for word in sorted({*words, _room_word(room)}))
    rows = connection.execute(
        "SELECT b.first, b.chain, b.frames FROM search AS s CROSS JOIN blocks AS b ON b.id = s.rowid"
        " WHERE s.search MATCH ?1 AND s.rowid <= coalesce((SELECT id FROM blocks"
        " WHERE room = ?2 AND first <= ?3 ORDER BY first DESC LIMIT 1), 0) AND b.room = ?2"
        " ORDER BY s.rowid DESC",
        (query, room, seq),
    )
    try:
        for row in rows:
            yield Block(*row)
    finally:
        rows.close()


def lagging(connection: sqlite3.Connection) -> list[int]:
    """The open rooms that have something to index."""
    rows = connection.execute(
        "SELECT r.id FROM rooms AS r WHERE r.name >= '+' AND r.name < ',' AND r.indexed <"
        " (SELECT max(first) FROM blocks AS b WHERE b.room = r.id) - 1"
    )
    return [room for (room,) in rows]


def extend(connection: sqlite3.Connection, room: int, limit: int, size: int) -> tuple[int, int, bool]:
    """Index the next blocks of a room: ``limit`` of them at most, and no further one after ``size`` bytes.
    Returns their number, their bytes, and whether there are more. The last block of a room is left out, as
    it may grow.

    :raises Damaged: a block cannot be read; nothing was indexed.
    """
    rows = connection.execute(
        "SELECT id, first, frames FROM blocks WHERE room = ?1 AND first > (SELECT indexed FROM rooms"
        " WHERE id = ?1) ORDER BY first LIMIT ?2",
        (room, limit + 1),
    )
    blocks: list[tuple[int, list[bytes]]] = []
    waiting: tuple[int, int, bytes] | None = None
    taken, last, more = 0, 0, False
    for row in rows:
        if waiting is None:
            waiting = row
            continue
        id_, first, frames = waiting
        entries = split(frames)
        blocks.append((id_, entries))
        last = first + len(entries) - 1
        taken += len(frames)
        waiting = row
        more = taken >= size or len(blocks) == limit
        if more:
            break
    rows.close()
    if blocks:
        add(connection, room, blocks)
        connection.execute("UPDATE rooms SET indexed = ? WHERE id = ?", (last, room))
    return len(blocks), taken, more


def problem(connection: sqlite3.Connection) -> str | None:
    """What is wrong with the index, compared with the entries up to which it was made; None if nothing is.
    Both sides are counted and summed up by a hash of this process, in memory that does not grow."""
    if not is_current(connection):
        return None  # it is made anew when the service starts
    rows = connection.execute(
        "SELECT b.room, b.id, b.frames FROM blocks AS b JOIN rooms AS r ON r.id = b.room"
        " WHERE b.first <= r.indexed ORDER BY b.id"
    )
    expected = _sum((word, id_) for room, id_, frames in rows for word in words_in(room, split(frames)))
    connection.execute("CREATE VIRTUAL TABLE temp.search_vocab USING fts5vocab(main, search, instance)")
    try:
        found = _sum(connection.execute("SELECT term, doc FROM temp.search_vocab"))
    finally:
        connection.execute("DROP TABLE temp.search_vocab")
    if found != expected:
        return f"the search index has {found[0]} words of entries where it should have {expected[0]}"
    return None


def _sum(pairs: Iterable[tuple[str, int]]) -> tuple[int, int]:
    count = total = 0
    for pair in pairs:
        count += 1
        total += hash(pair)
    return count, total


def _room_word(room: int) -> str:
    # No word of a text has a "_" in it.
    return f"_{room}"
