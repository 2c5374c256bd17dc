"""The contract: nobody is believed, told or sent anything before he proved his key."""

from __future__ import annotations

from base64 import b64decode
from typing import cast

from hypothesis import strategies as st
from zope.interface.verify import verifyObject

from encchat.ciphers.interfaces import (
    HANDSHAKE_DEADLINE,
    IClientCipher,
    ISecureTransport,
    IServerCipher,
    ServerClaim,
)
from encchat.ciphers.testing.harness import Harness, Recorder, RecorderFactory, Session, in_pieces
from encchat.ciphers.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS, End, Link
from encchat.core.identity import PeerIdentity, is_fingerprint
from encchat.errors import EncchatError, RefusedError
from encchat.text import clean_line

#: What strangers say to an open port; none of it begins a handshake of any cipher.
GARBAGE = (
    b"\x00" * 4096,
    b"\xff" * 70_000,
    b"\xff\xff\xff\xff",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n",
    bytes.fromhex("16030100a5010000a10303") + b"\x07" * 159,  # the beginning of a TLS 1.2 hello
    b"NICK alice\r\nUSER alice 0 * :Alice\r\n",
    b"\n" * 20_000,
    "\u202e\xe9\x1b]0;title\x07".encode() * 2000,
)


class _Refused(RefusedError):
    """This server is not the one."""


class _Greeting(Recorder):
    """Writes as soon as it may."""

    def __init__(self, greeting: bytes) -> None:
        super().__init__()
        self.greeting = greeting

    def secure(self) -> None:
        self.secure_transport.write(self.greeting)


