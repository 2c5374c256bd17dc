"""A person's conversation with one server, over any number of connections: session, store and link.

What consoles, and later bots, use. What is typed is stored before it is sent and leaves the store when it
is acknowledged; how far was read is stored after it was shown. So a crash at any moment loses no line,
sends none twice, and shows at most the last ones again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat import messages as m
from encchat.client import events as e
from encchat.client.link import Link
from encchat.client.outbox import Item
from encchat.client.requests import ActMessage, QuestionMessage
from encchat.client.session import Session
from encchat.client.store import Store, StoreFailed
from encchat.client.trust import Trust
from encchat.core.names import BadName, parse_name

#: Seconds that acknowledgements and positions wait to be stored together. To lose them costs little: a
#: message is sent again under its msgid, an entry is shown again.
STORE_AFTER = 0.25
#: Seconds that the server waits to hear how far was read: at most one Mark a room in that time.
MARK_AFTER = 2.0


class Console(Protocol):
    """Who is told what happens, in order."""

    def happened(self, events: Sequence[e.Event]) -> None: ...
    def warn(self, text: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Keeper:
    """Where a chat keeps what it keeps: the store, the server's endpoint, and the lane of the outbox; no
    lane: what is sent is not kept, and whoever sends hears how it ended."""

    store: Store
    endpoint: str
    lane: int | None


class Chat:
    """Between a console and a link. ``start`` joins them; then ``join``, ``say`` and the rest."""

    def __init__(
        self,
        clock: IReactorTime,
        hello: m.Hello,
        trust: Trust,
        keeper: Keeper,
        *,
        token: Callable[[], bytes],
        milliseconds: Callable[[], int],
        accept_log: bool = False,
    ) -> None:
        self._clock = clock
        self._trust = trust
        self._keeper = keeper
        self._token = token
        self._milliseconds = milliseconds
        self.session = Session(hello, self._recall)
        self._console: Console | None = None
        self._link: Link | None = None
        self._accept_log = accept_log
        #: What this server's positions are kept under.
        self._server = ""
        self._forget: list[bytes] = []
        self._shown: dict[bytes, dict[str, m.Position]] = {}
        self._timer: IDelayedCall | None = None
        #: How far the person has read in rooms of the log that the session is in.
        self._read: dict[str, int] = {}
        self._mark_timer: IDelayedCall | None = None
        self._ignored = keeper.store.ignored()
        self._watchers: list[tuple[Callable[[], bool], Deferred[None]]] = []

    def start(self, console: Console, link: Link) -> int:
        """Everything is there. Takes up what an earlier run could not send; returns how much that is."""
        self._console = console
        self._link = link
        store, lane = self._keeper.store, self._keeper.lane
        if lane is None:
            return 0
        left = store.outbox(self._keeper.endpoint, lane)
        for item in left:
            self.session.send(item)
        return len(left)

    def stop(self) -> None:
        """Store what waits to be stored."""
        self._store_now()
        self._stop_mark_timer()

    # ---------------------------------------------------------------------------------- for consoles

    @property
    def name(self) -> str:
        """The name that the server knows us by."""
        return self.session.name

    @property
    def unacknowledged(self) -> int:
        """How many messages for the rooms that we are in were typed and are not stored there yet."""
        return sum(item.room in self.session.rooms for item in self.session.outbox)

    def say(self, room: str, *texts: str, kind: str = "text", msgid: bytes | None = None) -> list[Item]:
        """Send each of ``texts`` as a message to a room; ``msgid`` is for one that is sent again.

        :raises StoreFailed: they cannot be kept, and were not sent.
        """
        items = [Item(msgid or self._token(), room, kind, text.encode("utf-8", "replace")) for text in texts]
        if self._keeper.lane is not None:
            now = self._milliseconds()
            self._keeper.store.keep(self._keeper.endpoint, self._keeper.lane, items, now)
        for item in items:
            self.session.send(item)
        self.flush()
        return items

    def ask(self, build: Callable[[int], QuestionMessage]) -> int:
        """Ask the server for something of which the answer is an event; ``build`` gets the request's id."""
        request = self.session.ask(build)
        self.flush()
        return request

    def act(self, build: Callable[[int, bytes], ActMessage]) -> int:
        """Do something to a room or a member of it; ``build`` gets the request's id and a msgid."""
        return self.ask(lambda id: build(id, self._token()))

    def reached(self, rooms: Iterable[str]) -> dict[str, m.Position]:
        """How far these rooms have been read."""
        copies = ((room, self.session.rooms.get(room)) for room in rooms)
        return {
            room: copy.position for room, copy in copies if copy is not None and copy.position is not None
        }

    def mark(self, positions: dict[str, m.Position]) -> None:
        """What lies before these positions was shown: go on from there in the next run."""
        if positions:
            self._shown.setdefault(self.session.log, {}).update(positions)
            self._store_soon()

    def read(self, positions: dict[str, m.Position]) -> None:
        """The person has read up to there: the server hears of it, so that other devices can know."""
        for room, position in positions.items():
            self._read[room] = max(position.seq, self._read.get(room, 0))
        self._mark_soon()

    def tell_read(self) -> None:
        """Tell the server now how far was read."""
        self._stop_mark_timer()
        for room, seq in self._read.items():
            self.session.mark(room, seq)
        self.flush()

    def flush(self) -> None:
        """Send what the session was asked for."""
        if self._link is not None:
            self._link.flush()

    def hold(self) -> None:
        """The console has enough to show: let the server wait."""
        if self._link is not None:
            self._link.hold()

    def release(self) -> None:
        """The console has shown it."""
        if self._link is not None:
            self._link.release()

    def reconnect(self) -> None:
        """Try again now, if the link waits to."""
        if self._link is not None:
            self._link.wake()

    @property
    def ignored(self) -> frozenset[str]:
        """The keys of the names that are not to be shown."""
        return frozenset(self._ignored)

    def set_ignored(self, key: str, ignored: bool) -> None:
        """Show nothing of a name any more, or again."""
        self._keeper.store.set_ignored(key, ignored)
        (self._ignored.add if ignored else self._ignored.discard)(key)

    def hides(self, event: e.Event) -> bool:
        """Whether this is of somebody who is ignored."""
        if not self._ignored:
            return False
        if isinstance(event, e.NewEntry):
            return _key(event.entry.sender) in self._ignored
        return (
            isinstance(event, e.CameOrWent | e.IsTyping | e.WasInvited) and _key(event.name) in self._ignored
        )

    def when(self, condition: Callable[[], bool]) -> Deferred[None]:
        """Fires once ``condition`` holds; it is looked at after everything that happens."""
        waiting: Deferred[None] = Deferred()
        if condition():
            waiting.callback(None)
        else:
            self._watchers.append((condition, waiting))
        return waiting

    # --------------------------------------------------------------------------------- for the link

    def proved(self) -> None:
        """The server has proved its key."""
        self._trust.proved()
        claim = self._trust.claim
        # The key of a server for which a certificate authority vouches may change; its address names it.
        if claim is None or claim.vouched:
            self._server = f"vouched {self._keeper.endpoint}"
        else:
            self._server = claim.fingerprint
        if self._accept_log:
            self._accept_log = False
            self._keeper.store.forget_positions(self._server)

    def happened(self, events: Sequence[e.Event]) -> None:
        """What the server said, or became of the link."""
        events = [self._noted(event) for event in events]
        if self._console is not None:
            self._console.happened(events)
        self._look()

    def _noted(self, event: e.Event) -> e.Event:
        if isinstance(event, e.Acknowledged | e.NotSent) and self._keeper.lane is not None:
            self._forget.append(event.item.msgid)
            self._store_soon()
        elif isinstance(event, e.LeftRoom | e.PutOut):
            self._store_now()
        elif isinstance(event, e.LinkCode):
            return replace(event, server=self._keeper.endpoint)
        elif isinstance(event, e.JoinedRoom):
            if self._read.get(event.room, 0) > event.mark:  # the last connection was lost before
                self._mark_soon()
        elif isinstance(event, e.Admitted):
            if event.new_log:
                self._read.clear()
            return replace(event, new_log=event.new_log or self._met_log(event.log))
        return event

    def _met_log(self, log: bytes) -> bool:
        try:
            return self._keeper.store.met_log(self._server, log)
        except StoreFailed as error:
            self._warn(error)
            return False

    def _look(self) -> None:
        watchers, self._watchers = self._watchers, []
        for condition, waiting in watchers:
            if waiting.called:  # whoever waited was cancelled
                continue
            if condition():
                waiting.callback(None)
            else:
                self._watchers.append((condition, waiting))

    def _mark_soon(self) -> None:
        if self._mark_timer is None and self._read:
            self._mark_timer = self._clock.callLater(MARK_AFTER, self.tell_read)

    def _stop_mark_timer(self) -> None:
        timer, self._mark_timer = self._mark_timer, None
        if timer is not None and timer.active():
            timer.cancel()

    # -------------------------------------------------------------------------------------- storing

    def _recall(self, log: bytes, room: str) -> m.Position | None:
        return self._keeper.store.position(self._server, log, room)

    def _store_soon(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(STORE_AFTER, self._store_now)

    def _store_now(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        forget, self._forget = self._forget, []
        shown, self._shown = self._shown, {}
        try:
            if forget:
                self._keeper.store.forget(forget)
            for log, positions in shown.items():
                self._keeper.store.save_positions(self._server, log, positions)
        except StoreFailed as error:  # nothing is lost: it is sent, or shown, again
            self._warn(error)

    def _warn(self, error: StoreFailed) -> None:
        if self._console is not None:
            self._console.warn(str(error))


def _key(name: str) -> str:
    try:
        return parse_name(name).key
    except BadName:
        return name
