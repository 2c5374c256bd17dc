"""The file of the SQLite log: its tables, and how a file of any age is opened or refused.

``application_id`` says that a database is ours, ``user_version`` which schema it has. ``UPGRADES[n]`` turns
version n into n + 1, in one transaction, after a copy of the file as it was has been put beside it. A file
of a later version, of another program, or damaged in what opening it reads is refused before anything is
written; damage elsewhere is met, and told, by whoever reads there.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal, TypeAlias

from twisted.logger import Logger

from encchat.errors import ConfigError
from encchat.logs import boxes, index
from encchat.logs.backup import copy
from encchat.logs.files import check_file, create_file, sync_directory

_log = Logger()

#: "encl": what file(1) and a curious person see in the header.
APPLICATION_ID = 0x656E636C

Durability: TypeAlias = Literal["full", "relaxed"]
Connect: TypeAlias = Callable[[str], sqlite3.Connection]
Upgrade: TypeAlias = Callable[[sqlite3.Connection], None]

#: The first SQLite with all that is used here: RETURNING, and thousands of values in a statement.
_OLDEST_SQLITE = (3, 35)

_SYNCHRONOUS = {"full": "FULL", "relaxed": "NORMAL"}

_TABLES = (
    # One row, id 1: the log's name, and the last revision given in the directory.
    """CREATE TABLE log (id INTEGER PRIMARY KEY CHECK (id = 1), log_id BLOB NOT NULL,
        revision INTEGER NOT NULL DEFAULT 0)""",
    # Where each room ends: seq and chain of its last entry, seq of its last roster entry; and the
    # position up to which retention has taken it.
    """CREATE TABLE rooms (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, head INTEGER NOT NULL,
        chain BLOB NOT NULL, roster INTEGER NOT NULL,
        floor INTEGER NOT NULL DEFAULT 0, floor_chain BLOB NOT NULL DEFAULT (zeroblob(32)))""",
    # Runs of entries, see blocks.py. Rows go where the file ends, whatever the room: appending to many
    # rooms at once dirties no more pages than it must.
    """CREATE TABLE blocks (id INTEGER PRIMARY KEY, room INTEGER NOT NULL, first INTEGER NOT NULL,
        chain BLOB NOT NULL, frames BLOB NOT NULL)""",
    "CREATE UNIQUE INDEX block_place ON blocks (room, first)",
    # Which entry a msgid became. The msgid leads, so that those which begin with the time (as our
    # client's do) land side by side at the end, and not each on a page of its own: three times as fast.
    """CREATE TABLE msgids (msgid BLOB NOT NULL, room INTEGER NOT NULL, sender TEXT NOT NULL,
        seq INTEGER NOT NULL, PRIMARY KEY (msgid, room, sender)) WITHOUT ROWID""",
    # What is remembered of an entry that retention took (numbering.Memo).
    """CREATE TABLE memos (room INTEGER NOT NULL, seq INTEGER NOT NULL, time INTEGER NOT NULL,
        device TEXT NOT NULL, digest BLOB NOT NULL, PRIMARY KEY (room, seq)) WITHOUT ROWID""",
    """CREATE TABLE directory (kind TEXT NOT NULL, key TEXT NOT NULL, value BLOB NOT NULL,
        revision INTEGER NOT NULL, PRIMARY KEY (kind, key)) WITHOUT ROWID""",
    # One row, written anew to see whether that works.
    "CREATE TABLE probe (id INTEGER PRIMARY KEY CHECK (id = 1), bytes BLOB NOT NULL)",
)


def _create(connection: sqlite3.Connection) -> None:
    for table in _TABLES:
        connection.execute(table)
    connection.execute("INSERT INTO log (id, log_id) VALUES (1, ?)", (secrets.token_bytes(16),))
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


#: One step for each version that there ever was; never change one that was released.
UPGRADES: Sequence[Upgrade] = (_create, index.create, boxes.create, boxes.extend)


def connect(target: str) -> sqlite3.Connection:
    """A connection to a path or ``file:`` address, without transactions of the module's own making."""
    return sqlite3.connect(
        target, timeout=5.0, isolation_level=None, check_same_thread=False, uri=target.startswith("file:")
    )


