"""Certificates whose every field attacks whoever shows it: only text comes out of what is said about them."""

from __future__ import annotations

import warnings

from cryptography import x509
from cryptography.x509.oid import NameOID
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.tls import words
from encchat.ciphers.tls.hosts import HostCheck, WrongHost
from encchat.ciphers.tls.words import Showing, verify_error
from encchat.pki.names import NoUserInCertificate, issuer_of, subject_of, user_of
from tests.ciphers.tls.authority import NOW, Authority, Leaf, new_key
from tests.hostile import attacks, floods, is_unsafe

#: One key for all: only the names matter.
KEY = new_key()
#: More than the longest sentence, and far less than a flood.
MAX_SENTENCE = 1500


def hostile(evil: str) -> Leaf:
    """A certificate that is evil in its subject, its issuer and its subjectAltName."""
    authority = Authority("x", key=KEY)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are too long, which they are
        authority.name = x509.Name(
            x509.NameAttribute(kind, evil, _validate=False)
            for kind in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
            if evil
        )
    raw = evil.encode("utf-8", "replace").decode("latin-1")  # a subjectAltName is ASCII for cryptography
    ascii_ = "".join(character for character in raw if character.isascii())
    names = [x509.DNSName(f"a{ascii_}.example"), x509.UniformResourceIdentifier(f"encchat:{ascii_}")]
    certificate = authority.sign(KEY, name="x", names=names, issuer=authority)
    builder = (
        x509.CertificateBuilder()
        .subject_name(authority.name)
        .issuer_name(authority.name)
        .public_key(KEY.public_key())
        .serial_number(1)
        .not_valid_before(certificate.not_valid_before_utc)
        .not_valid_after(certificate.not_valid_after_utc)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return Leaf(builder.sign(KEY, certificate.signature_hash_algorithm), KEY)  # type: ignore[arg-type]  # SHA-256


class HostileNames(SynchronousTestCase):
    def sentences(self, certificate: x509.Certificate, *, all_of_them: bool) -> list[str]:
        """What is ever said about a certificate."""
        showing = [
            Showing(server, pinned, "c.pem", "ca.pem", "crl.pem", NOW, issuer_of(certificate))
            for server in (False, True)
            for pinned in (False, True)
        ]
        said = [subject_of(certificate), issuer_of(certificate)]
        numbers = (*words._VERIFY, *words._WHY, *words._WEAK, 1) if all_of_them else (2, 7)
        for number in numbers:
            for depth in (0, 1):
                said += [str(verify_error(number, certificate, depth, each)) for each in showing]
        alerts = (*words._FROM_SERVER, *words._FROM_CLIENT, "protocol version", "what is this")
        for alert in alerts if all_of_them else ("unknown ca",):
            said += [str(words.handshake_error([f"ssl alert {alert}"], b"", True, each)) for each in showing]
        said.append(str(self.assertRaises(WrongHost, HostCheck("chat.example").check, certificate)))
        try:
            said.append(user_of(certificate).shown)
        except NoUserInCertificate as error:
            said.append(str(error))
        return said

    def test_every_attack_in_every_field(self) -> None:
        for evil in (*attacks(), *floods(), everything := "".join(attacks())):
            certificate = hostile(evil).certificate
            for sentence in self.sentences(certificate, all_of_them=evil == everything):
                self.assertFalse([c for c in sentence if is_unsafe(c) or c == "\n"], (evil, sentence))
                self.assertNotRegex(sentence, "\u0301{9}")
                self.assertLess(len(sentence), MAX_SENTENCE)

        self.assertEqual(self.flushWarnings(), [])

    def test_they_are_ones(self) -> None:
        """What the test above makes does hold what it says."""
        certificate = hostile("\x1b]0;owned\x07\u202e").certificate
        (subject, *_) = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        self.assertEqual(subject.value, "\x1b]0;owned\x07\u202e")
        self.assertEqual(certificate.issuer, certificate.subject)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertIn("\x1b]0;owned", names.get_values_for_type(x509.UniformResourceIdentifier)[0])
        self.assertIn("\x1b]0;owned", names.get_values_for_type(x509.DNSName)[0])
