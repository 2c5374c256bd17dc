"""The log in memory: the contract, what it keeps, and that it never suspends."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.trial.unittest import TestCase

from encchat.core.interfaces import Stored, Trimmed
from encchat.logs.memory import MemoryLog
from tests.contracts.log import MUCH, ROOM, LogContract, draft, frame_of

LOG_ID = bytes(range(16))


def now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine that does not suspend."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it suspended")


class MemoryLogContract(LogContract, TestCase):
    """The contract."""

    def open_log(self) -> MemoryLog:
        return MemoryLog(LOG_ID)


class MemoryLogTests(TestCase):
    """What the log in memory adds to the contract."""

    def test_nothing_suspends(self) -> None:
        log = MemoryLog(LOG_ID)
        (stored,) = now(log.append([draft(1)]))
        self.assertEqual(stored, Stored(1, draft(1).time, frame_of(draft(1), 1)))
        self.assertEqual(now(log.read(ROOM, 0, 5, MUCH)).frames, [stored.frame])
        self.assertEqual(now(log.put("name", "alice", b"", 0)), 1)
        self.assertEqual(now(log.state()), "ok")
        self.assertIsNone(now(log.close()))

    def test_keeps_as_many_as_asked(self) -> None:
        log = MemoryLog(LOG_ID, keep=3)
        for n in range(1, 11):
            now(log.append([draft(n), draft(n, room="+other")]))
        for room in (ROOM, "+other"):
            page = now(log.read(room, 7, 100, MUCH))
            self.assertEqual(page.frames, [frame_of(draft(n, room=room), n) for n in (8, 9, 10)])
            with self.assertRaises(Trimmed) as caught:
                now(log.read(room, 6, 100, MUCH))
            self.assertEqual(caught.exception.first, 7)
        (again,) = now(log.append([draft(1)]))
        self.assertEqual(again, Stored(1, draft(1).time, frame_of(draft(1), 1), duplicate=True))
        self.assertEqual(now(log.head(ROOM)).seq, 10)

    def test_an_append_larger_than_what_is_kept(self) -> None:
        log = MemoryLog(LOG_ID, keep=2)
        outcomes = now(log.append([draft(n) for n in range(1, 8)]))
        self.assertEqual([o.seq for o in outcomes], list(range(1, 8)))
        self.assertEqual(len(now(log.read(ROOM, 5, 100, MUCH)).frames), 2)
