"""How fast stored entries are read back, each one checked and counted.

``--log`` reads a room of the SQLite log from its first entry to its head in pages, as the server does for
a client that was away, recomputing the chain; and tells how long opening the file took. The memory told is
what the process held at most (VmHWM), before the reading and after it: reading must not add to it.
Run as ``python -m bench.catchup --log [ENTRIES]``; see ``--help``.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench._said import bodies
from encchat.core.interfaces import Draft
from encchat.logs.sqlite import SqliteLog, open_sqlite_log
from encchat.messages import MAX_PAGE, Position
from encchat.wire import advance

ROOM = "+lobby"
FILL = 2000


def peak_rss() -> int:
    """The most memory that the process held so far, in KiB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    return 0


async def fill(log: SqliteLog, entries: int) -> None:
    """A room with so many entries."""
    said = bodies(5000)
    for start in range(0, entries, FILL):
        drafts = [
            Draft(
                ROOM,
                start + n,
                f"user{n % 100}",
                "desk",
                "text",
                (start + n).to_bytes(6, "big") + os.urandom(10),
                said[(start + n) % len(said)],
            )
            for n in range(min(FILL, entries - start))
        ]
        await log.append(drafts)


async def read_log(log: SqliteLog, page: int, size: int) -> int:
    """Read and check the whole room; the number of its entries."""
    at, more = Position(), True
    while more:
        found = await log.read(ROOM, at.seq, page, size)
        if found.start != at:
            raise SystemExit(f"the page after {at.seq} starts elsewhere")
        at = advance(at, found.frames)
        more = found.more
    if at != await log.head(ROOM):
        raise SystemExit("the chain does not end at the head")
    return at.seq


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=arguments.dir) as place:
        path = Path(place) / "log.db"
        log = open_sqlite_log(path, reactor, durability="relaxed")
        await fill(log, arguments.entries)
        await log.close()
        size = path.stat().st_size
        began = time.perf_counter()
        log = open_sqlite_log(path, reactor)
        opened = time.perf_counter() - began
        before = peak_rss()
        began = time.perf_counter()
        read = await read_log(log, arguments.page, arguments.size)
        took = time.perf_counter() - began
        await log.close()
    return {
        "entries": read,
        "file_mib": size >> 20,
        "open_ms": round(opened * 1000, 1),
        "page": arguments.page,
        "entries_per_second": round(read / took),
        "rss_before_mib": before >> 10,
        "rss_after_mib": peak_rss() >> 10,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("entries", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--log", action="store_true", required=True, help="the log alone, without a network")
    parser.add_argument("--page", type=int, default=MAX_PAGE, help="entries in a page")
    parser.add_argument("--size", type=int, default=192 * 1024, help="bytes in a page")
    parser.add_argument("--dir", help="where the file lies meanwhile", default=".")
    parser.add_argument("--json", action="store_true", help="one object a line")
    arguments = parser.parse_args()

    async def run(_: object) -> None:
        result = await measure(arguments)
        if arguments.json:
            print(json.dumps(result), flush=True)
        else:
            print("  ".join(f"{key:>18}" for key in result))
            print("  ".join(f"{value!s:>18}" for value in result.values()), flush=True)

    react(lambda r: Deferred.fromCoroutine(run(r)))


if __name__ == "__main__":
    main()
