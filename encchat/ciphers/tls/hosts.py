"""Whether a server's certificate is for the host that the user asked for (RFC 9525).

The check is service-identity's, called from a verification callback of our own in which any exception is
a refusal. Twisted 26.10's ``optionsForClientTLS`` calls the same check, but only refuses on
``VerificationError``: for a certificate without a usable subjectAltName service-identity raises another
exception, which Twisted logs and then accepts. A common name is never looked at.
"""

from __future__ import annotations

from cryptography import x509
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity

from encchat.errors import RefusedError
from encchat.pki.hosts import hosts_of, parse_host
from encchat.text import clean_line


class WrongHost(RefusedError):
    """The server's certificate is for {names}, not for {host}. Connect by a name that it is for, or ask the
    operator for a certificate for this one: `encchat-admin ca server {host}`."""

    code = "wrong-host"


class HostCheck:
    """The check for one host: a DNS name, IDN or not, or an IPv4 or IPv6 address."""

    def __init__(self, host: str) -> None:
        """
        :raises UsageError: ``host`` cannot be a host's name.
        """
        # A zone says which of our own interfaces leads there (RFC 4007); no certificate can know that.
        self._host = parse_host(host.partition("%")[0] if ":" in host else host)
        text = self._host.text
        self._wanted = DNS_ID(text) if self._host.address is None else IPAddress_ID(text)

    def __str__(self) -> str:
        return self._host.text

    @property
    def server_name(self) -> bytes | None:
        """What to ask for in the hello (RFC 6066, section 3): None for an address, which cannot be."""
        return self._host.text.encode("ascii") if self._host.address is None else None

    def check(self, certificate: x509.Certificate) -> None:
        """
        :raises WrongHost: the certificate is for other hosts, or for none, or cannot be read.
        """
        try:
            verify_service_identity(extract_patterns(certificate), [self._wanted], [])
        except Exception as error:  # whatever it is: it was not verified, so it is a refusal
            raise WrongHost(names=_names(certificate), host=str(self)) from error


def _names(certificate: x509.Certificate) -> str:
    """The hosts that a certificate is for, for people."""
    return clean_line(", ".join(hosts_of(certificate)[:5]), 200) or "no host"
