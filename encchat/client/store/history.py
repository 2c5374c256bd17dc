"""``history.sqlite``: the entries that a client has seen, so that it can show and search them offline.

A cache: the server has them all. So it is written without waiting for the disk, and a damaged file is set
aside and filled anew; a damaged row is dropped, with a notice. What it keeps is bounded: the last entries
of each room, the bytes of each room, and the bytes of all. Every entry, and the name of every room, is
sealed (``vault``).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from encchat.client.store.blocks import Run, entries_of, packed, unpacked
from encchat.client.store.bounds import Bounds, bound_all, bound_room
from encchat.client.store.database import Database, KeyGone, StoreFailed, StoreUnusable, reason, set_aside
from encchat.client.store.vault import Unreadable, Vault
from encchat.core.words import matches, wanted
from encchat.messages import Entry, Position

FILE = "history.sqlite"
#: Bytes that wait to be written at most; more are written at once.
PENDING = 1024 * 1024
#: Entries that one search looks at.
SCAN = 10_000

STEPS = (
    """
    CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE rooms (
        number INTEGER PRIMARY KEY, tag BLOB NOT NULL UNIQUE, log BLOB NOT NULL, server BLOB NOT NULL,
        sealed BLOB NOT NULL
    ) STRICT;
    CREATE TABLE blocks (
        number INTEGER PRIMARY KEY, room INTEGER NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL,
        size INTEGER NOT NULL, sealed BLOB NOT NULL
    ) STRICT;
    CREATE INDEX blocks_by_room ON blocks (room, first, last, size)
    """,
)


class Place(NamedTuple):
    """A room of a log of a server."""

    server: str
    log: bytes
    room: str


class Looked(NamedTuple):
    """What was found: entries in order, the seq down to which was looked, and whether there is more below."""

    entries: tuple[Entry, ...]
    reached: int
    more: bool


class Archive:
    """An open local history. Not for several threads. Once it cannot be written it says so, and keeps
    nothing more in this run: nothing is lost by that."""

    def __init__(self, directory: Path, database: Database | None, vault: Vault) -> None:
        self._directory = directory
        self._database = database
        self._vault = vault
        self._notices: list[str] = []
        self._pending: dict[Place, list[Run]] = {}
        self._pending_bytes = 0
        self.bounds = Bounds()

    @classmethod
    def open(cls, directory: Path, vault: Vault) -> Archive:
        """The history in a profile's directory; what cannot be used is set aside.

        :raises StoreTooNew: it is of a newer version.
        """
        archive = cls(directory, None, vault)
        archive._open()
        return archive

    def _open(self) -> None:
        path = self._directory / FILE
        try:
            try:
                self._database = Database.open(path, STEPS, self._vault, ("synchronous = NORMAL",))
            except (sqlite3.DatabaseError, KeyGone) as error:
                self._anew(path, "its key is gone" if isinstance(error, KeyGone) else str(error))
        except (StoreUnusable, sqlite3.Error, OSError) as error:
            self._give_up(str(error) if isinstance(error, StoreUnusable) else reason(error))

    def _anew(self, path: Path, why: str) -> None:
        aside = set_aside(path, "damaged")
        self._notices.append(
            f"the local history cannot be read ({why}); it is kept as {aside.name}, and begins anew with "
            "what the server sends"
        )
        self._database = Database.open(path, STEPS, self._vault, ("synchronous = NORMAL",))

    def _give_up(self, why: str) -> None:
        self.close()
        self._notices.append(f"there is no local history in this run: {why}")

    def close(self) -> None:
        """Let go of the file. What was not stored is not kept."""
        database, self._database = self._database, None
        self._pending.clear()
        self._pending_bytes = 0
        if database is not None:
            database.close()

    def take_notices(self) -> list[str]:
        """What a person should be told, and has not been told yet."""
        notices, self._notices = self._notices, []
        return notices

    # -------------------------------------------------------------------------------------- writing

    @property
    def keeps(self) -> bool:
        """Whether anything is kept."""
        return self._database is not None and self.bounds.entries > 0

    @property
    def pending(self) -> int:
        """Bytes that wait for ``store``."""
        return self._pending_bytes

    def add(self, place: Place, start: Position, frame: bytes) -> None:
        """An entry was seen: ``frame`` follows ``start``. Written by ``store``, or when it is much."""
        runs = self._pending.get(place)
        if runs is None:
            runs = self._pending[place] = []
        if runs and runs[-1].last == start.seq:
            runs[-1].frames.append(frame)
        else:
            runs.append(Run(start, [frame]))
        self._pending_bytes += len(frame)
        if self._pending_bytes >= PENDING:
            self.store()

    def store(self) -> None:
        """Write what has come together."""
        pending, self._pending = self._pending, {}
        self._pending_bytes = 0
        if not pending or self._database is None:
            return
        try:
            with self._database.change() as database:
                # IMMEDIATE: another client of this profile may be about to write the same entries.
                database.execute("BEGIN IMMEDIATE")
                for place, runs in pending.items():
                    self._write(database, place, runs)
                bound_all(database, self.bounds)
        except StoreFailed as error:
            self._failed(error)

    def _write(self, database: sqlite3.Connection, place: Place, runs: list[Run]) -> None:
        room = self._room(place)
        tag = self._tag(place)
        if room is None:
            sealed = self._vault.seal(msgspec.msgpack.encode(tuple(place)), "room", tag)
            log = self._vault.tag("log", place.server, place.log)
            server = self._vault.tag("server", place.server)
            room = database.execute(
                "INSERT INTO rooms (tag, log, server, sealed) VALUES (?, ?, ?, ?)", (tag, log, server, sealed)
            ).lastrowid
            assert room is not None
        for run in runs:
            covered = database.execute(
                "SELECT first, last FROM blocks WHERE room = ? AND last >= ? AND first <= ? ORDER BY first",
                (room, run.first, run.last),
            ).fetchall()
            for block in (block for rest in run.without(covered) for block in rest.blocks()):
                sealed = self._vault.seal(packed(block), *_row(tag, block.first, block.last))
                database.execute(
                    "INSERT INTO blocks (room, first, last, size, sealed) VALUES (?, ?, ?, ?, ?)",
                    (room, block.first, block.last, len(sealed), sealed),
                )
        bound_room(database, room, self.bounds)

    def forget(self, server: str) -> None:
        """Keep nothing of this server any more."""
        self._pending = {place: runs for place, runs in self._pending.items() if place.server != server}
        if self._database is None:
            return
        tag = self._vault.tag("server", server)
        try:
            with self._database.change() as database:
                database.execute(
                    "DELETE FROM blocks WHERE room IN (SELECT number FROM rooms WHERE server = ?)", (tag,)
                )
                database.execute("DELETE FROM rooms WHERE server = ?", (tag,))
        except StoreFailed as error:
            self._failed(error)

    # -------------------------------------------------------------------------------------- reading

    def rooms(self, server: str, log: bytes) -> list[str]:
        """The rooms of a log of which something is kept, the one that was written to last first."""
        self.store()
        found = []
        for tag, sealed in self._read(
            "SELECT tag, rooms.sealed FROM rooms JOIN blocks ON blocks.room = rooms.number WHERE log = ? "
            "GROUP BY rooms.number ORDER BY max(blocks.number) DESC",
            (self._vault.tag("log", server, log),),
        ):
            try:
                place = msgspec.msgpack.decode(self._vault.open(sealed, "room", tag), type=Place)
            except Unreadable:
                continue
            found.append(place.room)
        return found

    def page(self, place: Place, before: int, limit: int) -> Looked:
        """The last ``limit`` entries before seq ``before`` (0: of all), as far as none is missing."""
        found: list[Entry] = []  # the last one first
        below, more = 0, False
        for block in self._back(place, before):
            if found and block.last != below - 1:
                more = True
                break
            below = block.first
            here = reversed(self._entries(place, block))
            found += (entry for entry in here if not before or entry.seq < before)
            if len(found) > limit:
                more = True
                break
        shown = tuple(reversed(found[:limit]))
        return Looked(shown, shown[0].seq if shown else 0, more)

    def later(self, place: Place, seq: int) -> Iterator[Entry]:
        """The entries after ``seq`` that are kept, the newest first; at most ``SCAN``."""
        looked = 0
        for block in self._back(place, 0):
            for entry in reversed(self._entries(place, block)):
                if entry.seq <= seq or looked == SCAN:
                    return
                looked += 1
                yield entry

    def search(self, place: Place, words: str, before: int, limit: int) -> Looked:
        """The last ``limit`` entries before seq ``before`` (0: of all) that have all the words, of at most
        ``SCAN`` that are looked at.

        :raises RefusedError: there is no word to search for.
        """
        looking = wanted(words)
        found: list[Entry] = []
        looked = reached = 0
        for block in self._back(place, before):
            entries = self._entries(place, block)
            for entry, frame in zip(reversed(entries), reversed(block.frames), strict=True):
                if before and entry.seq >= before:
                    continue
                if len(found) == limit or looked == SCAN:
                    return Looked(tuple(reversed(found)), reached, True)
                looked, reached = looked + 1, entry.seq
                if matches(frame, looking):
                    found.append(entry)
        return Looked(tuple(reversed(found)), reached, False)

    def _back(self, place: Place, before: int) -> Iterator[Run]:
        """The blocks of a room from the last one before ``before`` to the first. One that was altered is
        dropped, and so is what lies before a break of the chain: it is of another log."""
        self.store()
        room = self._room(place)
        after: Run | None = None
        bound = before or 2**62
        while room is not None:
            rows = self._read(
                "SELECT number, first, last, sealed FROM blocks WHERE room = ? AND first < ? "
                "ORDER BY first DESC LIMIT 1",
                (room, bound),
            )
            if not rows:
                return
            ((number, first, last, sealed),) = rows
            try:
                block = unpacked(self._vault.open(sealed, *_row(self._tag(place), first, last)), first)
                if block.last != last:
                    raise Unreadable
            except Unreadable:
                self._drop("number = ?", (number,))
                self._notices.append(
                    f"entries {first:,} to {last:,} of {place.room} are damaged in the local history, "
                    "and are dropped"
                )
            else:
                if after is not None and after.first == last + 1 and after.start != block.end:
                    self._drop("room = ? AND last <= ?", (room, last))
                    self._notices.append(
                        f"what was kept here of {place.room} before entry {after.first:,} is of another log, "
                        "and is dropped"
                    )
                    return
                yield block
                after = block
            bound = first

    def _entries(self, place: Place, block: Run) -> list[Entry]:
        try:
            return entries_of(block, place.room)
        except Unreadable:  # it was sealed so: by us, and wrongly
            return []

    def _tag(self, place: Place) -> bytes:
        return self._vault.tag("room", *place)

    def _room(self, place: Place) -> int | None:
        rows = self._read("SELECT number FROM rooms WHERE tag = ?", (self._tag(place),))
        return rows[0][0] if rows else None

    def _read(self, query: str, arguments: tuple[int | bytes, ...]) -> list[Any]:
        if self._database is None:
            return []
        try:
            return self._database.read(query, arguments)
        except StoreFailed as error:
            self._failed(error)
            return []

    def _drop(self, which: str, arguments: tuple[int, ...]) -> None:
        if self._database is None:
            return
        try:
            with self._database.change() as database:
                database.execute(f"DELETE FROM blocks WHERE {which}", arguments)  # noqa: S608 -- words of ours
        except StoreFailed as error:
            self._failed(error)

    def _failed(self, error: StoreFailed) -> None:
        """A file that turns out to be damaged begins anew; a full disk ends it for this run."""
        cause = error.__context__
        database = self._database
        if database is None:
            return
        self.close()
        if isinstance(cause, sqlite3.DatabaseError) and not isinstance(cause, sqlite3.OperationalError):
            try:
                self._anew(database.path, reason(cause))
            except (sqlite3.Error, OSError, StoreUnusable, KeyGone) as again:
                self._give_up(reason(again))
        else:
            self._give_up(str(error))


def _row(tag: bytes, first: int, last: int) -> tuple[bytes, ...]:
    return b"block", tag, first.to_bytes(8, "big"), last.to_bytes(8, "big")
