"""Mail between devices: kept until it is acknowledged, brought in order, bounded."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.interfaces import Unavailable
from encchat.core.relay.keeping import MAIL_LIFETIME, MAX_LETTERS, MAX_MAIL
from encchat.core.relay.post import LOOK_EVERY, PAGE
from tests.core.relay.sealing import Gadget, bound, enter
from tests.core.world import Gate, Peer, World


def letter(gadget: Gadget, body: bytes = b"hello") -> m.Letter:
    """Something for a device."""
    return m.Letter(gadget.name, gadget.id, body)


def mail(peer: Peer) -> list[tuple[int, bytes]]:
    """The mail that came since the last look."""
    return [(found.seq, found.body) for found in peer.news() if isinstance(found, m.Mail)]


class Case(SynchronousTestCase):
    """Alice with two devices, Bob with one."""

    def setUp(self) -> None:
        self.world = World(limits=m.Limits(rate=0))
        self.laptop, self.phone, self.bobs = Gadget("alice", 1), Gadget("alice", 2), Gadget("bob")


class Delivery(Case):
    """From one device to another."""

    def test_at_once(self) -> None:
        """Who is there gets it at once, with who sent it as the server believes."""
        alice, bob = bound(self.world, self.laptop), bound(self.world, self.bobs)
        self.assertEqual(bob.ask(m.ToDevice(1, (letter(self.laptop, b"hi"),))), [m.Posted(1)])
        self.assertEqual(alice.news(), [m.Mail(1, "bob", self.bobs.id, b"hi")])
        self.assertEqual(bob.news(), [])

    def test_from_a_session_that_is_no_device(self) -> None:
        """It may write all the same: what it says of itself is inside."""
        alice, bob = bound(self.world, self.laptop), enter(self.world, "bob")
        bob.ask(m.ToDevice(1, (letter(self.laptop),)))
        self.assertEqual(alice.news(), [m.Mail(1, "bob", "", b"hello")])

    def test_to_the_other_device(self) -> None:
        """Each device has mail of its own, also one of the same name."""
        laptop, phone = bound(self.world, self.laptop), bound(self.world, self.phone)
        laptop.ask(
            m.ToDevice(1, (letter(self.phone, b"a"), letter(self.laptop, b"b"), letter(self.phone, b"c")))
        )
        self.assertEqual(mail(phone), [(1, b"a"), (2, b"c")])
        self.assertEqual(mail(laptop), [])  # seen with the answer

    def test_later(self) -> None:
        """What waits comes when the device shows itself, from the first that was not acknowledged."""
        bound(self.world, self.laptop).session.lost()
        bob = bound(self.world, self.bobs)
        for n in range(5):
            bob.ask(m.ToDevice(n, (letter(self.laptop, b"%d" % n),)))
        alice = enter(self.world, "alice")
        self.assertEqual(mail(alice), [])
        answers = alice.ask(m.PublishKeys(1))
        self.assertEqual([type(found) for found in answers], [m.Published] + [m.Mail] * 5)
        self.assertEqual(alice.ask(m.AckMail(2, 3)), [m.Done(2)])
        alice.session.lost()
        again = enter(self.world, "alice")
        again.ask(m.PublishKeys(1))
        again.session.lost()
        third = enter(self.world, "alice")
        self.assertEqual(
            third.ask(m.PublishKeys(1))[1:], [m.Mail(s, "bob", self.bobs.id, b"%d" % (s - 1)) for s in (4, 5)]
        )
        third.ask(m.AckMail(2, 5))
        bob.ask(m.ToDevice(9, (letter(self.laptop, b"new"),)))
        self.assertEqual(mail(third), [(6, b"new")])

    def test_published_again(self) -> None:
        """Publishing more keys on the same connection brings nothing twice."""
        alice, bob = bound(self.world, self.laptop), bound(self.world, self.bobs)
        bob.ask(m.ToDevice(1, (letter(self.laptop),)))
        self.assertEqual(mail(alice), [(1, b"hello")])
        self.assertEqual(alice.ask(self.laptop.publish(2, 1)), [m.Published(2, self.laptop.id, 1)])

    def test_the_later_session_gets_it(self) -> None:
        """Of two sessions of one device."""
        first, bob = bound(self.world, self.laptop), bound(self.world, self.bobs)
        second = bound(self.world, self.laptop)
        bob.ask(m.ToDevice(1, (letter(self.laptop),)))
        self.assertEqual((mail(first), mail(second)), ([], [(1, b"hello")]))
        self.assertEqual(first.ask(m.AckMail(1, 1))[0].code, "no-device")
        second.session.lost()
        first.ask(self.laptop.publish(2))
        bob.ask(m.ToDevice(2, (letter(self.laptop, b"more"),)))
        self.assertEqual(mail(first), [(2, b"more")])

    def test_another_device_on_the_same_connection(self) -> None:
        """A session is one device's at a time."""
        alice, bob = bound(self.world, self.laptop), bound(self.world, self.bobs)
        alice.ask(self.phone.publish(1))
        bob.ask(m.ToDevice(1, (letter(self.laptop, b"old"), letter(self.phone, b"new"))))
        self.assertEqual(mail(alice), [(1, b"new")])

    def test_refused(self) -> None:
        """No such name, no such device, a name that is none: said for each letter, the others go."""
        alice, bob = bound(self.world, self.laptop), bound(self.world, self.bobs)
        letters = (
            letter(self.phone),
            m.Letter("carol", "x", b""),
            m.Letter("no name", "x", b""),
            letter(self.laptop, b"this one"),
            m.Letter("Alice", self.laptop.id, b"and this"),
            m.Letter("", "", b""),
        )
        self.assertEqual(bob.ask(m.ToDevice(1, letters)), [m.Posted(1, (0, 1, 2, 5))])
        self.assertEqual(mail(alice), [(1, b"this one"), (2, b"and this")])
        self.assertEqual(bob.ask(m.ToDevice(2, ())), [m.Posted(2)])

    def test_a_slow_device(self) -> None:
        """Where the transport takes nothing, nothing is pushed; once it drains, all of it comes in order."""
        alice, bob = bound(self.world, self.laptop), bound(self.world, self.bobs)
        alice.session.congested = True
        for n in range(PAGE + 50):
            bob.ask(m.ToDevice(n, (letter(self.laptop, b"%d" % n),)))
        self.assertEqual(alice.news(), [])
        alice.drain()
        self.assertEqual([seq for seq, _ in mail(alice)], list(range(1, PAGE + 51)))

    def test_a_device_that_becomes_slow(self) -> None:
        """What fills the transport is not more than a page; the rest waits in the log."""
        bound(self.world, self.laptop).session.lost()
        phone = bound(self.world, self.phone)
        for n in range(30):
            phone.ask(m.ToDevice(n, (letter(self.laptop, bytes(16 * 1024)),)))
        phone.session.lost()
        alice = enter(self.world, "alice")
        alice.congest_at = sum(map(len, alice.writes)) + 1
        alice.ask(m.PublishKeys(1, self.laptop.certificate()))
        alice.news()
        seen = 0
        while alice.session.congested:
            self.assertLess(len(alice.writes[-1]), 200 * 1024)
            alice.session.congested = False
            alice.congest_at = sum(map(len, alice.writes)) + 1
            alice.session.drained()
            self.world.turn.end()
            came = mail(alice)
            if not came:
                break
            self.assertLessEqual(len(came), 9)
            seen = came[-1][0]
        self.assertEqual(seen, 30)

    def test_a_letter_that_comes_while_others_are_read(self) -> None:
        """None is passed over, whenever the log answers."""
        world = World(limits=m.Limits(rate=0))
        alice, bob = bound(world, self.laptop), bound(world, self.bobs)
        mailbox, gates = world.log.mail, []
        fetch = mailbox.fetch

        async def slow(*args: Any) -> Any:
            found = await fetch(*args)
            gate = Gate()
            gates.append(gate)
            await gate
            return found

        self.patch(mailbox, "fetch", slow)
        for n in range(4):
            bob.ask(m.ToDevice(n, (letter(self.laptop, b"%d" % n),)))
        self.assertEqual(len(gates), 1)
        while gates:
            world.turn.open(gates.pop(0))
            world.turn.end()
        self.assertEqual(mail(alice), [(n + 1, b"%d" % n) for n in range(4)])

    def test_storage_that_fails(self) -> None:
        """A letter that could not be stored is not acknowledged; mail that could not be read comes later."""
        alice, bob = bound(self.world, self.laptop), bound(self.world, self.bobs)
        broken = True
        mailbox = self.world.log.mail
        fetch, post = mailbox.fetch, mailbox.post

        async def failing(*args: Any) -> Any:
            if broken:
                raise Unavailable(reason="disk full")
            return await fetch(*args)

        async def no(*args: Any) -> Any:
            raise Unavailable(reason="disk full")

        self.patch(mailbox, "post", no)
        (error,) = bob.ask(m.ToDevice(1, (letter(self.laptop),)))
        self.assertEqual((error.code, error.wait > 0), ("storage-unavailable", True))
        self.patch(mailbox, "post", post)
        self.patch(mailbox, "fetch", failing)
        self.assertEqual(bob.ask(m.ToDevice(2, (letter(self.laptop),))), [m.Posted(2)])
        self.assertEqual(alice.news(), [])
        self.assertEqual(len(alice.notes), 1)
        broken = False
        self.world.hub.tick()
        self.world.turn.end()
        self.assertEqual(mail(alice), [(1, b"hello")])

    def test_nobody_is_told_of_the_end(self) -> None:
        """A session that ended is given nothing."""
        alice, bob = bound(self.world, self.laptop), bound(self.world, self.bobs)
        alice.session.lost()
        self.assertEqual(bob.ask(m.ToDevice(1, (letter(self.laptop),))), [m.Posted(1)])
        self.assertEqual(alice.news(), [])
        self.assertEqual(self.world.turn.unforeseen, [])


