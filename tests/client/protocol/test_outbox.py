"""The outbox and the pace: order, window, going again."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from encchat.client.protocol.outbox import WINDOW, WINDOW_BYTES, Item, Outbox
from encchat.client.protocol.pace import SHARE, Pace


def item(number: int, room: str = "+a", size: int = 1) -> Item:
    return Item(number.to_bytes(16, "big"), room, "text", b"x" * size)


class TheOutbox(TestCase):
    def test_in_order_within_the_rooms_that_are_open(self) -> None:
        outbox = Outbox([item(1), item(2, "+b"), item(3)])
        self.assertEqual(outbox.take(["+b"]), item(2, "+b"))
        self.assertIsNone(outbox.take(["+b", "+c"]))
        self.assertEqual([outbox.take(["+a"]), outbox.take(["+a"])], [item(1), item(3)])
        self.assertEqual((len(outbox), outbox.count("+a"), outbox.count("+b")), (3, 2, 1))

    def test_a_msgid_counts_once(self) -> None:
        outbox = Outbox([item(1), item(1)])
        self.assertEqual(list(outbox), [item(1)])
        self.assertIn(item(1).msgid, outbox)

    def test_done(self) -> None:
        outbox = Outbox([item(1), item(2), item(3)])
        outbox.take(["+a"])
        self.assertEqual([outbox.done(item(n).msgid) for n in (1, 2, 2)], [item(1), item(2), None])
        self.assertEqual(outbox.take(["+a"]), item(3))

    def test_rewind_puts_what_was_in_flight_first(self) -> None:
        outbox = Outbox([item(1), item(2), item(3)])
        outbox.take(["+a"])
        outbox.take(["+a"])
        outbox.rewind()
        self.assertEqual([outbox.take(["+a"]) for _ in range(4)], [item(1), item(2), item(3), None])

    def test_the_window_bounds_the_bytes_in_flight(self) -> None:
        half = WINDOW_BYTES // 2
        outbox = Outbox([item(1, size=half), item(2, size=half), item(3)])
        outbox.take(["+a"])
        outbox.take(["+a"])
        self.assertFalse(outbox.waiting(["+a"]))
        outbox.done(item(1).msgid)
        self.assertTrue(outbox.waiting(["+a"]))

    def test_one_that_is_larger_than_the_window_goes_alone(self) -> None:
        outbox = Outbox([item(1, size=2 * WINDOW_BYTES), item(2)])
        self.assertIsNotNone(outbox.take(["+a"]))
        self.assertIsNone(outbox.take(["+a"]))

    def test_the_window_bounds_their_number(self) -> None:
        outbox = Outbox(item(number) for number in range(WINDOW + 1))
        taken = [outbox.take(["+a"]) for _ in range(WINDOW + 1)]
        self.assertEqual(taken[-1], None)
        self.assertNotIn(None, taken[:-1])


class ThePace(TestCase):
    def test_no_limit(self) -> None:
        pace = Pace(0, 0, 5.0)
        for _ in range(1000):
            pace.spend()
        self.assertEqual(pace.ready_at(5.0), 5.0)

    @settings(max_examples=100, deadline=None)
    @given(st.floats(0.1, 1000), st.integers(0, 100), st.lists(st.floats(0, 3), max_size=100))
    def test_never_more_than_its_share(self, rate: float, burst: int, steps: list[float]) -> None:
        pace = Pace(rate, burst, 0.0)
        now, sent = 0.0, 0
        for step in steps:
            now += step
            while pace.ready_at(now) <= now and sent < 10_000:
                pace.spend()
                sent += 1
            self.assertLessEqual(sent, max(1.0, burst * SHARE) + now * rate * SHARE + 1e-6)

    def test_the_time_it_names_is_right(self) -> None:
        pace = Pace(10, 1, 0.0)
        pace.spend()
        ready = pace.ready_at(0.0)
        self.assertGreater(ready, 0.0)
        self.assertLessEqual(pace.ready_at(ready + 1e-9), ready + 1e-9)

    def test_a_clock_that_goes_back_gives_nothing(self) -> None:
        pace = Pace(1, 1, 10.0)
        pace.spend()
        self.assertGreater(pace.ready_at(5.0), 5.0)
