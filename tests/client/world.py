"""A client and a fake server joined in memory: the endpoint, the cipher and the transport are stubs, and
nothing moves until ``World.settle`` is called."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost, ConnectionRefusedError
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from encchat import messages as m
from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.network.address import Address
from encchat.client.network.connection import Connection
from encchat.client.network.link import Link, Patience
from encchat.client.network.trust import Trust
from encchat.client.store import Store
from encchat.client.store.keeping import Keeper
from encchat.errors import EncchatError
from encchat.wire import FrameSplitter
from tests.client.fake_server import FakeLink, FakeServer

HERE = Address("chat.example", 9999)
KEY = "SHA256:" + "A" * 43


@dataclass
class Shown:
    """What the stub of a cipher tells of the server."""

    profile: str = "hrsa1"
    fingerprint: str = KEY
    vouched: bool = False
    summary: str = "a test"


class FakeTransport:
    """A secure transport whose other end is a FakeLink."""

    def __init__(self, link: FakeLink, protocol: bytes | None = b"encchat/1") -> None:
        self.link = link
        self.negotiatedProtocol = protocol
        self.peer: Connection | None = None
        self.paused = False
        self.aborted = False
        self.closing = False
        self.producer: object | None = None
        self.written = 0
        self._splitter = FrameSplitter()

    def write(self, data: bytes) -> None:
        self.written += len(data)
        for frame in self._splitter.feed(data):
            self.link.feed_frame(frame)

    def loseConnection(self) -> None:
        self.closing = True

    def abortConnection(self) -> None:
        self.aborted = self.closing = True

    def pauseProducing(self) -> None:
        self.paused = True

    def resumeProducing(self) -> None:
        self.paused = False

    def registerProducer(self, producer: object, streaming: bool) -> None:
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer = None

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 1)

    def end(self, reason: Exception) -> None:
        """The connection is gone."""
        peer, self.peer = self.peer, None
        self.link.cut()
        if peer is not None:
            peer.connectionLost(Failure(reason))

    def deliver(self, data: bytes) -> None:
        """Bytes for the client."""
        assert self.peer is not None
        self.peer.dataReceived(data)

    def move(self) -> bool:
        """Deliver what the server said, and end what is to end; whether anything moved."""
        if self.peer is None:
            return False
        if self.closing:
            self.end(ConnectionAborted() if self.aborted else ConnectionDone())
            return True
        if self.paused or not self.link.out:
            if self.link.closed:
                self.end(ConnectionDone())
                return True
            return False
        self.deliver(b"".join(self.link.drain()))
        return True


class FakeEndpoint:
    """Connects to the world's server. ``failures`` are what the next attempts fail with."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.failures: list[Exception | None] = []
        self.attempts = 0
        self.hang = False

    def connect(self, factory: IProtocolFactory) -> Deferred[object]:
        self.attempts += 1
        result: Deferred[object] = Deferred()
        if self.hang:
            return result
        failure = self.failures.pop(0) if self.failures else None
        if failure is not None:
            result.errback(failure)
            return result
        transport = FakeTransport(self.world.server.connect(), self.world.protocol)
        self.world.transports.append(transport)
        connection = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        assert isinstance(connection, Connection)
        transport.peer = connection
        connection.makeConnection(transport)  # type: ignore[arg-type]  # a stub
        result.callback(connection)
        try:
            self.world.trust.judge(self.world.shown)
        except EncchatError as error:
            transport.end(error)
        else:
            if self.world.handshake:
                connection.handshakeCompleted()
        return result


class Listener:
    """A console that only remembers."""

    def __init__(self) -> None:
        self.events: list[e.Event] = []
        self.warnings: list[str] = []

    def happened(self, events: Sequence[e.Event]) -> None:
        self.events += events

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def of(self, kind: type[e.Event]) -> list[e.Event]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def texts(self) -> list[str]:
        return [x.entry.body.decode() for x in self.events if isinstance(x, e.NewEntry)]


