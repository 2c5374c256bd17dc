"""What goes wrong in TLS, in words that say what to do: OpenSSL's errors and alerts as errors of ours.

``verify_error`` is about a certificate that we refuse, ``handshake_error`` about everything else, among
it the alerts by which the peer refuses us. The sentences are in ``failures``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography import x509

from encchat.ciphers.tls.failures import (
    CertificateRefused,
    ClientRefusedUs,
    CrlExpired,
    CrlNotYetValid,
    Expired,
    HandshakeBroken,
    HandshakeTooLarge,
    NoCertificate,
    NoCertificateToPin,
    NoCrl,
    NotEncchat,
    NothingInCommon,
    NotTls,
    NotYetValid,
    RecordBroken,
    Revoked,
    SelfSigned,
    ServerRefusedUs,
    ServerSaysBad,
    ServerSaysExpired,
    ServerSaysRevoked,
    ServerTakesNoPins,
    ServerWantsAuthority,
    ServerWantsCertificate,
    TlsTooOld,
    UnknownAuthority,
)
from encchat.ciphers.tls.hello import foreign, version
from encchat.errors import EncchatError
from encchat.pki.health import stamp
from encchat.pki.names import issuer_of, subject_of
from encchat.pki.profiles import WeakCertificate


@dataclass(frozen=True, slots=True)
class Showing:
    """What we show to the peer and judge it by, as far as words need it."""

    #: Whether we are the server.
    server: bool
    #: Whether certificates count by their key alone (``trust=pin``).
    pinned: bool
    #: Where our certificate, the authorities and the revocation lists come from.
    certificate: str
    authorities: str
    crl: str
    #: When our certificate ends, and who signed it.
    ends: datetime
    issuer: str

    @property
    def peer(self) -> str:
        """What the other side is."""
        return "client" if self.server else "server"


#: X509_V_ERR_* of OpenSSL's x509_vfy.h.
_VERIFY: dict[int, type[CertificateRefused]] = {
    2: UnknownAuthority,
    3: NoCrl,
    9: NotYetValid,
    10: Expired,
    11: CrlNotYetValid,
    12: CrlExpired,
    18: SelfSigned,
    19: UnknownAuthority,
    20: UnknownAuthority,
    21: UnknownAuthority,
    23: Revoked,
    33: NoCrl,
}
_WHY = {
    7: "its signature is wrong",
    8: "the signature of the revocation list is wrong",
    22: "its chain is too long",
    24: "it is signed by a certificate that is no authority",
    25: "it is signed by an authority that may not have others below it",
    26: "it is for another purpose",
    32: "it is signed by a certificate that may not sign others",
    35: "the authority may not sign revocation lists",
    47: "its authority may not sign for this name",
    48: "its authority may not sign for this name",
    79: "it is signed by a certificate that is no authority",
}
_WEAK = {
    66: "its key is too short",
    67: "the key of its authority is too short",
    68: "it is signed with an outdated hash, such as SHA-1",
}


def verify_error(number: int, certificate: x509.Certificate, depth: int, showing: Showing) -> EncchatError:
    """The error for what OpenSSL found wrong with ``certificate``: the peer's, or with a ``depth`` one of
    those behind it."""
    if number in _WEAK:
        return WeakCertificate(why=_WEAK[number])
    facts = {
        "peer": showing.peer,
        "subject": subject_of(certificate) + (", in its chain" if depth else ""),
        "issuer": issuer_of(certificate),
        "authorities": showing.authorities,
        "crl": showing.crl,
        "begins": stamp(certificate.not_valid_before_utc),
        "ends": stamp(certificate.not_valid_after_utc),
        "serial": certificate.serial_number,
    }
    kind = _VERIFY.get(number)
    if kind is not None:
        return kind(**facts)
    return CertificateRefused(**facts, why=_WHY.get(number, f"OpenSSL's verification error {number}"))


_FROM_SERVER: dict[str, type[ServerRefusedUs]] = {
    "certificate required": ServerWantsCertificate,
    "unknown ca": ServerWantsAuthority,
    "certificate expired": ServerSaysExpired,
    "certificate revoked": ServerSaysRevoked,
    "bad certificate": ServerSaysBad,
    "unsupported certificate": ServerSaysBad,
    "certificate unknown": ServerSaysBad,
    "internal error": ServerSaysBad,  # what OpenSSL sends when it is our judge that refused
}
_FROM_CLIENT = {
    "unknown ca": "Give it the certificate of the authority, {issuer}: ca.pem.",
    "certificate expired": "It ends on {ends}, and perhaps the client's clock or revocation list is wrong.",
    "certificate revoked": "It needs a new one: `encchat-admin ca server HOST`.",
}
_CLIENT_HINT = "The client knows why: another host name than it asked for, or another key than before."

#: How OpenSSL names an alert that it received.
_ALERT = re.compile(r"(?:^|\s)alert (.+)$")
_OLD = frozenset({"unsupported protocol", "version too low", "wrong ssl version", "no protocols available"})
_COMMON = {
    "no suitable groups": "key exchange",
    "no suitable key share": "key exchange",
    "no shared groups": "key exchange",
    "no shared cipher": "cipher",
    "no shared signature algorithms": "signature algorithm",
    "no suitable signature algorithm": "signature algorithm",
}
_LARGE = frozenset({"excessive message size", "length too long"})


def handshake_error(reasons: Sequence[str], first: bytes, done: bool, showing: Showing) -> EncchatError:
    """The error for what OpenSSL said.

    ``first`` is how the peer's stream began, ``done`` whether our side of the handshake was complete.
    """
    peer = showing.peer
    what = foreign(first) if first else None
    if what is not None:
        return NotTls(peer=peer, what=what)
    for reason in reasons:
        alert = _ALERT.search(reason)
        if alert is not None:
            return _alert_error(alert[1], showing)
        if reason in _OLD:
            return TlsTooOld(peer=peer, version=version(first))
        if reason in _COMMON:
            return NothingInCommon(peer=peer, what=_COMMON[reason])
        if reason in _LARGE:
            return HandshakeTooLarge(peer=peer, what=reason)
        if reason == "no application protocol":
            return NotEncchat(peer=peer)
        if reason == "peer did not return a certificate":
            kind = NoCertificateToPin if showing.pinned else NoCertificate
            return kind(authorities=showing.authorities)
    why = reasons[0] if reasons else "no reason given"  # those that follow are ever more general
    return (RecordBroken if done else HandshakeBroken)(peer=peer, reason=why)


def _alert_error(alert: str, showing: Showing) -> EncchatError:
    facts = {
        "alert": alert,
        "certificate": showing.certificate,
        "issuer": showing.issuer,
        "ends": stamp(showing.ends),
    }
    if alert == "protocol version":
        return TlsTooOld(peer=showing.peer, version="an older version")
    if alert == "no application protocol":
        return NotEncchat(peer=showing.peer)
    if alert in ("handshake failure", "insufficient security"):
        return NothingInCommon(peer=showing.peer, what="key exchange or cipher")
    if showing.server:
        hint = _FROM_CLIENT.get(alert, _CLIENT_HINT).format(**facts)
        return ClientRefusedUs(alert=alert, hint=hint)
    if showing.pinned and alert in ("unknown ca", "certificate required", "bad certificate"):
        return ServerTakesNoPins(**facts)
    return _FROM_SERVER.get(alert, ServerRefusedUs)(**facts)
