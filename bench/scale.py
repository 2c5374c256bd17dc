"""How much memory a session takes: many people in many rooms of one service, over the SQLite log.

A service runs in a process of its own with the tls cipher; processes beside it open a connection for each
session over the loopback. Each session comes in under a name, joins its room, and says one thing, which
everybody in the room gets. Memory is the growth of the service's resident set, all of it: OpenSSL's state,
Twisted's, and ours. With ``--memory`` all is in this process instead: the hub, its log and the bridges are
those of the service, the transports count what they are given, and there are no sockets and no cipher.
Run as ``python -m bench.scale [SESSIONS] [ROOMS]``; see ``--help``. It ends with exit code 1 if a session
takes more than 60 KiB, or if anybody missed anything.
"""

# ruff: noqa: N802 -- a transport has the names that Twisted gave it

from __future__ import annotations

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from bench._proc import cores, raise_descriptors, start, stop
from bench._servers import Encchat, Server
from encchat import messages as m
from encchat.ciphers.registry import client_cipher
from encchat.core.chat.hub import Hub, Settings
from encchat.core.identity import PeerIdentity, fingerprint
from encchat.logs.sqlite import open_sqlite_log
from encchat.server.peers import NativeBridge
from encchat.server.turn import ReactorTurn
from encchat.wire import FrameSplitter, decode_server, encode

MOST = 60 * 1024
CIPHER = "tls:trust=pin"
#: Sessions that come in before the reactor gets a turn.
AT_ONCE = 200


class Transport:
    """Takes what is written, and counts the messages by kind."""

    __slots__ = ("counts", "peerIdentity")
    negotiatedProtocol: bytes | None = b"encchat/1"  # noqa: N815 -- Twisted's name

    def __init__(self, number: int, counts: dict[str, int]) -> None:
        self.peerIdentity: PeerIdentity | None = PeerIdentity(
            fingerprint(b"key %d" % number), None, "none", "no cipher", True
        )
        self.counts = counts

    def write(self, data: bytes) -> None:
        for frame in FrameSplitter().feed(data):
            name = type(decode_server(frame)).__name__
            self.counts[name] = self.counts.get(name, 0) + 1

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "127.0.0.1", 1)

    def loseConnection(self) -> None:
        raise SystemExit("a session was closed")

    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...


