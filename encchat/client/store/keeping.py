"""What one chat keeps in the store of its profile, and reads from it.

What was acknowledged, how far was shown and which entries came is written a little later and together: to
lose it costs little, as a message is sent again under its msgid and an entry is sent again. What was typed
is written at once. Whose history it is offline is known from the last time that the server was met.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat.client import events as e
from encchat.client.protocol.knownlog import judge
from encchat.client.protocol.outbox import Item
from encchat.client.store import Place, Store, StoreFailed
from encchat.core.names import is_open
from encchat.messages import Entry, Position
from encchat.wire import advance

#: Seconds that what is written later waits.
STORE_AFTER = 0.25
#: The setting that says how many entries of each room are kept, and what it may be at most.
HISTORY, MAX_HISTORY = "history", 1_000_000
#: Entries of one local page at most.
MAX_LOCAL = 500


@dataclass(frozen=True, slots=True)
class Keeper:
    """Where a chat keeps what it keeps: the store, the server's endpoint, and the lane of the outbox; no
    lane: what is sent is not kept, and whoever sends hears how it ended."""

    store: Store
    endpoint: str
    lane: int | None


class Keeping:
    """``notice`` every event; ``keep`` what is typed. ``warn`` is told what goes wrong, in words."""

    def __init__(self, clock: IReactorTime, keeper: Keeper, warn: Callable[[str], None]) -> None:
        self._clock = clock
        self._keeper = keeper
        self._store = keeper.store
        self._warn = warn
        met = keeper.store.last_met(keeper.endpoint)
        #: What this server's positions and entries are kept under, and its log; empty: never met.
        self.server, self.log = (met.server, met.log) if met is not None else ("", b"")
        self._forget: list[bytes] = []
        self._shown: dict[str, Position] = {}
        #: Entries up to there are too many to be kept, by room.
        self._passing: dict[str, int] = {}
        #: By room, as there are many entries of each.
        self._places: dict[str, Place] = {}
        self._timer: IDelayedCall | None = None
        #: What went wrong the last time that something was written.
        self._failure = ""
        self._bound()

    def _bound(self) -> None:
        kept = self._store.settings().get(HISTORY, "")
        if kept.isascii() and kept.isdecimal() and len(kept) < 10:
            bounds = self._store.archive.bounds
            self._store.archive.bounds = type(bounds)(entries=min(int(kept), MAX_HISTORY))

    def keep_history(self, entries: int) -> None:
        """Keep so many entries of each room, from now on."""
        self._store.set(HISTORY, str(entries))
        self._bound()

    # --------------------------------------------------------------------------------- what is typed

    def waiting(self) -> list[Item]:
        """What an earlier run could not send."""
        lane = self._keeper.lane
        return [] if lane is None else self._store.outbox(self._keeper.endpoint, lane)

    def keep(self, items: list[Item], now: int) -> None:
        """Store what was typed, before it is sent; ``now`` in milliseconds.

        :raises StoreFailed: it cannot be.
        """
        if self._keeper.lane is not None:
            self._store.keep(self._keeper.endpoint, self._keeper.lane, items, now)

    # ----------------------------------------------------------------------------------- what comes

    def proved(self, server: str, *, accept_log: bool) -> None:
        """The server has proved its key; ``accept_log``: its logs count as they are now."""
        if server != self.server:
            self.flush()  # what waits is of the server before
            self._shown.clear()
        self.server = server
        self._places.clear()
        if accept_log:
            self._store.forget_positions(server)

    def judge(self, log: bytes) -> None:
        """The server is about to name its log.

        :raises OtherLog: it is another one than before.
        """
        judge(self._keeper.endpoint, self._store.known_log(self.server), log)

    def met(self, log: bytes) -> bool:
        """The server named its log; whether it had another one before."""
        self.flush()  # what waits is of the log before
        if log != self.log:
            self._shown.clear()
        self.log = log
        self._passing.clear()
        self._places.clear()
        try:
            return self._store.met_log(self._keeper.endpoint, self.server, log)
        except StoreFailed as error:
            self._warn(str(error))
            return False

    def recall(self, log: bytes, room: str) -> Position | None:
        """How far an earlier run had read a room."""
        return self._store.position(self.server, log, room)

    def notice(self, event: e.Event) -> bool:
        """Keep what this event brings; whether it is an entry, and so nobody's answer."""
        if type(event) is e.NewEntry:
            if (
                event.seal is None
                and event.frame
                and event.start.seq >= self._passing.get(event.entry.room, 0)
            ):
                self._add(event.entry.room, event.start, event.frame)
            return True
        if isinstance(event, e.Acknowledged | e.NotSent):
            if self._keeper.lane is not None and is_open(event.item.room):
                self._forget.append(event.item.msgid)
                self._soon()
        elif isinstance(event, e.JoinedRoom):
            self._passing[event.room] = event.head.seq - self._store.archive.bounds.entries
        elif isinstance(event, e.History):
            if event.proved:
                start = event.start
                for frame in event.frames:
                    self._add(event.room, start, frame)
                    start = advance(start, (frame,))
        elif isinstance(event, e.LeftRoom | e.PutOut):
            self.flush()
        return False

    def _add(self, room: str, start: Position, frame: bytes) -> None:
        if self._store.archive.keeps:
            place = self._places.get(room)
            if place is None:
                place = self._places[room] = Place(self.server, self.log, room)
            self._store.archive.add(place, start, frame)
            self._soon()

    def shown(self, positions: dict[str, Position]) -> None:
        """What lies before these positions was shown: go on from there in the next run."""
        if positions:
            self._shown.update(positions)
            self._soon()

    def _soon(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(STORE_AFTER, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        forget, self._forget = self._forget, []
        shown, self._shown = self._shown, {}
        try:
            if forget:
                self._store.forget(forget)
            if shown:
                self._store.save_positions(self.server, self.log, shown)
        except (
            StoreFailed
        ) as error:  # nothing is lost: it is tried with what comes next, or sent or shown again
            self._forget, self._shown = forget + self._forget, {**shown, **self._shown}
            if str(error) != self._failure:  # a disk that is full stays so for long
                self._warn(str(error))
            self._failure = str(error)
        else:
            self._failure = ""
        self._store.archive.store()
        self.tell()

    def tell(self) -> None:
        """Say what the store has to say."""
        for notice in self._store.take_notices():
            self._warn(notice)

    # --------------------------------------------------------------------------------- what is there

    def history(self, room: str, before: int, limit: int) -> e.History:
        """A page of what is kept of a room."""
        place = Place(self.server, self.log, room)
        found = self._store.archive.page(place, before, max(1, min(limit, MAX_LOCAL)))
        self.tell()
        return e.History(0, room, found.entries, found.more, local=True)

    def search(self, room: str, words: str, before: int, limit: int) -> e.SearchFound:
        """What is found in what is kept of a room.

        :raises RefusedError: there is no word to search for.
        """
        place = Place(self.server, self.log, room)
        found = self._store.archive.search(place, words, before, max(1, min(limit, MAX_LOCAL)))
        self.tell()
        return e.SearchFound(0, room, found.entries, found.reached, found.more, local=True)

    def later(self, room: str, seq: int) -> Iterator[Entry]:
        """What is kept of a room after ``seq``, the newest first, as far as is looked."""
        return self._store.archive.later(Place(self.server, self.log, room), seq)

    def rooms(self) -> list[str]:
        """The rooms of which something is kept, the liveliest first."""
        return self._store.archive.rooms(self.server, self.log) if self.server else []
