"""The store's key and what is sealed under it."""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from encchat.client.protocol.outbox import Item
from encchat.client.store import FILE, Pin, Store, key, salvage, schema
from encchat.client.store.key import Keyring, KeyringSilent, KeyUnusable, find_keyring, take_key
from encchat.client.store.vault import NONCE, Unreadable, Vault
from encchat.messages import Position

HERE = "127.0.0.1:9999"
SECRETS = ("hunter2", "+cellar", "mallory")


class Sealing(TestCase):
    vault = Vault(b"k" * 32)

    @given(st.binary(max_size=200), st.lists(st.one_of(st.text(max_size=5), st.binary(max_size=5))))
    @settings(deadline=None, max_examples=50)
    def test_there_and_back(self, data: bytes, row: list[str | bytes]) -> None:
        sealed = self.vault.seal(data, *row)
        self.assertEqual(self.vault.open(sealed, *row), data)
        self.assertRaises(Unreadable, self.vault.open, sealed, *row, "another")

    def test_never_twice_the_same(self) -> None:
        one, other = self.vault.seal(b"x", "row"), self.vault.seal(b"x", "row")
        self.assertNotEqual(one[:NONCE], other[:NONCE])
        self.assertNotEqual(one, other)

    def test_the_parts_of_a_row_cannot_be_shifted(self) -> None:
        sealed = self.vault.seal(b"x", "ab", "c")
        self.assertRaises(Unreadable, self.vault.open, sealed, "a", "bc")
        self.assertNotEqual(self.vault.tag("ab", "c"), self.vault.tag("a", "bc"))

    def test_what_was_cut_off_or_altered(self) -> None:
        sealed = self.vault.seal(b"hello", "row")
        for bad in (b"", sealed[:5], sealed[:NONCE], sealed[:-1], sealed + b"x", sealed[:-1] + b"\x00"):
            self.assertRaises(Unreadable, self.vault.open, bad, "row")

    def test_another_key_opens_nothing_and_names_nothing_alike(self) -> None:
        other = Vault(b"o" * 32)
        self.assertRaises(Unreadable, other.open, self.vault.seal(b"x", "row"), "row")
        self.assertNotEqual(other.tag("room"), self.vault.tag("room"))
        self.assertNotEqual(other.check, self.vault.check)


