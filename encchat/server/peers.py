"""The bridges between a transport and a session: one for the native protocol, one for classic peers.

A bridge turns what the transport brings into what the session receives, and the frames that the session
writes into what the peer understands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import ClassVar, Protocol

from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from encchat import messages as m
from encchat.core.chat.guests import GuestSession
from encchat.core.chat.hub import Hub
from encchat.core.chat.session import Session
from encchat.core.identity import PeerIdentity
from encchat.core.interfaces import IOutlet
from encchat.core.names import LOBBY
from encchat.core.plain import entry_line
from encchat.core.refusals import TooMuchHeld
from encchat.errors import EncchatError, PeerError, RefusedError
from encchat.text import clean
from encchat.wire import FrameSplitter, decode_server

#: Bytes of a classic peer's unfinished line at most; its blocks hold far less.
MAX_LINE = 4096
#: Seconds until a classic peer's line is tried again while the queue to the log is full.
STORING_PAUSE = 0.5
#: Bytes of lines for a classic peer that wait for its transport: far more than one turn of the hub brings.
MAX_UNSAID = 4 * 1024 * 1024


class Transport(Protocol):
    """What a bridge uses of the secure transport below it; see docs/ciphers.md."""

    negotiatedProtocol: bytes | None
    peerIdentity: PeerIdentity | None

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def getPeer(self) -> IAddress: ...


@implementer(IOutlet)
class Bridge:
    """What both bridges share: the session's outlet, and its reports into the log."""

    log: ClassVar[Logger] = Logger(namespace="encchat.server")
    session: Session

    def __init__(
        self, hub: Hub, transport: Transport, on_admitted: Callable[[], None], origin: str = ""
    ) -> None:
        self.hub = hub
        self.transport = transport
        self.origin = origin
        self.on_admitted = on_admitted
        identity = transport.peerIdentity
        assert identity is not None, "a handshake completed without saying with whom"
        self.identity = identity
        self.address = where(transport.getPeer())

    def begin(self) -> None:
        """The handshake is complete."""

    def received(self, data: bytes) -> None:
        """Bytes from the peer."""
        raise NotImplementedError  # abstract

    def lost(self) -> None:
        """The connection is gone."""
        self.session.lost()

    def write(self, data: bytes) -> None:
        """Send frames (IOutlet)."""
        raise NotImplementedError  # abstract

    def close(self) -> None:
        """Close after what was written (IOutlet)."""
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def drained(self) -> None:
        """The transport has taken what was written."""
        self.session.drained()

    def hold(self) -> None:
        """Read no more from the peer (IOutlet)."""
        self.transport.pauseProducing()

    def release(self) -> None:
        """Read on (IOutlet)."""
        self.transport.resumeProducing()

    def admitted(self) -> None:
        """The peer is in (IOutlet)."""
        self.on_admitted()
        left_out = self.hub.arrivals.another(self.hub.turn.now())
        if left_out is None:
            return
        self.log.info(
            "{address} admitted as {name} over {cipher}, key {fingerprint}{more}",
            address=self.address,
            name=self.session.name.shown,
            cipher=self.identity.cipher,
            fingerprint=self.identity.fingerprint,
            more=_more(left_out),
        )

    def note(self, error: EncchatError) -> None:
        """Log why the peer was refused or failed (IOutlet)."""
        left_out = self.hub.complaints.another(self.hub.turn.now())
        if left_out is None:
            return
        self.log.warn(
            "{address} {verb}: {error}{more}",
            address=self.address,
            verb="refused" if isinstance(error, RefusedError) else "closed",
            error=str(error),
            code=error.code,
            fingerprint=self.identity.fingerprint,
            more=_more(left_out),
        )


def _more(left_out: int) -> str:
    return f" (and {left_out} like it were not logged)" if left_out else ""


class NativeBridge(Bridge):
    """A peer that speaks encchat/1.

    :param holds: told how many bytes more, or less, of what the peer has begun are held here; whether that is
        still within bounds.
    """

    def __init__(
        self,
        hub: Hub,
        transport: Transport,
        on_admitted: Callable[[], None],
        origin: str = "",
        holds: Callable[[int], bool] = lambda more: True,
    ) -> None:
        super().__init__(hub, transport, on_admitted, origin)
        self._holds = holds
        self._held = 0
        self._splitter = FrameSplitter(m.MAX_PAYLOAD_BEFORE_ADMISSION)
        self.session = Session(hub, self.identity, self)
        self.session.dear = getattr(transport, "dear", False)

    def received(self, data: bytes) -> None:
        """Bytes from the peer."""
        try:
            frames = self._splitter.feed(data)
        except PeerError as error:
            self.session.fail(error)
            return
        self.session.receive_frames(frames)
        self._count_held()

    def _count_held(self) -> None:
        held = self._splitter.held + self.session.intake.waiting_bytes
        if held != self._held:
            more, self._held = held - self._held, held
            if not self._holds(more) and more > 0:
                self.session.fail(TooMuchHeld())

    def drained(self) -> None:
        """The transport has taken what was written."""
        super().drained()
        self._count_held()

    def release(self) -> None:
        """Read on (IOutlet)."""
        super().release()
        self._count_held()

    def lost(self) -> None:
        """The connection is gone."""
        super().lost()
        held, self._held = self._held, 0
        self._holds(-held)

    def write(self, data: bytes) -> None:
        """Send frames (IOutlet)."""
        self.transport.write(data)

    def admitted(self) -> None:
        """The peer is in: it may send frames of full size."""
        self._splitter.limit = m.MAX_PAYLOAD
        super().admitted()


