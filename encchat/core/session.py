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
from encchat.core.allowances import Allowances
from encchat.core.identity import PeerIdentity
from encchat.core.interfaces import IOutlet
from encchat.core.names import Name
from encchat.core.reading import Reading
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

#: Messages, and bytes of them, that wait behind a request before the peer is no longer read.
MAX_WAITING, MAX_WAITING_BYTES = 200, 256 * 1024
#: Seconds of silence until we ask, and until we give up.
PING_AFTER, GONE_AFTER = 30.0, 90.0
#: Seconds that a peer may take nothing of what fills its transport.
STUCK_AFTER = 300.0
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


class Session(Allowances):
    """A peer of the hub. ``receive`` what it sends; tell it ``congested``, ``drained`` and ``lost``."""

    classic: ClassVar[bool] = False
    #: Protecting what is written takes the whole server's time: it is pushed little in one turn.
    dear = False

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
        super().__init__(hub.settings.limits, hub.turn)
        #: Which device this is, once it has shown that; and its mail on the way.
        self.device_id = ""
        self.delivery: Delivery | None = None
        self._heard = hub.turn.now()
        self._asked = False
        self._busy = False
        self._going_on = False
        self._held = False
        self._stuck_since: float | None = None
        self._waiting: deque[tuple[m.ClientMessage, int]] = deque()
        self._waiting_bytes = 0
        self._memberships: dict[str, Membership] = {}
        self._out: list[bytes] = []
        self._reading = Reading(self)
        hub.greet(self)

    # -------------------------------------------------------------------------------------- input

    @property
    def is_admitted(self) -> bool:
        """Whether it is in."""
        return self.state is State.ADMITTED

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
                self.take_request()
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
        self._reading.go_on()

    def behind(self) -> list[Membership]:
        """The rooms of which it has not got everything."""
        return [one for one in self._memberships.values() if one.stale or one.cursor < one.room.announced]

    def takes(self, membership: Membership) -> bool:
        """Whether entries of a room can be written to it now."""
        return (
            self.state is State.ADMITTED
            and not self.congested
            and self._memberships.get(membership.room.name) is membership
        )

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
