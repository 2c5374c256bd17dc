"""Opening the SQLite log's file: new, old, later, damaged, somebody else's."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from unittest.mock import patch

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from encchat.errors import ConfigError
from encchat.logs.backup import BackupFailed
from encchat.logs.schema import APPLICATION_ID, UPGRADES, connect, open_writer
from tests.contracts.log import MUCH, ROOM, draft
from tests.logs.rig import Faults, Rig, failing, open_log

#: The version that there is.
LAST = len(UPGRADES)


def add_mood(connection: sqlite3.Connection) -> None:
    """A step to a version that never was."""
    connection.execute("ALTER TABLE rooms ADD COLUMN mood TEXT")


def rename_mood(connection: sqlite3.Connection) -> None:
    """Another, which only works after the first."""
    connection.execute("ALTER TABLE rooms RENAME COLUMN mood TO temper")


def stumble(connection: sqlite3.Connection) -> None:
    """A step that fails half-way."""
    connection.execute("DROP TABLE msgids")
    connection.execute("SELECT nonsense")


class OpeningCase(SynchronousTestCase):
    """A directory with a log in it."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "log.db"
        self.rig = Rig()

    def open(self, **options: object) -> object:
        return open_log(self, self.path, self.rig, **options)

    def fill(self) -> None:
        log = self.open()
        self.rig.wait(log.append([draft(n) for n in range(1, 4)]))
        self.rig.wait(log.close())

    def refusal(self, **options: object) -> str:
        with self.assertRaises(ConfigError) as caught:
            self.open(**options)
        return str(caught.exception)

    def change(self, *statements: str) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            for statement in statements:
                connection.execute(statement)

    def ask(self, path: Path, statement: str) -> object:
        with closing(sqlite3.connect(path)) as connection:
            return connection.execute(statement).fetchone()[0]


