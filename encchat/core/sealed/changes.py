"""What a person may ask of a room's roster, and the roster that comes of it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from encchat.core.sealed.formats import (
    ALG_ROOM,
    MAX_ADMINS,
    MAX_MEMBERS,
    NOTHING,
    Roster,
    RosterMember,
    SignedRoster,
    encode,
)
from encchat.core.sealed.own import Own
from encchat.core.sealed.ratchets import sign
from encchat.core.sealed.rooms import Epoch
from encchat.core.sealed.rosters import (
    GENESIS_EPOCH,
    RosterRefused,
    check_genesis,
    check_successor,
    without,
)
from encchat.errors import RefusedError


class CannotChange(RefusedError):
    """{room} was not changed: {reason}."""

    code = "cannot-change"


class CannotMake(CannotChange):
    """{room} was not made: {reason}."""


class OnlyAdmins(RosterRefused):
    """Only an admin of {room} may do that; /who shows them."""


class Change(msgspec.Struct, frozen=True):
    """What is to become of a room: ``create`` makes it, with ``add`` as its other members. ``add`` puts
    names in, ``remove`` out, ``promote`` and ``demote`` make and unmake admins, ``renew`` takes the identity
    that we accept now for a member, ``policy`` says who may add somebody; ``leave`` is one's own
    farewell."""

    create: bool = False
    add: tuple[str, ...] = ()
    remove: tuple[str, ...] = ()
    promote: tuple[str, ...] = ()
    demote: tuple[str, ...] = ()
    renew: tuple[str, ...] = ()
    policy: str = ""
    leave: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Whose identities must be known."""
        return (*self.add, *self.renew)


def first_roster(
    room: str, change: Change, me: str, identities: Mapping[str, bytes], now: int, salt: bytes
) -> Roster:
    """The genesis roster of a room that ``me`` makes.

    :raises RosterRefused: no such room can begin.
    """
    names = [me, *(name for name in change.add if name != me)]
    members = tuple(RosterMember(name, identities[name]) for name in dict.fromkeys(names))
    admins = tuple(m.name for m in members) if room.startswith("@") else (me,)
    policy = change.policy or "admins"
    roster = Roster(room, GENESIS_EPOCH, NOTHING, members[:MAX_MEMBERS], admins, policy, me, now, salt)
    check_genesis(roster)
    return roster


def next_roster(
    epoch: Epoch, change: Change, me: str, identities: Mapping[str, bytes], now: int, salt: bytes
) -> Roster:
    """The roster that follows the one of ``epoch``.

    :raises CannotChange: it would say the same, or too much.
    :raises RosterRefused: ``me`` may not make it.
    """
    old = epoch.roster
    known = old.identities
    for name in change.add:
        known.setdefault(name, identities[name])
    for name in change.renew:
        if name in known:
            known[name] = identities[name]
    for name in change.remove:
        known.pop(name, None)
    admins = [a for a in (*old.admins, *change.promote) if a in known and a not in change.demote]
    admins = list(dict.fromkeys(admins))
    if change.leave:
        known.pop(me, None)
        admins = list(without(old, me))
    members = tuple(RosterMember(name, identity) for name, identity in known.items())
    policy = change.policy or old.policy
    if (members, tuple(admins), policy) == (old.members, old.admins, old.policy):
        raise CannotChange(room=old.room, reason="it is like that already")
    if len(members) > MAX_MEMBERS or len(admins) > MAX_ADMINS:
        raise CannotChange(room=old.room, reason=f"it can have {MAX_MEMBERS} members and {MAX_ADMINS} admins")
    new = Roster(old.room, old.epoch + 1, epoch.hash, members, tuple(admins), policy, me, now, salt)
    try:
        check_successor(old, epoch.hash, new)
    except RosterRefused:
        if me in known and me not in old.admins:
            raise OnlyAdmins(room=old.room) from None
        raise
    return new


def signed_roster(roster: Roster, own: Own, identity: bytes, devices: bytes) -> bytes:
    """The body of the entry that carries a roster. ``identity`` is ours as the roster means it; if another
    one certified this device, ``devices``, our signed list, goes with it."""
    data, certificate = encode(roster), own.certificate
    listing = b"" if certificate.identity == identity else devices
    return encode(SignedRoster(ALG_ROOM, data, sign(own.account, data), certificate.raw, listing))
