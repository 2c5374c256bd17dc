"""The user in a certificate, and the files that are called after him."""

from __future__ import annotations

from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.names import BadName, Name, parse_name
from encchat.pki.names import (
    MAX_URI,
    RESERVED_STEMS,
    NoUserInCertificate,
    file_stem,
    issuer_of,
    parse_user_uri,
    subject_of,
    user_of,
    user_uri,
)
from tests.pki.support import certificate_with, malformed


def _allowed(letter: str) -> bool:
    try:
        return bool(parse_name(f"a{letter}a"))
    except BadName:
        return False


_BLOCKS = [range(0x21, 0x250), range(0x370, 0x500), range(0x3041, 0x3100), range(0xFF01, 0xFFA0)]
#: Letters that a name may hold somewhere, some of them beyond 16 bits.
_LETTERS = [c for block in _BLOCKS for c in map(chr, block) if _allowed(c)] + list("中日本𐐀𐐨")


def wide(text: str) -> str:
    """ASCII in its full-width form, which is the same name."""
    return "".join(chr(ord(letter) + 0xFEE0) for letter in text)


def _name(text: str) -> Name | None:
    try:
        return parse_name(text)
    except BadName:
        return None


#: Whatever passes for a name.
names = st.text(st.sampled_from(_LETTERS), min_size=1, max_size=32).map(_name).filter(bool)


def _san(*uris: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri) for uri in uris])


class UriTests(SynchronousTestCase):
    """``encchat:NAME``."""

    @given(names)
    def test_round_trip(self, name: Name) -> None:
        """Any name comes back as it was, from ASCII, within the bound."""
        uri = user_uri(name)
        self.assertTrue(uri.isascii())
        self.assertLessEqual(len(uri), MAX_URI)
        self.assertEqual(parse_user_uri(uri), name)

    @given(names)
    def test_through_a_certificate(self, name: Name) -> None:
        """The same, through a certificate."""
        self.assertEqual(user_of(certificate_with(_san(user_uri(name)))), name)

    def test_written(self) -> None:
        """It is UTF-8, percent-encoded; either case of the digits is read."""
        self.assertEqual(user_uri(parse_name("Zoë")), "encchat:Zo%C3%AB")
        self.assertEqual(parse_user_uri("encchat:zo%c3%ab").shown, "zoë")

    def test_longest(self) -> None:
        """The longest name there is fits."""
        name = parse_name("𐐨" * 32)
        self.assertEqual(len(user_uri(name)), MAX_URI)
        self.assertEqual(parse_user_uri(user_uri(name)), name)

    def test_refused(self) -> None:
        """What is not exactly that is refused, with words."""
        for uri, why in [
            ("https://example.org/alice", "does not begin"),
            ("ENCCHAT:alice", "does not begin"),
            ("encchat:", "not a percent-encoded name"),
            ("encchat://alice", "not a percent-encoded name"),
            ("encchat:alice bob", "not a percent-encoded name"),
            ("encchat:alice\n", "not a percent-encoded name"),
            ("encchat:al%ice", "not a percent-encoded name"),
            ("encchat:al%2", "not a percent-encoded name"),
            ("encchat:" + "a" * 1000, "not a percent-encoded name"),
            ("encchat:al%ff", "not UTF-8"),
            ("encchat:al%2Fice", "bad name"),
            ("encchat:%2e%2e", "bad name"),
            ("encchat:%1b%5b31m", "bad name"),
            ("encchat:" + "a" * 33, "bad name"),
        ]:
            error = self.assertRaises(NoUserInCertificate, parse_user_uri, uri)
            self.assertIn(why, str(error))
            self.assertNotIn("\x1b", str(error))


class UserOfTests(SynchronousTestCase):
    """Exactly one URI names the user."""

    def _why(self, certificate: x509.Certificate) -> str:
        return str(self.assertRaises(NoUserInCertificate, user_of, certificate))

    def test_none(self) -> None:
        """No alternative name, or one without a URI, is no user; the common name does not count."""
        self.assertIn("no URIs", self._why(certificate_with()))
        dns = x509.SubjectAlternativeName([x509.DNSName("alice"), x509.RFC822Name("alice@example.org")])
        self.assertIn("no URIs", self._why(certificate_with(dns)))

    def test_two(self) -> None:
        """Of two, nobody can say which; also when only one is ours."""
        self.assertIn("2 URIs", self._why(certificate_with(_san("encchat:alice", "encchat:bob"))))
        self.assertIn("2 URIs", self._why(certificate_with(_san("encchat:alice", "encchat:alice"))))
        self.assertIn("2 URIs", self._why(certificate_with(_san("encchat:alice", "spiffe://x/bob"))))

    def test_other_names_beside_it(self) -> None:
        """Other kinds of names may stand beside it."""
        san = x509.SubjectAlternativeName(
            [x509.RFC822Name("bob@example.org"), x509.UniformResourceIdentifier("encchat:alice")]
        )
        self.assertEqual(user_of(certificate_with(san)).key, "alice")

    def test_unreadable(self) -> None:
        """An extension that is not what it says is a refusal, not a crash."""
        broken = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x03\x86\x05a")
        self.assertIn("cannot be read", self._why(certificate_with(broken)))
        other = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x02\xa3\x00")
        self.assertIn("cannot be read", self._why(certificate_with(other)))


class FileStemTests(SynchronousTestCase):
    """What a user's files are called."""

    @given(names)
    def test_safe(self, name: Name) -> None:
        """No name leads out of the directory, hides, looks like an option, is too long, or takes the
        files of the authority."""
        stem = file_stem(name)
        self.assertFalse(set(stem) & set("/\\\0"))
        self.assertFalse(stem.startswith((".", "-")))
        self.assertNotIn(stem, RESERVED_STEMS)
        self.assertLessEqual(len(f".{stem}.pem.12345678.tmp".encode()), 255)

    @given(names, names | st.sampled_from(["alice", wide("ALICE"), "ca", "Server"]).map(parse_name))
    def test_one_file_a_name(self, one: Name, other: Name) -> None:
        """Two names share a file when they are the same name."""
        self.assertEqual(one.key == other.key, file_stem(one) == file_stem(other))

    def test_examples(self) -> None:
        """However a name is written, and whatever it is."""
        self.assertEqual(file_stem(parse_name(wide("ALICE"))), "alice")
        self.assertEqual(file_stem(parse_name("Server")), "user%server")
        for path in (wide("../x"), wide("a/b"), wide("%41"), wide("-rf")):
            self.assertRaises(BadName, parse_name, path)


class WordsTests(SynchronousTestCase):
    """Subjects and issuers, for people."""

    def test_words(self) -> None:
        """They are cleaned, cut, and never empty."""
        self.assertEqual(subject_of(certificate_with()), "CN=odd")
        self.assertEqual(issuer_of(certificate_with()), "CN=odd")
        evil = certificate_with(name="a\x1b[31m\nb" + "c" * 50)
        self.assertEqual(subject_of(evil), "CN=a b" + "c" * 50)
        self.assertEqual(len(subject_of(certificate_with(name="c" * 64, times=2))), 80)
        self.assertEqual(subject_of(certificate_with(times=0)), "no name")

    def test_malformed(self) -> None:
        """Names that are no text are told as such."""
        for tag in (b"\x0c", b"\x16", b"\x03"):
            self.assertEqual(subject_of(malformed(tag)), "an unreadable name")
            self.assertEqual(issuer_of(malformed(tag)), "an unreadable name")
