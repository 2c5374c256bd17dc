"""The certificate authority: what may be signed, renewed and revoked. Pure, but for the keys it makes.

Each operation takes the index as it is and gives a :class:`Change`: the index as it is to be, with the new
certificates already signed and in it, and the private keys that go with them. ``store`` makes it true.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from encchat.core.identity import is_fingerprint
from encchat.core.names import BadName, Name, parse_name
from encchat.errors import ConfigError, UsageError
from encchat.pki import build
from encchat.pki.health import stamp
from encchat.pki.hosts import BadHost, Host, parse_host
from encchat.pki.index import Index, Record, State
from encchat.pki.names import file_stem
from encchat.pki.profiles import Role, fingerprint_of

#: A certificate with less time left than this is due for renewal: a third of its life.
RENEW_BEFORE = timedelta(days=30)
#: A revocation list with less time left than this is.
CRL_RENEW_BEFORE = timedelta(days=15)

#: The words for why a certificate is revoked (RFC 5280, section 5.3.1).
REASONS: Mapping[str, x509.ReasonFlags] = {
    "unspecified": x509.ReasonFlags.unspecified,
    "key-compromise": x509.ReasonFlags.key_compromise,
    "affiliation-changed": x509.ReasonFlags.affiliation_changed,
    "superseded": x509.ReasonFlags.superseded,
    "cessation-of-operation": x509.ReasonFlags.cessation_of_operation,
    "privilege-withdrawn": x509.ReasonFlags.privilege_withdrawn,
}


class AlreadyIssued(ConfigError):
    """{name} has a certificate already, good until {ends}. Run: encchat-admin ca renew {name}
    (the same key) or encchat-admin ca renew --new-key {name}."""


class ServerAlreadyIssued(ConfigError):
    """{stem}.pem is a certificate for {hosts} already, good until {ends}. For another time: encchat-admin ca
    renew {name}. For other hosts: this command with --force."""


class FileTaken(ConfigError):
    """{stem}.pem is the certificate of {owner}. Say with --as what the files of {name} shall be called, or
    give {owner}'s up with --force."""


class UserFileTaken(ConfigError):
    """{stem}.pem is the certificate of the server {owner}. Take another name, or revoke that one first."""


class NothingFound(UsageError):
    """There is no certificate of {what} here that could be {done}. `encchat-admin ca list` shows all."""


class Ambiguous(UsageError):
    """{what} names a user and a server. Give the fingerprint that `encchat-admin ca list` shows."""


class AuthorityExpired(ConfigError):
    """The certificate authority expired on {ends}: it can sign nothing more. Make a new one in
    another directory, and give its ca.pem to everybody."""


class WrongAuthorityKey(ConfigError):
    """{path} is not the key of this certificate authority. Bring back the one that was made with ca.pem."""


@dataclass(frozen=True, slots=True)
class Change:
    """What an operation wants to make true."""

    index: Index
    #: What was signed or revoked.
    records: tuple[Record, ...]
    #: The new private keys, by serial.
    keys: Mapping[str, ec.EllipticCurvePrivateKey] = field(default_factory=dict)


def found(name: str, now: datetime) -> Change:
    """A new authority."""
    key, serial = build.new_key(), _serial(())
    certificate = build.authority_certificate(key, name, serial, now)
    record = _record(certificate, Role.CA, name, "ca")
    return Change(Index(records=(record,)), (record,), {record.serial: key})


def issue_server(
    index: Index,
    signer: build.Signer,
    hosts: Sequence[Host],
    stem: str,
    now: datetime,
    *,
    force: bool = False,
) -> Change:
    """A certificate and key for a server. ``force`` gives up one that is still good.

    :raises ServerAlreadyIssued: the stem has a certificate of this server.
    :raises FileTaken: the stem has one of another.
    """
    first = hosts[0].text
    holder = _holder(index, stem)
    if holder is not None and (holder.role is not Role.SERVER or (holder.name != first and not force)):
        raise FileTaken(stem=stem, owner=holder.name, name=first)
    if holder is not None and holder.ends > now and not force:
        raise ServerAlreadyIssued(
            stem=stem, hosts=", ".join(holder.hosts), ends=stamp(holder.ends), name=first
        )
    key, serial = build.new_key(), _serial(index.records)
    certificate = build.server_certificate(key.public_key(), hosts, _able(signer, now), serial, now)
    record = _record(certificate, Role.SERVER, first, stem, hosts)
    return Change(index.with_record(record), (record,), {record.serial: key})


def issue_user(index: Index, signer: build.Signer, name: Name, now: datetime) -> Change:
    """A certificate and key for a user.

    :raises AlreadyIssued: he has one.
    :raises UserFileTaken: a server's files are called as his would be.
    """
    stem = file_stem(name)
    holder = _holder(index, stem)
    if holder is not None and holder.role is not Role.USER:
        raise UserFileTaken(stem=stem, owner=holder.name)
    if holder is not None and holder.ends > now:
        raise AlreadyIssued(name=name.shown, ends=stamp(holder.ends))
    key, serial = build.new_key(), _serial(index.records)
    certificate = build.user_certificate(key.public_key(), name, _able(signer, now), serial, now)
    record = _record(certificate, Role.USER, name.shown, stem)
    return Change(index.with_record(record), (record,), {record.serial: key})


