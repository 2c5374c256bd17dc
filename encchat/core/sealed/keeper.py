"""What a device must not forget, as records in a store, each encrypted under one key that is handed in.

A record is (kind, id, generation, bytes). The bytes are a version, a nonce and ChaCha20-Poly1305 over the
MessagePack of a struct, with kind, id and generation as associated data: a record that was changed, or put
in another one's place, is not read. The generation rises with each write.

``put`` and ``drop`` only note a change; ``flush`` encodes and writes all that was noted, at once. The vault
flushes before it lets anything out of a method: that is how state is durable before a byte is sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from encchat.errors import StorageError

_VERSION = b"\x01"
_NONCE = 12
#: Records that are kept decoded between two flushes, at most.
MAX_CACHED = 4096

_T = TypeVar("_T", bound=msgspec.Struct)


class StateUnreadable(StorageError):
    """The keys of this device cannot be read ({what}): {reason}. Sealed rooms need a new device."""

    code = "state-unreadable"


class Record(NamedTuple):
    """One thing that is kept. ``data`` is what the store keeps; None asks it to forget the record."""

    kind: str
    id: str
    generation: int
    data: bytes | None


class VaultStore(Protocol):
    """Where records are kept: small, synchronous, durable."""

    def get(self, kind: str, id: str) -> Record | None:
        """The record, or None."""

    def scan(self, kind: str, prefix: str) -> Iterable[Record]:
        """All records of a kind whose ids begin with ``prefix``, in the order of their ids."""

    def write(self, records: Sequence[Record]) -> None:
        """Put each record in the place of the one with its kind and id: all of them or none, and durable
        on return.

        :raises StorageError: nothing was written.
        """


class Keeper:
    """The records of one device, decoded. ``entropy(n)`` gives n random bytes."""

    def __init__(self, store: VaultStore, key: bytes, entropy: Callable[[int], bytes]) -> None:
        self._store = store
        self._aead = ChaCha20Poly1305(key)
        self._entropy = entropy
        #: The records by kind and id, each of the type that goes with its kind; None for what is not there.
        self._known: dict[tuple[str, str], Any] = {}
        self._generations: dict[tuple[str, str], int] = {}
        self._changed: dict[tuple[str, str], None] = {}

    def get(self, kind: str, id: str, type: type[_T]) -> _T | None:
        """The record as a struct of ``type``, or None.

        :raises StateUnreadable: it is there and cannot be read.
        """
        place = (kind, id)
        known: _T | None = self._known.get(place)
        if known is None and place not in self._known:
            record = self._store.get(kind, id)
            known = self._known[place] = None if record is None else self._read(record, type)
        return known

    def scan(self, kind: str, type: type[_T], prefix: str = "") -> Iterator[tuple[str, _T]]:
        """The ids and structs of all records of a kind whose ids begin with ``prefix``, in order. What
        cannot be read is left out.
        """
        ids = {record.id: record for record in self._store.scan(kind, prefix)}
        extra = [id for k, id in self._changed if k == kind and id.startswith(prefix)]
        for id in sorted({*ids, *extra}):
            if (kind, id) in self._known:
                value: _T | None = self._known[kind, id]
            else:
                try:
                    value = self._read(ids[id], type)
                except StateUnreadable:
                    continue
            if value is not None:
                yield id, value

    def put(self, kind: str, id: str, value: msgspec.Struct) -> None:
        """Keep ``value``, as it is when it is flushed."""
        self._known[kind, id] = value
        self._changed[kind, id] = None

    def add(self, kind: str, id: str, value: msgspec.Struct) -> None:
        """As ``put``, of what the store surely does not have: it is not asked."""
        self._generations.setdefault((kind, id), 0)
        self.put(kind, id, value)

    def drop(self, kind: str, id: str) -> None:
        """Forget the record."""
        self._known[kind, id] = None
        self._changed[kind, id] = None

    def flush(self) -> None:
        """Write what was changed, all of it or nothing.

        :raises StorageError: nothing was written; the changes stay noted for the next time.
        """
        if not self._changed:
            self._trim()
            return
        records = [self._seal(*place) for place in self._changed]
        self._store.write(records)
        for record in records:
            if record.data is None:
                self._generations.pop((record.kind, record.id), None)
            else:
                self._generations[record.kind, record.id] = record.generation
        self._changed.clear()
        self._trim()

    def _seal(self, kind: str, id: str) -> Record:
        place = (kind, id)
        known = self._generations.get(place)
        if known is None:
            before = self._store.get(kind, id)
            known = before.generation if before is not None else 0
        generation = known + 1
        value = self._known[place]
        if value is None:
            return Record(kind, id, generation, None)
        nonce = self._entropy(_NONCE)
        sealed = self._aead.encrypt(nonce, _encoder.encode(value), _place(kind, id, generation))
        return Record(kind, id, generation, _VERSION + nonce + sealed)

    def _read(self, record: Record, type: type[_T]) -> _T:
        data = record.data or b""
        what = f"{record.kind} {record.id}"
        if data[:1] != _VERSION:
            raise StateUnreadable(what=what, reason="another version of encchat wrote it")
        place = _place(record.kind, record.id, record.generation)
        try:
            plain = self._aead.decrypt(data[1 : 1 + _NONCE], data[1 + _NONCE :], place)
            value = msgspec.msgpack.decode(plain, type=type)
        except (InvalidTag, ValueError) as error:
            reason = (
                "it was changed, or the key is another one" if isinstance(error, InvalidTag) else str(error)
            )
            raise StateUnreadable(what=what, reason=reason) from None
        self._generations[record.kind, record.id] = record.generation
        return value

    def _trim(self) -> None:
        if len(self._known) < MAX_CACHED:
            return
        for place in list(self._known)[: MAX_CACHED // 2]:
            del self._known[place]


class MemoryStore:
    """Records in memory, for tests and for a device that is to be forgotten with the process."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], Record] = {}

    def get(self, kind: str, id: str) -> Record | None:
        """As ``VaultStore``."""
        return self.records.get((kind, id))

    def scan(self, kind: str, prefix: str) -> list[Record]:
        """As ``VaultStore``."""
        return [
            self.records[place]
            for place in sorted(self.records)
            if place[0] == kind and place[1].startswith(prefix)
        ]

    def write(self, records: Sequence[Record]) -> None:
        """As ``VaultStore``."""
        for record in records:
            if record.data is None:
                self.records.pop((record.kind, record.id), None)
            else:
                self.records[record.kind, record.id] = record


_encoder = msgspec.msgpack.Encoder()


def _place(kind: str, id: str, generation: int) -> bytes:
    return _encoder.encode((kind, id, generation))
