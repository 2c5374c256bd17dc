"""The hardened base of every cipher: below it looks like a protocol, above like a transport.

A subclass turns bytes into bytes; this class keeps the promises that the protocol above relies on, so
that no cipher has to keep them again: one ``handshakeCompleted``, nothing delivered or sent before it,
no delivery while reading is paused, a deadline for the handshake and one for closing, one log line for
a failure, and a ``connectionLost`` that tells a proper close (``ConnectionDone``) from a cut one
(``ConnectionLost``) and from a failed handshake (the error itself).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import ClassVar, cast
from typing import Protocol as StructuralType

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.ciphers.interfaces import HANDSHAKE_DEADLINE, ISecureTransport
from encchat.core.identity import PeerIdentity
from encchat.errors import EncchatError, PeerError

#: Seconds that a peer has to take what is still to be sent, once we close.
CLOSE_DEADLINE = 5.0


class HandshakeTimeout(PeerError):
    """The other side did not complete the handshake within {seconds:g} seconds."""

    code = "handshake-timeout"


class HandshakeCut(PeerError):
    """The other side closed the connection during the handshake. {hint}"""

    code = "handshake-cut"


class _Below(StructuralType):
    """What a layer uses of the transport below: TCP's, or another protocol wrapper's."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def getPeer(self) -> IAddress: ...
    def getHost(self) -> IAddress: ...


