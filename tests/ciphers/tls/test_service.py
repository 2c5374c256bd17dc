"""A listening service and the system's ``openssl``: every certificate and every oddity over real sockets,
and each time the service is there for the next one.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from encchat.ciphers import layer, quiet
from encchat.ciphers.interfaces import IClientCipher, IServerCipher
from encchat.ciphers.testing import Recorder
from encchat.ciphers.testing.harness import RecorderFactory
from encchat.ciphers.tls import failures
from encchat.ciphers.tls.cipher import TlsClient, TlsServer
from encchat.ciphers.tls.layer import MAX_ANSWERS
from encchat.errors import EncchatError
from encchat.pki.names import NoUserInCertificate
from encchat.pki.profiles import WeakCertificate
from tests.ciphers.deadlines import NEVER, patient
from tests.ciphers.tls.authority import (
    DAY,
    NOW,
    SERVER_AUTH,
    Authority,
    Leaf,
    uri,
    with_sha1,
    write_crl,
    write_set,
)
from tests.ciphers.tls.rig import HELLO_OF_SSL_3, Log, nobody_asks, place

reactor: Any = _reactor
OPENSSL = shutil.which("openssl") or "openssl"

WEAK = rsa.generate_private_key(65537, 1024)
STRONG = rsa.generate_private_key(65537, 2048)


class Echo(Recorder):
    """Sends back what it gets, and closes after ``bye``."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: Deferred[Echo] = Deferred()

    def got(self, data: bytes) -> None:
        self.secure_transport.write(data)
        if self.received.endswith(b"bye\n"):
            self.secure_transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self.ended.callback(self)


class EchoFactory(Factory):
    """Keeps what it built."""

    noisy = False

    def __init__(self) -> None:
        self.built: list[Echo] = []
        self.first: Deferred[Echo] = Deferred()

    def buildProtocol(self, addr: object) -> Echo:
        self.built.append(Echo())
        if not self.first.called:
            self.first.callback(self.built[0])
        return self.built[-1]


class Tool(ProcessProtocol):
    """An ``openssl`` that runs."""

    def __init__(self, said: bytes) -> None:
        self.said = said
        self.output = b""
        self.ended: Deferred[str] = Deferred()
        self._waiting: tuple[bytes, int, Deferred[str]] | None = None

    def connectionMade(self) -> None:
        assert self.transport is not None
        if self.said:
            self.transport.write(self.said)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.output += data
        if self._waiting is not None:
            words, times, found = self._waiting
            if len(re.findall(words, self.output)) >= times:
                self._waiting = None
                found.callback(self.text)

    def until(self, words: bytes, times: int = 1) -> Deferred[str]:
        """Its output, once ``words``, a regular expression, are in it so many times, or it has ended."""
        found: Deferred[str] = Deferred()
        self._waiting = words, times, found
        self.childDataReceived(1, b"")
        return found

    def processEnded(self, reason: Failure) -> None:
        if self._waiting is not None:
            self._waiting[2].callback(self.text)
        self.ended.callback(self.text)

    @property
    def text(self) -> str:
        """All that it wrote."""
        return self.output.decode("utf-8", "replace")


