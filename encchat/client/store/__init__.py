"""What a client remembers between runs, in its profile's directory.

``main`` (client.sqlite): what nothing could bring back; ``history`` (history.sqlite): the entries that were
seen, a cache of the server's log. Both are sealed under one key (``vault``), which is in the system's
keyring or in a file (``key``). ``database`` opens, upgrades and sets aside; ``salvage`` saves what can be
read of a damaged store. What that protects and what not is said in docs/client-store.md.

Two clients of one profile may use the store at once; the outbox is divided into lanes (``lanes``), so that
neither sends the other's.
"""

from encchat.client.store.bounds import Bounds
from encchat.client.store.database import StoreFailed, StoreTooNew, StoreUnusable
from encchat.client.store.history import Archive, Looked, Place
from encchat.client.store.main import FILE, Met, Pin, Store

__all__ = [
    "FILE",
    "Archive",
    "Bounds",
    "Looked",
    "Met",
    "Pin",
    "Place",
    "Store",
    "StoreFailed",
    "StoreTooNew",
    "StoreUnusable",
]
