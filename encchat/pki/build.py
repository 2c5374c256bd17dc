"""Makes certificates and revocation lists (RFC 5280). Writes nothing, decides nothing about files.

Keys are P-256 and signatures ECDSA with SHA-256. A leaf lives 89 days, an authority ten years, a
revocation list 30 days. All begin an hour early, for machines whose clock is a little behind.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from encchat.core.names import Name
from encchat.pki.files import PrivateKey
from encchat.pki.hosts import Host
from encchat.pki.names import user_uri
from encchat.pki.profiles import PURPOSES, Role

LEAF_LIFE = timedelta(days=89)
AUTHORITY_LIFE = timedelta(days=3652)
CRL_LIFE = timedelta(days=30)
#: How long before its making a certificate begins.
BACKDATE = timedelta(hours=1)

#: Characters of the longest common name (RFC 5280, appendix A.1: ub-common-name).
MAX_COMMON_NAME = 64

PublicKey = ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Signer:
    """An authority: its certificate, and the key that signs."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A fresh P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey, passphrase: bytes | None = None) -> bytes:
    """A private key as PKCS#8 PEM, encrypted when there is a passphrase."""
    encryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)


def authority_certificate(
    key: ec.EllipticCurvePrivateKey, name: str, serial: int, now: datetime
) -> x509.Certificate:
    """A self-signed authority that can sign leaves, and no further authorities (path length 0)."""
    subject = _common_name(name)
    public_key = key.public_key()
    return (
        _builder(subject, subject, public_key, serial, now, now + AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public_key), critical=False)
        .sign(key, SHA256())
    )


def server_certificate(
    public_key: PublicKey, hosts: Sequence[Host], signer: Signer, serial: int, now: datetime
) -> x509.Certificate:
    """A certificate for a service that is reached under ``hosts``, and for nothing else."""
    first = hosts[0].text
    subject = _common_name(first) if len(first) <= MAX_COMMON_NAME else x509.Name([])
    names = [host.general_name for host in hosts]
    return _leaf(public_key, subject, names, Role.SERVER, signer, serial, now)


def user_certificate(
    public_key: PublicKey, name: Name, signer: Signer, serial: int, now: datetime
) -> x509.Certificate:
    """A certificate that names a user, and is good for nothing else."""
    uri = x509.UniformResourceIdentifier(user_uri(name))
    return _leaf(public_key, _common_name(name.shown), [uri], Role.USER, signer, serial, now)


def revocation_list(
    revoked: Iterable[x509.RevokedCertificate], number: int, signer: Signer, now: datetime
) -> x509.CertificateRevocationList:
    """A revocation list; each has a higher ``number`` than the one before."""
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(now - BACKDATE)
        .next_update(now + CRL_LIFE)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key(signer), critical=False)
    )
    for entry in revoked:
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(signer.key, SHA256())


def revoked_entry(serial: int, when: datetime, reason: x509.ReasonFlags) -> x509.RevokedCertificate:
    """One line of a revocation list. No reason is written as none (RFC 5280, section 5.3.1)."""
    builder = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(when)
    if reason is not x509.ReasonFlags.unspecified:
        builder = builder.add_extension(x509.CRLReason(reason), critical=False)
    return builder.build()


def _leaf(
    public_key: PublicKey,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    role: Role,
    signer: Signer,
    serial: int,
    now: datetime,
) -> x509.Certificate:
    issuer = signer.certificate
    ends = min(now + LEAF_LIFE, issuer.not_valid_after_utc)  # a leaf never outlives its authority
    anonymous = not list(subject)  # then the alternative name must be critical: section 4.2.1.6
    return (
        _builder(subject, issuer.subject, public_key, serial, now, ends)
        .add_extension(x509.SubjectAlternativeName(names), critical=anonymous)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([PURPOSES[role]]), critical=False)
        .add_extension(_authority_key(signer), critical=False)
        .sign(signer.key, SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: PublicKey, serial: int, now: datetime, ends: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(serial)
        .not_valid_before(now - BACKDATE)
        .not_valid_after(ends)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
    )


def _authority_key(signer: Signer) -> x509.AuthorityKeyIdentifier:
    identifier = signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
