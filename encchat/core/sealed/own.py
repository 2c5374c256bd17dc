"""This device: its keys, its certificate, its place in the device list, its one-time keys on the server.

A device is made once and never leaves the machine. At every connection it publishes its certificate, which
binds the connection to it; if its own identity may sign the list of its name (it made the list, or the
authority vouches for it), it puts itself in. Else it waits until another machine of that name does.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

import msgspec

from encchat.core.sealed import effects as fx
from encchat.core.sealed.certificates import certify, list_devices, sign_key
from encchat.core.sealed.contacts import Contacts, parse_certificate
from encchat.core.sealed.formats import Certificate, Listed, fingerprint_of, identity_of
from encchat.core.sealed.identities import IdentityKey
from encchat.core.sealed.keeper import Keeper, StateUnreadable
from encchat.core.sealed.ratchets import PICKLE_KEY, Account
from encchat.errors import RefusedError

#: One-time keys that the server is to hold, and below how many they are made up to that.
KEEP = 50
REFILL_BELOW = 25
#: Milliseconds after which a fallback key is replaced, and a used one at the earliest.
FALLBACK_AGE = 7 * 24 * 3600 * 1000
FALLBACK_PAUSE = 3600 * 1000
#: Keys are published at most that often without being asked, in milliseconds.
PUBLISH_PAUSE = 60 * 1000


class NotOurDevice(RefusedError):
    """Your name has no device {device} that could be changed like that."""

    code = "unknown-device"


class NotOurList(RefusedError):
    """The devices of your name are listed by another machine: do it there."""

    code = "not-the-first-device"


class OwnState(msgspec.Struct):
    """The record of this device. ``secret`` marks its messages; ``left`` is how many one-time keys the
    server has, as far as known; ``fallback`` is the public one that it has, since ``fallback_at``; ``used``
    says that somebody used it."""

    user: str
    pickle: str
    certificate: bytes
    secret: bytes
    left: int = 0
    fallback: bytes = b""
    fallback_at: int = 0
    used: bool = False
    rolled_back: bool = False


class Own:
    """This device, kept as the record ``device``. Made anew when there is none."""

    def __init__(
        self,
        keeper: Keeper,
        turn: fx.Turn,
        contacts: Contacts,
        user: str,
        identity: IdentityKey,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._keeper = keeper
        self._turn = turn
        self._contacts = contacts
        self._identity = identity
        self._entropy = entropy
        self.user = user
        self._refilled_at = -PUBLISH_PAUSE
        self._bound = False
        self._asked_in: set[str] = set()
        self._told: bool | None = None
        self._waiting: dict[str, Certificate] = {}
        state = keeper.get("device", "own", OwnState)
        if state is None:
            self.account = Account()
            certificate = certify(self.account, identity, user, turn.now)
            state = OwnState(user, "", certificate.raw, entropy(32))
            self.state = state
            self.save()
        else:
            self.state = state
            try:
                self.account = Account.from_pickle(state.pickle, PICKLE_KEY)
            except ValueError as error:
                raise StateUnreadable(what="device", reason=str(error)) from None
        self._renew_certificate()
        contacts.pin_own(identity_of(identity.spki))

    @property
    def certificate(self) -> Certificate:
        """The certificate of this device."""
        return parse_certificate(self.state.certificate)

    @property
    def id(self) -> str:
        """The id of this device."""
        return self.certificate.device.id

    @property
    def listed(self) -> bool:
        """Whether this device is in the list of its name, as far as known."""
        return self._contacts.certificate(self.user, self.id) is not None

    def save(self) -> None:
        """Keep the account as it is now."""
        self.state.pickle = self.account.pickle(PICKLE_KEY)
        self._keeper.put("device", "own", self.state)

    def mark(self, session: bytes, commitment: bytes) -> bytes:
        """What shows this device, and nobody else, that a message is its own."""
        return blake2b(session + commitment, key=self.state.secret, digest_size=16).digest()

    def connected(self) -> None:
        """A new connection: it is to be bound to this device."""
        self._bound = False
        self._contacts.outdate(self.user)
        self._contacts.ask(self.user)

    # --------------------------------------------------------------------------------- publication

    def introduce(self, unlisted: list[Certificate]) -> None:
        """The server told the devices of our own name: publish ours, listed if we may."""
        known = self._contacts.list_of(self.user)
        entry = parse_certificate(self.state.certificate)
        listing = b""
        if self._may_list() and not (known and self.id in known.devices.revoked):
            current = {} if known is None else {d.device: d for d in known.devices.devices}
            by_us = known is not None and known.identity == entry.identity
            renewed = by_us and known is not None and known.signed.chain != self._identity.chain
            if current.get(self.id) != Listed(self.id, entry.identity) or renewed:
                listing = self._list({**current, self.id: Listed(self.id, entry.identity)})
        if self.listed != self._told:
            self._told = self.listed
            self._turn.tell(fx.DeviceReady(self.id, self.listed))
        if not self._bound or listing:
            self._publish(self.state.certificate, listing)
        for certificate in unlisted:
            id = certificate.device.id
            revoked = known is not None and id in known.devices.revoked
            if id != self.id and id not in self._asked_in and not revoked:
                self._asked_in.add(id)
                self._turn.tell(fx.OwnDeviceWaits(id, fingerprint_of(certificate.identity)))
        self._waiting = {certificate.device.id: certificate for certificate in unlisted}

    def published(self, left: int) -> None:
        """The server has what was published, and now holds ``left`` one-time keys of this device."""
        fallback = self._new_fallback()
        if fallback:
            self.state.fallback, self.state.fallback_at, self.state.used = fallback, self._turn.now, False
        self.account.mark_keys_as_published()
        self.state.left = left
        self._bound = True
        self.save()
        self.replenish()

    def not_published(self) -> None:
        """The server did not take it (somebody else changed the list first): look again."""
        self._contacts.outdate(self.user)
        self._contacts.ask(self.user)

    def replenish(self) -> None:
        """Publish further one-time keys or another fallback key where they are due."""
        if not self._bound or self._turn.now - self._refilled_at < PUBLISH_PAUSE:
            return
        if self.state.left < REFILL_BELOW or self._fallback_is_due():
            self._refilled_at = self._turn.now
            self._publish(b"", b"")

    def was_begun(self, prekey_message: bytes) -> None:
        """Somebody began to write to us, which used up one key; ``prekey_message`` tells which one."""
        if self.state.fallback and self.state.fallback in prekey_message:
            self.state.used = True
        else:
            self.state.left = max(0, self.state.left - 1)
        self.save()

    def _publish(self, certificate: bytes, listing: bytes) -> None:
        now = self._turn.now
        waiting = len(self.account.one_time_keys)
        wanted = KEEP - self.state.left - waiting
        if self.state.left < REFILL_BELOW and wanted > 0:
            self.account.generate_one_time_keys(wanted)
        if self._fallback_is_due() and not self._new_fallback():
            self.account.generate_fallback_key()  # type: ignore[attr-defined]  # left out of the stubs
        self.save()
        keys = [key.to_bytes() for key in self.account.one_time_keys.values()]
        one_time = tuple(sign_key(self.account, self.id, key, False, now) for key in keys)
        new = self._new_fallback()
        fallback = sign_key(self.account, self.id, new, True, now) if new else b""
        self._turn.do(fx.Publish(certificate, listing, one_time, fallback))

    def _fallback_is_due(self) -> bool:
        age = self._turn.now - self.state.fallback_at
        return not self.state.fallback or age >= FALLBACK_AGE or (self.state.used and age >= FALLBACK_PAUSE)

    def _new_fallback(self) -> bytes:
        """The fallback key that is not published yet, or nothing."""
        keys = self.account.fallback_key  # type: ignore[attr-defined]  # left out of the stubs
        return next((key.to_bytes() for key in keys.values()), b"")

    def renew(self) -> None:
        """Become another device, whose keys nobody had before; the old one is taken back where we may."""
        old, known = self.id, self._contacts.list_of(self.user)
        self.account = Account()
        certificate = certify(self.account, self._identity, self.user, self._turn.now)
        self.state = OwnState(self.user, "", certificate.raw, self._entropy(32))
        self.save()
        if self._may_list() and known is not None:
            current = {d.device: d for d in known.devices.devices if d.device != old}
            fresh = {**current, self.id: Listed(self.id, certificate.identity)}
            self._publish(certificate.raw, self._list(fresh, gone=old))
        else:
            self._publish(certificate.raw, b"")

    # ----------------------------------------------------------------------------------- device list

    def accept_device(self, device: str) -> None:
        """Put another machine of one's own name into the list: a person compared its fingerprint.

        :raises NotOurDevice: none such waits.
        :raises NotOurList: another machine keeps the list.
        """
        self._check_may_list()
        certificate = self._waiting.get(device)
        if certificate is None:
            raise NotOurDevice(device=device)
        known = self._contacts.list_of(self.user)
        current = {} if known is None else {d.device: d for d in known.devices.devices}
        listing = self._list({**current, device: Listed(device, certificate.identity)}, (certificate,))
        self._publish(b"", listing)

    def revoke(self, device: str) -> None:
        """Take a device out of the list, for ever.

        :raises NotOurDevice: it is not in it.
        :raises NotOurList: another machine keeps the list.
        """
        self._check_may_list()
        known = self._contacts.list_of(self.user)
        current = {} if known is None else {d.device: d for d in known.devices.devices}
        if current.pop(device, None) is None:
            raise NotOurDevice(device=device)
        self._publish(b"", self._list(current, gone=device))

    def _list(self, devices: dict[str, Listed], fresh: tuple[Certificate, ...] = (), gone: str = "") -> bytes:
        """Sign the next list, and believe it at once: it is our own."""
        known = self._contacts.list_of(self.user)
        revoked = (*(known.devices.revoked if known else ()), *((gone,) if gone else ()))
        listing = list_devices(self._identity, self.user, known, devices.values(), revoked, self._turn.now)
        certificates = [self.state.certificate, *(certificate.raw for certificate in fresh)]
        self._contacts.answer(self.user, listing.raw, certificates)
        self._turn.tell(fx.DeviceReady(self.id, self.listed))
        self._told = self.listed
        return listing.raw

    def _may_list(self) -> bool:
        """Whether this device's identity may sign the list of its name."""
        own = identity_of(self._identity.spki)
        return self._contacts.authority or self._contacts.peer(self.user).identity == own

    def _check_may_list(self) -> None:
        if not self._may_list():
            raise NotOurList()

    def _renew_certificate(self) -> None:
        """Certify the device anew when its identity has another key or other X.509 certificates now."""
        old = self.certificate
        if old.device.identity != self._identity.spki or old.signed.chain != self._identity.chain:
            self.state.certificate = certify(self.account, self._identity, self.user, self._turn.now).raw
            self.save()
