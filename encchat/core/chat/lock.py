"""A lock for coroutines of the core: one inside, the others in the order in which they came."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from encchat.core.interfaces import ITurn, Promise


class Lock:
    """``async with lock:``. Who waits goes on in a turn of its own, so that a thousand who wait do not
    run inside one another."""

    __slots__ = ("_held", "_turn", "_waiting")

    def __init__(self, turn: ITurn) -> None:
        self._turn = turn
        self._held = False
        self._waiting: deque[Promise[None]] = deque()

    @property
    def held(self) -> bool:
        """Whether somebody is inside."""
        return self._held

    async def __aenter__(self) -> None:
        if self._held:
            promise: Promise[None] = self._turn.promise()
            self._waiting.append(promise)
            await promise
        self._held = True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._waiting:
            promise = self._waiting.popleft()  # it stays held: nobody can slip in between
            self._turn.soon(lambda: promise.resolve(None))
        else:
            self._held = False
