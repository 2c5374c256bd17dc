"""Things that devices sign, for tests of the server: it checks no signature, so there are none here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from encchat import messages as m
from encchat.core.relay.keeping import box_of
from encchat.core.sealed.formats import (
    ALG_ROOM,
    NOTHING,
    Device,
    Devices,
    Listed,
    PreKey,
    Roster,
    RosterMember,
    SignedDevice,
    SignedDevices,
    SignedKey,
    SignedRoster,
    encode,
    identity_of,
    parse_device_list,
    parse_roster,
)
from tests.core.world import Peer, World, msgid

_SIGNATURE = bytes(64)


def key_of(name: str) -> str:
    """The text that stands for a name's key here: long enough for one."""
    return f"the key of {name}".ljust(40, ".")


class Gadget:
    """A device of somebody: ``number`` tells it from others of the same name, ``key`` is its identity: a text
    that stands for one, or a real public key."""

    def __init__(self, name: str, number: int = 1, key: str | bytes = "") -> None:
        self.name = name
        self.key = key if isinstance(key, str) and key else key_of(name)
        self.spki = key if isinstance(key, bytes) else self.key.encode()
        self._secret = Ed25519PrivateKey.from_private_bytes(sha256(f"ed {name} {number}".encode()).digest())
        self._ed = self._secret.public_key().public_bytes_raw()
        self._curve = sha256(f"curve {name} {number}".encode()).digest()
        self.device = Device(name, self.spki, self._ed, self._curve, 1)
        self.id = self.device.id
        self.box = box_of(name, self.id)

    def certificate(self, chain: int = 0) -> bytes:
        return encode(SignedDevice(encode(self.device), bytes(64), _SIGNATURE, (bytes(4096),) * chain))

    def proved(self) -> bytes:
        """The certificate with the one signature that the server may look at: the device's own."""
        data = encode(self.device)
        return encode(SignedDevice(data, bytes(64), self._secret.sign(data)))

    def one_time(self, number: int, fallback: bool = False) -> bytes:
        key = sha256(f"{self.box} {number}".encode()).digest()
        return encode(SignedKey(encode(PreKey(self.id, key, fallback, 1)), _SIGNATURE))

    def keys(self, *numbers: int) -> tuple[bytes, ...]:
        return tuple(map(self.one_time, numbers))

    @property
    def fallback(self) -> bytes:
        return self.one_time(0, fallback=True)

    def publish(self, request: int = 1, *numbers: int) -> m.PublishKeys:
        """All that this device has, with one-time keys of these numbers."""
        return m.PublishKeys(request, self.certificate(), b"", self.keys(*numbers), self.fallback)

    def listed(
        self, *gadgets: Gadget, after: bytes = b"", revoked: Iterable[Gadget] = (), version: int = 0
    ) -> bytes:
        """A list of devices, signed by this one's identity."""
        before = parse_device_list(after) if after else None
        return encode(
            SignedDevices(
                encode(
                    Devices(
                        self.name,
                        self.spki,
                        version or (before.version + 1 if before else 1),
                        before.hash if before else NOTHING,
                        tuple(Listed(g.id, identity_of(g.spki)) for g in gadgets),
                        tuple(g.id for g in revoked),
                        1,
                    )
                ),
                bytes(64),
            )
        )


def enter(world: World, name: str, key: str = "") -> Peer:
    """A peer that was welcomed, with a key as long as one."""
    return world.named(name, key or key_of(name))


def bound(world: World, gadget: Gadget) -> Peer:
    """A peer that has shown that it is this device."""
    peer = enter(world, gadget.name, gadget.key)
    assert type(peer.ask(gadget.publish())[0]) is m.Published
    return peer


def roster(
    room: str,
    by: str,
    members: Iterable[str],
    admins: Iterable[str] | None = None,
    after: bytes = b"",
    policy: str = "admins",
    salt: int = 0,
    keys: Mapping[str, str] | None = None,
) -> bytes:
    """The body of a roster entry: the first of its room, or the one that follows another."""
    before = parse_roster(after) if after else None
    text = {name: key_of(name) for name in members} | dict(keys or {})
    return encode(
        SignedRoster(
            ALG_ROOM,
            encode(
                Roster(
                    room,
                    before.roster.epoch + 1 if before else 1,
                    before.hash if before else NOTHING,
                    tuple(RosterMember(name, identity_of(text[name].encode())) for name in members),
                    tuple([by] if admins is None else admins),
                    policy,
                    by,
                    1,
                    salt.to_bytes(16, "big"),
                )
            ),
            _SIGNATURE,
            Gadget(by).certificate(),
        )
    )


def create(room: str, body: bytes, number: int = 1) -> m.Create:
    """A request for a room."""
    return m.Create(number, room, msgid(number), body)


def sealed(number: int, room: str, seen: int | None, body: bytes = b"sealed") -> m.Send:
    """Something said in a sealed room."""
    return m.Send(number, room, msgid(number), "sealed", body, seen)


def change(number: int, room: str, seen: int | None, body: bytes) -> m.Send:
    """Another roster."""
    return m.Send(number, room, msgid(number), "roster", body, seen)
