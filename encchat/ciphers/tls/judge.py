"""What is made of a peer's certificates: refused with words, or turned into who the peer is.

One judge hears one connection. OpenSSL verifies the chain, the dates, the signatures, the strength and
the revocation lists, and calls ``hear`` for every certificate, the leaf last: the judge can only be
stricter. Its refusal is kept for the words; the wire shows TLS's own alert, which for OpenSSL's objections
says what they are, and for ours is "internal error". What it finds is believed
once the handshake is complete, as only then the peer has proved that it holds the key.

What a certificate says depends on its bytes alone, so it is read once and remembered for those who come
again. Nothing that time or a revocation list can change is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from encchat.ciphers.tls.failures import CertificateRefused, Revoked
from encchat.ciphers.tls.hosts import HostCheck
from encchat.ciphers.tls.words import Showing, verify_error
from encchat.core.identity import PeerIdentity, Shown, fingerprint
from encchat.errors import EncchatError
from encchat.pki.names import issuer_of, subject_of, user_of
from encchat.pki.profiles import Role, check_role, check_strength, spki

#: Serial numbers by issuer, which is its name as DER: what revocation lists say.
RevokedSerials = Mapping[bytes, frozenset[int]]

#: Certificates that are remembered.
REMEMBERED = 1024

_CURVES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a peer's own certificate says."""

    fingerprint: str
    #: The user whom its authority vouches for.
    user: str | None
    #: All of it in a few words.
    words: str


class Judge:
    """Takes any certificate that OpenSSL takes. Subclasses override ``read``."""

    log: ClassVar[Logger] = Logger()

    def __init__(self, showing: Showing, revoked: Callable[[], RevokedSerials] = dict) -> None:
        """``revoked`` gives what is revoked at the time of asking: lists may change during a handshake."""
        self.showing = showing
        self.refusal: EncchatError | None = None
        #: Whose certificate was refused, by OpenSSL or by us.
        self.shown: Shown | None = None
        #: True when it is we who refused, and OpenSSL had no objection.
        self.overruled = False
        #: True when the peer offered protocols, and ours was not among them (ALPN).
        self.speaks_otherwise = False
        self._heard: list[crypto.X509] = []
        self._leaf: Leaf | None = None
        self._revoked = revoked
        #: The lists of the context that the connection began with: OpenSSL looks into these.
        self._looked_into = revoked()

    def hear(self, certificate: crypto.X509, error: int, depth: int) -> bool:
        """Whether to go on. ``error`` is OpenSSL's X509_V_ERR, 0 for none; the leaf has depth 0."""
        try:
            self._judge(certificate, error, depth)
        except EncchatError as refusal:
            self.refusal = refusal
        except Exception:  # a certificate is hostile input: what nobody foresaw is a refusal too
            self.log.failure("while judging a certificate")
            self.refusal = CertificateRefused(
                peer=self.showing.peer, subject="unreadable", why="it cannot be understood"
            )
        self.overruled = self.refusal is not None and not error
        if self.refusal is not None:
            self.shown = _shown(certificate) if depth == 0 else Shown("", "")
        return self.refusal is None

    def read(self, der: bytes) -> Leaf:
        """What the peer's own certificate says; raises an EncchatError if he is not to come in."""
        certificate = x509.load_der_x509_certificate(der)
        words = f"{subject_of(certificate)}, certified by {issuer_of(certificate)}"
        return _leaf(certificate, None, words)

    def _judge(self, certificate: crypto.X509, error: int, depth: int) -> None:
        if error:
            raise verify_error(error, certificate.to_cryptography(), depth, self.showing)
        self._heard.append(certificate)
        if depth == 0:
            if self._revoked() is not self._looked_into and self.may_be_revoked():
                self.check_revoked([heard.to_cryptography() for heard in self._heard])
            self._leaf = self.read(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))

    def may_be_revoked(self) -> bool:
        """Whether some authority has by now revoked a serial number that was heard: look closer then."""
        lists = self._revoked().values()
        heard = [certificate.get_serial_number() for certificate in self._heard] if lists else ()
        return any(serial in serials for serials in lists for serial in heard)

    def check_revoked(self, chain: Sequence[x509.Certificate]) -> None:
        """
        :raises Revoked: one of the certificates is revoked by now.
        """
        revoked = self._revoked()
        for certificate in chain:
            serial = certificate.serial_number
            if serial in revoked.get(certificate.issuer.public_bytes(), ()):
                if self._leaf is not None:
                    self.shown = Shown(self._leaf.user or "", self._leaf.fingerprint)
                raise Revoked(peer=self.showing.peer, subject=subject_of(certificate), serial=serial)

    def identity(self, connection: SSL.Connection) -> PeerIdentity | None:
        """Who the peer of a complete handshake is; None if its certificate was not heard."""
        leaf = self._leaf
        if leaf is None or self.refusal is not None:
            return None
        summary = ", ".join((leaf.words, *agreement(connection)))
        return PeerIdentity(leaf.fingerprint, leaf.user, "tls", summary)


