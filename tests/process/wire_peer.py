"""Peers for the process tests that speak to a service without our client: raw bytes, or frames over a
cipher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat import messages as m
from encchat.ciphers.registry import client_cipher
from encchat.wire import FrameSplitter, decode_server, encode
from tests.process.harness import PATIENCE, reactor
from tests.process.keys import has_identity, place_identity


class Waiting(Protocol):
    """A protocol that a test waits for."""

    def __init__(self) -> None:
        self.lost: BaseException | None = None
        self._waiters: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    async def until(self, found: Callable[[], Any], what: str) -> Any:
        """Wait until ``found()`` is true, and return what it returned."""
        result = found()
        if result:
            return result
        waiting: Deferred[Any] = Deferred()
        waiting.addTimeout(
            PATIENCE, reactor, lambda r, t: Failure(AssertionError(f"no {what} in {t:g} s: {self!r}"))
        )
        self._waiters.append((found, waiting))
        return await waiting

    def look(self) -> None:
        """Something happened: whoever waits for it goes on."""
        for waiter in list(self._waiters):
            result = waiter[0]()
            if result:
                self._waiters.remove(waiter)
                waiter[1].callback(result)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason.value
        self.look()

    async def closed(self) -> BaseException:
        """Wait for the end of the connection, and return its reason."""
        found: BaseException = await self.until(lambda: self.lost, "end of the connection")
        return found


class RawPeer(Waiting):
    """Bytes, as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data
        self.look()


@implementer(IHandshakeListener)
class FramePeer(Waiting):
    """Messages over a cipher, or any bytes in their place."""

    def __init__(self) -> None:
        super().__init__()
        self.secure = False
        self.news: list[Any] = []
        self._splitter = FrameSplitter()

    def handshakeCompleted(self) -> None:
        self.secure = True
        self.look()

    def dataReceived(self, data: bytes) -> None:
        self.news += [decode_server(frame) for frame in self._splitter.feed(data)]
        self.look()

    def send(self, *messages: m.ClientMessage) -> None:
        """Send messages."""
        self.transport.write(b"".join(map(encode, messages)))

    async def news_of(self, kind: type[Any], after: int = 0) -> Any:
        """Wait for a message of a kind, from the ``after``-th on."""
        return await self.until(
            lambda: next((n for n in self.news[after:] if type(n) is kind), None), kind.__name__
        )


async def connect_raw(port: int, host: str = "127.0.0.1") -> RawPeer:
    """A TCP connection to the service, from one of the addresses of this machine."""
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, bindAddress=(host, 0))
    peer: RawPeer = await endpoint.connect(Factory.forProtocol(RawPeer))
    return peer


async def connect_frames(
    port: int, place: Path, cipher: str = "rsa", make: Callable[[], FramePeer] = FramePeer
) -> FramePeer:
    """A secure connection to the service, with a key kept in ``place``: one that is called like it, or a new
    one."""
    if cipher == "rsa" and has_identity(place.name):
        place_identity(place, place.name)
    ready = client_cipher(cipher, place, "test")
    ready.prepare()
    ready.start(reactor)
    built: list[FramePeer] = []

    class Build(Factory):
        def buildProtocol(self, addr: object) -> FramePeer:
            built.append(make())
            return built[-1]

    wrapped = ready.wrap(Build(), "127.0.0.1", lambda claim: None)
    await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(wrapped)
    (peer,) = built
    await peer.until(lambda: peer.secure or peer.lost, "handshake")
    ready.stop()
    return peer


async def welcome(port: int, place: Path, name: str, cipher: str = "rsa") -> FramePeer:
    """A secure connection, admitted under a name."""
    peer = await connect_frames(port, place, cipher)
    peer.send(m.Hello((1,), name))
    await peer.news_of(m.Welcome)
    return peer
