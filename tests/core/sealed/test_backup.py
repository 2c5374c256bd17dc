"""Backups: what was read can be read again, on a new device, by who knows the passphrase; nothing else."""

from __future__ import annotations

import random

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import backup
from encchat.core.sealed import effects as fx
from encchat.core.sealed.backup import BackupUnreadable, Contents, WeakPassphrase, WrongPassphrase
from tests.core.sealed.world import Person, Server, identity, room_of, sync

PASSPHRASE = "correct horse battery"


class File(SynchronousTestCase):
    """The file itself. Its costs are lowered here, as its strength is not what is tried."""

    def setUp(self) -> None:
        self.patch(backup, "MEMORY_KIB", 64)
        self.contents = Contents("alice", 1, (), (), ())
        self.data = backup.seal(self.contents, PASSPHRASE, random.Random(1).randbytes)

    def test_round_trip(self) -> None:
        """With the passphrase it says what it said."""
        self.assertEqual(backup.open_(self.data, PASSPHRASE), self.contents)
        self.assertNotIn(b"alice", self.data)

    def test_wrong_passphrase(self) -> None:
        """Another passphrase opens nothing."""
        for passphrase in ("", "correct horse batterx", PASSPHRASE + " ", "\ud800" * 12):
            with self.assertRaises(WrongPassphrase):
                backup.open_(self.data, passphrase)

    def test_weak_passphrase(self) -> None:
        """A short one is refused when the backup is made."""
        with self.assertRaises(WeakPassphrase):
            backup.seal(self.contents, "short", random.Random(1).randbytes)

    def test_changed(self) -> None:
        """Any byte that was changed, anywhere, and any end that was cut off."""
        for at in range(len(self.data)):
            changed = self.data[:at] + bytes([self.data[at] ^ 1]) + self.data[at + 1 :]
            with self.assertRaises((WrongPassphrase, BackupUnreadable)):
                backup.open_(changed, PASSPHRASE)
        for end in range(len(self.data)):
            with self.assertRaises((WrongPassphrase, BackupUnreadable)):
                backup.open_(self.data[:end], PASSPHRASE)

    def test_costs_are_bounded(self) -> None:
        """A file cannot ask for any amount of memory or time."""
        for salt, memory, passes, lanes, nonce in (
            (bytes(16), 2**31, 1, 1, bytes(12)),
            (bytes(16), 64, 10**6, 1, bytes(12)),
            (bytes(16), 64, 1, 1000, bytes(12)),
            (bytes(16), 8, 1, 4, bytes(12)),
            (b"", 64, 1, 1, bytes(12)),
            (bytes(16), 64, 1, 1, b""),
        ):
            header = msgspec.msgpack.encode([salt, memory, passes, lanes, nonce])
            data = backup.MAGIC + len(header).to_bytes(2, "big") + header + bytes(100)
            with self.assertRaises(BackupUnreadable):
                backup.open_(data, PASSPHRASE)

    def test_strength(self) -> None:
        """What is written costs an attacker at least 64 MiB and three passes a guess."""
        self.doCleanups()
        self.assertGreaterEqual((backup.MEMORY_KIB, backup.PASSES), (64 * 1024, 3))
        data = backup.seal(self.contents, PASSPHRASE, random.Random(1).randbytes)
        self.assertEqual(backup.open_(data, PASSPHRASE), self.contents)


class Restored(SynchronousTestCase):
    """A machine is lost; there is a backup."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")
        self.room = room_of(self.server, self.alice, self.bob)
        self.alice.say(self.room, "from alice")
        self.bob.sync()
        self.bob.say(self.room, "from bob")
        sync(self.alice, self.bob)
        self.bob.do(self.bob.vault.verify(self.bob.vault.safety_number("alice"), self.server.now))
        self.contents = self.bob.vault.contents(self.server.now)

    def test_restored(self) -> None:
        """The new device reads what was read, as vouched for; whose it is, it still knows; and it has its own
        keys for everything that comes."""
        self.bob.disconnect()
        new = Person(self.server, "bob", seed=1)
        new.rooms = {self.room}
        count, outcome = new.vault.restore(self.contents, self.server.now)
        new.do(outcome)
        self.assertEqual(count, 2)
        new.sync()
        self.assertEqual(
            [(e.sender, e.body, e.vouched_by) for e in new.of(fx.Opened)],
            [("alice", b"from alice", "backup"), ("bob", b"from bob", "backup")],
        )
        self.assertEqual(new.vault.trust("alice"), fx.VERIFIED)
        self.assertNotEqual(new.vault.device, self.bob.vault.device)
        self.server.now += 3600 * 1000
        self.alice.say(self.room, "after")
        sync(self.alice, new)
        self.assertEqual(new.of(fx.Opened)[-1].vouched_by, "")

    def test_on_a_machine_with_another_key(self) -> None:
        """A new machine of bob's reads his own words and the others', as vouched for, also before the first
        machine's key was accepted there."""
        other = Person(self.server, "bob", identity_=identity("bob's next machine"), seed=1)
        other.rooms = {self.room}
        other.do(other.vault.restore(self.contents, self.server.now)[1])
        other.sync()
        self.assertEqual(other.codes(self.room), {})
        self.assertEqual(other.texts(self.room), {2: "from alice", 3: "from bob"})
        self.assertEqual({e.vouched_by for e in other.of(fx.Opened)}, {"backup"})

    def test_waiting_entries_open(self) -> None:
        """What was read before the backup was restored, and waited, is opened by it."""
        new = Person(self.server, "bob", seed=1)
        new.rooms = {self.room}
        new.sync()
        self.assertEqual(new.texts(self.room), {})
        new.do(new.vault.restore(self.contents, self.server.now)[1])
        self.assertEqual(new.texts(self.room), {2: "from alice", 3: "from bob"})

    def test_no_secrets_for_sending(self) -> None:
        """Neither the device's keys nor any session for sending is in it."""
        packed = msgspec.msgpack.encode(self.contents)
        self.assertNotIn(self.bob.vault._own.state.pickle.encode()[:100], packed)
        self.assertNotIn(self.bob.vault._own.state.secret, packed)
        self.assertEqual(set(Contents.__struct_fields__), {"user", "created", "keys", "pins", "rooms"})

    def test_not_ours(self) -> None:
        """A backup of another name is not mixed in."""
        with self.assertRaises(BackupUnreadable):
            self.alice.vault.restore(self.contents, self.server.now)

    def test_never_worse(self) -> None:
        """What a device has proved is not replaced, and who is pinned is not moved."""
        forged = msgspec.structs.replace(
            self.contents,
            pins=tuple(msgspec.structs.replace(pin, identity=bytes(32)) for pin in self.contents.pins),
        )
        count, outcome = self.bob.vault.restore(forged, self.server.now)
        self.assertEqual((count, outcome.events), (0, ()))
        self.assertEqual(self.bob.vault.trust("alice"), fx.VERIFIED)
        self.assertNotEqual(self.bob.vault.contacts.peer("alice").identity, bytes(32))

    def test_another_room(self) -> None:
        """The backup knows which room has the name: the server cannot show another one."""
        self.bob.disconnect()
        new = Person(self.server, "bob", seed=1)
        new.do(new.vault.restore(self.contents, self.server.now)[1])
        del self.server.logs[self.room]
        eve = Person(self.server, "eve", identity_=identity("eve"))
        eve.change(self.room, create=True, add=("bob", "alice"))
        new.read(self.room)
        self.assertIn("the backup", new.of(fx.RosterRejected)[-1].reason)
        self.assertIsNone(new.vault.roster(self.room))
