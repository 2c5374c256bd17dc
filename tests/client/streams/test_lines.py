"""Lines: cut, read and written without blocking anybody."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import TestCase

from encchat.client.streams.lines import CHUNK, FULL, LineCutter, Reader, Writer, pieces


def cut(chunks: list[bytes], limit: int = 100) -> list[tuple[bytes, int]]:
    cutter = LineCutter(limit)
    found = [part for chunk in chunks for part in cutter.feed(chunk)]
    return [*found, *cutter.end()]


class Cutting(TestCase):
    def test_lines_and_their_ends(self) -> None:
        self.assertEqual(cut([b"a\nb\r\n\nc"]), [(b"a", 0), (b"b", 0), (b"", 0), (b"c", 0)])

    def test_a_line_in_many_chunks(self) -> None:
        self.assertEqual(cut([b"a", b"b", b"\r", b"\n"]), [(b"ab", 0)])

    def test_nothing(self) -> None:
        self.assertEqual(cut([]), [])
        self.assertEqual(cut([b""]), [])

    def test_a_long_line_comes_in_numbered_pieces(self) -> None:
        self.assertEqual(cut([b"abcdefgh\nx\n"], 3), [(b"abc", 1), (b"def", 2), (b"gh", 3), (b"x", 0)])

    def test_a_line_without_an_end_is_not_held(self) -> None:
        cutter = LineCutter(10)
        found = []
        for _ in range(100):
            found += cutter.feed(b"x" * 7)
            self.assertLessEqual(len(cutter._held), 11)
        self.assertEqual([number for _, number in found], list(range(1, len(found) + 1)))

    def test_the_limit_itself_is_one_line(self) -> None:
        self.assertEqual(cut([b"abc\r\n"], 3), [(b"abc", 0)])
        self.assertEqual(cut([b"abc", b"\n", b"def"], 3), [(b"abc", 0), (b"def", 0)])

    def test_after_pieces_an_end_is_no_empty_line(self) -> None:
        self.assertEqual(cut([b"abcdef", b"\n", b"\n"], 3), [(b"abc", 1), (b"def", 2), (b"", 0)])

    def test_characters_stay_whole(self) -> None:
        self.assertEqual(list(pieces("ä€😀".encode(), 4)), ["ä".encode(), "€".encode(), "😀".encode()])

    def test_what_is_no_utf8_is_cut_all_the_same(self) -> None:
        self.assertEqual(list(pieces(b"\x80" * 9, 4)), [b"\x80" * 4, b"\x80" * 4, b"\x80"])

    @settings(max_examples=200, deadline=None)
    @given(
        st.text(st.sampled_from("ab\r\n\n€😀"), max_size=80),
        st.integers(4, 20),
        st.lists(st.integers(1, 30), max_size=20),
    )
    def test_nothing_is_lost_and_nothing_too_long(self, text: str, limit: int, cuts: list[int]) -> None:
        data = text.encode("utf-8", "replace")
        chunks = []
        rest = data
        for size in cuts:
            chunks.append(rest[:size])
            rest = rest[size:]
        found = cut([*chunks, rest], limit)
        for part, _ in found:
            self.assertLessEqual(len(part), limit)
            part.decode("utf-8")
        self.assertEqual(
            b"".join(part for part, _ in found),
            b"".join(_lines(data)),
        )


def _lines(data: bytes) -> list[bytes]:
    *whole, rest = data.split(b"\n")
    return [line.removesuffix(b"\r") for line in whole] + [rest.removesuffix(b"\r")]


class Threads(TestCase):
    def pipe(self) -> tuple[int, int]:
        out, into = os.pipe()
        self.handles = {out, into}
        self.addCleanup(lambda: [os.close(handle) for handle in self.handles])
        return out, into

    def close(self, handle: int) -> None:
        self.handles.discard(handle)
        os.close(handle)

    def file(self, path: str) -> int:
        handle = os.open(path, os.O_RDONLY)
        self.addCleanup(os.close, handle)
        return handle

    async def read_all(self, handle: int) -> bytes:
        reader = Reader(reactor, handle)
        data = b""
        while chunk := await reader.read():
            self.assertLessEqual(len(chunk), CHUNK)
            data += chunk
        return data

    async def test_a_pipe(self) -> None:
        out, into = self.pipe()
        os.write(into, b"hello\n")
        reader = Reader(reactor, out)
        self.assertEqual(await reader.read(), b"hello\n")
        later = reader.read()
        os.write(into, b"again")
        self.assertEqual(await later, b"again")
        self.close(into)
        self.assertEqual(await reader.read(), b"")

    async def test_a_file(self) -> None:
        path = self.mktemp()
        content = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(content, b"x" * (3 * CHUNK + 1))
        os.close(content)
        self.assertEqual(len(await self.read_all(self.file(path))), 3 * CHUNK + 1)

    async def test_nothing_and_what_cannot_be_read(self) -> None:
        for path in (os.devnull, "/"):
            self.assertEqual(await self.read_all(self.file(path)), b"")

    def test_it_reads_no_further_than_it_is_asked(self) -> None:
        out, into = self.pipe()
        Reader(reactor, out)
        os.write(into, b"hello")
        os.set_blocking(out, False)
        self.assertEqual(os.read(out, 10), b"hello")

    async def test_writing(self) -> None:
        out, into = self.pipe()
        order: list[str] = []
        writer = Writer(reactor, into, lambda: order.append("changed"))
        writer.write(b"one ")
        writer.then(lambda: order.append("one"))
        writer.write(b"two")
        await writer.written()
        self.assertEqual(order, ["changed", "one", "changed"])
        self.assertEqual(os.read(out, 100), b"one two")
        self.assertFalse(writer.full)
        self.assertFalse(writer.broken)

    async def test_a_slow_reader_fills_it(self) -> None:
        out, into = self.pipe()
        emptied: Deferred[None] = Deferred()

        def changed() -> None:
            if not writer.full and not emptied.called:
                emptied.callback(None)

        writer = Writer(reactor, into, changed)
        writer.write(b"x" * (FULL + 1))
        self.assertTrue(writer.full)
        data = self.read_all(out)
        reading = Deferred.fromCoroutine(data)
        await emptied
        self.close(into)
        self.assertEqual(len(await reading), FULL + 1)

    async def test_nobody_reads(self) -> None:
        out, into = self.pipe()
        self.close(out)
        writer = Writer(reactor, into, lambda: None)
        writer.write(b"x")
        await writer.written()
        self.assertTrue(writer.broken)
        writer.write(b"y")
        await writer.written()
        self.assertFalse(writer.full)
