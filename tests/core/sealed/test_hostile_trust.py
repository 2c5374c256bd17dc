"""Whom a room, a message or a roster is believed of: a server, an old device or a member that want more."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import effects as fx
from encchat.core.sealed import ratchets
from encchat.core.sealed.changes import Change, next_roster, signed_roster
from encchat.core.sealed.formats import (
    ALG_ROOM,
    Roster,
    RosterMember,
    SignedRoster,
    digest,
    encode,
    identity_of,
    parse_roster,
)
from tests.core.sealed.test_people import Authority
from tests.core.sealed.world import Person, Server, identity, room_of, sync


class SetAside(SynchronousTestCase):
    """A roster whose signer is in doubt counts only once one follows whose signer may change the room
    anyway."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = (Person(self.server, name) for name in ("alice", "bob"))
        self.room = room_of(self.server, self.alice, self.bob)
        self.ghost = Person(self.server, "ghost")
        self.fake = Person(Server(), "alice", identity_=identity("somebody else"), seed=7)

    def put(self, prev: bytes, epoch: int, names: tuple[str, ...], by: Person, **more: object) -> bytes:
        """A roster that the server puts into the log; returns its hash."""
        members = tuple(RosterMember(name, identity_of(identity(name).spki)) for name in names)
        admins = more.get("admins", ("alice", "ghost"))
        assert isinstance(admins, tuple)
        roster = Roster(self.room, epoch, prev, members, admins, "admins", by.name, 0, bytes(16))
        own, data = by.vault._own, encode(roster)
        body = encode(SignedRoster(ALG_ROOM, data, ratchets.sign(own.account, data), own.certificate.raw))
        self.server.put(self.room, by.name, own.id, "roster", bytes(16), body)
        return digest("encchat/roster/1", data)

    def assertUntouched(self) -> None:
        """Nobody came in, and the ghost reads nothing."""
        for person in (self.alice, self.bob):
            roster = person.vault.roster(self.room)
            assert roster is not None
            self.assertEqual(set(roster.identities), {"alice", "bob"})
        self.alice.say(self.room, "only us")
        self.ghost.rooms.add(self.room)
        sync(self.alice, self.bob, self.ghost)
        self.assertIn("only us", self.bob.texts(self.room).values())
        self.assertEqual(self.ghost.texts(self.room), {})

    def test_forged_and_confirmed_by_the_ghost(self) -> None:
        """The server lets a ghost in by a roster in alice's name, of a key of its own, and has the ghost sign
        the next one: neither counts."""
        before = parse_roster(self.server.logs[self.room][0].body).hash
        forged = self.put(before, 2, ("alice", "bob", "ghost"), self.fake)
        self.put(forged, 3, ("alice", "bob", "ghost"), self.ghost, admins=("alice", "bob", "ghost"))
        sync(self.alice, self.bob)
        self.assertUntouched()
        self.bob.vault._rooms.reconsider(self.room)
        self.assertUntouched()

    def test_forged_and_confirmed_by_a_member(self) -> None:
        """A member without that right, crowned by the forged roster, cannot confirm it either."""
        before = parse_roster(self.server.logs[self.room][0].body).hash
        forged = self.put(before, 2, ("alice", "bob"), self.fake, admins=("alice", "bob"))
        self.put(forged, 3, ("alice", "bob", "ghost"), self.bob, admins=("alice", "bob"))
        self.alice.read(self.room)
        roster = self.alice.vault.roster(self.room)
        assert roster is not None
        self.assertEqual((roster.admins, set(roster.identities)), (("alice",), {"alice", "bob"}))

    def test_many_forged(self) -> None:
        """Forged ones do not keep a true one from counting."""
        before = parse_roster(self.server.logs[self.room][0].body).hash
        for epoch in range(2, 40):
            before = self.put(before, epoch, ("alice", "bob", "ghost"), self.fake)
        sync(self.alice, self.bob)
        self.alice.change(self.room, promote=("bob",))
        sync(self.alice, self.bob)
        roster = self.bob.vault.roster(self.room)
        assert roster is not None
        self.assertEqual(set(roster.admins), {"alice", "bob"})

    def test_under_an_authority(self) -> None:
        """Somebody with a certificate, and the server's help, cannot let themselves in."""
        server, ca = Server(), Authority()
        self.server = server
        self.alice, self.bob, self.ghost = (
            Person(server, name, identity_=ca.issue(name, name), vouches=ca)
            for name in ("alice", "bob", "ghost")
        )
        room_of(server, self.alice, self.bob)
        self.test_forged_and_confirmed_by_the_ghost()


