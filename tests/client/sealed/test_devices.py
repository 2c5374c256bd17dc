"""Several machines of one name, comparing, backups and old copies, with whole clients."""

from __future__ import annotations

import shutil

from encchat import messages as m
from encchat.client import events as e
from encchat.core.plain import happening_line
from encchat.core.sealed import events as fx
from encchat.core.sealed.formats import fingerprint_of
from tests.client.sealed.town import TALK, Person, TownCase
from tests.core.sealed.world import identity


class Machines(TownCase):
    def second(self, first: Person) -> Person:
        """Another machine of somebody, which the server lets in."""
        first.chat.ask(m.Link)
        self.town.settle()
        code = first.of(e.LinkCode)[-1].code
        other = self.person(first.name, first.name + "2", key=identity(first.name + "2"), link_code=code)
        other.link_code = ""  # it is good once
        return other

    def test_a_second_machine(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        bob.say(bob.sealed.conversation("alice"), "to the first")
        other = self.second(alice)
        self.assertEqual([x.listed for x in other.news(fx.DeviceReady)], [False])
        (early,) = [x for x in other.of(e.NewEntry) if x.seal.state == "waiting"]
        self.assertEqual(early.seal.code, "before-device")
        self.assertIn("[of bob, from before this device took part]", happening_line(early.entry))
        self.assertEqual([x.name for x in other.news(fx.IdentityChanged)], ["alice"])
        key = fingerprint_of(other.identity.identity)  # what is to be compared, shown where it is
        mine = other.sealed.devices()[-1]
        self.assertEqual((mine.fingerprint, mine.this, mine.listed), (key, True, False))
        other.sealed.accept_identity("alice")  # the first machine's, which keeps the list
        self.assertEqual([(x.this, x.listed) for x in other.sealed.devices()][-1], (True, False))
        alice.sealed.meet("alice")
        self.town.settle()
        (waits,) = alice.news(fx.OwnDeviceWaits)
        self.assertEqual(waits.fingerprint, fingerprint_of(other.identity.identity))
        self.assertEqual([(x.this, x.listed) for x in alice.sealed.devices()], [(True, True), (False, False)])
        alice.sealed.accept_device(waits.device)
        self.town.settle()
        self.assertEqual([x.listed for x in alice.sealed.devices()], [True, True])
        self.town.later(61)
        self.assertEqual(other.news(fx.DeviceReady)[-1].listed, True)
        self.assertEqual([x.listed for x in other.sealed.devices()], [True, True])
        bob.sealed.meet("alice")
        self.town.settle()
        bob.say(TALK, "to both")
        for person in (alice, other):
            self.assertEqual(person.texts(TALK)[-1], "to both")
        other.say(TALK, "from the second")
        self.assertEqual((bob.texts(TALK)[-1], alice.texts(TALK)[-1]), ("from the second",) * 2)

        alice.sealed.revoke_device(other.sealed.device)
        self.town.settle()
        bob.sealed.meet("alice")
        self.town.settle()
        bob.say(TALK, "not to the second")
        self.town.later(1)
        self.assertEqual(alice.texts(TALK)[-1], "not to the second")
        self.assertNotIn("not to the second", other.texts(TALK))
        other.sealed.meet("alice")
        self.town.settle()
        self.assertFalse(any(x.this for x in other.sealed.devices()), "it waits for nobody")

    def test_an_old_copy_is_noticed_and_renewed(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "one")
        alice.end()
        shutil.copytree(alice.directory, self.here / "copy")
        alice.start()
        alice.say(TALK, "two")
        alice.end()
        shutil.rmtree(alice.directory)
        shutil.copytree(self.here / "copy", alice.directory)
        alice.start()
        self.town.later(1)
        self.assertEqual([x.room for x in alice.news(fx.RolledBack)], [TALK])
        alice.say(TALK, "three")
        self.assertEqual(bob.texts(TALK), ["one", "two"])
        before = alice.sealed.device
        alice.sealed.renew_device()
        self.town.later(5)
        self.assertNotEqual(alice.sealed.device, before)
        self.assertEqual(bob.texts(TALK), ["one", "two", "three"])

    def test_a_backup_on_a_new_machine(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "before the fire")
        contents = bob.sealed.contents()
        bob.end()
        shutil.rmtree(bob.directory)
        bob = self.person("bob", "new")
        self.town.later(1)
        self.assertEqual([x.seal.state for x in bob.of(e.NewEntry)], ["roster", "waiting"])
        self.assertEqual(bob.sealed.restore(contents), len(contents.keys))
        self.town.later(1)
        late = bob.of(e.NewEntry)[-1]
        self.assertEqual((late.entry.body, late.seal.vouched_by), (b"before the fire", "backup"))
        self.assertEqual((late.seal.state, late.seal.late), ("opened", True))


class Comparing(TownCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.person("alice"), self.person("bob")
        self.alice.say(self.alice.sealed.conversation("bob"), "hello")

    def test_digits(self) -> None:
        number = self.alice.sealed.safety_number("Bob")
        self.assertEqual(number.digits, self.bob.sealed.safety_number("alice").digits)
        self.alice.sealed.verify(number)
        self.town.settle()
        self.assertEqual([x.name for x in self.alice.news(fx.Verified)], ["bob"])
        self.assertEqual(self.alice.sealed.seal_of(TALK).trust, fx.VERIFIED)
        self.bob.say(TALK, "from a verified one")
        self.assertEqual(self.alice.of(e.NewEntry)[-1].seal.trust, fx.VERIFIED)
        self.alice.restart()
        self.assertEqual(self.alice.sealed.seal_of(TALK).trust, fx.VERIFIED)

    def test_emoji(self) -> None:
        transaction = self.alice.sealed.start_sas("bob")
        self.town.settle()
        (asked,) = self.bob.news(fx.SasAsked)
        self.assertEqual((asked.transaction, asked.name), (transaction, "alice"))
        self.bob.sealed.accept_sas(transaction)
        self.town.settle()
        (here,), (there,) = self.alice.news(fx.SasShown), self.bob.news(fx.SasShown)
        self.assertEqual(here.words, there.words)
        self.alice.sealed.confirm_sas(transaction)
        self.bob.sealed.confirm_sas(transaction)
        self.town.settle()
        self.assertEqual([x.name for x in self.alice.news(fx.Verified)], ["bob"])
        self.assertEqual([x.name for x in self.bob.news(fx.Verified)], ["alice"])
