"""How others come to know of this device: its certificate, its place in the device list, its one-time keys.

At every connection the certificate is published, which binds the connection to the device. If its own
identity may sign the list of its name (it is the one that the name is pinned to, or an authority vouches for
it), it puts itself in; else it waits until another machine of that name does. Each list follows the one that
the server has: where somebody else was faster, it is signed anew. One publication is under way at a time, and
nothing of it counts here before the server took it.
"""

from __future__ import annotations

from encchat.core.sealed import effects as fx
from encchat.core.sealed.certificates import list_devices, sign_key
from encchat.core.sealed.contacts import Contacts
from encchat.core.sealed.formats import Certificate, DeviceList, Listed, fingerprint_of, identity_of
from encchat.core.sealed.own import Own
from encchat.errors import RefusedError

#: One-time keys that the server is to hold, and below how many they are made up to that.
KEEP = 50
REFILL_BELOW = 25
#: Milliseconds after which a fallback key is replaced, and a used one at the earliest.
FALLBACK_AGE = 7 * 24 * 3600 * 1000
FALLBACK_PAUSE = 3600 * 1000
#: Keys are published at most that often without being asked, in milliseconds.
PUBLISH_PAUSE = 60 * 1000


#: Publications that the server refuses in one connection before we stop trying.
#: The last ones are without a list, so that the device is there at least.
MAX_FAILURES = 5
MAX_LIST_FAILURES = 3


class NotOurDevice(RefusedError):
    """Your name has no device {device} that could be changed like that."""

    code = "unknown-device"


class NotOurList(RefusedError):
    """The devices of your name are listed by another machine: do it there."""

    code = "not-the-first-device"


