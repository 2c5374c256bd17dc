"""A server that lies and attacks: tests/client/fake_server.py behind a real cipher, on a real port.

It runs in the process of the tests; the clients are real ones. ``attacks`` are texts that would steer a
terminal, hide, or reorder what is read, each short enough for every field of the protocol.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
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
from tests.hostile import BIDI
from tests.process.harness import reactor

ESC = "\x1b"


def attacks() -> Iterator[str]:
    """Texts of at most 24 characters. What could be taken for our own output is marked by the number 66."""
    for code in (*range(0x20), *range(0x7F, 0xA0)):
        yield f"a{chr(code)}b"
        yield f"{chr(code)}66H"
    yield f"{ESC}]52;c;QUJD\x07"
    yield f"{ESC}]0;owned{ESC}\\"
    yield "\x9d2;owned\x9c"
    yield f"{ESC}[66;66H"
    yield f"{ESC}[66A{ESC}[2J"
    yield f"{ESC}[?1049h{ESC}c"
    yield f"{ESC}P+q544e{ESC}\\"
    yield f"{ESC}[66n{ESC}[6n"
    yield f"\x9b66;66H{ESC}(0"
    yield f"{ESC}{ESC}[[66m"
    yield "line\nzoe: not me"
    yield "over\rwritten"
    yield "back\x08\x08\x08\x08gone"
    yield from (f"x{character}y" for character in BIDI)
    yield "\u200b" * 24
    yield "e" + "\u0301" * 23
    yield "\u115f\u3164\u2800"
    yield "\u2028\u2029\u0085"


class HostileServer(FakeServer):
    """Says every attack in every field, to whoever joins and to whoever asks."""

    def __init__(self) -> None:
        super().__init__()
        self.motd = "begin\n" + "".join(attacks()) + "\u0301" * 2000 + "\nend"
        self.room("+lobby").topic = "".join(attacks())[:900]

    def attack(self) -> None:
        """Everything at once, and then one honest line."""
        for number, evil in enumerate(attacks()):
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
        for number, character in enumerate("\u0301\u200b\u1161\u200d"):
            flood = f"a{character * 10_000}b"
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
