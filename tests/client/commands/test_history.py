"""The local history: what it keeps, what it finds, and what it does about damage."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client.store import Bounds, Place, StoreTooNew, history
from encchat.client.store.blocks import BLOCK_FRAMES, Run
from encchat.client.store.history import FILE, Archive
from encchat.client.store.vault import Vault
from encchat.core.words import NothingToFind
from encchat.wire import advance, encode

LOBBY = Place("SHA256:server", b"L" * 16, "+lobby")
OPS = Place("SHA256:server", b"L" * 16, "+ops")
ELSEWHERE = Place("SHA256:other", b"L" * 16, "+lobby")


class Log:
    """A room's log, as a server has it."""

    def __init__(self, place: Place, count: int, words: str = "") -> None:
        self.place = place
        self.frames: list[bytes] = []
        self.positions = [m.Position()]
        for seq in range(1, count + 1):
            text = f"{words} number {seq}".strip()
            entry = m.Entry(place.room, seq, seq, "bob", "", "text", seq.to_bytes(16, "big"), text.encode())
            self.frames.append(encode(entry))
            self.positions.append(advance(self.positions[-1], [self.frames[-1]]))

    def tell(self, archive: Archive, first: int, last: int) -> None:
        """The archive sees these entries."""
        for seq in range(first, last + 1):
            archive.add(self.place, self.positions[seq - 1], self.frames[seq - 1])


class ArchiveTestCase(TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.vault = Vault(b"k" * 32)
        self.archive = self.open()

    def open(self) -> Archive:
        archive = Archive.open(self.directory, self.vault)
        self.addCleanup(archive.close)
        return archive

    def reopen(self) -> Archive:
        self.archive.store()
        self.archive.close()
        self.archive = self.open()
        return self.archive

    def seqs(self, place: Place = LOBBY, before: int = 0, limit: int = 1000) -> list[int]:
        return [entry.seq for entry in self.archive.page(place, before, limit).entries]

    def rows(self) -> int:
        assert self.archive._database is not None
        ((count,),) = self.archive._database.read("SELECT count(*) FROM blocks")
        return int(count)

    def change(self, statement: str) -> None:
        self.archive.store()
        assert self.archive._database is not None
        with self.archive._database.change() as database:
            database.execute(statement)


class Keeping(ArchiveTestCase):
    def test_what_was_seen_is_there_after_a_restart(self) -> None:
        log = Log(LOBBY, 10)
        log.tell(self.archive, 1, 10)
        found = self.reopen().page(LOBBY, 0, 3)
        self.assertEqual([entry.body for entry in found.entries], [b"number 8", b"number 9", b"number 10"])
        self.assertEqual((found.reached, found.more), (8, True))
        self.assertEqual(self.archive.page(LOBBY, 8, 7).more, False)
        self.assertEqual(self.seqs(before=3), [1, 2])
        self.assertEqual(self.seqs(before=1), [])

    def test_also_before_it_is_written(self) -> None:
        Log(LOBBY, 3).tell(self.archive, 1, 3)
        self.assertEqual(self.seqs(), [1, 2, 3])

    def test_rooms_logs_and_servers_apart(self) -> None:
        for place, count in ((LOBBY, 3), (OPS, 2), (ELSEWHERE, 1)):
            Log(place, count).tell(self.archive, 1, count)
            self.archive.store()
        self.assertEqual([len(self.seqs(place)) for place in (LOBBY, OPS, ELSEWHERE)], [3, 2, 1])
        self.assertEqual(self.seqs(LOBBY._replace(log=b"M" * 16)), [])
        self.assertEqual(self.archive.rooms(LOBBY.server, LOBBY.log), ["+ops", "+lobby"])
        self.archive.forget(LOBBY.server)
        self.assertEqual([len(self.seqs(place)) for place in (LOBBY, OPS, ELSEWHERE)], [0, 0, 1])

    def test_what_comes_twice_is_kept_once(self) -> None:
        log = Log(LOBBY, 30)
        for first, last in ((10, 15), (12, 20), (5, 25), (1, 30), (7, 7)):
            log.tell(self.archive, first, last)
            self.archive.store()
        self.assertEqual(self.seqs(), list(range(1, 31)))
        self.assertEqual(self.rows(), 6)

    def test_two_clients_at_once(self) -> None:
        log, other = Log(LOBBY, 300), self.open()
        for first in range(1, 300, 50):
            for archive in (self.archive, other):
                log.tell(archive, first, first + 49)
                archive.store()
        self.assertEqual(self.seqs(), list(range(1, 301)))
        self.assertEqual([e.seq for e in other.page(LOBBY, 0, 1000).entries], list(range(1, 301)))
        self.assertEqual(self.rows(), 6)

    @given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 15)), max_size=12), st.integers(0, 60))
    @settings(deadline=None, max_examples=60)
    def test_any_order(self, pieces: list[tuple[int, int]], before: int) -> None:
        """What is shown is what was told, as far as none is missing, and every page fits the one before."""
        place = LOBBY._replace(room=f"+r{before}x{hash(tuple(pieces)) % 2**40}")
        log, told = Log(place, 60), set[int]()
        for first, more in pieces:
            log.tell(self.archive, first, first + more)
            told |= set(range(first, first + more + 1))
            self.archive.store()
        seen: list[int] = []
        here, more_ = before, True
        while more_:
            found = self.archive.page(place, here, 7)
            seen = [entry.seq for entry in found.entries] + seen
            here, more_ = found.reached, found.more
        self.assertEqual(seen, sorted(seq for seq in told if not before or seq < before))

    def test_the_setting_for_nothing(self) -> None:
        self.archive.bounds = Bounds(entries=0)
        self.assertFalse(self.archive.keeps)


