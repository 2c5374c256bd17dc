"""Mail and one-time keys in memory: every promise of the interfaces but durability; nothing suspends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from zope.interface import implementer

from encchat.core.relay.keeping import (
    MAX_ONE_TIME,
    MAX_REMEMBERED,
    IKeyPool,
    IMail,
    Mailed,
    Posting,
    Usage,
    has_room,
)


@dataclass(slots=True)
class _Box:
    last: int = 0
    letters: list[tuple[int, Mailed]] = field(default_factory=list)
    #: The seqs of those that are from strangers.
    strange: set[int] = field(default_factory=set)

    def post(self, posting: Posting) -> int:
        total, own, strangers = Usage(), Usage(), Usage()
        for _, letter in self.letters:
            total.add(len(letter.body))
            if letter.sender == posting.sender:
                own.add(len(letter.body))
            if letter.seq in self.strange:
                strangers.add(len(letter.body))
        if not has_room(total, own, len(posting.body), None if posting.met else strangers):
            return 0
        self.last += 1
        if not posting.met:
            self.strange.add(self.last)
        letter = Mailed(self.last, posting.sender, posting.device, bytes(posting.body))
        self.letters.append((posting.time, letter))
        return self.last


@implementer(IMail)
class MemoryMail:
    """:param check: raises what the log raises when it is closed."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        self._boxes: dict[str, _Box] = {}

    async def post(self, postings: Sequence[Posting]) -> Sequence[int]:
        self._check()
        return [self._boxes.setdefault(posting.box, _Box()).post(posting) for posting in postings]

    async def fetch(self, box: str, after: int, limit: int, size: int) -> Sequence[Mailed]:
        self._check()
        found: list[Mailed] = []
        for _, letter in self._boxes.get(box, _Box()).letters:
            if letter.seq > after:
                size -= len(letter.body)
                if len(found) == limit or (size < 0 and found):
                    break
                found.append(letter)
        return found

    async def discard(self, box: str, upto: int) -> None:
        self._check()
        held = self._boxes.get(box)
        if held is not None:
            held.letters = [(time, letter) for time, letter in held.letters if letter.seq > upto]

    async def close_box(self, box: str) -> None:
        self._check()
        self._boxes.pop(box, None)

    async def expire(self, before: int) -> None:
        self._check()
        for box in self._boxes.values():
            box.letters = [(time, letter) for time, letter in box.letters if time >= before]


@implementer(IKeyPool)
class MemoryKeys:
    """:param check: raises what the log raises when it is closed."""

    def __init__(self, check: Callable[[], None]) -> None:
        self._check = check
        #: Of each box the keys that it ever had, in order; False for one that was handed out.
        self._pools: dict[str, dict[bytes, bool]] = {}

    async def add(self, box: str, keys: Sequence[bytes]) -> int:
        self._check()
        pool = self._pools.setdefault(box, {})
        held = sum(pool.values())
        for key in keys:
            if held < MAX_ONE_TIME and key not in pool:
                pool[bytes(key)] = True
                held += 1
        gone = [key for key, there in pool.items() if not there][: max(0, len(pool) - MAX_REMEMBERED)]
        for key in gone:
            del pool[key]
        return held

    async def take(self, boxes: Sequence[str]) -> Sequence[bytes]:
        self._check()
        return [self._take(self._pools.get(box, {})) for box in boxes]

    async def empty(self, box: str) -> None:
        self._check()
        self._pools.pop(box, None)

    def _take(self, pool: dict[bytes, bool]) -> bytes:
        for key, there in pool.items():
            if there:
                pool[key] = False
                return key
        return b""
