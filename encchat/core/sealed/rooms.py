"""Who is in a sealed room: the chain of signed rosters.

A roster counts when it follows the last one by the rule in ``rosters``, and a device of its maker signed it
whose identity is the maker's for us. One that follows but whose signer we cannot be sure of (another
identity, a revoked device) is set aside; it counts when a later one that we are sure of follows it, by an
admin who could have made it as well. What counts or not, the seq of the last roster entry is what our own
messages must name: else they would be refused for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from encchat.core.sealed import effects as fx
from encchat.core.sealed import formats
from encchat.core.sealed.certificates import check_certificate, check_device_list
from encchat.core.sealed.contacts import Contacts
from encchat.core.sealed.formats import Certificate, Roster, RosterEntry
from encchat.core.sealed.keeper import Keeper
from encchat.core.sealed.places import Places
from encchat.core.sealed.ratchets import check_device_signature
from encchat.core.sealed.rosters import (
    GENESIS_EPOCH,
    RosterRefused,
    added,
    check_genesis,
    check_successor,
    removed,
)
from encchat.errors import EncchatError, PeerError

#: Rosters of a room that are set aside at most.
MAX_ASIDE = 20

parse_roster = lru_cache(maxsize=256)(formats.parse_roster)


class RoomState(msgspec.Struct):
    """A room: its id, the roster that counts, the seq of the last roster entry, and what is set aside, with
    the seq and time of each."""

    name: str
    room_id: bytes = b""
    roster: bytes = b""
    seq: int = 0
    aside: list[bytes] = []
    aside_at: list[tuple[int, int]] = []
    forked: bool = False


class Anchor(msgspec.Struct):
    """What a backup knows of a room: its id, and the hash of the roster of one epoch."""

    room_id: bytes
    epoch: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Epoch:
    """What counts at one place of a room's log; ``identities`` are those of its members."""

    room: str
    room_id: bytes
    hash: bytes
    roster: Roster
    identities: Mapping[str, bytes]


