"""What each message of a client does: one function a message, and the table that names them.

A function that has to wait for the log is ``async``; the session handles nothing else of its peer
meanwhile. An error that is raised here is the answer to the request.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from encchat import messages as m
from encchat.core.accounts import devices, people
from encchat.core.chat import saying
from encchat.core.chat.positions import position_from, read_from
from encchat.core.files import files
from encchat.core.interfaces import UnknownPosition
from encchat.core.moderation import moderation
from encchat.core.names import parse_room
from encchat.core.refusals import NotInRoom, NoVersion, TooManyRooms, WrongChain
from encchat.core.relay import devicekeys, post, sealing
from encchat.core.words import wanted
from encchat.errors import RefusedError
from encchat.text import clean_line
from encchat.wire import encode

if TYPE_CHECKING:
    from encchat.core.chat.session import Session

#: The version of the native protocol that is spoken here.
VERSION = 1
#: Bytes of entries in one Page; under the payload limit with room to spare for an entry of full size.
PAGE_BYTES = 128 * 1024
#: What one search is charged as, whatever it finds: it looks through thousands of entries.
SEARCH_BYTES = 320 * 1024
#: What a list of rooms is charged as besides its size, for each room in it: their records are read for it.
ROOM_BYTES = 64
#: What telling a room that somebody is writing is charged as: each of its members gets it.
TYPING_BYTES = 64 * 1024


async def hello(session: Session, message: m.Hello) -> None:
    """Admit the peer, or refuse it."""
    if VERSION not in message.versions:
        raise NoVersion(versions=", ".join(map(str, message.versions)))
    name = await session.hub.door.admit(session, message.name, message.link)
    session.admitted(name, clean_line(message.device, 32))
    hub = session.hub
    session.answer(
        m.Welcome(
            name.shown,
            hub.next_number(),
            hub.settings.limits,
            hub.settings.motd,
            hub.milliseconds(),
            hub.log.log_id,
            hub.settings.software,
        )
    )


async def join(session: Session, message: m.Join) -> None:
    """Let the peer into a room, from where its copy of the log ends."""
    hub = session.hub
    name = parse_room(message.room)
    limit = hub.settings.max_rooms
    if len(session.rooms()) >= limit and not session.is_in(name):
        raise TooManyRooms(limit=limit)
    async with hub.visiting(name, session) as room:
        room.check_entry(session.person)
        start = await _start(session, name, message)
        head = await hub.log.head(name)
        mark = await hub.directory.mark(session.name.key, name)
        # From here on nothing waits: the session is in the room in the very turn in which it was judged.
        if session.closed:
            return
        room.check_entry(session.person)
        room.count(head)
        session.enter(room, start.seq)
        joined = m.Joined(message.id, name, head, start, room.members(), room.topic, mark)
        session.answer_at_its_size(joined)
    session.catch_up()


async def _start(session: Session, name: str, message: m.Join) -> m.Position:
    """Where the peer's copy ends, proved to be of this log; or as far back as it wants history.

    :raises WrongChain: its copy is of another one.
    """
    log = session.hub.log
    after = message.after
    if after is None:
        head = await log.head(name)
        return await position_from(log, name, max(0, head.seq - message.history))
    here = await position_from(log, name, after.seq)
    if here.seq == after.seq and here.chain != after.chain:
        raise WrongChain(room=name, seq=after.seq)
    return here


def part(session: Session, message: m.Part) -> None:
    """Let the peer out of a room."""
    room = session.room(parse_room(message.room))
    session.answer(m.Done(message.id))
    session.exit(room)


async def read(session: Session, message: m.Read) -> None:
    """Give the peer a page of a room's log."""
    place = session.room(parse_room(message.room))
    room = place.name
    limit = min(message.limit, session.hub.settings.limits.page)
    log = session.hub.log
    async with session.hub.dear.alone(session):
        if message.before:
            found = await log.read_back(room, message.before, limit, PAGE_BYTES)
        else:
            found = await read_from(log, room, message.after, limit, PAGE_BYTES)
        if session not in place:  # put out meanwhile
            raise NotInRoom(room=room)
        session.charge(sum(map(len, found.frames)))
        session.answer(m.Page(message.id, room, found.start, tuple(found.frames), found.more))