class Impostor(SynchronousTestCase):
    """Bob met somebody who claimed to be alice; then he compared the true one."""

    def setUp(self) -> None:
        self.server = Server()
        self.bob = Person(self.server, "bob")
        self.fake = Person(self.server, "alice", identity_=identity("an impostor"), seed=9)
        self.room = room_of(self.server, self.fake, self.bob)
        self.fake.say(self.room, "it is me")
        sync(self.fake, self.bob)
        self.fake.say(self.room, "still me")
        self.fake.online = False
        del self.server.lists["alice"], self.server.certificates["alice"]
        self.alice = Person(self.server, "alice")
        self.server.now += 3600 * 1000
        self.bob.do(self.bob.vault.ask_devices("alice", self.server.now))
        self.bob.do(self.bob.vault.verify(self.bob.vault.safety_number("alice"), self.server.now))

    def test_what_the_impostor_says_is_not_verified(self) -> None:
        """The impostor goes on with the key that bob has: it is not shown as from the verified alice."""
        self.assertEqual(self.bob.vault.trust("alice"), fx.VERIFIED)
        self.bob.read(self.room)
        opened = self.bob.of(fx.Opened)
        self.assertEqual(opened[-1].body, b"still me")
        self.assertEqual(opened[-1].trust, fx.CHANGED)
        again = self.bob.vault.again(self.server.logs[self.room][-1])
        assert isinstance(again, fx.Opened)
        self.assertEqual(again.trust, fx.CHANGED)

    def test_their_room_is_not_verified(self) -> None:
        """The room that names the impostor is not shown as one with the verified alice."""
        self.assertEqual(self.bob.vault.room_trust(self.room), fx.CHANGED)
        self.assertEqual(self.bob.vault.trust_in(self.room, "alice"), fx.CHANGED)


class NoLongerVouchedFor(SynchronousTestCase):
    """The authority takes back bob's certificate, as somebody stole his key; the server helps the thief."""

    def setUp(self) -> None:
        self.server, self.ca = Server(), Authority()
        self.alice, self.bob = (
            Person(self.server, name, identity_=self.ca.issue(name, name), vouches=self.ca)
            for name in ("alice", "bob")
        )
        self.room = room_of(self.server, self.alice, self.bob)
        self.alice.change(self.room, promote=("bob",))
        self.bob.say(self.room, "hello")
        sync(self.alice, self.bob)

    def revoke(self) -> None:
        """Bob's certificate counts no more, and the answers about him stop."""
        self.ca.vouched.discard(("bob", identity("bob").spki))
        self.server.now += 3600 * 1000

    def test_withheld_answers(self) -> None:
        """The server says nothing of bob's devices any more: they get no key all the same."""
        self.revoke()
        listing, certificates = self.server.lists.pop("bob"), self.server.certificates.pop("bob")
        self.alice.say(self.room, "not for the thief")
        sync(self.alice, self.bob)
        self.assertNotIn("not for the thief", self.bob.texts(self.room).values())
        self.assertEqual(self.alice.of(fx.Unreachable)[-1].names, ("bob",))
        self.ca.vouched.add(("bob", identity("bob").spki))
        self.server.lists["bob"], self.server.certificates["bob"] = listing, certificates
        self.server.now += 3600 * 1000
        self.alice.say(self.room, "bob again")
        sync(self.alice, self.bob)
        self.assertIn("bob again", self.bob.texts(self.room).values())
        self.assertEqual(self.alice.vault.trust("bob"), fx.VOUCHED)

    def test_what_the_thief_says(self) -> None:
        """It is not shown as from somebody whom the authority vouches for; nor from somebody verified."""
        self.alice.do(self.alice.vault.verify(self.alice.vault.safety_number("bob"), self.server.now))
        self.revoke()
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        self.bob.say(self.room, "it is me")
        sync(self.alice, self.bob)
        self.assertEqual(self.alice.of(fx.Opened)[-1].body, b"it is me")
        self.assertEqual(self.alice.of(fx.Opened)[-1].trust, fx.UNKNOWN)
        self.assertEqual(self.alice.vault.room_trust(self.room), fx.UNKNOWN)

    def test_what_the_thief_changes(self) -> None:
        """The thief's rosters are set aside."""
        eve = Person(self.server, "eve", identity_=self.ca.issue("eve", "eve"), vouches=self.ca)
        self.revoke()
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        self.bob.change(self.room, add=("eve",))
        sync(self.alice, self.bob, eve)
        roster = self.alice.vault.roster(self.room)
        assert roster is not None
        self.assertEqual(set(roster.identities), {"alice", "bob"})


