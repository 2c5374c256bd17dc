"""One of two peers that talk directly over the rsa cipher, as two classroom scripts do: no service between.

``python -m bench._rsa_peer listen PLACE`` says its port, takes one connection, and then prints what came.
``python -m bench._rsa_peer send PORT PLACE`` sends it the lines of its stdin, each in a write of its own.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.ciphers.registry import client_cipher, server_cipher

reactor = cast(Any, _reactor)


@implementer(IHandshakeListener)
class Listener(Protocol):
    """Counts lines, and looks whether their numbers are in order."""

    def __init__(self) -> None:
        self.rest = b""
        self.lines = 0
        self.first = self.last = 0.0
        self.in_order = True

    def handshakeCompleted(self) -> None:  # noqa: N802 -- Twisted's
        """The other side has proved its key."""

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 -- Twisted's
        """Lines."""
        self.last = time.perf_counter()
        self.first = self.first or self.last
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.in_order = self.in_order and int(line[:6]) == self.lines
            self.lines += 1

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 -- Twisted's
        """All has come."""
        print(json.dumps({"lines": self.lines, "in_order": self.in_order, "seconds": self.last - self.first}))
        sys.stdout.flush()
        reactor.stop()


@implementer(IHandshakeListener, IPushProducer)
class Sender(Protocol):
    """Says its lines as long as it is not paused, some in each turn."""

    def __init__(self, lines: list[bytes]) -> None:
        self.lines = iter(lines)
        self.paused = False

    def handshakeCompleted(self) -> None:  # noqa: N802 -- Twisted's
        """Begin."""
        cast(Any, self.transport).registerProducer(self, True)
        self.resumeProducing()

    def pauseProducing(self) -> None:  # noqa: N802 -- Twisted's
        """Enough for now."""
        self.paused = True

    def resumeProducing(self) -> None:  # noqa: N802 -- Twisted's
        """Go on."""
        self.paused = False
        self._say()

    def stopProducing(self) -> None:  # noqa: N802 -- Twisted's
        """The connection is gone."""

    def _say(self) -> None:
        transport = cast(Any, self.transport)
        for _, line in zip(range(20), self.lines, strict=False):
            transport.write(line)
            if self.paused:
                return
        if self.lines.__length_hint__():  # type: ignore[attr-defined]  # a list's iterator has it
            reactor.callLater(0, self._say)
        else:
            transport.unregisterProducer()
            transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:  # noqa: N802 -- Twisted's
        """Done."""
        reactor.stop()


def main() -> None:
    """Be one of the two."""
    what, *arguments = sys.argv[1:]
    if what == "listen":
        place = Path(arguments[0])
        server = server_cipher("rsa", place, "bench")
        server.prepare()
        server.start(reactor)
        port = reactor.listenTCP(
            0, server.wrap(cast(Any, Factory.forProtocol(Listener))), interface="127.0.0.1"
        )
        print(json.dumps({"port": port.getHost().port}))
        sys.stdout.flush()
    else:
        lines = [line for line in sys.stdin.buffer.read().splitlines(keepends=True) if line.strip()]
        client = client_cipher("rsa", Path(arguments[1]), "bench")
        client.prepare()
        client.start(reactor)
        factory = Factory.forProtocol(lambda: Sender(lines))  # type: ignore[arg-type]  # it is called, and no more
        wrapped = client.wrap(cast(Any, factory), "127.0.0.1", lambda claim: None)
        TCP4ClientEndpoint(reactor, "127.0.0.1", int(arguments[0])).connect(wrapped)
    reactor.run()


if __name__ == "__main__":
    main()
