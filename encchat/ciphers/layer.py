"""The hardened base of every cipher: below it looks like a protocol, above like a transport.

A subclass turns bytes into bytes; this class keeps the promises that the protocol above relies on, so
that no cipher has to keep them again: one ``handshakeCompleted``, nothing delivered or sent before it,
no delivery while reading is paused, a deadline for the handshake and one for closing, one log line for
a failure, and a ``connectionLost`` that tells a proper close (``ConnectionDone``) from a cut one
(``ConnectionLost``), from our own abort (``ConnectionAborted``) and from a failed handshake (the error
itself). A fault in the cipher or in the protocol above is logged with its traceback and ends this one
connection, so that whoever wrote to many connections goes on with the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import ClassVar, cast

from twisted.internet.interfaces import IAddress, IHandshakeListener, ITransport
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.ciphers.below import Producer, where
from encchat.ciphers.ending import CLOSE_DEADLINE, Ending, HandshakeCut, HandshakeTimeout
from encchat.ciphers.inbox import ABOVE
from encchat.ciphers.interfaces import HANDSHAKE_DEADLINE, ISecureTransport
from encchat.core.identity import PeerIdentity, Shown
from encchat.errors import EncchatError
from encchat.text import clean_line

__all__ = ["CLOSE_DEADLINE", "CipherLayer", "HandshakeCut", "HandshakeTimeout"]


@implementer(ISecureTransport)
class CipherLayer(Ending):
    """One connection's cipher.

    Subclasses override ``cipherStarted``, ``cipherReceived``, ``cipherWrite``, ``cipherFinish``,
    ``cipherPending`` and ``cipherEnded``, and call ``established``, ``deliver``, ``peerClosed`` and
    ``fail``. What they do later than in one of these calls (a timer, the result of a thread) they run
    through ``guarded``.
    """

    #: Protecting what is written takes so long that others have to wait: about 200 µs a KiB.
    dear: ClassVar[bool] = False

    @property
    def refused(self) -> Shown | None:
        """Whom the cipher turned away or cut off for who it is, if it looks at that itself."""
        return None

    # -------------------------------------------------------------------- what a cipher is made of

    def cipherStarted(self) -> None:
        """The connection below is there: send what opens the handshake."""

    def cipherReceived(self, data: bytes) -> None:
        """Bytes from below. An EncchatError that is raised here fails the connection."""
        raise NotImplementedError  # abstract: a layer without it is no cipher

    def cipherWrite(self, data: bytes) -> None:
        """Protect ``data`` (not empty) and write it below."""
        raise NotImplementedError  # abstract

    def cipherFinish(self) -> bool | None:
        """We are about to close properly: write whatever says so to the peer.

        :returns: True if that makes the peer close in turn. The connection below then stays until it
            has, or until CLOSE_DEADLINE: a socket that is closed over unread bytes is reset, and the
            reset can overtake the last of what we sent. Otherwise it is closed at once.
        """

    def cipherPending(self) -> bool:
        """Whether bytes that have arrived are still being worked on, in a thread.

        While they are, the end of the connection waits (at most CLOSE_DEADLINE), so that nobody loses
        what came right before it.
        """
        return False

    def cipherEnded(self) -> None:
        """The connection below is gone: let go of keys and timers."""

    def established(self, protocol: bytes | None, identity: PeerIdentity) -> None:
        """The peer has proved its key (of a classic peer: shown one). Tells the protocol above, which may
        write and close at once: whatever the handshake has to send must have been written before."""
        if self._open or self.disconnecting:
            return
        self._open = True
        self.negotiatedProtocol = protocol
        self.peerIdentity = identity
        if self._gone is None:
            self._cancel_timer()
        self._inbox.open()
        if IHandshakeListener.providedBy(self.wrapped):
            self._run(cast(IHandshakeListener, self.wrapped).handshakeCompleted)

    def deliver(self, data: bytes) -> None:
        """Plain bytes from the peer, for the protocol above; kept while it has paused reading, dropped
        when it has closed."""
        if self._lost or self._we_closed or self._reason is not None:
            return
        assert self._open, "a cipher delivered before it was established"
        self._inbox.put(data)

    def peerClosed(self) -> None:
        """The peer said that it closes: from here on the end of the stream is a proper one, and nothing more
        is read. What was read before, and is still being worked on, can be delivered yet."""
        if self._lost or self._peer_closed or self._reason is not None:
            return
        self._peer_closed = True
        self._dismiss_producer()
        if self._lingering:
            self._shut()
        else:
            self._finish()

    def fail(self, error: EncchatError, *, gently: bool = False) -> None:
        """The peer broke the rules, or may not come in: one log line, and an end.

        At once, and with it goes what the connection below has not sent yet; ``gently`` lets it send
        that first, such as an alert that tells the peer.
        """
        if self._lost or self._aborted or self._reason is not None:
            return
        if self._finished:  # we are leaving anyway
            if self._lingering:
                self._shut()
            return
        others = self._left_out()
        if others is not None:
            self.log.warn(
                "{address} {cipher}: closed: {error}{others}",
                address=where(self.getPeer()),
                cipher=type(self).__name__,
                error=clean_line(str(error), 400),
                code=error.code,
                others=others,
            )
        self._end_for(Failure(error), gently)

    def hold(self, why: str) -> None:
        """Stop reading from below for a reason of the cipher's own, until ``release(why)``."""
        self._inbox.pause(why)

    def release(self, why: str) -> None:
        """End a ``hold``."""
        self._inbox.resume(why)

    def guarded(self, step: Callable[..., object], *arguments: object) -> None:
        """Run a step of the cipher: an EncchatError fails the connection as the peer's doing; any other
        exception is a fault of this program, logged with its traceback, and ends the connection."""
        self._run(step, *arguments)
        if self._gone is not None and not self.cipherPending():
            self._tell_end()

    def hintWhenCut(self) -> str:
        """What a person should look at when the peer closes during the handshake."""
        return "Does it speak this cipher?"

    # -------------------------------------------------------------------- as a protocol, for below

    def connectionMade(self) -> None:
        """The connection below is there."""
        for option in ("setTcpNoDelay", "setTcpKeepAlive"):
            setter = getattr(self.transport, option, None)
            if setter is not None:
                with suppress(OSError):  # the peer may be gone already; we shall hear of it
                    setter(True)
        self._inbox.attach(self._below)
        self._wait(HANDSHAKE_DEADLINE, self._too_slow)
        self._run(self.wrapped.makeConnection, cast(ITransport, self))
        if not self.disconnecting:
            self.guarded(self.cipherStarted)

    def dataReceived(self, data: bytes) -> None:
        """Bytes from below."""
        if self._usable() or self._lingering:
            self.guarded(self.cipherReceived, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection below is gone: say how it ended, once all that came before was worked on."""
        if self._gone is not None:
            return
        self._gone = reason
        self._inbox.detach(resume=False)
        wanted = not (self._we_closed or self._aborted or self._reason is not None)
        if wanted and self.cipherPending():
            self._wait(CLOSE_DEADLINE, self._tell_end)
        else:
            self._tell_end()

    # ----------------------------------------------------------------- as a transport, for above

    def write(self, data: bytes) -> None:
        """Send ``data``, protected.

        :raises RuntimeError: the handshake is not complete: whoever writes then does not know to whom.
        :raises TypeError: ``data`` is text.
        """
        if isinstance(data, str):
            raise TypeError("data must be bytes, not str")
        if self.disconnecting or self._gone is not None or not self._open:
            self._write_at_an_edge(data)
        elif data:
            self._run(self.cipherWrite, data)

    def _write_at_an_edge(self, data: bytes) -> None:
        """Write before the handshake is complete, or once the connection ends."""
        if not self._usable() or (self.disconnecting and not self._open):
            return
        if not self._open:
            raise RuntimeError("write before handshakeCompleted")
        if data:
            # A registered producer still gets through to the peer: let it go on.
            self._wait(CLOSE_DEADLINE, self._give_up)
            self._run(self.cipherWrite, data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """Send all of ``data``, as one write."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close properly, after what was written and what a registered producer still has. Nothing more
        is delivered. A peer that takes nothing for CLOSE_DEADLINE is cut off."""
        self._inbox.close()
        if self._lost or self._we_closed or self._reason is not None:
            return
        self._we_closed = self.disconnecting = True
        if self._gone is not None:
            self._tell_end()
        elif self._producer is None:
            self._finish()
        else:
            self._wait(CLOSE_DEADLINE, self._give_up)

    def abortConnection(self) -> None:
        """Close at once and forget what is still to be sent. Nothing more is delivered."""
        self._inbox.close()
        self._give_up()

    def getPeer(self) -> IAddress:
        """The peer's address."""
        return self._below.getPeer()

    def getHost(self) -> IAddress:
        """Our own address."""
        return self._below.getHost()

    def registerProducer(self, producer: object, streaming: bool) -> None:
        """Pause and resume ``producer`` as the peer takes what was written.

        :raises RuntimeError: there is one already.
        """
        if not self._usable() or self.disconnecting:
            cast(Producer, producer).stopProducing()
            return
        if self._producer is not None:
            raise RuntimeError("a producer is registered already")
        self._producer = cast(Producer, producer)
        self._below.registerProducer(producer, streaming)

    def unregisterProducer(self) -> None:
        """The producer is done."""
        if self._producer is None:
            return
        self._producer = None
        if self._gone is None:
            self._below.unregisterProducer()
        if self._we_closed:
            self._finish()

    def pauseProducing(self) -> None:
        """Deliver nothing more, and stop reading below. What has arrived is delivered all the same when
        the connection ends."""
        if not self._finished:
            self._inbox.pause(ABOVE)

    def resumeProducing(self) -> None:
        """Deliver what waits, then read on."""
        self._inbox.resume(ABOVE)

    def stopProducing(self) -> None:
        """The protocol above wants no more: close."""
        self.loseConnection()
