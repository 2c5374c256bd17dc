"""What a client remembers: kept, upgraded, set aside, shared."""

import os
import sqlite3
import stat
from pathlib import Path
from types import SimpleNamespace

from twisted.trial.unittest import TestCase

from encchat.client.protocol.outbox import Item
from encchat.client.store import FILE, Pin, Store, StoreFailed, StoreTooNew, StoreUnusable, locks, schema
from encchat.client.store.lanes import MAX_LANES, Lane, TooManyClients
from encchat.client.store.locks import CannotLock
from encchat.errors import ConfigError, StorageError
from encchat.messages import Position

HERE = "127.0.0.1:9999"
THERE = "[::1]:9999"


def item(number: int, room: str = "+lobby") -> Item:
    return Item(number.to_bytes(16, "big"), room, "text", f"message {number}".encode())


class StoreTestCase(TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.path = self.directory / FILE
        self.store = self.open()

    def open(self) -> Store:
        store = Store.open(self.directory)
        self.addCleanup(store.close)
        return store

    def reopen(self) -> Store:
        self.store.close()
        self.store = self.open()
        return self.store


class Pins(StoreTestCase):
    def test_one_for_each_profile_of_an_endpoint(self) -> None:
        self.store.pin(Pin(HERE, "hrsa1", "SHA256:a", False, 5), replace=False)
        self.store.pin(Pin(HERE, "tls-pin", "SHA256:b", False, 6), replace=False)
        self.store.pin(Pin(THERE, "hrsa1", "SHA256:c", True, 7), replace=False)
        found = self.reopen().pins(HERE)
        self.assertEqual(
            sorted(found, key=lambda pin: pin.profile),
            [Pin(HERE, "hrsa1", "SHA256:a", False, 5), Pin(HERE, "tls-pin", "SHA256:b", False, 6)],
        )
        self.assertEqual(self.store.pins(THERE), [Pin(THERE, "hrsa1", "SHA256:c", True, 7)])
        self.assertEqual(self.store.pins("elsewhere:1"), [])

    def test_a_new_key_keeps_the_day_when_the_server_was_first_seen(self) -> None:
        self.store.pin(Pin(HERE, "tls-ca", "SHA256:a", True, 5), replace=False)
        self.store.pin(Pin(HERE, "tls-ca", "SHA256:b", True, 9), replace=False)
        self.assertEqual(self.store.pins(HERE), [Pin(HERE, "tls-ca", "SHA256:b", True, 5)])

    def test_replacing_forgets_every_profile(self) -> None:
        self.store.pin(Pin(HERE, "hrsa1", "SHA256:a", False, 5), replace=False)
        self.store.pin(Pin(HERE, "tls-pin", "SHA256:b", False, 6), replace=False)
        self.store.pin(Pin(HERE, "hrsa1", "SHA256:c", False, 7), replace=True)
        self.assertEqual(self.store.pins(HERE), [Pin(HERE, "hrsa1", "SHA256:c", False, 7)])


class OutboxRows(StoreTestCase):
    def test_in_order_and_by_server_and_lane(self) -> None:
        self.store.keep(HERE, 0, [item(2), item(1)], 5)
        self.store.keep(HERE, 1, [item(3)], 5)
        self.store.keep(THERE, 0, [item(4)], 5)
        self.store.keep(HERE, 0, [item(5)], 6)
        self.assertEqual(self.reopen().outbox(HERE, 0), [item(2), item(1), item(5)])
        self.assertEqual(self.store.outbox(HERE, 1), [item(3)])
        self.assertEqual(self.store.outbox(THERE, 0), [item(4)])

    def test_a_msgid_is_kept_once(self) -> None:
        self.store.keep(HERE, 0, [item(1)], 5)
        self.store.keep(HERE, 0, [Item(item(1).msgid, "+other", "me", b"x")], 5)
        self.assertEqual(self.store.outbox(HERE, 0), [item(1)])

    def test_forgetting(self) -> None:
        self.store.keep(HERE, 0, [item(1), item(2), item(3)], 5)
        self.store.forget([item(1).msgid, item(3).msgid, b"unknown"])
        self.assertEqual(self.reopen().outbox(HERE, 0), [item(2)])

    def test_adopting(self) -> None:
        self.store.keep(HERE, 3, [item(1)], 5)
        self.store.adopt(0, 3)
        self.store.adopt(0, 4)
        self.assertEqual(self.store.outbox(HERE, 0), [item(1)])


class Positions(StoreTestCase):
    log = bytes(16)

    def test_by_server_log_and_room(self) -> None:
        here = Position(7, b"c" * 32)
        self.store.save_positions("S", self.log, {"+lobby": here, "+ops": Position(2, b"d" * 32)})
        self.assertEqual(self.reopen().position("S", self.log, "+lobby"), here)
        self.assertIsNone(self.store.position("S", self.log, "+other"))
        self.assertIsNone(self.store.position("S", b"x" * 16, "+lobby"))
        self.assertIsNone(self.store.position("T", self.log, "+lobby"))

    def test_they_never_go_back(self) -> None:
        far = Position(9, b"f" * 32)
        self.store.save_positions("S", self.log, {"+lobby": far})
        self.store.save_positions("S", self.log, {"+lobby": Position(8, b"e" * 32)})
        self.assertEqual(self.store.position("S", self.log, "+lobby"), far)

    def test_until_they_are_forgotten(self) -> None:
        self.store.save_positions("S", self.log, {"+lobby": Position(9, b"f" * 32)})
        self.store.save_positions("T", self.log, {"+lobby": Position(9, b"f" * 32)})
        self.store.forget_positions("S")
        self.assertIsNone(self.store.position("S", self.log, "+lobby"))
        self.assertIsNotNone(self.store.position("T", self.log, "+lobby"))

    def test_a_server_with_another_log(self) -> None:
        self.assertFalse(self.store.met_log(HERE, "S", self.log))
        self.assertFalse(self.reopen().met_log(HERE, "S", self.log))
        self.assertTrue(self.store.met_log(HERE, "S", b"x" * 16))
        self.assertFalse(self.store.met_log(HERE, "S", b"x" * 16))

    def test_whom_an_endpoint_was_last(self) -> None:
        self.assertIsNone(self.store.last_met(HERE))
        self.store.met_log(HERE, "S", self.log)
        self.store.met_log(THERE, "S", self.log)
        self.store.met_log(HERE, "T", b"t" * 16)
        self.assertEqual(self.reopen().last_met(HERE), ("T", b"t" * 16))
        self.assertEqual(self.store.last_met(THERE), ("S", self.log))


class Ignored(StoreTestCase):
    def test_on_and_off(self) -> None:
        self.store.set_ignored("bob", True)
        self.store.set_ignored("bob", True)
        self.store.set_ignored("carol", True)
        self.store.set_ignored("carol", False)
        self.assertEqual(self.reopen().ignored(), {"bob"})


class TheFile(StoreTestCase):
    def test_is_for_its_owner_alone(self) -> None:
        self.store.keep(HERE, 0, [item(1)], 5)
        for path in self.directory.iterdir():
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600, path)

    def test_is_made_so_again(self) -> None:
        self.store.close()
        self.path.chmod(0o644)
        self.open()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_a_newer_version_is_refused_and_left_alone(self) -> None:
        self.store.keep(HERE, 0, [item(1)], 5)
        self.store.close()
        database = sqlite3.connect(self.path)
        database.execute("PRAGMA user_version = 99")
        database.close()
        error = self.assertRaises(StoreTooNew, Store.open, self.directory)
        self.assertIsInstance(error, ConfigError)
        self.assertIn("99", str(error))
        self.assertEqual([path.name for path in self.directory.glob("*damaged*")], [])

    def test_an_older_version_is_upgraded(self) -> None:
        self.store.keep(HERE, 0, [item(1)], 5)
        self.store.close()
        self.patch(schema, "STEPS", (*schema.STEPS, "CREATE TABLE more (a INTEGER) STRICT"))
        self.assertEqual(self.open().outbox(HERE, 0), [item(1)])
        database = sqlite3.connect(self.path)
        self.addCleanup(database.close)
        self.assertEqual(database.execute("SELECT a FROM more").fetchall(), [])
        self.assertEqual(database.execute("PRAGMA user_version").fetchone(), (len(schema.STEPS),))

    def test_a_damaged_one_is_set_aside_with_words(self) -> None:
        self.assertEqual(self.store.take_notices(), [])
        self.store.close()
        for number in (1, 2):
            self.path.write_bytes(b"this was a database once " * 100)
            again = self.open()
            (notice,) = again.take_notices()
            self.assertIn(f"{FILE}.damaged-{number}", notice)
            self.assertEqual(again.pins(HERE), [])
            again.close()
            aside = self.path.with_name(f"{FILE}.damaged-{number}")
            self.assertTrue(aside.read_bytes().startswith(b"this was"))

    def test_one_with_a_damaged_page(self) -> None:
        self.store.keep(HERE, 0, [item(number) for number in range(500)], 5)
        self.store.close()
        content = bytearray(self.path.read_bytes())
        content[8192 : 8192 + 4096] = b"\xff" * 4096
        self.path.write_bytes(content)
        self.assertEqual(len(self.open().take_notices()), 1)

    def test_a_directory_in_its_place(self) -> None:
        self.store.close()
        self.path.unlink()
        self.path.mkdir()
        error = self.assertRaises(StoreUnusable, Store.open, self.directory)
        self.assertIn("--state", str(error))

    def test_a_disk_that_is_full_needs_room_and_no_repair(self) -> None:
        self.store.close()
        self.path.unlink()
        self.path.mkdir()
        self.patch(os, "statvfs", lambda path: SimpleNamespace(f_bavail=0))
        error = self.assertRaises(StoreUnusable, Store.open, self.directory)
        self.assertIn("the disk is full", str(error))
        self.assertNotIn("Repair", str(error))

    def test_somebody_elses_database(self) -> None:
        self.store.close()
        self.path.unlink()
        database = sqlite3.connect(self.path)
        database.execute("CREATE TABLE pins (something TEXT)")
        database.close()
        self.assertRaises(StoreUnusable, Store.open, self.directory)

    def test_what_cannot_be_written_is_an_error_in_words(self) -> None:
        self.store._database.connection.execute(
            "PRAGMA query_only = ON"
        )  # as a full disk would, it fails the change
        error = self.assertRaises(StoreFailed, self.store.keep, HERE, 0, [item(1)], 5)
        self.assertIsInstance(error, StorageError)
        self.assertIn(FILE, str(error))
        self.assertEqual(self.store.outbox(HERE, 0), [])

    def test_a_full_disk(self) -> None:
        ((pages,),) = self.store._database.read("PRAGMA page_count")
        self.store._database.read(f"PRAGMA max_page_count = {pages}")
        large = Item(b"l" * 16, "+lobby", "text", b"x" * 60_000)
        error = self.assertRaises(StoreFailed, self.store.keep, HERE, 0, [large], 5)
        self.assertIn("full", str(error))
        self.assertIn("Make room", str(error))
        self.store._database.read("PRAGMA max_page_count = 1000000")
        self.store.keep(HERE, 0, [large], 5)
        self.assertEqual(self.reopen().outbox(HERE, 0), [large])

    def test_what_cannot_be_read_is_one_too(self) -> None:
        self.store.close()
        self.assertRaises(StoreFailed, self.store.pins, HERE)

    def test_two_clients_at_once(self) -> None:
        other = self.open()
        self.store.keep(HERE, 0, [item(1)], 5)
        other.keep(HERE, 1, [item(2)], 5)
        other.pin(Pin(HERE, "hrsa1", "SHA256:a", False, 5), replace=False)
        self.assertEqual(len(self.store.pins(HERE)), 1)
        self.assertEqual(self.store.outbox(HERE, 0), [item(1)])
        self.assertEqual(self.store.outbox(HERE, 1), [item(2)])


