"""Making and checking what is signed about devices: certificates, device lists, one-time keys.

``check_…`` trusts nothing but the two signatures and the names; whether the identity behind them is the
right one is for ``contacts``.
"""

from __future__ import annotations

from collections.abc import Iterable

from encchat.core.sealed import formats
from encchat.core.sealed.formats import (
    NOTHING,
    Certificate,
    Device,
    DeviceList,
    Devices,
    Listed,
    PreKey,
    SignedDevice,
    SignedDevices,
    SignedKey,
    encode,
)
from encchat.core.sealed.identities import BadSignature, IdentityKey, check_identity_signature
from encchat.core.sealed.ratchets import Account, check_device_signature, curve_key, ed_key, sign


def certify(account: Account, identity: IdentityKey, user: str, now: int) -> Certificate:
    """A certificate for the device with this account: signed by the identity and by the device."""
    data = encode(Device(user, identity.spki, ed_key(account), curve_key(account), now))
    signed = SignedDevice(data, identity.sign(data), sign(account, data), identity.chain)
    return formats.parse_certificate(encode(signed))


def check_certificate(certificate: Certificate, user: str, device: str | None = None) -> None:
    """Whether a certificate is for ``user`` (and ``device``) and bears both signatures.

    :raises BadSignature: it is not, or does not.
    """
    said, signed = certificate.device, certificate.signed
    if said.user != user or (device is not None and said.id != device):
        raise BadSignature(what="device certificate")
    check_identity_signature(said.identity, signed.device, signed.by_identity, "device certificate")
    check_device_signature(said.ed, signed.device, signed.by_device, "device certificate")


def list_devices(
    identity: IdentityKey,
    user: str,
    before: DeviceList | None,
    devices: Iterable[Listed],
    revoked: Iterable[str],
    now: int,
) -> DeviceList:
    """The device list that follows ``before``."""
    version, prev = (before.version + 1, before.hash) if before else (1, NOTHING)
    gone = tuple(revoked)[-formats.MAX_REVOKED :]
    data = encode(Devices(user, identity.spki, version, prev, tuple(devices), gone, now))
    return formats.parse_device_list(encode(SignedDevices(data, identity.sign(data), identity.chain)))


def check_device_list(devices: DeviceList, user: str) -> None:
    """Whether a list is for ``user`` and bears the signature of the identity that it names.

    :raises BadSignature: it is not, or does not.
    """
    if devices.devices.user != user:
        raise BadSignature(what="device list")
    signed = devices.signed
    check_identity_signature(devices.devices.identity, signed.devices, signed.by_identity, "device list")


def sign_key(account: Account, device: str, key: bytes, fallback: bool, now: int) -> bytes:
    """A one-time or fallback key, signed by the device."""
    data = encode(PreKey(device, key, fallback, now))
    return encode(SignedKey(data, sign(account, data)))


def check_key(raw: bytes, certificate: Certificate) -> PreKey:
    """The one-time key that the device of this certificate signed.

    :raises BadFormat: it is none.
    :raises BadSignature: it is of another device, or nobody signed it.
    """
    signed, key = formats.parse_key(raw)
    if key.device != certificate.device.id:
        raise BadSignature(what="one-time key")
    check_device_signature(certificate.device.ed, signed.key, signed.by_device, "one-time key")
    return key
