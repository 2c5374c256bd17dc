"""What a profile keeps of sealed rooms, for each server that it has met: the records of its device's vault,
and what was opened.

A record comes encrypted (``core.sealed.keeper``); its id, which names rooms and people, is sealed here, and
found again by its tag. What was opened exists nowhere else in the clear, so it is kept as durably as the
keys, and in the same transaction: see ``batch``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from encchat.client.store.database import Database, StoreFailed, reason
from encchat.client.store.vault import Unreadable, Vault
from encchat.core.sealed.keeper import Record

#: Entries of one room that are kept; beyond that the oldest go.
MAX_SAID = 50_000
#: How often, in entries, it is looked whether that is exceeded.
_LOOK_EVERY = 1000
#: What is written to see whether that is possible, and how large it is.
_PROBE, _PROBED = "probe", 256 * 1024
#: Rows that are read at a time.
_PAGE = 200


class Records:
    """A ``VaultStore``, and the entries that were opened. For the one process that holds the vault's lock."""

    def __init__(self, database: Database, vault: Vault, server: str) -> None:
        self._database = database
        self._vault = vault
        self._server = server
        self._scope = vault.tag("sealed rooms of", server)
        #: The ids of those kinds that were scanned.
        self._ids: dict[str, set[str]] = {}
        self._open: sqlite3.Connection | None = None

    @property
    def key(self) -> bytes:
        """What the vault is to encrypt its records under."""
        return self._vault.sealed_rooms

    @property
    def name(self) -> str:
        """A word for these records that says nothing: for a lock file."""
        return self._scope.hex()[:16]

    @contextmanager
    def batch(self) -> Iterator[None]:
        """All that is written meanwhile is written together, or not at all.

        :raises StoreFailed: it was not. What the vault has in memory is then ahead of the store: begin anew.
        """
        with self._database.change() as database:
            self._open = database
            try:
                yield
            except BaseException:
                self._ids.clear()
                raise
            finally:
                self._open = None

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        if self._open is None:
            with self._database.change() as database:
                yield database
            return
        try:
            yield self._open
        except sqlite3.Error as error:
            raise StoreFailed(path=str(self._database.path), reason=reason(error)) from None

    # ------------------------------------------------------------------------------------- records

    def get(self, kind: str, id: str) -> Record | None:
        """As ``VaultStore``."""
        rows = self._database.read(
            "SELECT generation, data FROM records WHERE scope = ? AND kind = ? AND tag = ?",
            (self._scope, kind, self._tag(kind, id)),
        )
        return Record(kind, id, *rows[0]) if rows else None

    def scan(self, kind: str, prefix: str) -> Iterator[Record]:
        """As ``VaultStore``."""
        for id in sorted(id for id in self._known(kind) if id.startswith(prefix)):
            record = self.get(kind, id)
            if record is not None:
                yield record

    def write(self, records: Sequence[Record]) -> None:
        """As ``VaultStore``."""
        with self._change() as database:
            for record in records:
                known = self._ids.get(record.kind, set())
                tag = self._tag(record.kind, record.id)
                if record.data is None:
                    database.execute(
                        "DELETE FROM records WHERE scope = ? AND kind = ? AND tag = ?",
                        (self._scope, record.kind, tag),
                    )
                    known.discard(record.id)
                    continue
                known.add(record.id)
                sealed = self._vault.seal(record.id.encode(), *self._place(record.kind, tag))
                database.execute(
                    "INSERT INTO records VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO "
                    "UPDATE SET generation = excluded.generation, data = excluded.data",
                    (self._scope, record.kind, tag, sealed, record.generation, record.data),
                )

    def probe(self) -> None:
        """See whether as much can be written as a vault writes at a time; nothing stays of it.

        :raises StoreFailed: it cannot.
        """
        tag = self._tag(_PROBE, "")
        with self._change() as database:
            database.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, 0, zeroblob(?))",
                (self._scope, _PROBE, tag, b"", _PROBED),
            )
        with self._change() as database:
            database.execute("DELETE FROM records WHERE scope = ? AND kind = ?", (self._scope, _PROBE))

    def forget(self, *kinds: str) -> None:
        """Drop all records of these kinds."""
        with self._change() as database:
            for kind in kinds:
                self._ids.pop(kind, None)
                database.execute("DELETE FROM records WHERE scope = ? AND kind = ?", (self._scope, kind))

    def _known(self, kind: str) -> set[str]:
        """The ids of a kind. A row that was altered is not there."""
        if kind not in self._ids:
            found: set[str] = set()
            for tag, sealed in self._database.read(
                "SELECT tag, id FROM records WHERE scope = ? AND kind = ?", (self._scope, kind)
            ):
                try:
                    found.add(self._vault.open(sealed, *self._place(kind, tag)).decode())
                except Unreadable:
                    continue
            self._ids[kind] = found
        return self._ids[kind]

    def _tag(self, kind: str, id: str) -> bytes:
        return self._vault.tag("record", self._scope, kind, id)

    def _place(self, kind: str, tag: bytes) -> tuple[str | bytes, ...]:
        return "record", self._scope, kind, tag

    # ------------------------------------------------------------------------------- what was opened

    def say(self, log: bytes, room: str, seq: int, data: bytes) -> None:
        """Keep what entry ``seq`` of a room says, in place of what was kept of it. Number 0 is for what is
        known of the room itself."""
        tag = self._room(log, room)
        with self._change() as database:
            database.execute(
                "INSERT OR REPLACE INTO said VALUES (?, ?, ?)",
                (tag, seq, self._vault.seal(data, "said", tag, seq.to_bytes(8, "big"))),
            )
            if seq % _LOOK_EVERY == 0:
                database.execute(
                    "DELETE FROM said WHERE room = ? AND seq BETWEEN 1 AND ?", (tag, seq - MAX_SAID)
                )

    def said(self, log: bytes, room: str, seq: int) -> bytes | None:
        """What is kept of one entry."""
        tag = self._room(log, room)
        rows = self._database.read("SELECT seq, sealed FROM said WHERE room = ? AND seq = ?", (tag, seq))
        return next(self._opened(tag, rows), None)

    def said_before(self, log: bytes, room: str, before: int) -> Iterator[bytes]:
        """What is kept of the entries before ``before``, the last one first."""
        tag = self._room(log, room)
        while True:
            rows = self._database.read(
                "SELECT seq, sealed FROM said WHERE room = ? AND seq BETWEEN 1 AND ? "
                "ORDER BY seq DESC LIMIT ?",
                (tag, before - 1, _PAGE),
            )
            if not rows:
                return
            before = rows[-1][0]
            yield from self._opened(tag, rows)

    def said_after(self, log: bytes, room: str, after: int, limit: int) -> list[bytes]:
        """What is kept of the first ``limit`` entries after ``after``, in order."""
        tag = self._room(log, room)
        rows = self._database.read(
            "SELECT seq, sealed FROM said WHERE room = ? AND seq > ? ORDER BY seq LIMIT ?",
            (tag, max(after, 0), limit),
        )
        return list(self._opened(tag, rows))

    def _opened(self, tag: bytes, rows: Sequence[tuple[int, bytes]]) -> Iterator[bytes]:
        for seq, sealed in rows:
            try:
                yield self._vault.open(sealed, "said", tag, seq.to_bytes(8, "big"))
            except Unreadable:
                continue

    def _room(self, log: bytes, room: str) -> bytes:
        return self._vault.tag("said in", self._scope, log, room)
