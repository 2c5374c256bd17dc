"""What the hub keeps in the directory, and who wins a race for it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.accounts.admission import TAKING, Claim
from encchat.core.directory import Directory, RoomRecord
from encchat.core.interfaces import Conflict, Unavailable
from encchat.logs.memory import MemoryLog
from tests.core.world import LOG_ID

_T = TypeVar("_T")


def run(work: Coroutine[Any, Any, _T]) -> _T:
    """What a coroutine returns that never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("it waits")


class Overtaken(MemoryLog):
    """A directory in which somebody else is faster, once: ``other`` runs before the next put."""

    other: Coroutine[Any, Any, Any] | None = None

    async def put(self, kind: str, key: str, value: bytes, expected: int) -> int:
        other, self.other = self.other, None
        if other is not None:
            await other
        return await super().put(kind, key, value, expected)


class Claims(SynchronousTestCase):
    """A name belongs to the first key, or to whom the CA says."""

    def setUp(self) -> None:
        self.items = Overtaken(LOG_ID)
        self.directory = Directory(self.items)

    def test_first_one_holds(self) -> None:
        self.assertIsNone(run(self.directory.claim("alice")))
        first, second = Claim("Alice", "one", 1), Claim("alice", "two", 2)
        self.assertEqual(run(self.directory.settle("alice", first)), first)
        self.assertEqual(run(self.directory.settle("alice", second)), first)
        self.assertEqual(run(self.directory.claim("alice")), first)

    def test_of_two_that_race_one_wins(self) -> None:
        first, second = Claim("Alice", "one", 1), Claim("alice", "two", 2)
        self.items.other = Directory(self.items).settle("alice", second)
        self.assertEqual(run(self.directory.settle("alice", first)), second)

    def test_a_vouched_claim_goes_first_and_follows_the_renewed_key(self) -> None:
        run(self.directory.settle("alice", Claim("Alice", "rsa", 1)))
        settled = run(self.directory.settle("alice", Claim("alice", "cert", 5, True)))
        self.assertEqual(settled, Claim("Alice", "cert", 5, True, passed=TAKING))
        self.assertEqual(run(self.directory.settle("alice", Claim("alice", "rsa", 6))), settled)
        renewed = run(self.directory.settle("alice", Claim("alice", "cert2", 9, True)))
        self.assertEqual(renewed, Claim("Alice", "cert2", 5, True, passed=TAKING))
        self.assertEqual(run(self.directory.settle("alice", Claim("alice", "cert2", 9, True))), renewed)

    def test_a_damaged_record_is_unavailable(self) -> None:
        run(self.items.put("name", "alice", b"\xc1", 0))
        self.assertRaises(Unavailable, run, self.directory.claim("alice"))


class Rooms(SynchronousTestCase):
    """Creator and topic."""

    def setUp(self) -> None:
        self.items = Overtaken(LOG_ID)
        self.directory = Directory(self.items)

    def test_created_once(self) -> None:
        first = run(self.directory.create_room("+tea", RoomRecord(1, "alice")))
        again = run(self.directory.create_room("+tea", RoomRecord(2, "bob")))
        self.assertEqual((first, again), (RoomRecord(1, "alice"), RoomRecord(1, "alice")))
        self.assertEqual(run(self.directory.rooms(10)), {"+tea": first})

    def test_a_change_is_made_of_what_the_other_made(self) -> None:
        def heard(topic: str) -> Callable[[RoomRecord], RoomRecord]:
            return lambda record: replace(record, topic=f"{record.topic} {topic}".strip())

        self.assertRaises(Unavailable, run, self.directory.change_room("+tea", heard("nobody there")))
        run(self.directory.create_room("+tea", RoomRecord(1, "alice")))
        self.items.other = Directory(self.items).change_room("+tea", heard("theirs"))
        changed = run(self.directory.change_room("+tea", heard("ours")))
        self.assertEqual(changed, RoomRecord(1, "alice", "theirs ours"))
        self.assertEqual(run(self.directory.room("+tea")), changed)

    def test_who_is_always_overtaken_gives_up(self) -> None:
        class Busy(MemoryLog):
            async def put(self, kind: str, key: str, value: bytes, expected: int) -> int:
                if expected:
                    raise Conflict(key=key)
                return await super().put(kind, key, value, expected)

        directory = Directory(Busy(LOG_ID))
        run(directory.create_room("+tea", RoomRecord(1, "alice")))
        later = directory.change_room("+tea", lambda record: replace(record, topic="x"))
        self.assertRaises(Unavailable, run, later)

    def test_the_race_is_a_conflict_below(self) -> None:
        run(self.items.put("room", "+tea", b"x", 0))
        self.assertRaises(Conflict, run, self.items.put("room", "+tea", b"y", 0))
