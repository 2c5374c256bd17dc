"""A sealed message: what is inside of the ciphertext, what is outside, and how its length is hidden.

The plaintext that Megolm encrypts is the payload's length (u32, big-endian), its MessagePack, and zeros up to
one of a few sizes: so the server learns a class of length and nothing finer. Outside are the session's id,
the ciphertext and a SHA-256 commitment to that whole plaintext: one ciphertext cannot be opened in two ways.
The salt inside keeps the commitment from telling short messages apart.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from encchat.core.sealed.formats import (
    ALG_ROOM,
    Alg,
    DeviceId,
    Digest,
    Moment,
    NameKey,
    Number,
    UnknownScheme,
    decode,
    digest,
    encode,
)
from encchat.core.sealed.letters import Mid, SessionId
from encchat.core.sealed.naming import BadFormat
from encchat.errors import UsageError

#: What a person can say at once in a sealed room, in bytes of the inner body.
MAX_SAID = 56 * 1024
MAX_SEALED = 64 * 1024
#: Sizes to which a plaintext is filled up.
BUCKETS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 49152, 61440)


class TooLong(UsageError):
    """The message has {size} bytes; in a sealed room it may have {limit}. Send it as a file."""

    code = "too-large"


class Payload(Struct, frozen=True, array_like=True, gc=False, tag="encchat/message/1"):
    """What a message says, and all that it is bound to: the room and the epoch and hash of its roster; the
    msgid of its entry (``mid``); who wrote it with which device, and ``n``, which only rises for that device
    in that room; the last entry that the writer had seen, with its chain. ``devices`` is the version of the
    writer's device list. ``kind``, ``target`` (0: none) and ``body`` are as in open rooms."""

    room_id: Digest
    epoch: Number
    roster: Digest
    mid: Mid
    user: NameKey
    device: DeviceId
    n: Number
    kind: Annotated[str, Meta(min_length=1, max_length=32)]
    target: Moment
    body: Annotated[bytes, Meta(max_length=MAX_SAID)]
    seen: Moment
    chain: Digest
    devices: Moment
    salt: Mid


class Sealed(Struct, frozen=True, array_like=True, gc=False):
    """The body of an entry of kind ``sealed``. ``mark`` means something to the sending device alone: it is a
    MAC with which that device knows its own messages again even where it forgot their session."""

    alg: Alg
    session: SessionId
    commitment: Digest
    ciphertext: Annotated[bytes, Meta(max_length=MAX_SEALED)]
    mark: Mid


_sealed = msgspec.msgpack.Decoder(Sealed)
_payload = msgspec.msgpack.Decoder(Payload)


def pad(payload: Payload) -> bytes:
    """The plaintext that is encrypted.

    :raises TooLong: no size is large enough.
    """
    packed = encode(payload)
    place = bisect_left(BUCKETS, len(packed) + 4)
    if place == len(BUCKETS):
        raise TooLong(size=len(payload.body), limit=MAX_SAID)
    return (len(packed).to_bytes(4, "big") + packed).ljust(BUCKETS[place], b"\x00")


def unpad(plaintext: bytes) -> Payload:
    """The payload in a plaintext.

    :raises BadFormat: there is none.
    """
    length = int.from_bytes(plaintext[:4], "big")
    if len(plaintext) not in BUCKETS or length > len(plaintext) - 4 or plaintext[4 + length :].strip(b"\x00"):
        raise BadFormat(what="sealed message", reason="its padding is wrong")
    return decode(_payload, plaintext[4 : 4 + length], "sealed message")


def commitment(plaintext: bytes) -> bytes:
    """The hash that stands outside of the ciphertext."""
    return digest("encchat/commitment/1", plaintext)


def parse_sealed(raw: bytes) -> Sealed:
    """What the body of an entry of kind ``sealed`` carries.

    :raises BadFormat: it is none.
    :raises UnknownScheme: it belongs to another scheme.
    """
    sealed = decode(_sealed, raw, "sealed message", MAX_SEALED)
    if sealed.alg != ALG_ROOM:
        raise UnknownScheme(what="sealed message", alg=sealed.alg)
    return sealed
