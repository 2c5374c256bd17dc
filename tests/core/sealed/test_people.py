"""Who is who: pins, an authority, several machines of one name, safety numbers, emoji."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import effects as fx
from encchat.core.sealed import sas
from encchat.core.sealed.contacts import NobodyOffered
from encchat.core.sealed.formats import identity_of
from encchat.core.sealed.identities import (
    BadSignature,
    LocalIdentity,
    check_identity_signature,
)
from encchat.core.sealed.letters import SasKey, SasMac, SasStart
from encchat.core.sealed.numbers import safety_number
from encchat.core.sealed.publishing import NotOurDevice, NotOurList
from encchat.core.sealed.sas import EMOJI, NothingToCompare
from encchat.errors import RefusedError
from tests.core.sealed.world import Person, Server, identity, room_of, sync


class Authority:
    """Vouches for who it was told to, until it is told otherwise."""

    def __init__(self) -> None:
        self.vouched: set[tuple[str, bytes]] = set()

    def issue(self, name: str, key: str) -> LocalIdentity:
        """A certificate for a name."""
        mine = identity(key)
        self.vouched.add((name, mine.spki))
        return LocalIdentity(mine._key, (f"certificate of {name}".encode(),))

    def __call__(self, name: str, spki: bytes, chain: tuple[bytes, ...]) -> None:
        if (name, spki) not in self.vouched or chain != (f"certificate of {name}".encode(),):
            raise RefusedError(reason=f"no certificate makes it {name}")


class UnderAnAuthority(SynchronousTestCase):
    """With a CA, the clients verify each other, and a server can swap nothing."""

    def setUp(self) -> None:
        self.server = Server()
        self.ca = Authority()
        self.alice, self.bob = (self.person(name, name) for name in ("alice", "bob"))

    def person(self, name: str, key: str, seed: int = 0) -> Person:
        """Somebody with a certificate."""
        return Person(self.server, name, identity_=self.ca.issue(name, key), vouches=self.ca, seed=seed)

    def test_vouched(self) -> None:
        """Both are shown as vouched for."""
        room = room_of(self.server, self.alice, self.bob)
        self.alice.say(room, "hello")
        sync(self.alice, self.bob)
        self.assertEqual(self.bob.of(fx.Opened)[-1].trust, fx.VOUCHED)
        self.assertEqual(self.alice.vault.room_trust(room), fx.VOUCHED)

    def test_swapped(self) -> None:
        """The server gives out another bob, whom nobody vouches for: nothing is ever encrypted to him."""
        room = room_of(self.server, self.alice, self.bob)
        self.bob.disconnect()
        del self.server.lists["bob"], self.server.certificates["bob"]
        fake = Person(self.server, "bob", identity_=identity("eve"), vouches=None, seed=1)
        fake.rooms.add(room)
        self.server.now += 3600 * 1000
        self.alice.say(room, "secret")
        sync(self.alice, fake)
        self.assertIn("no certificate", self.alice.of(fx.KeysRejected)[-1].reason)
        self.assertEqual(fake.texts(room), {})

    def test_first_contact_swapped(self) -> None:
        """Even at the first contact: without a certificate there is no bob to invite."""
        fake = Person(self.server, "carol", identity_=identity("eve"), vouches=None)
        self.alice.change("#tea", create=True, add=("carol",))
        self.assertEqual(self.alice.of(fx.SendFailed)[-1].code, "cannot-change")
        self.assertEqual(self.server.logs.get("#tea", []), [])
        del fake

    def test_forged_room(self) -> None:
        """A room that begins with a roster in alice's name, of an identity that nobody vouches for."""
        del self.server.lists["alice"], self.server.certificates["alice"]
        fake = Person(self.server, "alice", identity_=identity("eve"), seed=1)
        room = room_of(self.server, fake, self.bob)
        self.assertEqual(len(self.bob.of(fx.RosterRejected)), 1)
        self.assertIsNone(self.bob.vault.roster(room))

    def test_revoked(self) -> None:
        """A certificate that was revoked: its devices get nothing more."""
        room = room_of(self.server, self.alice, self.bob)
        self.ca.vouched.discard(("bob", identity("bob").spki))
        self.server.now += 3600 * 1000
        self.alice.say(room, "not for bob")
        sync(self.alice, self.bob)
        self.assertEqual(self.bob.texts(room), {})
        self.assertEqual(self.alice.of(fx.Unreachable)[-1].names, ("bob",))

    def test_renewed(self) -> None:
        """A certificate for another key: the same name, so the same person, without a question."""
        room = room_of(self.server, self.alice, self.bob)
        self.alice.say(room, "one")
        sync(self.alice, self.bob)
        self.bob.disconnect()
        self.bob.identity = self.ca.issue("bob", "bob's renewed key")
        self.bob.restart()
        self.server.now += 3600 * 1000
        self.alice.say(room, "two")
        self.bob.say(room, "three")
        sync(self.alice, self.bob)
        self.assertEqual(list(self.bob.texts(room).values())[-2:], ["two", "three"])
        self.assertEqual(list(self.alice.texts(room).values())[-2:], ["two", "three"])
        self.assertEqual(self.alice.of(fx.IdentityChanged), [])
        self.bob.change(room, leave=True)
        sync(self.alice, self.bob)
        self.assertEqual(self.alice.of(fx.RosterChanged)[-1].removed, ("bob",))

    def test_renewed_after_verification(self) -> None:
        """Whom a person verified is not renewed by the authority alone: the person looks again."""
        room = room_of(self.server, self.alice, self.bob)
        self.alice.say(room, "one")
        self.alice.do(self.alice.vault.verify(self.alice.vault.safety_number("bob"), self.server.now))
        self.bob.disconnect()
        self.bob.identity = self.ca.issue("bob", "bob's renewed key")
        self.bob.restart()
        self.server.now += 3600 * 1000
        self.alice.say(room, "two")
        self.assertEqual(self.alice.of(fx.SendBlocked)[-1].names, ("bob",))
        self.alice.do(self.alice.vault.accept_identity("bob", self.server.now))
        sync(self.alice, self.bob)
        self.assertIn("two", self.bob.texts(room).values())

    def test_new_certificate_same_key(self) -> None:
        """The X.509 certificate was renewed for the same key: the new one is published."""
        before = self.server.lists["bob"]
        self.bob.identity = LocalIdentity(identity("bob")._key, (b"certificate of bob", b"an issuer"))
        self.bob.restart()
        self.assertNotEqual(self.server.lists["bob"], before)


