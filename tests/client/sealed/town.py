"""People with whole clients (store, session, chat, link) and the real hub, in memory and under one clock.

What a hostile server does is said by ``Person.bend``: it sees each message that the server sends to this
person, and gives what is sent instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost, ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.network.address import Address
from encchat.client.network.connection import Connection
from encchat.client.network.link import Link, Patience
from encchat.client.network.trust import Trust
from encchat.client.sealed.holding import Sealing
from encchat.client.store import Store
from encchat.client.store.keeping import Keeper
from encchat.core.chat.session import Session
from encchat.core.identity import PeerIdentity, fingerprint
from encchat.core.sealed.identities import LocalIdentity
from encchat.logs.memory import MemoryLog
from encchat.wire import FrameSplitter, decode_server, encode
from tests.client.hub_server import HubLink, HubServer
from tests.client.world import FakeTransport, Listener, Shown
from tests.core.sealed.world import identity

HERE = Address("chat.example", 9999)
TALK = "@alice&bob"


class TownLink(HubLink):
    """A connection of somebody whose key is known, and whose messages may be bent."""

    def __init__(self, server: HubServer, person: Person) -> None:
        super().__init__(server, person.name)
        self.person = person
        proved = PeerIdentity(fingerprint(person.identity.spki), person.vouched, "test", "a test", True)
        self.session = Session(server.world.hub, proved, self)
        self._cutter = FrameSplitter()

    def write(self, data: bytes) -> None:
        for frame in self._cutter.feed(data):
            for message in self.person.bend(decode_server(frame)):
                self.frames.append(encode(message))

    def feed_frame(self, frame: bytes) -> None:
        self.person.sent.append(frame)
        super().feed_frame(frame)


class Town(HubServer):
    """The hub; ``log`` holds all that is stored."""

    def __init__(self, **limits: Any) -> None:
        self.clock = Clock()
        super().__init__(self.clock, **limits)
        self.people: list[Person] = []

    @property
    def log(self) -> MemoryLog:
        return self._log

    def begin_anew(self) -> None:
        """The server has lost everything, and begins another log."""
        self._log = MemoryLog(b"another log here")
        self.restart()

    def settle(self) -> None:
        """Move bytes until nothing moves; no time passes."""
        for _ in range(10_000):
            moved = [transport.move() for person in self.people for transport in person.transports]
            self.clock.advance(0)
            if not any(moved):
                return
        raise AssertionError("they never end")

    def later(self, seconds: float, step: float = 1.0) -> None:
        """Let time pass, in steps, moving bytes meanwhile."""
        self.settle()
        while seconds > 0:
            self.clock.advance(min(step, seconds))
            seconds -= step
            self.settle()

    def milliseconds(self) -> int:
        """The time for clients."""
        return 1_700_000_000_000 + int(self.clock.seconds() * 1000)


class Person:
    """Somebody with one machine, in ``directory``."""

    def __init__(
        self,
        town: Town,
        directory: Path,
        name: str,
        *,
        key: LocalIdentity | None = None,
        vouched: str | None = None,
        vouches: Any = None,
        lane: int | None = 0,
        by_itself: bool = True,
        link_code: str = "",
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.town, self.directory, self.name = town, directory, name
        self.identity = key or identity(name)
        self.vouched, self.vouches, self.lane, self.by_itself = vouched, vouches, lane, by_itself
        self.link_code, self.accept_log = link_code, False
        self.transports: list[FakeTransport] = []
        self.bend: Callable[[Any], Iterable[Any]] = lambda message: (message,)
        #: All frames that this client has sent.
        self.sent: list[bytes] = []
        self.offline = self.identity_less = False
        self._number = 0
        town.people.append(self)
        self.start()

    # ---------------------------------------------------------------------------------------- runs

    def start(self) -> None:
        """A run of the client begins."""
        self.over = False
        self.listener = Listener()
        self.store = Store.open(self.directory)
        trust = Trust(self.store, HERE, lambda: 1, accept_new=True)
        self.chat = Chat(
            self.town.clock,
            m.Hello((1,), self.name, link=self.link_code),
            trust,
            Keeper(self.store, str(HERE), self.lane),
            token=self._token,
            milliseconds=self.town.milliseconds,
            accept_log=self.accept_log,
        )
        self.trust = trust
        self.chat.joins_by_itself = self.by_itself
        self.sealed = self.chat.sealed
        if self.identity_less:
            self.sealed.ready(None, "this cipher cannot sign.")
        else:
            self.sealed.ready(Sealing(self.identity, self.vouches))
        self.link = Link(
            self.town.clock,
            HERE,
            self,  # type: ignore[arg-type]  # an endpoint, as far as a Link needs one
            lambda factory: factory,
            self.chat.session,
            self.chat,
            Patience(True),
            lambda: 0.5,
        )
        self.chat.start(self.listener, self.link)
        self.failure: BaseException | None = None
        running = Deferred.fromCoroutine(self.link.run())
        running.addErrback(self._failed)
        self.town.settle()

    def _failed(self, failure: Failure) -> None:
        self.failure = failure.value

    def stop(self) -> None:
        """The client ends in peace."""
        self.chat.stop()
        self.end()

    def end(self) -> None:
        """The process ends at once: nothing is written any more."""
        self.over = True
        self.link.abort()
        if self.transports:
            self.transports[-1].end(ConnectionLost())
        for call in list(self.town.clock.getDelayedCalls()):
            if getattr(call.func, "__self__", None) in (self.chat, self.chat._keeping, self.sealed):
                call.cancel()
        lock = self.sealed._lock
        if lock is not None:
            lock.release()
        self.sealed._vault = None
        self.store.close()
        self.town.settle()

    def restart(self) -> None:
        """The process is killed, and a new one begins."""
        self.end()
        self.start()

    def connect(self, factory: Any) -> Deferred[Any]:
        """As an endpoint."""
        result: Deferred[Any] = Deferred()
        if self.offline:
            result.errback(ConnectionRefusedError(111))
            return result
        link = TownLink(self.town, self)
        self.town.links.append(link)
        transport = FakeTransport(link)  # type: ignore[arg-type]  # a stub
        self.transports = [transport]
        connection: Connection = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        transport.peer = connection
        connection.makeConnection(transport)  # type: ignore[arg-type]  # a stub
        result.callback(connection)
        self.trust.judge(Shown())
        connection.handshakeCompleted()
        return result

    @property
    def transport(self) -> FakeTransport:
        """The connection of now."""
        return self.transports[-1]

    def cut(self) -> None:
        """The line is cut; the link tries again."""
        self.transports[-1].end(ConnectionLost())
        self.town.settle()

    def _token(self) -> bytes:
        self._number += 1
        return f"{self.name[:6]:6}{id(self.chat) % 1000:3}{self._number:7}".encode()[:16]

    # -------------------------------------------------------------------------------------- at hand

    def say(self, room: str, text: str) -> bytes:
        """Say something; its msgid."""
        (item,) = self.chat.say(room, text)
        self.town.settle()
        return item.msgid

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind that the console was told."""
        return self.listener.of(kind)

    def news(self, kind: type[Any]) -> list[Any]:
        """What was told of keys, devices and identities, of one kind."""
        return [x.news for x in self.of(e.SealedNews) if isinstance(x.news, kind)]

    def entries(self, room: str) -> list[tuple[str, str, str]]:
        """Each entry that was shown: sender, kind, text."""
        return [
            (x.entry.sender, x.entry.kind, x.entry.body.decode())
            for x in self.of(e.NewEntry)
            if x.entry.room == room
        ]

    def texts(self, room: str) -> list[str]:
        """What was said, as it was shown."""
        return [text for _, kind, text in self.entries(room) if kind == "text"]


class TownCase(TestCase):
    """A town, and people who leave it when a test ends."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.town = Town()

    def tearDown(self) -> None:
        for person in self.town.people:
            if not person.over:
                person.end()
        self.assertEqual(self.town.world.turn.unforeseen, [])
        self.assertEqual([person.failure for person in self.town.people if person.failure], [])

    def person(self, name: str, directory: str = "", **more: Any) -> Person:
        """Somebody, whose profile is in a directory of their own."""
        return Person(self.town, self.here / (directory or name), name, **more)