class Bounded(ArchiveTestCase):
    def test_by_entries(self) -> None:
        self.archive.bounds = Bounds(entries=500)
        log = Log(LOBBY, 2000)
        for first in range(1, 2000, 100):
            log.tell(self.archive, first, first + 99)
            self.archive.store()
        kept = self.seqs()
        self.assertEqual(kept, list(range(2001 - len(kept), 2001)))
        self.assertLessEqual(len(kept), 500)
        self.assertGreater(len(kept), 500 - BLOCK_FRAMES)

    def test_by_bytes_of_a_room(self) -> None:
        self.archive.bounds = Bounds(room_bytes=20_000)
        log = Log(LOBBY, 2000)
        for first in range(1, 2000, 100):
            log.tell(self.archive, first, first + 99)
            self.archive.store()
        assert self.archive._database is not None
        ((size,),) = self.archive._database.read("SELECT sum(length(sealed)) FROM blocks")
        self.assertLessEqual(size, 20_000)
        self.assertEqual(self.seqs()[-1], 2000)

    def test_by_bytes_of_all_rooms(self) -> None:
        self.archive.bounds = Bounds(total_bytes=20_000)
        for number in range(10):
            Log(LOBBY._replace(room=f"+r{number}"), 100).tell(self.archive, 1, 100)
            self.archive.store()
        assert self.archive._database is not None
        ((size,),) = self.archive._database.read("SELECT sum(length(sealed)) FROM blocks")
        self.assertLessEqual(size, 20_000)
        self.assertEqual(self.seqs(LOBBY._replace(room="+r9"))[-1], 100)
        self.assertEqual(self.seqs(LOBBY._replace(room="+r0")), [])

    def test_what_waits_to_be_written(self) -> None:
        self.patch(history, "PENDING", 1000)
        log = Log(LOBBY, 500)
        for seq in range(1, 501):
            log.tell(self.archive, seq, seq)
            self.assertLess(self.archive.pending, 1000)
        self.assertEqual(self.seqs(), list(range(1, 501)))

    def test_blocks(self) -> None:
        log = Log(LOBBY, 300)
        blocks = list(Run(m.Position(), log.frames).blocks())
        self.assertEqual([len(block.frames) for block in blocks], [128, 128, 44])
        self.assertEqual([block.start for block in blocks], [log.positions[at] for at in (0, 128, 256)])
        large = [b"x" * 30_000, b"y" * 40_000, b"z"]
        self.assertEqual([b.frames for b in Run(m.Position(), large).blocks()], [[one] for one in large])


class Searching(ArchiveTestCase):
    def setUp(self) -> None:
        super().setUp()
        Log(LOBBY, 300, "coffee Straße").tell(self.archive, 1, 300)

    def test_words(self) -> None:
        found = self.archive.search(LOBBY, "STRASSE 299", 0, 5)
        self.assertEqual([entry.seq for entry in found.entries], [299])
        self.assertEqual((found.reached, found.more), (1, False))
        self.assertEqual(self.archive.search(LOBBY, "tea", 0, 5).entries, ())
        self.assertRaises(NothingToFind, self.archive.search, LOBBY, "...", 0, 5)

    def test_the_last_ones_first_and_so_on(self) -> None:
        found = self.archive.search(LOBBY, "coffee", 0, 5)
        self.assertEqual([entry.seq for entry in found.entries], [296, 297, 298, 299, 300])
        self.assertEqual((found.reached, found.more), (296, True))
        found = self.archive.search(LOBBY, "coffee", found.reached, 5)
        self.assertEqual([entry.seq for entry in found.entries], [291, 292, 293, 294, 295])

    def test_not_more_than_a_bound_at_once(self) -> None:
        self.patch(history, "SCAN", 100)
        found = self.archive.search(LOBBY, "7", 0, 5)
        self.assertEqual((found.entries, found.reached, found.more), ((), 201, True))
        found = self.archive.search(LOBBY, "7", 201, 5)
        self.assertEqual((found.reached, found.more), (101, True))
        found = self.archive.search(LOBBY, "7", 101, 5)
        self.assertEqual([entry.seq for entry in found.entries], [7])
        self.assertFalse(found.more)


