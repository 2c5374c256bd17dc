"""What a client remembers between runs, in one SQLite file of its profile: the keys of servers it has
met, what was typed and is not acknowledged, and how far each room's log was read.

Everything is committed with synchronous=FULL before a method returns. Two clients of one profile may
use the file at once; the outbox is divided into lanes (``lanes``), so that neither sends the other's.
A file that is not a database any more is set aside, with words; one of a newer version is refused.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct

from encchat.client.outbox import Item
from encchat.errors import ConfigError, StorageError
from encchat.messages import Position

FILE = "client.sqlite"
#: Milliseconds to wait for the other client of the same profile.
BUSY_TIMEOUT = 5000

#: The step from each schema version to the next; the first makes a new file.
STEPS = (
    """
    CREATE TABLE pins (
        endpoint TEXT NOT NULL, profile TEXT NOT NULL, fingerprint TEXT NOT NULL,
        vouched INTEGER NOT NULL, first_seen INTEGER NOT NULL,
        PRIMARY KEY (endpoint, profile)
    ) STRICT;
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, lane INTEGER NOT NULL, endpoint TEXT NOT NULL,
        msgid BLOB NOT NULL UNIQUE, room TEXT NOT NULL, kind TEXT NOT NULL, body BLOB NOT NULL,
        created INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE logs (
        server TEXT NOT NULL PRIMARY KEY, log BLOB NOT NULL
    ) STRICT;
    CREATE TABLE positions (
        server TEXT NOT NULL, log BLOB NOT NULL, room TEXT NOT NULL,
        seq INTEGER NOT NULL, chain BLOB NOT NULL,
        PRIMARY KEY (server, log, room)
    ) STRICT;
    CREATE TABLE ignored (name TEXT NOT NULL PRIMARY KEY) STRICT;
    """,
)


class StoreUnusable(ConfigError):
    """{path} cannot be opened: {reason}. Repair it, or name another place with --state DIR."""


class StoreTooNew(ConfigError):
    """{path} was written by a newer encchat (version {found} of it, where this one knows {known}). Update
    encchat, or name another place with --state DIR."""


class StoreFailed(StorageError):
    """{path} cannot be written: {reason}. Make room on the disk, or name another place with --state DIR."""


class Pin(Struct, frozen=True):
    """The key that a server showed under one profile of a cipher, since ``first_seen`` (milliseconds)."""

    endpoint: str
    profile: str
    fingerprint: str
    vouched: bool
    first_seen: int


class Store:
    """An open store. Not for several threads."""

    def __init__(self, path: Path, database: sqlite3.Connection, notices: tuple[str, ...] = ()) -> None:
        self.path = path
        #: What a person should be told about how it was opened.
        self.notices = notices
        self._database = database

    @classmethod
    def open(cls, directory: Path) -> Store:
        """The store in a profile's directory, made when it is new and upgraded when it is old.

        :raises ConfigError: it cannot be read or written, or is of a newer version.
        """
        path = directory / FILE
        try:
            try:
                return cls(path, _open(path))
            except sqlite3.DatabaseError as error:
                if isinstance(
                    error, sqlite3.OperationalError
                ):  # locked, read-only, no space: not its content
                    raise
                aside = _set_aside(path)
                notice = (
                    f"{path} was damaged ({error}) and is kept as {aside.name}. The keys of known servers "
                    "and unsent messages were in it: compare fingerprints before you trust a server again."
                )
                return cls(path, _open(path), (notice,))
        except (sqlite3.Error, OSError) as error:
            raise StoreUnusable(path=str(path), reason=_reason(error)) from None

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    # --------------------------------------------------------------------------------------- pins

    def pins(self, endpoint: str) -> list[Pin]:
        """What is known of the server at ``endpoint``, a pin for each profile that it has shown."""
        rows = self._read(
            "SELECT profile, fingerprint, vouched, first_seen FROM pins WHERE endpoint = ?",
            (endpoint,),
        )
        return [Pin(endpoint, p, f, bool(v), t) for p, f, v, t in rows]

    def pin(self, pin: Pin, *, replace: bool) -> None:
        """Remember a server's key; with ``replace``, in place of everything known of its endpoint."""
        with self._change() as database:
            if replace:
                database.execute("DELETE FROM pins WHERE endpoint = ?", (pin.endpoint,))
            database.execute(
                "INSERT INTO pins (endpoint, profile, fingerprint, vouched, first_seen) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE "
                "SET fingerprint = excluded.fingerprint, vouched = excluded.vouched",
                (pin.endpoint, pin.profile, pin.fingerprint, int(pin.vouched), pin.first_seen),
            )

    # ------------------------------------------------------------------------------------- outbox

    def outbox(self, endpoint: str, lane: int) -> list[Item]:
        """What was typed for the server at ``endpoint`` and is not acknowledged, oldest first."""
        rows = self._read(
            "SELECT msgid, room, kind, body FROM outbox WHERE endpoint = ? AND lane = ? ORDER BY number",
            (endpoint, lane),
        )
        return [Item(*row) for row in rows]

    def keep(self, endpoint: str, lane: int, items: Iterable[Item], now: int) -> None:
        """Store items before they are sent; ``now`` in milliseconds. A msgid that is there stays as it is."""
        with self._change() as database:
            database.executemany(
                "INSERT OR IGNORE INTO outbox (lane, endpoint, msgid, room, kind, body, created) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(lane, endpoint, i.msgid, i.room, i.kind, i.body, now) for i in items],
            )

    def forget(self, msgids: Iterable[bytes]) -> None:
        """Items were acknowledged, or refused for good."""
        with self._change() as database:
            database.executemany("DELETE FROM outbox WHERE msgid = ?", [(msgid,) for msgid in msgids])

    def adopt(self, lane: int, orphan: int) -> None:
        """Move what is in the lane ``orphan``, whose client is gone, into ``lane``."""
        if self._read("SELECT 1 FROM outbox WHERE lane = ? LIMIT 1", (orphan,)):
            with self._change() as database:
                database.execute("UPDATE outbox SET lane = ? WHERE lane = ?", (lane, orphan))

    # ---------------------------------------------------------------------------------- positions

    def position(self, server: str, log: bytes, room: str) -> Position | None:
        """How far the room was read in this log of this server; None if never."""
        rows = self._read(
            "SELECT seq, chain FROM positions WHERE server = ? AND log = ? AND room = ?", (server, log, room)
        )
        return Position(*rows[0]) if rows else None

    def save_positions(self, server: str, log: bytes, positions: Mapping[str, Position]) -> None:
        """Remember how far rooms were read. A position further on, of another client, stays."""
        with self._change() as database:
            database.executemany(
                "INSERT INTO positions (server, log, room, seq, chain) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO "
                "UPDATE SET seq = excluded.seq, chain = excluded.chain WHERE excluded.seq > positions.seq",
                [(server, log, room, p.seq, p.chain) for room, p in positions.items()],
            )

    def forget_positions(self, server: str) -> None:
        """The user accepts this server's logs as they are now."""
        with self._change() as database:
            database.execute("DELETE FROM positions WHERE server = ?", (server,))
            database.execute("DELETE FROM logs WHERE server = ?", (server,))

    def met_log(self, server: str, log: bytes) -> bool:
        """Remember the log that a server has now; whether it had another one before."""
        rows = self._read("SELECT log FROM logs WHERE server = ?", (server,))
        if rows and rows[0][0] == log:
            return False
        with self._change() as database:
            database.execute(
                "INSERT INTO logs (server, log) VALUES (?, ?) ON CONFLICT DO UPDATE SET log = excluded.log",
                (server, log),
            )
        return bool(rows)

    # ------------------------------------------------------------------------------------ ignored

    def ignored(self) -> set[str]:
        """The keys of the names whose messages are not to be shown."""
        return {name for (name,) in self._read("SELECT name FROM ignored")}

    def set_ignored(self, name: str, ignored: bool) -> None:
        """Show nothing more of ``name`` (its key), or show it again."""
        with self._change() as database:
            if ignored:
                database.execute("INSERT OR IGNORE INTO ignored VALUES (?)", (name,))
            else:
                database.execute("DELETE FROM ignored WHERE name = ?", (name,))

    # ---------------------------------------------------------------------------------- underneath

    def _read(self, query: str, arguments: tuple[str | int, ...] | tuple[str | bytes, ...] = ()) -> list[Any]:
        try:
            return self._database.execute(query, arguments).fetchall()
        except sqlite3.Error as error:
            raise StoreFailed(path=str(self.path), reason=_reason(error)) from None

    @contextmanager
    def _change(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._database:
                yield self._database
        except sqlite3.Error as error:
            raise StoreFailed(path=str(self.path), reason=_reason(error)) from None


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    path.chmod(0o600)
    database = sqlite3.connect(path, timeout=BUSY_TIMEOUT / 1000)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA synchronous = FULL")
        _upgrade(database, path)
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
    except BaseException:
        database.close()
        raise
    return database


def _upgrade(database: sqlite3.Connection, path: Path) -> None:
    if _version(database) == len(STEPS):
        return
    # IMMEDIATE: of two clients that start at once, one upgrades and the other then finds it done.
    database.execute("BEGIN IMMEDIATE")
    found = _version(database)
    if found > len(STEPS):
        raise StoreTooNew(path=str(path), found=found, known=len(STEPS))
    for step in STEPS[found:]:
        for statement in step.split(";"):
            database.execute(statement)
    database.execute(f"PRAGMA user_version = {len(STEPS)}")
    database.commit()


def _version(database: sqlite3.Connection) -> int:
    (version,) = database.execute("PRAGMA user_version").fetchone()
    return int(version)


def _set_aside(path: Path) -> Path:
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    path.rename(aside)
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return aside


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
