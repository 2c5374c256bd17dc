"""What the contract stands on: its reactor and its link do what a reactor and TCP would."""

from __future__ import annotations

from typing import Any

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IReactorThreads, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from encchat.ciphers.testing import CipherContract, ContractReactor, Link
from encchat.ciphers.testing import link as link_module
from encchat.ciphers.testing import reactor as reactor_module
from encchat.ciphers.testing.harness import in_pieces


class ReactorTests(SynchronousTestCase):
    """Threads that run when told."""

    def setUp(self) -> None:
        self.reactor = ContractReactor()
        self.done: list[Any] = []

    def test_interfaces(self) -> None:
        """It is what layers and thread helpers ask for."""
        verifyObject(IReactorTime, self.reactor)
        verifyObject(IReactorThreads, self.reactor)
        self.reactor.suggestThreadPoolSize(3)
        self.reactor.callWhenRunning(self.done.append, 1)
        self.assertEqual(self.done, [1])

    def test_deferred_work(self) -> None:
        """A job runs in settle, and not before; its result arrives in the same settle."""
        pool: Any = self.reactor.getThreadPool()
        result = deferToThreadPool(self.reactor, pool, lambda: 6 * 7)
        result.addCallback(self.done.append)
        self.assertEqual((self.done, self.reactor.pending_jobs), ([], 1))
        self.assertTrue(self.reactor.settle())
        self.assertEqual((self.done, self.reactor.pending_jobs), ([42], 0))
        self.assertFalse(self.reactor.settle())

    def test_failing_work(self) -> None:
        """A failure goes to whoever waits for it, or to the log if nobody does."""
        pool: Any = self.reactor.getThreadPool()
        failed = deferToThreadPool(self.reactor, pool, lambda: 1 // 0)
        self.reactor.settle()
        self.failureResultOf(failed, ZeroDivisionError)
        pool.callInThread(lambda: 1 // 0)
        self.reactor.callInThread(lambda: 1 // 0)
        self.reactor.callInThread(self.done.append, "fine")
        self.reactor.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertEqual(self.done, ["fine"])

    def test_endless_work(self) -> None:
        """Jobs that order jobs for ever are found out."""
        self.patch(reactor_module, "MAX_ROUNDS", 50)

        def again() -> None:
            self.reactor.callFromThread(self.reactor.callInThread, again)

        again()
        self.assertRaises(AssertionError, self.reactor.settle)


class Side(Protocol):
    """Writes down what happens."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.reason: Any = None
        self.ends = 0

    def dataReceived(self, data: bytes) -> None:
        self.got.append(data)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 -- as Twisted
        self.reason = type(reason.value)
        self.ends += 1


class Source:
    """A producer that writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class LinkTests(SynchronousTestCase):
    """A connection in memory."""

    def setUp(self) -> None:
        self.reactor = ContractReactor()
        self.client, self.server = Side(), Side()
        self.link = Link(self.reactor, self.client, self.server)

    def test_pieces(self) -> None:
        """Bytes arrive in the pieces that the test wants, altered as it wants."""
        in_pieces(self.link.client, [1, 2])
        self.link.client.tamper = lambda position, piece: piece.upper() if position else piece
        self.link.client.write(b"abcdef")
        self.link.flush()
        self.assertEqual(self.server.got, [b"a", b"BC", b"DEF"])
        self.assertEqual(bytes(self.link.client.sent), b"abcdef")
        self.assertRaises(TypeError, self.link.client.write, "text")

    def test_swallowed(self) -> None:
        """What is altered to nothing is not delivered."""
        self.link.client.tamper = lambda position, piece: b""
        self.link.client.write(b"x")
        self.link.flush()
        self.assertEqual(self.server.got, [])

    def test_pause(self) -> None:
        """A side that does not read gets nothing, nor hears of the end, until it reads."""
        self.link.server.pauseProducing()
        self.link.client.write(b"x")
        self.link.flush()
        self.assertEqual((self.server.got, bytes(self.link.client.outgoing)), ([], b"x"))
        self.link.server.resumeProducing()
        self.link.flush()
        self.link.server.pauseProducing()
        self.link.client.loseConnection()
        self.link.flush()
        self.assertEqual((self.client.reason, self.server.reason), (ConnectionDone, None))
        self.link.server.resumeProducing()
        self.link.flush()
        self.assertEqual(self.server.reason, ConnectionDone)

    def test_close(self) -> None:
        """All that was written arrives, and both ends are told once; what is written later is dropped."""
        self.link.client.write(b"bye")
        self.link.client.loseConnection()
        self.link.client.write(b"late")
        self.link.flush()
        self.assertEqual(self.server.got, [b"bye"])
        for side in (self.client, self.server):
            self.assertEqual((side.reason, side.ends), (ConnectionDone, 1))
        self.link.cut()
        self.assertEqual(self.client.ends, 1)

    def test_reset(self) -> None:
        """Closed over bytes that nobody read, the other side is reset, before it has read everything."""
        said = b"x" * (link_module.READ_SIZE + 1)
        self.link.client.write(b"unread")
        self.link.server.write(said)
        self.link.server.loseConnection()
        self.link.flush()
        self.assertEqual((self.server.got, self.server.reason), ([], ConnectionDone))
        self.assertEqual((self.client.got, self.client.reason), ([said[:-1]], ConnectionLost))

    def test_abort(self) -> None:
        """What was not read is lost, on the other side too."""
        self.link.client.write(b"lost")
        self.link.client.abortConnection()
        self.link.client.abortConnection()
        self.link.flush()
        self.assertEqual((self.client.reason, self.server.reason), (ConnectionAborted, ConnectionLost))
        self.assertEqual(self.server.got, [])
        self.link.client.abortConnection()

    def test_both_abort(self) -> None:
        """Two aborts that cross are each their own."""
        self.link.client.abortConnection()
        self.link.server.abortConnection()
        self.link.flush()
        self.assertEqual((self.client.reason, self.server.reason), (ConnectionAborted, ConnectionAborted))

    def test_streaming_producer(self) -> None:
        """It is paused when too much waits, resumed when all is read, stopped at the end."""
        source = Source()
        self.link.server.pauseProducing()
        self.link.client.registerProducer(source, True)
        self.assertRaises(RuntimeError, self.link.client.registerProducer, source, True)
        self.link.client.write(b"x" * link_module.READ_SIZE)
        self.assertEqual(source.told, [])
        self.link.client.write(b"x")
        self.assertEqual(source.told, ["pause"])
        self.link.flush()
        self.assertEqual(source.told, ["pause"])
        self.link.server.resumeProducing()
        self.link.flush()
        self.assertEqual(source.told, ["pause", "resume"])
        self.link.cut()
        self.assertEqual(source.told, ["pause", "resume", "stop"])
        late = Source()
        self.link.client.registerProducer(late, True)
        self.assertEqual(late.told, ["stop"])

    def test_closing_waits_for_a_producer(self) -> None:
        """As in Twisted, a registered producer keeps a closing connection open."""
        self.link.client.registerProducer(Source(), True)
        self.link.client.loseConnection()
        self.link.flush()
        self.assertIsNone(self.client.reason)
        self.link.client.unregisterProducer()
        self.link.flush()
        self.assertEqual(self.client.reason, ConnectionDone)

    def test_restless(self) -> None:
        """Two sides that never come to rest are found out."""
        self.patch(link_module, "MAX_PUMPS", 50)
        self.link.client.registerProducer(Source(), False)
        self.assertRaises(AssertionError, self.link.flush)


class ContractTests(SynchronousTestCase):
    """The contract itself."""

    def test_the_author_must_say(self) -> None:
        """Without ciphers there is nothing to test."""

        class Forgetful(CipherContract, SynchronousTestCase):
            pass

        case = Forgetful("test_sizes")
        self.assertRaises(NotImplementedError, case.make_ciphers, None)
        self.assertIsNone(case.make_stranger(None))  # type: ignore[arg-type]  # it makes none
