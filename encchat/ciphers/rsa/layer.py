"""The rsa cipher's layers: both open with PEM, find out which profile the peer speaks, and go on in it.

The server sends S1, which is our own peers' opening and the classroom script's key in one. The first byte
of the answer decides: ``E`` begins hrsa1, ``-`` a classic key, and anything else is told by name in the
log. The client speaks what it was asked to speak; it never falls back from hrsa1 to classic.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from functools import partial
from typing import Any, ClassVar, cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IProtocol, IReactorTime, ITransport
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure

from encchat.ciphers.below import Below, where
from encchat.ciphers.interfaces import ServerClaim, Trust
from encchat.ciphers.layer import CLOSE_DEADLINE, CipherLayer
from encchat.ciphers.rsa import classic
from encchat.ciphers.rsa.classic_talk import ClassicTalk
from encchat.ciphers.rsa.hardened_talk import HardenedTalk
from encchat.ciphers.rsa.hrsa1 import ClientMachine, ServerKeys, ServerMachine
from encchat.ciphers.rsa.keys import KeyPool
from encchat.ciphers.rsa.opening import MAX_S1
from encchat.ciphers.rsa.paced import PacedTransport
from encchat.ciphers.rsa.talk import Talk
from encchat.errors import PeerError, RefusedError

_HTTP = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|CONNECT|PATCH|TRACE|PRI) ")
_KEY = "key"


class Classic(Enum):
    """Whether the classic profile is spoken: beside hrsa1, not at all, or alone."""

    YES = "yes"
    NO = "no"
    ONLY = "only"


class NotOurs(PeerError):
    """The other side does not speak encchat's rsa cipher: it sent {what}."""

    code = "not-rsa"


class ClassicRefused(RefusedError):
    """The other side speaks the classic profile, which proves nobody's identity, and it is switched off here
    (classic=no)."""

    code = "classic-refused"


class HardenedRefused(RefusedError):
    """The other side speaks hrsa1, and only the classic profile is spoken here. Connect it without
    --classic to an encchat service, or let it use --classic."""

    code = "hardened-refused"


class _FactLogger(Logger):
    """Adds what is known of the connection to each of its lines, as fields and in words."""

    def emit(self, level: Any, format: str | None = None, **kwargs: object) -> None:  # Twisted's is untyped
        """Emit with the facts of the layer that logs."""
        layer = self.source
        if isinstance(layer, RsaLayer):
            facts = layer.facts
            known = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items() if value)
            if format is not None and known:
                format += " [{known}]"
            kwargs = {"address": where(layer.getPeer()), "known": known, **facts, **kwargs}
        super().emit(level, format, **kwargs)


