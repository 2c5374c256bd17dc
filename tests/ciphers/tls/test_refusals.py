"""What goes wrong between our own two sides, and at either side with a stranger: told in words, with what
to do, on both sides, and with the right exit code.
"""

from __future__ import annotations

import inspect
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.error import ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.interfaces import IClientCipher, ServerClaim
from encchat.ciphers.testing import Recorder
from encchat.ciphers.tls import cipher, failures, layer, material
from encchat.ciphers.tls.cipher import TlsClient
from encchat.ciphers.tls.hello import Alert, foreign, is_hello_retry, plain_alert, version
from encchat.ciphers.tls.words import Showing, handshake_error, verify_error
from encchat.core.names import parse_name
from encchat.errors import EncchatError, PeerError, RefusedError
from tests.ciphers.tls.authority import DAY, NOW, Authority, uri, write_crl, write_set
from tests.ciphers.tls.rig import HELLO_OF_SSL_3, RawPeer, TlsCase, place, raw_context

HELLO_OF_SSL_2 = bytes.fromhex("802e0100020015000000100100800200800300800400800500800600400700c0") + bytes(16)


class BothSidesTests(TlsCase):
    """A client whom the server refuses learns it from an alert after its own handshake was complete."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority()
        self.made = write_set(self.home, self.authority, "alice")

    def refused(
        self, client: IClientCipher, kind: type[EncchatError], *words: str, exit_code: int = 77
    ) -> tuple[Recorder, Recorder]:
        """The server refuses ``client``, who is told so in these words."""
        above, below, _ = self.both(client, self.server())
        self.assertEqual(below.events, ["connectionMade", "connectionLost"])
        self.assertEqual(above.events, ["connectionMade", "handshakeCompleted", "connectionLost"])
        reason = above.reason
        assert isinstance(reason, EncchatError)
        self.assertIsInstance(reason, kind)
        self.assertEqual(reason.exit_code, exit_code)
        for word in words:
            self.assertIn(word, str(reason))
        return above, below

    def careless(self, name: str = "alice") -> IClientCipher:
        """A client that takes any certificate of its own: its clock is wrong, and it knows no roles."""
        self.patch(material, "_check_leaf", lambda *facts: None)
        self.patch(cipher, "user_of", lambda leaf: parse_name(name))
        arguments = {"certs": self.home}
        return self._ready(TlsClient(place(self.home, name, **arguments)))  # type: ignore[no-any-return]

    def test_revoked(self) -> None:
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["alice"]))
        _, below = self.refused(self.client(), failures.ServerSaysRevoked, "Ask its operator for a new one")
        self.assertIsInstance(below.reason, failures.Revoked)

    def test_expired(self) -> None:
        self.authority.user(begins=NOW - 9 * DAY, ends=NOW - DAY).write(self.home, "alice")
        self.refused(self.careless(), failures.ServerSaysExpired, f"{NOW - DAY:%Y-%m-%d}")

    def test_of_another_authority(self) -> None:
        Authority("Other CA").user().write(self.home, "alice")
        self.refused(self.client(), failures.ServerWantsAuthority, "CN=Other CA", "alice.pem")

    def test_for_servers(self) -> None:
        self.made["server"].write(self.home, "alice")
        self.refused(self.careless(), failures.ServerSaysBad, "unsupported certificate")

    def test_without_a_name(self) -> None:
        """Our own judge refuses, for which TLS has no alert of its own."""
        self.authority.user(names=[uri("mailto:alice@example.org")]).write(self.home, "alice")
        self.refused(self.careless(), failures.ServerSaysBad, "name no user")

    def test_a_key_against_an_authority(self) -> None:
        """The client makes its own key, the server wants certificates; and the other way round."""
        _, below = self.refused(self.pinned(), failures.ServerTakesNoPins, "--cipher tls:certs=DIR")
        self.assertIsInstance(below.reason, failures.SelfSigned)

    def pinned(self) -> IClientCipher:
        """A client in pin mode."""
        return self.client(trust="pin")

    def test_an_authority_against_a_key(self) -> None:
        """The client wants certificates, the server has a key alone."""
        above, below, _ = self.both(self.client(), self.server(trust="pin"))
        self.assert_refused(above, failures.SelfSigned, "If the server uses trust=pin")
        self.assert_refused(below, failures.ClientRefusedUs, "unknown ca", "Give it the certificate")

    def test_a_client_that_does_not_trust(self) -> None:
        """The very error of the one who was asked; the server gets an alert and nothing else."""

        class NotThisOne(RefusedError):
            """Not this one."""

        error = NotThisOne()

        def refuse(claim: ServerClaim) -> None:
            raise error

        above, below, _ = self.both(self.client(), self.server(), trust=refuse)
        self.assertIs(above.reason, error)
        self.assert_refused(below, failures.ClientRefusedUs, "certificate unknown", "another key than before")

    def test_another_host(self) -> None:
        above, below, _ = self.both(self.client(), self.server(), "chat.example.org")
        self.assert_refused(above, RefusedError, "not for chat.example.org")
        self.assert_refused(below, failures.ClientRefusedUs, "certificate unknown", "another host name")

    def test_one_line_in_the_log(self) -> None:
        """The server's log has the reason, once, and at no place more than a line of it."""
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["alice"]))
        _, below = self.refused(self.client(), failures.ServerSaysRevoked)
        lines = self.log.having("ServerLayer")
        self.assertEqual(lines, [f"127.0.0.1:40001 ServerLayer: closed: {below.reason}"])


