"""The reactor for a program that uses the library: the one that runs, or, under ``asyncio.run``, one that
lives on asyncio's own loop."""

from __future__ import annotations

import sys
from typing import Any

from encchat.errors import UsageError
from encchat.library.waiting import in_task


class NoReactor(UsageError):
    """No reactor runs. Call this inside twisted.internet.task.react, or inside asyncio.run."""


class OtherReactor(UsageError):
    """Twisted's reactor is {kind}, which does not run on asyncio's loop. Under asyncio.run, import nothing
    that imports twisted.internet.reactor before you connect; or use twisted.internet.task.react."""


def find_reactor() -> Any:
    """The reactor to use. Under ``asyncio.run`` with none installed yet, Twisted's asyncio reactor is put on
    the running loop, and runs for as long as the loop does.

    :raises UsageError: there is none, or one that does not run here.
    """
    installed: Any = sys.modules.get("twisted.internet.reactor")
    if not in_task():
        if installed is None:  # one that is there runs, or is about to: task.react calls first
            raise NoReactor()
        return installed
    import asyncio

    from twisted.internet import asyncioreactor

    loop = asyncio.get_running_loop()
    if installed is None:
        asyncioreactor.install(loop)
        from twisted.internet import reactor

        installed = reactor
    if not isinstance(installed, asyncioreactor.AsyncioSelectorReactor):
        raise OtherReactor(kind=type(installed).__name__)
    if installed._asyncioEventloop is not loop:
        raise OtherReactor(kind="on another loop of asyncio")
    if not installed.running:
        # As its run() would, but for the loop, which runs already, and for signals, which are asyncio's.
        installed.startRunning(installSignalHandlers=False)
        # What its threads do is short; at the end of the program they must not be waited for.
        installed.suggestThreadPoolSize(2)
    return installed


def release_threads(reactor: Any) -> None:
    """Under ``asyncio.run`` nobody stops the reactor, so that its threads would keep the program from ending:
    stop them. They are started anew when they are needed."""
    pool = reactor.getThreadPool()
    if pool.started:
        pool.stop()
        reactor.threadpool = None
