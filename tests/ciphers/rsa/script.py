"""Means for the tests of the rsa layers: keys that are made once, the classroom script in memory, a log."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import rsa
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.testing import ContractReactor, Link
from encchat.ciphers.testing.link import End
from tests.process.keys import CLASSIC

PRIVATE = rsa.PrivateKey.load_pkcs1(CLASSIC.read_bytes())
PUBLIC = rsa.PublicKey(PRIVATE.n, PRIVATE.e)
PEM: bytes = PUBLIC.save_pkcs1("PEM")


class Script(Protocol):
    """What the script does with what one ``recv`` gives it; every delivery in memory is one ``recv``.

    :param first: whether it is the script's server side, which sends its key at once.
    """

    def __init__(self, *, first: bool = False, pem: bytes = PEM) -> None:
        self.first = first
        self.pem = pem
        self.partner: rsa.PublicKey | None = None
        #: (seconds, text) of each block; a delivery that is not one block raises, as in the script.
        self.shown: list[tuple[float, str]] = []
        self.now: Callable[[], float] = lambda: 0.0
        self.ended: BaseException | None = None

    def connectionMade(self) -> None:
        if self.first:
            self.raw(self.pem)

    def dataReceived(self, data: bytes) -> None:
        if self.partner is None:
            self.partner = rsa.PublicKey.load_pkcs1(data)
            if not self.first:
                self.raw(self.pem)
        else:
            self.shown.append((self.now(), rsa.decrypt(data, PRIVATE).decode()))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = reason.value

    @property
    def texts(self) -> list[str]:
        """The text of each block."""
        return [text for _, text in self.shown]

    @property
    def lines(self) -> list[str]:
        """What a person reads."""
        return [line for text in self.texts for line in text.split("\n")]

    def block(self, text: str | bytes) -> bytes:
        """A message, encrypted."""
        assert self.partner is not None
        return bytes(rsa.encrypt(text.encode() if isinstance(text, str) else text, self.partner))

    def say(self, *texts: str | bytes) -> None:
        """Send messages, each as a block."""
        for text in texts:
            self.raw(self.block(text))

    def raw(self, data: bytes) -> None:
        """Send bytes."""
        cast(End, self.transport).write(data)

    def leave(self) -> None:
        """The program ends."""
        cast(End, self.transport).loseConnection()


class LayerCase(SynchronousTestCase):
    """Connections in memory, on a clock, with everything that is logged."""

    def setUp(self) -> None:
        self.reactor = ContractReactor()
        self.logged: list[LogEvent] = []
        observer = cast(ILogObserver, self.logged.append)
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.links: list[Link] = []
        self.addCleanup(self.leave_nothing)

    def leave_nothing(self) -> None:
        """Cut what is still there; nothing may stay behind."""
        for link in self.links:
            link.cut()
        self.reactor.settle()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def link(self, client: IProtocol, server: IProtocol) -> Link:
        """Connect the two, and let them say what they say at once."""
        link = Link(self.reactor, client, server)
        self.links.append(link)
        link.flush()
        return link

    def pass_time(self, seconds: float, step: float = 0.01) -> None:
        """Let time pass for every connection, in steps that no timer is longer than."""
        for _ in range(round(seconds / step)):
            self.reactor.advance(step)
            for link in self.links:
                link.flush()

    @property
    def lines(self) -> list[str]:
        """What the log says."""
        return [formatEvent(event) for event in self.logged if "layer" in str(event.get("log_namespace"))]
