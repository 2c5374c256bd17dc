"""Ciphers of tests, and a peer that speaks TLS with plain OpenSSL: it can do what ours never would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import ILogObserver, LogEvent, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from encchat.ciphers.interfaces import IClientCipher, IServerCipher, Place, ServerClaim
from encchat.ciphers.testing import ContractReactor, Link, Recorder
from encchat.ciphers.testing.harness import RecorderFactory
from encchat.ciphers.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS
from encchat.ciphers.tls.cipher import TlsClient, TlsServer
from tests.ciphers.tls.authority import Leaf

#: What a client of 1996 says first.
HELLO_OF_SSL_3 = bytes.fromhex("16030000310100002d0300" + "07" * 32 + "000006c02f0035000a0100")


def place(directory: Path, name: str = "", **arguments: object) -> Place:
    """A place with arguments, in a directory of its own."""
    home = directory / f"home-{name or 'server'}"
    home.mkdir(mode=0o700, exist_ok=True, parents=True)
    return Place(home, name, {key: str(value) for key, value in arguments.items()})


def nobody_asks(claim: ServerClaim) -> None:
    """Trust whoever the cipher itself trusts."""


def raw_context(
    leaf: Leaf | None = None,
    *,
    server: bool = False,
    alpn: bytes | None = b"encchat/1",
    prepare: Callable[[SSL.Context], object] = lambda context: None,
) -> SSL.Context:
    """A context that shows ``leaf`` and believes everybody; ``prepare`` may make it odder."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")  # what is weak must be refused by the other side
    if leaf is not None:
        context.use_certificate(leaf.certificate)
        context.use_privatekey(leaf.key)
        for certificate in leaf.chain:
            context.add_extra_chain_cert(certificate)
    mode = SSL.VERIFY_PEER if server else SSL.VERIFY_NONE
    context.set_verify(mode, lambda connection, certificate, error, depth, ok: True)
    if server:
        context.set_alpn_select_callback(
            lambda connection, offered: alpn if alpn is not None else SSL.NO_OVERLAPPING_PROTOCOLS
        )
    elif alpn is not None:
        context.set_alpn_protos([alpn])
    prepare(context)
    return context


class RawPeer(Protocol):
    """One end of TLS, by OpenSSL alone."""

    def __init__(self, context: SSL.Context, *, server: bool = False) -> None:
        self.tls = SSL.Connection(context, None)
        self.server = server
        self.complete = False
        self.received = b""
        #: OpenSSL's reasons when it failed, such as alerts that it received.
        self.reasons: list[str] = []
        self.lost: Failure | None = None
        self.closed = False

    def connectionMade(self) -> None:
        """A client says hello."""
        (self.tls.set_accept_state if self.server else self.tls.set_connect_state)()
        self.step()

    def dataReceived(self, data: bytes) -> None:
        self.tls.bio_write(data)
        self.step()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason

    def step(self) -> None:
        """Go on with the handshake, or read."""
        try:
            if not self.complete:
                self.tls.do_handshake()
                self.complete = True
            while True:
                self.received += self.tls.recv(16384)
        except SSL.WantReadError:
            pass
        except SSL.ZeroReturnError:
            self.tls.shutdown()
            self.closed = True
        except SSL.Error as error:
            self.reasons += [entry[2] for entry in error.args[0]]
        self.flush()

    def say(self, data: bytes) -> None:
        """Write."""
        self.tls.send(data)
        self.flush()

    def flush(self) -> None:
        """Let OpenSSL's output out."""
        assert self.transport is not None
        try:
            while True:
                self.transport.write(self.tls.bio_read(16384))
        except SSL.WantReadError:
            pass
        if self.closed:
            self.transport.loseConnection()


