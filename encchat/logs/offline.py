"""The SQLite log as commands use it: read beside a running service, and replaced by a backup while none
runs."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from encchat.errors import ConfigError
from encchat.logs import archive, blobs, boxes, index
from encchat.logs.backup import copy
from encchat.logs.files import DirectoryLock, check_file, prepare_directory, sync_directory
from encchat.logs.partials import clear
from encchat.logs.queries import read
from encchat.logs.schema import UPGRADES, inspect_file, open_reader, open_writer
from encchat.logs.verify import verify
from encchat.messages import Entry
from encchat.wire import decode_entry

#: The log's file in a data directory.
FILE = "log.sqlite"
#: Entries and bytes that are read at once.
_PAGE, _PAGE_BYTES = 1000, 1024 * 1024


class Unreadable(ConfigError):
    """{path} cannot be read: {reason}."""


@dataclass(frozen=True, slots=True)
class Room:
    """What the log holds of a room: the seq of its last entry, up to which retention has taken it, the bytes
    of what is kept, and the time of its last entry (milliseconds; 0: none is kept)."""

    name: str
    head: int
    floor: int
    size: int
    last: int

    @property
    def kept(self) -> int:
        """How many entries are there."""
        return self.head - self.floor

    @property
    def opened(self) -> bool:
        """What is sealed, the server cannot open."""
        return False


@contextmanager
def opened(path: Path, *, earlier: bool = False) -> Iterator[sqlite3.Connection]:
    """A connection that only reads a log that is there; also one of an ``earlier`` version, if that is said.

    :raises ConfigError: it is not there, not a log, of another version, or damaged.
    """
    try:
        if not path.is_file():
            hint = "" if path.name != FILE else "; name the directory of the service with --data DIR"
            raise Unreadable(path=str(path), reason="there is no such file" + hint)
        if inspect_file(path) != len(UPGRADES) and not earlier:
            raise Unreadable(path=str(path), reason="it is of an earlier version, which the service upgrades")
        with closing(open_reader(path)) as connection:
            yield connection
    except sqlite3.Error as error:
        raise Unreadable(path=str(path), reason=str(error)) from None
    except OSError as error:
        if error.filename is None:  # not of this file: of what the caller writes
            raise
        raise Unreadable(path=str(path), reason=error.strerror or str(error)) from None


def rooms(connection: sqlite3.Connection) -> list[Room]:
    """All rooms, by name."""
    size = "coalesce((SELECT sum(length(frames)) FROM blocks WHERE room = rooms.id), 0)"
    query = f"SELECT name, head, floor, {size} FROM rooms ORDER BY name"  # noqa: S608 -- our own words
    return [
        Room(name, head, floor, size, _last(connection, name, head, floor))
        for name, head, floor, size in connection.execute(query).fetchall()
    ]


def _last(connection: sqlite3.Connection, room: str, head: int, floor: int) -> int:
    if head == floor:
        return 0
    (frame,) = read(connection, room, head - 1, 1, _PAGE_BYTES).frames
    return decode_entry(frame).time


def entries(connection: sqlite3.Connection, room: Room) -> Iterator[Entry]:
    """The entries of a room that are kept, up to those that came since it was looked at.

    :raises Unavailable: some are damaged.
    """
    at = room.floor
    while at < room.head:
        page = read(connection, room.name, at, min(_PAGE, room.head - at), _PAGE_BYTES)
        yield from map(decode_entry, page.frames)
        at += len(page.frames)


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored: how many files (None: the backup holds none), and where the log is now that was
    there before, if there was one."""

    files: int | None
    before: Path | None


def restore(source: Path, directory: Path) -> Restored:
    """Put the backup ``source`` in place of the log in ``directory``, and of the files there if it holds any,
    where no service runs. A backup of an earlier version stays what it is: the service upgrades it when it
    starts. Where this is killed it can be done again.

    :raises ConfigError: the backup is not whole, or the directory cannot be used; nothing was changed then.
    :raises BackupFailed: the copy could not be written; nothing was changed then.
    """
    if not archive.is_archive(source):
        _check(source, source)
        with _locked(directory):
            return Restored(None, _replace(source, directory))
    with _locked(directory), archive.log_of(source, directory) as log:
        _check(log, source)
        held, fresh = directory / blobs.DIRECTORY, directory / f"{blobs.DIRECTORY}.restored"
        shutil.rmtree(fresh, ignore_errors=True)
        try:
            count = archive.unpack(source, held, fresh)
            before = _replace(log, directory)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        if held.exists():
            held.rename(_aside(held))
        fresh.rename(held)
        sync_directory(directory)
        return Restored(count, before)


def _check(log: Path, source: Path) -> None:
    try:
        with opened(log, earlier=True):
            pass
    except ConfigError as error:
        if log == source:
            raise
        reason = error.facts.get("reason", error)
        raise archive.Broken(path=str(source), problem=f"the log in it: {reason}") from None
    for problem in verify(log):
        raise archive.Broken(path=str(source), problem=problem)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    prepare_directory(directory)
    lock = DirectoryLock(directory)
    try:
        clear(directory)
        yield
    except OSError as error:
        raise ConfigError(reason=f"{directory} cannot be used: {error.strerror or error}") from None
    finally:
        lock.release()


def reindex(directory: Path) -> None:
    """Forget the search index of the log in ``directory``, where no service runs; the next one makes it anew.

    :raises ConfigError: there is no log, it cannot be used, or a service uses it.
    """
    path = directory / FILE
    with opened(path):
        pass
    lock = DirectoryLock(directory)
    try:
        with closing(open_writer(path, "full")) as connection:
            connection.execute("BEGIN IMMEDIATE")
            index.empty(connection)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise Unreadable(path=str(path), reason=str(error)) from None
    finally:
        lock.release()


def _replace(source: Path, directory: Path) -> Path | None:
    target, fresh = directory / FILE, directory / f"{FILE}.restored"
    fresh.unlink(missing_ok=True)
    with opened(source, earlier=True) as connection:
        copy(connection, fresh)
    with closing(sqlite3.connect(fresh, isolation_level=None)) as restored:
        restored.execute("PRAGMA secure_delete = ON")
        boxes.spend(restored)
    before = None
    if check_file(target):
        _bring_together(target)
        before = _aside(target)
        # What is left of a log that cannot be opened any more must not be taken for the new one's.
        for beside in ("-wal", "-shm"):
            rest = target.with_name(target.name + beside)
            if rest.exists():
                rest.rename(before.with_name(before.name + beside))
        os.link(target, before)
    fresh.replace(target)
    sync_directory(directory)
    return before


def _bring_together(path: Path) -> None:
    """Bring the write-ahead log into the file, so that it needs no other; as far as it can be read."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error:
        return  # damaged, which may be why it is replaced


def _aside(path: Path) -> Path:
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.before-restore-{number}")):
        number += 1
    return kept


def chosen(found: Sequence[Room], names: Sequence[str]) -> list[Room]:
    """The rooms with these names; all of them if none is named.

    :raises KeyError: there is none of that name.
    """
    known = {room.name: room for room in found}
    return [known[name] for name in names] if names else list(found)
