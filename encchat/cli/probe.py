"""Connects to a running service to see what it offers, without entering the chat.

The handshake is the client cipher's own. Whether the server took our certificate shows only with the
first answer to something of ours, as a TLS client is done before the server judged it: so a ``Hello`` of
a version that nobody speaks is sent, which a server refuses by its code after it let us through.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from cryptography import x509
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectError, DNSLookupError
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.ciphers.interfaces import IClientCipher, ISecureTransport, ServerClaim
from encchat.ciphers.tls.layer import TlsLayer
from encchat.client.network.address import Address
from encchat.core.identity import PeerIdentity
from encchat.errors import EncchatError, LinkError, PeerError
from encchat.messages import MAX_PAYLOAD_BEFORE_ADMISSION, Hello, Refused
from encchat.pki.health import Finding, look_at_certificate
from encchat.pki.hosts import hosts_of
from encchat.wire import FrameSplitter, decode_server, encode

#: Seconds until a connection has to be there, and until the server has to have answered.
CONNECT_DEADLINE = 10.0
ANSWER_DEADLINE = 15.0

#: A version of the native protocol that there will never be.
NO_VERSION = 0


class NoAnswer(PeerError):
    """The server completed the handshake and then said nothing for {seconds:g} seconds. Is it encchat?"""


class Unreachable(LinkError):
    """{address} cannot be reached: {reason}. Does the service run, and is that its --port?"""


@dataclass(slots=True)
class Answer:
    """What was seen of a server; ``error`` is why no more was."""

    claim: ServerClaim | None = None
    server: PeerIdentity | None = None
    alpn: str | None = None
    #: Of TLS: version, group, cipher suite.
    agreed: tuple[str, str, str] | None = None
    certificate: x509.Certificate | None = None
    #: Whether the server let us through to the protocol.
    accepted: bool = False
    error: EncchatError | None = None


async def probe(reactor: Any, address: Address, cipher: IClientCipher, name: str) -> Answer:
    """Connect, look, and close. ``cipher`` is prepared; ``name`` is the user's, for the Hello."""
    answer = Answer()
    done: Deferred[None] = Deferred()
    timer = None
    cipher.start(reactor)
    try:
        factory = _ProberFactory(answer, done, name)
        wrapped = cipher.wrap(factory, address.host, lambda claim: _note(answer, claim))
        endpoint = HostnameEndpoint(reactor, address.host, address.port, CONNECT_DEADLINE)
        layer = cast(Protocol, await endpoint.connect(wrapped))
        timer = reactor.callLater(ANSWER_DEADLINE, factory.too_slow)
        await done
        cast(ISecureTransport, layer.transport).abortConnection()
    except EncchatError as error:
        answer.error = error
    except (ConnectError, DNSLookupError, OSError) as error:
        answer.error = Unreachable(address=str(address), reason=str(error).rstrip("."))
    finally:
        if timer is not None and timer.active():
            timer.cancel()
        cipher.stop()
    return answer


def findings(answer: Answer, address: Address, ours: PeerIdentity, now: datetime) -> Iterator[Finding]:
    """What an answer means. ``ours`` is what we showed."""
    if answer.server is not None:
        agreed = [
            *(answer.agreed or ()),
            f"ALPN {answer.alpn}" if answer.agreed else (answer.alpn or "classic"),
        ]
        yield Finding.ok("connection", f"Connected to {address}: {', '.join(agreed)}.")
        who = answer.server
        proof = "proved to hold" if who.authenticated else "showed, and did not prove,"
        yield Finding.ok("server", f"The server {proof} the key {who.fingerprint}: {who.summary}.")
    if answer.agreed is not None and "MLKEM" not in answer.agreed[1]:
        text = f"The key exchange is {answer.agreed[1]}: what is recorded today may be read one day."
        yield Finding.note("key-exchange", text, "Use OpenSSL 3.5 or later on both sides.")
    if answer.certificate is not None and answer.claim is not None and answer.claim.vouched:
        hosts = ", ".join(hosts_of(answer.certificate))
        yield Finding.ok("names", f"The server's certificate is for {hosts}.")
        yield look_at_certificate(answer.certificate, "The server's certificate", now)
    if answer.accepted:
        who_we_are = f"be {ours.vouched_name} with" if ours.vouched_name else "hold"
        text = f"We proved to {who_we_are} the key {ours.fingerprint}, and the server let us through."
        yield Finding.ok("user", text)
    if answer.error is not None:
        yield Finding.error("connection", str(answer.error))


def _note(answer: Answer, claim: ServerClaim) -> None:
    """Believe any server: nothing of ours is at stake, and what it shows is what we are here for."""
    answer.claim = claim


class _ProberFactory(Factory):
    noisy = False

    def __init__(self, answer: Answer, done: Deferred[None], name: str) -> None:
        self.answer = answer
        self.done = done
        self.name = name

    def buildProtocol(self, addr: object) -> _Prober:
        """One connection."""
        return _Prober(self)

    def too_slow(self) -> None:
        """Nothing came."""
        self.finish(NoAnswer(seconds=ANSWER_DEADLINE))

    def finish(self, error: EncchatError | None) -> None:
        """It is over, with or without an error."""
        if self.done.called:
            return
        if error is None:
            self.done.callback(None)
        else:
            self.done.errback(Failure(error))


@implementer(IHandshakeListener)
class _Prober(Protocol):
    def __init__(self, factory: _ProberFactory) -> None:
        self._probe = factory
        self._frames = FrameSplitter(MAX_PAYLOAD_BEFORE_ADMISSION)

    def handshakeCompleted(self) -> None:
        """The server has proved its key: note what was agreed on, and ask it something."""
        answer, transport = self._probe.answer, cast(ISecureTransport, self.transport)
        answer.server = transport.peerIdentity
        protocol = transport.negotiatedProtocol
        answer.alpn = None if protocol is None else protocol.decode("ascii")
        if isinstance(transport, TlsLayer):
            answer.agreed, answer.certificate = transport.agreed, transport.peer_certificate
        if protocol is None:  # the classic profile: there is nobody to be judged by
            self._probe.finish(None)
        else:
            transport.write(encode(Hello((NO_VERSION,), self._probe.name)))

    def dataReceived(self, data: bytes) -> None:
        """The server's refusal of our version, which says that it let us in so far."""
        try:
            for frame in self._frames.feed(data):
                if isinstance(decode_server(frame), Refused):
                    self._probe.answer.accepted = True
                    self._probe.finish(None)
        except EncchatError as error:
            self._probe.finish(error)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """It ended before we had an answer."""
        error = reason.value
        if not isinstance(error, EncchatError):
            error = Unreachable(address="The server", reason=reason.getErrorMessage())
        self._probe.finish(error)
