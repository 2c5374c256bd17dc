"""A log in memory: for tests, and for a server that is asked to keep nothing.

It keeps every promise of the interfaces but durability, and its methods never suspend. With ``keep`` the
older entries of a room leave; a memo of about 300 bytes stays of each, as a msgid is known for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from msgspec.structs import replace
from zope.interface import implementer

from encchat.core.interfaces import (
    Conflict,
    Draft,
    Findings,
    IRoomLog,
    Item,
    Outcome,
    Slice,
    Stored,
    Trimmed,
    Unavailable,
    UnknownPosition,
)
from encchat.core.relay.keeping import IStore
from encchat.logs.hints import Hints
from encchat.logs.keeping import MemoryKeys, MemoryMail
from encchat.logs.numbering import Memo, Tail, check_bounds, check_drafts, number, refusal, repeated
from encchat.logs.searching import Search
from encchat.messages import Position
from encchat.wire import decode_entry


@dataclass(slots=True)
class _Room:
    """One room: entry ``floor.seq + 1 + i`` is ``frames[i]`` and the chain after it ``chains[i]``."""

    tail: Tail = field(default_factory=Tail)
    floor: Position = field(default_factory=Position)
    frames: list[bytes] = field(default_factory=list)
    chains: list[bytes] = field(default_factory=list)
    seqs: dict[tuple[str, bytes], int] = field(default_factory=dict)
    memos: dict[int, Memo] = field(default_factory=dict)

    def append(self, draft: Draft) -> Outcome:
        for name in (draft.sender, *draft.former):
            known = self.seqs.get((name, draft.msgid))
            if known is not None:
                memo = self.memos.get(known)
                if memo:
                    return memo.repeated(replace(draft, sender=name))
                return repeated(draft, self.frames[known - self.floor.seq - 1])
        refused = refusal(self.tail, draft)
        if refused is not None:
            return refused
        frame = number(self.tail, draft)
        self.frames.append(frame)
        self.chains.append(self.tail.chain)
        self.seqs[draft.sender, draft.msgid] = self.tail.seq
        return Stored(self.tail.seq, draft.time, frame)

    def position(self, room: str, seq: int) -> Position:
        if seq < self.floor.seq:
            raise Trimmed(room=room, first=self.floor.seq)
        if seq > self.tail.seq:
            raise UnknownPosition(room=room, seq=seq)
        return self.floor if seq == self.floor.seq else Position(seq, self.chains[seq - self.floor.seq - 1])

    def trim(self, before: int) -> Position:
        leaving = min(before - 1, self.tail.seq) - self.floor.seq
        if leaving > 0:
            for frame in self.frames[:leaving]:
                memo = Memo.of(decode_entry(frame))
                self.memos[memo.seq] = memo
            self.floor = Position(self.floor.seq + leaving, self.chains[leaving - 1])
            del self.frames[:leaving], self.chains[:leaving]
        return self.floor


@implementer(IRoomLog, IStore)
class MemoryLog:
    """:param log_id: 16 bytes that name this log.
    :param keep: how many entries of each room stay at most; None: all of them.
    """

    def __init__(self, log_id: bytes, keep: int | None = None) -> None:
        self.log_id = log_id
        self._keep = keep
        self._rooms: dict[str, _Room] = {}
        self._records: dict[str, dict[str, Item]] = {}
        self._revision = 0
        self._hints = Hints()
        self._closed = False
        self.mail = MemoryMail(self._check_open)
        self.keys = MemoryKeys(self._check_open)

    async def append(self, drafts: Sequence[Draft]) -> Sequence[Outcome]:
        self._check_open()
        check_drafts(drafts)
        outcomes: list[Outcome] = []
        heads: dict[str, int] = {}
        for draft in drafts:
            room = self._rooms.setdefault(draft.room, _Room())
            outcome = room.append(draft)
            outcomes.append(outcome)
            if isinstance(outcome, Stored) and not outcome.duplicate:
                heads[draft.room] = outcome.seq
        if self._keep is not None:
            for name, seq in heads.items():
                self._rooms[name].trim(seq - self._keep + 1)
        self._hints.tell(heads)
        return outcomes

    async def read(self, room: str, after: int, limit: int, size: int) -> Slice:
        check_bounds(after, limit)
        found = self._room(room)
        start = found.position(room, after)
        first = after - found.floor.seq
        frames = _fitting(islice(found.frames, first, first + limit), size)
        return Slice(start, frames, after + len(frames) < found.tail.seq)

    async def read_back(self, room: str, before: int, limit: int, size: int) -> Slice:
        check_bounds(before, limit)
        found = self._room(room)
        end = max(0, min(before - 1, found.tail.seq) - found.floor.seq)
        frames = _fitting(reversed(found.frames[max(0, end - limit) : end]), size)
        frames.reverse()
        start = found.position(room, found.floor.seq + end - len(frames))
        return Slice(start, frames, start.seq > found.floor.seq)

    async def search(self, room: str, words: frozenset[str], before: int, limit: int, size: int) -> Findings:
        check_bounds(before, limit)
        found = self._room(room)
        end = max(0, min(before - 1, found.tail.seq) - found.floor.seq)
        search = Search(words, found.floor.seq + end + 1, limit, size)
        search.take(found.frames[at] for at in range(end - 1, -1, -1))
        return search.findings(found.floor.seq)

    async def head(self, room: str) -> Position:
        return self._room(room).tail.position

    async def position(self, room: str, seq: int) -> Position:
        check_bounds(seq, 1)
        return self._room(room).position(room, seq)

    async def rooms(self, after: str = "", limit: int = 1000) -> Sequence[str]:
        self._check_open()
        check_bounds(0, limit)
        return sorted(name for name, room in self._rooms.items() if name > after and room.tail.seq)[:limit]

    async def trim(self, room: str, before: int) -> Position:
        check_bounds(before, 1)
        return self._room(room).trim(before)

    def hints(self, callback: Callable[[str, int], None]) -> None:
        self._hints.add(callback)

    async def state(self) -> str:
        return "down" if self._closed else "ok"

    async def close(self) -> None:
        self._closed = True

    async def get(self, kind: str, key: str) -> Item | None:
        self._check_open()
        return self._records.get(kind, {}).get(key)

    async def put(self, kind: str, key: str, value: bytes, expected: int) -> int:
        self._expect(kind, key, expected)
        self._revision += 1
        self._records.setdefault(kind, {})[key] = Item(bytes(value), self._revision)
        return self._revision

    async def delete(self, kind: str, key: str, expected: int) -> None:
        self._expect(kind, key, expected)
        self._records.get(kind, {}).pop(key, None)

    async def scan(self, kind: str, after: str = "", limit: int = 1000) -> Mapping[str, Item]:
        self._check_open()
        check_bounds(0, limit)
        records = self._records.get(kind, {})
        return {key: records[key] for key in sorted(key for key in records if key > after)[:limit]}

    def _expect(self, kind: str, key: str, expected: int) -> None:
        self._check_open()
        found = self._records.get(kind, {}).get(key)
        if (found.revision if found else 0) != expected:
            raise Conflict(key=key)

    def _room(self, name: str) -> _Room:
        self._check_open()
        return self._rooms.get(name) or _Room()

    def _check_open(self) -> None:
        if self._closed:
            raise Unavailable(reason="the log is closed")


def _fitting(frames: Iterable[bytes], size: int) -> list[bytes]:
    """The first of ``frames`` that fit into ``size`` bytes, and one in any case."""
    taken: list[bytes] = []
    for frame in frames:
        size -= len(frame)
        if size < 0 and taken:
            break
        taken.append(frame)
    return taken
