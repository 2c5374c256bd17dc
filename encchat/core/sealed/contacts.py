"""Whom we know, by which identity, and with which devices: the pins of this device.

Nothing here rests on the server's word. A device counts while the newest list that we saw, signed by the
identity of its owner, names it, and its own certificate holds. A list older than one that we saw, or another
one of the same version, is refused. An identity is the one that was met first, or one that the authority
vouches for; another one that claims the name is kept aside, and blocks sending, until a person accepts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TypeAlias

import msgspec

from encchat.core.sealed import effects as fx
from encchat.core.sealed import formats
from encchat.core.sealed.certificates import check_certificate, check_device_list
from encchat.core.sealed.formats import Certificate, DeviceList, fingerprint_of
from encchat.core.sealed.keeper import Keeper
from encchat.errors import EncchatError, PeerError, RefusedError

#: ``vouches(name, spki, chain)`` returns if an authority says that the X.509 certificates ``chain`` (DER, the
#: first one's key is ``spki``) give ``name``: chain, validity, CRL, EKU and URI SAN; else raises
#: EncchatError.
Vouches: TypeAlias = Callable[[str, bytes, tuple[bytes, ...]], None]

#: After this many milliseconds a device list is asked for again before something is sent.
STALE = 10 * 60 * 1000
#: Identities of one name that were given up, of which so many are remembered.
MAX_REPLACED = 20

#: Trust, the least sure first.
_SURE = (fx.CHANGED, fx.UNKNOWN, fx.PINNED, fx.VOUCHED, fx.VERIFIED)

parse_certificate = lru_cache(maxsize=2048)(formats.parse_certificate)
parse_device_list = lru_cache(maxsize=2048)(formats.parse_device_list)


class ListRefused(PeerError):
    """The device list of {name} was refused: {reason}."""

    code = "device-list-refused"


class NobodyOffered(RefusedError):
    """There is no changed identity of {name} to accept."""

    code = "nothing-to-accept"


class Peer(msgspec.Struct):
    """What we know of one name. ``identity`` is the pinned one; ``offered`` another one that claims the
    name; ``replaced`` are those that a person gave up for another one. ``listing`` is the newest device list,
    ``devices`` are the certificates of those in it. ``doubted`` says that the authority, which vouched for
    the identity, does so no more. ``claims`` are the versions of the list that its devices say there are."""

    name: str
    identity: bytes = b""
    trust: str = fx.UNKNOWN
    offered: bytes = b""
    listing: bytes = b""
    devices: dict[str, bytes] = {}
    replaced: list[bytes] = []
    doubted: bool = False
    claims: dict[str, int] = {}


class Contacts:
    """All that we know, kept as records of kind ``peer``."""

    def __init__(self, keeper: Keeper, turn: fx.Turn, me: str, vouches: Vouches | None) -> None:
        self._keeper = keeper
        self._turn = turn
        self._me = me
        self._vouches = vouches
        self._fresh: dict[str, int] = {}
        self._asked: set[str] = set()
        #: Rises whenever anybody's identity or devices are not what they were.
        self.revision = 0

    @property
    def authority(self) -> bool:
        """Whether identities are vouched for, not pinned."""
        return self._vouches is not None

    def peer(self, name: str) -> Peer:
        """What is known of ``name``; empty for who was never met."""
        return self._keeper.get("peer", name, Peer) or Peer(name)

    def pin_own(self, spki_identity: bytes) -> None:
        """Begin with one's own identity as the one of one's own name."""
        peer = self.peer(self._me)
        if not peer.identity:
            self._keep(msgspec.structs.replace(peer, identity=spki_identity, trust=fx.VERIFIED))

    def list_of(self, name: str) -> DeviceList | None:
        """The newest device list of ``name`` that was seen."""
        raw = self.peer(name).listing
        return parse_device_list(raw) if raw else None

    def devices(self, name: str) -> list[Certificate]:
        """The certificates of the devices of ``name`` now, in the order of their ids."""
        devices = self.peer(name).devices
        return [parse_certificate(devices[id]) for id in sorted(devices)]

    def certificate(self, name: str, device: str) -> Certificate | None:
        """The certificate of one of the devices that ``name`` has now."""
        raw = self.peer(name).devices.get(device)
        return None if raw is None else parse_certificate(raw)

    def has(self, name: str, device: str) -> bool:
        """Whether it is one of the devices that ``name`` has now."""
        return device in self.peer(name).devices

    def is_revoked(self, name: str, device: str) -> bool:
        """Whether the owner of a device took it out of the list."""
        devices = self.list_of(name)
        return devices is not None and device in devices.devices.revoked

    def claim(self, name: str, device: str, version: int) -> None:
        """A device of ``name`` wrote that the list of its name has this version, at least."""
        peer, known = self.peer(name), self.list_of(name)
        if known is None or version <= known.version:
            return
        self.outdate(name)
        if device in peer.devices and version > peer.claims.get(device, 0):
            self._keep(msgspec.structs.replace(peer, claims={**peer.claims, device: version}))
            self.ask(name)  # rosters of its devices are in doubt until it is here

    def is_behind(self, name: str) -> bool:
        """Whether one of the devices of ``name`` knows of a newer list than the server shows: somebody may be
        out of that one."""
        known = self.list_of(name)
        return known is not None and known.version < max(self.peer(name).claims.values(), default=0)

    def trust_of(self, name: str, device: str, identity: bytes) -> str:
        """How sure it is who wrote something with this device of ``name``, as ``events`` says it.
        ``identity`` is the one that the name had for us when the key came."""
        return fx.REVOKED if self.is_revoked(name, device) else self.trust_as(name, identity)

    def trust_as(self, name: str, identity: bytes) -> str:
        """How sure it is that ``identity`` is the one of ``name``: no more than that something changed, if
        another one is now (an authority may have vouched for both)."""
        trust, peer = self.trust(name), self.peer(name)
        if not peer.identity or peer.identity == identity:
            return trust
        return min(trust, fx.VOUCHED, key=_SURE.index) if self.authority else fx.CHANGED

    def trust(self, name: str) -> str:
        """How sure the identity of ``name`` is, as ``events`` says it."""
        peer = self.peer(name)
        return fx.CHANGED if peer.offered else fx.UNKNOWN if peer.doubted else peer.trust

    # ---------------------------------------------------------------------------------------- asking

    def ask(self, name: str) -> None:
        """Ask the server for the devices of ``name``, unless that is under way."""
        if name not in self._asked:
            self._asked.add(name)
            self._turn.do(fx.AskDevices(name))

    def refresh(self, names: Iterable[str]) -> bool:
        """Ask for those that were not asked for lately; whether all are fresh."""
        stale = [name for name in names if not self._is_fresh(name)]
        for name in stale:
            self.ask(name)
        return not stale

    def outdate(self, name: str) -> None:
        """Somebody says that the devices of ``name`` changed: ask before the next use."""
        self._fresh.pop(name, None)

    def disconnected(self) -> None:
        """What was asked will not be answered."""
        self._asked.clear()

    def is_asking(self, name: str) -> bool:
        """Whether an answer about ``name`` is to come."""
        return name in self._asked

    def was_asked_since(self, name: str, moment: int) -> bool:
        """Whether there was an answer about ``name`` at ``moment`` or later."""
        return self._fresh.get(name, -1) >= moment

    def _is_fresh(self, name: str) -> bool:
        return name in self._fresh and self._turn.now - self._fresh[name] < STALE

    # --------------------------------------------------------------------------------------- answers

    def nothing_of(self, name: str) -> None:
        """The server has no devices of ``name``, or does not say: what we know stays."""
        self._asked.discard(name)
        self._fresh[name] = self._turn.now
        peer = self.peer(name)
        if peer.listing and name != self._me:  # time and revocation go on, whatever the server says
            self._is_vouched(peer, parse_device_list(peer.listing))

    def answer(self, name: str, raw: bytes, certificates: Iterable[bytes]) -> list[Certificate]:
        """Take what the server gave out for ``name``. Returns certificates that hold and that no list names.

        :raises PeerError: the list does not hold; nothing was changed.
        """
        self._asked.discard(name)
        self._fresh[name] = self._turn.now
        peer = self.peer(name)
        found = self._read_certificates(name, certificates)
        if raw:
            devices = formats.parse_device_list(raw)
            check_device_list(devices, name)
            if not self._believe(peer, devices):
                return []
            peer = self.peer(name)
            self._check_version(peer, devices)
            self._take(peer, devices, found)
        listed = self.peer(name).devices
        return [certificate for id, certificate in found.items() if id not in listed]

    def _read_certificates(self, name: str, raws: Iterable[bytes]) -> dict[str, Certificate]:
        found: dict[str, Certificate] = {}
        for raw in list(raws)[: 2 * formats.MAX_DEVICES]:
            try:
                certificate = parse_certificate(raw)
                check_certificate(certificate, name)
            except PeerError as error:
                self._turn.tell(fx.KeysRejected(name, "", str(error)))
            else:
                found[certificate.device.id] = certificate
        return found

    def _believe(self, peer: Peer, devices: DeviceList) -> bool:
        """Whether a list is by the right identity; says what is wrong if it is not."""
        identity = devices.identity
        if not (peer.name == self._me and identity == peer.identity) and not self._is_vouched(peer, devices):
            return False
        peer = self.peer(peer.name)
        if identity == peer.identity:
            return True
        compared = peer.trust == fx.VERIFIED and peer.name != self._me
        if not peer.identity or (self._vouches is not None and not compared):
            trust = fx.PINNED if self._vouches is None else fx.VOUCHED
            self._check_version(peer, devices)  # else an old list would bring a former identity back
            self._keep(msgspec.structs.replace(peer, identity=identity, trust=trust, doubted=False))
            self._turn.tell(fx.IdentityMet(peer.name, fingerprint_of(identity), trust))
            return True
        if identity != peer.offered:
            self._keep(msgspec.structs.replace(peer, offered=identity))
        self._turn.tell(
            fx.IdentityChanged(peer.name, fingerprint_of(peer.identity), fingerprint_of(identity))
        )
        return False

    def _is_vouched(self, peer: Peer, devices: DeviceList) -> bool:
        """Whether the authority, if there is one, vouches for who signed a list; says so if it does not."""
        if self._vouches is None:
            return True
        known = devices.identity == peer.identity
        try:
            self._vouches(peer.name, devices.devices.identity, devices.signed.chain)
        except EncchatError as error:
            self._turn.tell(fx.KeysRejected(peer.name, "", str(error)))
            if known and not (peer.doubted and not peer.devices):  # it was good once: no longer
                self._keep(msgspec.structs.replace(peer, devices={}, doubted=True))
            return False
        if known and peer.doubted:
            self._keep(msgspec.structs.replace(peer, doubted=False))
        return True

    def _check_version(self, peer: Peer, devices: DeviceList) -> None:
        if not peer.listing:
            return
        known = parse_device_list(peer.listing)
        if devices.version < known.version:
            raise ListRefused(name=peer.name, reason="the server shows an old one, from before a change")
        if devices.version == known.version and devices.hash != known.hash:
            raise ListRefused(name=peer.name, reason="there are two of the same version")
        if devices.version == known.version + 1 and devices.devices.prev != known.hash:
            raise ListRefused(name=peer.name, reason="it does not follow the one before")

    def _take(self, peer: Peer, devices: DeviceList, found: dict[str, Certificate]) -> None:
        now: dict[str, bytes] = {}
        for listed in devices.devices.devices:
            certificate = found.get(listed.device)
            if certificate is not None and certificate.identity == listed.identity:
                now[listed.device] = certificate.raw
            elif listed.device in peer.devices:
                now[listed.device] = peer.devices[listed.device]  # we have seen it, the server left it out
            else:
                reason = "there is no certificate that its list names"
                self._turn.tell(fx.KeysRejected(peer.name, listed.device, reason))
        changed = now.keys() ^ peer.devices.keys()
        if changed or devices.raw != peer.listing or peer.offered:
            # A device that is out of the list has no say in it: else it could keep the others from reading.
            claims = {id: version for id, version in peer.claims.items() if id in now}
            peer = msgspec.structs.replace(peer, claims=claims)
            self._keep(msgspec.structs.replace(peer, listing=devices.raw, devices=now, offered=b""))
        for id in sorted(changed) if peer.listing else ():  # at first it is who they are, and no change
            self._turn.tell(fx.DeviceChanged(peer.name, id, id in now))

    # -------------------------------------------------------------------------------------- judgement

    def vouched(self, certificate: Certificate) -> bool:
        """Whether an authority vouches for the identity that signed a certificate, now."""
        if self._vouches is None:
            return False
        try:
            self._vouches(certificate.device.user, certificate.device.identity, certificate.signed.chain)
        except EncchatError:
            return False
        return True

    def speaks_for(self, name: str, identity: bytes) -> bool:
        """Whether who has ``name`` for us is whom a roster means by (name, identity). Under an authority the
        name is what counts, as long as it vouches for the identity of now."""
        peer = self.peer(name)
        return peer.identity == identity or (self.authority and bool(peer.identity))

    def is_blocked(self, name: str, identity: bytes) -> bool:
        """Whether nothing may be sent to a room with this member: another identity claims the name, or the
        roster means another one than we know, and not one that a person here gave up."""
        peer = self.peer(name)
        if peer.offered or not peer.identity or identity in peer.replaced:
            return bool(peer.offered)
        return not self.speaks_for(name, identity)

    def accept(self, name: str) -> None:
        """A person accepts the identity that claims ``name``. Its devices are asked for anew.

        :raises NobodyOffered: none does.
        """
        peer = self.peer(name)
        if not peer.offered:
            raise NobodyOffered(name=name)
        replaced = [each for each in (*peer.replaced, peer.identity) if each and each != peer.offered]
        accepted = Peer(name, peer.offered, fx.PINNED, replaced=replaced[-MAX_REPLACED:])
        self._keep(accepted)
        self.outdate(name)
        self.ask(name)

    def offer(self, name: str, identity: bytes) -> None:
        """A roster means another identity by ``name`` than the pinned one: keep it for a person to judge
        (but for one's own name, which nobody else decides on)."""
        peer = self.peer(name)
        if name == self._me or not peer.identity or identity in peer.replaced:
            return
        if identity not in (peer.identity, peer.offered):
            self._keep(msgspec.structs.replace(peer, offered=identity))
            before, now = fingerprint_of(peer.identity), fingerprint_of(identity)
            self._turn.tell(fx.IdentityChanged(name, before, now, "a roster names it"))

    def verify(self, name: str, identity: bytes) -> bool:
        """A person compared this identity of ``name``. Whether it is the pinned one, or the one that claims
        the name and is now accepted."""
        peer = self.peer(name)
        if not identity or identity not in (peer.identity, peer.offered):
            return False
        if identity == peer.identity:
            self._keep(msgspec.structs.replace(peer, trust=fx.VERIFIED, offered=b""))
        else:
            self.accept(name)
            self._keep(msgspec.structs.replace(self.peer(name), trust=fx.VERIFIED))
        self._turn.tell(fx.Verified(name, fingerprint_of(identity)))
        return True

    def restore(self, name: str, identity: bytes, trust: str) -> None:
        """Take a pin from a backup, if the name was not met yet."""
        if trust == fx.VOUCHED and not self.authority:
            trust = fx.PINNED  # nobody vouches for anything here
        if not self.peer(name).identity and trust in (fx.VERIFIED, fx.VOUCHED, fx.PINNED):
            self._keep(Peer(name, identity, trust))

    def all(self) -> Iterable[Peer]:
        """Everybody who was met, in the order of their names."""
        return (peer for _, peer in self._keeper.scan("peer", Peer))

    def _keep(self, peer: Peer) -> None:
        self.revision += 1
        self._keeper.put("peer", peer.name, peer)
