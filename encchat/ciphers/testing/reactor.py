"""A reactor for tests: its clock stands until it is advanced, its threads run only in ``settle()``.

A cipher that takes its time from the reactor it was started with, and hands its slow work to
``deferToThreadPool(reactor, reactor.getThreadPool(), job)`` or ``reactor.callInThread(job)``, is
deterministic on it. As with real threads no job is done before the call that ordered it has returned.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.interfaces import IReactorThreads
from twisted.internet.task import Clock
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

#: Rounds of jobs that order more jobs before ``settle`` says that they never end.
MAX_ROUNDS = 10_000


@implementer(IReactorThreads)
class ContractReactor(Clock):
    """``IReactorTime`` and ``IReactorThreads`` without time and threads."""

    log = Logger()

    def __init__(self) -> None:
        super().__init__()
        self._pool = ContractThreadPool(self)
        self._jobs: deque[Callable[[], object]] = deque()
        self._from_threads: deque[Callable[[], object]] = deque()

    def getThreadPool(self) -> ContractThreadPool:  # type: ignore[override]  # Twisted's is a concrete class
        """A pool whose jobs wait for ``settle``."""
        return self._pool

    def suggestThreadPoolSize(self, size: int) -> None:
        """There are no threads to be more or fewer."""

    def callInThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Run it in ``settle``; an exception is logged, as Twisted's thread pool does."""
        self._pool.callInThreadWithCallback(None, callable, *args, **kwargs)

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Run it in ``settle``, in order, on what stands for the reactor's thread."""
        self._from_threads.append(lambda: callable(*args, **kwargs))

    def callWhenRunning(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Run it now: this reactor always runs."""
        callable(*args, **kwargs)

    @property
    def pending_jobs(self) -> int:
        """How many jobs and results of jobs wait for ``settle``."""
        return len(self._jobs) + len(self._from_threads)

    def settle(self) -> bool:
        """Run every job, what they report, and what that orders, until nothing waits.

        :returns: whether there was anything to run.
        """
        worked = False
        for _ in range(MAX_ROUNDS):
            if self._jobs:
                self._jobs.popleft()()
            elif self._from_threads:
                self._from_threads.popleft()()
            else:
                return worked
            worked = True
        raise AssertionError(f"the thread work did not end within {MAX_ROUNDS} jobs")

    def _order(self, job: Callable[[], object]) -> None:
        self._jobs.append(job)


class ContractThreadPool:
    """What ``deferToThreadPool`` uses of a ``twisted.python.threadpool.ThreadPool``."""

    def __init__(self, reactor: ContractReactor) -> None:
        self._reactor = reactor

    def callInThread(self, func: Callable[..., object], *args: object, **kwargs: object) -> None:
        """Run ``func`` in the reactor's ``settle``."""
        self.callInThreadWithCallback(None, func, *args, **kwargs)

    def callInThreadWithCallback(
        self,
        onResult: Callable[[bool, object], object] | None,
        func: Callable[..., object],
        *args: object,
        **kwargs: object,
    ) -> None:
        """Run ``func`` in the reactor's ``settle``, then ``onResult(success, result or Failure)``."""

        def job() -> None:
            try:
                result = func(*args, **kwargs)
            except Exception:  # whatever a job raises is its caller's, as in Twisted's thread pool
                failure = Failure()
                if onResult is None:
                    self._reactor.log.failure("a job in a thread failed", failure)
                else:
                    onResult(False, failure)
            else:
                if onResult is not None:
                    onResult(True, result)

        self._reactor._order(job)
