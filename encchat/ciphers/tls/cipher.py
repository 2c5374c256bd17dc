"""The tls cipher for one server or one client profile: files in force, connections that live by them.

A load of the files makes one OpenSSL context. A reload makes another one for new connections, while the
old ones keep theirs, but for those whose certificate the new revocation lists name: they are cut. Files
that cannot be used change nothing: the old stay in force, and the log says why.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar, cast

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL
from twisted.internet.interfaces import IAddress, IDelayedCall, IProtocol, IProtocolFactory, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from encchat.ciphers.explaining import IExplained
from encchat.ciphers.interfaces import IClientCipher, ISealing, IServerCipher, Place, Trust
from encchat.ciphers.tls.contexts import client_context, server_context
from encchat.ciphers.tls.explain import TlsExplainer
from encchat.ciphers.tls.hosts import HostCheck
from encchat.ciphers.tls.judge import HostJudge, Judge, PinJudge, RevokedSerials, UserJudge, key_words
from encchat.ciphers.tls.layer import TlsLayer
from encchat.ciphers.tls.material import Material, check_successor, load, sources
from encchat.ciphers.tls.pin import make_pin
from encchat.ciphers.tls.sides import ClientLayer, ServerLayer
from encchat.ciphers.tls.vouching import vouch
from encchat.ciphers.tls.watch import FileWatch
from encchat.ciphers.wrapping import CipherFactory
from encchat.core.identity import PeerIdentity
from encchat.errors import ConfigError
from encchat.pki.health import Finding, Severity
from encchat.pki.names import user_of
from encchat.pki.profiles import fingerprint_of

if TYPE_CHECKING:
    from encchat.core.sealed.contacts import Vouches
    from encchat.core.sealed.identities import IdentityKey, LocalIdentity

#: Seconds from one reminder that something expires to the next.
REMINDER = 24 * 3600.0


class CannotSign(ConfigError):
    """Your certificate's key is of the kind {kind}, with which there are no sealed rooms: it has to be P-256
    or RSA."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class TlsCipher:
    """What both sides have in common."""

    log: ClassVar[Logger] = Logger()
    server: ClassVar[bool]

    identity: PeerIdentity
    notes: tuple[str, ...] = ()

    def __init__(self, place: Place, now: Callable[[], datetime] = _utc_now) -> None:
        """
        :raises ConfigError: the arguments contradict each other, or too few are given.
        """
        self._place = place
        self._sources = sources(place.arguments, place.directory, server=self.server, user=place.name)
        self._now = now
        self._live: set[TlsLayer] = set()
        self._clock: IReactorTime | None = None
        self._watch: FileWatch | None = None
        self._reminder: IDelayedCall | None = None
        self._material: Material | None = None
        self._context: SSL.Context | None = None

    @property
    def material(self) -> Material:
        """The files in force."""
        assert self._material is not None, "prepare() was not called"
        return self._material

    def prepare(self) -> None:
        """As ICipher."""
        if self._sources.pinned:
            make_pin(self._place.directory, server=self.server, name=self._place.name)
        self._take(load(self._sources, self._now()))
        self.notes = tuple(_sentence(finding) for finding in self._alarming())

    def start(self, reactor: object) -> None:
        """As ICipher: watch the files, and remind of what expires."""
        self._clock = cast(IReactorTime, reactor)
        self._watch = FileWatch(self._clock, lambda: self._sources.files, self._reload)
        self._watch.start()
        self._remind()

    def stop(self) -> None:
        """As ICipher."""
        if self._watch is not None:
            self._watch.stop()
        if self._reminder is not None and self._reminder.active():
            self._reminder.cancel()

    def explainer(self) -> TlsExplainer:
        """As IExplained."""
        return TlsExplainer()

    def reload(self) -> None:
        """As ICipher."""
        if self._watch is not None:
            self._watch.taken()
        self._reload()

    def _reload(self) -> None:
        try:
            new = load(self._sources, self._now())
            check_successor(new, self.material)
            self._take(new)
        except (ConfigError, SSL.Error) as error:
            self.log.error(
                "The certificates in force stay, as the new ones are no good: {error}", error=str(error)
            )
            return
        self.log.info(
            "New certificates are in force: {certificate}, {fingerprint}",
            certificate=str(self._sources.certificate),
            fingerprint=self.identity.fingerprint,
        )
        for layer in list(self._live):
            layer.cut_if_revoked()
        self._warn()

    def _take(self, material: Material) -> None:
        context = (server_context if self.server else client_context)(material)
        self._material, self._context = material, context
        leaf = material.leaf
        user = None if self.server or material.sources.pinned else user_of(leaf).shown
        mode = "self-signed" if material.sources.pinned else f"signed by {material.showing.issuer}"
        self.identity = PeerIdentity(
            fingerprint=fingerprint_of(leaf),
            vouched_name=user,
            cipher="tls",
            summary=f"TLS 1.3, {key_words(leaf.public_key())} certificate {mode}",
        )

    def _revoked(self) -> RevokedSerials:
        return self.material.revoked

    def _alarming(self) -> list[Finding]:
        findings = self.material.findings(self._now())
        return [finding for finding in findings if finding.severity >= Severity.WARNING]

    def _warn(self) -> None:
        for finding in self._alarming():
            self.log.warn("{finding}", finding=_sentence(finding), check=finding.check)

    def _remind(self) -> None:
        assert self._clock is not None
        self._warn()
        self._reminder = self._clock.callLater(REMINDER, self._remind)

    def _started(self) -> tuple[IReactorTime, SSL.Context]:
        assert self._clock is not None, "start() was not called"
        assert self._context is not None, "prepare() was not called"
        return self._clock, self._context


