"""Who waits for what in a program's conversation, and how each is let go on: in a turn of the reactor of its
own, so that the program never runs in the midst of ours."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from encchat.library.waiting import wait


class Pending:
    """Waits by key, each for one result."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._held: dict[Hashable, Deferred[Any]] = {}
        self._ready: list[Callable[[], object]] = []
        self._turn: object = None

    def __len__(self) -> int:
        return len(self._held)

    def expect(self, key: Hashable) -> None:
        """A result for ``key`` may come from now on; ``result`` must follow."""
        self._held.setdefault(key, Deferred())

    async def result(self, key: Hashable) -> Any:
        """Wait for the result of ``key``; raises what it failed with."""
        self.expect(key)
        held = self._held[key]
        try:
            return await wait(held)
        finally:
            self._held.pop(key, None)

    def forget(self, key: Hashable) -> None:
        """No result is expected any more."""
        self._held.pop(key, None)

    def expected(self, key: Hashable) -> bool:
        """Whether somebody waits for this."""
        return key in self._held

    def settle(self, key: Hashable, result: object) -> None:
        """The result is there; a Failure is raised. Nothing happens if nobody waits for it."""
        held = self._held.get(key)
        if held is not None:
            self.soon(partial(_fire, held, result))

    def fail_all(self, error: Exception) -> None:
        """Nothing more comes."""
        for key in list(self._held):
            self.settle(key, Failure(error))

    def soon(self, call: Callable[[], object]) -> None:
        """Call it in a turn of its own, in order."""
        self._ready.append(call)
        if self._turn is None:
            self._turn = self._clock.callLater(0, self._go)

    def _go(self) -> None:
        self._turn = None
        ready, self._ready = self._ready, []
        for call in ready:
            call()


def _fire(held: Deferred[Any], result: object) -> None:
    """Let whoever waits go on, unless they were cancelled meanwhile."""
    if not held.called:
        held.callback(result)