class Raw(Protocol):
    """Speaks without TLS, and hears everything."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.received = b""
        self.ended: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        assert self.transport is not None
        if self.data:
            self.transport.write(self.data)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(self.received)


class ServiceCase(TestCase):
    """A service with an authority and a revocation list."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.authority = Authority()
        self.made = write_set(self.home, self.authority, "alice")
        patient(self)
        self.log = Log(self)
        self.tools: list[Tool] = []

    def listen(self, **arguments: object) -> IServerCipher:
        """Start the service on a free port."""
        cipher = TlsServer(place(self.home, "", **(arguments or {"certs": self.home})))
        cipher.prepare()
        cipher.start(reactor)
        self.addCleanup(cipher.stop)
        self.factory = EchoFactory()
        port = reactor.listenTCP(0, cipher.wrap(self.factory), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        return cipher

    def run_openssl(self, *arguments: str, said: bytes = b"") -> Tool:
        """Start the tool; it ends with the test."""
        tool = Tool(said)
        process = reactor.spawnProcess(
            tool, OPENSSL, [OPENSSL, *arguments], env={"PATH": os.environ["PATH"]}, path=str(self.home)
        )
        self.tools.append(tool)

        def end() -> Deferred[str] | None:
            if tool.ended.called:
                return None
            process.signalProcess("KILL")
            return tool.ended

        self.addCleanup(end)
        return tool

    def s_client(
        self,
        *more: str,
        leaf: Leaf | None = None,
        said: bytes = b"",
        alpn: str = "encchat/1",
        commands: bool = False,
    ) -> Tool:
        """``openssl s_client``, which goes on until the service closes. With ``commands`` a line of one
        letter is an order to the tool."""
        arguments = ["s_client", "-connect", f"127.0.0.1:{self.port}", "-CAfile", "ca.pem"]
        if not commands:
            arguments.append("-ign_eof")
        if alpn:
            arguments += ["-alpn", alpn]
        if leaf is not None:
            leaf.write(self.home, "shown")
            arguments += ["-cert", "shown.pem", "-key", "shown.key", "-cert_chain", "shown.pem"]
            arguments += ["-cipher", "DEFAULT@SECLEVEL=0"]
        return self.run_openssl(*arguments, *more, said=said)

    async def refused(self, tool: Tool, kind: type[BaseException], *words: str) -> str:
        """The service refuses, for this reason, with one line in its log; and takes the next one."""
        text = await tool.ended
        (above,) = self.factory.built
        await above.ended
        self.assertNotIn("handshakeCompleted", above.events)
        self.assertIsInstance(above.reason, kind)
        for word in words:
            self.assertIn(word, text)
        lines = self.log.having("ServerLayer: closed")
        self.assertEqual([line.partition(": closed: ")[2] for line in lines], [str(above.reason)])
        self.factory.built.clear()
        await self.welcomed()
        return text

    async def welcomed(self) -> None:
        """Somebody with a good certificate comes in."""
        tool = self.s_client(leaf=self.made["alice"], said=b"hello\nbye\n")
        text = await tool.ended
        (above,) = self.factory.built
        await above.ended
        self.assertEqual(bytes(above.received), b"hello\nbye\n")
        self.assertIn("hello", text)
        self.factory.built.clear()


class CertificateTests(ServiceCase):
    """The certificates of clients."""

    async def test_the_right_one(self) -> None:
        self.listen()
        tool = self.s_client(leaf=self.made["alice"], said=b"bye\n")
        text = await tool.ended
        for words in (
            "TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384",
            "ALPN protocol: encchat/1",
            "Verify return code: 0 (ok)",
            "CN = Test CA",
        ):
            self.assertIn(words, text)
        (above,) = self.factory.built
        identity = above.secure_transport.peerIdentity
        assert identity is not None
        self.assertEqual(identity.vouched_name, "alice")

    async def test_none(self) -> None:
        self.listen()
        await self.refused(self.s_client(), failures.NoCertificate, "alert certificate required")

    async def test_of_another_authority(self) -> None:
        self.listen()
        leaf = Authority("Other CA").user()
        await self.refused(self.s_client(leaf=leaf), failures.UnknownAuthority, "alert unknown ca")

    async def test_expired(self) -> None:
        self.listen()
        leaf = self.authority.user(begins=NOW - 9 * DAY, ends=NOW - DAY)
        await self.refused(self.s_client(leaf=leaf), failures.Expired, "alert certificate expired")

    async def test_not_yet_valid(self) -> None:
        self.listen()
        leaf = self.authority.user(begins=NOW + DAY)
        await self.refused(self.s_client(leaf=leaf), failures.NotYetValid, "alert bad certificate")

    async def test_revoked(self) -> None:
        self.listen()
        leaf = self.authority.user()
        write_crl(self.home / "crl.pem", self.authority.crl(leaf))
        self.listen()
        await self.refused(self.s_client(leaf=leaf), failures.Revoked, "alert certificate revoked")

    async def test_an_expired_revocation_list(self) -> None:
        write_crl(self.home / "crl.pem", self.authority.crl(updated=NOW - 2 * DAY, ends=NOW - DAY))
        cipher = self.listen()
        tool = self.s_client(leaf=self.made["alice"])
        self.assertIn("alert certificate expired", await tool.ended)
        (above,) = self.factory.built
        self.assertIsInstance(above.reason, failures.CrlExpired)
        self.factory.built.clear()
        write_crl(self.home / "crl.pem", self.authority.crl())
        cipher.reload()
        await self.welcomed()

    async def test_a_missing_revocation_list(self) -> None:
        other = Authority("Other CA")
        (self.home / "ca.pem").write_bytes(self.authority.pem + other.pem)
        self.listen()
        await self.refused(self.s_client(leaf=other.user()), failures.NoCrl, "alert unknown ca")

    async def test_another_purpose(self) -> None:
        self.listen()
        leaf = self.authority.user(purposes=[SERVER_AUTH])
        await self.refused(
            self.s_client(leaf=leaf), failures.CertificateRefused, "alert unsupported certificate"
        )

    async def test_no_name(self) -> None:
        self.listen()
        leaf = self.authority.user(names=[uri("encchat:alice"), uri("encchat:bob")])
        await self.refused(self.s_client(leaf=leaf), NoUserInCertificate, "alert internal error")

    async def test_weak(self) -> None:
        self.listen()
        leaf = self.authority.user(key=WEAK)
        await self.refused(self.s_client(leaf=leaf), WeakCertificate, "alert bad certificate")

    async def test_signed_with_sha_1(self) -> None:
        other = Authority("RSA CA", key=STRONG)
        (self.home / "ca.pem").write_bytes(self.authority.pem + other.pem)
        write_crl(self.home / "crl.pem", self.authority.crl(), other.crl())
        self.listen()
        leaf = with_sha1(other.user(), STRONG)
        await self.refused(self.s_client(leaf=leaf), WeakCertificate, "alert bad certificate")

    async def test_a_chain_of_eleven(self) -> None:
        below = self.authority
        for level in range(10):
            below = Authority(f"Level {level}", parent=below)
        self.listen()
        await self.refused(self.s_client(leaf=below.user()), failures.CertificateRefused, "alert")

    async def test_a_megabyte(self) -> None:
        self.listen()
        blob = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), b"\x04" * (1 << 20))
        tool = self.s_client(leaf=self.authority.user(extra=[blob]))
        await self.refused(tool, failures.HandshakeTooLarge)

    async def test_pins(self) -> None:
        """In pin mode anybody with a key comes in, and nobody without."""
        self.listen(trust="pin")
        leaf = Authority("Myself").user("whoever")
        tool = self.s_client(leaf=leaf, said=b"bye\n")
        self.assertIn("self-signed certificate", await tool.ended)
        (above,) = self.factory.built
        identity = above.secure_transport.peerIdentity
        assert identity is not None
        self.assertEqual((identity.vouched_name, above.received), (None, b"bye\n"))
        self.assertIn("known by its P-256 key alone", identity.summary)
        for other, kind in (
            (None, failures.NoCertificateToPin),
            (self.authority.user(key=WEAK), WeakCertificate),
        ):
            self.factory.built.clear()
            await self.s_client(leaf=other).ended
            (above,) = self.factory.built
            await above.ended
            self.assertIsInstance(above.reason, kind)


