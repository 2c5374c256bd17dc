"""The self-made key and certificate of pin mode, kept for as long as the profile or service lives.

The certificate only carries the key: nothing in it is believed, and it has no end that anybody looks at
(RFC 5280, section 4.1.2.5, for 99991231235959Z). The key is made first, and a missing certificate is made
again for it, so that a crash in between loses no identity.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from encchat.errors import ConfigError
from encchat.pki.build import key_pem, new_key
from encchat.pki.files import read_private_key, write_file
from encchat.pki.profiles import PURPOSES, Role

_BEGINS = datetime(2026, 1, 1, tzinfo=UTC)
_ENDS = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)


class PinLost(ConfigError):
    """The certificate {certificate} is there, but its key {key} is not. Bring the key back; or delete the
    certificate too, and be a stranger to everybody who knew it."""


class PinForeign(ConfigError):
    """The key {key} is not a P-256 key, so it was not made here. Put back the one that was."""


def pin_paths(directory: Path) -> tuple[Path, Path]:
    """Where certificate and key are."""
    return directory / "tls-pin.pem", directory / "tls-pin.key"


def make_pin(directory: Path, *, server: bool, name: str) -> None:
    """Make what is missing. ``name`` is for people who look at the certificate.

    :raises ConfigError: it cannot be written, or the key was lost or exchanged.
    """
    certificate, key = pin_paths(directory)
    if certificate.exists() and key.exists():
        return
    if certificate.exists():
        raise PinLost(certificate=str(certificate), key=str(key))
    if not key.exists():
        write_file(key, key_pem(new_key()), 0o600)
    private = read_private_key(key)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise PinForeign(key=str(key))
    write_file(certificate, _self_signed(private, server, name).public_bytes(Encoding.PEM), 0o600)


def _self_signed(key: ec.EllipticCurvePrivateKey, server: bool, name: str) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64] or "encchat")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(_BEGINS)
        .not_valid_after(_ENDS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([PURPOSES[Role.SERVER if server else Role.USER]]), critical=False
        )
        .sign(key, SHA256())
    )
