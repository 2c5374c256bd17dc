"""A client's side of encchat/1: pure, for any number of connections one after the other.

Frames of the server go in, events come out; requests go in, messages to send come out of ``take``. The
time is handed in. What outlives a connection stays here: which rooms we want to be in and how far each
was read, and what was sent and is not acknowledged. After each Welcome all rooms are joined again at
their positions and the unacknowledged goes out again, in order, under the same msgids.

The server is not believed: a message that is out of place, answers nothing, or contradicts the log that
we have read raises, and the connection must then be given up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import ClassVar, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from encchat import messages as m
from encchat.client import events as e
from encchat.client.outbox import Item, Outbox
from encchat.client.pace import Pace
from encchat.client.requests import ACTS, QuestionMessage, RequestMessage, Requests
from encchat.client.roomcopy import LogMismatch, RoomCopy, Stage
from encchat.errors import PeerError, RefusedError
from encchat.wire import UnknownMessage, decode_entry, decode_server

#: The versions of the native protocol that we speak.
VERSIONS = (1,)
#: The smallest limits of a server that make sense.
MIN_BODY = 256
#: Messages that wait for the transport, beyond which a server may not ask for more.
MAX_UNSENT = 10_000
#: Own msgids that are remembered, to know our messages when they come back.
MAX_OWN = 4096
#: Codes of a refusal that time may cure.
PASSING = frozenset({"rate-limited", "storage-unavailable", "conflict", "server-full", "shutting-down"})
#: Codes that say that our copy of a room is not the server's.
MISMATCHES = frozenset({"wrong-chain", "unknown-position"})
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


class State(Enum):
    """Where we are with the server."""

    APART = auto()
    GREETING = auto()
    ADMITTED = auto()
    LEAVING = auto()


_GREETING: frozenset[type[Struct]] = frozenset({m.Welcome, m.Refused, m.Error, m.Closing, m.Ping})
#: Which messages the server may send in which state; any other is its error.
LEGAL: dict[State, frozenset[type[Struct]]] = {
    State.APART: frozenset(),
    State.GREETING: _GREETING,
    State.ADMITTED: frozenset(set(m.SERVER_MESSAGES) - {m.Welcome, m.Refused}),
    State.LEAVING: frozenset(m.SERVER_MESSAGES),
}


class Session:
    """One person on one server. ``opened`` when a connection is there and proved, then ``received`` for
    each frame, ``take`` for what is to be sent, ``due`` for when to look again, and ``lost`` at the end."""

    def __init__(self, hello: m.Hello, recall: Recall = lambda log, room: None) -> None:
        self.hello = hello
        self.recall = recall
        self.state = State.APART
        self.limits = m.Limits()
        #: The name that the server knows us by, and its log; of the last Welcome.
        self.name = hello.name
        self.log = b""
        self.outbox = Outbox()
        self.rooms: dict[str, RoomCopy] = {}
        self._pace = Pace(0, 1, 0.0)
        self._requests = Requests()
        self._out: list[m.ClientMessage] = []
        self._own: OrderedDict[bytes, None] = OrderedDict()
        #: Sending waits until then; and so does joining a room.
        self._held_until = 0.0
        self._join_at: dict[str, float] = {}
        self._left: set[str] = set()
        self._now = 0.0

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
        for room in [room for room in self.rooms.values() if room.stage is Stage.LEAVING]:
            del self.rooms[room.name]
            events.append(e.LeftRoom(room.name))
        for room in self.rooms.values():
            room.stage = Stage.OUT
        self.state = State.APART
        self.outbox.rewind()
        self._out.clear()
        self._join_at.clear()
        self._left.clear()
        return events

    def bye(self, reason: str = "") -> None:
        """Leave on purpose: nothing that is not yet sent goes out any more."""
        if self.state is not State.APART:
            self.state = State.LEAVING
            self._out = [m.Bye(reason)]
            self._join_at.clear()

    @property
    def max_body(self) -> int:
        """The body of one message at most, in bytes."""
        return min(self.limits.body, m.MAX_BODY)

    @property
    def admitted(self) -> bool:
        """Whether requests can be made."""
        return self.state is State.ADMITTED

    @property
    def questions(self) -> int:
        """How many requests for an answer, other than messages, wait for it."""
        return self._requests.questions

    # ------------------------------------------------------------------------------------- requests

    def join(self, room: str, history: int = 0, *, resume: bool = True) -> None:
        """Be in a room from now on, across connections; answered by JoinedRoom or NotJoined."""
        copy = self.rooms.get(room)
        if copy is None or copy.stage is Stage.LEAVING:
            copy = self.rooms[room] = RoomCopy(room, history, resume=resume)
            if self.admitted:
                copy.recall(self.recall(self.log, room))
                self._join(copy)

    def part(self, room: str) -> None:
        """Leave a room; answered by LeftRoom. A room that we are not in is left already."""
        copy = self.rooms.get(room)
        if copy is None or copy.stage is Stage.LEAVING:
            return
        self._join_at.pop(room, None)
        if copy.stage is Stage.OUT:
            del self.rooms[room]
        else:
            copy.stage = Stage.LEAVING
            self._left.add(room)
            self._ask(m.Part(self._new_id(), room))

    def send(self, item: Item) -> None:
        """Send a message when its room, the window and the server's rate let it; answered by
        Acknowledged or NotSent."""
        self._own[item.msgid] = None
        if len(self._own) > MAX_OWN:
            self._own.popitem(last=False)
        self.outbox.add(item)

    def typing(self, room: str) -> None:
        """Say that the user is writing; goes nowhere when we are not in the room."""
        if self.admitted and self._in(room):
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

    def mark(self, room: str, seq: int) -> None:
        """The person has read a room up to ``seq``; goes nowhere when the server knows it."""
        copy = self.rooms.get(room)
        if self.admitted and copy is not None and copy.stage is Stage.IN and seq > copy.mark:
            copy.mark = seq
            self._ask(m.Mark(self._new_id(), room, seq))

    def ping(self) -> None:
        """Ask the server whether it is there."""
        if self.state in (State.GREETING, State.ADMITTED):
            self._out.append(m.Ping())

    def _new_id(self) -> int:
        return self._requests.new_id()

    def _ask(self, message: RequestMessage) -> int:
        assert self.admitted, "a request before the Welcome"
        self._requests.put(message)
        self._out.append(message)
        return message.id

    def _join(self, room: RoomCopy) -> None:
        room.stage = Stage.JOINING
        room.request = self._ask(m.Join(self._new_id(), room.name, room.position, room.history))

    # -------------------------------------------------------------------------------------- sending

    def take(self, now: float) -> list[m.ClientMessage]:
        """What is to be sent now, in order."""
        self._now = now
        for name in [name for name, at in self._join_at.items() if at <= now]:
            del self._join_at[name]
            self._join(self.rooms[name])
        if self.admitted and self._held_until <= now and len(self.outbox):
            inside = self._inside()
            while self._pace.ready_at(now) <= now and (item := self.outbox.take(inside)) is not None:
                self._pace.spend()
                self._send(item)
        out, self._out = self._out, []
        return out

    def due(self, now: float) -> float | None:
        """When ``take`` will have something that it does not have now; None: not by time alone."""
        times = list(self._join_at.values())
        if self.admitted and len(self.outbox) and self.outbox.waiting(self._inside()):
            times.append(max(self._held_until, self._pace.ready_at(now)))
        return min(times, default=None)

    def _send(self, item: Item) -> None:
        id = self._new_id()
        if item.kind == "topic":
            self._ask(m.Topic(id, item.room, item.msgid, item.body.decode("utf-8")))
        else:
            self._ask(m.Send(id, item.room, item.msgid, item.kind, item.body))

    def _inside(self) -> list[str]:
        return [name for name, room in self.rooms.items() if room.stage is Stage.IN]

    def _in(self, room: str) -> bool:
        copy = self.rooms.get(room)
        return copy is not None and copy.stage is Stage.IN

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
        if type(message) not in LEGAL[self.state]:
            raise PeerError(reason=f"a {type(message).__name__.lower()} message is out of place here")
        if self.state is State.LEAVING:
            return ()
        if type(message) is m.Entry:
            return self._entry(message, frame)
        return self._HANDLERS[type(message)](self, message)

    def _welcome(self, message: m.Welcome) -> Iterable[e.Event]:
        if message.limits.body < MIN_BODY or message.limits.page < 1:
            raise PeerError(reason="its limits leave no room for a message")
        self.state = State.ADMITTED
        # A code is good once; without it the next greeting is that of a device that the server knows.
        self.hello = replace(self.hello, link="")
        self.name = message.name
        self.limits = message.limits
        self._pace = Pace(message.limits.rate, message.limits.burst, self._now)
        self._held_until = self._now
        changed = bool(self.log) and self.log != message.log
        fresh = self.log != message.log
        self.log = message.log
        for room in self.rooms.values():
            if fresh:
                room.recall(self.recall(message.log, room.name))
            self._join(room)
        return (e.Admitted(message.name, message.log, message.motd, message.software, changed),)

    def _refused(self, message: m.Refused) -> Iterable[e.Event]:
        raise Refused(message.code, message.text)

    def _closing(self, message: m.Closing) -> Iterable[e.Event]:
        return (e.ServerCloses(message.reason),)

    def _joined(self, message: m.Joined) -> Iterable[e.Event]:
        _, name, _ = self._requests.answered(message.id, m.Joined)
        room = self.rooms.get(name)
        if message.room != name:
            raise PeerError(reason=f"it lets us into {message.room}, where {name} was asked for")
        if room is None or room.stage is not Stage.JOINING or room.request != message.id:
            # We have asked to leave meanwhile, and perhaps to come again.
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
        events.append(e.JoinedRoom(name, head, start, message.members, message.topic, first, message.mark))
        if room.caught_up:
            events.append(e.CaughtUp(name))
        return events

    def _done(self, message: m.Done) -> Iterable[e.Event]:
        kind, name, _ = self._requests.answered(message.id, m.Done)
        if kind is m.Unlink:
            return (e.Unlinked(message.id),)
        return self._gone(name) if kind is m.Part else ()

    def _gone(self, name: str) -> Iterable[e.Event]:
        room = self.rooms.get(name)
        if room is None or room.stage is not Stage.LEAVING:
            return ()
        del self.rooms[name]
        return (e.LeftRoom(name),)

    def _entry(self, message: m.Entry, frame: bytes) -> Iterable[e.Event]:
        room = self.rooms.get(message.room)
        if room is None or room.stage is not Stage.IN:
            self._excuse(message.room)
            return ()
        old = room.is_old(message.seq)
        fresh = room.read(message, frame)
        if message.kind == "topic":
            room.topic = message.body.decode("utf-8", "replace")
        own = message.msgid in self._own and message.sender == self.name
        events: tuple[e.Event, ...] = (e.NewEntry(message, own, old),) if fresh else ()
        return (*events, e.CaughtUp(room.name)) if old and room.caught_up else events

    def _excuse(self, room: str) -> None:
        """Something of a room that we are not in: on its way while we left it, or the server's error."""
        if room not in self._left:
            raise PeerError(reason=f"entries of {room}, where we are not")

    def _sent(self, message: m.Sent) -> Iterable[e.Event]:
        request = self._requests.answered(message.id, m.Sent)
        if request.kind in ACTS:
            act = request.kind.__name__.lower()
            return (e.ActDone(message.id, act, request.room, message.seq, message.time),)
        item = self.outbox.done(request.msgid)
        return () if item is None else (e.Acknowledged(item, message.seq, message.time),)

    def _page(self, message: m.Page) -> Iterable[e.Event]:
        if message.id == 0:
            return self._skipped(message)
        _, name, _ = self._requests.answered(message.id, m.Page)
        if message.room != name:
            raise PeerError(reason=f"a page of {message.room}, where {name} was asked for")
        room = self.rooms.get(name) or RoomCopy(name)
        entries = room.read_page(message.start, message.entries)
        return (e.History(message.id, name, entries, message.more),)

    def _found(self, message: m.Found) -> Iterable[e.Event]:
        _, name, _ = self._requests.answered(message.id, m.Found)
        entries = tuple(map(decode_entry, message.entries))
        seqs = [entry.seq for entry in entries]
        if message.room != name or any(entry.room != name for entry in entries):
            raise PeerError(reason=f"it found entries of {message.room}, where {name} was searched")
        if seqs != sorted(set(seqs)):
            raise PeerError(reason=f"what it found in {name} is not in order")
        return (e.SearchFound(message.id, name, entries, message.reached, message.more),)

    def _skipped(self, message: m.Page) -> Iterable[e.Event]:
        room = self.rooms.get(message.room)
        if room is None or room.stage is not Stage.IN:
            self._excuse(message.room)
            return ()
        if message.entries:
            raise PeerError(reason="a page that nobody asked for")
        caught_up = room.caught_up
        lost = room.skip(message.start)
        events: tuple[e.Event, ...] = (e.Lost(room.name, lost),) if lost else ()
        return (*events, e.CaughtUp(room.name)) if room.caught_up and not caught_up else events

    def _members(self, message: m.Members) -> Iterable[e.Event]:
        if message.id:
            _, name, _ = self._requests.answered(message.id, m.Members)
            if message.room != name:
                raise PeerError(reason=f"members of {message.room}, where {name} was asked for")
        room = self.rooms.get(message.room)
        if room is not None:
            room.set_members(message.members)
        elif not message.id:
            return ()
        return (e.RoomMembers(message.id, message.room, message.members),)

    def _room_list(self, message: m.RoomList) -> Iterable[e.Event]:
        self._requests.answered(message.id, m.RoomList)
        return (e.RoomsListed(message.id, message.rooms),)

    def _profile(self, message: m.Profile) -> Iterable[e.Event]:
        self._requests.answered(message.id, m.Profile)
        return (e.ProfileFound(message.id, message),)

    def _presence(self, message: m.Presence) -> Iterable[e.Event]:
        room = self.rooms.get(message.room)
        member = m.Member(message.name, message.classic)
        if room is None or not room.came_or_went(member, message.here):
            return ()
        return (e.CameOrWent(message.room, message.name, message.here, message.classic),)

    def _typing(self, message: m.Typing) -> Iterable[e.Event]:
        return (e.IsTyping(message.room, message.name),) if self._in(message.room) else ()

    def _ping(self, message: m.Ping) -> Iterable[e.Event]:
        if len(self._out) >= MAX_UNSENT:
            raise PeerError(reason="it asks for answers and does not take them")
        self._out.append(m.Pong(message.id))
        return ()

    def _pong(self, message: m.Pong) -> Iterable[e.Event]:
        """Hearing it was enough."""
        return ()

    def _removed(self, message: m.Removed) -> Iterable[e.Event]:
        room = self.rooms.get(message.room)
        if room is None or room.stage is Stage.OUT:
            return ()
        self._left.add(message.room)
        if room.stage is Stage.JOINING:  # that was about the time before we asked to come again
            return ()
        del self.rooms[message.room]
        return (e.PutOut(message.room, message.code, message.text),)

    def _invited(self, message: m.Invited) -> Iterable[e.Event]:
        return (e.WasInvited(message.room, message.name),)

    def _notice(self, message: m.Notice) -> Iterable[e.Event]:
        return (e.Announced(message.text),)

    def _marked(self, message: m.Marked) -> Iterable[e.Event]:
        room = self.rooms.get(message.room)
        if room is None or room.stage is not Stage.IN:
            return ()
        room.mark = max(room.mark, message.seq)
        return (e.ReadElsewhere(message.room, message.seq),)

    def _room_profile(self, message: m.RoomProfile) -> Iterable[e.Event]:
        _, name, _ = self._requests.answered(message.id, m.RoomProfile)
        if message.room != name:
            raise PeerError(reason=f"it tells of {message.room}, where {name} was asked for")
        return (e.RoomDescribed(message.id, message),)

    def _linked(self, message: m.Linked) -> Iterable[e.Event]:
        self._requests.answered(message.id, m.Linked)
        return (e.LinkCode(message.id, message.code, message.seconds, self.name),)

    # --------------------------------------------------------------------------------------- errors

    def _error(self, message: m.Error) -> Iterable[e.Event]:
        if message.id == 0:
            if self.state is State.GREETING:
                raise Refused(message.code, message.text)
            return (e.ServerComplains(message.code, message.text),)
        kind, name, msgid = self._requests.answered(message.id, m.Error)
        wait = message.wait / 1000 or DEFAULT_WAIT
        if kind in (m.Send, m.Topic):
            return self._not_sent(msgid, message, wait)
        if kind is m.Join:
            return self._not_joined(name, message, wait)
        if kind is m.Part:  # the server does not think that we are in it
            return self._gone(name)
        if kind is m.Mark:  # the next one says it anew
            return ()
        return (e.RequestFailed(message.id, message.code, message.text),)

    def _not_sent(self, msgid: bytes, message: m.Error, wait: float) -> Iterable[e.Event]:
        if message.code not in PASSING:
            item = self.outbox.done(msgid)
            return () if item is None else (e.NotSent(item, message.code, message.text),)
        if msgid not in self.outbox:
            return ()
        again = self._held_until > self._now
        self._held_until = max(self._held_until, self._now + wait)
        self.outbox.rewind()
        return () if again else (e.Delayed(message.code, message.text, wait),)

    def _not_joined(self, name: str, message: m.Error, wait: float) -> Iterable[e.Event]:
        room = self.rooms.get(name)
        if room is None or room.stage is not Stage.JOINING or room.request != message.id:
            return ()
        if message.code in MISMATCHES:
            raise LogMismatch(room=name, reason=message.text)
        if message.code in PASSING:
            self._join_at[name] = self._now + wait
            room.stage = Stage.OUT
            return (e.Delayed(message.code, message.text, wait),)
        del self.rooms[name]
        return (e.NotJoined(name, message.code, message.text),)

    _HANDLERS: ClassVar[dict[type[Struct], Callable[..., Iterable[e.Event]]]] = {
        m.Welcome: _welcome,
        m.Refused: _refused,
        m.Closing: _closing,
        m.Joined: _joined,
        m.Done: _done,
        m.Sent: _sent,
        m.Page: _page,
        m.Found: _found,
        m.Members: _members,
        m.RoomList: _room_list,
        m.Profile: _profile,
        m.Presence: _presence,
        m.Typing: _typing,
        m.Error: _error,
        m.Ping: _ping,
        m.Pong: _pong,
        m.RoomProfile: _room_profile,
        m.Linked: _linked,
        m.Removed: _removed,
        m.Invited: _invited,
        m.Notice: _notice,
        m.Marked: _marked,
    }
