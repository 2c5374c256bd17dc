"""How a coroutine's end becomes an exit code: signals, errors, and what nobody foresaw."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from encchat.cli import running
from encchat.cli.client import Unforeseen
from encchat.cli.running import Runner
from encchat.cli.standard import open_standard_handles, status
from encchat.errors import ConfigError


class FakeReactor(MemoryReactorClock):
    """Runs until it is stopped; ``steps`` are what happens meanwhile, and what threads ask for."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        super().__init__()
        self.steps = list(steps)
        self.stopped = False

    def run(self, installSignalHandlers: bool = True) -> None:
        assert not installSignalHandlers
        for hook, args, kwargs in self.whenRunningHooks:
            hook(*args, **kwargs)
        while not self.stopped:
            self.steps.pop(0)()

    def stop(self) -> None:
        self.stopped = True

    def callFromThread(self, callable: Callable[..., object], *args: object, **kwargs: object) -> None:
        self.steps.insert(0, lambda: callable(*args, **kwargs))


class Running(TestCase):
    def setUp(self) -> None:
        self.patch(running.globalLogBeginner, "beginLoggingTo", lambda *_, **__: None)
        self.waiting: Deferred[int] = Deferred()
        for number in running.SIGNALS:  # the tests themselves may have been told to ignore them (nohup)
            self.addCleanup(signal.signal, number, signal.signal(number, signal.SIG_DFL))

    def run_with(self, main: Callable[[], Coroutine[Any, Any, int]], *steps: Callable[[], object]) -> int:
        self.runner = Runner(FakeReactor(*steps))
        return self.runner.run(main)

    async def wait(self) -> int:
        return await self.waiting

    def test_a_code(self) -> None:
        self.assertEqual(self.run_with(self.wait, lambda: self.waiting.callback(7)), 7)

    def test_an_error(self) -> None:
        error = ConfigError(reason="x")
        with self.assertRaises(ConfigError):
            self.run_with(self.wait, lambda: self.waiting.errback(error))

    def test_signals(self) -> None:
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            self.setUp()
            before = signal.getsignal(number)
            self.assertEqual(self.run_with(self.wait, partial(signal.raise_signal, number)), code)
            self.assertIs(signal.getsignal(number), before)

    def test_what_comes_of_a_signal_is_no_error(self) -> None:
        async def main() -> int:
            try:
                return await self.waiting
            finally:
                raise ConfigError(reason="x")

        self.assertEqual(self.run_with(main, lambda: signal.raise_signal(signal.SIGINT)), 130)

    def test_one_who_is_asked_to_stop_may_end_in_order(self) -> None:
        async def main() -> int:
            try:
                return await self.waiting
            except BaseException:
                return 0

        self.assertEqual(self.run_with(main, lambda: signal.raise_signal(signal.SIGTERM)), 143)

    def test_a_second_signal_does_not_wait(self) -> None:
        class Ended(BaseException):
            pass

        async def main() -> int:
            try:
                return await self.waiting
            finally:
                await Deferred()

        with patch.object(running.os, "_exit", side_effect=Ended) as ended, self.assertRaises(Ended):
            self.run_with(
                main,
                lambda: signal.raise_signal(signal.SIGINT),
                lambda: signal.raise_signal(signal.SIGINT),
            )
        ended.assert_called_once_with(130)

    def test_what_the_caller_ignores_is_ignored(self) -> None:
        before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
        self.addCleanup(signal.signal, signal.SIGHUP, before)
        code = self.run_with(
            self.wait, lambda: signal.raise_signal(signal.SIGHUP), lambda: self.waiting.callback(0)
        )
        self.assertEqual(code, 0)

    def unforeseen(self, *steps: Callable[[], object]) -> str:
        with self.assertRaises(Unforeseen) as raised:
            self.run_with(self.wait, *steps)
        path = Path(str(raised.exception.facts["path"]))
        self.addCleanup(path.unlink)
        return path.read_text()

    def test_what_nobody_foresaw(self) -> None:
        self.assertIn("ZeroDivisionError", self.unforeseen(lambda: self.waiting.errback(ZeroDivisionError())))

    def test_what_is_only_logged_counts_too(self) -> None:
        def fault() -> None:
            log = Logger(observer=self.runner)
            log.info("nothing to see")
            for _ in range(2):
                log.failure("it broke", Failure(ZeroDivisionError("in the depths")))

        self.assertIn("in the depths", self.unforeseen(fault))


class Streams(TestCase):
    def test_telling_nobody(self) -> None:
        class Gone:
            def write(self, text: str) -> int:
                raise BrokenPipeError()

        with patch("sys.stderr", Gone()):
            status("program")("hello")

    def test_closed_standard_handles_become_dev_null(self) -> None:
        opened: list[int] = []

        def fstat(handle: int) -> None:
            if handle == 1:
                raise OSError(9, "Bad file descriptor")

        with (
            patch.object(running.os, "fstat", fstat),
            patch.object(running.os, "open", lambda *_: opened.append(1)),
        ):
            open_standard_handles()
        self.assertEqual(opened, [1])
        self.assertTrue(os.path.exists(os.devnull))