@implementer(ISecureTransport)
class CipherLayer(Protocol):
    """One connection's cipher.

    Subclasses override ``cipherStarted``, ``cipherReceived``, ``cipherWrite``, ``cipherFinish`` and
    ``cipherEnded``, and call ``established``, ``deliver``, ``peerClosed`` and ``fail``.
    """

    log: ClassVar[Logger] = Logger()
    disconnecting = False

    def __init__(self, wrapped: IProtocol, clock: IReactorTime) -> None:
        self.wrapped = wrapped
        self.clock = clock
        self.negotiatedProtocol: bytes | None = None
        self.peerIdentity: PeerIdentity | None = None
        self._deadline: IDelayedCall | None = None
        self._reason: Failure | None = None
        self._open = False
        self._lost = False
        self._peer_closed = False
        self._closing_when_produced = False
        self._producer: object | None = None
        self._pauses: set[str] = set()
        self._waiting: deque[bytes] = deque()
        self._delivering = False

    # -------------------------------------------------------------------- what a cipher is made of

    def cipherStarted(self) -> None:
        """The connection below is there: send what opens the handshake."""

    def cipherReceived(self, data: bytes) -> None:
        """Bytes from below. An EncchatError that is raised here fails the connection."""
        raise NotImplementedError  # abstract: a layer without it is no cipher

    def cipherWrite(self, data: bytes) -> None:
        """Protect ``data`` (not empty) and write it below."""
        raise NotImplementedError  # abstract

    def cipherFinish(self) -> None:
        """We are about to close properly: write whatever says so to the peer."""

    def cipherEnded(self) -> None:
        """The connection below is gone: let go of keys and timers."""

    def established(self, protocol: bytes | None, identity: PeerIdentity) -> None:
        """The peer has proved its key (of a classic peer: shown one). Tells the protocol above."""
        if self._open or self._lost or self._reason is not None or self.disconnecting:
            return
        self._open = True
        self.negotiatedProtocol = protocol
        self.peerIdentity = identity
        self._cancel_deadline()
        if IHandshakeListener.providedBy(self.wrapped):
            cast(IHandshakeListener, self.wrapped).handshakeCompleted()

    def deliver(self, data: bytes) -> None:
        """Plain bytes from the peer, for the protocol above; kept while it has paused reading."""
        assert self._open, "a cipher delivered before it was established"
        if data:
            self._waiting.append(data)
            self._deliver_waiting()

    def peerClosed(self) -> None:
        """The peer said that it closes: from here on the end of the stream is a proper one."""
        self._peer_closed = True
        if not self._lost:
            self._close_below()

    def fail(self, error: EncchatError) -> None:
        """The peer broke the rules, or may not come in: one log line, and an end at once."""
        if self._reason is not None or self._lost:
            return
        self._reason = Failure(error)
        self.log.warn(
            "{address} {cipher}: closed: {error}",
            address=_where(self.getPeer()),
            cipher=type(self).__name__,
            error=str(error),
            code=error.code,
        )
        self._waiting.clear()
        self._below.abortConnection()

    def hold(self, why: str) -> None:
        """Stop reading from below for a reason of the cipher's own, until ``release(why)``."""
        self._pause_for(why)

    def release(self, why: str) -> None:
        """End a ``hold``."""
        self._resume_for(why)

    # -------------------------------------------------------------------- as a protocol, for below

    @property
    def _below(self) -> _Below:
        return cast(_Below, self.transport)

    def connectionMade(self) -> None:
        """The connection below is there."""
        for option in ("setTcpNoDelay", "setTcpKeepAlive"):
            setter = getattr(self.transport, option, None)
            if setter is not None:
                setter(True)
        self._deadline = self.clock.callLater(HANDSHAKE_DEADLINE, self._too_slow)
        self.wrapped.makeConnection(cast(ITransport, self))
        self._guarded(self.cipherStarted)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from below."""
        if self._reason is None and not self._peer_closed:
            self._guarded(self.cipherReceived, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection below is gone: say how it ended."""
        if self._lost:
            return
        self._cancel_deadline()
        self._flush_at_end()
        self._lost = True
        self.cipherEnded()
        self._waiting.clear()
        self.wrapped.connectionLost(self._ending(reason))

    def _ending(self, reason: Failure) -> Failure:
        if self._reason is not None:
            return self._reason
        if self._peer_closed or self.disconnecting:
            return Failure(ConnectionDone())
        if not self._open:
            error = HandshakeCut(hint=self.hintWhenCut())
            self.log.info(
                "{address} {cipher}: closed during the handshake",
                address=_where(self.getPeer()),
                cipher=type(self).__name__,
            )
            return Failure(error)
        if reason.check(ConnectionDone):
            return Failure(ConnectionLost("the connection was cut without a closing message"))
        return reason

    def hintWhenCut(self) -> str:
        """What a person should look at when the peer closes during the handshake."""
        return "Does it speak this cipher?"

    def _flush_at_end(self) -> None:
        """What arrived in order before a proper close still belongs to the protocol above."""
        while self._open and self._reason is None and self._waiting and not self._delivering:
            self.wrapped.dataReceived(self._waiting.popleft())

    def _guarded(self, step: Callable[..., None], *arguments: object) -> None:
        try:
            step(*arguments)
        except EncchatError as error:
            self.fail(error)

    def _too_slow(self) -> None:
        self._deadline = None
        self.fail(HandshakeTimeout(seconds=HANDSHAKE_DEADLINE))

    def _cancel_deadline(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()

    # ----------------------------------------------------------------- as a transport, for above

    def write(self, data: bytes) -> None:
        """Send ``data``, protected.

        :raises RuntimeError: the handshake is not complete: whoever writes then does not know to whom.
        """
        if not self._open:
            if self._lost or self._reason is not None or self.disconnecting:
                return
            raise RuntimeError("write before handshakeCompleted")
        if data and not self._lost and not self.disconnecting and self._reason is None:
            self.cipherWrite(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send all of ``data``, as one write."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close properly, after what was written and what a registered producer still has."""
        if self._lost or self.disconnecting or self._reason is not None:
            return
        if self._producer is not None:
            self._closing_when_produced = True
            return
        self._close_below()

    def abortConnection(self) -> None:
        """Close at once and forget what is still to be sent."""
        if not self._lost:
            self.disconnecting = True
            self._below.abortConnection()

    def _close_below(self) -> None:
        if self.disconnecting:
            return
        self.disconnecting = True
        if self._open:
            self.cipherFinish()
        self._finish_below()

    def _finish_below(self) -> None:
        """Close the connection below and give the peer until CLOSE_DEADLINE to take what is left."""
        self._cancel_deadline()
        self._below.loseConnection()
        if not self._lost:
            self._deadline = self.clock.callLater(CLOSE_DEADLINE, self._below.abortConnection)

    def getPeer(self) -> IAddress:
        """The peer's address."""
        return self._below.getPeer()

    def getHost(self) -> IAddress:
        """Our own address."""
        return self._below.getHost()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Pause and resume ``producer`` as the peer takes what was written."""
        if self._lost or self.disconnecting:
            cast(ISecureTransport, producer).stopProducing()
            return
        self._producer = producer
        self._below.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer is done."""
        if self._producer is None:
            return
        self._producer = None
        if not self._lost:
            self._below.unregisterProducer()
        if self._closing_when_produced:
            self._closing_when_produced = False
            self._close_below()

    def pauseProducing(self) -> None:
        """Deliver nothing more, and stop reading below."""
        self._pause_for("above")

    def resumeProducing(self) -> None:
        """Deliver what waits, then read on."""
        self._resume_for("above")

    def stopProducing(self) -> None:
        """The protocol above wants no more: close."""
        self.loseConnection()

    # ------------------------------------------------------------------------------------ reading

    def _pause_for(self, why: str) -> None:
        if not self._pauses and not self._lost:
            self._below.pauseProducing()
        self._pauses.add(why)

    def _resume_for(self, why: str) -> None:
        if why not in self._pauses:
            return
        self._pauses.discard(why)
        self._deliver_waiting()
        if not self._pauses and not self._lost and not self.disconnecting:
            self._below.resumeProducing()

    def _deliver_waiting(self) -> None:
        if self._delivering:  # the protocol above resumed from within its own dataReceived
            return
        self._delivering = True
        try:
            while self._waiting and "above" not in self._pauses and not self._lost:
                self.wrapped.dataReceived(self._waiting.popleft())
        finally:
            self._delivering = False


class CipherFactory(Factory):
    """A factory whose protocols are layers around ``wrapped``'s."""

    noisy = False

    def __init__(
        self, wrapped: IProtocolFactory, layer: Callable[[IProtocol, IAddress | None], CipherLayer]
    ) -> None:
        self.wrapped = wrapped
        self.layer = layer

    def doStart(self) -> None:
        """Start with the wrapped factory."""
        self.wrapped.doStart()
        super().doStart()  # type: ignore[no-untyped-call]  # Twisted's is untyped

    def doStop(self) -> None:
        """Stop with the wrapped factory."""
        self.wrapped.doStop()
        super().doStop()  # type: ignore[no-untyped-call]  # Twisted's is untyped

    def buildProtocol(self, addr: IAddress | None) -> CipherLayer | None:
        """A layer around what the wrapped factory builds; None, which closes, if it builds nothing."""
        protocol = self.wrapped.buildProtocol(cast(IAddress, addr))
        return None if protocol is None else self.layer(protocol, addr)


def _where(address: IAddress) -> str:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return f"{host}:{port}" if host is not None else str(address)
