"""Mail and one-time keys, in memory and in SQLite: the contract, and what a kill leaves."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from encchat.core.interfaces import Unavailable
from encchat.logs.memory import MemoryLog
from encchat.logs.sqlite import SqliteLog, open_sqlite_log
from tests.contracts.keeping import BOX, MUCH, KeepingContract, mailed, posting
from tests.logs.rig import Faults, Rig, failing, open_log


class MemoryKeeping(KeepingContract, TestCase):
    """The contract, in memory."""

    def open_store(self) -> MemoryLog:
        return MemoryLog(bytes(16))


class SqliteKeeping(KeepingContract, TestCase):
    """The contract, with restarts."""

    durable = True

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "data" / "log.db"

    def open_store(self) -> SqliteLog:
        log = open_sqlite_log(self.path, reactor)
        self.addCleanup(lambda: ensureDeferred(log.close()))
        return log


class Failures(SynchronousTestCase):
    """What a disk that fails leaves."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "log.db"
        self.rig, self.faults = Rig(), Faults()
        self.store = open_log(self, self.path, self.rig, connect=self.faults.connect)

    def test_a_commit_that_fails_posts_and_hands_out_nothing(self) -> None:
        self.rig.wait(self.store.keys.add(BOX, [b"one"]))
        for call in (self.store.keys.take([BOX]), self.store.mail.post([posting(1)])):
            self.faults.before = failing("COMMIT")
            with self.assertRaises(Unavailable):
                self.rig.wait(call)
        self.assertEqual(list(self.rig.wait(self.store.keys.take([BOX]))), [b"one"])
        self.assertEqual(list(self.rig.wait(self.store.mail.post([posting(2)]))), [1])
        self.assertEqual(list(self.rig.wait(self.store.mail.fetch(BOX, 0, 9, MUCH))), [mailed(1, 2)])

    def test_what_was_answered_is_in_the_file(self) -> None:
        """Another connection sees it at once: it does not wait for the log to be closed."""
        self.rig.wait(self.store.mail.post([posting(1)]))
        self.rig.wait(self.store.keys.add(BOX, [b"a key of a device"]))
        self.rig.wait(self.store.keys.take([BOX]))
        beside = sqlite3.connect(self.path)
        self.addCleanup(beside.close)
        self.assertEqual(beside.execute("SELECT body FROM mail").fetchall(), [(b"letter 1",)])
        self.assertEqual(beside.execute("SELECT key FROM one_time").fetchall(), [(None,)])
