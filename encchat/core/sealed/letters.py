"""What devices write to each other: the contents of to-device mail, inside of Olm and outside of it.

Types are a fixed list; each has a struct. A letter names both devices with name, id and signing key, so that
nobody can pass on what was written to somebody else, and has a mid of its own, so that it counts once.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from encchat.core.sealed.formats import (
    ALG_MAIL,
    MAX_DEVICES,
    Alg,
    DeviceId,
    Digest,
    Key,
    NameKey,
    RoomKey,
    UnknownScheme,
    decode,
)

#: The body of one letter at most, in bytes, as the server accepts it.
MAX_LETTER = 16 * 1024
#: Letters that go to the server at once.
MAX_LETTERS = 100

Mid: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
SessionId: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Base64: TypeAlias = Annotated[str, Meta(max_length=1000)]


class Envelope(Struct, frozen=True, array_like=True):
    """The body of a letter as the server carries it. ``type`` is Olm's: 0 begins a session, 1 goes on."""

    alg: Alg
    type: Annotated[int, Meta(ge=0, le=1)]
    ciphertext: Annotated[bytes, Meta(max_length=MAX_LETTER)]


class Triple(Struct, frozen=True, array_like=True):
    """One end of a letter: the name, the device, the device's signing key."""

    user: NameKey
    device: DeviceId
    ed: Key


class RoomKeyLetter(Struct, frozen=True, array_like=True, tag="room_key"):
    """The key of the sender's own session in a room. ``given`` are the devices of the receiver's name that
    get it, too: they may give it to each other again."""

    room: RoomKey
    room_id: Digest
    session: SessionId
    key: Base64
    given: Annotated[tuple[DeviceId, ...], Meta(max_length=MAX_DEVICES)] = ()


class ForwardedKey(Struct, frozen=True, array_like=True, tag="forwarded_key"):
    """The key of another device's session, from one device of a name to another one of the same name that
    was given it before. It proves nothing about who wrote what it opens."""

    room: RoomKey
    room_id: Digest
    owner: NameKey
    device: DeviceId
    session: SessionId
    key: Base64


class KeyRequest(Struct, frozen=True, array_like=True, tag="key_request"):
    """Please send the key of this session again: to its owner, or to one's own other devices. It does not
    say in which room: who asks has only the server's word for that."""

    device: DeviceId
    session: SessionId


class Fresh(Struct, frozen=True, array_like=True, tag="fresh"):
    """Nothing but the beginning of a new Olm session, where the old one did not work any more."""


class SasStart(Struct, frozen=True, array_like=True, tag="sas_start"):
    """Compare signs with me: ``commitment`` is the hash of the key that I shall show."""

    transaction: Mid
    commitment: Digest


class SasKey(Struct, frozen=True, array_like=True, tag="sas_key"):
    """The key for comparing signs: first of who was asked, then of who asked."""

    transaction: Mid
    key: Key


class SasMac(Struct, frozen=True, array_like=True, tag="sas_mac"):
    """The signs are the same for my person; ``mac`` over my identity proves that it is the same talk."""

    transaction: Mid
    mac: Base64


class SasCancel(Struct, frozen=True, array_like=True, tag="sas_cancel"):
    """No comparing any more: ``reason`` is one word."""

    transaction: Mid
    reason: Annotated[str, Meta(max_length=32)]


Content: TypeAlias = (
    RoomKeyLetter | ForwardedKey | KeyRequest | Fresh | SasStart | SasKey | SasMac | SasCancel
)


class Letter(Struct, frozen=True, array_like=True, tag="encchat/letter/1"):
    """What Olm protects: one content, from one device to another."""

    mid: Mid
    sender: Triple
    recipient: Triple
    content: Content


_envelope = msgspec.msgpack.Decoder(Envelope)
_letter = msgspec.msgpack.Decoder(Letter)


def parse_envelope(raw: bytes) -> Envelope:
    """What the body of a letter carries.

    :raises BadFormat: it is none.
    :raises UnknownScheme: it belongs to another scheme.
    """
    envelope = decode(_envelope, raw, "letter", MAX_LETTER)
    if envelope.alg != ALG_MAIL:
        raise UnknownScheme(what="letter", alg=envelope.alg)
    return envelope


def parse_letter(plain: bytes) -> Letter:
    """What an opened letter says.

    :raises BadFormat: it is none, or of a type that is not in the list.
    """
    return decode(_letter, plain, "letter", MAX_LETTER)
