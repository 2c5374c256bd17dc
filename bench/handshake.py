"""What a mutual TLS handshake costs the server, in milliseconds of its CPU.

Connections are accepted and complete a handshake in which both sides show P-256 certificates and the
server looks into a revocation list; several are under way at once, as when all come back after a restart.
They are measured in rounds, and closed between the rounds: ``CPU`` is the middle round, ``best`` the
quickest tenth, which is what a machine that does nothing else would show. ``openssl`` is part of the
cryptography alone, by OpenSSL's own speed test in the same minute: one signature, three verifications, one
exchange with X25519. Run as ``python -m bench.handshake``; see ``--help``.
"""

from __future__ import annotations

import argparse
import json
import re
import selectors
import socket
import subprocess
import time
from typing import Any

from OpenSSL import SSL

from bench._tls import Service

LIMIT = 1.2
#: Connections of one round.
ROUND = 50


def main() -> None:
    """Measure and print. Being over the limit is no failure: so much else runs on a machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=16)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.connections, options.at_once)
    if options.json:
        print(json.dumps(result))
    else:
        print("handshakes  a second       CPU      best     limit   openssl  agreed on")
        print(
            f"{result['handshakes']:>10} {result['per_second']:>9.0f} {result['cpu_ms']:>6.3f} ms "
            f"{result['best_ms']:>6.3f} ms {LIMIT:>6.1f} ms {result['openssl_ms']:>6.3f} ms"
            f"  {result['agreed']}"
        )


def measure(connections: int, at_once: int) -> dict[str, Any]:
    """Milliseconds of the server's CPU for a handshake, over so many connections."""
    with Service() as service:
        load = Load(service)
        load.round(at_once)
        rounds = [load.round(at_once) for _ in range(connections // ROUND)]
    times = sorted(cpu / ROUND * 1000 for cpu, _ in rounds)
    return {
        "handshakes": len(rounds) * ROUND,
        "per_second": len(rounds) * ROUND / sum(seconds for _, seconds in rounds),
        "cpu_ms": times[len(times) // 2],
        "best_ms": times[len(times) // 10],
        "limit_ms": LIMIT,
        "openssl_ms": _openssl(),
        "agreed": load.agreed,
    }


class Load:
    """Clients that complete a handshake."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.context = service.context()
        self.context.set_verify(SSL.VERIFY_NONE)  # it is the server that is measured
        self.agreed = ""
        self._selector = selectors.DefaultSelector()

    def round(self, at_once: int) -> tuple[float, float]:
        """The server's CPU and the time, in seconds, for a round with ``at_once`` of them under way."""
        cpu, begun = self._rested(), time.monotonic()
        held: list[SSL.Connection] = []
        started = 0
        while len(held) < ROUND:
            while started < ROUND and started - len(held) < at_once:
                started += 1
                self._begin(held)
            for key, _ in self._selector.select():
                self._go_on(key.data, held)
        seconds = time.monotonic() - begun
        cpu = self._rested() - cpu
        for connection in held:
            connection.shutdown()
            connection.close()
        return cpu, seconds

    def _rested(self) -> float:
        """The CPU that the server has used when it has done all that there was to do."""
        before, cpu = -1.0, self.service.cpu
        while cpu != before:
            time.sleep(0.05)
            before, cpu = cpu, self.service.cpu
        return cpu

    def _begin(self, held: list[SSL.Connection]) -> None:
        raw = socket.create_connection(("127.0.0.1", self.service.port))
        raw.setblocking(False)
        connection = SSL.Connection(self.context, raw)
        connection.set_connect_state()
        self._selector.register(raw, selectors.EVENT_READ, connection)
        self._go_on(connection, held)

    def _go_on(self, connection: SSL.Connection, held: list[SSL.Connection]) -> None:
        try:
            connection.do_handshake()
        except SSL.WantReadError:
            return
        self._selector.unregister(connection)
        self.agreed = f"{connection.get_protocol_version_name()} {connection.get_group_name()}"
        held.append(connection)


def _openssl() -> float:
    """Milliseconds of the cryptography in one handshake, by the system's openssl; NaN if there is none."""
    try:
        output = subprocess.run(
            ["openssl", "speed", "-seconds", "1", "ecdsap256", "ecdhx25519"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        sign, verify = re.search(r"nistp256\)\s+\S+\s+\S+\s+(\S+)\s+(\S+)", output).groups()  # type: ignore[union-attr]  # AttributeError below
        exchange = re.search(r"X25519\)\s+\S+\s+(\S+)", output)[1]  # type: ignore[index]  # as above
    except (OSError, subprocess.CalledProcessError, AttributeError, TypeError):
        return float("nan")
    return 1000 * (1 / float(sign) + 3 / float(verify) + 2 / float(exchange))


if __name__ == "__main__":
    main()
