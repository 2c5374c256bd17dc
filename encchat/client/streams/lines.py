"""Lines in and out of a program: stdin and stdout without ever blocking the reactor.

A thread reads when it is asked to, another writes what it is given. So files, pipes, terminals and
/dev/null all work, no flag is changed that other processes share, and both sides have back-pressure.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Protocol

from twisted.internet.defer import Deferred

#: Bytes of one read, and bytes that wait to be written above which the writer is full.
CHUNK, FULL = 64 * 1024, 256 * 1024


class Threads(Protocol):
    """What is used of a reactor."""

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None: ...


class Reader:
    """Reads a file descriptor, a chunk each time that it is asked. ``b""`` is the end, or what a
    descriptor gives that cannot be read."""

    def __init__(self, reactor: Threads, handle: int) -> None:
        self._reactor = reactor
        self._handle = handle
        self._wanted: SimpleQueue[Deferred[bytes]] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def read(self) -> Deferred[bytes]:
        """The next chunk."""
        if self._thread is None:
            # A daemon: at the end of the program it may wait for a line that never comes.
            self._thread = threading.Thread(target=self._run, name="reader", daemon=True)
            self._thread.start()
        chunk: Deferred[bytes] = Deferred()
        self._wanted.put(chunk)
        return chunk

    def _run(self) -> None:
        data = b"-"
        while data:
            chunk = self._wanted.get()
            try:
                data = os.read(self._handle, CHUNK)
            except OSError:  # closed, a directory, or a terminal that went away
                data = b""
            self._reactor.callFromThread(chunk.callback, data)


class Writer:
    """Writes a file descriptor. ``full`` while more than FULL bytes wait; ``broken`` once nobody reads
    any more, after which everything is thrown away."""

    def __init__(self, reactor: Threads, handle: int, changed: Callable[[], None]) -> None:
        self._reactor = reactor
        self._handle = handle
        self._changed = changed
        self._queue: SimpleQueue[bytes | Callable[[], object]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._waiting = 0
        self.broken = False

    @property
    def full(self) -> bool:
        """Whether more should not be written now."""
        return self._waiting > FULL

    def write(self, data: bytes) -> None:
        """Write after what was written before."""
        self._waiting += len(data)
        self._put(data)

    def then(self, step: Callable[[], object]) -> None:
        """Run ``step`` on the reactor's thread once everything before it was written."""
        self._put(step)

    def written(self) -> Deferred[None]:
        """Fires once everything up to now was written, or thrown away."""
        done: Deferred[None] = Deferred()
        self.then(lambda: done.callback(None))
        return done

    def _put(self, part: bytes | Callable[[], object]) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
            self._thread.start()
        self._queue.put(part)

    def _run(self) -> None:
        broken = False
        while True:
            part = self._queue.get()
            if isinstance(part, bytes):
                broken = broken or not _write_all(self._handle, part)
                self._reactor.callFromThread(self._wrote, len(part), broken)
            else:
                self._reactor.callFromThread(part)

    def _wrote(self, size: int, broken: bool) -> None:
        self._waiting -= size
        self.broken = broken
        self._changed()


def _write_all(handle: int, data: bytes) -> bool:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(handle, view) :]
        except OSError:
            return False
    return True


class LineCutter:
    """Cuts a byte stream into lines without their ends, and a line above ``limit`` bytes into pieces.

    So it never holds more than ``limit`` bytes, whatever it is fed. A piece is cut between characters.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = b""
        self._piece = 0

    def feed(self, data: bytes) -> Iterator[tuple[bytes, int]]:
        """The lines that ``data`` completes, in order, each with 0; or of one that is too long its pieces,
        numbered from 1."""
        *lines, rest = (self._held + data).split(b"\n")
        for line in lines:
            yield from self._whole(line.removesuffix(b"\r"))
        while len(rest) > self._limit + 1:  # one more may be the CR of a line's end
            cut = _boundary(rest, self._limit)
            yield self._next_piece(rest[:cut])
            rest = rest[cut:]
        self._held = rest

    def end(self) -> Iterator[tuple[bytes, int]]:
        """What is left at the end of the stream, if anything."""
        held, self._held = self._held, b""
        if held:
            yield from self._whole(held.removesuffix(b"\r"))

    def _whole(self, line: bytes) -> Iterator[tuple[bytes, int]]:
        """A line that is complete, or the rest of one that has begun in pieces."""
        if not self._piece and len(line) <= self._limit:
            yield line, 0
        elif line:
            for piece in pieces(line, self._limit):
                yield self._next_piece(piece)
        self._piece = 0

    def _next_piece(self, piece: bytes) -> tuple[bytes, int]:
        self._piece += 1
        return piece, self._piece


def pieces(line: bytes, limit: int) -> Iterator[bytes]:
    """``line`` in pieces of at most ``limit`` bytes, cut between characters where it is UTF-8."""
    while len(line) > limit:
        cut = _boundary(line, limit)
        yield line[:cut]
        line = line[cut:]
    yield line


def _boundary(data: bytes, limit: int) -> int:
    """The last place up to ``limit`` where a character of UTF-8 begins; ``limit`` if there is none near."""
    for cut in range(limit, max(0, limit - 4), -1):
        if data[cut] & 0xC0 != 0x80:
            return cut
    return limit
