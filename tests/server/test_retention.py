"""Entries that are too old or too many leave, and nothing else does."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.interfaces import Trimmed, Unavailable
from encchat.errors import UsageError
from encchat.logs.memory import MemoryLog
from encchat.logs.verify import verify
from encchat.messages import Position
from encchat.server.retention import DAY, INTERVAL, PAGE, Keep, Retention, Rules, parse_rules
from encchat.wire import advance
from tests.contracts.log import MUCH, ROOM, draft
from tests.core.world import ManualTurn
from tests.logs.rig import Rig, open_log


class RetentionCase(SynchronousTestCase):
    """A log, and a clock for it."""

    def setUp(self) -> None:
        self.turn = ManualTurn()
        self.clock = Clock()
        self.log: Any = MemoryLog(bytes(16))

    def fill(self, *ages: float, room: str = ROOM) -> None:
        """Entries so many days old."""
        now = self.turn.wall()
        drafts = [draft(n, room=room, time=int((now - age * DAY) * 1000)) for n, age in enumerate(ages, 1)]
        self.successResultOf(self.wait(self.log.append(drafts)))

    def wait(self, work: Any) -> Any:
        return Deferred.fromCoroutine(work)

    def kept(self, room: str = ROOM) -> list[int]:
        """The seqs that are there."""
        head = self.successResultOf(self.wait(self.log.head(room))).seq
        page = self.successResultOf(self.wait(self.log.read_back(room, head + 1, 10**6, MUCH)))
        return list(range(page.start.seq + 1, page.start.seq + 1 + len(page.frames)))

    def begin(self, keep: Keep | Rules) -> Retention:
        rules = keep if isinstance(keep, Rules) else Rules(keep)
        retention = Retention(self.log, rules, self.clock, self.turn)
        retention.start()
        self.addCleanup(lambda: self.successResultOf(self.wait(retention.stop())))
        return retention


class What(RetentionCase):
    """What leaves."""

    def test_by_number(self) -> None:
        self.fill(*[0] * 10)
        self.fill(*[0] * 3, room="+other")
        self.begin(Keep(entries=4))
        self.assertEqual((self.kept(), self.kept("+other")), ([7, 8, 9, 10], [1, 2, 3]))

    def test_by_age(self) -> None:
        self.fill(9, 8, 7.5, 6.5, 1, 0)
        self.fill(20, 19, room="+other")
        self.begin(Keep(days=7))
        self.assertEqual((self.kept(), self.kept("+other")), ([4, 5, 6], []))

    def test_by_both(self) -> None:
        self.fill(9, 8, 1, 1, 1)
        self.begin(Keep(days=7, entries=2))
        self.assertEqual(self.kept(), [4, 5])

    def test_a_room_has_its_own(self) -> None:
        for room in (ROOM, "+ops", "+ever", "+few"):
            self.fill(40, 20, 6, 1, 0, room=room)
        self.begin(parse_rules(["7", "+ops=30", "+ever=0"], ["4", "+Ever=0", "+few=1"]))
        kept = [self.kept(room) for room in (ROOM, "+ops", "+ever", "+few")]
        self.assertEqual(kept, [[3, 4, 5], [2, 3, 4, 5], [1, 2, 3, 4, 5], [5]])

    def test_only_a_room_has_one(self) -> None:
        self.fill(40, 0)
        self.fill(40, 0, room="+ops")
        rules = parse_rules(["+ops=30"], [])
        self.assertTrue(rules)
        self.begin(rules)
        self.assertEqual((self.kept(), self.kept("+ops")), ([1, 2], [2]))

    def test_sealed_rooms_are_left_alone(self) -> None:
        """Their members can follow who is in them only from the first entry on."""
        for room in ("#den", "@alice&bob"):
            self.fill(30, 20, 10, 0, room=room)
        self.fill(30, 20, 10, 0)
        self.begin(Keep(15, 1))
        self.assertEqual(self.kept("#den"), [1, 2, 3, 4])
        self.assertEqual(self.kept("@alice&bob"), [1, 2, 3, 4])
        self.assertEqual(self.kept(), [4])
        with self.assertRaisesRegex(UsageError, "#den=7.*sealed"):
            parse_rules(["#den=7"], [])

    def test_more_than_a_page(self) -> None:
        self.fill(*[9] * (2 * PAGE + 1), 0)
        self.begin(Keep(days=7))
        self.assertEqual(self.kept(), [2 * PAGE + 2])

    def told(self, events: EventLoggingObserver) -> list[str]:
        return [formatEvent(event) for event in events if "retention" in event["log_format"]]

    def test_what_it_let_go_is_in_the_log(self) -> None:
        """A line for each room from which something left, and nothing of what was said there."""
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.fill(*[9] * (PAGE + 1), 2, 1, 0)
        self.fill(9, 0, room="+other")
        self.fill(1, 0, room="+young")
        self.begin(Keep(days=7, entries=3))
        self.assertEqual(
            self.told(events),
            [
                f"retention let {PAGE + 1} entries of {ROOM} go: those up to number {PAGE + 1}",
                "retention let 1 entry of +other go: those up to number 1",
            ],
        )
        self.clock.advance(INTERVAL)
        self.assertEqual(len(self.told(events)), 2)
        self.turn.time += 5.5 * DAY
        self.clock.advance(INTERVAL)
        self.assertEqual(
            self.told(events)[2:],
            [
                f"retention let 1 entry of {ROOM} go: those up to number {PAGE + 2}",
            ],
        )

    def test_every_hour(self) -> None:
        self.fill(6.99, 0)
        self.begin(Keep(days=7))
        self.assertEqual(self.kept(), [1, 2])
        self.turn.time += INTERVAL
        self.clock.advance(INTERVAL)
        self.assertEqual(self.kept(), [2])

    def test_many_rooms(self) -> None:
        for number in range(PAGE + 2):
            self.fill(0, 0, room=f"+room{number}")
        self.begin(Keep(entries=1))
        self.assertEqual({len(self.kept(f"+room{n}")) for n in range(PAGE + 2)}, {1})

    def test_entries_of_a_wrong_clock_are_kept(self) -> None:
        self.fill(9, -3000, 9, 9)
        self.begin(Keep(days=7))
        self.assertEqual(self.kept(), [2, 3, 4])

    def test_a_clock_that_is_set_forward_takes_nothing(self) -> None:
        self.fill(6, 5)
        self.begin(Keep(days=7))
        future = self.turn.wall() + 1000 * DAY
        self.patch(self.turn, "wall", lambda: future)
        self.clock.advance(INTERVAL)
        self.assertEqual(self.kept(), [1, 2])

    def test_what_fails_is_tried_again(self) -> None:
        self.fill(9, 0)
        with patch.object(self.log, "trim", side_effect=Unavailable(reason="no room")):
            self.begin(Keep(days=7))
        self.assertEqual(self.kept(), [1, 2])
        with patch.object(self.log, "rooms", side_effect=Unavailable(reason="no room")):
            self.clock.advance(INTERVAL)
        self.assertEqual(self.kept(), [1, 2])
        self.clock.advance(INTERVAL)
        self.assertEqual(self.kept(), [2])

    def test_stop_ends_the_looks(self) -> None:
        retention = self.begin(Keep(entries=1))
        self.successResultOf(self.wait(retention.stop()))
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Options(SynchronousTestCase):
    """How rules are written."""

    def test_written(self) -> None:
        self.assertFalse(parse_rules([], []))
        self.assertFalse(parse_rules(["0", "+a=0"], ["0"]))
        rules = parse_rules(["30", "+ops=7", "+Den=1"], ["+ops=100"])
        self.assertEqual(rules.of("+lobby"), Keep(30, 0))
        self.assertEqual(rules.of("+ops"), Keep(7, 100))
        self.assertEqual(rules.of("+den"), Keep(1, 0))

    def test_mistakes(self) -> None:
        for given in (["x"], ["-1"], ["1.5"], [""], ["+ops="], ["+ops=x"], ["9" * 10], ["\u0663"]):
            said = str(self.assertRaises(UsageError, parse_rules, given, []))
            self.assertIn("write a whole number", said)
            self.assertIn("--retain ", said)
        for given, word in (
            (["ops=1"], "must begin with"),
            (["=1"], "must begin with"),
            (["1", "2"], "twice for the server"),
            (["+a=1", "+A=1"], "twice for +a"),
        ):
            said = str(self.assertRaises(UsageError, parse_rules, [], given))
            self.assertIn(word, said)
            self.assertIn("--retain-entries", said)


class OnDisk(SynchronousTestCase):
    """With the SQLite log, what remains verifies, and goes on from where it was."""

    def test_what_remains_verifies(self) -> None:
        path = Path(self.mktemp()) / "log.sqlite"
        rig, turn = Rig(), ManualTurn()
        log = open_log(self, path, rig)
        now = int(turn.wall() * 1000)
        old = [draft(n, time=now - 30 * DAY * 1000, body=b"." * 300) for n in range(1, 61)]
        new = [draft(n, time=now, body=b"." * 300) for n in range(61, 101)]
        rig.wait(log.append(old + new))
        at = rig.wait(log.position(ROOM, 60))
        head = rig.wait(log.head(ROOM))
        retention = Retention(log, Rules(Keep(days=7)), rig, turn)
        rig.wait(retention.look())
        self.assertEqual(self.assertRaises(Trimmed, rig.wait, log.read(ROOM, 0, 1, MUCH)).first, 60)
        page = rig.wait(log.read(ROOM, 60, 1000, MUCH))
        self.assertEqual((page.start, advance(at, page.frames)), (at, head))
        (again,) = rig.wait(log.append([old[3]]))
        self.assertEqual((again.seq, again.duplicate), (4, True))
        rig.wait(log.close())
        self.assertEqual(list(verify(path)), [])
        self.assertNotEqual(at, Position())
