"""What devices publish: certificates, lists, keys; who may, what is handed out, and what ends it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.accounts import operator
from encchat.core.chat.floods import MOST
from encchat.core.refusals import RateLimited
from encchat.core.relay.books import MAX_CERTIFICATES, MAX_DEVICES
from encchat.core.relay.devicekeys import CLAIM_BURST, CLAIM_EVERY, ClaimRates
from encchat.core.relay.keeping import MAX_ONE_TIME
from tests.core.relay.sealing import Gadget, bound, enter, key_of
from tests.core.world import GatedLog, LateLog, World


class Case(SynchronousTestCase):
    """Alice with a laptop and a phone, Bob with a laptop, a server without rates."""

    def setUp(self) -> None:
        self.world = World(limits=m.Limits(rate=0))
        self.laptop, self.phone, self.bobs = Gadget("alice", 1), Gadget("alice", 2), Gadget("bob")

    def answer(self, peer: Any, message: Any) -> Any:
        """The one answer."""
        (answer,) = peer.ask(message)
        return answer

    def refused(self, peer: Any, message: Any) -> str:
        """The code of the error that answers."""
        answer = self.answer(peer, message)
        self.assertIsInstance(answer, m.Error)
        self.assertEqual(answer.id, message.id)
        return str(answer.code)


class Publishing(Case):
    """``publishkeys`` and ``devices``."""

    def test_published(self) -> None:
        """What a device published is told to whoever asks."""
        alice, bob = enter(self.world, "alice"), enter(self.world, "bob")
        answer = self.answer(alice, self.laptop.publish(5, 1, 2, 3))
        self.assertEqual(answer, m.Published(5, self.laptop.id, 3))
        self.assertEqual(alice.session.device_id, self.laptop.id)
        list_ = self.laptop.listed(self.laptop)
        self.assertEqual(
            self.answer(alice, m.PublishKeys(6, devices=list_)), m.Published(6, self.laptop.id, 3)
        )
        answer = self.answer(bob, m.Devices(7, "Alice"))
        self.assertEqual(answer, m.DeviceList(7, "alice", list_, (self.laptop.certificate(),)))

    def test_nothing_published(self) -> None:
        """A name without devices has none; nobody's name is nobody's."""
        bob = enter(self.world, "bob")
        self.assertEqual(self.answer(bob, m.Devices(1, "bob")), m.DeviceList(1, "bob", b"", ()))
        self.assertEqual(self.refused(bob, m.Devices(2, "carol")), "no-such-name")
        self.assertEqual(self.refused(bob, m.Devices(3, "no such name")), "bad-name")

    def test_a_device_comes_again(self) -> None:
        """On another connection a device is known by its key alone, unless there are two with it."""
        bound(self.world, self.laptop).session.lost()
        again = enter(self.world, "alice")
        self.assertEqual(
            self.answer(again, m.PublishKeys(1, one_time=self.laptop.keys(9))),
            m.Published(1, self.laptop.id, 1),
        )
        self.answer(again, self.phone.publish(2))
        self.assertEqual(again.session.device_id, self.phone.id)
        again.session.lost()
        third = enter(self.world, "alice")
        self.assertEqual(self.refused(third, m.PublishKeys(3)), "no-device")
        self.assertEqual(self.answer(third, self.laptop.publish(4)), m.Published(4, self.laptop.id, 1))

    def test_not_known_yet(self) -> None:
        """Without a certificate there is no device."""
        alice = enter(self.world, "alice")
        for message in (m.PublishKeys(1), m.AckMail(2, 1)):
            self.assertEqual(self.refused(alice, message), "no-device")

    def test_only_ones_own_certificate(self) -> None:
        """A certificate of another name, or by another key than the session's, binds nothing."""
        alice = enter(self.world, "alice")
        for other in (self.bobs, Gadget("alice", 1, key_of("mallory")), Gadget("bob", 1, key_of("alice"))):
            self.assertEqual(self.refused(alice, other.publish()), "bad-keys")
        self.assertEqual(alice.session.device_id, "")
        self.assertEqual(self.answer(alice, m.Devices(1, "alice")).certificates, ())

    def test_malformed(self) -> None:
        """What cannot be read is refused, in words, and the connection stays."""
        alice = bound(self.world, self.laptop)
        for message in (
            m.PublishKeys(1, b"\xc1"),
            m.PublishKeys(1, b"x" * m.MAX_CERTIFICATE),
            m.PublishKeys(1, b"", b"\x90"),
            m.PublishKeys(1, one_time=(b"nonsense",)),
            m.PublishKeys(1, fallback=b"nonsense"),
        ):
            self.assertEqual(self.refused(alice, message), "bad-keys")
        self.assertFalse(alice.closed)

    def test_keys_of_another_device(self) -> None:
        """Keys must be of the device, a one-time key no fallback, and the other way round."""
        alice = bound(self.world, self.laptop)
        own = self.laptop
        for message in (
            m.PublishKeys(1, one_time=self.phone.keys(1)),
            m.PublishKeys(1, one_time=(own.fallback,)),
            m.PublishKeys(1, fallback=own.one_time(1)),
        ):
            self.assertEqual(self.refused(alice, message), "bad-keys")
        self.assertEqual(self.answer(alice, m.PublishKeys(1)), m.Published(1, own.id, 0))

    def test_one_time_keys_are_bounded_and_taken_in_once(self) -> None:
        """Resending is safe: a key that was handed out is not taken in again."""
        alice, bob = bound(self.world, self.laptop), enter(self.world, "bob")
        many = m.PublishKeys(1, one_time=self.laptop.keys(*range(m.MAX_KEYS)))
        for _ in range(2):
            self.assertEqual(self.answer(alice, many).one_time, MAX_ONE_TIME)
        self.answer(bob, m.ClaimKeys(2, "alice", (self.laptop.id,)))
        self.assertEqual(self.answer(alice, many).one_time, MAX_ONE_TIME - 1)
        more = m.PublishKeys(3, one_time=self.laptop.keys(900, 901))
        self.assertEqual(self.answer(alice, more).one_time, MAX_ONE_TIME)

    def test_lists_follow_one_another(self) -> None:
        """Of two devices that change the list at once, one is told to look again."""
        alice, phone = bound(self.world, self.laptop), bound(self.world, self.phone)
        first = self.laptop.listed(self.laptop)
        self.answer(alice, m.PublishKeys(1, devices=first))
        second = self.laptop.listed(self.laptop, self.phone, after=first)
        other = self.phone.listed(self.phone, after=first)
        self.answer(alice, m.PublishKeys(2, devices=second))
        self.assertEqual(self.refused(phone, m.PublishKeys(3, devices=other)), "devices-changed")
        self.assertEqual(type(self.answer(alice, m.PublishKeys(4, devices=second))), m.Published)
        for wrong in (
            first,
            self.laptop.listed(self.laptop, version=3),
            self.laptop.listed(self.laptop, after=second, version=4),
        ):
            self.assertEqual(self.refused(alice, m.PublishKeys(5, devices=wrong)), "devices-changed")
        self.assertEqual(self.answer(alice, m.Devices(6, "alice")).devices, second)

    def test_somebody_elses_list(self) -> None:
        """A list is of the session's name, by a key of it."""
        alice = bound(self.world, self.laptop)
        for other in (self.bobs, Gadget("alice", 1, key_of("mallory"))):
            list_ = other.listed(other)
            self.assertEqual(self.refused(alice, m.PublishKeys(1, devices=list_)), "bad-keys")

    def test_revoked(self) -> None:
        """A revoked device is gone with its keys and mail, hears nothing more, and never comes back."""
        alice, phone, bob = (bound(self.world, g) for g in (self.laptop, self.phone, self.bobs))
        self.answer(phone, m.PublishKeys(1, one_time=self.phone.keys(1, 2)))
        first = self.laptop.listed(self.laptop, self.phone)
        self.answer(alice, m.PublishKeys(2, devices=first))
        self.answer(bob, m.ToDevice(3, (m.Letter("alice", self.phone.id, b"hello"),)))
        self.assertEqual(type(phone.news()[-1]), m.Mail)
        second = self.laptop.listed(self.laptop, after=first, revoked=[self.phone])
        self.answer(alice, m.PublishKeys(4, devices=second))
        self.assertEqual(phone.session.device_id, "")
        posted = self.answer(bob, m.ToDevice(5, (m.Letter("alice", self.phone.id, b"hello"),)))
        self.assertEqual(posted.refused, (0,))
        self.assertEqual(self.answer(bob, m.ClaimKeys(6, "alice", (self.phone.id,))).keys, (b"",))
        self.assertEqual(self.answer(bob, m.Devices(7, "alice")).certificates, (self.laptop.certificate(),))
        self.assertEqual(self.refused(phone, self.phone.publish(8)), "device-revoked")
        self.assertEqual(phone.news(), [])

    def test_too_many_devices(self) -> None:
        """A name has at most so many; one that is revoked makes room."""
        alice = enter(self.world, "alice")
        gadgets = [Gadget("alice", n) for n in range(MAX_DEVICES + 1)]
        for gadget in gadgets[:-1]:
            self.assertEqual(type(self.answer(alice, gadget.publish())), m.Published)
        self.assertEqual(self.refused(alice, gadgets[-1].publish()), "too-many")
        list_ = gadgets[1].listed(*gadgets[1:-1], revoked=gadgets[:1])
        self.answer(alice, m.PublishKeys(2, devices=list_))
        self.assertEqual(type(self.answer(alice, gadgets[-1].publish())), m.Published)

    def test_certificates_that_no_message_could_hold(self) -> None:
        """All certificates of a name fit into one answer."""
        alice = enter(self.world, "alice")
        answers = [
            self.answer(alice, m.PublishKeys(1, Gadget("alice", n).certificate(4)))
            for n in range(MAX_DEVICES)
        ]
        self.assertEqual({getattr(answer, "code", "") for answer in answers}, {"", "too-many"})
        held = self.answer(alice, m.Devices(2, "alice")).certificates
        self.assertTrue(MAX_CERTIFICATES - m.MAX_CERTIFICATE < sum(map(len, held)) <= MAX_CERTIFICATES)

    def test_a_new_fallback(self) -> None:
        """It replaces the one before; the certificate need not come with it."""
        alice, bob = enter(self.world, "alice"), enter(self.world, "bob")
        self.answer(alice, m.PublishKeys(1, self.laptop.certificate()))
        asked = m.ClaimKeys(2, "alice", (self.laptop.id,))
        self.assertEqual(self.answer(bob, asked).keys, (b"",))
        for number in (7, 8):
            fallback = self.laptop.one_time(number, fallback=True)
            self.assertEqual(type(self.answer(alice, m.PublishKeys(3, fallback=fallback))), m.Published)
            self.assertEqual(self.answer(bob, asked).keys, (fallback,))
        self.assertEqual(self.answer(bob, m.Devices(4, "alice")).certificates, (self.laptop.certificate(),))

    def test_another_machines_list(self) -> None:
        """Any key of the name may sign the list, until it is unlinked: then a new one begins, but what was
        revoked stays so."""
        alice = bound(self.world, self.laptop)
        code = self.answer(alice, m.Link(1)).code
        other = Gadget("alice", 7, key_of("alice's other machine"))
        second = self.world.peer(other.key)
        second.ask(m.Hello((1,), "alice", link=code))
        self.answer(second, other.publish())
        list_ = other.listed(other, self.laptop, revoked=[self.phone])
        self.assertEqual(type(self.answer(alice, m.PublishKeys(2, devices=list_))), m.Published)
        alice.ask(m.Unlink(3, second.session.identity.fingerprint))
        self.assertEqual(
            self.answer(alice, m.Devices(4, "alice")),
            m.DeviceList(4, "alice", b"", (self.laptop.certificate(),)),
        )
        fresh = self.laptop.listed(self.laptop)
        self.assertEqual(type(self.answer(alice, m.PublishKeys(5, devices=fresh))), m.Published)
        self.assertEqual(self.refused(alice, self.phone.publish(6)), "device-revoked")

    def test_a_device_of_another_machine(self) -> None:
        """A further key of the name gets the mail and the keys of another's device only if it has that
        device: its public keys are known to everybody."""
        alice = bound(self.world, self.laptop)
        self.answer(alice, self.laptop.publish(2, 1))
        second = self.world.peer(key_of("alice's other machine"))
        second.ask(m.Hello((1,), "alice", link=self.answer(alice, m.Link(1)).code))
        same = Gadget("alice", 1, key_of("alice's other machine"))
        self.assertEqual(same.id, self.laptop.id)
        self.assertEqual(self.refused(second, same.publish(3)), "bad-keys")
        self.assertEqual(alice.session.device_id, self.laptop.id)
        self.assertEqual(self.answer(alice, m.Devices(4, "alice")).certificates, (self.laptop.certificate(),))
        self.assertEqual(type(self.answer(second, m.PublishKeys(5, same.proved()))), m.Published)
        self.assertEqual(second.session.device_id, self.laptop.id)

    def test_cut_off_while_it_is_published(self) -> None:
        """Whatever the moment in which the server stops, publishing again completes it."""
        for step in range(14):
            log = LateLog(b"a log for tests.")
            first = World(log, limits=m.Limits(rate=0))
            alice = enter(first, "alice")
            message = m.PublishKeys(
                1,
                self.laptop.certificate(),
                self.laptop.listed(self.laptop),
                self.laptop.keys(1, 2),
                self.laptop.fallback,
            )
            log.gates = []
            alice.send(message)
            for _ in range(step):
                first.turn.end()
                if log.gates:
                    first.turn.open(log.gates.pop(0))
            log.gates = None
            second = World(log, limits=m.Limits(rate=0))
            alice, bob = enter(second, "alice"), enter(second, "bob")
            without = m.PublishKeys(2, fallback=self.laptop.fallback)
            self.assertIn(getattr(self.answer(alice, without), "code", ""), ("", "no-device"))
            self.assertEqual(self.answer(alice, message), m.Published(1, self.laptop.id, 2))
            asked = m.ClaimKeys(3, "alice", (self.laptop.id,))
            keys = [self.answer(bob, asked).keys[0] for _ in range(3)]
            self.assertEqual(keys, [*self.laptop.keys(1, 2), self.laptop.fallback])

    def test_unlinked(self) -> None:
        """With its key goes what a device published, and its mail."""
        alice, bob = enter(self.world, "alice"), enter(self.world, "bob")
        code = self.answer(alice, m.Link(1)).code
        other = Gadget("alice", 7, key_of("alice's other machine"))
        second = self.world.peer(other.key)
        second.ask(m.Hello((1,), "alice", link=code))
        self.assertEqual(type(self.answer(second, other.publish(1, 1))), m.Published)
        self.answer(bob, m.ToDevice(2, (m.Letter("alice", other.id, b"hello"),)))
        alice.ask(m.Unlink(3, second.session.identity.fingerprint))
        self.assertEqual(self.answer(bob, m.Devices(4, "alice")).certificates, ())
        self.assertEqual(self.answer(bob, m.ClaimKeys(5, "alice", (other.id,))).keys, (b"",))
        self.assertEqual(self.mail_in(other.box), [])

    def test_renamed(self) -> None:
        """Who has another name has no devices under the old one."""
        bound(self.world, self.laptop)
        bob = enter(self.world, "bob")
        self.answer(bob, m.ToDevice(2, (m.Letter("alice", self.laptop.id, b"hello"),)))
        self.world.turn.spawn(operator.rename(self.world.hub, "alice", "alicia", operator.Actor()), None)
        self.world.turn.end()
        self.assertEqual(self.refused(bob, m.Devices(1, "alice")), "no-such-name")
        self.assertEqual(self.mail_in(self.laptop.box), [])
        alicia = enter(self.world, "alicia", key_of("alice"))
        renamed = Gadget("alicia", 1, key_of("alice"))
        self.assertEqual(type(self.answer(alicia, renamed.publish())), m.Published)

    def test_a_certificate_takes_the_name(self) -> None:
        """The holder of a certificate begins anew: the claimant's devices are not the name's."""
        bound(self.world, self.laptop)
        bob = enter(self.world, "bob")
        alice = self.world.peer(key_of("alice, vouched"), vouched="alice")
        alice.ask(m.Hello((1,), "alice"))
        self.assertEqual(self.answer(bob, m.Devices(1, "alice")), m.DeviceList(1, "alice", b"", ()))
        vouched = Gadget("alice", 3, key_of("alice, vouched"))
        self.assertEqual(type(self.answer(alice, vouched.publish())), m.Published)
        list_ = vouched.listed(vouched)
        self.assertEqual(type(self.answer(alice, m.PublishKeys(2, devices=list_))), m.Published)
        self.assertEqual(self.answer(bob, m.Devices(3, "alice")).certificates, (vouched.certificate(),))

    def mail_in(self, box: str) -> list[Any]:
        """What waits in a box."""
        found: list[Any] = []

        async def look() -> None:
            found.extend(await self.world.log.mail.fetch(box, 0, 100, 10**6))

        self.world.turn.spawn(look(), None)
        return found


