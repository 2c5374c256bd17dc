"""The records of hrsa1: a stream of bytes, cut into numbered, authenticated runs of OAEP blocks.

A record is u16 n ‖ n blocks of 256 bytes ‖ a tag of 32. Its plain text, a type byte and data, fills every
block but the last. The tag, checked first, ends what the network could do; the label of each block holds
the session, direction, record and place that it belongs to, and ends what a peer could do with a block
of somebody else under its own tag, as the server's record key serves several sessions.

:class:`Sealer` writes a direction, :class:`Opener` reads one. Neither decrypts: the opener hands out
batches for a thread.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from encchat.ciphers.rsa.failures import RecordRefused
from encchat.ciphers.rsa.primitives import CHUNK, RECORD_BYTES, Encrypt, decrypt, encrypt
from encchat.ciphers.rsa.schedule import PROFILE, SIZE, Schedule, mac

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

#: The most blocks of a record, and of a batch: 60 ms of a thread.
MAX_BLOCKS = 64

#: The most data that a record carries, in bytes: its first byte is the type.
MAX_DATA = MAX_BLOCKS * CHUNK - 1

DATA = 0x17
CLOSE = 0x15

_HEADER = 2

#: Blocks in a batch from which on a second thread helps.
SHARED = 4


class Sealer:
    """One direction, written: bytes in, records out."""

    def __init__(
        self, schedule: Schedule, direction: bytes, key: RSAPublicKey, encrypt: Encrypt = encrypt
    ) -> None:
        self._label = _label(schedule, direction)
        self._mac_key = schedule.derive(b"mac " + direction)
        self._key = key
        self._encrypt = encrypt
        self._sequence = 0
        self._pending = bytearray()
        self._closing = False
        self._closed = False

    def write(self, data: bytes) -> None:
        """Queue ``data``; it becomes records, as full as they can be, when they are taken."""
        if not self._closing:
            self._pending += data

    def finish(self) -> None:
        """Queue the closing record; what is written from here on is dropped."""
        self._closing = True

    def take(self) -> bytes:
        """The records for all that was queued; about 45 µs a block."""
        records = [
            self._seal(DATA, bytes(self._pending[start : start + MAX_DATA]))
            for start in range(0, len(self._pending), MAX_DATA)
        ]
        self._pending.clear()
        if self._closing and not self._closed:
            self._closed = True
            records.append(self._seal(CLOSE, b"\0"))
        return b"".join(records)

    def _seal(self, kind: int, data: bytes) -> bytes:
        plain = bytes([kind]) + data
        chunks = [plain[start : start + CHUNK] for start in range(0, len(plain), CHUNK)]
        sequence = self._sequence.to_bytes(8, "big")
        self._sequence += 1
        label = self._label + sequence
        blocks = [
            self._encrypt(self._key, chunk, label + place.to_bytes(2, "big"))
            for place, chunk in enumerate(chunks)
        ]
        record = len(blocks).to_bytes(_HEADER, "big") + b"".join(blocks)
        return record + mac(self._mac_key, sequence + record)


#: The blocks of some records, each with its label: what a thread decrypts.
Batch: TypeAlias = Sequence[Sequence[tuple[bytes, bytes]]]
#: Of each record, what its blocks held; None for one that is not what its label says.
Decrypted: TypeAlias = Sequence[Sequence[bytes | None]]


def decrypt_batch(key: RSAPrivateKey, batch: Batch) -> Decrypted:
    """Decrypt a batch, for about 1 ms a block; touches nothing else, so it may run in any thread. One that is
    worth it is shared with a thread of another core, if that one has time."""
    blocks = [sealed for record in batch for sealed in record]
    if len(blocks) < SHARED or (os.cpu_count() or 1) < 2:
        opened = _decrypt_all(key, blocks)
    else:
        half = len(blocks) // 2
        shared = _helpers().submit(_decrypt_all, key, blocks[half:])
        opened = _decrypt_all(key, blocks[:half])
        opened += _decrypt_all(key, blocks[half:]) if shared.cancel() else shared.result()
    rest = iter(opened)
    return [list(islice(rest, len(record))) for record in batch]


def _decrypt_all(key: RSAPrivateKey, blocks: Sequence[tuple[bytes, bytes]]) -> list[bytes | None]:
    return [decrypt(key, block, label) for block, label in blocks]


@cache
def _helpers() -> ThreadPoolExecutor:
    """As many threads as there are further cores."""
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor((os.cpu_count() or 1) - 1, "encchat-rsa")


@dataclass(frozen=True, slots=True)
class Plain:
    """The plain text of one record: data, or the peer's close."""

    data: bytes
    closes: bool = False


