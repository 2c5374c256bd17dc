"""What a device keeps: written before anything gets out, unreadable to others, and known to be old when it
is."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import effects as fx
from encchat.core.sealed.keeper import Keeper, MemoryStore, Record, StateUnreadable
from encchat.core.sealed.mail import OlmState
from encchat.core.sealed.own import OtherIdentity, OwnState
from encchat.core.sealed.payload import MAX_SAID, TooLong
from encchat.core.sealed.roomkeys import KeyState
from encchat.core.sealed.sending import MAX_OUTGOING, TooManyWaiting
from encchat.core.sealed.vault import NotSealed, Vault
from encchat.errors import StorageError
from tests.core.sealed.world import KEY, Person, Server, identity, room_of, sync


class Thing(msgspec.Struct):
    """Something to keep."""

    text: str


class Failing(MemoryStore):
    """A store whose disk can be full."""

    full = False
    writes = 0

    def write(self, records: Sequence[Record]) -> None:
        if self.full:
            raise StorageError(reason="the disk is full")
        self.writes += 1
        super().write(records)


def copy(store: MemoryStore) -> MemoryStore:
    """A backup of the whole file."""
    other = MemoryStore()
    other.records = dict(store.records)
    return other


class Records(SynchronousTestCase):
    """Each record is sealed in its own place."""

    def keeper(self, store: MemoryStore, key: bytes = KEY) -> Keeper:
        count = iter(range(1000))
        return Keeper(store, key, lambda n: next(count).to_bytes(n, "big"))

    def setUp(self) -> None:
        self.store = MemoryStore()
        keeper = self.keeper(self.store)
        for id in ("a", "b"):
            keeper.put("thing", id, Thing(f"secret {id}"))
        keeper.flush()

    def test_kept(self) -> None:
        """What was flushed is there in the next process; what was not is not."""
        keeper = self.keeper(self.store)
        self.assertEqual(keeper.get("thing", "a", Thing), Thing("secret a"))
        self.assertEqual([id for id, _ in keeper.scan("thing", Thing)], ["a", "b"])
        keeper.put("thing", "c", Thing("c"))
        keeper.drop("thing", "a")
        self.assertEqual([id for id, _ in keeper.scan("thing", Thing)], ["b", "c"])
        self.assertIsNone(self.keeper(self.store).get("thing", "c", Thing))
        keeper.flush()
        self.assertEqual([id for id, _ in self.keeper(self.store).scan("thing", Thing)], ["b", "c"])

    def test_generations(self) -> None:
        """Each write raises the record's generation, across processes."""
        for generation in (2, 3, 4):
            keeper = self.keeper(self.store)
            keeper.put("thing", "a", Thing("again"))
            keeper.flush()
            self.assertEqual(self.store.records["thing", "a"].generation, generation)

    def test_not_readable(self) -> None:
        """Nothing of it is in the store in the clear, and another key opens nothing."""
        self.assertFalse(any(b"secret" in (r.data or b"") for r in self.store.records.values()))
        with self.assertRaises(StateUnreadable):
            self.keeper(self.store, bytes(32)).get("thing", "a", Thing)
        self.assertEqual(list(self.keeper(self.store, bytes(32)).scan("thing", Thing)), [])

    def test_moved(self) -> None:
        """A record put in another's place, under another kind or generation, or changed, is not read."""
        good = self.store.records["thing", "a"]
        assert good.data is not None
        for place, record in (
            (("thing", "b"), Record("thing", "b", 1, good.data)),
            (("other", "a"), Record("other", "a", 1, good.data)),
            (("thing", "a"), Record("thing", "a", 2, good.data)),
            (("thing", "a"), Record("thing", "a", 1, good.data[:-1] + bytes([good.data[-1] ^ 1]))),
            (("thing", "a"), Record("thing", "a", 1, b"\x02" + good.data[1:])),
            (("thing", "a"), Record("thing", "a", 1, b"")),
        ):
            self.store.records[place] = record
            with self.assertRaises(StateUnreadable):
                self.keeper(self.store).get(place[0], place[1], Thing)


