"""The hub: every session and every room that has somebody in it.

The way of a message: a session checks it and gives it to the append queue; once the log has it, the hub
hands the stored frame to its room; at the end of the turn each room writes what it gathered to each of
its members, once. What a member cannot take now it later reads from the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from encchat.core.admission import Claim, Policy, guest_name, judge, judge_guest
from encchat.core.appends import Answer, AppendQueue
from encchat.core.directory import Directory, RoomRecord
from encchat.core.interfaces import Draft, IDirectory, IRoomLog, ITurn, Stored
from encchat.core.names import LOBBY, Name, parse_name
from encchat.core.rooms import Room
from encchat.core.session import Session
from encchat.errors import RefusedError
from encchat.messages import Limits, Position, Profile, RoomInfo

#: Rooms that a list shows at most.
MAX_ROOM_LIST = 1000


class ServerFull(RefusedError):
    """This server has as many people as it takes ({limit}). Try again later."""

    code = "server-full"


class NoSuchName(RefusedError):
    """Nobody has the name {name} here."""

    code = "no-such-name"


@dataclass(slots=True)
class Settings:
    """How this server is run; may be replaced while it runs."""

    motd: str = ""
    software: str = ""
    limits: Limits = field(default_factory=Limits)
    policy: Policy = field(default_factory=Policy)
    max_sessions: int = 10_000
    #: Rooms in which one session can be.
    max_rooms: int = 256


class Hub:
    """Holds the sessions and rooms of one server; one per process."""

    def __init__(self, log: IRoomLog, items: IDirectory, turn: ITurn, settings: Settings) -> None:
        self.log = log
        self.directory = Directory(items)
        self.turn = turn
        self.settings = settings
        self.appends = AppendQueue(log, lambda work: turn.spawn(work, None), turn.soon, self._committed)
        #: Those who were admitted; and all, with those who still have to say hello.
        self.sessions: set[Session] = set()
        self._connected: set[Session] = set()
        self._names: dict[str, list[Session]] = {}
        self._guests: dict[str, str] = {}
        self._rooms: dict[str, Room] = {}
        self._count = 0
        self._dirty_rooms: set[Room] = set()
        self._dirty_sessions: dict[Session, None] = {}
        self._flushing = False
        log.hints(self._hinted)

    # ------------------------------------------------------------------------------------ sessions

    async def admit(self, session: Session, requested: str) -> Name:
        """Let a session in under the name that it asks for.

        :raises RefusedError: it may not come in, or not under that name.
        :raises Unavailable: the directory cannot be read now.
        """
        identity = session.identity
        key = parse_name(requested).key
        claim = await self.directory.claim(key)
        name = judge(identity, requested, claim, self.settings.policy)
        self._refuse_when_full()
        wanted = Claim(
            name.shown, identity.fingerprint, self.milliseconds(), identity.vouched_name is not None
        )
        settled = await self.directory.settle(key, wanted)
        name = judge(identity, requested, settled, self.settings.policy)
        self._refuse_when_full()
        self._enter(session, name)
        return name

    def admit_guest(self, session: Session) -> Name:
        """Let a classic peer in under a name made from its key.

        :raises RefusedError: this server takes none, or no more.
        """
        judge_guest(self.settings.policy)
        self._refuse_when_full()
        name = guest_name(session.identity, self._guests)
        self._guests[name.key] = session.identity.fingerprint
        self._enter(session, name)
        return name

    def greet(self, session: Session) -> None:
        """A peer has proved its key; it has to say hello in time."""
        self._connected.add(session)

    def next_number(self) -> int:
        """A number for a session, used once."""
        self._count += 1
        return self._count

    def forget(self, session: Session) -> None:
        """A session ended: take it out of everything."""
        self._connected.discard(session)
        self._dirty_sessions.pop(session, None)
        if session not in self.sessions:
            return
        self.sessions.discard(session)
        devices = self._names[session.name.key]
        devices.remove(session)
        if not devices:
            del self._names[session.name.key]
            self._guests.pop(session.name.key, None)

    def _enter(self, session: Session, name: Name) -> None:
        self.sessions.add(session)
        self._names.setdefault(name.key, []).append(session)

    def _refuse_when_full(self) -> None:
        if len(self.sessions) >= self.settings.max_sessions:
            raise ServerFull(limit=self.settings.max_sessions)

    async def profile(self, id: int, requested: str, asker: Session) -> Profile:
        """What is known of a name, with the rooms that the asker shares with it.

        :raises NoSuchName: nobody has it.
        """
        name = parse_name(requested)
        claim = await self.directory.claim(name.key)
        devices = self._names.get(name.key, [])
        if claim is None and not devices:
            raise NoSuchName(name=name.shown)
        shared = tuple(room.name for room in asker.rooms() if room.has_name(name.key))
        if claim is None:
            guest = devices[0]
            fingerprint, since, vouched = guest.identity.fingerprint, guest.since, False
            shown = guest.name.shown
        else:
            fingerprint, since, vouched = claim.fingerprint, claim.since, claim.vouched
            shown = claim.shown
        classic = bool(devices) and all(d.classic for d in devices)
        return Profile(id, shown, fingerprint, since, vouched, bool(devices), classic, shared)

    # --------------------------------------------------------------------------------------- rooms

    def present_room(self, name: str) -> Room | None:
        """A room that has somebody in it."""
        return self._rooms.get(name)

    async def room(self, name: str, creator: Name) -> tuple[Room, Position]:
        """The room of this name and where its log ends; recorded when it is new.

        :raises TooManyRooms: this server has as many as it takes.
        """
        record = None
        if name not in self._rooms:
            record = await self.directory.room(name)
            if record is None:
                fresh = RoomRecord(self.milliseconds(), creator.shown)
                record = await self.directory.create_room(name, fresh)
        head = await self.log.head(name)
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, head.seq, record.topic if record else "")
        # Entries that this head counts and the next flush brings reach everybody all the same: a cursor
        # that stands before them is pushed to, and one that has read them is not.
        room.announced = max(room.announced, head.seq)
        return room, head

    async def room_list(self) -> tuple[RoomInfo, ...]:
        """The rooms that can be entered, by name; the lobby first."""
        known = await self.directory.rooms(MAX_ROOM_LIST)
        infos = {room: self._rooms[room].info() for room in self._rooms}
        for room, record in known.items():
            if room not in infos:
                head = await self.log.head(room)
                infos[room] = RoomInfo(room, 0, head.seq, record.topic)
        infos.setdefault(LOBBY, RoomInfo(LOBBY, 0, 0))
        return tuple(sorted(infos.values(), key=lambda i: (i.room != LOBBY, i.room)))[:MAX_ROOM_LIST]

    def release(self, room: Room) -> None:
        """A session left the room: forget it if it was the last."""
        if room.deserted and self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._dirty_rooms.discard(room)

    def append(self, room: Room, draft: Draft, answer: Callable[[Answer], None]) -> None:
        """Append an entry to a room; ``answer`` gets the outcome before the members get the entry."""
        room.appending += 1
        self.appends.put(draft, answer)

    def _committed(self, stored: Sequence[tuple[Draft, Stored]]) -> None:
        for draft, outcome in stored:
            room = self._rooms[draft.room]
            room.commit(outcome.seq, outcome.frame)
            self._dirty_rooms.add(room)
        self.flush()

    def appended(self, room: Room) -> None:
        """An append to ``room`` was answered, whatever the answer."""
        room.appending -= 1
        if room.deserted:
            self.turn.soon(lambda: self.release(room))

    def _hinted(self, name: str, seq: int) -> None:
        room = self._rooms.get(name)
        if room is not None and seq > room.announced and self.appends.idle:
            room.announced = seq
            self._dirty_rooms.add(room)
            self.flush_soon()

    # --------------------------------------------------------------------------------------- turns

    def signal(self, room: Room, frame: bytes) -> None:
        """Send ``frame``, which is not an entry, to everybody in the room at the end of the turn."""
        room.signal(frame)
        self.touch(room)

    def touch(self, room: Room) -> None:
        """Something in the room waits for the end of the turn."""
        self._dirty_rooms.add(room)
        self.flush_soon()

    def dirty(self, session: Session) -> None:
        """The session has something to write at the end of the turn."""
        self._dirty_sessions[session] = None
        self.flush_soon()

    def flush_soon(self) -> None:
        """Flush at the end of the turn."""
        if not self._flushing:
            self._flushing = True
            self.turn.soon(self.flush)

    def flush(self) -> None:
        """One write to each session that something waits for."""
        self._flushing = True  # what the loops below touch is flushed by them, not by another turn
        rooms, self._dirty_rooms = self._dirty_rooms, set()
        behind: dict[Session, None] = {}
        for room in rooms:
            behind.update(dict.fromkeys(room.flush()))
        sessions, self._dirty_sessions = self._dirty_sessions, {}
        self._flushing = False
        for session in sessions:
            session.flush()
        for session in behind:
            session.catch_up()

    def tick(self) -> None:
        """Judge every session's silence, and let those read on for whom the log failed before; called
        every few seconds."""
        now = self.turn.now()
        for session in list(self._connected):
            session.judge_silence(now)
            session.catch_up()

    def close(self, reason: str) -> None:
        """Tell every session why it is about to be closed, and close it."""
        for session in list(self._connected):
            session.dismiss(reason)

    def milliseconds(self) -> int:
        """The time as messages carry it."""
        return int(self.turn.wall() * 1000)
