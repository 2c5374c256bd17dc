"""Talking with the classroom script: lines in, lines out, and a word about what that protects.

The classic profile has no names, rooms or acknowledgements, and nobody proves who they are. What the
script sends is shown as ``classic: text``; lines for it wait until the cipher has paced them out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.client.network.connection import Transport
from encchat.client.streams.ending import race
from encchat.client.streams.lines import LineCutter, Reader, Writer
from encchat.errors import EncchatError, PeerError
from encchat.text import clean_line

#: Bytes of a line at most, either way.
MAX_LINE = 64 * 1024
#: Said once somebody is there.
WARNING = (
    "connected over the classic profile: nobody has proved who they are, and anyone on the way can read, "
    "change or forge what is said"
)


class NotClassic(PeerError):
    """The other side does not speak the classic profile."""


@implementer(IHandshakeListener, IPushProducer)
class ClassicConnection(Protocol):
    """One peer. ``ready`` fires when it has shown a key, ``over`` when it is gone."""

    def __init__(self, received: Callable[[bytes], None]) -> None:
        self._received = received
        self.ready: Deferred[None] = Deferred()
        self.over: Deferred[None] = Deferred()
        self._room: Deferred[None] | None = None
        self._full = False

    @property
    def _secure(self) -> Transport:
        return cast(Transport, self.transport)

    def handshakeCompleted(self) -> None:
        """The peer has shown a key."""
        if self._secure.negotiatedProtocol is not None:
            self._secure.abortConnection()
            self.ready.errback(NotClassic())
            return
        self._secure.registerProducer(self, True)
        self.ready.callback(None)

    def dataReceived(self, data: bytes) -> None:
        """Lines of the peer, or parts of them."""
        self._received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The peer is gone."""
        if not self.ready.called:
            self.ready.errback(reason)
            self.over.addErrback(lambda _: None)  # told already
        self.resumeProducing()
        if reason.check(EncchatError):
            self.over.errback(reason)
        else:  # the profile has no closing message: however the line ends, the peer has left
            self.over.callback(None)

    async def send(self, lines: bytes) -> None:
        """Send whole lines, and wait until there is room for more."""
        self._secure.write(lines)
        if self._full:
            self._room = Deferred()
            await self._room

    def close(self) -> None:
        """Close once everything has been sent, at the profile's pace."""
        self._secure.unregisterProducer()
        self._secure.loseConnection()

    def abort(self) -> None:
        """Close at once."""
        if self.transport is not None:
            self._secure.abortConnection()

    def hold(self) -> None:
        """Whoever reads has enough."""
        self._secure.pauseProducing()

    def release(self) -> None:
        """Read on."""
        self._secure.resumeProducing()

    def pauseProducing(self) -> None:
        """The peer's queue is full."""
        self._full = True

    def resumeProducing(self) -> None:
        """The peer's queue has room."""
        self._full = False
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone; connectionLost says so."""


class OnePeer(Factory):
    """Takes one peer and turns others away."""

    noisy = False

    def __init__(self, connection: ClassicConnection) -> None:
        self._connection: ClassicConnection | None = connection

    def buildProtocol(self, addr: object) -> ClassicConnection | None:
        """The one connection, once."""
        connection, self._connection = self._connection, None
        return connection


class ClassicTalk:
    """The console for it, the same on a terminal and in a pipe."""

    def __init__(
        self,
        clock: IReactorTime,
        reader: Reader,
        make_writer: Callable[[Callable[[], None]], Writer],
        status: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._reader = reader
        self._writer = make_writer(self._writer_changed)
        self._status = status
        self._cutter = LineCutter(MAX_LINE)
        self._broken: Deferred[None] = Deferred()
        self.connection = ClassicConnection(self._received)

    async def run(self) -> int:
        """Talk until either side ends; returns the exit code.

        :raises EncchatError: the other side broke the profile.
        """
        connection = self.connection
        try:
            await connection.ready
            self._status(WARNING)
            await race(
                self._clock,
                Deferred.fromCoroutine(self._send()),
                Deferred.fromCoroutine(self._wait()),
                self._broken,
            )
        finally:
            connection.abort()
        for line, _ in self._cutter.end():
            self._show(line)
        await self._writer.written()
        return 1 if self._writer.broken else 0

    async def _wait(self) -> None:
        await self.connection.over
        self._status("the other side has left")

    async def _send(self) -> None:
        cutter = LineCutter(MAX_LINE)
        while True:
            data = await self._reader.read()
            for line, _ in cutter.feed(data) if data else cutter.end():
                if line:
                    await self.connection.send(line + b"\n")
            if not data:
                break
        self.connection.close()
        await self.connection.over

    def _received(self, data: bytes) -> None:
        for line, _ in self._cutter.feed(data):
            self._show(line)
        if self._writer.full:
            self.connection.hold()

    def _show(self, line: bytes) -> None:
        text = clean_line(line.decode("utf-8", "replace"))
        self._writer.write(f"classic: {text}\n".encode())

    def _writer_changed(self) -> None:
        if self._writer.broken and not self._broken.called:
            self._broken.callback(None)
        elif not self._writer.full and self.connection.transport is not None:
            self.connection.release()
