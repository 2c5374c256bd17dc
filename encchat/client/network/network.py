"""Whether this machine's way to the network has changed: looked at only while a link waits to try again.

No packet is sent and nothing is asked of anybody: a datagram socket that is connected tells which address of
ours the kernel would use. That changes when a cable, a wireless network or a VPN comes or goes. A machine
that slept shows in its clock.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

#: Addresses that are nobody's (RFC 5737, RFC 3849): only the way towards them is asked for.
ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))
#: Seconds that the clock may run on by more than was waited before the machine must have slept.
SLEPT = 10.0


def local_addresses() -> tuple[str | None, ...]:
    """The addresses of ours that the kernel would use towards elsewhere; None: it knows no way."""
    return tuple(_towards(family, address) for family, address in ELSEWHERE)


def _towards(family: socket.AddressFamily, address: str) -> str | None:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


class _Seen(NamedTuple):
    addresses: Sequence[str | None]
    wall: float


class Network:
    """``look`` now and then: whether to try again at once."""

    def __init__(
        self,
        addresses: Callable[[], Sequence[str | None]] = local_addresses,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._addresses = addresses
        self._wall = wall
        self._seen = _Seen((), 0.0)

    def begin(self) -> None:
        """Changes count from now on."""
        self._seen = _Seen(self._addresses(), self._wall())

    def look(self, waited: float) -> bool:
        """Whether there is another way to the network than at the last look, or the machine slept since;
        ``waited`` seconds are known to have passed. A way that is gone is no reason to try."""
        before, self._seen = self._seen, _Seen(self._addresses(), self._wall())
        if self._seen.wall - before.wall > waited + SLEPT:
            return True
        pairs = zip(before.addresses, self._seen.addresses, strict=True)
        return any(now is not None and now != then for then, now in pairs)