class World:
    """Everything between a console and a server, but in memory and with a clock that stands."""

    def __init__(self, directory: Path, *, lane: int | None = 0, patience: Patience | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.clock = Clock()
        self.server = FakeServer()
        self.protocol: bytes | None = b"encchat/1"
        self.handshake = True
        self.shown = Shown()
        self.transports: list[FakeTransport] = []
        self.endpoint = FakeEndpoint(self)
        self.store = Store.open(directory)
        self._lane = lane
        self._patience = patience or Patience()
        self._number = 0
        self.accept_log = False
        self.new_run()

    def new_run(self) -> None:
        """The client starts (again), with what the store remembers."""
        self.trust = Trust(self.store, HERE, lambda: 1, accept_new=True)
        self.chat = Chat(
            self.clock,
            m.Hello((1,), "alice"),
            self.trust,
            Keeper(self.store, str(HERE), self._lane),
            token=self._token,
            milliseconds=lambda: 1,
            accept_log=self.accept_log,
        )
        self.link = Link(
            self.clock,
            HERE,
            self.endpoint,  # type: ignore[arg-type]  # a stub
            lambda factory: factory,
            self.chat.session,
            self.chat,
            self._patience,
            lambda: 0.5,
        )

    def _token(self) -> bytes:
        self._number += 1
        return self._number.to_bytes(16, "big")

    @property
    def transport(self) -> FakeTransport:
        return self.transports[-1]

    def start(self, console: Listener | object) -> Deferred[None]:
        """Join console and link, and run the link; what it raises is in ``failure``."""
        self.failure: EncchatError | None = None
        self.waiting = self.chat.start(console, self.link)  # type: ignore[arg-type]  # a stub
        self.running = Deferred.fromCoroutine(self.link.run())
        self.running.addErrback(self._failed)
        return self.running

    def _failed(self, failure: Failure) -> None:
        failure.trap(EncchatError)
        assert isinstance(failure.value, EncchatError)
        self.failure = failure.value

    def settle(self) -> None:
        """Move bytes until nothing moves; no time passes."""
        for _ in range(10_000):
            moved = [transport.move() for transport in self.transports]
            self.clock.advance(0)
            if not any(moved):
                return
        raise AssertionError("they never end")

    def later(self, seconds: float, step: float = 0.5) -> None:
        """Let time pass, in steps, moving bytes meanwhile."""
        self.settle()
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step
            self.settle()

    def cut(self, reason: Exception | None = None) -> None:
        """The line is cut."""
        self.transport.end(reason or ConnectionLost())

    def refuse_connections(self, count: int) -> None:
        """The next attempts fail."""
        self.endpoint.failures = [ConnectionRefusedError(111) for _ in range(count)]


class FakeReader:
    """An input that gets what a test feeds it."""

    def __init__(self) -> None:
        self.chunks: list[bytes] = []
        self.wanted: list[Deferred[bytes]] = []
        self.reads = 0

    def read(self) -> Deferred[bytes]:
        self.reads += 1
        chunk: Deferred[bytes] = Deferred()
        self.wanted.append(chunk)
        self._serve()
        return chunk

    def feed(self, *chunks: bytes) -> None:
        """Data; ``b""`` is the end."""
        self.chunks += chunks
        self._serve()

    def _serve(self) -> None:
        self.wanted = [chunk for chunk in self.wanted if not chunk.called]
        while self.wanted and self.chunks:
            self.wanted.pop(0).callback(self.chunks.pop(0))


class FakeWriter:
    """An output that is written at once, or stands still while ``stuck``."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self.changed = changed
        self.data = b""
        self.stuck = False
        self.full = False
        self.broken = False
        self._steps: list[Callable[[], object]] = []

    def write(self, data: bytes) -> None:
        if not self.broken:
            self.data += data

    def then(self, step: Callable[[], object]) -> None:
        self._steps.append(step)
        if not self.stuck:
            self.flow()

    def written(self) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self.then(lambda: done.callback(None))
        return done

    def flow(self) -> None:
        """Write what waits."""
        self.stuck = False
        steps, self._steps = self._steps, []
        for step in steps:
            step()
        self.changed()

    @property
    def lines(self) -> list[str]:
        return self.data.decode().splitlines()
