"""Who may do what in a room: its durable record, and what each act of its moderators makes of it.

Pure. An act is an entry of the room's log. Before it is stored, it stands in the record as ``pending``, so
that it is finished after any crash; once it is stored, ``applied`` is its seq. The acts of a room are done
one after the other: an act whose entry has a seq up to ``applied`` was done before, and is not done again
however often it is sent.

A ban or a mute holds for a name, and for the keys that the name had: so another device does not get around
it, nor does another name with the same key. The keys alone never hold against somebody who has a role in
the room: otherwise a moderator could ban an owner through another name that the owner has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from encchat.core.identity import PeerIdentity
from encchat.core.interfaces import Draft
from encchat.core.refusals import TooManyListed
from encchat.core.relay.membership import Sealed

#: Names in any one list of a room at most: roles, invitations, bans, mutes.
MAX_LISTED = 1000
#: Bytes of a record in the directory at most.
MAX_RECORD = 128 * 1024

OPEN, PRIVATE = "open", "private"
MEMBERS, MODERATORS = "members", "moderators"
#: Which words an ``access`` act may say.
ACCESS, TOPIC_BY = (OPEN, PRIVATE), (MEMBERS, MODERATORS)


class Rank(IntEnum):
    """What somebody may do in a room. Above owners are the server's admins, everywhere."""

    MEMBER = 0
    MODERATOR = 1
    OWNER = 2
    ADMIN = 3


