"""The audit log: who came in, who was refused, and what moderators and operators did, a JSON object a line.

Written by a thread, each batch on disk before the next begins. Nobody waits for that but the operator and
the admins, who are answered when the line about their deed is on disk: what they were told was done is in
the file, even when the service is killed at once. The file is private and gives way to a new one when it is
full; the last few stay. Never does it hold what people wrote. As anybody can be admitted or refused as
often as the handshake allows, such lines have a rate, and past it the next line says how many were skipped:
nobody can flood the file to wash out what moderators did.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.core.chat.hub import Hub
from encchat.core.chat.limits import TokenBucket
from encchat.core.interfaces import Deed, IAudit

#: The file's name in the data directory.
FILE = "audit.log"
#: Bytes of one file, and how many files there are.
SIZE = 10 * 1024 * 1024
FILES = 5
#: Seconds for which lines gather before they are written, or until that is tried again.
DELAY, RETRY = 0.5, 30.0
#: Lines that wait to be written at most.
WAITING = 20_000
#: Lines that anybody can cause: a second, and at once.
RATES = {"admit": (0.5, 15_000), "refuse": (0.25, 500), "other": (0.5, 5000)}
#: What only operators and admins do, and whoever has a certificate: it is always kept.
ALWAYS = frozenset({"kick", "ban", "unban", "rename", "rekey", "announce", "takeover", "cut"})


@implementer(IAudit)
class AuditLog:
    """Appends to the file ``path`` and keeps it private.

    :param reactor: ``IReactorTime`` and ``IReactorThreads`` in one object.
    """

    log = Logger(namespace="encchat.audit")

    def __init__(self, path: Path, reactor: Any, size: int = SIZE) -> None:
        self._path = path
        self._reactor = reactor
        self._size = size
        self._lines: list[bytes] = []
        self._skipped = 0
        self._later: IDelayedCall | None = None
        self._writing: Deferred[None] | None = None
        now = reactor.seconds()
        self._buckets = {what: TokenBucket(rate, burst, now) for what, (rate, burst) in RATES.items()}

    def start(self, hub: Hub) -> None:
        """The hub is there: keep what it does."""
        hub.audit = self

    async def stop(self) -> None:
        """Write what waits."""
        await self.settle()
        self._cancel()

    async def settle(self) -> None:
        """Write what waits now, not later; returns when that is done or has failed (IAudit)."""
        if self._writing is not None:
            await self._wait(self._writing)
        if self._writing is None and self._lines:
            self._cancel()
            self._write()
        if self._writing is not None:
            await self._wait(self._writing)

    def _cancel(self) -> None:
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def record(self, deed: Deed) -> None:
        """Keep it, without waiting for that (IAudit)."""
        bucket = self._bucket_of(deed)
        if len(self._lines) >= WAITING or (bucket is not None and bucket.take(self._reactor.seconds())):
            self._skipped += 1
            return
        when = datetime.fromtimestamp(deed.time / 1000, UTC).isoformat(timespec="milliseconds")
        line: dict[str, str | int] = {"time": when, "what": deed.what, "who": deed.who, "key": deed.key}
        line.update(deed.facts)
        if self._skipped:
            line["skipped"], self._skipped = self._skipped, 0
        self._lines.append(json.dumps(line, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        if self._later is None and self._writing is None:
            self._later = self._reactor.callLater(DELAY, self._write)

    def _bucket_of(self, deed: Deed) -> TokenBucket | None:
        if deed.what in ALWAYS and "room" not in deed.facts:
            return None
        return self._buckets.get(deed.what) or self._buckets["other"]

    def _write(self) -> None:
        self._later = None
        lines, self._lines = self._lines, []
        pool = self._reactor.getThreadPool()
        self._writing = deferToThreadPool(self._reactor, pool, self._append, b"".join(lines))
        self._writing.addErrback(self._failed, lines)
        self._writing.addCallback(self._written)

    def _failed(self, failure: Failure, lines: list[bytes]) -> float:
        self.log.error(
            "the audit log {path} cannot be written: {error}", path=str(self._path), error=failure.value
        )
        kept = lines[: WAITING - len(self._lines)]
        self._skipped += len(lines) - len(kept)
        self._lines[:0] = kept
        return RETRY

    def _written(self, delay: float | None) -> None:
        self._writing = None
        if self._lines:
            self._later = self._reactor.callLater(delay or DELAY, self._write)

    def _append(self, data: bytes) -> None:
        """On a thread of the pool, and never on two at once."""
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        if self._path.exists() and self._path.stat().st_size + len(data) > self._size:
            self._rotate()
        descriptor = os.open(self._path, flags, 0o600)
        try:
            os.fchmod(descriptor, 0o600)
            end = os.fstat(descriptor).st_size
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, end)  # all of it is tried again
                raise
        finally:
            os.close(descriptor)

    def _rotate(self) -> None:
        for number in range(FILES - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            newer = self._path if number == 1 else self._path.with_name(f"{self._path.name}.{number - 1}")
            if newer.exists():
                os.replace(newer, older)

    @staticmethod
    async def _wait(writing: Deferred[None]) -> None:
        done: Deferred[None] = Deferred()
        writing.addCallback(lambda _: done.callback(None))
        await done
