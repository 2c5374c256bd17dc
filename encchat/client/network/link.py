"""Keeps a connection to one server for as long as it is wanted: tries again, waits longer, gives up.

What the server or the user has to change is not tried again: a refusal, a key that is not the pinned
one, a log that does not match. What time may cure is, with a back-off that doubles and a jitter, so that a
thousand clients do not come back at once; and at once when this machine has found another way to the
network (``network``), or the user says so.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol as StructuralType

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost, DNSLookupError, UserError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IReactorTime, IStreamClientEndpoint

from encchat.client.events import Event, LinkLost
from encchat.client.network.address import Address
from encchat.client.network.connection import Connection, ConnectionFactory
from encchat.client.network.network import Network
from encchat.client.protocol.session import Refused, Session
from encchat.errors import EncchatError, LinkError
from encchat.text import clean_line

#: Seconds: the first wait, the longest, and how much longer each is than the one before.
FIRST_WAIT, LONGEST_WAIT, GROWTH = 0.5, 60.0, 2.0
#: Seconds that a connection must have lasted for the waits to begin anew.
STEADY = 10.0
#: Seconds that a connection attempt may take.
CONNECT_TIMEOUT = 10.0
#: Seconds between looks at the network, while we wait to try again.
LOOK_EVERY = 2.0
#: Seconds that a goodbye may take.
GOODBYE = 6.0
#: What of the other side's errors time may cure: a server that stops, or a line that is cut, shows as these.
PASSING = frozenset({"handshake-timeout", "handshake-cut", "no-welcome", "silent"})


class NoConnection(LinkError):
    """{address} cannot be reached: {reason}. Is the service running there? (make run starts one here)"""


#: What a connection attempt may raise.
CONNECT_FAILURES = (ConnectError, DNSLookupError, UserError, CancelledError, OSError)


def no_connection(address: Address, error: BaseException) -> NoConnection:
    """A connection attempt failed, in words."""
    return NoConnection(address=str(address), reason=_words(error))


class Disconnected(LinkError):
    """The connection to {address} has ended: {reason}."""

    code = "disconnected"


class GaveUp(LinkError):
    """{address} could not be reached again within {seconds:g} seconds. {reason}"""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to try: whether to go on when the first attempt fails, and for how many seconds without a
    connection (None: for ever)."""

    first: bool = False
    seconds: float | None = None


class Audience(StructuralType):
    """Who hears what the link brings."""

    def proved(self) -> None: ...
    def happened(self, events: Sequence[Event]) -> None: ...


