"""A client that comes in, reads a room from its first entry to its head, and says how long that took.

It is the client's own session over its own connection and cipher: every frame is decrypted, decoded, found
to be the next one and hashed, and the chain must arrive at the head that the server named. One JSON line
tells the result.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import react

from encchat import messages as m
from encchat.ciphers.registry import client_cipher
from encchat.client import events as e
from encchat.client.network.connection import Connection, ConnectionFactory
from encchat.client.protocol.session import Session


class Reader:
    """Owns the connection of a session."""

    def __init__(self, name: str, room: str) -> None:
        self.session = Session(m.Hello((1,), name), lambda log, room: m.Position())
        self.session.join(room)
        self.room = room
        self.entries = 0
        self.began = self.took = 0.0
        self.done: Deferred[None] = Deferred()
        self.connection: Connection | None = None

    def build(self) -> Connection:
        """The connection."""
        self.connection = Connection(cast(Any, reactor), self.session, self)
        return self.connection

    def proved(self) -> None:
        """Now it begins."""
        self.began = time.perf_counter()

    def happened(self, events: Sequence[e.Event]) -> None:
        """Count."""
        for event in events:
            if type(event) is e.NewEntry:
                self.entries += 1
            elif isinstance(event, e.CaughtUp):
                self.took = time.perf_counter() - self.began
                assert self.connection is not None
                self.connection.close()

    def ended(self, connection: Connection, reason: BaseException) -> None:
        """All is read, or something is wrong."""
        if self.took:
            self.done.callback(None)
        else:
            self.done.errback(reason)


async def read(arguments: argparse.Namespace) -> dict[str, Any]:
    """Connect, and wait until all is read."""
    reader = Reader(arguments.name, arguments.room)
    description = f"tls:certs={arguments.certs}" if arguments.cipher == "tls" else arguments.cipher
    cipher = client_cipher(description, Path(arguments.state), arguments.name)
    cipher.prepare()
    cipher.start(reactor)
    factory = cast(IProtocolFactory, ConnectionFactory(reader.build))
    wrapped = cipher.wrap(factory, "127.0.0.1", lambda claim: None)
    endpoint = clientFromString(reactor, f"tcp:127.0.0.1:{arguments.port}")
    cpu = time.process_time()
    await endpoint.connect(wrapped)
    await reader.done
    cipher.stop()
    cpu = time.process_time() - cpu
    return {"entries": reader.entries, "seconds": reader.took, "cpu": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("port", type=int)
    parser.add_argument("--cipher", default="tls")
    parser.add_argument("--certs", default="")
    parser.add_argument("--state", required=True)
    parser.add_argument("--name", default="u0")
    parser.add_argument("--room", default="+lobby")
    arguments = parser.parse_args()

    async def run() -> None:
        print(json.dumps(await read(arguments)), flush=True)

    react(lambda _: Deferred.fromCoroutine(run()))


if __name__ == "__main__":
    main()
