"""The rsa layers: which profile a peer speaks, and how an hrsa1 machine is driven."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from twisted.internet.address import UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.below import where
from encchat.ciphers.interfaces import ServerClaim
from encchat.ciphers.layer import HandshakeCut, HandshakeTimeout
from encchat.ciphers.rsa import hardened_talk, records
from encchat.ciphers.rsa.failures import Downgrade, HandshakeFailed
from encchat.ciphers.rsa.hardened_talk import HIGH_WATER, RECORD_DEADLINE, HardenedTalk, RecordTimeout
from encchat.ciphers.rsa.keys import KeyPool
from encchat.ciphers.rsa.layer import (
    Classic,
    ClassicRefused,
    HardenedRefused,
    NotOurs,
    RsaClassicClientLayer,
    RsaClientLayer,
    RsaLayer,
    RsaServerLayer,
)
from encchat.ciphers.rsa.primitives import fingerprint_of
from encchat.ciphers.rsa.records import MAX_DATA
from encchat.ciphers.testing import Link, Recorder
from encchat.ciphers.testing.harness import Peer
from encchat.ciphers.testing.link import End
from encchat.errors import RefusedError
from tests.ciphers.rsa.rig import E_C, I_C, I_S, KEYS, PRIVATE
from tests.ciphers.rsa.script import LayerCase, Script

K = PRIVATE["CL"]


class Layers(LayerCase):
    """Makes layers."""

    def setUp(self) -> None:
        super().setUp()
        self.server, self.client = Recorder(), Recorder()
        self.claims: list[ServerClaim] = []

    def server_layer(self, mode: Classic = Classic.YES) -> RsaServerLayer:
        keys = None if mode is Classic.ONLY else KEYS
        return RsaServerLayer(cast(IProtocol, self.server), self.reactor, K, keys, mode)

    def client_layer(
        self, trust: Callable[[ServerClaim], None] | None = None, pool: KeyPool | None = None
    ) -> RsaClientLayer:
        if pool is None:
            pool = KeyPool(make=lambda: E_C)
            pool.prepare()
        return RsaClientLayer(
            cast(IProtocol, self.client), self.reactor, trust or self.claims.append, I_C, pool
        )

    def classic_layer(self, trust: Callable[[ServerClaim], None] | None = None) -> RsaClassicClientLayer:
        return RsaClassicClientLayer(
            cast(IProtocol, self.client), self.reactor, trust or self.claims.append, E_C
        )

    def secured(self) -> Link:
        link = self.link(self.client_layer(), self.server_layer())
        self.assertEqual((self.client.completed, self.server.completed), (1, 1))
        return link

    def alone(self, data: bytes, mode: Classic = Classic.YES) -> Link:
        return self.link(Peer(data), self.server_layer(mode))


class Choosing(Layers):
    """The first bytes say what a peer speaks."""

    def test_our_own_peer(self) -> None:
        self.secured()
        self.assertEqual(self.server.secure_transport.negotiatedProtocol, b"encchat/1")
        identity = self.server.secure_transport.peerIdentity
        assert identity is not None
        self.assertEqual(identity.fingerprint, fingerprint_of(I_C.public_key()))
        self.assertTrue(identity.authenticated)
        self.assertEqual(
            [(claim.profile, claim.fingerprint, claim.vouched) for claim in self.claims],
            [("hrsa1", fingerprint_of(I_S.public_key()), False)],
        )

    def test_the_script(self) -> None:
        script = Script()
        self.link(script, self.server_layer())
        self.assertEqual(self.server.completed, 1)
        self.assertIsNone(self.server.secure_transport.negotiatedProtocol)

    def test_the_script_where_classic_is_off(self) -> None:
        self.link(Script(), self.server_layer(Classic.NO))
        self.assertIsInstance(self.server.reason, ClassicRefused)
        self.assertEqual(self.server.completed, 0)
        self.assertIn("classic=no", self.lines[-1])

    def test_our_own_peer_where_classic_is_off(self) -> None:
        self.link(self.client_layer(), self.server_layer(Classic.NO))
        self.assertEqual(self.server.completed, 1)

    def test_our_own_peer_where_there_is_only_classic(self) -> None:
        self.link(self.client_layer(), self.server_layer(Classic.ONLY))
        self.assertIsInstance(self.client.reason, Downgrade)
        self.assertIn("--classic", str(self.client.reason))
        self.assertEqual(self.claims, [], "asked to trust a server that is no candidate")
        self.assertIsInstance(self.server.reason, HandshakeCut)

    def test_hrsa1_where_there_is_only_classic(self) -> None:
        self.alone(b"ENCCHAT hrsa1 encchat/1\n", Classic.ONLY)
        self.assertIsInstance(self.server.reason, HardenedRefused)

    def test_what_is_neither_is_named(self) -> None:
        for data, named in (
            (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "an HTTP request"),
            (b"POST /login HTTP/1.1\r\n", "an HTTP request"),
            (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "a TLS hello"),
            (b"SSH-2.0-OpenSSH_9.6\r\n", "an ssh greeting"),
            (b"\xff\xff\xff\xff" + b"A" * 100_000, "bytes that begin with ff ff ff ff"),
            (b"\x1b[2J\n", "bytes that begin with 1b 5b 32 4a"),
            (b"\n", "bytes that begin with 0a"),
        ):
            self.server = Recorder()
            self.logged.clear()
            self.alone(data)
            self.assertIsInstance(self.server.reason, NotOurs)
            self.assertEqual(len(self.lines), 1, self.lines)
            self.assertIn(named, self.lines[0])
            self.assertTrue(self.lines[0].isprintable())

    def test_a_hello_that_is_none(self) -> None:
        self.alone(b"EHLO example.org\r\n")
        self.assertIsInstance(self.server.reason, HandshakeFailed)
        self.assertEqual(len(self.lines), 1, self.lines)
        self.assertIn("C1 hello", self.lines[0])

    def test_half_a_handshake(self) -> None:
        for data in (b"E", b"ENCCHAT hrsa1 encchat/1\n" + b"\x80" * 500, b"-----BEGIN RSA PUB"):
            self.server = Recorder()
            self.alone(data)
            self.reactor.advance(10)
            self.links[-1].flush()
            self.assertIsInstance(self.server.reason, HandshakeTimeout)

    def test_a_client_that_leaves_is_told_with_a_hint(self) -> None:
        link = self.alone(b"")
        link.client.loseConnection()
        link.flush()
        self.assertIsInstance(self.server.reason, HandshakeCut)
        self.assertIn("trust", str(self.server.reason))

    def test_a_server_that_leaves_is_told_with_a_hint(self) -> None:
        for layer in (self.client_layer(), self.classic_layer()):
            self.client.reason = None
            link = self.link(layer, Peer())
            link.server.loseConnection()
            link.flush()
            self.assertIsInstance(self.client.reason, HandshakeCut)
            self.assertIn("service", str(self.client.reason))


class Logged(Layers):
    """What an operator reads."""

    def test_a_handshake_is_one_line_on_each_side(self) -> None:
        self.secured()
        self.assertEqual(len(self.lines), 2)
        for line in self.lines:
            for fact in ("hrsa1", "encchat/1", "127.0.0.1:", "th3 "):
                self.assertIn(fact, line)
            for key in (I_S, I_C):
                self.assertIn(fingerprint_of(key.public_key()), line)
        prefixes = {event["th3"] for event in self.logged if "th3" in event}
        self.assertEqual([len(prefix) for prefix in prefixes], [16])

    def test_a_failure_says_at_which_stage(self) -> None:
        link = Link(self.reactor, self.client_layer(), self.server_layer())
        self.links.append(link)
        link.client.tamper = lambda position, piece: piece[:-1] + bytes([piece[-1] ^ 1])
        link.flush()
        failed = [event for event in self.logged if event.get("stage")]
        self.assertEqual([event["stage"] for event in failed], ["S2 FIN_S", "C2"])
        self.assertEqual(failed[0]["peer_fingerprint"], fingerprint_of(I_S.public_key()))
        self.assertIn("S2 FIN_S", self.lines[0])
        self.assertEqual(len(self.lines), 2, self.lines)


class Trusting(Layers):
    """The client asks before it says who it is."""

    def refuse(self, claim: ServerClaim) -> None:
        self.claims.append(claim)
        raise RefusedError(reason="not this one")

    def test_a_refusal_sends_nothing(self) -> None:
        link = self.link(self.client_layer(self.refuse), self.server_layer())
        self.assertEqual(str(self.client.reason), "not this one")
        self.assertEqual(link.client.sent, b"")
        self.assertEqual(len(self.claims), 1)

    def test_a_refusal_of_a_classic_server_sends_nothing(self) -> None:
        link = self.link(self.classic_layer(self.refuse), self.server_layer(Classic.ONLY))
        self.assertEqual(str(self.client.reason), "not this one")
        self.assertEqual(link.client.sent, b"")
        self.assertEqual([claim.profile for claim in self.claims], ["classic"])


class Driving(Layers):
    """Records, threads and bounds."""

    def test_what_is_written_in_one_turn_is_sealed_together(self) -> None:
        link = self.secured()
        before = len(link.client.sent)
        for _ in range(100):
            self.client.secure_transport.write(b"x" * 95)
        self.assertEqual(len(link.client.sent), before, "sealed before the turn was over")
        link.flush()
        self.assertEqual(self.server.received, b"x" * 9500)
        blocks = (len(link.client.sent) - before) // 256
        self.assertEqual(blocks, 51)  # 9,501 bytes in blocks of 190

    def test_a_full_record_does_not_wait(self) -> None:
        link = self.secured()
        before = len(link.client.sent)
        self.client.secure_transport.write(b"x" * MAX_DATA)
        self.assertEqual(len(link.client.sent) - before, 2 + 64 * 256 + 32)
        link.flush()
        self.assertEqual(self.server.received, b"x" * MAX_DATA)
        self.client.secure_transport.write(b"y")
        link.flush()
        self.assertEqual(self.server.received[-1:], b"y")

    def test_closing_sends_what_was_written_first(self) -> None:
        link = self.secured()
        self.client.secure_transport.write(b"goodbye")
        self.client.secure_transport.loseConnection()
        link.flush()
        self.assertEqual(self.server.received, b"goodbye")
        self.assertIsInstance(self.server.reason, ConnectionDone)
        self.assertIsInstance(self.client.reason, ConnectionDone)

    def test_a_peer_that_outruns_the_threads_is_not_read(self) -> None:
        link = self.secured()
        data = b"x" * (3 * HIGH_WATER)
        self.client.secure_transport.write(data)
        link.flush(settle=False)
        self.assertTrue(link.server.paused)
        self.assertTrue(link.client.outgoing)
        link.flush()
        self.assertFalse(link.server.paused)
        self.assertEqual(self.server.received, data)

    def test_a_connection_that_is_gone_when_the_work_is_done(self) -> None:
        link = self.secured()
        self.client.secure_transport.write(b"x")
        link.flush(settle=False)
        self.assertEqual(self.reactor.pending_jobs, 1)
        self.server.secure_transport.abortConnection()
        link.pump()
        self.assertIsInstance(self.server.reason, ConnectionAborted)
        link.flush()
        self.assertEqual(self.server.events.count("connectionLost"), 1)
        self.assertEqual(self.server.received, b"")

    def test_whoever_is_above_closes_when_the_connection_is_gone_already(self) -> None:
        """What came before the end is still opened by a thread, and asks the server to close."""
        link = self.secured()
        self.server.got = lambda data: self.server.secure_transport.loseConnection()  # type: ignore[method-assign]  # as a subclass would
        self.client.secure_transport.write(b"bye")
        link.flush(settle=False)
        self.assertEqual(self.reactor.pending_jobs, 1)
        link.cut()
        link.flush()
        self.assertEqual(self.server.received, b"bye")
        self.assertEqual(self.server.events.count("connectionLost"), 1)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_what_a_thread_has_not_begun_when_the_connection_goes_is_not_done(self) -> None:
        """A reactor that stops waits for its threads: a crowd's records would keep it for long."""
        link = self.secured()
        self.client.secure_transport.write(b"x")
        link.flush(settle=False)
        done: list[object] = []
        self.patch(records, "decrypt", lambda *arguments: done.append(arguments))
        self.server.secure_transport.abortConnection()
        link.pump()
        self.assertEqual(self.reactor.pending_jobs, 1)
        link.flush()
        self.assertEqual(done, [])

    def test_a_connection_that_is_gone_when_the_work_failed(self) -> None:
        link = self.secured()
        waiting = self.thread_that_hangs()
        self.client.secure_transport.write(b"x")
        link.flush()
        self.server.secure_transport.abortConnection()
        link.flush()
        waiting[0].errback(MemoryError())
        self.assertEqual(self.server.events.count("connectionLost"), 1)

    def thread_that_hangs(self) -> list[Deferred[object]]:
        waiting: list[Deferred[object]] = []

        def in_thread(reactor: object, job: Callable[[], object]) -> Deferred[object]:
            waiting.append(Deferred())
            return waiting[-1]

        self.patch(hardened_talk, "in_thread", in_thread)
        return waiting

    def test_a_fault_in_a_thread_ends_the_one_connection(self) -> None:
        link = self.secured()
        waiting = self.thread_that_hangs()
        self.client.secure_transport.write(b"x")
        link.flush()
        waiting[0].errback(MemoryError())
        link.flush()
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
        self.assertIsInstance(self.server.reason, MemoryError)

    def test_a_cut_is_no_close(self) -> None:
        link = self.secured()
        link.client.disconnecting = True  # as if the program was killed: no closing record
        link.flush()
        self.assertIsInstance(self.server.reason, ConnectionLost)

    def test_the_end_takes_the_keys_along(self) -> None:
        link = self.secured()
        kept = [cast(RsaLayer, recorder.secure_transport) for recorder in (self.server, self.client)]
        machines = [weakref.ref(cast(HardenedTalk, layer._talk)._machine) for layer in kept]
        link.cut()
        gc.collect()
        self.assertEqual([machine() for machine in machines], [None, None])
        for layer in kept:
            layer.resumeProducing()
            layer.pauseProducing()
            layer.write(b"too late")
            self.assertEqual(layer.facts["profile"], "hrsa1")