class Link:
    """``run`` until it is left, or raises. ``wake`` tries again at once."""

    def __init__(
        self,
        reactor: IReactorTime,
        address: Address,
        endpoint: IStreamClientEndpoint,
        wrap: Callable[[IProtocolFactory], IProtocolFactory],
        session: Session,
        audience: Audience,
        patience: Patience,
        random: Callable[[], float],
        network: Network | None = None,
    ) -> None:
        self._reactor = reactor
        self._address = address
        self._endpoint = endpoint
        self._wrap = wrap
        self._session = session
        self._audience = audience
        self._patience = patience
        self._random = random
        self._network = network
        self._connection: Connection | None = None
        self._over: Deferred[BaseException] | None = None
        self._attempt: Deferred[IProtocol] | None = None
        self._pause: Deferred[None] | None = None
        self._gone: Deferred[None] | None = None
        self._leaving = False
        self._admitted_at: float | None = None
        self._ever = False

    # ---------------------------------------------------------------------------------- for consoles

    async def run(self) -> None:
        """Connect, and connect again, until ``leave``.

        :raises EncchatError: it makes no sense to go on; says why.
        """
        wait = FIRST_WAIT
        since = self._reactor.seconds()
        while not self._leaving:
            self._admitted_at = None
            error = await self._connect_once()
            if self._leaving:
                return
            now = self._reactor.seconds()
            if self._admitted_at is not None and now - self._admitted_at >= STEADY:
                wait, since = FIRST_WAIT, now
            self._judge(error, now - since)
            pause = wait * (0.5 + self._random())
            wait = min(wait * GROWTH, LONGEST_WAIT)
            self._audience.happened([LinkLost(str(error), pause)])
            if await self._sleep(pause):
                wait = FIRST_WAIT

    def flush(self) -> None:
        """Send what the session has been asked for."""
        if self._connection is not None:
            self._connection.flush()

    def wake(self) -> None:
        """Try again now, if we wait to."""
        if self._pause is not None:
            self._pause.cancel()

    def redial(self) -> None:
        """Give up this connection, if there is one; ``run`` makes another."""
        if self._connection is not None:
            self._connection.abort()

    def hold(self) -> None:
        """Let the server wait: whoever reads has enough."""
        if self._connection is not None:
            self._connection.hold()

    def release(self) -> None:
        """Read on."""
        if self._connection is not None:
            self._connection.release()

    async def leave(self, seconds: float = GOODBYE) -> None:
        """Say goodbye, and have ``run`` return; what the server does not take in so many seconds is left."""
        self._leaving = True
        self.wake()
        if self._attempt is not None:
            self._attempt.cancel()
        connection = self._connection
        if connection is not None:
            timer = self._reactor.callLater(seconds, connection.abort)
            gone = self._gone = Deferred()
            connection.close()
            await gone
            if timer.active():
                timer.cancel()

    def abort(self) -> None:
        """Close at once, without a goodbye."""
        self._leaving = True
        self.wake()
        if self._attempt is not None:
            self._attempt.cancel()
        if self._connection is not None:
            self._connection.abort()

    # ------------------------------------------------------------------------- for the connection

    def proved(self) -> None:
        """The server has proved its key."""
        self._audience.proved()

    def happened(self, events: Sequence[Event]) -> None:
        """What the server said."""
        if self._admitted_at is None and self._session.admitted:
            self._admitted_at = self._reactor.seconds()
            self._ever = True
        self._audience.happened(events)

    def ended(self, connection: Connection, reason: BaseException) -> None:
        """The connection is gone."""
        if self._connection is connection:
            self._connection = None
        gone, self._gone = self._gone, None
        if gone is not None:
            gone.callback(None)
        over, self._over = self._over, None
        if over is not None:
            over.callback(reason)

    # ------------------------------------------------------------------------------------ attempts

    async def _connect_once(self) -> EncchatError:
        """One connection, from its attempt to its end, and why it ended."""
        over: Deferred[BaseException] = Deferred()
        self._over = over
        factory = self._wrap(ConnectionFactory(self._build))
        self._attempt = attempt = self._endpoint.connect(factory)
        try:
            await attempt
        except CONNECT_FAILURES as error:
            return no_connection(self._address, error)
        finally:
            self._attempt = None
        reason = await over
        if isinstance(reason, EncchatError):
            return reason
        return Disconnected(address=str(self._address), reason=_words(reason))

    def _build(self) -> Connection:
        self._connection = Connection(self._reactor, self._session, self)
        return self._connection

    def _judge(self, error: EncchatError, without: float) -> None:
        """Whether to try again after ``without`` seconds without a connection; raises if not."""
        if isinstance(error, Refused):
            passing = error.passing
        else:
            passing = isinstance(error, LinkError) or error.code in PASSING
        passing = passing and (self._ever or self._patience.first)
        if not passing:
            raise error
        if self._patience.seconds is not None and without >= self._patience.seconds:
            raise GaveUp(
                address=str(self._address), seconds=self._patience.seconds, reason=str(error)
            ) from error

    async def _sleep(self, seconds: float) -> bool:
        """Wait so long, or until somebody or the network says that it makes sense to try now; whether the
        network does."""
        if self._network is not None:
            self._network.begin()
        while seconds > 0:
            part = seconds if self._network is None else min(seconds, LOOK_EVERY)
            seconds -= part
            pause: Deferred[None] = Deferred()
            self._pause = pause
            timer = self._reactor.callLater(part, pause.callback, None)
            try:
                await pause
            except CancelledError:
                timer.cancel()
                return False
            finally:
                self._pause = None
            if self._network is not None and self._network.look(part):
                return True
        return False


def _words(error: BaseException) -> str:
    """Why a connection could not be made, or ended, in a few words without a full stop."""
    if isinstance(error, ConnectionDone):
        return "the server closed it"
    if isinstance(error, ConnectionLost):
        return "the line was cut"
    number = getattr(error, "osError", None)
    return clean_line(os.strerror(number) if isinstance(number, int) else str(error), 200).rstrip(". ")
