"""A process that appends to a log without pause until it is killed; see ``test_kill``.

Eight senders each send their numbered lines in order, the next when the last was acknowledged, and only
then write ``sender number seq`` to standard output. The arguments are the file and, for each sender, the
number to begin with.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import react

from encchat.core.interfaces import Draft, Stored
from encchat.logs.sqlite import SqliteLog, open_sqlite_log

SENDERS = 8
ROOM = "+lobby"


def line(sender: int, number: int) -> Draft:
    """The ``number``-th line of a sender, alike at each attempt."""
    msgid = number.to_bytes(8, "big") + sender.to_bytes(8, "big")
    return Draft(ROOM, number, f"user{sender}", "desk", "text", msgid, b"line %d" % number)


async def send(log: SqliteLog, sender: int, number: int) -> None:
    while True:
        (stored,) = await log.append([line(sender, number)])
        assert isinstance(stored, Stored)
        os.write(1, b"%d %d %d\n" % (sender, number, stored.seq))
        number += 1


async def run(path: Path, begin: Sequence[int]) -> None:
    log = open_sqlite_log(path, reactor)
    await DeferredList(
        [Deferred.fromCoroutine(send(log, sender, number)) for sender, number in enumerate(begin)],
        fireOnOneErrback=True,
    )


if __name__ == "__main__":
    react(lambda _: Deferred.fromCoroutine(run(Path(sys.argv[1]), [int(word) for word in sys.argv[2:]])))
