"""The rsa cipher: every byte RSA-encrypted, to see it at work; and a word with the classroom script.

Two profiles share a port. **hrsa1** is for our own peers: mutual authentication with 3072-bit identity
keys, OAEP blocks under keys that are made for the session and forgotten, authenticated records.
**classic** is what the script speaks, which authenticates nobody. ``layer`` tells them apart; ``hrsa1``
and ``classic`` are the pure transforms; ``keys`` holds the identity and makes keys ahead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from zope.interface import implementer

from encchat.ciphers.explaining import IExplained
from encchat.ciphers.interfaces import Argument, IClientCipher, ISealing, IServerCipher, Place, Trust
from encchat.ciphers.layer import CipherLayer
from encchat.ciphers.rsa import classic
from encchat.ciphers.rsa.explain import RsaExplainer
from encchat.ciphers.rsa.hrsa1 import ServerKeys
from encchat.ciphers.rsa.keys import KeyPool, RotatingKey, load_or_make_identity, make_record_key
from encchat.ciphers.rsa.layer import Classic, RsaClassicClientLayer, RsaClientLayer, RsaServerLayer
from encchat.ciphers.rsa.primitives import IDENTITY_BITS, RECORD_BITS, fingerprint_of
from encchat.ciphers.wrapping import CipherFactory
from encchat.core.identity import PeerIdentity
from encchat.errors import UsageError

if TYPE_CHECKING:
    from encchat.core.sealed.identities import IdentityKey

ARGUMENTS: Sequence[Argument] = (
    Argument(
        name="classic",
        help="Whether the profile of the classroom script is spoken, which authenticates nobody. A server "
        "speaks it beside hrsa1 (yes, its default), not at all (no), or alone (only); a client does not "
        "(no, its default) or speaks nothing else (only).",
        choices=("yes", "no", "only"),
    ),
)

#: The identity's file in the cipher's place.
IDENTITY_FILE = "rsa-identity.pem"


class NoIdentity(UsageError):
    """The classic profile has no identity that could sign, so there are no sealed rooms in it."""


class _Rsa:
    """What both sides have in common: the identity, and when keys are made.

    :param make: makes the keys that live in memory only, of 2048 bits.
    """

    notes: tuple[str, ...] = ()

    def __init__(
        self, place: Place, mode: Classic, make: Callable[[], RSAPrivateKey] = make_record_key
    ) -> None:
        self._place = place
        self._mode = mode
        self._make = make
        self._reactor: object | None = None
        self._identity_key: RSAPrivateKey | None = None
        self._classic_key: RSAPrivateKey | None = None

    @property
    def identity(self) -> PeerIdentity:
        """Our own identity, as the peer will see it; there is one after ``prepare``."""
        if self._mode is Classic.ONLY:
            assert self._classic_key is not None, "identity before prepare"
            shown = classic.key_fingerprint(self._classic_key.public_key())
            summary = f"rsa, classic profile, RSA-{RECORD_BITS} key {shown} of this run, not authenticated"
            return PeerIdentity(shown, None, "rsa", summary, authenticated=False)
        assert self._identity_key is not None, "identity before prepare"
        own = fingerprint_of(self._identity_key.public_key())
        return PeerIdentity(own, None, "rsa", f"rsa, hrsa1 profile, RSA-{IDENTITY_BITS} key {own}")

    def prepare(self) -> None:
        """Read the identity, or make it; make the keys that do not outlive the process. Blocks.

        :raises ConfigError: the identity's file cannot be used.
        """
        if self._mode is not Classic.ONLY:
            self._identity_key = load_or_make_identity(self._place.directory / IDENTITY_FILE)

    def start(self, reactor: object) -> None:
        """The reactor runs."""
        self._reactor = reactor

    def reload(self) -> None:
        """Nothing to do: an identity is for good, and every other key lives in memory only."""

    def explainer(self) -> RsaExplainer:
        """What the network sees of a new connection (IExplained)."""
        return RsaExplainer()

    @property
    def _running_on(self) -> object:
        assert self._reactor is not None, "a connection before start"
        return self._reactor


@implementer(IServerCipher, IExplained)
class RsaServer(_Rsa):
    """The rsa cipher of a service."""

    def __init__(
        self, place: Place, mode: Classic, make: Callable[[], RSAPrivateKey] = make_record_key
    ) -> None:
        super().__init__(place, mode, make)
        self._record_key = RotatingKey(make=make)
        if mode is Classic.YES:
            self.notes = (
                "rsa: classroom scripts may come in as guests, whom nobody can authenticate; "
                "--cipher rsa:classic=no ends it.",
            )
        elif mode is Classic.ONLY:
            self.notes = ("rsa: only the classic profile is spoken, which authenticates nobody.",)

    def prepare(self) -> None:
        """Also make the first record key, and the one that classic peers get."""
        super().prepare()
        if self._classic_key is None:
            self._classic_key = self._make()
        if self._mode is not Classic.ONLY:
            self._record_key.prepare()

    def start(self, reactor: object) -> None:
        """Replace the record key from time to time."""
        super().start(reactor)
        if self._mode is not Classic.ONLY:
            self._record_key.start(reactor)

    def stop(self) -> None:
        """Replace it no more."""
        self._record_key.stop()

    def wrap(self, factory: IProtocolFactory) -> IProtocolFactory:
        """A factory to listen with."""
        return cast(IProtocolFactory, CipherFactory(factory, self._layer))

    def _layer(self, wrapped: IProtocol, address: IAddress | None) -> CipherLayer:
        assert self._classic_key is not None, "a connection before prepare"
        keys = None
        if self._identity_key is not None:
            keys = ServerKeys(self._identity_key, self._record_key.current, self._classic_key.public_key())
        return RsaServerLayer(wrapped, self._running_on, self._classic_key, keys, self._mode)


@implementer(IClientCipher, IExplained, ISealing)
class RsaClient(_Rsa):
    """The rsa cipher of a client's profile."""

    def __init__(
        self, place: Place, mode: Classic, make: Callable[[], RSAPrivateKey] = make_record_key
    ) -> None:
        super().__init__(place, mode, make)
        self._record_keys = KeyPool(1, make)  # one more than the connection has, for the next one

    def prepare(self) -> None:
        """Also make the first record key, or the key that a classic server gets."""
        super().prepare()
        if self._mode is not Classic.ONLY:
            self._record_keys.prepare()
        elif self._classic_key is None:
            self._classic_key = self._make()

    def start(self, reactor: object) -> None:
        """Make record keys ahead."""
        super().start(reactor)
        if self._mode is not Classic.ONLY:
            self._record_keys.start(reactor)

    def stop(self) -> None:
        """Make no more."""
        self._record_keys.stop()

    def signer(self) -> IdentityKey:
        """As ISealing.

        :raises NoIdentity: the classic profile has none.
        """
        from encchat.core.sealed.identities import LocalIdentity  # slow to import, and not always needed

        if self._identity_key is None:
            raise NoIdentity()
        return LocalIdentity(self._identity_key)

    def voucher(self) -> None:
        """As ISealing: keys are pinned."""

    def wrap(self, factory: IProtocolFactory, host: str, trust: Trust) -> IProtocolFactory:
        """A factory to connect with. No key names a host: which is which is ``trust``'s to know."""

        def layer(wrapped: IProtocol, address: IAddress | None) -> CipherLayer:
            if self._classic_key is not None:
                return RsaClassicClientLayer(wrapped, self._running_on, trust, self._classic_key)
            assert self._identity_key is not None, "a connection before prepare"
            return RsaClientLayer(wrapped, self._running_on, trust, self._identity_key, self._record_keys)

        return cast(IProtocolFactory, CipherFactory(factory, layer))


def server(place: Place) -> IServerCipher:
    """The cipher of a service.

    :raises UsageError: ``classic`` has another value than it can have.
    """
    return cast(IServerCipher, RsaServer(place, _mode(place, Classic.YES)))


def client(place: Place) -> IClientCipher:
    """The cipher of a client.

    :raises UsageError: ``classic`` has another value than a client can have.
    """
    mode = _mode(place, Classic.NO)
    if mode is Classic.YES:
        raise UsageError(
            reason="A client speaks either hrsa1 (classic=no) or the classic profile (classic=only, or "
            "--classic), never whichever a server offers."
        )
    return cast(IClientCipher, RsaClient(place, mode))


def _mode(place: Place, default: Classic) -> Classic:
    given = place.arguments.get("classic") or default.value
    try:
        return Classic(given)
    except ValueError:
        raise UsageError(reason=f"rsa: classic is yes, no or only, not {given!r}.") from None
