"""Between the clients of one profile: the one that has the keys says what the others are to say.

A device's state is for one process at a time, so a script beside a terminal has none. What it is to say it
hands over a socket in the profile's directory, which is its owner's alone, and it hears how each ended. Lines
of JSON, each bounded; whoever connects as another user is shown out.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Protocol, cast

import msgspec
from msgspec import Meta, Struct
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorUNIX, ITransport
from twisted.internet.protocol import Factory
from twisted.internet.protocol import Protocol as Connection
from twisted.protocols.basic import LineOnlyReceiver

from encchat.errors import EncchatError

#: Bytes of a line: the largest body, in base64, and some more; and of a socket's path.
MAX_LINE = 512 * 1024
MAX_PATH = 100
#: What is on its way of one connection at most.
MAX_PENDING = 4096


class Ask(Struct, frozen=True, tag="say"):
    """Say this in a sealed room."""

    msgid: Annotated[bytes, Meta(min_length=16, max_length=16)]
    room: Annotated[str, Meta(max_length=200)]
    kind: Annotated[str, Meta(max_length=32)]
    body: Annotated[bytes, Meta(max_length=256 * 1024)]


class GiveWay(Struct, frozen=True, tag="give-way"):
    """A person is here who would like to read: let go of the keys, if nobody reads there."""


class Answer(Struct, frozen=True):
    """How it ended: as entry ``seq``, stored at ``time``; or with a ``code``, not at all."""

    msgid: bytes
    seq: int = 0
    time: int = 0
    code: str = ""
    text: str = ""


class Say(Protocol):
    """Takes what is to be said; ``Doorway.ended`` is to follow. Raises EncchatError."""

    def __call__(self, ask: Ask) -> None: ...


_request = msgspec.json.Decoder(Ask | GiveWay)


class Visitor(LineOnlyReceiver):
    """Another process, for the one that has the keys."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, doorway: Doorway) -> None:
        self._doorway = doorway
        self.pending = 0

    def connectionMade(self) -> None:
        """Only this user's own processes have anything to say."""
        if not _is_ours(cast(ITransport, self.transport)):
            self._leave()

    def lineReceived(self, line: bytes) -> None:
        """Something is to be said, or the keys are wanted."""
        try:
            request = _request.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self._leave()
            return
        if isinstance(request, GiveWay):
            self._doorway.give_way()
        elif self.pending >= MAX_PENDING:
            self._leave()
        else:
            self._doorway.asked(self, request)

    def tell(self, answer: Answer) -> None:
        """How it ended."""
        self.sendLine(msgspec.json.encode(answer))

    def connectionLost(self, reason: object = None) -> None:
        """What it asked for is said all the same."""
        self._doorway.left(self)

    def _leave(self) -> None:
        cast(ITransport, self.transport).loseConnection()


class Doorway(Factory):
    """The socket of the process that has the keys."""

    noisy = False

    def __init__(self, say: Say, give_way: Callable[[], None]) -> None:
        self._say = say
        #: Lets go of the keys, unless somebody reads here.
        self.give_way = give_way
        self._waiting: dict[bytes, Visitor] = {}
        self._visitors: set[Visitor] = set()
        self._port: IListeningPort | None = None

    def open(self, reactor: object, path: Path) -> None:
        """Listen at ``path``, if that can be: else others are told that there is nobody to talk to."""
        unix = IReactorUNIX(reactor, None)
        if unix is None or len(bytes(path)) > MAX_PATH:
            return
        with suppress(OSError, EncchatError):
            path.unlink(missing_ok=True)  # of a process that was killed: whoever has the lock is alone
            self._port = unix.listenUNIX(str(path), self, mode=0o600)

    def close(self) -> None:
        """Nobody comes in any more; who is in hears of it."""
        port, self._port = self._port, None
        if port is not None:
            port.stopListening()
        for visitor in list(self._visitors):
            cast(ITransport, visitor.transport).loseConnection()
        self._waiting.clear()

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """Somebody is there."""
        visitor = Visitor(self)
        self._visitors.add(visitor)
        return visitor

    def left(self, visitor: Visitor) -> None:
        """Somebody is gone."""
        self._visitors.discard(visitor)
        self._waiting = {msgid: each for msgid, each in self._waiting.items() if each is not visitor}

    def asked(self, visitor: Visitor, ask: Ask) -> None:
        """Something is to be said."""
        self._waiting[ask.msgid] = visitor
        visitor.pending += 1
        try:
            self._say(ask)
        except EncchatError as error:
            self.ended(Answer(ask.msgid, code=error.code, text=str(error)))

    def ended(self, answer: Answer) -> None:
        """What became of something; perhaps somebody waits for it."""
        visitor = self._waiting.pop(answer.msgid, None)
        if visitor is not None:
            visitor.pending -= 1
            visitor.tell(answer)


def _is_ours(transport: ITransport) -> bool:
    """Whether the other end is a process of this user's. (A transport without a socket is a test's.)"""
    handle: Callable[[], socket.socket] | None = getattr(transport, "getHandle", None)
    if handle is None or not hasattr(socket, "SO_PEERCRED"):
        return True
    import os

    raw = handle().getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return int(struct.unpack("3i", raw)[1]) in (os.getuid(), 0)
