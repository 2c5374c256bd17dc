"""What a peer says: checked, and given to the log.

This is what the server mostly does. So each thing is looked up once, and nothing waits but what has to be
looked for in the log.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import TYPE_CHECKING

from encchat import messages as m
from encchat.contents import CONTENTS
from encchat.core.accounts import orders
from encchat.core.chat import kinds
from encchat.core.chat.appends import Answer
from encchat.core.chat.rooms import Room
from encchat.core.interfaces import Draft, Rejected, Stored
from encchat.core.names import is_open, parse_room
from encchat.core.refusals import (
    NoSuchRoom,
    NotAMember,
    NotInRoom,
    NotText,
    TooLarge,
    UnknownKind,
    rejection,
)
from encchat.core.relay import sealing
from encchat.errors import RefusedError

if TYPE_CHECKING:
    from encchat.core.chat.session import Session

#: The kinds of entry whose body is mere text: they need no look into the log.
TEXT = frozenset({"text", "me"})


def send(session: Session, message: m.Send) -> Coroutine[object, object, None] | None:
    """Append what the peer says; what is more than text is checked first, which may need the log."""
    name, kind = message.room, message.kind
    place = session.place(name)  # a room where it is has its name in the one form
    if place is None:
        if not name:
            return orders.announce(session, message)
        name = parse_room(name)
        place = session.place(name)
    sealed = not is_open(name)
    if sealed and kind == sealing.ROSTER:
        return sealing.change_roster(session, name, message)
    try:
        if place is None:
            raise NotInRoom(room=name)
        place.check_speech()
    except RefusedError as refused:
        return _resend(session, name, message, refused)
    limit = session.hub.settings.limits.body
    if len(message.body) > limit:
        raise TooLarge(size=len(message.body), limit=limit)
    if sealed:
        _send_sealed(session, place.room, message)
        return None
    if kind not in TEXT:
        return _send_content(session, place.room, message)
    try:
        message.body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotText() from None
    session.take_send()
    _append(session, place.room, message)
    return None


def _send_sealed(session: Session, room: Room, message: m.Send) -> None:
    if message.kind != sealing.SEALED:
        raise UnknownKind(kind=message.kind, known=f"{sealing.SEALED}, {sealing.ROSTER}")
    session.take_send()
    _append(session, room, message, message.roster or 0)


async def _send_content(session: Session, room: Room, message: m.Send) -> None:
    if message.kind not in CONTENTS:
        raise UnknownKind(kind=message.kind, known=", ".join(kinds.KINDS))
    session.take_send()
    content = kinds.content_of(message.kind, message.body)
    with session.hub.holding(room):
        refused = None
        try:
            await kinds.check(session, room, content)
        except RefusedError as error:
            refused = error
        _append(session, room, message, refused=refused)


async def _resend(session: Session, name: str, message: m.Send, refused: RefusedError) -> None:
    """Who may not speak in a room hears so; but what it said while it might is acknowledged once more.

    :raises RefusedError: it may not, and the room was never made: told in the same words, as nobody else may
        learn which sealed rooms there are.
    """
    session.take_send()
    try:
        async with session.hub.visiting(name) as room:
            _append(session, room, message, refused=refused)
    except (NoSuchRoom, NotAMember):
        raise refused from None


def _append(
    session: Session,
    room: Room,
    message: m.Send,
    roster: int | None = None,
    *,
    refused: RefusedError | None = None,
) -> None:
    """Append an entry; or if it is ``refused``, only look whether it was stored before."""
    hub, request = session.hub, message.id

    def answer(outcome: Answer) -> None:
        hub.unhold(room)
        if isinstance(outcome, Stored):
            session.answer(m.Sent(request, outcome.seq, outcome.time))
        elif isinstance(outcome, Rejected):
            session.refuse(request, rejection(outcome.code) if refused is None else refused)
        else:
            session.refuse(request, outcome)

    draft = Draft(
        room.name,
        hub.milliseconds(),
        session.name.shown,
        session.device,
        message.kind,
        message.msgid,
        message.body,
        roster,
        refused is not None,
        session.former,
    )
    if hub.append(room, draft, answer):
        session.intake.heed_backlog()
