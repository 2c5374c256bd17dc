"""The layer that every cipher stands on, driven by hand: each promise, and every way to call it wrongly
or at a bad moment."""

from __future__ import annotations

from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport, StringTransportWithDisconnection
from twisted.logger import Logger, LogLevel, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from encchat.ciphers.inbox import ABOVE, Inbox
from encchat.ciphers.interfaces import HANDSHAKE_DEADLINE, ISecureTransport
from encchat.ciphers.layer import (
    CLOSE_DEADLINE,
    CipherLayer,
    HandshakeCut,
    HandshakeTimeout,
)
from encchat.ciphers.wrapping import CipherFactory
from encchat.core.identity import PeerIdentity
from encchat.errors import PeerError, RefusedError

ALICE = PeerIdentity("SHA256:" + "A" * 43, None, "plain", "nobody")


class Rude(PeerError):
    """The other side said {what}."""


class Plain(CipherLayer):
    """Protects nothing: each segment that begins with ``!`` is a command to the layer."""

    answered: bool | None = None
    pending = False

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.calls: list[str] = []

    def cipherStarted(self) -> None:
        self.calls.append("started")
        self._below.write(b"<")

    def cipherReceived(self, data: bytes) -> None:
        for part in data.split(b"\n"):
            self.take(part)

    def take(self, part: bytes) -> None:
        if part == b"!hello":
            self.established(b"encchat/1", ALICE)
        elif part == b"!close":
            self.peerClosed()
        elif part == b"!bad":
            raise Rude(what="something \x1b[31mred\x1b[0m\nand more")
        elif part == b"!crash":
            raise ZeroDivisionError
        elif part:
            self.deliver(part)

    def cipherWrite(self, data: bytes) -> None:
        if data == b"!crash":
            raise ZeroDivisionError
        if data == b"!bad":
            raise Rude(what="nothing")
        self._below.write(b"[" + data + b"]")

    def cipherFinish(self) -> bool | None:
        self._below.write(b">")
        return self.answered

    def cipherPending(self) -> bool:
        return self.pending

    def cipherEnded(self) -> None:
        self.calls.append("ended")


@implementer(IHandshakeListener)
class Above(Protocol):
    """Writes down what happens and, at a given event, does what the test says."""

    def __init__(self, **reactions: Any) -> None:
        self.reactions = reactions
        self.events: list[Any] = []

    def _happened(self, kind: str, event: Any) -> None:
        self.events.append(event)
        reaction = self.reactions.get(kind)
        if reaction is not None:
            reaction(self)

    def connectionMade(self) -> None:
        self._happened("made", "made")

    def handshakeCompleted(self) -> None:
        self._happened("secure", "secure")

    def dataReceived(self, data: bytes) -> None:
        self._happened("got", data)

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 -- as Twisted
        self.reason = reason.value
        self._happened("lost", type(reason.value))


class Producer:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