class Machines(SynchronousTestCase):
    """One name on several machines, each with a key of its own."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")
        self.laptop = Person(self.server, "bob", identity_=identity("bob's laptop"), seed=1)

    def link(self) -> None:
        """Bob's laptop accepts bob's first machine as the one that lists, which accepts the laptop."""
        self.laptop.do(self.laptop.vault.accept_identity("bob", self.server.now))
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        waits = self.bob.of(fx.OwnDeviceWaits)[-1]
        self.assertEqual(waits.fingerprint, self.laptop.vault.fingerprint)
        self.bob.do(self.bob.vault.accept_device(waits.device, self.server.now))
        self.laptop.do(self.laptop.vault.ask_devices("bob", self.server.now))

    def test_not_accepted(self) -> None:
        """Before that, nothing is encrypted to the laptop, and it sends nothing."""
        room = room_of(self.server, self.alice, self.bob)
        self.alice.say(room, "secret")
        self.laptop.rooms.add(room)
        sync(self.alice, self.bob, self.laptop)
        self.assertEqual(self.laptop.texts(room), {})
        self.laptop.say(room, "let me in")
        self.assertEqual(len(self.server.logs[room]), 2)
        with self.assertRaises(NotOurList):
            self.link_wrongly()

    def link_wrongly(self) -> None:
        """The laptop accepts bob, and then tries to write the list itself."""
        self.laptop.do(self.laptop.vault.accept_identity("bob", self.server.now))
        self.laptop.vault.accept_device(self.laptop.vault.device, self.server.now)

    def test_linked(self) -> None:
        """Both read and write as bob; and the laptop may change rooms where bob may."""
        self.link()
        room = room_of(self.server, self.alice, self.bob)
        self.laptop.rooms.add(room)
        self.alice.say(room, "to both")
        sync(self.alice, self.bob, self.laptop)
        self.laptop.say(room, "from the laptop")
        sync(self.alice, self.bob, self.laptop)
        for person in (self.alice, self.bob, self.laptop):
            self.assertEqual(list(person.texts(room).values()), ["to both", "from the laptop"])
        self.assertEqual(self.alice.of(fx.Opened)[-1].device, self.laptop.vault.device)
        self.laptop.change("#oak", create=True, add=("alice",))
        self.alice.rooms.add("#oak")
        self.alice.sync()
        self.assertIsNotNone(self.alice.vault.roster("#oak"))

    def test_revoked(self) -> None:
        """A laptop that was taken back reads and changes nothing more, and never comes back."""
        self.link()
        room = room_of(self.server, self.alice, self.bob)
        self.laptop.rooms.add(room)
        sync(self.laptop)
        self.bob.do(self.bob.vault.revoke_device(self.laptop.vault.device, self.server.now))
        self.alice.do(self.alice.vault.hint_devices("bob", self.server.now))
        self.alice.say(room, "secret")
        self.laptop.change(room, leave=True)
        sync(self.alice, self.bob, self.laptop)
        self.assertEqual(self.laptop.texts(room), {})
        roster = self.alice.vault.roster(room)
        assert roster is not None
        self.assertIn("bob", roster.identities)
        self.assertEqual(len(self.alice.of(fx.RosterRejected)), 1)
        with self.assertRaises(NotOurDevice):
            self.bob.vault.revoke_device(self.laptop.vault.device, self.server.now)

    def test_set_aside(self) -> None:
        """A roster that a since revoked device signed counts for who comes later, once another follows it."""
        self.link()
        self.laptop.change("#oak", create=True, add=("alice", "bob"))
        for person in (self.alice, self.bob):
            person.rooms.add("#oak")
        sync(self.alice, self.bob, self.laptop)
        self.bob.do(self.bob.vault.revoke_device(self.laptop.vault.device, self.server.now))
        carol = Person(self.server, "carol")
        carol.do(carol.vault.ask_devices("bob", self.server.now))
        carol.read("#oak")
        self.assertIsNone(carol.vault.roster("#oak"))
        self.bob.change("#oak", add=("carol",))
        sync(self.alice, self.bob, carol)
        self.alice.say("#oak", "welcome")
        sync(self.alice, self.bob, carol)
        self.assertEqual(list(carol.texts("#oak").values()), ["welcome"])

    def test_unknown_device(self) -> None:
        """Only a device that asked can be accepted."""
        with self.assertRaises(NotOurDevice):
            self.bob.vault.accept_device("0" * 32, self.server.now)


class Changed(SynchronousTestCase):
    """Somebody lost a key and is somebody new."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")
        self.room = room_of(self.server, self.alice, self.bob)
        self.bob.say(self.room, "hello")
        sync(self.alice, self.bob)
        del self.server.lists["alice"], self.server.certificates["alice"]
        self.new = Person(self.server, "alice", identity_=identity("alice's new key"), seed=1)

    def test_room_of_somebody_new(self) -> None:
        """A room that the new alice makes counts once bob has accepted her; what is said there then is
        read."""
        self.new.change("#oak", create=True, add=("bob",))
        for person in (self.new, self.bob):
            person.rooms.add("#oak")
        sync(self.new, self.bob)
        self.assertIsNone(self.bob.vault.roster("#oak"))
        self.assertEqual(self.bob.vault.trust("alice"), fx.CHANGED)
        self.assertEqual(self.bob.of(fx.IdentityChanged)[-1].now, self.new.vault.fingerprint)
        self.bob.do(self.bob.vault.accept_identity("alice", self.server.now))
        self.assertIsNotNone(self.bob.vault.roster("#oak"))
        self.new.say("#oak", "it is me")
        sync(self.new, self.bob)
        self.assertEqual(list(self.bob.texts("#oak").values()), ["it is me"])

    def test_accepted_and_not_renewed(self) -> None:
        """In the old room the new alice is nobody until an admin renews her place; the others go on."""
        with self.assertRaises(NobodyOffered):
            self.bob.vault.accept_identity("alice", self.server.now)
        self.server.now += 3600 * 1000
        self.bob.say(self.room, "who are you?")
        self.bob.do(self.bob.vault.accept_identity("alice", self.server.now))
        self.new.rooms.add(self.room)
        sync(self.new, self.bob)
        self.assertIn("who are you?", self.bob.texts(self.room).values())
        self.assertEqual(self.new.texts(self.room), {})
        self.assertEqual(self.bob.of(fx.Unreachable)[-1].names, ("alice",))

    def test_old_one_again(self) -> None:
        """The identity that was given up is not offered again by the room that still names it."""
        self.server.now += 3600 * 1000
        self.bob.say(self.room, "x")
        self.bob.do(self.bob.vault.accept_identity("alice", self.server.now))
        self.bob.say(self.room, "y")
        self.assertNotEqual(self.bob.vault.trust("alice"), fx.CHANGED)


