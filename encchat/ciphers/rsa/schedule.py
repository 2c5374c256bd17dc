"""The key schedule of hrsa1: the transcript that both sides have seen, and what follows from it.

Every label carries the profile's name, every key rests on the whole transcript and on one secret from
each side; so a message that was altered, or belongs to another handshake, leads to other keys.
"""

from __future__ import annotations

import hmac
from hashlib import sha256

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

#: Stands in front of every label.
PROFILE = b"encchat hrsa1 "

#: Bytes of a hash, a secret, a derived key and a tag.
SIZE = 32

#: The directions of records.
TO_SERVER = b"c2s"
TO_CLIENT = b"s2c"


def first_transcript(s1: bytes, hello: bytes) -> bytes:
    """TH1: what was said in the clear."""
    return _hash(b"".join(len(part).to_bytes(4, "big") + part for part in (PROFILE, s1, hello)))


def second_transcript(th1: bytes, kex_c: bytes) -> bytes:
    """TH2: with the client's secret for the server."""
    return _hash(th1 + kex_c)


def third_transcript(th2: bytes, record_modulus: bytes, kex_s: bytes) -> bytes:
    """TH3: with the server's record key and its secret for the client; the whole handshake."""
    return _hash(th2 + record_modulus + kex_s)


def client_label(th1: bytes) -> bytes:
    """The OAEP label of KEX_C."""
    return PROFILE + b"kex c2s" + th1


def server_label(th2: bytes) -> bytes:
    """The OAEP label of KEX_S."""
    return PROFILE + b"kex s2c" + th2


class Schedule:
    """What both sides derive once both secrets are known (HKDF with SHA-256, RFC 5869)."""

    __slots__ = ("_prk", "th3")

    def __init__(self, th3: bytes, client_secret: bytes, server_secret: bytes) -> None:
        #: The transcript that everything is bound to.
        self.th3 = th3
        self._prk = mac(th3, client_secret + server_secret)  # HKDF-Extract, with TH3 as the salt

    def derive(self, name: bytes) -> bytes:
        """The key of this name: ``mac c2s``, ``mac s2c``, ``fin c``, ``fin s`` or ``exporter``."""
        return HKDFExpand(hashes.SHA256(), SIZE, PROFILE + name).derive(self._prk)

    def server_proof(self) -> bytes:
        """FIN_S: the server has read the client's secret, so it holds I_S."""
        return mac(self.derive(b"fin s"), self.th3)

    def client_proof(self) -> bytes:
        """FIN_C: the client has read the server's secret, so it holds I_C."""
        return mac(self.derive(b"fin c"), _hash(self.th3 + self.server_proof()))


def mac(key: bytes, message: bytes) -> bytes:
    """HMAC with SHA-256."""
    return hmac.digest(key, message, "sha256")


def _hash(data: bytes) -> bytes:
    return sha256(data).digest()