class Withheld(SynchronousTestCase):
    """The server shows something old to somebody who knows from elsewhere that there is something newer."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")

    def test_an_old_list_against_a_message(self) -> None:
        """Bob took a stolen machine back, and says so in what he writes; the server shows alice the list from
        before: she encrypts for none of its devices, as the stolen one is among them."""
        thief = Person(self.server, "bob", identity_=identity("bob's laptop"), seed=1)
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        self.bob.do(self.bob.vault.accept_device(thief.vault.device, self.server.now))
        thief.do(thief.vault.ask_devices("bob", self.server.now))
        room = room_of(self.server, self.alice, self.bob)
        self.alice.say(room, "to both")
        thief.rooms.add(room)
        sync(self.alice, self.bob, thief)
        self.assertIn("to both", thief.texts(room).values())
        old = self.server.lists["bob"]
        self.bob.do(self.bob.vault.revoke_device(thief.vault.device, self.server.now))
        new, self.server.lists["bob"] = self.server.lists["bob"], old
        self.bob.say(room, "my laptop is gone")
        sync(self.alice, self.bob)
        self.alice.say(room, "not for the thief")
        sync(self.alice, self.bob, thief)
        self.assertNotIn("not for the thief", thief.texts(room).values())
        self.assertEqual(self.alice.of(fx.Unreachable)[-1].names, ("bob",))
        self.server.lists["bob"] = new
        self.server.now += 3600 * 1000
        self.alice.say(room, "bob again")
        sync(self.alice, self.bob, thief)
        self.assertIn("bob again", self.bob.texts(room).values())
        self.assertNotIn("bob again", thief.texts(room).values())

    def test_an_old_list_against_a_roster(self) -> None:
        """As before, and the thief lets somebody into a room of bob's: alice, who knows that there is a newer
        list, sets it aside; once she has that list and bob goes on, it never counted."""
        thief = Person(self.server, "bob", identity_=identity("bob's laptop"), seed=1)
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        self.bob.do(self.bob.vault.accept_device(thief.vault.device, self.server.now))
        thief.do(thief.vault.ask_devices("bob", self.server.now))
        eve = Person(self.server, "eve")
        room = room_of(self.server, self.bob, self.alice)
        thief.rooms.add(room)
        self.alice.say(room, "hello")
        sync(self.alice, self.bob, thief)
        old = self.server.lists["bob"]
        self.bob.do(self.bob.vault.revoke_device(thief.vault.device, self.server.now))
        new, self.server.lists["bob"] = self.server.lists["bob"], old
        self.bob.say(room, "my laptop is gone")
        sync(self.alice, self.bob, thief)
        epoch = self.alice.vault._rooms.epoch(
            room
        )  # the thief's client is not the one that asks whether it may
        assert epoch is not None
        identities = {"eve": identity_of(eve.identity.spki)}
        now = self.server.now
        change = next_roster(epoch, Change(add=("eve",)), "bob", identities, now, bytes(16))
        body = signed_roster(change, thief.vault._own, epoch.identities["bob"], old)
        self.server.put(room, "bob", thief.vault.device, "roster", b"t" * 16, body)
        sync(self.alice)
        self.assertEqual([entry.kind for entry in self.server.logs[room]][-1], "roster")
        roster = self.alice.vault.roster(room)
        assert roster is not None
        self.assertEqual(set(roster.identities), {"alice", "bob"})
        self.assertIn("newer list", self.alice.of(fx.RosterRejected)[-1].reason)
        self.alice.say(room, "not for eve")
        self.server.lists["bob"] = new
        self.server.now += 3600 * 1000
        self.bob.say(room, "I go on")
        sync(self.bob, self.alice, eve, thief)
        self.alice.say(room, "nor this")
        eve.rooms.add(room)
        sync(self.bob, self.alice, eve, thief)
        self.assertEqual(eve.texts(room), {})
        self.assertEqual(list(self.bob.texts(room).values())[-2:], ["I go on", "nor this"])

    def test_a_roster_after_a_newer_list(self) -> None:
        """With an honest server alice has the newer list before the roster that follows: nothing is said."""
        laptop = Person(self.server, "bob", identity_=identity("bob's laptop"), seed=1)
        room = room_of(self.server, self.bob, self.alice)
        self.alice.say(room, "hello")
        sync(self.alice, self.bob)
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        self.bob.do(self.bob.vault.accept_device(laptop.vault.device, self.server.now))
        self.bob.say(room, "I have a laptop")
        sync(self.bob)
        self.bob.change(room, promote=("alice",))
        sync(self.bob, self.alice)
        self.assertEqual(self.alice.of(fx.RosterRejected), [])
        roster = self.alice.vault.roster(room)
        assert roster is not None
        self.assertEqual(set(roster.admins), {"alice", "bob"})

    def test_a_roster_while_the_list_is_on_its_way(self) -> None:
        """A true roster of bob's, while the newer list is not here yet, counts as soon as it is."""
        laptop = Person(self.server, "bob", identity_=identity("bob's laptop"), seed=1)
        room = room_of(self.server, self.bob, self.alice)
        self.alice.say(room, "hello")
        sync(self.alice, self.bob)
        old = self.server.lists["bob"]
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        self.bob.do(self.bob.vault.accept_device(laptop.vault.device, self.server.now))
        new, self.server.lists["bob"] = self.server.lists["bob"], old
        self.bob.say(room, "I have a laptop")
        sync(self.alice)
        self.bob.change(room, promote=("alice",))
        sync(self.bob, self.alice)
        self.bob.say(room, "you may, too")
        sync(self.bob, self.alice)
        roster = self.alice.vault.roster(room)
        assert roster is not None
        self.assertEqual(roster.admins, ("bob",))
        self.server.lists["bob"] = new
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        sync(self.alice)
        roster = self.alice.vault.roster(room)
        assert roster is not None
        self.assertEqual(set(roster.admins), {"alice", "bob"})
        self.assertIn("you may, too", self.alice.texts(room).values())

    def test_an_old_roster_against_a_backup(self) -> None:
        """A restored device knows how far the room was: it says nothing to who was in it before that."""
        eve = Person(self.server, "eve")
        room = room_of(self.server, self.alice, self.bob, eve)
        self.alice.change(room, remove=("eve",))
        sync(self.alice, self.bob)
        contents = self.alice.vault.contents(self.server.now)
        whole = self.server.logs[room]
        self.server.logs[room] = [entry for entry in whole if entry.seq == 1]
        self.alice.disconnect()
        again = Person(self.server, "alice", seed=5, online=False)
        again.do(again.vault.restore(contents, self.server.now)[1])
        again.connect()
        again.read(room)
        again.say(room, "not for eve")
        sync(again, eve)
        self.assertEqual([e.kind for e in self.server.logs[room]], ["roster"])
        self.server.logs[room] = whole
        sync(again, self.bob, eve)
        self.assertIn("not for eve", self.bob.texts(room).values())
        self.assertNotIn("not for eve", eve.texts(room).values())

    def test_an_old_list_of_a_former_identity(self) -> None:
        """Under an authority bob's certificate has another key since; the server shows the list of the former
        one, whose certificate holds as well: nothing becomes of it."""
        server, ca = Server(), Authority()
        alice, bob = (
            Person(server, name, identity_=ca.issue(name, name), vouches=ca) for name in ("alice", "bob")
        )
        room_of(server, alice, bob)
        old = server.lists["bob"]
        bob.disconnect()
        bob.identity = ca.issue("bob", "bob's renewed key")
        bob.restart()
        alice.do(alice.vault.ask_devices("bob", server.now))
        before = alice.vault.contacts.peer("bob")
        self.assertEqual(before.identity, identity_of(identity("bob's renewed key").spki))
        server.lists["bob"] = old
        alice.do(alice.vault.ask_devices("bob", server.now))
        self.assertEqual(alice.vault.contacts.peer("bob"), before)
        self.assertIn("an old one", alice.of(fx.KeysRejected)[-1].reason)