class Identities(SynchronousTestCase):
    """Signatures of the transport identity."""

    def test_kinds(self) -> None:
        """RSA-PSS and ECDSA, each over what was signed and nothing else."""
        for name in ("alice", "rsabob"):
            key = identity(name)
            signature = key.sign(b"data")
            check_identity_signature(key.spki, b"data", signature, "thing")
            for spki, data, wrong in (
                (key.spki, b"other", signature),
                (identity("eve").spki, b"data", signature),
                (key.spki, b"data", b"\x00" * 64),
                (key.spki + b"\x00", b"data", signature),
                (b"\x30\x00", b"data", signature),
                (b"", b"data", signature),
            ):
                with self.assertRaises(BadSignature):
                    check_identity_signature(spki, data, wrong, "thing")


class Numbers(SynchronousTestCase):
    """The safety number."""

    def test_same_on_both_sides(self) -> None:
        """Twelve groups of five digits, whoever asks."""
        one = safety_number("alice", bytes(32), "bob", b"\x01" * 32)
        self.assertEqual(one, safety_number("bob", b"\x01" * 32, "alice", bytes(32)))
        self.assertRegex(one, r"\A(\d{5} ){11}\d{5}\Z")

    def test_depends_on_all(self) -> None:
        """Another name or identity, another number."""
        numbers = {
            safety_number(name, key, other, key2)
            for name, other in (("alice", "bob"), ("alice", "carol"), ("bob", "carol"))
            for key in (bytes(32), b"\x01" * 32)
            for key2 in (b"\x02" * 32, b"\x03" * 32)
        }
        self.assertEqual(len(numbers), 12)

    def test_known(self) -> None:
        """The digits are what they were: people compare them across versions."""
        self.assertEqual(safety_number("alice", bytes(32), "bob", b"\x01" * 32), KNOWN)

    def test_verified(self) -> None:
        """A number that was compared verifies that identity and no later one."""
        server = Server()
        alice, bob = Person(server, "alice"), Person(server, "bob")
        with self.assertRaises(NothingToCompare):
            alice.vault.safety_number("bob")
        alice.do(alice.vault.ask_devices("bob", server.now))
        bob.do(bob.vault.ask_devices("alice", server.now))
        number = alice.vault.safety_number("bob")
        self.assertEqual(number.digits, bob.vault.safety_number("Alice").digits)
        with self.assertRaises(NothingToCompare):
            alice.vault.verify(replace(number, identity=bytes(32)), server.now)
        alice.do(alice.vault.verify(number, server.now))
        self.assertEqual(alice.vault.trust("bob"), fx.VERIFIED)
        self.assertEqual(alice.of(fx.Verified)[-1].fingerprint, bob.vault.fingerprint)


