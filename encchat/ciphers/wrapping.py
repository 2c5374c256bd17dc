"""The factory that puts a cipher's layers around another factory's protocols."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory

from encchat.ciphers.layer import CipherLayer
from encchat.ciphers.quiet import Quiet


class CipherFactory(Factory):
    """A factory whose protocols are layers around ``wrapped``'s."""

    noisy = False

    def __init__(
        self, wrapped: IProtocolFactory, layer: Callable[[IProtocol, IAddress | None], CipherLayer]
    ) -> None:
        self.wrapped = wrapped
        self.layer = layer
        self.quiet = Quiet()

    def doStart(self) -> None:
        """Start with the wrapped factory."""
        self.wrapped.doStart()
        super().doStart()

    def doStop(self) -> None:
        """Stop with the wrapped factory."""
        self.wrapped.doStop()
        super().doStop()

    def buildProtocol(self, addr: IAddress | None) -> CipherLayer | None:
        """A layer around what the wrapped factory builds; None, which closes, if it builds nothing."""
        protocol = self.wrapped.buildProtocol(cast(IAddress, addr))
        if protocol is None:
            return None
        layer = self.layer(protocol, addr)
        layer.quiet = self.quiet
        return layer
