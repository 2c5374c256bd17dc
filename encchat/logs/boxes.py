"""Mail and one-time keys in the log's file: the tables, and what is done to them.

A letter's row is there until it is discarded; a box's row remembers the last seq. A one-time key's row stays
after the key was handed out, without the key, so that the same one is not taken in again. Each function runs
in somebody else's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from encchat.core.relay.keeping import MAX_ONE_TIME, MAX_REMEMBERED, Mailed, Posting, Usage, has_room

_TABLES = (
    "CREATE TABLE boxes (box TEXT NOT NULL PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID",
    """CREATE TABLE mail (id INTEGER PRIMARY KEY, box TEXT NOT NULL, seq INTEGER NOT NULL,
        time INTEGER NOT NULL, sender TEXT NOT NULL, device TEXT NOT NULL, size INTEGER NOT NULL,
        body BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX mail_place ON mail (box, seq)",
    # What each sender has in a box, without a look at the letters.
    "CREATE INDEX mail_share ON mail (box, sender, size)",
    "CREATE INDEX mail_age ON mail (time)",
    # The key of one that was handed out is NULL.
    """CREATE TABLE one_time (box TEXT NOT NULL, digest BLOB NOT NULL, number INTEGER NOT NULL, key BLOB,
        PRIMARY KEY (box, digest)) WITHOUT ROWID""",
    "CREATE INDEX one_time_order ON one_time (box, number)",
)


def create(connection: sqlite3.Connection) -> None:
    """The step of the schema that adds the tables."""
    for table in _TABLES:
        connection.execute(table)


def extend(connection: sqlite3.Connection) -> None:
    """The step of the schema that tells letters of strangers."""
    connection.execute("ALTER TABLE mail ADD COLUMN met INTEGER NOT NULL DEFAULT 1")
    connection.execute("DROP INDEX mail_share")
    connection.execute("CREATE INDEX mail_share ON mail (box, sender, met, size)")


def post(connection: sqlite3.Connection, postings: Sequence[Posting]) -> list[int]:
    """As ``IMail.post``."""
    boxes: dict[str, _Box] = {}
    seqs = []
    for posting in postings:
        box = boxes.get(posting.box)
        if box is None:
            box = boxes[posting.box] = _Box.load(connection, posting.box)
        seqs.append(box.post(connection, posting))
    connection.executemany(
        "INSERT OR REPLACE INTO boxes (box, last) VALUES (?, ?)",
        [(name, box.last) for name, box in boxes.items()],
    )
    return seqs


@dataclass(slots=True)
class _Box:
    """What is in a box: of each sender, in all, of strangers; and the last seq."""

    last: int
    shares: dict[str, Usage] = field(default_factory=dict)
    total: Usage = field(default_factory=Usage)
    strangers: Usage = field(default_factory=Usage)

    @classmethod
    def load(cls, connection: sqlite3.Connection, name: str) -> _Box:
        row = connection.execute("SELECT last FROM boxes WHERE box = ?", (name,)).fetchone()
        box = cls(row[0] if row else 0)
        for sender, met, letters, size in connection.execute(
            "SELECT sender, met, count(*), sum(size) FROM mail WHERE box = ? GROUP BY sender, met", (name,)
        ):
            box._count(sender, bool(met), letters, size)
        return box

    def post(self, connection: sqlite3.Connection, posting: Posting) -> int:
        size, own = len(posting.body), self.shares.get(posting.sender, Usage())
        if not has_room(self.total, own, size, None if posting.met else self.strangers):
            return 0
        self._count(posting.sender, posting.met, 1, size)
        self.last += 1
        connection.execute(
            "INSERT INTO mail (box, seq, time, sender, device, size, body, met)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                posting.box,
                self.last,
                posting.time,
                posting.sender,
                posting.device,
                size,
                posting.body,
                posting.met,
            ),
        )
        return self.last

    def _count(self, sender: str, met: bool, letters: int, size: int) -> None:
        share = self.shares.setdefault(sender, Usage())
        for usage in (share, self.total) if met else (share, self.total, self.strangers):
            usage.letters += letters
            usage.size += size


def fetch(connection: sqlite3.Connection, box: str, after: int, limit: int, size: int) -> list[Mailed]:
    """As ``IMail.fetch``."""
    found: list[Mailed] = []
    cursor = connection.execute(
        "SELECT seq, sender, device, body FROM mail WHERE box = ? AND seq > ? ORDER BY seq LIMIT ?",
        (box, after, limit),
    )
    for row in cursor:
        letter = Mailed(*row)
        size -= len(letter.body)
        if size < 0 and found:
            break
        found.append(letter)
    cursor.close()
    return found


def discard(connection: sqlite3.Connection, box: str, upto: int) -> None:
    """As ``IMail.discard``."""
    connection.execute("DELETE FROM mail WHERE box = ? AND seq <= ?", (box, upto))


def close_box(connection: sqlite3.Connection, box: str) -> None:
    """As ``IMail.close_box``."""
    connection.execute("DELETE FROM mail WHERE box = ?", (box,))
    connection.execute("DELETE FROM boxes WHERE box = ?", (box,))


def expire(connection: sqlite3.Connection, before: int) -> None:
    """As ``IMail.expire``."""
    connection.execute("DELETE FROM mail WHERE time < ?", (before,))


def add(connection: sqlite3.Connection, box: str, keys: Sequence[bytes]) -> int:
    """As ``IKeyPool.add``."""
    held, had, number = connection.execute(
        "SELECT count(key), count(*), coalesce(max(number), 0) FROM one_time WHERE box = ?", (box,)
    ).fetchone()
    for key in keys:
        if held == MAX_ONE_TIME:
            break
        number += 1
        added = connection.execute(
            "INSERT OR IGNORE INTO one_time (box, digest, number, key) VALUES (?, ?, ?, ?)",
            (box, sha256(key).digest(), number, key),
        ).rowcount
        held += added
        had += added
    if had > MAX_REMEMBERED:
        connection.execute(
            """DELETE FROM one_time WHERE box = ?1 AND digest IN (SELECT digest FROM one_time
                WHERE box = ?1 AND key IS NULL ORDER BY number LIMIT ?2)""",
            (box, had - MAX_REMEMBERED),
        )
    return int(held)


def take(connection: sqlite3.Connection, box: str) -> bytes:
    """The oldest key of the box, which is gone then; ``b""`` where there is none."""
    row = connection.execute(
        "SELECT digest, key FROM one_time WHERE box = ? AND key IS NOT NULL ORDER BY number LIMIT 1", (box,)
    ).fetchone()
    if row is None:
        return b""
    digest, key = row
    connection.execute("UPDATE one_time SET key = NULL WHERE box = ? AND digest = ?", (box, digest))
    return bytes(key)


def spend(connection: sqlite3.Connection) -> None:
    """Count every one-time key as handed out: in a log that was brought back from a backup any of them may
    have been, after it was made. Their devices bring new ones. (An older log has no keys.)"""
    if connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'one_time'").fetchone()[0]:
        connection.execute("UPDATE one_time SET key = NULL")


def empty(connection: sqlite3.Connection, box: str) -> None:
    """As ``IKeyPool.empty``."""
    connection.execute("DELETE FROM one_time WHERE box = ?", (box,))