class UserJudge(Judge):
    """The server's judge in CA mode: the certificate is a user's, and names him."""

    def read(self, der: bytes) -> Leaf:
        """For clients only, and exactly one name."""
        return read_user(der)


@lru_cache(maxsize=REMEMBERED)
def read_user(der: bytes) -> Leaf:
    """What a user's certificate says.

    :raises EncchatError: it is none.
    """
    certificate = x509.load_der_x509_certificate(der)
    check_role(certificate, Role.USER)
    user = user_of(certificate).shown
    return _leaf(certificate, user, f"certified as {user}")


class HostJudge(Judge):
    """The client's judge in CA mode: the certificate is a server's, for the host that was asked for."""

    def __init__(
        self, showing: Showing, revoked: Callable[[], RevokedSerials], host: HostCheck, exclusive: bool
    ) -> None:
        super().__init__(showing, revoked)
        self._host = host
        self._exclusive = exclusive

    def read(self, der: bytes) -> Leaf:
        """For servers (only, if the authority is a private one), and for this host."""
        certificate = x509.load_der_x509_certificate(der)
        check_role(certificate, Role.SERVER, exclusive=self._exclusive)
        self._host.check(certificate)
        return super().read(der)


class PinJudge(Judge):
    """Either side's in pin mode: any certificate will do, as only its key counts, and TLS proves that.

    The client's trust, or the server's directory of names, judges the key after the handshake."""

    def _judge(self, certificate: crypto.X509, error: int, depth: int) -> None:
        if depth == 0 and self._leaf is None:  # OpenSSL asks once for each thing that it finds wrong
            self._leaf = _read_pin(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))


@lru_cache(maxsize=REMEMBERED)
def _read_pin(der: bytes) -> Leaf:
    certificate = x509.load_der_x509_certificate(der)
    check_strength(certificate, self_signed=True)
    key = certificate.public_key()
    return Leaf(fingerprint(spki(key)), None, f"known by its {key_words(key)} key alone")


def _leaf(certificate: x509.Certificate, user: str | None, words: str) -> Leaf:
    key = certificate.public_key()
    until = f"{certificate.not_valid_after_utc:%Y-%m-%d}"
    return Leaf(fingerprint(spki(key)), user, f"{words} until {until}, {key_words(key)} key")


def _shown(certificate: crypto.X509) -> Shown:
    """What a certificate says that nobody believes."""
    try:
        read = certificate.to_cryptography()
        key = fingerprint(spki(read.public_key()))
    except Exception:  # hostile input: it was refused already, and here it is only told of
        return Shown("", "")
    try:
        return Shown(user_of(read).shown, key)
    except EncchatError:
        return Shown("", key)


def key_words(key: CertificatePublicKeyTypes) -> str:
    """The kind of a key, for people: ``P-256``, ``RSA-3072``."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return _CURVES.get(key.curve.name, key.curve.name)
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    return type(key).__name__.removesuffix("PublicKey")


def agreement(connection: SSL.Connection) -> tuple[str, str, str]:
    """What a handshake agreed on: ``TLSv1.3``, ``X25519MLKEM768`` and ``TLS_AES_256_GCM_SHA384``."""
    group, cipher = connection.get_group_name(), connection.get_cipher_name()
    return connection.get_protocol_version_name(), group or "no group", cipher or "no cipher"
