"""Awaiting a Deferred, whoever drives the coroutine: Twisted, or a task of asyncio.

Twisted's coroutines await Deferreds, asyncio's tasks await futures, and neither takes the other's. ``wait``
gives each what it takes, so that one library serves both. Cancelling the task cancels the Deferred.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred

_T = TypeVar("_T")


class wait(Generic[_T]):  # noqa: N801 -- used as a function
    """``await wait(deferred)``: its result, or what it failed with."""

    def __init__(self, deferred: Deferred[_T]) -> None:
        self._deferred = deferred

    def __await__(self) -> Generator[Any, Any, _T]:
        if in_task():
            import asyncio

            return (yield from self._deferred.asFuture(asyncio.get_running_loop()).__await__())
        return (yield from self._deferred.__await__())


def in_task() -> bool:
    """Whether this runs in a task of asyncio."""
    asyncio: Any = sys.modules.get("asyncio")  # to import it takes long, and whoever runs a task has done so
    if asyncio is None:
        return False
    try:
        return asyncio.current_task() is not None
    except RuntimeError:  # no loop runs in this thread
        return False