class HalfRecords(Layers):
    """A record that begins must end."""

    def setUp(self) -> None:
        super().setUp()
        self.on_the_way = self.secured()
        self.client.secure_transport.write(b"first")
        self.on_the_way.flush()
        self.client.secure_transport.write(b"second")
        self.reactor.advance(0)

    def some(self, size: int) -> None:
        """So many bytes of what the client has sent arrive."""
        end = self.on_the_way.client
        end.sizes = iter([size])
        end.move(self.on_the_way.server)
        self.reactor.settle()

    def rest(self) -> None:
        end: End = self.on_the_way.client
        end.sizes = iter([65536] * 10)
        self.on_the_way.flush()

    def test_a_trickle_is_cut_off(self) -> None:
        for _ in range(10):
            self.some(1)
            self.reactor.advance(RECORD_DEADLINE / 10)
        self.rest()
        self.assertIsInstance(self.server.reason, RecordTimeout)
        self.assertIn("30 seconds", self.lines[-1])

    def test_in_time(self) -> None:
        self.some(100)
        self.reactor.advance(RECORD_DEADLINE - 1)
        self.rest()
        self.reactor.advance(RECORD_DEADLINE)
        self.assertEqual(self.server.received, b"firstsecond")
        self.assertIsNone(self.server.reason)

    def test_each_record_has_its_own_time(self) -> None:
        self.client.secure_transport.write(b"third")
        self.reactor.advance(0)
        self.some(100)
        self.reactor.advance(RECORD_DEADLINE - 1)
        self.some(290 - 100 + 10)  # the rest of the second, and the beginning of the third
        self.reactor.advance(RECORD_DEADLINE - 1)
        self.assertIsNone(self.server.reason)
        self.reactor.advance(1)
        self.rest()
        self.assertIsInstance(self.server.reason, RecordTimeout)

    def test_while_nobody_reads_the_peer_is_not_to_blame(self) -> None:
        self.some(100)
        self.server.secure_transport.pauseProducing()
        self.reactor.advance(RECORD_DEADLINE * 2)
        self.assertIsNone(self.server.reason)
        self.server.secure_transport.resumeProducing()
        self.reactor.advance(RECORD_DEADLINE - 1)
        self.rest()
        self.assertEqual(self.server.received, b"firstsecond")

    def test_a_pause_ends_no_deadline_for_good(self) -> None:
        self.some(100)
        self.server.secure_transport.pauseProducing()
        self.server.secure_transport.resumeProducing()
        self.reactor.advance(RECORD_DEADLINE)
        self.rest()
        self.assertIsInstance(self.server.reason, RecordTimeout)


