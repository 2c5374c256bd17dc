"""The control socket: what ``encchat-admin`` asks of the running service.

A unix socket in the data directory, which only its owner can open. One JSON object a line each way: a request
is ``{"do": "kick", "who": "bob"}``, its answer ``{"ok": true, ...}``, or ``{"ok": false, "code": ...,
"text": ...}``. Requests of one connection are answered in order.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Annotated, Any, TypeAlias, cast

import msgspec
from msgspec import Meta, Struct
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IListeningPort, ITransport
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure

from encchat.core.accounts import operator
from encchat.core.accounts.operator import Actor
from encchat.core.accounts.takeover import rekey
from encchat.core.chat.hub import Hub
from encchat.errors import EncchatError

#: The socket's name in the data directory.
FILE = "control"
#: Bytes of one request, and connections at once.
MAX_LINE = 64 * 1024
MAX_CONNECTIONS = 16
#: Bytes of a socket's path, as the kernel has it (unix(7)).
MAX_PATH = 107

_Subject: TypeAlias = Annotated[str, Meta(max_length=64)]
_Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]


class _Request(Struct, frozen=True, tag_field="do", tag=lambda name: name.lower()):
    """What all requests share."""


class Users(_Request, frozen=True):
    """Who is in?"""


class Rooms(_Request, frozen=True):
    """Which rooms are there?"""


class Kick(_Request, frozen=True):
    """Close the sessions of a name or key."""

    who: _Subject
    reason: str = ""


class Ban(_Request, frozen=True):
    """Keep a name or key out."""

    who: _Subject
    seconds: _Seconds = 0
    reason: str = ""


class Unban(_Request, frozen=True):
    """Undo that."""

    who: _Subject


class Rename(_Request, frozen=True):
    """Give a name's holder another one."""

    who: _Subject
    to: _Subject


class Rekey(_Request, frozen=True):
    """Give a name another key, when its own are lost."""

    who: _Subject
    key: _Subject


class Announce(_Request, frozen=True):
    """Say something to everybody."""

    text: str


Request: TypeAlias = Users | Rooms | Kick | Ban | Unban | Rename | Rekey | Announce
_decode = msgspec.json.Decoder(Request).decode
_encode = msgspec.json.Encoder().encode


async def _users(hub: Hub, asked: Users) -> Mapping[str, Any]:
    return {"users": operator.users(hub)}


async def _rooms(hub: Hub, asked: Rooms) -> Mapping[str, Any]:
    return {"rooms": await operator.rooms(hub)}


async def _kick(hub: Hub, asked: Kick) -> Mapping[str, Any]:
    return {"closed": await operator.kick(hub, asked.who, Actor(), asked.reason)}


async def _ban(hub: Hub, asked: Ban) -> Mapping[str, Any]:
    return {"closed": await operator.ban(hub, asked.who, Actor(), asked.seconds, asked.reason)}


async def _unban(hub: Hub, asked: Unban) -> Mapping[str, Any]:
    return {"found": await operator.unban(hub, asked.who, Actor())}


async def _rename(hub: Hub, asked: Rename) -> Mapping[str, Any]:
    await operator.rename(hub, asked.who, asked.to, Actor())
    return {}


async def _rekey(hub: Hub, asked: Rekey) -> Mapping[str, Any]:
    return {"closed": await rekey(hub, asked.who, asked.key, operator.OPERATOR)}


async def _announce(hub: Hub, asked: Announce) -> Mapping[str, Any]:
    return {"told": operator.announce(hub, asked.text, Actor())}


_HANDLERS: Mapping[type[Struct], Callable[[Hub, Any], Coroutine[Any, Any, Mapping[str, Any]]]] = {
    Users: _users,
    Rooms: _rooms,
    Kick: _kick,
    Ban: _ban,
    Unban: _unban,
    Rename: _rename,
    Rekey: _rekey,
    Announce: _announce,
}


class ControlProtocol(LineReceiver):
    """One connection to the socket."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE
    log = Logger(namespace="encchat.control")

    def __init__(self, factory: ControlFactory) -> None:
        self._server = factory

    def connectionMade(self) -> None:
        """Somebody is there."""
        self._server.connections.add(self)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Gone."""
        self._server.connections.discard(self)

    def lineReceived(self, line: bytes) -> None:
        """One request; further ones wait until it is answered."""
        try:
            asked: Request = _decode(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
            self._answer({"ok": False, "code": "malformed", "text": str(error)})
            return
        self.pauseProducing()
        self._server.hub.turn.spawn(self._do(asked), None)

    def lineLengthExceeded(self, line: bytes) -> None:
        """No request is that long."""
        self._answer({"ok": False, "code": "malformed", "text": f"a request has at most {MAX_LINE} bytes"})
        cast(ITransport, self.transport).loseConnection()

    async def _do(self, asked: Request) -> None:
        try:
            answer = {"ok": True, **await _HANDLERS[type(asked)](self._server.hub, asked)}
            await self._server.hub.settle_notes()
        except EncchatError as error:
            answer = {"ok": False, "code": error.code, "text": str(error)}
        except Exception:  # whoever asked is told, and the log gets the traceback
            self._answer({"ok": False, "code": "error", "text": "the server failed; it has noted how"})
            raise
        finally:
            self.resumeProducing()
        self._answer(answer)

    def _answer(self, answer: Mapping[str, Any]) -> None:
        if self in self._server.connections:
            self.sendLine(_encode(answer))


class ControlFactory(Factory):
    """Builds a ControlProtocol for each connection, up to a bound."""

    noisy = False

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.connections: set[ControlProtocol] = set()

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol | None:
        """One more, or None, which closes the connection."""
        return ControlProtocol(self) if len(self.connections) < MAX_CONNECTIONS else None


class Control:
    """The socket at ``path``. When it cannot be opened the service runs all the same, and says why.

    :param reactor: ``IReactorUNIX``.
    """

    log = Logger(namespace="encchat.control")

    def __init__(self, path: Path, reactor: Any) -> None:
        self._path = path
        self._reactor = reactor
        self._port: IListeningPort | None = None
        self._factory: ControlFactory | None = None

    def start(self, hub: Hub) -> None:
        """The hub is there: listen."""
        self._factory = ControlFactory(hub)
        try:
            self._clear()
            # No moment passes in which others could open it: the data directory is closed to them.
            self._port = self._reactor.listenUNIX(str(self._path), self._factory, mode=0o600)
        except (CannotListenError, OSError) as error:
            reason = getattr(error, "socketError", error)
            self.log.error("encchat-admin cannot reach this server: {reason}", reason=str(reason))

    def _clear(self) -> None:
        """Take away the socket of a server that ended without doing so.

        :raises OSError: it is another's that runs, or no socket.
        """
        if len(os.fsencode(self._path)) > MAX_PATH:
            raise OSError(f"the path {self._path} is too long for a socket; give --data a shorter one")
        if not self._path.is_socket():
            return
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(os.fspath(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
        raise OSError(f"another server listens at {self._path}")

    async def stop(self) -> None:
        """Listen no more, and close what is open."""
        if self._factory is not None:
            for connection in list(self._factory.connections):
                cast(ITransport, connection.transport).loseConnection()
        if self._port is not None:
            await cast("Deferred[None]", self._port.stopListening())
            self._port = None
