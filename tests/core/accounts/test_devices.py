"""Further keys for a name, and how far a name has read."""

from __future__ import annotations

from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.accounts.admission import Claim, Policy
from encchat.core.accounts.door import MAX_KEYS
from encchat.core.accounts.links import ENTROPY, LIFETIME, digest, make_code
from encchat.core.accounts.operator import Actor, ban
from encchat.core.refusals import BadLink
from encchat.logs.memory import MemoryLog
from tests.core.test_directory import run
from tests.core.world import LOG_ID, GatedLog, LateLog, Peer, World, identity, text

PHONE = "alice's phone"


def fingerprint(key: str) -> str:
    return identity(key).fingerprint


class Codes(SynchronousTestCase):
    """How a code is written and read."""

    def test_form(self) -> None:
        code = make_code(bytes(range(ENTROPY)))
        self.assertRegex(code, r"\A[0-9A-HJKMNP-TV-Z]{5}(-[0-9A-HJKMNP-TV-Z]{5}){2}\Z")

    def test_every_bit_counts(self) -> None:
        """75 of them: each of the lowest ones changes the code, and no two the same way."""
        codes = {make_code((1 << bit).to_bytes(ENTROPY, "big")) for bit in range(75)}
        self.assertEqual(len(codes | {make_code(bytes(ENTROPY))}), 76)

    def test_as_people_write_it(self) -> None:
        code = "01ABC-DEFGH-JKMNP"
        for written in ("01abc-defgh-jkmnp", "o1abcdefghjkmnp", "OLabc defgh jkmnp", " 0Iabc-defgh-jkmnp"):
            self.assertEqual(digest(written, "alice"), digest(code, "alice"))
        self.assertNotEqual(digest(code, "alicf"), digest(code, "alice"))

    def test_what_is_none(self) -> None:
        for written in (
            "",
            "x",
            "U1ABC-DEFGH-JKMNP",
            "01ABC-DEFGH-JKMN",
            "01ABC-DEFGH-JKMNPQ",
            "０1ABC-DEFGH-JKMNP",
        ):
            self.assertRaises(BadLink, digest, written, "alice")


class DeviceTestCase(SynchronousTestCase):
    """alice is in +lobby."""

    def setUp(self) -> None:
        self.log: MemoryLog = GatedLog(LOG_ID)
        self.world = World(self.log)
        self.alice = self.world.member("alice")

    def code(self, peer: Peer | None = None) -> str:
        (linked,) = (peer or self.alice).ask(m.Link(7))
        self.assertEqual((type(linked), linked.id, linked.seconds), (m.Linked, 7, 600))
        code: str = linked.code
        return code

    def hello(self, key: str, code: str, name: str = "alice", world: World | None = None) -> Any:
        self.device = (world or self.world).peer(key)
        return self.device.ask(m.Hello((1,), name, "phone", "", code))[0]

    def link(self, key: str) -> Peer:
        self.assertIs(type(self.hello(key, self.code())), m.Welcome)
        return self.device

    def assert_bad(self, key: str, code: str, name: str = "alice") -> None:
        answer = self.hello(key, code, name)
        self.assertEqual((type(answer), answer.code), (m.Refused, "bad-link"))
        self.assertTrue(self.device.closed)


