"""The Protocol and Factory above a cipher: bridges, caps, back-pressure, log lines."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.accounts.admission import Policy
from encchat.core.chat import appends
from encchat.core.chat.hub import COMPLAINT_LINES
from encchat.core.identity import PeerIdentity
from encchat.server import caps, peers
from encchat.server.caps import LOCAL, Caps, origin
from encchat.server.factory import QUIET, ChatFactory, ChatProtocol
from encchat.server.peers import MAX_LINE, STORING_PAUSE, where
from encchat.wire import FrameSplitter, decode_server, encode
from tests.core.world import World, identity, msgid, text

HERE = IPv4Address("TCP", "192.0.2.1", 4000)


class SecureTransport:
    """What a cipher gives the protocol above it, in memory."""

    def __init__(self, who: PeerIdentity, protocol: bytes | None) -> None:
        self.peerIdentity: PeerIdentity | None = who
        self.negotiatedProtocol = protocol
        self.written: list[bytes] = []
        self.paused = False
        self.closed = False
        self.producer: Any = None

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def loseConnection(self) -> None:
        assert self.producer is None, "a transport waits for its producer"
        self.closed = True

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def getPeer(self) -> IPv4Address:
        return HERE

    @property
    def text(self) -> str:
        return b"".join(self.written).decode()


class Server:
    """A factory over a hub in memory."""

    def __init__(self, caps: Caps | None = None, **settings: Any) -> None:
        self.world = World(**settings)
        self.clock = Clock()
        self.caps = Caps(100, 10) if caps is None else caps
        self.factory = ChatFactory(self.caps, self.clock)
        self.factory.hub = self.world.hub

    def connect(
        self, key: str, protocol: bytes | None = b"encchat/1", here: IAddress = HERE
    ) -> tuple[ChatProtocol, SecureTransport]:
        built = self.factory.buildProtocol(here)
        assert built is not None
        transport = SecureTransport(identity(key, authenticated=protocol is not None), protocol)
        built.makeConnection(cast(Any, transport))
        built.handshakeCompleted()
        self.world.turn.end()
        return built, transport

    def feed(self, protocol: ChatProtocol, *messages: m.ClientMessage) -> None:
        protocol.dataReceived(b"".join(map(encode, messages)))
        self.world.turn.end()


def news(transport: SecureTransport) -> list[Any]:
    frames = FrameSplitter().feed(b"".join(transport.written))
    transport.written.clear()
    return [decode_server(frame) for frame in frames]


class Native(SynchronousTestCase):
    """Frames in, frames out."""

    def setUp(self) -> None:
        self.server = Server()
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def lines(self) -> list[str]:
        return [str(event.get("log_format", "")).format(**event) for event in self.events]

    def test_a_conversation(self) -> None:
        alice, to_alice = self.server.connect("alice")
        self.assertEqual(to_alice.written, [])
        self.server.feed(alice, m.Hello((1,), "alice"), m.Join(1, "+lobby"), text(2, "hello"))
        self.assertEqual(
            [type(n) for n in news(to_alice)], [m.Welcome, m.Joined, m.Presence, m.Sent, m.Entry]
        )
        self.assertEqual(len(self.lines()), 1)
        self.assertRegex(self.lines()[0], r"192.0.2.1:4000 admitted as alice over test, key SHA256:")

    def test_no_text_in_the_log(self) -> None:
        alice, _ = self.server.connect("alice")
        self.server.feed(alice, m.Hello((1,), "alice"), m.Join(1, "+lobby"), text(2, "sesame"))
        alice.dataReceived(b"\xff\xff\xff\xff sesame")
        self.assertNotIn("sesame", "".join(self.lines()))
        self.assertEqual(len(self.lines()), 2)
        self.assertIn(
            "closed: The other side broke the protocol: a frame of 4294967295 bytes", self.lines()[1]
        )

    def test_small_frames_before_admission_large_ones_after(self) -> None:
        eve, to_eve = self.server.connect("eve")
        eve.dataReceived((5000).to_bytes(4, "big"))
        self.assertTrue(to_eve.closed)
        alice, to_alice = self.server.connect("alice")
        self.server.feed(alice, m.Hello((1,), "alice"), m.Join(1, "+lobby"))
        self.server.feed(alice, m.Send(2, "+lobby", msgid(2), "text", b"x" * 60_000))
        self.assertIn(m.Sent, [type(n) for n in news(to_alice)])
        alice.dataReceived((1 << 20).to_bytes(4, "big"))
        self.assertTrue(to_alice.closed)

    def test_back_pressure(self) -> None:
        alice, _ = self.server.connect("alice")
        bob, to_bob = self.server.connect("bob")
        for name, protocol in (("alice", alice), ("bob", bob)):
            self.server.feed(protocol, m.Hello((1,), name), m.Join(1, "+lobby"))
        news(to_bob)
        to_bob.producer.pauseProducing()
        self.server.feed(alice, text(1, "one"))
        self.assertEqual(to_bob.written, [])
        to_bob.producer.resumeProducing()
        self.assertEqual([n.seq for n in news(to_bob)], [1])
        to_bob.producer.stopProducing()

    def test_refused_is_one_line(self) -> None:
        alice, transport = self.server.connect("alice")
        self.server.feed(alice, m.Hello((1,), "a b\x1b]0;owned\x07"))
        self.assertTrue(transport.closed)
        (line,) = self.lines()
        self.assertIn("refused: The name", line)
        self.assertNotIn("\x1b", line)

    def test_refused_again_and_again(self) -> None:
        """Nobody fills the disk: some of it is only counted."""
        turn = self.server.world.turn
        rate, burst = COMPLAINT_LINES
        for _ in range(burst + 70):
            alice, _ = self.server.connect("alice")
            self.server.feed(alice, m.Hello((1,), "a b"))
            alice.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(len(self.lines()), burst)
        turn.time += 1 / rate
        alice, _ = self.server.connect("alice")
        self.server.feed(alice, m.Hello((1,), "a b"))
        self.assertIn("(and 70 like it were not logged)", self.lines()[-1])

    def test_lost(self) -> None:
        alice, _ = self.server.connect("alice")
        self.server.feed(alice, m.Hello((1,), "alice"))
        alice.connectionLost(Failure(ConnectionDone()))
        self.assertEqual((self.server.world.hub.sessions, len(self.server.caps)), (set(), 0))

    def test_new_names_count_for_the_address(self) -> None:
        self.server = Server(new_names=2)
        codes = []
        for name in ("a", "b", "c"):
            peer, transport = self.server.connect(name)
            self.server.feed(peer, m.Hello((1,), name))
            codes.append(getattr(news(transport)[0], "code", ""))
        self.assertEqual(codes, ["", "", "too-many-names"])

    def test_what_connections_of_one_address_hold_back_is_bounded(self) -> None:
        """Frames that are begun and never ended, by as many as one likes, do not fill the memory."""
        self.patch(caps, "HELD", 1024 * 1024)
        self.server = Server(Caps(100, 100))
        half = (m.MAX_PAYLOAD).to_bytes(4, "big") + bytes(m.MAX_PAYLOAD - 10)
        peers = []
        for number in range(10):
            peer, transport = self.server.connect(f"n{number}")
            self.server.feed(peer, m.Hello((1,), f"n{number}"))
            transport.written.clear()
            peers.append((peer, transport))
            for at in range(0, len(half), 65536):
                if not transport.closed:
                    peer.dataReceived(half[at : at + 65536])
        closed = [transport for _, transport in peers if transport.closed]
        self.assertEqual(len(closed), 10 - 1024 * 1024 // m.MAX_PAYLOAD)
        self.assertEqual({news(transport)[0].code for transport in closed}, {"too-much-held"})
        # What is let go can be held by others; and whoever sends ordinary frames has no part in it.
        alice, to_alice = self.server.connect("alice")
        self.server.feed(alice, m.Hello((1,), "alice"), m.Join(1, "+lobby"), text(2, "hello"))
        self.assertFalse(to_alice.closed)
        for peer, _ in peers:
            peer.connectionLost(Failure(ConnectionDone()))
        for at in range(0, len(half), 65536):
            alice.dataReceived(half[at : at + 65536])
        self.assertFalse(to_alice.closed)

    def test_lost_during_the_handshake(self) -> None:
        built = self.server.factory.buildProtocol(HERE)
        assert built is not None
        built.connectionLost()
        self.assertEqual(len(self.server.caps), 0)


class Classic(SynchronousTestCase):
    """Lines in, lines out."""

    def setUp(self) -> None:
        self.server = Server(limits=m.Limits(rate=10, burst=3))
        self.alice, self.to_alice = self.server.connect("alice")
        self.server.feed(self.alice, m.Hello((1,), "alice"), m.Join(1, "+lobby"))
        self.guest, self.to_guest = self.server.connect("guest", None)
        self.name = next(n.name for n in news(self.to_alice) if type(n) is m.Presence and n.classic)

    def said(self) -> list[str]:
        return [n.body.decode() for n in news(self.to_alice) if type(n) is m.Entry and n.sender == self.name]

    def line(self, data: bytes) -> None:
        self.guest.dataReceived(data)
        self.server.world.turn.end()

    def test_greeted(self) -> None:
        self.assertEqual(
            self.to_guest.text.splitlines(),
            [
                f"* You are {self.name} in +lobby. This profile hides little: it is a lesson.",
                "* Here: alice",
            ],
        )

    def test_both_ways(self) -> None:
        self.to_guest.written.clear()
        self.line(b"hello there\n")
        self.assertEqual(self.said(), ["hello there"])
        self.server.feed(
            self.alice,
            text(1, "hi\nyou\x1b[31m"),
            m.Send(2, "+lobby", msgid(2), "me", b"waves"),
            m.Topic(3, "+lobby", msgid(3), "Tea"),
        )
        self.assertEqual(
            self.to_guest.text.splitlines(), ["alice: hi you", "* alice waves", "* alice set the topic: Tea"]
        )

    def test_what_the_transport_has_no_room_for_waits_here(self) -> None:
        """It refuses what goes on after it is full: two long messages would cut every guest off."""
        self.to_guest.written.clear()
        full = False

        def write(data: bytes) -> None:
            nonlocal full
            self.assertFalse(full, "written to a full transport")
            full = True
            self.to_guest.written.append(data)
            self.guest.pauseProducing()

        self.patch(self.to_guest, "write", write)
        self.server.feed(self.alice, *[text(n, str(n) * 60_000) for n in range(1, 4)])
        self.assertEqual(len(self.to_guest.written), 1)
        for _ in range(3):
            full = False
            self.guest.resumeProducing()
            self.server.world.turn.end()
        said = self.to_guest.text.splitlines()
        self.assertEqual([line[:8] for line in said], ["alice: 1", "alice: 2", "alice: 3"])

    def test_a_close_says_why_even_then(self) -> None:
        self.guest.pauseProducing()
        self.server.feed(self.alice, text(1, "one"))
        self.to_guest.written.clear()
        self.server.world.hub.close("the server is stopping")
        self.assertEqual(self.to_guest.text, "* Closing: the server is stopping\n")
        self.assertTrue(self.to_guest.closed)

    def test_while_the_log_has_enough_lines_wait_here(self) -> None:
        self.patch(appends, "QUEUE", 5)
        log = self.server.world.log
        log.gates = gates = []
        self.line(b"line\n" * 20)
        for _ in range(30):
            self.server.clock.advance(STORING_PAUSE)
            self.server.world.turn.time += STORING_PAUSE
            self.server.world.turn.end()
        self.assertTrue(self.to_guest.paused)
        log.gates = None
        self.server.world.turn.open(gates[0])
        self.assertLess(len(self.said()), 10)
        for _ in range(30):
            self.server.world.turn.end()
            self.server.clock.advance(STORING_PAUSE)
            self.server.world.turn.time += STORING_PAUSE
        self.server.world.turn.end()
        self.assertFalse(self.to_guest.paused)
        self.assertEqual(len(self.server.world.log_frames("+lobby")), 20)

    def test_what_waits_is_bounded(self) -> None:
        self.patch(peers, "MAX_UNSAID", 100)
        self.guest.pauseProducing()
        self.to_guest.written.clear()
        for _ in range(50):
            self.guest.dataReceived(b"\xff\n")  # no text, which is answered
            self.server.world.turn.end()
            self.server.clock.advance(1)
            self.server.world.turn.time += 1
        self.guest.resumeProducing()
        self.assertGreater(len(self.to_guest.text), 100)
        self.assertLess(len(self.to_guest.text), 300)

    def test_presence(self) -> None:
        self.to_guest.written.clear()
        bob, _ = self.server.connect("bob")
        self.server.feed(bob, m.Hello((1,), "bob"), m.Join(1, "+lobby"), m.Part(2, "+lobby"))
        self.assertEqual(self.to_guest.text.splitlines(), ["* bob came in", "* bob left"])

    def test_lines_cut_anywhere(self) -> None:
        self.line(b"one\ntw")
        self.line(b"o\n\n  \n")
        self.assertEqual(self.said(), ["one", "two"])

    def test_an_unfinished_line_is_bounded(self) -> None:
        for _ in range(100):
            self.guest.dataReceived(b"x" * 1000)
        self.line(b"\n")
        (body,) = self.said()
        self.assertLessEqual(len(body), MAX_LINE)

    def test_too_fast_is_made_to_wait_and_loses_nothing(self) -> None:
        self.line(b"".join(b"%d\n" % n for n in range(20)))
        self.assertEqual(self.said(), ["0", "1", "2"])
        self.assertTrue(self.to_guest.paused)
        said: list[str] = []
        for _ in range(200):
            self.server.world.turn.time += 0.1
            self.server.clock.advance(0.1)
            self.server.world.turn.end()
            said += self.said()
        self.assertEqual(said, [str(n) for n in range(3, 20)])
        self.assertFalse(self.to_guest.paused)

    def test_not_text_is_answered(self) -> None:
        self.to_guest.written.clear()
        self.line(b"\xff\xfe\n")
        self.assertIn("* Not sent: The message is not UTF-8 text", self.to_guest.text)

    def test_lost_while_waiting(self) -> None:
        self.line(b"1\n2\n3\n4\n")
        self.guest.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.server.clock.getDelayedCalls(), [])
        self.assertEqual(len(self.server.caps), 1)

    def test_stopping_is_said(self) -> None:
        self.server.world.hub.close("the server is stopping")
        self.assertIn("* Closing: the server is stopping", self.to_guest.text)
        self.assertTrue(self.to_guest.closed)

    def test_not_a_member(self) -> None:
        server = Server(policy=Policy({}))
        _, transport = server.connect("guest", None)
        self.assertIn("* This server admits only its members", transport.text)
        self.assertTrue(transport.closed)
        self.assertEqual(server.world.hub.sessions, set())


class Counting(SynchronousTestCase):
    """Caps: connections in all, half-open ones per address."""

    def test_half_open(self) -> None:
        server = Server(Caps(100, 2))
        alice, _ = server.connect("alice")
        server.connect("bob")
        self.assertIsNone(server.factory.buildProtocol(HERE))
        self.assertIsNotNone(server.factory.buildProtocol(IPv4Address("TCP", "192.0.2.2", 1)))
        server.feed(alice, m.Hello((1,), "alice"))
        self.assertIsNotNone(server.factory.buildProtocol(HERE))

    def test_the_loopback_may_be_everybodys(self) -> None:
        """A proxy, a gateway or a tunnel on this machine: how many come in, the cap on all of them says."""
        for host in ("127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1", LOCAL):
            server = Server(Caps(100, 5, 1), new_names=1)
            here = IPv6Address("TCP", host, 1) if ":" in host else IPv4Address("TCP", host, 1)
            for name in ("alice", "bob"):
                peer, transport = server.connect(name, here=here)
                server.feed(peer, m.Hello((1,), name))
                self.assertEqual([type(n) for n in news(transport)], [m.Welcome], host)
            for _ in range(5):
                self.assertIsNotNone(server.factory.buildProtocol(here))
            self.assertIsNone(server.factory.buildProtocol(here), "half-open ones are counted for all")

    def test_what_counts_as_one_address(self) -> None:
        """Who has one IPv6 address has 2**64 of them."""
        for host, counted in (
            ("10.1.2.3", "10.1.2.3"),
            ("::ffff:10.1.2.3", "10.1.2.3"),
            ("::1", "::1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("local", "local"),
        ):
            self.assertEqual(origin(host), counted)
        server = Server(Caps(100, 1))
        first, second, other = (
            IPv6Address("TCP", host, 1) for host in ("2001:db8::1", "2001:db8::2", "2001:db8:0:1::1")
        )
        self.assertIsNotNone(server.factory.buildProtocol(first))
        self.assertIsNone(server.factory.buildProtocol(second))
        self.assertIsNotNone(server.factory.buildProtocol(other))

    def test_in_all(self) -> None:
        server = Server(Caps(1, 10))
        alice, _ = server.connect("alice")
        server.feed(alice, m.Hello((1,), "alice"))
        self.assertIsNone(server.factory.buildProtocol(HERE))
        alice.connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(server.factory.buildProtocol(HERE))

    def test_of_one_address(self) -> None:
        server = Server(Caps(100, 10, 2))
        alice, _ = server.connect("alice")
        server.feed(alice, m.Hello((1,), "alice"))
        bob, _ = server.connect("bob")
        self.assertIsNone(server.factory.buildProtocol(HERE))
        self.assertIsNotNone(server.factory.buildProtocol(IPv4Address("TCP", "127.0.0.2", 1)))
        bob.connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(server.factory.buildProtocol(HERE))
        self.assertIsNone(server.factory.buildProtocol(HERE))
        alice.connectionLost(Failure(ConnectionDone()))
        self.assertIsNotNone(server.factory.buildProtocol(HERE))

    def test_the_log_is_not_flooded(self) -> None:
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        server = Server(Caps(0, 10))
        for _ in range(1000):
            server.factory.buildProtocol(HERE)
        self.assertEqual(len(list(events)), 1)
        server.world.turn.time += QUIET
        server.factory.buildProtocol(HERE)
        self.assertEqual([event["count"] for event in events], [1, 1000])


class Addresses(SynchronousTestCase):
    """where() writes an address as a person does."""

    def test_forms(self) -> None:
        from twisted.internet.address import IPv6Address, UNIXAddress

        self.assertEqual(where(HERE), "192.0.2.1:4000")
        self.assertEqual(where(IPv6Address("TCP", "::1", 4)), "[::1]:4")
        self.assertIn("sock", where(UNIXAddress("/tmp/sock")))