class Rooms:
    """All sealed rooms, kept as records of the kinds ``room`` and ``anchor``; ``places`` is how far each was
    read."""

    def __init__(self, keeper: Keeper, turn: fx.Turn, contacts: Contacts, me: str) -> None:
        self._keeper = keeper
        self._turn = turn
        self._contacts = contacts
        self._me = me
        self.places = Places(keeper)
        self._epochs: dict[str, Epoch] = {}
        self._in_doubt = {name for name, state in keeper.scan("room", RoomState) if state.aside}

    def state(self, room: str) -> RoomState:
        """What is known of a room."""
        return self._keeper.get("room", room, RoomState) or RoomState(room)

    def epoch(self, room: str) -> Epoch | None:
        """What counts in a room now; None before its first roster."""
        known = self._epochs.get(room)
        if known is None:
            state = self.state(room)
            if not state.roster:
                return None
            entry = parse_roster(state.roster)
            known = self._epochs[room] = _epoch(state, entry)
        return known

    def names(self) -> list[str]:
        """All rooms, in the order of their names."""
        return [id for id, _ in self._keeper.scan("room", RoomState)]

    def anchor(self, room: str, anchor: Anchor) -> None:
        """Take from a backup which room has this name, unless it was read already."""
        if not self.state(room).roster:
            self._keeper.put("anchor", room, anchor)

    def is_behind(self, room: str) -> bool:
        """Whether a backup knows of a later roster than was read: somebody may be out of the room in it."""
        anchor, epoch = self._keeper.get("anchor", room, Anchor), self.epoch(room)
        return anchor is not None and (epoch is None or epoch.roster.epoch < anchor.epoch)

    def fork(self, room: str) -> None:
        """The server showed somebody another history."""
        state = self.state(room)
        state.forked = True
        self._keeper.put("room", room, state)

    # --------------------------------------------------------------------------------------- roster

    def is_in_doubt(self, room: str) -> bool:
        """Whether a roster of a room is set aside, and may count later."""
        return room in self._in_doubt

    def in_doubt(self) -> list[str]:
        """The rooms of which one is."""
        return sorted(self._in_doubt)

    def read_roster(
        self, room: str, seq: int, time: int, sender: str, body: bytes
    ) -> Sequence[tuple[int, Epoch]]:
        """Entry ``seq`` is of kind ``roster``, and the server says that ``sender`` made it. Returns what
        counts since earlier places, as this one confirms what was set aside: from which seq on, and what."""
        state = self.state(room)
        state.seq = seq
        self._keeper.put("room", room, state)
        try:
            entry = parse_roster(body)
            if entry.roster.room != room or entry.roster.by != sender:
                raise RosterRefused(room=room, reason="it is for another room, or of somebody else")
            self._check_signatures(entry)
            self._check_anchor(state, entry)
            pending = [parse_roster(raw) for raw in state.aside] if state.aside else []
            chain = self._chain(state, pending, entry)
            self._check_signer(self._before(state, chain), entry)
        except EncchatError as error:
            self._turn.tell(fx.RosterRejected(room, seq, time, sender, str(error)))
            return ()
        doubt = self._doubt(self._before(state, chain), entry)
        if not doubt and len(chain) > 1 and not self._confirms(self._counted(state), chain):
            doubt = "it follows one whose signer is in doubt, and its own could not have made that one"
        if doubt and not self._is_anchored(entry):
            if len(state.aside) < MAX_ASIDE:
                state.aside = [each.raw for each in chain]
                state.aside_at = [*self._places(state, len(chain) - 1), (seq, time)]
                self._in_doubt.add(room)
            self._turn.tell(fx.RosterRejected(room, seq, time, sender, doubt))
            return ()
        places = [*self._places(state, len(chain) - 1), (seq, time)]
        applied = [(at[0], self._apply(state, each, *at)) for each, at in zip(chain, places, strict=True)]
        state.aside, state.aside_at = [], []
        self._in_doubt.discard(room)
        return applied[:-1]

    def _places(self, state: RoomState, count: int) -> list[tuple[int, int]]:
        """Seq and time of the first ``count`` rosters that are set aside (an older state does not tell)."""
        return [*state.aside_at[:count], *[(state.seq, self._turn.now)] * (count - len(state.aside_at))]

    def reconsider(self, room: str) -> Sequence[tuple[int, Epoch]]:
        """Who somebody is has changed: what was set aside may count now. Returns what does, as
        ``read_roster``."""
        state = self.state(room)
        pending = [parse_roster(raw) for raw in state.aside]
        counted, sure = self._counted(state), 0
        for count, entry in enumerate(pending, 1):
            if self._doubt(self._before(state, pending[:count]), entry):
                continue
            if count == sure + 1 or self._confirms(counted, pending[sure:count]):
                counted, sure = entry.roster, count
        places = self._places(state, sure)
        if not sure:
            return ()
        applied = [
            (at[0], self._apply(state, each, *at)) for each, at in zip(pending[:sure], places, strict=True)
        ]
        state.aside, state.aside_at = state.aside[sure:], state.aside_at[sure:]
        if not state.aside:
            self._in_doubt.discard(room)
        self._keeper.put("room", room, state)
        return applied

    def _chain(self, state: RoomState, pending: list[RosterEntry], entry: RosterEntry) -> list[RosterEntry]:
        """The rosters from the one that counts to ``entry``: itself, or what is set aside and itself.

        :raises RosterRefused: there is no such chain.
        """
        try:
            self._check_rules(state, [], entry)
        except RosterRefused:
            for count in range(len(pending), 0, -1):
                if pending[count - 1].hash == entry.roster.prev:
                    self._check_rules(state, pending[:count], entry)
                    return [*pending[:count], entry]
            raise
        return [entry]

    def _check_rules(self, state: RoomState, pending: list[RosterEntry], entry: RosterEntry) -> None:
        before = parse_roster(state.roster) if state.roster else None
        before = pending[-1] if pending else before
        if before is None:
            check_genesis(entry.roster)
        else:
            check_successor(before.roster, before.hash, entry.roster)

    def _before(self, state: RoomState, chain: list[RosterEntry]) -> Roster | None:
        if len(chain) > 1:
            return chain[-2].roster
        return self._counted(state)

    def _counted(self, state: RoomState) -> Roster | None:
        """The roster that counts now."""
        return parse_roster(state.roster).roster if state.roster else None

    def _confirms(self, counted: Roster | None, chain: list[RosterEntry]) -> bool:
        """Whether the last roster of ``chain``, of whose signer we are sure, makes those before it count:
        only if who made it could have made all of them, by the roster that counts. Else a forged one could
        bring in, or crown, the very person who confirms it."""
        by, base = chain[-1].roster.by, counted or chain[0].roster
        identity = chain[-2].roster.identities[by]
        if by in base.admins and (self._contacts.authority or base.identities[by] == identity):
            return True
        return counted is None and self._contacts.speaks_for(by, identity)

    def _check_signatures(self, entry: RosterEntry) -> None:
        certificate = entry.certificate
        check_certificate(certificate, entry.roster.by)
        check_device_signature(certificate.device.ed, entry.signed.roster, entry.signed.by_device, "roster")

    def _check_signer(self, before: Roster | None, entry: RosterEntry) -> None:
        """Whether the signer is a device of the maker whom the room means. Another one never is, but where an
        authority may have vouched for it when the roster was made.

        :raises RosterRefused: it is not.
        """
        if before is not None and self._contacts.authority:
            return
        identity = (before or entry.roster).identities[entry.roster.by]
        if not _acts_for(entry.certificate, entry.signed.devices, identity):
            by = entry.roster.by
            raise RosterRefused(
                room=entry.roster.room, reason=f"its signer is not the {by} who is in the room"
            )

    def _check_anchor(self, state: RoomState, entry: RosterEntry) -> None:
        anchor = self._keeper.get("anchor", state.name, Anchor)
        if anchor is None:
            return
        first = entry.roster.epoch == GENESIS_EPOCH and entry.room_id != anchor.room_id
        if first or (entry.roster.epoch == anchor.epoch and entry.hash != anchor.hash):
            raise RosterRefused(room=state.name, reason="it is not the room that the backup knows")

    def _is_anchored(self, entry: RosterEntry) -> bool:
        anchor = self._keeper.get("anchor", entry.roster.room, Anchor)
        return anchor is not None and anchor.hash == entry.hash

    def _doubt(self, before: Roster | None, entry: RosterEntry) -> str:
        """Why we cannot be sure that the maker of a roster is who it says; empty if we are."""
        by, certificate = entry.roster.by, entry.certificate
        identity = (before or entry.roster).identities[by]
        if self._contacts.is_revoked(by, certificate.device.id):
            return f"the device that signed it was taken back by {by}"
        if by != self._me and self._contacts.is_behind(by):
            self._contacts.ask(by)
            return f"there is a newer list of the devices of {by}, and the server shows an old one"
        peer = self._contacts.peer(by)
        compared = self._contacts.authority and peer.trust == fx.VERIFIED and by != self._me
        if compared and not _acts_for(certificate, entry.signed.devices, peer.identity):
            self._contacts.offer(by, certificate.identity)
            return f"its signer is not the {by} whom you compared"  # whatever the authority says
        if not _acts_for(certificate, entry.signed.devices, identity):
            if not self._contacts.vouched(certificate):
                return f"its signer is not the {by} who is in the room"
            return ""
        if self._contacts.authority:
            sure = peer.identity in (identity, certificate.identity) and not peer.doubted
            if not sure and not self._contacts.vouched(certificate):
                return f"no authority vouches that its signer is {by}"
            return ""
        if self._contacts.is_blocked(by, identity):
            if by != self._me:
                self._contacts.offer(by, identity)
            return f"the identity of its signer is not the one that we know of {by}"
        return ""

    def _apply(self, state: RoomState, entry: RosterEntry, seq: int, time: int) -> Epoch:
        old = parse_roster(state.roster).roster if state.roster else None
        new = entry.roster
        if old is None:
            state.room_id = entry.room_id
        state.roster = entry.raw
        self._keeper.put("room", state.name, state)
        epoch = self._epochs[state.name] = _epoch(state, entry)
        gone = removed(old, new) if old else set()
        self._turn.tell(
            fx.RosterChanged(
                state.name,
                seq,
                time,
                new.by,
                tuple(sorted(added(old, new))),
                tuple(sorted(gone)),
                tuple(sorted(new.identities)),
                tuple(sorted(new.admins)),
                new.epoch,
                self._me in new.identities,
            )
        )
        for name, identity in new.identities.items():
            if name != self._me and not self._contacts.speaks_for(name, identity):
                self._contacts.offer(name, identity)
        return epoch


def _epoch(state: RoomState, entry: RosterEntry) -> Epoch:
    return Epoch(state.name, state.room_id, entry.hash, entry.roster, entry.roster.identities)


def _acts_for(certificate: Certificate, devices: bytes, identity: bytes) -> bool:
    """Whether a certificate is of a device of ``identity``: signed by it, or in the list that it signed."""
    if certificate.identity == identity:
        return True
    if not devices:
        return False
    try:
        listing = formats.parse_device_list(devices)
        check_device_list(listing, certificate.device.user)
    except PeerError:
        return False
    named = {(listed.device, listed.identity) for listed in listing.devices.devices}
    return listing.identity == identity and (certificate.device.id, certificate.identity) in named