class OddityTests(ServiceCase):
    """Peers that are old, or speak something else, or stop, or never do."""

    async def test_old_versions(self) -> None:
        self.listen()
        await self.refused(self.s_client("-tls1_2"), failures.TlsTooOld, "alert protocol version")

    async def test_another_protocol(self) -> None:
        self.listen()
        tool = self.s_client(leaf=self.made["alice"], alpn="h2,http/1.1")
        await self.refused(tool, failures.NotEncchat, "alert no application protocol")

    async def test_no_protocol(self) -> None:
        """Who offers none gets a handshake, as scanners need it, and a proper close in place of an answer."""
        self.listen()
        tool = self.s_client(leaf=self.made["alice"], alpn="", said=b"hello\n")
        text = await self.refused(tool, failures.NotEncchat, "No ALPN negotiated")
        self.assertNotIn("hello", text)

    async def test_other_groups(self) -> None:
        self.patch(quiet, "INTERVAL", 0.0)
        self.listen()
        for groups in ("P-521", "X448", "ffdhe2048"):
            tool = self.s_client("-groups", groups, leaf=self.made["alice"])
            await self.refused(tool, failures.NothingInCommon, "alert handshake failure")
            self.log.events.clear()

    async def test_groups_in_any_order(self) -> None:
        """Also when the server has to ask for another hello."""
        self.listen()
        for groups, words in (
            ("X25519", "X25519"),
            ("P-256", "P-256"),
            ("P-384", "P-384"),
            ("ffdhe8192:P-256", "P-256"),
        ):
            tool = self.s_client("-groups", groups, leaf=self.made["alice"], said=b"bye\n")
            text = await tool.ended
            self.assertRegex(text, rf"Server Temp Key: (ECDH, )?({words}|prime256v1|secp384r1)")
            self.assertEqual(self.factory.built[-1].completed, 1)

    async def test_other_ciphers(self) -> None:
        self.listen()
        tool = self.s_client("-ciphersuites", "TLS_AES_128_GCM_SHA256", leaf=self.made["alice"])
        await self.refused(tool, failures.NothingInCommon, "alert handshake failure")

    async def test_no_resumption(self) -> None:
        """What the first connection saved is of no use to the second: its certificate is looked at again."""
        cipher = self.listen()
        tool = self.s_client("-sess_out", "session.pem", leaf=self.made["alice"], said=b"hello\nbye\n")
        await tool.ended
        self.assertTrue((self.home / "session.pem").exists())
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["alice"]))
        cipher.reload()
        self.factory.built.clear()
        tool = self.s_client("-sess_in", "session.pem", leaf=self.made["alice"])
        text = await tool.ended
        self.assertIn("New, TLSv1.3", text)
        self.assertIn("alert certificate revoked", text)
        await self.factory.built[0].ended
        self.assertIsInstance(self.factory.built[0].reason, failures.Revoked)

    async def test_key_updates(self) -> None:
        """A few new keys are given; somebody who never has enough of them is cut off."""
        self.listen()
        few = self.s_client(leaf=self.made["alice"], commands=True)
        await few.until(b"Verify return code: 0")
        for number in range(1, 4):
            few.transport.write(b"K\n")
            await few.until(b"KEYUPDATE", number)
        few.transport.write(b"hello\n")
        await few.until(b"hello")
        few.transport.write(b"bye\n")
        await few.ended
        self.assertEqual(bytes(self.factory.built[0].received), b"hello\nbye\n")
        self.factory.built.clear()
        many = self.s_client(leaf=self.made["alice"], commands=True)
        await many.until(b"Verify return code: 0")
        greedy = self.factory.built[0]
        for number in range(1, MAX_ANSWERS + 20):
            many.transport.write(b"K\n")
            await many.until(b"KEYUPDATE", number)
            if greedy.reason is not None:
                break
        await self.factory.built[0].ended
        self.assertIsInstance(self.factory.built[0].reason, failures.TooManyKeyUpdates)
        self.factory.built.clear()
        await self.welcomed()

    async def test_renegotiation(self) -> None:
        """TLS 1.3 has none: OpenSSL itself will not ask for it, and the connection is as before."""
        self.listen()
        tool = self.s_client(leaf=self.made["alice"], commands=True)
        await tool.until(b"Verify return code: 0")
        tool.transport.write(b"R\n")
        await tool.until(b"RENEGOTIATING")
        text = await tool.ended
        self.assertIn("wrong ssl version", text)
        self.factory.built.clear()
        await self.welcomed()

    async def said(self, data: bytes) -> tuple[Echo, bytes]:
        """Something is said over a plain socket."""
        where = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        raw = await where.connect(_making(lambda: Raw(data)))
        answer = await raw.ended
        (above,) = self.factory.built
        await above.ended
        self.factory.built.clear()
        return above, answer

    async def test_not_tls(self) -> None:
        """The log says what it was; the wire gives an alert, and no word."""
        self.listen()
        for data, words in (
            (b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "an HTTP request"),
            (b"hello?\n" * 10, "plain text"),
            (HELLO_OF_SSL_3, "The client offers SSL 3.0 at best"),
            (Random(4).randbytes(1000).replace(b"\x16", b"\x17"), ""),
        ):
            above, answer = await self.said(data)
            self.assertIsInstance(above.reason, EncchatError)
            self.assertIn(words, str(above.reason))
            self.assertLess(len(answer), 10)
        await self.welcomed()

    async def test_half_a_handshake(self) -> None:
        """Somebody who stops is sent away at the deadline; meanwhile others come and go."""
        self.listen()
        where = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port)
        raw = await where.connect(_making(lambda: Raw(bytes.fromhex("16030105a6010005a20303"))))
        silent = await self.factory.first
        self.factory.built.clear()
        await self.welcomed()
        self.assertIsNone(silent.reason)
        now = reactor.seconds()
        (due,) = [call for call in reactor.getDelayedCalls() if 0 < now + NEVER - call.getTime() < 10_000]
        due.reset(0)
        await raw.ended
        self.assertIsInstance(silent.reason, layer.HandshakeTimeout)