def resident() -> int:
    """The memory that the process holds now, in bytes."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("this system does not tell how much memory is used (/proc/self/status)")


async def measure(sessions: int, rooms: int, place: Path) -> dict[str, Any]:
    log = open_sqlite_log(place / "log.sqlite", reactor)
    hub = Hub(log, log, ReactorTurn(reactor), Settings(max_sessions=sessions))
    counts: dict[str, int] = {}

    async def reach(kind: str, goal: int) -> None:
        while counts.get(kind, 0) < goal:
            await deferLater(reactor, 0.01)

    before, began = resident(), time.perf_counter()
    bridges = []
    for number in range(sessions):
        bridge = NativeBridge(hub, Transport(number, counts), lambda: None)
        bridge.begin()
        bridge.received(encode(m.Hello((1,), f"user{number}")))
        bridges.append(bridge)
        if len(bridges) % AT_ONCE == 0:
            await reach("Welcome", len(bridges))
    await reach("Welcome", sessions)
    admitted = time.perf_counter()
    for number, bridge in enumerate(bridges):
        bridge.received(encode(m.Join(1, f"+room{number % rooms}")))
        if number % AT_ONCE == 0:
            await reach("Joined", number)
    await reach("Joined", sessions)
    joined, in_rooms = time.perf_counter(), resident()
    for number, bridge in enumerate(bridges):
        send = m.Send(2, f"+room{number % rooms}", number.to_bytes(16, "big"), "text", b"Hello, all of you.")
        bridge.received(encode(send))
    # Everybody gets what everybody in the room says, oneself included.
    heard = sum(len(range(room, sessions, rooms)) ** 2 for room in range(rooms))
    await reach("Sent", sessions)
    await reach("Entry", heard)
    spoken, after = time.perf_counter(), resident()
    await log.close()
    return {
        "sessions": sessions,
        "rooms": rooms,
        "kib_per_session_joined": round((in_rooms - before) / sessions / 1024, 1),
        "kib_per_session_spoken": round((after - before) / sessions / 1024, 1),
        "entries_delivered": counts["Entry"],
        "errors": counts.get("Error", 0),
        "admit_s": round(admitted - began, 1),
        "join_s": round(joined - admitted, 1),
        "speak_s": round(spoken - joined, 1),
    }


def measure_service(sessions: int, rooms: int, crowds: int) -> dict[str, Any]:
    """Over sockets."""
    raise_descriptors()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if sessions + 200 > most:
        raise SystemExit(f"{sessions} sessions need as many files, and {most} are allowed (ulimit -n)")
    with tempfile.TemporaryDirectory() as keys:
        client_cipher(CIPHER, Path(keys), "u0").prepare()
        options = ("--max-per-address", "0", "--max-connections", str(sessions))
        with Encchat(Path(keys), CIPHER, options=options) as service:
            # One comes and goes first, so that what is made once is not counted.
            _run_crowds(service, [(sessions, 1)], 1, 1, keys)
            before, began = service.rss, time.perf_counter()
            size = -(-sessions // crowds)
            parts = [(first, min(size, sessions - first)) for first in range(0, sessions, size)]
            joined, spoken, heard, seconds = _run_crowds(service, parts, sessions, rooms, keys)
    expected = sum(len(range(room, sessions, rooms)) ** 2 for room in range(rooms))
    return {
        "sessions": sessions,
        "rooms": rooms,
        "cipher": CIPHER,
        "kib_empty": round(before / 1024),
        "kib_per_session_joined": round((joined - before) / sessions / 1024, 1),
        "kib_per_session_spoken": round((spoken - before) / sessions / 1024, 1),
        "entries_delivered": heard,
        "errors": int(heard != expected),
        "join_s": round(seconds[0] - began, 1),
        "speak_s": round(seconds[1] - seconds[0], 1),
    }


def _run_crowds(
    service: Server, parts: list[tuple[int, int]], sessions: int, rooms: int, keys: str
) -> tuple[int, int, int, tuple[float, float]]:
    """The memory of the service when all are in, and when all have spoken; the entries that were heard; and
    when that was."""
    crowds = [
        start(
            [
                sys.executable,
                "-m",
                "bench._crowd",
                *map(str, (service.port, first, count, sessions, rooms)),
                keys,
            ],
            cores()[1],
            stdin=subprocess.PIPE,
        )
        for first, count in parts
    ]
    try:
        for crowd in crowds:
            _line(crowd)
        in_rooms, joined = service.rss, time.perf_counter()
        for crowd in crowds:
            assert crowd.stdin is not None
            crowd.stdin.write("speak\n")
            crowd.stdin.flush()
        heard = sum(json.loads(_line(crowd))["heard"] for crowd in crowds)
        return in_rooms, service.rss, heard, (joined, time.perf_counter())
    finally:
        for crowd in crowds:
            stop(crowd)


def _line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("sessions ended before they were done")
    return line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("sessions", type=int, nargs="?", default=10_000)
    parser.add_argument("rooms", type=int, nargs="?", default=1_000)
    parser.add_argument("--memory", action="store_true", help="all in this process, without sockets")
    parser.add_argument("--crowds", type=int, default=4, help="processes that hold the sessions")
    parser.add_argument("--dir", help="where the log lies meanwhile", default=".")
    arguments = parser.parse_args()

    if not arguments.memory:
        judge(measure_service(arguments.sessions, arguments.rooms, arguments.crowds))
        return

    async def run() -> None:
        with tempfile.TemporaryDirectory(dir=arguments.dir) as place:
            judge(await measure(arguments.sessions, arguments.rooms, Path(place)))

    react(lambda _: Deferred.fromCoroutine(run()))


def judge(result: dict[str, Any]) -> None:
    """Print it; exit code 1 if it is not good enough."""
    print(json.dumps(result))
    if result["errors"] or result["kib_per_session_spoken"] * 1024 > MOST:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
