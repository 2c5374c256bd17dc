"""The timer that lets files go."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from encchat.core.interfaces import Unavailable
from encchat.server.sweeping import INTERVAL, Sweeping


class FakeKeeper:
    """Counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting: Deferred[None] | None = None
        self.error: Exception | None = None

    async def sweep(self) -> None:
        self.asked.append("sweep")
        if self.error is not None:
            raise self.error
        if self.waiting is not None:
            await self.waiting

    def stop_sweeping(self) -> None:
        self.asked.append("stop")

    async def close(self) -> None:
        self.asked.append("close")


class Hub:
    """A hub as far as the timer knows it."""

    def __init__(self, keeper: Any) -> None:
        self.keeper = keeper


class SweepingTests(TestCase):
    """When it looks, and how it ends."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.keeper = FakeKeeper()
        self.sweeping = Sweeping(self.clock)

    def start(self) -> None:
        self.sweeping.start(Hub(self.keeper))  # type: ignore[arg-type]  # all that it needs

    async def test_at_once_and_every_hour(self) -> None:
        self.start()
        self.clock.advance(INTERVAL)
        self.assertEqual(self.keeper.asked, ["sweep", "sweep"])
        await self.sweeping.stop()
        self.clock.advance(INTERVAL)
        self.assertEqual(self.keeper.asked, ["sweep", "sweep", "stop", "close"])

    async def test_what_fails_is_tried_again(self) -> None:
        self.keeper.error = Unavailable(reason="the disk is asleep")
        self.start()
        self.keeper.error = None
        self.clock.advance(INTERVAL)
        self.assertEqual(self.keeper.asked, ["sweep", "sweep"])
        await self.sweeping.stop()

    async def test_what_nobody_foresaw_ends_it_and_is_logged(self) -> None:
        self.keeper.error = ZeroDivisionError()
        self.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        await self.sweeping.stop()
        self.assertEqual(self.keeper.asked[-1], "close")

    def test_a_look_that_is_under_way_ends_first(self) -> None:
        self.keeper.waiting = waiting = Deferred()
        self.start()
        stopped = Deferred.fromCoroutine(self.sweeping.stop())
        self.assertNoResult(stopped)
        self.assertEqual(self.keeper.asked, ["sweep", "stop"])
        waiting.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(self.keeper.asked, ["sweep", "stop", "close"])

    async def test_no_files(self) -> None:
        self.sweeping.start(Hub(None))  # type: ignore[arg-type]  # as above
        await self.sweeping.stop()
