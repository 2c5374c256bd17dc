"""The service: listens, ticks, reloads, and ends cleanly.

It is given, for each listener, an endpoint and a prepared cipher. The hub is made when the service starts,
in the process that stays: its log has threads, which do not survive twistd's going to the background.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from encchat.core.accounts.admission import Policy
from encchat.core.chat.hub import Hub
from encchat.core.identity import PeerIdentity
from encchat.errors import ConfigError, EncchatError
from encchat.server.caps import Caps
from encchat.server.factory import ChatFactory
from encchat.server.peers import where
from encchat.server.retention import Retention, Rules

#: Seconds between two looks at who is silent.
TICK = 2.0
#: Seconds that connections get to end when the service stops; all of it ends within 5.
GRACE = 2.0


class CannotListen(ConfigError):
    """Cannot listen at {endpoint}: {reason}. Choose another --port, or end what uses it."""


class Cipher(Protocol):
    """What the service uses of a prepared cipher; see docs/ciphers.md."""

    identity: PeerIdentity
    notes: tuple[str, ...]

    def wrap(self, factory: IProtocolFactory) -> IProtocolFactory: ...
    def start(self, reactor: object) -> None: ...
    def stop(self) -> None: ...
    def reload(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Listener:
    """Where to listen, and with which cipher."""

    description: str
    endpoint: IStreamServerEndpoint
    cipher: Cipher


class Companion(Protocol):
    """What runs beside the hub: the audit log, the control socket."""

    def start(self, hub: Hub) -> None: ...
    async def stop(self) -> None: ...


class ChatService(Service):
    """A twistd service. It stops within 5 seconds: everybody is told, and what was sent is stored."""

    log = Logger(namespace="encchat")

    def __init__(
        self,
        reactor: Any,  # IReactorTime, IReactorCore and IReactorFromThreads in one object
        make_hub: Callable[[], Hub],
        caps: Caps,
        listeners: Sequence[Listener],
        read_policy: Callable[[], Policy],
        give_up: Callable[[EncchatError], None],
        announce: bool = False,
        rules: Rules = Rules(),  # noqa: B008 -- frozen
        companions: Sequence[Companion] = (),
    ) -> None:
        self._reactor = reactor
        self._make_hub = make_hub
        self._hub: Hub | None = None
        self._factories: list[ChatFactory] = []
        self._caps = caps
        self._listeners = listeners
        self._read_policy = read_policy
        self._give_up = give_up
        self._announce = announce
        self._rules = rules
        self._companions = companions
        self._retention: Retention | None = None
        self._failed: list[CannotListen] = []
        self._opened_first: list[tuple[IListeningPort, Listener]] = []
        self._ready = False
        self._ports: list[IListeningPort] = []
        self._tick: LoopingCall | None = None
        self._old_handler: Any = None

    def privilegedStartService(self) -> None:
        """Open the listening sockets, before privileges are dropped; give up if one cannot be opened."""
        super().privilegedStartService()
        for listener in self._listeners:
            factory = ChatFactory(self._caps, self._reactor)
            self._factories.append(factory)
            opened = listener.endpoint.listen(listener.cipher.wrap(factory))
            opened.addCallbacks(
                self._opened, self._not_opened, callbackArgs=(listener,), errbackArgs=(listener,)
            )
        if self._failed:
            self._give_up(self._failed[0])

    def startService(self) -> None:
        """The reactor is about to run; give up if the log cannot be opened."""
        super().startService()
        try:
            hub = self._hub = self._make_hub()
        except EncchatError as error:
            self._give_up(error)
            return
        for factory in self._factories:
            factory.hub = hub
        for companion in self._companions:
            companion.start(hub)
        for listener in self._listeners:
            listener.cipher.start(self._reactor)
        self._tick = LoopingCall(hub.tick)
        self._tick.clock = self._reactor
        self._tick.start(TICK, now=False)
        if self._rules:
            self._retention = Retention(hub.log, self._rules, self._reactor, hub.turn)
            self._retention.start()
        self._reactor.callWhenRunning(self._runs)

    async def _stop(self) -> None:
        if self._tick is not None and self._tick.running:
            self._tick.stop()
        if self._retention is not None:
            await self._retention.stop()
        await DeferredList([Deferred.fromCoroutine(_close(port)) for port in self._ports])
        hub = self._hub
        if hub is None:
            return
        hub.close("the server is stopping")
        waited = 0.0
        while (self._caps or not hub.appends.idle) and waited < GRACE:
            await _pause(self._reactor, 0.05)
            waited += 0.05
        for listener in self._listeners:
            listener.cipher.stop()
        for companion in self._companions:
            await companion.stop()
        await hub.log.close()

    def stopService(self) -> Deferred[None]:
        """Tell everybody, let what was sent be stored, and let go of everything."""
        super().stopService()
        if self._old_handler is not None:
            signal.signal(signal.SIGHUP, self._old_handler)
            self._old_handler = None
        return Deferred.fromCoroutine(self._stop())

    def reload(self) -> None:
        """Read members and certificates again (SIGHUP). What is wrong is logged, and the old stays."""
        try:
            if self._hub is not None:
                self._hub.settings.policy = self._read_policy()
        except EncchatError as error:
            self.log.error("the members stay as they were: {error}", error=str(error))
        for listener in self._listeners:
            listener.cipher.reload()
        self.log.info("configuration read again")

    def _runs(self) -> None:
        """Signals are heeded from here on, so this is the moment to say that we are there."""
        self._watch_hangup()
        self._ready = True
        for port, listener in self._opened_first:
            self._tell(port, listener)

    def _watch_hangup(self) -> None:
        def hangup(*_: object) -> None:
            self._reactor.callFromThread(self.reload)

        try:
            self._old_handler = signal.signal(signal.SIGHUP, hangup)
        except ValueError:  # only the main thread may; whoever runs us elsewhere calls reload() itself
            self.log.debug("SIGHUP is not watched")

    def _opened(self, port: IListeningPort, listener: Listener) -> None:
        self._ports.append(port)
        if self._ready:
            self._tell(port, listener)
        else:
            self._opened_first.append((port, listener))

    def _tell(self, port: IListeningPort, listener: Listener) -> None:
        address = port.getHost()
        cipher = listener.cipher.identity.cipher
        fingerprint = listener.cipher.identity.fingerprint
        host, number = getattr(address, "host", None), getattr(address, "port", None)
        self.log.info(
            "listening on {address} with {cipher}, {fingerprint}{reach}",
            address=where(address),
            cipher=cipher,
            fingerprint=fingerprint,
            reach=_reach(host, number),
        )
        for note in listener.cipher.notes:
            self.log.info("{note}", note=note)
        if self._announce:
            announced = {
                "event": "listening",
                "address": where(address),
                "port": number,
                "cipher": cipher,
                "fingerprint": fingerprint,
            }
            stdout = sys.__stdout__ or sys.stdout  # twistd makes sys.stdout a log
            stdout.write(json.dumps(announced) + "\n")
            stdout.flush()

    def _not_opened(self, failure: Failure, listener: Listener) -> None:
        error = failure.value
        reason = getattr(getattr(error, "socketError", None), "strerror", None) or str(error)
        cannot = CannotListen(endpoint=listener.description, reason=reason)
        self._failed.append(cannot)
        if self._reactor.running:  # an endpoint that took its time
            self.log.critical("{error}", error=str(cannot))
            self._reactor.stop()


def _reach(host: str | None, port: int | None) -> str:
    if host is not None and (host.startswith("127.") or host == "::1"):
        return f" (only this machine can reach it; --port tcp:{port} opens it to the network)"
    return ""


async def _close(port: IListeningPort) -> None:
    await cast("Deferred[None]", port.stopListening())


def _pause(reactor: Any, seconds: float) -> Deferred[None]:
    waiting: Deferred[None] = Deferred()
    reactor.callLater(seconds, waiting.callback, None)
    return waiting
