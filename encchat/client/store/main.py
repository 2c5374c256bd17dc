"""``client.sqlite``: what a client cannot get again from anywhere.

The keys of servers it has met, what was typed and is not acknowledged, how far each room's log was read,
who is ignored, and settings. Everything is committed before a method returns, with synchronous=FULL but for
what is said four times a second and costs little if the power goes: positions, and what is acknowledged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from encchat.client.protocol.outbox import Item
from encchat.client.store import schema
from encchat.client.store.database import Database, KeyGone, StoreUnusable, reason, set_aside
from encchat.client.store.history import Archive
from encchat.client.store.key import Keyring, take_key
from encchat.client.store.salvage import salvage
from encchat.client.store.uploads import Uploads
from encchat.client.store.vault import Unreadable, Vault
from encchat.messages import Position

if TYPE_CHECKING:
    from encchat.client.store.records import Records

FILE = "client.sqlite"
_PRAGMAS = ("synchronous = FULL", "secure_delete = ON")


class Pin(Struct, frozen=True):
    """The key that a server showed under one profile of a cipher, since ``first_seen`` (milliseconds)."""

    endpoint: str
    profile: str
    fingerprint: str
    vouched: bool
    first_seen: int


class Met(NamedTuple):
    """Who was last met at an endpoint: the name that its positions are kept under, and its log."""

    server: str
    log: bytes


class Store:
    """An open store. Not for several threads."""

    def __init__(self, database: Database, vault: Vault, archive: Archive, notices: tuple[str, ...]) -> None:
        self.path = database.path
        #: The entries that were seen.
        self.archive = archive
        #: Files that are on their way.
        self.uploads = Uploads(database, vault)
        self._notices = list(notices)
        self._database = database
        self._vault = vault

    @classmethod
    def open(cls, directory: Path, keyring: Callable[[], Keyring | None] = lambda: None) -> Store:
        """The store in a profile's directory, made when it is new and upgraded when it is old. ``keyring``
        finds the keyring for its key; without one the key is in a file.

        :raises ConfigError: it cannot be read or written, its key cannot be had, or it is of a newer
            version.
        """
        found = take_key(directory, keyring)
        vault = Vault(found.key)
        path = directory / FILE
        notices = found.notices
        try:
            database = _open(path, vault)
        except (sqlite3.DatabaseError, KeyGone) as error:
            try:
                database, notice = _anew(path, vault, error)
            except (sqlite3.Error, OSError) as again:
                raise StoreUnusable(path=str(path), reason=reason(again)) from None
            notices = (*notices, notice)
        try:
            archive = Archive.open(directory, vault)
        except BaseException:
            database.close()
            raise
        return cls(database, vault, archive, notices)

    def close(self) -> None:
        """Let go of the files."""
        self.archive.close()
        self._database.close()

    def take_notices(self) -> list[str]:
        """What a person should be told about the store, and has not been told yet."""
        notices = [*self._notices, *self.archive.take_notices()]
        self._notices.clear()
        return notices

    def records(self, server: str) -> Records:
        """What is kept of sealed rooms on this server."""
        from encchat.client.store.records import Records  # slow to import, and not always needed

        return Records(self._database, self._vault, server)

    # --------------------------------------------------------------------------------------- pins

    def pins(self, endpoint: str) -> list[Pin]:
        """What is known of the server at ``endpoint``, a pin for each profile that it has shown."""
        rows = self._database.read(
            "SELECT profile, fingerprint, vouched, first_seen FROM pins WHERE endpoint = ?", (endpoint,)
        )
        return [Pin(endpoint, p, f, bool(v), t) for p, f, v, t in rows]

    def pin(self, pin: Pin, *, replace: bool) -> None:
        """Remember a server's key; with ``replace``, in place of everything known of its endpoint."""
        with self._database.change() as database:
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
        """What was typed for the server at ``endpoint`` and is not acknowledged, oldest first. A row that
        was altered is dropped, with a notice."""
        rows = self._database.read(
            "SELECT msgid, sealed FROM outbox WHERE endpoint = ? AND lane = ? ORDER BY number",
            (endpoint, lane),
        )
        items, damaged = [], []
        for msgid, sealed in rows:
            try:
                items.append(schema.opened_item(self._vault, endpoint, msgid, sealed))
            except Unreadable:
                damaged.append(msgid)
        if damaged:
            self.forget(damaged)
            self._notices.append(
                f"{len(damaged)} of the unsent messages in {self.path} were damaged, and are lost"
            )
        return items

    def keep(self, endpoint: str, lane: int, items: Iterable[Item], now: int) -> None:
        """Store items before they are sent; ``now`` in milliseconds. A msgid that is there stays as it is."""
        with self._database.change() as database:
            database.executemany(
                "INSERT OR IGNORE INTO outbox (lane, endpoint, msgid, sealed, created) "
                "VALUES (?, ?, ?, ?, ?)",
                [
                    (lane, endpoint, item.msgid, schema.sealed_item(self._vault, endpoint, item), now)
                    for item in items
                ],
            )

    def forget(self, msgids: Iterable[bytes]) -> None:
        """Items were acknowledged, or refused for good. If that is lost they are sent again under the same
        msgid, which is safe."""
        with self._database.change(durable=False) as database:
            database.executemany("DELETE FROM outbox WHERE msgid = ?", [(msgid,) for msgid in msgids])

    def adopt(self, lane: int, orphan: int) -> None:
        """Move what is in the lane ``orphan``, whose client is gone, into ``lane``."""
        if self._database.read("SELECT 1 FROM outbox WHERE lane = ? LIMIT 1", (orphan,)):
            with self._database.change() as database:
                database.execute("UPDATE outbox SET lane = ? WHERE lane = ?", (lane, orphan))
        self.uploads.adopt(lane, orphan)

    # ---------------------------------------------------------------------------------- positions

    def position(self, server: str, log: bytes, room: str) -> Position | None:
        """How far the room was read in this log of this server; None if never."""
        tag = schema.position_tag(self._vault, server, log, room)
        rows = self._database.read("SELECT seq, chain FROM positions WHERE tag = ?", (tag,))
        return Position(*rows[0]) if rows else None

    def save_positions(self, server: str, log: bytes, positions: Mapping[str, Position]) -> None:
        """Remember how far rooms were read. A position further on, of another client, stays. If that is lost
        the last entries are shown once more."""
        rows = [
            (schema.position_tag(self._vault, server, log, room), server, p.seq, p.chain)
            for room, p in positions.items()
        ]
        with self._database.change(durable=False) as database:
            database.executemany(
                "INSERT INTO positions (tag, server, seq, chain) VALUES (?, ?, ?, ?) ON CONFLICT DO "
                "UPDATE SET seq = excluded.seq, chain = excluded.chain WHERE excluded.seq > positions.seq",
                rows,
            )

    def forget_positions(self, server: str) -> None:
        """The user accepts this server's logs as they are now; what was kept of them before may differ."""
        with self._database.change() as database:
            for table in ("positions", "logs", "met"):
                database.execute(f"DELETE FROM {table} WHERE server = ?", (server,))  # noqa: S608 -- names of ours
        self.archive.forget(server)

    def met_log(self, endpoint: str, server: str, log: bytes) -> bool:
        """Remember who was met at an endpoint, and the log that this server has now; whether it had another
        one before."""
        rows = self._database.read("SELECT log FROM logs WHERE server = ?", (server,))
        if rows and rows[0][0] == log and self.last_met(endpoint) == (server, log):
            return False
        with self._database.change() as database:
            database.execute(
                "INSERT INTO logs (server, log) VALUES (?, ?) ON CONFLICT DO UPDATE SET log = excluded.log",
                (server, log),
            )
            database.execute("INSERT OR REPLACE INTO met VALUES (?, ?, ?)", (endpoint, server, log))
        return bool(rows) and rows[0][0] != log

    def known_log(self, server: str) -> bytes | None:
        """The log that this server had when it was last met; None if it never was."""
        rows = self._database.read("SELECT log FROM logs WHERE server = ?", (server,))
        return rows[0][0] if rows else None

    def last_met(self, endpoint: str) -> Met | None:
        """Whom a client last met at an endpoint; None if nobody."""
        rows = self._database.read("SELECT server, log FROM met WHERE endpoint = ?", (endpoint,))
        return Met(*rows[0]) if rows else None

    # -------------------------------------------------------------------------- ignored, settings

    def ignored(self) -> set[str]:
        """The keys of the names whose messages are not to be shown."""
        names = set()
        for tag, sealed in self._database.read("SELECT tag, sealed FROM ignored"):
            try:
                names.add(self._vault.open(sealed, "ignored", tag).decode("utf-8", "surrogatepass"))
            except Unreadable:
                self._notices.append(f"whom you ignore is damaged in part in {self.path}: see /ignore")
        return names

    def set_ignored(self, name: str, ignored: bool) -> None:
        """Show nothing more of ``name`` (its key), or show it again."""
        tag, sealed = schema.ignored_row(self._vault, name)
        with self._database.change() as database:
            if ignored:
                database.execute("INSERT OR IGNORE INTO ignored VALUES (?, ?)", (tag, sealed))
            else:
                database.execute("DELETE FROM ignored WHERE tag = ?", (tag,))

    def settings(self) -> dict[str, str]:
        """What was set, by name."""
        return dict(self._database.read("SELECT name, value FROM settings"))

    def set(self, name: str, value: str) -> None:
        """Remember a setting."""
        with self._database.change() as database:
            database.execute("INSERT OR REPLACE INTO settings VALUES (?, ?)", (name, value))