class Keys(Layers):
    """A client's record key may take its time."""

    def pool(self) -> KeyPool:
        pool = KeyPool(size=1, make=lambda: E_C)
        self.addCleanup(pool.stop)
        return pool

    def test_the_server_s_opening_waits(self) -> None:
        pool = self.pool()
        link = self.link(self.client_layer(pool=pool), self.server_layer())
        self.assertTrue(link.client.paused)
        self.assertEqual(self.client.completed, 0)
        pool.start(self.reactor)
        link.flush()
        self.assertEqual((self.client.completed, self.server.completed), (1, 1))

    def test_what_a_transport_brings_nevertheless_is_kept(self) -> None:
        pool = self.pool()
        layer = self.client_layer(pool=pool)
        link = self.link(layer, self.server_layer())
        opening, link.server.outgoing = bytes(link.server.outgoing), bytearray()
        layer.dataReceived(opening[:500])
        layer.dataReceived(opening[500:])
        pool.start(self.reactor)
        link.flush()
        self.assertEqual((self.client.completed, self.server.completed), (1, 1))

    def test_but_not_without_bounds(self) -> None:
        layer = self.client_layer(pool=self.pool())
        self.link(layer, Peer())
        layer.dataReceived(b"-" * 1025)
        self.links[0].flush()
        self.assertIsInstance(self.client.reason, NotOurs)

    def test_a_connection_that_ends_meanwhile_gives_its_place_up(self) -> None:
        pool = self.pool()
        link = self.link(self.client_layer(pool=pool), self.server_layer())
        link.cut()
        self.assertFalse(pool._waiting)
        self.assertEqual(self.client.events.count("connectionLost"), 1)

    def test_a_cipher_that_is_stopped_meanwhile_ends_it(self) -> None:
        pool = self.pool()
        link = self.link(self.client_layer(pool=pool), self.server_layer())
        pool.stop()
        link.flush()
        self.assertIsInstance(self.client.reason, ConnectionAborted)

    def test_a_key_that_cannot_be_made(self) -> None:
        def fail() -> RSAPrivateKey:
            raise MemoryError

        pool = KeyPool(size=1, make=fail)
        self.addCleanup(pool.stop)
        link = self.link(self.client_layer(pool=pool), self.server_layer())
        pool.start(self.reactor)
        link.flush()
        self.assertIsInstance(self.client.reason, MemoryError)
        self.flushLoggedErrors(MemoryError)


class Addresses(SynchronousTestCase):
    """Where a peer is, as the log shows it."""

    def test_one_without_host_and_port(self) -> None:
        self.assertIn("/run/x", where(UNIXAddress(b"/run/x")))
