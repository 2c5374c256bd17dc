"""What was said while a roster was in doubt: shown as failed, and opened in its place once that counts."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import backlog
from encchat.core.sealed import effects as fx
from encchat.core.sealed.formats import encode
from encchat.core.sealed.payload import parse_sealed
from tests.core.sealed.world import Person, Server, identity, room_of, sync

OAK = "#oak"


class Confirmed(SynchronousTestCase):
    """Bob's laptop made a room, and was taken back before carol read it."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")
        self.laptop = Person(self.server, "bob", identity_=identity("bob's laptop"), seed=1)
        self.laptop.do(self.laptop.vault.accept_identity("bob", self.server.now))
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        waits = self.bob.of(fx.OwnDeviceWaits)[-1]
        self.bob.do(self.bob.vault.accept_device(waits.device, self.server.now))
        self.laptop.do(self.laptop.vault.ask_devices("bob", self.server.now))
        self.carol = Person(self.server, "carol")
        self.laptop.change(OAK, create=True, add=("alice", "bob", "carol"))
        for person in (self.alice, self.bob, self.laptop, self.carol):
            person.rooms.add(OAK)
        sync(self.alice, self.bob, self.laptop)
        for text in ("one", "two"):
            self.alice.say(OAK, text)
            self.bob.say(OAK, text + " too")
            sync(self.alice, self.bob)
        self.bob.do(self.bob.vault.revoke_device(self.laptop.vault.device, self.server.now))
        self.carol.do(self.carol.vault.ask_devices("bob", self.server.now))

    def test_opened_in_order_once_it_counts(self) -> None:
        """First they are failed, as nobody was surely in the room; then each is opened, in order, in its
        place, and once."""
        self.carol.sync()
        self.assertIsNone(self.carol.vault.roster(OAK))
        self.assertEqual(set(self.carol.codes(OAK).values()), {"not-a-member"})
        self.assertEqual(self.carol.texts(OAK), {})
        self.bob.change(OAK, promote=("alice",))
        sync(self.bob, self.carol)
        opened = self.carol.of(fx.Opened)
        self.assertEqual([(e.seq, e.body.decode(), e.late) for e in opened], self.said(late=True))
        changed = self.carol.of(fx.RosterChanged)
        self.assertEqual([(e.seq, e.epoch) for e in changed], [(1, 1), (6, 2)])
        self.carol.restart()
        self.carol.sync()
        self.assertEqual(len(self.carol.of(fx.Opened)), 4)

    def test_after_a_restart_and_without_keys(self) -> None:
        """What waits for the roster is kept; what has no key then waits for it."""
        self.server.mail[self.carol.vault.device].clear()
        self.carol.sync()
        self.carol.restart()
        self.bob.change(OAK, promote=("alice",))
        sync(self.bob, self.carol)
        self.assertEqual([e.seq for e in self.carol.of(fx.Waiting)], [2, 3, 4, 5])
        self.carol.tick(11)
        sync(self.alice, self.bob, self.carol)
        self.assertEqual({e.seq: e.body.decode() for e in self.carol.of(fx.Opened)}, self.carol.texts(OAK))
        self.assertEqual([e.seq for e in sorted(self.carol.of(fx.Opened), key=lambda e: e.seq)], [2, 3, 4, 5])

    def test_a_key_that_comes_after_the_roster(self) -> None:
        """Alice's sealed for the second roster while it was in doubt: its key comes when it counts."""
        self.carol.sync()
        self.bob.change(OAK, promote=("alice",))
        self.alice.read(OAK)
        self.alice.say(OAK, "to the promoted")
        self.bob.read(OAK)
        self.carol.read(OAK)
        self.assertEqual(self.carol.of(fx.Waiting)[-1].seq, 7)
        sync(self.carol)
        self.assertEqual(self.carol.texts(OAK)[7], "to the promoted")

    def test_never_counts(self) -> None:
        """Another roster takes its place: what was failed stays so, and is not kept."""
        self.carol.sync()
        self.assertEqual(len(list(self.carol.store.scan("held", ""))), 4)
        state = self.carol.vault._rooms.state(OAK)
        state.aside, state.aside_at = [], []
        self.carol.vault._rooms._in_doubt.clear()
        self.carol.vault._reading._look_again(OAK, ())
        self.carol.tick()
        self.assertEqual(len(list(self.carol.store.scan("held", ""))), 0)

    def said(self, *, late: bool) -> list[tuple[int, str, bool]]:
        texts = ("one", "one too", "two", "two too")
        return [(seq, text, late) for seq, text in enumerate(texts, 2)]


