"""Log lines about handshakes that fail: for each address one a second at most, and a few at once, so that
nobody can fill the disk of a server by knocking at its port, and each of a handful that fail together is told
with its own reason. The next line says how many were left out."""

from __future__ import annotations

#: Seconds between two lines about one address in the long run, and how many come at once.
INTERVAL = 1.0
AT_ONCE = 10
#: Addresses that are remembered; those that were quiet the longest are forgotten first.
MAX_ADDRESSES = 1000


class Quiet:
    """Counts failures by address."""

    def __init__(self) -> None:
        #: Until when the lines that were written last for, at one an interval, and how many failures there
        #: were since that were not told; oldest first.
        self._told: dict[str, tuple[float, int]] = {}

    def count(self, address: str, now: float) -> int | None:
        """A handshake failed: how many did since the last line about the address, with this one; None if it
        is too early for another line."""
        until, left_out = self._told.get(address, (now, 0))
        until = max(until, now) + INTERVAL
        if until - now > AT_ONCE * INTERVAL:
            self._told[address] = until - INTERVAL, left_out + 1
            return None
        self._told.pop(address, None)
        self._told[address] = until, 0
        if len(self._told) > MAX_ADDRESSES:
            del self._told[next(iter(self._told))]
        return left_out + 1