class Publishing:
    """What is published of a device, and what is to be."""

    def __init__(self, turn: fx.Turn, own: Own, contacts: Contacts) -> None:
        self._turn = turn
        self._own = own
        self._contacts = contacts
        self._refilled_at = -PUBLISH_PAUSE
        self._bound = False
        self._under_way = False
        self._sent: DeviceList | None = None
        self._failures = 0
        self._refill = False
        self._missing = b""
        self._add: dict[str, Certificate] = {}
        self._drop: set[str] = set()
        self._waiting: dict[str, Certificate] = {}
        self._asked_in: set[str] = set()
        #: What was told of whether this device takes part; that it does, as in an earlier run, is no news.
        self._told: bool | None = True if own.listed else None

    @property
    def waiting(self) -> list[Certificate]:
        """Machines of our own name that are in no list."""
        return [self._waiting[id] for id in sorted(self._waiting)]

    @property
    def is_out(self) -> bool:
        """Whether it was told that this device takes no part (yet)."""
        return self._told is False

    def connected(self) -> None:
        """A new connection: it is to be bound to this device."""
        self.disconnected()
        self._failures = 0
        self._contacts.outdate(self._own.user)
        self._contacts.ask(self._own.user)

    def disconnected(self) -> None:
        """What was published and not answered is published again."""
        self._bound = self._under_way = False
        self._sent = None

    def introduce(self, shown: bytes, unlisted: list[Certificate]) -> None:
        """The server told the devices of our own name, with ``shown`` as their list: publish what is
        missing."""
        own, known = self._own, self._contacts.list_of(self._own.user)
        revoked = known.devices.revoked if known else ()
        if self._may_list() and own.id not in revoked:
            listed = {device.device: device for device in known.devices.devices} if known else {}
            by_us = known is not None and known.identity == own.certificate.identity
            renewed = by_us and known is not None and known.signed.chain != own.identity.chain
            if listed.get(own.id) != Listed(own.id, own.certificate.identity) or renewed:
                self._add[own.id] = own.certificate
            self._drop.update(id for id in own.state.replaced if id in listed)
        else:
            self._add.clear()
            self._drop.clear()
        disputed = bool(self._contacts.peer(own.user).offered)
        self._missing = known.raw if known is not None and shown != known.raw and not disputed else b""
        self._tell_ready()
        self._waiting = {certificate.device.id: certificate for certificate in unlisted}
        for id, certificate in self._waiting.items():
            if id not in self._asked_in and id not in revoked and id != own.id:
                self._asked_in.add(id)
                self._turn.tell(fx.OwnDeviceWaits(id, fingerprint_of(certificate.identity)))
        self._publish()

    def published(self, left: int) -> None:
        """The server took what was published, and now holds ``left`` one-time keys of this device."""
        own = self._own
        fallback = own.new_fallback()
        if fallback:
            own.state.fallback, own.state.fallback_at, own.state.used = fallback, self._turn.now, False
        own.account.mark_keys_as_published()
        own.state.left = left
        own.save()
        self._bound, self._under_way, self._missing = True, False, b""
        if self._sent is not None:
            fresh = [own.certificate.raw, *(certificate.raw for certificate in self._add.values())]
            self._contacts.answer(own.user, self._sent.raw, fresh)
            names = {listed.device for listed in self._sent.devices.devices}
            self._add = {id: each for id, each in self._add.items() if id not in names}
            self._drop &= names
            self._sent = None
        self._tell_ready()
        self._publish()
        self.replenish()

    def not_published(self) -> None:
        """The server did not take it (somebody else changed the list first): look again, a few times."""
        self._under_way, self._sent = False, None
        self._failures += 1
        if self._failures < MAX_FAILURES:
            self._contacts.outdate(self._own.user)
            self._contacts.ask(self._own.user)

    def replenish(self) -> None:
        """Publish further one-time keys or another fallback key where they are due."""
        if not self._bound or self._turn.now - self._refilled_at < PUBLISH_PAUSE:
            return
        if self._own.state.left < REFILL_BELOW or self._fallback_is_due():
            self._refilled_at = self._turn.now
            self._refill = True
            self._publish()

    # -------------------------------------------------------------------------------------- people

    def accept_device(self, device: str) -> None:
        """Put another machine of one's own name into the list: a person compared its fingerprint.

        :raises NotOurDevice: none such waits.
        :raises NotOurList: another machine keeps the list.
        """
        self._check_may_list()
        if device not in self._waiting:
            raise NotOurDevice(device=device)
        self._add[device] = self._waiting[device]
        self._publish()

    def revoke(self, device: str) -> None:
        """Take a device out of the list, for ever.

        :raises NotOurDevice: it is not in it.
        :raises NotOurList: another machine keeps the list.
        """
        self._check_may_list()
        known = self._contacts.list_of(self._own.user)
        if known is None or device not in {listed.device for listed in known.devices.devices}:
            raise NotOurDevice(device=device)
        self._add.pop(device, None)
        self._drop.add(device)
        self._publish()

    def renewed(self) -> None:
        """This device became another one."""
        self._bound = False
        self._contacts.outdate(self._own.user)
        self._contacts.ask(self._own.user)

    # --------------------------------------------------------------------------------- publication

    def _publish(self) -> None:
        """Publish what is to be published, unless something is under way."""
        changes = bool(self._add or self._drop)
        if self._under_way or self._failures >= MAX_FAILURES:
            return
        lists = self._failures < MAX_LIST_FAILURES and (changes or bool(self._missing))
        if self._bound and not (lists or self._refill):
            return
        if not self._bound and self._contacts.is_asking(self._own.user):
            return  # the answer brings us back here
        own = self._own
        certificate = b"" if self._bound else own.certificate.raw
        listing = self._missing if lists else b""
        if lists and changes and self._may_list():
            self._sent = self._next_list()
            listing = self._sent.raw
        one_time, fallback = self._keys()
        self._under_way, self._refill = True, False
        self._turn.do(fx.Publish(certificate, listing, one_time, fallback))

    def _next_list(self) -> DeviceList:
        own, known = self._own, self._contacts.list_of(self._own.user)
        devices = {listed.device: listed for listed in known.devices.devices} if known else {}
        revoked = known.devices.revoked if known else ()
        for id, certificate in self._add.items():
            devices[id] = Listed(id, certificate.identity)
        for id in self._drop:
            devices.pop(id, None)
        gone = (*revoked, *sorted(self._drop))
        return list_devices(own.identity, own.user, known, devices.values(), gone, self._turn.now)

    def _keys(self) -> tuple[tuple[bytes, ...], bytes]:
        """The one-time keys and the fallback key that the server does not have yet."""
        own, now = self._own, self._turn.now
        missing = KEEP - own.state.left - len(own.account.one_time_keys)
        if own.state.left < REFILL_BELOW and missing > 0:
            own.account.generate_one_time_keys(missing)
        if self._fallback_is_due() and not own.new_fallback():
            own.account.generate_fallback_key()  # type: ignore[attr-defined]  # left out of the stubs
        own.save()
        keys = [key.to_bytes() for key in own.account.one_time_keys.values()]
        one_time = tuple(sign_key(own.account, own.id, key, False, now) for key in keys)
        fallback = own.new_fallback()
        return one_time, sign_key(own.account, own.id, fallback, True, now) if fallback else b""

    def _fallback_is_due(self) -> bool:
        state = self._own.state
        age = self._turn.now - state.fallback_at
        return not state.fallback or age >= FALLBACK_AGE or (state.used and age >= FALLBACK_PAUSE)

    def _tell_ready(self) -> None:
        """Tell whether this device takes part, where that is news: not while it is about to list itself."""
        own = self._own
        listing = own.id in self._add and self._failures < MAX_LIST_FAILURES
        if own.listed != self._told and (own.listed or not listing):
            self._told = self._own.listed
            self._turn.tell(fx.DeviceReady(self._own.id, self._own.listed))

    def _may_list(self) -> bool:
        """Whether this machine's identity may sign the list of its name, and no other one claims to."""
        mine, peer = identity_of(self._own.identity.spki), self._contacts.peer(self._own.user)
        return not peer.offered and (self._contacts.authority or peer.identity == mine)

    def _check_may_list(self) -> None:
        if not self._may_list():
            raise NotOurList()
