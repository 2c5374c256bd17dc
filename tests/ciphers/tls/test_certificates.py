"""Every certificate that must be refused, by the server and by the client: the reason in words on our
side, TLS's own alert for the other, and nothing believed.
"""

from __future__ import annotations

from datetime import timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from encchat.ciphers.interfaces import IServerCipher
from encchat.ciphers.testing import Recorder
from encchat.ciphers.tls import failures
from encchat.core.identity import fingerprint
from encchat.errors import EncchatError, RefusedError
from encchat.pki.names import NoUserInCertificate
from encchat.pki.profiles import WeakCertificate, WrongPurpose, spki
from tests.ciphers.tls.authority import (
    ANY_PURPOSE,
    CLIENT_AUTH,
    DAY,
    NOW,
    SERVER_AUTH,
    Authority,
    Leaf,
    new_key,
    uri,
    with_sha1,
    write_crl,
    write_set,
)
from tests.ciphers.tls.rig import RawPeer, TlsCase, raw_context

#: RSA keys take long to make, so the weak one is made once.
WEAK = rsa.generate_private_key(65537, 1024)
STRONG = rsa.generate_private_key(65537, 2048)


class AuthorityCase(TlsCase):
    """An authority with a server, a user and a revocation list."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority()
        self.made = write_set(self.home, self.authority, "alice")


class UserCertificateTests(AuthorityCase):
    """What the server makes of a client's certificate."""

    def setUp(self) -> None:
        super().setUp()
        self.cipher: IServerCipher = self.server()

    def second(self, other: Authority) -> Authority:
        """Believe another authority too."""
        (self.home / "ca.pem").write_bytes(self.authority.pem + other.pem)
        write_crl(self.home / "crl.pem", self.authority.crl(), other.crl())
        self.cipher.reload()
        return other

    def shown(self, leaf: Leaf | None) -> tuple[RawPeer, Recorder]:
        """Somebody shows ``leaf``."""
        return self.raw_client(raw_context(leaf), self.cipher)

    def refused(
        self, leaf: Leaf | None, kind: type[EncchatError], alert: str, *words: str, logged: bool = True
    ) -> None:
        """He is refused like this."""
        peer, recorder = self.shown(leaf)
        text = self.assert_refused(recorder, kind, *words)
        self.assertTrue(any(reason.endswith(alert) for reason in peer.reasons), peer.reasons)
        if logged:
            self.assertEqual(self.log.having(text), [f"127.0.0.1:40001 ServerLayer: closed: {text}"])

    def test_the_right_one(self) -> None:
        """The user is the one URI, the fingerprint that of his key; the common name counts for nothing."""
        leaf = self.authority.user("alice", name="CN says bob")
        peer, recorder = self.shown(leaf)
        self.assertEqual(recorder.events, ["connectionMade", "handshakeCompleted"])
        identity = recorder.secure_transport.peerIdentity
        assert identity is not None
        self.assertEqual(identity.vouched_name, "alice")
        self.assertEqual(identity.fingerprint, fingerprint(spki(leaf.key.public_key())))
        self.assertEqual(identity.cipher, "tls")
        self.assertIn("certified as alice until", identity.summary)
        self.assertIn("P-256 key, TLSv1.3, X25519MLKEM768, TLS_AES_256_GCM_SHA384", identity.summary)
        self.assertEqual(peer.tls.get_alpn_proto_negotiated(), b"encchat/1")

    def test_kinds_of_keys(self) -> None:
        """Any key that is good enough for TLS 1.3 is."""
        for key, words in (
            (ec.generate_private_key(ec.SECP384R1()), "P-384 key"),
            (STRONG, "RSA-2048 key"),
            (ed25519.Ed25519PrivateKey.generate(), "Ed25519 key"),
        ):
            _, recorder = self.shown(self.authority.user("alice", key=key))
            identity = recorder.secure_transport.peerIdentity
            assert identity is not None
            self.assertIn(words, identity.summary)

    def test_a_name_that_is_not_ascii(self) -> None:
        """Names stand percent-encoded in the URI."""
        leaf = self.authority.user("zoe", names=[uri("encchat:zo%C3%AB")])
        _, recorder = self.shown(leaf)
        identity = recorder.secure_transport.peerIdentity
        assert identity is not None
        self.assertEqual(identity.vouched_name, "zoë")

    def test_none(self) -> None:
        self.refused(None, failures.NoCertificate, "alert certificate required", "encchat-admin ca user NAME")

    def test_of_another_authority(self) -> None:
        other = Authority("Other CA")
        self.refused(
            other.user(),
            failures.UnknownAuthority,
            "alert unknown ca",
            "CN=Other CA",
            str(self.home / "ca.pem"),
        )

    def test_of_another_authority_with_the_same_name(self) -> None:
        """The same distinguished name, another key."""
        self.refused(Authority().user(), failures.UnknownAuthority, "alert unknown ca")
        vague = Authority().user(identified=False)
        self.refused(vague, failures.CertificateRefused, "alert decrypt error", "signature is wrong")

    def test_self_signed(self) -> None:
        key = new_key()
        lone = Authority("Lone", key=key)
        leaf = Leaf(lone.sign(key, name="Lone", names=[uri("encchat:alice")], purposes=[CLIENT_AUTH]), key)
        self.refused(leaf, failures.SelfSigned, "alert unknown ca", "trust=pin")

    def test_expired(self) -> None:
        leaf = self.authority.user(begins=NOW - 9 * DAY, ends=NOW - DAY)
        self.refused(
            leaf, failures.Expired, "alert certificate expired", f"{NOW - DAY:%Y-%m-%d %H:%M}", "ca renew"
        )

    def test_not_yet_valid(self) -> None:
        leaf = self.authority.user(begins=NOW + DAY)
        self.refused(leaf, failures.NotYetValid, "alert bad certificate", f"{NOW + DAY:%Y-%m-%d}", "clocks")

    def test_revoked(self) -> None:
        leaf = self.authority.user()
        write_crl(self.home / "crl.pem", self.authority.crl(leaf))
        self.cipher.reload()
        serial = f"{leaf.certificate.serial_number:x}"
        self.refused(leaf, failures.Revoked, "alert certificate revoked", serial)

    def test_an_expired_revocation_list(self) -> None:
        """Nobody comes in: who is not revoked cannot be told."""
        write_crl(self.home / "crl.pem", self.authority.crl(updated=NOW - 9 * DAY, ends=NOW - DAY))
        self.cipher = self.server()
        self.refused(
            self.made["alice"], failures.CrlExpired, "alert certificate expired", str(self.home / "crl.pem")
        )

    def test_a_revocation_list_from_the_future(self) -> None:
        write_crl(self.home / "crl.pem", self.authority.crl(updated=NOW + DAY))
        self.cipher = self.server()
        self.refused(self.made["alice"], failures.CrlNotYetValid, "alert bad certificate", "clock")

    def test_no_revocation_list_of_this_authority(self) -> None:
        """There are lists, but none of the authority that signed."""
        other = Authority("Other CA")
        (self.home / "ca.pem").write_bytes(self.authority.pem + other.pem)
        self.cipher = self.server()
        self.refused(other.user(), failures.NoCrl, "alert unknown ca", "CN=Other CA", "encchat-admin ca crl")

    def test_other_purposes(self) -> None:
        """For servers, for everything, for both, for nothing: only what is for clients alone will do."""
        for purposes, kind in (
            ([SERVER_AUTH], failures.CertificateRefused),  # OpenSSL's own word
            ([CLIENT_AUTH, SERVER_AUTH], WrongPurpose),
            ([CLIENT_AUTH, ANY_PURPOSE], WrongPurpose),
            ([ANY_PURPOSE], failures.CertificateRefused),
            ([], WrongPurpose),
        ):
            peer, recorder = self.shown(self.authority.user(purposes=purposes))
            self.assert_refused(recorder, kind)
            self.assertTrue(peer.reasons)

    def test_weak(self) -> None:
        old = with_sha1(self.second(Authority("RSA CA", key=STRONG)).user(), STRONG)
        for leaf, words in (
            (self.authority.user(key=WEAK), "its key is too short"),
            (old, "outdated hash"),
        ):
            self.refused(leaf, WeakCertificate, "alert bad certificate", words, logged=False)

    def test_a_weak_authority(self) -> None:
        weak = self.second(Authority("Weak CA", key=WEAK))
        self.refused(weak.user(), WeakCertificate, "alert bad certificate", "key of its authority")

    def test_signed_by_a_user(self) -> None:
        """A leaf is no authority."""
        parent = self.authority.user("mallory")
        below = Authority("mallory", key=parent.key)
        below.name = parent.certificate.subject
        key = new_key()
        leaf = Leaf(
            below.sign(key, names=[uri("encchat:alice")], purposes=[CLIENT_AUTH]), key, [parent.certificate]
        )
        self.refused(leaf, failures.CertificateRefused, "", "no authority")

    def test_no_names(self) -> None:
        """Zero, two, malformed."""
        for names, words in (
            ([], "no URIs"),
            ([x509.DNSName("alice")], "no URIs"),
            ([x509.RFC822Name("alice@example.org")], "no URIs"),
            ([uri("encchat:alice"), uri("encchat:bob")], "2 URIs"),
            ([uri("encchat:alice"), uri("encchat:alice")], "2 URIs"),
            ([uri("encchat:alice"), uri("https://example.org")], "2 URIs"),
            ([uri("https://example.org/alice")], "does not begin with"),
            ([uri("encchat:")], "not a percent-encoded name"),
            ([uri("encchat:a b")], "not a percent-encoded name"),
            ([uri("encchat:alice\n")], "not a percent-encoded name"),
            ([uri("encchat:alice\x00bob")], "not a percent-encoded name"),
            ([uri("encchat:%FF%FE")], "not UTF-8"),
            ([uri("encchat:%0Aalice")], "bad name"),
            ([uri("encchat:%2Blobby")], "bad name"),
            ([uri("encchat:" + "a" * 33)], "bad name"),
            ([uri("encchat:" + "a" * 4000)], "not a percent-encoded name"),
        ):
            leaf = self.authority.user(names=names)
            self.refused(leaf, NoUserInCertificate, "alert internal error", words, logged=False)

    def test_a_malformed_name(self) -> None:
        """An extension that is no SEQUENCE of names, or there twice: refused, whatever the parser says."""
        oid = x509.SubjectAlternativeName.oid
        for garbage in (b"", b"\xff" * 30, b"\x30\x03\x86\x01\xff", b"\x30\x84\xff\xff\xff\xff"):
            leaf = self.authority.user(names=(), extra=[x509.UnrecognizedExtension(oid, garbage)])
            _, recorder = self.shown(leaf)
            self.assert_refused(recorder, RefusedError)

    def test_a_fault_in_the_judge_refuses(self) -> None:
        """Whatever is raised while a certificate is judged: it is not let in, and we hear of the fault."""

        def broken(der: bytes) -> object:
            raise ZeroDivisionError

        self.patch(__import__("encchat.ciphers.tls.judge", fromlist=["_"]), "read_user", broken)
        peer, recorder = self.shown(self.made["alice"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assert_refused(recorder, failures.CertificateRefused, "cannot be understood")
        self.assertTrue(peer.reasons)


class ChainTests(AuthorityCase):
    """Authorities below authorities."""

    def setUp(self) -> None:
        super().setUp()
        (self.home / "crl.pem").unlink()

    def below(self, levels: int) -> Leaf:
        """A user, with so many authorities between him and the one that we know."""
        authority = self.authority
        for level in range(levels):
            authority = Authority(f"Level {level}", parent=authority)
        return authority.user()

    def test_intermediates(self) -> None:
        """A few are usual, and checked for revocation as well."""
        for levels in (1, 3):
            _, recorder = self.raw_client(raw_context(self.below(levels)), self.server())
            self.assertEqual(recorder.completed, 1)

    def test_an_intermediate_without_a_revocation_list(self) -> None:
        write_crl(self.home / "crl.pem", self.authority.crl())
        _, recorder = self.raw_client(raw_context(self.below(1)), self.server())
        self.assert_refused(recorder, failures.NoCrl, "CN=Level 0")

    def test_a_revoked_intermediate(self) -> None:
        below = Authority("Below", parent=self.authority)
        leaf = below.user()
        (self.home / "ca.pem").write_bytes(self.authority.pem + below.pem)
        gone = Leaf(below.certificate, below.key)
        write_crl(self.home / "crl.pem", self.authority.crl(gone), below.crl())
        _, recorder = self.raw_client(raw_context(leaf), self.server())
        self.assert_refused(recorder, failures.Revoked, "CN=Below", "in its chain")

    def test_eleven(self) -> None:
        """Too long a chain, whether or not it leads to somebody whom we know."""
        peer, recorder = self.raw_client(raw_context(self.below(10)), self.server())
        self.assert_refused(recorder, failures.CertificateRefused, "chain is too long")
        self.assertTrue(peer.reasons)
        stranger = Authority("Stranger")
        for level in range(10):
            stranger = Authority(f"Strange {level}", parent=stranger)
        _, recorder = self.raw_client(raw_context(stranger.user()), self.server())
        self.assert_refused(recorder, failures.CertificateRefused)

    def test_an_authority_that_may_have_none_below(self) -> None:
        strict = Authority("Strict", path_length=0)
        (self.home / "ca.pem").write_bytes(strict.pem)
        _, recorder = self.raw_client(raw_context(Authority("Below", parent=strict).user()), self.server())
        self.assert_refused(recorder, failures.CertificateRefused, "may not have others below it")

    def test_a_large_one(self) -> None:
        """A certificate of a megabyte is not even read."""
        blob = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x04" * (1 << 20))
        leaf = self.authority.user(extra=[blob])
        peer, recorder = self.raw_client(raw_context(leaf), self.server())
        self.assert_refused(recorder, failures.HandshakeTooLarge, "excessive message size")
        self.assertLess(self.links[-1].client.taken, 200_000)
        self.assertTrue(peer.reasons)


class ServerCertificateTests(AuthorityCase):
    """What the client makes of a server's certificate."""

    def refused(self, leaf: Leaf, kind: type[EncchatError], alert: str, *words: str) -> None:
        """The client will have nothing to do with it, and shows nothing of itself."""
        asked: list[object] = []
        peer, recorder = self.raw_server(raw_context(leaf, server=True), self.client(), trust=asked.append)
        self.assert_refused(recorder, kind, *words)
        self.assertEqual(asked, [])
        self.assertFalse(peer.complete)
        self.assertTrue(any(reason.endswith(alert) for reason in peer.reasons), peer.reasons)

    def test_the_right_one(self) -> None:
        asked: list[object] = []
        peer, recorder = self.raw_server(
            raw_context(self.made["server"], server=True), self.client(), trust=asked.append
        )
        self.assertEqual(recorder.events, ["connectionMade", "handshakeCompleted"])
        (claim,) = asked
        identity = recorder.secure_transport.peerIdentity
        assert identity is not None
        self.assertEqual(claim.profile, "tls-ca")  # type: ignore[attr-defined]  # a ServerClaim
        self.assertTrue(claim.vouched)  # type: ignore[attr-defined]
        self.assertEqual(claim.fingerprint, identity.fingerprint)  # type: ignore[attr-defined]
        self.assertIn("CN=server, certified by CN=Test CA until", identity.summary)
        self.assertEqual(identity.vouched_name, None)
        self.assertTrue(peer.complete)

    def test_of_another_authority(self) -> None:
        self.refused(Authority("Other CA").server(), failures.UnknownAuthority, "unknown ca", "CN=Other CA")

    def test_self_signed(self) -> None:
        key = new_key()
        lone = Authority("Lone", key=key)
        self.refused(Leaf(lone.certificate, key), failures.SelfSigned, "unknown ca", "trust=pin")

    def test_expired(self) -> None:
        leaf = self.authority.server(begins=NOW - 9 * DAY, ends=NOW - timedelta(hours=1))
        self.refused(leaf, failures.Expired, "certificate expired", "The server's certificate")

    def test_revoked(self) -> None:
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["server"]))
        self.refused(self.made["server"], failures.Revoked, "certificate revoked")

    def test_a_user_as_a_server(self) -> None:
        """The key of a user cannot pose as the service, even with the host's name in his certificate."""
        names = [x509.DNSName("localhost"), uri("encchat:mallory")]
        for purposes in ([CLIENT_AUTH], [CLIENT_AUTH, SERVER_AUTH], []):
            leaf = self.authority.server(*names, purposes=purposes)
            _, recorder = self.raw_server(raw_context(leaf, server=True), self.client(), "localhost")
            self.assert_refused(recorder, RefusedError)

    def test_weak(self) -> None:
        self.refused(self.authority.server(key=WEAK), WeakCertificate, "bad certificate", "too short")
        old = Authority("RSA CA", key=STRONG)
        (self.home / "ca.pem").write_bytes(old.pem)
        write_crl(self.home / "crl.pem", old.crl())
        leaf = with_sha1(old.server(), STRONG)
        client = self.client(
            cert=self.home / "alice.pem", key=self.home / "alice.key", ca=self.home / "ca.pem"
        )
        _, recorder = self.raw_server(raw_context(leaf, server=True), client)
        self.assert_refused(recorder, WeakCertificate, "SHA-1")

    def test_another_key_than_that_of_the_certificate(self) -> None:
        """Somebody shows a certificate whose key he does not have: nobody is asked to trust it."""
        theirs = Leaf(self.made["server"].certificate, self.made["server"].key)
        peer = RawPeer(raw_context(theirs, server=True), server=True)
        asked: list[object] = []
        recorder = Recorder()
        link = self.link(self.reach(self.client(), recorder, trust=asked.append), Silent())
        hello = bytes(link.client.sent)
        peer.makeConnection(link.server)
        sent = len(link.server.sent)
        peer.dataReceived(hello)
        altered = bytearray(link.server.outgoing)
        altered[-100] ^= 1  # in the CertificateVerify or the Finished, whose record no longer decrypts
        link.server.outgoing[:] = altered
        self.assertGreater(len(link.server.sent), sent)
        link.flush()
        self.assert_refused(recorder, EncchatError)
        self.assertEqual(asked, [])


