"""Log lines about handshakes that fail: for each address one a second at most, so that nobody can fill the
disk of a server by knocking at its port. The next line says how many were left out."""

from __future__ import annotations

#: Seconds between two lines about one address.
INTERVAL = 1.0
#: Addresses that are remembered; those that were quiet the longest are forgotten first.
MAX_ADDRESSES = 1000


class Quiet:
    """Counts failures by address."""

    def __init__(self) -> None:
        #: When the last line was written, and how many failures there were since; oldest first.
        self._told: dict[str, tuple[float, int]] = {}

    def count(self, address: str, now: float) -> int | None:
        """A handshake failed: how many did since the last line about the address, with this one; None if it
        is too early for another line."""
        last, left_out = self._told.get(address, (now - INTERVAL, 0))
        if now - last < INTERVAL:
            self._told[address] = last, left_out + 1
            return None
        self._told.pop(address, None)
        self._told[address] = now, 0
        if len(self._told) > MAX_ADDRESSES:
            del self._told[next(iter(self._told))]
        return left_out + 1