class Durable(SynchronousTestCase):
    """Nothing gets out of a vault before its state is written."""

    def test_disk_full(self) -> None:
        """With a full disk nothing is sent, nothing is lost, and all goes on when there is room again."""
        server, store = Server(), Failing()
        alice, bob = Person(server, "alice", store=store), Person(server, "bob")
        room = room_of(server, alice, bob)
        alice.say(room, "one")
        sync(alice, bob)
        store.full = True
        length, mail = len(server.logs[room]), dict(server.mail)
        with self.assertRaises(StorageError):
            alice.say(room, "two")
        with self.assertRaises(StorageError):
            alice.tick(1)
        self.assertEqual((len(server.logs[room]), server.mail), (length, mail))
        store.full = False
        alice.tick(1)
        sync(alice, bob)
        self.assertEqual(list(bob.texts(room).values()), ["one", "two"])

    def test_written_once_a_call(self) -> None:
        """However much one call does, it is one write."""
        server, store = Server(), Failing()
        alice, bob = Person(server, "alice", store=store), Person(server, "bob")
        room = room_of(server, alice, bob)
        before = store.writes
        alice.vault.send(room, bytes(16), "text", b"x", server.now)
        self.assertEqual(store.writes, before + 1)

    def test_same_bytes_again(self) -> None:
        """A message whose acknowledgement was lost goes again as the same bytes, after a restart too."""
        server = Server()
        alice, bob = Person(server, "alice"), Person(server, "bob")
        room = room_of(server, alice, bob)
        first = alice.vault.send(room, bytes(16), "text", b"x", server.now)
        sent = [action for action in first.actions if isinstance(action, fx.Append)]
        alice.restart()
        alice.sync()
        self.assertEqual([e.body for e in server.logs[room][1:]], [sent[0].body])
        alice.restart()
        alice.sync()
        sync(alice, bob)
        self.assertEqual((len(server.logs[room]), alice.vault.outgoing()), (2, []))
        self.assertEqual(bob.of(fx.Waiting), bob.of(fx.Waiting)[:1])

    def test_no_session_for_sending_survives(self) -> None:
        """Nothing in the store could encrypt to a room; and what is stored of ours is for reading only."""
        server = Server()
        alice, bob = Person(server, "alice"), Person(server, "bob")
        room = room_of(server, alice, bob)
        alice.say(room, "hello")
        kinds = {kind for kind, _ in alice.store.records}
        self.assertLessEqual(
            kinds, {"device", "peer", "olm", "key", "room", "place", "chain", "marks", "lane", "out"}
        )


class Old(SynchronousTestCase):
    """State from before: a copy of the file was put back."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")
        self.room = room_of(self.server, self.alice, self.bob)
        self.alice.say(self.room, "one")
        sync(self.alice, self.bob)

    def roll_back(self, store: MemoryStore) -> Person:
        """Alice's client starts on an old copy."""
        self.alice.disconnect()
        old = Person(self.server, "alice", store=store, seed=7)
        old.rooms = {self.room}
        return old

    def judge(self, old: Person) -> None:
        """It finds out, sends nothing, and becomes another device that works."""
        old.say(self.room, "before I know")
        device, claims = old.vault.device, len(self.server.one_time[self.bob.vault.device])
        old.sync()
        self.assertEqual(len(old.of(fx.RolledBack)), 1)
        self.assertNotIn("before I know", self.bob.texts(self.room).values())
        old.do(old.vault.renew(self.server.now))
        old.sync()
        self.assertNotEqual(old.vault.device, device)
        self.server.now += 3600 * 1000
        sync(old, self.bob, old)
        self.assertIn("before I know", self.bob.texts(self.room).values())
        self.assertLess(len(self.server.one_time[self.bob.vault.device]), claims)
        self.bob.say(self.room, "hello new device")
        sync(self.bob, old)
        self.assertIn("hello new device", old.texts(self.room).values())
        self.assertEqual([c.device.id for c in self.bob.vault.devices_of("alice")], [old.vault.device])

    def test_same_session(self) -> None:
        """The old copy knows the session, not how far it went."""
        store = copy(self.alice.store)
        self.alice.say(self.room, "two")
        self.alice.sync()
        self.judge(self.roll_back(store))

    def test_later_session(self) -> None:
        """The old copy does not know the session at all: the message's mark shows that it is our own."""
        store = copy(self.alice.store)
        self.alice.restart()
        self.alice.sync()
        self.alice.say(self.room, "two")
        self.alice.sync()
        self.judge(self.roll_back(store))

    def test_made_up(self) -> None:
        """The server shows bob's message as one of this very device: that is no reason to give it up."""
        self.bob.say(self.room, "hello")
        self.alice.sync()
        entry = self.server.logs[self.room][-1]
        device = self.alice.vault.device
        seq = self.server.put(self.room, "alice", device, "sealed", entry.msgid, entry.body)
        self.alice.sync()
        self.assertEqual(self.alice.codes(self.room)[seq], "wrong-sender")
        self.assertEqual(self.alice.of(fx.RolledBack), [])

    def test_restart(self) -> None:
        """An ordinary restart is none."""
        for _ in range(3):
            self.alice.restart()
            self.alice.sync()
            self.alice.say(self.room, "again")
            sync(self.alice, self.bob)
        self.assertEqual(self.alice.of(fx.RolledBack), [])
        self.assertEqual(list(self.bob.texts(self.room).values()), ["one"] + ["again"] * 3)