class FakeRing:
    """A keyring that remembers, or misbehaves."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}
        self.error: Exception | None = None
        self.forgetful = False
        self.stuck: threading.Event | None = None

    def get_password(self, service: str, username: str) -> str | None:
        self._misbehave()
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self._misbehave()
        if not self.forgetful:
            self.kept[service, username] = password

    def _misbehave(self) -> None:
        if self.stuck is not None:
            self.stuck.wait()
        if self.error is not None:
            raise self.error


class KeyTestCase(TestCase):
    def setUp(self) -> None:
        self.directory = Path(self.mktemp()).absolute()
        self.directory.mkdir(parents=True)
        self.path = self.directory / key.FILE
        self.ring = FakeRing()

    def take(self, ring: FakeRing | None = None) -> bytes:
        self.found = take_key(self.directory, lambda: ring)
        return self.found.key


class KeyInAFile(KeyTestCase):
    def test_made_once_for_its_owner_alone(self) -> None:
        first = self.take()
        self.assertEqual(len(first), 32)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual(self.found.notices, ())
        self.path.chmod(0o644)
        self.assertEqual(self.take(), first)
        (notice,) = self.found.notices
        self.assertIn("others on this machine could read", notice)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertEqual([path.name for path in self.directory.iterdir()], [key.FILE])

    def test_a_keyring_that_came_later_changes_nothing(self) -> None:
        self.assertEqual(self.take(), self.take(self.ring))
        self.assertEqual(self.ring.kept, {})

    def test_two_clients_at_once_have_the_same(self) -> None:
        first: list[bytes] = []
        place = key._place

        def slow(path: Path, content: str) -> bool:
            if not first:
                first.append(b"")
                first[0] = self.take()
            return place(path, content)

        self.patch(key, "_place", slow)
        self.assertEqual(self.take(), first[0])

    def test_what_is_no_key(self) -> None:
        for content in ("", "key", "key AAAA", "key !!", "lock xyz", "keyring", "\xff"):
            self.path.write_text(content, "latin-1")
            error = self.assertRaises(KeyUnusable, self.take)
            self.assertIn("--state", str(error))

    def test_a_directory_in_its_place(self) -> None:
        self.path.mkdir()
        self.assertRaises(KeyUnusable, self.take)

    def test_a_disk_that_is_full(self) -> None:
        def full(handle: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        self.assertIn("No space left", str(self.assertRaises(KeyUnusable, self.take)))
        self.assertEqual(list(self.directory.iterdir()), [])


class KeyInTheKeyring(KeyTestCase):
    def test_the_file_only_names_it(self) -> None:
        first = self.take(self.ring)
        self.assertEqual(self.found.notices, ())
        self.assertEqual(self.take(self.ring), first)
        ((name, kept),) = self.ring.kept.items()
        self.assertEqual(name[0], "encchat")
        self.assertEqual(self.path.read_text(), f"keyring {name[1]}\n")
        self.assertNotIn(kept, self.path.read_text())

    def test_one_that_does_not_work_is_not_used(self) -> None:
        stuck = FakeRing()
        stuck.stuck = threading.Event()
        self.addCleanup(stuck.stuck.set)
        failing, forgetful = FakeRing(), FakeRing()
        failing.error = RuntimeError("no backend")
        forgetful.forgetful = True
        for ring, seconds, why in (
            (stuck, 0.01, "not answered"),
            (failing, 600.0, "no backend"),
            (forgetful, 600.0, "forgets"),
        ):
            self.patch(key, "PATIENCE", seconds)
            self.take(ring)
            (notice,) = self.found.notices
            self.assertIn(why, notice)
            self.assertIn(str(self.path), notice)
            self.assertTrue(self.path.read_text().startswith("key "))
            self.path.unlink()

    def test_one_that_has_the_key_and_does_not_give_it(self) -> None:
        self.take(self.ring)
        self.patch(key, "PATIENCE", 0.01)
        self.ring.stuck = threading.Event()
        self.addCleanup(self.ring.stuck.set)
        error = self.assertRaises(KeyringSilent, self.take, self.ring)
        self.assertIn("Unlock it", str(error))
        self.patch(key, "PATIENCE", 600.0)
        self.ring.stuck = None
        self.ring.error = RuntimeError("locked")
        self.assertIn("locked", str(self.assertRaises(KeyringSilent, self.take, self.ring)))

    def test_the_package_is_gone(self) -> None:
        self.take(self.ring)
        self.assertIn("keyring is not installed", str(self.assertRaises(KeyringSilent, self.take)))

    def test_a_key_that_was_taken_out_of_it(self) -> None:
        first = self.take(self.ring)
        before = (self.directory / key.FILE).read_text()
        self.ring.kept.clear()
        self.assertNotEqual(self.take(self.ring), first)
        (aside,) = self.directory.glob(f"{key.FILE}.gone-*")
        self.assertEqual(aside.read_text(), before)

    def test_finding_it(self) -> None:
        def missing(name: str) -> object:
            raise ImportError(name)

        self.patch(key.importlib, "import_module", lambda name: self.ring)
        self.assertIs(find_keyring(), self.ring)
        self.patch(key.importlib, "import_module", missing)
        self.assertIsNone(find_keyring())


class TheStore(KeyTestCase):
    """What lies on the disk."""

    def open(self, keyring: Callable[[], Keyring | None] = lambda: None) -> Store:
        store = Store.open(self.directory, keyring)
        self.addCleanup(store.close)
        return store

    def fill(self, store: Store) -> None:
        store.keep(HERE, 0, [Item(bytes(16), "+cellar", "text", b"hunter2")], 5)
        store.save_positions("S", bytes(16), {"+cellar": Position(1, bytes(32))})
        store.set_ignored("mallory", True)
        store.pin(Pin(HERE, "hrsa1", "SHA256:a", False, 5), replace=False)

    def found_on_disk(self) -> list[str]:
        content = b"".join(path.read_bytes() for path in self.directory.iterdir())
        return [secret for secret in SECRETS if secret.encode() in content]

    def test_says_nothing_of_what_was_typed(self) -> None:
        store = self.open()
        self.fill(store)
        self.assertEqual(self.found_on_disk(), [])
        store.close()
        self.assertEqual(self.found_on_disk(), [])
        again = self.open()
        self.assertEqual(again.outbox(HERE, 0)[0].body, b"hunter2")
        self.assertEqual(again.ignored(), {"mallory"})

    def test_of_the_first_version_is_sealed_and_keeps_everything(self) -> None:
        database = sqlite3.connect(self.directory / FILE)
        database.executescript(schema.FIRST + "; PRAGMA user_version = 1")
        database.execute("INSERT INTO pins VALUES (?, 'hrsa1', 'SHA256:a', 0, 5)", (HERE,))
        rows = [(n, 0, HERE, n.to_bytes(16, "big"), "+cellar", "text", b"hunter2", 5) for n in range(300)]
        database.executemany("INSERT INTO outbox VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
        database.execute("INSERT INTO logs VALUES ('S', ?)", (bytes(16),))
        database.execute("INSERT INTO positions VALUES ('S', ?, '+cellar', 9, ?)", (bytes(16), b"c" * 32))
        database.execute("INSERT INTO ignored VALUES ('mallory')")
        database.commit()
        database.close()
        self.assertEqual(self.found_on_disk(), list(SECRETS))
        store = self.open()
        self.assertEqual(self.found_on_disk(), [])
        self.assertEqual(len(store.outbox(HERE, 0)), 300)
        self.assertEqual(
            store.outbox(HERE, 0)[7], Item((7).to_bytes(16, "big"), "+cellar", "text", b"hunter2")
        )
        self.assertEqual(store.position("S", bytes(16), "+cellar"), Position(9, b"c" * 32))
        self.assertEqual(store.ignored(), {"mallory"})
        self.assertEqual(len(store.pins(HERE)), 1)
        self.assertFalse(store.met_log(HERE, "S", bytes(16)))

    def test_whose_key_is_gone_is_set_aside_and_begins_anew(self) -> None:
        store = self.open()
        self.fill(store)
        store.close()
        self.path.unlink()
        again = self.open()
        notices = " ".join(again.take_notices())
        self.assertIn("key of", notices)
        self.assertIn(f"{FILE}.locked-1", notices)
        self.assertIn("history.sqlite.damaged-1", notices)
        self.assertEqual(again.outbox(HERE, 0), [])
        self.assertIsNone(again.position("S", bytes(16), "+cellar"))
        self.assertEqual(len(again.pins(HERE)), 1)
        again.close()
        self.assertEqual(self.open().take_notices(), [])

    def test_a_row_of_the_outbox_that_was_cut_off(self) -> None:
        store = self.open()
        items = [Item(bytes([n] * 16), "+cellar", "text", b"%d" % n) for n in range(3)]
        store.keep(HERE, 0, items, 5)
        with store._database.change() as database:
            database.execute(
                "UPDATE outbox SET sealed = substr(sealed, 1, 20) WHERE msgid = ?", (items[1].msgid,)
            )
        self.assertEqual(store.outbox(HERE, 0), [items[0], items[2]])
        (notice,) = store.take_notices()
        self.assertIn("1 of the unsent messages", notice)
        self.assertEqual(store.outbox(HERE, 0), [items[0], items[2]])
        self.assertEqual(store.take_notices(), [])

    def test_a_row_in_the_place_of_another(self) -> None:
        store = self.open()
        items = [Item(bytes([n] * 16), "+cellar", "text", b"%d" % n) for n in range(2)]
        store.keep(HERE, 0, items, 5)
        with store._database.change() as database:
            ((sealed,),) = database.execute("SELECT sealed FROM outbox WHERE msgid = ?", (items[0].msgid,))
            database.execute("UPDATE outbox SET sealed = ? WHERE msgid = ?", (sealed, items[1].msgid))
        self.assertEqual(store.outbox(HERE, 0), [items[0]])

    def test_settings(self) -> None:
        store = self.open()
        store.set("bell", "off")
        store.set("bell", "all")
        store.close()
        self.assertEqual(self.open().settings(), {"bell": "all"})


class Damage(KeyTestCase):
    """What was typed is saved from a damaged file, where SQLite can still read it."""

    def setUp(self) -> None:
        super().setUp()
        self.store = Store.open(self.directory)
        self.addCleanup(self.close)
        self.items = [Item(n.to_bytes(16, "big"), "+cellar", "text", b"%d" % n * 20) for n in range(400)]
        self.store.keep(HERE, 0, self.items, 5)
        self.store.pin(Pin(HERE, "hrsa1", "SHA256:a", False, 5), replace=False)
        self.store.save_positions("S", bytes(16), {"+cellar": Position(1, bytes(32))})

    def close(self) -> None:
        self.store.close()

    def damage(self, page: int) -> None:
        self.store.close()
        path = self.directory / FILE
        content = bytearray(path.read_bytes())
        content[4096 * page : 4096 * (page + 1)] = b"\xff" * 4096
        path.write_bytes(content)

    def reopen(self) -> list[str]:
        self.store = Store.open(self.directory)
        return self.store.take_notices()

    def leaf_of_the_outbox(self) -> int:
        """A page in the middle of the outbox's rows."""
        self.store.close()
        content = (self.directory / FILE).read_bytes()
        leaves = [n for n in range(len(content) // 4096) if content[n * 4096] == 0x0D]
        largest = sorted(leaves, key=lambda n: content[n * 4096 + 3 : n * 4096 + 5])
        return largest[len(largest) // 2]

    def test_all_but_the_damaged_page(self) -> None:
        self.damage(self.leaf_of_the_outbox())
        (notice,) = self.reopen()
        saved = self.store.outbox(HERE, 0)
        self.assertGreater(len(saved), 300)
        self.assertLess(len(saved), 400)
        self.assertIn(f"{len(saved)} unsent", notice)
        self.assertEqual(saved, [item for item in self.items if item in saved])
        self.assertIn(self.items[0], saved)
        self.assertIn(self.items[-1], saved)
        self.assertEqual(len(self.store.pins(HERE)), 1)

    def test_any_page_leaves_a_store_that_works(self) -> None:
        self.store.close()
        whole = (self.directory / FILE).read_bytes()
        for page in range(len(whole) // 4096):
            (self.directory / FILE).write_bytes(whole)
            self.damage(page)
            notices = self.reopen()
            self.assertLessEqual(len(notices), 1)
            more = Item(b"m" * 16, "+cellar", "text", b"more")
            self.store.keep(HERE, 0, [more], 5)
            self.assertIn(more, self.store.outbox(HERE, 0))
            self.store.close()

    def test_what_is_only_in_the_journal_is_saved_too(self) -> None:
        """As after a crash: the last line is in the WAL, and the database itself is damaged."""
        last = Item(b"l" * 16, "+cellar", "text", b"the last line")
        page = self.leaf_of_the_outbox()
        self.store = Store.open(self.directory)
        self.store.keep(HERE, 0, [last], 5)
        kept = {path.name: path.read_bytes() for path in self.directory.glob("client.sqlite*")}
        self.assertIn("client.sqlite-wal", kept)
        self.store.close()
        content = bytearray(kept[FILE])
        content[4096 * page : 4096 * (page + 1)] = b"\xff" * 4096
        (self.directory / FILE).write_bytes(content)
        (self.directory / f"{FILE}-wal").write_bytes(kept[f"{FILE}-wal"])
        self.reopen()
        self.assertIn(last, self.store.outbox(HERE, 0))

    def test_every_table_is_saved_or_left_on_purpose(self) -> None:
        database = self.store._database
        tables = {
            name
            for (name,) in database.read("SELECT name FROM sqlite_schema WHERE type = 'table'")
            if not name.startswith("sqlite_")
        }
        self.assertEqual(tables, {*salvage._PLAIN, *salvage._SEALED, *salvage.LEFT})
        for table, columns in (salvage._PLAIN | salvage._SEALED).items():
            database.read(f"SELECT rowid, {columns} FROM {table}")

    def test_under_another_key_only_what_is_not_sealed(self) -> None:
        self.damage(self.leaf_of_the_outbox())
        self.path.unlink()
        self.assertTrue(self.reopen())
        self.assertEqual(self.store.outbox(HERE, 0), [])