class Accepted(SynchronousTestCase):
    """Somebody with another key made a room, and a person accepts that key."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")
        self.bob.say(room_of(self.server, self.alice, self.bob), "so bob knows alice")
        sync(self.alice, self.bob)
        del self.server.lists["alice"], self.server.certificates["alice"]
        self.new = Person(self.server, "alice", identity_=identity("alice's new key"), seed=1)
        self.new.change(OAK, create=True, add=("bob",))
        for person in (self.new, self.bob):
            person.rooms.add(OAK)
        sync(self.new, self.bob)
        self.new.say(OAK, "said too early")
        sync(self.new, self.bob)

    def test_accepted(self) -> None:
        """What she said before is opened once its key was asked for, as its letter was not believed."""
        self.assertEqual(self.bob.texts(OAK), {})
        self.assertEqual(self.bob.codes(OAK), {2: "not-a-member"})
        self.bob.do(self.bob.vault.accept_identity("alice", self.server.now))
        self.bob.tick(11)
        sync(self.new, self.bob)
        self.assertEqual(self.bob.texts(OAK), {2: "said too early"})

    def test_not_accepted(self) -> None:
        """It stays failed, whatever else becomes known of anybody."""
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        self.bob.restart()
        sync(self.new, self.bob)
        self.assertEqual(self.bob.texts(OAK), {})


class Shares(SynchronousTestCase):
    """What cannot be opened yet is kept, so much of each."""

    def setUp(self) -> None:
        self.server = Server()
        self.people = [Person(self.server, name) for name in ("alice", "bob", "carol", "dave")]
        self.alice, self.bob, self.carol, self.dave = self.people
        self.room = room_of(self.server, *self.people)
        self.bob.say(self.room, "hello")
        sync(*self.people)
        self.entry = self.server.logs[self.room][-1]
        self.patch(backlog, "MAX_OF_DEVICE", 20)
        self.patch(backlog, "MAX_KEPT", 30)

    def flood(self, person: Person, count: int, device: str = "") -> None:
        """Entries whose key nobody has."""
        sealed = parse_sealed(self.entry.body)
        for _ in range(count):
            fake = encode(msgspec.structs.replace(sealed, session=person.random.randbytes(32)))
            bound = device or person.bound
            self.server.put(self.room, person.name, bound, "sealed", person.msgid(), fake)

    def late(self, person: Person, text: str) -> None:
        """Something whose key comes late."""
        self.alice.server.mail[self.alice.vault.device].clear()
        person.say(self.room, text)
        self.alice.server.mail[self.alice.vault.device].clear()

    def test_one_device_does_not_fill_what_is_for_others(self) -> None:
        """Bob's client sends what nobody can open; carol's late message is kept, and opened."""
        self.flood(self.bob, 25)
        self.late(self.carol, "from carol")
        self.alice.sync()
        self.assertEqual(sum(not e.kept for e in self.alice.of(fx.Waiting)), 5)
        self.carol.sync()
        self.alice.tick(11)
        sync(self.carol, self.alice)
        self.assertIn("from carol", self.alice.texts(self.room).values())

    def test_many_devices_give_way(self) -> None:
        """Somebody with many devices fills all there is, and gives way to who has less."""
        for device in ("a" * 32, "b" * 32):
            self.flood(self.bob, 20, device)
        self.alice.sync()
        self.assertEqual(sum(e.kept for e in self.alice.of(fx.Waiting)), 30)
        self.late(self.carol, "from carol")
        self.alice.sync()
        self.assertEqual([e.kept for e in self.alice.of(fx.Waiting)[-2:]], [False, True])
        self.carol.sync()
        self.alice.tick(11)
        sync(self.carol, self.alice)
        self.assertIn("from carol", self.alice.texts(self.room).values())
        self.alice.restart()
        self.assertEqual(len(self.alice.vault.waiting(self.room)), 29)