class Bounds(Case):
    """Floods."""

    def test_a_flood(self) -> None:
        """One who floods a mailbox is refused, and only that one; what is acknowledged makes room."""
        alice, mallory, bob = (enter(self.world, name) for name in ("alice", "mallory", "bob"))
        alice.ask(self.laptop.publish())
        alice.session.lost()
        posted = 0
        for n in range(20):
            (answer,) = mallory.ask(m.ToDevice(n, (letter(self.laptop),) * m.MAX_LETTERS))
            posted += m.MAX_LETTERS - len(answer.refused)
        self.assertEqual(posted, MAX_LETTERS // 4)
        self.assertEqual(bob.ask(m.ToDevice(1, (letter(self.laptop, b"from bob"),))), [m.Posted(1)])
        self.assertEqual(mallory.ask(m.ToDevice(1, (letter(self.laptop),)))[0].refused, (0,))
        again = enter(self.world, "alice")
        again.ask(m.PublishKeys(1))
        again.ask(m.AckMail(2, MAX_LETTERS))
        self.assertEqual(mallory.ask(m.ToDevice(1, (letter(self.laptop),))), [m.Posted(1)])

    def test_a_flood_of_bytes(self) -> None:
        """The same by size."""
        bound(self.world, self.laptop).session.lost()
        bob, carol = enter(self.world, "bob"), enter(self.world, "carol")
        big = letter(self.laptop, bytes(m.MAX_LETTER))
        posted = sum(not bob.ask(m.ToDevice(n, (big,)))[0].refused for n in range(100))
        self.assertEqual(posted, MAX_MAIL // m.MAX_LETTER // 4)
        self.assertEqual(carol.ask(m.ToDevice(1, (big,))), [m.Posted(1)])

    def test_rate(self) -> None:
        """Letters cost by number and by size, so that one connection cannot write without end."""
        world = World()
        bob, alice = enter(world, "bob"), enter(world, "alice")
        alice.ask(self.laptop.publish())
        alice.session.lost()
        answers = [bob.ask(m.ToDevice(n, (letter(self.laptop, bytes(2000)),) * 100))[0] for n in range(60)]
        codes = {getattr(answer, "code", "") for answer in answers}
        self.assertEqual(codes, {"", "rate-limited"})
        self.assertLess(sum(isinstance(answer, m.Posted) for answer in answers), 30)
        self.assertFalse(bob.closed)

    def test_old_mail_leaves(self) -> None:
        """After thirty days, without anybody's doing."""
        bound(self.world, self.laptop).session.lost()
        bob = enter(self.world, "bob")
        bob.ask(m.ToDevice(1, (letter(self.laptop, b"old"),)))
        self.world.turn.time += MAIL_LIFETIME / 1000 - 60
        self.world.hub.tick()
        enter(self.world, "carol").ask(m.ToDevice(2, (letter(self.laptop, b"new"),)))
        self.world.turn.time += LOOK_EVERY
        self.world.hub.tick()
        self.world.turn.end()
        alice = enter(self.world, "alice")
        self.assertEqual([found.body for found in alice.ask(m.PublishKeys(1))[1:]], [b"new"])

    def test_letting_go_is_tried_again(self) -> None:
        """When the log could not do it."""
        tried: list[int] = []

        async def expire(before: int) -> None:
            tried.append(before)
            raise Unavailable(reason="no")

        self.patch(self.world.log.mail, "expire", expire)
        for _ in range(3):
            self.world.hub.tick()
        self.assertEqual(len(tried), 3)


class MailMachine(RuleBasedStateMachine):
    """Two senders, a device that comes and goes: what is acknowledged leaves, all else comes, in order, once
    on each connection."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World(limits=m.Limits(rate=0))
        self.gadget = Gadget("alice")
        self.senders = [enter(self.world, name) for name in ("bob", "carol")]
        self.peer: Peer | None = None
        bound(self.world, self.gadget).session.lost()
        self.waiting: list[tuple[int, bytes]] = []
        self.seen: list[tuple[int, bytes]] = []
        self.last = 0

    @rule(sender=st.integers(0, 1), count=st.integers(1, 4), size=st.integers(0, 30))
    def write(self, sender: int, count: int, size: int) -> None:
        letters = []
        for _ in range(count):
            self.last += 1
            letters.append(letter(self.gadget, (b"%d" % self.last).ljust(size)))
            self.waiting.append((self.last, letters[-1].body))
        assert self.senders[sender].ask(m.ToDevice(1, tuple(letters))) == [m.Posted(1)]

    @rule()
    def come(self) -> None:
        if self.peer is not None:
            self.peer.session.lost()
        self.peer, self.seen = enter(self.world, "alice"), []
        self.peer.send(m.PublishKeys(1))

    @rule()
    def go(self) -> None:
        if self.peer is not None:
            self.peer.session.lost()
            self.peer = None

    @rule(share=st.floats(0, 1))
    def acknowledge(self, share: float) -> None:
        if self.peer is not None and self.seen and not self.peer.session.congested:
            seq = self.seen[int(share * (len(self.seen) - 1))][0]
            self.peer.send(m.AckMail(2, seq))
            self.waiting = [found for found in self.waiting if found[0] > seq]

    @rule()
    def congest(self) -> None:
        if self.peer is not None:
            self.peer.session.congested = True

    @rule()
    def drain(self) -> None:
        if self.peer is not None:
            self.peer.drain()

    @invariant()
    def all_that_waits_comes(self) -> None:
        self.world.turn.end()
        assert not self.world.turn.unforeseen
        if self.peer is None:
            return
        self.seen += mail(self.peer)
        seqs = [seq for seq, _ in self.seen]
        assert seqs == sorted(set(seqs))
        if not self.peer.session.congested:
            assert self.waiting == [found for found in self.seen if found in self.waiting]


class Machine(SynchronousTestCase):
    """The model."""

    def test_machine(self) -> None:
        run_state_machine_as_test(
            MailMachine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
        )