class OpeningTests(OpeningCase):
    """What is opened, and what is refused with a word on what to do."""

    def test_a_new_file_is_private_and_ours(self) -> None:
        self.fill()
        self.assertEqual(self.path.stat().st_mode & 0o777, 0o600)
        self.assertEqual(self.path.parent.stat().st_mode & 0o777, 0o700)
        self.assertEqual(self.ask(self.path, "PRAGMA application_id"), APPLICATION_ID)
        self.assertEqual(self.ask(self.path, "PRAGMA user_version"), len(UPGRADES))
        self.assertEqual(sorted(os.listdir(self.path.parent)), ["lock", "log.db"])

    def test_what_lies_beside_it_is_private(self) -> None:
        log = self.open()
        self.rig.wait(log.append([draft(1)]))
        for name in ("log.db-wal", "log.db-shm"):
            self.assertEqual(self.path.with_name(name).stat().st_mode & 0o777, 0o600)

    def test_durability(self) -> None:
        self.path.parent.mkdir(mode=0o700)
        for durability, level in (("full", 2), ("relaxed", 1)):
            with closing(open_writer(self.path, durability)) as writer:
                self.assertEqual(writer.execute("PRAGMA synchronous").fetchone(), (level,))
                self.assertEqual(writer.execute("PRAGMA journal_mode").fetchone(), ("wal",))
        self.assertIn("use full or relaxed", self.refusal(durability="none"))

    def test_an_empty_file_is_a_new_one(self) -> None:
        self.path.parent.mkdir(mode=0o700)
        self.path.touch(mode=0o600)
        self.fill()

    def test_a_file_whose_making_was_cut_short(self) -> None:
        self.path.parent.mkdir(mode=0o700)
        self.path.touch(mode=0o600)
        self.change("PRAGMA journal_mode = WAL")
        self.assertGreater(self.path.stat().st_size, 0)
        self.fill()

    def test_no_database(self) -> None:
        self.fill()
        self.path.write_bytes(b"Dear diary, " * 1000)
        self.assertIn("is not a database", self.refusal())
        self.assertEqual(self.path.read_bytes()[:10], b"Dear diary")

    def test_another_programs_database(self) -> None:
        self.path.parent.mkdir(mode=0o700)
        self.path.touch(mode=0o600)
        self.change("CREATE TABLE bookmarks (url)")
        self.assertIn("of another program", self.refusal())
        self.change("PRAGMA application_id = 77")
        self.assertIn("of another program", self.refusal())

    def test_a_later_schema_is_left_alone(self) -> None:
        self.fill()
        self.change("PRAGMA user_version = 1000")
        before = self.path.read_bytes()
        said = self.refusal()
        self.assertIn("schema 1000", said)
        self.assertIn("later encchat", said)
        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual(sorted(os.listdir(self.path.parent)), ["lock", "log.db"])

    def test_a_later_schema_that_is_still_in_the_write_ahead_log(self) -> None:
        self.fill()
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("PRAGMA user_version = 1000")
            self.assertIn("schema 1000", self.refusal())

    def test_a_damaged_file(self) -> None:
        self.fill()
        whole = self.path.read_bytes()
        for damaged in (whole[:5000], whole[:100] + Random(4).randbytes(4000) + whole[4100:], whole[:4096]):
            self.path.write_bytes(damaged)
            said = self.refusal()
            self.assertIn("damaged", said)
            self.assertIn("encchat-admin restore", said)
            self.assertEqual(self.path.read_bytes(), damaged)

    def damage(self, table: str) -> bytes:
        """Overwrite a table's first page; what the file then is."""
        root = self.ask(self.path, f"SELECT rootpage FROM sqlite_master WHERE name = '{table}'")
        assert isinstance(root, int)
        whole = self.path.read_bytes()
        damaged = whole[: (root - 1) * 4096] + Random(4).randbytes(4096) + whole[root * 4096 :]
        self.path.write_bytes(damaged)
        return damaged

    def test_a_damaged_file_as_a_backup_leaves_it(self) -> None:
        """Without a write-ahead log: making one would change the first page."""
        for table in ("log", "search_state"):
            self.fill()
            self.change("PRAGMA journal_mode = DELETE")
            damaged = self.damage(table)
            self.assertIn("encchat-admin restore", self.refusal())
            self.assertEqual(self.path.read_bytes(), damaged)
            self.assertEqual(sorted(os.listdir(self.path.parent)), ["lock", "log.db"])
            self.path.unlink()

    def test_a_damaged_file_after_a_kill(self) -> None:
        """What is in the write-ahead log stays there."""
        self.fill()
        beside = self.path.with_name("log.db-wal")
        log = self.open()
        self.rig.wait(log.append([draft(4)]))
        waits = beside.read_bytes()
        self.rig.wait(log.close())
        damaged = self.damage("search_state")
        beside.touch(mode=0o600)
        beside.write_bytes(waits)
        self.assertIn("encchat-admin restore", self.refusal())
        self.assertEqual((self.path.read_bytes(), beside.read_bytes()), (damaged, waits))

    def test_a_file_that_lost_its_name(self) -> None:
        self.fill()
        self.change("DELETE FROM log", "PRAGMA journal_mode = DELETE")
        before = self.path.read_bytes()
        self.assertIn("lost its name", self.refusal())
        self.assertEqual(self.path.read_bytes(), before)

    def test_a_file_that_others_can_open(self) -> None:
        self.fill()
        self.path.chmod(0o644)
        self.assertIn("chmod 600", self.refusal())
        self.path.chmod(0o600)
        beside = self.path.with_name("log.db-wal")
        beside.touch(mode=0o644)
        self.assertIn("log.db-wal", self.refusal())

    def test_two_servers(self) -> None:
        log = self.open()
        self.assertIn(f"process {os.getpid()}", self.refusal())
        self.rig.wait(log.close())
        self.fill()

    def test_the_lock_is_let_go_when_opening_failed(self) -> None:
        self.fill()
        self.path.chmod(0o644)
        self.refusal()
        self.path.chmod(0o600)
        self.fill()

    def test_a_disk_that_cannot_be_written(self) -> None:
        faults = Faults()
        faults.before = failing("PRAGMA journal_mode", error="database or disk is full")
        self.assertIn("database or disk is full", self.refusal(connect=faults.connect))
        with patch("encchat.logs.schema.create_file", side_effect=OSError(30, "Read-only file system")):
            self.path.unlink()
            self.assertIn("Read-only file system", self.refusal())

    def test_a_place_without_write_ahead_log(self) -> None:
        class Odd(sqlite3.Connection):
            def execute(self, statement: str, *args: object) -> sqlite3.Cursor:
                return super().execute(statement.replace("= WAL", "= DELETE"), *args)

        def odd(target: str) -> sqlite3.Connection:
            return sqlite3.connect(target, isolation_level=None, uri=True, factory=Odd)

        self.assertIn("use a local disk", self.refusal(connect=odd))

    def test_an_old_sqlite(self) -> None:
        with patch("sqlite3.sqlite_version_info", (3, 34, 1)):
            self.assertIn("3.35 or later", self.refusal())

    def test_a_path_with_signs_in_it(self) -> None:
        self.path = self.path.parent / "a?b#c%20" / "log.db"
        self.fill()
        log = self.open()
        self.assertEqual(self.rig.wait(log.head(ROOM)).seq, 3)