class HandshakeContract(Harness):
    """Handshakes that succeed, and those that must not."""

    def test_both_sides_are_told_once(self) -> None:
        """Each protocol sees the connection, then one complete handshake, and nothing else."""
        session = self.connect()
        for recorder in session.recorders:
            self.assertEqual(recorder.events, ["connectionMade", "handshakeCompleted"])

    def test_each_sees_the_other(self) -> None:
        """The identity that a side shows before it connects is what the other side sees."""
        session = self.secured()
        for recorder, expected in (
            (session.client, self.server_cipher.identity),
            (session.server, self.client_cipher.identity),
        ):
            transport = recorder.secure_transport
            verifyObject(ISecureTransport, transport)
            self.assertEqual(transport.negotiatedProtocol, self.protocol)
            seen = transport.peerIdentity
            assert isinstance(seen, PeerIdentity)
            self.assertTrue(is_fingerprint(seen.fingerprint), seen.fingerprint)
            self.assertEqual(seen.fingerprint, expected.fingerprint)
            self.assertEqual(seen.cipher, expected.cipher)
            self.assertTrue(seen.authenticated)
            self.assertTrue(seen.summary)
            self.assertEqual(seen.summary, clean_line(seen.summary))
        self.assertNotEqual(self.server_cipher.identity.fingerprint, self.client_cipher.identity.fingerprint)

    def test_the_identity_lasts(self) -> None:
        """The same files make the same identity, and nobody else can read the keys."""
        server, client = self.make_ciphers(self.directory())
        self.assertEqual(server.identity, self.server_cipher.identity)
        self.assertEqual(client.identity, self.client_cipher.identity)
        for path in self.directory().rglob("*"):
            if path.is_file() and b"PRIVATE KEY" in path.read_bytes():
                self.assertEqual(path.stat().st_mode & 0o077, 0, f"{path} is not for its owner alone")

    def test_the_ciphers_provide_their_interfaces(self) -> None:
        """Both sides have every method and attribute that is promised."""
        verifyObject(IServerCipher, self.server_cipher)
        verifyObject(IClientCipher, self.client_cipher)
        for cipher in (self.server_cipher, self.client_cipher):
            for note in cipher.notes:
                self.assertEqual(note, clean_line(note))

    def test_nothing_is_known_or_written_before(self) -> None:
        """At connectionMade there is no peer yet: no identity, and a write is an error of ours."""
        test = self

        class Early(Recorder):
            def made(self) -> None:
                test.assertIsNone(self.secure_transport.peerIdentity)
                test.assertRaises(RuntimeError, self.secure_transport.write, b"early")
                test.assertRaises(RuntimeError, self.secure_transport.writeSequence, [b"ear", b"ly"])

        session = self.secured(Early(), Early())
        for recorder in session.recorders:
            self.assertEqual(recorder.received, b"")

    def test_writing_at_once(self) -> None:
        """What is written within handshakeCompleted arrives, from both sides."""
        session = self.secured(_Greeting(b"hello, server"), _Greeting(b"hello, client"))
        self.assertEqual(session.client.received, b"hello, client")
        self.assertEqual(session.server.received, b"hello, server")

    def test_closing_at_once(self) -> None:
        """A side that closes within handshakeCompleted ends the connection properly, or at least ends it."""

        class Closing(Recorder):
            def secure(self) -> None:
                self.secure_transport.write(b"bye")
                self.secure_transport.loseConnection()

        for client, server in ((Recorder(), Closing()), (Closing(), Recorder()), (Closing(), Closing())):
            session = self.connect(client, server)
            self.pass_deadlines(session.link)
            for recorder in session.recorders:
                self.assertEqual(recorder.events.count("connectionLost"), 1, recorder.events)
                self.assertLessEqual(recorder.completed, 1)
                self.assertIn(bytes(recorder.received), (b"", b"bye"))

    def test_aborting_at_once(self) -> None:
        """A side may abort within handshakeCompleted, or before."""

        class Aborting(Recorder):
            def secure(self) -> None:
                self.secure_transport.abortConnection()

        class Leaving(Recorder):
            def made(self) -> None:
                self.secure_transport.loseConnection()

        class Bolting(Recorder):
            def made(self) -> None:
                self.secure_transport.abortConnection()

        for kind in (Aborting, Leaving, Bolting):
            for client, server in ((kind(), Recorder()), (Recorder(), kind())):
                session = self.connect(client, server)
                self.pass_deadlines(session.link)
                for recorder in session.recorders:
                    self.assertEqual(recorder.events.count("connectionLost"), 1, (kind, recorder.events))
                    self.assertEqual(recorder.received, b"")

    def test_any_segments(self) -> None:
        """The handshake completes however the stream is cut."""

        def attempt(up: list[int], down: list[int]) -> None:
            session = self.connect(_Greeting(b"up"), _Greeting(b"down"), flush=False)
            in_pieces(session.link.client, up)
            in_pieces(session.link.server, down)
            self.flush(session)
            self.assertEqual((session.client.received, session.server.received), (b"down", b"up"))

        sizes = st.lists(st.one_of(st.integers(1, 8), st.integers(1, 2000)), max_size=60)
        self.check(attempt, up=sizes, down=sizes)

    def test_byte_by_byte(self) -> None:
        """The handshake completes when each byte arrives alone."""
        session = self.connect(_Greeting(b"up"), _Greeting(b"down"), flush=False)
        for end in (session.link.client, session.link.server):
            in_pieces(end, [1] * 20_000)
        self.flush(session)
        self.assertEqual((session.client.received, session.server.received), (b"down", b"up"))

    # ------------------------------------------------------------------------------------- trust

    def test_the_client_is_asked_first(self) -> None:
        """The client judges the server once, by the truth, before it says who it is itself."""
        session = self.secured()
        self.assertEqual(len(session.claims), 1)
        claim = session.claims[0]
        assert isinstance(claim, ServerClaim)
        self.assertEqual(claim.fingerprint, self.server_cipher.identity.fingerprint)
        self.assertTrue(claim.profile)
        self.assertIsInstance(claim.vouched, bool)
        self.assertEqual(claim.summary, clean_line(claim.summary))
        self._anonymous(session.sent_before_trust)

    def test_a_server_that_is_not_trusted(self) -> None:
        """The client's protocol ends with the very error of the judge; the server learns nothing."""
        error = _Refused()

        def refuse(claim: ServerClaim) -> None:
            raise error

        session = self.connect(trust=refuse)
        self.pass_deadlines(session.link)
        self.assertEqual(session.client.events, ["connectionMade", "connectionLost"])
        self.assertIs(session.client.reason, error)
        self.assertEqual(session.server.events, ["connectionMade", "connectionLost"])
        self._anonymous(session.sent_before_trust)
        if self.max_sent_before_trust is None:
            self._anonymous(bytes(session.link.client.sent))
        else:
            self.assertEqual(bytes(session.link.client.sent), session.sent_before_trust)

    def test_a_judge_that_breaks(self) -> None:
        """A fault in the judge is not taken for consent."""

        def break_down(claim: ServerClaim) -> None:
            raise ZeroDivisionError

        session = self.connect(trust=break_down)
        self.pass_deadlines(session.link)
        self.flushLoggedErrors(ZeroDivisionError)
        self.assertEqual(session.client.events, ["connectionMade", "connectionLost"])
        self.assertEqual(session.server.completed, 0)
        self._anonymous(session.sent_before_trust)

    def _anonymous(self, sent: bytes) -> None:
        if self.max_sent_before_trust is not None:
            self.assertLessEqual(len(sent), self.max_sent_before_trust)
        shown = self.client_cipher.identity.fingerprint
        self.assertNotIn(shown.encode(), sent)
        self.assertNotIn(b64decode(shown.removeprefix("SHA256:") + "="), sent)

    def test_a_stranger(self) -> None:
        """A client that the cipher itself must refuse never reaches the server's protocol."""
        stranger = self.make_stranger(self.directory())
        if stranger is None:
            return
        self.start(stranger)
        session = self.connect(cipher=stranger)
        self.pass_deadlines(session.link)
        self.assertEqual(session.server.events, ["connectionMade", "connectionLost"])
        self.assertIsInstance(session.server.reason, EncchatError)
        self.assertEqual(session.client.events[-1], "connectionLost")

    # -------------------------------------------------------------------------------- bad peers

    def test_silence(self) -> None:
        """A peer that says nothing is dropped at the deadline, not before, and leaves no timer."""
        for side in ("server", "client"):
            timers = len(self.reactor.getDelayedCalls())
            recorder, link = self.alone(side)
            self.flush_link(link)
            self.reactor.advance(HANDSHAKE_DEADLINE - 0.1)
            self.flush_link(link)
            self.assertEqual(recorder.events, ["connectionMade"], side)
            self.reactor.advance(0.2)
            self.flush_link(link)
            self._refused(recorder, side)
            self.assertLessEqual(len(self.reactor.getDelayedCalls()), timers, "a timer was left")

    def test_a_trickle(self) -> None:
        """A byte now and then does not extend the deadline."""
        client_bytes, server_bytes = self.handshake_bytes()
        for side, stream in (("server", client_bytes), ("client", server_bytes)):
            recorder, link = self.alone(side)
            peer = link.client if side == "server" else link.server
            for byte in stream[:9]:
                peer.write(bytes([byte]))
                self.flush_link(link)
                self.reactor.advance(1)
            self.reactor.advance(HANDSHAKE_DEADLINE - 9 + 0.1)
            self.flush_link(link)
            self._refused(recorder, side)

    def test_garbage(self) -> None:
        """What is no handshake is refused, and harms nobody."""
        for side in ("server", "client"):
            for garbage in GARBAGE:
                recorder, link = self.alone(side, garbage)
                self.pass_deadlines(link)
                self._refused(recorder, (side, garbage[:20]))

    def test_random_bytes(self) -> None:
        """Nor is what hypothesis thinks of."""

        def attempt(side: str, data: bytes) -> None:
            recorder, link = self.alone(side, data)
            self.pass_deadlines(link)
            self._refused(recorder, side)

        self.check(attempt, side=st.sampled_from(["server", "client"]), data=st.binary(max_size=2000))

    def test_a_truncated_handshake(self) -> None:
        """Wherever the handshake is cut, the side that needed the rest is told that it failed."""
        client_bytes, server_bytes = self.handshake_bytes()

        def attempt(from_client: bool, where: float) -> None:
            session = self.connect(flush=False)
            end = session.link.client if from_client else session.link.server
            limit = int(where * len(client_bytes if from_client else server_bytes))
            end.tamper = lambda position, piece: piece[: max(0, limit - position)]
            self.flush(session)
            reader = session.server if from_client else session.client
            self.assertEqual(reader.completed, 0)
            session.link.cut()
            self.settle()
            self._refused(reader, (from_client, where))

        self.check(attempt, from_client=st.booleans(), where=st.floats(0, 0.99))

    def test_a_flipped_bit(self) -> None:
        """With any bit of the handshake flipped, either it fails for both or nothing wrong is believed."""
        client_bytes, server_bytes = self.handshake_bytes()

        def attempt(from_client: bool, where: float, bit: int) -> None:
            session = self.connect(_Greeting(b"up"), _Greeting(b"down"), flush=False)
            end = session.link.client if from_client else session.link.server
            flip(end, int(where * len(client_bytes if from_client else server_bytes)), bit)
            self.pass_deadlines(session.link)
            for recorder, identity, said in (
                (session.client, self.server_cipher.identity, b"down"),
                (session.server, self.client_cipher.identity, b"up"),
            ):
                self.assertLessEqual(recorder.completed, 1)
                self.assertIn(bytes(recorder.received), (b"", said))
                if recorder.completed:
                    transport = recorder.secure_transport
                    peer = cast(PeerIdentity, transport.peerIdentity)
                    self.assertEqual(peer.fingerprint, identity.fingerprint)
                    self.assertEqual(transport.negotiatedProtocol, self.protocol)
            ended = [recorder.events[-1] == "connectionLost" for recorder in session.recorders]
            if not all(ended):
                self.assertEqual(ended, [False, False])
                self.assertEqual((session.client.received, session.server.received), (b"down", b"up"))

        self.check(
            attempt,
            from_client=st.booleans(),
            where=st.floats(0, 1, exclude_max=True),
            bit=st.integers(0, 7),
        )

    def test_a_replay(self) -> None:
        """A recorded connection, played to either side, proves nothing."""
        session = self.secured(_Greeting(b"up"), _Greeting(b"down"))
        session.client.secure_transport.loseConnection()
        self.flush(session)
        for side, stream in (("server", session.link.client.sent), ("client", session.link.server.sent)):
            recorder, link = self.alone(side, bytes(stream))
            self.pass_deadlines(link)
            self._refused(recorder, side)

    def test_a_client_for_a_server(self) -> None:
        """Two clients have nothing to say to each other."""
        session = Session(Recorder(), Recorder())
        protocols = [self.client_protocol(recorder, lambda claim: None) for recorder in session.recorders]
        session.link = Link(self.reactor, *protocols)
        self._sessions.append(session)
        self.pass_deadlines(session.link)
        for recorder in session.recorders:
            self._refused(recorder, "client to client")

    def _refused(self, recorder: Recorder, what: object) -> None:
        self.assertEqual(recorder.events, ["connectionMade", "connectionLost"], what)
        self.assertIsInstance(recorder.reason, EncchatError, what)

    def handshake_bytes(self) -> tuple[bytes, bytes]:
        """What client and server send in a handshake."""
        session = self.secured()
        streams = bytes(session.link.client.sent), bytes(session.link.server.sent)
        self.end_sessions()
        return streams

    # ---------------------------------------------------------------------------------- factories

    def test_a_factory_that_builds_nothing(self) -> None:
        """Where the wrapped factory refuses a connection, so does the cipher's."""
        server = self.server_cipher.wrap(RecorderFactory(None))
        client = self.client_cipher.wrap(RecorderFactory(None), self.host, lambda claim: None)
        self.assertIsNone(server.buildProtocol(CLIENT_ADDRESS))
        self.assertIsNone(client.buildProtocol(SERVER_ADDRESS))

    def test_the_factory_starts_and_stops_with_the_port(self) -> None:
        """The wrapped factory is told when listening or connecting begins and ends."""
        for wrap in (
            self.server_cipher.wrap,
            lambda factory: self.client_cipher.wrap(factory, self.host, lambda claim: None),
        ):
            inner = RecorderFactory(None)
            outer = wrap(inner)
            outer.doStart()
            self.assertEqual(inner.started, 1)
            outer.doStop()
            self.assertEqual(inner.started, 0)

    def test_nothing_below_shines_through(self) -> None:
        """The transport has what ISecureTransport promises; the socket's own attributes stay below."""
        session = self.secured()
        for recorder in session.recorders:
            for name in ("setTcpNoDelay", "setTcpKeepAlive", "loseWriteConnection", "getHandle", "startTLS"):
                self.assertFalse(hasattr(recorder.transport, name), name)
            self.assertFalse(hasattr(recorder.transport, "an_attribute_that_nobody_has"))
            self.assertFalse(hasattr(recorder.transport, "outgoing"), "the transport below shines through")


def flip(end: End, position: int, bit: int) -> None:
    """Flip one bit of what ``end`` sends, ``position`` bytes into the stream."""

    def tampered(start: int, piece: bytes) -> bytes:
        if not start <= position < start + len(piece):
            return piece
        altered = bytearray(piece)
        altered[position - start] ^= 1 << bit
        return bytes(altered)

    end.tamper = tampered
