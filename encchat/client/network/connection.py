"""One connection to a server: what the session and a secure transport need of each other.

Speaks only once the cipher says that the server has proved its key. Bounded against a hostile server: a
deadline to the Welcome, frames of bounded size, a ping when it is silent, an end when it stays so. What
the session wants to say waits while the transport is full, and what the server says waits while whoever
reads is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol as StructuralType
from typing import cast

from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.client.events import Event
from encchat.client.protocol.session import Session
from encchat.errors import EncchatError, PeerError
from encchat.messages import MAX_PAYLOAD, PROTOCOL
from encchat.wire import FrameSplitter, encode_all

#: Seconds from the proof of the server's key to its Welcome.
WELCOME_DEADLINE = 10.0
#: Seconds of silence until we ask, and until we give up.
PING_AFTER, GONE_AFTER = 30.0, 90.0
#: Bytes that are looked at in one turn: some seventy short messages, which take some milliseconds.
TURN = 8 * 1024
#: The largest payload before the Welcome, in bytes: a Welcome with the longest message of the day fits.
MAX_WELCOME = 32 * 1024


class NoWelcome(PeerError):
    """The server proved its key but did not answer within {seconds:g} seconds. Try again later."""

    code = "no-welcome"


class Silent(PeerError):
    """Nothing was heard of the server for {seconds:g} seconds."""

    code = "silent"


class NotNative(PeerError):
    """The server does not speak {protocol}. Is it an encchat service?"""

    code = "no-common-protocol"


class Transport(StructuralType):
    """What a connection uses of the secure transport below it; see docs/ciphers.md."""

    negotiatedProtocol: bytes | None

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...


class Owner(StructuralType):
    """Who is told what a connection brings."""

    def proved(self) -> None:
        """The server has proved its key."""

    def happened(self, events: Sequence[Event]) -> None:
        """What the server said, in order."""

    def ended(self, connection: Connection, reason: BaseException) -> None:
        """The connection is gone, and why. Told once, whatever became of it."""


@implementer(IHandshakeListener, IPushProducer)
class Connection(Protocol):
    """A protocol on top of a cipher. ``flush`` after the session was asked for something."""

    def __init__(self, clock: IReactorTime, session: Session, owner: Owner) -> None:
        self._clock = clock
        self._session = session
        self._owner = owner
        self._splitter = FrameSplitter(MAX_WELCOME)
        self._error: EncchatError | None = None
        self._timer: IDelayedCall | None = None
        self._proved = False
        self._over = False
        self._full = False
        self._held = False
        #: What was received and is to be looked at in later turns, the next of which is this one.
        self._unread: deque[bytes] = deque()
        self._next: IDelayedCall | None = None
        self._listening = True
        self._asked = False
        self._heard = clock.seconds()

    @property
    def _secure(self) -> Transport:
        return cast(Transport, self.transport)

    # ----------------------------------------------------------------------------- as a protocol

    def handshakeCompleted(self) -> None:
        """The server has proved its key: greet it."""
        if self._secure.negotiatedProtocol != PROTOCOL.encode():
            self._fail(NotNative(protocol=PROTOCOL))
            return
        self._proved = True
        self._heard = self._clock.seconds()
        try:
            self._owner.proved()
        except EncchatError as error:
            self._fail(error)
            return
        self._session.opened(self._heard)
        self._secure.registerProducer(self, True)
        self.flush()

    def dataReceived(self, data: bytes) -> None:
        """Bytes of the server: some now, the others in later turns, so that keys are heard between."""
        self._unread += (data[start : start + TURN] for start in range(0, len(data), TURN))
        if self._next is None and not self._held:
            self._read()

    def _read(self) -> None:
        self._next = None
        if self._unread and not self._held:
            self._receive(self._unread.popleft())
        self._read_on()

    def _read_on(self) -> None:
        """Look at what waits, in a turn of its own, or have the transport read, unless nobody wants any."""
        if self._over:
            return
        if self._unread and not self._held and self._next is None:
            self._next = self._clock.callLater(0, self._read)
        wanted = not self._held and not self._unread
        if wanted != self._listening:
            self._listening = wanted
            if wanted:
                self._secure.resumeProducing()
            else:
                self._secure.pauseProducing()

    def _receive(self, data: bytes) -> None:
        if self._error is not None:
            return
        now = self._heard = self._clock.seconds()
        self._asked = False
        events: list[Event] = []
        try:
            for frame in self._splitter.feed(data):
                events += self._session.received(frame, now)
                if self._session.admitted:
                    self._splitter.limit = MAX_PAYLOAD
        except EncchatError as error:
            self._fail(error)
        if events:
            self._owner.happened(events)
        self.flush()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        self._over = True
        while self._unread:
            self._receive(self._unread.popleft())
        for timer in (self._timer, self._next):
            if timer is not None and timer.active():
                timer.cancel()
        if self._proved:
            events = self._session.lost()
            if events:
                self._owner.happened(events)
        self._owner.ended(self, self._error or cast(BaseException, reason.value))

    # ------------------------------------------------------------------------------- for the owner

    def flush(self) -> None:
        """Send what the session has to say, as far as the transport takes it."""
        if self._over or self._error is not None or not self._proved:
            return
        if not self._full:
            messages = self._session.take(self._clock.seconds())
            if messages:
                self._secure.write(encode_all(messages))
        self._watch()

    def close(self) -> None:
        """Say goodbye and close, after what was sent."""
        if self._proved and not self._over:
            self._session.bye()
            self.flush()
            self._secure.unregisterProducer()
            self._secure.loseConnection()
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if not self._over and self.transport is not None:
            self._secure.abortConnection()

    def hold(self) -> None:
        """Whoever reads has enough: let the server wait."""
        if not self._held:
            self._held = True
            self._read_on()

    def release(self) -> None:
        """Read on."""
        if self._held:
            self._held = False
            self._heard = self._clock.seconds()
            self._read_on()

    # ------------------------------------------------------------------------------- as a producer

    def pauseProducing(self) -> None:
        """The transport is full."""
        self._full = True

    def resumeProducing(self) -> None:
        """The transport has room again."""
        self._full = False
        self.flush()

    def stopProducing(self) -> None:
        """The transport is gone; connectionLost will say so."""
        self._full = True

    # ---------------------------------------------------------------------------------- deadlines

    def _watch(self) -> None:
        """Look again when something is due: by the session, or by the clock that judges the server."""
        now = self._clock.seconds()
        at = self._silence_due()
        due = None if self._full else self._session.due(now)
        if due is not None:
            at = min(at, due)
        at = max(at, now)
        if self._timer is not None and self._timer.active():
            if self._timer.getTime() <= at:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(at - now, self._look)

    def _silence_due(self) -> float:
        if not self._session.admitted:
            return self._heard + WELCOME_DEADLINE
        return self._heard + (GONE_AFTER if self._asked else PING_AFTER)

    def _look(self) -> None:
        now = self._clock.seconds()
        if self._held:  # it is we who do not listen
            self._heard = now
        elif now >= self._silence_due():
            if not self._session.admitted:
                self._fail(NoWelcome(seconds=WELCOME_DEADLINE))
            elif self._asked:
                self._fail(Silent(seconds=GONE_AFTER))
            else:
                self._asked = True
                self._session.ping()
        self.flush()

    def _fail(self, error: EncchatError) -> None:
        self._error = error
        if not self._over:
            self._secure.abortConnection()


class ConnectionFactory(Factory):
    """Builds the connections of one session, one at a time."""

    noisy = False

    def __init__(self, build: Callable[[], Connection]) -> None:
        self._build = build

    def buildProtocol(self, addr: object) -> Connection:
        """The next connection."""
        return self._build()
