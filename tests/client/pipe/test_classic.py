"""The talk with the classroom script, over a stub of the paced transport."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from encchat.client.pipe.classic import WARNING, ClassicTalk, NotClassic, OnePeer
from encchat.errors import EncchatError, PeerError
from tests.client.world import FakeReader, FakeWriter


class Transport:
    """Takes lines, and remembers what became of it."""

    def __init__(self, protocol: bytes | None = None) -> None:
        self.negotiatedProtocol = protocol
        self.written = b""
        self.producer: Any = None
        self.closing = self.aborted = self.paused = False

    def write(self, data: bytes) -> None:
        self.written += data

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.aborted = True

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None


class Talking(TestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.reader = FakeReader()
        self.status: list[str] = []

        def writer(changed: Any) -> Any:
            self.writer = FakeWriter(changed)
            return self.writer

        self.talk = ClassicTalk(self.clock, self.reader, writer, self.status.append)  # type: ignore[arg-type]  # a stub
        self.connection = self.talk.connection
        self.transport = Transport()
        self.code: int | None = None
        self.error: Exception | None = None
        self.done = Deferred.fromCoroutine(self.talk.run())
        self.done.addCallbacks(self._ended, self._failed)

    def _ended(self, code: int) -> None:
        self.code = code

    def _failed(self, failure: Any) -> None:
        failure.trap(EncchatError, CancelledError)
        self.error = failure.value

    def meet(self) -> None:
        self.connection.makeConnection(self.transport)  # type: ignore[arg-type]  # a stub
        self.connection.handshakeCompleted()
        self.settle()

    def lose(self, reason: Exception) -> None:
        self.connection.connectionLost(Failure(reason))
        self.settle()

    def settle(self) -> None:
        for _ in range(5):
            self.clock.advance(0)

    def test_lines_both_ways_after_a_warning(self) -> None:
        self.reader.feed(b"early\n")
        self.assertEqual(self.reader.reads, 0)
        self.meet()
        self.assertEqual(self.status, [WARNING])
        self.reader.feed(b"hello\n\nthere")
        self.connection.dataReceived(b"hi\nhalf")
        self.connection.dataReceived(b" a line\n\x1b[31mred\r\n\xff\n")
        self.assertEqual(self.transport.written, b"early\nhello\n")
        self.assertEqual(
            self.writer.lines, ["classic: hi", "classic: half a line", "classic: red", "classic: \ufffd"]
        )

    def test_the_end_of_the_input_closes_after_everything_was_sent(self) -> None:
        self.meet()
        self.reader.feed(b"last words", b"")
        self.assertEqual(self.transport.written, b"last words\n")
        self.assertTrue(self.transport.closing)
        self.assertIsNone(self.transport.producer)
        self.assertIsNone(self.code)
        self.lose(ConnectionDone())
        self.assertEqual(self.code, 0)

    def test_input_waits_for_the_slow_script(self) -> None:
        self.meet()
        self.transport.producer.pauseProducing()
        self.reader.feed(b"one\n", b"two\n")
        self.assertEqual(self.transport.written, b"one\n")
        self.assertEqual(self.reader.reads, 1)
        self.transport.producer.resumeProducing()
        self.assertEqual(self.transport.written, b"one\ntwo\n")
        self.transport.producer.stopProducing()

    def test_the_script_leaves(self) -> None:
        for reason in (ConnectionDone(), ConnectionLost()):
            self.setUp()
            self.meet()
            self.connection.dataReceived(b"unfinished")
            self.lose(reason)
            self.assertEqual(self.code, 0)
            self.assertEqual(self.writer.lines, ["classic: unfinished"])
            self.assertEqual(self.status[1:], ["the other side has left"])

    def test_the_script_leaves_while_it_is_waited_for(self) -> None:
        self.meet()
        self.transport.producer.pauseProducing()
        self.reader.feed(b"one\n")
        self.lose(ConnectionDone())
        self.assertEqual(self.code, 0)

    def test_it_is_not_the_script(self) -> None:
        self.connection.makeConnection(self.transport)  # type: ignore[arg-type]  # a stub
        self.lose(PeerError(reason="no key"))
        self.assertIsInstance(self.error, PeerError)

    def test_noise_later(self) -> None:
        self.meet()
        self.lose(PeerError(reason="noise"))
        self.assertIsInstance(self.error, PeerError)

    def test_it_speaks_something_else(self) -> None:
        self.transport = Transport(b"encchat/1")
        self.meet()
        self.assertIsInstance(self.error, NotClassic)
        self.assertTrue(self.transport.aborted)
        self.lose(ConnectionDone())

    def test_nobody_came_yet(self) -> None:
        self.done.cancel()
        self.assertIsInstance(self.error, CancelledError)

    def test_output(self) -> None:
        self.meet()
        self.writer.full = True
        self.connection.dataReceived(b"much\n")
        self.assertTrue(self.transport.paused)
        self.writer.full = False
        self.writer.flow()
        self.assertFalse(self.transport.paused)
        self.writer.broken = True
        self.writer.changed()
        self.writer.changed()
        self.settle()
        self.assertEqual(self.code, 1)
        self.assertTrue(self.transport.aborted)

    def test_only_one_peer(self) -> None:
        factory = OnePeer(self.connection)
        self.assertIs(factory.buildProtocol(None), self.connection)
        self.assertIsNone(factory.buildProtocol(None))
