"""The search index: it finds what a look at every entry finds, behind the log, whatever befalls either."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random
from threading import Event, Semaphore
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from encchat.core.interfaces import Damaged, Draft, Unavailable
from encchat.core.words import words_of
from encchat.logs import index, queries
from encchat.logs.indexing import Indexer
from encchat.logs.memory import MemoryLog
from encchat.logs.schema import UPGRADES, open_writer
from encchat.logs.sqlite import SqliteLog, open_sqlite_log
from encchat.logs.verify import index_problem, verify
from encchat.wire import decode_entry
from tests.contracts.log import MUCH, ROOM, draft
from tests.logs.rig import NEVER, PATIENCE, Faults, Rig, failing, open_log

#: Words in every form that has to count as the same, beside signs that keep them apart.
SAID = [
    "tea",
    "TEA",
    "straße",
    "STRASSE",
    "e\u0301té",
    "ÉTÉ",
    "ﬁne",
    "fine",
    "東京",
    "Ⅷ",
    "x_1",
    "1",
    "\u0130",
]
SIGNS = [" ", ", ", "\n", "_", "-", "\x00", "\u200b", '"', "' "]


def spoken(number: int, random: Random, room: str = ROOM, size: int = 600) -> Draft:
    """An entry of some words."""
    parts = [random.choice(SAID) + random.choice(SIGNS) for _ in range(random.randint(0, 4))]
    return draft(number, room=room, body=("".join(parts) + "." * random.randint(0, size)).encode())


class IndexCase(SynchronousTestCase):
    """A log in a file, and the same entries in memory."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "log.db"
        self.rig = Rig()
        self.random = Random(1)
        self.memory = MemoryLog(bytes(16))
        self.log = self.open()
        self.numbers = iter(range(1, 10**6))

    def open(self, **options: Any) -> SqliteLog:
        return open_log(self, self.path, self.rig, **options)

    def reopen(self, **options: Any) -> None:
        self.rig.wait(self.log.close())
        self.log = self.open(**options)

    def say(self, count: int, room: str = ROOM, size: int = 600) -> None:
        drafts = [spoken(next(self.numbers), self.random, room, size) for _ in range(count)]
        self.rig.wait(self.log.append(drafts))
        self.rig.wait(self.memory.append(drafts))

    def trim(self, before: int, room: str = ROOM) -> None:
        self.rig.wait(self.log.trim(room, before))
        self.rig.wait(self.memory.trim(room, before))

    def indexed(self, room: str = ROOM) -> int:
        (found,) = self.ask("SELECT indexed FROM rooms WHERE name = ?", room)
        assert isinstance(found, int)
        return found

    def ask(self, query: str, *values: object) -> tuple[Any, ...]:
        with closing(sqlite3.connect(self.path)) as connection:
            row: tuple[Any, ...] = connection.execute(query, values).fetchone()
            return row

    def assert_agree(self, room: str = ROOM) -> None:
        """Both logs find the same, for every word, in pages of any size."""
        head = self.rig.wait(self.log.head(room)).seq
        for words in [*SAID, "tea fine", "tea STRASSE été", "nowhere", "x 1"]:
            wanted = words_of(words)
            for before, limit, size in ((MUCH, 100, MUCH), (MUCH, 3, MUCH), (head // 2, 5, 1500)):
                ours = self.rig.wait(self.log.search(room, wanted, before, limit, size))
                others = self.rig.wait(self.memory.search(room, wanted, before, limit, size))
                self.assertEqual(
                    (list(ours.frames), ours.reached, ours.more),
                    (list(others.frames), others.reached, others.more),
                    (words, before, limit),
                )

    def assert_sound(self) -> None:
        self.assertEqual(list(verify(self.path)), [])
        self.assertIsNone(index_problem(self.path))


class Agreement(IndexCase):
    """What is found with the index, without it, and with half of it."""

    def test_however_far_it_got(self) -> None:
        for _ in range(4):
            self.say(40)
            self.assert_agree()
            self.rig.wait(self.log.index())
            self.assertGreater(self.indexed(), 0)
            self.assert_agree()
            self.say(1)
            self.assert_agree()
        self.assert_sound()

    def test_rooms_are_kept_apart(self) -> None:
        for _ in range(30):
            for room in ("+a", "+b", ROOM):
                self.say(self.random.randint(1, 5), room)
        self.rig.wait(self.log.index())
        for room in ("+a", "+b", ROOM):
            self.assert_agree(room)
        self.assert_sound()

    def test_entries_larger_than_a_block(self) -> None:
        for _ in range(20):
            self.say(1, size=9000)
        self.rig.wait(self.log.index())
        self.assert_agree()
        self.assert_sound()

    def test_words_without_end(self) -> None:
        drafts = [draft(n, body=b"y" * 5000 + b"%d" % n) for n in range(10)]
        self.rig.wait(self.log.append(drafts))
        self.rig.wait(self.log.index())
        found = self.rig.wait(self.log.search(ROOM, frozenset({"y" * 5000 + "3"}), MUCH, 9, MUCH))
        self.assertEqual([decode_entry(frame).seq for frame in found.frames], [4])

    def test_after_trims(self) -> None:
        self.say(120)
        self.rig.wait(self.log.index())
        for before in (2, 17, 18, 60, 110):
            self.trim(before)
            self.assert_agree()
            self.assert_sound()
        self.say(40)
        self.trim(130)
        self.assert_agree()
        self.rig.wait(self.log.index())
        self.assert_agree()
        self.trim(MUCH)
        self.assert_agree()
        self.reopen()
        self.say(60)
        self.rig.wait(self.log.index())
        self.assert_agree()
        self.assert_sound()

    def test_of_two_readers_while_entries_leave(self) -> None:
        self.say(300)
        self.rig.wait(self.log.index())
        wanted = words_of("tea")
        for before in range(20, 301, 20):
            searches = [self.rig.start(self.log.search(ROOM, wanted, MUCH, 1000, MUCH)) for _ in range(2)]
            self.trim(before)
            after = self.rig.wait(self.memory.search(ROOM, wanted, MUCH, 1000, MUCH))
            for search in searches:
                found = self.rig.finish(search)
                self.assertEqual(list(found.frames)[-len(after.frames) :], list(after.frames)[-1000:])
        self.assert_sound()

    def test_only_open_rooms_are_indexed(self) -> None:
        self.say(60, "#den")
        self.say(60, "@a&b")
        self.rig.wait(self.log.index())
        self.assertEqual((self.indexed("#den"), self.indexed("@a&b")), (0, 0))
        self.assertEqual(self.ask("SELECT count(*) FROM search_idx"), (0,))

    def test_many_candidates_are_bounded(self) -> None:
        drafts = [draft(n, body=(b"left" if n % 2 else b"right") + b"." * 300) for n in range(200)]
        self.rig.wait(self.log.append(drafts))
        self.rig.wait(self.log.index())
        before, pages = MUCH, 0
        with patch("encchat.logs.searching.MAX_LOOKS", 30):
            while True:
                found = self.rig.wait(self.log.search(ROOM, frozenset({"left", "right"}), before, 9, MUCH))
                self.assertEqual(list(found.frames), [])
                self.assertLess(found.reached, before)
                before, pages = found.reached, pages + 1
                if not found.more:
                    break
        self.assertEqual(pages, 7)


class Crowds(IndexCase):
    """Many who search at once."""

    def setUp(self) -> None:
        super().setUp()
        self.say(20)
        self.begun, self.goes_on = Semaphore(0), Event()
        search = queries.search

        def slow(*args: Any) -> Any:
            self.begun.release()
            self.assertTrue(self.goes_on.wait(PATIENCE))
            return search(*args)

        self.patch(queries, "search", slow)
        self.searches = [
            self.rig.start(self.log.search(ROOM, frozenset({"tea"}), MUCH, 9, MUCH)) for _ in range(10)
        ]
        self.assertTrue(self.begun.acquire(timeout=PATIENCE))

    def test_they_keep_nobody_from_reading(self) -> None:
        self.assertEqual(self.rig.wait(self.log.head(ROOM)).seq, 20)
        self.goes_on.set()
        for begun in self.searches:
            self.rig.finish(begun)

    def test_the_log_closes_without_them(self) -> None:
        closing_ = self.rig.start(self.log.close())
        self.goes_on.set()
        self.rig.finish(closing_)
        self.rig.finish(self.searches[0])
        for begun in self.searches[1:]:
            with self.assertRaises(Unavailable):
                self.rig.finish(begun)
        self.assertFalse(self.begun.acquire(blocking=False))


class Remains(IndexCase):
    """What is left of words whose entries left."""

    def bytes_of_index(self) -> bytes:
        with closing(sqlite3.connect(self.path)) as connection:
            return b"".join(block for (block,) in connection.execute("SELECT block FROM search_data"))

    def test_they_are_written_over(self) -> None:
        bodies = [b"fireworks" + b"." * 500] * 40 + [b"peace" + b"." * 500] * 20
        self.rig.wait(self.log.append([draft(n, body=body) for n, body in enumerate(bodies)]))
        self.rig.wait(self.log.index())
        self.assertIn(b"fireworks", self.bytes_of_index())
        self.rig.wait(self.log.trim(ROOM, 41))
        self.assertEqual(self.ask("SELECT remains FROM search_state"), (1,))
        self.reopen()  # what has to be done is known after a restart
        self.rig.wait(self.log.index())
        self.assertEqual(self.ask("SELECT remains FROM search_state"), (0,))
        self.assertNotIn(b"fireworks", self.bytes_of_index())
        self.assertIn(b"peace", self.bytes_of_index())
        self.assert_sound()


class Failures(IndexCase):
    """What goes wrong with the index harms neither sends nor searches."""

    def fault(self, fail: Any, *, after: bool = False) -> Faults:
        faults = Faults()
        self.reopen(connect=faults.connect)
        setattr(faults, "after" if after else "before", fail)
        return faults

    def test_a_full_disk(self) -> None:
        self.say(100)
        faults = self.fault(failing("UPDATE rooms SET indexed", 5, "database or disk is full"))
        self.rig.wait(self.log.index())
        self.assertEqual(self.indexed(), 0)
        self.say(20)
        self.assert_agree()
        faults.before = lambda statement: None
        self.rig.wait(self.log.index())
        self.assertGreater(self.indexed(), 100)
        self.assert_agree()
        self.assert_sound()

    def test_a_commit_that_fails(self) -> None:
        for after in (False, True):
            self.say(100)
            self.fault(failing("COMMIT"), after=after)
            self.rig.wait(self.log.index())
            self.assert_agree()
            self.assert_sound()
            self.rig.wait(self.log.index())
            self.assert_agree()
            self.assert_sound()

    def test_an_error_that_nobody_foresaw(self) -> None:
        self.say(100)
        with patch.object(index, "add", side_effect=ZeroDivisionError()):
            self.rig.wait(self.log.index())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.say(20)
        self.assert_agree()
        self.rig.wait(self.log.index())
        self.assertGreater(self.indexed(), 0)
        self.assert_sound()

    def test_an_entry_that_is_damaged(self) -> None:
        self.say(100)
        self.say(100, "+other")
        self.rig.wait(self.log.close())
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("UPDATE blocks SET frames = substr(frames, 2) WHERE room = 1 AND first = 1")
        self.log = self.open()
        self.rig.wait(self.log.index())
        self.assertEqual(self.indexed(), 0)
        self.assertGreater(self.indexed("+other"), 0)
        self.assert_agree("+other")

    def test_a_trim_of_a_damaged_log(self) -> None:
        """It takes nothing, as it cannot take all: what is there stays to be read."""
        self.say(200)
        self.rig.wait(self.log.index())
        self.rig.wait(self.log.close())
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("DELETE FROM blocks WHERE room = 1 AND id = 7")
        before = self.ask("SELECT count(*), min(first) FROM blocks")
        problems = list(verify(self.path))
        self.log = self.open()
        with self.assertRaises(Damaged):
            self.rig.wait(self.log.trim(ROOM, 150))
        self.assertEqual(self.ask("SELECT count(*), min(first) FROM blocks"), before)
        self.assertEqual(list(verify(self.path)), problems)
        self.assertEqual(len(self.rig.wait(self.log.read(ROOM, 0, 5, MUCH)).frames), 5)

    def test_a_trim_that_is_rolled_back(self) -> None:
        self.say(100)
        self.rig.wait(self.log.index())
        self.fault(failing("UPDATE rooms SET floor"))
        with self.assertRaises(Unavailable):
            self.rig.wait(self.log.trim(ROOM, 50))
        self.assert_agree()
        self.assert_sound()

    def test_what_is_missing_is_found_by_verify(self) -> None:
        self.say(100)
        self.rig.wait(self.log.index())
        self.rig.wait(self.log.close())
        self.assertIsNone(index_problem(self.path))
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("INSERT INTO search (rowid, words) VALUES (3, 'tea2')")
        self.assertIn("the search index has", str(index_problem(self.path)))
        self.log = self.open()
        self.assertEqual(len(self.rig.wait(self.log.verify())), 1)

    def test_one_that_cannot_be_read(self) -> None:
        self.say(100)
        self.rig.wait(self.log.index())
        self.rig.wait(self.log.close())
        with closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            connection.execute("UPDATE search_data SET block = randomblob(20)")
        self.assertIn("cannot be read", str(index_problem(self.path)))


class Ages(IndexCase):
    """Logs that were made before there was an index, or with other words."""

    def test_a_log_without_index(self) -> None:
        self.rig.wait(self.log.close())
        self.path.unlink()
        with patch.object(index, "prepare"), closing(open_writer(self.path, "full", UPGRADES[:1])):
            pass
        self.assertEqual(self.ask("PRAGMA user_version"), (1,))
        self.assertIsNone(index_problem(self.path))
        self.log = self.open()
        self.assertEqual(self.ask("PRAGMA user_version"), (len(UPGRADES),))
        self.say(100)
        self.rig.wait(self.log.index())
        self.assert_agree()
        self.assert_sound()

    def test_other_words(self) -> None:
        with patch.object(index, "STAMP", "another Unicode"):
            self.reopen()
            with patch.object(index, "words_of", lambda text: frozenset({"wrong"})):
                self.say(100)
                self.rig.wait(self.log.index())
            self.assertGreater(self.indexed(), 0)
        self.rig.wait(self.log.close())
        self.assertIsNone(index_problem(self.path))
        self.log = self.open()
        self.assertEqual(self.indexed(), 0)
        self.assert_agree()
        self.rig.wait(self.log.index())
        self.assert_agree()
        self.assert_sound()


class ByItself(TestCase):
    """The writer makes the index when nobody sends, and also when somebody always does."""

    def open(self, **options: Any) -> SqliteLog:
        self.path = Path(self.mktemp()) / "log.db"
        log = open_sqlite_log(self.path, reactor, **options)
        self.addCleanup(lambda: ensureDeferred(log.close()))
        return log

    async def until_indexed(self, some: int) -> None:
        with closing(sqlite3.connect(self.path)) as connection:
            while connection.execute("SELECT max(indexed) FROM rooms").fetchone() < (some,):
                await deferLater(reactor, 0.01)

    def test_when_idle(self) -> Deferred[None]:
        async def test() -> None:
            log = self.open()
            await log.append([draft(n, body=b"tea" + b"." * 500) for n in range(100)])
            await self.until_indexed(90)
            await log.append([draft(n, body=b"tea" + b"." * 500) for n in range(100, 200)])
            await self.until_indexed(190)

        return Deferred.fromCoroutine(test())

    def test_when_busy(self) -> Deferred[None]:
        async def test() -> None:
            log = self.open(index_after=NEVER)
            with patch("encchat.logs.indexing.BUSY", 0.0):
                await log.append([draft(0)])
                await log.index()
                for n in range(1, 40):
                    await log.append([draft(n, body=b"tea" + b"." * 500)])
                await self.until_indexed(20)

        return Deferred.fromCoroutine(test())

    def test_a_failed_step_waits(self) -> None:
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            indexer = Indexer(connection, 0.01)
            self.assertEqual(indexer.due(), 0.01)
            self.assertFalse(indexer.step())  # there are no tables
            due = indexer.due()
            assert due is not None
            self.assertGreater(due, 10)