class Linking(DeviceTestCase):
    """A code lets one more key use the name."""

    def test_another_device(self) -> None:
        phone = self.link(PHONE)
        self.assertIs(type(phone.ask(m.Join(1, "+lobby"))[0]), m.Joined)
        self.assertEqual([x.name for x in phone.ask(m.Who(2, "+lobby"))[0].members], ["alice"])
        phone.session.lost()
        self.assertIs(type(self.hello(PHONE, "")), m.Welcome)
        profile = self.alice.ask(m.Whois(1, "alice"))[-1]
        self.assertEqual(
            (profile.fingerprint, profile.keys), (fingerprint("alice's key"), (fingerprint(PHONE),))
        )

    def test_also_after_a_restart(self) -> None:
        code = self.code()
        self.assertIs(
            type(self.hello(PHONE, code.lower().replace("-", " "), world=World(self.log))), m.Welcome
        )
        self.assertIs(type(self.hello(PHONE, "", world=World(self.log))), m.Welcome)

    def test_only_a_hash_is_kept(self) -> None:
        code = self.code()
        for kind in ("link", "name"):
            for item in run(self.log.scan(kind)).values():
                self.assertNotIn(code.encode(), item.value)
                self.assertNotIn(code.replace("-", "").encode(), item.value)

    def test_once(self) -> None:
        code = self.code()
        self.assertIs(type(self.hello(PHONE, code)), m.Welcome)
        self.assert_bad("a third key", code)

    def test_of_two_that_race_one_comes_in(self) -> None:
        code = self.code()
        peers = [self.world.peer(PHONE), self.world.peer("a thief's")]
        assert isinstance(self.log, GatedLog)
        self.log.gates = []
        for peer in peers:
            peer.send(m.Hello((1,), "alice", "", "", code))
        while self.log.gates:
            self.world.turn.open(self.log.gates.pop(0))
        self.world.turn.end()
        self.assertEqual(sorted(type(peer.news()[0]).__name__ for peer in peers), ["Refused", "Welcome"])

    def test_for_ten_minutes(self) -> None:
        code = self.code()
        self.world.turn.time += LIFETIME / 1000
        self.assert_bad(PHONE, code)
        self.world.turn.time -= 1
        self.assert_bad(PHONE, code)  # and that was its end, whatever the clock does
        code = self.code()
        self.world.turn.time += LIFETIME / 1000 - 1
        self.assertIs(type(self.hello(PHONE, code)), m.Welcome)

    def test_wrong_ones_do_not_void_it(self) -> None:
        code = self.code()
        for number in range(20):
            self.assert_bad(f"key {number}", f"00000-00000-000{number:02}")
        self.assertIs(type(self.hello(PHONE, code)), m.Welcome)

    def test_what_is_no_code_costs_nothing(self) -> None:
        code = self.code()
        for _ in range(5):
            self.assert_bad(PHONE, "sesame")
        self.assertIs(type(self.hello(PHONE, code)), m.Welcome)

    def test_a_new_one_replaces_the_old_one(self) -> None:
        old, new = self.code(), self.code()
        self.assertNotEqual(old, new)
        self.assert_bad(PHONE, old)
        self.assertIs(type(self.hello(PHONE, new)), m.Welcome)

    def test_for_this_name_alone(self) -> None:
        code = self.code()
        self.world.named("bob")
        self.assert_bad(PHONE, code, "bob")
        self.assert_bad(PHONE, code, "nobody")
        self.assertIsNone(run(self.world.hub.directory.claim("nobody")))
        self.assertEqual(run(self.world.hub.directory.claim("bob")).keys, (fingerprint("bob's key"),))

    def test_a_known_key_does_not_use_it_up(self) -> None:
        code = self.code()
        self.assertIs(type(self.hello("alice's key", code)), m.Welcome)
        self.assertIs(type(self.hello(PHONE, code)), m.Welcome)

    def test_no_way_around_the_members(self) -> None:
        code = self.code()
        self.world.settings.policy = Policy({"alice": frozenset({fingerprint("alice's key")})})
        self.assertEqual(self.hello(PHONE, code).code, "not-a-member")
        self.world.settings.policy = Policy()
        self.assertIs(type(self.hello(PHONE, code)), m.Welcome)

    def test_a_certificates_name_has_no_codes(self) -> None:
        bob = self.world.peer("bob's certificate", "bob")
        bob.ask(m.Hello((1,), "bob"))
        self.assertEqual(bob.ask(m.Link(1))[0].code, "not-allowed")
        code = self.code()
        holder = self.world.peer("alice's certificate", "alice")
        self.assertIs(type(holder.ask(m.Hello((1,), "alice"))[0]), m.Welcome)
        self.assertTrue(self.alice.closed)
        self.assertEqual(self.hello(PHONE, code).code, "name-taken")

    def test_the_certificates_holder_drops_the_keys(self) -> None:
        self.link(PHONE)
        holder = self.world.peer("alice's certificate", "alice")
        holder.ask(m.Hello((1,), "alice"))
        self.assertTrue(self.device.closed)
        self.assertEqual(self.hello(PHONE, "").code, "name-taken")
        self.assertEqual(holder.ask(m.Whois(1, "alice"))[0].keys, ())

    def test_a_certificates_holder_comes_at_any_step(self) -> None:
        """Who merely claimed the name is not in afterwards, whoever came first."""
        for known in (True, False):
            for step in range(20):
                world = World(LateLog(LOG_ID))
                if known:
                    world.named("alice").session.lost()
                squatter, holder = world.peer("alice's key"), world.peer("alice's certificate", "alice")
                world.at_step(
                    step,
                    partial(squatter.send, m.Hello((1,), "alice")),
                    partial(holder.send, m.Hello((1,), "alice")),
                )
                self.assertEqual((squatter.closed, holder.closed), (True, False), (known, step))
                world = World(LateLog(LOG_ID))
                if known:
                    world.named("alice").session.lost()
                squatter, holder = world.peer("alice's key"), world.peer("alice's certificate", "alice")
                world.at_step(
                    step,
                    partial(holder.send, m.Hello((1,), "alice")),
                    partial(squatter.send, m.Hello((1,), "alice")),
                )
                self.assertEqual((squatter.closed, holder.closed), (True, False), (known, step))

    def test_a_guest_has_no_codes(self) -> None:
        guest = self.world.guest()
        guest.session.admit()
        guest.session.receive(m.Link(1))
        self.world.turn.end()
        self.assertEqual(guest.news()[-1].code, "not-allowed")

    def test_bounded(self) -> None:
        for n in range(MAX_KEYS - 1):
            self.link(f"key {n}")
        self.world.turn.time += 60
        self.assertEqual(self.alice.ask(m.Link(1))[0].code, "too-many")

    def test_a_code_from_before_the_bound(self) -> None:
        for n in range(MAX_KEYS - 2):
            self.link(f"key {n}")
        code = self.code()
        last = Claim(
            "alice", fingerprint("alice's key"), 0, False, tuple(f"k{n}" for n in range(MAX_KEYS - 1))
        )
        run(self.world.hub.directory.change_claim("alice", lambda held: last))
        self.assertEqual(self.hello(PHONE, code).code, "too-many")

    def test_a_rate(self) -> None:
        answers = self.alice.ask(*[m.Link(n) for n in range(30)])
        self.assertEqual({a.code for a in answers if type(a) is m.Error}, {"rate-limited"})


