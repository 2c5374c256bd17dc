"""The SQLite log's writer: group commit, threads, and what happens when the disk fails it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Event, get_ident
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.interfaces import Conflict, Rejected, Stored, Unavailable
from encchat.logs.sqlite import SqliteLog
from tests.contracts.log import MUCH, ROOM, draft, frame_of
from tests.logs.rig import PATIENCE, Faults, Rig, failing, open_log


class WriterCase(SynchronousTestCase):
    """A log whose statements can be made to fail."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "log.db"
        self.rig = Rig()
        self.faults = Faults()
        self.log = self.open()

    def open(self) -> SqliteLog:
        return open_log(self, self.path, self.rig, connect=self.faults.connect)

    def reopen(self) -> None:
        self.rig.wait(self.log.close())
        self.log = self.open()

    def append(self, *numbers: int, **changes: Any) -> Any:
        return self.rig.wait(self.log.append([draft(n, **changes) for n in numbers]))

    def frames(self, room: str = ROOM) -> list[bytes]:
        return list(self.rig.wait(self.log.read(room, 0, 10_000, MUCH)).frames)

    def hold_writer(self) -> Callable[[], None]:
        """Keep the writer's thread busy until what is returned is called."""
        inside, go_on = Event(), Event()

        def wait(connection: sqlite3.Connection) -> None:
            inside.set()
            go_on.wait(PATIENCE)

        held = self.rig.start(self.log._writer.change(wait))
        held.addErrback(lambda failure: failure.trap(Unavailable))
        self.assertTrue(inside.wait(PATIENCE))
        self.addCleanup(go_on.set)
        return go_on.set


class GroupCommitTests(WriterCase):
    """What waits goes together, and in order."""

    def test_what_one_turn_brings_is_one_transaction(self) -> None:
        begun = gatherResults([self.rig.start(self.log.append([draft(1)]))])
        self.rig.finish(begun)
        before = self.log.commits
        # Begun without letting the turn end in between.
        waiting = [Deferred.fromCoroutine(self.log.append([draft(n)])) for n in range(2, 102)]
        outcomes = self.rig.finish(gatherResults(waiting))
        self.assertEqual([stored.seq for (stored,) in outcomes], list(range(2, 102)))
        self.assertEqual(self.log.commits, before + 1)

    def test_what_queued_meanwhile_is_one_transaction(self) -> None:
        release = self.hold_writer()
        waiting = [self.rig.start(self.log.append([draft(n)])) for n in range(1, 51)]
        record = self.rig.start(self.log.put("name", "alice", b"", 0))
        before = self.log.commits
        release()
        self.rig.finish(gatherResults([*waiting, record]))
        self.assertEqual(self.log.commits, before + 2)

    def test_a_transaction_has_a_bound(self) -> None:
        with patch("encchat.logs.writer.MAX_BATCH", 10):
            release = self.hold_writer()
            waiting = [self.rig.start(self.log.append([draft(n), draft(1000 + n)])) for n in range(1, 26)]
            release()
            before = self.log.commits
            outcomes = self.rig.finish(gatherResults(waiting))
        self.assertEqual([o.seq for pair in outcomes for o in pair], list(range(1, 51)))
        self.assertEqual(self.log.commits - before, 6)

    def test_many_drafts_at_once(self) -> None:
        outcomes = self.append(*range(1, 2001))
        self.assertEqual([o.seq for o in outcomes], list(range(1, 2001)))
        again = self.append(*range(1, 2001))
        self.assertEqual([(o.seq, o.duplicate) for o in again], [(n, True) for n in range(1, 2001)])
        self.assertEqual(self.frames(), [o.frame for o in outcomes])

    def test_more_rooms_than_are_kept_in_mind(self) -> None:
        with patch("encchat.logs.appender.MAX_ROOMS", 3):
            for turn in range(3):
                outcomes = self.rig.wait(
                    self.log.append([draft(turn, room=f"+{n}", kind="roster") for n in range(8)])
                )
                self.assertEqual([o.seq for o in outcomes], [turn + 1] * 8)
                self.assertLessEqual(len(self.log._writer._appender._rooms), 3)
            self.assertEqual(self.append(9, room="+0", roster=2), [Rejected("roster-changed")])

    def test_a_large_entry_between_small_ones(self) -> None:
        sizes = [10, 60_000, 10, 3_000, 3_000, 3_900, 60_000, 60_000, 1]
        for n, size in enumerate(sizes):
            self.append(n, body=bytes(size))
            if n % 3 == 1:
                self.reopen()
        self.assertEqual(
            self.frames(), [frame_of(draft(n, body=bytes(size)), n + 1) for n, size in enumerate(sizes)]
        )
        self.assertEqual(self.rig.wait(self.log.verify()), [])

    def test_too_much_is_refused_before_it_waits(self) -> None:
        release = self.hold_writer()
        with patch("encchat.logs.writer.MAX_WAITING", 5):
            waiting = self.rig.start(self.log.append([draft(n) for n in range(4)]))
            refused = self.rig.start(self.log.append([draft(9)]))
            self.assertIn("too many messages", str(self.failureResultOf(refused, Unavailable).value))
            release()
            self.rig.finish(waiting)
            (stored,) = self.append(9)
            self.assertEqual(stored.seq, 5)
            # One that is larger than the bound by itself is taken when nothing else waits.
            self.assertEqual(len(self.append(*range(10, 20))), 10)

    def test_one_who_no_longer_waits(self) -> None:
        release = self.hold_writer()
        waiting = self.rig.start(self.log.append([draft(1)]))
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        release()
        (again,) = self.append(1)
        self.assertTrue(again.duplicate)


