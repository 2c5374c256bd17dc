"""Peers that send faster than anybody should: what one turn does for them, and what piles up of them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.chat.intake import FRAME_BURST, FRAME_RATE, MAX_WAITING, STEP
from encchat.wire import encode
from tests.core.world import Peer, World, text

#: A message that nobody knows, of 7 bytes.
UNKNOWN = b"\x00\x00\x00\x06\x92\xa3foo\x01"


class Floods(SynchronousTestCase):
    """Mallory floods, alice talks."""

    def setUp(self) -> None:
        self.world = World()
        self.alice, self.mallory = self.world.member("alice"), self.world.member("mallory")
        for peer in (self.alice, self.mallory):
            peer.news()

    def turn(self) -> int:
        """What one turn of a reactor does; how many answers mallory got in it."""
        for _ in range(len(self.world.turn.steps)):
            self.world.turn.steps.popleft()()
        return len(self.mallory.frames())

    def test_what_nobody_knows_is_not_answered_to_who_does_not_listen(self) -> None:
        self.mallory.session.congested = True
        sent = 0
        while not self.mallory.held:
            self.mallory.session.receive_frames([UNKNOWN])
            self.world.turn.end()
            sent += 1
            self.assertLessEqual(sent, MAX_WAITING)
        self.assertEqual(self.mallory.frames(), [])
        self.mallory.drain()
        answers = self.mallory.news()
        self.assertEqual(len(answers), sent)
        self.assertEqual({one.code for one in answers}, {"unknown-message", "rate-limited"})

    def test_a_flood_is_worked_at_a_little_in_each_turn(self) -> None:
        """Once the burst is over, whatever it consists of; and those who talk go on."""
        for flood in (
            lambda n: encode(m.Ping(n)),
            lambda n: encode(m.Pong(n)),
            lambda n: UNKNOWN,
            lambda n: encode(text(n, "spam")),
        ):
            with self.subTest(flood=flood(1)):
                self.setUp()
                self.flood(flood)

    def flood(self, make: Callable[[int], bytes]) -> None:
        frames = [make(n) for n in range(FRAME_BURST + 4 * STEP)]
        began = self.world.turn.now()
        self.mallory.session.receive_frames(frames)
        self.assertTrue(self.mallory.held)
        self.alice.send(text(1, "hello"))
        turns = told = 0
        while self.mallory.held:
            self.assertLessEqual(self.turn(), 2 * STEP)
            turns += 1
            self.assertLess(turns, 100)
            told = told or (turns if any(isinstance(one, m.Sent) for one in self.alice.news()) else 0)
        self.world.turn.end()
        self.assertTrue(0 < told < 5, told)
        self.assertGreaterEqual(turns, len(frames) // STEP - 1)
        self.assertGreater(self.world.turn.now() - began, 4 * STEP / FRAME_RATE / 2)
        self.assertFalse(self.mallory.closed)

    def test_order_is_kept_and_nothing_is_lost(self) -> None:
        frames = [encode(m.Whois(n, "alice")) for n in range(FRAME_BURST + 500)]
        for start in range(0, len(frames), 700):
            self.mallory.session.receive_frames(frames[start : start + 700])
        self.world.turn.end()
        self.assertEqual([one.id for one in self.mallory.news()], list(range(len(frames))))
        self.assertFalse(self.mallory.held)

    def test_what_is_malformed_ends_it_in_its_turn(self) -> None:
        frames = [encode(m.Whois(n, "alice")) for n in range(FRAME_BURST + 10)]
        self.mallory.session.receive_frames([*frames, b"\x00\x00\x00\x01\xc1"])
        self.world.turn.end()
        *_, last = self.mallory.news()
        self.assertEqual((type(last), last.code), (m.Error, "malformed"))
        self.assertTrue(self.mallory.closed)

    def test_an_ordinary_burst_is_not_put_off(self) -> None:
        frames = [encode(m.Ping(n)) for n in range(FRAME_BURST - 10)]
        self.mallory.session.receive_frames(frames)
        self.assertFalse(self.mallory.held)
        self.world.turn.end()
        self.assertEqual(len(self.mallory.news()), len(frames))

    def test_who_is_gone_meanwhile(self) -> None:
        frames = [encode(m.Ping(n)) for n in range(FRAME_BURST + 1000)]
        self.mallory.session.receive_frames(frames)
        self.mallory.session.lost()
        self.world.turn.end()
        self.assertEqual(self.world.turn.unforeseen, [])

    def test_without_rates_nobody_is_put_off(self) -> None:
        world = World(limits=m.Limits(rate=0))
        peer: Peer = world.member("alice")
        peer.news()
        peer.session.receive_frames([encode(m.Ping(n)) for n in range(3 * FRAME_BURST)])
        self.assertFalse(peer.held)
        world.turn.end()
        self.assertEqual(len(peer.news()), 3 * FRAME_BURST)