class Unreadable(SynchronousTestCase):
    """Pickles of another version of vodozemac, and files of another key."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")
        self.room = room_of(self.server, self.alice, self.bob)
        self.alice.say(self.room, "one")
        sync(self.alice, self.bob)
        self.bob.say(self.room, "two")
        sync(self.alice, self.bob)

    def spoil(self, kind: str, type: type[OlmState] | type[KeyState] | type[OwnState]) -> None:
        """Make the pickles of a kind of record those of another version."""
        keeper = Keeper(self.bob.store, KEY, self.bob.random.randbytes)
        for id, state in list(keeper.scan(kind, type)):
            if isinstance(state, OlmState):
                state.sessions = ["AAAA"] * len(state.sessions)
            else:
                state.pickle = "AAAA"
            keeper.put(kind, id, state)
        keeper.flush()

    def test_device(self) -> None:
        """The device's own keys: said so, and nothing is overwritten."""
        self.spoil("device", OwnState)
        before = dict(self.bob.store.records)
        with self.assertRaises(StateUnreadable):
            self.bob.restart()
        self.assertEqual(self.bob.store.records, before)

    def test_wrong_key(self) -> None:
        """The file of another key: the same."""
        with self.assertRaises(StateUnreadable):
            Vault(self.bob.store, bytes(32), "bob", identity("bob"), self.bob.random.randbytes, 0)

    def test_other_identity(self) -> None:
        """The file of another identity: without an authority it is another person's."""
        with self.assertRaises(OtherIdentity):
            Vault(self.bob.store, KEY, "bob", identity("another bob"), self.bob.random.randbytes, 0)

    def test_sessions(self) -> None:
        """Olm sessions: made anew."""
        self.spoil("olm", OlmState)
        self.bob.restart()
        self.bob.sync()
        self.bob.say(self.room, "still here")
        sync(self.alice, self.bob)
        self.assertIn("still here", self.alice.texts(self.room).values())

    def test_room_keys(self) -> None:
        """Room keys: what they opened is shown as failed, what comes with new ones is read."""
        self.spoil("key", KeyState)
        self.alice.say(self.room, "three")
        self.bob.restart()
        self.bob.sync()
        self.assertEqual(list(self.bob.codes(self.room).values()), ["tampered"])
        self.alice.restart()
        self.alice.sync()
        self.alice.say(self.room, "four")
        sync(self.alice, self.bob)
        self.assertIn("four", self.bob.texts(self.room).values())


class Bounds(SynchronousTestCase):
    """What a person can ask of a vault has bounds, too."""

    def test_bounds(self) -> None:
        """Messages that are too long, too many, or for an open room."""
        server = Server()
        alice = Person(server, "alice")
        for room in ("+tea", "tea", "@alice", "@b&a", "#" + "x" * 40, "#Tea"):
            with self.assertRaises(NotSealed):
                alice.vault.send(room, bytes(16), "text", b"x", server.now)
        with self.assertRaises(TooLong):
            alice.vault.send("#tea", bytes(16), "text", b"x" * (MAX_SAID + 1), server.now)
        for number in range(MAX_OUTGOING):
            alice.vault.send("#tea", number.to_bytes(16, "big"), "text", b"x", server.now)
        with self.assertRaises(TooManyWaiting):
            alice.vault.send("#tea", b"y" * 16, "text", b"x", server.now)

    def test_longest(self) -> None:
        """The longest message arrives, and its entry fits the log."""
        server = Server()
        alice, bob = Person(server, "alice"), Person(server, "bob")
        room = room_of(server, alice, bob)
        alice.say(room, "x" * MAX_SAID)
        sync(alice, bob)
        self.assertEqual(len(bob.texts(room)[2]), MAX_SAID)
        self.assertLess(len(server.logs[room][-1].body), 64 * 1024)
