"""The rooms that a session is in or wants to be in, and what the server says about them.

Pure. It outlives connections: after ``lost`` every room is out, and is joined anew at its position. What
the server says of a room that we are not in is its error, unless we have only just left it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from encchat import messages as m
from encchat.client import events as e
from encchat.client.protocol.roomcopy import LogMismatch, RoomCopy, Stage
from encchat.core.names import is_open
from encchat.errors import PeerError

#: Codes that say that our copy of a room is not the server's.
MISMATCHES = frozenset({"wrong-chain", "unknown-position"})


class Membership:
    """``copies`` are the rooms by name. Each method is told one thing that the server said."""

    def __init__(self) -> None:
        self.copies: dict[str, RoomCopy] = {}
        #: When to ask again to be let into a room.
        self.join_at: dict[str, float] = {}
        #: Rooms that were left during this connection.
        self._left: set[str] = set()

    def lost(self) -> list[e.Event]:
        """The connection is gone; what was being left is left."""
        left = [name for name, room in self.copies.items() if room.stage is Stage.LEAVING]
        for name in left:
            del self.copies[name]
        for room in self.copies.values():
            room.stage = Stage.OUT
        self.join_at.clear()
        self._left.clear()
        return [e.LeftRoom(name) for name in left]

    def inside(self) -> list[str]:
        """The rooms that we are in now."""
        return [name for name, room in self.copies.items() if room.stage is Stage.IN]

    def is_in(self, name: str) -> bool:
        """Whether we are in a room now."""
        return self._copy(name) is not None

    def _copy(self, name: str) -> RoomCopy | None:
        copy = self.copies.get(name)
        return copy if copy is not None and copy.stage is Stage.IN else None

    # ------------------------------------------------------------------------------ coming and going

    def due(self, now: float) -> list[RoomCopy]:
        """The rooms that are to be asked for again now."""
        names = [name for name, at in self.join_at.items() if at <= now]
        for name in names:
            del self.join_at[name]
        return [self.copies[name] for name in names]

    def part(self, name: str) -> bool:
        """Leave a room; whether the server must be asked to let us go."""
        copy = self.copies.get(name)
        if copy is None or copy.stage is Stage.LEAVING:
            return False
        self.join_at.pop(name, None)
        if copy.stage is Stage.OUT:
            del self.copies[name]
            return False
        copy.stage = Stage.LEAVING
        self._left.add(name)
        return True

    def gone(self, name: str) -> Iterable[e.Event]:
        """The server has let us go."""
        room = self.copies.get(name)
        if room is None or room.stage is not Stage.LEAVING:
            return ()
        del self.copies[name]
        return (e.LeftRoom(name),)

    def joined(self, message: m.Joined, name: str) -> Iterable[e.Event]:
        """The server lets us into ``name``."""
        if message.room != name:
            raise PeerError(reason=f"it lets us into {message.room}, where {name} was asked for")
        room = self._asked(name, message.id)
        if room is None:
            return ()
        lost = room.joined(message.start, message.head)
        room.stage = Stage.IN
        room.topic = message.topic
        room.mark = message.mark
        room.set_members(message.members)
        first, room.entered = not room.entered, True
        events: list[e.Event] = []
        if lost:
            events.append(e.Lost(name, lost))
        head, start = message.head, message.start
        events.append(
            e.JoinedRoom(
                name, head, start, message.members, message.topic, first, message.mark, room.by_itself
            )
        )
        if room.caught_up:
            events.append(e.CaughtUp(name))
        return events

    def not_joined(
        self, name: str, message: m.Error, again_at: float | None, wait: float
    ) -> Iterable[e.Event]:
        """The server does not let us in: not before ``again_at``, in ``wait`` seconds, or (None) never."""
        room = self._asked(name, message.id)
        if room is None:
            return ()
        if message.code in MISMATCHES:
            raise LogMismatch(room=name, reason=message.text.rstrip("."))
        if again_at is not None:
            self.join_at[name] = again_at
            room.stage = Stage.OUT
            return (e.Delayed(message.code, message.text, wait),)
        del self.copies[name]
        return (e.NotJoined(name, message.code, message.text),)

    def _asked(self, name: str, request: int) -> RoomCopy | None:
        """The room that ``request`` asked for; None if we have asked to leave meanwhile, and perhaps to come
        again."""
        room = self.copies.get(name)
        return room if room and room.stage is Stage.JOINING and room.request == request else None

    def removed(self, message: m.Removed) -> Iterable[e.Event]:
        """A moderator put us out."""
        room = self.copies.get(message.room)
        if room is None or room.stage is Stage.OUT:
            return ()
        self._left.add(message.room)
        if room.stage is Stage.JOINING:  # that was about the time before we asked to come again
            return ()
        del self.copies[message.room]
        return (e.PutOut(message.room, message.code, message.text),)

    # -------------------------------------------------------------------------------------- reading

    def entry(self, message: m.Entry, frame: bytes, own: bool) -> Iterable[e.Event]:
        """The next entry of a room, with its whole frame."""
        room = self._copy(message.room)
        if room is None:
            self._excuse(message.room)
            return ()
        old = room.is_old(message.seq)
        start = room.position
        fresh = room.read(message, frame)
        if message.kind == "topic":
            room.topic = message.body.decode("utf-8", "replace")
        events: tuple[e.Event, ...] = ()
        # Of a sealed room whoever opens it sees everything: what comes twice is an attack there.
        if (fresh or not is_open(room.name)) and start is not None:
            events = (e.NewEntry(message, own, old, frame, start),)
        return (*events, e.CaughtUp(room.name)) if old and room.caught_up else events

    def page(self, message: m.Page, name: str) -> Iterable[e.Event]:
        """A page of ``name`` that was asked for."""
        if message.room != name:
            raise PeerError(reason=f"a page of {message.room}, where {name} was asked for")
        room = self.copies.get(name) or RoomCopy(name)
        entries, proved = room.read_page(message.start, message.entries)
        start, frames = message.start, message.entries
        return (e.History(message.id, name, entries, message.more, start, frames, proved),)

    def skipped(self, message: m.Page) -> Iterable[e.Event]:
        """A page that nobody asked for: what we have not read yet is not there any more."""
        room = self._copy(message.room)
        if room is None:
            self._excuse(message.room)
            return ()
        if message.entries:
            raise PeerError(reason="a page that nobody asked for")
        caught_up = room.caught_up
        lost = room.skip(message.start)
        events: tuple[e.Event, ...] = (e.Lost(room.name, lost),) if lost else ()
        return (*events, e.CaughtUp(room.name)) if room.caught_up and not caught_up else events

    def _excuse(self, room: str) -> None:
        """Something of a room that we are not in: on its way while we left it, or the server's error."""
        if room not in self._left:
            raise PeerError(reason=f"entries of {room}, where we are not")

    def marked(self, message: m.Marked) -> Iterable[e.Event]:
        """Another device of ours has read a room."""
        room = self._copy(message.room)
        if room is None:
            return ()
        room.mark = max(room.mark, message.seq)
        return (e.ReadElsewhere(message.room, message.seq),)

    # --------------------------------------------------------------------------------------- people

    def members(self, message: m.Members, name: str) -> Iterable[e.Event]:
        """Who is in ``name``, or, where nobody asked, in any room."""
        if message.room != name:
            raise PeerError(reason=f"members of {message.room}, where {name} was asked for")
        room = self.copies.get(name)
        if room is not None:
            room.set_members(message.members)
        elif not message.id:
            return ()
        return (e.RoomMembers(message.id, name, message.members),)

    def presence(self, message: m.Presence) -> Iterable[e.Event]:
        """Somebody came or went."""
        room = self.copies.get(message.room)
        member = m.Member(message.name, message.classic)
        if room is None or not room.came_or_went(member, message.here):
            return ()
        return (e.CameOrWent(message.room, message.name, message.here, message.classic),)

    def typing(self, message: m.Typing) -> Iterable[e.Event]:
        """Somebody is writing."""
        return (e.IsTyping(message.room, message.name),) if self.is_in(message.room) else ()


#: What the server says of a room unasked, and who is told.
UNASKED: dict[type[Struct], Callable[..., Iterable[e.Event]]] = {
    m.Removed: Membership.removed,
    m.Marked: Membership.marked,
    m.Presence: Membership.presence,
    m.Typing: Membership.typing,
}