class Unlinking(DeviceTestCase):
    """A device takes away itself, and those that came after it."""

    def test_it_is_cut_off_at_once(self) -> None:
        phone = self.link(PHONE)
        phone.ask(m.Join(1, "+lobby"))
        self.assertEqual(self.alice.ask(m.Unlink(3, fingerprint(PHONE)))[-1], m.Done(3))
        self.assertTrue(phone.closed)
        self.assertEqual(self.hello(PHONE, "").code, "name-taken")
        self.assertFalse(self.alice.closed)

    def test_the_same_key_under_another_name_stays(self) -> None:
        self.link(PHONE)
        other = self.world.named("robert", PHONE)
        self.alice.ask(m.Unlink(3, fingerprint(PHONE)))
        self.assertFalse(other.closed)

    def test_a_younger_device_has_no_power(self) -> None:
        phone = self.link(PHONE)
        tablet = self.link("alice's tablet")
        for key in ("alice's key", PHONE):
            self.assertEqual(tablet.ask(m.Unlink(3, fingerprint(key)))[0].code, "not-allowed")
        self.assertEqual(phone.ask(m.Unlink(3, fingerprint("alice's key")))[0].code, "not-allowed")
        self.assertEqual(phone.ask(m.Unlink(4, fingerprint("alice's tablet")))[0], m.Done(4))
        self.assertTrue(tablet.closed)

    def test_a_device_takes_itself_away(self) -> None:
        phone = self.link(PHONE)
        self.assertEqual(self.alice.ask(m.Unlink(3, fingerprint("alice's key")))[0], m.Done(3))
        self.assertTrue(self.alice.closed)
        self.assertEqual(phone.ask(m.Whois(1, "alice"))[0].fingerprint, fingerprint(PHONE))
        self.assertEqual(phone.ask(m.Unlink(4, fingerprint(PHONE)))[0].code, "not-allowed")
        self.assertEqual(self.hello("alice's key", "").code, "name-taken")

    def test_unknown_keys(self) -> None:
        for key in (fingerprint("bob's key"), "", "x"):
            self.assertEqual(self.alice.ask(m.Unlink(3, key))[0].code, "no-such-key")

    def test_a_code_of_a_device_that_was_taken_away(self) -> None:
        phone = self.link(PHONE)
        code = self.code(phone)
        self.alice.ask(m.Unlink(3, fingerprint(PHONE)))
        self.assert_bad("the thief's next", code)

    def test_a_code_of_a_banned_device(self) -> None:
        phone = self.link(PHONE)
        code = self.code(phone)
        run(ban(self.world.hub, fingerprint(PHONE), Actor()))
        self.assertTrue(phone.closed)
        self.assert_bad("the thief's next", code)
        self.assertFalse(self.alice.closed)

    def test_while_it_comes_in(self) -> None:
        """At whatever step of its hello it is taken away, it is not in afterwards."""
        self.log = LateLog(LOG_ID)
        self.world = World(self.log)
        self.alice = self.world.member("alice")
        for step in range(20):
            key = f"phone {step}"
            self.link(key).session.lost()
            phone = self.world.peer(key)
            self.world.at_step(
                step,
                partial(phone.send, m.Hello((1,), "alice")),
                partial(self.alice.send, m.Unlink(1, fingerprint(key))),
            )
            self.assertTrue(phone.closed, step)
            self.alice.news()
            self.world.turn.time += 60


