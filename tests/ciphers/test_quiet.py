"""How often a log says that handshakes failed."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.layer import CipherLayer
from encchat.ciphers.quiet import AT_ONCE, INTERVAL, MAX_ADDRESSES, Quiet
from encchat.ciphers.wrapping import CipherFactory
from encchat.errors import PeerError


class Counts(SynchronousTestCase):
    """What is told, and what is left out."""

    def test_a_few_at_once_and_then_one_an_interval(self) -> None:
        quiet = Quiet()
        self.assertEqual([quiet.count("a", 0.0) for _ in range(AT_ONCE)], [1] * AT_ONCE)
        self.assertEqual(
            [quiet.count("a", now / 4) for now in range(10)], [*[None] * 4, 5, *[None] * 3, 4, None]
        )

    def test_rest_is_saved_up(self) -> None:
        """After some rest a few come at once again, and never more than that."""
        quiet = Quiet()
        for _ in range(AT_ONCE + 3):
            quiet.count("a", 0.0)
        self.assertEqual([quiet.count("a", 2 * INTERVAL) for _ in range(3)], [4, 1, None])
        told = [quiet.count("a", 100 * INTERVAL) for _ in range(AT_ONCE + 1)]
        self.assertEqual(told, [2, *[1] * (AT_ONCE - 1), None])

    def test_each_address_has_its_own(self) -> None:
        quiet = Quiet()
        for _ in range(AT_ONCE):
            quiet.count("a", 0.0)
        self.assertEqual([quiet.count(address, 0.0) for address in "ab"], [None, 1])

    def test_addresses_are_bounded(self) -> None:
        quiet = Quiet()
        for number in range(MAX_ADDRESSES + 1):
            for _ in range(AT_ONCE):
                quiet.count(str(number), 0.0)
        self.assertEqual([quiet.count(str(number), 0.0) for number in (MAX_ADDRESSES, 0)], [None, 1])


class Refusing(CipherLayer):
    """A cipher that nobody passes."""

    def cipherReceived(self, data: bytes) -> None:
        raise PeerError(reason="no")


class Lines(SynchronousTestCase):
    """What the log says."""

    def test_a_flood(self) -> None:
        events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        clock = Clock()
        wrapped: Any = Factory.forProtocol(Protocol)
        factory = CipherFactory(wrapped, lambda protocol, addr: Refusing(protocol, clock))
        for data in (*[b"x"] * (AT_ONCE + 1), b""):
            self.knock(factory, "10.0.0.1", data)
        self.knock(factory, "10.0.0.2", b"x")
        clock.advance(INTERVAL)
        self.knock(factory, "10.0.0.1", b"x")
        lines = [str(event["log_format"]).format(**event) for event in events if "others" in event]
        self.assertEqual(
            [line.partition(" Refusing: ")[::2] for line in lines],
            [
                *[("10.0.0.1:1", "closed: The other side broke the protocol: no.")] * AT_ONCE,
                ("10.0.0.2:1", "closed: The other side broke the protocol: no."),
                (
                    "10.0.0.1:1",
                    "closed: The other side broke the protocol: no. (2 more failed and were not told)",
                ),
            ],
        )

    def knock(self, factory: CipherFactory, host: str, data: bytes) -> None:
        layer = factory.buildProtocol(None)
        assert layer is not None
        transport = StringTransport(peerAddress=IPv4Address("TCP", host, 1))
        transport.abortConnection = transport.loseConnection
        layer.makeConnection(transport)
        if data:
            layer.dataReceived(data)
        layer.connectionLost()
