"""The files of the tls cipher: where they are, and what is in them, read and checked together.

``load`` gives everything or an error that says what to do, so that a change is taken as a whole or not
at all. ``check_successor`` is for a service that runs: the new files must not undo what the old ones say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509

from encchat.ciphers.tls.pin import pin_paths
from encchat.ciphers.tls.words import Showing
from encchat.core.names import parse_name
from encchat.errors import ConfigError
from encchat.pki.files import (
    FileUnusable,
    KeyEncrypted,
    PrivateKey,
    read_certificates,
    read_crls,
    read_private_key,
)
from encchat.pki.health import Finding, Severity, look_at_certificate, look_at_crl
from encchat.pki.names import NoUserInCertificate, file_stem, issuer_of, subject_of, user_of
from encchat.pki.profiles import (
    Role,
    WeakCertificate,
    WrongPurpose,
    check_role,
    check_strength,
    spki,
)


class WhereAreTheFiles(ConfigError):
    """The tls cipher needs to know its certificates: use --cipher tls:certs=DIR, where DIR has ca.pem and
    {files} (`encchat-admin ca init` begins such a directory), or --cipher tls:trust=pin to do without an
    authority."""


class ArgumentsDisagree(ConfigError):
    """These arguments of the tls cipher do not go together: {reason}."""


class CertificateUnusable(ConfigError):
    """The certificate {path} cannot be used: {why}. {fix}"""


class KeyOfAnother(ConfigError):
    """The key {key} does not belong to the certificate {certificate}. Was only one of them replaced?"""


class KeyHasPassphrase(ConfigError):
    """The key {path} is protected by a passphrase, and nobody is there to type it. Write it without one,
    into a file that only you can read: (umask 077; openssl pkey -in {path} -out NEW.key)"""


class CrlOfStranger(ConfigError):
    """The revocation list in {path} is of {issuer}, or pretends to be: no authority in {authorities} signed
    it."""


class CrlGone(ConfigError):
    """There is no revocation list at {path} any more. To do without, restart the service."""


class CrlRolledBack(ConfigError):
    """The revocation list in {path} is older than the one in force: it would let the revoked in again."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the files are."""

    server: bool
    #: Whether keys count alone (``trust=pin``); then there is no authority and no revocation list.
    pinned: bool
    certificate: Path
    key: Path
    #: The authorities; None with ``system`` or ``pinned``.
    authorities: Path | None = None
    #: Whether the authorities are those that this machine trusts.
    system: bool = False
    crl: Path | None = None
    #: Whether there must be a revocation list, as it was named.
    crl_required: bool = False
    #: The user of a client's certificate.
    user: str = ""

    @property
    def files(self) -> tuple[Path, ...]:
        """All that are read, whether they exist or not."""
        return tuple(
            path for path in (self.certificate, self.key, self.authorities, self.crl) if path is not None
        )


def sources(arguments: Mapping[str, str], directory: Path, *, server: bool, user: str) -> Sources:
    """Where the files are, by the cipher's arguments. ``directory`` holds what we make ourselves.

    :raises ConfigError: the arguments contradict each other, or too few are given.
    """
    given = {name: arguments.get(name, "") for name in ("certs", "cert", "key", "ca", "crl")}
    if arguments.get("trust", "ca") == "pin":
        unwanted = sorted(name for name, value in given.items() if value)
        if unwanted:
            raise ArgumentsDisagree(reason=f"with trust=pin there is no {unwanted[0]}=")
        certificate, key = pin_paths(directory)
        return Sources(server, True, certificate, key)
    base = Path(given["certs"]).expanduser() if given["certs"] else None
    stem = "server" if server else file_stem(parse_name(user))
    names = {"cert": f"{stem}.pem", "key": f"{stem}.key", "ca": "ca.pem"}
    if base is None and not all(given[name] for name in names):
        raise WhereAreTheFiles(files=f"{stem}.pem and {stem}.key")
    paths = {
        name: Path(given[name]).expanduser() if given[name] else (base or Path()) / file
        for name, file in names.items()
    }
    system = given["ca"] == "system"
    if system and server:
        raise ArgumentsDisagree(reason="with ca=system anybody with any public certificate could be a user")
    if system and given["crl"]:
        raise ArgumentsDisagree(
            reason="crl= is the list of a private authority, ca=system are the public ones"
        )
    crl = Path(given["crl"]).expanduser() if given["crl"] else None
    if crl is None and base is not None and not system:
        crl = base / "crl.pem"
    return Sources(
        server=server,
        pinned=False,
        certificate=paths["cert"],
        key=paths["key"],
        authorities=None if system else paths["ca"],
        system=system,
        crl=crl,
        crl_required=bool(given["crl"]),
        user="" if server else user,
    )


