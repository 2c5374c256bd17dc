"""What is not to be believed: a disk that failed to keep what it was given, a file that is not there any
more, a page that is damaged; and what a relaxed log makes sure of all the same."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.interfaces import Damaged, Stored, Unavailable
from encchat.core.relay.keeping import Posting
from encchat.logs.schema import Durability
from encchat.logs.sqlite import SqliteLog
from tests.contracts.log import MUCH, ROOM, draft
from tests.logs.rig import Faults, Rig, open_log
from tests.logs.test_verify import FilledCase, line
from tests.logs.test_writer import WriterCase

BOX = "bob a-device"


def failed_sync(statement: str) -> None:
    """The disk fails to keep a transaction."""
    if statement == "COMMIT":
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
        raise error


class FailedSyncTests(WriterCase):
    """After it failed once, the system says yes to what it has lost: so nothing is acknowledged any more."""

    def test_nothing_is_acknowledged_until_the_next_start(self) -> None:
        self.append(1)
        self.faults.before = failed_sync
        self.assertRaises(Unavailable, self.append, 2)
        self.faults.before = lambda statement: None
        for work in (
            self.log.append([draft(2)]),
            self.log.put("name", "alice", b"", 0),
            self.log.keys.take([BOX]),
        ):
            error = self.assertRaises(Unavailable, self.rig.wait, work)
            self.assertIn("Start the server anew", str(error))
        self.assertEqual(self.rig.wait(self.log.state()), "down")
        self.assertEqual(len(self.frames()), 1)
        self.assertEqual(len(self.flushLoggedErrors()), 0)
        self.reopen()
        self.assertEqual([o.seq for o in self.append(2)], [2])
        self.assertEqual(self.rig.wait(self.log.verify()), [])

    def test_who_waited_behind_it_is_told_too(self) -> None:
        release = self.hold_writer()
        waiting = [self.rig.start(self.log.append([draft(n)])) for n in range(1, 4)]
        self.faults.before = failed_sync
        release()
        for begun in waiting:
            self.assertRaises(Unavailable, self.rig.finish, begun)


class GoneTests(WriterCase):
    """What is written to a file that has lost its name is lost when the server ends."""

    def assert_gone(self) -> None:
        error = self.assertRaises(Unavailable, self.append, 2)
        self.assertIn("taken away", str(error))
        self.assertRaises(Unavailable, self.rig.wait, self.log.put("name", "alice", b"", 0))
        self.assertEqual(self.rig.wait(self.log.state()), "down")

    def test_the_directory(self) -> None:
        self.append(1)
        shutil.rmtree(self.path.parent)
        self.assert_gone()

    def test_the_directory_of_a_log_in_which_nothing_was_written(self) -> None:
        shutil.rmtree(self.path.parent)
        self.assert_gone()

    def test_the_directory_under_another_name_and_one_in_its_place(self) -> None:
        self.append(1)
        self.path.parent.rename(self.path.parent.with_name("moved"))
        self.path.parent.mkdir(mode=0o700)
        with closing(sqlite3.connect(self.path)):
            self.path.touch()
        self.assert_gone()

    def test_the_write_ahead_log_alone(self) -> None:
        self.append(1)
        self.path.with_name(self.path.name + "-wal").unlink()
        self.assert_gone()


class FullDiskTests(WriterCase):
    """Of what cannot be kept for want of room nothing is there, and it can be done once there is some."""

    def bound(self, pages: int) -> None:
        """Let the file have that many pages more."""

        def set_bound(connection: sqlite3.Connection) -> None:
            (count,) = connection.execute("PRAGMA page_count").fetchone()
            connection.execute(f"PRAGMA max_page_count = {count + pages}")

        self.rig.wait(self.log._writer.change(set_bound))

    def test_directory_mail_and_keys(self) -> None:
        big = b"." * 16_000
        letters = [Posting(BOX, 5, "alice", "a-device", big)] * 20
        keys = [b"%03d" % n + b"." * 500 for n in range(90)]
        for number, (work, look) in enumerate(
            (
                (lambda: self.log.put("room", "+tea", big * 5, 0), lambda: self.log.get("room", "+tea")),
                (lambda: self.log.mail.post(letters), lambda: self.log.mail.fetch(BOX, 0, 100, MUCH)),
                (lambda: self.log.keys.add(BOX, keys), lambda: self.log.keys.take([BOX])),
            )
        ):
            self.append(number + 1)
            self.bound(5)
            error = self.assertRaises(Unavailable, self.rig.wait, work())
            self.assertIn("full", str(error))
            self.assertIn(self.rig.wait(look()), (None, [], [b""]))
            self.bound(1_000_000)
            self.rig.wait(work())
            self.assertNotIn(self.rig.wait(look()), (None, [], [b""]))
        self.assertEqual(self.rig.wait(self.log.verify()), [])


class DamagedRoomTests(FilledCase):
    """One damaged room stops nobody in the others."""

    def spoil(self) -> None:
        """Damage a page in the middle of the file: that of the last block of the first room."""
        log = self.open()
        self.rig.wait(log.append([line(n) for n in range(self.COUNT + 1, self.COUNT + 41)]))
        self.rig.wait(log.append([draft(n, room="+third", body=b"line" + b"." * 3600) for n in range(1, 5)]))
        self.rig.wait(log.close())
        with closing(sqlite3.connect(self.path)) as connection:
            (frames,) = connection.execute(
                "SELECT frames FROM blocks WHERE room = 1 ORDER BY first DESC LIMIT 1"
            ).fetchone()
        content = self.path.read_bytes()
        page = content.index(frames) // 4096
        with self.path.open("r+b") as file:
            file.seek(page * 4096)
            file.write(b"\x55" * 64)

    def test_reading(self) -> None:
        self.spoil()
        log = self.open()
        self.assertRaises(Damaged, self.rig.wait, log.read(ROOM, self.COUNT + 38, 10, MUCH))
        self.assertEqual(len(self.rig.wait(log.read("+other", 0, 10, MUCH)).frames), 3)

    def test_appending_beside_it(self) -> None:
        self.spoil()
        log = self.open()
        answers = self.rig.wait(log.append([draft(900), draft(901, room="+third"), draft(902)]))
        self.assertEqual([type(one) for one in answers], [Damaged, Stored, Damaged])
        self.assertEqual(len(self.rig.wait(log.read("+third", 0, 10, MUCH)).frames), 5)
        self.rig.wait(log.put("name", "alice", b"", 0))

    def test_what_is_found_out_only_when_it_is_written(self) -> None:
        """It harms no room that needs other pages."""
        faults = Faults()
        log = open_log(self, self.path, self.rig, connect=faults.connect)
        left = 2  # for all rooms together, and for the first one alone

        def malformed(statement: str) -> None:
            nonlocal left
            if left and statement.startswith("INSERT INTO blocks"):
                left -= 1
                error = sqlite3.DatabaseError("database disk image is malformed")
                error.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
                raise error

        faults.before = malformed
        drafts = [draft(900, room="+other"), draft(901), draft(902, room="+other")]
        answers = self.rig.wait(log.append(drafts))
        self.assertEqual([type(one) for one in answers], [Damaged, Stored, Damaged])
        self.assertEqual([o.seq for o in self.rig.wait(log.append([drafts[0], drafts[2]]))], [4, 5])
        self.assertEqual(self.rig.wait(log.verify()), [])

    def test_searching_beside_it(self) -> None:
        self.spoil()
        log = self.open()
        self.rig.wait(log.index())
        found = self.rig.wait(log.search("+other", frozenset({"line"}), 10, 10, MUCH))
        self.assertEqual(len(found.frames), 3)
        with closing(sqlite3.connect(self.path)) as connection:
            indexed = dict(connection.execute("SELECT name, indexed FROM rooms").fetchall())
        self.assertEqual(indexed["+third"], 3)


class MakingSureTests(SynchronousTestCase):
    """With durability relaxed, what must not happen twice is on the disk before anybody hears of it."""

    durability: Durability = "relaxed"

    def setUp(self) -> None:
        self.rig, self.faults = Rig(), Faults()
        self.modes: list[int] = []
        self.log = self.open()
        connection = self.log._writer._connection

        def before(statement: str) -> None:
            if statement == "COMMIT":
                self.modes += sqlite3.Connection.execute(connection, "PRAGMA synchronous").fetchone()

        self.faults.before = before

    def open(self) -> SqliteLog:
        path = Path(self.mktemp()) / "log.db"
        return open_log(self, path, self.rig, durability=self.durability, connect=self.faults.connect)

    def assert_sure(self, work: Callable[[SqliteLog], object], sure: bool = True) -> None:
        self.modes.clear()
        self.rig.wait(work(self.log))  # type: ignore[arg-type]  # a coroutine of the log's
        self.assertEqual(self.modes, [2 if sure or self.durability == "full" else 1])

    def test_what_must_not_happen_twice(self) -> None:
        letter = Posting(BOX, 5, "alice", "a-device", b"sealed")
        for work in (
            lambda log: log.keys.add(BOX, [b"a key"]),
            lambda log: log.keys.take([BOX]),
            lambda log: log.keys.empty(BOX),
            lambda log: log.mail.post([letter]),
            lambda log: log.mail.discard(BOX, 1),
            lambda log: log.mail.close_box(BOX),
            lambda log: log.put("server", "bans", b"", 0),
            lambda log: log.put("link", "bob", b"", 0),
            lambda log: log.put("room", "#tea", b"", 0),
            lambda log: log.put("order", "root 00", b"", 0),
            lambda log: log.delete("link", "bob", 2),
        ):
            self.assert_sure(work)

    def test_the_rest_is_as_it_was_asked_for(self) -> None:
        self.assert_sure(lambda log: log.append([draft(1)]), sure=False)
        self.assert_sure(lambda log: log.put("mark", "bob +tea", b"", 0), sure=False)
        self.assert_sure(lambda log: log.state(), sure=False)
        self.assert_sure(lambda log: log.keys.take([BOX]))
        self.assert_sure(lambda log: log.append([draft(2)]), sure=False)

    def test_both_at_once(self) -> None:
        """What one turn brings is one transaction, and as sure as the one of them that has to be."""
        begun = [
            Deferred.fromCoroutine(work) for work in (self.log.append([draft(1)]), self.log.keys.take([BOX]))
        ]
        for one in begun:
            self.rig.finish(one)
        self.assertEqual(self.modes, [2])


class FullTests(MakingSureTests):
    """And always where durability is full."""

    durability: Durability = "full"