class UpgradeTests(OpeningCase):
    """From an older schema, each step after a copy of the file."""

    def test_steps_run_in_order_each_after_a_copy(self) -> None:
        self.fill()
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        log = self.open(upgrades=(*UPGRADES, add_mood, rename_mood))
        (again,) = self.rig.wait(log.append([draft(2)]))
        self.assertTrue(again.duplicate)
        self.rig.wait(log.close())
        self.assertEqual(self.ask(self.path, "PRAGMA user_version"), LAST + 2)
        self.assertIsNone(self.ask(self.path, "SELECT temper FROM rooms"))
        first, second = (self.path.with_name(f"log.db.schema-{n}") for n in (LAST, LAST + 1))
        told = [formatEvent(event) for event in events if event["log_namespace"] == "encchat.logs.schema"]
        self.assertEqual(
            told,
            [
                f"{self.path} is upgraded to schema {n + 1}; as it was before, it is in {copy}"
                for n, copy in ((LAST, first), (LAST + 1, second))
            ],
        )
        self.assertEqual(
            [self.ask(copy, "PRAGMA user_version") for copy in (first, second)], [LAST, LAST + 1]
        )
        self.assertEqual(self.ask(first, "SELECT head FROM rooms"), 3)
        self.assertEqual(first.stat().st_mode & 0o777, 0o600)
        self.assertIsNone(self.ask(second, "SELECT mood FROM rooms"))

    def test_a_copy_can_be_opened_in_its_place(self) -> None:
        self.fill()
        self.rig.wait(self.open(upgrades=(*UPGRADES, add_mood)).close())
        self.path.with_name(f"log.db.schema-{LAST}").rename(self.path)
        log = self.open()
        self.assertEqual(len(self.rig.wait(log.read(ROOM, 0, 10, MUCH)).frames), 3)

    def test_a_new_file_needs_no_copy(self) -> None:
        self.rig.wait(self.open(upgrades=(*UPGRADES, add_mood)).close())
        self.assertEqual(sorted(os.listdir(self.path.parent)), ["lock", "log.db"])
        self.assertEqual(self.ask(self.path, "PRAGMA user_version"), LAST + 1)

    def test_a_step_that_fails_changes_nothing(self) -> None:
        self.fill()
        self.assertIn("nonsense", self.refusal(upgrades=(*UPGRADES, add_mood, stumble)))
        self.assertEqual(self.ask(self.path, "PRAGMA user_version"), LAST + 1)
        self.assertEqual(self.ask(self.path, "SELECT count(*) FROM msgids"), 3)
        log = self.open(upgrades=(*UPGRADES, add_mood, rename_mood))
        self.assertEqual(self.rig.wait(log.head(ROOM)).seq, 3)

    def test_a_commit_that_fails_changes_nothing(self) -> None:
        self.fill()
        faults = Faults()
        faults.before = failing("COMMIT")
        self.assertIn("I/O", self.refusal(upgrades=(*UPGRADES, add_mood), connect=faults.connect))
        self.assertEqual(self.ask(self.path, "PRAGMA user_version"), LAST)

    def test_no_step_without_a_copy(self) -> None:
        self.fill()
        full = OSError(28, "No space left on device")
        with (
            patch("encchat.logs.backup.partial_beside", side_effect=full),
            self.assertRaises(BackupFailed) as caught,
        ):
            self.open(upgrades=(*UPGRADES, add_mood))
        self.assertIn("No space left", str(caught.exception))
        self.assertEqual(self.ask(self.path, "PRAGMA user_version"), LAST)

    def test_the_schemas_are_those_that_were_released(self) -> None:
        """These versions are in people's files: a change needs a step of its own."""
        first = ["block_place", "blocks", "directory", "log", "memos", "msgids", "probe", "rooms"]
        second = sorted([*first, "search", "search_config", "search_data", "search_idx", "search_state"])
        boxes = ["boxes", "mail", "mail_age", "mail_place", "mail_share", "one_time", "one_time_order"]
        third = sorted([*second, *boxes])
        versions = (first, second, third, third)
        with closing(connect(":memory:")) as connection:
            for upgrade, names, constraints in zip(UPGRADES, versions, (26, 29, 41, 42), strict=True):
                upgrade(connection)
                tables = dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))
                self.assertEqual(sorted(tables), names)
                columns = " ".join("".join(tables[name] for name in sorted(tables)).split())
                self.assertEqual(columns.count(" NOT NULL"), constraints)