def renew(
    index: Index, signer: build.Signer, records: Iterable[Record], now: datetime, *, new_key: bool = False
) -> Change:
    """New certificates in the place of ``records``: for the same key, so that the fingerprint stays, or
    with ``new_key`` for fresh ones."""
    _able(signer, now)
    made: list[Record] = []
    keys: dict[str, ec.EllipticCurvePrivateKey] = {}
    for old in records:
        public_key = old.certificate.public_key()
        assert isinstance(public_key, ec.EllipticCurvePublicKey)  # this authority signs no others
        key = build.new_key() if new_key else None
        if key is not None:
            public_key = key.public_key()
        serial = _serial(index.records)
        if old.role is Role.SERVER:
            hosts = [parse_host(host, wildcard=True) for host in old.hosts]
            certificate = build.server_certificate(public_key, hosts, signer, serial, now)
        else:
            certificate = build.user_certificate(public_key, parse_name(old.name), signer, serial, now)
            hosts = []
        record = _record(certificate, old.role, old.name, old.stem, hosts)
        index = index.with_record(record)
        made.append(record)
        if key is not None:
            keys[record.serial] = key
    return Change(index, tuple(made), keys)


def revoke(
    index: Index, signer: build.Signer, records: Sequence[Record], reason: str, now: datetime
) -> Change:
    """``records`` revoked, and the revocation list that says so."""
    gone = [msgspec.structs.replace(record, revoked=now, reason=reason) for record in records]
    for record in gone:
        index = index.with_record(record)
    return Change(_with_crl(index, signer, now), tuple(gone))


def publish_crl(index: Index, signer: build.Signer, now: datetime) -> Change:
    """A fresh revocation list with the same content."""
    return Change(_with_crl(index, signer, now), ())


def due(index: Index, now: datetime) -> list[Record]:
    """The certificates in use that should be renewed now: those that end soon or have ended, unless they
    were revoked."""
    newest = {record.stem: record for record in index.leaves}
    return [
        record for record in newest.values() if record.revoked is None and record.ends - now <= RENEW_BEFORE
    ]


def crl_due(index: Index, now: datetime) -> bool:
    """Whether the revocation list, if there is one, should be renewed now."""
    if not index.crl:
        return False
    ends = x509.load_pem_x509_crl(index.crl.encode("ascii")).next_update_utc
    return ends is None or ends - now <= CRL_RENEW_BEFORE


def to_renew(index: Index, what: str) -> Record:
    """The certificate that is renewed when a person names ``what``: the newest of that user or server.

    :raises NothingFound: there is none, or it was revoked.
    """
    newest = {record.stem: record for record in index.leaves}
    matching = [record for record in _matching(newest.values(), what) if record.revoked is None]
    if not matching:
        raise NothingFound(what=what, done="renewed")
    return matching[-1]


def to_revoke(index: Index, what: str, now: datetime) -> list[Record]:
    """Every certificate that must be revoked to keep ``what`` out: also the earlier ones that still hold.

    :raises NothingFound: none is left.
    """
    alive = [r for r, state in index.states(now) if state in {State.VALID, State.REPLACED}]
    matching = _matching(alive, what)
    if not matching:
        raise NothingFound(what=what, done="revoked")
    return matching


def _matching(records: Iterable[Record], what: str) -> list[Record]:
    """The records of a fingerprint, a user, a host, or a server's files."""
    if is_fingerprint(what):
        return [record for record in records if record.fingerprint == what]
    try:
        user = parse_name(what).key
    except BadName:
        user = None
    try:
        host = parse_host(what, wildcard=True).text
    except BadHost:
        host = None
    matching = []
    for record in records:
        if record.role is Role.USER:
            if parse_name(record.name).key == user:
                matching.append(record)
        elif what == record.stem or host in record.hosts:
            matching.append(record)
    if len({record.role for record in matching}) > 1:
        raise Ambiguous(what=what)
    return matching


def _holder(index: Index, stem: str) -> Record | None:
    """Whose files are called ``stem``; None when they may be overwritten."""
    record = index.newest(stem)
    return None if record is None or record.revoked is not None else record


def _able(signer: build.Signer, now: datetime) -> build.Signer:
    ends = signer.certificate.not_valid_after_utc
    if now >= ends:
        raise AuthorityExpired(ends=stamp(ends))
    return signer


def _serial(records: Iterable[Record]) -> int:
    """A random serial of 127 bits that was not given before (CA/Browser Forum: at least 64 bits)."""
    given = {record.serial for record in records}
    while True:
        serial = secrets.randbits(127)
        if serial and f"{serial:x}" not in given:
            return serial


def _record(
    certificate: x509.Certificate, role: Role, name: str, stem: str, hosts: Sequence[Host] = ()
) -> Record:
    return Record(
        serial=f"{certificate.serial_number:x}",
        role=role,
        name=name,
        hosts=tuple(host.text for host in hosts),
        stem=stem,
        fingerprint=fingerprint_of(certificate),
        begins=certificate.not_valid_before_utc,
        ends=certificate.not_valid_after_utc,
        pem=certificate.public_bytes(Encoding.PEM).decode("ascii"),
        installed=False,
    )


def _with_crl(index: Index, signer: build.Signer, now: datetime) -> Index:
    """``index`` with a new revocation list. What expired longer ago than a list lives is left out."""
    number = index.crl_number + 1
    entries = [
        build.revoked_entry(int(record.serial, 16), record.revoked, REASONS[record.reason])
        for record in index.leaves
        if record.revoked is not None and record.ends + build.CRL_LIFE > now
    ]
    crl = build.revocation_list(entries, number, signer, now)
    pem = crl.public_bytes(Encoding.PEM).decode("ascii")
    return msgspec.structs.replace(index, crl_number=number, crl=pem, crl_installed=False)
