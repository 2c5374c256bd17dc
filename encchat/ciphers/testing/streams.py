"""The contract: what is written arrives, whole, in order, and as fast as the reader takes it."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any, cast

from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPullProducer, IPushProducer
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from zope.interface import implementer

from encchat.ciphers.interfaces import ISecureTransport
from encchat.ciphers.testing.harness import Harness, Recorder, Session, in_pieces
from encchat.ciphers.testing.link import READ_SIZE

#: Bytes that a producer of the tests writes at a time, and in all.
CHUNK = 8192
TOTAL = 40 * CHUNK

MARK = b"ATTACK AT DAWN, NOT AT NOON"


def noise(size: int) -> bytes:
    """``size`` bytes that look random and are the same every time."""
    return Random(size).randbytes(size)  # noqa: S311 -- test data


@implementer(IPushProducer)
class Pusher:
    """Writes ``data`` in chunks whenever it may, then closes."""

    def __init__(self, transport: ISecureTransport, data: bytes) -> None:
        self.transport = transport
        self.data = data
        self.written = 0
        self.running = False
        self.pauses = 0
        self.stopped = False

    def resumeProducing(self) -> None:
        """Write until paused."""
        self.running = True
        while self.running and self.written < len(self.data):
            chunk = self.data[self.written : self.written + CHUNK]
            self.written += len(chunk)
            self.transport.write(chunk)
        if self.running:
            self.running = False
            self.transport.unregisterProducer()

    def pauseProducing(self) -> None:
        """Write no more for now."""
        self.pauses += 1
        self.running = False

    def stopProducing(self) -> None:
        """Nobody listens any more."""
        self.running = False
        self.stopped = True


@implementer(IPullProducer)
class Pulled:
    """Writes one chunk each time it is asked."""

    def __init__(self, transport: ISecureTransport, data: bytes) -> None:
        self.transport = transport
        self.data = data
        self.written = 0
        self.stopped = False

    def resumeProducing(self) -> None:
        """Write a chunk, and say so when it was the last."""
        chunk = self.data[self.written : self.written + CHUNK]
        self.written += len(chunk)
        self.transport.write(chunk)
        if self.written == len(self.data):
            self.transport.unregisterProducer()

    def stopProducing(self) -> None:
        """Nobody listens any more."""
        self.stopped = True


class Pausing(Recorder):
    """Stops reading as soon as the connection is secure."""

    def secure(self) -> None:
        self.secure_transport.pauseProducing()


class StreamContract(Harness):
    """Bytes both ways."""

    def test_sizes(self) -> None:
        """One write of any size arrives as it was, both ways at once."""
        for size in self.sizes:
            session = self.secured()
            data = noise(size)
            for recorder in session.recorders:
                recorder.secure_transport.write(data)
            self.flush(session)
            for recorder in session.recorders:
                self.assertEqual(len(recorder.received), size)
                self.assertEqual(recorder.received, data)

    def test_one_stream(self) -> None:
        """write and writeSequence are one stream in the order of the calls."""
        session = self.secured()
        for recorder in session.recorders:
            transport = recorder.secure_transport
            transport.write(b"one ")
            transport.writeSequence([b"two ", b"", b"three "])
            transport.writeSequence([])
            transport.write(b"")
            transport.writeSequence(iter([b"four ", b"five "]))
            transport.write(b"six")
        self.flush(session)
        for recorder in session.recorders:
            self.assertEqual(recorder.received, b"one two three four five six")

    def test_any_segments_of_the_stream(self) -> None:
        """However the raw stream is cut, the same bytes come out."""

        def attempt(up: list[bytes], down: list[bytes], cuts: list[int], others: list[int]) -> None:
            session = self.secured()
            in_pieces(session.link.client, cuts)
            in_pieces(session.link.server, others)
            for data in up:
                session.client.secure_transport.write(data)
            for data in down:
                session.server.secure_transport.write(data)
            self.flush(session)
            self.assertEqual(session.server.received, b"".join(up))
            self.assertEqual(session.client.received, b"".join(down))

        said = st.lists(st.binary(max_size=700), max_size=6)
        cuts = st.lists(st.one_of(st.integers(1, 5), st.integers(1, 1000)), max_size=100)
        self.check(attempt, up=said, down=said, cuts=cuts, others=cuts)

    def test_back_and_forth(self) -> None:
        """Answers written within dataReceived arrive, many times over."""

        class Counting(Recorder):
            def got(self, data: bytes) -> None:
                if len(self.received) < 60:
                    self.secure_transport.write(data + b"x")

        session = self.secured(Counting(), Counting())
        session.client.secure_transport.write(b"x")
        self.flush(session)
        self.assertGreaterEqual(len(session.server.received), 60)
        self.assertEqual(set(session.server.received), {ord("x")})

    def test_nothing_shows(self) -> None:
        """Neither the wire nor the log has what was said, and the same words never look the same."""
        logged: list[LogEvent] = []
        observer = cast(ILogObserver, logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        session = self.secured()
        seen = []
        for _ in range(2):
            for recorder in session.recorders:
                recorder.secure_transport.write(MARK)
            before = len(session.link.client.sent), len(session.link.server.sent)
            self.flush(session)
            seen.append(bytes(session.link.client.sent[-200:]))
            self.assertGreater(before, (0, 0))
        self.assertEqual(session.client.received, MARK * 2)
        for end in (session.link.client, session.link.server):
            self.assertNotIn(MARK, end.sent)
            self.assertNotIn(MARK[:8], end.sent)
        for first, second in pairwise(seen):
            self.assertNotEqual(first, second)
        session.link.client.tamper = lambda position, piece: b"\x01" * len(piece)
        session.client.secure_transport.write(MARK)
        self.pass_deadlines(session.link)
        for event in logged:
            self.assertNotIn(MARK.decode(), f"{formatEvent(event)} {event!r}")

    # ------------------------------------------------------------------------------ back-pressure

    def test_a_pause_holds_everything(self) -> None:
        """A protocol that paused gets nothing until it resumes, and then all of it in order."""
        for reader_is_client in (False, True):
            session = self.secured(
                Pausing() if reader_is_client else None, None if reader_is_client else Pausing()
            )
            reader = session.client if reader_is_client else session.server
            data = noise(3 * READ_SIZE)
            for start in range(0, len(data), CHUNK):
                session.other(reader).secure_transport.write(data[start : start + CHUNK])
            self.flush(session)
            self.assertEqual(reader.received, b"")
            self.assertTrue(session.end_of(session.other(reader)).outgoing, "a paused side read on")
            reader.secure_transport.resumeProducing()
            self.flush(session)
            self.assertEqual(reader.received, data)

    def test_pausing_within_a_delivery(self) -> None:
        """Pausing inside dataReceived holds what follows; resuming there too, at once, loses nothing."""

        class Sipping(Recorder):
            def got(self, data: bytes) -> None:
                self.secure_transport.pauseProducing()

        class Blinking(Recorder):
            def got(self, data: bytes) -> None:
                self.secure_transport.pauseProducing()
                self.secure_transport.resumeProducing()

        data = noise(20_000)
        session = self.secured(server=Sipping())
        for start in range(0, len(data), 1000):
            session.client.secure_transport.write(data[start : start + 1000])
        self.flush(session)
        deliveries = 1
        self.assertEqual(session.server.events.count("dataReceived"), deliveries)
        while len(session.server.received) < len(data):
            session.server.secure_transport.resumeProducing()
            self.flush(session)
            deliveries += 1
            self.assertEqual(session.server.events.count("dataReceived"), deliveries, "one for each resume")
        self.assertEqual(session.server.received, data)

        session = self.secured(server=Blinking())
        session.client.secure_transport.write(data)
        self.flush(session)
        self.assertEqual(session.server.received, data)

    def test_pausing_before_the_handshake(self) -> None:
        """A protocol that paused from the start still completes its handshake."""

        class Asleep(Recorder):
            def made(self) -> None:
                self.secure_transport.pauseProducing()

        session = self.secured(server=Asleep())
        session.client.secure_transport.write(b"anybody there?")
        self.flush(session)
        self.assertEqual(session.server.received, b"")
        session.server.secure_transport.resumeProducing()
        self.flush(session)
        self.assertEqual(session.server.received, b"anybody there?")

    def test_a_streaming_producer(self) -> None:
        """A producer is paused while the peer does not read, and goes on when it does."""
        for writer_is_client in (True, False):
            session = self.secured(
                None if writer_is_client else Pausing(), Pausing() if writer_is_client else None
            )
            writer = session.client if writer_is_client else session.server
            reader = session.other(writer)
            source = Pusher(writer.secure_transport, noise(TOTAL))
            writer.secure_transport.registerProducer(source, True)
            source.resumeProducing()
            writer.secure_transport.loseConnection()
            self.flush(session)
            self.assertGreaterEqual(source.pauses, 1)
            self.assertLess(source.written, TOTAL, "it was never stopped")
            self.assertLess(len(session.end_of(writer).outgoing), 4 * READ_SIZE)
            reader.secure_transport.resumeProducing()
            self._all_arrived(session, reader, source)

    def test_a_pull_producer(self) -> None:
        """A producer that writes when asked is asked until it is done."""
        session = self.secured(server=Pausing())
        source = Pulled(session.client.secure_transport, noise(TOTAL))
        session.client.secure_transport.registerProducer(source, False)
        session.client.secure_transport.loseConnection()
        self.flush(session)
        self.assertLess(source.written, TOTAL, "it was asked for more than anybody took")
        session.server.secure_transport.resumeProducing()
        self._all_arrived(session, session.server, source)

    def _all_arrived(self, session: Session, reader: Recorder, source: Pusher | Pulled) -> None:
        self.flush(session)
        self.assertEqual(source.written, TOTAL)
        self.assertEqual(reader.received, source.data)
        for recorder in session.recorders:
            self.assertIsInstance(recorder.reason, ConnectionDone)

    def test_one_producer_at_a_time(self) -> None:
        """A second producer is an error of ours; a producer that comes too late is stopped."""
        session = self.secured()
        transport = session.client.secure_transport
        first = Pusher(transport, b"")
        transport.registerProducer(first, True)
        self.assertRaises(RuntimeError, transport.registerProducer, Pusher(transport, b""), True)
        transport.unregisterProducer()
        session.link.cut()
        self.settle()
        late = Pusher(transport, b"")
        transport.registerProducer(late, True)
        self.assertTrue(late.stopped)
        cast(Any, transport).unregisterProducer()