class Log:
    """What was logged, as lines, while it is used as an observer."""

    def __init__(self, case: TestCase | SynchronousTestCase) -> None:
        self.events: list[LogEvent] = []
        observer = cast(ILogObserver, self.events.append)
        globalLogPublisher.addObserver(observer)
        case.addCleanup(globalLogPublisher.removeObserver, observer)

    @property
    def lines(self) -> list[str]:
        """All of it, formatted."""
        return [formatEvent(event) for event in self.events]

    def having(self, word: str) -> list[str]:
        """The lines with ``word``."""
        return [line for line in self.lines if word in line]


class TlsCase(SynchronousTestCase):
    """Ciphers in memory, against each other or against plain OpenSSL."""

    def setUp(self) -> None:
        self.reactor = ContractReactor()
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir(mode=0o700, parents=True)
        self.log = Log(self)
        self.links: list[Link] = []

    def tearDown(self) -> None:
        for link in self.links:
            link.cut()

    def server(self, **arguments: object) -> IServerCipher:
        """A server's cipher that was started; ``certs`` is below our directory if nothing else is said."""
        return self._ready(TlsServer(place(self.home, "", **self._with_certs(arguments))))

    def client(self, name: str = "alice", **arguments: object) -> IClientCipher:
        """A client's cipher that was started."""
        return self._ready(TlsClient(place(self.home, name, **self._with_certs(arguments))))

    def _with_certs(self, arguments: dict[str, object]) -> dict[str, object]:
        return arguments if "trust" in arguments or "cert" in arguments else {"certs": self.home} | arguments

    def _ready(self, cipher: Any) -> Any:
        cipher.prepare()
        cipher.start(self.reactor)
        self.addCleanup(cipher.stop)
        return cipher

    def serve(self, cipher: IServerCipher, recorder: Recorder) -> IProtocol:
        """The server's protocol below ``recorder``."""
        protocol = cipher.wrap(RecorderFactory(recorder)).buildProtocol(CLIENT_ADDRESS)
        assert protocol is not None
        return protocol

    def reach(
        self, cipher: IClientCipher, recorder: Recorder, host: str = "127.0.0.1", trust: Any = nobody_asks
    ) -> IProtocol:
        """The client's protocol below ``recorder``."""
        protocol = cipher.wrap(RecorderFactory(recorder), host, trust).buildProtocol(SERVER_ADDRESS)
        assert protocol is not None
        return protocol

    def link(self, client: IProtocol, server: IProtocol) -> Link:
        """Connect the two, and let them talk until they rest."""
        link = Link(self.reactor, client, server)
        self.links.append(link)
        link.flush()
        return link

    def both(
        self, client: IClientCipher, server: IServerCipher, host: str = "127.0.0.1", trust: Any = nobody_asks
    ) -> tuple[Recorder, Recorder, Link]:
        """A connection between our two sides."""
        above_client, above_server = Recorder(), Recorder()
        link = self.link(self.reach(client, above_client, host, trust), self.serve(server, above_server))
        return above_client, above_server, link

    def raw_client(self, context: SSL.Context, server: IServerCipher) -> tuple[RawPeer, Recorder]:
        """A connection of plain OpenSSL to our server."""
        peer, recorder = RawPeer(context), Recorder()
        self.link(peer, self.serve(server, recorder))
        return peer, recorder

    def raw_server(
        self, context: SSL.Context, client: IClientCipher, host: str = "127.0.0.1", trust: Any = nobody_asks
    ) -> tuple[RawPeer, Recorder]:
        """A connection of our client to plain OpenSSL."""
        peer, recorder = RawPeer(context, server=True), Recorder()
        self.link(self.reach(client, recorder, host, trust), peer)
        return peer, recorder

    def assert_refused(self, recorder: Recorder, kind: type[BaseException], *words: str) -> str:
        """The connection failed before anything was believed, for this reason, in these words."""
        self.assertEqual(recorder.events, ["connectionMade", "connectionLost"], recorder.reason)
        self.assertIsInstance(recorder.reason, kind)
        text = str(recorder.reason)
        for word in words:
            self.assertIn(word, text)
        return text
