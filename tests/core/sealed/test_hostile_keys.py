"""A server that lies about keys and mail: substituted, replayed, forged, flooded."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase
from vodozemac import Account

from encchat.core.sealed import certificates, letters, ratchets
from encchat.core.sealed import effects as fx
from encchat.core.sealed.formats import (
    ALG_MAIL,
    Certificate,
    Device,
    Listed,
    SignedDevice,
    encode,
    identity_of,
    parse_certificate,
    parse_device_list,
)
from encchat.core.sealed.letters import Envelope, ForwardedKey, KeyRequest, RoomKeyLetter
from encchat.core.sealed.payload import parse_sealed
from encchat.core.sealed.sending import MAX_MESSAGES
from tests.core.sealed.world import Person, Server, identity, room_of, sync

HOUR = 3600


class Trio(SynchronousTestCase):
    """Alice and bob talk; the server is eve's."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob, self.eve = (Person(self.server, name) for name in ("alice", "bob", "eve"))

    def room(self) -> str:
        return room_of(self.server, self.alice, self.bob)

    def talk(self, text: str) -> None:
        self.alice.say("#tea", text)
        sync(self.alice, self.bob, self.eve)

    def certificate(self, who: Person) -> Certificate:
        """The certificate of somebody's device."""
        return who.vault._own.certificate

    def write(self, sender: Person, to: Person, content: letters.Content) -> None:
        """Somebody's client writes what it likes."""
        sender.do(sender.vault.ask_devices(to.name, self.server.now))
        sender.vault._begin(self.server.now)
        sender.vault._mail.send(self.certificate(to), content)
        sender.do(sender.vault._end())


