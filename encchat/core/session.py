"""One connection as the core sees it: a state table, checks, and a cursor over its rooms.

What arrives is handled strictly in order: while a request waits for the log, later ones wait behind it
and past a bound the peer is no longer read. What goes out is gathered and written once a turn; when the
transport is congested nothing more is pushed or answered, and once it drains the session goes on with the
requests and reads on from the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine
from enum import Enum, auto
from typing import TYPE_CHECKING, ClassVar, cast

from msgspec import Struct

from encchat import messages as m
from encchat.core.identity import PeerIdentity
from encchat.core.interfaces import IOutlet, Trimmed
from encchat.core.limits import TokenBucket
from encchat.core.names import Name
from encchat.core.positions import position_from
from encchat.core.refusals import HelloTimeout, NotInRoom, RateLimited
from encchat.core.requests import HANDLERS, UNMETERED
from encchat.core.rooms import Membership, Room
from encchat.core.rules import Person
from encchat.errors import EncchatError, PeerError, StorageError
from encchat.text import clean_line
from encchat.wire import UnknownMessage, decode_client, encode

if TYPE_CHECKING:
    from encchat.core.hub import Hub
    from encchat.core.post import Delivery

#: Requests other than Send: a second, and at once.
REQUEST_RATE, REQUEST_BURST = 20, 100
#: Acts of moderation, and codes for devices: a second, and at once.
ACT_RATE, ACT_BURST = 2, 20
#: Bytes of a page that cost as much of that rate as another request.
REQUEST_BYTES = 16 * 1024
#: Bytes of files, in the same units: a second, and at once. These are 8 MiB a second.
FILE_RATE, FILE_BURST = 512, 1024
#: Requests about keys and mail of devices: a second, and at once. A room of two hundred is set up with these.
KEY_RATE, KEY_BURST = 30, 600
#: Messages, and bytes of them, that wait behind a request before the peer is no longer read.
MAX_WAITING, MAX_WAITING_BYTES = 200, 256 * 1024
#: Seconds of silence until we ask, and until we give up.
PING_AFTER, GONE_AFTER = 30.0, 90.0
#: Seconds that a peer may take nothing of what fills its transport.
STUCK_AFTER = 300.0
#: Bytes of history that are read and written at a time.
PAGE_BYTES = 128 * 1024
#: Milliseconds after which a client may try again when the log could not be written.
STORAGE_WAIT = 2000
#: Refusals after admission that the audit log is told of.
NOTED = frozenset({"banned", "invite-only", "not-allowed"})
#: Seconds from the handshake to Hello.
HELLO_DEADLINE = 10.0


class State(Enum):
    """Where a session is in its life."""

    GREETING = auto()
    ADMITTED = auto()
    CLOSED = auto()


#: Which messages are legal in which state; any other is the peer's error.
LEGAL: dict[State, frozenset[type[Struct]]] = {
    State.GREETING: frozenset({m.Hello, m.Bye}),
    State.ADMITTED: frozenset(set(m.CLIENT_MESSAGES) - {m.Hello}),
    State.CLOSED: frozenset(),
}


class Session:
    """A peer of the hub. ``receive`` what it sends; tell it ``congested``, ``drained`` and ``lost``."""

    classic: ClassVar[bool] = False

    def __init__(self, hub: Hub, identity: PeerIdentity, outlet: IOutlet) -> None:
        self.hub = hub
        self.identity = identity
        self.outlet = outlet
        self.state = State.GREETING
        self.name = Name("", "")
        self.device = ""
        #: Names that it had before it was given this one.
        self.former: tuple[str, ...] = ()
        self.since = hub.milliseconds()
        #: The transport holds more than it should: push nothing.
        self.congested = False
        now = hub.turn.now()
        limits = hub.settings.limits
        self._sends = TokenBucket(limits.rate, limits.burst, now)
        self._requests = TokenBucket(REQUEST_RATE if limits.rate else 0, REQUEST_BURST, now)
        self._file_bytes = TokenBucket(FILE_RATE if limits.rate else 0, FILE_BURST, now)
        self._acts = TokenBucket(ACT_RATE if limits.rate else 0, ACT_BURST, now)
        self._keys = TokenBucket(KEY_RATE if limits.rate else 0, KEY_BURST, now)
        #: Which device this is, once it has shown that; and its mail on the way.
        self.device_id = ""
        self.delivery: Delivery | None = None
        self._heard = now
        self._asked = False
        self._busy = False
        self._going_on = False
        self._held = False
        self._stuck_since: float | None = None
        self._waiting: deque[tuple[m.ClientMessage, int]] = deque()
        self._waiting_bytes = 0
        self._memberships: dict[str, Membership] = {}
        self._out: list[bytes] = []
        self._catching_up = False
        hub.greet(self)

    # -------------------------------------------------------------------------------------- input

    @property
    def closed(self) -> bool:
        """Whether this session is over."""
        return self.state is State.CLOSED

    @property
    def person(self) -> Person:
        """Who this is, as the rules see it."""
        return self.hub.person_of(self.identity, self.name.key)

    def is_in(self, room: str) -> bool:
        """Whether it is in the room of this name."""
        return room in self._memberships

    def admitted(self, name: Name, device: str) -> None:
        """The hub let the peer in."""
        self.name, self.device = name, device
        if self.closed:  # the link went while the directory was asked
            self.hub.forget(self)
        else:
            self.state = State.ADMITTED
            self.outlet.admitted()

    def receive_frame(self, frame: bytes) -> None:
        """A frame from the peer. What is wrong with it is answered, and closes unless it is merely new."""
        if self.state is State.CLOSED:
            return
        self.heard()
        try:
            message = decode_client(frame)
        except UnknownMessage as error:
            if self.state is State.ADMITTED:
                self.answer(m.Error(error.id, error.code, str(error)))
            else:
                self.fail(error)
        except PeerError as error:
            self.fail(error)
        else:
            self.receive(message, len(frame))

    def heard(self) -> None:
        """The peer is alive."""
        self._heard = self.hub.turn.now()
        self._asked = False

    def receive(self, message: m.ClientMessage, size: int = 0) -> None:
        """A message from the peer, of so many bytes: handled now, or after those that came before it."""
        if self._busy or self._waiting or self._deaf:
            self._waiting.append((message, size))
            self._waiting_bytes += size
            if len(self._waiting) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES:
                self._hold()
        else:
            self._handle(message)

    @property
    def _deaf(self) -> bool:
        """The peer does not take its answers: what it asks waits, or they would pile up here. A classic
        peer asks nothing, and takes so little at a time that it could hardly speak."""
        return self.congested and not self.classic

    def _handle(self, message: m.ClientMessage) -> None:
        if self.state is State.CLOSED:
            return
        if type(message) not in LEGAL[self.state]:
            tag = type(message).__name__.lower()
            self.fail(PeerError(reason=f"a {tag} message is out of place here"))
            return
        try:
            if not isinstance(message, UNMETERED):
                self._take(self._requests)
            work = HANDLERS[type(message)](self, message)
        except EncchatError as error:
            self._refuse(message, error)
            return
        if work is not None:
            self._busy = True
            self.hub.turn.spawn(self._finish(message, work), self)

    async def _finish(self, message: m.ClientMessage, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except EncchatError as error:
            self._refuse(message, error)
        finally:
            self._busy = False
        self._go_on()

    def _go_on(self) -> None:
        if self._going_on:  # called by a request that was answered without waiting: the loop goes on
            return
        self._going_on = True
        try:
            while self._waiting and not (self._busy or self._deaf or self.state is State.CLOSED):
                message, size = self._waiting.popleft()
                self._waiting_bytes -= size
                self._handle(message)
        finally:
            self._going_on = False
        few = len(self._waiting) < MAX_WAITING // 2 and self._waiting_bytes < MAX_WAITING_BYTES // 2
        if self._held and few:
            self._release_when_stored()

    def _refuse(self, message: m.ClientMessage, error: EncchatError) -> None:
        """Answer a request with the error; before admission, with Refused and a close."""
        if self.state is State.CLOSED:
            return
        if isinstance(error, PeerError):
            self.fail(error)
        elif self.state is State.GREETING:
            self.outlet.note(error)
            self._note_refusal(message, error)
            self._end(m.Refused(error.code, clean_line(str(error), 1000)))
        else:
            if error.code in NOTED:
                self._note_refusal(message, error)
            self.refuse(cast(int, getattr(message, "id", 0)), error)

    def _note_refusal(self, message: m.ClientMessage, error: EncchatError) -> None:
        asked = getattr(message, "name", "") if isinstance(message, m.Hello) else self.name.shown
        facts = {"asked": type(message).__name__.lower(), "code": error.code}
        room = getattr(message, "room", "")
        if room:
            facts["room"] = clean_line(room)
        self.hub.note("refuse", clean_line(asked), self.identity.fingerprint, **facts)

    def refuse(self, request: int, error: EncchatError) -> None:
        """Answer a request with the error."""
        wait = STORAGE_WAIT if isinstance(error, StorageError) else 0
        if isinstance(error, RateLimited):
            wait = cast(int, error.facts["wait"])
        self.answer(m.Error(request, error.code, clean_line(str(error), 1000), wait))

    def take_send(self) -> None:
        """Spend one send of the peer's rate.

        :raises RateLimited: there is none left just now.
        """
        self._take(self._sends)

    def take_act(self) -> None:
        """Spend one act of the peer's rate.

        :raises RateLimited: there is none left just now.
        """
        self._take(self._acts)

    def take_file_bytes(self, size: int) -> None:
        """Spend ``size`` bytes of files of the peer's rate; a few also for none.

        :raises RateLimited: there are none left just now.
        """
        self._take(self._file_bytes)
        self.charge_file_bytes(size)

    def charge_file_bytes(self, size: int) -> None:
        """Count ``size`` bytes of files that came or went; the request itself has cost as much as the first
        of them."""
        self._file_bytes.spend(max(0, size / REQUEST_BYTES - 1))

    def take_keys(self, requests: float) -> None:
        """Spend as much of the peer's rate for keys and mail as so many requests cost.

        :raises RateLimited: there is none left just now.
        """
        self._take(self._keys)
        self._keys.spend(requests - 1)

    def charge_keys(self, size: int) -> None:
        """Count ``size`` bytes of keys or mail as more than one request."""
        self._keys.spend(size / REQUEST_BYTES)

    def charge(self, size: int) -> None:
        """Count an answer of ``size`` bytes as more than one request, as protecting it costs time: the next
        ones wait for it."""
        self._requests.spend(size / REQUEST_BYTES)

    def seconds_to_send(self) -> float:
        """How long until the peer's rate allows another send; 0 for now."""
        return self._sends.wait(self.hub.turn.now())

    def _take(self, bucket: TokenBucket) -> None:
        wait = bucket.take(self.hub.turn.now())
        if wait:
            raise RateLimited(wait=max(1, int(wait * 1000 + 0.999)))

    def heed_backlog(self) -> None:
        """Stop reading from the peer while the append queue is past its bound."""
        if self.hub.appends.full and not (self._held or self.closed):
            self._hold()
            self.hub.appends.when_relieved(self._release_when_stored)

    def _hold(self) -> None:
        if not self._held:
            self._held = True
            self.outlet.hold()

    def _release_when_stored(self) -> None:
        """Read on, unless the append queue is past its bound: then once it has room."""
        if self.state is State.CLOSED or not self._held:
            return
        if self.hub.appends.full:
            self.hub.appends.when_relieved(self._release_when_stored)
            return
        self._held = False
        self.outlet.release()

    # ------------------------------------------------------------------------------------- output

    def answer(self, message: m.ServerMessage) -> None:
        """Send a message at the end of the turn."""
        self.push(encode(message))

    def push(self, frames: bytes) -> None:
        """Send frames at the end of the turn."""
        if frames and self.state is not State.CLOSED:
            if not self._out:
                self.hub.dirty(self)
            self._out.append(frames)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._out and self.state is not State.CLOSED:
            out, self._out = self._out, []
            self.outlet.write(out[0] if len(out) == 1 else b"".join(out))

    def drained(self) -> None:
        """The transport has taken what was written: go on with the requests, and read on from the log."""
        self.congested = False
        self._stuck_since = None
        self._go_on()
        self.catch_up()

    def catch_up(self) -> None:
        """Start reading from the log what was not pushed, unless that is under way; and so with the mail."""
        if self.delivery is not None:
            self.delivery.go_on()
        if not self._catching_up and not self.congested and self.state is State.ADMITTED:
            behind = [i for i in self._memberships.values() if i.stale or i.cursor < i.room.announced]
            if behind:
                self._catching_up = True
                self.hub.turn.spawn(self._catch_up(behind), self)

    async def _catch_up(self, behind: list[Membership]) -> None:
        try:
            for membership in behind:
                while self._is_behind(membership):
                    await self._read_on(membership)
                if membership.stale and self._is_current(membership):
                    membership.stale = False
                    room = membership.room
                    self.answer(m.Members(0, room.name, room.members()))
        except StorageError as error:  # the hub's next tick tries again
            self.outlet.note(error)
            return
        finally:
            self._catching_up = False
        self.catch_up()

    def _is_current(self, membership: Membership) -> bool:
        return (
            self.state is State.ADMITTED
            and not self.congested
            and self._memberships.get(membership.room.name) is membership
        )

    def _is_behind(self, membership: Membership) -> bool:
        return self._is_current(membership) and membership.cursor < membership.room.announced

    async def _read_on(self, membership: Membership) -> None:
        log, room, before = self.hub.log, membership.room.name, membership.cursor
        try:
            found = await log.read(room, before, m.MAX_PAGE, PAGE_BYTES)
        except Trimmed as trimmed:
            start = await position_from(log, room, trimmed.first)
            if self._is_current(membership) and membership.cursor == before:
                membership.cursor = start.seq
                self.answer(m.Page(0, room, start, (), True))
            return
        if not self._is_current(membership):
            return
        fresh = found.frames[membership.cursor - before :]  # a flush may have pushed some meanwhile
        if not found.frames:
            raise StorageError(reason=f"{room} ends before entry {membership.room.announced}")
        membership.cursor = max(membership.cursor, before + len(found.frames))
        self.push(b"".join(fresh))
        self.flush()

    # ---------------------------------------------------------------------------------------- end

    def fail(self, error: EncchatError) -> None:
        """The peer broke the protocol: one Error, one log line, and the end."""
        if self.state is not State.CLOSED:
            self.outlet.note(error)
            self._end(m.Error(0, error.code, clean_line(str(error), 1000)))

    def dismiss(self, reason: str) -> None:
        """Close on purpose, and say why."""
        if self.state is not State.CLOSED:
            self._end(m.Closing(reason))

    def lost(self) -> None:
        """The connection is gone."""
        self._leave()

    def leave(self) -> None:
        """The peer says goodbye."""
        self.flush()
        self._leave()
        self.outlet.close()

    def judge_silence(self, now: float) -> None:
        """Ask a silent peer whether it is there; give up on one that does not answer."""
        silence = now - self._heard
        if self.state is State.GREETING and silence >= HELLO_DEADLINE:
            self.fail(HelloTimeout(seconds=HELLO_DEADLINE))
        if self.state is State.ADMITTED and self.congested:
            self._stuck_since = now if self._stuck_since is None else self._stuck_since
            if now - self._stuck_since >= STUCK_AFTER:
                self.dismiss("you take nothing of what is sent to you")
        if self._held or self.state is not State.ADMITTED:
            return
        if silence >= GONE_AFTER:
            self.dismiss("nothing was heard of you")
        elif silence >= PING_AFTER and not self._asked:
            self._asked = True
            self.answer(m.Ping())

    def _end(self, last: m.ServerMessage) -> None:
        self._out.append(encode(last))
        self.flush()
        self._leave()
        self.outlet.close()

    def _leave(self) -> None:
        if self.state is State.CLOSED:
            return
        self.state = State.CLOSED
        self._waiting.clear()
        self._waiting_bytes = 0
        self._out.clear()
        for membership in list(self._memberships.values()):
            self.exit(membership.room)
        self.hub.forget(self)

    # -------------------------------------------------------------------------------------- rooms

    def rooms(self) -> list[Room]:
        """The rooms that this session is in."""
        return [membership.room for membership in self._memberships.values()]

    def room(self, name: str) -> Room:
        """One of them, by its name.

        :raises NotInRoom: it is not in it.
        """
        membership = self._memberships.get(name)
        if membership is None:
            raise NotInRoom(room=name)
        return membership.room

    def enter(self, room: Room, cursor: int) -> None:
        """Come into a room, to be given the entries after ``cursor``; again, for another cursor."""
        held = self._memberships.get(room.name)
        if held is None:
            self._memberships[room.name] = room.enter(self, cursor)
        else:
            held.cursor = cursor
        self.hub.touch(room)

    def exit(self, room: Room) -> None:
        """Leave a room."""
        del self._memberships[room.name]
        room.leave(self)
        self.hub.touch(room)
        self.hub.release(room)

    def put_out(self, room: Room, code: str, text: str) -> None:
        """A moderator puts the peer out of a room."""
        if self.is_in(room.name):
            self.answer(m.Removed(room.name, code, clean_line(text, 1000)))
            self.exit(room)


class GuestSession(Session):
    """A classic peer: admitted by what it showed, in the lobby alone, marked as classic for everyone."""

    classic: ClassVar[bool] = True

    def admit(self) -> None:
        """Come in, under a name made from the key; what is received meanwhile waits for that."""
        self._busy = True
        self.hub.turn.spawn(self._admit(), self)

    async def _admit(self) -> None:
        try:
            name = await self.hub.door.admit_guest(self)
        except EncchatError as error:
            if not self.closed:
                self.outlet.note(error)
                self.hub.note("refuse", "", self.identity.fingerprint, asked="classic", code=error.code)
                self._end(m.Refused(error.code, clean_line(str(error), 1000)))
            return
        finally:
            self._busy = False
        self.admitted(name, "classic")
        self._go_on()

    def put_out(self, room: Room, code: str, text: str) -> None:
        """There is only one room for a classic peer: out of it is out."""
        self.dismiss(text)

    def judge_silence(self, now: float) -> None:
        """A classic peer has nothing to answer with; TCP's keep-alive finds out when it is gone."""
