"""Verifying a log, copying it, and letting its oldest entries go."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from encchat.core.interfaces import Damaged, Draft, Outcome, Trimmed, Unavailable
from encchat.errors import StorageError
from encchat.logs.backup import BackupFailed
from encchat.logs.blocks import split
from encchat.logs.sqlite import SqliteLog
from encchat.logs.verify import verify
from encchat.messages import GENESIS
from encchat.wire import advance
from tests.contracts.log import MUCH, ROOM, draft, frame_of
from tests.logs.rig import Rig, open_log


def line(number: int) -> Draft:
    """A draft of about 230 bytes."""
    return draft(number, body=b"line %d " % number + b"." * 150)


async def appended(log: SqliteLog, one: Draft) -> Outcome:
    """What became of a draft; raises the error that it is answered with."""
    (outcome,) = await log.append([one])
    if isinstance(outcome, StorageError):
        raise outcome
    return outcome


class FilledCase(SynchronousTestCase):
    """A log with entries in two rooms, several blocks in the first."""

    COUNT = 100

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "log.db"
        self.rig = Rig()
        log = self.open()
        self.rig.wait(log.append([line(n) for n in range(1, self.COUNT + 1)]))
        self.rig.wait(log.append([draft(n, room="+other") for n in range(1, 4)]))
        self.rig.wait(log.close())

    def open(self, path: Path | None = None) -> SqliteLog:
        return open_log(self, path or self.path, self.rig)

    def change(self, statement: str, *values: object) -> None:
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            if not connection.execute(statement, values).rowcount:
                raise AssertionError("nothing was changed")

    def change_block(self, number: int, change: Callable[[list[bytes]], list[bytes]]) -> None:
        """Rewrite the frames of the ``number``-th block of the first room."""
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            rows = connection.execute(
                "SELECT id, frames FROM blocks WHERE room = 1 ORDER BY first"
            ).fetchall()
            self.assertGreater(len(rows), 2)
            id_, frames = rows[number]
            connection.execute(
                "UPDATE blocks SET frames = ? WHERE id = ?", (b"".join(change(split(frames))), id_)
            )


class VerifyTests(FilledCase):
    """Each thing that can be wrong is found and named."""

    def assert_found(self, *expected: str) -> None:
        found = list(verify(self.path))
        for words in expected:
            self.assertTrue(any(words in line for line in found), (words, found))
        self.assertTrue(found)

    def test_a_sound_log(self) -> None:
        self.assertEqual(list(verify(self.path)), [])
        log = self.open()
        self.rig.wait(log.append([draft(500)]))
        self.assertEqual(list(verify(self.path)), [])
        self.assertEqual(self.rig.wait(log.verify()), [])

    def test_a_changed_entry(self) -> None:
        def change(frames: list[bytes]) -> list[bytes]:
            return [frames[0].replace(b"line", b"lime"), *frames[1:]]

        self.change_block(1, change)
        self.assert_found(f"{ROOM}: the chain breaks after entry")

    def test_a_changed_last_entry(self) -> None:
        self.change_block(-1, lambda frames: [*frames[:-1], frames[-1].replace(b"line", b"lime")])
        self.assert_found("the chain does not end as it should")

    def test_entries_in_another_order(self) -> None:
        self.change_block(0, lambda frames: [frames[1], frames[0], *frames[2:]])
        self.assert_found("entry 1 says that it is entry 2", "the chain breaks")

    def test_a_missing_entry(self) -> None:
        self.change_block(0, lambda frames: frames[:-1])
        self.assert_found("are missing")

    def test_a_missing_block(self) -> None:
        self.change("DELETE FROM blocks WHERE room = 1 AND first > 20 AND first < 50")
        self.assert_found("are missing")

    def test_a_missing_end(self) -> None:
        self.change("DELETE FROM blocks WHERE room = 2")
        self.assert_found("+other: the last entry is 0, but 3 were acknowledged")

    def test_frames_that_are_not_whole(self) -> None:
        self.change("UPDATE blocks SET frames = substr(frames, 2) WHERE room = 2")
        self.assert_found("+other: entry 1 and those beside it: a block does not hold whole frames")

    def test_a_frame_that_is_no_entry(self) -> None:
        self.change_block(0, lambda frames: [frames[0][:4] + bytes(len(frames[0]) - 4), *frames[1:]])
        self.assert_found("entry 1 cannot be decoded")

    def test_a_forgotten_msgid(self) -> None:
        self.change("DELETE FROM msgids WHERE room = 2 AND seq = 2")
        self.assert_found(
            "+other: entry 2 would not be known again", "103 entries were acknowledged, but 102"
        )

    def test_rows_of_no_room(self) -> None:
        self.change("DELETE FROM rooms WHERE id = 2")
        self.assert_found("1 rows of entries belong to no room", "3 rows of msgids belong to no room")

    def test_a_forgotten_memo(self) -> None:
        log = self.open()
        self.rig.wait(log.trim(ROOM, 10))
        self.rig.wait(log.close())
        self.assertEqual(list(verify(self.path)), [])
        self.change("DELETE FROM memos WHERE seq = 3")
        self.assert_found("9 entries left the log, but 8 are remembered")

    def test_damage_below_the_tables(self) -> None:
        self.change("INSERT INTO directory VALUES ('name', 'alice', x'00', 1)")
        with closing(sqlite3.connect(self.path)) as connection:
            query = "SELECT rootpage FROM sqlite_master WHERE name = 'block_place'"
            (page,) = connection.execute(query).fetchone()
        with self.path.open("r+b") as file:
            file.seek(page * 4096 - 1)  # in the key of the index's first row
            file.write(b"\x55")
        self.assert_found("SQLite: ")

    def test_no_database_at_all(self) -> None:
        self.path.write_bytes(b"Dear diary, " * 1000)
        self.assert_found("cannot be read: file is not a database")


class DamageTests(FilledCase):
    """A damaged log gives nothing rather than something with a hole in it."""

    def test_reading_stops_before_a_hole(self) -> None:
        self.change("DELETE FROM blocks WHERE room = 1 AND first > 20 AND first < 50")
        log = self.open()
        page = self.rig.wait(log.read(ROOM, 0, 1000, MUCH))
        self.assertTrue(page.more)
        self.assertEqual(page.frames, [frame_of(line(n), n) for n in range(1, len(page.frames) + 1)])
        lost = len(page.frames)
        for work in (
            log.read(ROOM, lost, 1000, MUCH),
            log.read_back(ROOM, lost + 2, 1, MUCH),
            log.position(ROOM, lost + 1),
            log.trim(ROOM, lost + 10),
            appended(log, line(lost + 1)),
        ):
            error = self.assertRaises(Damaged, self.rig.wait, work)
            self.assertIn(f"entry {lost + 1} of {ROOM} is missing", str(error))
        page = self.rig.wait(log.read_back(ROOM, 101, 1000, MUCH))
        self.assertTrue(page.more)
        self.assertEqual(advance(page.start, page.frames), self.rig.wait(log.head(ROOM)))
        (stored,) = self.rig.wait(log.append([draft(1000)]))
        self.assertEqual(stored.seq, 101)

    def test_a_room_without_its_blocks(self) -> None:
        self.change("DELETE FROM blocks WHERE room = 2")
        log = self.open()
        for work in (
            log.read("+other", 0, 5, MUCH),
            log.read_back("+other", 9, 5, MUCH),
            log.position("+other", 2),
            log.trim("+other", 3),
            appended(log, draft(2, room="+other")),
        ):
            self.assertRaises(Damaged, self.rig.wait, work)
        self.assertEqual(len(self.rig.wait(log.read(ROOM, 0, 1000, MUCH)).frames), self.COUNT)

    def test_entries_that_are_there_twice(self) -> None:
        self.change_block(0, lambda frames: [*frames, frames[-1]])
        log = self.open()
        page = self.rig.wait(log.read(ROOM, 0, 1000, MUCH))
        self.assertLess(len(page.frames), 50)
        self.assertRaises(Unavailable, self.rig.wait, log.trim(ROOM, 90))


class BackupTests(FilledCase):
    """A copy is whole, private, and never in the way of what was there."""

    def test_a_copy_made_while_in_use(self) -> None:
        log = self.open()
        copy = self.path.parent / "kept" / "copy.db"
        copy.parent.mkdir(mode=0o700)
        begun = self.rig.start(log.backup(copy))
        sent = self.rig.start(log.append([draft(n) for n in range(500, 600)]))
        self.rig.finish(begun)
        self.rig.finish(sent)
        self.assertEqual(os.listdir(copy.parent), ["copy.db"])
        self.assertEqual(copy.stat().st_mode & 0o777, 0o600)
        self.assertEqual(list(verify(copy)), [])
        again = self.open(copy)
        self.assertEqual(again.log_id, log.log_id)
        (known,) = self.rig.wait(again.append([line(7)]))
        self.assertEqual((known.seq, known.duplicate), (7, True))

    def test_what_is_there_stays(self) -> None:
        log = self.open()
        target = self.path.with_name("copy.db")
        target.write_bytes(b"precious")
        error = self.assertRaises(BackupFailed, self.rig.wait, log.backup(target))
        self.assertIn("there is a file of this name", str(error))
        self.assertEqual(target.read_bytes(), b"precious")

    def test_a_place_that_is_not_there(self) -> None:
        log = self.open()
        error = self.assertRaises(
            BackupFailed, self.rig.wait, log.backup(self.path.parent / "no" / "copy.db")
        )
        self.assertIn("No such file", str(error))

    def test_a_copy_that_cannot_be_finished_leaves_nothing(self) -> None:
        log = self.open()
        target = self.path.with_name("copy.db")
        for fault in (OSError(28, "No space left on device"), sqlite3.OperationalError("disk I/O error")):
            with patch("encchat.logs.backup.finish", side_effect=fault):
                self.assertRaises(BackupFailed, self.rig.wait, log.backup(target))
            self.assertEqual(
                [name for name in os.listdir(self.path.parent) if not name.startswith(("log", "lock"))], []
            )
        self.rig.wait(log.backup(target))


class TrimTests(FilledCase):
    """Retention in steps, over whole blocks and within one."""

    def test_every_place_to_trim_at(self) -> None:
        log = self.open()
        for before in range(2, self.COUNT + 2, 7):
            floor = self.rig.wait(log.trim(ROOM, before))
            self.assertEqual(floor.seq, before - 1)
            page = self.rig.wait(log.read(ROOM, floor.seq, 1000, MUCH))
            self.assertEqual(page.start, floor)
            self.assertEqual(page.frames, [frame_of(line(n), n) for n in range(before, self.COUNT + 1)])
            self.assertRaises(Trimmed, self.rig.wait, log.read(ROOM, before - 2, 5, MUCH))
            self.assertEqual(self.rig.wait(log.verify()), [])

    def test_much_goes_in_steps(self) -> None:
        log = self.open()
        before = log.commits
        with patch("encchat.logs.changes.TRIM_STEP", 30):
            floor = self.rig.wait(log.trim(ROOM, 96))
        self.assertEqual(log.commits - before, 4)
        frames = [frame_of(line(n), n) for n in range(1, 96)]
        position = advance(type(floor)(0, GENESIS), frames)
        self.assertEqual(floor, position)
        self.assertEqual(self.rig.wait(log.verify()), [])

    def test_appending_goes_on_at_once(self) -> None:
        log = self.open()
        self.rig.wait(log.append([draft(200)]))  # so that the writer knows the room's last block
        trimmed = self.rig.start(log.trim(ROOM, 101))
        sent = self.rig.start(log.append([draft(201), line(50)]))
        self.assertEqual(self.rig.finish(trimmed).seq, 100)
        self.assertEqual([(o.seq, o.duplicate) for o in self.rig.finish(sent)], [(102, False), (50, True)])
        self.assertEqual(self.rig.wait(log.verify()), [])

    def test_what_left_is_not_in_the_file(self) -> None:
        log = self.open()
        self.rig.wait(log.append([draft(300, room="+gone", body=b"a secret that shall go" * 300)]))
        self.rig.wait(log.trim("+gone", 2))
        self.rig.wait(log.close())
        self.assertNotIn(b"a secret that shall go", self.path.read_bytes())