class Damage(ArchiveTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.log = Log(LOBBY, 30)
        for first in (1, 11, 21):
            self.log.tell(self.archive, first, first + 9)
            self.archive.store()

    def test_a_row_that_was_cut_off_is_dropped_and_nothing_else(self) -> None:
        self.change("UPDATE blocks SET sealed = substr(sealed, 1, 40) WHERE first = 11")
        self.assertEqual(self.seqs(), list(range(21, 31)))
        self.assertEqual(self.seqs(before=21), list(range(1, 11)))
        (notice,) = self.archive.take_notices()
        self.assertEqual(
            notice, "entries 11 to 20 of +lobby are damaged in the local history, and are dropped"
        )
        self.log.tell(self.archive, 11, 20)  # as they come from the server again
        self.assertEqual(self.seqs(), list(range(1, 31)))
        self.assertEqual(self.archive.take_notices(), [])

    def test_rows_that_were_exchanged(self) -> None:
        self.change("UPDATE blocks SET sealed = (SELECT sealed FROM blocks WHERE first = 1) WHERE first = 21")
        self.assertEqual(self.seqs(), list(range(1, 21)))
        self.assertEqual(len(self.archive.take_notices()), 1)

    def test_a_row_that_claims_other_numbers(self) -> None:
        self.change("UPDATE blocks SET first = 31, last = 40 WHERE first = 1")
        self.assertEqual(self.seqs(), list(range(11, 31)))

    def test_entries_of_another_log_before(self) -> None:
        """As a server shows that has replaced its log under the same name."""
        other = Log(LOBBY, 40, "other")
        other.tell(self.archive, 31, 40)
        self.assertEqual(self.seqs(), list(range(31, 41)))
        (notice,) = self.archive.take_notices()
        self.assertIn("before entry 31 is of another log", notice)

    def test_a_file_that_is_no_database(self) -> None:
        self.archive.close()
        (self.directory / FILE).write_bytes(b"this was a database once " * 100)
        self.archive = self.open()
        (notice,) = self.archive.take_notices()
        self.assertIn(f"{FILE}.damaged-1", notice)
        self.log.tell(self.archive, 1, 3)
        self.assertEqual(self.seqs(), [1, 2, 3])

    def test_pages_that_are_damaged_are_found_when_they_are_read(self) -> None:
        for first in range(31, 400, 10):
            Log(LOBBY._replace(room=f"+r{first}"), 100).tell(self.archive, 1, 100)
        self.archive.store()
        self.archive.close()
        path = self.directory / FILE
        content = bytearray(path.read_bytes())
        content[4096:] = b"\xff" * (len(content) - 4096)
        path.write_bytes(content)
        self.archive = self.open()
        self.seqs()
        self.log.tell(self.archive, 1, 3)
        self.assertEqual(self.seqs(), [1, 2, 3])
        self.assertIn("begins anew", " ".join(self.archive.take_notices()))

    def test_a_full_disk_ends_it_for_this_run(self) -> None:
        self.archive.store()
        assert self.archive._database is not None
        ((pages,),) = self.archive._database.read("PRAGMA page_count")
        self.archive._database.read(f"PRAGMA max_page_count = {pages}")
        Log(OPS, 2000, "x" * 100).tell(self.archive, 1, 2000)
        self.archive.store()
        (notice,) = self.archive.take_notices()
        self.assertIn("no local history in this run", notice)
        self.assertIn("full", notice)
        self.assertEqual(self.seqs(), [])
        self.assertFalse(self.archive.keeps)
        self.log.tell(self.archive, 1, 3)
        self.assertEqual(self.archive.take_notices(), [])
        self.archive = self.open()
        self.assertEqual(self.seqs(), list(range(1, 31)))

    def test_a_directory_in_its_place(self) -> None:
        self.archive.close()
        (self.directory / FILE).unlink()
        (self.directory / FILE).mkdir()
        self.archive = self.open()
        self.assertFalse(self.archive.keeps)
        self.assertIn("no local history in this run", self.archive.take_notices()[0])
        self.assertEqual(self.archive.rooms(LOBBY.server, LOBBY.log), [])

    def test_of_a_newer_version(self) -> None:
        self.change("PRAGMA user_version = 99")
        self.archive.close()
        self.assertRaises(StoreTooNew, Archive.open, self.directory, self.vault)
