"""PKCS#12 (RFC 7292): certificate, key and authority in one encrypted file, for the way to a user."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption
from cryptography.hazmat.primitives.serialization.pkcs12 import serialize_key_and_certificates

from encchat.pki.files import PrivateKey


def pkcs12(
    name: str, key: PrivateKey, certificate: x509.Certificate, authority: x509.Certificate, passphrase: bytes
) -> bytes:
    """The file's content. ``name`` is what programs show it as."""
    encryption = BestAvailableEncryption(passphrase)
    return serialize_key_and_certificates(name.encode("utf-8"), key, certificate, [authority], encryption)