def open_writer(
    path: Path, durability: Durability, upgrades: Sequence[Upgrade] = UPGRADES, connect: Connect = connect
) -> sqlite3.Connection:
    """The one connection that writes, to a file that is made, checked and upgraded as needed. The caller
    holds the directory's lock.

    :raises ConfigError: the file cannot be used; says why, and leaves it as it was.
    """
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise ConfigError(reason=f"Python has SQLite {sqlite3.sqlite_version} here; 3.35 or later is needed")
    if not _has_fts5():
        raise ConfigError(reason="Python has an SQLite without FTS5 here, which the search needs")
    synchronous = _SYNCHRONOUS.get(durability)
    if synchronous is None:
        raise ConfigError(reason=f"the durability {durability!r} is not one: use full or relaxed")
    for beside in ("-wal", "-shm"):
        check_file(path.with_name(path.name + beside))
    try:
        if check_file(path):
            inspect_file(path, len(upgrades))
        else:
            create_file(path)
            sync_directory(path.parent)
        connection = connect(os.fspath(path))
        try:
            _prepare(connection, path, synchronous)
            _upgrade(connection, path, upgrades)
            index.prepare(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.OperationalError as error:
        raise ConfigError(reason=f"{path} cannot be opened: {error}") from None
    except sqlite3.DatabaseError as error:
        raise ConfigError(reason=_damaged(path, error)) from None
    except OSError as error:
        raise ConfigError(reason=f"{path} cannot be used: {error.strerror}") from None
    return connection


def _has_fts5() -> bool:
    with closing(sqlite3.connect(":memory:")) as connection:
        return any(option == "ENABLE_FTS5" for (option,) in connection.execute("PRAGMA compile_options"))


def open_reader(path: Path, connect: Connect = connect) -> sqlite3.Connection:
    """A connection that can only read, beside the writer's or while no server runs."""
    connection = connect(path.absolute().as_uri() + "?mode=ro")
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def inspect_file(path: Path, latest: int = len(UPGRADES)) -> int:
    """The schema version of a log, 0 of an empty file; without a byte changed in it.

    :raises ConfigError: it is not a log, one of a later version, or one that has lost its name.
    :raises sqlite3.Error: it cannot be read.
    """
    with path.open("rb") as file:
        header = file.read(16)
    if header and header != b"SQLite format 3\x00":
        raise ConfigError(reason=f"{path} is not a database; move it away or name another place")
    # A file that was closed in order is read without making the two beside it.
    beside = path.with_name(path.name + "-wal").exists()
    reader = connect(path.absolute().as_uri() + ("?mode=ro" if beside else "?mode=ro&immutable=1"))
    try:
        application, version, tables = (
            reader.execute(query).fetchone()[0]
            for query in (
                "PRAGMA application_id",
                "PRAGMA user_version",
                "SELECT count(*) FROM sqlite_master",
            )
        )
        empty = application == version == tables == 0
        if application != APPLICATION_ID and not empty:
            raise ConfigError(reason=f"{path} is a database of another program; name another place")
        if version > latest:
            raise ConfigError(
                reason=f"{path} was written by a later encchat (schema {version}, this one knows {latest}); "
                "nothing was changed: run that version, or restore a backup made before its upgrade"
            )
        if not empty:
            _look_into(reader, path, version)
    finally:
        reader.close()
    return int(version)


def _look_into(reader: sqlite3.Connection, path: Path, version: int) -> None:
    """Read what opening the file will read, while nothing is written yet."""
    if reader.execute("SELECT length(log_id) FROM log").fetchone() != (16,):
        raise ConfigError(reason=_damaged(path, "it has lost its name"))
    if version > UPGRADES.index(index.create):
        index.is_current(reader)


def _prepare(connection: sqlite3.Connection, path: Path, synchronous: str) -> None:
    connection.execute("PRAGMA page_size = 4096")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise ConfigError(reason=f"{path} lies where SQLite can keep no write-ahead log; use a local disk")
    for setting in (
        f"synchronous = {synchronous}",
        "fullfsync = ON",  # only macOS knows it: there a plain fsync does not reach the disk
        "wal_autocheckpoint = 4000",
        "cache_size = -16384",
        "secure_delete = ON",  # what retention takes is not left in free pages
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {setting}")


def _upgrade(connection: sqlite3.Connection, path: Path, upgrades: Sequence[Upgrade]) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    for number, upgrade in enumerate(upgrades[version:], version):
        before = path.with_name(f"{path.name}.schema-{number}")
        if version:  # a file that is being made has nothing to keep
            copy(connection, before, replace=True)
        connection.execute("BEGIN IMMEDIATE")
        try:
            upgrade(connection)
            connection.execute(f"PRAGMA user_version = {number + 1}")
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        if version:
            _log.info(
                "{path} is upgraded to schema {schema}; as it was before, it is in {before}",
                path=str(path),
                schema=number + 1,
                before=str(before),
            )


def _damaged(path: Path, how: object) -> str:
    return f"{path} is damaged ({how}); keep a copy of it and restore a backup: encchat-admin restore FILE"
