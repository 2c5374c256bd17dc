"""From what a vault shows to what consoles know: entries with a seal, each in its place in the room's log.

What is shown of an entry is kept (``kept``) before anybody sees it. A late one takes the place of what stood
there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
from msgspec.structs import replace

from encchat.client import events as e
from encchat.client.sealed import fitting
from encchat.client.sealed.kept import Kept, Memory
from encchat.core.names import BadName, is_conversation, parse_name
from encchat.core.sealed import events as fx
from encchat.core.sealedwords import BEFORE
from encchat.errors import PeerError
from encchat.messages import Entry, Position
from encchat.wire import advance

#: What an entry from before one's own time fails with: it is nothing that anybody wants to see.
NOT_FOR_US = "not-for-us"

#: What takes the place of one entry.
Placed = fx.Opened | fx.Waiting | fx.Failed | fx.RosterChanged | fx.RosterRejected
PLACED = (fx.Opened, fx.Waiting, fx.Failed, fx.RosterChanged, fx.RosterRejected)


class Telling:
    """Tells what the entries ``arrived`` are. ``trust`` says how sure it is whom a room means by a name;
    ``topic`` is told of topics."""

    def __init__(
        self, memory: Memory, trust: Callable[[str, str], str], topic: Callable[[str, str], None]
    ) -> None:
        self._memory = memory
        self._trust = trust
        self._topic = topic
        self._arrived: dict[tuple[str, int], e.NewEntry] = {}

    def arrived(self, event: e.NewEntry) -> tuple[Entry, bytes]:
        """An entry of a sealed room came; returns it with the chain behind it, as a vault takes it."""
        self._arrived[event.entry.room, event.entry.seq] = event
        return event.entry, _behind(event).chain

    def forget(self) -> None:
        """All that arrived was told."""
        self._arrived.clear()

    def tell(self, news: Placed) -> Iterator[e.NewEntry]:
        """What a console is shown in the place of an entry."""
        if isinstance(news, fx.Failed) and news.code == NOT_FOR_US:
            return
        event = self._arrived.get((news.room, news.seq))
        kept = None if event is not None else self._memory.entry(news.room, news.seq)
        base = _base(news, event, kept)
        entry, seal = self._judged(news, base)
        identity = news.identity if isinstance(news, fx.Opened) and seal.state == "opened" else b""
        if event is None and kept is not None:
            seal = replace(seal, late=True)
        after = _behind(event) if event is not None else kept.after if kept else Position(news.seq)
        self._memory.keep(Kept(entry, replace(seal, late=False), after, identity))
        if entry.kind == "topic" and seal.state == "opened":
            self._topic(entry.room, entry.body.decode("utf-8", "replace"))
        if event is None:
            yield e.NewEntry(entry, False, False, b"", after, seal)
        else:
            yield e.NewEntry(entry, event.own, event.old, event.frame, event.start, seal)

    def again(self, room: str, after: int, limit: int) -> Iterable[e.NewEntry]:
        """What was opened and perhaps not shown, as an earlier run was cut off."""
        for kept in self._memory.after(room, after, limit):
            yield e.NewEntry(kept.entry, False, True, b"", kept.after, kept.seal)

    def _judged(self, news: Placed, base: Entry) -> tuple[Entry, e.Seal]:
        match news:
            case fx.Opened():
                return self._opened(news, base)
            case fx.Waiting(kept=False):
                return _failed(base, "not-kept", "Its key is not here, and too much waits for keys already.")
            case fx.Waiting(before=True):
                return replace(base, kind="waiting", body=BEFORE), e.Seal("waiting", code="before-device")
            case fx.Waiting():
                return replace(base, kind="waiting", body=b""), e.Seal("waiting")
            case fx.Failed():
                return _failed(base, news.code, news.reason, late=news.late)
            case fx.RosterRejected():
                return _failed(base, "roster-rejected", f"A change of who is in the room: {news.reason}")
        return self._changed(news, base)

    def _opened(self, news: fx.Opened, base: Entry) -> tuple[Entry, e.Seal]:
        entry = replace(base, kind=news.kind, body=news.body)
        seal = e.Seal("opened", news.trust, news.vouched_by, late=news.late)
        # In a conversation both are admins, and neither takes back what the other said.
        talk = is_conversation(news.room)
        admin = not talk and key_of(base.sender) in self._memory.note(news.room).admins
        try:
            said = Kept(entry, seal, Position(news.seq), news.identity)
            fitting.check(said, admin, lambda seq: self._memory.entry(news.room, seq))
        except PeerError as error:
            return _failed(base, error.code, str(error), late=news.late)
        return entry, seal

    def _changed(self, news: fx.RosterChanged, base: Entry) -> tuple[Entry, e.Seal]:
        before = self._memory.note(news.room).admins
        self._memory.change_note(news.room, admins=news.admins)
        stay = set(news.members) - set(news.added)
        facts = {
            "by": news.by,
            "epoch": news.epoch,
            "added": news.added,
            "removed": news.removed,
            "promoted": sorted((set(news.admins) - set(before)) & stay) if before else (),
            "demoted": sorted((set(before) - set(news.admins)) & stay),
        }
        entry = replace(base, sender=base.sender or news.by, kind="roster", body=msgspec.json.encode(facts))
        return entry, e.Seal("roster", self._trust(news.room, news.by))


def _failed(base: Entry, code: str, reason: str, *, late: bool = False) -> tuple[Entry, e.Seal]:
    entry = replace(base, kind="failed", body=reason.encode("utf-8", "replace"))
    return entry, e.Seal("failed", code=code, reason=reason, late=late)


def _base(news: Placed, event: e.NewEntry | None, kept: Kept | None) -> Entry:
    """The entry that this is about, with whatever kind and body."""
    if event is not None:
        return event.entry
    if kept is not None:
        return kept.entry
    sender = news.by if isinstance(news, fx.RosterChanged) else news.sender
    return Entry(news.room, news.seq, news.time, sender, "", "sealed", bytes(16), b"")


def _behind(event: e.NewEntry) -> Position:
    return advance(event.start, (event.frame,))


def key_of(name: str) -> str:
    """What a name is compared by; the name itself if it cannot be one."""
    try:
        return parse_name(name).key
    except BadName:
        return name
