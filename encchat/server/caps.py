"""How many connections there may be: in all, and per address before and after they are admitted."""

from __future__ import annotations

from collections import Counter
from ipaddress import IPv6Address, ip_address

#: Bytes of messages that the connections of one address have begun, or have waiting, at most: as much as some
#: hundred of them can hold.
HELD = 32 * 1024 * 1024
#: The address of who comes through a unix socket.
LOCAL = "local"
#: Bits that tell IPv6 addresses of one site from another's: who has one address there has them all.
SITE = 64


class Caps:
    """Counts connections by address. A connection is half-open until its peer is admitted.

    :param connections: how many there may be in all.
    :param half_open: how many of one address that are not admitted.
    :param per_address: how many of one address in all, unless that is anybody's; 0: any number.
    """

    def __init__(self, connections: int, half_open: int, per_address: int = 0) -> None:
        self.connections = connections
        self.half_open = half_open
        self.per_address = per_address
        self._all = 0
        self._half: Counter[str] = Counter()
        self._in: Counter[str] = Counter()
        self._held: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._all

    def refusal(self, host: str) -> str | None:
        """Why another connection from ``host`` cannot be taken now; None if it can."""
        if self._all >= self.connections:
            return f"there are {self._all} connections, as many as are allowed (--max-connections)"
        half, admitted = self._half.get(host, 0), self._in.get(host, 0)
        if half >= self.half_open:
            return f"{half} connections of this address are not admitted yet (--max-half-open)"
        if self.per_address and half + admitted >= self.per_address and not is_anybodys(host):
            return f"there are {self.per_address} connections of this address (--max-per-address)"
        return None

    def opened(self, host: str) -> None:
        """A connection came, half-open."""
        self._all += 1
        self._half[host] += 1

    def admitted(self, host: str) -> None:
        """One of the address's half-open connections is admitted."""
        _less(self._half, host)
        self._in[host] += 1

    def holds(self, host: str, more: int) -> bool:
        """A connection of the address holds so many bytes more, or less; whether that is within bounds."""
        self._held[host] += more
        if self._held[host] > HELD and not is_anybodys(host):
            return False
        if not self._held[host]:
            del self._held[host]
        return True

    def closed(self, host: str, half_open: bool) -> None:
        """A connection went."""
        self._all -= 1
        _less(self._half if half_open else self._in, host)


def _less(counts: Counter[str], host: str) -> None:
    counts[host] -= 1
    if not counts[host]:
        del counts[host]


def is_anybodys(host: str) -> bool:
    """Whether an address tells nothing of who is behind it: a tunnel, a gateway or a proxy on this machine
    brings everybody from the loopback, or through a unix socket."""
    try:
        return host == LOCAL or ip_address(host.partition("/")[0].partition("%")[0]).is_loopback
    except ValueError:
        return False


def origin(host: str) -> str:
    """What counts as one address: an IPv4 address, also where it is mapped into IPv6, and of others the
    network that one subscriber has (RFC 4291, section 2.5.4)."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if not isinstance(address, IPv6Address):
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    if address.is_loopback:
        return host
    return f"{IPv6Address(int(address) >> 128 - SITE << 128 - SITE)}/{SITE}"
