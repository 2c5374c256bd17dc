"""Sealed rooms on the server: made, entered and changed by rosters, which are entries of the log.

A roster is an act (``acts``): pending in the room's record, stored as an entry, then in force, so that the
record and the log cannot fall apart. Who is not in the last roster does not find out that the room exists.
What is said there is sealed; all that is checked of it is its size and that its sender knew the last roster.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from encchat import messages as m
from encchat.core.chat.floods import MOST
from encchat.core.chat.rooms import Room
from encchat.core.directory import Directory
from encchat.core.interfaces import Draft, Stored
from encchat.core.moderation import acts
from encchat.core.moderation.rules import Act, RoomRecord
from encchat.core.names import is_open, parse_name, parse_room
from encchat.core.refusals import (
    NotAMember,
    NotInRoom,
    NotSealed,
    RosterChanged,
    SealedRoom,
    SealedRoomTaken,
    TooLarge,
)
from encchat.core.relay.membership import Sealed, read_roster

if TYPE_CHECKING:
    from encchat.core.chat.session import Session

#: Raises what there is against a change of the record.
Judge: TypeAlias = Callable[[RoomRecord], None]

#: The kinds of entry in a sealed room.
SEALED, ROSTER = "sealed", "roster"
#: Rooms that are read at a time.
_ROOMS_AT_A_TIME = 100
#: Rooms of two people in which it is looked whether they have met.
_ROOMS_LOOKED_AT = 100


class Enrolment:
    """Which sealed rooms a name is in: of all that are recorded, read once, when somebody asks."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory
        self._members: dict[str, frozenset[str]] = {}
        self._rooms: dict[str, set[str]] = {}
        self._complete = False
        #: Rooms and names that have been in them, as far as somebody asked; the last ones.
        self._seen: OrderedDict[tuple[str, str], None] = OrderedDict()

    def note(self, room: str, sealed: Sealed) -> None:
        """These are a room's members now."""
        before = self._members.get(room, frozenset())
        self._members[room] = sealed.members
        for name in before - sealed.members:
            self._rooms[name].discard(room)
            if not self._rooms[name]:
                del self._rooms[name]
        for name in sealed.members - before:
            self._rooms.setdefault(name, set()).add(room)

    async def rooms_of(self, name: str) -> list[str]:
        """The sealed rooms of the name with this key, in order."""
        if not self._complete:
            for sign in "#@":
                after = sign
                while page := await self._directory.rooms(_ROOMS_AT_A_TIME, after):
                    for room, record in page.items():
                        # What was noted meanwhile is newer.
                        if record.sealed is not None and room not in self._members:
                            self.note(room, record.sealed)
                    after = max(page)
                    if not after.startswith(sign):
                        break
            self._complete = True
        return sorted(self._rooms.get(name, ()))

    async def have_met(self, name: str, other: str, here: Callable[[str, str], bool]) -> bool:
        """Whether a name has been in a sealed room in which the other one is, too: that it was named in a
        roster says nothing of it. ``here`` tells who is in a room now."""
        rooms = set(await self.rooms_of(name)).intersection(await self.rooms_of(other))
        # What is known costs nothing; and of the rest their own conversation comes first.
        for room in rooms:
            if here(room, name) or (room, name) in self._seen:
                return True
        for room in sorted(rooms, key=lambda room: (room[0] != "@", room))[:_ROOMS_LOOKED_AT]:
            if await self._has_been(name, room):
                self._seen[room, name] = None
                if len(self._seen) > MOST:
                    self._seen.popitem(last=False)
                return True
        return False

    async def _has_been(self, name: str, room: str) -> bool:
        if await self._directory.mark(name, room):
            return True
        record = await self._directory.room(room)
        return record is not None and parse_name(record.creator).key == name


async def create(session: Session, message: m.Create) -> None:
    """Make a sealed room, with its first roster."""
    session.take_act()
    hub = session.hub
    name = parse_room(message.room)
    if is_open(name):
        raise NotSealed(room=name)
    new = read_roster(message.body)
    Sealed().check_next(new, name, session.name.key)
    if await hub.directory.room(name) is None:
        hub.floods.take_room(session.outlet.origin, hub.turn.now())
        nobody = RoomRecord(hub.milliseconds(), session.name.shown, sealed=Sealed())
        await hub.directory.create_room(name, nobody)

    def judge(record: RoomRecord) -> None:
        if record.sealed is None or record.sealed.raw:
            raise SealedRoomTaken(room=name)

    async with hub.visiting(name) as room:
        stored = await _perform(session, room, message.msgid, message.body, judge)
    session.answer(m.Sent(message.id, stored.seq, stored.time))


async def change_roster(session: Session, name: str, message: m.Send) -> None:
    """Change who is in a room, and who may change that."""
    session.take_act()
    hub = session.hub
    limit = hub.settings.limits.body
    if len(message.body) > limit:
        raise TooLarge(size=len(message.body), limit=limit)
    new = read_roster(message.body)

    def judge(record: RoomRecord) -> None:
        if session not in room or record.sealed is None:
            raise NotInRoom(room=name)
        if (message.roster or 0) != record.applied:
            raise RosterChanged()
        record.sealed.check_next(new, name, session.name.key)

    try:
        async with hub.visiting(name) as room:
            stored = await _perform(session, room, message.msgid, message.body, judge)
    except NotAMember:
        raise NotInRoom(room=name) from None
    session.answer(m.Sent(message.id, stored.seq, stored.time))


def refuse_sealed(room: str) -> None:
    """What is asked does not exist in sealed rooms.

    :raises SealedRoom: and this is one.
    """
    if not is_open(room):
        raise SealedRoom(room=room)


def about(request: int, room: Room, sealed: Sealed) -> m.RoomProfile:
    """Who is in a room, and who may change that."""
    standings = (
        m.Standing(name, "admin" if name in sealed.admins else "member") for name in sorted(sealed.members)
    )
    return m.RoomProfile(request, room.name, SEALED, "", tuple(standings))


async def _perform(session: Session, room: Room, msgid: bytes, body: bytes, judge: Judge) -> Stored:
    """Do the act, if ``judge`` has nothing against it; or find out that it was done before."""
    hub, sender, device = session.hub, session.name.shown, session.device
    draft = Draft(room.name, hub.milliseconds(), sender, device, ROSTER, msgid, body, former=session.former)

    def act(record: RoomRecord) -> Act:
        judge(record)
        key, seen = session.identity.fingerprint, record.applied
        return Act(draft.time, sender, key, device, ROSTER, msgid, body, roster=seen, former=draft.former)

    return await acts.known(hub, room, draft) or await acts.perform(hub, room, act)
