"""An authority to test with, at a moment that stands still, and the system's openssl to judge it."""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from encchat.core.names import parse_name
from encchat.pki import authority, build
from encchat.pki.authority import Change
from encchat.pki.build import Signer
from encchat.pki.hosts import parse_host
from encchat.pki.index import Index
from encchat.pki.store import Store

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)

#: Why tests that ask openssl are skipped, or None.
NO_OPENSSL = None if shutil.which("openssl") else "there is no openssl command to ask"


def openssl(*arguments: str | Path, at: datetime | None = None) -> subprocess.CompletedProcess[str]:
    """What the system's openssl says, as if it were ``at`` (for ``verify``)."""
    command = ["openssl", *map(str, arguments)]
    if at is not None:
        command[2:2] = ["-attime", str(int(at.timestamp()))]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def new_authority(now: datetime = NOW) -> tuple[Index, Signer]:
    """An authority's index and what it signs with."""
    change = authority.found("test CA", now)
    (key,) = change.keys.values()
    return change.index, Signer(change.records[0].certificate, key)


def commit(store: Store, change: Change) -> Index:
    """Make a change true, as the command does."""
    keys = {serial: build.key_pem(key) for serial, key in change.keys.items()}
    return store.commit(change.index, keys)


def new_store(directory: Path, now: datetime = NOW) -> tuple[Store, Signer]:
    """A directory with an authority in it."""
    store, change = Store(directory), authority.found("test CA", now)
    with store.first_turn():
        commit(store, change)
    (key,) = change.keys.values()
    return store, Signer(change.records[0].certificate, key)


def issue_user(store: Store, signer: Signer, name: str, now: datetime = NOW) -> x509.Certificate:
    """A user's certificate and key in the directory."""
    with store.turn() as index:
        change = authority.issue_user(index, signer, parse_name(name), now)
        commit(store, change)
    return change.records[0].certificate


def issue_server(store: Store, signer: Signer, *hosts: str, now: datetime = NOW) -> x509.Certificate:
    """A server's certificate and key in the directory."""
    with store.turn() as index:
        change = authority.issue_server(index, signer, [parse_host(h) for h in hosts], "server", now)
        commit(store, change)
    return change.records[0].certificate


def certificate_with(
    *extensions: x509.ExtensionType, key: Any = None, now: datetime = NOW, name: str = "odd", times: int = 1
) -> x509.Certificate:
    """A self-signed certificate with just these extensions. ``name`` stands in it so many ``times``."""
    signing = key if key is not None else ec.generate_private_key(ec.SECP256R1())
    whose = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)] * times)
    builder = (
        x509.CertificateBuilder()
        .subject_name(whose)
        .issuer_name(whose)
        .public_key(signing.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + build.LEAF_LIFE)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signing, SHA256())


def malformed(tag: bytes) -> x509.Certificate:
    """A certificate whose names have the ASN.1 ``tag`` and are no text of that kind."""
    der = certificate_with().public_bytes(Encoding.DER)
    return x509.load_der_x509_certificate(der.replace(b"\x0c\x03odd", tag + b"\x03\xff\xfe\xfd"))
