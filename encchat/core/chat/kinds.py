"""What is checked of an entry whose body is one of ``encchat.contents`` before it is let into an open room.

A reply or a reaction needs an entry to be about. An edit needs a message of the same sender, a deletion
one of the same sender or a moderator; a file needs its bytes to be here, for this room. A sender is a person,
not a key: a name's devices correct each other's messages, and whoever takes a name over by a certificate
corrects nothing that was said under it before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat import messages as m
from encchat.contents import CONTENTS, Content, Delete, Edit, File, NoContent, Reaction, Reply, parse
from encchat.core.accounts import takeover
from encchat.core.chat.rooms import Room
from encchat.core.files import files
from encchat.core.interfaces import Trimmed, UnknownPosition
from encchat.core.moderation.rules import Rank
from encchat.core.refusals import BadContent, NoSuchEntry, NotForThat, NotInRoom, NotYours
from encchat.wire import decode_entry

if TYPE_CHECKING:
    from encchat.core.chat.session import Session

#: The kinds of entry that a client may send to an open room.
KINDS = ("text", "me", *CONTENTS)
#: What can be corrected, and what can be taken back.
EDITABLE = frozenset({"text", "me", "reply"})
DELETABLE = EDITABLE | {"file"}


def content_of(kind: str, body: bytes) -> Content:
    """What the body says.

    :raises BadContent: nothing that an entry of this kind can say in an open room.
    """
    try:
        content = parse(kind, body)
    except NoContent:
        raise BadContent(kind=kind) from None
    if isinstance(content, File) and content.key:
        raise BadContent(kind=kind)
    return content


async def check(session: Session, room: Room, content: Content) -> None:
    """Whether the session may say this in the room now.

    :raises RefusedError: it may not; says why.
    """
    match content:
        case Reply() | Reaction():
            await _exists(session, room, content.target)
        case Edit():
            entry = await _entry(session, room, content.target)
            if entry.kind not in EDITABLE:
                raise NotForThat(seq=entry.seq, room=room.name, done="corrected")
            if not await _is_own(session, entry):
                raise NotYours(seq=entry.seq, room=room.name, do="correct")
        case Delete():
            entry = await _entry(session, room, content.target)
            if entry.kind not in DELETABLE:
                raise NotForThat(seq=entry.seq, room=room.name, done="taken back")
            own = await _is_own(session, entry)
            if not own and room.rank(session.person) < Rank.MODERATOR:
                raise NotYours(seq=entry.seq, room=room.name, do="take back")
            if entry.kind == "file":
                await files.withdraw(session, entry, own=own)
        case File():
            await files.check(session, room, content)
    if session not in room:  # put out meanwhile
        raise NotInRoom(room=room.name)
    room.check_speech(session)


async def _exists(session: Session, room: Room, seq: int) -> None:
    """An entry of this number was there once: retention may have taken it since."""
    if seq > room.announced and seq > (await session.hub.log.head(room.name)).seq:
        raise NoSuchEntry(room=room.name, seq=seq)


async def _entry(session: Session, room: Room, seq: int) -> m.Entry:
    try:
        found = await session.hub.log.read(room.name, seq - 1, 1, 1)
    except (Trimmed, UnknownPosition):
        raise NoSuchEntry(room=room.name, seq=seq) from None
    if not found.frames:
        raise NoSuchEntry(room=room.name, seq=seq)
    return decode_entry(found.frames[0])


async def _is_own(session: Session, entry: m.Entry) -> bool:
    vouched = session.identity.vouched_name is not None
    return await takeover.is_of(session.hub, entry, session.name.key, vouched=vouched)
