"""A thousand times new certificates under traffic: is anybody dropped, does anything grow?

Some connections stay open all the while and speak before and after each reload. Each time the server gets
another certificate (of two) and a new revocation list, is told by SIGHUP, and a new connection has to see
the new certificate. Run as ``python -m bench.reload``; see ``--help``.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from bench._tls import Service
from encchat.pki import build
from encchat.pki.hosts import parse_host

#: KiB that the service may have grown by since the first tenth of the reloads.
SLACK = 4096
#: Seconds that a reload may take.
PATIENCE = 10.0


def main() -> int:
    """Measure and print; exit code 1 if anybody was dropped or anything grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--reloads", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.reloads, options.connections)
    if options.json:
        print(json.dumps(result))
    else:
        print("reloads    dropped    messages    descriptors    memory grown    CPU each")
        print(
            f"{result['reloads']:>7} {result['dropped']:>10} {result['messages']:>11} "
            f"{result['descriptors']:>+14} {result['kib_grown']:>11.0f} KiB {result['cpu_ms']:>8.2f} ms"
        )
    return int(bool(result["dropped"] or result["descriptors"] or result["kib_grown"] > SLACK))


def measure(reloads: int, connections: int) -> dict[str, Any]:
    """So many reloads with so many connections."""
    with Service() as service:
        context = service.context()
        held = [service.connect(context) for _ in range(connections)]
        pairs = [_pair(service.signer) for _ in range(2)]
        dropped = messages = 0
        descriptors, rss, cpu = service.descriptors, service.rss, 0.0
        for number in range(reloads):
            if number == reloads // 10:
                descriptors, rss = service.descriptors, service.rss
            key, certificate, serial = pairs[number % 2]
            _replace(service.certs / "server.key", key)
            _replace(service.certs / "server.pem", certificate)
            revoked = build.revocation_list((), number + 2, service.signer, datetime.now(UTC))
            _replace(service.certs / "crl.pem", revoked.public_bytes(Encoding.PEM))
            before = service.cpu
            os.kill(service.pid, signal.SIGHUP)
            dropped += _spoken(held, number)
            messages += len(held)
            _seen(service, context, serial)
            cpu += service.cpu - before
        return {
            "reloads": reloads,
            "dropped": dropped,
            "messages": messages,
            "descriptors": service.descriptors - descriptors,
            "kib_grown": (service.rss - rss) / 1024,
            "cpu_ms": cpu / reloads * 1000,
        }


def _pair(signer: build.Signer) -> tuple[bytes, bytes, int]:
    key, serial = build.new_key(), int.from_bytes(os.urandom(15))
    hosts = [parse_host("127.0.0.1")]
    certificate = build.server_certificate(key.public_key(), hosts, signer, serial, datetime.now(UTC))
    return build.key_pem(key), certificate.public_bytes(Encoding.PEM), serial


def _replace(path: Path, data: bytes) -> None:
    new = path.with_suffix(".new")
    new.touch(mode=0o600)
    new.write_bytes(data)
    new.replace(path)


def _spoken(held: list[SSL.Connection], number: int) -> int:
    """How many of the connections do not answer."""
    dropped = 0
    for connection in held:
        said = b"after reload %d\n" % number
        try:
            connection.send(said)
            dropped += connection.recv(100) != said
        except SSL.Error:
            dropped += 1
    return dropped


def _seen(service: Service, context: SSL.Context, serial: int) -> None:
    """Wait until a new connection sees the certificate."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        connection = service.connect(context)
        shown = connection.get_peer_certificate(as_cryptography=True)
        connection.close()
        if shown is not None and shown.serial_number == serial:
            return
    raise AssertionError("the service does not take the new certificate")


if __name__ == "__main__":
    sys.exit(main())
