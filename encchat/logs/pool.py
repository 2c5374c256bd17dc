"""Threads for work that a coroutine waits for. They end when they are told to, after what they have begun; a
process that ends without telling them does not wait for them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from encchat.core.interfaces import Unavailable

_T = TypeVar("_T")


class _Daemon(Thread):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class _DaemonPool(ThreadPool):
    threadFactory = _Daemon  # noqa: N815 - Twisted's name


class Workers:
    """At most so many threads, until :meth:`close`; none is there before there is work.

    :param reactor: ``IReactorFromThreads``.
    :param closed: why nothing is done any more, once it is closed.
    """

    def __init__(self, reactor: Any, threads: int, name: str, closed: str) -> None:
        self._reactor = reactor
        self._pool = _DaemonPool(0, threads, name)
        self._pool.start()
        self._why = closed
        self._running = 0
        self._closed: Deferred[None] | None = None

    @property
    def closing(self) -> bool:
        """Whether it was told to end; may be asked in any thread."""
        return self._closed is not None

    async def run(self, work: Callable[..., _T], *args: Any) -> _T:
        """What ``work(*args)`` returns or raises, in one of the threads.

        :raises Unavailable: it is closed.
        """
        if self.closing:
            raise Unavailable(reason=self._why)
        self._running += 1
        try:
            result: _T = await deferToThreadPool(self._reactor, self._pool, work, *args)
        finally:
            self._running -= 1
            self._end_if_idle()
        return result

    async def close(self) -> None:
        """Wait for what was asked for, then end the threads."""
        if self._closed is None:
            self._closed = Deferred()
            self._end_if_idle()
        done: Deferred[None] = Deferred()
        self._closed.addCallback(lambda _: done.callback(None))
        await done

    def _end_if_idle(self) -> None:
        if self._closed is not None and not self._closed.called and not self._running:
            self._pool.stop()
            self._closed.callback(None)
