"""A certificate authority for tests that also makes every certificate that must be refused.

Quick (P-256 unless told otherwise) and unscrupulous: every field of a certificate can be said. Files are
written as the cipher expects them in ``certs=DIR``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import rsa as old_rsa
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

SERVER_AUTH = ExtendedKeyUsageOID.SERVER_AUTH
CLIENT_AUTH = ExtendedKeyUsageOID.CLIENT_AUTH
ANY_PURPOSE = ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


def new_key() -> ec.EllipticCurvePrivateKey:
    """A P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def uri(text: str) -> x509.UniformResourceIdentifier:
    """A URI for a subjectAltName."""
    return x509.UniformResourceIdentifier(text)


class Leaf:
    """A certificate with its key, and the chain that is shown with it."""

    def __init__(
        self, certificate: x509.Certificate, key: Key, chain: Sequence[x509.Certificate] = ()
    ) -> None:
        self.certificate = certificate
        self.key = key
        self.chain = chain

    @property
    def pem(self) -> bytes:
        """Certificate and chain."""
        return b"".join(cert.public_bytes(Encoding.PEM) for cert in (self.certificate, *self.chain))

    @property
    def key_pem(self) -> bytes:
        """The key, PKCS#8."""
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def write(self, directory: Path, stem: str) -> None:
        """Put ``stem.pem`` and ``stem.key`` there."""
        directory.mkdir(mode=0o700, exist_ok=True, parents=True)
        (directory / f"{stem}.pem").write_bytes(self.pem)
        path = directory / f"{stem}.key"
        path.touch(mode=0o600)
        path.write_bytes(self.key_pem)


class Authority:
    """One authority; ``parent`` makes it an intermediate one."""

    def __init__(
        self,
        name: str = "Test CA",
        *,
        parent: Authority | None = None,
        key: Key | None = None,
        path_length: int | None = None,
        key_usage: bool = True,
    ) -> None:
        self.key: Key = key or new_key()
        self.parent = parent
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.certificate = self.sign(
            self.key,
            name=name,
            authority=True,
            path_length=path_length,
            issuer=parent or self,
            usage=key_usage,
        )
        self.revoked: list[int] = []
        self._number = 0

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def chain(self) -> list[x509.Certificate]:
        """This one and those above it, without the root."""
        return [] if self.parent is None else [self.certificate, *self.parent.chain]

    def sign(
        self,
        key: Key,
        *,
        name: str = "somebody",
        names: Sequence[x509.GeneralName] = (),
        purposes: Sequence[x509.ObjectIdentifier] = (),
        begins: datetime = NOW - DAY,
        ends: datetime = NOW + 80 * DAY,
        authority: bool = False,
        path_length: int | None = None,
        issuer: Authority | None = None,
        usage: bool = True,
        identified: bool = True,
        extra: Iterable[x509.ExtensionType] = (),
    ) -> x509.Certificate:
        """Any certificate at all."""
        issuer = issuer or self
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(issuer.name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.BasicConstraints(authority, path_length), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )
        if identified:
            identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key())
            builder = builder.add_extension(identifier, critical=False)
        if authority and usage:
            builder = builder.add_extension(
                x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True
            )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if purposes:
            builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        for extension in extra:
            builder = builder.add_extension(extension, critical=False)
        return builder.sign(issuer.key, _digest(issuer.key))

    def user(self, user: str = "alice", *, key: Key | None = None, **more: object) -> Leaf:
        """A user's certificate; ``more`` as for ``sign``."""
        facts: dict[str, object] = {
            "name": user,
            "names": [uri(f"encchat:{user}")],
            "purposes": [CLIENT_AUTH],
        }
        return self._leaf(key, facts | more)

    def server(self, *names: x509.GeneralName, key: Key | None = None, **more: object) -> Leaf:
        """A server's certificate; for 127.0.0.1 and localhost if nothing else is said."""
        import ipaddress

        usual = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        facts: dict[str, object] = {"name": "server", "names": names or usual, "purposes": [SERVER_AUTH]}
        return self._leaf(key, facts | more)

    def _leaf(self, key: Key | None, facts: dict[str, object]) -> Leaf:
        key = key or new_key()
        return Leaf(self.sign(key, **facts), key, self.chain)  # type: ignore[arg-type]  # as the caller gave them

    def crl(
        self,
        *revoked: Leaf,
        updated: datetime = NOW - timedelta(hours=1),
        ends: datetime | None = NOW + 30 * DAY,
        signer: Key | None = None,
    ) -> x509.CertificateRevocationList:
        """A revocation list with ``revoked`` and all that were revoked before."""
        self.revoked += [leaf.certificate.serial_number for leaf in revoked]
        self._number += 1
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.name)
            .last_update(updated)
            .next_update(ends or NOW + 30 * DAY)
            .add_extension(x509.CRLNumber(self._number), critical=False)
        )
        for serial in self.revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(updated).build()
            builder = builder.add_revoked_certificate(entry)
        key = signer or self.key
        return builder.sign(key, _digest(key))


def with_sha1(leaf: Leaf, signer: rsa.RSAPrivateKey) -> Leaf:
    """The same certificate, signed with SHA-1; ``cryptography`` no longer does that."""
    sha256, sha1 = (bytes.fromhex(f"06092a864886f70d0101{last}0500") for last in ("0b", "05"))
    der = leaf.certificate.public_bytes(Encoding.DER)
    body = leaf.certificate.tbs_certificate_bytes
    numbers = signer.private_numbers()
    key = old_rsa.PrivateKey(
        numbers.public_numbers.n, numbers.public_numbers.e, numbers.d, numbers.p, numbers.q
    )
    altered = body.replace(sha256, sha1)
    signature = old_rsa.sign(altered, key, "SHA-1")
    der = der.replace(body, altered).replace(sha256, sha1)[: -len(signature)] + signature
    return Leaf(x509.load_der_x509_certificate(der), leaf.key)


def _digest(key: Key) -> HashAlgorithm | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else SHA256()


def write_crl(path: Path, *crls: x509.CertificateRevocationList) -> None:
    """Put revocation lists into a file."""
    path.write_bytes(b"".join(crl.public_bytes(Encoding.PEM) for crl in crls))


def write_set(directory: Path, authority: Authority, *users: str, crl: bool = True) -> dict[str, Leaf]:
    """A whole ``certs=DIR``: authority, server, users, and perhaps a revocation list."""
    directory.mkdir(mode=0o700, exist_ok=True, parents=True)
    (directory / "ca.pem").write_bytes(authority.pem)
    made = {"server": authority.server(), **{name: authority.user(name) for name in users}}
    for stem, leaf in made.items():
        leaf.write(directory, stem)
    if crl:
        write_crl(directory / "crl.pem", authority.crl())
    return made
