"""Who a peer is: the key that it proved, and the name that a certificate authority vouches for.

A fingerprint is ``SHA256:`` and the unpadded base64 of the SHA-256 of the DER SubjectPublicKeyInfo
(RFC 5280, section 4.1.2.7), written as ssh prints its own.
"""

from __future__ import annotations

import re
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256

_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]\Z")


def fingerprint(spki: bytes) -> str:
    """The fingerprint of a public key, given as DER SubjectPublicKeyInfo."""
    return "SHA256:" + b64encode(sha256(spki).digest()).decode("ascii").rstrip("=")


def is_fingerprint(text: str) -> bool:
    """Whether ``text`` is written as :func:`fingerprint` writes it."""
    return _FINGERPRINT.match(text) is not None


@dataclass(frozen=True, slots=True)
class PeerIdentity:
    """What a cipher found out about the peer of a connection."""

    #: The key that the peer proved to hold; of a classic peer, the key that it merely showed.
    fingerprint: str
    #: The name that a certificate authority vouches for, or None.
    vouched_name: str | None
    #: The cipher's name: ``rsa``, ``tls``.
    cipher: str
    #: One line for people: profile, key type, who vouches.
    summary: str
    #: False when the peer proved nothing (the classic profile).
    authenticated: bool = True


@dataclass(frozen=True, slots=True)
class Shown:
    """Whom a cipher turned away or cut off. In a handshake this is only what the peer showed: it proved
    nothing, and may have shown somebody else's. What cannot be read is empty."""

    name: str
    fingerprint: str
