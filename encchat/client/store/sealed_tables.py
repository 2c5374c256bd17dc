"""The tables of ``client.sqlite`` for sealed rooms, which ``records`` reads and writes."""

from __future__ import annotations

#: The step that makes the tables.
TABLES = """
    CREATE TABLE records (
        scope BLOB NOT NULL, kind TEXT NOT NULL, tag BLOB NOT NULL, id BLOB NOT NULL,
        generation INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (scope, kind, tag)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE said (
        room BLOB NOT NULL, seq INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (room, seq)
    ) STRICT
"""
