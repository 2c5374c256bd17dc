"""What the store keeps of sealed rooms: found again, together or not at all, and in nobody's place."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from encchat.client.store import Store
from encchat.client.store import records as records_module
from encchat.client.store.locks import Lock
from encchat.core.sealed.keeper import Record

LOG = b"L" * 16


class StoreCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.store = Store.open(self.home)
        self.addCleanup(self.store.close)
        self.records = self.store.records("a server")


class Kept(StoreCase):
    def test_records(self) -> None:
        self.assertIsNone(self.records.get("room", "#tea"))
        self.records.write([Record("room", "#tea", 1, b"one"), Record("room", "#oak", 4, b"two")])
        self.records.write([Record("room", "#tea", 2, b"three"), Record("key", "#tea", 1, b"other kind")])
        again = self.store.records("a server")
        self.assertEqual(again.get("room", "#tea"), Record("room", "#tea", 2, b"three"))
        self.assertEqual([x.id for x in again.scan("room", "")], ["#oak", "#tea"])
        self.assertEqual([x.id for x in again.scan("room", "#t")], ["#tea"])
        again.write([Record("room", "#tea", 3, None)])
        self.assertIsNone(self.store.records("a server").get("room", "#tea"))
        self.assertEqual([x.id for x in again.scan("room", "")], ["#oak"])
        again.forget("room")
        self.assertEqual(list(again.scan("room", "")), [])
        self.assertEqual([x.id for x in again.scan("key", "")], ["#tea"])

    def test_of_each_server(self) -> None:
        self.records.write([Record("room", "#tea", 1, b"one")])
        other = self.store.records("another")
        self.assertIsNone(other.get("room", "#tea"))
        self.assertEqual(list(other.scan("room", "")), [])
        self.assertNotEqual(other.name, self.records.name)

    def test_together_or_not_at_all(self) -> None:
        self.records.write([Record("room", "#tea", 1, b"one")])

        def fail() -> None:
            with self.records.batch():
                self.records.write([Record("room", "#tea", 2, b"two"), Record("room", "#new", 1, b"x")])
                self.records.say(LOG, "#tea", 1, b"said")
                self.assertEqual(self.records.said(LOG, "#tea", 1), b"said")
                raise KeyError

        self.assertRaises(KeyError, fail)
        self.assertEqual(self.records.get("room", "#tea"), Record("room", "#tea", 1, b"one"))
        self.assertEqual([x.id for x in self.records.scan("room", "")], ["#tea"])
        self.assertIsNone(self.records.said(LOG, "#tea", 1))
        with self.records.batch():
            self.records.write([Record("room", "#tea", 2, b"two")])
            self.records.say(LOG, "#tea", 1, b"said")
        self.assertEqual(self.records.said(LOG, "#tea", 1), b"said")

    def test_said(self) -> None:
        for seq in range(1, 501):
            self.records.say(LOG, "#tea", seq, b"entry %d" % seq)
        self.records.say(LOG, "#tea", 0, b"a note")
        self.records.say(LOG, "#tea", 7, b"seven anew")
        back = list(self.records.said_before(LOG, "#tea", 9))
        self.assertEqual(back[:3], [b"entry 8", b"seven anew", b"entry 6"])
        self.assertEqual(len(back), 8)
        self.assertEqual(len(list(self.records.said_before(LOG, "#tea", 2**62))), 500)
        self.assertEqual(self.records.said_after(LOG, "#tea", 498, 10), [b"entry 499", b"entry 500"])
        self.assertEqual(self.records.said(LOG, "#tea", 0), b"a note")
        self.assertEqual(list(self.records.said_before(b"M" * 16, "#tea", 9)), [])

    def test_bounded(self) -> None:
        self.patch(records_module, "MAX_SAID", 10)
        for seq in (1, 985, 990, 991, 1000):
            self.records.say(LOG, "#tea", seq, b"entry")
        self.assertEqual(len(list(self.records.said_before(LOG, "#tea", 2**62))), 2)

    def test_altered_rows_are_not_there(self) -> None:
        self.records.write([Record("room", "#tea", 1, b"one"), Record("room", "#oak", 1, b"two")])
        self.records.say(LOG, "#tea", 1, b"one")
        self.records.say(LOG, "#tea", 2, b"two")
        database = self.store._database.connection
        with database:
            database.execute("UPDATE said SET sealed = (SELECT sealed FROM said WHERE seq = 1) WHERE seq = 2")
            database.execute("UPDATE records SET id = x'00' WHERE data = x'6f6e65'")
        again = self.store.records("a server")
        self.assertEqual(list(again.said_before(LOG, "#tea", 9)), [b"one"])
        self.assertEqual([x.id for x in again.scan("room", "")], ["#oak"])

    def test_nothing_in_the_clear(self) -> None:
        self.records.write([Record("room", "#tea/with bob", 1, b"sealed already")])
        self.records.say(LOG, "#tea", 1, b"what was said")
        self.store.close()
        for path in self.home.iterdir():
            for word in (b"#tea", b"bob", b"what was said"):
                self.assertNotIn(word, path.read_bytes())
        self.store = Store.open(self.home)


class Locks(StoreCase):
    def test_one_at_a_time(self) -> None:
        path = self.home / "sealed.lock"
        lock = Lock.take(path)
        assert lock is not None
        self.assertIsNone(Lock.take(path))
        lock.release()
        again = Lock.take(path)
        assert again is not None
        again.release()
