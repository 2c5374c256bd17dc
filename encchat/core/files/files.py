"""What the messages about files ask for: giving one to a room, and reading what somebody gave.

Both are paid for in bytes, from a purse of their own: nobody's file slows down what others say, nor what its
sender says. A file goes out only as its reader asks for piece after piece, so that none piles up here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from encchat import messages as m
from encchat.contents import File, NoContent, parse
from encchat.core.chat.rooms import Room
from encchat.core.files.blobs import LEAST, NoFiles
from encchat.core.files.keeper import Keeper
from encchat.core.names import parse_name, parse_room
from encchat.core.refusals import NotInRoom
from encchat.errors import RefusedError

if TYPE_CHECKING:
    from encchat.core.chat.session import Session


def keeper(session: Session) -> Keeper:
    """Who keeps the files.

    :raises NoFiles: nobody does.
    """
    found = session.hub.keeper
    if found is None:
        raise NoFiles()
    return found


async def upload(session: Session, message: m.Upload) -> None:
    """Begin to take a file in, or go on with it."""
    room = session.room(parse_room(message.room))
    room.check_speech(session)
    _take_space(session, LEAST)
    held = await keeper(session).begin(
        session.name.key, room.name, message.hash, message.size, _may_write(session)
    )
    session.answer(m.Ready(message.id, held))


async def chunk(session: Session, message: m.Chunk) -> None:
    """Take a piece of it."""
    session.take_file_bytes(len(message.data))
    _take_space(session, len(message.data))
    held = await keeper(session).add(
        session.name.key, message.hash, message.offset, message.data, _may_write(session)
    )
    session.answer(m.Ready(message.id, held))


async def download(session: Session, message: m.Download) -> None:
    """Give out a piece."""
    session.take_file_bytes(0)
    room = session.room(parse_room(message.room))
    async with session.hub.dear.alone(session):
        size, data = await keeper(session).read(room.name, message.hash, message.offset)
        if session not in room:  # put out meanwhile
            raise NotInRoom(room=room.name)
        session.charge_file_bytes(len(data))
        session.answer(m.Piece(message.id, message.offset, size, data))


async def check(session: Session, room: Room, file: File) -> None:
    """Whether the bytes of a file that is told of are here, for this room.

    :raises NoSuchFile: they are not.
    """
    await keeper(session).check(room.name, bytes.fromhex(file.hash), file.size)


async def withdraw(session: Session, entry: m.Entry, *, own: bool) -> None:
    """A file is taken back: its bytes are given out in that room no more, unless (where it is the session's
    ``own`` entry) somebody else gave the same there."""
    if session.hub.keeper is not None:
        try:
            content = parse(entry.kind, entry.body)
        except NoContent:
            return
        if isinstance(content, File):
            name = parse_name(entry.sender).key if own else None
            await session.hub.keeper.withdraw(entry.room, bytes.fromhex(content.hash), name)


def _take_space(session: Session, size: int) -> None:
    """Count the bytes for the address that they come from: a name, with a quota of its own, costs nothing."""
    hub = session.hub
    hub.floods.take_file(session.outlet.origin, size, hub.settings.files.space, hub.turn.now())


def _may_write(session: Session) -> Callable[[str], bool]:
    def may(name: str) -> bool:
        if session.closed or not session.is_in(name):
            return False
        try:
            session.room(name).check_speech(session)
        except RefusedError:
            return False
        return True

    return may