class ThreadTests(WriterCase):
    """The reactor's thread runs no statement once the log is open."""

    def test_no_statement_on_the_reactor_thread(self) -> None:
        self.faults.threads.clear()
        self.append(1, 2, 3)
        self.frames()
        for work in (
            self.log.read_back(ROOM, 9, 2, MUCH),
            self.log.head(ROOM),
            self.log.position(ROOM, 2),
            self.log.trim(ROOM, 2),
            self.log.put("name", "alice", b"", 0),
            self.log.get("name", "alice"),
            self.log.scan("name"),
            self.log.state(),
            self.log.verify(),
            self.log.backup(self.path.with_name("copy.db")),
            self.log.close(),
        ):
            self.rig.wait(work)
        self.assertGreaterEqual(len(self.faults.threads), 2)
        self.assertNotIn(get_ident(), self.faults.threads)


class DiskTests(WriterCase):
    """Nothing that is not on disk is acknowledged, and what follows goes on by itself."""

    def test_a_failure_at_any_statement(self) -> None:
        self.append(1)
        number = 1
        for statement in ("BEGIN", "SELECT m.msgid", "INSERT INTO blocks", "INSERT INTO rooms", "COMMIT"):
            self.faults.before = failing(statement, error="database or disk is full")
            error = self.assertRaises(Unavailable, self.append, number + 1)
            self.assertIn("database or disk is full", str(error))
            self.assertEqual(len(self.frames()), number, statement)
            (stored,) = self.append(number + 1)
            self.assertEqual((stored.seq, stored.duplicate), (number + 1, False), statement)
            number += 1
        self.assertEqual(self.rig.wait(self.log.verify()), [])

    def test_all_of_a_transaction_fails_together(self) -> None:
        release = self.hold_writer()
        waiting = [self.rig.start(self.log.append([draft(n, room=f"+{n}")])) for n in range(5)]
        waiting.append(self.rig.start(self.log.put("name", "alice", b"", 0)))
        self.faults.before = failing("COMMIT", times=2)
        release()
        for begun in waiting:
            self.assertRaises(Unavailable, self.rig.finish, begun)
        self.assertEqual(self.frames("+1"), [])
        self.assertIsNone(self.rig.wait(self.log.get("name", "alice")))
        self.assertEqual(self.rig.wait(self.log.put("name", "alice", b"", 0)), 1)

    def test_a_commit_whose_success_nobody_heard_of(self) -> None:
        self.append(1)
        self.faults.after = failing("COMMIT")
        self.assertRaises(Unavailable, self.append, 2)
        (again,) = self.append(2)
        self.assertEqual(again, Stored(2, draft(2).time, frame_of(draft(2), 2), duplicate=True))
        (stored,) = self.append(3)
        self.assertEqual(stored.seq, 3)

    def test_a_rollback_that_fails_too(self) -> None:
        self.append(1)
        commits, rollbacks = failing("COMMIT"), failing("ROLLBACK")

        def both(statement: str) -> None:
            commits(statement)
            rollbacks(statement)

        self.faults.before = both
        self.assertRaises(Unavailable, self.append, 2)
        # The transaction is still open, so the next one cannot begin; that ends it.
        self.assertRaises(Unavailable, self.append, 3)
        self.assertEqual([o.seq for o in self.append(2, 3)], [2, 3])
        self.assertEqual(self.rig.wait(self.log.verify()), [])

    def test_a_file_that_is_full(self) -> None:
        self.append(*range(1, 100))

        def bound(connection: sqlite3.Connection) -> None:
            (pages,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {pages + 4}")

        self.rig.wait(self.log._writer.change(bound))
        stored, error = 99, None
        while error is None:
            try:
                stored += len(self.append(*range(stored + 1, stored + 11)))
            except Unavailable as unavailable:
                error = unavailable
        self.assertIn("full", str(error))
        self.assertEqual(len(self.frames()), stored)
        self.rig.wait(
            self.log._writer.change(lambda c: c.execute("PRAGMA max_page_count = 1000000") and None)
        )
        outcomes = self.append(*range(stored + 1, stored + 11))
        self.assertEqual(
            [(o.seq, o.duplicate) for o in outcomes], [(stored + n, False) for n in range(1, 11)]
        )
        self.assertEqual(self.rig.wait(self.log.verify()), [])

    def test_a_file_that_can_only_be_read(self) -> None:
        self.append(1)
        self.rig.wait(self.log._writer.change(lambda c: c.execute("PRAGMA query_only = ON") and None))
        self.assertIn("readonly", str(self.assertRaises(Unavailable, self.append, 2)))
        self.assertEqual(self.rig.wait(self.log.state()), "down")
        self.assertEqual(len(self.frames()), 1)
        self.log._writer._connection.execute("PRAGMA query_only = OFF")
        self.assertEqual(self.rig.wait(self.log.state()), "ok")
        self.assertEqual(self.append(2)[0].seq, 2)

    def test_what_one_brings_about_harms_no_other(self) -> None:
        release = self.hold_writer()
        first = self.rig.start(self.log.append([draft(1)]))
        bad = self.rig.start(self.log._writer.change(lambda c: 1 // 0))
        odd = self.rig.start(self.log._writer.change(lambda c: c.execute("SELECT ?", (object(),)) and None))
        conflict = self.rig.start(self.log.delete("name", "alice", 7))
        second = self.rig.start(self.log.append([draft(2)]))
        release()
        self.assertEqual([o.seq for o in self.rig.finish(first)], [1])
        self.assertRaises(ZeroDivisionError, self.rig.finish, bad)
        self.assertRaises(Unavailable, self.rig.finish, odd)
        self.assertRaises(Conflict, self.rig.finish, conflict)
        self.assertEqual([o.seq for o in self.rig.finish(second)], [2])

    def test_a_read_that_fails(self) -> None:
        self.append(1)
        self.faults.reading = failing("SELECT")
        self.assertIn("disk I/O", str(self.assertRaises(Unavailable, self.frames)))
        self.assertEqual(len(self.frames()), 1)

    def test_what_cannot_be_brought_into_the_file_at_the_end(self) -> None:
        self.append(1)
        self.faults.before = failing("PRAGMA wal_checkpoint")
        self.reopen()
        self.assertEqual(len(self.frames()), 1)


class WriteAheadLogTests(WriterCase):
    """The write-ahead log stays bounded, though readers are there at all times."""

    def setUp(self) -> None:
        super().setUp()
        for name, value in (("MAX_WAL", 100_000), ("WAL_LOOK", 1)):
            self.patch(__import__("encchat.logs.writer", fromlist=["x"]), name, value)
        self.log._writer._max_wal = 100_000
        self.wal = self.path.with_name("log.db-wal")

    def test_it_is_brought_into_the_file(self) -> None:
        for n in range(40):
            self.append(n, body=bytes(10_000))
            self.assertLess(self.wal.stat().st_size, 200_000)
        self.assertEqual(len(self.frames()), 40)

    def test_a_reader_that_stays_is_waited_for_once_in_a_while(self) -> None:
        self.append(1)
        reader = self.faults.connect(self.path.absolute().as_uri())
        self.addCleanup(reader.close)
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM rooms").fetchall()
        self.rig.wait(self.log._writer.change(lambda c: c.execute("PRAGMA busy_timeout = 0") and None))
        checkpoints = []
        self.faults.before = lambda statement: (
            checkpoints.append(statement) if "checkpoint" in statement else None
        )
        for n in range(2, 42):
            self.append(n, body=bytes(10_000))
        self.assertTrue(1 <= len(checkpoints) <= 10, len(checkpoints))
        self.assertGreater(self.wal.stat().st_size, 400_000)
        reader.execute("ROLLBACK")
        for n in range(42, 62):
            self.append(n, body=bytes(10_000))
        self.assertLess(self.wal.stat().st_size, 200_000)

    def test_one_that_cannot_be_shortened(self) -> None:
        self.faults.before = failing("PRAGMA wal_checkpoint")
        for n in range(20):
            self.append(n, body=bytes(10_000))
        self.assertEqual(len(self.frames()), 20)


class StateTests(WriterCase):
    """The state is judged by how a probe fares."""

    def test_ok(self) -> None:
        before = self.log.commits
        self.assertEqual(self.rig.wait(self.log.state()), "ok")
        self.assertEqual(self.log.commits, before + 1)

    def test_degraded_when_slow(self) -> None:
        release = self.hold_writer()
        asked = self.rig.start(self.log.state())
        self.rig.advance(2)
        release()
        self.assertEqual(self.rig.finish(asked), "degraded")

    def test_down_when_there_is_no_answer(self) -> None:
        release = self.hold_writer()
        asked = self.rig.start(self.log.state())
        self.rig.advance(11)
        self.assertEqual(self.successResultOf(asked), "down")
        release()
        self.assertEqual(self.rig.wait(self.log.state()), "ok")

    def test_down_when_it_fails(self) -> None:
        self.faults.before = failing("INSERT OR REPLACE INTO probe")
        self.assertEqual(self.rig.wait(self.log.state()), "down")
        self.assertEqual(self.rig.wait(self.log.state()), "ok")


class ClosingTests(WriterCase):
    """What was begun is finished, whoever closes and how often."""

    def test_what_queued_is_written(self) -> None:
        release = self.hold_writer()
        waiting = [self.rig.start(self.log.append([draft(n)])) for n in range(1, 11)]
        closing = [self.rig.start(self.log.close()) for _ in range(2)]
        release()
        outcomes = self.rig.finish(gatherResults(waiting))
        self.assertEqual([o.seq for (o,) in outcomes], list(range(1, 11)))
        self.rig.finish(gatherResults(closing))
        self.log = self.open()
        self.assertEqual(len(self.frames()), 10)

    def test_what_is_being_read_is_read(self) -> None:
        self.append(1)
        reading = self.rig.start(self.log.read(ROOM, 0, 5, MUCH))
        closing = self.rig.start(self.log.close())
        self.assertEqual(len(self.rig.finish(reading).frames), 1)
        self.rig.finish(closing)

    def test_a_long_query_is_interrupted(self) -> None:
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        begun = Event()

        def count(connection: sqlite3.Connection) -> None:
            connection.create_function("begun", 0, begun.set)
            connection.execute("SELECT begun()").fetchone()
            connection.execute(endless).fetchone()

        counting = self.rig.start(self.log._readers.run_long(count))
        self.assertTrue(begun.wait(PATIENCE))
        closing = self.rig.start(self.log.close())
        self.assertIn("interrupted", str(self.assertRaises(Unavailable, self.rig.finish, counting)))
        self.rig.finish(closing)
