"""How many entries a second the SQLite log takes, and how long each waits until it is durable.

Three ways to ask for it: ``senders`` is many senders, each of whom sends the next entry when the last was
acknowledged; ``hub`` is one append in flight with whatever its senders had ready meanwhile, as the
server does it; ``busy`` is ``senders`` beside a reactor thread that has no time to spare. ``disk_ms`` is
what a bare write of a commit's bytes takes until it is on the same disk.
Run as ``python -m bench.append [ENTRIES] [SENDERS]``; see ``--help``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import count, cycle
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import react

from bench._said import bodies
from encchat.core.interfaces import Draft, Stored
from encchat.logs.sqlite import SqliteLog, open_sqlite_log


def msgids(kind: str) -> Iterator[bytes]:
    """Msgids as clients make them: beginning with the time in milliseconds (the layout of UUIDv7,
    RFC 9562), or all random, which is the worst for an index."""
    while True:
        if kind == "random":
            yield os.urandom(16)
        else:
            yield (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)


class Load:
    """Counts what was sent and how long it took."""

    def __init__(self, log: SqliteLog, arguments: argparse.Namespace) -> None:
        self.log = log
        self.entries = arguments.entries
        self.senders = arguments.senders
        self.rooms = arguments.rooms
        self.numbers = count()
        self.ids = msgids(arguments.msgids)
        self.bodies = cycle(bodies(5000))
        self.latencies: list[float] = []

    def draft(self, sender: int) -> Draft:
        room = f"+room{next(self.numbers) % self.rooms}"
        return Draft(
            room, 1_700_000_000_000, f"user{sender}", "desk", "text", next(self.ids), next(self.bodies)
        )

    async def senders_pattern(self) -> None:
        await DeferredList([Deferred.fromCoroutine(self._send(n)) for n in range(self.senders)])

    async def _send(self, sender: int) -> None:
        for _ in range(self.entries // self.senders):
            await self._append([self.draft(sender)])

    async def hub_pattern(self) -> None:
        for _ in range(self.entries // self.senders):
            await self._append([self.draft(n) for n in range(self.senders)])

    async def busy_pattern(self) -> None:
        busy = True

        def work() -> None:
            end = time.perf_counter() + 0.002
            while time.perf_counter() < end:
                pass
            if busy:
                reactor.callLater(0, work)

        work()
        await self.senders_pattern()
        busy = False

    async def _append(self, drafts: list[Draft]) -> None:
        began = time.perf_counter()
        outcomes = await self.log.append(drafts)
        if not all(isinstance(outcome, Stored) for outcome in outcomes):
            raise SystemExit("an entry was rejected")
        self.latencies += [time.perf_counter() - began] * len(drafts)


def disk(place: str, size: int) -> float:
    """The median time, in seconds, of a bare write of ``size`` bytes that is on disk when it returns:
    what each commit costs at least."""
    times = []
    with tempfile.TemporaryFile(dir=place, buffering=0) as file:
        for _ in range(100):
            began = time.perf_counter()
            file.write(bytes(size))
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
    return sorted(times)[50]


async def measure(pattern: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """One run in a fresh file."""
    with tempfile.TemporaryDirectory(dir=arguments.dir) as place:
        log = open_sqlite_log(Path(place) / "log.db", reactor, durability=arguments.durability)
        load = Load(log, arguments)
        run: Callable[[], Any] = getattr(load, f"{pattern}_pattern")
        began, cpu = time.perf_counter(), time.process_time()
        await run()
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        commits = log.commits
        await log.close()
    latencies = sorted(load.latencies)
    stored = len(latencies)
    return {
        "pattern": pattern,
        "entries": stored,
        "senders": arguments.senders,
        "rooms": arguments.rooms,
        "durability": arguments.durability,
        "msgids": arguments.msgids,
        "entries_per_second": round(stored / took),
        "commits": commits,
        "entries_per_commit": round(stored / commits, 1),
        "p50_ms": round(latencies[stored // 2] * 1000, 2),
        "p99_ms": round(latencies[stored * 99 // 100] * 1000, 2),
        "cpu_us_per_entry": round(cpu / stored * 1e6, 1),
        "disk_ms": round(disk(arguments.dir, stored * 300 // commits) * 1000, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("entries", type=int, nargs="?", default=200_000)
    parser.add_argument("senders", type=int, nargs="?", default=100)
    parser.add_argument("--rooms", type=int, default=1)
    parser.add_argument("--msgids", choices=["time", "random"], default="time")
    parser.add_argument("--durability", choices=["full", "relaxed"], default="full")
    parser.add_argument("--pattern", choices=["senders", "hub", "busy"], action="append")
    parser.add_argument("--dir", help="where the file lies meanwhile: a disk, not memory", default=".")
    parser.add_argument("--json", action="store_true", help="one object a line")
    arguments = parser.parse_args()

    async def run(_: object) -> None:
        for number, pattern in enumerate(arguments.pattern or ["senders", "hub"]):
            result = await measure(pattern, arguments)
            if arguments.json:
                print(json.dumps(result), flush=True)
                continue
            if not number:
                print("  ".join(f"{key:>12}" for key in result))
            print("  ".join(f"{value!s:>{max(12, len(key))}}" for key, value in result.items()), flush=True)

    react(lambda r: Deferred.fromCoroutine(run(r)))


if __name__ == "__main__":
    main()
