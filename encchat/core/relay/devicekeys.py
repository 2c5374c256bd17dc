"""What devices publish, so that others can write to them sealed: certificates, lists, and keys to begin with.

The server keeps them and hands them on; each one-time key is given to one who asks, durably, and then the
fallback key to all. Whoever claims is held to a rate for each device, so that nobody uses up another's keys;
and past what one address, or all together, may be given of them for now there is the fallback key.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec.structs import replace

from encchat import messages as m
from encchat.core.chat.floods import Buckets
from encchat.core.names import parse_name
from encchat.core.refusals import (
    NoDevice,
    NoSuchName,
    NotYourCertificate,
    NotYourDevice,
    NotYourKeys,
    NotYourList,
    RateLimited,
    UnreadableKeys,
)
from encchat.core.relay.books import DeviceBook, DeviceRecord, Enlisted, gone, is_signed_by
from encchat.core.relay.keeping import box_of
from encchat.core.sealed.formats import (
    Certificate,
    fingerprint_of,
    parse_certificate,
    parse_device_list,
    parse_key,
)
from encchat.errors import PeerError, StorageError

if TYPE_CHECKING:
    from encchat.core.accounts.admission import Claim
    from encchat.core.chat.hub import Hub
    from encchat.core.chat.session import Session

#: Claims of one name from one device: at once, and seconds until there is another.
CLAIM_BURST, CLAIM_EVERY = 5, 60.0
#: Devices claimed, or letters, that cost as much of the rate for keys and mail as one request does.
PER_REQUEST = 10

_T = TypeVar("_T")


class ClaimRates:
    """How often each name may still claim keys of each device."""

    def __init__(self) -> None:
        self._buckets = Buckets(1 / CLAIM_EVERY, CLAIM_BURST)

    def take(self, claimer: str, boxes: list[str], now: float) -> None:
        """Count one claim from each of the boxes.

        :raises RateLimited: one of them was claimed from too often; none is counted.
        """
        buckets = [self._buckets.at((claimer, box), now) for box in dict.fromkeys(boxes)]
        wait = max((bucket.wait(now) for bucket in buckets), default=0.0)
        if wait:
            raise RateLimited(wait=int(wait * 1000 + 0.999))
        for bucket in buckets:
            bucket.take(now)


async def publish(session: Session, message: m.PublishKeys) -> None:
    """Keep what a device publishes, and let its mail come to this session."""
    session.take_act()
    hub, name, identity = session.hub, session.name, session.identity
    claim = await _claim(hub, name.key)
    certificate = read(parse_certificate, message.certificate) if message.certificate else None
    if certificate is not None and (
        certificate.device.user != name.key or not is_signed_by([identity.fingerprint], certificate)
    ):
        raise NotYourCertificate(name=name.shown, fingerprint=identity.fingerprint)
    book = (await hub.directory.book(name.key)).current(claim)
    device = certificate.device.id if certificate else session.device_id
    device = device or book.of_identity(identity.fingerprint) or ""
    if not device or (certificate is None and device not in book.devices):
        raise NoDevice()
    _check_keys(device, message)
    await _enlist(session, claim, device, certificate, message.devices)
    box = box_of(name.key, device)
    if certificate is not None or message.fallback:
        await hub.directory.change_device(box, lambda held: _renewed(held, certificate, message.fallback))
    count = await hub.store.keys.add(box, message.one_time)
    if not session.closed:
        session.answer(m.Published(message.id, device, count))
        hub.post.bind(session, device)


async def devices(session: Session, message: m.Devices) -> None:
    """Tell which devices a name has."""
    session.take_keys(1)
    hub = session.hub
    name = parse_name(message.name)
    book = await book_of(hub, name.key)
    async with hub.dear.alone(session):
        certificates = []
        for device in book.devices:
            record = await hub.directory.device(box_of(name.key, device))
            if record is not None:
                certificates.append(record.certificate)
        session.charge_keys(len(book.raw) + sum(map(len, certificates)))
        session.answer(m.DeviceList(message.id, name.key, book.raw, tuple(certificates)))


async def claim(session: Session, message: m.ClaimKeys) -> None:
    """Hand out keys of a name's devices."""
    session.take_keys(1 + len(message.devices) / PER_REQUEST)
    hub = session.hub
    name = parse_name(message.name)
    book = await book_of(hub, name.key)
    known = [box_of(name.key, device) for device in dict.fromkeys(message.devices) if device in book.devices]
    now = hub.turn.now()
    hub.claims.take(session.name.key, known, now)
    rationed = [box for box in known if hub.floods.take_key(session.outlet.origin, box, now)]
    keys = dict.fromkeys(known, b"") | dict(zip(rationed, await hub.store.keys.take(rationed), strict=True))
    for box, key in keys.items():
        if not key:
            record = await hub.directory.device(box)
            keys[box] = record.fallback if record else b""
    asked = (box_of(name.key, device) for device in message.devices)
    session.answer(m.Keys(message.id, name.key, tuple(keys.pop(box, b"") for box in asked)))


