"""The transport identity as the root of sealed rooms: it signs device certificates and device lists.

An ``rsa`` identity signs with RSA-PSS (SHA-256, salt of 32 bytes), a certificate's P-256 key with ECDSA
(SHA-256). What is signed begins with a label of its own and then a tagged structure that this side made;
TLS signs bytes that begin otherwise (RFC 8446, section 4.4.3), and nobody is ever asked to sign bytes that
the other side chose. So neither signature can be taken for the other.
"""

from __future__ import annotations

from typing import Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from encchat.core.sealed.formats import identity_of
from encchat.errors import PeerError

_LABEL = b"encchat identity signature/1\x00"
_PSS = padding.PSS(mgf=padding.MGF1(SHA256()), salt_length=32)
MIN_RSA_BITS = 2048
MAX_RSA_BITS = 4096


class BadSignature(PeerError):
    """The {what} is not signed by whom it names: somebody changed it, or made it up."""

    code = "bad-signature"


class IdentityKey(Protocol):
    """The private half of one's own transport identity, wherever it is kept."""

    @property
    def spki(self) -> bytes:
        """The public half, as DER SubjectPublicKeyInfo."""

    @property
    def chain(self) -> tuple[bytes, ...]:
        """Its X.509 certificates in DER, its own first; empty where there is no authority."""

    def sign(self, data: bytes) -> bytes:
        """Sign a structure of ``formats``; never anything that came from the network."""


class LocalIdentity:
    """An identity whose private key is in this process."""

    def __init__(
        self, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, chain: tuple[bytes, ...] = ()
    ) -> None:
        self._key = key
        self.chain = chain
        self.spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def identity(self) -> bytes:
        """The 32 bytes that stand for it."""
        return identity_of(self.spki)

    def sign(self, data: bytes) -> bytes:
        """As ``IdentityKey``; an RSA signature takes a millisecond or two."""
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(_LABEL + data, _PSS, SHA256())
        return self._key.sign(_LABEL + data, ec.ECDSA(SHA256()))


def check_identity_signature(spki: bytes, data: bytes, signature: bytes, what: str) -> None:
    """Whether the identity with this public key signed ``data``.

    :raises BadSignature: it did not, or its key is of a kind that nobody here has.
    """
    try:
        key = load_der_public_key(spki)
        if isinstance(key, rsa.RSAPublicKey) and MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            key.verify(signature, _LABEL + data, _PSS, SHA256())
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
            key.verify(signature, _LABEL + data, ec.ECDSA(SHA256()))
        else:
            raise BadSignature(what=what)
        if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != spki:
            raise BadSignature(what=what)  # one key, one encoding: else it would have several fingerprints
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        raise BadSignature(what=what) from None
