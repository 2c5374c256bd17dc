"""Fan-out: what it costs the server to give a message to a member of a room, and how long that takes.

One room, its members over TLS with a certificate each, ten of whom send messages of 100 bytes. ``saturated``
keeps a thousand messages on their way; with a rate they are sent evenly, each in a write of its own. CPU is
that of the server's process, all of it: receiving, storing, and giving to every member. Messages are stored
durably (SQLite, synchronous=FULL), where the peers store nothing. Run as ``python -m bench.fanout``; see
``--help``.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from bench._load import Spec
from bench._proc import cores, raise_descriptors, start, stop
from bench._servers import PEERS, CannotRun, Certificates, Encchat, Ngircd, Server

#: Deliveries a second, one after the other as fast as it goes being 0.
SATURATED = 0
#: Seconds that one case may take in all.
PATIENCE = 120


@dataclass(frozen=True)
class Case:
    """One measurement."""

    members: int = 200
    #: Deliveries a second; 0: saturated.
    rate: float = SATURATED
    cipher: str = "tls"
    log: str = "sqlite"
    #: Messages that a member sends in one write, when a rate is given.
    burst: int = 1
    #: A sealed room: what is said there is opaque to the server.
    sealed: bool = False

    @property
    def title(self) -> str:
        """The case in words."""
        words = [f"{self.members} members", "saturated" if not self.rate else f"{self.rate:,.0f}/s"]
        if self.burst > 1:
            words.append(f"{self.burst} at once")
        if self.cipher != "tls":
            words.append(self.cipher)
        if self.sealed:
            words.append("sealed")
        if self.log != "sqlite":
            words.append(f"{self.log} log")
        return ", ".join(words)


#: What the issue names: one room of 200, and how it goes with its size.
MAIN = (Case(), Case(rate=80_000), Case(rate=8_000), Case(rate=80_000, burst=10))
SIZES = (Case(members=2), Case(members=20), Case(members=1000))
OWN = (
    Case(sealed=True),
    Case(log="memory"),
    Case(members=2, rate=40, cipher="rsa"),
    Case(members=10, rate=100, cipher="rsa"),
)

Make = Callable[[], Server]


def makers(certificates: Certificates, case: Case, *, peers: bool) -> dict[str, Make]:
    """What starts each server that the case can be measured with."""
    certs = certificates.members(case.members)
    found: dict[str, Make] = {"encchat": lambda: Encchat(certs, case.cipher, log=case.log)}
    if peers and case not in OWN:
        for peer in PEERS:
            found[peer.name] = lambda peer=peer: peer(certs)  # type: ignore[misc]  # a default binds it
    return found


def measure(case: Case, make: Make, certificates: Certificates, seconds: float) -> dict[str, Any]:
    """One run of one case; ``failed`` says why there is nothing else."""
    try:
        with make() as server:
            messages = case.rate / case.members
            spec = Spec(
                port=server.port,
                pid=server.pid,
                speaks="sealed" if case.sealed else server.speaks,
                cipher=server.cipher,
                members=case.members,
                certs=str(certificates.directory),
                rate=messages,
                seconds=seconds,
                share=10 if isinstance(server, Ngircd) else 50,  # it stumbles over more in one record
                burst=case.burst,
            )
            module = "bench._load_rsa" if server.cipher == "rsa" else "bench._load"
            result = _run(module, spec)
            result["server"] = server.name
    except CannotRun as error:
        return {"failed": str(error)}
    return result | {"limit": _limit(result)} if "failed" not in result else result


def _run(module: str, spec: Spec) -> dict[str, Any]:
    load = start([sys.executable, "-m", module, "-"], cores()[1], stdin=subprocess.PIPE)
    try:
        output, _ = load.communicate(msgspec.json.encode(spec).decode(), timeout=PATIENCE)
        found: dict[str, Any] = json.loads(output)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done after {PATIENCE} s"}
    except ValueError:
        return {"failed": f"the load ended with code {load.returncode}"}
    finally:
        stop(load)
    return found


def _limit(result: dict[str, Any]) -> str:
    """What kept it from going faster: a core that was busy all the time, or nothing."""
    server, load = (result[f"{who}_cpu_s"] / result["wall_s"] for who in ("server", "load"))
    if load > 0.9 and server < 0.9:
        return "load"
    return "server" if server > 0.9 else ""


def line(title: str, name: str, result: dict[str, Any], base: dict[str, Any] | None = None) -> str:
    """A line of the table."""
    if "failed" in result:
        return f"{title:34} {name:9} {result['failed'][:90]}"
    ratio = f"{result['us_per_delivery'] / base['us_per_delivery']:6.2f}" if base else "      "
    wall = result["wall_s"]
    return (
        f"{title:34} {name:9} {result['us_per_delivery']:8.2f} {ratio} {result['per_second']:10,.0f} "
        f"{result['server_cpu_s']:6.2f} {result['load_cpu_s']:6.2f} {wall:6.2f} "
        f"{result['p50_ms']:7.1f} {result['p99_ms']:7.1f} {result['p999_ms']:7.1f} {result['rss_mib']:6.0f} "
        f"{result['limit']}"
    )


HEADER = (
    f"{'fan-out':34} {'server':9} {'us each':>8} {'ratio':>6} {'a second':>10} {'CPU s':>6} {'load s':>6} "
    f"{'wall s':>6} {'p50 ms':>7} {'p99':>7} {'p99.9':>7} {'MiB':>6} limited by"
)


def main() -> None:
    """Measure one case and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--members", type=int, default=200)
    parser.add_argument(
        "--rate", type=float, default=SATURATED, help="deliveries a second [default: saturated]"
    )
    parser.add_argument("--burst", type=int, default=1, help="messages in one write of a member")
    parser.add_argument("--cipher", choices=["tls", "rsa"], default="tls")
    parser.add_argument("--log", choices=["sqlite", "memory"], default="sqlite")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--times", type=int, default=1)
    parser.add_argument("--peers", action="store_true", help="beside InspIRCd and ngIRCd")
    options = parser.parse_args()
    raise_descriptors()
    case = Case(options.members, options.rate, options.cipher, options.log, options.burst)
    certificates = Certificates()
    try:
        print(HEADER)
        for _ in range(options.times):
            for name, make in makers(certificates, case, peers=options.peers).items():
                print(line(case.title, name, measure(case, make, certificates, options.seconds)), flush=True)
    finally:
        certificates.close()


if __name__ == "__main__":
    main()
