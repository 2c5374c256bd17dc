"""A plain model of a log, and the moves of a game in which an implementation must agree with it.

The model keeps a list of frames for each room and looks everything up by walking it. The game appends
(with duplicates, other content, rosters), reads both ways, trims, changes the directory, restarts, and lets
commits fail before and after they happened; :class:`LogMachine` says how, and a test module hands it a log.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from encchat.core.interfaces import (
    Conflict,
    Draft,
    Outcome,
    Rejected,
    Stored,
    Trimmed,
    Unavailable,
    UnknownPosition,
)
from encchat.core.words import words_of
from encchat.messages import GENESIS, Position
from tests.contracts.log import draft, frame_of

rooms = st.sampled_from(["+lobby", "#den"])
seqs = st.integers(0, 60)
limits = st.integers(1, 40)
sizes = st.sampled_from([0, 100, 1000, 6000, 1 << 30])


#: What people say, with the words in it, each in one of the forms that count as the same.
sayings = st.lists(st.sampled_from(["tea", "TEA", "straße", "STRASSE", "東京", "e\u0301", "_"]), max_size=3)
words = st.frozensets(st.sampled_from(["tea", "strasse", "東京", "é", "none"]), min_size=1, max_size=2)


def _make(
    number: int, room: str, sender: str, kind: str, size: int, roster: int | None, said: list[str], again: int
) -> Draft:
    body = " ".join(["x" * size, *said]).encode()
    return draft(number, room=room, sender=sender, kind=kind, body=body, roster=roster, again=not again)


drafts = st.lists(
    st.builds(
        _make,
        st.integers(0, 40),
        rooms,
        st.sampled_from(["Alice", "Bob"]),
        st.sampled_from(["text", "text", "text", "roster"]),
        st.sampled_from([1, 1, 1, 900, 5000]),
        st.none() | st.integers(0, 30),
        sayings,
        st.integers(0, 5),
    ),
    max_size=12,
)


@dataclass
class Room:
    """All drafts that became entries, in order, and how many of them have left."""

    entries: list[Draft] = field(default_factory=list)
    floor: int = 0

    def frame(self, seq: int) -> bytes:
        return frame_of(self.entries[seq - 1], seq)

    def position(self, seq: int) -> Position:
        chain = GENESIS
        for n in range(1, seq + 1):
            chain = sha256(chain + self.frame(n)).digest()
        return Position(seq, chain)

    def append(self, draft: Draft) -> Outcome:
        for seq, known in enumerate(self.entries, 1):
            if (known.sender, known.msgid) == (draft.sender, draft.msgid):
                if (known.kind, known.body) != (draft.kind, draft.body):
                    return Rejected("msgid-reused")
                return Stored(seq, known.time, self.frame(seq), duplicate=True)
        if draft.again:
            return Rejected("not-stored")
        if draft.roster is not None and any(e.kind == "roster" for e in self.entries[draft.roster :]):
            return Rejected("roster-changed")
        self.entries.append(draft)
        return Stored(len(self.entries), draft.time, self.frame(len(self.entries)))

    def fitting(self, candidates: list[int], size: int) -> list[int]:
        taken = candidates[:1]
        for seq in candidates[1:]:
            if sum(len(self.frame(n)) for n in [*taken, seq]) > size:
                break
            taken.append(seq)
        return taken


class LogMachine(RuleBasedStateMachine):
    """The game. A subclass provides ``log``, ``wait`` for the result of a coroutine, ``restart``, and
    ``fail_commit`` if commits can be made to fail."""

    log: Any
    can_fail = False

    def __init__(self) -> None:
        super().__init__()
        self.rooms: dict[str, Room] = {"+lobby": Room(), "#den": Room()}
        self.records: dict[str, tuple[bytes, int]] = {}

    def wait(self, coroutine: Any) -> Any:
        raise NotImplementedError

    def restart(self) -> None:
        raise NotImplementedError

    def fail_commit(self, after: bool) -> None:
        raise NotImplementedError

    def attempt(self, coroutine: Any) -> Any:
        """What it returned, or the refusal that it raised."""
        try:
            return self.wait(coroutine)
        except (Trimmed, UnknownPosition) as refused:
            return refused

    def assert_refused(self, found: Any, room: Room, seq: int) -> None:
        if seq < room.floor:
            assert isinstance(found, Trimmed)
            assert found.first == room.floor
        else:
            assert isinstance(found, UnknownPosition)

    def check(self) -> None:
        """Further invariants, at the end of a game."""

    @rule(given=drafts)
    def send(self, given: list[Draft]) -> None:
        self.append(given)

    def append(self, given: list[Draft]) -> None:
        found = self.wait(self.log.append(given))
        assert list(found) == [self.rooms[each.room].append(each) for each in given]

    @precondition(lambda self: self.can_fail)
    @rule(given=drafts, after=st.booleans())
    def append_when_the_disk_fails(self, given: list[Draft], after: bool) -> None:
        self.fail_commit(after)
        try:
            self.wait(self.log.append(given))
        except Unavailable:
            pass
        else:
            raise AssertionError("the commit did not fail")
        # It happened or it did not; the same drafts again settle it.
        if after:
            for each in given:
                self.rooms[each.room].append(each)
        self.append(given)

    @rule(name=rooms, after=seqs, limit=limits, size=sizes)
    def read(self, name: str, after: int, limit: int, size: int) -> None:
        room = self.rooms[name]
        page = self.attempt(self.log.read(name, after, limit, size))
        if not room.floor <= after <= len(room.entries):
            self.assert_refused(page, room, after)
            return
        expected = room.fitting(list(range(after + 1, min(after + limit, len(room.entries)) + 1)), size)
        assert list(page.frames) == [room.frame(seq) for seq in expected]
        assert page.start == room.position(after)
        assert page.more == (after + len(expected) < len(room.entries))

    @rule(name=rooms, before=seqs, limit=limits, size=sizes)
    def read_back(self, name: str, before: int, limit: int, size: int) -> None:
        room = self.rooms[name]
        page = self.wait(self.log.read_back(name, before, limit, size))
        end = max(min(before - 1, len(room.entries)), room.floor)
        expected = room.fitting(list(range(end, max(end - limit, room.floor), -1)), size)
        assert list(page.frames) == [room.frame(seq) for seq in reversed(expected)]
        assert page.start == room.position(end - len(expected))
        assert page.more == (end - len(expected) > room.floor)

    @rule(name=rooms, seq=seqs)
    def position(self, name: str, seq: int) -> None:
        room = self.rooms[name]
        found = self.attempt(self.log.position(name, seq))
        if room.floor <= seq <= len(room.entries):
            assert found == room.position(seq)
        else:
            self.assert_refused(found, room, seq)
        assert self.wait(self.log.head(name)) == room.position(len(room.entries))

    @rule(wanted=words, before=seqs, limit=limits, size=sizes)
    def search(self, wanted: frozenset[str], before: int, limit: int, size: int) -> None:
        room = self.rooms["+lobby"]
        found = self.wait(self.log.search("+lobby", wanted, before, limit, size))
        end = max(min(before - 1, len(room.entries)), room.floor)
        matching = [
            seq
            for seq in range(end, room.floor, -1)
            if room.entries[seq - 1].kind == "text"
            and wanted <= words_of(room.entries[seq - 1].body.decode())
        ]
        expected = room.fitting(matching[:limit], size)
        assert list(found.frames) == [room.frame(seq) for seq in reversed(expected)]
        # All that was not found from there on does not match; where nothing is missing, all was looked at.
        assert [seq for seq in matching if seq >= found.reached] == expected
        assert found.more == (found.reached > room.floor + 1)
        assert found.reached == room.floor + 1 or len(expected) == limit or len(expected) < len(matching)

    @rule(name=rooms, before=seqs)
    def trim(self, name: str, before: int) -> None:
        room = self.rooms[name]
        room.floor = max(room.floor, min(before - 1, len(room.entries)))
        assert self.wait(self.log.trim(name, before)) == room.position(room.floor)

    @rule(key=st.sampled_from("abc"), value=st.binary(max_size=4), stale=st.booleans())
    def put(self, key: str, value: bytes, stale: bool) -> None:
        _, revision = self.records.get(key, (b"", 0))
        try:
            new = self.wait(self.log.put("kind", key, value, revision + stale))
        except Conflict:
            assert stale
        else:
            assert not stale
            assert new > max([revision for _, revision in self.records.values()], default=0)
            self.records[key] = (value, new)

    @rule(key=st.sampled_from("abc"))
    def delete(self, key: str) -> None:
        _, revision = self.records.pop(key, (b"", 0))
        self.wait(self.log.delete("kind", key, revision))

    @rule(after=st.sampled_from(["", "a", "b", "c"]), limit=st.integers(1, 4))
    def scan(self, after: str, limit: int) -> None:
        found = self.wait(self.log.scan("kind", after, limit))
        expected = [(key, *self.records[key]) for key in sorted(self.records) if key > after][:limit]
        assert [(key, item.value, item.revision) for key, item in found.items()] == expected

    @rule()
    def start_anew(self) -> None:
        self.restart()

    def teardown(self) -> None:
        self.check()
        self.wait(self.log.close())
