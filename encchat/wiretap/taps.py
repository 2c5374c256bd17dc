"""The two taps of a connection, above its cipher and below it, and the ciphers that have them.

A tapped cipher is one to whoever uses it: its ``wrap`` puts one tap around the factory that it is given and
another around what the cipher makes of that. Both are Twisted's own protocol wrappers, so that everything
else (producers, closing, addresses) passes as if they were not there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.interfaces import IAddress, IHandshakeListener, IProtocolFactory
from twisted.internet.protocol import connectionDone
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from encchat.ciphers.explaining import IExplained
from encchat.ciphers.interfaces import IClientCipher, ISealing, ISecureTransport, IServerCipher, Trust
from encchat.core.identity import PeerIdentity
from encchat.wiretap.watch import Recorder, Watch

if TYPE_CHECKING:
    from encchat.core.sealed.contacts import Vouches
    from encchat.core.sealed.identities import IdentityKey


class Wiretap(Recorder):
    """Taps ciphers."""

    def client(self, cipher: IClientCipher) -> TappedClient:
        """``cipher``, tapped."""
        return TappedClient(self, cipher)

    def server(self, cipher: IServerCipher) -> TappedServer:
        """``cipher``, tapped."""
        return TappedServer(self, cipher)


# -------------------------------------------------------------------------------------------- ciphers


class _Tapped:
    """What is the cipher's own business stays it."""

    def __init__(self, tap: Wiretap, cipher: Any) -> None:
        self._tap = tap
        self._cipher = cipher

    @property
    def identity(self) -> PeerIdentity:
        """As ICipher."""
        return cast(PeerIdentity, self._cipher.identity)

    @property
    def notes(self) -> tuple[str, ...]:
        """As ICipher."""
        return cast("tuple[str, ...]", self._cipher.notes)

    def prepare(self) -> None:
        """As ICipher."""
        self._cipher.prepare()

    def start(self, reactor: object) -> None:
        """As ICipher."""
        self._cipher.start(reactor)

    def stop(self) -> None:
        """As ICipher."""
        self._cipher.stop()

    def reload(self) -> None:
        """As ICipher."""
        self._cipher.reload()

    def _wrap(
        self, client: bool, factory: IProtocolFactory, wrap: Callable[[IProtocolFactory], IProtocolFactory]
    ) -> IProtocolFactory:
        inner = _Above(factory)
        explains = self._cipher if IExplained.providedBy(self._cipher) else None

        def watch() -> Watch:
            explainer = None if explains is None else explains.explainer()
            return Watch(self._tap, self._cipher.identity.cipher, client, explainer)

        return cast(IProtocolFactory, _Below(wrap(cast(IProtocolFactory, inner)), inner, watch))


@implementer(IServerCipher)
class TappedServer(_Tapped):
    """A server's cipher whose connections are watched."""

    def wrap(self, factory: IProtocolFactory) -> IProtocolFactory:
        """As IServerCipher."""
        return self._wrap(False, factory, self._cipher.wrap)


@implementer(IClientCipher)
class TappedClient(_Tapped):
    """A client's cipher whose connections are watched."""

    def __init__(self, tap: Wiretap, cipher: Any) -> None:
        super().__init__(tap, cipher)
        if ISealing.providedBy(cipher):
            alsoProvides(self, ISealing)

    def signer(self) -> IdentityKey:
        """As ISealing."""
        return cast("IdentityKey", self._cipher.signer())

    def voucher(self) -> Vouches | None:
        """As ISealing."""
        return cast("Vouches | None", self._cipher.voucher())

    def wrap(self, factory: IProtocolFactory, host: str, trust: Trust) -> IProtocolFactory:
        """As IClientCipher."""
        return self._wrap(
            True, factory, lambda inner: cast(IProtocolFactory, self._cipher.wrap(inner, host, trust))
        )


@implementer(IHandshakeListener)
class _AboveTap(ProtocolWrapper):
    """Around the protocol that a cipher carries."""

    watch: Watch

    def handshakeCompleted(self) -> None:
        """The peer has proved its key."""
        self.watch.proved(cast(ISecureTransport, self.transport))
        if IHandshakeListener.providedBy(self.wrappedProtocol):
            cast(IHandshakeListener, self.wrappedProtocol).handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        """What the cipher has opened."""
        self.watch.opened(False, data)
        super().dataReceived(data)

    def write(self, data: bytes) -> None:
        """What the cipher is to seal."""
        self.watch.opened(True, data)
        super().write(data)

    def writeSequence(self, data: Sequence[bytes]) -> None:
        """As one write."""
        self.write(b"".join(data))


class _BelowTap(ProtocolWrapper):
    """Around a cipher's own protocol."""

    watch: Watch

    def makeConnection(self, transport: Any) -> None:
        """The connection below is there."""
        self.watch.began(transport.getHost(), transport.getPeer())
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """What the network brings."""
        self.watch.sealed(False, data)
        super().dataReceived(data)

    def write(self, data: bytes) -> None:
        """What the network is to carry."""
        self.watch.sealed(True, data)
        super().write(data)

    def writeSequence(self, data: Sequence[bytes]) -> None:
        """As one write."""
        self.write(b"".join(data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone."""
        super().connectionLost(reason)
        self.watch.ended(reason)


class _Above(WrappingFactory[_AboveTap]):
    """Builds the taps above; ``_Below`` hands each its watch."""

    noisy = False
    watch: Watch

    def buildProtocol(  # type: ignore[override]  # as every factory's, it may build nothing
        self, addr: IAddress | None
    ) -> _AboveTap | None:
        """A tap around what the wrapped factory builds, if it builds anything."""
        protocol = self.wrappedFactory.buildProtocol(addr)
        if protocol is None:
            return None
        tap = _AboveTap(self, cast(Any, protocol))
        tap.watch = self.watch
        return tap


class _Below(WrappingFactory[_BelowTap]):
    """Builds the taps below."""

    noisy = False

    def __init__(self, wrapped: IProtocolFactory, above: _Above, watch: Callable[[], Watch]) -> None:
        super().__init__(cast(Any, wrapped))
        self._above = above
        self._watch = watch

    def buildProtocol(  # type: ignore[override]  # as above
        self, addr: IAddress | None
    ) -> _BelowTap | None:
        """A tap around what the cipher's factory builds, if it builds anything."""
        # A cipher's factory builds what it carries within its own buildProtocol: there and then.
        watch = self._above.watch = self._watch()
        protocol = self.wrappedFactory.buildProtocol(addr)
        if protocol is None:
            return None
        tap = _BelowTap(self, cast(Any, protocol))
        tap.watch = watch
        return tap
