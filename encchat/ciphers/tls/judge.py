"""What is made of a peer's certificates: refused with words, or turned into who the peer is.

One judge hears one connection. OpenSSL verifies the chain, the dates, the signatures, the strength and
the revocation lists, and calls ``hear`` for every certificate, the leaf last: the judge can only be
stricter. Its refusal is kept for the words; the wire shows TLS's own alert. What it finds is believed
once the handshake is complete, as only then the peer has proved that it holds the key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from OpenSSL import SSL, crypto
from twisted.logger import Logger

from encchat.ciphers.tls.failures import CertificateRefused, Revoked
from encchat.ciphers.tls.hosts import HostCheck
from encchat.ciphers.tls.words import Showing, verify_error
from encchat.core.identity import PeerIdentity
from encchat.errors import EncchatError
from encchat.pki.names import issuer_of, subject_of, user_of
from encchat.pki.profiles import Role, check_role, check_strength, fingerprint_of

#: Serial numbers by issuer, which is its name as DER: what revocation lists say.
RevokedSerials = Mapping[bytes, frozenset[int]]


class Judge:
    """Takes any certificate that OpenSSL takes. Subclasses override ``judge_leaf``."""

    log: ClassVar[Logger] = Logger()

    def __init__(self, showing: Showing, revoked: Callable[[], RevokedSerials] = dict) -> None:
        """``revoked`` gives what is revoked at the time of asking: lists may change during a handshake."""
        self.showing = showing
        self.refusal: EncchatError | None = None
        #: True when the peer offered protocols, and ours was not among them (ALPN).
        self.speaks_otherwise = False
        #: Issuer and serial number of each certificate that was heard.
        self.heard: list[tuple[bytes, int]] = []
        self.leaf: x509.Certificate | None = None
        self._revoked = revoked

    def hear(self, certificate: crypto.X509, error: int, depth: int) -> bool:
        """Whether to go on. ``error`` is OpenSSL's X509_V_ERR, 0 for none; the leaf has depth 0."""
        try:
            self._judge(certificate.to_cryptography(), error, depth)
        except EncchatError as refusal:
            self.refusal = refusal
        except Exception:  # a certificate is hostile input: what nobody foresaw is a refusal too
            self.log.failure("while judging a certificate")
            self.refusal = CertificateRefused(
                peer=self.showing.peer, subject="unreadable", why="it cannot be understood"
            )
        return self.refusal is None

    def judge_leaf(self, leaf: x509.Certificate) -> None:
        """Raise an EncchatError if this peer is not to come in."""

    def _judge(self, certificate: x509.Certificate, error: int, depth: int) -> None:
        if error:
            raise verify_error(error, certificate, depth, self.showing)
        self._note(certificate)
        if self.is_revoked():
            raise Revoked(
                peer=self.showing.peer,
                subject=subject_of(certificate),
                serial=certificate.serial_number,
            )
        if depth == 0:
            self.judge_leaf(certificate)
            self.leaf = certificate

    def is_revoked(self) -> bool:
        """Whether one of the peer's certificates is revoked by now."""
        revoked = self._revoked()
        return any(serial in revoked.get(issuer, ()) for issuer, serial in self.heard)

    def identity(self, connection: SSL.Connection) -> PeerIdentity | None:
        """Who the peer of a complete handshake is; None if its certificate was not heard."""
        if self.leaf is None or self.refusal is not None:
            return None
        return PeerIdentity(
            fingerprint=fingerprint_of(self.leaf),
            vouched_name=self.vouched_name(),
            cipher="tls",
            summary=f"{self.described()}, {key_words(self.leaf)} key; {', '.join(agreement(connection))}",
        )

    def vouched_name(self) -> str | None:
        """The name that the authority vouches for."""
        return None

    def described(self) -> str:
        """The leaf in a few words."""
        assert self.leaf is not None
        until = f"{self.leaf.not_valid_after_utc:%Y-%m-%d}"
        return f"{subject_of(self.leaf)}, vouched for by {issuer_of(self.leaf)} until {until}"

    def _note(self, certificate: x509.Certificate) -> None:
        self.heard.append((certificate.issuer.public_bytes(), certificate.serial_number))


class UserJudge(Judge):
    """The server's judge in CA mode: the certificate is a user's, and names him."""

    _name: str | None = None

    def judge_leaf(self, leaf: x509.Certificate) -> None:
        """For clients only, and exactly one name."""
        check_role(leaf, Role.USER)
        self._name = user_of(leaf).shown

    def vouched_name(self) -> str | None:
        """The user's."""
        return self._name


class HostJudge(Judge):
    """The client's judge in CA mode: the certificate is a server's, for the host that was asked for."""

    def __init__(
        self, showing: Showing, revoked: Callable[[], RevokedSerials], host: HostCheck, exclusive: bool
    ) -> None:
        super().__init__(showing, revoked)
        self._host = host
        self._exclusive = exclusive

    def judge_leaf(self, leaf: x509.Certificate) -> None:
        """For servers (only, if the authority is a private one), and for this host."""
        check_role(leaf, Role.SERVER, exclusive=self._exclusive)
        self._host.check(leaf)


class PinJudge(Judge):
    """Either side's in pin mode: any certificate will do, as only its key counts, and TLS proves that.

    The client's trust, or the server's directory of names, judges the key after the handshake."""

    def _judge(self, certificate: x509.Certificate, error: int, depth: int) -> None:
        if depth == 0 and self.leaf is None:  # OpenSSL asks once for each thing that it finds wrong
            check_strength(certificate, self_signed=True)
            self.leaf = certificate

    def described(self) -> str:
        """The key alone."""
        return "self-signed, known by its key"


def key_words(certificate: x509.Certificate) -> str:
    """The kind of a certificate's key, for people: ``P-256``, ``RSA-3072``."""
    key = certificate.public_key()
    if isinstance(key, ec.EllipticCurvePublicKey):
        return {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}.get(
            key.curve.name, key.curve.name
        )
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA-{key.key_size}"
    return type(key).__name__.removesuffix("PublicKey")


def agreement(connection: SSL.Connection) -> tuple[str, str, str]:
    """What a handshake agreed on: ``TLSv1.3``, ``X25519MLKEM768`` and ``TLS_AES_256_GCM_SHA384``."""
    group, cipher = connection.get_group_name(), connection.get_cipher_name()
    return connection.get_protocol_version_name(), group or "no group", cipher or "no cipher"
