"""How an act of a moderator is done: judged, intended, stored as an entry, and brought into force.

One act of a room at a time, each in four steps. First it is judged against the record as it is, and written
into it as pending, by compare-and-set: of two admins who race, the second is judged by what the first has
made of the room. From then on what the act forbids is not let into the log any more, so that nothing of a
banned person stands behind the ban. Then the entry goes into the log, in order with all others; in the very
moment in which that is known, the act is in force here; at last it is applied to the record. Whatever is cut
off on this way stays pending, and is finished by whoever needs the room next: the client that sends the act
again, the next act, the first one who joins after a restart, or the hub's tick.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace

from encchat.core.chat.appends import Answer
from encchat.core.chat.rooms import Room
from encchat.core.interfaces import Draft, Rejected, Stored
from encchat.core.moderation.rules import Act, RoomRecord
from encchat.core.refusals import MsgidReused, rejection
from encchat.errors import RefusedError, StorageError

if TYPE_CHECKING:
    from encchat.core.chat.hub import Hub


class _Unfinished(Exception):
    """Another act is pending."""


async def known(hub: Hub, room: Room, draft: Draft) -> Stored | None:
    """The entry that an act became before, if it did: it is not done again, whatever has become of the room,
    of whom it was about, or of who sent it. The room is held by the caller.

    :raises MsgidReused: its msgid is another's.
    :raises Unavailable: that is unknown; the same act may be asked for again.
    """
    found = hub.turn.promise()

    def answer(outcome: Answer) -> None:
        hub.unhold(room)
        found.resolve(outcome)

    async with room.lock:
        if room.unsettled:
            await _settle(hub, room)
        hub.append(room, replace(draft, again=True), answer)
        outcome = cast(Answer, await found)
    if isinstance(outcome, StorageError):
        raise outcome
    if isinstance(outcome, Stored):
        return outcome
    if outcome.code == MsgidReused.code:
        raise MsgidReused()
    return None


async def perform(hub: Hub, room: Room, judge: Callable[[RoomRecord], Act]) -> Stored:
    """Do the act that ``judge`` makes of the record, and return its entry. The room is held by the caller.

    :raises RefusedError: ``judge`` says no.
    :raises Unavailable: the outcome is unknown; the same act may be asked for again.
    """
    async with room.lock:
        while True:
            if room.unsettled:
                await _settle(hub, room)
            try:
                act = await _intend(hub, room, judge)
            except _Unfinished:
                room.unsettled = True
                continue
            return await _finish(hub, room, act)


async def settle(hub: Hub, room: Room) -> None:
    """Read the record anew, finish what is pending, and put out who is banned."""
    async with room.lock:
        await _settle(hub, room)


async def amend(hub: Hub, room: Room, change: Callable[[RoomRecord], RoomRecord]) -> None:
    """Change the record without an act, between others."""
    async with room.lock:
        await _settle(hub, room)
        room.unsettled = True
        room.adopt(await hub.directory.change_room(room.name, change))
        room.unsettled = False


async def load(hub: Hub, room: Room, record: RoomRecord) -> None:
    """A room has come up; the caller holds its lock."""
    room.adopt(record)
    if record.pending is None:
        room.unsettled = False
    else:
        await _settle(hub, room)


async def _settle(hub: Hub, room: Room) -> None:
    while True:
        record = await hub.directory.room(room.name)
        if record is None:
            raise StorageError(reason=f"the record of {room.name} is gone")
        room.adopt(record)
        if record.pending is None:
            break
        with suppress(RefusedError):  # whoever sent it was told, or will be
            await _finish(hub, room, record.pending)
    room.unsettled = False
    for session in room.unwelcome():
        session.put_out(room, "banned", f"You are banned from {room.name}.")


async def _intend(hub: Hub, room: Room, judge: Callable[[RoomRecord], Act]) -> Act:
    found: list[Act] = []

    def intend(record: RoomRecord) -> RoomRecord:
        if record.pending is not None:
            raise _Unfinished()
        found[:] = [judge(record)]
        return record.intending(found[0])

    try:
        room.adopt(await hub.directory.change_room(room.name, intend))
    except StorageError:
        room.unsettled = True  # it may be pending all the same
        raise
    return found[0]


async def _finish(hub: Hub, room: Room, act: Act) -> Stored:
    """Store the room's pending act, and conclude it."""
    try:
        outcome = await _store(hub, room, act)
        seq = outcome.seq if isinstance(outcome, Stored) else 0
        record = await hub.directory.change_room(
            room.name, lambda held: held.concluded(seq) if act.is_same(held.pending) else held
        )
    except StorageError:
        room.unsettled = True
        raise
    room.adopt(record)
    if isinstance(outcome, Rejected):
        raise rejection(outcome.code)
    return outcome


async def _store(hub: Hub, room: Room, act: Act) -> Stored | Rejected:
    stored = hub.turn.promise()

    def answer(outcome: Answer) -> None:
        hub.unhold(room)
        if not isinstance(outcome, StorageError):
            _enforce(hub, room, act, outcome)
        stored.resolve(outcome)

    hub.append(room, act.draft(room.name), answer)
    outcome = cast(Answer, await stored)
    if isinstance(outcome, StorageError):
        raise outcome
    return outcome


def _enforce(hub: Hub, room: Room, act: Act, outcome: Stored | Rejected) -> None:
    """The outcome is known: bring the act into force in this very turn, before its entry is told."""
    seq = outcome.seq if isinstance(outcome, Stored) else 0
    new = seq > max(room.record.applied, room.enforced)
    put_out = room.put_out(act) if new else []
    invited = room.let_in(act) if new else []
    room.adopt(room.record.concluded(seq))
    if not new:
        return
    room.enforced = seq
    _note(hub, room, act, seq)
    if room.record.sealed is not None:
        hub.enrolment.note(room.name, room.record.sealed)
    for session in put_out:
        verb = "banned you from" if act.kind == "ban" else "put you out of"
        reason = f": {act.text}" if act.text else "."
        code = "banned" if act.kind == "ban" else "kicked"
        if act.kind == "roster" and session.name.shown == act.sender:
            session.put_out(room, "left", f"You have left {room.name}.")
        else:
            session.put_out(room, code, f"{act.sender} {verb} {room.name}{reason}")
    for name in invited:
        hub.tell_invited(name, room, act)


def _note(hub: Hub, room: Room, act: Act, seq: int) -> None:
    """An act, for the audit log; not what was written with it."""
    facts: dict[str, str | int] = {"room": room.name, "seq": seq}
    if act.target:
        facts |= {"target": act.target, "keys": " ".join(act.keys)}
    if act.until:
        facts["until"] = act.until
    if act.kind == "role":
        facts["role"] = act.rank.name.lower()
    if act.kind == "access":
        facts |= {"access": act.access, "topic_by": act.topic_by}
    hub.note(act.kind, act.sender, act.key, **facts)
