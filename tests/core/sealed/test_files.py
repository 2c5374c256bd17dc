"""Files: whole, in order, or not at all."""

from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed.files import (
    MAGIC,
    PIECE,
    TAG,
    BadFile,
    FileOpener,
    FileSealer,
    key_bytes,
    key_text,
    sealed_size,
)

KEY = bytes(range(32))


def seal(data: bytes, key: bytes = KEY) -> bytes:
    """A file at once."""
    sealer = FileSealer(key)
    return sealer.update(data) + sealer.finish()


def open_(data: bytes, key: bytes = KEY) -> bytes:
    """A file at once."""
    opener = FileOpener(key)
    return opener.update(data) + opener.finish()


class Files(SynchronousTestCase):
    """The STREAM construction."""

    def setUp(self) -> None:
        self.data = random.Random(1).randbytes(3 * PIECE + 100)
        self.sealed = seal(self.data)

    def test_sizes(self) -> None:
        """Of any size around the pieces' bounds; the sealed size is known beforehand."""
        for size in (0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE, 3 * PIECE + 5):
            data = bytes(size)
            sealed = seal(data)
            self.assertEqual(len(sealed), sealed_size(size))
            self.assertEqual(open_(sealed), data)

    @given(st.lists(st.integers(0, 2 * PIECE), max_size=6), st.integers(1, 3 * PIECE))
    def test_any_pieces(self, sizes: list[int], step: int) -> None:
        """However it is cut on its way in and out; and what is held stays within one piece."""
        sealer, opener = FileSealer(KEY), FileOpener(KEY)
        parts = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
        sealed = b"".join([*(sealer.update(part) for part in parts), sealer.finish()])
        opened = []
        for start in range(0, len(sealed), step):
            opened.append(opener.update(sealed[start : start + step]))
            self.assertLessEqual(len(opener._held), PIECE + TAG)
        self.assertEqual(b"".join([*opened, opener.finish()]), b"".join(parts))

    def test_changed(self) -> None:
        """A byte changed, pieces left out, exchanged, repeated, added, or cut off at the end."""
        step, start = PIECE + TAG, len(MAGIC)
        pieces = [self.sealed[at : at + step] for at in range(start, len(self.sealed), step)]
        head = self.sealed[:start]
        wrong = [
            self.sealed[:at] + bytes([self.sealed[at] ^ 1]) + self.sealed[at + 1 :]
            for at in range(0, len(self.sealed), 9973)
        ]
        for order in ((0, 1, 2), (1, 0, 2, 3), (0, 0, 1, 2, 3), (0, 2, 3), (0, 1, 2, 3, 3), (3,), ()):
            wrong.append(head + b"".join(pieces[number] for number in order))
        wrong += [self.sealed[:-1], self.sealed + b"x", self.sealed[: start - 1], b""]
        for data in wrong:
            with self.assertRaises(BadFile):
                open_(data)

    def test_other_key(self) -> None:
        """Another key opens nothing."""
        with self.assertRaises(BadFile):
            open_(self.sealed, bytes(32))

    def test_key_in_an_entry(self) -> None:
        """The key as the entry carries it, in one form only."""
        self.assertEqual(key_bytes(key_text(KEY)), KEY)
        for text in (
            "",
            "x",
            key_text(KEY) + "=",
            key_text(KEY)[:-1],
            "ä" * 43,
            " " + key_text(KEY),
            "A" * 44,
        ):
            with self.assertRaises(BadFile):
                key_bytes(text)
