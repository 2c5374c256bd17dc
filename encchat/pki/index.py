"""The authority's memory: every certificate that was ever signed, and the revocation list in force.

The index holds the certificates themselves, so that the files beside it are copies: what a crash left
unwritten is written by the next command, without the authority's key. ``Index`` is a value; a change makes
a new one, and ``store`` puts it in the place of the old one in a single step.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec
from cryptography import x509

from encchat.core.names import Name, parse_name
from encchat.pki.profiles import Role

VERSION = 1


class State(StrEnum):
    """What a certificate is good for today."""

    VALID = "valid"
    #: Still valid, but a newer one has its file.
    REPLACED = "replaced"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One certificate. ``name`` is the user, the first host, or the authority's own name."""

    #: Lower-case hexadecimal.
    serial: str
    role: Role
    name: str
    #: A server's names and addresses.
    hosts: tuple[str, ...] = ()
    #: Its files, without ``.pem`` and ``.key``.
    stem: str
    fingerprint: str
    begins: datetime
    ends: datetime
    pem: str
    revoked: datetime | None = None
    #: Why it was revoked: a word of RFC 5280, section 5.3.1.
    reason: str = ""
    #: False until its files are in place.
    installed: bool = True

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate itself."""
        return x509.load_pem_x509_certificate(self.pem.encode("ascii"))

    @property
    def user(self) -> Name | None:
        """The user whom it names, or None."""
        return parse_name(self.name) if self.role is Role.USER else None


class Index(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an authority has signed, oldest first. The first record is its own."""

    version: int = VERSION
    records: tuple[Record, ...] = ()
    #: The number of the last revocation list; 0 before the first.
    crl_number: int = 0
    #: The revocation list in force, as PEM.
    crl: str = ""
    crl_installed: bool = True

    @property
    def authority(self) -> Record:
        """The authority's own certificate."""
        return self.records[0]

    @property
    def leaves(self) -> tuple[Record, ...]:
        """What was signed for servers and users."""
        return self.records[1:]

    def newest(self, stem: str) -> Record | None:
        """The record whose certificate is in ``STEM.pem``."""
        return next((record for record in reversed(self.records) if record.stem == stem), None)

    def states(self, now: datetime) -> list[tuple[Record, State]]:
        """Every leaf, oldest first, and what it is good for at ``now``."""
        newest = {record.stem: record.serial for record in self.leaves}
        return [(record, _state(record, newest[record.stem], now)) for record in self.leaves]

    def with_record(self, record: Record) -> Index:
        """This index and one record more, or with the record of the same serial exchanged."""
        others = tuple(record if old.serial == record.serial else old for old in self.records)
        known = any(old.serial == record.serial for old in self.records)
        return msgspec.structs.replace(self, records=others if known else (*others, record))


def _state(record: Record, newest: str, now: datetime) -> State:
    if record.revoked is not None:
        return State.REVOKED
    if now >= record.ends:
        return State.EXPIRED
    return State.VALID if record.serial == newest else State.REPLACED


def encode_index(index: Index) -> bytes:
    """An index as JSON, for people too."""
    return msgspec.json.format(msgspec.json.encode(index), indent=2) + b"\n"


def decode_index(data: bytes) -> Index:
    """An index from its JSON.

    :raises ValueError: it is none, or a later version's.
    """
    index = msgspec.json.decode(data, type=Index)  # msgspec's errors are ValueErrors
    if index.version != VERSION:
        raise ValueError(f"it has version {index.version}, and this encchat knows {VERSION}")
    if not index.records or index.records[0].role is not Role.CA:
        raise ValueError("it does not begin with the authority")
    return index
