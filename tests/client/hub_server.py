"""The real hub as the far end of the client's World: everything in memory, nothing faked but time."""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock
from zope.interface import implementer

from encchat import messages as m
from encchat.core.chat.session import Session
from encchat.core.files.blobs import FileRules
from encchat.core.interfaces import IOutlet
from encchat.errors import EncchatError
from encchat.logs.memory import MemoryLog
from encchat.logs.memory_blobs import MemoryBlobs
from encchat.wire import FrameSplitter
from tests.core.world import LOG_ID, World, identity


class HubServer:
    """Accepts connections of ``key``; the hub's clock is the client's. ``restart`` forgets all but the log
    and the files."""

    def __init__(self, clock: Clock, rules: FileRules | None = None, **limits: Any) -> None:
        self._clock = clock
        self._log = MemoryLog(LOG_ID)
        self._blobs = MemoryBlobs(clock.seconds)
        self._rules = rules or FileRules()
        self._limits = m.Limits(file=self._rules.limit, **limits)
        self.links: list[HubLink] = []
        self.restart()

    def restart(self) -> None:
        """The process ends and starts again."""
        for link in self.links:
            link.closed = True
        self.links = []
        self.world = World(self._log, lambda turn: self._blobs, files=self._rules, limits=self._limits)
        self.now()

    def connect(self, key: str = "alice's key") -> HubLink:
        """A connection of whoever holds the key."""
        link = HubLink(self, key)
        self.links.append(link)
        return link

    def now(self) -> None:
        """It is as late here as for the client; and the turn ends."""
        self.world.turn.time = 1000.0 + self._clock.seconds()
        self.world.turn.end()


@implementer(IOutlet)
class HubLink:
    """One connection, as a FakeTransport sees it."""

    def __init__(self, server: HubServer, key: str) -> None:
        self.server = server
        self.closed = False
        self.origin = ""
        self.frames: list[bytes] = []
        self.received = 0
        self._splitter = FrameSplitter()
        #: Frames of the client that are dropped from here on.
        self.deaf = False
        self.session = Session(server.world.hub, identity(key), self)

    def feed_frame(self, frame: bytes) -> None:
        """A frame of the client."""
        if not self.deaf:
            self.received += 1
            self.server.now()
            self.session.receive_frames([frame])

    @property
    def out(self) -> list[bytes]:
        """Frames for the client."""
        self.server.now()
        return self.frames

    def drain(self) -> list[bytes]:
        """Take them."""
        out, self.frames = self.out, []
        return out

    def cut(self) -> None:
        """The line is cut."""
        self.closed = True
        self.session.lost()
        self.server.now()

    # IOutlet

    def write(self, data: bytes) -> None:
        self.frames += self._splitter.feed(data)

    def close(self) -> None:
        self.closed = True

    def hold(self) -> None:
        """A test sends little."""

    def release(self) -> None:
        """As above."""

    def note(self, error: EncchatError) -> None:
        """Whoever tests looks at what the client is told."""

    def admitted(self) -> None:
        """As above."""