#: The ranks that a ``role`` act can give, by their words.
RANKS: Mapping[str, Rank] = {rank.name.lower(): rank for rank in (Rank.MEMBER, Rank.MODERATOR, Rank.OWNER)}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody as the rules see them. ``keys`` are tokens of :func:`key_token`."""

    name: str
    keys: tuple[str, ...]
    vouched: bool = False
    admin: bool = False


def key_token(identity: PeerIdentity) -> str:
    """What a ban keeps of a peer's key. A classic peer merely showed its key, which can be anybody's:
    what holds for it must not hold for whoever proves that key."""
    return identity.fingerprint if identity.authenticated else f"guest {identity.fingerprint}"


class Restraint(Struct, frozen=True, array_like=True):
    """A ban or a mute: of whom, by whom, since when and until when (milliseconds; 0: until it is undone).
    Without ``name`` it is of the keys alone."""

    name: str
    keys: tuple[str, ...]
    vouched: bool
    by: str
    since: int
    until: int = 0

    def lasts(self, now: int) -> bool:
        """Whether it still holds."""
        return not self.until or now < self.until

    def names(self, person: Person) -> bool:
        """Whether it is of this person's name, in the same way: what befell a name's claimant is not for
        the holder of its certificate."""
        return self.name == person.name and self.vouched == person.vouched

    def is_undone(self, name: str, keys: Iterable[str]) -> bool:
        """Whether undoing what befell this name, or these keys alone, undoes it."""
        return self.name == name if self.name else not set(self.keys).isdisjoint(keys)


class Restraints:
    """The bans or mutes, of a long list, that may hold for some people; to be asked about each of them."""

    __slots__ = ("_keys", "_names")

    def __init__(self, restraints: Iterable[Restraint], people: Iterable[Person]) -> None:
        self._names: dict[str, list[Restraint]] = {}
        self._keys: dict[str, list[Restraint]] = {}
        names: set[str] = set()
        keys: set[str] = set()
        for person in people:
            names.add(person.name)
            keys.update(person.keys)
        for restraint in restraints:
            if restraint.name in names:
                self._names.setdefault(restraint.name, []).append(restraint)
            if not keys.isdisjoint(restraint.keys):
                for key in keys.intersection(restraint.keys):
                    self._keys.setdefault(key, []).append(restraint)

    def __bool__(self) -> bool:
        return bool(self._names or self._keys)

    def find(self, person: Person, now: int, *, by_key: bool = True) -> Restraint | None:
        """The one that holds for this person, if there is one: the one that holds longest."""
        found = [r for r in self._names.get(person.name, ()) if r.names(person)]
        if by_key:
            found += [r for key in person.keys for r in self._keys.get(key, ())]
        lasting = [r for r in found if r.lasts(now)]
        return max(lasting, key=lambda r: r.until or 2**63, default=None)


class Act(Struct, frozen=True, array_like=True):
    """An act on its way: the entry that it becomes, the key of who does it, and what was found out about
    its target when it was judged. The entry's body is made from the request alone, so that it is the same
    when the request comes again."""

    time: int
    sender: str
    key: str
    device: str
    kind: str
    msgid: bytes
    body: bytes
    target: str = ""
    keys: tuple[str, ...] = ()
    vouched: bool = False
    until: int = 0
    rank: Rank = Rank.MEMBER
    text: str = ""
    access: str = ""
    topic_by: str = ""
    invited: tuple[str, ...] = ()
    #: In a sealed room, the seq of the roster that this one follows.
    roster: int | None = None
    #: What its sender was called before.
    former: tuple[str, ...] = ()

    def draft(self, room: str) -> Draft:
        """The entry."""
        return Draft(
            room,
            self.time,
            self.sender,
            self.device,
            self.kind,
            self.msgid,
            self.body,
            self.roster,
            former=self.former,
        )

    def is_same(self, other: Act | None) -> bool:
        """Whether the other one is this one, come again."""
        return other is not None and (self.sender, self.msgid) == (other.sender, other.msgid)

    @property
    def restraint(self) -> Restraint:
        """The ban or mute that it brings about."""
        return Restraint(self.target, self.keys, self.vouched, self.sender, self.time, self.until)


class RoomRecord(Struct, frozen=True, array_like=True):
    """What is durable about a room besides its log. People are named by their names' keys, but
    ``creator`` as shown."""

    created: int
    creator: str
    topic: str = ""
    roles: dict[str, Rank] = {}
    access: str = OPEN
    topic_by: str = MEMBERS
    invites: tuple[str, ...] = ()
    bans: tuple[Restraint, ...] = ()
    mutes: tuple[Restraint, ...] = ()
    applied: int = 0
    pending: Act | None = None
    #: Of a sealed room, who is in it; then nothing else here says who may do what.
    sealed: Sealed | None = None

    def rank(self, person: Person) -> Rank:
        """What this person may do here."""
        return Rank.ADMIN if person.admin else self.roles.get(person.name, Rank.MEMBER)

    @property
    def private(self) -> bool:
        """Whether only those may come in who were invited."""
        return self.access == PRIVATE or self.sealed is not None

    def invites_in(self, person: Person) -> bool:
        """Whether the room is there for this person at all, bans aside."""
        if self.sealed is not None:
            return person.name in self.sealed.admitted
        return not self.private or person.name in self.invites or self.rank(person) > Rank.MEMBER

    def after(self, act: Act) -> RoomRecord:
        """The record once ``act`` is done.

        :raises TooManyListed: it would hold more than it can.
        """
        bans = tuple(r for r in self.bans if r.lasts(act.time))
        mutes = tuple(r for r in self.mutes if r.lasts(act.time))
        return _EFFECTS[act.kind](replace(self, bans=bans, mutes=mutes), act)

    def intending(self, act: Act) -> RoomRecord:
        """The record with ``act`` pending.

        :raises TooManyListed: it could not be done.
        """
        _check_size(self.after(act), self)
        return replace(self, pending=act)

    def concluded(self, seq: int) -> RoomRecord:
        """The record after its pending act was stored as entry ``seq``; 0: it was not, and never will."""
        assert self.pending is not None
        if seq <= self.applied:
            return replace(self, pending=None)
        return replace(self.after(self.pending), applied=seq, pending=None)

    def without(self, name: str) -> RoomRecord:
        """The record after the name passed to somebody else: whatever it was given is gone."""
        roles = {who: rank for who, rank in self.roles.items() if who != name}
        sealed = self.sealed.without(name) if self.sealed is not None else None
        invites = tuple(who for who in self.invites if who != name)
        return replace(self, roles=roles, invites=invites, sealed=sealed)

    def renamed(self, old: str, new: str) -> RoomRecord:
        """The record after the holder of one name was given another."""
        return replace(
            self,
            roles={new if name == old else name: rank for name, rank in self.roles.items()},
            invites=tuple(dict.fromkeys(new if name == old else name for name in self.invites)),
            bans=tuple(replace(r, name=new) if r.name == old else r for r in self.bans),
            mutes=tuple(replace(r, name=new) if r.name == old else r for r in self.mutes),
        )


def _topic(record: RoomRecord, act: Act) -> RoomRecord:
    return replace(record, topic=act.text)


def _kick(record: RoomRecord, act: Act) -> RoomRecord:
    return replace(record, invites=tuple(name for name in record.invites if name != act.target))


def _ban(record: RoomRecord, act: Act) -> RoomRecord:
    roles = {name: rank for name, rank in record.roles.items() if name != act.target}
    return replace(_kick(record, act), roles=roles, bans=restrained(record.bans, act.restraint))


def _unban(record: RoomRecord, act: Act) -> RoomRecord:
    return replace(record, bans=released(record.bans, act.target, act.keys))


def _mute(record: RoomRecord, act: Act) -> RoomRecord:
    return replace(record, mutes=restrained(record.mutes, act.restraint))


def _unmute(record: RoomRecord, act: Act) -> RoomRecord:
    return replace(record, mutes=released(record.mutes, act.target, act.keys))


def _invite(record: RoomRecord, act: Act) -> RoomRecord:
    return replace(record, invites=tuple(dict.fromkeys((*record.invites, act.target))))


def _role(record: RoomRecord, act: Act) -> RoomRecord:
    roles = {name: rank for name, rank in record.roles.items() if name != act.target}
    if act.rank:
        roles[act.target] = act.rank
    return replace(record, roles=roles)


def _access(record: RoomRecord, act: Act) -> RoomRecord:
    return replace(
        record,
        access=act.access or record.access,
        topic_by=act.topic_by or record.topic_by,
        invites=tuple(dict.fromkeys((*record.invites, *act.invited))),
    )


def _roster(record: RoomRecord, act: Act) -> RoomRecord:
    return replace(record, sealed=(record.sealed or Sealed()).followed(act.body))


#: What each kind of act makes of the record; these are the kinds of entry that are acts.
_EFFECTS: Mapping[str, Callable[[RoomRecord, Act], RoomRecord]] = {
    "topic": _topic,
    "kick": _kick,
    "ban": _ban,
    "unban": _unban,
    "mute": _mute,
    "unmute": _unmute,
    "invite": _invite,
    "role": _role,
    "access": _access,
    "roster": _roster,
}
ACT_KINDS = frozenset(_EFFECTS)


def restrained(held: tuple[Restraint, ...], new: Restraint) -> tuple[Restraint, ...]:
    """With a new ban or mute, which replaces an earlier one of the same name, but not its keys."""
    whom = (new.name, new.vouched)
    same = [r for r in held if (r.name, r.vouched) == whom and (r.name or r.keys == new.keys)]
    keys = dict.fromkeys((*(key for r in same for key in r.keys), *new.keys))
    return (*(r for r in held if r not in same), replace(new, keys=tuple(keys)))


def released(held: tuple[Restraint, ...], name: str, keys: Iterable[str]) -> tuple[Restraint, ...]:
    """Without those of a name, and without those of its keys alone."""
    return tuple(r for r in held if not r.is_undone(name, keys))


def _check_size(record: RoomRecord, before: RoomRecord) -> None:
    """Refuse what would make a list, or the record, longer than it may be."""
    for what in ("roles", "invites", "bans", "mutes"):
        if len(getattr(record, what)) > max(MAX_LISTED, len(getattr(before, what))):
            raise TooManyListed(what=what, limit=MAX_LISTED)
    size = _size(record)
    if size > MAX_RECORD and size > _size(before):
        raise TooManyListed(what="bytes of roles, invites, bans and mutes", limit=MAX_RECORD)


def _size(record: RoomRecord) -> int:
    return len(msgspec.msgpack.encode(record))