class RsaLayer(CipherLayer):
    """What the server's and the client's layer have in common.

    :param reactor: its clock, and its threads.
    :param classic_key: K, ours for classic peers.
    """

    log: ClassVar[Logger] = _FactLogger()
    dear: ClassVar[bool] = True

    def __init__(self, wrapped: IProtocol, reactor: object, classic_key: RSAPrivateKey | None) -> None:
        super().__init__(wrapped, cast(IReactorTime, reactor))
        self._reactor = reactor
        self._classic_key = classic_key
        self._talk: Talk | None = None
        self._paced: PacedTransport | None = None

    @property
    def facts(self) -> Mapping[str, object]:
        """What is known, as fields of a log line."""
        return {} if self._talk is None else self._talk.facts

    def cipherWrite(self, data: bytes) -> None:
        """As the profile does."""
        assert self._talk is not None
        self._talk.write(data)

    def cipherFinish(self) -> bool | None:
        """As the profile does."""
        return self._talk is not None and self._talk.finish()

    def cipherPending(self) -> bool:
        """Whether a thread still decrypts."""
        return self._talk is not None and self._talk.busy

    def cipherEnded(self) -> None:
        """Stop every timer."""
        if self._talk is not None:
            self._talk.ended()
        if self._paced is not None:
            self._paced.end()

    def pauseProducing(self) -> None:
        """Deliver nothing more, and stop reading."""
        super().pauseProducing()
        if self._talk is not None:
            self._talk.reading(False)

    def resumeProducing(self) -> None:
        """Deliver what waits, then read on."""
        super().resumeProducing()
        if self._talk is not None:
            self._talk.reading(True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The end of the stream is the only goodbye that a classic peer has."""
        if self._paced is not None and reason.check(ConnectionDone):
            if self._we_closed and self._paced.unsent:
                reason = Failure(ConnectionLost(f"{self._paced.unsent} bytes of text were not sent yet"))
            else:
                self.peerClosed()
        super().connectionLost(reason)

    def _speak_classic(self) -> ClassicTalk:
        assert self._classic_key is not None
        talk = ClassicTalk(self, self._classic_key, self._reactor, self._shown)
        self._talk = talk
        return talk

    def _shown(self, key: classic.ShownKey) -> None:
        """A classic peer showed its key; from here on we write in blocks to it."""
        self._paced = PacedTransport(cast(Below, self.transport), self.clock, key, self._sent_a_block)
        self.transport = cast(ITransport, self._paced)

    def _sent_a_block(self) -> None:
        """While we close, a peer that takes blocks may take those that are left."""
        if self.disconnecting and not self._aborted:
            self._wait(CLOSE_DEADLINE, self.abortConnection)


class RsaServerLayer(RsaLayer):
    """The server's side of one connection.

    :param keys: those of hrsa1, as they are at this moment; None with ``Classic.ONLY``.
    """

    def __init__(
        self,
        wrapped: IProtocol,
        reactor: object,
        classic_key: RSAPrivateKey,
        keys: ServerKeys | None,
        mode: Classic = Classic.YES,
    ) -> None:
        super().__init__(wrapped, reactor, classic_key)
        self._mode = mode
        self._hardened = None if keys is None else HardenedTalk(self, ServerMachine(keys), reactor)

    def cipherStarted(self) -> None:
        """Send S1, or as the script does, the bare PEM."""
        if self._hardened is None:
            assert self.transport is not None
            assert self._classic_key is not None
            self.transport.write(classic.pem(self._classic_key.public_key()))
        else:
            self._hardened.start()

    def cipherReceived(self, data: bytes) -> None:
        """The first byte says what the peer speaks."""
        if self._talk is None:
            self._talk = self._choose(data)
        self._talk.received(data)

    def cipherEnded(self) -> None:
        """Let go of the keys too."""
        super().cipherEnded()
        if self._hardened is not None:
            self._hardened.ended()
            self._hardened = None

    def hintWhenCut(self) -> str:
        """A client that leaves without a word often does not trust our key."""
        return "It may not trust our key, or speak another cipher."

    def _choose(self, data: bytes) -> Talk:
        if data.startswith(b"-"):
            if self._mode is Classic.NO:
                raise ClassicRefused
            self._hardened = None
            return self._speak_classic()
        if data.startswith(b"E"):
            if self._hardened is None:
                raise HardenedRefused
            return self._hardened
        raise NotOurs(what=_name(data))


class RsaClientLayer(RsaLayer):
    """The client's side of one connection in hrsa1.

    :param identity: I_C.
    :param pool: gives E_C.
    """

    def __init__(
        self, wrapped: IProtocol, reactor: object, trust: Trust, identity: RSAPrivateKey, pool: KeyPool
    ) -> None:
        super().__init__(wrapped, reactor, None)
        self._trust = trust
        self._identity = identity
        self._pool = pool
        self._getting: Deferred[RSAPrivateKey] | None = None
        self._early = b""

    def cipherStarted(self) -> None:
        """Get a record key, most often one that was made ahead; the server's opening waits for it."""
        self.hold(_KEY)
        self._getting = self._pool.get()
        self._getting.addCallbacks(partial(self.guarded, self._begin), partial(self.guarded, self._no_key))

    def cipherReceived(self, data: bytes) -> None:
        """Bytes of the server."""
        if self._talk is not None:
            self._talk.received(data)
            return
        self._early += data
        if len(self._early) > MAX_S1:
            raise NotOurs(what=f"more than {MAX_S1} bytes before we said anything")

    def cipherEnded(self) -> None:
        """Give up the place in the queue for a key."""
        super().cipherEnded()
        if self._getting is not None:
            self._getting.cancel()

    def hintWhenCut(self) -> str:
        """What a user should look at."""
        return "Is it an encchat service with --cipher rsa, and may you come in?"

    def _begin(self, key: RSAPrivateKey) -> None:
        self._getting = None
        machine = ClientMachine(self._identity, key, self._judge)
        talk = HardenedTalk(self, machine, self._reactor)
        self._talk = talk
        talk.start()
        self.release(_KEY)
        early, self._early = self._early, b""
        if early:
            talk.received(early)

    def _no_key(self, failure: Failure) -> None:
        self._getting = None
        if failure.check(CancelledError):  # by us, as the connection is gone; or the cipher was stopped
            self.abortConnection()
        else:
            failure.raiseException()

    def _judge(self, fingerprint: str) -> None:
        summary = f"rsa, hrsa1 profile, key {fingerprint}"
        self._trust(ServerClaim("hrsa1", fingerprint, vouched=False, summary=summary))


class RsaClassicClientLayer(RsaLayer):
    """The client's side of one connection to the classroom script's server side, or to a service, in the
    classic profile."""

    def __init__(self, wrapped: IProtocol, reactor: object, trust: Trust, classic_key: RSAPrivateKey) -> None:
        super().__init__(wrapped, reactor, classic_key)
        self._trust = trust

    def cipherStarted(self) -> None:
        """Wait for the server's key. Ours follows when we have it, as from the script."""
        self._speak_classic()

    def cipherReceived(self, data: bytes) -> None:
        """Bytes of the server."""
        assert self._talk is not None
        self._talk.received(data)

    def hintWhenCut(self) -> str:
        """What a user should look at."""
        return "Is it the classroom script's server side, or a service that has not switched classic off?"

    def _shown(self, key: classic.ShownKey) -> None:
        """Ask for trust, then send our key; the queue's first pause keeps it alone in the script's recv."""
        summary = f"rsa, classic profile, RSA-{key.bits} key {key.fingerprint}, proves nobody's identity"
        self._trust(ServerClaim("classic", key.fingerprint, vouched=False, summary=summary))
        assert self.transport is not None
        assert self._classic_key is not None
        self.transport.write(classic.pem(self._classic_key.public_key()))
        super()._shown(key)


def _name(data: bytes) -> str:
    """What first bytes look like, for the log."""
    if data.startswith(b"\x16\x03"):
        return "a TLS hello (use the tls cipher on both sides)"
    if _HTTP.match(data):
        return "an HTTP request"
    if data.startswith(b"SSH-"):
        return "an ssh greeting"
    return f"bytes that begin with {data[:4].hex(' ')}"
