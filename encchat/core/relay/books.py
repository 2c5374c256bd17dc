"""Which devices a name has: what the server keeps of them, and what may change it.

Pure. The server verifies no signature here: whoever writes to a device checks all of it. What it does check
keeps nonsense, and other people's things, out of what it hands on: the forms, the name, the identity that the
session has proved, and that a list follows the one before. A device whose identity is not the name's any more
(it was unlinked, or the name went to the holder of a certificate) is not known any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct
from msgspec.structs import replace

from encchat.core.accounts.admission import Claim
from encchat.core.refusals import DeviceRevoked, DevicesChanged, KeysTooLarge, TooManySealedDevices
from encchat.core.sealed.formats import Certificate, DeviceList, fingerprint_of

#: Devices that are known to be revoked at most; a list names half as many.
MAX_REVOKED = 400
#: Devices of a name, and bytes of all their certificates, that are kept at most: one message holds them.
MAX_DEVICES = 20
MAX_CERTIFICATES = 180 * 1024


class Enlisted(Struct, frozen=True, array_like=True):
    """A device: whose certificate it has (the identity's fingerprint, and whether a certificate authority
    vouched for its name then), and how many bytes that has."""

    fingerprint: str
    vouched: bool
    size: int


class DeviceBook(Struct, frozen=True, array_like=True):
    """The devices of a name: by id; the signed list, its version, hash and signer; what it revokes."""

    devices: dict[str, Enlisted] = {}
    raw: bytes = b""
    version: int = 0
    hash: bytes = b""
    signer: Enlisted | None = None
    revoked: tuple[str, ...] = ()

    def current(self, claim: Claim) -> DeviceBook:
        """The book without what is of identities that are not the name's any more."""
        devices = {id: device for id, device in self.devices.items() if _is_of(device, claim)}
        if self.signer is None or _is_of(self.signer, claim):
            return self if devices == self.devices else replace(self, devices=devices)
        return DeviceBook(devices, revoked=self.revoked)

    def followed(self, new: DeviceList, signer: Enlisted) -> DeviceBook:
        """The book with the next list.

        :raises DevicesChanged: it does not follow the one that is kept.
        """
        if new.raw == self.raw:
            return self
        if self.raw and (new.version != self.version + 1 or new.devices.prev != self.hash):
            raise DevicesChanged(version=self.version)
        revoked = tuple(dict.fromkeys((*new.devices.revoked, *self.revoked)))[:MAX_REVOKED]
        devices = {id: device for id, device in self.devices.items() if id not in revoked}
        return DeviceBook(devices, new.raw, new.version, new.hash, signer, revoked)

    def enlisted(self, id: str, device: Enlisted, name: str) -> DeviceBook:
        """The book with a device in it, for the first time or again.

        :raises DeviceRevoked: it never comes back.
        :raises TooManySealedDevices: there are too many already.
        :raises KeysTooLarge: their certificates would be too large together.
        """
        if id in self.revoked:
            raise DeviceRevoked(device=id)
        devices: Mapping[str, Enlisted] = {**self.devices, id: device}
        if len(devices) > MAX_DEVICES:
            raise TooManySealedDevices(name=name, limit=MAX_DEVICES)
        if sum(found.size for found in devices.values()) > MAX_CERTIFICATES:
            raise KeysTooLarge(limit=MAX_CERTIFICATES)
        return replace(self, devices=dict(devices))

    def of_identity(self, fingerprint: str) -> str | None:
        """The one device of this identity; None if there is none, or more than one."""
        found = [id for id, device in self.devices.items() if device.fingerprint == fingerprint]
        return found[0] if len(found) == 1 else None


class DeviceRecord(Struct, frozen=True, array_like=True):
    """What a device published besides its one-time keys."""

    certificate: bytes
    fallback: bytes = b""


def gone(before: DeviceBook, after: DeviceBook) -> set[str]:
    """The devices that are not there any more, with those that the list revokes: a server that was killed
    may have kept what it had of them."""
    return {*(before.devices.keys() - after.devices.keys()), *after.revoked}


def is_signed_by(fingerprints: Iterable[str], thing: Certificate | DeviceList) -> bool:
    """Whether a certificate or list says that it is signed by one of these identities."""
    return fingerprint_of(thing.identity) in fingerprints


def _is_of(device: Enlisted, claim: Claim) -> bool:
    if claim.moved or device.vouched != claim.vouched:
        return False
    return claim.vouched or device.fingerprint in claim.keys
