"""Frames around anything, for the tests of what reads them."""

from __future__ import annotations

from struct import pack

import msgspec

from encchat import wire
from encchat.messages import CLIENT_MESSAGES, SERVER_MESSAGES

#: What reads a frame, and the messages that it knows.
DECODERS = {wire.decode_client: CLIENT_MESSAGES, wire.decode_server: SERVER_MESSAGES}


def framed(payload: bytes) -> bytes:
    """A frame around any payload."""
    return pack(">I", len(payload)) + payload


def packed(*items: object) -> bytes:
    """A frame around an array of any values."""
    return framed(msgspec.msgpack.encode(items))


def tag_of(message: type[msgspec.Struct]) -> str:
    """The first element of a message of this type."""
    tag = message.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
