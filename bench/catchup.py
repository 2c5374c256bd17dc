"""How fast stored entries are read back, each one checked and counted.

A service with a room of so many entries runs in a process of its own, on a core of its own, with mutual TLS;
a client in another process, on another core, reads the room from the first entry to its head, over the
loopback, and recomputes the chain. The service's memory is what it held before and at most meanwhile.
``--log`` reads the SQLite log alone,
without a network, as the server does for a client that was away. All tell how long opening the file took.
Run as ``python -m bench.catchup [--log] [ENTRIES]``; see ``--help``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import react

from bench._proc import cores, start, stop
from bench._said import bodies
from bench._servers import Certificates, Encchat
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
    for first in range(0, entries, FILL):
        drafts = [
            Draft(
                ROOM,
                first + n,
                f"user{n % 100}",
                "desk",
                "text",
                (first + n).to_bytes(6, "big") + os.urandom(10),
                said[(first + n) % len(said)],
            )
            for n in range(min(FILL, entries - first))
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


def size_of(path: Path) -> int:
    """Bytes of a file."""
    return path.stat().st_size


async def prepare(path: Path, entries: int) -> tuple[int, float]:
    """Make a log, with its search index; its size in bytes, and the seconds that opening it takes."""
    log = open_sqlite_log(path, reactor, durability="relaxed")
    await fill(log, entries)
    await log.index()
    await log.close()
    began = time.perf_counter()
    log = open_sqlite_log(path, reactor)
    opened = time.perf_counter() - began
    await log.close()
    return size_of(path), opened


async def measure_service(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """A client of a service reads all of it, several times."""
    certificates = Certificates()
    service = Encchat(certificates.members(1), arguments.cipher)
    results = []
    try:
        data = service.home / "data"
        data.mkdir(mode=0o700)
        size, opened = await prepare(data / "log.sqlite", arguments.entries)
        with service:
            for _ in range(arguments.times):
                before, cpu = service.rss, service.cpu
                watch = Watch(service)
                read = run_reader(arguments, service.port, certificates.directory)
                most = watch.stop()
                cpu = service.cpu - cpu
                results.append(
                    {
                        "entries": read["entries"],
                        "file_mib": size >> 20,
                        "open_ms": round(opened * 1000, 1),
                        "cipher": arguments.cipher,
                        "entries_per_second": round(read["entries"] / read["seconds"]),
                        "server_cpu_us": round(cpu / read["entries"] * 1e6, 2),
                        "client_cpu_us": round(read["cpu"] / read["entries"] * 1e6, 2),
                        "rss_before_mib": round(before / 2**20, 1),
                        "rss_most_mib": round(most / 2**20, 1),
                    }
                )
    finally:
        certificates.close()
    return results


class Watch:
    """Looks at the memory of a service, from a thread."""

    def __init__(self, service: Encchat) -> None:
        self._service = service
        self._most = 0
        self._ended = Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            with suppress(FileNotFoundError):
                self._most = max(self._most, self._service.rss)

    def stop(self) -> int:
        """The most that it held, in bytes."""
        self._ended.set()
        self._thread.join()
        return max(self._most, self._service.rss)


def run_reader(arguments: argparse.Namespace, port: int, certs: Path) -> dict[str, Any]:
    """What the client in its process tells."""
    with tempfile.TemporaryDirectory() as state:
        command = [sys.executable, *arguments.profile, "-m", "bench._reader", str(port)]
        command += ["--cipher", arguments.cipher, "--certs", str(certs), "--state", state]
        reader = start(command, cores()[1])
        try:
            assert reader.stdout is not None
            line = reader.stdout.readline()
            if not line:
                raise SystemExit("the client ended without a result")
            found: dict[str, Any] = json.loads(line)
            reader.wait(10)
            return found
        finally:
            stop(reader)


async def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=arguments.dir) as place:
        path = Path(place) / "log.db"
        size, opened = await prepare(path, arguments.entries)
        log = open_sqlite_log(path, reactor)
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
    parser.add_argument("--log", action="store_true", help="the log alone, without a network")
    parser.add_argument("--cipher", choices=["tls", "rsa"], default="tls")
    parser.add_argument("--times", type=int, default=3, help="how often the service is read from")
    parser.add_argument("--profile", type=str.split, default=[], help="run the client so: ' -m cProfile'")
    parser.add_argument("--page", type=int, default=MAX_PAGE, help="entries in a page")
    parser.add_argument("--size", type=int, default=192 * 1024, help="bytes in a page")
    parser.add_argument("--dir", help="where the file lies meanwhile", default=".")
    parser.add_argument("--json", action="store_true", help="one object a line")
    arguments = parser.parse_args()

    async def run(_: object) -> None:
        results = [await measure(arguments)] if arguments.log else await measure_service(arguments)
        for number, result in enumerate(results):
            if arguments.json:
                print(json.dumps(result), flush=True)
                continue
            if not number:
                print("  ".join(f"{key:>18}" for key in result))
            print("  ".join(f"{value!s:>18}" for value in result.values()), flush=True)

    react(lambda r: Deferred.fromCoroutine(run(r)))


if __name__ == "__main__":
    main()
