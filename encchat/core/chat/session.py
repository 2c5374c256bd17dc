"""One connection as the core sees it: who it is, and a cursor over its rooms.

What arrives goes through the ``Intake``. What goes out is gathered and written once a turn; when the
transport is congested nothing more is pushed or answered, and once it drains the session goes on with the
requests and reads on from the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, cast

from encchat import messages as m
from encchat.core.chat.allowances import Allowances
from encchat.core.chat.intake import Intake
from encchat.core.chat.reading import Reading
from encchat.core.chat.rooms import Membership, Room
from encchat.core.chat.states import LEGAL, State
from encchat.core.identity import PeerIdentity
from encchat.core.interfaces import IOutlet
from encchat.core.moderation.rules import Person
from encchat.core.names import Name
from encchat.core.refusals import HelloTimeout, NotInRoom, RateLimited
from encchat.errors import EncchatError, StorageError
from encchat.text import clean_line
from encchat.wire import encode

if TYPE_CHECKING:
    from encchat.core.chat.hub import Hub
    from encchat.core.relay.post import Delivery

#: Seconds of silence until we ask, and until we give up.
PING_AFTER, GONE_AFTER = 30.0, 90.0
#: Seconds that a peer may take nothing of what fills its transport.
STUCK_AFTER = 300.0
#: Milliseconds after which a client may try again when the log could not be written.
STORAGE_WAIT = 2000
#: Seconds from the handshake to Hello.
HELLO_DEADLINE = 10.0

_CLOSED = State.CLOSED  # looked up for each message, which an Enum makes slow


class Session(Allowances):
    """A peer of the hub. ``receive`` what it sends; tell it ``congested``, ``drained`` and ``lost``."""

    classic: ClassVar[bool] = False
    #: Protecting what is written takes the whole server's time: it is pushed little in one turn.
    dear = False

    def __init__(self, hub: Hub, identity: PeerIdentity, outlet: IOutlet) -> None:
        self.hub = hub
        self.identity = identity
        self.outlet = outlet
        self._be(State.GREETING)
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
        self.intake = Intake(self)
        self._heard = hub.turn.now()
        self._asked = False
        self._stuck_since: float | None = None
        self._memberships: dict[str, Membership] = {}
        self._out: list[bytes] = []
        self._reading = Reading(self)
        hub.greet(self)

    # --------------------------------------------------------------------------------------- state

    def _be(self, state: State) -> None:
        self.state = state
        #: The messages that the peer may send now.
        self.legal = LEGAL[state]

    @property
    def is_admitted(self) -> bool:
        """Whether it is in."""
        return self.state is State.ADMITTED

    @property
    def closed(self) -> bool:
        """Whether this session is over."""
        return self.state is _CLOSED

    @property
    def deaf(self) -> bool:
        """The peer does not take its answers: what it asks waits, or they would pile up here. A classic
        peer asks nothing, and takes so little at a time that it could hardly speak."""
        return self.congested and not self.classic

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
            self._be(State.ADMITTED)
            self.outlet.admitted()

    # --------------------------------------------------------------------------------------- input

    def receive_frames(self, frames: Sequence[bytes]) -> None:
        """Frames from the peer, whole."""
        self.heard()
        self.intake.receive_frames(frames)

    def receive(self, message: m.ClientMessage) -> None:
        """A message from a peer that has no frames."""
        self.intake.receive(message, 0)

    def heard(self) -> None:
        """The peer is alive."""
        self._heard = self.hub.turn.now()
        self._asked = False

    # ------------------------------------------------------------------------------------- output

    def answer(self, message: m.ServerMessage) -> None:
        """Send a message at the end of the turn."""
        self.push(encode(message))

    def answer_at_its_size(self, message: m.ServerMessage) -> None:
        """Answer with what may be large, and so counts as more than one request."""
        frame = encode(message)
        self.charge(len(frame))
        self.push(frame)

    def refuse(self, request: int, error: EncchatError) -> None:
        """Answer a request with the error."""
        wait = STORAGE_WAIT if isinstance(error, StorageError) else 0
        if isinstance(error, RateLimited):
            wait = cast(int, error.facts["wait"])
        self.answer(m.Error(request, error.code, clean_line(str(error), 1000), wait))

    def push(self, frames: bytes) -> None:
        """Send frames at the end of the turn."""
        if frames and self.state is not _CLOSED:
            if not self._out:
                self.hub.dirty(self)
            self._out.append(frames)

    def flush(self) -> None:
        """Write what was gathered."""
        if self._out and self.state is not _CLOSED:
            out, self._out = self._out, []
            self.outlet.write(out[0] if len(out) == 1 else b"".join(out))

    def drained(self) -> None:
        """The transport has taken what was written: go on with the requests, and read on from the log."""
        self.congested = False
        self._stuck_since = None
        self.intake.go_on()
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

    def turn_away(self, error: EncchatError) -> None:
        """The peer may not come in."""
        self.outlet.note(error)
        self._end(m.Refused(error.code, clean_line(str(error), 1000)))

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
        if self.intake.held or self.state is not State.ADMITTED:
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
        self._be(State.CLOSED)
        self.intake.forget()
        self._out.clear()
        for membership in list(self._memberships.values()):
            self.exit(membership.room)
        self.hub.forget(self)

    # -------------------------------------------------------------------------------------- rooms

    def rooms(self) -> list[Room]:
        """The rooms that this session is in."""
        return [membership.room for membership in self._memberships.values()]

    def place(self, name: str) -> Membership | None:
        """Its place in the room of this name, if it is there."""
        return self._memberships.get(name)

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
