"""Many names from one address: what they can use up of what is somebody's, and what is left for others."""

from __future__ import annotations

from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.accounts.admission import Policy
from encchat.core.chat import floods
from encchat.core.chat.floods import ADDRESS_KEYS, ADDRESS_LETTERS, DEVICE_KEYS, Floods
from encchat.core.files.blobs import LEAST, FileRules
from encchat.core.relay.keeping import MAX_LETTERS, MAX_MAIL, MAX_ONE_TIME
from encchat.logs.memory_blobs import MemoryBlobs
from tests.core.relay.sealing import Gadget, bound, enter
from tests.core.relay.test_sealed_rooms import create, roster
from tests.core.world import Peer, World, identity, msgid

EVIL, GOOD = "203.0.113.7", "198.51.100.1"


class Case(SynchronousTestCase):
    """Alice with a laptop, which is not here; and a crowd."""

    def setUp(self) -> None:
        self.world = World(limits=m.Limits(rate=0))
        self.laptop = Gadget("alice")
        alice = enter(self.world, "alice")
        alice.ask(self.laptop.publish(1, *range(MAX_ONE_TIME)))
        alice.session.lost()

    def enter(self, name: str, origin: str = EVIL) -> Peer:
        peer = enter(self.world, name)
        peer.origin = origin
        return peer

    def crowd(self, count: int, origin: str = EVIL) -> list[Peer]:
        return [self.enter(f"x{origin}-{n}", origin) for n in range(count)]


class Keys(Case):
    """One-time keys."""

    def claim(self, peer: Peer) -> bytes:
        (answer,) = peer.ask(m.ClaimKeys(1, "alice", (self.laptop.id,)))
        (key,) = answer.keys
        return bytes(key)

    def test_a_crowd_uses_up_a_part(self) -> None:
        keys = [self.claim(peer) for peer in self.crowd(30) for _ in range(4)]
        once = [key for key in keys if key != self.laptop.fallback]
        self.assertEqual((len(once), len(set(once))), (ADDRESS_KEYS, ADDRESS_KEYS))
        bob = self.enter("bob", GOOD)
        self.assertNotIn(self.claim(bob), {*once, self.laptop.fallback, b""})
        self.assertEqual(self.claim(self.enter("eve")), self.laptop.fallback)

    def test_crowds_everywhere_cannot_empty_the_pool(self) -> None:
        """What comes from all addresses together is rationed: later there is some again."""
        once = 0
        for crowd in range(8):
            for peer in self.crowd(20, f"192.0.2.{crowd}"):
                once += self.claim(peer) != self.laptop.fallback
        self.assertEqual(once, DEVICE_KEYS)
        self.world.turn.time += floods.DEVICE_KEYS_EVERY
        self.assertNotIn(self.claim(self.enter("bob", GOOD)), (self.laptop.fallback, b""))

    def test_where_the_address_is_not_known_only_the_whole_counts(self) -> None:
        keys = [self.claim(peer) for peer in self.crowd(DEVICE_KEYS, "")]
        self.assertNotIn(self.laptop.fallback, keys)


