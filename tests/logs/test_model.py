"""Both logs against the model, in games that hypothesis makes up."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from encchat.logs.memory import MemoryLog
from encchat.logs.sqlite import open_sqlite_log
from tests.logs.model import LogMachine
from tests.logs.rig import NEVER, Faults, Rig, failing


class MemoryMachine(LogMachine):
    """The log in memory, which survives no restart."""

    def __init__(self) -> None:
        super().__init__()
        self.log = MemoryLog(bytes(16))

    def wait(self, coroutine: Any) -> Any:
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return stop.value
        raise AssertionError("it suspended")

    def restart(self) -> None:
        pass


class SqliteMachine(LogMachine):
    """The SQLite log, with restarts and failing commits; sound at the end, whatever befell it."""

    can_fail = True

    def __init__(self) -> None:
        super().__init__()
        self._place = tempfile.TemporaryDirectory()
        self._rig = Rig()
        self._faults = Faults()
        self._open()

    def _open(self) -> None:
        path = Path(self._place.name) / "log.db"
        self.log = open_sqlite_log(
            path, self._rig, durability="relaxed", connect=self._faults.connect, index_after=NEVER
        )

    def wait(self, coroutine: Any) -> Any:
        return self._rig.wait(coroutine)

    def restart(self) -> None:
        self.wait(self.log.close())
        self._open()

    @rule()
    def index(self) -> None:
        self.wait(self.log.index())

    def fail_commit(self, after: bool) -> None:
        if after:
            self._faults.after = failing("COMMIT")
        else:
            self._faults.before = failing("COMMIT")

    def check(self) -> None:
        assert self.wait(self.log.verify()) == []

    def teardown(self) -> None:
        super().teardown()
        self._place.cleanup()


class ModelTests(SynchronousTestCase):
    """The games."""

    def test_memory(self) -> None:
        self.play(MemoryMachine, 60)

    def test_sqlite(self) -> None:
        self.play(SqliteMachine, 30)

    def play(self, machine: type[LogMachine], games: int) -> None:
        rules = settings(
            max_examples=games,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        )
        run_state_machine_as_test(machine, settings=rules)
