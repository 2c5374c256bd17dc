"""Whether certificates and revocation lists can be used now, and for how long still.

Each look gives a :class:`Finding`: how bad, one sentence, and the command that mends it. The service
logs those from ``Severity.WARNING`` on every day; ``encchat-admin doctor`` prints all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import IntEnum

from cryptography import x509

#: How long before the end a warning comes.
CERTIFICATE_WARNING = timedelta(days=14)
CRL_WARNING = timedelta(days=7)


class Severity(IntEnum):
    """How bad it is: from ``WARNING`` on, somebody has to do something."""

    OK = 0
    NOTE = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at a configuration found."""

    severity: Severity
    #: A stable word for programs: ``certificate-expiry``, ``crl-age``.
    check: str
    #: One sentence for people.
    text: str
    #: The command, or what else mends it; empty when there is nothing to mend.
    fix: str = ""

    @classmethod
    def ok(cls, check: str, text: str) -> Finding:
        """Something that is well."""
        return cls(Severity.OK, check, text)

    @classmethod
    def note(cls, check: str, text: str, fix: str = "") -> Finding:
        """Something that a person may want to know."""
        return cls(Severity.NOTE, check, text, fix)

    @classmethod
    def warning(cls, check: str, text: str, fix: str = "") -> Finding:
        """Something that will go wrong."""
        return cls(Severity.WARNING, check, text, fix)

    @classmethod
    def error(cls, check: str, text: str, fix: str = "") -> Finding:
        """Something that is wrong."""
        return cls(Severity.ERROR, check, text, fix)


def worst(findings: Iterable[Finding]) -> Severity:
    """The severity of the worst finding; ``OK`` if there are none."""
    return max((finding.severity for finding in findings), default=Severity.OK)


def days(span: timedelta) -> str:
    """A span of time as people say it: ``12 days``, ``5 hours``."""
    count, unit = (span.days, "day") if span.days else (span.seconds // 3600, "hour")
    return f"{count} {unit}{'' if count == 1 else 's'}"


def look_at_certificate(
    certificate: x509.Certificate, what: str, now: datetime, *, fix: str = "encchat-admin ca renew --all-due"
) -> Finding:
    """Whether a certificate is valid now, and two weeks from now. ``what`` says whose it is."""
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    check = "certificate-expiry"
    if now < begins:
        text = f"{what} is not valid before {stamp(begins)}: it is {stamp(now)} on this machine"
        return Finding.error(check, f"{text}.", "Set this machine's clock.")
    if now >= ends:
        return Finding.error(check, f"{what} expired {days(now - ends)} ago, {stamp(ends)}.", fix)
    severity = Severity.WARNING if ends - now <= CERTIFICATE_WARNING else Severity.OK
    text = f"{what} expires in {days(ends - now)}, {stamp(ends)}."
    return Finding(severity, check, text, fix if severity else "")


def look_at_crl(
    crl: x509.CertificateRevocationList, what: str, now: datetime, *, fix: str = "encchat-admin ca crl"
) -> Finding:
    """Whether a revocation list is in force now, and a week from now. Past its end nobody gets in."""
    begins, ends, check = crl.last_update_utc, crl.next_update_utc, "crl-age"
    if ends is None:
        return Finding.error(check, f"{what} does not say until when it holds.", fix)
    if now < begins:
        text = f"{what} is not valid before {stamp(begins)}: it is {stamp(now)} on this machine"
        return Finding.error(check, f"{text}.", "Set this machine's clock.")
    if now >= ends:
        text = (
            f"{what} expired {days(now - ends)} ago, {stamp(ends)}: everybody is refused until it is renewed."
        )
        return Finding.error(check, text, fix)
    severity = Severity.WARNING if ends - now <= CRL_WARNING else Severity.OK
    text = f"{what} must be renewed within {days(ends - now)}, by {stamp(ends)}."
    return Finding(severity, check, text, fix if severity else "")


def stamp(moment: datetime) -> str:
    """A moment as people read it, to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
