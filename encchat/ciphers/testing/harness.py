"""What the contract's tests stand on: two ciphers, a clock, connections in memory, and protocols that
write down what happens to them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain, repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.strategies import SearchStrategy
from twisted.internet.interfaces import IAddress, IHandshakeListener, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat.ciphers.interfaces import (
    HANDSHAKE_DEADLINE,
    IClientCipher,
    ISecureTransport,
    IServerCipher,
    ServerClaim,
    Trust,
)
from encchat.ciphers.layer import CLOSE_DEADLINE
from encchat.ciphers.testing.link import CLIENT_ADDRESS, READ_SIZE, SERVER_ADDRESS, End, Link
from encchat.ciphers.testing.reactor import ContractReactor

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as _Case
else:
    _Case = object  # a mixin: as a TestCase it would be collected wherever it is imported


@implementer(IHandshakeListener)
class Recorder(Protocol):
    """A protocol above a cipher that writes down what happens. Tests override ``made``, ``secure`` and
    ``got`` to act at these moments."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.received = bytearray()
        self.reason: BaseException | None = None

    @property
    def secure_transport(self) -> ISecureTransport:
        """The cipher."""
        return cast(ISecureTransport, self.transport)

    @property
    def completed(self) -> int:
        """How often the handshake was completed."""
        return self.events.count("handshakeCompleted")

    def connectionMade(self) -> None:
        self.events.append("connectionMade")
        self.made()

    def handshakeCompleted(self) -> None:
        self.events.append("handshakeCompleted")
        self.secure()

    def dataReceived(self, data: bytes) -> None:
        self.events.append("dataReceived")
        self.received += data
        self.got(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.events.append("connectionLost")
        self.reason = reason.value

    def made(self) -> None:
        """The connection is there, the peer unknown."""

    def secure(self) -> None:
        """The handshake is complete."""

    def got(self, data: bytes) -> None:
        """``data`` arrived."""


class RecorderFactory(Factory):
    """Builds one given recorder, or None."""

    noisy = False

    def __init__(self, recorder: Recorder | None) -> None:
        self.recorder = recorder
        self.started = 0

    def doStart(self) -> None:
        self.started += 1

    def doStop(self) -> None:
        self.started -= 1

    def buildProtocol(self, addr: IAddress | None) -> Recorder | None:
        return self.recorder


class Peer(Protocol):
    """Something that speaks no cipher: it says ``data`` and then whatever the test lets it write."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def connectionMade(self) -> None:
        if self.data:
            cast(End, self.transport).write(self.data)


class Session:
    """One connection of a test: ``link``, a recorder above each end, and what the client was shown."""

    link: Link

    def __init__(self, client: Recorder, server: Recorder) -> None:
        self.client = client
        self.server = server
        self.claims: list[ServerClaim] = []
        #: What the client had sent when it was asked whether to trust.
        self.sent_before_trust = b""

    @property
    def recorders(self) -> tuple[Recorder, Recorder]:
        """Both protocols, the client's first."""
        return self.client, self.server

    def note(self, claim: ServerClaim) -> None:
        """The client is asked whether to trust."""
        self.claims.append(claim)
        self.sent_before_trust = bytes(self.link.client.sent)

    def end_of(self, recorder: Recorder) -> End:
        """The end of the link that carries ``recorder``."""
        return self.link.client if recorder is self.client else self.link.server

    def other(self, recorder: Recorder) -> Recorder:
        """The recorder on the other side."""
        return self.server if recorder is self.client else self.client


class Harness(_Case):
    """The hooks of an author, and the means of the tests."""

    #: What both sides must have agreed on.
    protocol: ClassVar[bytes] = b"encchat/1"
    #: The host that the client is told it connects to.
    host: ClassVar[str] = "127.0.0.1"
    #: The sizes of what is sent in one write.
    sizes: ClassVar[tuple[int, ...]] = (0, 1, 65536, 1 << 20)
    #: How many examples each property test tries.
    examples: ClassVar[int] = 15
    #: Whether a failing example is made as small as possible, which can take minutes.
    shrink: ClassVar[bool] = True
    #: How many bytes a client may send before it was asked to trust; None: any, but not who it is.
    max_sent_before_trust: ClassVar[int | None] = None

    reactor: ContractReactor
    server_cipher: IServerCipher
    client_cipher: IClientCipher
    _directories: ClassVar[dict[type, Path]] = {}

    # ------------------------------------------------------------------------- hooks of the author

    def make_ciphers(self, directory: Path) -> tuple[IServerCipher, IClientCipher]:
        """A server's and a client's cipher, prepared, with their files below ``directory``. That is the
        same for all tests of a class: keys that were made once are found again."""
        raise NotImplementedError  # abstract

    def make_stranger(self, directory: Path) -> IClientCipher | None:
        """A prepared client that the server must refuse during the handshake; None if it lets in every
        key, so that it is admission that decides."""
        return None

    def settle(self) -> None:
        """Do all the work that ciphers gave to threads."""
        self.reactor.settle()

    # ----------------------------------------------------------------------------------- the tests

    def setUp(self) -> None:
        """Make the ciphers and start them."""
        super().setUp()
        self.reactor = ContractReactor()
        self._sessions: list[Session] = []
        self.addCleanup(self._nothing_left)
        self.server_cipher, self.client_cipher = self.make_ciphers(self.directory())
        self.start(self.server_cipher)
        self.start(self.client_cipher)

    def start(self, cipher: IServerCipher | IClientCipher) -> None:
        """Start ``cipher`` until the end of the test."""
        cipher.start(self.reactor)
        self.addCleanup(cipher.stop)
        self.settle()

    def _nothing_left(self) -> None:
        self.settle()
        self.assertEqual(self.reactor.getDelayedCalls(), [], "a timer outlived connections and ciphers")

    def tearDown(self) -> None:
        """End what is still there."""
        self.end_sessions()
        super().tearDown()

    def directory(self) -> Path:
        """The directory of this class of tests."""
        found = Harness._directories.get(type(self))
        if found is None:
            found = Harness._directories[type(self)] = Path(self.mktemp()).absolute()
            found.mkdir(mode=0o700, parents=True)
        return found

    def connect(
        self,
        client: Recorder | None = None,
        server: Recorder | None = None,
        *,
        trust: Trust | None = None,
        cipher: IClientCipher | None = None,
        flush: bool = True,
    ) -> Session:
        """Connect a client to the server and, if ``flush``, let them complete their handshake."""
        session = Session(client or Recorder(), server or Recorder())

        def judge(claim: ServerClaim) -> None:
            session.note(claim)
            if trust is not None:
                trust(claim)

        session.link = Link(
            self.reactor,
            self.client_protocol(session.client, judge, cipher),
            self.server_protocol(session.server),
        )
        self._sessions.append(session)
        if flush:
            self.flush(session)
        return session

    def secured(self, client: Recorder | None = None, server: Recorder | None = None) -> Session:
        """A connection whose handshake is complete on both sides."""
        session = self.connect(client, server)
        self.assertEqual((session.client.completed, session.server.completed), (1, 1), "no handshake")
        return session

    def server_protocol(self, recorder: Recorder) -> IProtocol:
        """The server cipher's protocol below ``recorder``."""
        return self._built(self.server_cipher.wrap(RecorderFactory(recorder)), CLIENT_ADDRESS)

    def client_protocol(
        self, recorder: Recorder, trust: Trust, cipher: IClientCipher | None = None
    ) -> IProtocol:
        """A client cipher's protocol below ``recorder``."""
        wrapped = (cipher or self.client_cipher).wrap(RecorderFactory(recorder), self.host, trust)
        return self._built(wrapped, SERVER_ADDRESS)

    def _built(self, factory: Any, address: IAddress) -> IProtocol:
        protocol = factory.buildProtocol(address)
        self.assertIsNotNone(protocol, "the wrapped factory built a protocol, the cipher's built none")
        return cast(IProtocol, protocol)

    def alone(self, side: str, data: bytes = b"") -> tuple[Recorder, Link]:
        """The ``side`` of a cipher, connected to something that just says ``data``."""
        session = Session(Recorder(), Recorder())
        recorder = session.server if side == "server" else session.client
        if side == "server":
            session.link = Link(self.reactor, Peer(data), self.server_protocol(recorder))
        else:
            session.link = Link(self.reactor, self.client_protocol(recorder, lambda claim: None), Peer(data))
        self._sessions.append(session)
        return recorder, session.link

    def flush(self, session: Session) -> None:
        """Move everything, and do all work in threads."""
        self.flush_link(session.link)

    def flush_link(self, link: Link) -> None:
        """Move everything over ``link``, and do all work in threads."""
        while True:
            link.flush()
            before = link.client.taken, link.server.taken
            self.settle()
            link.flush()
            if (link.client.taken, link.server.taken) == before:
                return

    def pass_deadlines(self, link: Link) -> None:
        """Let the deadlines of the handshake and of closing pass."""
        for seconds in (HANDSHAKE_DEADLINE, CLOSE_DEADLINE):
            self.flush_link(link)
            self.reactor.advance(seconds)
        self.flush_link(link)

    def end_sessions(self) -> None:
        """Cut every connection of the test."""
        for session in self._sessions:
            session.link.cut()
            self.settle()
        self._sessions.clear()

    def check(self, test: Callable[..., None], **strategies: SearchStrategy[Any]) -> None:
        """Run ``test`` on examples that hypothesis makes; connections end with each."""

        def example(**values: Any) -> None:
            test(**values)
            self.end_sessions()

        tried = settings(
            max_examples=self.examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate, *([Phase.shrink] if self.shrink else [])],
        )(given(**strategies)(example))
        tried()


def in_pieces(end: End, sizes: Iterable[int]) -> None:
    """Let what ``end`` sends arrive in pieces of these sizes, and then of the usual one."""
    end.sizes = chain(sizes, repeat(READ_SIZE))
