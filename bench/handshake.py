"""What a mutual TLS handshake costs the server, in milliseconds of its CPU.

Each connection is accepted, completes a handshake in which both sides show P-256 certificates and the
server looks into a revocation list, and is closed properly. ``openssl`` is the cryptography alone, done by
OpenSSL's own speed test on the same machine in the same minute: one signature, three verifications, one
exchange with X25519. Run as ``python -m bench.handshake``; see ``--help``.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

from OpenSSL import SSL

from bench._tls import Service

LIMIT = 1.2


def main() -> int:
    """Measure and print; exit code 1 if it is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.connections, options.at_once)
    if options.json:
        print(json.dumps(result))
    else:
        print(f"{'handshakes':>12} {'per second':>12} {'CPU each':>12} {'limit':>10} {'openssl':>12}  agreed on")
        print(
            f"{result['handshakes']:>12} {result['per_second']:>12.0f} {result['cpu_ms']:>9.3f} ms "
            f"{LIMIT:>7.1f} ms {result['openssl_ms']:>9.3f} ms  {result['agreed']}"
        )
    return int(result["cpu_ms"] > LIMIT)


def measure(connections: int, at_once: int) -> dict[str, float | str]:
    """Seconds and CPU for so many connections."""
    with Service() as service, ThreadPoolExecutor(at_once) as pool:
        context = service.context()
        agreed = [_once(service, context) for _ in range(50)][-1]
        cpu, begun = service.cpu, time.monotonic()
        list(pool.map(lambda _: _once(service, context), range(connections)))
        cpu, seconds = service.cpu - cpu, time.monotonic() - begun
    return {
        "handshakes": connections,
        "per_second": connections / seconds,
        "cpu_ms": cpu / connections * 1000,
        "limit_ms": LIMIT,
        "openssl_ms": _openssl(),
        "agreed": agreed,
    }


def _once(service: Service, context: SSL.Context) -> str:
    connection = service.connect(context)
    agreed = f"{connection.get_protocol_version_name()} {connection.get_group_name()}"
    connection.shutdown()
    try:
        while connection.recv(1):
            pass
    except SSL.ZeroReturnError:  # the server closed properly too
        pass
    connection.close()
    return agreed


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
    sys.exit(main())