@implementer(IServerCipher, IExplained)
class TlsServer(TlsCipher):
    """The side that is connected to."""

    server = True

    def wrap(self, factory: IProtocolFactory) -> IProtocolFactory:
        """As IServerCipher."""

        def layer(protocol: IProtocol, address: IAddress | None) -> ServerLayer:
            clock, context = self._started()
            return ServerLayer(protocol, clock, context, self._judge(), self._live)

        return CipherFactory(factory, layer)

    def _judge(self) -> Judge:
        if self._sources.pinned:
            return PinJudge(self.material.showing)
        return UserJudge(self.material.showing, self._revoked)


class TlsIdentity:
    """The key of the certificate in force; a renewal that keeps the key brings its new chain."""

    def __init__(self, material: Callable[[], Material]) -> None:
        self._material = material

    @property
    def _local(self) -> LocalIdentity:
        from encchat.core.sealed.identities import LocalIdentity  # slow to import, and not always needed

        material = self._material()
        key = material.key
        if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            raise CannotSign(kind=key_words(key.public_key()))
        if isinstance(key, ec.EllipticCurvePrivateKey) and not isinstance(key.curve, ec.SECP256R1):
            raise CannotSign(kind=key_words(key.public_key()))
        chain = () if material.sources.pinned else material.chain
        return LocalIdentity(key, tuple(each.public_bytes(Encoding.DER) for each in chain))

    @property
    def spki(self) -> bytes:
        """As IdentityKey."""
        return self._local.spki

    @property
    def chain(self) -> tuple[bytes, ...]:
        """As IdentityKey."""
        return self._local.chain

    def sign(self, data: bytes) -> bytes:
        """As IdentityKey."""
        return self._local.sign(data)


@implementer(IClientCipher, IExplained, ISealing)
class TlsClient(TlsCipher):
    """The side that connects."""

    server = False

    def signer(self) -> IdentityKey:
        """As ISealing.

        :raises CannotSign: sealed rooms know no such key.
        """
        return TlsIdentity(lambda: self.material)

    def voucher(self) -> Vouches | None:
        """As ISealing. Public authorities vouch for hosts, not for people: their users are pinned."""
        if self._sources.pinned or self._sources.system:
            return None
        return lambda name, key, chain: vouch(self.material, name, key, chain)

    def wrap(self, factory: IProtocolFactory, host: str, trust: Trust) -> IProtocolFactory:
        """As IClientCipher.

        :raises UsageError: ``host`` cannot be a host's name.
        """
        check = HostCheck(host)

        def layer(protocol: IProtocol, address: IAddress | None) -> ClientLayer:
            clock, context = self._started()
            judge = self._judge(check)
            return ClientLayer(
                protocol, clock, context, judge, self._live, server_name=check.server_name, trust=trust
            )

        return CipherFactory(factory, layer)

    def _judge(self, host: HostCheck) -> Judge:
        if self._sources.pinned:
            return PinJudge(self.material.showing)
        return HostJudge(self.material.showing, self._revoked, host, exclusive=not self._sources.system)


def _sentence(finding: Finding) -> str:
    return f"{finding.text} {finding.fix}".strip()