class Opener:
    """One direction, read: bytes in, batches out, decrypted batches in, plain text out."""

    def __init__(self, schedule: Schedule, direction: bytes) -> None:
        self._label = _label(schedule, direction)
        self._mac_key = schedule.derive(b"mac " + direction)
        self._buffer = bytearray()
        #: Records that were handed out in batches, and records that came back and were good.
        self._checked = 0
        self._opened = 0

    def __len__(self) -> int:
        """Bytes held."""
        return len(self._buffer)

    @property
    def sequence(self) -> int:
        """The number of the record that the bytes held begin with."""
        return self._checked

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self._buffer += data

    def next_batch(self) -> Batch:
        """The complete records that come next, their tags checked: all, or as many as have ``MAX_BLOCKS``
        blocks. A bad record ends the batch before it; when it is the first, it is refused.

        :raises RecordRefused: the next record cannot be believed.
        """
        batch: list[Sequence[tuple[bytes, bytes]]] = []
        start = total = 0
        try:
            while (blocks := self._blocks_at(start)) and total + blocks <= MAX_BLOCKS:
                end = start + _size(blocks)
                batch.append(self._check(bytes(self._buffer[start:end])))
                start, total = end, total + blocks
        except RecordRefused:
            if not batch:
                raise
        del self._buffer[:start]
        return batch

    def opened(self, record: Sequence[bytes | None]) -> Plain:
        """What the next record of a decrypted batch says.

        :raises RecordRefused: its blocks are not the sender's, or not cut as they must be.
        """
        stage = f"record {self._opened}"
        chunks = [chunk for chunk in record if chunk is not None]
        if len(chunks) != len(record):
            raise RecordRefused(stage=f"{stage} blocks", reason="it was made for another place")
        if any(len(chunk) != CHUNK for chunk in chunks[:-1]) or not chunks[-1]:
            raise RecordRefused(stage=f"{stage} chunking", reason="its blocks are not full")
        plain = b"".join(chunks)
        self._opened += 1
        if plain[0] == DATA:
            return Plain(plain[1:])
        if plain == bytes([CLOSE, 0]):
            return Plain(b"", closes=True)
        raise RecordRefused(stage=f"{stage} type", reason="its type is unknown")

    def _blocks_at(self, start: int) -> int:
        """Blocks of the record at ``start``; 0 while it is incomplete."""
        header = self._buffer[start : start + _HEADER]
        if len(header) < _HEADER:
            return 0
        blocks = int.from_bytes(header, "big")
        if not 1 <= blocks <= MAX_BLOCKS:
            raise RecordRefused(
                stage=f"record {self._checked} size", reason=f"it has {blocks} blocks, not 1 to {MAX_BLOCKS}"
            )
        return blocks if len(self._buffer) - start >= _size(blocks) else 0

    def _check(self, record: bytes) -> Sequence[tuple[bytes, bytes]]:
        """The blocks of an authentic record, each with its label."""
        sequence = self._checked.to_bytes(8, "big")
        if not hmac.compare_digest(record[-SIZE:], mac(self._mac_key, sequence + record[:-SIZE])):
            raise RecordRefused(stage=f"record {self._checked} tag", reason="it is not authentic")
        self._checked += 1
        label = self._label + sequence
        starts = range(_HEADER, len(record) - SIZE, RECORD_BYTES)
        return [
            (record[start : start + RECORD_BYTES], label + place.to_bytes(2, "big"))
            for place, start in enumerate(starts)
        ]


def _size(blocks: int) -> int:
    """Bytes of a record with so many blocks."""
    return _HEADER + blocks * RECORD_BYTES + SIZE


def _label(schedule: Schedule, direction: bytes) -> bytes:
    return PROFILE + b"rec " + direction + schedule.th3