async def search(session: Session, message: m.Search) -> None:
    """Find entries in a room that the peer is in."""
    words = wanted(message.words)
    room = parse_room(message.room)
    sealing.refuse_sealed(room)
    place = session.room(room)
    before = message.before or 2**63 - 1
    limit = min(message.limit, session.hub.settings.limits.page)
    async with session.hub.dear.alone(session):
        found = await session.hub.log.search(room, words, before, limit, PAGE_BYTES)
        if session not in place:  # put out meanwhile
            raise NotInRoom(room=room)
        session.charge(SEARCH_BYTES)
        session.answer(m.Found(message.id, room, tuple(found.frames), found.reached, found.more))


def who(session: Session, message: m.Who) -> None:
    """Tell who is in a room."""
    room = session.room(parse_room(message.room))
    session.answer_at_its_size(m.Members(message.id, room.name, room.members()))


async def rooms(session: Session, message: m.Rooms) -> None:
    """Tell which rooms there are."""
    found = await session.hub.listing.rooms_for(session.person)
    session.charge(ROOM_BYTES * len(found))
    session.answer_at_its_size(m.RoomList(message.id, found))


async def whois(session: Session, message: m.Whois) -> None:
    """Tell who has a name."""
    session.answer(await people.profile(session.hub, message.id, message.name, session))


def typing(session: Session, message: m.Typing) -> None:
    """Tell a room that the peer is writing; nothing where it is not there, or may not write."""
    name = parse_room(message.room)
    if session.is_in(name):
        session.charge(TYPING_BYTES)
        room = session.room(name)
        try:
            room.check_speech(session)
        except RefusedError:
            return
        session.hub.signal(room, encode(m.Typing(name, session.name.shown)))


async def mark(session: Session, message: m.Mark) -> None:
    """Keep how far the peer's name has read a room, and tell its other devices there."""
    hub = session.hub
    room = session.room(parse_room(message.room))
    if message.seq > room.announced and message.seq > (await hub.log.head(room.name)).seq:
        raise UnknownPosition(room=room.name, seq=message.seq)
    if not session.classic:
        mark = await hub.directory.advance_mark(session.name.key, room.name, message.seq)
        for device in hub.sessions_of(session.name.key):
            # Who takes nothing just now is told when it joins again: nothing of this may pile up.
            if device is not session and device in room and mark == message.seq and not device.congested:
                device.answer(m.Marked(room.name, mark))
    session.answer(m.Done(message.id))


def ping(session: Session, message: m.Ping) -> None:
    """Answer."""
    session.answer(m.Pong(message.id))


def pong(session: Session, message: m.Pong) -> None:
    """Hearing it was enough."""


def bye(session: Session, message: m.Bye) -> None:
    """Let the peer go."""
    session.leave()


#: The acts on a room, and what else has their rate.
ACTS = (m.Invite, m.Kick, m.Ban, m.Unban, m.Mute, m.Unmute, m.Role, m.Access, m.Link, m.Unlink, m.Create)
#: What is about the keys and mail of devices has a rate of its own.
KEYS = (m.PublishKeys, m.Devices, m.ClaimKeys, m.ToDevice, m.AckMail)
#: Messages that cost no token of the request rate; Send and Topic have a rate of their own, and so have acts
#: and the bytes of files.
UNMETERED = frozenset({m.Hello, m.Send, m.Topic, m.Chunk, m.Download, m.Pong, m.Bye, *ACTS, *KEYS})

HANDLERS: Mapping[type[Struct], Callable[[Session, Any], Coroutine[object, object, None] | None]] = {
    m.Hello: hello,
    m.Join: join,
    m.Part: part,
    m.Send: saying.send,
    m.Create: sealing.create,
    m.Read: read,
    m.Search: search,
    m.Who: who,
    m.Rooms: rooms,
    m.Whois: whois,
    m.Topic: moderation.topic,
    m.Invite: moderation.invite,
    m.Kick: moderation.restrain,
    m.Ban: moderation.restrain,
    m.Unban: moderation.undo,
    m.Mute: moderation.restrain,
    m.Unmute: moderation.undo,
    m.Role: moderation.role,
    m.Access: moderation.access,
    m.About: moderation.about,
    m.Mark: mark,
    m.PublishKeys: devicekeys.publish,
    m.Devices: devicekeys.devices,
    m.ClaimKeys: devicekeys.claim,
    m.ToDevice: post.to_device,
    m.AckMail: post.ack,
    m.Link: devices.link,
    m.Unlink: devices.unlink,
    m.Upload: files.upload,
    m.Chunk: files.chunk,
    m.Download: files.download,
    m.Typing: typing,
    m.Ping: ping,
    m.Pong: pong,
    m.Bye: bye,
}