class OurClientTests(ServiceCase):
    """Our client against ``openssl s_server``."""

    async def serve(self, *more: str, leaf: Leaf | None = None, alpn: str = "encchat/1") -> Tool:
        """Start the server; its port is then ``self.port``."""
        (leaf or self.made["server"]).write(self.home, "shown")
        arguments = ["s_server", "-accept", "127.0.0.1:0", "-cert", "shown.pem", "-key", "shown.key"]
        arguments += ["-Verify", "3", "-CAfile", "ca.pem", "-naccept", "1"]
        if alpn:
            arguments += ["-alpn", alpn]
        tool = self.run_openssl(*arguments, *more)
        text = await tool.until(rb"ACCEPT \S+\n")
        self.port = int(text.partition("ACCEPT ")[2].split()[0].rpartition(":")[2])
        return tool

    async def connect(self, host: str = "127.0.0.1", **arguments: object) -> Echo:
        """Our client connects; what is above it."""
        cipher: IClientCipher = TlsClient(place(self.home, "alice", **(arguments or {"certs": self.home})))
        cipher.prepare()
        cipher.start(reactor)
        self.addCleanup(cipher.stop)
        above = Echo()
        factory = cipher.wrap(RecorderFactory(above), host, nobody_asks)
        reactor.connectTCP("127.0.0.1", self.port, _Once(factory))
        return above

    async def test_a_conversation(self) -> None:
        tool = await self.serve()
        above = await self.connect()
        text = await tool.until(b"ALPN protocols selected: encchat/1")
        self.assertIn("CN = alice", text)
        tool.transport.write(b"hello\nbye\n")
        await above.ended
        self.assertEqual(bytes(above.received), b"hello\nbye\n")
        identity = above.secure_transport.peerIdentity
        assert identity is not None
        self.assertIn("CN=server, certified by CN=Test CA", identity.summary)

    async def test_what_is_refused(self) -> None:
        for more, leaf, alpn, host, kind in (
            ((), Authority("Other CA").server(), "encchat/1", "127.0.0.1", failures.UnknownAuthority),
            ((), None, "encchat/1", "chat.example.org", EncchatError),
            ((), None, "", "127.0.0.1", failures.NotEncchat),
            ((), None, "http/1.1", "127.0.0.1", failures.NotEncchat),
            (("-tls1_2",), None, "encchat/1", "127.0.0.1", failures.TlsTooOld),
            (("-groups", "P-521"), None, "encchat/1", "127.0.0.1", failures.NothingInCommon),
            (("-ciphersuites", "TLS_AES_128_GCM_SHA256"), None, "encchat/1", "127.0.0.1", EncchatError),
        ):
            tool = await self.serve(*more, leaf=leaf, alpn=alpn)
            above = await self.connect(host)
            await above.ended
            self.assertEqual(above.events, ["connectionMade", "connectionLost"], (more, alpn, host))
            self.assertIsInstance(above.reason, kind)
            self.assertNotIn("CN = alice", tool.text)


class _Once(Factory):
    """A client factory of one connection."""

    noisy = False

    def __init__(self, wrapped: Any) -> None:
        self.wrapped = wrapped

    def buildProtocol(self, addr: Any) -> Any:
        return self.wrapped.buildProtocol(addr)

    def startedConnecting(self, connector: object) -> None:
        """As ClientFactory."""

    def clientConnectionFailed(self, connector: object, reason: Failure) -> None:
        """As ClientFactory."""

    def clientConnectionLost(self, connector: object, reason: Failure) -> None:
        """As ClientFactory."""


def _making(make: Callable[[], Protocol]) -> Any:
    return Factory.forProtocol(make)  # type: ignore[arg-type]  # anything that makes one will do
