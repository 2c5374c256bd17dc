"""Whether a server's certificate is for the host: what ours takes, what it refuses, and what Twisted's
own check accepts in the same place.
"""

from __future__ import annotations

from ipaddress import ip_address

from cryptography import x509
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, optionsForClientTLS
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.testing import ContractReactor, Link
from encchat.ciphers.testing.link import SERVER_ADDRESS
from encchat.ciphers.tls.hosts import HostCheck, WrongHost
from encchat.errors import UsageError
from tests.ciphers.tls.authority import SERVER_AUTH, Authority, uri, write_set
from tests.ciphers.tls.rig import RawPeer, TlsCase, raw_context

AUTHORITY = Authority()


def dns(*names: str) -> list[x509.GeneralName]:
    """DNS names."""
    return [x509.DNSName(name) for name in names]


def address(text: str) -> x509.GeneralName:
    """An IP address."""
    return x509.IPAddress(ip_address(text))


#: Names in the certificate, the host that was asked for, whether it is the one.
CASES: list[tuple[list[x509.GeneralName], str, bool]] = [
    (dns("chat.example.org"), "chat.example.org", True),
    (dns("chat.example.org"), "CHAT.Example.org", True),
    (dns("chat.example.org"), "chat.example.org.", True),
    (dns("a.example.org", "chat.example.org"), "chat.example.org", True),
    (dns("localhost"), "localhost", True),
    # Another host.
    (dns("chat.example.org"), "chat.example.com", False),
    (dns("chat.example.org"), "example.org", False),
    (dns("example.org"), "chat.example.org", False),
    (dns("chat.example.org"), "evilchat.example.org", False),
    # Wildcards: one whole label, the left-most.
    (dns("*.example.org"), "chat.example.org", True),
    (dns("*.example.org"), "a.chat.example.org", False),
    (dns("*.example.org"), "example.org", False),
    (dns("ch*.example.org"), "chat.example.org", False),
    (dns("chat.*.org"), "chat.example.org", False),
    (dns("*"), "chat", False),
    (dns("*.org"), "example.org", False),
    # IDN, in either form.
    (dns("xn--bcher-kva.example"), "bücher.example", True),
    (dns("xn--bcher-kva.example"), "Bücher.example", True),
    (dns("xn--bcher-kva.example"), "xn--bcher-kva.example", True),
    (dns("xn--bcher-kva.example"), "bucher.example", False),
    (dns("*.xn--bcher-kva.example"), "chat.bücher.example", True),
    (dns("*.example.org"), "bücher.example.org", False),
    # Addresses: only as addresses.
    ([address("192.0.2.1")], "192.0.2.1", True),
    ([address("192.0.2.1")], "192.0.2.2", False),
    (dns("192.0.2.1.example.org"), "192.0.2.1", False),
    (dns("chat.example.org"), "192.0.2.1", False),
    ([address("2001:db8::1")], "2001:db8::1", True),
    ([address("2001:db8::1")], "[2001:DB8:0::1]", True),
    ([address("2001:db8::1")], "2001:db8::2", False),
    ([address("fe80::1")], "fe80::1%eth0", True),
    ([address("192.0.2.1")], "chat.example.org", False),
    ([address("0.0.0.0"), *dns("localhost")], "0.0.0.0", True),
    # Nothing that names a host.
    ([], "server", False),
    ([x509.RFC822Name("root@chat.example.org")], "chat.example.org", False),
    ([x509.RFC822Name("chat.example.org")], "chat.example.org", False),
    ([uri("encchat:chat.example.org")], "chat.example.org", False),
    ([uri("https://chat.example.org")], "chat.example.org", False),
    ([uri("a:b:c"), *dns("chat.example.org")], "chat.example.org", False),
]


