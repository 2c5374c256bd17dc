"""A look at the files of one side, one after the other: everything that is wrong with them, not only the
first thing, as the cipher's own loading would say. ``encchat-admin doctor`` prints what comes of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from encchat.core.names import Name
from encchat.errors import EncchatError
from encchat.pki import files
from encchat.pki.health import Finding, look_at_certificate, look_at_crl, stamp
from encchat.pki.hosts import hosts_of
from encchat.pki.names import issuer_of, subject_of, user_of
from encchat.pki.profiles import Role, check_role, check_strength, fingerprint_of, spki


@dataclass(frozen=True, slots=True)
class Files:
    """The files of a server, or of a user on his machine, as a configuration names them."""

    role: Role
    certificate: Path
    key: Path
    #: Who signs the other side; None if the machine's own list is used.
    authorities: Path | None
    crl: Path | None = None
    #: Whether a missing revocation list is an error.
    crl_required: bool = False
    #: Whose certificate it must be.
    user: Name | None = None

    @property
    def make(self) -> str:
        """The command that makes the certificate."""
        return "encchat-admin ca server HOST" if self.role is Role.SERVER else "encchat-admin ca user NAME"


@dataclass(slots=True)
class Checkup:
    """One look. ``run`` yields what it finds."""

    files: Files
    now: datetime
    _chain: list[x509.Certificate] = field(default_factory=list)
    _authorities: list[x509.Certificate] = field(default_factory=list)
    _crls: list[x509.CertificateRevocationList] = field(default_factory=list)

    def run(self) -> Iterator[Finding]:
        """Everything, the good too."""
        yield from self._look_at_leaf()
        yield from self._look_at_key()
        yield from self._look_at_authorities()
        yield from self._look_at_chain()
        yield from self._look_at_crl()
        yield from self._look_at_places()
        yield self._look_at_clock()

    def _look_at_leaf(self) -> Iterator[Finding]:
        path, what = self.files.certificate, f"The certificate {self.files.certificate}"
        try:
            self._chain = files.read_certificates(path, f"Make one: {self.files.make}")
        except EncchatError as error:
            yield Finding.error("certificate", str(error), f"{self.files.make}, and copy it here.")
            return
        leaf = self._chain[0]
        yield look_at_certificate(leaf, what, self.now)
        try:
            check_strength(leaf)
            check_role(leaf, self.files.role, exclusive=self.files.role is Role.USER)
        except EncchatError as error:
            yield Finding.error("purpose", f"{path}: {error}", self.files.make)
        yield self._look_at_names(leaf)

    def _look_at_names(self, leaf: x509.Certificate) -> Finding:
        path, check = self.files.certificate, "names"
        if self.files.role is Role.SERVER:
            hosts = hosts_of(leaf)
            if hosts:
                return Finding.ok(check, f"{path} is for {', '.join(hosts)}.")
            text = f"{path} is for no host: every client will refuse it. A common name does not count."
            return Finding.error(check, text, self.files.make)
        try:
            user = user_of(leaf)
        except EncchatError as error:
            return Finding.error(check, f"{path}: {error}", self.files.make)
        if self.files.user is not None and user.key != self.files.user.key:
            text = f"{path} is for the user {user}, not for {self.files.user}."
            return Finding.error(check, text, f"Connect with --name {user}.")
        return Finding.ok(check, f"{path} is for the user {user}, {fingerprint_of(leaf)}.")

    def _look_at_key(self) -> Iterator[Finding]:
        path, check = self.files.key, "key"
        try:
            files.check_private(path)
        except files.KeyExposed as error:
            yield Finding.error("permissions", str(error), f"chmod 600 {path}")
        except EncchatError:
            pass  # reading it says the same
        try:
            key = files.load_private_key(files.read_bytes(path, "It was made with the certificate."), path)
        except files.KeyEncrypted:
            text = f"The key {path} is protected by a passphrase, and nobody is there to type it."
            yield Finding.error(check, text, f"(umask 077; openssl pkey -in {path} -out NEW.key)")
        except EncchatError as error:
            yield Finding.error(check, str(error), "Copy it from where it was made.")
        else:
            if not self._chain:
                return
            if spki(self._chain[0].public_key()) == spki(key.public_key()):
                yield Finding.ok(check, f"The key {path} belongs to the certificate.")
            else:
                text = (
                    f"The key {path} does not belong to {self.files.certificate}: one of them is another's."
                )
                yield Finding.error(check, text, "Copy both from where they were made.")

    def _look_at_authorities(self) -> Iterator[Finding]:
        path = self.files.authorities
        if path is None:
            return
        try:
            self._authorities = files.read_certificates(path)
        except EncchatError as error:
            fix = "Copy ca.pem from where `encchat-admin ca init` made it."
            yield Finding.error("authority", str(error), fix)
            return
        for authority in self._authorities:
            what = f"The authority {subject_of(authority)} in {path}"
            fix = "Make a new authority in another directory: encchat-admin ca init"
            yield look_at_certificate(authority, what, self.now, fix=fix)
            if not _signs_certificates(authority):
                text = f"{what} is no authority: it may not sign certificates."
                yield Finding.error("authority", text, "Remove it, or exchange it for the right one.")

    def _look_at_chain(self) -> Iterator[Finding]:
        if not self._chain:
            return
        path, top = self.files.certificate, self._chain[-1]
        for below, above in zip(self._chain, self._chain[1:], strict=False):
            if not _signed(below, above):
                names = f"{subject_of(above)} did not sign {subject_of(below)}"
                text = f"{path} is out of order: {names} before it."
                yield Finding.error("chain", text, "Put each certificate's signer behind it.")
                return
        namesakes = [each for each in self._authorities if each.subject == top.issuer]
        if any(_signed(top, each) for each in namesakes):
            yield Finding.ok("chain", f"{path} is signed by {issuer_of(top)} in {self._where}.")
        elif namesakes:
            signer = issuer_of(top)
            text = f"{path} names {signer} as its signer, but the one in {self._where} did not sign it."
            yield Finding.error("chain", text, "Copy ca.pem and the certificate from the same place.")
        elif self._authorities:
            text = (
                f"{path} is signed by {issuer_of(top)}, who is not in {self._where}: that is right "
                "only if the other side trusts another authority than this one."
            )
            yield Finding.note("chain", text)

    def _look_at_crl(self) -> Iterator[Finding]:
        path, check = self.files.crl, "crl"
        if path is None:
            return
        if not path.exists() and not self.files.crl_required:
            text = f"There is no revocation list at {path}: a stolen key is good until its certificate ends."
            yield Finding.note(check, text, "encchat-admin ca crl")
            return
        try:
            self._crls = files.read_crls(path)
        except EncchatError as error:
            yield Finding.error(check, str(error), "encchat-admin ca crl, and copy crl.pem here.")
            return
        for crl in self._crls:
            what = f"The revocation list of {issuer_of(crl)} in {path}"
            yield look_at_crl(crl, what, self.now, fix="encchat-admin ca crl, and copy crl.pem here.")
            if self._authorities and not any(_signed_crl(crl, each) for each in self._authorities):
                text = f"{what} was not signed by an authority in {self._where}."
                yield Finding.error(check, text, "Copy ca.pem and crl.pem from the same place.")
            for certificate in self._chain:
                if crl.issuer == certificate.issuer and _lists(crl, certificate):
                    text = f"{self.files.certificate} itself is revoked: nobody will believe it."
                    yield Finding.error(check, text, self.files.make)

    def _look_at_places(self) -> Iterator[Finding]:
        """Who else could exchange a file, or sign users on this very machine."""
        named = [self.files.certificate, self.files.key, self.files.authorities, self.files.crl]
        paths = [path for path in named if path is not None and path.exists()]
        for path in [*dict.fromkeys(path.absolute().parent for path in paths), *paths]:
            status = path.stat()
            sticky = path.is_dir() and status.st_mode & 0o1000
            if status.st_mode & 0o002 and not sticky:
                text = f"Everybody on this machine can write to {path}."
                yield Finding.error("permissions", text, f"chmod go-w {path}")
        if self.files.role is Role.SERVER and self.files.authorities is not None:
            key = self.files.authorities.with_suffix(".key")
            if key.exists():
                text = f"{key} is on this machine: whoever breaks into the service can make himself any user."
                yield Finding.note("authority-key", text, "Keep it on another machine, off the network.")

    def _look_at_clock(self) -> Finding:
        """The clock cannot be earlier than something that has already happened."""
        moments = [crl.last_update_utc for crl in self._crls]
        moments += [certificate.not_valid_before_utc for certificate in [*self._chain, *self._authorities]]
        for path in (self.files.certificate, self.files.key):
            if path.exists():
                moments.append(datetime.fromtimestamp(os.path.getmtime(path), UTC).replace(microsecond=0))
        latest = max(moments, default=self.now)
        if self.now < latest:
            text = f"This machine's clock says {stamp(self.now)}, but the files are of {stamp(latest)}."
            return Finding.error("clock", text, "Set this machine's clock: timedatectl")
        return Finding.ok("clock", f"This machine's clock says {stamp(self.now)}.")

    @property
    def _where(self) -> str:
        return str(self.files.authorities)


def _signs_certificates(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _signed_crl(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    return crl.issuer == issuer.subject and crl.is_signature_valid(key)  # type: ignore[arg-type]  # any that signs


def _lists(crl: x509.CertificateRevocationList, certificate: x509.Certificate) -> bool:
    return crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None
