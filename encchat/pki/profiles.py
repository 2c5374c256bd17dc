"""What a certificate is for, and whether its cryptography is good enough.

A leaf is a server's or a user's, never both: its extended key usage (RFC 5280, section 4.2.1.12) is
serverAuth or clientAuth alone, so that a user's key cannot pose as the service, nor the other way round.
"""

from __future__ import annotations

from enum import StrEnum

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID

from encchat.core import identity
from encchat.errors import RefusedError

#: Bits of the smallest RSA modulus and elliptic curve that are believed.
MIN_RSA_BITS = 2048
MIN_CURVE_BITS = 256

_WEAK_HASHES = frozenset({"md5", "sha1"})


class Role(StrEnum):
    """What a certificate is for."""

    CA = "ca"
    SERVER = "server"
    USER = "user"


PURPOSES = {Role.SERVER: ExtendedKeyUsageOID.SERVER_AUTH, Role.USER: ExtendedKeyUsageOID.CLIENT_AUTH}
_WORDS = {ExtendedKeyUsageOID.SERVER_AUTH: "serverAuth", ExtendedKeyUsageOID.CLIENT_AUTH: "clientAuth"}


class WrongPurpose(RefusedError):
    """The certificate is not for a {role}: {why}."""

    code = "wrong-purpose"


class WeakCertificate(RefusedError):
    """The certificate is too weak to be believed: {why}. Have it made anew with a P-256 key."""

    code = "weak-certificate"


def check_role(certificate: x509.Certificate, role: Role, *, exclusive: bool = True) -> None:
    """Whether a leaf is for ``role``, and with ``exclusive`` for nothing else. A public authority's
    server certificate may also be good for clients: take it with ``exclusive=False``.

    :raises WrongPurpose: it is not.
    """
    try:
        purposes = list(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        raise WrongPurpose(role=str(role), why="it does not say what it is for (no EKU)") from None
    except (ValueError, x509.DuplicateExtension) as error:
        raise WrongPurpose(role=str(role), why=f"its extensions cannot be read ({error})") from None
    wanted = PURPOSES[role]
    if wanted not in purposes or (exclusive and len(purposes) != 1):
        found = ", ".join(_WORDS.get(purpose, purpose.dotted_string) for purpose in purposes)
        raise WrongPurpose(role=str(role), why=f"its EKU is {found}, not {_WORDS[wanted]} alone")


def check_strength(certificate: x509.Certificate, *, self_signed: bool = False) -> None:
    """Whether key and signature are ones that nobody is known to forge. The signature on a trust anchor
    is not what it is believed for: ``self_signed`` leaves it out.

    :raises WeakCertificate: they are not.
    """
    key = certificate.public_key()
    if isinstance(key, (rsa.RSAPublicKey, dsa.DSAPublicKey)) and key.key_size < MIN_RSA_BITS:
        raise WeakCertificate(why=f"its key has {key.key_size} bits, not at least {MIN_RSA_BITS}")
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.key_size < MIN_CURVE_BITS:
        raise WeakCertificate(why=f"its curve {key.curve.name} has less than {MIN_CURVE_BITS} bits")
    signed_with = None if self_signed else certificate.signature_hash_algorithm
    if signed_with is not None and signed_with.name in _WEAK_HASHES:
        raise WeakCertificate(why=f"it is signed with {signed_with.name.upper()}")


def spki(key: CertificatePublicKeyTypes) -> bytes:
    """A public key as DER SubjectPublicKeyInfo."""
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def fingerprint_of(certificate: x509.Certificate) -> str:
    """The fingerprint of a certificate's key, as in ``core.identity``: it outlives a renewal."""
    return identity.fingerprint(spki(certificate.public_key()))