def _open(path: Path, vault: Vault) -> Database:
    return Database.open(path, schema.STEPS, vault, _PRAGMAS, thorough=True)


def _anew(path: Path, vault: Vault, error: Exception) -> tuple[Database, str]:
    """A new file in place of one that is damaged or sealed under another key; and what to tell of it."""
    gone = isinstance(error, KeyGone)
    aside = set_aside(path, "locked" if gone else "damaged")
    database = _open(path, vault)
    try:
        saved = salvage(aside, database, vault, same_key=not gone)
    except BaseException:
        database.close()
        raise
    if gone:
        return database, (
            f"the key of {path} is gone, so that what was typed but not sent and how far you had read cannot "
            f"be opened; it is kept as {aside.name}. {_keys(saved.pins)} kept"
        )
    what = " ".join(str(error).replace("*** in database main ***", "").split())
    unsent = "1 unsent message was" if saved.unsent == 1 else f"{saved.unsent} unsent messages were"
    return database, (
        f"{path} was damaged ({what}) and is kept as {aside.name}. {unsent} saved from it. "
        f"{_keys(saved.pins)} saved; compare the fingerprint of any other server again before you trust it. "
        "In sealed rooms this is a new device now: another one of yours lets it in, --restore takes a backup"
    )


def _keys(pins: int) -> str:
    """How many servers' keys are known still."""
    return "The key of 1 known server was" if pins == 1 else f"The keys of {pins} known servers were"
