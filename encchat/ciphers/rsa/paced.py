"""The transport of a classic peer: lines in, paced blocks out, with the promises of any transport.

It takes the place of the connection below a layer once the peer's key is known. A producer above is
paused and resumed by what waits in the queue; the queue itself is held while the connection below has no
room. Closing sends what waits first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IAddress, IReactorTime

from encchat.ciphers.below import Below
from encchat.ciphers.rsa.classic import ShownKey, seal_block
from encchat.ciphers.rsa.pacing import BOUND, PacedQueue, TooMuchWaiting


class Producer(Protocol):
    """What is used of a producer above."""

    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...


class PacedTransport:
    """Made right after our own key was sent.

    :param progress: told after every block that went out.
    """

    def __init__(
        self, below: Below, clock: IReactorTime, peer: ShownKey, progress: Callable[[], None]
    ) -> None:
        self._below = below
        self._peer = peer
        self._progress = progress
        self._producer: Producer | None = None
        self._streaming = True
        self._line = bytearray()  # the last one, whose end was not written yet
        self._closing = False
        self._queue = PacedQueue(
            clock, peer.room, self._send, paused=self._pause, resumed=self._resume, empty=self._emptied
        )
        below.registerProducer(_Valve(self._queue, self._stopped), True)

    @property
    def unsent(self) -> int:
        """Bytes that wait."""
        return self._queue.waiting + len(self._line)

    def write(self, data: bytes) -> None:
        """Queue the lines that are complete now.

        :raises TooMuchWaiting: whoever writes goes on although the queue is more than full.
        """
        if self._closing:
            return
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._queue.put((bytes(self._line) + line).decode("utf-8", "replace"))
            self._line.clear()
        self._line += rest
        if len(self._line) > BOUND:
            raise TooMuchWaiting(waiting=self.unsent)

    def loseConnection(self) -> None:
        """Send what waits, then close below."""
        if self._closing:
            return
        self._closing = True
        if self._line:
            self._queue.put(self._line.decode("utf-8", "replace"))
            self._line.clear()
        if not self._queue:
            self._close()

    def abortConnection(self) -> None:
        """Close at once."""
        self._below.abortConnection()

    def end(self) -> None:
        """The connection below is gone: send no more, and stop the timer."""
        self._closing = True
        self._queue.stop()

    def pauseProducing(self) -> None:
        """Read no more."""
        self._below.pauseProducing()

    def resumeProducing(self) -> None:
        """Read on."""
        self._below.resumeProducing()

    def getPeer(self) -> IAddress:
        """The peer's address."""
        return self._below.getPeer()

    def getHost(self) -> IAddress:
        """Our own address."""
        return self._below.getHost()

    def registerProducer(self, producer: Producer, streaming: bool) -> None:
        """Pause and resume ``producer`` as the queue fills and empties."""
        self._producer, self._streaming = producer, streaming
        if not streaming:
            if not self._queue:
                producer.resumeProducing()
        elif self._queue.full:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """The producer is done."""
        self._producer = None

    # ----------------------------------------------------------------------------------- the queue

    def _send(self, text: bytes) -> None:
        self._below.write(seal_block(self._peer, text))
        self._progress()

    def _pause(self) -> None:
        if self._producer is not None and self._streaming:
            self._producer.pauseProducing()

    def _resume(self) -> None:
        if self._producer is not None and self._streaming:
            self._producer.resumeProducing()

    def _emptied(self) -> None:
        if self._closing:
            self._close()
        elif self._producer is not None and not self._streaming:
            self._producer.resumeProducing()

    def _close(self) -> None:
        self._queue.stop()
        self._below.unregisterProducer()
        self._below.loseConnection()

    def _stopped(self) -> None:
        """The connection below is gone; as every transport does, tell the producer."""
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()


class _Valve:
    """The queue as a producer, for the connection below."""

    def __init__(self, queue: PacedQueue, stopped: Callable[[], None]) -> None:
        self._queue = queue
        self.pauseProducing = queue.hold
        self.resumeProducing = queue.release
        self._stopped = stopped

    def stopProducing(self) -> None:
        """The connection below is gone; what waits is counted before it is forgotten."""
        self._queue.hold()
        self._stopped()