class Devices(Trio):
    """Device lists and certificates."""

    def test_device_added(self) -> None:
        """A device of eve's among bob's, with a certificate that eve's identity signed for his name."""
        account = Account()
        fake = certificates.certify(account, self.eve.identity, "bob", 0)
        self.server.certificates["bob"][fake.device.id] = fake.raw
        self.room()
        self.talk("secret")
        devices = {c.device.id for c in self.alice.vault.devices_of("bob")}
        self.assertEqual(devices, {self.bob.vault.device})
        self.assertNotIn(fake.device.id, self.server.mail)

    def test_curve_key_substituted(self) -> None:
        """Bob's certificate with eve's curve key: the device id and both signatures say no."""
        good = self.certificate(self.bob)
        eve = self.certificate(self.eve).device
        device = msgspec.structs.replace(good.device, curve=eve.curve)
        fake = encode(msgspec.structs.replace(good.signed, device=encode(device)))
        self.server.certificates["bob"] = {self.bob.vault.device: fake}
        self.room()
        self.talk("secret")
        self.assertEqual(self.alice.vault.devices_of("bob"), [])
        self.assertIn("not signed", self.alice.of(fx.KeysRejected)[0].reason)
        self.assertEqual(self.alice.of(fx.Unreachable)[-1].names, ("bob",))

    def test_half_signed(self) -> None:
        """A certificate needs both signatures: the identity's and the device's own."""
        good = self.certificate(self.bob)
        account = self.eve.vault._own.account
        said = Device("bob", self.bob.identity.spki, ratchets.ed_key(account), ratchets.curve_key(account), 0)
        data = encode(said)
        for signed in (
            SignedDevice(data, good.signed.by_identity, ratchets.sign(account, data)),
            SignedDevice(data, self.bob.identity.sign(data), good.signed.by_device),
        ):
            with self.assertRaises(certificates.BadSignature):
                certificates.check_certificate(parse_certificate(encode(signed)), "bob")

    def test_old_list(self) -> None:
        """The server shows the list from before a device was taken back; or another one of that version."""
        self.room()
        second = Person(self.server, "bob", identity_=self.bob.identity, seed=1)
        self.talk("to both")
        old = self.server.lists["bob"]
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        self.bob.do(self.bob.vault.revoke_device(second.vault.device, self.server.now))
        new = self.server.lists["bob"]
        self.assertEqual(parse_device_list(new).version, parse_device_list(old).version + 1)
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        self.server.lists["bob"] = old
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        self.assertIn("old one", self.alice.of(fx.KeysRejected)[-1].reason)
        self.talk("only to the first")
        second.rooms.add("#tea")
        second.sync()
        self.assertNotIn("only to the first", second.texts("#tea").values())
        self.assertIn("only to the first", self.bob.texts("#tea").values())
        fork = certificates.list_devices(
            self.bob.identity, "bob", parse_device_list(old), [Listed("0" * 32, bytes(32))], (), 1
        )
        self.server.lists["bob"] = fork.raw
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        self.assertIn("two of the same version", self.alice.of(fx.KeysRejected)[-1].reason)

    def test_stolen_device(self) -> None:
        """What a device wrote that was taken back is marked so: nobody can tell whether it is from before."""
        second = Person(self.server, "bob", identity_=self.bob.identity, seed=1)
        self.room()
        second.rooms.add("#tea")
        sync(second)
        second.say("#tea", "from bob")
        sync(self.alice, second)
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        self.bob.do(self.bob.vault.revoke_device(second.vault.device, self.server.now))
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        second.say("#tea", "send money")
        sync(self.alice, second)
        self.assertEqual(
            [(e.body, e.trust) for e in self.alice.of(fx.Opened)],
            [(b"from bob", fx.PINNED), (b"send money", fx.REVOKED)],
        )
        self.assertEqual(self.alice.vault.again(self.server.logs["#tea"][1]).trust, fx.REVOKED)

    def test_list_not_in_chain(self) -> None:
        """The next version must name the hash of the one before."""
        self.room()
        known = parse_device_list(self.server.lists["bob"])
        wrong = certificates.list_devices(self.bob.identity, "bob", known, (), (), 0)
        said = msgspec.structs.replace(wrong.devices, prev=bytes(32))
        data = encode(said)
        forged = msgspec.structs.replace(wrong.signed, devices=data, by_identity=self.bob.identity.sign(data))
        self.server.lists["bob"] = encode(forged)
        self.alice.do(self.alice.vault.ask_devices("bob", self.server.now))
        self.assertIn("does not follow", self.alice.of(fx.KeysRejected)[-1].reason)

    def test_forged_list(self) -> None:
        """A list for bob's name that eve signed: another identity, which blocks until a person accepts it."""
        self.room()
        self.talk("before")
        fake = certificates.list_devices(
            self.eve.identity,
            "bob",
            None,
            [Listed(self.eve.vault.device, identity_of(self.eve.identity.spki))],
            (),
            0,
        )
        self.server.lists["bob"] = fake.raw
        self.server.now += HOUR * 1000
        self.talk("secret")
        changed = self.alice.of(fx.IdentityChanged)[-1]
        self.assertEqual((changed.name, changed.now), ("bob", self.eve.vault.fingerprint))
        self.assertEqual(self.alice.of(fx.SendBlocked)[-1], fx.SendBlocked("#tea", ("bob",)))
        self.assertEqual(self.alice.vault.room_trust("#tea"), fx.CHANGED)
        self.assertNotIn("secret", self.bob.texts("#tea").values())
        self.assertEqual(self.eve.texts("#tea"), {})
        self.assertEqual(len(self.alice.vault.outgoing()), 1)  # not lost: it goes once that is decided

    def test_identity_renewed_and_accepted(self) -> None:
        """Bob lost his key: he is somebody new until alice accepts him and renews his place in the room."""
        self.room()
        self.talk("before")
        del self.server.lists["bob"], self.server.certificates["bob"]
        new = Person(self.server, "bob", identity_=identity("bob's new key"))
        new.rooms.add("#tea")
        self.server.now += HOUR * 1000
        self.alice.say("#tea", "are you bob?")
        self.assertEqual(self.alice.vault.trust("bob"), fx.CHANGED)
        number = self.alice.vault.safety_number("bob")
        new.do(new.vault.ask_devices("alice", self.server.now))
        self.assertEqual(number.digits, new.vault.safety_number("alice").digits)
        self.alice.do(self.alice.vault.verify(number, self.server.now))
        self.assertEqual(self.alice.vault.trust("bob"), fx.VERIFIED)
        self.alice.change("#tea", renew=("bob",))
        sync(self.alice, new)
        self.alice.say("#tea", "welcome back")
        sync(self.alice, new)
        self.assertIn("welcome back", new.texts("#tea").values())

    def test_own_name_taken(self) -> None:
        """The server shows a device list for one's own name: it is not believed, and nothing is encrypted to
        it."""
        fake = certificates.list_devices(
            self.eve.identity, "alice", None, [Listed(self.eve.vault.device, bytes(32))], (), 0
        )
        self.server.lists["alice"] = fake.raw
        self.alice.restart()
        self.assertEqual([e.name for e in self.alice.of(fx.IdentityChanged)], ["alice"])
        self.assertEqual(
            [c.device.id for c in self.alice.vault.devices_of("alice")], [self.alice.vault.device]
        )


