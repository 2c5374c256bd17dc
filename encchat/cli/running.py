"""Runs one coroutine on a reactor, and turns however it ends into an exit code.

Signals cancel it; a second one does not wait. What nobody foresaw is written to a file with its
traceback, and told in one line.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.cli.client import Unforeseen, unforeseen
from encchat.cli.standard import SIGNALS, heeded
from encchat.errors import EncchatError


@implementer(ILogObserver)
class Runner:
    """Runs a program once."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._main: Deferred[int] | None = None
        self._signalled = 0
        self._code = 0
        self._error: EncchatError | None = None
        self._unforeseen: Unforeseen | None = None

    def run(self, main: Callable[[], Coroutine[Any, Any, int]]) -> int:
        """Run ``main`` to its end; returns its exit code, or that of the signal that ended it.

        :raises EncchatError: ``main`` did, or something was not foreseen.
        """
        globalLogBeginner.beginLoggingTo([self], discardBuffer=True, redirectStandardIO=False)
        handlers = {number: signal.signal(number, self._signal) for number in heeded()}
        self._reactor.callWhenRunning(self._start, main)
        try:
            self._reactor.run(installSignalHandlers=False)
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        error = self._unforeseen or self._error
        if error is not None:
            raise error
        return self._code

    def __call__(self, event: LogEvent) -> None:
        """A log event (ILogObserver): a client has no log; but a failure that is logged was not foreseen."""
        failure = event.get("log_failure")
        if failure is not None and self._unforeseen is None:
            self._unforeseen = unforeseen(failure.value, failure.getTraceback())
            self._reactor.callFromThread(self._cancel)

    def _start(self, main: Callable[[], Coroutine[Any, Any, int]]) -> None:
        self._main = Deferred.fromCoroutine(main())
        self._main.addCallbacks(self._done, self._failed).addBoth(lambda _: self._reactor.stop())

    def _done(self, code: int) -> None:
        self._code = self._signalled or code

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, EncchatError) and not self._signalled:
            self._error = error
        elif isinstance(error, CancelledError | EncchatError):
            self._code = self._signalled or 1
        elif self._unforeseen is None:
            self._unforeseen = unforeseen(error or RuntimeError(), failure.getTraceback())

    def _signal(self, number: int, frame: object) -> None:
        if self._signalled:
            os._exit(SIGNALS[signal.Signals(number)])
        self._signalled = SIGNALS[signal.Signals(number)]
        self._reactor.callFromThread(self._cancel)

    def _cancel(self) -> None:
        if self._main is not None:
            self._main.cancel()
