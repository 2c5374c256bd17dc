"""The address of a server, as a person writes it: ``HOST``, ``HOST:PORT``, ``[::1]:9999``, ``::1``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address

import idna

from encchat import DEFAULT_PORT
from encchat.errors import UsageError

_HOST = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?\Z")


class BadAddress(UsageError):
    """{text!r} is not the address of a server: {why}. Write HOST, HOST:PORT or [IPV6]:PORT."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host, as the user named it, and a TCP port. As text it is in one form, by which keys are kept."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str, default_port: int = DEFAULT_PORT) -> Address:
    """The address in ``text``; hosts in lower case, IP addresses in their shortest form.

    :raises BadAddress: it is not one; says why.
    """
    host, port = text, ""
    colon = False
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or ":" not in host or (rest and not rest.startswith(":")):
            raise BadAddress(text=text, why="the brackets do not hold an IPv6 address")
        colon, port = bool(rest), rest[1:]
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
        colon = True
    return Address(_parse_host(host, text), _parse_port(port, text) if colon else default_port)


def parse_port(text: str) -> int:
    """A TCP port, 1 to 65535.

    :raises BadAddress: it is not one.
    """
    return _parse_port(text, text)


def _parse_port(port: str, text: str) -> int:
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise BadAddress(text=text, why=f"the port {port!r} is not a number from 1 to 65535")
    return int(port)


def _parse_host(host: str, text: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        if ":" in host:
            raise BadAddress(text=text, why="it is not an IPv6 address") from None
    try:
        ascii_host = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except UnicodeError:  # idna.IDNAError is one
        ascii_host = ""
    if len(ascii_host) > 253 or not _HOST.match(ascii_host):
        raise BadAddress(text=text, why="the host is not a name or an IP address" if host else "no host")
    if re.fullmatch(r"[0-9.]+", ascii_host):
        raise BadAddress(text=text, why="it is not an IPv4 address")
    return ascii_host.lower()