class ClassicBridge(Bridge):
    """A peer of the classic profile: lines of text both ways, in the lobby.

    The transport gives and takes UTF-8 lines. Nobody can tell such a peer to wait, so a line that
    comes too fast stays here, and nothing more is read, until its turn comes.
    """

    def __init__(
        self, hub: Hub, transport: Transport, on_admitted: Callable[[], None], reactor: IReactorTime
    ) -> None:
        super().__init__(hub, transport, on_admitted)
        self._reactor = reactor
        self._lines: deque[bytes] = deque()
        self._rest = b""
        self._waiting: IDelayedCall | None = None
        self._splitter = FrameSplitter()
        self._unsaid: deque[bytes] = deque()
        self._unsaid_bytes = 0
        self.session: GuestSession = GuestSession(hub, self.identity, self)

    def begin(self) -> None:
        """Come in, as a guest, into the lobby."""
        self.session.admit()
        self.session.receive(m.Join(0, LOBBY))

    def admitted(self) -> None:
        """The peer is in (IOutlet)."""
        super().admitted()
        self._say(f"* You are {self.session.name} in {LOBBY}. This profile hides little: it is a lesson.")

    def received(self, data: bytes) -> None:
        """Lines from the peer."""
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:MAX_LINE]
        self._lines.extend(line for line in lines if line.strip())
        if self._waiting is None:
            self._next()

    def lost(self) -> None:
        """The connection is gone: what it sent before still counts."""
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        super().lost()

    def _next(self) -> None:
        self._waiting = None
        while self._lines and not self.session.closed:
            wait = STORING_PAUSE if self.hub.appends.full else self.session.seconds_to_send()
            if wait:
                self.transport.pauseProducing()
                self._waiting = self._reactor.callLater(wait, self._on)
                return
            self.session.receive(m.Send(0, LOBBY, self.hub.turn.token(16), "text", self._lines.popleft()))

    def _on(self) -> None:
        self._next()
        if self._waiting is None and not self.session.closed:
            self.transport.resumeProducing()

    def write(self, data: bytes) -> None:
        """Show frames as lines (IOutlet)."""
        for frame in self._splitter.feed(data):
            line = self._line(decode_server(frame))
            if line:
                self._say(line)

    def drained(self) -> None:
        """The transport has taken what was written: say what waits, then what else there is."""
        self.session.congested = False
        while self._unsaid and not self.session.congested:
            line = self._unsaid.popleft()
            self._unsaid_bytes -= len(line)
            self.transport.write(line)
        if not self.session.congested:
            self.session.drained()

    def close(self) -> None:
        """Close after what was written; of what waits, the last says why (IOutlet)."""
        if self._unsaid:
            self.transport.write(self._unsaid.pop())
            self._unsaid.clear()
        super().close()

    def _say(self, line: str) -> None:
        """Write a line, or keep it while the transport is full: one turn of the hub may bring more than it
        takes, and then cuts the peer off. Nothing is pushed meanwhile but answers, which may be dropped."""
        data = clean(line).encode("utf-8") + b"\n"
        if not self.session.congested:
            self.transport.write(data)
        elif self._unsaid_bytes < MAX_UNSAID:
            self._unsaid.append(data)
            self._unsaid_bytes += len(data)

    def _line(self, message: m.ServerMessage) -> str | None:
        me = self.session.name.shown
        if isinstance(message, m.Entry) and message.sender != me:
            return entry_line(message)
        if isinstance(message, m.Presence) and message.name != me:
            return f"* {message.name} {'came in' if message.here else 'left'}"
        if isinstance(message, m.Joined):
            others = [member.name for member in message.members if member.name != me]
            return f"* Here: {', '.join(others) if others else 'nobody else yet'}"
        if isinstance(message, m.Error):
            return f"* Not sent: {message.text}"
        if isinstance(message, m.Closing):
            return f"* Closing: {message.reason}"
        if isinstance(message, m.Refused):
            return f"* {message.text}"
        if isinstance(message, m.Notice):
            return f"* Notice: {message.text}"
        return None


def where(address: IAddress) -> str:
    """An address, as a person writes it."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None:
        return str(address)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
