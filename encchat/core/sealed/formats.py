"""What is signed in sealed rooms, byte for byte: device certificates, device lists, one-time keys, rosters.

A signed thing travels as a wrapper that carries the exact bytes that were signed, so that nobody ever has
to encode them again to check a signature. The inner bytes are a MessagePack array that begins with a tag of
its own (``encchat/device/1`` and so on): a signature over one kind of thing says nothing about another.

Each ``parse_…`` bounds every field and raises ``BadFormat``; none of them checks a signature. Signatures
are ``identities`` (the transport identity's) and ``devicekeys`` (a device's); what a roster may change
is ``rosters``. The server uses the parsing and the rules of rosters, and believes no more than that.

Names are in the form in which they are compared (``names.Name.key``). Keys, hashes and signatures are raw
bytes; an identity is the SHA-256 of its DER SubjectPublicKeyInfo, which
``fingerprint_of`` writes for people.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from encchat.core.sealed.naming import BadFormat, check_name, check_room
from encchat.errors import PeerError

#: The scheme that protects a room and the mail between devices. Another one gets another word.
ALG_ROOM = "megolm/1"
ALG_MAIL = "olm/1"

#: Bounds in bytes of what travels, wrappers included.
MAX_CERTIFICATE = 24 * 1024
MAX_DEVICE_LIST = 20 * 1024
MAX_KEY = 512
MAX_ROSTER = 64 * 1024
#: Members of one sealed room, those among them who may change its roster, and devices of one name.
MAX_MEMBERS = 256
MAX_ADMINS = 32
MAX_DEVICES = 50
MAX_REVOKED = 200

Digest: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Key: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Signature: TypeAlias = Annotated[bytes, Meta(min_length=64, max_length=64)]
#: Of a transport identity: RSA of up to 4096 bits, or ECDSA.
IdentitySignature: TypeAlias = Annotated[bytes, Meta(min_length=8, max_length=512)]
Spki: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=1024)]
Chain: TypeAlias = Annotated[tuple[Annotated[bytes, Meta(max_length=4096)], ...], Meta(max_length=4)]
NameKey: TypeAlias = Annotated[str, Meta(min_length=1, max_length=32)]
RoomKey: TypeAlias = Annotated[str, Meta(min_length=2, max_length=66)]
DeviceId: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9a-f]{32}\Z")]
Moment: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Number: TypeAlias = Annotated[int, Meta(ge=1, le=2**53)]
Alg: TypeAlias = Annotated[str, Meta(max_length=32)]

#: What stands in a genesis roster, or a first device list, for the hash of the one before.
NOTHING = bytes(32)


class UnknownScheme(PeerError):
    """The {what} uses the scheme {alg!r}, which this version of encchat does not know. Update encchat."""

    code = "unknown-scheme"


def digest(tag: str, *parts: bytes) -> bytes:
    """SHA-256 over a tag and parts, each with its length before it, so that no two lists are alike."""
    hasher = sha256(_begun(tag))
    for part in parts:
        hasher.update(len(part).to_bytes(8, "big"))
        hasher.update(part)
    return hasher.digest()


@lru_cache(maxsize=64)
def _begun(tag: str) -> bytes:
    return len(tag).to_bytes(8, "big") + tag.encode("ascii")


@lru_cache(maxsize=4096)
def identity_of(spki: bytes) -> bytes:
    """The 32 bytes that stand for an identity: the SHA-256 of its DER SubjectPublicKeyInfo."""
    return sha256(spki).digest()


def fingerprint_of(identity: bytes) -> str:
    """An identity as people and the rest of encchat write it: ``SHA256:`` and unpadded base64."""
    return "SHA256:" + b64encode(identity).decode("ascii").rstrip("=")


@lru_cache(maxsize=4096)
def device_id(ed: bytes, curve: bytes) -> str:
    """The id of the device with these keys: 32 hexadecimal digits that nobody can choose."""
    return digest("encchat/device-id/1", ed, curve).hex()[:32]


# ------------------------------------------------------------------------------------------- devices


class Device(Struct, frozen=True, array_like=True, tag="encchat/device/1"):
    """What a device certificate says: these two keys act for ``user``. ``identity`` is the transport
    identity that signs it, as DER SubjectPublicKeyInfo; ``created`` is milliseconds since 1970 (UTC)."""

    user: NameKey
    identity: Spki
    ed: Key
    curve: Key
    created: Moment

    @property
    def id(self) -> str:
        """The device's id, which follows from its keys."""
        return device_id(self.ed, self.curve)


