"""Lets files go that have expired, and uploads that were given up: at the start, and once an hour."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from encchat.core.chat.hub import Hub
from encchat.core.files.keeper import Keeper
from encchat.errors import EncchatError

#: Seconds between two looks. Files are kept for days; uploads that were begun and left, ten minutes at least.
INTERVAL = 3600.0


class Sweeping:
    """Runs beside the hub. ``reactor`` is ``IReactorTime``."""

    log = Logger(namespace="encchat")

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._keeper: Keeper | None = None
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self._sweep()))
        self._ended: Deferred[None] = Deferred()

    def start(self, hub: Hub) -> None:
        """Look now, and from then on every hour."""
        self._keeper = hub.keeper
        if self._keeper is not None:
            self._loop.clock = self._reactor
            looking = self._loop.start(INTERVAL)
            looking.addErrback(lambda failure: self.log.failure("sweeping files failed, and ends", failure))
            looking.addCallback(lambda _: self._ended.callback(None))

    async def stop(self) -> None:
        """Let what is under way end, and let go of the files."""
        if self._keeper is not None:
            self._keeper.stop_sweeping()
            if self._loop.running:
                self._loop.stop()
            await self._ended
            await self._keeper.close()

    async def _sweep(self) -> None:
        assert self._keeper is not None
        try:
            await self._keeper.sweep()
        except EncchatError as error:  # the next look tries again
            self.log.warn("sweeping files has to wait: {error}", error=str(error))
