"""Both rsa profiles over real sockets, with real threads, and with a process that is the classroom script."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import cast

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.error import ConnectionDone, ProcessDone
from twisted.internet.interfaces import (
    IHandshakeListener,
    IListeningPort,
    IProtocolFactory,
    IReactorProcess,
    IReactorTCP,
)
from twisted.internet.protocol import Factory, ProcessProtocol, Protocol, connectionDone
from twisted.protocols.basic import LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from encchat.ciphers import rsa
from encchat.ciphers.interfaces import ISecureTransport, Place
from tests.ciphers.deadlines import patient
from tests.ciphers.rsa.rig import VECTORS
from tests.process.harness import ROOT, SCRIPT, surroundings

reactor = cast(IReactorTCP, _reactor)


class Script(ProcessProtocol):
    """The script's process: what it prints, and how it ends."""

    def __init__(self, answer: str, port: int, *options: str) -> None:
        self.printed: list[str] = []
        self.complaints = b""
        self.port: Deferred[int] = Deferred()
        self.ended: Deferred[list[str]] = Deferred()
        self._rest = b""
        command = [sys.executable, *SCRIPT, answer, str(port), *options]
        self.process = cast(IReactorProcess, reactor).spawnProcess(
            self, sys.executable, command, env=surroundings(), path=str(ROOT)
        )

    def say(self, *lines: str) -> None:
        """Type lines."""
        self.process.write("".join(f"{line}\n" for line in lines).encode())  # type: ignore[no-untyped-call]

    def outReceived(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b"{"):
                self.port.callback(json.loads(line)["port"])
            else:
                self.printed.append(line.decode())

    def errReceived(self, data: bytes) -> None:
        self.complaints += data

    def processEnded(self, reason: Failure) -> None:
        if reason.check(ProcessDone) and not self.complaints:
            self.ended.callback(self.printed)
        else:
            self.ended.errback(AssertionError(f"{reason.value}: {self.complaints.decode()}"))


@implementer(IHandshakeListener)
class Talker(LineReceiver):
    """Greets, echoes lines, and closes at ``bye``."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.ended: Deferred[BaseException] = Deferred()

    def handshakeCompleted(self) -> None:
        self.sendLine(b"welcome")

    def lineReceived(self, line: bytes) -> None:
        self.lines.append(line.decode())
        self.sendLine(b"echo " + line)
        if line == b"bye":
            cast(ISecureTransport, self.transport).loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(reason.value)


@implementer(IHandshakeListener)
class Sender(Protocol):
    """Sends everything at once, and keeps what comes back."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.received = b""
        self.ended: Deferred[BaseException] = Deferred()

    def handshakeCompleted(self) -> None:
        cast(ISecureTransport, self.transport).write(self.data)

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.callback(reason.value)


class Built(Factory):
    """Hands out one protocol."""

    noisy = False

    def __init__(self, protocol: Protocol) -> None:
        self.built = protocol

    def buildProtocol(self, addr: object) -> Protocol:
        return self.built


class Loopback(TestCase):
    """A server or a client of ours, and somebody at the other end."""

    def setUp(self) -> None:
        patient(self)

    def place(self, key: str, **arguments: str) -> Place:
        directory = Path(self.mktemp())
        directory.mkdir(mode=0o700)
        path = directory / rsa.IDENTITY_FILE
        path.touch(mode=0o600)
        path.write_text(VECTORS["private_keys"][key])
        return Place(directory, arguments=arguments)

    def listen(self, protocol: Protocol, **arguments: str) -> int:
        cipher = rsa.server(self.place("IS", **arguments))
        cipher.prepare()
        cipher.start(reactor)
        self.addCleanup(cipher.stop)
        factory = cipher.wrap(cast(IProtocolFactory, Built(protocol)))
        port = cast(IListeningPort, reactor.listenTCP(0, factory, interface="127.0.0.1"))
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)  # type: ignore[attr-defined]  # of an IPv4Address

    async def connect(self, protocol: Protocol, port: int, **arguments: str) -> None:
        cipher = rsa.client(self.place("IC", **arguments))
        cipher.prepare()
        cipher.start(reactor)
        self.addCleanup(cipher.stop)
        factory = cipher.wrap(cast(IProtocolFactory, Built(protocol)), "127.0.0.1", lambda claim: None)
        await TCP4ClientEndpoint(reactor, "127.0.0.1", port).connect(factory)

    async def test_hrsa1(self) -> None:
        lines = [f"line {number} " + "x" * 200 for number in range(300)] + ["bye"]
        talker = Talker()
        sender = Sender("".join(f"{line}\n" for line in lines).encode())
        port = self.listen(talker, classic="no")
        await self.connect(sender, port)
        self.assertIsInstance(await talker.ended, ConnectionDone)
        self.assertIsInstance(await sender.ended, ConnectionDone)
        self.assertEqual(talker.lines, lines)
        self.assertEqual(sender.received.decode(), "welcome\n" + "".join(f"echo {line}\n" for line in lines))

    async def test_the_script_as_a_client(self) -> None:
        talker = Talker()
        port = self.listen(talker)
        script = Script("2", port)
        lines = [f"Grüße {number}" for number in range(20)]
        script.say(*lines, "bye")
        printed = await script.ended
        self.assertIsInstance(await talker.ended, ConnectionDone)
        self.assertEqual(talker.lines, [*lines, "bye"])
        self.assertEqual(printed[0].split("\n")[0], "Partner: welcome")
        shown = "\n".join(printed).replace("Partner: ", "").split("\n")
        self.assertEqual(shown, ["welcome", *(f"echo {line}" for line in [*lines, "bye"])])

    async def test_the_script_as_a_server(self) -> None:
        talker = Talker()
        script = Script("1", 0)
        await self.connect(talker, await script.port, classic="only")
        script.say("hello", "bye")
        printed = await script.ended
        self.assertIsInstance(await talker.ended, ConnectionDone)
        self.assertEqual(talker.lines, ["hello", "bye"])
        self.assertEqual("\n".join(printed).replace("Partner: ", ""), "welcome\necho hello\necho bye")

    async def test_the_script_as_a_client_that_leaves(self) -> None:
        talker = Talker()
        script = Script("2", self.listen(talker, classic="only"), "--until", "echo hello")
        script.say("hello")
        printed = await script.ended
        self.assertIsInstance(await talker.ended, ConnectionDone)
        self.assertEqual(talker.lines, ["hello"])
        self.assertEqual("\n".join(printed).replace("Partner: ", ""), "welcome\necho hello")