class HostTests(SynchronousTestCase):
    """The check by itself."""

    def test_cases(self) -> None:
        for names, host, right in CASES:
            leaf = AUTHORITY.server(purposes=[SERVER_AUTH], name="server", names=names)
            check = HostCheck(host)
            if right:
                check.check(leaf.certificate)
            else:
                error = self.assertRaises(WrongHost, check.check, leaf.certificate)
                self.assertIn(f"not for {check}", str(error), (names, host))

    def test_a_malformed_address(self) -> None:
        """What cannot be read is refused, not passed over."""
        for garbage in (b"", b"\x30\x03\x87\x01\x00", b"\x30\x02\x87\x00", b"\xff\xff"):
            extension = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, garbage)
            leaf = AUTHORITY.server(names=[], extra=[extension])
            self.assertRaises(WrongHost, HostCheck("192.0.2.1").check, leaf.certificate)

    def test_the_sentence(self) -> None:
        """It says which hosts the certificate is for, and what to do."""
        leaf = AUTHORITY.server(*dns("a.example", "b.example"), address("192.0.2.1"))
        error = self.assertRaises(WrongHost, HostCheck("c.example").check, leaf.certificate)
        self.assertEqual(
            str(error),
            "The server's certificate is for a.example, b.example, 192.0.2.1, not for c.example. Connect by "
            "a name that it is for, or ask the operator for a certificate for this one: `encchat-admin ca "
            "server c.example`.",
        )
        empty = AUTHORITY.server(names=[])
        error = self.assertRaises(WrongHost, HostCheck("c.example").check, empty.certificate)
        self.assertIn("is for no host, not for c.example", str(error))

    def test_no_host_at_all(self) -> None:
        for host in (
            "",
            ".",
            "a b",
            "a\nb",
            "a..b",
            "chat.example.org:9999",
            "999.999.999.999",
            "*.example.org",
        ):
            self.assertRaises(UsageError, HostCheck, host)

    def test_the_name_in_the_hello(self) -> None:
        """SNI takes names, in ASCII, and no addresses."""
        for host, name in (
            ("chat.example.org", b"chat.example.org"),
            ("bücher.example", b"xn--bcher-kva.example"),
            ("192.0.2.1", None),
            ("2001:db8::1", None),
        ):
            self.assertEqual(HostCheck(host).server_name, name)


class ConnectionTests(TlsCase):
    """The check where it belongs: in the handshake."""

    def setUp(self) -> None:
        super().setUp()
        write_set(self.home, AUTHORITY, "alice")

    def test_in_the_handshake(self) -> None:
        """A wrong host is refused before anybody is asked, and before we say who we are."""
        for names, host, right in CASES:
            leaf = AUTHORITY.server(purposes=[SERVER_AUTH], name="server", names=names)
            asked: list[object] = []
            peer, recorder = self.raw_server(
                raw_context(leaf, server=True), self.client(), host, trust=asked.append
            )
            self.assertEqual(recorder.completed, int(right), (names, host))
            self.assertEqual(len(asked), int(right))
            self.assertEqual(peer.complete, right)
            if not right:
                self.assert_refused(recorder, WrongHost)
                self.assertTrue(peer.reasons[0].endswith("alert certificate unknown"), peer.reasons)

    def test_what_twisted_accepts(self) -> None:
        """A certificate of our authority without any usable name: Twisted's own options for clients let
        the server pass for any host, and that is why we do not use them."""
        for names in ([], [x509.RFC822Name("root@example.org")], [uri("a:b:c")]):
            leaf = AUTHORITY.server(purposes=[SERVER_AUTH], name="server", names=names)
            stock, peer = self.stock(leaf)
            self.flushLoggedErrors()  # it does notice
            self.assertEqual((stock, peer), (True, True), names)
            _, recorder = self.raw_server(raw_context(leaf, server=True), self.client(), "chat.example.org")
            self.assert_refused(recorder, WrongHost)
        stock, peer = self.stock(AUTHORITY.server(*dns("other.example.org")))
        self.assertEqual((stock, peer), (False, False))

    def stock(self, leaf: object) -> tuple[bool, bool]:
        """Whether Twisted's client and its peer complete a handshake."""
        options = optionsForClientTLS(
            "chat.example.org", trustRoot=Certificate.loadPEM(AUTHORITY.pem.decode("ascii"))
        )
        told: list[bool] = []

        class Above(Protocol):
            def dataReceived(self, data: bytes) -> None:
                told.append(data == b"secret?")

        factory = TLSMemoryBIOFactory(options, True, Factory.forProtocol(Above))
        client = factory.buildProtocol(SERVER_ADDRESS)
        peer = RawPeer(raw_context(leaf, server=True, prepare=_no_certificate_needed), server=True)  # type: ignore[arg-type]  # a Leaf
        link = Link(ContractReactor(), client, peer)
        self.links.append(link)
        link.flush()
        if peer.complete:
            peer.say(b"secret?")
        link.flush()
        return told == [True], peer.complete


def _no_certificate_needed(context: object) -> None:
    context.set_verify(0, lambda *facts: True)  # type: ignore[attr-defined]  # an SSL.Context
