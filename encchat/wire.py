"""Bytes to messages and back: u32 big-endian length, then one MessagePack message.

``FrameSplitter`` cuts a byte stream into frames and never holds more than one frame's worth of it
beyond what it was fed; the decoders check every field's type and bound before anyone sees it. A frame
is handled as its whole bytes, length included: that is what the log stores and the hash chain covers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from struct import Struct as Packer

import msgspec

from encchat.errors import PeerError
from encchat.messages import (
    CLIENT_MESSAGES,
    GENESIS,
    MAX_PAYLOAD,
    SERVER_MESSAGES,
    ClientMessage,
    Entry,
    Message,
    Position,
    ServerMessage,
)

_LENGTH = Packer(">I")
_SHA256 = sha256()  # copied for each hash: OpenSSL takes as long to look the algorithm up as to run it
_encoder = msgspec.msgpack.Encoder()
_client_decoder: msgspec.msgpack.Decoder[ClientMessage] = msgspec.msgpack.Decoder(ClientMessage)
_server_decoder: msgspec.msgpack.Decoder[ServerMessage] = msgspec.msgpack.Decoder(ServerMessage)
_entry_decoder = msgspec.msgpack.Decoder(Entry)

#: What decoding raises for bytes that hold something else.
_MALFORMED = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class UnknownMessage(PeerError):
    """The other side sent a message that this one does not know: {tag!r}."""

    code = "unknown-message"

    def __init__(self, tag: str, id: int) -> None:
        super().__init__(tag=tag)
        self.id = id


class _Head(msgspec.Struct, array_like=True, frozen=True):
    """The start of any message: its tag, and the id where it is a request."""

    tag: str
    id: msgspec.Raw = msgspec.Raw(b"\x00")


_head_decoder = msgspec.msgpack.Decoder(_Head)
_KNOWN: dict[object, frozenset[object]] = {
    _client_decoder: frozenset(m.__struct_config__.tag for m in CLIENT_MESSAGES),
    _server_decoder: frozenset(m.__struct_config__.tag for m in SERVER_MESSAGES),
}


def encode(message: Message) -> bytes:
    """One frame."""
    payload = _encoder.encode(message)
    return _LENGTH.pack(len(payload)) + payload


def encode_all(messages: Iterable[Message]) -> bytes:
    """The frames of several messages, joined for one write."""
    return b"".join(map(encode, messages))


def decode_client(frame: bytes) -> ClientMessage:
    """The message in a frame that a client sent.

    :raises UnknownMessage: the tag is not one that clients send; the stream itself is still sound.
    :raises PeerError: anything else is wrong with it.
    """
    try:
        return _client_decoder.decode(memoryview(frame)[4:])
    except _MALFORMED as error:
        raise _judged(_client_decoder, frame, error) from None


def decode_server(frame: bytes) -> ServerMessage:
    """The message in a frame that a server sent; raises as :func:`decode_client` does."""
    try:
        return _server_decoder.decode(memoryview(frame)[4:])
    except _MALFORMED as error:
        raise _judged(_server_decoder, frame, error) from None


def decode_entry(frame: bytes) -> Entry:
    """The entry in a stored frame.

    :raises PeerError: it is not one well-formed Entry frame.
    """
    if len(frame) < 4 or _LENGTH.unpack_from(frame)[0] != len(frame) - 4:
        raise PeerError(reason="an entry's length is wrong")
    try:
        return _entry_decoder.decode(memoryview(frame)[4:])
    except _MALFORMED as error:
        raise PeerError(reason=f"an entry is malformed: {error}") from None


def _judged(decoder: object, frame: bytes, error: Exception) -> PeerError:
    """What is wrong with a frame that was not understood."""
    try:
        head = _head_decoder.decode(memoryview(frame)[4:])
    except _MALFORMED:
        return PeerError(reason="a frame does not hold one message")
    if head.tag not in _KNOWN[decoder]:
        return UnknownMessage(head.tag[:32], _id(head.id))
    return PeerError(reason=f"a {head.tag} message is malformed: {error}")


def _id(raw: msgspec.Raw) -> int:
    try:
        found = msgspec.msgpack.decode(raw, type=int)
    except msgspec.MsgspecError:
        return 0
    return found if 0 <= found < 2**32 else 0


class FrameSplitter:
    """Cuts a byte stream into frames, wherever the segments were cut.

    A frame's length is judged as soon as its four bytes are there, so that a peer can make us hold at
    most ``limit`` + 4 bytes of an unfinished frame.
    """

    __slots__ = ("_held", "limit")

    def __init__(self, limit: int = MAX_PAYLOAD) -> None:
        #: The largest payload accepted, in bytes; may be raised at any time, once a peer is admitted.
        self.limit = limit
        self._held = bytearray()

    @property
    def held(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._held)

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that ``data`` completes, each whole.

        :raises PeerError: a length is 0 or above the limit. The frames before it are lost with the
            connection, as the stream cannot be trusted any more.
        """
        if self._held:
            self._held += data
            data = bytes(self._held) if self._complete() else b""
            if not data:
                return []
        frames = []
        start, size, limit, unpack = 0, len(data), self.limit, _LENGTH.unpack_from
        while size - start >= 4:
            (length,) = unpack(data, start)
            if not 0 < length <= limit:
                raise _unacceptable(length, limit)
            end = start + 4 + length
            if end > size:
                break
            frames.append(data[start:end])
            start = end
        self._held = bytearray(data[start:])
        return frames

    def _complete(self) -> bool:
        """Whether the held bytes hold one whole frame: asked before they are copied, so that a frame
        that arrives a byte at a time costs no more than one that arrives at once."""
        return len(self._held) >= 4 and len(self._held) >= 4 + self._length(self._held, 0)

    def _length(self, data: bytes | bytearray, start: int) -> int:
        length: int = _LENGTH.unpack_from(data, start)[0]
        if not 0 < length <= self.limit:
            raise _unacceptable(length, self.limit)
        return length

    @property
    def partial(self) -> bool:
        """Whether a frame has begun and is not complete."""
        return bool(self._held)


def _unacceptable(length: int, limit: int) -> PeerError:
    return PeerError(reason=f"a frame of {length} bytes, where 1 to {limit} are accepted")


def chained(chain: bytes, frame: bytes) -> bytes:
    """The chain after one more entry."""
    step = _SHA256.copy()
    step.update(chain + frame)
    return step.digest()


def advance(position: Position, frames: Sequence[bytes]) -> Position:
    """The position after ``frames``, the entries that follow ``position`` in the log, in order.

    chain(n) = SHA-256(chain(n-1) || frame(n)), and the chain before entry 1 is 32 zero bytes.
    """
    chain = position.chain
    for frame in frames:
        chain = chained(chain, frame)
    return Position(position.seq + len(frames), chain)


__all__ = [
    "GENESIS",
    "FrameSplitter",
    "UnknownMessage",
    "advance",
    "chained",
    "decode_client",
    "decode_entry",
    "decode_server",
    "encode",
    "encode_all",
]