async def book_of(hub: Hub, name: str) -> DeviceBook:
    """The devices that a name has now.

    :raises NoSuchName: nobody has the name.
    """
    return (await hub.directory.book(name)).current(await _claim(hub, name))


async def prune(hub: Hub, name: str) -> None:
    """Something was taken from the name: let go of the devices that are not its own any more. Where that
    fails they are only kept, and known to nobody."""
    with suppress(StorageError):
        claim = await hub.directory.claim(name)
        await _change(hub, name, lambda held: held.current(claim) if claim else DeviceBook())


def read(parse: Callable[[bytes], _T], raw: bytes) -> _T:
    """What ``parse`` makes of it; what it cannot read is refused, and the connection stays.

    :raises UnreadableKeys: it cannot read it.
    """
    try:
        return parse(raw)
    except PeerError as error:
        raise UnreadableKeys(reason=str(error)) from None


async def _claim(hub: Hub, name: str) -> Claim:
    claim = await hub.directory.claim(name)
    if claim is None or claim.moved:
        raise NoSuchName(name=name)
    return claim


def _check_keys(device: str, message: m.PublishKeys) -> None:
    keys = [(raw, False) for raw in message.one_time] + [(raw, True) for raw in (message.fallback,) if raw]
    for raw, fallback in keys:
        _, key = read(parse_key, raw)
        if (key.device, key.fallback) != (device, fallback):
            raise NotYourKeys(device=device)


async def _enlist(
    session: Session, claim: Claim, device: str, certificate: Certificate | None, devices: bytes
) -> None:
    """Bring the device, and the next list, into the book of the name."""
    name, own = session.name, session.identity.fingerprint
    new = read(parse_device_list, devices) if devices else None

    def change(held: DeviceBook) -> DeviceBook:
        book = held.current(claim)
        if new is not None:
            signers = {own, *(() if claim.vouched else claim.keys)}
            if book.signer is not None:
                signers.add(book.signer.fingerprint)
            if new.devices.user != name.key or not is_signed_by(signers, new):
                raise NotYourList(name=name.shown)
            book = book.followed(new, Enlisted(fingerprint_of(new.identity), claim.vouched, 0))
        if certificate is not None:
            known = book.devices.get(device)
            if known is not None and known.fingerprint != own and not _is_by_device(certificate):
                raise NotYourDevice(device=device)
            book = book.enlisted(device, Enlisted(own, claim.vouched, len(certificate.raw)), name.shown)
        elif device not in book.devices:
            raise NoDevice()
        return book

    await _change(session.hub, name.key, change)


def _is_by_device(certificate: Certificate) -> bool:
    """Whether the device signed its certificate. Looked at only where another key of the name has the device:
    that one's mail and keys must not go to whoever merely names it."""
    signed = certificate.signed
    try:
        Ed25519PublicKey.from_public_bytes(certificate.device.ed).verify(signed.by_device, signed.device)
    except (InvalidSignature, ValueError):
        return False
    return True


async def _change(hub: Hub, name: str, change: Callable[[DeviceBook], DeviceBook]) -> None:
    """Change the book of a name, and let go of all that is kept of the devices that are gone from it."""
    before = DeviceBook()

    def changed(held: DeviceBook | None) -> DeviceBook:
        nonlocal before
        before = held or DeviceBook()
        return change(before)

    after = await hub.directory.change_book(name, changed)
    if before.devices.keys() <= after.devices.keys() and before.raw == after.raw:
        return
    for device in gone(before, after):
        box = box_of(name, device)
        hub.post.unbind(box)
        if await hub.directory.device(box) is not None:
            await hub.store.mail.close_box(box)
            await hub.store.keys.empty(box)
            await hub.directory.forget_device(box)


def _renewed(held: DeviceRecord | None, certificate: Certificate | None, fallback: bytes) -> DeviceRecord:
    if certificate is not None:
        return DeviceRecord(certificate.raw, fallback or (held.fallback if held else b""))
    if held is None:
        raise NoDevice()
    return replace(held, fallback=fallback)
