"""Frames come out of a stream whole, wherever it was cut, and a bad length ends it at once."""

from __future__ import annotations

from struct import pack
from typing import Any, SupportsIndex

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat import wire
from encchat.errors import PeerError
from encchat.messages import (
    MAX_PAYLOAD,
    MAX_PAYLOAD_BEFORE_ADMISSION,
    Ping,
)
from tests.frames import framed
from tests.strategies import cuts


class CountingHeld(bytearray):
    """What a splitter holds, counting the bytes that are copied out of it."""

    copied = 0

    def __bytes__(self) -> bytes:
        type(self).copied += len(self)
        return bytes(memoryview(self))

    def __getitem__(self, key: slice | SupportsIndex) -> Any:
        part = super().__getitem__(key)
        type(self).copied += len(part) if isinstance(part, bytearray) else 1
        return part


class Splitting(SynchronousTestCase):
    """Frames come out whole, wherever the segments were cut."""

    @given(
        st.lists(st.binary(min_size=1, max_size=300), max_size=8).map(lambda all_: [*map(framed, all_)]),
        st.data(),
    )
    def test_any_cuts(self, frames: list[bytes], data: st.DataObject) -> None:
        """Cut anywhere, even into single bytes, the stream holds the same frames."""
        splitter = wire.FrameSplitter()
        found = [frame for piece in data.draw(cuts(b"".join(frames))) for frame in splitter.feed(piece)]
        self.assertEqual(found, frames)
        self.assertFalse(splitter.partial)

    @given(st.binary(max_size=400), st.data())
    def test_any_bytes(self, stream: bytes, data: st.DataObject) -> None:
        """For any stream, cut or whole: the same frames before the same refusal, and bounded holding."""
        whole, cut = wire.FrameSplitter(100), wire.FrameSplitter(100)
        refused = False
        try:
            frames = whole.feed(stream)
        except PeerError:
            refused = True
        found = []
        try:
            for piece in data.draw(cuts(stream)):
                found += cut.feed(piece)
                self.assertLess(len(cut._held), 104)
        except PeerError:
            self.assertTrue(refused)
            return
        self.assertFalse(refused)
        self.assertEqual(found, frames)
        self.assertEqual(whole.partial, cut.partial)

    def test_partial(self) -> None:
        """A frame that has begun is told apart from silence between two."""
        splitter = wire.FrameSplitter()
        frame = wire.encode(Ping(1))
        self.assertFalse(splitter.partial)
        for end in range(1, len(frame)):
            self.assertEqual(splitter.feed(frame[end - 1 : end]), [])
            self.assertTrue(splitter.partial)
        self.assertEqual(splitter.feed(frame[-1:]), [frame])
        self.assertFalse(splitter.partial)

    def test_frames_and_a_piece(self) -> None:
        """What follows the last whole frame waits for the rest."""
        splitter = wire.FrameSplitter()
        first, second, third = (wire.encode(Ping(number)) for number in range(3))
        self.assertEqual(splitter.feed(first + second + third[:5]), [first, second])
        self.assertEqual(splitter.feed(third[5:] + first), [third, first])

    def test_length_judged_at_once(self) -> None:
        """Zero, one too many and 4 GiB are refused with the fourth byte: nothing is waited for."""
        for length in (0, MAX_PAYLOAD + 1, 2**31, 2**32 - 1):
            splitter = wire.FrameSplitter()
            prefix = pack(">I", length)
            for byte in prefix[:3]:
                self.assertEqual(splitter.feed(bytes([byte])), [])
            error = self.assertRaises(PeerError, splitter.feed, prefix[3:])
            self.assertIn(f"a frame of {length} bytes", str(error))
            self.assertRaises(PeerError, wire.FrameSplitter().feed, prefix + b"x" * 100)

    def test_bad_length_behind_good_frames(self) -> None:
        """The stream cannot be trusted any more, also not in the same segment."""
        good = wire.encode(Ping(1))
        self.assertRaises(PeerError, wire.FrameSplitter().feed, good + b"\xff\xff\xff\xff")
        splitter = wire.FrameSplitter()
        splitter.feed(good[:4])
        self.assertRaises(PeerError, splitter.feed, good[4:] + b"\x00\x00\x00\x00")

    def test_limits(self) -> None:
        """Each limit accepts a payload of just its size; admission raises it for what comes next."""
        splitter = wire.FrameSplitter(MAX_PAYLOAD_BEFORE_ADMISSION)
        small, large = framed(bytes(MAX_PAYLOAD_BEFORE_ADMISSION)), framed(bytes(MAX_PAYLOAD))
        self.assertEqual(splitter.feed(small), [small])
        splitter.limit = MAX_PAYLOAD
        self.assertEqual(splitter.feed(large), [large])
        strict = wire.FrameSplitter(MAX_PAYLOAD_BEFORE_ADMISSION)
        self.assertRaises(PeerError, strict.feed, framed(bytes(MAX_PAYLOAD_BEFORE_ADMISSION + 1))[:4])

    def test_a_byte_at_a_time_copies_once(self) -> None:
        """A 256 KiB frame in single bytes: what is held is copied when it is whole, not at each byte."""
        frame = framed(bytes(MAX_PAYLOAD))
        splitter = wire.FrameSplitter()
        splitter.feed(frame[:1])
        held = CountingHeld(splitter._held)
        splitter._held = held
        CountingHeld.copied = 0
        for place in range(1, len(frame) - 1):
            splitter.feed(frame[place : place + 1])
        self.assertIs(splitter._held, held, "it must grow in place")
        self.assertEqual(CountingHeld.copied, 0)
        self.assertEqual(splitter.feed(frame[-1:]), [frame])
        self.assertLessEqual(CountingHeld.copied, len(frame))

    def test_segment_is_not_kept(self) -> None:
        """Of a long segment only the unfinished frame is held, not the frames before it."""
        splitter = wire.FrameSplitter()
        splitter.feed(framed(bytes(1000)) * 500 + b"\x00")
        self.assertEqual(bytes(splitter._held), b"\x00")