class Silent(RawPeer):
    """Somebody who takes the hello and says nothing."""

    def __init__(self) -> None:
        super().__init__(raw_context())

    def connectionMade(self) -> None:
        """Nothing."""

    def dataReceived(self, data: bytes) -> None:
        """Nothing."""


class SystemAuthorityTests(AuthorityCase):
    """A public server certificate and a private authority for users: ``ca=system`` on the client."""

    def setUp(self) -> None:
        super().setUp()
        self.public = Authority("Public CA")
        bundle = self.home / "public.pem"
        bundle.write_bytes(self.public.pem)
        from OpenSSL import SSL

        self.patch(
            SSL.Context,
            "set_default_verify_paths",
            lambda context: context.load_verify_locations(str(bundle)),
        )

    def shown(self, leaf: Leaf, host: str = "chat.example.org") -> Recorder:
        """A server shows ``leaf`` to a client that trusts this machine's authorities."""
        client = self.client(certs=self.home, ca="system")
        return self.raw_server(raw_context(leaf, server=True), client, host)[1]

    def test_both_purposes(self) -> None:
        """Public authorities sign server certificates that are for clients too."""
        for purposes in ([SERVER_AUTH], [SERVER_AUTH, CLIENT_AUTH]):
            leaf = self.public.server(x509.DNSName("chat.example.org"), purposes=purposes)
            self.assertEqual(self.shown(leaf).completed, 1)

    def test_what_is_still_refused(self) -> None:
        name = x509.DNSName("chat.example.org")
        self.assert_refused(self.shown(self.public.server(name, purposes=[CLIENT_AUTH])), RefusedError)
        self.assert_refused(self.shown(self.public.server(x509.DNSName("other.example.org"))), RefusedError)
        self.assert_refused(
            self.shown(self.authority.server(name)), failures.UnknownAuthority, "the system's list"
        )

    def test_a_server_with_it(self) -> None:
        """The server shows a public certificate with its chain, and takes users of the private authority."""
        below = Authority("Public Below", parent=self.public)
        shown = below.server(x509.DNSName("chat.example.org"), purposes=[SERVER_AUTH, CLIENT_AUTH])
        shown.write(self.home, "fullchain")
        server = self.server(
            cert=self.home / "fullchain.pem",
            key=self.home / "fullchain.key",
            ca=self.home / "ca.pem",
            crl=self.home / "crl.pem",
        )
        client = self.client(certs=self.home, ca="system")
        above_client, above_server, _ = self.both(client, server, "chat.example.org")
        self.assertEqual((above_client.completed, above_server.completed), (1, 1))
        identity = above_server.secure_transport.peerIdentity
        assert identity is not None
        self.assertEqual(identity.vouched_name, "alice")
