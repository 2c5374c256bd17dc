"""The hub: every session and every room that has somebody in it.

The way of a message: a session checks it and gives it to the append queue; once the log has it, the hub
hands the stored frame to its room; at the end of the turn each room writes what it gathered to each of
its members, once. What a member cannot take now it later reads from the log.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from encchat.core.accounts.admission import Policy
from encchat.core.accounts.door import Door
from encchat.core.chat.appends import Answer, AppendQueue
from encchat.core.chat.floods import Floods
from encchat.core.chat.limits import Lines
from encchat.core.chat.listing import Listing
from encchat.core.chat.lock import Lock
from encchat.core.chat.pace import Pace
from encchat.core.chat.reading import DearShare
from encchat.core.chat.rooms import Room
from encchat.core.chat.session import Session
from encchat.core.directory import Directory
from encchat.core.files.blobs import FileRules
from encchat.core.files.keeper import Keeper
from encchat.core.identity import PeerIdentity
from encchat.core.interfaces import Deed, Draft, IAudit, IBlobs, IRoomLog, ITurn, Stored
from encchat.core.moderation import acts
from encchat.core.moderation.rules import Act, Person, Rank, RoomRecord, key_token
from encchat.core.names import LOBBY, Name, is_open
from encchat.core.refusals import NoSuchRoom, NotAMember
from encchat.core.relay.devicekeys import ClaimRates
from encchat.core.relay.keeping import IStore
from encchat.core.relay.post import Post
from encchat.core.relay.sealing import Enrolment
from encchat.errors import StorageError
from encchat.messages import Invited, Limits

#: Lines of the service's log: a second, and at once.
ARRIVAL_LINES, COMPLAINT_LINES = (20, 10_000), (5, 500)


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
    #: Fingerprints of the keys that may do everything an owner may, in every room.
    admins: frozenset[str] = frozenset()
    files: FileRules = field(default_factory=FileRules)
    #: New names that one address may claim in a day; 0: any number.
    new_names: int = 0


class Hub:
    """Holds the sessions and rooms of one server; one per process."""

    def __init__(
        self,
        log: IRoomLog,
        store: IStore,
        turn: ITurn,
        settings: Settings,
        audit: IAudit | None = None,
        blobs: IBlobs | None = None,
    ) -> None:
        self.log = log
        self.store = store
        self.directory = Directory(store)
        self.turn = turn
        self.settings = settings
        self.audit = audit
        self.keeper = None if blobs is None else Keeper(blobs, self.directory, turn, settings.files)
        self.door = Door(self)
        #: Lines of the service's log about peers that came in, and about those that were refused or failed.
        self.arrivals = Lines(*ARRIVAL_LINES, turn.now())
        self.complaints = Lines(*COMPLAINT_LINES, turn.now())
        self._pace = Pace()
        self.dear = DearShare(turn)
        self.post = Post(self)
        self.claims = ClaimRates()
        self.floods = Floods(settings.new_names)
        self.enrolment = Enrolment(self.directory)
        #: Held by whoever carries out an order of an admin.
        self.ordering = Lock(turn)
        self.appends = AppendQueue(log, turn, self._committed, lambda: self._pace.wait(turn.now()))
        #: Those who were admitted; and all, with those who still have to say hello.
        self.sessions: set[Session] = set()
        self._connected: set[Session] = set()
        self._names: dict[str, list[Session]] = {}
        #: The names of classic peers who are in, and their keys.
        self.guests: dict[str, str] = {}
        self._rooms: dict[str, Room] = {}
        self.listing = Listing(self)
        self._count = 0
        self._dirty_rooms: set[Room] = set()
        self._dirty_sessions: dict[Session, None] = {}
        self._flushing = False
        log.hints(self._hinted)

    # ------------------------------------------------------------------------------------ sessions

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
        self.post.release(session)
        if session not in self.sessions:
            return
        self.sessions.discard(session)
        devices = self._names[session.name.key]
        devices.remove(session)
        if not devices:
            del self._names[session.name.key]
            self.guests.pop(session.name.key, None)

    def enter(self, session: Session, name: Name) -> None:
        """The door let a session in."""
        self.sessions.add(session)
        self._names.setdefault(name.key, []).append(session)
        if session.classic:
            self.guests[name.key] = session.identity.fingerprint
        self.note("admit", name.shown, session.identity.fingerprint, cipher=session.identity.cipher)

    def sessions_of(self, key: str) -> list[Session]:
        """The sessions that are in under a name."""
        return list(self._names.get(key, ()))

    def person_of(self, identity: PeerIdentity, key: str) -> Person:
        """A peer under a name, as the rules see it."""
        admin = identity.authenticated and identity.fingerprint in self.settings.admins
        return Person(key, (key_token(identity),), identity.vouched_name is not None, admin)

    # --------------------------------------------------------------------------------------- rooms

    def present_room(self, name: str) -> Room | None:
        """A room that has somebody in it."""
        return self._rooms.get(name)

    def present_rooms(self) -> list[Room]:
        """All of them."""
        return list(self._rooms.values())

    def is_in(self, name: str, key: str) -> bool:
        """Whether somebody with this name is in the room now."""
        room = self._rooms.get(name)
        return room is not None and room.has_name(key)

    @asynccontextmanager
    async def visiting(self, name: str, founder: Session | None = None) -> AsyncIterator[Room]:
        """The room of this name, loaded, and kept meanwhile. Where there is none, ``founder`` makes it, at
        the price of an act, as what is recorded of a room stays; but a sealed one only its roster makes.

        :raises NoSuchRoom: there is none, and no founder.
        :raises NotAMember: there is none, and it would be sealed.
        :raises RateLimited: the founder has made too many of late.
        :raises Unavailable: what is known of it cannot be read now.
        """
        room = self._rooms.get(name)
        if room is None:
            room = self._rooms[name] = Room(name, self.turn)
        with self.holding(room):
            if not room.loaded:
                async with room.lock:
                    if not room.loaded:
                        await self._load(room, founder)
            yield room

    @contextmanager
    def holding(self, room: Room) -> Iterator[None]:
        """Keep a room meanwhile, though it may become deserted."""
        room.holds += 1
        try:
            yield
        finally:
            self.unhold(room)

    def unhold(self, room: Room) -> None:
        """Something for which the room was held is over, such as an append, however it was answered. Forget
        the room, if that was all it was kept for; in a turn of its own, as entries of it may be about to be
        told."""
        room.holds -= 1
        if not room.holds and room.deserted:
            self.turn.soon(lambda: self.release(room))

    async def _load(self, room: Room, founder: Session | None) -> None:
        record = await self.directory.room(room.name)
        if record is None:
            if not is_open(room.name):
                raise NotAMember(room=room.name)
            if founder is None:
                raise NoSuchRoom(room=room.name)
            roles: dict[str, Rank] = {}
            if room.name != LOBBY:
                founder.take_act()
                self.floods.take_room(founder.outlet.origin, self.turn.now())
                roles[founder.name.key] = Rank.OWNER
            fresh = RoomRecord(self.milliseconds(), founder.name.shown, roles=roles)
            record = await self.directory.create_room(room.name, fresh)
        room.announced = max(room.announced, (await self.log.head(room.name)).seq)
        await acts.load(self, room, record)

    async def change_room(self, name: str, change: Callable[[RoomRecord], RoomRecord]) -> None:
        """Change what is recorded of a room."""
        async with self.visiting(name) as room:
            await acts.amend(self, room, change)

    def release(self, room: Room) -> None:
        """Forget a room in which nobody is any more."""
        if room.deserted and self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self.listing.forget(room.name)
            self._dirty_rooms.discard(room)

    def tell_invited(self, key: str, room: Room, act: Act) -> None:
        """Tell a name's sessions that it may come into a room; of who made the room, the other devices."""
        whom = [
            session
            for session in self.sessions_of(key)
            if act.kind != "roster" or session.identity.fingerprint != act.key
        ]
        if whom and self.floods.take_invitation(act.key, key, self.turn.now()):
            for session in whom:
                session.answer(Invited(room.name, act.sender))

    async def _settle(self, room: Room) -> None:
        with self.holding(room):
            try:
                await acts.settle(self, room)
            except StorageError:
                pass  # the next tick tries again
            finally:
                room.settling = False

    def append(self, room: Room, draft: Draft, answer: Callable[[Answer], None]) -> bool:
        """Append an entry to a room; ``answer`` gets the outcome before the members get the entry, and lets
        go of the room (``unhold``). Whether no more should be read now from whoever wrote it."""
        room.holds += 1
        return self.appends.put(draft, answer)

    def _committed(self, stored: Sequence[tuple[Draft, Stored]]) -> None:
        rooms, dirty = self._rooms, self._dirty_rooms
        for draft, outcome in stored:
            room = rooms[draft.room]
            room.commit(outcome.seq, outcome.frame)
            dirty.add(room)
        self.flush()

    def _hinted(self, name: str, seq: int) -> None:
        self.listing.forget(name)
        room = self._rooms.get(name)
        if room is not None and room.loaded and seq > room.announced and self.appends.idle:
            room.announced = seq
            self._dirty_rooms.add(room)
            self.flush_soon()
            room.unsettled = True  # it may have been an act; the next tick finds out

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
        if not self._flushing:
            self.flush_soon()

    def flush_soon(self) -> None:
        """Flush at the end of the turn."""
        if not self._flushing:
            self._flushing = True
            self.turn.soon(self.flush)

    def flush(self) -> None:
        """One write to each session that something waits for."""
        began = self.turn.now()
        self.dear.renew()
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
        self._pace.worked(began, self.turn.now())

    def tick(self) -> None:
        """Judge every session's silence, and let go on what waits since the log failed: those who read on,
        and acts. Called every few seconds."""
        now = self.turn.now()
        for session in list(self._connected):
            session.judge_silence(now)
            session.catch_up()
        self.post.tick()
        for room in list(self._rooms.values()):
            if room.loaded and room.unsettled and not room.settling:
                room.settling = True
                self.turn.spawn(self._settle(room), None)

    def close(self, reason: str) -> None:
        """Tell every session why it is about to be closed, and close it."""
        for session in list(self._connected):
            session.dismiss(reason)

    def milliseconds(self) -> int:
        """The time as messages carry it."""
        return int(self.turn.wall() * 1000)

    # --------------------------------------------------------------------------------------- audit

    def note(self, what: str, who: str, key: str, **facts: str | int) -> None:
        """Something for the audit log."""
        if self.audit is not None:
            self.audit.record(Deed(what, self.milliseconds(), who, key, facts))

    async def settle_notes(self) -> None:
        """Returns when the audit log has on disk what was noted; or cannot have it, which it tells itself."""
        if self.audit is not None:
            await self.audit.settle()