@dataclass(frozen=True, slots=True)
class Material:
    """What the files hold."""

    sources: Sources
    key: PrivateKey
    #: Our certificate, and what belongs between it and its authority.
    chain: tuple[x509.Certificate, ...]
    authorities: tuple[x509.Certificate, ...]
    crls: tuple[x509.CertificateRevocationList, ...]
    #: Revoked serial numbers, by the DER name of the authority.
    revoked: Mapping[bytes, frozenset[int]]
    #: The same in words.
    showing: Showing

    @property
    def leaf(self) -> x509.Certificate:
        """Our certificate."""
        return self.chain[0]

    def findings(self, now: datetime) -> Iterator[Finding]:
        """What has to be renewed, or soon."""
        where = self.sources
        if where.pinned:  # its dates are not looked at
            return
        ask = "Ask the server's operator for a new one."
        renew, found, publish = (
            (
                "Run: encchat-admin ca renew",
                "Make a new one: encchat-admin ca init",
                "Run: encchat-admin ca crl",
            )
            if where.server
            else (ask, ask, ask)
        )
        yield look_at_certificate(self.leaf, f"The certificate {where.certificate}", now, fix=renew)
        for authority in self.authorities:
            what = f"The authority {subject_of(authority)} in {where.authorities}"
            yield look_at_certificate(authority, what, now, fix=found)
        for crl in self.crls:
            yield look_at_crl(
                crl, f"The revocation list of {issuer_of(crl)} in {where.crl}", now, fix=publish
            )


def load(where: Sources, now: datetime, note: Callable[[Path], None] | None = None) -> Material:
    """Read and check all files. Blocks for some milliseconds.

    :raises ConfigError: one of them cannot be used; says what to do.
    """
    chain = tuple(read_certificates(where.certificate, _hint(where)))
    key = _key(where)
    if spki(chain[0].public_key()) != spki(key.public_key()):
        raise KeyOfAnother(key=str(where.key), certificate=str(where.certificate))
    if where.pinned:
        return Material(where, key, chain[:1], (), (), {}, _showing(where, chain[0]))
    _check_leaf(where, chain[0], now)
    hint = "Copy it from where `encchat-admin ca init` made it."
    authorities = tuple(read_certificates(where.authorities, hint)) if where.authorities else ()
    crls = _crls(where, authorities)
    return Material(where, key, chain, authorities, crls, _revoked(crls), _showing(where, chain[0]))


def check_successor(new: Material, old: Material) -> None:
    """Whether ``new`` may take the place of ``old`` while the service runs.

    :raises ConfigError: a revocation list is gone, or older than before.
    """
    before = {crl.issuer.public_bytes(): crl for crl in old.crls}
    after = {crl.issuer.public_bytes(): crl for crl in new.crls}
    path = str(new.sources.crl)
    if before and not after:
        raise CrlGone(path=path)
    for issuer, crl in before.items():
        if issuer in after and after[issuer].last_update_utc < crl.last_update_utc:
            raise CrlRolledBack(path=path)


def _showing(where: Sources, leaf: x509.Certificate) -> Showing:
    return Showing(
        server=where.server,
        pinned=where.pinned,
        certificate=str(where.certificate),
        authorities="the system's list" if where.authorities is None else str(where.authorities),
        crl=str(where.crl),
        ends=leaf.not_valid_after_utc,
        issuer=issuer_of(leaf),
    )


def _hint(where: Sources) -> str:
    if where.server:
        return "`encchat-admin ca server HOST` makes it."
    return "Ask the server's operator for it: `encchat-admin ca user NAME` makes it."


def _key(where: Sources) -> PrivateKey:
    try:
        return read_private_key(where.key, hint=_hint(where))
    except KeyEncrypted:
        raise KeyHasPassphrase(path=str(where.key)) from None


def _check_leaf(where: Sources, leaf: x509.Certificate, now: datetime) -> None:
    role = Role.SERVER if where.server else Role.USER
    path = str(where.certificate)
    try:
        check_strength(leaf)
        check_role(leaf, role, exclusive=not where.server)
        user = None if where.server else user_of(leaf)
    except (WeakCertificate, WrongPurpose, NoUserInCertificate) as error:
        raise CertificateUnusable(path=path, why=str(error).rstrip("."), fix=_hint(where)) from None
    if user is not None and user.key != parse_name(where.user).key:
        raise CertificateUnusable(
            path=path, why=f"it is for the user {user}, not {where.user}", fix=f"Connect with --name {user}."
        )
    finding = look_at_certificate(leaf, "it", now, fix=_hint(where))
    if finding.severity is Severity.ERROR:
        raise CertificateUnusable(path=path, why=finding.text.rstrip("."), fix=finding.fix)


def _crls(
    where: Sources, authorities: tuple[x509.Certificate, ...]
) -> tuple[x509.CertificateRevocationList, ...]:
    if where.crl is None or not (where.crl_required or where.crl.exists()):
        return ()
    crls = read_crls(where.crl, "`encchat-admin ca crl` makes it.")
    for crl in crls:
        if not any(_signed(crl, authority) for authority in authorities):
            raise CrlOfStranger(
                path=str(where.crl), issuer=issuer_of(crl), authorities=str(where.authorities)
            )
    return tuple(crls)


def _signed(crl: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    key = authority.public_key()
    return crl.issuer == authority.subject and crl.is_signature_valid(key)  # type: ignore[arg-type]  # any that signs


def _revoked(crls: tuple[x509.CertificateRevocationList, ...]) -> dict[bytes, frozenset[int]]:
    revoked: dict[bytes, frozenset[int]] = {}
    for crl in crls:
        issuer = crl.issuer.public_bytes()
        try:
            serials = frozenset(entry.serial_number for entry in crl)
        except ValueError as error:  # entries are parsed as late as this
            raise FileUnusable(path="crl", why=str(error)) from None
        revoked[issuer] = revoked.get(issuer, frozenset()) | serials
    return revoked