class OneTimeKeys(Trio):
    """Claims."""

    def test_substituted(self) -> None:
        """Eve's key, or bob's with another signature, or one of another of bob's devices."""
        bob = self.bob.vault.device
        mine = self.server.one_time[bob][0]
        signed = msgspec.msgpack.decode(mine)
        for fake in (
            self.server.one_time[self.eve.vault.device][0],
            encode_key(signed[0], bytes(64)),
            encode_key(bytes(50), signed[1]),
            b"\xff" * 100,
            b"x" * 600,
            b"",
        ):
            self.server.one_time[bob] = [fake]
            self.server.fallback[bob] = fake
            name = f"#r{len(self.server.logs)}"
            room_of(self.server, self.alice, self.bob, name=name)
            self.server.now += 61_000
            self.alice.say(name, "secret")
            self.assertEqual(self.server.mail[bob], [], fake)
        self.assertEqual(len(self.alice.of(fx.KeysRejected)), 5)
        self.server.one_time[bob] = [mine]
        self.server.now += 61_000
        self.alice.say(name, "now it works")
        self.alice.restart()
        self.alice.say(name, "again")
        sync(self.alice, self.bob)
        self.assertIn("again", self.bob.texts(name).values())

    def test_away_and_used_up(self) -> None:
        """Bob is away, and all his one-time keys are used up: several people write to him all the same, under
        the fallback key, and he reads it all and makes new ones."""
        bob = self.bob.vault.device
        self.server.one_time[bob].clear()
        old = self.server.fallback[bob]
        self.bob.disconnect()
        for person in (self.alice, self.eve):
            room = "@" + "&".join(sorted((person.name, "bob")))
            person.change(room, create=True, add=("bob",))
            self.bob.rooms.add(room)
            person.say(room, f"from {person.name}")
            person.sync()
            self.assertEqual(len(self.server.logs[room]), 2)
            self.assertEqual([e.names for e in person.of(fx.Unreachable)], [])
        self.assertEqual(self.server.fallback[bob], old)
        self.bob.connect()
        sync(self.alice, self.bob, self.eve)
        self.assertEqual(list(self.bob.texts("@alice&bob").values()), ["from alice"])
        self.assertEqual(list(self.bob.texts("@bob&eve").values()), ["from eve"])
        self.server.now += 3601 * 1000
        self.bob.tick()
        self.assertNotEqual(self.server.fallback[bob], old)

    def test_ten_thousand_claimed(self) -> None:
        """Somebody claims all keys, again and again: what is left is the fallback key, and bob makes new
        ones."""
        bob = self.bob.vault.device
        keys: set[bytes] = set()
        for _ in range(10_000):
            keys.update(self.server.claim("bob", (bob,)))
        self.assertEqual(len(keys), 51)
        self.room()
        self.talk("through the fallback key")
        self.assertIn("through the fallback key", self.bob.texts("#tea").values())
        self.bob.restart()
        self.assertEqual(len(self.server.one_time[bob]), 50)
        self.assertLess(len(self.bob.vault._own.state.pickle), 60_000)

    def test_fallback_is_replaced(self) -> None:
        """A fallback key goes after use, an hour later, and after a week in any case."""
        bob = self.bob.vault.device
        first = self.server.fallback[bob]
        self.bob.tick(61)
        self.assertEqual(self.server.fallback[bob], first)
        self.server.one_time[bob].clear()
        self.room()
        self.talk("through the fallback key")
        self.bob.tick(61)
        self.assertEqual(self.server.fallback[bob], first)
        self.bob.tick(HOUR)
        second = self.server.fallback[bob]
        self.assertNotEqual(second, first)
        self.bob.tick(6 * 24 * HOUR)
        self.assertEqual(self.server.fallback[bob], second)
        self.bob.tick(24 * HOUR)
        self.assertNotEqual(self.server.fallback[bob], second)

    def test_refilled(self) -> None:
        """Below 25 keys on the server, as many are made as are missing from 50."""
        bob = self.bob.vault.device
        for number in range(26):
            person = Person(self.server, f"friend{number}", identity_=identity("friend"))
            room = room_of(self.server, person, self.bob, name=f"#f{number}")
            person.say(room, "hello")
            self.bob.sync()
        self.assertEqual(len(self.server.one_time[bob]), 24)
        self.bob.tick(61)
        self.assertEqual(len(self.server.one_time[bob]), 50)

    def test_server_that_never_has_any(self) -> None:
        """A server that forgets what was published does not keep us making keys."""
        made = 0
        for _ in range(100):
            outcome = self.bob.vault.published(0, self.server.now)
            made += sum(isinstance(action, fx.Publish) for action in outcome.actions)
        self.assertLessEqual(made, 1)