class Emoji(SynchronousTestCase):
    """Comparing emoji."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))

    def ask(self) -> bytes:
        """Alice asks bob."""
        transaction, outcome = self.alice.vault.start_sas("bob", self.bob.vault.device, self.server.now)
        self.alice.do(outcome)
        sync(self.bob)
        self.assertEqual(self.bob.of(fx.SasAsked)[-1].name, "alice")
        return transaction

    def show(self) -> bytes:
        """Both see the signs."""
        transaction = self.ask()
        self.bob.do(self.bob.vault.accept_sas(transaction, self.server.now))
        sync(self.alice, self.bob)
        return transaction

    def test_compared(self) -> None:
        """Both see the same seven signs; when both say so, both are verified."""
        transaction = self.show()
        shown = [person.of(fx.SasShown)[-1] for person in (self.alice, self.bob)]
        self.assertEqual(shown[0].indices, shown[1].indices)
        self.assertEqual((len(shown[0].signs), shown[0].words), (7, shown[1].words))
        self.alice.do(self.alice.vault.confirm_sas(transaction, self.server.now))
        sync(self.alice, self.bob)
        self.assertEqual(self.alice.of(fx.Verified) + self.bob.of(fx.Verified), [])
        self.bob.do(self.bob.vault.confirm_sas(transaction, self.server.now))
        sync(self.alice, self.bob)
        self.assertEqual(self.alice.vault.trust("bob"), fx.VERIFIED)
        self.assertEqual(self.bob.vault.trust("alice"), fx.VERIFIED)

    def test_any_device(self) -> None:
        """All of bob's machines are asked. The first at which he answers is compared with; the other one is
        told, and is shown no key."""
        second = Person(self.server, "bob", seed=1)
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        transaction, outcome = self.alice.vault.start_sas("bob", "", self.server.now)
        self.alice.do(outcome)
        for bob in (self.bob, second):
            bob.sync()
            self.assertEqual([event.name for event in bob.of(fx.SasAsked)], ["alice"])
            bob.do(bob.vault.accept_sas(transaction, self.server.now))
        sync(self.alice, self.bob, second)
        self.assertEqual([event.reason for event in second.of(fx.SasEnded)], ["elsewhere"])
        self.assertEqual(second.of(fx.SasShown), [])
        self.assertEqual(self.alice.of(fx.MailRejected), [])
        shown = [person.of(fx.SasShown)[-1].words for person in (self.alice, self.bob)]
        self.assertEqual(shown[0], shown[1])
        for person in (self.alice, self.bob):
            person.do(person.vault.confirm_sas(transaction, self.server.now))
        sync(self.alice, self.bob, second)
        self.assertEqual(self.alice.vault.trust("bob"), fx.VERIFIED)

    def test_declined_at_any_device(self) -> None:
        """Who declines at one machine declines at all; who asked and stops is heard by all."""
        second = Person(self.server, "bob", seed=1)
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        for stops in (self.bob, second, self.alice):
            transaction, outcome = self.alice.vault.start_sas("bob", "", self.server.now)
            self.alice.do(outcome)
            sync(self.bob, second)
            stops.do(stops.vault.cancel_sas(transaction, self.server.now))
            sync(self.alice, self.bob, second)
            for person in (self.alice, self.bob, second):
                self.assertEqual(person.of(fx.SasEnded)[-1].transaction, transaction)
        self.assertEqual(self.alice.of(fx.MailRejected) + second.of(fx.MailRejected), [])

    def test_confirmed_too_early(self) -> None:
        """A MAC that comes before there are signs is thrown away."""
        transaction = self.ask()
        self.bob.vault._begin(self.server.now)
        self.bob.vault._mail.send(self.alice.vault._own.certificate, SasMac(transaction, "x"))
        self.bob.do(self.bob.vault._end())
        sync(self.alice)
        self.assertIn("before", self.alice.of(fx.MailRejected)[-1].reason)

    def test_table(self) -> None:
        """64 signs, all different."""
        self.assertEqual((len(EMOJI), len(set(EMOJI)), len({sign for sign, _ in EMOJI})), (64, 64, 64))

    def test_different(self) -> None:
        """If they differ a person says so, and nobody is verified."""
        transaction = self.show()
        self.alice.do(self.alice.vault.cancel_sas(transaction, self.server.now))
        sync(self.alice, self.bob)
        self.assertEqual(self.bob.of(fx.SasEnded)[-1].reason, "cancelled")
        with self.assertRaises(NothingToCompare):
            self.bob.vault.confirm_sas(transaction, self.server.now)

    def test_commitment_first(self) -> None:
        """Who shows another key than the one promised is caught before anything is shown."""
        certificate = self.bob.vault._own.certificate
        self.alice.vault._begin(self.server.now)
        self.alice.vault._mail.send(certificate, SasStart(bytes(16), bytes(32)))
        self.alice.do(self.alice.vault._end())
        sync(self.bob)
        self.bob.do(self.bob.vault.accept_sas(bytes(16), self.server.now))
        self.alice.vault._begin(self.server.now)
        self.alice.vault._mail.send(certificate, SasKey(bytes(16), b"\x09" * 32))
        self.alice.do(self.alice.vault._end())
        sync(self.bob)
        self.assertEqual(self.bob.of(fx.SasShown), [])
        self.assertEqual(self.bob.of(fx.SasEnded)[-1].reason, "commitment")
        self.assertIn("promised", self.bob.of(fx.MailRejected)[-1].reason)

    def test_somebody_between(self) -> None:
        """With another identity in between, the signs differ: each side has another shared secret."""
        evil_bob = Person(Server(), "bob", identity_=identity("eve"))
        transaction = self.show()
        running = self.alice.vault._comparing._running[transaction]
        self.assertEqual(running.identity, identity_of(self.bob.identity.spki))
        infos = {self.alice.vault._comparing._info("sas", transaction, running, True)}
        running.peer = evil_bob.vault._own.certificate
        infos.add(self.alice.vault._comparing._info("sas", transaction, running, True))
        self.assertEqual(len(infos), 2)

    def test_out_of_turn(self) -> None:
        """Keys, MACs and agreements that nobody waits for are thrown away."""
        transaction = self.ask()
        with self.assertRaises(NothingToCompare):
            self.bob.vault.confirm_sas(transaction, self.server.now)
        with self.assertRaises(NothingToCompare):
            self.alice.vault.accept_sas(transaction, self.server.now)
        with self.assertRaises(NothingToCompare):
            self.alice.vault.start_sas("bob", "0" * 32, self.server.now)
        self.bob.do(self.bob.vault.accept_sas(transaction, self.server.now))
        self.alice.vault._begin(self.server.now)
        for content in (
            SasStart(transaction, bytes(32)),
            SasKey(b"x" * 16, bytes(32)),
            SasKey(transaction, bytes(32)),
        ):
            self.alice.vault._mail.send(self.bob.vault._own.certificate, content)
        self.alice.do(self.alice.vault._end())
        sync(self.bob)
        self.assertEqual(len(self.bob.of(fx.MailRejected)), 3)

    def test_flood(self) -> None:
        """So many at once, and not for ever."""
        for _ in range(sas.MAX_RUNNING + 5):
            outcome = self.alice.vault.start_sas("bob", self.bob.vault.device, self.server.now)[1]
            self.alice.do(outcome)
        sync(self.bob)
        self.assertEqual(len(self.bob.of(fx.SasAsked)), sas.MAX_RUNNING)
        self.server.now += sas.TIMEOUT + 1
        self.ask()
        self.assertEqual(len(self.bob.of(fx.SasAsked)), sas.MAX_RUNNING + 1)


KNOWN = "01873 02903 74418 31474 46592 10207 46006 83129 23767 74850 28694 27191"
