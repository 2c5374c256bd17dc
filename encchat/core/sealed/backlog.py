"""Entries that cannot be opened yet: their key is missing, or a roster before them is in doubt.

Bounded twice: so many of one device in a room, so many in all. Where all is full, who has the most gives way,
so that nobody keeps others' late messages from being kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec

from encchat.core.sealed import effects as fx
from encchat.core.sealed.keeper import Keeper

#: Entries that are kept: of one device in one room, and of all.
MAX_OF_DEVICE = 1000
MAX_KEPT = 5000


class Stamp(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a roster says of an entry at whose place it counts: epoch and hash, and its sender's identity."""

    epoch: int
    roster: bytes
    identity: bytes


class WaitingEntry(msgspec.Struct):
    """An entry, and what counts at its place. ``also`` is what came to count there since, as a roster before
    it was in doubt. ``told`` is the code of why it failed, if it does not wait for a key."""

    room: str
    seq: int
    time: int
    sender: str
    device: str
    msgid: bytes
    body: bytes
    epoch: int
    roster: bytes
    identity: bytes
    session: bytes
    since: int
    asked: int = 0
    also: list[Stamp] = []
    told: str = ""

    @property
    def stamps(self) -> tuple[Stamp, ...]:
        """All that counts at its place; with an empty identity where its sender was in no room."""
        return (Stamp(self.epoch, self.roster, self.identity), *self.also)


class Backlog:
    """What is kept, as records of the kinds ``waiting`` (for a key) and ``held`` (for a roster)."""

    def __init__(self, keeper: Keeper, turn: fx.Turn) -> None:
        self._keeper = keeper
        self._turn = turn
        #: Who waits for which key: the ids of their records, in order.
        self._by_key: dict[tuple[str, bytes], dict[str, None]] = {}
        self._held: dict[str, None] = {}
        self._of_device: Counter[tuple[str, str, str]] = Counter()
        #: The ids of each sender's, in the order in which they came.
        self._of_sender: dict[str, dict[str, None]] = {}
        for kind in ("waiting", "held"):
            for id, entry in keeper.scan(kind, WaitingEntry):
                self._note(id, entry)

    def add(self, entry: WaitingEntry) -> bool:
        """Keep an entry; False if there is no room for it."""
        if self._of_device[entry.room, entry.sender, entry.device] >= MAX_OF_DEVICE:
            return False
        if sum(map(len, self._of_sender.values())) >= MAX_KEPT and not self._make_way(entry.sender):
            return False
        id = _id(entry.room, entry.seq)
        self._keeper.put("held" if entry.told else "waiting", id, entry)
        self._note(id, entry)
        return True

    def take(self, device: str, session: bytes) -> list[WaitingEntry]:
        """The entries that waited for this key, in order: they wait no more."""
        ids = sorted(self._by_key.get((device, session), ()))
        return [entry for id in ids if (entry := self._drop(id)) is not None]

    def take_held(self, room: str) -> list[WaitingEntry]:
        """The entries of a room that wait for a roster, in order: they wait no more."""
        ids = sorted(id for id in self._held if id.startswith(room + "/"))
        return [entry for id in ids if (entry := self._drop(id)) is not None]

    def waiting(self, room: str) -> Iterator[WaitingEntry]:
        """The entries of a room that wait for keys, in order."""
        return (entry for _, entry in self._keeper.scan("waiting", WaitingEntry, room + "/"))

    def change(self, entry: WaitingEntry) -> None:
        """It waits for its key as before, and says something else now."""
        self._keeper.put("waiting", _id(entry.room, entry.seq), entry)

    def missing(self) -> list[tuple[str, bytes]]:
        """The keys that are missing: device and session."""
        return list(self._by_key)

    def first(self, key: tuple[str, bytes]) -> WaitingEntry | None:
        """The entry that waits for a key for the longest time."""
        return self._keeper.get("waiting", next(iter(self._by_key[key])), WaitingEntry)

    def senders(self, key: tuple[str, bytes]) -> list[str]:
        """Whose the server says that the entries are that wait for a key. One of them is the owner of the
        device, if any."""
        entries: Iterable[WaitingEntry | None] = (
            self._keeper.get("waiting", id, WaitingEntry) for id in self._by_key[key]
        )
        return list(dict.fromkeys(entry.sender for entry in entries if entry is not None))

    def _note(self, id: str, entry: WaitingEntry) -> None:
        if entry.told:
            self._held[id] = None
        else:
            self._by_key.setdefault((entry.device, entry.session), {})[id] = None
        self._of_device[entry.room, entry.sender, entry.device] += 1
        self._of_sender.setdefault(entry.sender, {})[id] = None

    def _drop(self, id: str) -> WaitingEntry | None:
        kind = "held" if id in self._held else "waiting"
        entry = self._keeper.get(kind, id, WaitingEntry)
        if entry is None:
            return None
        self._keeper.drop(kind, id)
        self._held.pop(id, None)
        key = (entry.device, entry.session)
        if kind == "waiting":
            self._by_key[key].pop(id, None)
            if not self._by_key[key]:
                del self._by_key[key]
        self._of_device[entry.room, entry.sender, entry.device] -= 1
        self._of_sender[entry.sender].pop(id, None)
        return entry

    def _make_way(self, sender: str) -> bool:
        """Whether somebody else, who has more than this one would have, gave way."""
        most = max(self._of_sender, key=lambda name: len(self._of_sender[name]))
        if len(self._of_sender[most]) <= len(self._of_sender.get(sender, ())) + 1:
            return False
        entry = self._drop(next(reversed(self._of_sender[most])))
        if entry is not None and not entry.told:
            place = (entry.room, entry.seq, entry.time, entry.sender, entry.device)
            self._turn.tell(fx.Waiting(*place, kept=False))
        return True


def _id(room: str, seq: int) -> str:
    return f"{room}/{seq:016d}"