class SignedDevice(Struct, frozen=True, array_like=True):
    """A device certificate: the bytes of a ``Device``, signed by the identity and by the device itself.
    ``chain`` holds the X.509 certificates of the identity, its own first, in DER, if it has any."""

    device: Annotated[bytes, Meta(max_length=1500)]
    by_identity: IdentitySignature
    by_device: Signature
    chain: Chain = ()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A device certificate that was read: the whole bytes, the wrapper, and what it says."""

    raw: bytes
    signed: SignedDevice
    device: Device

    @property
    def identity(self) -> bytes:
        """Whose signature it bears: the identity's 32 bytes."""
        return identity_of(self.device.identity)


def parse_certificate(raw: bytes) -> Certificate:
    """What a device certificate says.

    :raises BadFormat: it is none.
    """
    signed = decode(_signed_device, raw, "device certificate", MAX_CERTIFICATE)
    device = decode(_device, signed.device, "device certificate")
    check_name(device.user, "device certificate")
    return Certificate(raw, signed, device)


class Listed(Struct, frozen=True, array_like=True):
    """One device in a list: its id, and the identity that signs its certificate. That is the list's own
    identity, or the one of another machine of the same person."""

    device: DeviceId
    identity: Digest


class Devices(Struct, frozen=True, array_like=True, tag="encchat/devices/1"):
    """What a device list says: all the devices of ``user`` now, and those that never come back.
    ``version`` counts from 1; ``prev`` is the hash of the list before it (``NOTHING`` for the first)."""

    user: NameKey
    identity: Spki
    version: Number
    prev: Digest
    devices: Annotated[tuple[Listed, ...], Meta(max_length=MAX_DEVICES)]
    revoked: Annotated[tuple[DeviceId, ...], Meta(max_length=MAX_REVOKED)]
    created: Moment


class SignedDevices(Struct, frozen=True, array_like=True):
    """A device list: the bytes of ``Devices``, signed by the identity that they name."""

    devices: Annotated[bytes, Meta(max_length=MAX_DEVICE_LIST)]
    by_identity: IdentitySignature
    chain: Chain = ()


@dataclass(frozen=True, slots=True)
class DeviceList:
    """A device list that was read: the whole bytes, the wrapper, and what it says."""

    raw: bytes
    signed: SignedDevices
    devices: Devices

    @property
    def version(self) -> int:
        """Counts from 1."""
        return self.devices.version

    @property
    def hash(self) -> bytes:
        """What the next version carries as ``prev``."""
        return digest("encchat/devices/1", self.signed.devices)

    @property
    def identity(self) -> bytes:
        """Whose signature it bears: the identity's 32 bytes."""
        return identity_of(self.devices.identity)


def parse_device_list(raw: bytes) -> DeviceList:
    """What a device list says.

    :raises BadFormat: it is none, or names a device twice, or one that it revokes.
    """
    signed = decode(_signed_devices, raw, "device list", MAX_DEVICE_LIST + 18 * 1024)
    devices = decode(_devices, signed.devices, "device list")
    check_name(devices.user, "device list")
    ids = [listed.device for listed in devices.devices]
    if len(set(ids)) != len(ids) or set(ids) & set(devices.revoked):
        raise BadFormat(what="device list", reason="it names a device twice, or a revoked one")
    return DeviceList(raw, signed, devices)


# ---------------------------------------------------------------------------------------- one-time keys


class PreKey(Struct, frozen=True, array_like=True, tag="encchat/key/1"):
    """One key with which somebody can begin to write to ``device``: used once, or the ``fallback`` for
    when no other is left. ``created`` is milliseconds since 1970 (UTC)."""

    device: DeviceId
    key: Key
    fallback: bool
    created: Moment


class SignedKey(Struct, frozen=True, array_like=True):
    """The bytes of a ``PreKey``, signed by the device's ed25519 key. At most ``MAX_KEY`` bytes as a whole."""

    key: Annotated[bytes, Meta(max_length=200)]
    by_device: Signature


def parse_key(raw: bytes) -> tuple[SignedKey, PreKey]:
    """What a signed one-time or fallback key says.

    :raises BadFormat: it is none.
    """
    signed = decode(_signed_key, raw, "one-time key", MAX_KEY)
    return signed, decode(_prekey, signed.key, "one-time key")


# --------------------------------------------------------------------------------------------- rosters


class RosterMember(Struct, frozen=True, array_like=True):
    """Who belongs to a room: the name, and the identity that the name had for whoever added it."""

    name: NameKey
    identity: Digest


