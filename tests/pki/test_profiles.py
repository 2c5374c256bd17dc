"""What a certificate is for, and whether it is strong enough."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, ObjectIdentifier
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.identity import is_fingerprint
from encchat.pki.profiles import (
    Role,
    WeakCertificate,
    WrongPurpose,
    check_role,
    check_strength,
    fingerprint_of,
)
from tests.pki.support import certificate_with

_SERVER, _CLIENT = ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH


def _for(*purposes: ObjectIdentifier) -> x509.Certificate:
    return certificate_with(x509.ExtendedKeyUsage(list(purposes)))


class RoleTests(SynchronousTestCase):
    """A server's or a user's, never both."""

    def test_right(self) -> None:
        """The one purpose is the right one."""
        check_role(_for(_SERVER), Role.SERVER)
        check_role(_for(_CLIENT), Role.USER)
        check_role(_for(_SERVER, _CLIENT), Role.SERVER, exclusive=False)

    def test_wrong(self) -> None:
        """No purpose, the other, both, or any at all: refused, with what was found."""
        for certificate, role, why in [
            (certificate_with(), Role.USER, "no EKU"),
            (_for(_SERVER), Role.USER, "serverAuth, not clientAuth"),
            (_for(_CLIENT), Role.SERVER, "clientAuth, not serverAuth"),
            (_for(_SERVER, _CLIENT), Role.USER, "serverAuth, clientAuth"),
            (_for(ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE), Role.USER, "2.5.29.37.0"),
        ]:
            error = self.assertRaises(WrongPurpose, check_role, certificate, role)
            self.assertIn(why, str(error))
        self.assertRaises(WrongPurpose, check_role, _for(_CLIENT), Role.SERVER, exclusive=False)

    def test_unreadable(self) -> None:
        """An extension that is not what it says is a refusal."""
        broken = certificate_with(x509.UnrecognizedExtension(x509.ExtendedKeyUsage.oid, b"\x04\x01x"))
        self.assertRaises(WrongPurpose, check_role, broken, Role.USER)


class StrengthTests(SynchronousTestCase):
    """Keys and signatures that can be believed."""

    def test_strong(self) -> None:
        """Today's keys pass."""
        check_strength(certificate_with())
        check_strength(certificate_with(key=rsa.generate_private_key(65537, 2048)))

    def test_weak_keys(self) -> None:
        """Short ones do not."""
        for key, why in [
            (rsa.generate_private_key(65537, 1024), "1024 bits"),
            (dsa.generate_private_key(1024), "1024 bits"),
            (ec.generate_private_key(ec.SECP192R1()), "secp192r1"),
        ]:
            error = self.assertRaises(WeakCertificate, check_strength, certificate_with(key=key))
            self.assertIn(why, str(error))

    def test_sha1(self) -> None:
        """Neither does a SHA-1 signature, except on a trust anchor, where nobody relies on it."""
        certificate = x509.load_pem_x509_certificate(_SHA1)
        error = self.assertRaises(WeakCertificate, check_strength, certificate)
        self.assertIn("SHA1", str(error))
        check_strength(certificate, self_signed=True)

    def test_fingerprint(self) -> None:
        """The fingerprint is the key's: another certificate for it has the same."""
        key = ec.generate_private_key(ec.SECP256R1())
        first, second = certificate_with(key=key), certificate_with(x509.ExtendedKeyUsage([_SERVER]), key=key)
        self.assertTrue(is_fingerprint(fingerprint_of(first)))
        self.assertEqual(fingerprint_of(first), fingerprint_of(second))
        self.assertNotEqual(fingerprint_of(first), fingerprint_of(certificate_with()))


#: openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha1 -subj /CN=sha1 -days 3650
_SHA1 = b"""\
-----BEGIN CERTIFICATE-----
MIIBcjCCARigAwIBAgIUYACk4XHDqIXB6TtixTmjai3uqjUwCQYHKoZIzj0EATAP
MQ0wCwYDVQQDDARzaGExMB4XDTI2MTEyMjIyNDU0NVoXDTM2MTExOTIyNDU0NVow
DzENMAsGA1UEAwwEc2hhMTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJsuwKfy
dhYGFygNw8/2DbqLYTr7J8p6nW41175cbHpwDEEtgJ9E4VnLba9D5eoEjjRbabfy
RJbOXHZMVtm1KFSjUzBRMB0GA1UdDgQWBBRftxxr/0BiXH6SSAvhnjOLU1DWmzAf
BgNVHSMEGDAWgBRftxxr/0BiXH6SSAvhnjOLU1DWmzAPBgNVHRMBAf8EBTADAQH/
MAkGByqGSM49BAEDSQAwRgIhANjO2NOsTsVcQG3rWiOPZ4kihP+dgaWl4Q7/n9x8
oMY5AiEAxQqbHJ6azasdy/mI0FfohdpA8rGrHMmmOxg71uLSxoE=
-----END CERTIFICATE-----
"""