class Marks(DeviceTestCase):
    """How far a name has read a room, for all its devices."""

    def setUp(self) -> None:
        super().setUp()
        self.alice.ask(*[text(n, f"{n}") for n in range(1, 11)])
        self.phone = self.link(PHONE)
        self.phone.ask(m.Join(1, "+lobby"))
        self.bob = self.world.member("bob")
        for peer in (self.alice, self.phone, self.bob):
            peer.news()

    def test_kept_and_told(self) -> None:
        self.assertEqual(self.alice.ask(m.Mark(4, "+Lobby", 7)), [m.Done(4)])
        self.assertEqual(self.phone.news(), [m.Marked("+lobby", 7)])
        self.assertEqual(self.bob.news(), [])
        later = World(self.log).named("alice")
        self.assertEqual(later.ask(m.Join(1, "+lobby"))[0].mark, 7)
        self.assertEqual(self.bob.ask(m.Join(1, "+lobby"))[0].mark, 0)

    def test_never_back(self) -> None:
        self.alice.ask(m.Mark(4, "+lobby", 7))
        self.phone.news()
        self.assertEqual(self.phone.ask(m.Mark(5, "+lobby", 3)), [m.Done(5)])
        self.assertEqual(self.alice.news(), [])
        self.assertEqual(self.alice.ask(m.Join(1, "+lobby"))[0].mark, 7)

    def test_devices_race(self) -> None:
        assert isinstance(self.log, GatedLog)
        self.log.gates = []
        self.alice.send(m.Mark(1, "+lobby", 5))
        self.phone.send(m.Mark(1, "+lobby", 9))
        while self.log.gates:
            self.world.turn.open(self.log.gates.pop())
        self.log.gates = None
        self.world.turn.end()
        self.assertEqual(run(self.world.hub.directory.mark("alice", "+lobby")), 9)

    def test_the_future(self) -> None:
        for seq in (11, 2**63 - 1):
            self.assertEqual(self.alice.ask(m.Mark(1, "+lobby", seq))[0].code, "unknown-position")
        self.assertEqual(self.alice.ask(m.Mark(1, "+lobby", 10)), [m.Done(1)])

    def test_rooms_where_one_is_not(self) -> None:
        self.assertEqual(self.alice.ask(m.Mark(1, "+tea", 0))[0].code, "not-in-room")
        self.phone.ask(m.Part(1, "+lobby"))
        self.phone.news()
        self.alice.ask(m.Mark(2, "+lobby", 5))
        self.assertEqual(self.phone.news(), [])

    def test_a_guest_has_none(self) -> None:
        guest = self.world.guest()
        guest.session.admit()
        guest.session.receive(m.Join(0, "+lobby"))
        guest.session.receive(m.Mark(1, "+lobby", 5))
        self.world.turn.end()
        self.assertIn(m.Done(1), guest.news())
        self.assertEqual(list(run(self.log.scan("mark"))), [])
