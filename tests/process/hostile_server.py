"""A server that lies and attacks: tests/client/fake_server.py behind a real cipher, on a real port.

It runs in the process of the tests; the clients are real ones.
"""

from __future__ import annotations

import json
from pathlib import Path

from twisted.internet.defer import maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from encchat import messages as m
from encchat.ciphers.registry import server_cipher
from encchat.wire import FrameSplitter
from tests.client.fake_server import FakeLink, FakeServer
from tests.hostile import ESC, attacks, floods
from tests.process.harness import reactor


class HostileServer(FakeServer):
    """Says every attack in every field, to whoever joins and to whoever asks."""

    def __init__(self) -> None:
        super().__init__()
        self.motd = "begin\n" + "".join(attacks()) + "\u0301" * 2000 + "\nend"
        self.room("+lobby").topic = "".join(attacks())[:900]

    def attack(self, *, brief: bool = False) -> None:
        """Everything at once, and then one honest line; ``brief``: a message for several attacks."""
        evils = list(attacks())
        for start in range(0, len(evils) if brief else 0, 6):
            evil = "".join(evils[start : start + 6])
            self.append("+lobby", evils[start] or "bob", "text", f"{start:016}".encode(), evil.encode())
        for number, evil in enumerate(() if brief else evils):
            for kind, body in (
                ("text", evil.encode()),
                ("me", evil.encode("utf-8")),
                ("topic", evil.encode()),
                ("ban", m_json({"name": evil or "x", "reason": evil})),
                ("reply", m_json({"target": 1, "text": evil or "x"})),
                ("edit", m_json({"target": 1, "text": evil or "x"})),
                ("reaction", m_json({"target": 1, "sign": evil or "x"})),
                ("file", m_json({"name": evil or "x", "size": 1, "hash": "0" * 64, "type": evil})),
                (evil[:32], evil.encode()),
            ):
                self.append(
                    "+lobby", evil or "bob", kind, f"{number:04}{kind:.8}".encode()[:16].ljust(16), body
                )
            for link in self.links:
                link.answer(
                    m.Presence("+lobby", evil, True, True),
                    m.Invited(evil, evil),
                    m.Notice(evil * 10),
                    m.Error(0, "odd", evil),
                )
        for number, flood in enumerate(floods()):
            self.append("+lobby", "bob", "text", bytes([number] * 16), flood.encode())
        self.append("+lobby", "bob", "text", b"e" * 16, b"that was all")
        for link in self.links:
            link.push()


def m_json(facts: dict[str, object]) -> bytes:
    """A body."""
    return json.dumps(facts).encode()


class HostileLink(FakeLink):
    """A connection, which also answers every question with attacks."""

    protocol: HostileProtocol

    def push(self) -> None:
        """Send what waits."""
        self.protocol.push()

    def on_rooms(self, message: m.Rooms) -> None:
        evil = [text for text in attacks() if text]
        self.answer(m.RoomList(message.id, tuple(m.RoomInfo(x, 1, 1, x) for x in evil)))

    def on_who(self, message: m.Who) -> None:
        evil = [text for text in attacks() if text]
        self.answer(m.Members(message.id, message.room, tuple(m.Member(x, True) for x in evil)))

    def on_whois(self, message: m.Whois) -> None:
        evil = f"{ESC}[66;66H{ESC}]0;x\x07"
        self.answer(m.Profile(message.id, evil, evil, 0, False, True, False, (evil, *list(attacks())[:50])))

    def on_about(self, message: m.About) -> None:
        self.answer(m.Error(message.id, "odd", "".join(attacks())[:900]))


@implementer(IHandshakeListener)
class HostileProtocol(Protocol):
    """Between a cipher and a link."""

    def __init__(self, server: FakeServer) -> None:
        self._link = HostileLink(server)
        self._link.protocol = self
        self._server = server
        self._splitter = FrameSplitter()

    def handshakeCompleted(self) -> None:
        self._server.links.append(self._link)

    def dataReceived(self, data: bytes) -> None:
        for frame in self._splitter.feed(data):
            self._link.feed_frame(frame)
        self.push()

    def push(self) -> None:
        """Send what waits."""
        self.transport.write(b"".join(self._link.drain()))
        if self._link.closed:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._link.cut()


class HostileFactory(Factory):
    """Makes them."""

    noisy = False

    def __init__(self, server: FakeServer) -> None:
        self._server = server

    def buildProtocol(self, addr: object) -> HostileProtocol:
        return HostileProtocol(self._server)


class Listening:
    """A hostile server on a free port of this machine."""

    def __init__(self, directory: Path) -> None:
        self.server = HostileServer()
        self._cipher = server_cipher("rsa", directory, "service")

    async def start(self) -> None:
        """Listen."""
        self._cipher.prepare()
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        self._port = await endpoint.listen(self._cipher.wrap(HostileFactory(self.server)))
        self._cipher.start(reactor)
        self.address = f"127.0.0.1:{self._port.getHost().port}"

    async def stop(self) -> None:
        """Listen no more."""
        self._cipher.stop()
        await maybeDeferred(self._port.stopListening)