class Letters(Case):
    """Mailboxes."""

    def post(self, peer: Peer, count: int = 1, size: int = 10) -> int:
        """How many letters were taken."""
        taken = 0
        while count:
            some = min(count, m.MAX_LETTERS)
            count -= some
            letters = (m.Letter("alice", self.laptop.id, bytes(size)),) * some
            (answer,) = [one for one in peer.ask(m.ToDevice(1, letters)) if isinstance(one, m.Posted)]
            taken += some - len(answer.refused)
        return taken

    def meet(self, one: Peer) -> None:
        """Alice and somebody are in a sealed room, and alice has looked into it."""
        name = one.session.name.key
        room = f"#{name}s"
        genesis = roster(room, name, [name, "alice"])
        self.assertEqual([type(x) for x in one.ask(create(room, genesis))], [m.Sent])
        alice = enter(self.world, "alice")
        alice.ask(m.Join(1, room), m.Mark(2, room, 1))
        alice.session.lost()
        self.world.turn.end()

    def test_a_crowd_of_strangers_leaves_room(self) -> None:
        bob, carol = self.enter("bob"), self.enter("carol", GOOD)
        self.meet(bob)
        taken = sum(self.post(peer, 100) for peer in self.crowd(20))
        self.assertEqual(taken, ADDRESS_LETTERS)
        self.assertEqual(self.post(carol), 1)
        for crowd in range(8):
            taken += sum(self.post(peer, 100) for peer in self.crowd(10, f"192.0.2.{crowd}"))
        self.assertLess(taken, MAX_LETTERS // 2)
        self.assertEqual(self.post(bob, 200), 200)

    def test_and_of_bytes(self) -> None:
        bob = self.enter("bob")
        self.meet(bob)
        big = m.MAX_LETTER
        taken = sum(self.post(peer, 4, big) for n in range(8) for peer in self.crowd(20, f"192.0.2.{n}"))
        self.assertLessEqual(taken * big, MAX_MAIL // 2)
        self.assertEqual(self.post(bob, 10, big), 10)

    def test_a_room_that_one_was_only_named_in_is_no_acquaintance(self) -> None:
        """Else a flood would begin with a room."""
        mallory = self.enter("mallory", "")
        room = "#mallorys"
        mallory.ask(create(room, roster(room, "mallory", ["mallory", "alice"])))
        self.assertEqual(self.post(mallory, MAX_LETTERS), MAX_LETTERS // 4)

    def test_rooms_that_somebody_else_makes_for_both_estrange_nobody(self) -> None:
        bob, mallory = self.enter("bob"), self.enter("mallory", GOOD)
        self.meet(bob)
        for number in range(60):
            room = f"#a{number:03}"
            mallory.ask(create(room, roster(room, "mallory", ["mallory", "alice", "bob"]), number + 1))
        bob.news()
        self.assertEqual(self.post(bob, MAX_LETTERS), MAX_LETTERS // 2)

    def test_one_s_own_devices_are_no_strangers(self) -> None:
        phone = Gadget("alice", 2)
        peer = bound(self.world, phone)
        peer.origin = EVIL
        for crowd in range(8):
            for one in self.crowd(10, f"192.0.2.{crowd}"):
                self.post(one, 100)
        self.assertEqual(self.post(peer, 200), 200)

    def test_whom_one_is_with_now_and_who_came_into_one_s_own_room(self) -> None:
        for who_made_it in ("alice", "bob"):
            self.setUp()
            bob, alice = self.enter("bob"), enter(self.world, "alice")
            maker = alice if who_made_it == "alice" else bob
            room = "#ours"
            maker.ask(create(room, roster(room, who_made_it, ["alice", "bob"])))
            alice.ask(m.Join(1, room))
            self.assertEqual(self.post(bob, MAX_LETTERS), MAX_LETTERS // 2, who_made_it)


class Names(SynchronousTestCase):
    """Names cost nothing, but not without end."""

    def setUp(self) -> None:
        self.world = World(new_names=5)

    def hello(self, name: str, origin: str = EVIL, key: str = "", vouched: str | None = None) -> object:
        peer = Peer(self.world, identity(key or f"{name}'s key", vouched))
        peer.origin = origin
        return peer.ask(m.Hello((1,), name))[0]

    def test_so_many_from_one_address(self) -> None:
        answers = [self.hello(f"n{n}") for n in range(7)]
        self.assertEqual([type(one) for one in answers], [m.Welcome] * 5 + [m.Refused] * 2)
        refused = answers[-1]
        assert isinstance(refused, m.Refused)
        self.assertEqual(refused.code, "too-many-names")
        self.assertRegex(refused.text, "5 .* try again in 4 h")
        self.assertIs(type(self.hello("n0")), m.Welcome)  # a name that is there already
        self.assertIs(type(self.hello("bob", GOOD)), m.Welcome)
        self.assertIs(type(self.hello("carol", vouched="carol")), m.Welcome)
        for n in range(10):
            self.assertIs(type(self.hello(f"m{n}", "")), m.Welcome)
        self.world.turn.time += 86_400 / 5
        self.assertEqual([type(self.hello(f"n{n}")) for n in (7, 8)], [m.Welcome, m.Refused])

    def test_who_is_refused_for_another_reason_costs_nothing(self) -> None:
        for _ in range(9):
            self.assertEqual(self.hello("no good name").code, "bad-name")
        self.assertIs(type(self.hello("good")), m.Welcome)

    def test_as_many_as_one_likes(self) -> None:
        self.world = World(new_names=0)
        self.assertEqual({type(self.hello(f"n{n}")) for n in range(50)}, {m.Welcome})

    def test_members_are_those_in_the_file(self) -> None:
        self.world.settings.policy = Policy(
            {f"n{n}": frozenset({identity(f"n{n}'s key").fingerprint}) for n in range(9)}
        )
        self.assertEqual({type(self.hello(f"n{n}")) for n in range(9)}, {m.Welcome})


class Rooms(SynchronousTestCase):
    """Rooms stay, and so cost more than a name."""

    def make(self, world: World, name: str, count: int, origin: str = EVIL) -> int:
        """How many rooms somebody makes, over as many connections as it takes."""
        made = 0
        for number in range(count):
            if number % 10 == 0:
                peer = enter(world, name)
                peer.origin = origin
            room = f"{'+#'[number % 2]}{name}{number}"
            asked: m.Join | m.Create = m.Join(1, room)
            if room.startswith("#"):
                asked = create(room, roster(room, name, [name]), number + 1)
            codes = {one.code for one in peer.ask(asked) if isinstance(one, m.Error)}
            made += not codes
            self.assertLessEqual(codes, {"too-many-rooms"})
        return made

    def test_so_many_from_one_address(self) -> None:
        world = World(new_names=4)
        self.assertEqual(self.make(world, "eve", 40), 4 * floods.ROOMS_PER_NAME)
        eve = enter(world, "eve")
        eve.origin = EVIL
        (refused,) = eve.ask(m.Join(1, "+another"))
        self.assertRegex(refused.text, "20 .* try again in")
        for known in (
            m.Join(2, "+lobby"),
            m.Join(3, "+eve0"),
            create("#eve1", roster("#eve1", "eve", ["eve"]), 2),
        ):
            self.assertNotIn(m.Error, [type(one) for one in eve.ask(known)])
        self.assertEqual(self.make(world, "bob", 10, GOOD), 10)
        world.turn.time += 86_400
        self.assertEqual(self.make(world, "mallory", 5), 5)

    def test_as_many_as_one_likes(self) -> None:
        self.assertEqual(self.make(World(new_names=0), "eve", 60), 60)
        self.assertEqual(self.make(World(new_names=4), "eve", 60, ""), 60)


class Invitations(SynchronousTestCase):
    """Whoever invites somebody again and again is not told on to them."""

    def setUp(self) -> None:
        self.world = World(limits=m.Limits(rate=0))
        self.bob = self.world.named("bob")

    def invite(self, name: str, times: int) -> int:
        """How often bob is told of it."""
        mallory = self.world.member(name, f"+{name}")
        mallory.ask(m.Access(1, f"+{name}", msgid(1), "private"))
        for number in range(times):
            mallory.ask(m.Invite(2, f"+{name}", msgid(2 * number + 2), "bob"))
            mallory.ask(m.Kick(3, f"+{name}", msgid(2 * number + 3), "bob"))
        return len([one for one in self.bob.news() if isinstance(one, m.Invited)])

    def test_by_one(self) -> None:
        self.assertEqual(self.invite("mallory", 50), floods.INVITATIONS)
        self.assertEqual(self.invite("carol", 1), 1)

    def test_by_many(self) -> None:
        told = sum(self.invite(f"m{n}", 15) for n in range(10))
        self.assertEqual(told, floods.ALL_INVITATIONS)
        self.world.turn.time += floods.ALL_INVITATIONS_EVERY
        self.assertEqual(self.invite("carol", 1), 1)


class Files(SynchronousTestCase):
    """The space for files."""

    SPACE = 64 * 1024 * 1024

    def setUp(self) -> None:
        rules = FileRules(self.SPACE, self.SPACE, self.SPACE, 30)
        self.world = World(blobs=lambda turn: MemoryBlobs(turn.now), limits=m.Limits(rate=0), files=rules)

    def give(self, name: str, origin: str, size: int, count: int) -> int:
        """How many files of this size somebody gets rid of."""
        peer = self.world.named(name)
        peer.origin = origin
        peer.ask(m.Join(1, "+lobby"))
        given = 0
        for number in range(count):
            data = (b"%s %d " % (name.encode(), number)).ljust(size, b".")
            blob = sha256(data).digest()
            answers = peer.ask(
                m.Upload(2, "+lobby", blob, size),
                *[m.Chunk(3, blob, at, data[at : at + m.MAX_PIECE]) for at in range(0, size, m.MAX_PIECE)],
            )
            codes = {one.code for one in answers if isinstance(one, m.Error)}
            given += not codes
            self.assertLessEqual(codes, {"quota-full", "no-upload"})
        return given

    def test_many_names_of_one_address_take_a_part(self) -> None:
        size = 1024 * 1024
        most = self.SPACE // size // 4
        given = sum(self.give(f"n{n}", EVIL, size, 3) for n in range(20))
        self.assertLessEqual(given, most)
        self.assertGreater(given, most - 4)
        self.assertEqual(self.give("bob", GOOD, size, 10), 10)
        self.world.turn.time += 86_400
        self.assertGreater(self.give("eve", EVIL, size, 5), 2)

    def test_tiny_ones_count_as_what_they_take(self) -> None:
        given = sum(self.give(f"n{n}", EVIL, 16, 40) for n in range(10))
        self.assertLessEqual(given, self.SPACE // LEAST // 4)
        self.assertEqual(self.give("bob", GOOD, 16, 10), 10)

    def test_an_address_that_is_not_known_is_not_counted(self) -> None:
        self.assertEqual(self.give("bob", "", 1024 * 1024, 40), 40)


class Memory(SynchronousTestCase):
    """However many addresses and boxes there are."""

    def test_what_is_remembered_is_bounded(self) -> None:
        limits = Floods()
        for n in range(floods.MOST + 10):
            limits.take_key(str(n), str(n), 0.0)
            limits.take_letter(str(n), "box", 10, 0.0)
            limits.take_file(str(n), 10, 1000, 0.0)
            limits.take_invitation(str(n), str(n), 0.0)
        self.assertEqual({len(buckets) for buckets in limits.all()}, {0, floods.MOST})
