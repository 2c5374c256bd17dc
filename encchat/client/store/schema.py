"""The tables of ``client.sqlite``, and the way to them from older versions.

What says what was typed, to whom it was, or who is ignored is sealed; what is looked up by name is kept
under a tag. In the clear are: the addresses and keys of servers, settings, and numbers and times.
"""

from __future__ import annotations

import sqlite3

import msgspec

from encchat.client.protocol.outbox import Item
from encchat.client.store.sealed_tables import TABLES as SEALED_ROOMS
from encchat.client.store.uploads import TABLE as UPLOADS
from encchat.client.store.vault import Vault

#: Version 1 kept everything in the clear.
FIRST = """
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
    CREATE TABLE ignored (name TEXT NOT NULL PRIMARY KEY) STRICT
"""

_SEALED = """
    CREATE TABLE meta (name TEXT NOT NULL PRIMARY KEY, value BLOB NOT NULL) STRICT;
    CREATE TABLE settings (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT;
    CREATE TABLE met (endpoint TEXT NOT NULL PRIMARY KEY, server TEXT NOT NULL, log BLOB NOT NULL) STRICT;
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, lane INTEGER NOT NULL, endpoint TEXT NOT NULL,
        msgid BLOB NOT NULL UNIQUE, sealed BLOB NOT NULL, created INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE positions (
        tag BLOB NOT NULL PRIMARY KEY, server TEXT NOT NULL, seq INTEGER NOT NULL, chain BLOB NOT NULL
    ) STRICT;
    CREATE TABLE ignored (tag BLOB NOT NULL PRIMARY KEY, sealed BLOB NOT NULL) STRICT
"""


def sealed_item(vault: Vault, endpoint: str, item: Item) -> bytes:
    """What the outbox keeps of an item."""
    data = msgspec.msgpack.encode((item.room, item.kind, item.body))
    return vault.seal(data, "outbox", endpoint, item.msgid)


def opened_item(vault: Vault, endpoint: str, msgid: bytes, sealed: bytes) -> Item:
    """The item that a row of the outbox keeps.

    :raises Unreadable: the row was altered.
    """
    data = vault.open(sealed, "outbox", endpoint, msgid)
    room, kind, body = msgspec.msgpack.decode(data, type=tuple[str, str, bytes])
    return Item(msgid, room, kind, body)


def position_tag(vault: Vault, server: str, log: bytes, room: str) -> bytes:
    """What a room's position is kept under."""
    return vault.tag("position", server, log, room)


def seal_everything(database: sqlite3.Connection, vault: Vault) -> None:
    """From version 1 to 2: the outbox, the rooms and the ignored are sealed."""
    outbox = database.execute(
        "SELECT number, lane, endpoint, msgid, room, kind, body, created FROM outbox"
    ).fetchall()
    positions = database.execute("SELECT server, log, room, seq, chain FROM positions").fetchall()
    ignored = database.execute("SELECT name FROM ignored").fetchall()
    for table in ("outbox", "positions", "ignored"):
        database.execute(f"DROP TABLE {table}")
    for statement in _SEALED.split(";"):
        database.execute(statement)
    database.executemany(
        "INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?)",
        [
            (number, lane, endpoint, msgid, sealed_item(vault, endpoint, Item(msgid, *rest)), created)
            for number, lane, endpoint, msgid, *rest, created in outbox
        ],
    )
    database.executemany(
        "INSERT INTO positions VALUES (?, ?, ?, ?)",
        [(position_tag(vault, server, log, room), server, seq, c) for server, log, room, seq, c in positions],
    )
    database.executemany(
        "INSERT INTO ignored VALUES (?, ?)", [ignored_row(vault, name) for (name,) in ignored]
    )


def ignored_row(vault: Vault, name: str) -> tuple[bytes, bytes]:
    """What is kept of somebody who is ignored."""
    tag = vault.tag("ignored", name)
    return tag, vault.seal(name.encode("utf-8", "surrogatepass"), "ignored", tag)


#: The step from each schema version to the next; the first makes a new file.
STEPS = (FIRST, seal_everything, UPLOADS, SEALED_ROOMS)
