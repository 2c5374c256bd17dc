"""The record layer by itself: what is packed how, and every record that must be refused."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from encchat.ciphers.rsa.failures import RecordRefused
from encchat.ciphers.rsa.primitives import CHUNK, encrypt, public_key
from encchat.ciphers.rsa.records import (
    CLOSE,
    DATA,
    MAX_BLOCKS,
    MAX_DATA,
    Opener,
    Plain,
    Sealer,
    decrypt_batch,
)
from encchat.ciphers.rsa.schedule import PROFILE, TO_CLIENT, TO_SERVER, Schedule, mac
from tests.ciphers.rsa import rig

SESSION = rig.schedule()
OTHER_SESSION = Schedule(bytes(32), bytes(32), bytes(32))


def sealer(session: Schedule = SESSION, direction: bytes = TO_SERVER) -> Sealer:
    return Sealer(session, direction, rig.E_S.public_key())


def seal(out: Sealer, data: bytes) -> bytes:
    out.write(data)
    return out.take()


def drain(opener: Opener, data: bytes) -> list[Plain]:
    opener.feed(data)
    told = []
    while batch := opener.next_batch():
        told += [opener.opened(record) for record in decrypt_batch(rig.E_S, batch)]
    return told


def forge(blocks: list[tuple[bytes, bytes]], sequence: int = 0, session: Schedule = SESSION) -> bytes:
    """A record with a valid tag, of blocks that were made of (chunk, label)."""
    made = b"".join(encrypt(rig.E_S.public_key(), chunk, label) for chunk, label in blocks)
    return tagged(len(blocks), made, sequence, session)


def tagged(count: int, blocks: bytes, sequence: int = 0, session: Schedule = SESSION) -> bytes:
    record = count.to_bytes(2, "big") + blocks
    return record + mac(session.derive(b"mac c2s"), sequence.to_bytes(8, "big") + record)


def label(place: int, sequence: int = 0, session: Schedule = SESSION, direction: bytes = TO_SERVER) -> bytes:
    where = sequence.to_bytes(8, "big") + place.to_bytes(2, "big")
    return PROFILE + b"rec " + direction + session.th3 + where


class Packing(TestCase):
    """Records are as full as they can be."""

    def test_published_records(self) -> None:
        seeds = [rig.seed(name) for name in ("seed r0", "seed r1.0", "seed r1.1", "seed r2")]
        out = Sealer(SESSION, TO_SERVER, rig.E_S.public_key(), rig.seeded(*seeds))
        records = [seal(out, rig.MESSAGE), seal(out, b"x" * 200)]
        out.finish()
        self.assertEqual([*records, out.take()], rig.RECORDS)
        told = drain(Opener(SESSION, TO_SERVER), b"".join(records) + rig.RECORDS[2])
        self.assertEqual(told, [Plain(rig.MESSAGE), Plain(b"x" * 200), Plain(b"", closes=True)])

    def test_sizes_at_the_edges(self) -> None:
        for size, blocks in ((1, 1), (CHUNK - 1, 1), (CHUNK, 2), (2 * CHUNK - 1, 2), (2 * CHUNK, 3)):
            self.assertEqual(len(seal(sealer(), b"x" * size)), 2 + blocks * 256 + 32)

    def test_what_fills_more_than_a_record(self) -> None:
        whole = bytes(range(256)) * 48
        self.assertGreater(len(whole), MAX_DATA)
        sealed = seal(sealer(), whole)
        self.assertEqual(sealed[:2], MAX_BLOCKS.to_bytes(2, "big"))
        told = drain(Opener(SESSION, TO_SERVER), sealed)
        self.assertEqual([len(plain.data) for plain in told], [MAX_DATA, len(whole) - MAX_DATA])
        self.assertEqual(b"".join(plain.data for plain in told), whole)

    def test_nothing_is_no_record(self) -> None:
        self.assertEqual(seal(sealer(), b""), b"")

    def test_towards_a_number_that_is_nobodys_key(self) -> None:
        for number in ((1 << 2047) | 1, (1 << 2048) - 1):
            key = public_key(number.to_bytes(256, "big"), 2048)
            self.assertEqual(len(seal(Sealer(SESSION, TO_CLIENT, key), b"x")), 2 + 256 + 32)

    def test_a_batch_is_bounded_in_blocks(self) -> None:
        out, opener = sealer(), Opener(SESSION, TO_SERVER)
        for size in (MAX_DATA, 1, MAX_DATA - CHUNK, 1):
            opener.feed(seal(out, b"x" * size))
        batches = []
        while batch := opener.next_batch():
            batches.append([len(record) for record in batch])
        self.assertEqual(batches, [[64], [1, 63], [1]])

    @settings(max_examples=25, deadline=None)
    @given(
        st.lists(st.binary(min_size=1, max_size=450), max_size=4), st.lists(st.integers(0, 4000), max_size=6)
    )
    def test_any_writes_in_any_pieces(self, writes: list[bytes], places: list[int]) -> None:
        out, opener = sealer(), Opener(SESSION, TO_SERVER)
        stream = b"".join(seal(out, data) for data in writes)
        told = [plain.data for piece in rig.cut(stream, places) for plain in drain(opener, piece)]
        self.assertEqual(told, writes)
        self.assertEqual(len(opener), 0)


class Refusals(TestCase):
    """Whatever is not the next record of this direction of this session."""

    def refused(self, stage: str, *stream: bytes) -> None:
        opener = Opener(SESSION, TO_SERVER)
        for record in stream[:-1]:
            drain(opener, record)
        error = self.assertRaises(RecordRefused, drain, opener, stream[-1])
        self.assertEqual(error.facts["stage"], stage)

    def test_replayed(self) -> None:
        record = seal(sealer(), b"pay 1")
        self.refused("record 1 tag", record, record)

    def test_reordered(self) -> None:
        out = sealer()
        _, second = seal(out, b"one"), seal(out, b"two")
        self.refused("record 0 tag", second)

    def test_dropped(self) -> None:
        out = sealer()
        first, _, third = (seal(out, data) for data in (b"one", b"two", b"three"))
        self.refused("record 1 tag", first, third)

    def test_reflected(self) -> None:
        # Even to a peer with our own record key, what we say is not what it says.
        self.refused("record 0 tag", seal(sealer(direction=TO_CLIENT), b"hello"))

    def test_of_another_session(self) -> None:
        self.refused("record 0 tag", seal(sealer(OTHER_SESSION), b"hello"))

    def test_any_byte_altered(self) -> None:
        record = seal(sealer(), b"x" * 200)
        for place in range(len(record)):
            altered = bytearray(record)
            altered[place] ^= 1 << place % 8
            opener = Opener(SESSION, TO_SERVER)
            opener.feed(bytes(altered))
            try:
                self.assertEqual(opener.next_batch(), [])  # it now claims to be longer
                self.assertLess(place, 2)
            except RecordRefused as error:
                self.assertIn(error.facts["stage"], ("record 0 tag", "record 0 size"))

    def test_truncated_anywhere(self) -> None:
        record = seal(sealer(), b"x" * 200)
        for size in range(len(record)):
            opener = Opener(SESSION, TO_SERVER)
            opener.feed(record[:size])
            self.assertEqual(opener.next_batch(), [])
            self.assertEqual(len(opener), size)

    def test_no_blocks_and_too_many(self) -> None:
        self.refused("record 0 size", b"\0\0")
        self.refused("record 0 size", (MAX_BLOCKS + 1).to_bytes(2, "big"))
        self.refused("record 0 size", b"\xff\xff")

    def test_the_size_is_judged_before_the_rest_has_come(self) -> None:
        opener = Opener(SESSION, TO_SERVER)
        opener.feed(b"\xff")
        self.assertEqual(opener.next_batch(), [])
        opener.feed(b"\xff")
        self.assertRaises(RecordRefused, opener.next_batch)

    def test_a_good_record_is_told_before_a_bad_one_is_refused(self) -> None:
        opener = Opener(SESSION, TO_SERVER)
        opener.feed(seal(sealer(), b"good") + seal(sealer(), b"a replay of number 0"))
        batch = opener.next_batch()
        self.assertEqual(len(batch), 1)
        (record,) = decrypt_batch(rig.E_S, batch)
        self.assertEqual(opener.opened(record), Plain(b"good"))
        self.assertRaises(RecordRefused, opener.next_batch)

    def test_a_block_that_an_insider_transplants(self) -> None:
        # Mallory has a session of her own with the server, and Alice's blocks from the wire. E_S is the
        # same for both; the tag is Mallory's own and good; the label still says whose block it is.
        alices = seal(sealer(OTHER_SESSION), b"my secret")
        self.refused("record 0 blocks", tagged(1, alices[2:-32]))

    def test_blocks_of_another_place(self) -> None:
        for wrong in (
            label(1),
            label(0, sequence=1),
            label(0, direction=TO_CLIENT),
            label(0, session=OTHER_SESSION),
            b"",
        ):
            self.refused("record 0 blocks", forge([(b"\x17x", wrong)]))

    def test_exchanged_blocks(self) -> None:
        self.refused("record 0 blocks", forge([(b"\x17" + b"x" * 189, label(1)), (b"x" * 190, label(0))]))

    def test_blocks_that_are_no_oaep(self) -> None:
        for block in (bytes(256), b"\xff" * 256, (1).to_bytes(256, "big")):
            self.refused("record 0 blocks", tagged(1, block))

    def test_the_second_of_two_blocks(self) -> None:
        self.refused("record 0 blocks", forge([(b"\x17" + b"x" * 189, label(0)), (b"x", label(0))]))

    def test_a_block_that_is_not_full(self) -> None:
        self.refused("record 0 chunking", forge([(b"\x17" + b"x" * 188, label(0)), (b"x", label(1))]))

    def test_a_last_block_that_is_empty(self) -> None:
        self.refused("record 0 chunking", forge([(b"\x17" + b"x" * 189, label(0)), (b"", label(1))]))
        self.refused("record 0 chunking", forge([(b"", label(0))]))

    def test_types_that_do_not_exist(self) -> None:
        for kind in sorted(set(range(256)) - {DATA, CLOSE})[::17]:
            self.refused("record 0 type", forge([(bytes([kind]) + b"x", label(0))]))

    def test_a_close_that_says_something(self) -> None:
        for plain in (b"\x15", b"\x15\1", b"\x15\0\0"):
            self.refused("record 0 type", forge([(plain, label(0))]))

    def test_a_batch_for_two_threads(self) -> None:
        """Whoever decrypts a half of it, each block is in its place; also when the other thread is busy."""
        import encchat.ciphers.rsa.records as records

        self.patch(records.os, "cpu_count", lambda: 2)
        texts = [b"a" * 400, b"b", b"c" * 1000, b"d" * 200]
        for busy in (False, True):
            source, opener = sealer(), Opener(SESSION, TO_SERVER)
            opener.feed(b"".join(seal(source, text) for text in texts))
            done = threading.Event()
            if busy:
                occupied = [records._helpers().submit(done.wait) for _ in range(os.cpu_count() or 1)]
            found = decrypt_batch(rig.E_S, opener.next_batch())
            done.set()
            self.assertEqual([opener.opened(record).data for record in found], texts)
        for one in occupied:
            one.result()

    def test_a_fault_of_the_library_is_the_same_refusal(self) -> None:
        class Broken:
            def decrypt(self, block: bytes, padding: object) -> bytes:
                raise ValueError("some detail that nobody may see")

        opener = Opener(SESSION, TO_SERVER)
        opener.feed(seal(sealer(), b"x"))
        (record,) = decrypt_batch(cast(Any, Broken()), opener.next_batch())
        error = self.assertRaises(RecordRefused, opener.opened, record)
        self.assertNotIn("detail", str(error))
        self.assertIsNone(error.__context__)

    def test_tags_are_compared_in_constant_time(self) -> None:
        import encchat.ciphers.rsa.records as records

        compared: list[tuple[bytes, bytes]] = []
        real: Callable[[bytes, bytes], bool] = records.hmac.compare_digest

        def watched(left: bytes, right: bytes) -> bool:
            compared.append((left, right))
            return real(left, right)

        self.patch(records.hmac, "compare_digest", watched)
        record = seal(sealer(), b"x")
        drain(Opener(SESSION, TO_SERVER), record)
        self.assertEqual(compared, [(record[-32:], record[-32:])])