class LayerCase(SynchronousTestCase):
    """Builds a layer over a StringTransport."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.logged: list[Any] = []
        self.patch(Plain, "log", Logger(observer=cast(Any, self.logged.append)))

    def build(self, above: Above | None = None, transport: Any = None, *, hello: bool = True) -> None:
        self.above = above or Above()
        self.layer = Plain(self.above, self.clock)
        self.below = transport or StringTransport()
        self.below.protocol = self.layer
        self.layer.makeConnection(self.below)
        if hello:
            self.layer.dataReceived(b"!hello")
            self.below.clear()

    def below_lost(self, error: Exception | None = None) -> None:
        self.layer.connectionLost(Failure(error or ConnectionDone()))

    def assertEnds(self, *events: Any) -> None:
        """The protocol above saw exactly this, and nothing is left behind."""
        self.assertEqual(self.above.events, list(events))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.layer.calls.count("ended"), 1)

    def lines(self) -> list[str]:
        return [cast(str, formatEvent(event)) for event in self.logged]


class HandshakeTests(LayerCase):
    """Before the peer has proved who it is."""

    def test_order(self) -> None:
        """The protocol has its transport before the cipher speaks, and is told once."""
        self.build(hello=False)
        self.assertEqual(self.above.events, ["made"])
        self.assertIs(self.above.transport, self.layer)
        self.assertEqual(self.below.value(), b"<")
        self.assertIsNone(self.layer.peerIdentity)
        self.layer.dataReceived(b"!hello\n!hello")
        self.assertEqual(self.above.events, ["made", "secure"])
        self.assertEqual(self.layer.peerIdentity, ALICE)
        self.assertEqual(self.layer.negotiatedProtocol, b"encchat/1")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_interface(self) -> None:
        """The layer is a secure transport, with the addresses of the connection and nothing else of it."""
        self.build()
        verifyObject(ISecureTransport, self.layer)
        self.assertEqual(self.layer.getPeer(), self.below.getPeer())
        self.assertEqual(self.layer.getHost(), self.below.getHost())
        for name in ("setTcpNoDelay", "setTcpKeepAlive", "value", "io", "loseWriteConnection"):
            self.assertFalse(hasattr(self.layer, name), name)

    def test_socket_options(self) -> None:
        """Delays are switched off and dead peers found out, if the socket can; one that is gone already
        does no harm."""

        class Socket(StringTransport):
            options: list[tuple[str, bool]] = []  # noqa: RUF012 -- one test

            def setTcpNoDelay(self, enabled: bool) -> None:
                self.options.append(("nodelay", enabled))
                raise OSError(22, "Invalid argument")

            def setTcpKeepAlive(self, enabled: bool) -> None:
                self.options.append(("keepalive", enabled))

        self.build(transport=Socket())
        self.assertEqual(Socket.options, [("nodelay", True), ("keepalive", True)])
        self.assertEqual(self.above.events, ["made", "secure"])

    def test_no_listener(self) -> None:
        """A protocol that does not listen for handshakes gets its data all the same."""
        received: list[bytes] = []

        class Deaf(Protocol):
            def dataReceived(self, data: bytes) -> None:
                received.append(data)

        layer = Plain(Deaf(), self.clock)
        layer.makeConnection(StringTransport())
        layer.dataReceived(b"!hello\nhi")
        self.assertEqual(received, [b"hi"])

    def test_early_writes(self) -> None:
        """Whoever writes before the handshake writes to nobody knows whom."""
        self.build(hello=False)
        self.assertRaises(RuntimeError, self.layer.write, b"early")
        self.assertRaises(RuntimeError, self.layer.writeSequence, [b"early"])
        self.assertRaises(TypeError, self.layer.write, "text")
        self.layer.loseConnection()
        self.layer.write(b"too late, and no error")
        self.assertEqual(self.below.value(), b"<")

    def test_early_delivery(self) -> None:
        """A cipher that delivers before it is established has a fault, and the connection ends."""
        self.build(hello=False)
        self.layer.dataReceived(b"data")
        self.assertEqual(len(self.flushed(AssertionError)), 1)
        self.below_lost()
        self.assertEnds("made", AssertionError)

    def flushed(self, kind: type[BaseException]) -> list[Any]:
        return [
            event for event in self.logged if event.get("log_failure") and event["log_failure"].check(kind)
        ]

    def test_deadline(self) -> None:
        """Ten seconds, and not a moment less; then an abort, one line, and the error for above."""
        self.build(hello=False)
        self.clock.advance(HANDSHAKE_DEADLINE - 0.001)
        self.assertFalse(self.below.disconnected)
        self.layer.dataReceived(b"")
        self.clock.advance(0.001)
        self.assertTrue(self.below.disconnected)
        self.layer.dataReceived(b"!hello\ndata")
        self.below_lost(ConnectionAborted())
        self.assertEnds("made", HandshakeTimeout)
        self.assertEqual(
            self.lines(),
            [
                "192.168.1.1:54321 Plain: closed: The other side did not complete the handshake"
                " within 10 seconds."
            ],
        )

    def test_deadline_is_over_once_established(self) -> None:
        """A connection may be silent afterwards."""
        self.build()
        self.clock.advance(1000)
        self.assertFalse(self.below.disconnecting)

    def test_cut(self) -> None:
        """A peer that leaves during the handshake: one line, and an error with a hint."""
        self.build(hello=False)
        self.below_lost(ConnectionLost())
        self.below_lost()
        self.assertEnds("made", HandshakeCut)
        self.assertIn("Does it speak this cipher?", str(self.above.reason))
        self.assertEqual(self.lines(), ["192.168.1.1:54321 Plain: closed during the handshake"])

    def test_closed_by_the_peer(self) -> None:
        """A goodbye during the handshake is no proper close: nobody ever was there."""
        self.build(hello=False)
        self.layer.dataReceived(b"!close")
        self.assertTrue(self.below.disconnecting)
        self.below_lost()
        self.assertEnds("made", HandshakeCut)

    def test_closed_by_us(self) -> None:
        """A protocol may leave at once; nothing is said to the peer, and its handshake counts no more."""
        self.build(Above(made=lambda above: above.transport.loseConnection()), hello=False)
        self.assertEqual((self.below.value(), self.below.disconnecting), (b"", True))
        self.assertEqual(self.layer.calls, [])
        self.layer.dataReceived(b"!hello\ndata")
        self.layer.guarded(self.layer.take, b"!hello")
        self.layer.guarded(self.layer.take, b"data")
        self.below_lost()
        self.layer.guarded(self.layer.take, b"data")
        self.assertEnds("made", ConnectionDone)
        self.assertEqual(self.logged, [])

    def test_aborted_by_us(self) -> None:
        """Or abort at once."""
        self.build(Above(made=lambda above: above.transport.abortConnection()), hello=False)
        self.assertEqual((self.below.value(), self.below.disconnected), (b"", True))
        self.below_lost(ConnectionAborted())
        self.assertEnds("made", ConnectionAborted)

    def test_refused(self) -> None:
        """What the cipher raises is what the protocol above is told, unchanged."""
        error = RefusedError(reason="not on the list")
        self.build(hello=False)
        self.layer.fail(error)
        self.layer.fail(Rude(what="again"))
        self.assertTrue(self.layer.disconnecting)
        self.layer.guarded(self.layer.take, b"!hello")
        self.layer.guarded(self.layer.take, b"data")
        self.below_lost()
        self.assertEnds("made", RefusedError)
        self.assertIs(self.above.reason, error)
        self.assertEqual(self.lines(), ["192.168.1.1:54321 Plain: closed: not on the list"])
        self.assertEqual(self.logged[0]["code"], "refused")
        self.assertEqual(self.logged[0]["log_level"], LogLevel.warn)

    def test_gently(self) -> None:
        """A failure can leave the connection below the time to send an alert, and no more than that."""
        self.build(hello=False)
        self.layer.fail(RefusedError(reason="not on the list"), gently=True)
        self.assertEqual((self.below.disconnecting, self.below.disconnected), (True, False))
        self.layer.dataReceived(b"!hello\ndata")
        self.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(self.below.disconnected)
        self.below_lost(ConnectionAborted())
        self.assertEnds("made", RefusedError)

    def test_pause_before(self) -> None:
        """A protocol that has paused does not keep the cipher from its handshake, only from reading on."""
        self.build(Above(made=lambda above: above.transport.pauseProducing()), hello=False)
        self.assertEqual(self.below.producerState, "producing")
        self.layer.dataReceived(b"!hello\ndata")
        self.assertEqual(self.below.producerState, "paused")
        self.assertEqual(self.above.events, ["made", "secure"])
        self.layer.resumeProducing()
        self.assertEqual(self.below.producerState, "producing")
        self.assertEqual(self.above.events, ["made", "secure", b"data"])


class FailureTests(LayerCase):
    """Peers that break the rules, and programs that break."""

    def test_one_clean_line(self) -> None:
        """The log gets one line for a failure, with nothing that could steer a terminal."""
        self.build()
        self.layer.dataReceived(b"fine\n!bad\nnever")
        self.assertTrue(self.below.disconnected)
        self.layer.dataReceived(b"!bad")
        self.layer.write(b"anybody?")
        self.below_lost()
        self.assertEnds("made", "secure", b"fine", Rude)
        self.assertEqual(
            self.lines(), ["192.168.1.1:54321 Plain: closed: The other side said something red and more."]
        )
        self.assertEqual(self.below.value(), b"")

    def test_a_long_story(self) -> None:
        """Nor more of it than fits."""
        self.build()
        self.layer.fail(Rude(what=["\x1b]0;title\x07" + "x" * 10_000]))
        (line,) = self.lines()
        self.assertLess(len(line), 500)
        self.assertNotIn("\x1b", line)

    def test_addresses(self) -> None:
        """Any kind of address can be named, and is cleaned too."""
        for address, shown in (
            (IPv4Address("TCP", "10.1.2.3", 4), "10.1.2.3:4 "),
            (UNIXAddress("/run/\x1b[31mx"), "UNIXAddress("),
        ):
            self.build(transport=StringTransport(peerAddress=address))
            self.layer.fail(Rude(what="x"))
            line = self.lines()[-1]
            self.assertTrue(line.startswith(shown), line)
            self.assertNotIn("\x1b", line)

    def test_fault_above(self) -> None:
        """What a protocol raises is logged with its traceback and ends this connection, not the caller."""

        def stumble(above: Above) -> None:
            raise ZeroDivisionError

        for kind, events in (
            ("made", ["made"]),
            ("secure", ["made", "secure"]),
            ("got", ["made", "secure", b"one"]),
        ):
            self.logged.clear()
            self.build(Above(**{kind: stumble}), hello=False)
            self.layer.dataReceived(b"!hello\none\ntwo")
            self.assertTrue(self.below.disconnected)
            self.below_lost()
            self.assertEnds(*events, ZeroDivisionError)
            (event,) = self.logged
            self.assertEqual(event["log_level"], LogLevel.critical)
            self.assertIn("closed by a fault of this program", cast(str, formatEvent(event)))

    def test_fault_above_reaches_the_real_log(self) -> None:
        """It is not swallowed: trial sees it as it sees any logged error."""
        self.patch(Plain, "log", CipherLayer.log)
        self.build(Above(got=lambda above: 1 // 0))
        self.layer.dataReceived(b"data")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_refusal_above(self) -> None:
        """An EncchatError that a protocol lets through is told as what it is."""

        def refuse(above: Above) -> None:
            raise Rude(what="no")

        self.build(Above(got=refuse))
        self.layer.dataReceived(b"data\nmore")
        self.below_lost()
        self.assertEnds("made", "secure", b"data", Rude)
        self.assertEqual(len(self.logged), 1)

    def test_fault_at_the_end(self) -> None:
        """A protocol that stumbles over its connectionLost is logged too, and so is a cipher that does."""
        self.build(Above(lost=lambda above: 1 // 0))
        self.below_lost()
        self.assertEqual(len(self.logged), 1)
        self.assertEnds("made", "secure", ConnectionLost)

    def test_fault_in_the_cipher(self) -> None:
        """Whoever writes to many connections goes on with the next when one breaks."""
        self.build()
        self.layer.write(b"!crash")
        self.assertTrue(self.below.disconnected)
        self.below_lost()
        self.assertEnds("made", "secure", ZeroDivisionError)
        self.assertIsNone(self.above.reason.__traceback__, "it holds frames, and they hold keys")
        self.build()
        self.layer.write(b"!bad")
        self.below_lost()
        self.assertEnds("made", "secure", Rude)
        self.build()
        self.layer.dataReceived(b"one\n!crash\ntwo")
        self.below_lost()
        self.assertEnds("made", "secure", b"one", ZeroDivisionError)

    def test_fault_after_the_fact(self) -> None:
        """The first reason stays the reason; a fault that follows it is logged."""

        def bolt(above: Above) -> None:
            above.transport.abortConnection()
            raise ZeroDivisionError

        self.build(Above(got=bolt))
        self.layer.dataReceived(b"one")
        self.below_lost(ConnectionAborted())
        self.assertEnds("made", "secure", b"one", ConnectionAborted)
        self.build()

        def fail_and_stumble() -> None:
            self.layer.fail(Rude(what="x"))
            raise ZeroDivisionError

        self.layer.guarded(fail_and_stumble)
        self.below_lost()
        self.assertEnds("made", "secure", Rude)
        self.assertEqual(len(self.logged), 3)

    def test_fault_while_closing(self) -> None:
        """A cipher that cannot even say goodbye: the connection ends nevertheless."""
        for error, kind in ((ZeroDivisionError(), ZeroDivisionError), (Rude(what="x"), ConnectionDone)):
            self.build()

            def stumble(error: Exception = error) -> None:
                raise error

            self.layer.cipherFinish = stumble  # type: ignore[method-assign,assignment]  # for this test
            self.layer.loseConnection()
            self.assertTrue(self.below.disconnecting)
            self.assertEqual(self.below.disconnected, kind is ZeroDivisionError)
            self.assertEqual(len(self.clock.getDelayedCalls()), int(kind is ConnectionDone))
            self.below_lost()
            self.assertEnds("made", "secure", kind)

    def test_late_result(self) -> None:
        """What a thread brings after the end, or after a failure, changes nothing."""
        self.build()
        self.layer.dataReceived(b"!bad")
        self.layer.guarded(self.layer.take, b"late")
        self.layer.peerClosed()
        self.below_lost()
        for part in (b"late", b"!hello", b"!close", b"!bad"):
            self.layer.guarded(self.layer.take, part)
        self.assertEnds("made", "secure", Rude)
        self.assertEqual(len(self.logged), 1)

    def test_late_fault(self) -> None:
        """A fault after the end is logged all the same; what the peer did wrong is not."""
        self.build()
        self.below_lost()
        self.layer.guarded(self.layer.take, b"!bad")
        self.assertEqual(self.logged, [])
        self.layer.guarded(self.layer.take, b"!crash")
        self.assertEnds("made", "secure", ConnectionLost)
        self.assertEqual(len(self.logged), 1)

    def test_failure_while_leaving(self) -> None:
        """What a peer does wrong after we closed is no news."""
        self.build()
        self.layer.loseConnection()
        self.clock.advance(CLOSE_DEADLINE - 1)
        self.layer.dataReceived(b"!bad")
        self.layer.fail(Rude(what="x"))
        self.clock.advance(1)
        self.assertTrue(self.below.disconnected)
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionAborted)
        self.assertEqual(self.logged, [])

    def test_base_is_abstract(self) -> None:
        """The base itself is no cipher."""
        layer = CipherLayer(Above(), self.clock)
        self.assertRaises(NotImplementedError, layer.cipherReceived, b"")
        self.assertRaises(NotImplementedError, layer.cipherWrite, b"")
        self.assertIsNone(layer.cipherFinish())
        self.assertFalse(layer.cipherPending())
        layer.makeConnection(StringTransport())
        layer.connectionLost()
        self.assertEqual(self.clock.getDelayedCalls(), [])


class WriteTests(LayerCase):
    """What goes down."""

    def test_one_path(self) -> None:
        """write and writeSequence protect alike; nothing at all is not sent."""
        self.build()
        self.layer.write(b"one")
        self.layer.writeSequence([b"two", b"", b"three"])
        self.layer.write(b"")
        self.layer.writeSequence([])
        self.assertEqual(self.below.value(), b"[one][twothree]")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_at_once(self) -> None:
        """Within handshakeCompleted one may write, and close."""

        def reply(above: Above) -> None:
            above.transport.write(b"hi")
            above.transport.loseConnection()
            above.transport.write(b"too late")

        self.build(Above(secure=reply), hello=False)
        self.layer.dataReceived(b"!hello\nignored")
        self.assertEqual(self.below.value(), b"<[hi]>")
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionDone)

    def test_after_the_end(self) -> None:
        """Everything may be called on a dead connection."""
        self.build()
        self.below_lost()
        for call in (
            lambda: self.layer.write(b"x"),
            lambda: self.layer.writeSequence([b"x"]),
            self.layer.loseConnection,
            self.layer.abortConnection,
            self.layer.pauseProducing,
            lambda: self.assertEqual(self.below.producerState, "producing"),
            self.layer.resumeProducing,
            self.layer.stopProducing,
            self.layer.unregisterProducer,
            self.layer.peerClosed,
            lambda: self.layer.hold("x"),
            lambda: self.layer.release("x"),
        ):
            call()
        self.assertEnds("made", "secure", ConnectionLost)
        self.assertEqual((self.below.value(), self.below.disconnecting), (b"", False))
        self.assertTrue(self.layer.disconnecting)


class ReadTests(LayerCase):
    """What comes up."""

    def test_paused(self) -> None:
        """Nothing is delivered while paused, though the connection below may still have something."""
        self.build()
        self.layer.dataReceived(b"one")
        self.layer.pauseProducing()
        self.layer.pauseProducing()
        self.layer.dataReceived(b"two\nthree")
        self.assertEqual(self.above.events, ["made", "secure", b"one"])
        self.assertEqual(self.below.producerState, "paused")
        self.layer.resumeProducing()
        self.assertEqual(self.above.events, ["made", "secure", b"one", b"two", b"three"])
        self.assertEqual(self.below.producerState, "producing")

    def test_resuming_within_a_delivery(self) -> None:
        """A protocol that pauses and resumes in its dataReceived gets all, once, in order."""

        def blink(above: Above) -> None:
            above.transport.pauseProducing()
            above.transport.resumeProducing()

        self.build(Above(got=blink))
        self.layer.dataReceived(b"one\ntwo\nthree")
        self.assertEqual(self.above.events[2:], [b"one", b"two", b"three"])

    def test_pausing_within_a_delivery(self) -> None:
        """One that pauses in its dataReceived gets one piece for each time it resumes."""
        self.build(Above(got=lambda above: above.transport.pauseProducing()))
        self.layer.dataReceived(b"one\ntwo\nthree")
        for count in (1, 2, 3):
            self.assertEqual(len(self.above.events), 2 + count)
            self.assertEqual(self.below.producerState, "paused")
            self.layer.resumeProducing()
        self.assertEqual(self.above.events[2:], [b"one", b"two", b"three"])
        self.assertEqual(self.below.producerState, "producing")

    def test_a_transport_that_delivers_at_once(self) -> None:
        """A transport below that hands over what it has within resumeProducing changes no order."""
        rest = [b"three", b"four"]

        class Eager(StringTransport):
            def resumeProducing(self) -> None:
                super().resumeProducing()
                while rest:
                    self.protocol.dataReceived(rest.pop(0))  # type: ignore[attr-defined]  # set by build

        self.build(transport=Eager())
        self.layer.pauseProducing()
        self.layer.dataReceived(b"one\ntwo")
        self.layer.resumeProducing()
        self.assertEqual(self.above.events[2:], [b"one", b"two", b"three", b"four"])

    def test_hold(self) -> None:
        """A cipher stops the reading for reasons of its own; what it has worked off is still delivered."""
        self.build()
        self.layer.hold("work")
        self.layer.dataReceived(b"one")
        self.assertEqual(self.above.events[2:], [b"one"])
        self.assertEqual(self.below.producerState, "paused")
        self.layer.pauseProducing()
        self.layer.release("work")
        self.assertEqual(self.below.producerState, "paused")
        self.layer.hold("work")
        self.layer.resumeProducing()
        self.assertEqual(self.below.producerState, "paused")
        self.layer.release("work")
        self.layer.release("work")
        self.assertEqual(self.below.producerState, "producing")

    def test_hold_during_the_handshake(self) -> None:
        """A cipher may hold from the start."""
        self.build(hello=False)
        self.layer.hold("work")
        self.assertEqual(self.below.producerState, "paused")
        self.layer.release("work")
        self.assertEqual(self.below.producerState, "producing")

    def test_closing_within_a_delivery(self) -> None:
        """Whoever closes in dataReceived gets nothing more, neither of what waits nor of what comes."""
        for close in ("loseConnection", "abortConnection", "stopProducing"):
            self.build(Above(got=lambda above, close=close: getattr(above.transport, close)()))
            self.layer.dataReceived(b"one\ntwo")
            self.layer.dataReceived(b"three")
            self.below_lost(ConnectionAborted() if close == "abortConnection" else None)
            kind = ConnectionAborted if close == "abortConnection" else ConnectionDone
            self.assertEnds("made", "secure", b"one", kind)

    def test_closing_while_paused(self) -> None:
        """What waits when the protocol closes is dropped; the connection below reads on to its end."""
        self.build()
        self.layer.pauseProducing()
        self.layer.dataReceived(b"one")
        self.layer.loseConnection()
        self.assertEqual(self.below.producerState, "producing")
        self.layer.resumeProducing()
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionDone)

    @settings(max_examples=60, deadline=None)
    @given(st.lists(st.sampled_from(["data", "pause", "resume", "hold", "release"]), max_size=30))
    def test_any_order(self, steps: list[str]) -> None:
        """However pauses, holds and data mix: all arrives in order, none of it while paused."""
        self.build()
        sent = paused = held = 0
        for step in steps:
            before = len(self.above.events)
            if step == "data":
                sent += 1
                self.layer.dataReceived(b"%d" % sent)
            elif step in ("hold", "release"):
                held = step == "hold"
                getattr(self.layer, step)("work")
            else:
                paused = step == "pause"
                getattr(self.layer, f"{step}Producing")()
            if paused:
                self.assertEqual(len(self.above.events), before)
            self.assertEqual(self.below.producerState, "paused" if paused or held else "producing")
        self.layer.resumeProducing()
        self.assertEqual(self.above.events[2:], [b"%d" % (number + 1) for number in range(sent)])


class InboxTests(SynchronousTestCase):
    """The queue by itself, where the layer cannot bring it."""

    def test_reentry(self) -> None:
        """A delivery that raises leaves the queue usable."""
        taken: list[bytes] = []

        def take(data: bytes) -> None:
            taken.append(data)
            if data == b"one":
                raise ZeroDivisionError

        inbox = Inbox(take)
        inbox.open()
        self.assertRaises(ZeroDivisionError, inbox.put, b"one")
        inbox.put(b"two")
        self.assertEqual(taken, [b"one", b"two"])

    def test_no_source(self) -> None:
        """Pausing before there is anything to read from counts when there is."""
        below = StringTransport()
        inbox = Inbox(lambda data: None)
        inbox.pause("work")
        inbox.attach(below)
        self.assertEqual(below.producerState, "paused")
        inbox.detach(resume=False)
        inbox.resume("work")
        inbox.pause(ABOVE)
        inbox.detach(resume=True)
        self.assertEqual(below.producerState, "paused")


class EndTests(LayerCase):
    """How it ends."""

    def test_proper_close_by_the_peer(self) -> None:
        """All that came before, then ConnectionDone, whatever becomes of the socket then."""
        for error in (ConnectionDone(), ConnectionLost()):
            self.build()
            self.layer.dataReceived(b"last words\n!close")
            self.layer.dataReceived(b"after the end")
            self.assertEqual((self.below.value(), self.below.disconnecting), (b">", True))
            self.layer.write(b"too late")
            self.layer.loseConnection()
            self.layer.peerClosed()
            self.below_lost(error)
            self.assertEnds("made", "secure", b"last words", ConnectionDone)

    def test_proper_close_by_us(self) -> None:
        """The goodbye is said once, behind what was written."""
        self.build()
        self.layer.write(b"bye")
        self.layer.loseConnection()
        self.layer.loseConnection()
        self.layer.write(b"too late")
        self.assertTrue(self.layer.disconnecting)
        self.assertEqual((self.below.value(), self.below.disconnecting), (b"[bye]>", True))
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionDone)

    def test_cut_after_our_close(self) -> None:
        """If the connection breaks before all was sent, nobody pretends otherwise."""
        self.build()
        self.layer.loseConnection()
        self.below_lost(ConnectionLost())
        self.assertEnds("made", "secure", ConnectionLost)

    def test_cut(self) -> None:
        """An end without a goodbye is ConnectionLost, also when TCP was closed politely."""
        for error in (ConnectionDone(), ConnectionLost(), ConnectionAborted()):
            self.build()
            self.below_lost(error)
            self.assertEqual(self.above.events[:2], ["made", "secure"])
            self.assertIsInstance(self.above.reason, ConnectionLost)
            if not isinstance(error, ConnectionDone):
                self.assertIs(self.above.reason, error)

    def test_abort(self) -> None:
        """An abort drops what waits, says nothing, and is what it is."""
        self.build()
        self.layer.pauseProducing()
        self.layer.dataReceived(b"waits")
        self.layer.abortConnection()
        self.layer.abortConnection()
        self.layer.resumeProducing()
        self.layer.fail(Rude(what="late"))
        self.layer.write(b"too late")
        self.assertEqual((self.below.value(), self.below.disconnected), (b"", True))
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionAborted)
        self.assertEqual(self.logged, [])

    def test_stop_producing(self) -> None:
        """A consumer that wants no more closes properly."""
        self.build()
        self.layer.stopProducing()
        self.assertEqual((self.below.value(), self.below.disconnecting), (b">", True))

    def test_deadline(self) -> None:
        """A peer that takes nothing has five seconds."""
        self.build()
        self.layer.loseConnection()
        self.clock.advance(CLOSE_DEADLINE - 0.001)
        self.assertFalse(self.below.disconnected)
        self.clock.advance(0.001)
        self.assertTrue(self.below.disconnected)
        self.below_lost(ConnectionAborted())
        self.assertEnds("made", "secure", ConnectionAborted)

    def test_deadline_of_a_peer_that_closes(self) -> None:
        """So has one that said goodbye and then takes not even ours."""
        self.build()
        self.layer.dataReceived(b"!close")
        self.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(self.below.disconnected)
        self.below_lost(ConnectionAborted())
        self.assertEnds("made", "secure", ConnectionDone)

    def test_closed_while_paused(self) -> None:
        """What came before the goodbye reaches a protocol that had paused, before it is told the end."""
        self.build()
        self.layer.pauseProducing()
        self.layer.dataReceived(b"one\ntwo\n!close")
        self.assertEqual(self.above.events, ["made", "secure"])
        self.below_lost()
        self.assertEnds("made", "secure", b"one", b"two", ConnectionDone)

    def test_closed_while_paused_by_a_peer_that_takes_nothing(self) -> None:
        """Even if our own goodbye never gets out and the connection below must be aborted."""
        self.build()
        self.layer.pauseProducing()
        self.layer.dataReceived(b"one\n!close")
        self.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(self.below.disconnected)
        self.below_lost(ConnectionAborted())
        self.assertEnds("made", "secure", b"one", ConnectionDone)

    def test_cut_while_paused(self) -> None:
        """So does what came, authentic, before a cut."""
        self.build()
        self.layer.pauseProducing()
        self.layer.dataReceived(b"one")
        self.below_lost()
        self.assertEnds("made", "secure", b"one", ConnectionLost)

    def test_leaving_within_the_last_delivery(self) -> None:
        """A protocol that closes, aborts or stumbles in what is delivered at the end is told the end once."""
        for leave, kind in (
            (lambda above: above.transport.loseConnection(), ConnectionDone),
            (lambda above: above.transport.abortConnection(), ConnectionDone),
            (lambda above: 1 // 0, ConnectionDone),
        ):
            self.build(Above(got=leave))
            self.layer.pauseProducing()
            self.layer.dataReceived(b"one\ntwo\n!close")
            self.below_lost()
            self.assertEnds("made", "secure", b"one", kind)

    def test_synchronous_end(self) -> None:
        """A transport that ends within the very call leaves no timer and no second end."""
        for leave in ("loseConnection", "abortConnection"):
            for moment in ("made", "secure", "got"):
                above = Above(**{moment: lambda above, leave=leave: getattr(above.transport, leave)()})
                self.build(above, StringTransportWithDisconnection(), hello=False)
                self.layer.dataReceived(b"!hello\none\ntwo")
                kind = ConnectionDone if leave == "loseConnection" else ConnectionAborted
                self.assertEnds(*{"made": ["made"], "secure": ["made", "secure"]}.get(
                    moment, ["made", "secure", b"one"]), kind)  # fmt: skip

    def test_a_write_that_ends_it(self) -> None:
        """A transport that finds within a write that the peer is gone: no delivery after the end, and no
        timer, whoever wrote."""

        class Brittle(StringTransport):
            def write(self, data: bytes) -> None:
                super().write(data)
                if data != b"<":
                    self.protocol.connectionLost(Failure(ConnectionLost()))  # type: ignore[attr-defined]  # set by build

        self.build(Above(got=lambda above: above.transport.write(b"x")), Brittle())
        self.layer.pauseProducing()
        self.layer.dataReceived(b"one\ntwo")
        self.layer.resumeProducing()
        self.assertEnds("made", "secure", b"one", ConnectionLost)
        self.build(transport=Brittle())
        self.layer.loseConnection()
        self.assertEnds("made", "secure", ConnectionLost)

    def test_synchronous_failure(self) -> None:
        """The same for a failure, and for the peer's goodbye."""
        for said, kind in ((b"!bad", Rude), (b"!close", ConnectionDone)):
            self.build(transport=StringTransportWithDisconnection())
            self.layer.dataReceived(said + b"\nmore")
            self.assertEnds("made", "secure", kind)


