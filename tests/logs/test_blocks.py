"""Blocks: cutting joined frames, and filling a page."""

from __future__ import annotations

from struct import pack

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.interfaces import Damaged
from encchat.logs.blocks import BLOCK_SIZE, Block, Page, split
from encchat.messages import GENESIS, Position
from encchat.wire import advance

frames = st.lists(st.binary(max_size=40).map(lambda payload: pack(">I", len(payload)) + payload))


class SplitTests(SynchronousTestCase):
    """``split`` undoes the joining, and takes nothing that is not whole."""

    @given(frames)
    @settings(deadline=None)
    def test_what_was_joined(self, found: list[bytes]) -> None:
        self.assertEqual(split(b"".join(found)), found)

    @given(frames.filter(len), st.data())
    @settings(deadline=None)
    def test_what_was_cut_short(self, found: list[bytes], data: st.DataObject) -> None:
        cut = data.draw(st.integers(1, len(found[-1]) - 1))
        with self.assertRaises(Damaged) as caught:
            split(b"".join(found)[:-cut])
        self.assertIn("whole frames", str(caught.exception))


class BlockTests(SynchronousTestCase):
    """What a block takes, and the positions within it."""

    def test_fills_up_to_the_bound(self) -> None:
        block = Block(1, GENESIS, bytes(BLOCK_SIZE - 10))
        self.assertTrue(block.has_room_for(bytes(10)))
        self.assertFalse(block.has_room_for(bytes(11)))

    def test_positions(self) -> None:
        entries = [b"\0\0\0\1a", b"\0\0\0\1b"]
        start = Position(6, b"c" * 32)
        block = Block(7, start.chain, b"".join(entries))
        for count in range(3):
            self.assertEqual(block.position(entries, count), advance(start, entries[:count]))


class PageTests(SynchronousTestCase):
    """A page ends at its limit or its size, whichever comes first."""

    def test_limit(self) -> None:
        page = Page(3, 100)
        self.assertTrue(page.take([b"a", b"b"]))
        self.assertFalse(page.take([b"c", b"d"]))
        self.assertEqual(page.frames, [b"a", b"b", b"c"])

    def test_size(self) -> None:
        page = Page(100, 5)
        self.assertTrue(page.take([b"12", b"345"]))
        self.assertFalse(page.take([b"6"]))
        self.assertEqual(page.frames, [b"12", b"345"])

    def test_the_first_comes_in_any_case(self) -> None:
        page = Page(100, 1)
        self.assertFalse(page.take([b"large", b"s"]))
        self.assertEqual(page.frames, [b"large"])
