"""What a layer uses of what is below it and above it, beyond Twisted's own interfaces."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IAddress

from encchat.text import clean_line


class Below(Protocol):
    """What a layer uses of the transport below: TCP's, or another protocol wrapper's."""

    def write(self, data: bytes) -> None: ...
    def loseConnection(self) -> None: ...
    def abortConnection(self) -> None: ...
    def pauseProducing(self) -> None: ...
    def resumeProducing(self) -> None: ...
    def registerProducer(self, producer: object, streaming: bool) -> None: ...
    def unregisterProducer(self) -> None: ...
    def getPeer(self) -> IAddress: ...
    def getHost(self) -> IAddress: ...


class Producer(Protocol):
    """What a layer itself calls of a registered producer."""

    def stopProducing(self) -> None: ...


def where(address: IAddress) -> str:
    """An address, for a line of the log."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return f"{host}:{port}" if host is not None else clean_line(str(address), 200)
