"""What can go wrong in TLS: the sentences, each with what to do next.

The wire carries nothing but TLS's own alerts. So the side that refuses knows why, and its sentence says
so; the side that is refused gets a sentence for the alert, about what it can look at itself. In braces
stand the facts that ``words`` knows: ``peer`` is what the other side is, ``server`` or ``client``.
"""

from __future__ import annotations

from encchat.errors import PeerError, RefusedError

# ----------------------------------------------------------------------- a certificate that we refuse


class CertificateRefused(RefusedError):
    """The {peer}'s certificate ({subject}) is refused: {why}."""

    code = "certificate-refused"


class UnknownAuthority(CertificateRefused):
    """The {peer}'s certificate ({subject}) is signed by {issuer}, who is not in {authorities}. Is it of
    another service? If that authority is to be trusted, add its certificate to the file."""

    code = "unknown-authority"


class SelfSigned(CertificateRefused):
    """The {peer}'s certificate ({subject}) is signed by nobody else, so it says nothing. If the {peer} uses
    trust=pin, use it on both sides; otherwise it needs a certificate of the authority in {authorities}."""

    code = "self-signed"


class Expired(CertificateRefused):
    """The {peer}'s certificate ({subject}) expired on {ends}. Whoever runs its authority renews it with
    `encchat-admin ca renew`."""

    code = "certificate-expired"


class NotYetValid(CertificateRefused):
    """The {peer}'s certificate ({subject}) is only valid from {begins} on. Compare the clocks of both
    machines."""

    code = "certificate-not-yet-valid"


class Revoked(CertificateRefused):
    """The {peer}'s certificate ({subject}, serial number {serial:x}) was revoked by its authority. If that
    was a mistake, it has to make a new one."""

    code = "certificate-revoked"


class NoCrl(CertificateRefused):
    """The {peer}'s certificate ({subject}) is refused, as {crl} has no revocation list of {issuer}. Add
    one: `encchat-admin ca crl` makes it."""

    code = "no-crl"


class CrlExpired(CertificateRefused):
    """The {peer}'s certificate ({subject}) is refused, as the revocation list in {crl} is out of date:
    nobody comes in until it is replaced. `encchat-admin ca crl` makes a new one."""

    code = "crl-expired"


class CrlNotYetValid(CertificateRefused):
    """The {peer}'s certificate ({subject}) is refused, as the revocation list in {crl} is from the future.
    Check the clock of this machine."""

    code = "crl-not-yet-valid"


class NoCertificate(RefusedError):
    """The client showed no certificate. It needs one of an authority in {authorities}: `encchat-admin ca
    user NAME` makes it."""

    code = "no-certificate"


class NoCertificateToPin(RefusedError):
    """The client showed no certificate, so it has no key to be known by. Use --cipher tls:trust=pin there."""

    code = "no-certificate"


# ------------------------------------------------------------ what is not TLS 1.3 with encchat inside


class NotTls(PeerError):
    """The {peer} does not speak TLS: it sent {what}. Do both sides use the same --cipher, and is it the
    right port?"""

    code = "not-tls"


class TlsTooOld(PeerError):
    """The {peer} offers {version} at best; TLS 1.3 is needed. It has to be brought up to date."""

    code = "tls-too-old"


class NotEncchat(PeerError):
    """The {peer} speaks TLS, but not encchat/1 inside it (ALPN). Is it the right port?"""

    code = "not-encchat"


class NothingInCommon(PeerError):
    """The {peer} and this side have no {what} in common. TLS 1.3 here takes X25519MLKEM768, X25519, P-256
    or P-384, and AES-256-GCM or ChaCha20-Poly1305: is something old in use, or a FIPS mode?"""

    code = "nothing-in-common"


class HandshakeTooLarge(PeerError):
    """The {peer} sent more in its handshake than any certificate needs: {what}."""

    code = "handshake-too-large"


class TooManyKeyUpdates(PeerError):
    """The {peer} asked for new keys too often."""

    code = "too-many-key-updates"


class HandshakeBroken(PeerError):
    """The TLS handshake with the {peer} failed: {reason}. If it happens again, something on the way alters
    what is sent, or one side is broken."""

    code = "handshake-failed"


class RecordBroken(PeerError):
    """What the {peer} sent cannot be decrypted ({reason}). It may have been altered on its way; connect
    again."""

    code = "record-refused"


# ------------------------------------------------------------------------ alerts: the peer refuses us


class ClientRefusedUs(RefusedError):
    """The client refused this server's certificate ({alert}). {hint}"""

    code = "refused-by-client"


class ServerRefusedUs(RefusedError):
    """The server refused the connection ({alert}). Its log says why: ask its operator."""

    code = "refused-by-server"


class ServerWantsCertificate(ServerRefusedUs):
    """The server requires a certificate, and accepts none like {certificate}. Ask its operator for NAME.pem
    and NAME.key."""


class ServerWantsAuthority(ServerRefusedUs):
    """The server does not accept the authority that signed your certificate {certificate} ({issuer}), or
    has no revocation list of it. Is it the certificate for this server? Ask its operator for one."""


class ServerTakesNoPins(ServerRefusedUs):
    """The server only takes certificates of its authority, not keys that you made yourself (trust=pin). Ask
    its operator for NAME.pem and NAME.key and use --cipher tls:certs=DIR."""


class ServerSaysExpired(ServerRefusedUs):
    """The server says that your certificate {certificate} has expired; it is valid until {ends}. Ask its
    operator for a new one; if that date is not past, the server's clock or revocation list is wrong."""


class ServerSaysRevoked(ServerRefusedUs):
    """The server has revoked your certificate {certificate}. Ask its operator for a new one."""


class ServerSaysBad(ServerRefusedUs):
    """The server does not accept your certificate {certificate} ({alert}): it may be too weak, not valid
    yet, not for users, or name no user. Ask its operator for a new one, and compare your clock with the
    server's."""