class Letters(Trio):
    """Mail."""

    def last(self, to: Person) -> tuple[int, str, str, bytes]:
        """The newest letter that waits for somebody."""
        return self.server.mail[to.vault.device][-1]

    def deliver(self, to: Person, sender: str, device: str, body: bytes) -> str:
        """The server delivers a letter; why it was thrown away."""
        self.server.mail_seq += 1
        before = len(to.of(fx.MailRejected))
        self.server.mail[to.vault.device].append((self.server.mail_seq, sender, device, body))
        to.sync()
        rejected = to.of(fx.MailRejected)[before:]
        return rejected[-1].reason if rejected else ""

    def test_fallback_message_replayed(self) -> None:
        """A letter that began a session with the fallback key, once more: it counts once."""
        bob = self.bob.vault.device
        self.server.one_time[bob].clear()
        self.room()
        self.alice.say("#tea", "hello")
        letter = self.last(self.bob)
        sync(self.alice, self.bob)
        self.assertIn("hello", self.bob.texts("#tea").values())
        self.assertNotEqual(self.deliver(self.bob, *letter[1:]), "")
        self.bob.vault._mail.forget_all()  # even if the session is gone and the key opens it anew
        self.bob.vault._keeper.flush()
        self.deliver(self.bob, *letter[1:])
        self.assertEqual(list(self.bob.texts("#tea").values()), ["hello"])

    def test_replayed(self) -> None:
        """Any letter, once more, after a restart too."""
        self.room()
        self.talk("hello")
        self.bob.say("#tea", "hi")
        letter = self.last(self.alice)
        sync(self.alice, self.bob)
        self.assertNotEqual(self.deliver(self.alice, *letter[1:]), "")
        self.alice.restart()
        self.assertNotEqual(self.deliver(self.alice, *letter[1:]), "")

    def test_misattributed(self) -> None:
        """A letter of alice's shown as eve's, or as of another device."""
        self.room()
        self.alice.say("#tea", "hello")
        seq, _, device, body = self.server.mail[self.bob.vault.device].pop()
        del seq
        self.assertNotEqual(self.deliver(self.bob, "eve", self.eve.vault.device, body), "")
        self.assertIn("no such device", self.deliver(self.bob, "alice", "0" * 32, body))
        self.assertIn("no such device", self.deliver(self.bob, "nobody", device, body))
        self.assertEqual(self.deliver(self.bob, "alice", device, body), "")
        sync(self.bob)
        self.assertIn("hello", self.bob.texts("#tea").values())

    def test_passed_on(self) -> None:
        """Bob passes on, as his own, a letter that says it is alice's; or one that was written to him."""
        self.room()
        self.talk("hello")
        bob, alice, eve = (self.certificate(p).device for p in (self.bob, self.alice, self.eve))
        for sender, recipient in ((alice, eve), (bob, alice)):
            forged = letters.Letter(
                bytes(16),
                letters.Triple(sender.user, sender.id, sender.ed),
                letters.Triple(recipient.user, recipient.id, recipient.ed),
                letters.Fresh(),
            )
            self.write(self.bob, self.eve, letters.Fresh())
            session = self.bob.vault._mail._sessions(eve.id)[0]
            type, ciphertext = session.encrypt(encode(forged)).to_parts()
            body = encode(Envelope(ALG_MAIL, type, ciphertext))
            self.eve.sync()
            reason = self.deliver(self.eve, "bob", bob.id, body)
            self.assertTrue("another sender" in reason or "somebody else" in reason, reason)

    def test_malformed(self) -> None:
        """Anything at all as a letter: thrown away, with a reason, and the mail goes on."""
        self.room()
        self.talk("hello")
        device = self.alice.vault.device
        for body in (
            b"",
            b"x" * 20_000,
            encode(Envelope("olm/2", 0, b"")),
            encode(Envelope(ALG_MAIL, 0, b"")),
            encode(Envelope(ALG_MAIL, 1, b"\x03" * 100)),
            encode(Envelope(ALG_MAIL, 0, b"\xff" * 10_000)),
            msgspec.msgpack.encode([ALG_MAIL, 7, b""]),
            msgspec.msgpack.encode([ALG_MAIL, -1, b""]),
            msgspec.msgpack.encode({"alg": 1}),
        ):
            self.assertNotEqual(self.deliver(self.bob, "alice", device, body), "", body[:30])
        self.assertEqual(self.server.mail[self.bob.vault.device], [])
        self.talk("still here")
        self.assertIn("still here", self.bob.texts("#tea").values())

    def test_unknown_type(self) -> None:
        """Types are a fixed list."""
        with self.assertRaises(letters.UnknownScheme):
            letters.parse_envelope(encode(Envelope("none", 0, b"")))
        packed = msgspec.msgpack.encode(
            ["encchat/letter/1", bytes(16), ["a", "0" * 32, bytes(32)], ["b", "0" * 32, bytes(32)], ["exec"]]
        )
        with self.assertRaises(letters.decode.__globals__["BadFormat"]):
            letters.parse_letter(packed)

    def test_flood(self) -> None:
        """Thousands of letters from nobody cost a few questions to the server and nothing else."""
        flood = [(n, f"ghost{n % 2}", "0" * 32, b"x") for n in range(1, 5001)]
        asked = 0
        outcome = self.bob.vault.mail(flood, self.server.now)
        for _ in range(4):
            asked += sum(isinstance(action, fx.AskDevices) for action in outcome.actions)
            for name in ("ghost0", "ghost1"):
                outcome = self.bob.vault.no_devices(name, self.server.now)
                asked += sum(isinstance(action, fx.AskDevices) for action in outcome.actions)
        self.assertLessEqual(asked, 3)
        self.assertLessEqual(len(self.bob.vault._letters), 1000)

    def test_sessions_are_bounded(self) -> None:
        """However often somebody begins anew, five sessions are kept, and the talk goes on."""
        self.room()
        for number in range(8):
            self.alice.vault._mail.forget_all()
            self.alice.restart()
            self.alice.sync()
            self.talk(f"again {number}")
        self.assertEqual(len(self.bob.vault._mail._state(self.alice.vault.device).sessions), 5)
        self.assertIn("again 7", self.bob.texts("#tea").values())

    def test_wedged(self) -> None:
        """A session that one side lost is replaced, once an hour at most."""
        self.room()
        self.talk("hello")
        self.bob.say("#tea", "hi")
        sync(self.alice, self.bob)
        self.bob.vault._mail.forget_all()
        self.alice.restart()
        self.alice.say("#tea", "do you read me?")
        sync(self.alice, self.bob)
        self.assertNotIn("do you read me?", self.bob.texts("#tea").values())
        self.bob.tick(11)  # bob asks for the key over the new session
        sync(self.alice, self.bob, self.alice)
        self.bob.sync()
        self.assertIn("do you read me?", self.bob.texts("#tea").values())
        claims = len(self.server.one_time[self.alice.vault.device])
        for number in range(20):
            junk = encode(Envelope(ALG_MAIL, 1, b"\x03\x0a\x20" + bytes(32) + bytes([number]) * 60))
            self.deliver(self.bob, "alice", self.alice.vault.device, junk)
        self.assertGreaterEqual(len(self.server.one_time[self.alice.vault.device]), claims - 1)


