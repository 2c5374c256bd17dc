"""What arrived for the protocol above a cipher, in order, and the reasons why it waits.

Nothing is handed up while the protocol above has paused, and nothing more is read from below while
anybody has. The one who pauses may do so, and resume, from within the very delivery.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Protocol

#: The pause of the protocol above; every other reason is the cipher's own and stops only the reading.
ABOVE = "above"


class Readable(Protocol):
    """Where the bytes come from."""

    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...


class Inbox:
    """Received bytes on their way to ``deliver``, which must not raise."""

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        self._deliver = deliver
        self._source: Readable | None = None
        self._opened = False
        self._reading = True
        self._closed = False
        self._delivering = False
        self._pauses: set[str] = set()
        self._waiting: deque[bytes] = deque()

    def attach(self, source: Readable) -> None:
        """Pause and resume ``source`` from now on."""
        self._source = source
        self._adjust()

    def open(self) -> None:
        """The handshake is complete. Until now a pause of the protocol above, which had nothing to get,
        did not keep the cipher from reading its handshake."""
        self._opened = True
        self._adjust()

    def detach(self, *, resume: bool) -> None:
        """Leave the source alone from now on; ``resume``: and reading, if it was paused."""
        source, self._source = self._source, None
        if resume and source is not None and not self._reading:
            self._reading = True
            source.resumeProducing()

    def put(self, data: bytes) -> None:
        """Hand ``data`` up, now or when its turn comes."""
        if data and not self._closed:
            self._waiting.append(data)
            self._hand_up()

    def pause(self, why: str) -> None:
        """Read no more; if it is ``ABOVE`` that pauses, also hand up no more."""
        self._pauses.add(why)
        self._adjust()

    def resume(self, why: str) -> None:
        """Take back a ``pause``: hand up what waits, then read on."""
        self._pauses.discard(why)
        self._hand_up()
        self._adjust()

    def flush(self) -> None:
        """Hand up all that waits, whoever paused: the stream has ended, and there is no later."""
        self._pauses.clear()
        self._hand_up()

    def close(self) -> None:
        """Forget what waits, and hand up nothing more."""
        self._closed = True
        self._waiting.clear()

    def _hand_up(self) -> None:
        if self._delivering:  # called from within a delivery, whose loop goes on with what was added
            return
        self._delivering = True
        try:
            while self._waiting and ABOVE not in self._pauses:
                self._deliver(self._waiting.popleft())
        finally:
            self._delivering = False

    def _adjust(self) -> None:
        wanted = not (self._pauses if self._opened else self._pauses - {ABOVE})
        if self._source is None or wanted == self._reading:
            return
        self._reading = wanted
        if wanted:
            self._source.resumeProducing()
        else:
            self._source.pauseProducing()
