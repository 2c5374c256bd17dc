"""The contract: how a connection ends is told truly, on both sides, and nothing stays behind."""

from __future__ import annotations

import gc
import weakref

from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.python.failure import Failure

from encchat.ciphers.layer import CLOSE_DEADLINE
from encchat.ciphers.testing.harness import Harness, Recorder, Session
from encchat.ciphers.testing.link import READ_SIZE
from encchat.ciphers.testing.streams import Pausing, Pusher, noise
from encchat.errors import EncchatError

#: What a client writes before it closes.
PIECES = st.lists(st.binary(min_size=1, max_size=500), min_size=1, max_size=4)


class EndContract(Harness):
    """Closing, cutting, aborting, tampering."""

    def test_a_proper_close(self) -> None:
        """Whoever closes, the peer gets all that was written before, and both see ConnectionDone."""
        for closer_is_client in (True, False):
            session = self.secured()
            closer = session.client if closer_is_client else session.server
            data = noise(5000)
            closer.secure_transport.write(data)
            closer.secure_transport.loseConnection()
            closer.secure_transport.write(b"too late")
            closer.secure_transport.loseConnection()
            self.flush(session)
            self.assertEqual(session.other(closer).received, data)
            self._ended(session, ConnectionDone)

    def test_closing_while_the_other_writes(self) -> None:
        """What the closing side wrote arrives although it no longer reads what the peer is writing."""
        session = self.secured()
        session.client.secure_transport.write(noise(3 * READ_SIZE))
        said = noise(READ_SIZE + 1) + b"closing: full"
        session.server.secure_transport.write(said)
        session.server.secure_transport.loseConnection()
        self.flush(session)
        self.assertEqual(session.client.received, said)
        self._ended(session, ConnectionDone)
        self.assertEqual(session.server.received, b"", "delivered after it had closed")

    def test_both_close(self) -> None:
        """Two closes that cross are proper ones, and nobody waits for the other."""
        session = self.secured()
        for recorder in session.recorders:
            recorder.secure_transport.write(b"bye")
            recorder.secure_transport.loseConnection()
        self.flush(session)
        self._ended(session, ConnectionDone)

    def test_closing_within_a_delivery(self) -> None:
        """A protocol that closes inside dataReceived gets nothing more."""

        class Enough(Recorder):
            def got(self, data: bytes) -> None:
                self.secure_transport.write(b"enough")
                self.secure_transport.loseConnection()

        class Bolting(Recorder):
            def got(self, data: bytes) -> None:
                self.secure_transport.abortConnection()

        for kind in (Enough, Bolting):
            session = self.secured(server=kind())
            for word in (b"one", b"two", b"three"):
                session.client.secure_transport.write(word)
                self.reactor.advance(0)
            self.flush(session)
            self.pass_deadlines(session.link)
            self.assertEqual(session.server.events.count("dataReceived"), 1)
            self.assertEqual([r.events[-1] for r in session.recorders], ["connectionLost"] * 2)

    def test_the_end_waits_for_slow_threads(self) -> None:
        """What arrived right before the end is worked on before the end is told."""
        session = self.secured()
        data = noise(3000)
        session.client.secure_transport.write(data)
        session.client.secure_transport.loseConnection()
        session.link.flush(settle=False)
        session.link.cut(ConnectionDone())
        self.settle()
        self.assertEqual(session.server.received, data)
        self.assertIsInstance(session.server.reason, ConnectionDone)
        self.assertEqual(session.server.events.count("connectionLost"), 1)

    def test_a_close_while_paused(self) -> None:
        """What arrived before the peer closed reaches a protocol that had paused, before the end does."""
        session = self.secured(server=Pausing())
        session.client.secure_transport.write(b"the last words")
        session.client.secure_transport.loseConnection()
        self.flush(session)
        session.server.secure_transport.resumeProducing()
        self.flush(session)
        self.assertEqual(session.server.received, b"the last words")
        self._ended(session, ConnectionDone)

    def test_a_cut(self) -> None:
        """A stream that ends without a proper close is ConnectionLost, however politely TCP ended."""
        for error in (ConnectionLost(), ConnectionDone()):
            session = self.secured()
            session.client.secure_transport.write(b"one")
            self.flush(session)
            session.link.cut(error)
            self.settle()
            self.assertEqual(session.server.received, b"one")
            self._ended(session, ConnectionLost)

    def test_a_truncation(self) -> None:
        """Cut anywhere, what arrived is a beginning of what was sent, and never looks complete."""

        def attempt(where: float, pieces: list[bytes]) -> None:
            session = self.secured()
            stream = self._stream(session, pieces)
            self._fed(session, stream[: int(where * len(stream))], b"".join(pieces))
            self.assertNotIsInstance(session.server.reason, ConnectionDone)

        self.check(attempt, where=st.floats(0, 1, exclude_max=True), pieces=PIECES)

    def test_a_flipped_bit_of_the_stream(self) -> None:
        """With any bit flipped nothing false is delivered, and the connection fails."""

        def attempt(where: float, bit: int, pieces: list[bytes]) -> None:
            session = self.secured()
            stream = bytearray(self._stream(session, pieces))
            stream[int(where * len(stream))] ^= 1 << bit
            self._fed(session, bytes(stream), b"".join(pieces))
            self.assertNotIsInstance(session.server.reason, ConnectionDone)

        self.check(attempt, where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), pieces=PIECES)

    def test_a_rearranged_stream(self) -> None:
        """Parts left out, doubled, exchanged or put in: never a byte that is wrong or out of order."""

        def attempt(how: str, first: float, second: float, junk: bytes, pieces: list[bytes]) -> None:
            session = self.secured()
            stream = self._stream(session, pieces)
            low, high = sorted(int(where * len(stream)) for where in (first, second))
            before, part, after = stream[:low], stream[low:high], stream[high:]
            self._fed(
                session,
                {
                    "left out": before + after,
                    "doubled": before + part + part + after,
                    "exchanged": part + before + after,
                    "put in": before + junk + part + after,
                    "put last": before + after + part,
                }[how],
                b"".join(pieces),
            )

        self.check(
            attempt,
            how=st.sampled_from(["left out", "doubled", "exchanged", "put in", "put last"]),
            first=st.floats(0, 1),
            second=st.floats(0, 1),
            junk=st.binary(min_size=1, max_size=300),
            pieces=PIECES,
        )

    def test_a_record_twice(self) -> None:
        """A whole write that is played again, or left out, is not delivered again nor passed over."""
        for records in ([0, 0, 1], [1], [1, 0], [0, 0]):
            session = self.secured()
            said = [b"pay Bob 10", b"pay Eve 99"]
            parts = [self._taken(session, data) for data in said]
            self._fed(session, b"".join(parts[number] for number in records), b"".join(said))

    def test_a_reflection(self) -> None:
        """What a side sent is not accepted by that side."""
        for mirror_is_client in (True, False):
            session = self.secured()
            mirror = session.client if mirror_is_client else session.server
            mirror.secure_transport.write(b"who goes there?")
            self._idle()
            end = session.end_of(mirror)
            end.protocol.dataReceived(bytes(end.outgoing))
            self.settle()
            end.end(Failure(ConnectionDone()))
            self.settle()
            self.assertEqual(mirror.received, b"")
            self.assertNotIsInstance(mirror.reason, ConnectionDone)

    def _idle(self) -> None:
        """Let ciphers write what they have put off."""
        for _ in range(3):
            self.settle()
            self.reactor.advance(0)

    def _taken(self, session: Session, data: bytes) -> bytes:
        """The raw bytes of one write of the client, taken off the link."""
        session.client.secure_transport.write(data)
        self._idle()
        outgoing = session.link.client.outgoing
        raw = bytes(outgoing)
        outgoing.clear()
        return raw

    def _stream(self, session: Session, pieces: list[bytes]) -> bytes:
        """The raw bytes of several writes of the client and of its close, taken off the link."""
        raw = [self._taken(session, data) for data in pieces]
        session.client.secure_transport.loseConnection()
        return b"".join(raw) + self._taken(session, b"")

    def _fed(self, session: Session, raw: bytes, said: bytes) -> None:
        """The server reads ``raw`` and then the end of the stream: it may deliver nothing but a beginning
        of ``said``, and may call it complete only if it is."""
        session.link.server.protocol.dataReceived(raw)
        self.settle()
        session.link.server.end(Failure(ConnectionDone()))
        self.settle()
        server = session.server
        self.assertEqual(server.events.count("connectionLost"), 1)
        self.assertEqual(server.received, said[: len(server.received)])
        if isinstance(server.reason, ConnectionDone):
            self.assertEqual(server.received, said)
        else:
            self.assertIsInstance(server.reason, (EncchatError, ConnectionLost))

    def test_an_abort(self) -> None:
        """An abort ends the connection for both, and is no proper close."""
        for aborting_is_client in (True, False):
            session = self.secured()
            aborting = session.client if aborting_is_client else session.server
            aborting.secure_transport.write(b"never mind")
            aborting.secure_transport.abortConnection()
            aborting.secure_transport.abortConnection()
            aborting.secure_transport.loseConnection()
            aborting.secure_transport.write(b"too late")
            self.flush(session)
            self._ended(session, ConnectionLost)

    def test_a_peer_that_takes_nothing(self) -> None:
        """Closing does not wait for ever for a peer that reads no more, nor for a producer that it stops."""
        for producing in (False, True):
            session = self.secured(server=Pausing())
            transport = session.client.secure_transport
            source = Pusher(transport, noise(300_000))
            if producing:
                transport.registerProducer(source, True)
                source.resumeProducing()
            else:
                transport.write(source.data)
            transport.loseConnection()
            self.flush(session)
            self.reactor.advance(CLOSE_DEADLINE - 0.1)
            self.flush(session)
            self.assertIsNone(session.client.reason)
            self.reactor.advance(CLOSE_DEADLINE)
            self.flush(session)
            self.reactor.advance(CLOSE_DEADLINE)
            self.flush(session)
            self.assertIsInstance(session.client.reason, ConnectionLost)
            self.assertEqual(source.stopped, producing)

    def test_a_producer_is_stopped_at_the_end(self) -> None:
        """A producer hears that its consumer is gone, once."""
        session = self.secured(server=Pausing())
        source = Pusher(session.client.secure_transport, noise(300_000))
        session.client.secure_transport.registerProducer(source, True)
        source.resumeProducing()
        session.link.cut()
        self.settle()
        self.assertTrue(source.stopped)
        source.transport.unregisterProducer()

    def test_after_the_end(self) -> None:
        """A transport whose connection is gone takes every call and does nothing."""
        session = self.secured()
        session.link.cut()
        self.settle()
        for recorder in session.recorders:
            transport = recorder.secure_transport
            transport.write(b"anybody?")
            transport.writeSequence([b"any", b"body"])
            transport.pauseProducing()
            transport.resumeProducing()
            transport.loseConnection()
            transport.abortConnection()
            transport.stopProducing()
            self.flush(session)
            self.assertEqual(recorder.events.count("connectionLost"), 1)

    def test_connections_outlive_the_cipher(self) -> None:
        """Connections go on after reload and after stop."""
        session = self.secured()
        for cipher in (self.server_cipher, self.client_cipher):
            cipher.reload()
        self.settle()
        self.secured()
        for cipher in (self.server_cipher, self.client_cipher):
            cipher.stop()
        session.client.secure_transport.write(b"still there?")
        self.flush(session)
        session.server.secure_transport.write(b"still here")
        self.flush(session)
        self.assertEqual((session.server.received, session.client.received), (b"still there?", b"still here"))

    def test_nothing_is_kept(self) -> None:
        """When a connection has ended, or its handshake has failed, nothing holds on to it."""
        timers = len(self.reactor.getDelayedCalls())

        def lived(close: bool) -> list[weakref.ref[object]]:
            session = self.connect(flush=close)
            if close:
                session.client.secure_transport.loseConnection()
            else:
                session.link.cut()
            self.flush(session)
            things = (*session.recorders, session.link.client.protocol, session.link.server.protocol)
            self._sessions.clear()
            return [weakref.ref(thing) for thing in things]

        references = lived(True) + lived(False)
        self.settle()
        self.assertLessEqual(len(self.reactor.getDelayedCalls()), timers)
        gc.collect()
        self.assertEqual([reference() for reference in references if reference() is not None], [])

    def _ended(self, session: Session, kind: type[Exception]) -> None:
        for recorder in session.recorders:
            self.assertEqual(recorder.events.count("connectionLost"), 1)
            self.assertEqual(recorder.events[-1], "connectionLost")
            self.assertIsInstance(recorder.reason, kind)