class Lanes(StoreTestCase):
    def take(self) -> Lane:
        lane = Lane.take(self.directory, self.store)
        self.addCleanup(lane.release)
        return lane

    def test_one_after_the_other(self) -> None:
        first, second = self.take(), self.take()
        self.assertEqual((first.number, first.alone), (0, True))
        self.assertEqual((second.number, second.alone), (1, False))

    def test_a_second_client_leaves_the_first_ones_messages_alone(self) -> None:
        first = self.take()
        self.store.keep(HERE, first.number, [item(1)], 5)
        second = self.take()
        self.assertEqual(self.store.outbox(HERE, second.number), [])
        self.assertEqual(self.store.outbox(HERE, first.number), [item(1)])

    def test_what_a_client_left_is_adopted_by_the_next(self) -> None:
        self.take()
        second = Lane.take(self.directory, self.store)
        self.store.keep(HERE, second.number, [item(1)], 5)
        second.release()
        third = self.take()
        self.assertEqual(third.number, 1)
        self.assertEqual(self.store.outbox(HERE, 1), [item(1)])

    def test_from_a_higher_lane_too(self) -> None:
        first, second = Lane.take(self.directory, self.store), Lane.take(self.directory, self.store)
        self.store.keep(HERE, second.number, [item(1)], 5)
        first.release()
        second.release()
        third = self.take()
        self.assertEqual(self.store.outbox(HERE, third.number), [item(1)])
        self.assertEqual(self.take().number, 1)  # adopting has let go of it again

    def test_no_more_files_than_clients(self) -> None:
        self.take()
        self.assertEqual(len(list(self.directory.glob("lane-*"))), 1)

    def test_there_is_an_end(self) -> None:
        for _ in range(MAX_LANES):
            self.take()
        self.assertRaises(TooManyClients, Lane.take, self.directory, self.store)

    def test_a_lock_file_that_cannot_be_opened(self) -> None:
        (self.directory / "lane-0.lock").mkdir()
        self.assertRaises(CannotLock, Lane.take, self.directory, self.store)

    def test_a_file_system_without_locks(self) -> None:
        def flock(handle: int, how: int) -> None:
            raise OSError(37, "No locks available")

        self.patch(locks.fcntl, "flock", flock)
        before = len(os.listdir("/dev/fd"))
        error = self.assertRaises(CannotLock, Lane.take, self.directory, self.store)
        self.assertIn("No locks available", str(error))
        self.assertEqual(len(os.listdir("/dev/fd")), before)

    def test_a_store_that_fails_lets_the_lane_go(self) -> None:
        first, second = Lane.take(self.directory, self.store), Lane.take(self.directory, self.store)
        first.release()
        second.release()
        self.store.close()
        self.assertRaises(StoreFailed, Lane.take, self.directory, self.store)
        self.store = self.open()
        self.assertEqual(self.take().number, 0)
