"""What can still be read of a store that was set aside, put into the new one.

SQLite reads a damaged table up to the damaged page; so each is read from its beginning, and then from its
end. What was typed and not sent is what matters: it is nowhere else.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from encchat.client.protocol.outbox import Item
from encchat.client.store.database import Database, version
from encchat.client.store.schema import ignored_row, position_tag, sealed_item
from encchat.client.store.vault import Vault

#: What is saved as it is, whatever the key: table and columns.
_PLAIN = {
    "pins": "endpoint, profile, fingerprint, vouched, first_seen",
    "logs": "server, log",
    "settings": "name, value",
    "met": "endpoint, server, log",
}
#: What is only of use under the same key.
_SEALED = {
    "outbox": "lane, endpoint, msgid, sealed, created",
    "positions": "tag, server, seq, chain",
    "ignored": "tag, sealed",
    "uploads": "msgid, lane, endpoint, sealed, created",
    "said": "room, seq, sealed",
}
#: What begins anew: ratchets and keys of sealed rooms that may be older than those that were used last must
#: not be used again.
LEFT = frozenset({"meta", "records"})


class Saved(NamedTuple):
    """How much could be saved: unsent messages, and keys of servers."""

    unsent: int
    pins: int


def salvage(aside: Path, new: Database, vault: Vault, *, same_key: bool) -> Saved:
    """Put what can be read of the file ``aside`` into ``new``."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    with suppress(sqlite3.Error):
        old = sqlite3.connect(aside)
        try:
            if version(old) == 1:
                found = _first(old, vault)
            else:
                tables = _PLAIN | (_SEALED if same_key else {})
                found = {table: list(_rows(old, table, columns)) for table, columns in tables.items()}
        finally:
            old.close()
    columns = _PLAIN | _SEALED
    with new.change() as database:
        for table, rows in found.items():
            places = ", ".join("?" * (columns[table].count(",") + 1))
            for row in rows:
                # A row that is not what it should be is no reason to lose the others.
                with suppress(sqlite3.IntegrityError, sqlite3.InterfaceError):
                    database.execute(
                        f"INSERT OR IGNORE INTO {table} ({columns[table]}) VALUES ({places})",  # noqa: S608 -- names of ours
                        row,
                    )
    ((unsent,),) = new.read("SELECT count(*) FROM outbox")
    ((pins,),) = new.read("SELECT count(*) FROM pins")
    return Saved(unsent, pins)


def _rows(old: sqlite3.Connection, table: str, columns: str) -> Iterator[tuple[Any, ...]]:
    """What can be read of a table, in its order; nothing if there is no such table."""
    halves: list[list[tuple[Any, ...]]] = []
    for order in ("ASC", "DESC"):
        half: list[tuple[Any, ...]] = []
        with suppress(sqlite3.Error):
            query = f"SELECT rowid, {columns} FROM {table} NOT INDEXED ORDER BY rowid {order}"  # noqa: S608 -- names of ours
            for row in old.execute(query):
                half.append(row)
        halves.append(half)
    by_rowid = {row[0]: row[1:] for half in halves for row in half}
    return (by_rowid[rowid] for rowid in sorted(by_rowid))


def _first(old: sqlite3.Connection, vault: Vault) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of a store of version 1, sealed."""
    outbox = _rows(old, "outbox", "lane, endpoint, msgid, room, kind, body, created")
    positions = _rows(old, "positions", "server, log, room, seq, chain")
    return {
        "pins": list(_rows(old, "pins", _PLAIN["pins"])),
        "logs": list(_rows(old, "logs", _PLAIN["logs"])),
        "outbox": [
            (lane, endpoint, msgid, sealed_item(vault, endpoint, Item(msgid, *rest)), created)
            for lane, endpoint, msgid, *rest, created in outbox
        ],
        "positions": [
            (position_tag(vault, server, log, room), server, seq, chain)
            for server, log, room, seq, chain in positions
        ],
        "ignored": [ignored_row(vault, name) for (name,) in _rows(old, "ignored", "name")],
    }
