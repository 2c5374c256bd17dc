"""The names of servers, as certificates write them: DNS names in ASCII (RFC 5890), or addresses.

The same form names a server when its certificate is made and when a client checks it, so that
``Bücher.example``, ``bücher.example`` and ``xn--bcher-kva.example`` are one host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

import idna
from cryptography import x509

from encchat.errors import UsageError
from encchat.text import clean_line

#: Characters of the longest DNS name (RFC 1035, section 2.3.4).
MAX_HOST = 253


class BadHost(UsageError):
    """The host {host!r} cannot be used: {why}. Give a name such as chat.example.org, or an address."""


@dataclass(frozen=True, slots=True)
class Host:
    """A server's name: ``text`` in ASCII and lower case, and the address if it is one."""

    text: str
    address: IPv4Address | IPv6Address | None = None

    def __str__(self) -> str:
        return self.text

    @property
    def general_name(self) -> x509.GeneralName:
        """The host as a subject alternative name."""
        return x509.DNSName(self.text) if self.address is None else x509.IPAddress(self.address)


def parse_host(text: str, *, wildcard: bool = False) -> Host:
    """The host that a person names, without a port. ``*.example.org`` only with ``wildcard``.

    :raises BadHost: it is neither a DNS name nor an address; says why.
    """
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ip_address(bare)
    except ValueError:
        pass
    else:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise BadHost(host=text, why="an address in a certificate has no zone")
        return Host(str(address), address)
    try:
        return Host(_dns_name(text, wildcard))
    except ValueError as error:
        raise BadHost(host=text, why=str(error)) from None


def hosts_of(certificate: x509.Certificate) -> list[str]:
    """The hosts that a certificate is for, in words: as it says, which is from outside. The common name
    is none of them."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, ValueError):
        return []
    addresses = names.get_values_for_type(x509.IPAddress)
    return [clean_line(str(host)) for host in (*names.get_values_for_type(x509.DNSName), *addresses)]


def _dns_name(text: str, wildcard: bool) -> str:
    star = "*." if text.startswith("*.") else ""
    name = text[len(star) :]
    if re.search(r":[0-9]+\Z", text):
        raise ValueError("it has a port, which does not belong into a certificate")
    if name in {"", "."}:
        raise ValueError("it is empty")
    try:
        ascii_name = idna.encode(name, uts46=True, std3_rules=True).decode("ascii").lower()
        ascii_name = ascii_name.removesuffix(".")  # written so, it is the same name
    except UnicodeError as error:  # idna.IDNAError is one
        raise ValueError(str(error).rstrip(".")) from None
    if star and (not wildcard or "." not in ascii_name):
        raise ValueError("'*' cannot stand here")
    if ascii_name.rpartition(".")[2].isdigit():
        raise ValueError("it looks like an address, but is none")
    if len(star + ascii_name) > MAX_HOST:
        raise ValueError(f"it is longer than {MAX_HOST} characters")
    return star + ascii_name