class RoomKeys(Trio):
    """Keys of rooms: who may send which, and who gets one again."""

    def test_asked_for_again(self) -> None:
        """A key whose letter was lost is asked for after ten seconds, and given again."""
        self.room()
        self.alice.say("#tea", "hello")
        self.server.mail[self.bob.vault.device].clear()
        self.bob.sync()
        self.assertEqual([e.sender for e in self.bob.of(fx.Waiting)], ["alice"])
        self.bob.tick(9)
        self.assertEqual(self.server.mail[self.alice.vault.device], [])
        self.bob.tick(2)
        sync(self.alice, self.bob)
        opened = self.bob.of(fx.Opened)[-1]
        self.assertEqual((opened.body, opened.late, opened.vouched_by), (b"hello", True, ""))
        self.assertEqual(self.bob.vault.waiting("#tea"), [])

    def test_misled(self) -> None:
        """The server shows the entry in another room, and as another's, before it shows it where it belongs:
        its key is asked for all the same."""
        self.room()
        other = room_of(self.server, self.alice, self.bob, self.eve, name="#oak")
        self.alice.say("#tea", "hello")
        self.server.mail[self.bob.vault.device].clear()
        entry = self.server.logs["#tea"].pop()
        for sender in ("eve", "alice"):
            self.server.put(other, sender, entry.device, "sealed", entry.msgid, entry.body)
        self.bob.sync()
        self.server.logs["#tea"].append(entry)
        self.bob.sync()
        self.bob.tick(11)
        sync(self.alice, self.bob)
        self.assertEqual(self.bob.texts("#tea"), {2: "hello"})
        self.assertEqual(self.bob.codes("#oak"), {2: "wrong-sender", 3: "wrong-room"})

    def test_waiting_outlives_a_restart(self) -> None:
        """What waits is stored, and opened when the key comes."""
        self.room()
        self.alice.say("#tea", "hello")
        mail = list(self.server.mail[self.bob.vault.device])
        self.server.mail[self.bob.vault.device].clear()
        self.bob.sync()
        self.bob.restart()
        self.assertEqual(self.bob.vault.waiting("#tea"), [2])
        self.server.mail[self.bob.vault.device].extend(mail)
        self.bob.sync()
        self.assertEqual(self.bob.texts("#tea"), {2: "hello"})

    def test_never_given(self) -> None:
        """A device that never had the key asks for it: eve's, and a new one of bob's own."""
        self.room()
        self.talk("secret")
        session = parse_sealed(self.server.logs["#tea"][-1].body).session
        late = Person(self.server, "bob", identity_=self.bob.identity, seed=1)
        request = KeyRequest(self.alice.vault.device, session)
        for asker in (self.eve, late):
            self.write(asker, self.alice, request)
            self.alice.sync()
            self.assertIn("never given", self.alice.of(fx.MailRejected)[-1].reason)
            asker.rooms.add("#tea")
            asker.sync()
            self.assertEqual(asker.texts("#tea"), {})
        self.write(self.eve, self.bob, request)
        self.bob.sync()
        self.assertIn("never given", self.bob.of(fx.MailRejected)[-1].reason)

    def test_own_devices_help(self) -> None:
        """Two devices of bob's were given a key; one lost it; the other one passes it on, as vouched for."""
        second = Person(self.server, "bob", identity_=self.bob.identity, seed=1)
        self.room()
        second.rooms.add("#tea")
        self.alice.say("#tea", "hello")
        self.server.mail[second.vault.device].clear()
        self.alice.disconnect()
        self.bob.sync()
        second.sync()
        second.tick(11)
        self.bob.sync()
        second.sync()
        opened = second.of(fx.Opened)
        self.assertEqual([(e.body, e.vouched_by) for e in opened], [(b"hello", self.bob.vault.device)])

    def test_forwarded_by_others(self) -> None:
        """Keys are passed on within one name only, and never take the place of one that its owner sent."""
        self.room()
        self.talk("hello")
        session = parse_sealed(self.server.logs["#tea"][-1].body).session
        state = self.bob.vault._keys.get(self.alice.vault.device, session)
        assert state is not None
        self.write(self.eve, self.bob, self.bob.vault._keys.exported(state))
        self.bob.sync()
        self.assertIn("one name", self.bob.of(fx.MailRejected)[-1].reason)
        made_up = ratchets.GroupSession()
        forged = ForwardedKey(
            *("#tea", state.room_id, "alice", self.alice.vault.device, ratchets.session_id(made_up)),
            ratchets.exported(ratchets.InboundGroupSession(made_up.session_key), 0),
        )
        self.assertTrue(self.bob.vault._keys.take_unproved(forged, "backup"))
        self.assertFalse(self.bob.vault._keys.take_unproved(self.bob.vault._keys.exported(state), "backup"))

    def test_bad_room_keys(self) -> None:
        """A key of another session than it says, one that is none, another one under a known id."""
        self.room()
        self.talk("hello")
        group, other = ratchets.GroupSession(), ratchets.GroupSession()
        id, key = ratchets.session_id(group), group.session_key.to_base64()
        for letter, reason in (
            (RoomKeyLetter("#tea", bytes(32), ratchets.session_id(other), key), "another session"),
            (RoomKeyLetter("#tea", bytes(32), id, "AAAA"), "cannot be used"),
            (RoomKeyLetter("#tea", bytes(32), id, "ü" * 100), "cannot be used"),
        ):
            self.write(self.alice, self.bob, letter)
            self.bob.sync()
            self.assertIn(reason, self.bob.of(fx.MailRejected)[-1].reason)

    def test_rotation(self) -> None:
        """A new session after 100 messages, a day, a restart, a new device, somebody in, somebody out."""
        self.room()

        def session() -> bytes:
            self.talk("x")
            return parse_sealed(self.server.logs["#tea"][-1].body).session

        sessions = [session()]
        self.assertEqual(session(), sessions[0])
        for _ in range(MAX_MESSAGES - 2):
            self.alice.say("#tea", "y")
        sessions.append(session())
        self.server.now += 24 * HOUR * 1000
        sessions.append(session())
        self.alice.restart()
        sessions.append(session())
        second = Person(self.server, "bob", identity_=self.bob.identity, seed=1)
        self.alice.do(self.alice.vault.hint_devices("bob", self.server.now))
        sessions.append(session())
        self.bob.do(self.bob.vault.ask_devices("bob", self.server.now))
        self.bob.do(self.bob.vault.revoke_device(second.vault.device, self.server.now))
        self.alice.do(self.alice.vault.hint_devices("bob", self.server.now))
        sessions.append(session())
        self.alice.change("#tea", add=("eve",))
        sessions.append(session())
        self.alice.change("#tea", remove=("eve",))
        sessions.append(session())
        self.assertEqual(len(set(sessions)), len(sessions))

    def test_waiting_is_bounded(self) -> None:
        """Entries whose keys never come do not fill the disk."""
        self.room()
        self.talk("hello")
        entry = self.server.logs["#tea"][-1]
        for number in range(1100):
            sealed = parse_sealed(entry.body)
            fake = msgspec.structs.replace(sealed, session=number.to_bytes(32, "big"))
            msgid = number.to_bytes(16, "big")
            self.server.put("#tea", "alice", entry.device, "sealed", msgid, encode(fake))
        self.bob.sync()
        waiting = self.bob.of(fx.Waiting)
        self.assertEqual((len(waiting), sum(e.kept for e in waiting)), (1100, 1000))
        self.bob.tick(11)
        self.assertLessEqual(len(self.server.mail[self.alice.vault.device]), 50)


def encode_key(key: bytes, signature: bytes) -> bytes:
    """A one-time key's wrapper, of any parts."""
    return msgspec.msgpack.encode([key, signature])
