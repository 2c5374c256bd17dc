"""Files that are on their way to the server, in ``client.sqlite``: what a later run goes on with."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from encchat.client.store.database import Database
from encchat.client.store.vault import Unreadable, Vault

TABLE = """
    CREATE TABLE uploads (
        msgid BLOB NOT NULL PRIMARY KEY, lane INTEGER NOT NULL, endpoint TEXT NOT NULL,
        sealed BLOB NOT NULL, created INTEGER NOT NULL
    ) STRICT
"""


#: The lane of what nobody goes on with by themselves: only its secrets are remembered, so many, and so long
#: (milliseconds).
NOBODYS = -1
MAX_REMEMBERED, REMEMBERED_FOR = 100, 7 * 24 * 3600 * 1000


class Waiting(NamedTuple):
    """A file that somebody wants to give to a room: the msgid of its entry, the room, its path, and for a
    sealed room the secret that its key is made from."""

    msgid: bytes
    room: str
    path: str
    secret: bytes = b""


class Uploads:
    """The files of one store. Everything is committed before a method returns."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def waiting(self, endpoint: str, lane: int) -> list[Waiting]:
        """What is on its way to the server at ``endpoint``, oldest first. What was altered is left out."""
        rows = self._database.read(
            "SELECT msgid, sealed FROM uploads WHERE endpoint = ? AND lane = ? ORDER BY created",
            (endpoint, lane),
        )
        found = []
        for msgid, sealed in rows:
            try:
                data = self._vault.open(sealed, "upload", endpoint, msgid)
                room, path, secret = msgspec.msgpack.decode(data, type=tuple[str, bytes, bytes])
            except (Unreadable, msgspec.MsgspecError):
                self.forget(msgid)
            else:
                found.append(Waiting(msgid, room, path.decode("utf-8", "surrogateescape"), secret))
        return found

    def keep(self, endpoint: str, lane: int, waiting: Waiting, now: int) -> None:
        """Remember one; ``now`` in milliseconds."""
        path = waiting.path.encode("utf-8", "surrogateescape")
        data = msgspec.msgpack.encode((waiting.room, path, waiting.secret))
        sealed = self._vault.seal(data, "upload", endpoint, waiting.msgid)
        with self._database.change() as database:
            database.execute(
                "INSERT OR IGNORE INTO uploads VALUES (?, ?, ?, ?, ?)",
                (waiting.msgid, lane, endpoint, sealed, now),
            )

    def forget(self, msgid: bytes) -> None:
        """It is in the outbox, or given up."""
        with self._database.change() as database:
            database.execute("DELETE FROM uploads WHERE msgid = ?", (msgid,))

    def remember(self, endpoint: str, waiting: Waiting, now: int) -> Waiting:
        """What a file is given with that nobody goes on with but who gives it again: what it was given with
        the last time, if it did not get there, or ``waiting`` from now on. ``forget`` it once it did."""
        for known in self.waiting(endpoint, NOBODYS):
            if (known.room, known.path) == (waiting.room, waiting.path):
                return known
        with self._database.change() as database:
            database.execute(
                "DELETE FROM uploads WHERE lane = ? AND (created < ? OR msgid NOT IN "
                "(SELECT msgid FROM uploads WHERE lane = ? ORDER BY created DESC LIMIT ?))",
                (NOBODYS, now - REMEMBERED_FOR, NOBODYS, MAX_REMEMBERED - 1),
            )
        self.keep(endpoint, NOBODYS, waiting, now)
        return waiting

    def adopt(self, lane: int, orphan: int) -> None:
        """Move what is in the lane ``orphan``, whose client is gone, into ``lane``."""
        if self._database.read("SELECT 1 FROM uploads WHERE lane = ? LIMIT 1", (orphan,)):
            with self._database.change() as database:
                database.execute("UPDATE uploads SET lane = ? WHERE lane = ?", (lane, orphan))
