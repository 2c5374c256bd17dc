"""How a layer's connection ends, and that it ends once: the state that the rest of a layer looks at.

There are many ways to an end: the protocol above closes or aborts, the peer says that it closes or is cut
off, the cipher refuses, somebody's time is up, this program has a fault. They all come together here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, cast

from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from encchat.ciphers.below import Below, Producer, where
from encchat.ciphers.inbox import ABOVE, Inbox
from encchat.ciphers.interfaces import HANDSHAKE_DEADLINE
from encchat.ciphers.quiet import Quiet
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


class Ending(Protocol):
    """The lower half of ``CipherLayer``, which alone is derived from it."""

    log: ClassVar[Logger] = Logger()
    #: True from the moment that either side closes: what is written then is dropped.
    disconnecting = False
    #: Decides which failed handshakes are told of; None: all.
    quiet: Quiet | None = None

    if TYPE_CHECKING:  # what CipherLayer says

        def fail(self, error: EncchatError, *, gently: bool = False) -> None: ...
        def hintWhenCut(self) -> str: ...
        def cipherFinish(self) -> bool | None: ...
        def cipherEnded(self) -> None: ...
        def getPeer(self) -> IAddress: ...

    def __init__(self, wrapped: IProtocol, clock: IReactorTime) -> None:
        self.wrapped = wrapped
        self.clock = clock
        self.negotiatedProtocol: bytes | None = None
        self.peerIdentity: PeerIdentity | None = None
        self._inbox = Inbox(self._hand_up)
        self._timer: IDelayedCall | None = None
        self._producer: Producer | None = None
        self._open = False  # handshakeCompleted was told
        self._we_closed = False  # the protocol above closed
        self._peer_closed = False
        self._finished = False  # the close was said
        self._lingering = False  # it was, and now the peer is to say its own
        self._aborted = False
        self._reason: Failure | None = None  # why the layer itself ended the connection
        self._gone: Failure | None = None  # how the connection below ended
        self._lost = False  # connectionLost was told

    @property
    def _below(self) -> Below:
        return cast(Below, self.transport)

    def _usable(self) -> bool:
        """Whether the connection below still carries what the cipher says."""
        return not (self._finished or self._aborted or self._reason is not None or self._gone is not None)

    def _hand_up(self, data: bytes) -> None:
        self._run(self.wrapped.dataReceived, data)

    def _run(self, step: Callable[..., object], *arguments: object) -> object:
        try:
            return step(*arguments)
        except EncchatError as error:
            self.fail(error)
        except Exception:  # of whatever is above or in the cipher: it must not reach other connections
            failure = Failure()
            self.log.failure(
                "{address} {cipher}: closed by a fault of this program",
                failure,
                address=where(self.getPeer()),
                cipher=type(self).__name__,
            )
            failure.cleanFailure()  # its frames hold keys and text
            self._end_for(failure)
        return None

    def _wait(self, seconds: float, then: Callable[[], None]) -> None:
        self._cancel_timer()
        self._timer = self.clock.callLater(seconds, then)

    def _cancel_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _too_slow(self) -> None:
        self.fail(HandshakeTimeout(seconds=HANDSHAKE_DEADLINE))

    def _dismiss_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None and self._gone is None:
            self._below.unregisterProducer()
            self._run(producer.stopProducing)

    def _finish(self) -> None:
        """Say that we close, and close the connection below, now or when the peer has closed."""
        if not self._usable():
            return
        self._finished = self.disconnecting = True
        answered = self._run(self.cipherFinish) if self._open else None
        if self._reason is not None or self._gone is not None:
            return
        if answered and not self._peer_closed:
            self._lingering = True
            self._inbox.resume(ABOVE)  # the cipher may still hold: it goes on working, and has its bounds
            self._wait(CLOSE_DEADLINE, self._give_up)
        else:
            self._shut()

    def _shut(self) -> None:
        """Close the connection below, and give the peer until CLOSE_DEADLINE to take what is left."""
        self._lingering = False
        self._inbox.detach(resume=True)
        self._wait(CLOSE_DEADLINE, self._give_up)
        self._below.loseConnection()

    def _give_up(self) -> None:
        """Let go of the connection below; what has come from a peer that closed is delivered yet."""
        if self._lost or self._aborted:
            return
        self._aborted = self.disconnecting = True
        if self._gone is None:
            self._abort_below()
        else:
            self._tell_end()

    def _abort_below(self) -> None:
        self._lingering = False
        self._inbox.detach(resume=False)
        self._below.abortConnection()

    def _end_for(self, reason: Failure, gently: bool = False) -> None:
        self._inbox.close()
        if self._lost or self._aborted or self._reason is not None:
            return
        self._reason = reason
        self.disconnecting = True
        if self._gone is not None:
            self._tell_end()
        elif gently:
            self._shut()
        else:
            self._abort_below()

    def _tell_end(self) -> None:
        if self._lost:
            return
        self._lost = self.disconnecting = True
        self._cancel_timer()
        self._inbox.flush()
        self._inbox.close()
        self._producer = None
        self._run(self.cipherEnded)
        self._run(self.wrapped.connectionLost, self._ending(cast(Failure, self._gone)))

    def _ending(self, reason: Failure) -> Failure:
        """How the connection ended, for the protocol above; ``reason`` is what below said."""
        if self._reason is not None:
            return self._reason
        if self._open and self._peer_closed:
            return Failure(ConnectionDone())
        if self._aborted:
            return Failure(ConnectionAborted())
        if self._we_closed:
            return reason
        if not self._open:
            others = self._left_out()
            if others is not None:
                self.log.info(
                    "{address} {cipher}: closed during the handshake{others}",
                    address=where(self.getPeer()),
                    cipher=type(self).__name__,
                    others=others,
                )
            return Failure(HandshakeCut(hint=self.hintWhenCut()))
        if reason.check(ConnectionDone):
            return Failure(ConnectionLost("the connection was cut without a closing message"))
        return reason

    def _left_out(self) -> str | None:
        """What to say of handshakes that failed and were not told of; None: not even of this one."""
        if self._open or self.quiet is None:
            return ""
        address = str(getattr(self.getPeer(), "host", "local"))
        count = self.quiet.count(address, self.clock.seconds())
        return None if count is None else f" ({count - 1} more failed and were not told)" if count > 1 else ""
