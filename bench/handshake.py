"""What a mutual TLS handshake costs the server, in milliseconds of its CPU.

Each connection is accepted, completes a handshake in which both sides show P-256 certificates and the
server looks into a revocation list, and is closed properly; several are under way at once, as when all
come back after a restart. The connections are measured in rounds: ``CPU`` is the middle round, ``best``
the quickest tenth, which is what a machine that does nothing else would show. ``openssl`` is part of the
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
        load.run(ROUND, at_once)
        rounds = []
        begun = time.monotonic()
        for _ in range(connections // ROUND):
            cpu = service.cpu
            load.run(ROUND, at_once)
            rounds.append((service.cpu - cpu) / ROUND * 1000)
        seconds = time.monotonic() - begun
    rounds.sort()
    return {
        "handshakes": len(rounds) * ROUND,
        "per_second": len(rounds) * ROUND / seconds,
        "cpu_ms": rounds[len(rounds) // 2],
        "best_ms": rounds[len(rounds) // 10],
        "limit_ms": LIMIT,
        "openssl_ms": _openssl(),
        "agreed": load.agreed,
    }


class Load:
    """Clients that complete a handshake, close properly, and wait until the server has closed too."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.context = service.context()
        self.context.set_verify(SSL.VERIFY_NONE)  # it is the server that is measured
        self.agreed = ""
        self._selector = selectors.DefaultSelector()

    def run(self, connections: int, at_once: int) -> None:
        """So many connections, ``at_once`` of them open at any time."""
        started = ended = 0
        while ended < connections:
            while started < connections and started - ended < at_once:
                started += 1
                self._begin()
            for key, _ in self._selector.select():
                ended += self._go_on(key.data)

    def _begin(self) -> None:
        raw = socket.create_connection(("127.0.0.1", self.service.port))
        raw.setblocking(False)
        connection = SSL.Connection(self.context, raw)
        connection.set_connect_state()
        self._selector.register(raw, selectors.EVENT_READ, connection)
        self._go_on(connection)

    def _go_on(self, connection: SSL.Connection) -> bool:
        """One step; True when it was the last."""
        try:
            if connection.get_cipher_name() is None or not connection.get_finished():
                connection.do_handshake()
                self.agreed = f"{connection.get_protocol_version_name()} {connection.get_group_name()}"
                connection.shutdown()
            while True:
                connection.recv(1024)
        except SSL.WantReadError:
            return False
        except SSL.ZeroReturnError:
            self._selector.unregister(connection)
            connection.close()
            return True


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
