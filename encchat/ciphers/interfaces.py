"""What a cipher is: a plugin entry that names it, and a pair of factory wrappers that do the work.

A wrapped factory's protocols sit on a :class:`ISecureTransport`. They are told ``handshakeCompleted()``
(Twisted's ``IHandshakeListener``) exactly once, when the peer has proved its key. Nothing can be written
and nothing is delivered before that; a handshake that fails shows as ``connectionLost`` with an
``encchat.errors`` error that says why.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from twisted.internet.interfaces import IConsumer, IProtocolFactory, IPushProducer, ITransport
from twisted.plugin import IPlugin
from zope.interface import Attribute, Interface

from encchat.core.identity import PeerIdentity, Shown

if TYPE_CHECKING:
    from encchat.core.sealed.contacts import Vouches
    from encchat.core.sealed.identities import IdentityKey

#: Seconds that a peer has, from the connection, to complete a handshake.
HANDSHAKE_DEADLINE = 10.0


@dataclass(frozen=True, slots=True)
class ServerClaim:
    """The server that a client is about to talk to, before the client believes it."""

    #: What the cipher speaks with it, kept with the pin: ``hrsa1``, ``classic``, ``tls-ca``, ``tls-pin``.
    profile: str
    fingerprint: str
    #: True when a certificate authority that the user configured vouches for this very host.
    vouched: bool
    #: One line for people.
    summary: str


#: Decides whether a client goes on with a server: returns, or raises a RefusedError that says why not.
#: It is asked before anything of the client's own is sent, and must not block.
Trust: TypeAlias = Callable[[ServerClaim], None]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a cipher, as ``--help-ciphers`` prints it."""

    name: str
    help: str
    default: str = ""
    #: The only values there are; empty: any.
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a cipher of one server or one client profile keeps its files, and what it is told."""

    #: A directory of ours with mode 0700; exists.
    directory: Path
    #: Name for the user or service, for self-made certificates and comments.
    name: str = ""
    #: The cipher's arguments, checked against its ``ARGUMENTS``, defaults filled in.
    arguments: Mapping[str, str] = field(default_factory=dict)


class ISecureTransport(ITransport, IConsumer, IPushProducer):
    """What the protocol above a cipher has as its ``transport``.

    ``IConsumer``: ``registerProducer`` with back-pressure. ``IPushProducer``: ``pauseProducing`` stops
    reading from the peer and nothing more is delivered until ``resumeProducing``.
    """

    negotiatedProtocol: bytes | None = Attribute(
        "As INegotiated: b'encchat/1', or None for a classic peer, which sends and gets lines of UTF-8 text. "
        "Meaningful from handshakeCompleted on."
    )
    peerIdentity: PeerIdentity | None = Attribute("Who the peer is; None before handshakeCompleted.")
    dear: bool = Attribute("Whether writing takes so long (200 µs a KiB) that little is done at once.")

    refused: Shown | None = Attribute(
        "When connectionLost is told: whom the cipher turned away or cut off for who it is; else None."
    )

    def abortConnection() -> None:
        """Close at once and forget what is still to be sent."""


class ICipher(Interface):
    """A cipher for one server or one client profile, configured by its :class:`Place`."""

    identity: PeerIdentity = Attribute("Our own identity, as the peer will see it; after prepare().")
    notes: tuple[str, ...] = Attribute("Lines that a person should read at start-up; after prepare().")

    def prepare() -> None:
        """Read the files, and make the keys that do not exist yet. May block for a second or two: call
        it before the reactor runs, or in a thread.

        :raises ConfigError: something in the place cannot be used; says what to do.
        """

    def start(reactor: object) -> None:
        """The reactor runs: begin to make keys ahead, watch files, and so on."""

    def stop() -> None:
        """End what ``start`` began. Connections go on."""

    def reload() -> None:
        """Read changed files again (SIGHUP); what is wrong with them is logged and the old stay."""


class IServerCipher(ICipher):
    """The side that is connected to."""

    def wrap(factory: IProtocolFactory) -> IProtocolFactory:
        """A factory to listen with, whose connections reach ``factory``'s protocols when secure."""


class IClientCipher(ICipher):
    """The side that connects."""

    def wrap(factory: IProtocolFactory, host: str, trust: Trust) -> IProtocolFactory:
        """A factory to connect with. ``host`` is the name or address that the user asked for, without a
        port; ``trust`` judges the server."""


class ISealing(Interface):
    """A client's cipher that can also sign with its identity, and so carries sealed rooms, whose keys rest on
    it. Whether a cipher provides it is its own choice."""

    def signer() -> IdentityKey:
        """The private half of our identity, of one key for the whole run; after prepare()."""

    def voucher() -> Vouches | None:
        """How an authority is asked who somebody is, or None where keys are pinned; after prepare()."""


class ICipherMaker(IPlugin):
    """The plugin: names only, so that finding the ciphers imports none of them.

    The module named has ``ARGUMENTS`` (a sequence of :class:`Argument`), ``server(place)`` that returns
    an :class:`IServerCipher` and ``client(place)`` that returns an :class:`IClientCipher`. Both may raise
    ``ConfigError`` or ``UsageError``.
    """

    name: str = Attribute("The word on the command line.")
    summary: str = Attribute("One line for --help-ciphers.")
    module: str = Attribute("The dotted name of the module that holds the cipher.")
