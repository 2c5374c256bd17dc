"""A connection in memory that behaves as TCP does, and as badly as TCP may.

Two :class:`End` s are the transports of two protocols. Nothing moves until the link is pumped: then the
bytes go over in pieces of any size, may be altered on the way, wait while the reader has paused, and
push back on a producer when too many wait. ``loseConnection`` stops reading and sends what is left,
unless the peer goes on writing; ``abortConnection`` loses it; ``cut`` ends both sides wherever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Protocol as StructuralType
from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport

from encchat.ciphers.testing.reactor import ContractReactor

#: Bytes that one read takes at most, and that wait before a producer is paused, as in Twisted.
READ_SIZE = 65536
#: Pumps before a link that is still busy is taken for one that never rests.
MAX_PUMPS = 1_000_000

CLIENT_ADDRESS = IPv4Address("TCP", "127.0.0.1", 40001)
SERVER_ADDRESS = IPv4Address("TCP", "127.0.0.1", 9999)


class _Producer(StructuralType):
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def stopProducing(self) -> None: ...


class End(FakeTransport):
    """The transport of one side."""

    def __init__(self, protocol: IProtocol, *, is_server: bool) -> None:
        here, there = SERVER_ADDRESS, CLIENT_ADDRESS
        super().__init__(protocol, is_server, *((here, there) if is_server else (there, here)))
        #: Everything that this side ever wrote.
        self.sent = bytearray()
        #: What of it the other side has not read.
        self.outgoing = bytearray()
        #: How many bytes the other side has read.
        self.taken = 0
        #: Whether this side does not read.
        self.paused = False
        #: The size of the next pieces that the other side reads; 1 or more.
        self.sizes: Iterator[int] = repeat(READ_SIZE)
        #: Alters what the other side reads: given the position in the stream and the bytes.
        self.tamper: Callable[[int, bytes], bytes] | None = None
        self._ending: Failure | None = None
        self._producer: _Producer | None = None
        self._streaming = False
        self._producer_paused = False

    # ------------------------------------------------------------------ what the protocol calls

    def write(self, data: bytes) -> None:
        """Send ``data``."""
        if not isinstance(data, bytes):
            raise TypeError("a transport takes bytes")
        if self.disconnecting or self.disconnected:
            return
        self.sent += data
        self.outgoing += data
        if self._streaming and self._producer and len(self.outgoing) > READ_SIZE:
            self._producer_paused = True
            self._producer.pauseProducing()

    def loseConnection(self) -> None:
        """Read no more, send what is left, close."""
        self.disconnecting = True

    def abortConnection(self) -> None:
        """Close when the link is pumped next, and forget what is left."""
        if not self.disconnected and self._ending is None:
            self.disconnecting = True
            self.outgoing.clear()
            self._ending = Failure(ConnectionAborted())

    def pauseProducing(self) -> None:
        """Read no more."""
        self.paused = True

    def resumeProducing(self) -> None:
        """Read again."""
        self.paused = False

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Pause and resume ``producer`` as the other side reads."""
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        self._producer, self._streaming, self._producer_paused = cast(_Producer, producer), streaming, False
        if self.disconnected:
            self._producer.stopProducing()
        elif not streaming:
            self._producer.resumeProducing()

    def unregisterProducer(self) -> None:
        """The producer is done."""
        self._producer = None

    # ------------------------------------------------------------------------ what the link calls

    def move(self, other: End) -> bool:
        """Let ``other`` read one piece."""
        if not self.outgoing:
            return self._ask_producer()
        if other.paused or other.disconnecting or other.disconnected:
            if other.disconnected:
                self.outgoing.clear()
            return False
        piece = bytes(self.outgoing[: next(self.sizes)])
        del self.outgoing[: len(piece)]
        position, self.taken = self.taken, self.taken + len(piece)
        if self.tamper is not None:
            piece = self.tamper(position, piece)
        if piece:
            other.protocol.dataReceived(piece)
        return True

    def _ask_producer(self) -> bool:
        if self._producer is None or self.disconnected or self._ending is not None:
            return False
        if self._streaming and not self._producer_paused:
            return False
        self._producer_paused = False
        self._producer.resumeProducing()
        return True

    def finish(self, other: End) -> bool:
        """End, if it is time to, and tell ``other``."""
        if self.disconnected:
            return False
        fate: Exception | None = None
        if self._ending is None:
            if not self.disconnecting:
                return False
            if other.outgoing and not other.disconnecting:
                # A socket that is closed over unread bytes is reset, and what it still had to send is lost.
                self._ending, fate = Failure(ConnectionDone()), ConnectionLost()
            elif self.outgoing or self._producer is not None:
                return False
            else:
                self._ending, fate = Failure(ConnectionDone()), ConnectionDone()
        elif self._ending.check(ConnectionAborted):
            fate = ConnectionLost()
        elif self.paused and not self.disconnecting:
            return False
        if fate is not None and not other.disconnected and other._ending is None:
            other._ending = Failure(fate)
        self.end(self._ending)
        return True

    def end(self, reason: Failure) -> None:
        """The connection is gone."""
        if self.disconnected:
            return
        self.disconnected = self.disconnecting = True
        self.outgoing.clear()
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(reason)


class Link:
    """A connection between ``client`` and ``server``, which are protocols without a transport yet."""

    def __init__(self, reactor: ContractReactor, client: IProtocol, server: IProtocol) -> None:
        self.reactor = reactor
        self.client = End(client, is_server=False)
        self.server = End(server, is_server=True)
        server.makeConnection(self.server)
        client.makeConnection(self.client)

    def pump(self) -> bool:
        """Move one piece in each direction, and let what is due happen.

        :returns: whether anything did.
        """
        due = any(call.getTime() <= self.reactor.seconds() for call in self.reactor.getDelayedCalls())
        self.reactor.advance(0)
        moved = [self.client.move(self.server), self.server.move(self.client)]
        ended = [self.client.finish(self.server), self.server.finish(self.client)]
        return due or any(moved) or any(ended)

    def flush(self, *, settle: bool = True) -> None:
        """Pump until nothing moves; ``settle`` also does all the work in threads meanwhile."""
        for _ in range(MAX_PUMPS):
            worked = self.reactor.settle() if settle else False
            if not self.pump() and not worked:
                return
        raise AssertionError("the two sides never come to rest")

    def cut(self, error: Exception | None = None) -> None:
        """End the connection on both sides, with whatever is under way lost.

        :param error: what both are told; ``ConnectionLost`` if none is given.
        """
        for end in (self.client, self.server):
            end.outgoing.clear()
        for end in (self.client, self.server):
            end.end(Failure(error or ConnectionLost()))
