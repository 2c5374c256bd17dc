"""A person's conversation with one server, over any number of connections: session, store and link.

What consoles and bots use. What is typed is stored before it is sent and leaves the store when it
is acknowledged; how far was read is stored after it was shown. So a crash at any moment loses no line,
sends none twice, and shows at most the last ones again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat import messages as m
from encchat.client import events as e
from encchat.client.files.files import Files
from encchat.client.network.trust import Trust
from encchat.client.protocol.outbox import Item
from encchat.client.protocol.requests import ActMessage, QuestionMessage
from encchat.client.protocol.session import Session
from encchat.client.store.keeping import Keeper, Keeping
from encchat.client.view.fates import fates
from encchat.core.names import BadName, is_open, parse_name

if TYPE_CHECKING:
    from encchat.client.network.link import Link
    from encchat.client.sealed.rooms import SealedRooms

#: Seconds that the server waits to hear how far was read: at most one Mark a room in that time.
MARK_AFTER = 2.0


class Console(Protocol):
    """Who is told what happens, in order."""

    def happened(self, events: Sequence[e.Event]) -> None: ...
    def warn(self, text: str) -> None: ...


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
        self._keeping = Keeping(clock, keeper, self.warn)
        self.new_msgid = token
        self.milliseconds = milliseconds
        self.session = Session(hello, self._recall, self._keeping.judge)
        self._sealed: SealedRooms | None = None
        #: Whether sealed rooms that this person is in, or is let into, are joined without being asked for.
        self.joins_by_itself = False
        #: The files that are on their way.
        self.files = Files(self, clock, keeper)
        self._console: Console | None = None
        self._link: Link | None = None
        self._accept_log = accept_log
        #: How far the person has read in rooms of the log that the session is in.
        self._read: dict[str, int] = {}
        self._mark_timer: IDelayedCall | None = None
        self._ignored = keeper.store.ignored()
        self._watchers: list[tuple[Callable[[], object], Deferred[None]]] = []

    def start(self, console: Console, link: Link | None = None) -> int:
        """The console is there; the link may come later (``attach``). Takes up what an earlier run could not
        send; returns how much that is."""
        self._console = console
        self._link = link
        left = self._keeping.waiting()
        for item in left:
            self.session.send(item)
        self._keeping.tell()
        return len(left) + self.files.resume()

    def attach(self, link: Link) -> None:
        """The link is there."""
        self._link = link

    def stop(self) -> None:
        """Store what waits to be stored."""
        self.files.stop()
        if self._sealed is not None:
            if self._keeper.lane is None:  # whoever sent it hears that it was not stored
                self._sealed.withdraw()
            self._sealed.close()
        self._keeping.flush()
        self._stop_mark_timer()

    # ---------------------------------------------------------------------------------- for consoles

    @property
    def name(self) -> str:
        """The name that the server knows us by."""
        return self.session.name

    @property
    def sealed(self) -> SealedRooms:
        """Sealed rooms, and the devices and identities behind them."""
        if self._sealed is None:
            from encchat.client.sealed.rooms import SealedRooms  # slow to import, and not always needed

            self._sealed = SealedRooms(self, self._clock, self._keeper, _key(self.session.hello.name))
        return self._sealed

    @property
    def unacknowledged(self) -> int:
        """How many messages for the rooms that we are in were typed and are not stored there yet, and changes
        of sealed rooms."""
        rooms = self.session.rooms
        open_ = sum(item.roster is None and item.room in rooms for item in self.session.outbox)
        return open_ if self._sealed is None else open_ + self._sealed.unacknowledged

    def waiting(self) -> list[Item]:
        """What was typed and is not stored yet."""
        items = [item for item in self.session.outbox if item.roster is None]
        return items if self._sealed is None else items + self._sealed.waiting()

    def max_body(self, room: str) -> int:
        """The body of one message to a room at most, in bytes."""
        return self.session.max_body if is_open(room) else self.sealed.max_body()

    def say(self, room: str, *texts: str, kind: str = "text", msgid: bytes | None = None) -> list[Item]:
        """Send each of ``texts`` as a message to a room; ``msgid`` is for one that is sent again.

        :raises StoreFailed: they cannot be kept, and were not sent.
        :raises UsageError: the room is sealed, and there are none here, or too much waits.
        """
        items = [
            Item(msgid or self.new_msgid(), room, kind, text.encode("utf-8", "replace")) for text in texts
        ]
        if not is_open(room):
            self.sealed.say(items)
            return items
        self._keeping.keep(items, self.milliseconds())
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
        return self.ask(lambda id: build(id, self.new_msgid()))

    def reached(self, rooms: Iterable[str]) -> dict[str, m.Position]:
        """How far these rooms have been read."""
        copies = ((room, self.session.rooms.get(room)) for room in rooms)
        return {
            room: copy.position for room, copy in copies if copy is not None and copy.position is not None
        }

    def mark(self, positions: dict[str, m.Position]) -> None:
        """What lies before these positions was shown: go on from there in the next run."""
        self._keeping.shown(positions)

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

    def redial(self) -> None:
        """Give up this connection for another one."""
        if self._link is not None:
            self._link.redial()

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

    # ------------------------------------------------------------------------ what is kept on this side

    def local_history(self, room: str, before: int = 0, limit: int = 100) -> e.History:
        """The last ``limit`` (500 at most) of the entries before seq ``before`` (0: of all) that are kept
        here; also without a connection, and before the first one."""
        if not is_open(room):
            return self.sealed.history(room, before, limit)
        return self._keeping.history(room, before, limit)

    def local_search(self, room: str, words: str, before: int = 0, limit: int = 50) -> e.SearchFound:
        """Search what is kept here, as ``Session.search`` has the server search; ``before`` = ``reached``
        goes on, while there is ``more``.

        :raises RefusedError: there is no word to search for.
        """
        if not is_open(room):
            return self.sealed.search(room, words, before, limit)
        return self._keeping.search(room, words, before, limit)

    def history(self, room: str, *, before: int = 0, after: int = 0, limit: int = 100) -> None:
        """Ask for a page of a room, before a number or after one. ``History`` answers: of a sealed room at
        once, with what was opened here."""
        if is_open(room):
            self.session.read(room, before=before, after=after, limit=limit)
            self.flush()
        else:
            self.tell([self.sealed.history(room, before, limit, after=None if before else after or None)])

    def search(self, room: str, words: str, before: int = 0, limit: int = 50) -> None:
        """Search a room. ``SearchFound`` answers: of a sealed room at once, with what was opened here.

        :raises RefusedError: there is no word to search for.
        """
        if is_open(room):
            self.session.search(room, words, before, limit)
            self.flush()
        else:
            self.tell([self.sealed.search(room, words, before, limit)])

    def fates(self, room: str, found: Sequence[m.Entry]) -> dict[int, m.Entry]:
        """What became of messages that were found in a room, as far as is kept here (``fates.fates``)."""
        if not found or not is_open(room):
            return {}
        return fates(found, self._keeping.later(room, found[0].seq))

    @property
    def kept_history(self) -> int:
        """How many entries of each room are kept here."""
        return self._keeper.store.archive.bounds.entries

    def keep_history(self, entries: int) -> None:
        """Keep so many entries of each room here, in this run and later ones.

        :raises StoreFailed: the setting cannot be kept.
        """
        self._keeping.keep_history(entries)

    def local_rooms(self) -> list[str]:
        """The rooms of which something is kept here, the liveliest first; sealed ones last."""
        return self._keeping.rooms() + ([] if self._sealed is None else self._sealed.rooms())

    def unread(self, room: str) -> int:
        """How many entries this person has not read, of those that have come: on any device, as far as the
        server has said."""
        copy = self.session.rooms.get(room)
        if copy is None or copy.position is None:
            return 0
        return max(0, copy.position.seq - max(copy.mark, self._read.get(room, 0)))

    def setting(self, name: str) -> str | None:
        """What the person has set, in this run or an earlier one; None: nothing."""
        return self._keeper.store.settings().get(name)

    def set_setting(self, name: str, value: str) -> None:
        """Remember a setting of the person's.

        :raises StoreFailed: it cannot be kept.
        """
        self._keeper.store.set(name, value)

    def when(self, condition: Callable[[], object]) -> Deferred[None]:
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
        named = None if claim is None or claim.vouched else claim.fingerprint
        self._keeping.proved(named or f"vouched {self._keeper.endpoint}", accept_log=self._accept_log)
        if self._sealed is not None:
            self._sealed.met(self._keeping.server, anew=self._accept_log)
        self._accept_log = False

    def happened(self, events: Sequence[e.Event]) -> None:
        """What the server said, or became of the link."""
        if self._sealed is not None:
            events = self._sealed.process(events)
        self.tell(events)

    def tell(self, events: Sequence[e.Event]) -> None:
        """Have the console show this."""
        events = [
            event if type(event) is e.NewEntry else self._noted(event)
            for event in events
            if self._keeping.notice(event) or not self.files.notice(event)
        ]
        if self._console is not None and events:
            self._console.happened(events)
        self.look()

    @property
    def server(self) -> str:
        """Whom this chat last met, as what it is kept under; empty: nobody yet."""
        return self._keeping.server

    @property
    def log(self) -> bytes:
        """The log of that server."""
        return self._keeping.log

    def shown(self, room: str) -> m.Position | None:
        """How far an earlier run had shown a room."""
        return self._keeping.recall(self._keeping.log, room)

    def _recall(self, log: bytes, room: str) -> m.Position | None:
        return self._keeping.recall(log, room) if is_open(room) else self.sealed.recall(room)

    def _noted(self, event: e.Event) -> e.Event:
        if isinstance(event, e.LinkCode):
            return replace(event, server=self._keeper.endpoint)
        if isinstance(event, e.JoinedRoom):
            if self._read.get(event.room, 0) > event.mark:  # the last connection was lost before
                self._mark_soon()
        elif isinstance(event, e.Admitted):
            if event.new_log:
                self._read.clear()
            return replace(event, new_log=self._keeping.met(event.log) or event.new_log)
        return event

    def look(self) -> None:
        """See what somebody waits for."""
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

    @property
    def has_console(self) -> bool:
        """Whether anybody hears what is told."""
        return self._console is not None

    def warn(self, text: str) -> None:
        """Tell what went wrong on our side."""
        if self._console is not None:
            self._console.warn(text)


def _key(name: str) -> str:
    try:
        return parse_name(name).key
    except BadName:
        return name
