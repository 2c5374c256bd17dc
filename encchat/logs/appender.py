"""Appending to the SQLite log: what a batch of drafts becomes, within the writer's transaction.

Everything that is asked of the file for a batch is asked in a few statements of many rows. Each statement
lets go of the interpreter lock, and beside a busy reactor thread taking it back is what costs.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, TypeAlias

from msgspec.structs import replace

from encchat.core.interfaces import Damaged, Draft, Outcome, Stored
from encchat.logs.blocks import BLOCK_SIZE, Block, split
from encchat.logs.numbering import Memo, Tail, number, refusal, repeated
from encchat.logs.trust import is_damage

#: Rooms whose end is kept in memory, at about 4.5 KiB each; those used last stay.
MAX_ROOMS = 4096
#: Rows in one statement at most.
_ROWS = 512

_Key: TypeAlias = tuple[bytes, int, str]
#: What a draft is answered with.
Answer: TypeAlias = Outcome | Damaged


@dataclass(slots=True)
class _Room:
    """The end of a room: its id, where it ends, and the block that still grows with the id of its row."""

    id: int
    tail: Tail
    row: int = 0
    block: Block | None = None


class Appender:
    """Knows the ends of the rooms. After a rollback it knows too much: make a new one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._rooms: dict[str, _Room] = {}
        self._next_room = self._next("rooms")
        self._next_row = self._next("blocks")
        #: The open rooms in which a block was begun since somebody emptied this, so that the one before it
        #: will not grow any more.
        self.begun: set[int] = set()

    def append(self, calls: Sequence[Sequence[Draft]]) -> tuple[list[list[Answer]], dict[str, int]]:
        """The outcomes for each of several appends, in order, and the new heads of the rooms."""
        batch = _Batch()
        self._load_rooms(batch, (draft.room for drafts in calls for draft in drafts))
        batch.known = self._known(self._keys(batch, calls))
        outcomes = [[self._answer(batch, draft) for draft in drafts] for drafts in calls]
        self._write(batch)
        return outcomes, batch.heads

    def forget(self, room: str) -> None:
        """The room's rows were changed by other hands."""
        self._rooms.pop(room, None)

    def _keys(self, batch: _Batch, calls: Sequence[Sequence[Draft]]) -> list[_Key]:
        """What has to be looked up: a room without entries knows no msgid, and a damaged one is not asked."""
        keys: list[_Key] = []
        for drafts in calls:
            for draft in drafts:
                room = batch.rooms.get(draft.room)
                if room is not None and room.tail.seq:
                    keys.append((draft.msgid, room.id, draft.sender))
                    keys += [(draft.msgid, room.id, name) for name in draft.former]
        return keys

    def _answer(self, batch: _Batch, draft: Draft) -> Answer:
        """What becomes of a draft; one of a damaged room harms none of another."""
        room = batch.rooms.get(draft.room)
        if room is None:
            return batch.damaged[draft.room]
        key = (draft.msgid, room.id, draft.sender)
        if key in batch.known or key in batch.new or draft.former:
            try:
                known = self._known_again(batch, room.id, draft)
            except (Damaged, sqlite3.DatabaseError) as error:
                return _damage(error)
            if known is not None:
                return known
        tail, block = room.tail, room.block
        refused = refusal(tail, draft)
        if refused is not None:
            return refused
        before = tail.chain
        frame = number(tail, draft)
        seq = tail.seq
        if block is None or len(block.frames) + len(frame) > BLOCK_SIZE:
            block = room.block = Block(seq, before, b"")
            room.row = self._next_row
            self._next_row += 1
            if draft.room.startswith("+"):
                self.begun.add(room.id)
        block.frames += frame
        batch.rows[room.row] = (room.id, block)
        stored = batch.new[key] = Stored(seq, draft.time, frame)
        return stored

    def _known_again(self, batch: _Batch, room: int, draft: Draft) -> Outcome | None:
        """What was stored for the draft before, under the sender's name or a former one."""
        known = self._known_as(batch, room, draft)
        for name in draft.former if known is None else ():
            known = known or self._known_as(batch, room, replace(draft, sender=name))
        return known

    def _known_as(self, batch: _Batch, room: int, draft: Draft) -> Outcome | None:
        key = (draft.msgid, room, draft.sender)
        new = batch.new.get(key)
        if new is not None:
            return repeated(draft, new.frame)
        seq = batch.known.get(key)
        return None if seq is None else self._stored_before(room, seq, draft)

    def _stored_before(self, room: int, seq: int, draft: Draft) -> Outcome:
        memo = self._connection.execute(
            "SELECT seq, time, device, digest FROM memos WHERE room = ? AND seq = ?", (room, seq)
        ).fetchone()
        if memo is not None:
            return Memo(*memo).repeated(draft)
        row = self._connection.execute(
            "SELECT first, frames FROM blocks WHERE room = ? AND first <= ? ORDER BY first DESC LIMIT 1",
            (room, seq),
        ).fetchone()
        entries = split(row[1]) if row else []
        if not entries or seq - row[0] >= len(entries):
            raise Damaged(reason=f"entry {seq} of {draft.room} is missing")
        return repeated(draft, entries[seq - row[0]])

    def _known(self, keys: Sequence[_Key]) -> dict[_Key, int]:
        query = (
            "SELECT m.msgid, m.room, m.sender, m.seq FROM (VALUES {}) AS w CROSS JOIN msgids AS m"
            " ON m.msgid = w.column1 AND m.room = w.column2 AND m.sender = w.column3"
        )
        found: dict[_Key, int] = {}
        for statement, values in _bulk(query, 3, keys):
            for msgid, room, sender, seq in self._connection.execute(statement, values).fetchall():
                found[msgid, room, sender] = seq
        return found

    def _write(self, batch: _Batch) -> None:
        blocks = [(row, room, b.first, b.chain, b.frames) for row, (room, b) in batch.rows.items()]
        grown = {room for room, _ in batch.rows.values()}
        rooms = []
        for name, room in batch.rooms.items():
            if room.id in grown:
                batch.heads[name] = room.tail.seq
                rooms.append((room.id, name, room.tail.seq, room.tail.chain, room.tail.roster))
        self._insert("blocks (id, room, first, chain, frames)", blocks, "frames = excluded.frames")
        # In order, as the ends of the index then take fewest pages.
        seqs = [(*key, batch.new[key].seq) for key in sorted(batch.new)]
        self._insert("msgids (msgid, room, sender, seq)", seqs)
        self._insert(
            "rooms (id, name, head, chain, roster)",
            rooms,
            "head = excluded.head, chain = excluded.chain, roster = excluded.roster",
        )
        for name, room in batch.rooms.items():
            if room.block is not None and len(room.block.frames) > BLOCK_SIZE:
                room.block = None  # one large frame: nothing is added to it, so it is not kept
            self._rooms[name] = room
        while len(self._rooms) > MAX_ROOMS:
            del self._rooms[next(iter(self._rooms))]

    def _insert(self, table: str, rows: Sequence[tuple[Any, ...]], update: str = "") -> None:
        if rows:
            query = f"INSERT INTO {table} SELECT * FROM (VALUES {{}}) WHERE column1 IS NOT NULL"  # noqa: S608 - our own names
            if update:
                query += f" ON CONFLICT (id) DO UPDATE SET {update}"
            for statement, values in _bulk(query, len(rows[0]), rows):
                self._connection.execute(statement, values)

    def _load_rooms(self, batch: _Batch, names: Iterable[str]) -> None:
        rooms, damaged = batch.rooms, batch.damaged
        for name in names:
            if name in rooms or name in damaged:
                continue
            try:
                rooms[name] = self._rooms.pop(name) if name in self._rooms else self._load(name)
            except (Damaged, sqlite3.DatabaseError) as error:
                damaged[name] = _damage(error)

    def _load(self, name: str) -> _Room:
        row = self._connection.execute(
            "SELECT id, head, chain, roster FROM rooms WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            self._next_room += 1
            return _Room(self._next_room - 1, Tail())
        room = _Room(row[0], Tail(*row[1:]))
        block = self._connection.execute(
            "SELECT id, first, chain, frames FROM blocks WHERE room = ? ORDER BY first DESC LIMIT 1",
            (room.id,),
        ).fetchone()
        if block is not None:
            room.row, room.block = block[0], Block(*block[1:])
        return room

    def _next(self, table: str) -> int:
        query = f"SELECT coalesce(max(id), 0) + 1 FROM {table}"  # noqa: S608 - a table of our own
        (found,) = self._connection.execute(query).fetchone()
        return int(found)


class _Batch:
    """What one transaction has gathered."""

    def __init__(self) -> None:
        self.rooms: dict[str, _Room] = {}
        #: What is wrong with rooms that cannot be appended to.
        self.damaged: dict[str, Damaged] = {}
        #: Which entry the msgids of the batch became before it.
        self.known: dict[_Key, int] = {}
        #: The batch's own entries.
        self.new: dict[_Key, Stored] = {}
        #: The blocks that grew, by their rows, with the ids of their rooms.
        self.rows: dict[int, tuple[int, Block]] = {}
        self.heads: dict[str, int] = {}


def _damage(error: Damaged | sqlite3.DatabaseError) -> Damaged:
    """The error as whoever sent to that room gets it.

    :raises sqlite3.DatabaseError: it says something else.
    """
    if isinstance(error, Damaged):
        return error
    if not is_damage(error):
        raise error
    return Damaged(reason=str(error))


def _bulk(query: str, width: int, rows: Sequence[tuple[Any, ...]]) -> Iterator[tuple[str, list[Any]]]:
    """Statements that take all rows, many in each. They are filled up with rows of NULL to few sizes, so
    that each stays prepared; the query has no use for such rows, but they cost as much as others."""
    for start in range(0, len(rows), _ROWS):
        taken = rows[start : start + _ROWS]
        count = _size(len(taken))
        values = list(chain.from_iterable(taken))
        values += [None] * (count * width - len(values))
        yield _statement(query, width, count), values


def _size(rows: int) -> int:
    """How many rows the statement for so many has: few sizes, and few rows too many."""
    if rows <= 16:
        return 1 << (rows - 1).bit_length()
    step = 16 if rows <= 128 else 32
    return -(-rows // step) * step


@lru_cache(maxsize=128)
def _statement(query: str, width: int, count: int) -> str:
    row = "(" + ", ".join("?" * width) + ")"
    return query.format(", ".join([row] * count))
