"""What an idle TLS connection costs the server, in KiB of its memory; and whether it costs any CPU.

Connections are opened, say one line, hear its echo, and then are silent. Memory is the growth of the
server's resident set, all of it: OpenSSL's state, Twisted's and ours. Run as ``python -m bench.idle``;
see ``--help``.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from typing import Any

from bench._tls import Service

LIMIT = 60.0
#: Connections that come and go before the measuring, so that what is made once is not counted.
WARM_UP = 50
#: Seconds of silence.
SILENCE = 5.0


def main() -> int:
    """Measure and print; exit code 1 if it is over the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--connections", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.connections)
    if options.json:
        print(json.dumps(result))
    else:
        print("connections    memory each      limit    empty server    CPU in 5 s of silence")
        print(
            f"{result['connections']:>11} {result['kib_each']:>10.1f} KiB {LIMIT:>6.0f} KiB "
            f"{result['kib_empty'] / 1024:>11.1f} MiB {result['idle_cpu_ms']:>18.0f} ms"
        )
    return int(result["kib_each"] > LIMIT)


def measure(connections: int) -> dict[str, Any]:
    """KiB for each of so many connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with Service() as service:
        context = service.context()

        def connect() -> Any:
            connection = service.connect(context)
            connection.send(b"hello\n")
            connection.recv(100)
            return connection

        for _ in range(WARM_UP):
            connect().close()
        time.sleep(0.5)
        empty = service.rss
        held = [connect() for _ in range(connections)]
        grown = service.rss - empty
        cpu = service.cpu
        time.sleep(SILENCE)
        cpu = service.cpu - cpu
        del held
    return {
        "connections": connections,
        "kib_each": grown / 1024 / connections,
        "limit_kib": LIMIT,
        "kib_empty": empty / 1024,
        "idle_cpu_ms": cpu * 1000,
    }


if __name__ == "__main__":
    sys.exit(main())
