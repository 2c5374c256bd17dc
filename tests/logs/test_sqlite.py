"""The SQLite log: the contract."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from encchat.logs.sqlite import SqliteLog, open_sqlite_log
from tests.contracts.log import LogContract


class SqliteLogContract(LogContract, TestCase):
    """The contract, with restarts."""

    durable = True

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "data" / "log.db"

    def open_log(self) -> SqliteLog:
        log = open_sqlite_log(self.path, reactor)
        self.addCleanup(lambda: ensureDeferred(log.close()))
        return log
