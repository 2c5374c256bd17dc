"""One SQLite file of a profile: opened, upgraded, guarded, and set aside when it cannot be used.

A file that is not a database any more, or was sealed under a key that is gone, is renamed and a new one
made; one of a newer version is refused and left alone.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, TypeAlias

from encchat.client.store.vault import Vault
from encchat.errors import ConfigError, StorageError

#: Milliseconds to wait for the other client of the same profile.
BUSY_TIMEOUT = 5000

Value: TypeAlias = str | int | bytes
#: The step from one schema version to the next: statements, or what makes them.
Step: TypeAlias = str | Callable[[sqlite3.Connection, Vault], None]


class StoreUnusable(ConfigError):
    """{path} cannot be opened: {reason}. Repair it, or name another place with --state DIR."""


class NoRoom(StoreUnusable):
    """{path} cannot be opened: the disk is full ({reason}). Make room on it, or name another place with
    --state DIR."""


class StoreTooNew(ConfigError):
    """{path} was written by a newer encchat (version {found} of it, where this one knows {known}). Update
    encchat, or name another place with --state DIR."""


class StoreFailed(StorageError):
    """{path} cannot be written: {reason}. Make room on the disk, or name another place with --state DIR."""


class KeyGone(Exception):
    """It was sealed under another key than ours."""


class Database:
    """An open file. Not for several threads."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self.connection = connection

    @classmethod
    def open(
        cls,
        path: Path,
        steps: Sequence[Step],
        vault: Vault,
        pragmas: Sequence[str],
        *,
        thorough: bool = False,
    ) -> Database:
        """The file at ``path``, made when it is new, upgraded when it is old; ``thorough`` reads it all.

        :raises sqlite3.DatabaseError: it is damaged.
        :raises KeyGone: it belongs to another key.
        :raises StoreUnusable: it cannot be read or written.
        :raises StoreTooNew: it is of a newer version.
        """
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            path.chmod(0o600)
            connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT / 1000)
            try:
                for pragma in ("journal_mode = WAL", *pragmas):
                    connection.execute(f"PRAGMA {pragma}")
                _upgrade(connection, path, steps, vault)
                _check(connection, vault)
                if thorough:
                    (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
                    if verdict != "ok":
                        raise sqlite3.DatabaseError(verdict)
            except BaseException:
                connection.close()
                raise
        except (sqlite3.OperationalError, OSError) as error:
            # Locked, read-only, no space: not its content.
            kind = NoRoom if _is_full(path.parent) else StoreUnusable
            raise kind(path=str(path), reason=reason(error)) from None
        return cls(path, connection)

    def close(self) -> None:
        """Let go of the file."""
        self.connection.close()

    def read(self, query: str, arguments: Sequence[Value] = ()) -> list[Any]:
        """The rows that a query finds.

        :raises StoreFailed: it cannot be read.
        """
        try:
            return self.connection.execute(query, arguments).fetchall()
        except sqlite3.Error as error:
            raise StoreFailed(path=str(self.path), reason=reason(error)) from None

    @contextmanager
    def _waiting_less(self) -> Iterator[None]:
        (level,) = self.connection.execute("PRAGMA synchronous").fetchone()
        self.connection.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self.connection.execute(f"PRAGMA synchronous = {level}")

    @contextmanager
    def change(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """A transaction: all of what is done in it is done, or nothing. ``durable`` is False for what may go
        with the machine's power, though never with the process: nobody then waits for the disk.

        :raises StoreFailed: it cannot be written.
        """
        try:
            with self._waiting_less() if not durable else nullcontext(), self.connection:
                yield self.connection
        except sqlite3.Error as error:
            raise StoreFailed(path=str(self.path), reason=reason(error)) from None


def _upgrade(connection: sqlite3.Connection, path: Path, steps: Sequence[Step], vault: Vault) -> None:
    if version(connection) == len(steps):
        return
    # IMMEDIATE: of two clients that start at once, one upgrades and the other then finds it done.
    connection.execute("BEGIN IMMEDIATE")
    found = version(connection)
    if found > len(steps):
        raise StoreTooNew(path=str(path), found=found, known=len(steps))
    for step in steps[found:]:
        if callable(step):
            step(connection, vault)
        else:
            for statement in step.split(";"):
                connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {len(steps)}")
    connection.commit()
    if 0 < found < len(steps):
        # What an older version kept in the clear stays neither in free pages nor in the journal.
        with suppress(sqlite3.OperationalError):  # another client is in it; the pages are used again anyhow
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _check(connection: sqlite3.Connection, vault: Vault) -> None:
    """Note the key that a new file is sealed under; an old one must be under ours."""
    rows = connection.execute("SELECT value FROM meta WHERE name = 'key'").fetchall()
    if not rows:
        with connection:
            connection.execute("INSERT OR IGNORE INTO meta VALUES ('key', ?)", (vault.check,))
    elif rows[0][0] != vault.check:
        raise KeyGone


def version(connection: sqlite3.Connection) -> int:
    """The schema's version."""
    (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


def set_aside(path: Path, word: str) -> Path:
    """Rename a file and its journal, which may hold the last of what was written: ``word`` says why."""
    number = 1
    while (aside := path.with_name(f"{path.name}.{word}-{number}")).exists():
        number += 1
    path.rename(aside)
    journal = path.with_name(path.name + "-wal")
    if journal.exists():
        journal.rename(aside.with_name(aside.name + "-wal"))
    path.with_name(path.name + "-shm").unlink(missing_ok=True)
    return aside


def _is_full(directory: Path) -> bool:
    """Whether nothing can be written there for want of room."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    return found.f_bavail == 0


def reason(error: Exception) -> str:
    """Why, in the system's words."""
    return getattr(error, "strerror", None) or str(error)
