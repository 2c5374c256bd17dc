"""How fast the server answers: from when a ping goes out to its answer, and for how long one is owed.

Only the answer to the last ping counts; nothing is carried over to another connection.
"""

from __future__ import annotations


class Pings:
    """The pings of one connection after the other."""

    def __init__(self) -> None:
        #: Seconds that the server took to answer the last ping of this connection; None before it did.
        self.latency: float | None = None
        self._id = 0
        self._sent_at: float | None = None
        self._owed_since: float | None = None

    def asked(self, id: int) -> None:
        """A ping is to go out."""
        self._id, self._sent_at = id, None

    def sent(self, now: float) -> None:
        """What was to go out has gone."""
        if self._sent_at is None:
            self._sent_at = now
            if self._id and self._owed_since is None:
                self._owed_since = now

    def answered(self, id: int, now: float) -> bool:
        """An answer is here; whether it tells the ``latency``."""
        if id == 0 or id != self._id or self._sent_at is None:
            return False
        self._id, self._owed_since = 0, None
        self.latency = max(0.0, now - self._sent_at)
        return True

    def owed(self, now: float) -> float:
        """Seconds since the first ping without an answer went out; 0: none is owed."""
        return 0.0 if self._owed_since is None else max(0.0, now - self._owed_since)

    def lost(self) -> None:
        """The connection is gone."""
        self.latency = self._owed_since = None
        self._id = 0
