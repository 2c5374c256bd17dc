"""Waiting for whatever ends first."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure


async def race(clock: IReactorTime, *runners: Deferred[None]) -> None:
    """Wait until one of ``runners`` fires, and cancel the others; raises what that one failed with.

    It goes on in a later turn of the reactor: a coroutine that ends the race itself must have come to rest
    before it can be cancelled.
    """
    first: Deferred[None] = Deferred()
    ended = False

    def end(result: Failure | None) -> None:
        nonlocal ended
        if ended:
            return
        ended = True
        if result is None:
            clock.callLater(0, first.callback, None)
        else:
            clock.callLater(0, first.errback, result)

    for runner in runners:
        runner.addBoth(end)
    try:
        await first
    finally:
        ended = True
        for runner in runners:
            runner.cancel()
