"""What the messages about a room's order ask for: who may ask it, about whom, and the entry it becomes.

An act's entry has a JSON object as its body, made from the request alone: whoever sends the request again
gets the same entry. Only a topic's is the bare text.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from encchat import messages as m
from encchat.core.accounts import orders, people
from encchat.core.chat.rooms import Room
from encchat.core.interfaces import Draft
from encchat.core.moderation import acts
from encchat.core.moderation.rules import (
    ACCESS,
    MODERATORS,
    PRIVATE,
    RANKS,
    TOPIC_BY,
    Act,
    Person,
    Rank,
    Restraint,
    RoomRecord,
)
from encchat.core.names import LOBBY, parse_name, parse_room
from encchat.core.refusals import (
    Everybodys,
    LastOwner,
    NoSuchRoom,
    NotAllowed,
    NotInRoom,
    Outranked,
    UnknownWord,
)
from encchat.core.relay import sealing
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.core.chat.session import Session

Restraining: TypeAlias = m.Kick | m.Ban | m.Mute
Undoing: TypeAlias = m.Unban | m.Unmute
#: Raises what there is against an act, or says what it needs besides the entry; and what makes one, once it
#: has found out whom the act is about.
Judge: TypeAlias = Callable[[RoomRecord], Mapping[str, Any]]
Prepare: TypeAlias = Callable[[Room], Coroutine[Any, Any, Judge]]

#: Who may do what needs a rank, in words.
_WHO = {Rank.MODERATOR: "an owner or a moderator", Rank.OWNER: "an owner"}


async def topic(session: Session, message: m.Topic) -> None:
    """Set a room's topic."""
    session.take_send()
    text = clean_line(message.topic)

    def judge(record: RoomRecord) -> dict[str, Any]:
        if record.topic_by == MODERATORS:
            _need(session, record, Rank.MODERATOR, message.room)
        return {"text": text}

    await _act(session, message, "topic", text.encode("utf-8"), _only(judge))


async def restrain(session: Session, message: Restraining) -> None:
    """Kick, ban or mute somebody."""
    session.take_act()
    if not message.room and not isinstance(message, m.Mute):
        await orders.act(session, message)
        return
    reason = clean_line(message.reason, 200)
    seconds = 0 if isinstance(message, m.Kick) else message.seconds
    now = session.hub.milliseconds()

    async def prepare(room: Room) -> Judge:
        target = await people.person(session.hub, message.name)

        def judge(record: RoomRecord) -> dict[str, Any]:
            rank = _need(session, record, Rank.MODERATOR, message.room)
            if record.rank(target) >= rank:
                raise Outranked(name=target.name, room=message.room)
            until = now + seconds * 1000 if seconds else 0
            return {**_target(target), "until": until, "text": reason}

        return judge

    body = _body(name=parse_name(message.name).key, seconds=seconds, reason=reason)
    await _act(session, message, type(message).__name__.lower(), body, prepare)


async def undo(session: Session, message: Undoing) -> None:
    """Undo a ban or a mute, also of somebody who is not known any more."""
    session.take_act()
    if not message.room and not isinstance(message, m.Unmute):
        await orders.act(session, message)
        return
    name = parse_name(message.name).key

    def judge(record: RoomRecord) -> dict[str, Any]:
        _need(session, record, Rank.MODERATOR, message.room)
        return {"target": name}

    await _act(session, message, type(message).__name__.lower(), _body(name=name), _only(judge))


async def invite(session: Session, message: m.Invite) -> None:
    """Let somebody into a private room."""
    session.take_act()

    async def prepare(room: Room) -> Judge:
        target = await people.owner_of(session.hub, message.name)

        def judge(record: RoomRecord) -> dict[str, Any]:
            _need(session, record, Rank.MODERATOR, message.room)
            return _target(target)

        return judge

    await _act(session, message, "invite", _body(name=parse_name(message.name).key), prepare)


async def role(session: Session, message: m.Role) -> None:
    """Give somebody a role, or take it."""
    session.take_act()
    new = _known(message.role, RANKS, "role")

    async def prepare(room: Room) -> Judge:
        target = await people.owner_of(session.hub, message.name)

        def judge(record: RoomRecord) -> dict[str, Any]:
            rank = _need(session, record, Rank.OWNER, message.room)
            held = record.roles.get(target.name, Rank.MEMBER)
            if held is Rank.OWNER and new < held and rank is Rank.OWNER:
                if target.name != session.name.key:
                    raise Outranked(name=target.name, room=message.room)
                if list(record.roles.values()).count(Rank.OWNER) == 1:
                    raise LastOwner(room=message.room)
            return {**_target(target), "rank": new}

        return judge

    body = _body(name=parse_name(message.name).key, role=message.role)
    await _act(session, message, "role", body, prepare)


