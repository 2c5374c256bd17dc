"""A hub in memory: time, turns and randomness in the test's hand, and peers that keep what they are sent."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from zope.interface import implementer

from encchat import messages as m
from encchat.core.chat.guests import GuestSession
from encchat.core.chat.hub import Hub, Settings
from encchat.core.chat.session import Session
from encchat.core.identity import PeerIdentity, fingerprint
from encchat.core.interfaces import IOutlet, ITurn
from encchat.errors import EncchatError
from encchat.logs.memory import MemoryLog
from encchat.wire import FrameSplitter, decode_server, encode

LOG_ID = b"a log for tests."


class Gate:
    """Something to wait for: opened, or broken with an error, by the test."""

    def __init__(self) -> None:
        self.error: Exception | None = None

    def __await__(self) -> Generator[Gate, None, None]:
        yield self


class Promised(Gate):
    """A promise: its one waiter goes on when it is resolved."""

    def __init__(self, turn: ManualTurn) -> None:
        super().__init__()
        self._turn = turn
        self._resolved = False
        self._value: Any = None

    def resolve(self, value: Any) -> None:
        assert not self._resolved, "resolved twice"
        self._resolved, self._value = True, value
        if self in self._turn.waiting:
            self._turn.open(self)

    def __await__(self) -> Generator[Gate, None, Any]:
        if not self._resolved:
            yield self
        return self._value


@implementer(ITurn)
class ManualTurn:
    """``ITurn`` whose turns end when the test says so, and whose clock moves when it says so."""

    def __init__(self) -> None:
        self.time = 1000.0
        #: Seconds by which the clock was set forward or back.
        self.skew = 0.0
        self.tokens = 0
        self.steps: deque[Callable[[], None]] = deque()
        self.waiting: dict[Gate, tuple[Coroutine[Any, Any, None], Session | None]] = {}
        self.unforeseen: list[BaseException] = []

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1_700_000_000.0 + self.time + self.skew

    def token(self, size: int) -> bytes:
        self.tokens += 1
        return self.tokens.to_bytes(size, "big")

    def soon(self, step: Callable[[], None]) -> None:
        self.steps.append(step)

    def after(self, seconds: float, step: Callable[[], None]) -> None:
        self.time += seconds  # nothing else happens meanwhile
        self.steps.append(step)

    def spawn(self, work: Coroutine[Any, Any, None], session: Session | None) -> None:
        self._drive(work, session, None)

    def promise(self) -> Promised:
        return Promised(self)

    def _drive(
        self, work: Coroutine[Any, Any, None], session: Session | None, error: Exception | None
    ) -> None:
        try:
            gate = work.throw(error) if error else work.send(None)
        except StopIteration:
            return
        except Exception as unforeseen:
            self.unforeseen.append(unforeseen)
            if session is not None:
                session.dismiss("the server failed on your request")
            return
        self.waiting[gate] = (work, session)

    def open(self, gate: Gate) -> None:
        work, session = self.waiting.pop(gate)
        self._drive(work, session, gate.error)

    def end(self) -> None:
        """End the turn, and those that follow from it."""
        for _ in range(10_000):
            if not self.steps:
                return
            self.steps.popleft()()
        raise AssertionError("the turns never end")


class GatedLog(MemoryLog):
    """A log whose calls wait at a gate while ``gates`` holds a list, which collects them."""

    gates: list[Gate] | None = None

    async def _gate(self) -> None:
        if self.gates is not None:
            gate = Gate()
            self.gates.append(gate)
            await gate

    async def append(self, drafts: Any) -> Any:
        await self._gate()
        return await super().append(drafts)

    async def read(self, room: str, after: int, limit: int, size: int) -> Any:
        await self._gate()
        return await super().read(room, after, limit, size)

    async def head(self, room: str) -> Any:
        await self._gate()
        return await super().head(room)

    async def get(self, kind: str, key: str) -> Any:
        await self._gate()
        return await super().get(kind, key)


class LateLog(GatedLog):
    """A log whose answers come late: what it did is done, but nobody knows yet."""

    async def append(self, drafts: Any) -> Any:
        outcomes = await super().append(drafts)
        await self._gate()
        return outcomes

    async def read(self, room: str, after: int, limit: int, size: int) -> Any:
        found = await super().read(room, after, limit, size)
        await self._gate()
        return found

    async def read_back(self, room: str, before: int, limit: int, size: int) -> Any:
        found = await super().read_back(room, before, limit, size)
        await self._gate()
        return found

    async def search(self, room: str, words: Any, before: int, limit: int, size: int) -> Any:
        found = await super().search(room, words, before, limit, size)
        await self._gate()
        return found

    async def get(self, kind: str, key: str) -> Any:
        found = await super().get(kind, key)
        await self._gate()
        return found

    async def put(self, kind: str, key: str, value: bytes, expected: int) -> Any:
        revision = await super().put(kind, key, value, expected)
        await self._gate()
        return revision


@implementer(IOutlet)
class Peer:
    """The far end of a session: sends messages, keeps the answers, counts the writes."""

    def __init__(self, world: World, identity: PeerIdentity, session: type[Session] = Session) -> None:
        self.world = world
        self.writes: list[bytes] = []
        self.notes: list[EncchatError] = []
        self.origin = ""
        self.closed = False
        self.held = False
        self.welcomed = False
        self.congest_at: int | None = None
        self._seen = 0
        self._splitter = FrameSplitter()
        self.session = session(world.hub, identity, self)

    # IOutlet

    def write(self, data: bytes) -> None:
        assert not self.closed, "written after the close"
        assert data, "an empty write"
        self.writes.append(data)
        if self.congest_at is not None and sum(map(len, self.writes)) >= self.congest_at:
            self.session.congested = True

    def close(self) -> None:
        self.closed = True

    def hold(self) -> None:
        assert not self.held
        self.held = True

    def release(self) -> None:
        assert self.held
        self.held = False

    def note(self, error: EncchatError) -> None:
        self.notes.append(error)

    def admitted(self) -> None:
        self.welcomed = True

    # the test's side

    def send(self, *sent: m.ClientMessage) -> None:
        for message in sent:
            self.session.receive_frames([encode(message)])

    def ask(self, *sent: m.ClientMessage) -> list[Any]:
        """Send, end the turn, and return what came."""
        self.send(*sent)
        self.world.turn.end()
        return self.news()

    def frames(self) -> list[bytes]:
        """The frames that came since the last look."""
        fresh, self._seen = self.writes[self._seen :], len(self.writes)
        return [frame for data in fresh for frame in self._splitter.feed(data)]

    def news(self) -> list[Any]:
        """The messages that came since the last look."""
        return [decode_server(frame) for frame in self.frames()]

    def drain(self) -> None:
        """The transport takes all that was written."""
        self.congest_at = None
        self.session.drained()
        self.world.turn.end()


class World:
    """A hub over a log in memory, and a way to get peers."""

    def __init__(
        self, log: MemoryLog | None = None, blobs: Callable[[ManualTurn], Any] | None = None, **settings: Any
    ) -> None:
        self.turn = ManualTurn()
        self.log = log if log is not None else GatedLog(LOG_ID)
        self.settings = Settings(**settings)
        self.blobs = None if blobs is None else blobs(self.turn)
        self.hub = Hub(self.log, self.log, self.turn, self.settings, None, self.blobs)

    def at_step(self, step: int, first: Callable[[], None], then: Callable[[], None]) -> None:
        """Begin ``first`` on a log that gates, let the log answer ``step`` times, do ``then`` at once, and
        let the log answer the rest."""
        assert isinstance(self.log, GatedLog)
        self.log.gates = []
        first()
        for _ in range(step):
            self.turn.end()
            if self.log.gates:
                self.turn.open(self.log.gates.pop(0))
        waiting, self.log.gates = self.log.gates, None
        then()
        self.turn.end()
        self.log.gates = waiting
        for _ in range(1000):
            self.turn.end()
            if not self.log.gates:
                break
            self.turn.open(self.log.gates.pop(0))
        self.log.gates = None
        self.turn.end()

    def log_frames(self, room: str) -> list[bytes]:
        """All that the log holds of a room."""
        found: list[Any] = []

        async def read() -> None:
            found.extend((await MemoryLog.read(self.log, room, 0, 10**6, 10**9)).frames)

        self.turn.spawn(read(), None)
        return found

    def peer(self, key: str = "alice's key", vouched: str | None = None) -> Peer:
        """A peer that has proved a key."""
        return Peer(self, identity(key, vouched))

    def named(self, name: str, key: str = "") -> Peer:
        """A peer that was welcomed under a name."""
        peer = self.peer(key or f"{name}'s key")
        assert type(peer.ask(m.Hello((1,), name))[0]) is m.Welcome, peer.notes
        return peer

    def member(self, name: str, room: str = "+lobby", key: str = "") -> Peer:
        """A peer that was welcomed and has joined a room."""
        peer = self.named(name, key)
        assert type(peer.ask(m.Join(1, room))[0]) is m.Joined
        return peer

    def guest(self, key: str = "a guest's key") -> Peer:
        """A classic peer."""
        return Peer(self, identity(key, authenticated=False), GuestSession)


def identity(key: str, vouched: str | None = None, authenticated: bool = True) -> PeerIdentity:
    """The identity that a key (any text) stands for."""
    return PeerIdentity(fingerprint(key.encode()), vouched, "test", "a test", authenticated)


def msgid(number: int) -> bytes:
    """A message id."""
    return number.to_bytes(16, "big")


def text(number: int, words: str, room: str = "+lobby", request: int | None = None) -> m.Send:
    """A Send of text; its request id is the number, unless another is given."""
    return m.Send(number if request is None else request, room, msgid(number), "text", words.encode())
