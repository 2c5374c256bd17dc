"""PEM files: read with bounds and words for what is wrong, written so that no crash leaves half of one.

A private key that others can read is refused, as ssh does. Writing goes by temporary file, fsync and
rename, with an fsync of the directory after it: the old content or the new one is there, never a mixture.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from operator import attrgetter
from pathlib import Path
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from encchat.errors import ConfigError

#: Bytes of the largest file that is read: a CRL of ten thousand entries.
MAX_FILE = 1 << 20

PrivateKey = (
    ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey | rsa.RSAPrivateKey
)

_Read = TypeVar("_Read")

_SERIAL = attrgetter("serial_number")
#: What cryptography raises for parts of a certificate that it cannot read.
_MALFORMED = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)


class FileMissing(ConfigError):
    """There is no file {path}. {hint}"""


class FileUnusable(ConfigError):
    """The file {path} cannot be used: {why}."""


class KeyExposed(ConfigError):
    """Others than its owner can read {path}, which is secret. Run: chmod 600 {path}"""


class KeyEncrypted(ConfigError):
    """The key {path} is protected by a passphrase. Give it with --passphrase-file, or use a terminal."""


class WrongPassphrase(ConfigError):
    """The passphrase does not open the key {path}."""


def read_bytes(path: Path, hint: str = "", limit: int = MAX_FILE) -> bytes:
    """A whole file of at most ``limit`` bytes; ``hint`` says what to do when it is missing.

    :raises FileMissing: it is.
    :raises FileUnusable: it cannot be read, or is larger.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise FileMissing(path=str(path), hint=hint) from None
    except OSError as error:
        raise FileUnusable(path=str(path), why=error.strerror or str(error)) from None
    if len(data) > limit:
        raise FileUnusable(path=str(path), why=f"it is larger than {limit >> 20} MiB")
    return data


def read_certificates(path: Path, hint: str = "") -> list[x509.Certificate]:
    """The certificates of a PEM file, in their order: at least one. They are well-formed all through, so
    that looking at them later raises nothing.

    :raises FileMissing: the file is not there.
    :raises FileUnusable: it holds no certificate, or something malformed.
    """
    data = read_bytes(path, hint)
    try:
        certificates = x509.load_pem_x509_certificates(data)
        for each in certificates:  # whose parts are parsed when they are asked for
            _ = each.subject, each.issuer, each.public_key(), each.signature_hash_algorithm, each.extensions
        return certificates
    except _MALFORMED as error:
        raise FileUnusable(path=str(path), why=f"it holds no PEM certificate ({_brief(error)})") from None


def read_crls(path: Path, hint: str = "") -> list[x509.CertificateRevocationList]:
    """The revocation lists of a PEM file, one for each authority: at least one.

    :raises FileMissing: the file is not there.
    :raises FileUnusable: it holds no list, or something malformed.
    """
    data = read_bytes(path, hint)
    begin, end = b"-----BEGIN X509 CRL-----", b"-----END X509 CRL-----"
    blocks = [begin + block.partition(end)[0] + end for block in data.split(begin)[1:]]
    try:
        if not blocks:
            raise ValueError("no BEGIN X509 CRL")
        crls = [x509.load_pem_x509_crl(block) for block in blocks]
        for crl in crls:
            _ = crl.issuer, crl.signature_hash_algorithm, crl.extensions, [*map(_SERIAL, crl)]
        return crls
    except _MALFORMED as error:
        raise FileUnusable(path=str(path), why=f"it holds no PEM revocation list ({_brief(error)})") from None


def check_private(path: Path) -> None:
    """Whether only its owner can read a file.

    :raises KeyExposed: others can.
    :raises FileMissing: it is not there.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileMissing(path=str(path), hint="") from None
    except OSError as error:
        raise FileUnusable(path=str(path), why=error.strerror or str(error)) from None
    if mode & 0o077:
        raise KeyExposed(path=str(path))


def read_private_key(path: Path, passphrase: bytes | None = None, hint: str = "") -> PrivateKey:
    """The private key of a PEM file.

    :raises FileMissing: the file is not there.
    :raises KeyExposed: others can read it.
    :raises KeyEncrypted: it needs a passphrase, and none was given.
    :raises WrongPassphrase: the one given does not open it.
    :raises FileUnusable: it holds no key, or one of a kind that TLS 1.3 cannot use.
    """
    data = read_bytes(path, hint)
    check_private(path)
    return load_private_key(data, path, passphrase)


def load_private_key(data: bytes, path: Path, passphrase: bytes | None = None) -> PrivateKey:
    """The private key in ``data``, which came from ``path``; raises as :func:`read_private_key`."""
    if b"ENCRYPTED" not in data:
        passphrase = None
    elif passphrase is None:
        raise KeyEncrypted(path=str(path))
    try:
        key = load_pem_private_key(data, passphrase)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        if passphrase is not None:
            raise WrongPassphrase(path=str(path)) from None
        raise FileUnusable(path=str(path), why=f"it holds no PEM private key ({_brief(error)})") from None
    if not isinstance(key, PrivateKey):
        raise FileUnusable(path=str(path), why="its kind of key cannot sign in TLS 1.3; use P-256")
    return key


def write_file(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Put ``data`` in the place of whatever ``path`` holds: all of it and durably, or not at all.

    :raises FileUnusable: the disk is full, or the directory cannot be written.
    """
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
        sync_directory(path.parent)
    except OSError as error:
        raise FileUnusable(path=str(path), why=error.strerror or str(error)) from None


def sync_directory(path: Path) -> None:
    """Make what was renamed or removed in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def only(items: Sequence[_Read], path: Path, what: str) -> _Read:
    """The single item of a file that must hold one.

    :raises FileUnusable: it holds more.
    """
    if len(items) != 1:
        raise FileUnusable(path=str(path), why=f"it holds {len(items)} {what}, not one")
    return items[0]


def _brief(error: Exception) -> str:
    return str(error).partition("\n")[0].partition(". See ")[0][:120]
