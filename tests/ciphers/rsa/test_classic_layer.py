"""A classic peer at the rsa layers: its lines, our blocks, when they are sent, and how it all ends."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rsa.pem import save_pem
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol

from encchat.ciphers.interfaces import ServerClaim
from encchat.ciphers.layer import CLOSE_DEADLINE
from encchat.ciphers.rsa import classic, classic_talk
from encchat.ciphers.rsa.classic_talk import HIGH_WATER, LOG_PAUSE, MAX_NOISE, OnlyNoise
from encchat.ciphers.rsa.layer import Classic, RsaClassicClientLayer, RsaServerLayer
from encchat.ciphers.rsa.pacing import AFTER_KEY, BETWEEN_BLOCKS, BOUND, TooMuchWaiting
from encchat.ciphers.testing import Link, Recorder
from encchat.ciphers.testing.harness import Peer
from tests.ciphers.rsa.rig import E_C, KEYS, PRIVATE
from tests.ciphers.rsa.script import PEM, LayerCase, Script

K = PRIVATE["CL"]
NO_TEXT = b"\xff\xfe secret \xff"


class ClassicCase(LayerCase):
    """The script connects to our server."""

    def setUp(self) -> None:
        super().setUp()
        self.server, self.script = Recorder(), Script()
        self.script.now = self.reactor.seconds

    def server_layer(self, mode: Classic = Classic.YES) -> RsaServerLayer:
        keys = None if mode is Classic.ONLY else KEYS
        return RsaServerLayer(cast(IProtocol, self.server), self.reactor, K, keys, mode)

    def meet(self, mode: Classic = Classic.YES) -> Link:
        link = self.link(self.script, self.server_layer(mode))
        self.assertEqual(self.server.completed, 1)
        return link

    def write(self, text: str) -> None:
        self.server.secure_transport.write(text.encode())


class Meeting(ClassicCase):
    """Keys are shown, nothing is proved."""

    def test_who_the_peer_is(self) -> None:
        self.meet()
        identity = self.server.secure_transport.peerIdentity
        assert identity is not None
        self.assertFalse(identity.authenticated)
        self.assertIsNone(identity.vouched_name)
        self.assertEqual(identity.cipher, "rsa")
        self.assertEqual(identity.fingerprint, classic.read_key(PEM).fingerprint)
        self.assertIn("RSA-1024", identity.summary)
        self.assertIn("not authenticated", identity.summary)
        self.assertIsNone(self.server.secure_transport.negotiatedProtocol)

    def test_one_line_in_the_log(self) -> None:
        self.meet()
        self.assertEqual(len(self.lines), 1, self.lines)
        for fact in ("classic", "not authenticated", classic.read_key(PEM).fingerprint):
            self.assertIn(fact, self.lines[0])

    def test_with_and_without_headers(self) -> None:
        for mode, headers in ((Classic.YES, True), (Classic.ONLY, False)):
            self.server, self.script = Recorder(), Script()
            link = self.meet(mode)
            self.assertEqual(b"Encchat" in link.server.sent, headers)
            assert self.script.partner is not None
            self.assertEqual(self.script.partner.n, K.public_key().public_numbers().n)

    def test_keys_that_are_refused(self) -> None:
        odd, even = (1 << 1023) + 1, 1 << 1023
        bad = {
            "512 bits": rsa.PublicKey((1 << 511) + 1, 65537).save_pkcs1(),
            "even": rsa.PublicKey(even, 65537).save_pkcs1(),
            "exponent": rsa.PublicKey(odd, 1).save_pkcs1(),
            "1024 bytes": classic.BEGIN + b"\n" + b"A" * 100_000 + b"\n" + classic.END + b"\n",
            "private key": rsa.newkeys(512)[1].save_pkcs1(),
            "our own": classic.pem(K.public_key()),
            "PKCS#1": save_pem(b"\x30\x80" * 100, "RSA PUBLIC KEY"),
        }
        for reason, pem in bad.items():
            self.server = Recorder()
            self.logged.clear()
            self.link(Peer(bytes(pem)), self.server_layer())
            self.assertIsInstance(self.server.reason, classic.ClassicKeyRefused)
            self.assertIn(reason, str(self.server.reason))
            self.assertEqual(self.server.completed, 0)
            self.assertEqual(len(self.lines), 1, self.lines)


class Receiving(ClassicCase):
    """Blocks become lines."""

    def test_each_block_is_a_line(self) -> None:
        link = self.meet()
        self.script.say("hello", "Grüß dich\nWelt", "", "bye")
        link.flush()
        self.assertEqual(self.server.received.decode(), "hello\nGrüß dich Welt\n\nbye\n")

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), max_size=20), max_size=4),
        st.lists(st.integers(1, 300), max_size=30),
    )
    def test_in_any_segments_and_behind_the_key(self, texts: list[str], cuts: list[int]) -> None:
        self.server = Recorder()
        layer = self.server_layer()
        link = Link(self.reactor, Peer(), layer)
        self.script.partner = rsa.PublicKey.load_pkcs1(classic.pem(K.public_key()))
        stream = PEM + b"".join(self.script.block(text) for text in texts)
        link.client.sizes = iter([*cuts, *[65536] * 100])
        link.client.write(stream)
        link.flush()
        self.assertEqual(self.server.received.decode(), "".join(f"{text}\n" for text in texts))
        link.cut()

    def test_what_is_no_text_is_dropped_and_counted_and_not_shown(self) -> None:
        link = self.meet()
        self.logged.clear()
        self.script.say("before", NO_TEXT, "between", NO_TEXT, NO_TEXT, "after")
        self.script.raw(b"\xff" * 256)
        link.flush()
        self.assertEqual(self.server.received, b"before\nbetween\nafter\n")
        self.assertEqual(len(self.lines), 1, self.lines)
        self.assertIn("dropped 1 ", self.lines[0])
        self.reactor.advance(LOG_PAUSE)
        self.script.say(NO_TEXT)
        link.flush()
        self.assertEqual(len(self.lines), 2, self.lines)
        self.assertIn("dropped 4 ", self.lines[1])
        self.script.say(NO_TEXT)
        self.script.leave()
        link.flush()
        self.assertEqual(len(self.lines), 3, self.lines)
        self.assertIn("dropped 1 ", self.lines[2])
        self.assertNotIn("secret", f"{self.logged}")

    def test_nothing_but_noise_is_refused(self) -> None:
        link = self.meet()
        self.script.say(*[NO_TEXT] * MAX_NOISE, "text", *[NO_TEXT] * MAX_NOISE)
        link.flush()
        self.assertIsNone(self.server.reason)
        self.script.say(NO_TEXT)
        link.flush()
        self.assertIsInstance(self.server.reason, OnlyNoise)

    def test_a_peer_that_outruns_the_threads_is_not_read(self) -> None:
        link = self.meet()
        texts = [f"message {number}" for number in range(2 * HIGH_WATER)]
        self.script.say(*texts)
        link.flush(settle=False)
        self.assertTrue(link.server.paused)
        link.flush()
        self.assertFalse(link.server.paused)
        self.assertEqual(self.server.received.decode().splitlines(), texts)

    def test_a_pause_holds_lines(self) -> None:
        link = self.meet()
        self.server.secure_transport.pauseProducing()
        self.script.say("one")
        link.flush()
        self.assertEqual(self.server.received, b"")
        self.server.secure_transport.resumeProducing()
        link.flush()
        self.assertEqual(self.server.received, b"one\n")

    def test_what_came_before_the_end_is_delivered(self) -> None:
        link = self.meet()
        self.script.say("last words")
        self.script.leave()
        link.flush(settle=False)
        self.assertIsNone(self.server.reason)
        link.flush()
        self.assertEqual(self.server.received, b"last words\n")
        self.assertIsInstance(self.server.reason, ConnectionDone)

    def test_half_a_block_at_the_end_is_nothing(self) -> None:
        link = self.meet()
        self.script.raw(self.script.block("whole") + self.script.block("half")[:100])
        self.script.leave()
        link.flush()
        self.assertEqual(self.server.received, b"whole\n")

    def thread_that_hangs(self) -> list[Deferred[object]]:
        waiting: list[Deferred[object]] = []

        def in_thread(reactor: object, job: object) -> Deferred[object]:
            waiting.append(Deferred())
            return waiting[-1]

        self.patch(classic_talk, "in_thread", in_thread)
        return waiting

    def test_a_fault_in_a_thread_ends_the_one_connection(self) -> None:
        link = self.meet()
        waiting = self.thread_that_hangs()
        self.script.say("x")
        link.flush()
        waiting[0].errback(MemoryError())
        link.flush()
        self.assertEqual(len(self.flushLoggedErrors(MemoryError)), 1)
        self.assertIsInstance(self.server.reason, MemoryError)

    def test_threads_that_end_after_the_connection(self) -> None:
        for result in (["too late"], MemoryError()):
            self.server, self.script = Recorder(), Script()
            link = self.meet()
            waiting = self.thread_that_hangs()
            self.script.say("x")
            link.flush()
            self.server.secure_transport.abortConnection()
            link.flush()
            if isinstance(result, list):
                waiting[0].callback(result)
            else:
                waiting[0].errback(result)
            self.assertEqual(self.server.events.count("connectionLost"), 1)
            self.assertEqual(self.server.received, b"")


class Sending(ClassicCase):
    """Lines become blocks, when it is time. The script raises at anything but one block at a time."""

    def test_not_before_the_script_has_read_our_key(self) -> None:
        self.meet()
        self.write("alice: hi\n")
        self.pass_time(2)
        (time, text) = self.script.shown[0]
        self.assertEqual(text, "alice: hi")
        self.assertGreaterEqual(time, AFTER_KEY)

    def test_two_hundred_lines_in_a_burst(self) -> None:
        self.meet()
        lines = [f"alice: line {number} of the burst" for number in range(200)]
        self.write("".join(f"{line}\n" for line in lines))
        self.pass_time(15, 0.05)
        self.assertEqual(self.script.lines, lines)
        for (before, _), (after, _) in pairwise(self.script.shown):
            self.assertGreaterEqual(after - before, BETWEEN_BLOCKS - 1e-6)

    def test_two_hundred_writes_over_time(self) -> None:
        self.meet()
        lines = [f"{number} " + "x" * (number % 150) for number in range(200)]
        for line in lines:
            self.write(f"{line}\n")
            self.pass_time(0.02)
        self.pass_time(25, 0.05)
        self.assertEqual("".join(self.script.lines), "".join(lines))

    def test_a_line_of_a_thousand_characters_comes_whole_in_pieces(self) -> None:
        self.meet()
        line = " ".join(["Grüße", "😀", "and", "words"] * 60)[:1000]
        self.write(f"{line}\n")
        self.pass_time(3)
        self.assertEqual("".join(self.script.texts), line)
        self.assertGreater(len(self.script.texts), 8)

    def test_lines_may_be_written_in_pieces(self) -> None:
        self.meet()
        for byte in "Grüß\ndich\nW".encode():
            self.server.secure_transport.write(bytes([byte]))
        self.pass_time(1)
        self.assertEqual(self.script.lines, ["Grüß", "dich"])

    def test_larger_keys_hold_more(self) -> None:
        link = self.link(Peer(classic.pem(E_C.public_key())), self.server_layer())
        opening = len(link.server.sent)
        self.write("x" * 245 + "\n")
        self.pass_time(1)
        self.assertEqual(len(link.server.sent) - opening, 256)
        self.write("x" * 246 + "\n")
        self.pass_time(1)
        self.assertEqual(len(link.server.sent) - opening, 3 * 256)

    def test_on_and_on_into_a_full_queue_ends_the_connection(self) -> None:
        self.meet()
        for _ in range(BOUND // 100 + 2):
            self.write("x" * 99 + "\n")
        self.links[0].flush()
        self.assertIsInstance(self.server.reason, TooMuchWaiting)
        self.assertIn("classic", self.lines[-1])

    def test_a_line_that_never_ends(self) -> None:
        self.meet()
        for _ in range(BOUND // 1000 + 1):
            self.write("x" * 1000)
        self.links[0].flush()
        self.assertIsInstance(self.server.reason, TooMuchWaiting)


class Ending(ClassicCase):
    """The end of the stream is the only goodbye there is."""

    def test_the_script_leaves(self) -> None:
        link = self.meet()
        self.write("unsent\n")
        self.script.leave()
        link.flush()
        self.assertIsInstance(self.server.reason, ConnectionDone)

    def test_we_leave_with_nothing_to_say(self) -> None:
        link = self.meet()
        self.server.secure_transport.loseConnection()
        link.flush()
        self.assertIsInstance(self.server.reason, ConnectionDone)
        self.assertIsInstance(self.script.ended, ConnectionDone)

    def test_what_waits_is_sent_first(self) -> None:
        self.meet()
        lines = [f"{number} " + "x" * 100 for number in range(100)]  # ten seconds: more than CLOSE_DEADLINE
        self.write("\n".join(lines))
        self.server.secure_transport.loseConnection()
        self.write("too late\n")
        self.pass_time(12, 0.05)
        self.assertEqual(self.script.lines, lines)
        self.assertIsInstance(self.server.reason, ConnectionDone)
        self.assertIsInstance(self.script.ended, ConnectionDone)

    def test_a_peer_that_takes_nothing_is_cut_off(self) -> None:
        link = self.meet()
        link.client.paused = True
        self.write("x" * 2000 + "\n")
        self.server.secure_transport.loseConnection()
        self.pass_time(3, 0.05)  # all blocks are with the transport now, which cannot get rid of them
        self.pass_time(CLOSE_DEADLINE, 0.05)
        self.assertIsInstance(self.server.reason, ConnectionAborted)

    def test_a_peer_that_leaves_while_we_send_the_rest(self) -> None:
        link = self.meet()
        self.write("x" * 2000 + "\n")
        self.server.secure_transport.loseConnection()
        self.pass_time(0.5)
        self.assertTrue(self.script.texts)
        link.cut(ConnectionDone())
        self.assertIsInstance(self.server.reason, ConnectionLost)
        self.assertIn("not sent", str(self.server.reason))

    def test_aborting_forgets_what_waits(self) -> None:
        link = self.meet()
        self.write("x" * 2000 + "\n")
        self.server.secure_transport.abortConnection()
        link.flush()
        self.assertIsInstance(self.server.reason, ConnectionAborted)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.assertEqual(self.script.texts, [])

    def test_a_reset_is_no_goodbye(self) -> None:
        link = self.meet()
        link.client.abortConnection()
        link.flush()
        self.assertIsInstance(self.server.reason, ConnectionLost)


class AsClient(ClassicCase):
    """Our client in the classic profile, towards the script's server side and towards services."""

    def setUp(self) -> None:
        super().setUp()
        self.client = Recorder()
        self.claims: list[ServerClaim] = []
        self.script = Script(first=True)
        self.script.now = self.reactor.seconds

    def client_layer(self) -> RsaClassicClientLayer:
        return RsaClassicClientLayer(cast(IProtocol, self.client), self.reactor, self.claims.append, E_C)

    def test_the_script_s_server_side(self) -> None:
        link = self.link(self.client_layer(), self.script)
        self.assertEqual(self.client.completed, 1)
        fingerprint = classic.read_key(PEM).fingerprint
        self.assertEqual(
            [(claim.profile, claim.fingerprint, claim.vouched) for claim in self.claims],
            [("classic", fingerprint, False)],
        )
        assert self.script.partner is not None
        self.assertEqual(self.script.partner.n, E_C.public_key().public_numbers().n)
        self.script.say("hello")
        self.client.secure_transport.write(b"hi\nthere\n")
        self.pass_time(1)
        link.flush()
        self.assertEqual(self.client.received, b"hello\n")
        self.assertEqual(self.script.texts, ["hi\nthere"])
        self.assertGreaterEqual(self.script.shown[0][0], AFTER_KEY)

    def test_our_key_is_alone_in_the_script_s_recv(self) -> None:
        class Eager(Recorder):
            def secure(self) -> None:
                self.secure_transport.write(b"at once\n")

        self.client = Eager()
        link = self.link(self.client_layer(), self.script)
        self.assertEqual(bytes(link.client.sent), classic.pem(E_C.public_key()))
        self.pass_time(1)
        self.assertEqual(self.script.texts, ["at once"])

    def test_services_with_and_without_hrsa1(self) -> None:
        for mode in (Classic.YES, Classic.ONLY):
            self.client, self.server = Recorder(), Recorder()
            self.link(self.client_layer(), self.server_layer(mode))
            self.assertEqual((self.client.completed, self.server.completed), (1, 1))
            self.client.secure_transport.write(b"up\n")
            self.server.secure_transport.write(b"down\n")
            self.pass_time(1)
            self.assertEqual((self.client.received, self.server.received), (b"down\n", b"up\n"))

    def test_a_service_that_speaks_no_classic(self) -> None:
        self.link(self.client_layer(), self.server_layer(Classic.NO))
        self.assertIsInstance(self.client.reason, (ConnectionLost, ConnectionDone))

    def test_something_else(self) -> None:
        self.link(self.client_layer(), Peer(b"HTTP/1.1 400 Bad Request\r\n"))
        self.assertIsInstance(self.client.reason, classic.ClassicKeyRefused)
        self.assertEqual(self.claims, [])
