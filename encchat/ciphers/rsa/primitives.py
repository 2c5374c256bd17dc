"""RSA as hrsa1 uses it: OAEP with SHA-256 and a label, moduli on the wire, fingerprints of keys.

The exponent is always 65537 and never sent: a peer cannot choose another. Decryption goes through
``cryptography`` (OpenSSL), which does it in constant time; any failure of it is the same ``None``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, RSAPublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from encchat.core.identity import fingerprint

#: The public exponent of every key.
EXPONENT = 65537

#: Bits of a long-lived identity key (I), and of a record key (E), which lives for a session or a while.
IDENTITY_BITS = 3072
RECORD_BITS = 2048

#: Bytes of a modulus, and so of a block under it.
IDENTITY_BYTES = IDENTITY_BITS // 8
RECORD_BYTES = RECORD_BITS // 8

#: Bytes of plain text that fit a block under a record key: its size less two SHA-256 hashes and two bytes.
CHUNK = RECORD_BYTES - 2 * 32 - 2

#: Encrypts (key, at most ``CHUNK`` bytes of data, label). A parameter of the machines, so that a test can
#: take the randomness out.
Encrypt: TypeAlias = Callable[[RSAPublicKey, bytes, bytes], bytes]


def encrypt(key: RSAPublicKey, data: bytes, label: bytes) -> bytes:
    """``data`` as one OAEP block (RFC 8017, section 7.1.1)."""
    return key.encrypt(data, _oaep(label))


def decrypt(key: RSAPrivateKey, block: bytes, label: bytes) -> bytes | None:
    """The data of one OAEP block (RFC 8017, section 7.1.2), or None: why it failed is never told apart.

    Takes a millisecond or three, so it belongs into a thread.
    """
    try:
        return key.decrypt(block, _oaep(label))
    except ValueError:
        return None


def modulus(key: RSAPublicKey) -> bytes:
    """The modulus as it is sent: big-endian, without leading zeros."""
    number = key.public_numbers().n
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def public_key(modulus: bytes, bits: int) -> RSAPublicKey:
    """The key that a peer sent as its modulus.

    :raises ValueError: it is not odd, or has not exactly ``bits`` bits.
    """
    number = int.from_bytes(modulus, "big")
    if len(modulus) * 8 != bits or number.bit_length() != bits:
        raise ValueError(f"its modulus has {number.bit_length()} bits, not {bits}")
    if number % 2 == 0:
        raise ValueError("its modulus is even")
    return RSAPublicNumbers(EXPONENT, number).public_key()


def fingerprint_of(key: RSAPublicKey) -> str:
    """The fingerprint that people compare."""
    return fingerprint(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def _oaep(label: bytes) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), label)
