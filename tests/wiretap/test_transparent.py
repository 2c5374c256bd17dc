"""A tapped cipher keeps the contract of ciphers: nobody above or below can tell that he is watched."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.interfaces import IClientCipher, IServerCipher
from encchat.wiretap.seen import Opened, Sealed, Seen
from encchat.wiretap.taps import Wiretap
from tests.ciphers.tls.test_contract import PinContractTests


class Sizes:
    """A witness that only counts: a contract's test may send a lot."""

    def __init__(self) -> None:
        self.opened = self.sealed = 0

    def saw(self, seen: Seen) -> None:
        if isinstance(seen, Opened):
            self.opened += len(seen.data)
        elif isinstance(seen, Sealed):
            self.sealed += len(seen.data)

    def close(self) -> None:
        """Nothing is held."""


class TappedTls(PinContractTests, SynchronousTestCase):
    """The cipher tls, which works its way through the contract faster than rsa."""

    sizes: ClassVar[tuple[int, ...]] = (0, 1, 65536)
    examples: ClassVar[int] = 2

    def make_ciphers(self, directory: Path) -> tuple[IServerCipher, IClientCipher]:
        server, client = super().make_ciphers(directory)
        self.witness = Sizes()
        tap = Wiretap([self.witness], lambda: 0)
        return tap.server(server), tap.client(client)

    def test_there_is_somebody_who_watches(self) -> None:
        session = self.secured()
        session.client.secure_transport.write(bytes(4) + b"\1")
        self.assertGreater(self.witness.sealed, 1000)


del PinContractTests  # trial would collect it here too
