"""A client's side of encchat/1: pure, for any number of connections one after the other.

Frames of the server go in, events come out; requests go in, messages to send come out of ``take``. The
time is handed in. What outlives a connection stays here: which rooms we want to be in and how far each
was read, and what was sent and is not acknowledged. After each Welcome all rooms are joined again at
their positions and the unacknowledged goes out again, in order, under the same msgids.

The server is not believed: a message that is out of place, answers nothing, or contradicts the log that
we have read raises, and the connection must then be given up.

Here is what belongs to the connection as a whole; rooms are in ``membership``, messages on their way out
in ``outgoing``, and what the answers to questions tell in ``answers``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from encchat import messages as m
from encchat.client import events as e
from encchat.client.protocol.answers import TOLD
from encchat.client.protocol.membership import UNASKED, Membership
from encchat.client.protocol.outbox import Item, Outbox
from encchat.client.protocol.outgoing import Outgoing
from encchat.client.protocol.pings import Pings
from encchat.client.protocol.requests import ACTS, QuestionMessage, RelayMessage, RequestMessage, Requests
from encchat.client.protocol.roomcopy import RoomCopy, Stage
from encchat.client.protocol.states import LEGAL, State
from encchat.core.names import is_open
from encchat.errors import PeerError, RefusedError
from encchat.wire import UnknownMessage, decode_server

#: The versions of the native protocol that we speak.
VERSIONS = (1,)
#: The smallest limits of a server that make sense.
MIN_BODY = 256
#: Messages that wait for the transport, beyond which a server may not ask for more.
MAX_UNSENT = 10_000
#: Codes of a refusal that time may cure.
PASSING = frozenset({"rate-limited", "storage-unavailable", "conflict", "server-full", "shutting-down"})
#: Seconds until we try again when the server names no wait.
DEFAULT_WAIT = 2.0

#: How far an earlier run had read a room of a log: called when the server names its log.
Recall: TypeAlias = Callable[[bytes, str], m.Position | None]


class Refused(RefusedError):
    """The server does not let you in: {text}"""

    def __init__(self, code: str, text: str) -> None:
        super().__init__(text=text)
        self.reason = code

    @property
    def passing(self) -> bool:
        """Whether time may cure it."""
        return self.reason in PASSING


class Session:
    """One person on one server. ``opened`` when a connection is there and proved, then ``received`` for
    each frame, ``take`` for what is to be sent, ``due`` for when to look again, and ``lost`` at the end."""

    def __init__(
        self,
        hello: m.Hello,
        recall: Recall = lambda log, room: None,
        judge: Callable[[bytes], None] = lambda log: None,
    ) -> None:
        self.hello = hello
        self.recall = recall
        #: Rooms of which entries came that nobody could take: with the next connection they are read on from
        #: where ``recall`` says.
        self.reread: set[str] = set()
        #: Raises when the server names a log that it may not have.
        self._judge = judge
        self.state = State.APART
        self.limits = m.Limits()
        #: Whether sealed rooms are joined only once ``enter_sealed`` says that our keys are published: then
        #: the keys to what was said come before it.
        self.keys_first = False
        self._keys_out = False
        #: The name that the server knows us by, and its log; of the last Welcome.
        self.name = hello.name
        self.log = b""
        self._outgoing = Outgoing()
        self._membership = Membership()
        self._requests = Requests()
        self._out: list[m.ClientMessage] = []
        self._now = 0.0
        self._pings = Pings()

    @property
    def outbox(self) -> Outbox:
        """What was typed and is not acknowledged."""
        return self._outgoing.outbox

    @property
    def rooms(self) -> dict[str, RoomCopy]:
        """The rooms that we are in, or want to be in."""
        return self._membership.copies

    # ---------------------------------------------------------------------------------- connections

    def opened(self, now: float) -> None:
        """A connection is there, and the server has proved its key."""
        assert self.state is State.APART, "a session has one connection at a time"
        self._now = now
        self.state = State.GREETING
        self._out.append(self.hello)

    def lost(self) -> list[e.Event]:
        """The connection is gone. What was asked and not answered has failed; rooms and outbox stay."""
        events: list[e.Event] = [
            e.RequestFailed(id, "disconnected", "The connection was lost.") for id in self._requests.drop()
        ]
        events += self._membership.lost()
        self.state = State.APART
        self.outbox.rewind()
        self._out.clear()
        self._pings.lost()
        return events

    def bye(self, reason: str = "") -> None:
        """Leave on purpose: nothing that is not yet sent goes out any more."""
        if self.state is not State.APART:
            self.state = State.LEAVING
            self._out = [m.Bye(reason)]
            self._membership.join_at.clear()

    @property
    def max_body(self) -> int:
        """The body of one message at most, in bytes."""
        return min(self.limits.body, m.MAX_BODY)

    @property
    def admitted(self) -> bool:
        """Whether requests can be made."""
        return self.state is State.ADMITTED

    def is_own(self, entry: m.Entry) -> bool:
        """Whether this session has sent it, not too long ago."""
        return entry.sender == self.name and self._outgoing.is_own(entry.msgid)

    @property
    def questions(self) -> int:
        """How many requests for an answer, other than messages, wait for it."""
        return self._requests.questions

    # ------------------------------------------------------------------------------------- requests

    def join(self, room: str, history: int = 0, *, resume: bool = True, by_itself: bool = False) -> None:
        """Be in a room from now on, across connections; answered by JoinedRoom or NotJoined. A sealed room is
        always read on from where ``recall`` says."""
        copy = self.rooms.get(room)
        if copy is None or copy.stage is Stage.LEAVING:
            copy = self.rooms[room] = RoomCopy(room, history, resume=resume or not is_open(room))
            copy.by_itself = by_itself
            if self.admitted:
                copy.recall(self.recall(self.log, room))
                self._join_now(copy)

    def enter_sealed(self) -> None:
        """Our keys are published: join the sealed rooms that we want to be in."""
        self._keys_out = True
        for room in self.rooms.values():
            if self.admitted and room.stage is Stage.OUT and room.name not in self._membership.join_at:
                self._join(room)

    def part(self, room: str) -> None:
        """Leave a room; answered by LeftRoom. A room that we are not in is left already."""
        if self._membership.part(room):
            self._ask(m.Part(self._new_id(), room))

    def send(self, item: Item) -> None:
        """Send a message when its room, the window and the server's rate let it; answered by
        Acknowledged or NotSent."""
        self._outgoing.add(item)

    def typing(self, room: str) -> None:
        """Say that the user is writing; goes nowhere when we are not in the room."""
        if self.admitted and self._membership.is_in(room):
            self._out.append(m.Typing(room))

    def who(self, room: str) -> int:
        """Who is in a room? Answered by RoomMembers."""
        return self._ask(m.Who(self._new_id(), room))

    def list_rooms(self) -> int:
        """Which rooms are there? Answered by RoomsListed."""
        return self._ask(m.Rooms(self._new_id()))

    def whois(self, name: str) -> int:
        """Who is that? Answered by ProfileFound."""
        return self._ask(m.Whois(self._new_id(), name[:64]))

    def read(self, room: str, *, before: int = 0, after: int = 0, limit: int = 100) -> int:
        """Read a page of a room that we are in; answered by History."""
        limit = max(1, min(limit, self.limits.page, m.MAX_PAGE))
        return self._ask(m.Read(self._new_id(), room, after, before, limit))

    def search(self, room: str, words: str, before: int = 0, limit: int = 50) -> int:
        """Search a room that we are in; answered by SearchFound."""
        limit = max(1, min(limit, self.limits.page, m.MAX_PAGE))
        return self._ask(m.Search(self._new_id(), room, words, before, limit))

    def ask(self, build: Callable[[int], QuestionMessage]) -> int:
        """Make a request of an act, or about a room or the own keys; ``build`` gets its id. Answered by
        ActDone, RoomDescribed, LinkCode, Unlinked or RequestFailed."""
        return self._ask(build(self._new_id()))

    def relay(self, build: Callable[[int], RelayMessage]) -> int:
        """Ask something for sealed rooms; answered by Relayed, unless the connection is lost."""
        message = build(self._new_id())
        self._ask(message, relayed=True)
        return message.id

    def mark(self, room: str, seq: int) -> None:
        """The person has read a room up to ``seq``; goes nowhere when the server knows it."""
        copy = self.rooms.get(room)
        if self.admitted and copy is not None and copy.stage is Stage.IN and seq > copy.mark:
            copy.mark = seq
            self._ask(m.Mark(self._new_id(), room, seq))

    def ping(self) -> None:
        """Ask the server whether it is there; its answer tells the ``latency``."""
        if self.state in (State.GREETING, State.ADMITTED):
            ping = m.Ping(self._new_id())
            self._pings.asked(ping.id)
            self._out.append(ping)

    def unanswered(self, now: float) -> float:
        """Seconds that a ping waits for its answer; 0: none does."""
        return self._pings.owed(now)

    @property
    def latency(self) -> float | None:
        """Seconds that the server took to answer the last ping of this connection; None before it did."""
        return self._pings.latency

    @property
    def next_request(self) -> int:
        """The id that the next request will have."""
        return self._requests.next

    def new_request(self) -> int:
        """The id of a request that is made in another way."""
        return self._new_id()

    def _new_id(self) -> int:
        return self._requests.new_id()

    def _ask(self, message: RequestMessage, *, relayed: bool = False) -> int:
        assert self.admitted, "a request before the Welcome"
        self._requests.put(message, relayed=relayed)
        self._out.append(message)
        return message.id

    def _join_now(self, room: RoomCopy) -> None:
        if is_open(room.name) or self._keys_out or not self.keys_first:
            self._join(room)

    def _join(self, room: RoomCopy) -> None:
        room.stage = Stage.JOINING
        room.request = self._ask(m.Join(self._new_id(), room.name, room.position, room.history))

    # -------------------------------------------------------------------------------------- sending

    def take(self, now: float) -> list[m.ClientMessage]:
        """What is to be sent now, in order."""
        self._now = now
        for room in self._membership.due(now):
            self._join(room)
        if self.admitted and len(self.outbox):
            for item in self._outgoing.take(self._membership.inside(), now):
                self._send(item)
        self._pings.sent(now)
        out, self._out = self._out, []
        return out

    def due(self, now: float) -> float | None:
        """When ``take`` will have something that it does not have now; None: not by time alone."""
        times = list(self._membership.join_at.values())
        if self.admitted and len(self.outbox):
            due = self._outgoing.due(self._membership.inside(), now)
            if due is not None:
                times.append(due)
        return min(times, default=None)

    def _send(self, item: Item) -> None:
        id = self._new_id()
        if item.kind == "topic" and item.roster is None:
            self._ask(m.Topic(id, item.room, item.msgid, item.body.decode("utf-8")))
        else:
            self._ask(m.Send(id, item.room, item.msgid, item.kind, item.body, item.roster))

    # ------------------------------------------------------------------------------------ receiving

    def received(self, frame: bytes, now: float) -> Iterable[e.Event]:
        """A frame of the server: what it means, in order.

        :raises PeerError: the server broke the protocol, or its log is not the one that we know.
        :raises Refused: the server does not let us in.
        """
        self._now = now
        try:
            message = decode_server(frame)
        except UnknownMessage:  # a newer server says more than we understand
            return ()
        if type(message) is m.Entry and self.state is State.ADMITTED:  # what there is most of
            return self._entry(message, frame)
        if type(message) not in LEGAL[self.state]:
            raise PeerError(reason=f"a {type(message).__name__.lower()} message is out of place here")
        if self.state is State.LEAVING:
            return ()
        kind = type(message)
        if kind in self._HANDLERS:
            return self._HANDLERS[kind](self, message)
        if kind in UNASKED:
            return UNASKED[kind](self._membership, message)
        # An answer to a question; whatever else has no handler answers nothing.
        request = self._requests.answered(getattr(message, "id", 0), kind)
        return TOLD[kind](message, request, self.name)

    def _welcome(self, message: m.Welcome) -> Iterable[e.Event]:
        if message.limits.body < MIN_BODY or message.limits.page < 1:
            raise PeerError(reason="its limits leave no room for a message")
        self._judge(message.log)
        self.state = State.ADMITTED
        # A code is good once; without it the next greeting is that of a device that the server knows.
        self.hello = replace(self.hello, link="")
        self.name = message.name
        self.limits = message.limits
        self._outgoing.admitted(message.limits.rate, message.limits.burst, self._now)
        changed = bool(self.log) and self.log != message.log
        fresh = self.log != message.log
        self._keys_out = False
        self.log = message.log
        for room in self.rooms.values():
            if fresh or room.name in self.reread:
                entered = room.entered and not fresh
                room.recall(self.recall(message.log, room.name))
                room.entered = entered
            self._join_now(room)
        self.reread.clear()
        return (e.Admitted(message.name, message.log, message.motd, message.software, changed),)

    def _refused(self, message: m.Refused) -> Iterable[e.Event]:
        raise Refused(message.code, message.text)

    def _closing(self, message: m.Closing) -> Iterable[e.Event]:
        return (e.ServerCloses(message.reason),)

    def _joined(self, message: m.Joined) -> Iterable[e.Event]:
        request = self._requests.answered(message.id, m.Joined)
        return self._membership.joined(message, request.room)

    def _done(self, message: m.Done) -> Iterable[e.Event]:
        request = self._requests.answered(message.id, m.Done)
        if request.relayed:
            return (e.Relayed(message.id, message),)
        if request.kind is m.Unlink:
            return (e.Unlinked(message.id),)
        return self._membership.gone(request.room) if request.kind is m.Part else ()

    def _entry(self, message: m.Entry, frame: bytes) -> Iterable[e.Event]:
        return self._membership.entry(message, frame, self.is_own(message))

    def _sent(self, message: m.Sent) -> Iterable[e.Event]:
        request = self._requests.answered(message.id, m.Sent)
        if request.relayed:
            return (e.Relayed(message.id, message),)
        if request.kind in ACTS:
            act = request.kind.__name__.lower()
            return (e.ActDone(message.id, act, request.room, message.seq, message.time),)
        item = self.outbox.done(request.msgid)
        return () if item is None else (e.Acknowledged(item, message.seq, message.time),)

    def _page(self, message: m.Page) -> Iterable[e.Event]:
        if message.id == 0:
            return self._membership.skipped(message)
        request = self._requests.answered(message.id, m.Page)
        return self._membership.page(message, request.room)

    def _members(self, message: m.Members) -> Iterable[e.Event]:
        name = self._requests.answered(message.id, m.Members).room if message.id else message.room
        return self._membership.members(message, name)

    def _ping(self, message: m.Ping) -> Iterable[e.Event]:
        if len(self._out) >= MAX_UNSENT:
            raise PeerError(reason="it asks for answers and does not take them")
        self._out.append(m.Pong(message.id))
        return ()

    def _pong(self, message: m.Pong) -> Iterable[e.Event]:
        if not self._pings.answered(message.id, self._now) or self.latency is None:
            return ()  # hearing it was enough
        return (e.Answered(self.latency),)

    def _invited(self, message: m.Invited) -> Iterable[e.Event]:
        return (e.WasInvited(message.room, message.name),)

    def _mail(self, message: m.Mail) -> Iterable[e.Event]:
        return (e.MailCame(message),)

    def _notice(self, message: m.Notice) -> Iterable[e.Event]:
        return (e.Announced(message.text),)

    # --------------------------------------------------------------------------------------- errors

    def _error(self, message: m.Error) -> Iterable[e.Event]:
        if message.id == 0:
            if self.state is State.GREETING:
                raise Refused(message.code, message.text)
            return (e.ServerComplains(message.code, message.text),)
        kind, name, msgid, relayed = self._requests.answered(message.id, m.Error)
        if relayed:
            return (e.Relayed(message.id, message),)
        wait = message.wait / 1000 or DEFAULT_WAIT
        passing = message.code in PASSING
        if kind in (m.Send, m.Topic):
            return self._outgoing.refused(msgid, message, wait if passing else None, self._now)
        if kind is m.Join:
            again_at = self._now + wait if passing else None
            return self._membership.not_joined(name, message, again_at, wait)
        if kind is m.Part:  # the server does not think that we are in it
            return self._membership.gone(name)
        if kind is m.Mark:  # the next one says it anew
            return ()
        return (e.RequestFailed(message.id, message.code, message.text, message.wait / 1000),)

    _HANDLERS: ClassVar[dict[type[Struct], Callable[..., Iterable[e.Event]]]] = {
        m.Welcome: _welcome,
        m.Refused: _refused,
        m.Closing: _closing,
        m.Joined: _joined,
        m.Done: _done,
        m.Sent: _sent,
        m.Page: _page,
        m.Members: _members,
        m.Error: _error,
        m.Ping: _ping,
        m.Pong: _pong,
        m.Invited: _invited,
        m.Notice: _notice,
        m.Mail: _mail,
    }