async def access(session: Session, message: m.Access) -> None:
    """Say who may come in, and who may set the topic."""
    session.take_act()
    if message.access:
        _known(message.access, ACCESS, "access")
    if message.topic_by:
        _known(message.topic_by, TOPIC_BY, "topic_by")

    async def prepare(room: Room) -> Judge:
        if room.name == LOBBY and message.access == PRIVATE:
            raise Everybodys(room=room.name)

        def judge(record: RoomRecord) -> dict[str, Any]:
            _need(session, record, Rank.OWNER, message.room)
            present = room.present() if message.access == PRIVATE and not record.private else ()
            invited = tuple(name for name in present if name not in record.roles)
            return {"access": message.access, "topic_by": message.topic_by, "invited": invited}

        return judge

    body = _body(access=message.access, topic_by=message.topic_by)
    await _act(session, message, "access", body, prepare)


def about(session: Session, message: m.About) -> None:
    """Tell how a room is run."""
    room = session.room(parse_room(message.room))
    record, now = room.record, session.hub.milliseconds()
    if record.sealed is not None:
        session.answer_at_its_size(sealing.about(message.id, room, record.sealed))
        return
    roles = tuple(m.Standing(name, rank.name.lower()) for name, rank in record.roles.items())
    profile = m.RoomProfile(message.id, room.name, record.access, record.topic_by, roles)
    if record.rank(session.person) >= Rank.MODERATOR:
        profile = msgspec.structs.replace(
            profile,
            bans=_restrictions(record.bans, now),
            mutes=_restrictions(record.mutes, now),
            invites=record.invites,
        )
    session.answer_at_its_size(profile)


async def _act(
    session: Session,
    message: m.Topic | Restraining | Undoing | m.Invite | m.Role | m.Access,
    kind: str,
    body: bytes,
    prepare: Prepare,
) -> None:
    """Do an act, unless that was done before, and answer with its entry."""
    hub = session.hub
    place = parse_room(message.room)
    sealing.refuse_sealed(place)
    now, former = hub.milliseconds(), session.former
    name, key, device = session.name.shown, session.identity.fingerprint, session.device
    draft = Draft(place, now, name, device, kind, message.msgid, body, former=former)
    try:
        async with hub.visiting(place) as room:
            stored = await acts.known(hub, room, draft)
            if stored is None:
                session.room(place)  # only somebody in the room finds out who has a name
                judge = await prepare(room)

                def act(record: RoomRecord) -> Act:
                    if session not in room:  # put out while others were acting
                        raise NotInRoom(room=room.name)
                    room.check_speech(session)
                    needs = judge(record)
                    return Act(now, name, key, device, kind, message.msgid, body, former=former, **needs)

                stored = await acts.perform(hub, room, act)
    except NoSuchRoom:
        raise NotInRoom(room=place) from None
    session.answer(m.Sent(message.id, stored.seq, stored.time))


def _only(judge: Judge) -> Prepare:
    """Where nothing has to be found out first."""

    async def prepare(room: Room) -> Judge:
        return judge

    return prepare


def _need(session: Session, record: RoomRecord, least: Rank, room: str) -> Rank:
    rank = record.rank(session.person)
    if rank < least:
        raise NotAllowed(who=_WHO[least], room=room)
    return rank


def _target(person: Person) -> dict[str, Any]:
    return {"target": person.name, "keys": person.keys, "vouched": person.vouched}


def _known(word: str, known: Any, what: str) -> Any:
    if word not in known:
        raise UnknownWord(what=what, word=word, known=", ".join(known))
    return known[word] if isinstance(known, Mapping) else word


def _body(**facts: str | int) -> bytes:
    """A compact JSON object of what there is to say."""
    return msgspec.json.encode({name: fact for name, fact in facts.items() if fact})


def _restrictions(restraints: tuple[Restraint, ...], now: int) -> tuple[m.Restriction, ...]:
    return tuple(m.Restriction(r.name, r.by, r.until) for r in restraints if r.lasts(now))