class Saying(Protocol):
    """Says something that is no TLS."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self.data)


class StrangerTests(TlsCase):
    """Peers that speak something else."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority()
        self.made = write_set(self.home, self.authority, "alice")

    def said(self, data: bytes, *, to_server: bool = True) -> Recorder:
        """Something is said to one of our sides."""
        recorder = Recorder()
        if to_server:
            self.link(Saying(data), self.serve(self.server(), recorder))
        else:
            self.link(self.reach(self.client(), recorder), Saying(data))
        return recorder

    def test_not_tls(self) -> None:
        for data, words in (
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "an HTTP request"),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "an HTTP request"),
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP answer"),
            (b"SSH-2.0-OpenSSH_9.2p1\r\n", "an ssh greeting"),
            (b"-----BEGIN RSA PUBLIC KEY-----\n", "a PEM key, as the rsa cipher"),
            (b"hello there, anybody?\n", "plain text"),
            (HELLO_OF_SSL_2, "a hello of SSL 2"),
            (b"\x00\x01\x02\x03\x04\x05\x06\x07", "bytes that are no TLS"),
            (b"\xff" * 100, "bytes that are no TLS"),
        ):
            for to_server, peer in ((True, "client"), (False, "server")):
                recorder = self.said(data, to_server=to_server)
                text = self.assert_refused(recorder, failures.NotTls, words, f"The {peer} does not speak TLS")
                self.assertEqual(len(self.log.having(text)), 1)
                self.log.events.clear()
                self.assertEqual(recorder.reason.exit_code, 76)  # type: ignore[union-attr]  # an EncchatError

    def test_old_versions(self) -> None:
        """TLS 1.2 and SSL 3 are too old, and the peer gets TLS's alert for it."""
        context = raw_context(
            self.made["alice"], prepare=lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION)
        )
        peer, recorder = self.raw_client(context, self.server())
        self.assert_refused(recorder, failures.TlsTooOld, "The client offers TLS 1.2 at best")
        self.assertEqual(peer.reasons, ["tlsv1 alert protocol version"])
        self.assert_refused(self.said(HELLO_OF_SSL_3), failures.TlsTooOld, "SSL 3.0")

    def test_an_old_server(self) -> None:
        """It refuses our hello by an alert, or answers with an old version."""
        context = raw_context(
            self.made["server"],
            server=True,
            prepare=lambda context: context.set_max_proto_version(SSL.TLS1_2_VERSION),
        )
        _, recorder = self.raw_server(context, self.client())
        self.assert_refused(recorder, failures.TlsTooOld, "The server offers", "TLS 1.3 is needed")

    def test_another_protocol_inside(self) -> None:
        """A client that offers others, and one that offers none."""
        for alpn, reasons in ((b"http/1.1", ["tlsv1 alert no application protocol"]), (None, [])):
            peer, recorder = self.raw_client(raw_context(self.made["alice"], alpn=alpn), self.server())
            self.assert_refused(recorder, failures.NotEncchat, "The client speaks TLS, but not encchat/1")
            self.assertEqual(peer.reasons, reasons)
            self.assertEqual(peer.received, b"")
            self.assertIsNotNone(peer.lost)

    def test_a_server_that_chooses_no_protocol(self) -> None:
        asked: list[object] = []
        context = raw_context(self.made["server"], server=True, alpn=None)
        peer, recorder = self.raw_server(context, self.client(), trust=asked.append)
        self.assert_refused(recorder, failures.NotEncchat, "The server speaks TLS, but not encchat/1")
        self.assertEqual((asked, peer.complete), ([], False))
        self.assertTrue(peer.reasons[0].endswith("alert no application protocol"), peer.reasons)

    def test_a_server_that_refuses_our_protocol(self) -> None:
        recorder = self.said(plain_alert(Alert.NO_APPLICATION_PROTOCOL), to_server=False)
        self.assert_refused(recorder, failures.NotEncchat)

    def test_groups(self) -> None:
        """Of the key exchanges that OpenSSL would take, only ours are taken, before anything is said."""
        for curve, taken in ((ec.SECP256R1(), True), (ec.SECP384R1(), True), (ec.SECP521R1(), False)):
            context = raw_context(
                self.made["alice"], prepare=lambda context, curve=curve: context.set_tmp_ecdh(curve)
            )
            peer, recorder = self.raw_client(context, self.server())
            self.assertEqual(recorder.completed, int(taken), curve.name)
            if not taken:
                self.assert_refused(recorder, failures.NothingInCommon, "key exchange", "X25519MLKEM768")
                self.assertEqual(bytes(self.links[-1].server.sent), plain_alert(Alert.HANDSHAKE_FAILURE))
                self.assertTrue(peer.reasons[0].endswith("alert handshake failure"), peer.reasons)

    def test_groups_of_a_server(self) -> None:
        context = raw_context(
            self.made["server"], server=True, prepare=lambda context: context.set_tmp_ecdh(ec.SECP521R1())
        )
        asked: list[object] = []
        peer, recorder = self.raw_server(context, self.client(), trust=asked.append)
        self.assert_refused(recorder, failures.NothingInCommon, "key exchange")
        self.assertEqual((asked, peer.complete), ([], False))

    def test_a_server_that_asks_for_another_hello(self) -> None:
        """HelloRetryRequest, for a group that we take but did not begin with."""
        context = raw_context(
            self.made["server"], server=True, prepare=lambda context: context.set_tmp_ecdh(ec.SECP384R1())
        )
        _, recorder = self.raw_server(context, self.client())
        self.assertEqual(recorder.completed, 1)
        self.assertTrue(is_hello_retry(bytes(self.links[-1].server.sent)))

    def test_cipher_suites(self) -> None:
        """AES-128 is not offered, and not taken."""
        for suite, taken in (
            (b"TLS_AES_256_GCM_SHA384", True),
            (b"TLS_CHACHA20_POLY1305_SHA256", True),
            (b"TLS_AES_128_GCM_SHA256", False),
        ):
            context = raw_context(
                self.made["alice"], prepare=lambda context, suite=suite: context.set_tls13_ciphersuites(suite)
            )
            _, recorder = self.raw_client(context, self.server())
            self.assertEqual(recorder.completed, int(taken), suite)
            if not taken:
                self.assert_refused(recorder, failures.NothingInCommon, "cipher")

    def test_a_hello_within_the_connection(self) -> None:
        """Renegotiation is not in TLS 1.3: a second hello, protected or not, ends the connection."""
        peer, recorder = self.raw_client(raw_context(self.made["alice"]), self.server())
        self.assertEqual(recorder.completed, 1)
        self.assertRaises(SSL.Error, peer.tls.renegotiate)
        hello = RawPeer(raw_context(self.made["alice"]))
        hello.tls.set_connect_state()
        self.assertRaises(SSL.WantReadError, hello.tls.do_handshake)
        self.links[-1].client.write(hello.tls.bio_read(16384))
        self.links[-1].flush()
        self.assertIsInstance(recorder.reason, failures.RecordBroken)
        self.assertEqual(recorder.received, b"")

    def test_a_handshake_without_an_end(self) -> None:
        """OpenSSL stops a peer that says nothing in many records, and reads no message that is too long."""
        peer = RawPeer(raw_context(self.made["alice"]))
        hello = bytes(self.link(peer, Saying(b"")).client.sent)
        long = bytes.fromhex("16030340000110ffff0303") + bytes(16378)
        odd = bytes.fromhex("140303000101")
        for data, words in (
            (hello + odd * 60_000, "unexpected ccs"),
            (long * 40, "excessive message size"),
        ):
            recorder = Recorder()
            self.link(Saying(data), self.serve(self.server(), recorder))
            self.assert_refused(recorder, PeerError, words)
            self.assertLessEqual(self.links[-1].client.taken, 65536)

    def test_a_handshake_that_is_too_large(self) -> None:
        """Whatever OpenSSL would still take."""
        self.patch(layer, "MAX_HANDSHAKE", 3000)
        leaf = self.authority.user()
        leaf.chain = [leaf.certificate] * 10
        _, recorder = self.raw_client(raw_context(leaf), self.server())
        self.assertEqual(recorder.completed, 1)  # it all came at once, and was over
        recorder = Recorder()
        self.patch(layer, "RECORD", 500)
        self.link(RawPeer(raw_context(leaf)), self.serve(self.server(), recorder))
        self.assert_refused(recorder, failures.HandshakeTooLarge, "3000 bytes")

    def test_half_a_handshake(self) -> None:
        """Cut anywhere, it is told that the peer went away; silent, the deadline ends it."""
        recorder = Recorder()
        peer = RawPeer(raw_context(self.made["alice"]))
        link = self.link(peer, self.serve(self.server(), recorder))
        self.assertEqual(recorder.completed, 1)
        sent = bytes(link.client.sent)
        for where in (1, 5, 100, len(sent) // 2, len(sent) - 1):
            recorder = Recorder()
            link = self.link(Saying(sent[:where]), self.serve(self.server(), recorder))
            link.client.loseConnection()
            link.flush()
            self.assert_refused(recorder, EncchatError)

    def test_a_cut_while_open(self) -> None:
        """Without a close_notify it is no proper end."""
        peer, recorder = self.raw_client(raw_context(self.made["alice"]), self.server())
        peer.say(b"and then")
        self.links[-1].flush()
        self.links[-1].client.loseConnection()
        self.links[-1].flush()
        self.assertEqual(recorder.received, b"and then")
        self.assertIsInstance(recorder.reason, ConnectionLost)

    def test_large_writes(self) -> None:
        """However much is written at once, OpenSSL's buffers never hold more than a record of it."""
        peer, recorder = self.raw_client(raw_context(self.made["alice"]), self.server())
        data = bytes(range(256)) * 4096
        recorder.secure_transport.write(data)
        self.links[-1].flush()
        self.assertEqual(peer.received, data)


class WordsTests(SynchronousTestCase):
    """Each reason of OpenSSL, and each of our sentences."""

    def showing(self, *, server: bool, pinned: bool = False) -> Showing:
        """What some side shows."""
        return Showing(
            server=server,
            pinned=pinned,
            certificate="/c/alice.pem",
            authorities="/c/ca.pem",
            crl="/c/crl.pem",
            ends=datetime(2027, 1, 2, 3, 4, tzinfo=UTC),
            issuer="CN=Test CA",
        )

    def test_reasons(self) -> None:
        hello = bytes.fromhex("16030100a5010000a10303")
        for reason, kind in (
            ("unsupported protocol", failures.TlsTooOld),
            ("no suitable key share", failures.NothingInCommon),
            ("no shared cipher", failures.NothingInCommon),
            ("excessive message size", failures.HandshakeTooLarge),
            ("no application protocol", failures.NotEncchat),
            ("peer did not return a certificate", failures.NoCertificate),
            ("bad signature", failures.HandshakeBroken),
            ("tlsv1 alert protocol version", failures.TlsTooOld),
            ("tlsv1 alert no application protocol", failures.NotEncchat),
            ("ssl/tls alert handshake failure", failures.NothingInCommon),
        ):
            for server in (True, False):
                error = handshake_error([reason], hello, False, self.showing(server=server))
                self.assertIsInstance(error, kind)
        self.assertIsInstance(
            handshake_error([], hello, True, self.showing(server=True)), failures.RecordBroken
        )
        self.assertIn("no reason given", str(handshake_error([], b"", False, self.showing(server=True))))
        pinned = handshake_error(
            ["peer did not return a certificate"], hello, False, self.showing(server=True, pinned=True)
        )
        self.assertIn("trust=pin", str(pinned))

    def test_alerts_from_a_server(self) -> None:
        for alert, words in (
            ("tlsv13 alert certificate required", "requires a certificate"),
            (
                "tlsv1 alert unknown ca",
                "does not accept the authority that signed your certificate /c/al",
            ),
            ("ssl/tls alert certificate expired", "valid until 2027-01-02 03:04"),
            ("ssl/tls alert certificate revoked", "has revoked your certificate /c/alice.pem"),
            ("ssl/tls alert bad certificate", "too weak, not valid yet"),
            ("tlsv1 alert access denied", "Its log says why"),
        ):
            error = handshake_error([alert], b"", True, self.showing(server=False))
            self.assertIsInstance(error, failures.ServerRefusedUs)
            self.assertIn(words, str(error))
            self.assertEqual(error.exit_code, 77)

    def test_alerts_from_a_client(self) -> None:
        for alert, words in (
            ("tlsv1 alert unknown ca", "Give it the certificate of the authority, CN=Test CA: ca.pem."),
            ("ssl/tls alert certificate expired", "It ends on 2027-01-02"),
            ("ssl/tls alert certificate revoked", "encchat-admin ca server HOST"),
            ("ssl/tls alert certificate unknown", "another host name"),
        ):
            error = handshake_error([alert], b"", False, self.showing(server=True))
            self.assertIsInstance(error, failures.ClientRefusedUs)
            self.assertIn(words, str(error))

    def test_a_number_that_nobody_knows(self) -> None:
        leaf = Authority().user()
        error = verify_error(999, leaf.certificate, 0, self.showing(server=True))
        self.assertIn("OpenSSL's verification error 999", str(error))

    def test_every_sentence_ends(self) -> None:
        """A sentence begins with a capital letter, ends with a full stop, and names no class of ours."""
        for _, kind in inspect.getmembers(failures, inspect.isclass):
            if kind.__module__ == failures.__name__:
                text = " ".join((kind.__doc__ or "").split())
                self.assertRegex(text, r"\A[A-Z].*[.?}]\Z")
                self.assertNotEqual(kind.code, "error")

    def test_first_bytes(self) -> None:
        self.assertIsNone(foreign(b"\x16"))
        self.assertIsNone(foreign(b"\x15\x03\x01"))
        self.assertEqual(version(bytes.fromhex("160301000001000000 0300".replace(" ", ""))), "SSL 3.0")
        self.assertEqual(version(b"\x16"), "an older version")
