"""How long a search takes in a room of many entries, with the index and before there is one; and how long
making it takes.

Words are of three kinds: one that every other entry has, one that few have, and one that nobody said. Each
search asks for 50 entries, as a client does, and goes on until it has them or there are no more; the
median of several is told, in milliseconds, with the number of requests that it took.
Run as ``python -m bench.search [ENTRIES]``; see ``--help``.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench._said import bodies
from bench.catchup import ROOM, fill
from encchat.core.words import words_of
from encchat.logs.sqlite import SqliteLog, open_sqlite_log

LIMIT, SIZE, TIMES = 50, 128 * 1024, 5
NEVER = 1_000_000.0


def asked() -> dict[str, str]:
    """Words to search for."""
    said = [body.decode().split() for body in bodies(5000)]
    counts: dict[str, int] = {}
    for words in said:
        for word in set(words):
            counts[word] = counts.get(word, 0) + 1
    by_count = sorted(counts, key=counts.__getitem__)
    return {
        "common": by_count[-1],
        "two_common": f"{by_count[-1]} {by_count[-2]}",
        "rare": by_count[0],
        "two_rare": f"{by_count[0]} {by_count[1]}",
        "absent": "nobodysaidthis",
    }


async def search(log: SqliteLog, words: str) -> tuple[int, int]:
    """The number of entries that were found, and of requests."""
    found, requests, before, more = 0, 0, 2**63 - 1, True
    while more and found < LIMIT:
        findings = await log.search(ROOM, words_of(words), before, LIMIT - found, SIZE)
        found, requests = found + len(findings.frames), requests + 1
        before, more = findings.reached, findings.more
    return found, requests


async def measure_searches(log: SqliteLog, times: int) -> dict[str, str]:
    """How long each kind takes."""
    results = {}
    for name, words in asked().items():
        took = []
        for _ in range(times):
            began = time.perf_counter()
            found, requests = await search(log, words)
            took.append(time.perf_counter() - began)
        results[name] = f"{sorted(took)[len(took) // 2] * 1000:.1f} ms, {found} found, {requests} request(s)"
    return results


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=arguments.dir) as place:
        path = Path(place) / "log.db"
        log = open_sqlite_log(path, reactor, durability="relaxed", index_after=NEVER)
        began = time.perf_counter()
        await fill(log, arguments.entries)
        filled = time.perf_counter() - began
        size = path.stat().st_size
        results: dict[str, Any] = {"entries": arguments.entries, "fill_s": round(filled, 1)}
        if arguments.without:
            results["without_index"] = await measure_searches(log, 1)
        began = time.perf_counter()
        await log.index()
        results["index_s"] = round(time.perf_counter() - began, 1)
        results["with_index"] = await measure_searches(log, TIMES)
        await log.close()
        results["log_mib"], results["with_index_mib"] = size >> 20, path.stat().st_size >> 20
        began = time.perf_counter()
        log = open_sqlite_log(path, reactor)
        results["open_ms"] = round((time.perf_counter() - began) * 1000, 1)
        await log.close()
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("entries", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--without", action="store_true", help="also search before there is an index")
    parser.add_argument("--dir", help="where the file lies meanwhile", default=".")
    arguments = parser.parse_args()

    async def run() -> None:
        print(json.dumps(await measure(arguments), indent=2))

    react(lambda _: Deferred.fromCoroutine(run()))


if __name__ == "__main__":
    main()
