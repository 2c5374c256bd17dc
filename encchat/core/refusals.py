"""What a session answers when it cannot do what a peer asks for. The docstrings are what people read."""

from __future__ import annotations

from encchat.errors import PeerError, RefusedError


class HelloTimeout(PeerError):
    """The other side proved its key but did not say hello within {seconds:g} seconds."""

    code = "hello-timeout"


class NotInRoom(RefusedError):
    """You are not in {room}. Join it first."""

    code = "not-in-room"


class SealedRoom(RefusedError):
    """{room} would be a sealed room, which this server does not have. Open rooms begin with '+'."""

    code = "not-supported"


class TooManyRooms(RefusedError):
    """You are in {limit} rooms, as many as this server allows. Leave one first."""

    code = "too-many-rooms"


class TooLarge(RefusedError):
    """The message has {size} bytes, where {limit} are accepted. Send it in parts."""

    code = "too-large"


class NotText(RefusedError):
    """The message is not UTF-8 text, as everything in an open room is."""

    code = "not-text"


class UnknownKind(RefusedError):
    """There is no kind of message called {kind!r} here. Send 'text' or 'me'."""

    code = "unknown-kind"


class RateLimited(RefusedError):
    """You are too fast. Try again in {wait} ms."""

    code = "rate-limited"


class MsgidReused(RefusedError):
    """This message id was used before, with another content. Use a new one."""

    code = "msgid-reused"


class NoVersion(RefusedError):
    """This server speaks version 1 of its protocol, your client only {versions}. Update one of them."""

    code = "no-version"


class WrongChain(RefusedError):
    """Your copy of {room} differs from this server's log at entry {seq}."""

    code = "wrong-chain"