class Roster(Struct, frozen=True, array_like=True, tag="encchat/roster/1"):
    """Who is in ``room`` from here on. ``epoch`` counts the rosters of a room from 1; ``prev`` is the hash of
    the one before (``NOTHING`` for the first, the genesis roster, whose hash is the room's id). ``by`` is the
    member one of whose devices signed it. ``policy`` says who may add somebody: ``admins`` or ``members``.
    ``salt`` is random, so that no two rooms begin alike."""

    room: RoomKey
    epoch: Number
    prev: Digest
    members: Annotated[tuple[RosterMember, ...], Meta(max_length=MAX_MEMBERS)]
    admins: Annotated[tuple[NameKey, ...], Meta(max_length=MAX_ADMINS)]
    policy: Annotated[str, Meta(pattern=r"^(admins|members)\Z")]
    by: NameKey
    created: Moment
    salt: Annotated[bytes, Meta(min_length=16, max_length=16)]

    @property
    def identities(self) -> dict[str, bytes]:
        """The identity of every member, by name."""
        return {member.name: member.identity for member in self.members}


class SignedRoster(Struct, frozen=True, array_like=True):
    """The body of an entry of kind ``roster``: the bytes of a ``Roster``, signed by the ed25519 key of the
    device whose certificate is with it. If another identity than the roster's signed that certificate,
    ``devices`` is the signed device list that names it."""

    alg: Alg
    roster: Annotated[bytes, Meta(max_length=MAX_ROSTER)]
    by_device: Signature
    certificate: Annotated[bytes, Meta(max_length=MAX_CERTIFICATE)]
    devices: Annotated[bytes, Meta(max_length=2 * MAX_DEVICE_LIST)] = b""


@dataclass(frozen=True, slots=True)
class RosterEntry:
    """A roster that was read: the whole bytes, the wrapper, what it says, and who signed."""

    raw: bytes
    signed: SignedRoster
    roster: Roster
    certificate: Certificate

    @property
    def hash(self) -> bytes:
        """What the next roster carries as ``prev``, and messages of this epoch as theirs."""
        return digest("encchat/roster/1", self.signed.roster)

    @property
    def room_id(self) -> bytes:
        """The id of the room, if this is its genesis roster."""
        return digest("encchat/room/1", self.signed.roster)


def parse_roster(raw: bytes) -> RosterEntry:
    """What the body of an entry of kind ``roster`` says. Whether it may follow another is for ``rosters``.

    :raises BadFormat: it is none, or contradicts itself.
    :raises UnknownScheme: it belongs to another scheme.
    """
    signed = decode(_signed_roster, raw, "roster", MAX_ROSTER)
    if signed.alg != ALG_ROOM:
        raise UnknownScheme(what="roster", alg=signed.alg)
    roster = decode(_roster, signed.roster, "roster")
    certificate = parse_certificate(signed.certificate)
    check_room(roster.room, "roster")
    for name in {*roster.identities, *roster.admins, roster.by}:
        check_name(name, "roster")
    if len(roster.identities) != len(roster.members) or len(set(roster.admins)) != len(roster.admins):
        raise BadFormat(what="roster", reason="it names somebody twice")
    if not set(roster.admins) <= roster.identities.keys():
        raise BadFormat(what="roster", reason="an admin is no member")
    if certificate.device.user != roster.by:
        raise BadFormat(what="roster", reason="its certificate is not of the one who made it")
    return RosterEntry(raw, signed, roster, certificate)


# ------------------------------------------------------------------------------------------- decoding

_T = TypeVar("_T")
_signed_device = msgspec.msgpack.Decoder(SignedDevice)
_device = msgspec.msgpack.Decoder(Device)
_signed_devices = msgspec.msgpack.Decoder(SignedDevices)
_devices = msgspec.msgpack.Decoder(Devices)
_signed_key = msgspec.msgpack.Decoder(SignedKey)
_prekey = msgspec.msgpack.Decoder(PreKey)
_signed_roster = msgspec.msgpack.Decoder(SignedRoster)
_roster = msgspec.msgpack.Decoder(Roster)
_encoder = msgspec.msgpack.Encoder()


def encode(thing: Struct) -> bytes:
    """The bytes of any of the structs here; of a wrapper, what travels; else what is signed."""
    return _encoder.encode(thing)


def decode(decoder: msgspec.msgpack.Decoder[_T], raw: bytes, what: str, limit: int | None = None) -> _T:
    """What ``raw`` holds, or a ``BadFormat`` that names it.

    :raises BadFormat: it has more than ``limit`` bytes, or is not of that form.
    """
    if limit is not None and len(raw) > limit:
        raise BadFormat(what=what, reason=f"it has {len(raw)} bytes, more than {limit}")
    try:
        return decoder.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise BadFormat(what=what, reason=str(error)) from None