class Claiming(Case):
    """``claimkeys``."""

    def test_once_and_then_the_fallback(self) -> None:
        """Each key once, the oldest first; then the fallback for all; nothing where there is nothing."""
        alice, bob = enter(self.world, "alice"), enter(self.world, "bob")
        self.answer(alice, self.laptop.publish(1, 1, 2))
        self.answer(alice, m.PublishKeys(2, self.phone.certificate()))
        asked = m.ClaimKeys(3, "Alice", (self.phone.id, "nonsense", self.laptop.id, self.laptop.id))
        for key in (self.laptop.one_time(1), self.laptop.one_time(2), self.laptop.fallback):
            self.assertEqual(self.answer(bob, asked), m.Keys(3, "alice", (b"", b"", key, b"")))

    def test_nobody(self) -> None:
        """A name that nobody has."""
        self.assertEqual(
            self.refused(enter(self.world, "bob"), m.ClaimKeys(1, "carol", ("x",))), "no-such-name"
        )

    def test_ten_thousand_claims(self) -> None:
        """One who claims and claims uses up a handful of keys, and is told to wait; others get theirs."""
        world = World()
        alice, mallory, bob = (enter(world, name) for name in ("alice", "mallory", "bob"))
        alice.ask(self.laptop.publish(1, *range(m.MAX_KEYS)))
        handed, errors = set(), []
        for n in range(10_000):
            (answer,) = mallory.ask(m.ClaimKeys(n, "alice", (self.laptop.id,)))
            if isinstance(answer, m.Keys):
                handed.update(answer.keys)
            else:
                errors.append(answer)
        self.assertEqual(len(handed), CLAIM_BURST)
        self.assertEqual({error.code for error in errors}, {"rate-limited"})
        self.assertTrue(all(0 < error.wait <= CLAIM_EVERY * 1000 for error in errors))
        again = world.named("mallory", key_of("mallory"))
        self.assertEqual(self.refused(again, m.ClaimKeys(1, "alice", (self.laptop.id,))), "rate-limited")
        (answer,) = bob.ask(m.ClaimKeys(1, "alice", (self.laptop.id,)))
        self.assertNotIn(answer.keys[0], {*handed, b"", self.laptop.fallback})
        self.assertEqual(alice.ask(m.PublishKeys(2))[0].one_time, m.MAX_KEYS - CLAIM_BURST - 1)
        world.turn.time += CLAIM_EVERY
        self.assertEqual(type(again.ask(m.ClaimKeys(2, "alice", (self.laptop.id,)))[0]), m.Keys)

    def test_refused_as_a_whole(self) -> None:
        """Where one of the devices is claimed from too often, no key of any is used up."""
        rates = ClaimRates()
        for _ in range(CLAIM_BURST):
            rates.take("bob", ["a"], 0.0)
        for _ in range(CLAIM_BURST):
            self.assertRaises(RateLimited, rates.take, "bob", ["b", "a"], 0.0)
        for _ in range(CLAIM_BURST):
            rates.take("bob", ["b", "b"], 0.0)
        rates.take("carol", ["a", "b"], 0.0)

    def test_what_is_remembered_is_bounded(self) -> None:
        """However many pairs there are."""
        rates = ClaimRates()
        for n in range(MOST + 10):
            rates.take("bob", [str(n)], 0.0)
        self.assertEqual(len(rates._buckets), MOST)

    def test_two_at_once(self) -> None:
        """Two who claim in one moment get two keys, whatever the order in which the log answers."""
        for step in range(8):
            self.setUp()
            alice, bob, carol = (enter(self.world, name) for name in ("alice", "bob", "carol"))
            self.answer(alice, self.laptop.publish(1, 1, 2))
            assert isinstance(self.world.log, GatedLog)
            asked = m.ClaimKeys(1, "alice", (self.laptop.id,))
            self.world.at_step(
                step,
                lambda bob=bob, asked=asked: bob.send(asked),
                lambda carol=carol, asked=asked: carol.send(asked),
            )
            keys = {peer.news()[-1].keys[0] for peer in (bob, carol)}
            self.assertEqual(keys, set(self.laptop.keys(1, 2)))
