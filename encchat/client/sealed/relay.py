"""What a vault wants of the server, as requests of the session, and whose answer each answer is.

What the server asks to wait with is asked again; with a connection everything ends, as the vault asks again
itself. Messages go through the session's outbox, with its window and rate; rosters as soon as their room is
joined (or cannot be: one's own farewell is sent again after one has left).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat import messages as m
from encchat.client import events as e
from encchat.client.protocol.outbox import Item
from encchat.client.protocol.requests import RelayMessage
from encchat.client.protocol.roomcopy import Stage
from encchat.client.protocol.session import DEFAULT_WAIT, PASSING, Session
from encchat.core.sealed import effects as fx
from encchat.errors import PeerError

#: Bytes of letters in one request; well below the largest payload.
MAX_POST = 128 * 1024


class Relay:
    """``do`` what a vault wants; ``answered`` gives back what an answer is about. ``flush`` sends."""

    def __init__(self, session: Session, clock: IReactorTime, flush: Callable[[], None]) -> None:
        self._session = session
        self._clock = clock
        self._flush = flush
        self._open: dict[int, tuple[fx.Action, Callable[[int], RelayMessage]]] = {}
        self._rosters: dict[str, list[fx.Append]] = {}
        self._timers: set[IDelayedCall] = set()
        #: Messages that wait until the keys to them are on the server.
        self._held: list[Item] = []

    def do(self, actions: Iterable[fx.Action]) -> None:
        """Ask the server, in order. Without a connection nothing is asked."""
        for action in actions:
            if self._session.admitted:
                self._do(action)

    def settle(self) -> None:
        """Everything that came was dealt with: send what waits for no keys any more."""
        if self._held and not any(isinstance(x, fx.Claim | fx.Post) for x, _ in self._open.values()):
            held, self._held = self._held, []
            for item in held:
                self._session.send(item)

    def _do(self, action: fx.Action) -> None:
        match action:
            case fx.AskDevices(name):
                self._ask(action, lambda id: m.Devices(id, name))
            case fx.Publish(certificate, listing, one_time, fallback):
                keys = one_time[: m.MAX_KEYS]
                self._ask(action, lambda id: m.PublishKeys(id, certificate, listing, keys, fallback))
            case fx.Claim(name, ids):
                self._ask(action, lambda id: m.ClaimKeys(id, name, ids))
            case fx.Post(parcels):
                for some in _portions(parcels):
                    self._post(some)
            case fx.AckMail(seq):
                self._ask(action, lambda id: m.AckMail(id, seq))
            case fx.Create(room, msgid, body):
                self._ask(action, lambda id: m.Create(id, room, msgid, body))
            case fx.Append(room, msgid, "sealed", body, roster):
                self._held.append(Item(msgid, room, "sealed", body, roster))
            case fx.Append(room):
                self._rosters.setdefault(room, []).append(action)
                self.settled(room)

    def _post(self, parcels: tuple[fx.Parcel, ...]) -> None:
        letters = tuple(m.Letter(parcel.name, parcel.device, parcel.body) for parcel in parcels)
        self._ask(fx.Post(parcels), lambda id: m.ToDevice(id, letters))

    def _ask(self, action: fx.Action, build: Callable[[int], RelayMessage]) -> None:
        self._open[self._session.relay(build)] = action, build

    def withdraw(self, msgid: bytes) -> None:
        """Do not send this message any more."""
        self._held = [item for item in self._held if item.msgid != msgid]
        self._session.outbox.done(msgid)

    def settled(self, room: str) -> None:
        """Send the rosters of a room, unless it is about to be joined."""
        copy = self._session.rooms.get(room)
        if copy is not None and copy.stage is not Stage.IN:
            return
        for roster in self._rosters.pop(room, ()):
            self._ask(roster, _roster(roster))

    def answered(self, event: e.Relayed) -> tuple[fx.Action, m.ServerMessage] | None:
        """What was asked, and the answer; None if nobody waits for it, or it is asked again later. An answer
        about somebody else is as good as an error."""
        action, build = self._open.pop(event.request, (None, None))
        if action is None or build is None:
            return None
        answer = event.answer
        if isinstance(answer, m.Error) and answer.code in PASSING:
            self.later(answer.wait / 1000 or DEFAULT_WAIT, lambda: self._ask(action, build))
            return None
        if isinstance(action, fx.AskDevices | fx.Claim):
            about = getattr(answer, "name", action.name)
            if about != action.name:
                answer = m.Error(event.request, PeerError.code, "It tells of somebody else.")
        return action, answer

    def later(self, seconds: float, do: Callable[[], None]) -> None:
        """Do something after a while, if the connection is the same then."""

        def now() -> None:
            self._timers.discard(timer)
            if self._session.admitted:
                do()
                self._flush()

        timer = self._clock.callLater(seconds, now)
        self._timers.add(timer)

    def lost(self) -> None:
        """The connection is gone."""
        self._open.clear()
        self._rosters.clear()
        self._held.clear()
        timers, self._timers = self._timers, set()
        for timer in timers:
            if timer.active():
                timer.cancel()


def _roster(roster: fx.Append) -> Callable[[int], m.Send]:
    return lambda id: m.Send(id, roster.room, roster.msgid, roster.kind, roster.body, roster.roster)


def _portions(parcels: tuple[fx.Parcel, ...]) -> Iterable[tuple[fx.Parcel, ...]]:
    """The letters in as few requests as they fit into."""
    some: list[fx.Parcel] = []
    size = 0
    for parcel in parcels:
        if some and (len(some) == m.MAX_LETTERS or size + len(parcel.body) > MAX_POST):
            yield tuple(some)
            some, size = [], 0
        some.append(parcel)
        size += len(parcel.body)
    if some:
        yield tuple(some)
