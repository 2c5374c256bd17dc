"""The outgoing queue of a classic peer: one block at a time, never two in one recv.

The classroom script takes whatever one ``recv`` gives it for one block, so that two blocks that arrive
together cost it both, and its thread. Nothing tells us when it has read; what is left is to wait: a
pause after our key, and one between blocks. Lines that wait are joined, as many as one block holds,
so that a burst takes less time.

The clock is handed in. Nothing here knows of keys or connections: pieces of text go in, blocks of text
come out, when it is time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat.ciphers.rsa.classic import pieces
from encchat.errors import PeerError

#: Seconds from our key to the first block: the script reads the key with a recv that takes all there is.
AFTER_KEY = 0.25
#: Seconds between two blocks.
BETWEEN_BLOCKS = 0.1
#: Bytes that wait when the producer above is paused, and when it is resumed.
HIGH_WATER, LOW_WATER = 16 * 1024, 4 * 1024
#: Bytes that wait beyond which nothing more is taken.
BOUND = 64 * 1024


class TooMuchWaiting(PeerError):
    """The other side speaks the classic profile, which takes ten blocks a second, and {waiting} bytes
    wait for it already."""

    code = "too-slow"


class PacedQueue:
    """Lines in, blocks out.

    ``send`` gets each block's text when its time has come. ``paused`` and ``resumed`` are told when the
    high-water mark is passed and when the low-water mark is reached again; ``empty`` when the last
    block was sent.
    """

    def __init__(
        self,
        clock: IReactorTime,
        room: int,
        send: Callable[[bytes], None],
        *,
        paused: Callable[[], None],
        resumed: Callable[[], None],
        empty: Callable[[], None],
    ) -> None:
        self._clock = clock
        self._room = room
        self._send = send
        self._tell_paused, self._tell_resumed, self._tell_empty = paused, resumed, empty
        self._blocks: deque[bytes] = deque()
        self._next = clock.seconds() + AFTER_KEY
        self._timer: IDelayedCall | None = None
        self._full = False
        self._held = False
        self._stopped = False
        self.waiting = 0

    def put(self, line: str) -> None:
        """Queue a line, joined to what waits when both fit into one block.

        Takes any line while no more than BOUND bytes wait, so that a long one is never half taken.

        :raises TooMuchWaiting: whoever writes went on for long after it was told to pause.
        """
        if self.waiting > BOUND:
            raise TooMuchWaiting(waiting=self.waiting)
        for number, piece in enumerate(pieces(line, self._room)):
            joins = number == 0 and self._blocks and len(self._blocks[-1]) + 1 + len(piece) <= self._room
            if joins:
                self._blocks[-1] += b"\n" + piece
            else:
                self._blocks.append(piece)
            self.waiting += len(piece) + 1
        self._schedule()
        if not self._full and self.waiting >= HIGH_WATER:
            self._full = True
            self._tell_paused()

    def hold(self) -> None:
        """Send nothing until ``release``: the connection below has no room."""
        self._held = True
        self._cancel()

    def release(self) -> None:
        """The connection below has room again."""
        self._held = False
        self._schedule()

    def stop(self) -> None:
        """Forget what waits, and never send again."""
        self._stopped = True
        self._cancel()
        self._blocks.clear()
        self.waiting = 0

    def __bool__(self) -> bool:
        return bool(self._blocks)

    @property
    def full(self) -> bool:
        """Whether whoever writes should pause."""
        return self._full

    def _schedule(self) -> None:
        if self._timer is None and self._blocks and not (self._held or self._stopped):
            # At most the longest pause, should the clock have been set back meanwhile.
            wait = min(max(0.0, self._next - self._clock.seconds()), AFTER_KEY)
            self._timer = self._clock.callLater(wait, self._send_one)

    def _send_one(self) -> None:
        self._timer = None
        block = self._blocks.popleft()
        self.waiting -= len(block) + 1
        self._next = self._clock.seconds() + BETWEEN_BLOCKS
        self._send(block)
        if self._stopped:
            return
        self._schedule()
        if self._full and self.waiting <= LOW_WATER:
            self._full = False
            self._tell_resumed()
        if not self._blocks:
            self._tell_empty()

    def _cancel(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