class LingerTests(LayerCase):
    """Ciphers whose goodbye is answered."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(Plain, "answered", True)

    def test_answered(self) -> None:
        """The connection below is closed once the peer has said its own goodbye; until then it is read,
        for no one."""
        self.build()
        self.layer.pauseProducing()
        self.layer.loseConnection()
        self.assertEqual((self.below.value(), self.below.disconnecting), (b">", False))
        self.assertEqual(self.below.producerState, "producing")
        self.layer.dataReceived(b"not for us any more")
        self.layer.dataReceived(b"!close")
        self.assertTrue(self.below.disconnecting)
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionDone)

    def test_a_cipher_that_holds(self) -> None:
        """A cipher with too much to do can still stop the reading; the protocol above no longer can."""
        self.build()
        self.layer.hold("work")
        self.layer.loseConnection()
        self.assertEqual(self.below.producerState, "paused")
        self.layer.release("work")
        self.assertEqual(self.below.producerState, "producing")
        self.layer.pauseProducing()
        self.assertEqual(self.below.producerState, "producing")
        self.layer.hold("work")
        self.layer.dataReceived(b"!close")
        self.assertEqual((self.below.producerState, self.below.disconnecting), ("producing", True))

    def test_the_stream_ends(self) -> None:
        """Or once its stream has ended."""
        self.build()
        self.layer.loseConnection()
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionDone)

    def test_deadline(self) -> None:
        """But not later than five seconds, also if the peer trickles on."""
        self.build()
        self.layer.loseConnection()
        for _ in range(10):
            self.clock.advance(CLOSE_DEADLINE / 10)
            self.layer.dataReceived(b"x")
        self.assertTrue(self.below.disconnected)
        self.below_lost(ConnectionAborted())
        self.assertEnds("made", "secure", ConnectionAborted)

    def test_no_answer_to_an_answer(self) -> None:
        """Whoever is closed upon says goodbye and closes: two that wait for each other would wait long."""
        self.build()
        self.layer.dataReceived(b"!close")
        self.assertEqual((self.below.value(), self.below.disconnecting), (b">", True))

    def test_nonsense_instead(self) -> None:
        """A peer that answers with nonsense is left at once, and quietly."""
        self.build()
        self.layer.loseConnection()
        self.layer.dataReceived(b"!bad")
        self.assertTrue(self.below.disconnecting)
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionDone)
        self.assertEqual(self.logged, [])

    def test_fault_meanwhile(self) -> None:
        """A fault of the cipher ends it too, and is logged."""
        self.build()
        self.layer.loseConnection()
        self.layer.dataReceived(b"!crash")
        self.assertTrue(self.below.disconnected)
        self.below_lost()
        self.assertEnds("made", "secure", ZeroDivisionError)

    def test_abort_meanwhile(self) -> None:
        """And so does an abort."""
        self.build()
        self.layer.loseConnection()
        self.layer.abortConnection()
        self.assertTrue(self.below.disconnected)
        deadline = self.clock.getDelayedCalls()
        self.layer.dataReceived(b"!close")
        self.assertEqual(self.clock.getDelayedCalls(), deadline)
        self.below_lost(ConnectionAborted())
        self.assertEnds("made", "secure", ConnectionAborted)

    def test_late_goodbye(self) -> None:
        """A goodbye that a thread finds when all is over starts nothing."""
        self.build()
        self.layer.loseConnection()
        self.below_lost()
        self.layer.guarded(self.layer.take, b"!close")
        self.assertEnds("made", "secure", ConnectionDone)
        self.assertFalse(self.below.disconnecting)


class PendingTests(LayerCase):
    """Ciphers that work in threads."""

    def build(self, above: Above | None = None, transport: Any = None, *, hello: bool = True) -> None:
        super().build(above, transport, hello=hello)
        self.layer.pending = True

    def finish_work(self, part: bytes, *, pending: bool = False) -> None:
        self.layer.pending = pending
        self.layer.guarded(self.layer.take, part)

    def test_the_end_waits(self) -> None:
        """The end is told when all that came before was worked on."""
        self.build()
        self.below_lost()
        self.assertEqual(self.above.events, ["made", "secure"])
        self.finish_work(b"one", pending=True)
        self.assertEqual(self.above.events, ["made", "secure", b"one"])
        self.layer.write(b"nobody is there")
        self.layer.pauseProducing()
        self.layer.resumeProducing()
        self.finish_work(b"!close", pending=True)
        self.finish_work(b"")
        self.assertEnds("made", "secure", b"one", ConnectionDone)
        self.assertEqual((self.below.value(), self.below.disconnecting), (b"", False))

    def test_a_cut(self) -> None:
        """Without a goodbye in it, it still is a cut."""
        self.build()
        self.below_lost()
        self.finish_work(b"one")
        self.assertEnds("made", "secure", b"one", ConnectionLost)

    def test_told_twice(self) -> None:
        """The first end is the one that counts."""
        self.build()
        error = ConnectionLost()
        self.below_lost(error)
        self.below_lost()
        self.finish_work(b"one")
        self.assertEnds("made", "secure", b"one", ConnectionLost)
        self.assertIs(self.above.reason, error)

    def test_the_handshake(self) -> None:
        """Even a handshake may turn out complete only then."""
        self.build(hello=False)
        self.below_lost()
        self.finish_work(b"!hello", pending=True)
        self.finish_work(b"one", pending=True)
        self.finish_work(b"!close")
        self.assertEnds("made", "secure", b"one", ConnectionDone)

    def test_a_failure(self) -> None:
        """A failure ends the waiting, and a fault does."""
        for part, kind in ((b"!bad", Rude), (b"!crash", ZeroDivisionError)):
            self.build()
            self.below_lost()
            self.finish_work(part, pending=True)
            self.assertEnds("made", "secure", kind)

    def test_deadline(self) -> None:
        """A thread that never comes back is not waited for longer than five seconds."""
        self.build()
        self.below_lost()
        self.clock.advance(CLOSE_DEADLINE)
        self.finish_work(b"too late")
        self.assertEnds("made", "secure", ConnectionLost)

    def test_deadline_of_a_handshake(self) -> None:
        """Nor if the handshake was completed meanwhile."""
        self.build(hello=False)
        self.below_lost()
        self.finish_work(b"!hello", pending=True)
        self.clock.advance(CLOSE_DEADLINE)
        self.assertEnds("made", "secure", ConnectionLost)

    def test_leaving(self) -> None:
        """A protocol that leaves does not wait, nor does one that has left or failed already."""
        for leave, kind in (("loseConnection", ConnectionDone), ("abortConnection", ConnectionAborted)):
            self.build()
            self.below_lost()
            getattr(self.layer, leave)()
            self.assertEnds("made", "secure", kind)
            self.build()
            getattr(self.layer, leave)()
            self.below_lost()
            self.assertEnds("made", "secure", kind)
        self.build()
        self.layer.fail(Rude(what="x"))
        self.below_lost()
        self.assertEnds("made", "secure", Rude)


class ProducerTests(LayerCase):
    """Back-pressure upwards."""

    def test_passed_down(self) -> None:
        """The connection below pauses and resumes the producer itself."""
        for streaming in (True, False):
            self.build()
            producer = Producer()
            self.layer.registerProducer(producer, streaming)
            self.assertIs(self.below.producer, producer)
            self.assertIs(self.below.streaming, streaming)
            self.layer.unregisterProducer()
            self.layer.unregisterProducer()
            self.assertIsNone(self.below.producer)
            self.assertFalse(self.below.disconnecting)

    def test_second(self) -> None:
        """Two producers at a time are a fault of the protocol above."""
        self.build()
        first = Producer()
        self.layer.registerProducer(first, True)
        error = self.assertRaises(RuntimeError, self.layer.registerProducer, Producer(), True)
        self.assertEqual(str(error), "a producer is registered already")
        self.assertIs(self.below.producer, first)

    def test_too_late(self) -> None:
        """A producer that comes when we close, or when all is over, is stopped."""

        def over() -> None:
            self.below_lost()

        for end in ("loseConnection", "abortConnection", None):
            self.build()
            getattr(self.layer, end)() if end else over()
            producer = Producer()
            self.layer.registerProducer(producer, True)
            self.assertEqual(producer.told, ["stop"])
            self.assertIsNone(self.below.producer)

    def test_too_late_while_it_ends(self) -> None:
        """Also while the last work is done, or while another still produces."""
        self.build()
        self.layer.pending = True
        self.below_lost()
        late = Producer()
        self.layer.registerProducer(late, True)
        self.assertEqual(late.told, ["stop"])
        self.build()
        self.layer.registerProducer(Producer(), True)
        self.layer.loseConnection()
        late = Producer()
        self.layer.registerProducer(late, True)
        self.assertEqual(late.told, ["stop"])

    def test_closing_waits(self) -> None:
        """The goodbye comes behind all that a producer still writes."""
        self.build()
        self.layer.registerProducer(Producer(), True)
        self.layer.loseConnection()
        self.assertTrue(self.layer.disconnecting)
        self.layer.write(b"one")
        self.layer.writeSequence([b"two"])
        self.layer.dataReceived(b"not delivered")
        self.assertEqual((self.below.value(), self.below.disconnecting), (b"[one][two]", False))
        self.layer.unregisterProducer()
        self.assertEqual((self.below.value(), self.below.disconnecting), (b"[one][two]>", True))
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionDone)

    def test_closing_waits_while_it_gets_on(self) -> None:
        """A producer has five seconds from each write to the next; then the peer must have stopped it."""
        self.build()
        self.layer.registerProducer(Producer(), True)
        self.layer.loseConnection()
        for _ in range(10):
            self.clock.advance(CLOSE_DEADLINE - 0.1)
            self.layer.write(b"x")
        self.assertFalse(self.below.disconnected)
        self.clock.advance(CLOSE_DEADLINE)
        self.assertTrue(self.below.disconnected)
        self.below_lost(ConnectionAborted())
        self.layer.unregisterProducer()
        self.assertEnds("made", "secure", ConnectionAborted)

    def test_closing_waits_five_seconds(self) -> None:
        """A producer that writes nothing at all has them from the close, however often that is repeated."""
        self.build()
        self.layer.registerProducer(Producer(), True)
        self.layer.loseConnection()
        self.clock.advance(CLOSE_DEADLINE - 1)
        self.layer.loseConnection()
        self.clock.advance(1)
        self.assertTrue(self.below.disconnected)

    def test_the_peer_closes(self) -> None:
        """A producer is stopped, once, when the peer takes no more."""
        self.build()
        producer = Producer()
        self.layer.registerProducer(producer, True)
        self.layer.loseConnection()
        self.layer.dataReceived(b"!close")
        self.assertEqual(producer.told, ["stop"])
        self.assertIsNone(self.below.producer)
        self.layer.unregisterProducer()
        self.assertEqual((self.below.value(), self.below.disconnecting), (b">", True))
        self.below_lost()
        self.assertEnds("made", "secure", ConnectionDone)

    def test_the_connection_breaks(self) -> None:
        """The connection below tells a producer of its end itself; it may unregister after that."""
        for unregistering in (True, False):
            self.build()
            producer = Producer()
            self.layer.registerProducer(producer, True)
            self.layer.pending = True
            self.below_lost()
            if unregistering:
                self.layer.unregisterProducer()
            self.layer.guarded(self.layer.take, b"!close")
            self.layer.pending = False
            self.layer.guarded(self.layer.take, b"")
            self.assertEnds("made", "secure", ConnectionDone)
            self.assertEqual(producer.told, [])
            self.assertIs(self.below.producer, producer, "the connection below was told what it knows")

    def test_done_within_registering(self) -> None:
        """A pull producer may be done before registerProducer returns."""

        class Pulling(StringTransport):
            def registerProducer(self, producer: Any, streaming: bool) -> None:
                super().registerProducer(producer, streaming)
                producer.resumeProducing()

        class Once(Producer):
            def resumeProducing(once) -> None:  # noqa: N805 -- self is the test
                self.layer.write(b"all")
                self.layer.unregisterProducer()

        self.build(transport=Pulling())
        self.layer.registerProducer(Once(), False)
        self.layer.loseConnection()
        self.assertEqual((self.below.value(), self.below.disconnecting), (b"[all]>", True))

    def test_leaving_before_the_handshake(self) -> None:
        """A producer that was registered early, and a protocol that leaves: nothing is written."""
        self.build(hello=False)
        self.layer.registerProducer(Producer(), True)
        self.layer.loseConnection()
        self.layer.write(b"to nobody")
        self.layer.unregisterProducer()
        self.assertEqual((self.below.value(), self.below.disconnecting), (b"<", True))


class FactoryTests(SynchronousTestCase):
    """The factory around a factory."""

    def test_layers(self) -> None:
        """Each connection gets a layer around a protocol of the wrapped factory, or nothing at all."""
        built: list[Any] = []

        class Wrapped(Factory):
            started = 0

            def startFactory(self) -> None:
                self.started += 1

            def stopFactory(self) -> None:
                self.started -= 1

            def buildProtocol(self, addr: Any) -> Protocol | None:
                return None if addr is None else Above()

        wrapped = Wrapped()
        clock = Clock()
        factory = CipherFactory(
            wrapped, lambda protocol, address: built.append(address) or Plain(protocol, clock)
        )
        factory.doStart()
        self.assertEqual((wrapped.started, factory.numPorts), (1, 1))
        address = IPv4Address("TCP", "127.0.0.1", 1)
        layer = factory.buildProtocol(address)
        assert layer is not None
        self.assertIsInstance(layer.wrapped, Above)
        self.assertIsNone(factory.buildProtocol(None))
        self.assertEqual(built, [address])
        factory.doStop()
        self.assertEqual((wrapped.started, factory.numPorts), (0, 0))
