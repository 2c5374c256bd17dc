"""The Protocol and Factory that sit above a cipher: they choose the bridge and count the connections."""

from __future__ import annotations

from typing import cast

from twisted.internet.interfaces import IAddress, IHandshakeListener, IPushProducer, IReactorTime
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.core.chat.hub import Hub
from encchat.core.identity import Shown
from encchat.errors import EncchatError
from encchat.messages import PROTOCOL
from encchat.server.caps import LOCAL, Caps, is_anybodys, origin
from encchat.server.peers import Bridge, ClassicBridge, NativeBridge, Transport

#: Seconds between two log lines about connections that were turned away.
QUIET = 60.0


@implementer(IHandshakeListener, IPushProducer)
class ChatProtocol(Protocol):
    """One connection. Nothing happens until the cipher says who the peer is."""

    def __init__(self, factory: ChatFactory, host: str) -> None:
        self._server = factory
        self._host = host
        self._half_open = True
        self._bridge: Bridge | None = None

    def handshakeCompleted(self) -> None:
        """The peer has proved its key (or is a classic one, which cannot)."""
        transport = cast(Transport, self.transport)
        hub = self._server.hub
        if transport.negotiatedProtocol is None:
            self._bridge = ClassicBridge(hub, transport, self._admitted, self._server.reactor)
        else:
            assert transport.negotiatedProtocol == PROTOCOL.encode("ascii")
            known = "" if is_anybodys(self._host) else self._host
            self._bridge = NativeBridge(hub, transport, self._admitted, known, self._holds)
        transport.registerProducer(self, True)
        self._bridge.begin()

    def dataReceived(self, data: bytes) -> None:
        """Plain bytes from the peer."""
        assert self._bridge is not None, "the cipher delivered before its handshake"
        self._bridge.received(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone; whose fault it was, the cipher has logged."""
        self._server.caps.closed(self._host, self._half_open)
        self._half_open = False
        self._note_refused(reason)
        if self._bridge is not None:
            self._bridge.lost()

    def _note_refused(self, reason: Failure) -> None:
        """Whom the cipher turned away, or cut off: for the audit log."""
        refused: Shown | None = getattr(self.transport, "refused", None)
        if refused is None or not isinstance(reason.value, EncchatError):
            return
        hub, code = self._server.hub, reason.value.code
        if self._bridge is not None:
            hub.note("cut", refused.name, refused.fingerprint, code=code)
        else:
            hub.note("refuse", refused.name, refused.fingerprint, asked="handshake", code=code)

    def pauseProducing(self) -> None:
        """The transport holds as much as it should."""
        assert self._bridge is not None
        self._bridge.session.congested = True

    def resumeProducing(self) -> None:
        """The transport has taken it all."""
        assert self._bridge is not None
        self._bridge.drained()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost follows."""

    def _holds(self, more: int) -> bool:
        return self._server.caps.holds(self._host, more)

    def _admitted(self) -> None:
        if self._half_open:
            self._half_open = False
            self._server.caps.admitted(self._host)


class ChatFactory(Factory):
    """Builds a ChatProtocol for each connection, within the caps."""

    noisy = False
    log = Logger(namespace="encchat.server")

    #: Set before the reactor runs, and so before anybody connects.
    hub: Hub

    def __init__(self, caps: Caps, reactor: IReactorTime) -> None:
        self.caps = caps
        self.reactor = reactor
        self._noted = -QUIET
        self._turned_away = 0

    def buildProtocol(self, addr: IAddress | None) -> ChatProtocol | None:
        """A protocol for the connection, or None, which closes it, when there are too many."""
        host = origin(getattr(addr, "host", None) or LOCAL)
        refusal = self.caps.refusal(host)
        if refusal is not None:
            self._note(host, refusal)
            return None
        self.caps.opened(host)
        return ChatProtocol(self, host)

    def _note(self, host: str, refusal: str) -> None:
        self._turned_away += 1
        now = self.hub.turn.now()
        if now - self._noted >= QUIET:
            count, self._turned_away, self._noted = self._turned_away, 0, now
            self.log.warn(
                "{count} connection(s) turned away, the last from {host}: {refusal}",
                count=count,
                host=host,
                refusal=refusal,
            )
