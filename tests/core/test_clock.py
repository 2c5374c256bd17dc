"""A clock that somebody sets, forward and back: nothing is lost, and nothing is there twice."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.relay.post import LOOK_EVERY
from encchat.wire import advance, decode_entry
from tests.core.relay.sealing import Gadget, bound, enter
from tests.core.world import World, text

YEAR = 365 * 86_400.0


class ClockTests(SynchronousTestCase):
    """Alice talks while the clock jumps."""

    def test_what_is_said(self) -> None:
        """Entries keep their order and their chain, whatever they say of the time; and what was sent before
        is known again."""
        world = World()
        alice = world.member("alice")
        skews = (0.0, YEAR, -YEAR, 10 * YEAR, 0.0)
        sent = []
        for number, skew in enumerate(skews, 1):
            world.turn.skew = skew
            sent += [one for one in alice.ask(text(number, "words")) if isinstance(one, m.Sent)]
        self.assertEqual([one.seq for one in sent], [1, 2, 3, 4, 5])
        again = [one for number in range(1, 6) for one in alice.ask(text(number, "words"))]
        self.assertEqual(again, sent)
        bob = world.named("bob")
        joined, *came = bob.ask(m.Join(1, "+lobby", m.Position()))
        entries = [one for one in came if isinstance(one, m.Entry)]
        self.assertEqual([one.seq for one in entries], [1, 2, 3, 4, 5])
        self.assertEqual(advance(m.Position(), world.log_frames("+lobby")), joined.head)
        self.assertEqual(decode_entry(world.log_frames("+lobby")[2]).time, sent[2].time)

    def test_letters_stay(self) -> None:
        world = World(limits=m.Limits(rate=0))
        laptop = Gadget("alice")
        bound(world, laptop).session.lost()
        bob = enter(world, "bob")
        bob.ask(m.ToDevice(1, (m.Letter("alice", laptop.id, b"hello"),)))
        for skew in (YEAR, -YEAR, 10 * YEAR):
            world.turn.skew = skew
            world.turn.time += LOOK_EVERY
            world.hub.tick()
            world.turn.end()
        alice = enter(world, "alice")
        news = alice.ask(m.PublishKeys(1))
        self.assertEqual([one.body for one in news if isinstance(one, m.Mail)], [b"hello"])

    def test_rates_and_waits_do_not_follow_it(self) -> None:
        world = World(limits=m.Limits(rate=1, burst=2))
        alice = world.member("alice")
        for number, skew in enumerate((0.0, 0.0, YEAR, -YEAR), 1):
            world.turn.skew = skew
            (last, *_) = alice.ask(text(number, "words"))
        self.assertEqual(last.code, "rate-limited")
        world.turn.skew = 10 * YEAR
        world.hub.tick()
        self.assertFalse(alice.closed)

    def test_a_code_for_a_device(self) -> None:
        """One that was given before the clock was set back is not good for longer than was said."""
        world = World()
        alice = world.named("alice")
        code = alice.ask(m.Link(1))[0].code
        world.turn.skew = -YEAR
        world.turn.time += 3600
        phone = world.peer("alice's phone")
        self.assertEqual(phone.ask(m.Hello((1,), "alice", "", "", code))[0].code, "bad-link")
        code = alice.ask(m.Link(2))[0].code
        world.turn.skew = 0.0
        again = world.peer("alice's phone")
        self.assertEqual(again.ask(m.Hello((1,), "alice", "", "", code))[0].code, "bad-link")
