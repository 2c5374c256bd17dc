"""How long a fan-out waits for more: in proportion to what the last one took, and never for long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.chat.pace import LONGEST, REST, SHORTEST, Pace

TIMES = st.floats(0, 1e6)


class PaceTests(SynchronousTestCase):
    def test_nothing_happened_yet(self) -> None:
        self.assertEqual(Pace().wait(1000.0), 0.0)

    def test_a_quick_one_is_not_waited_after(self) -> None:
        pace = Pace()
        pace.worked(1000.0, 1000.0 + SHORTEST / REST / 2)
        self.assertEqual(pace.wait(1000.0), 0.0)

    def test_a_long_one_is(self) -> None:
        pace = Pace()
        pace.worked(1000.0, 1000.002)
        self.assertAlmostEqual(pace.wait(1000.002), 0.004)
        self.assertAlmostEqual(pace.wait(1000.005), 0.001)
        self.assertEqual(pace.wait(1000.007), 0.0)

    def test_a_small_one_after_a_long_one(self) -> None:
        """An answer to somebody does not end the rest."""
        pace = Pace()
        pace.worked(1000.0, 1000.002)
        pace.worked(1000.003, 1000.003)
        self.assertAlmostEqual(pace.wait(1000.003), 0.003)

    @given(TIMES, TIMES, TIMES)
    def test_never_for_long(self, began: float, took: float, now: float) -> None:
        pace = Pace()
        pace.worked(began, began + took)
        self.assertTrue(0.0 <= pace.wait(now) <= LONGEST)
