"""The hub's world, on a reactor: the time, randomness, and the end of a turn."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.core.chat.session import Session
from encchat.core.interfaces import ITurn, Promise


@implementer(ITurn)
class ReactorTurn:
    """``ITurn`` on a reactor."""

    log = Logger()

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor

    def now(self) -> float:
        """Seconds that never go back, whatever is done to the clock."""
        return time.monotonic()

    def wall(self) -> float:
        """Seconds since 1970."""
        return time.time()

    def token(self, size: int) -> bytes:
        """Random bytes from the operating system."""
        return os.urandom(size)

    def soon(self, step: Callable[[], None]) -> None:
        """At the end of this reactor turn."""
        self._reactor.callLater(0, step)

    def after(self, seconds: float, step: Callable[[], None]) -> None:
        """After so many seconds."""
        self._reactor.callLater(seconds, step)

    def spawn(self, work: Coroutine[object, object, None], session: Session | None) -> None:
        """Run ``work``; what it did not foresee is logged with its traceback and ends ``session`` alone."""

        def unforeseen(failure: Failure) -> None:
            self.log.failure("unforeseen error", failure=failure)
            if session is not None:
                session.dismiss("the server failed on your request; it has noted how")

        running: Deferred[None] = Deferred.fromCoroutine(work)  # type: ignore[arg-type]  # any coroutine will do
        running.addErrback(unforeseen)

    def promise(self) -> Promise[Any]:
        """A promise on a Deferred."""
        return _Promised()


class _Promised:
    def __init__(self) -> None:
        self._deferred: Deferred[Any] = Deferred()

    def resolve(self, value: object) -> None:
        self._deferred.callback(value)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._deferred.__await__()