class RogueAuthority(SynchronousTestCase):
    """Who runs the authority and the server makes a certificate in alice's name; bob has compared alice."""

    def test_a_roster_in_a_compared_name(self) -> None:
        """It lets nobody in, and bob hears of the other identity."""
        server, ca = Server(), Authority()
        alice, bob, ghost = (
            Person(server, name, identity_=ca.issue(name, name), vouches=ca)
            for name in ("alice", "bob", "ghost")
        )
        room = room_of(server, alice, bob)
        bob.do(bob.vault.ask_devices("alice", server.now))
        bob.do(bob.vault.verify(bob.vault.safety_number("alice"), server.now))
        fake = Person(Server(), "alice", identity_=ca.issue("alice", "a rogue's key"), vouches=ca, seed=3)
        entry = parse_roster(server.logs[room][0].body)
        members = (*entry.roster.members, RosterMember("ghost", identity_of(identity("ghost").spki)))
        roster = Roster(room, 2, entry.hash, members, ("alice",), "admins", "alice", 0, bytes(16))
        own, data = fake.vault._own, encode(roster)
        body = encode(SignedRoster(ALG_ROOM, data, ratchets.sign(own.account, data), own.certificate.raw))
        server.put(room, "alice", own.id, "roster", bytes(16), body)
        bob.read(room)
        bob.say(room, "only alice")
        ghost.rooms.add(room)
        sync(bob, ghost)
        known = bob.vault.roster(room)
        assert known is not None
        self.assertEqual(set(known.identities), {"alice", "bob"})
        self.assertEqual(ghost.texts(room), {})
        self.assertEqual(bob.of(fx.IdentityChanged)[-1].now, fake.vault.fingerprint)
