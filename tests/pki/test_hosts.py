"""The names of servers."""

from __future__ import annotations

from ipaddress import ip_address

from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.pki.hosts import BadHost, hosts_of, parse_host
from tests.pki.support import certificate_with


class ParseTests(SynchronousTestCase):
    """One form for every way to write a host."""

    def test_names(self) -> None:
        """Names are lower-case ASCII."""
        for text, expected in [
            ("chat.example.org", "chat.example.org"),
            ("Chat.Example.ORG.", "chat.example.org"),
            ("localhost", "localhost"),
            ("Bücher.example", "xn--bcher-kva.example"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("faß.example", "xn--fa-hia.example"),
            ("1.example", "1.example"),
        ]:
            host = parse_host(text)
            self.assertEqual((str(host), host.address), (expected, None))
            self.assertEqual(host.general_name, x509.DNSName(expected))

    def test_addresses(self) -> None:
        """Addresses are addresses, in their shortest form."""
        for text, expected in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("[2001:DB8::0:1]", "2001:db8::1"),
        ]:
            host = parse_host(text)
            self.assertEqual(host.text, expected)
            self.assertIsInstance(host.general_name, x509.IPAddress)

    def test_wildcards(self) -> None:
        """Only where they are asked for, and for one level below a domain."""
        self.assertEqual(parse_host("*.example.org", wildcard=True).text, "*.example.org")
        for text in ("*", "*.", "*.org", "*.org.", "a.*.org", "a*.example.org", "*.*.example.org"):
            self.assertRaises(BadHost, parse_host, text, wildcard=True)
        self.assertRaises(BadHost, parse_host, "*.example.org")
        longest = ".".join(["a" * 63, *["a" * 62] * 3])
        self.assertEqual(parse_host(longest).text, longest)
        self.assertRaises(BadHost, parse_host, f"*.{longest}", wildcard=True)

    def test_refused(self) -> None:
        """What is no host is refused, with words."""
        for text, why in [
            ("", "empty"),
            (".", "empty"),
            ("chat.example.org:9999", "port"),
            ("[::1]:9999", "port"),
            ("fe80::1%eth0", "zone"),
            ("a..b", "Empty"),
            ("a..", "Empty"),
            ("-a.example", "hyphen"),
            ("under_score.example", "_"),
            ("http://a.example", "/"),
            ("a b", "a b"),
            ("1.2.3", "looks like an address"),
            ("1.2.3.256", "looks like an address"),
            ("a" * 64 + ".example", "long"),
            (".".join(["a" * 60] * 5), "long"),
            ("☃.example", "☃"),
        ]:
            error = self.assertRaises(BadHost, parse_host, text)
            self.assertIn(why, str(error))

    def test_hosts_of(self) -> None:
        """What a certificate says is cleaned; what cannot be read is nothing."""
        names = [x509.DNSName("a.example\x1b[31m"), x509.IPAddress(ip_address("::1"))]
        certificate = certificate_with(x509.SubjectAlternativeName(names))
        self.assertEqual(hosts_of(certificate), ["a.example", "::1"])
        broken = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x03\x86\x05a")
        for certificate in (certificate_with(), certificate_with(broken)):
            self.assertEqual(hosts_of(certificate), [])

    @given(st.text(max_size=80) | st.from_regex(r"[a-zA-Z0-9ü*_.:-]{1,70}", fullmatch=True))
    def test_anything(self, text: str) -> None:
        """Whatever is typed is refused, or has a form that stays as it is and that a certificate can hold."""
        try:
            host = parse_host(text, wildcard=True)
        except BadHost:
            return
        self.assertEqual(parse_host(host.text, wildcard=True), host)
        self.assertTrue(host.general_name)
