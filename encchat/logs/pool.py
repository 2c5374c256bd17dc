"""Threads that a process does not wait for when it ends without letting go of them."""

from __future__ import annotations

from threading import Thread
from typing import Any

from twisted.python.threadpool import ThreadPool


class _Daemon(Thread):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, daemon=True, **kwargs)


class DaemonPool(ThreadPool):
    """A pool of such threads."""

    threadFactory = _Daemon  # noqa: N815 - Twisted's name
