"""What hostile peers do to a real service: a close, a line in its log, one a second for each of their
addresses, and nobody else notices."""

from __future__ import annotations

import re
import sys
from random import Random
from unittest import skipUnless

import rsa
from twisted.internet.defer import Deferred, DeferredList

from encchat import messages as m
from encchat.core.chat.hub import Settings
from encchat.wire import encode
from tests import SOAK
from tests.ciphers.rsa.script import PUBLIC
from tests.core.world import msgid, text
from tests.process.harness import ProcessCase, Service
from tests.process.wire_peer import FramePeer, connect_frames, connect_raw, welcome

TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(192)
#: Peers that come from addresses of their own, each of which has its own lines in the log.
several_hosts = skipUnless(sys.platform == "linux", "needs all addresses of 127.0.0.0/8")
#: Requests at once.
FLOOD = 10_000 if SOAK else 800
HALF_OF_C1 = b"ENCCHAT hrsa1 encchat/1\n" + b"\xff" * 300


def pem(key: rsa.PublicKey) -> bytes:
    found: bytes = key.save_pkcs1("PEM")
    return found


class BadInput(ProcessCase):
    """Each of them is refused, while two people go on talking."""

    service: Service
    alice: FramePeer
    bob: FramePeer

    async def talk(self, number: int) -> None:
        """The witnesses: what alice says now reaches bob."""
        before = len(self.bob.news)
        self.alice.send(text(number, f"still here {number}"))
        entry = await self.bob.news_of(m.Entry, before)
        self.assertEqual(entry.body, b"still here %d" % number)

    async def prepare(self) -> None:
        self.service = await self.serve("--max-half-open", "100")
        self.alice = await welcome(self.service.port, self.home / "alice", "alice")
        self.bob = await welcome(self.service.port, self.home / "bob", "bob")
        for peer in (self.alice, self.bob):
            peer.send(m.Join(1, "+lobby"))
            await peer.news_of(m.Joined)
        self.addCleanup(self.part)

    async def part(self) -> None:
        for peer in (self.alice, self.bob):
            peer.transport.abortConnection()
            await peer.closed()

    def lines_of(self, peer: str) -> list[str]:
        """What the log says of an address and port, or of all ports of an address."""
        words = f"{peer} " if ":" in peer else f"{peer}:"
        return [line for line in self.service.out if f" {words}" in line]

    def told(self, host: str) -> int:
        """The failures that the log counts for an address."""
        lines = self.lines_of(host)
        return len(lines) + sum(int(count) for count in re.findall(r"\((\d+) more failed", "".join(lines)))

    @several_hosts
    async def test_before_the_handshake(self) -> None:
        await self.prepare()
        good = pem(PUBLIC)
        for number, (word, data) in enumerate(
            (
                ("", Random(4).randbytes(2000)),
                ("HTTP", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
                ("TLS", TLS_HELLO),
                ("", b"\xff\xff\xff\xff"),
                ("", b"-----BEGIN RSA PUBLIC KEY-----\n" + b"A" * 100_000),
                ("512", pem(rsa.newkeys(512)[0])),
                ("", pem(rsa.PublicKey(PUBLIC.n & ~1, 65537))),
                ("", pem(rsa.PublicKey(PUBLIC.n, 1))),
                ("", good.replace(b"M", b"\x1b")),
                ("", b"ENCCHAT hrsa9 encchat/1\n" + bytes(700)),
                ("", b"ENCCHAT hrsa1 encchat/1\n" + bytes(1100)),
            )
        ):
            host = f"127.0.1.{number}"
            peer = await connect_raw(self.service.port, host)
            port = peer.transport.getHost().port
            peer.transport.write(data)
            await peer.closed()
            line = await self.service.line(f"{host}:{port} ")
            self.assertIn(word, line, data[:40])
            self.assertEqual(self.lines_of(host), [line])
            self.assertNotIn("\x1b", line)
            await self.talk(number)
        self.assertFalse([line for line in self.service.out if "Traceback" in line])

    async def test_half_a_handshake(self) -> None:
        await self.prepare()
        peer = await connect_raw(self.service.port)
        port = peer.transport.getHost().port
        peer.transport.write(HALF_OF_C1)
        await self.talk(1)
        peer.transport.loseConnection()
        await peer.closed()
        await self.service.line(f"127.0.0.1:{port}")
        await self.talk(2)

    @several_hosts
    async def test_those_who_never_speak(self) -> None:
        await self.prepare()
        hosts = [f"127.0.1.{number}" for number in range(5)]
        silent = [await connect_raw(self.service.port, host) for host in hosts * 10]
        half = await connect_frames(self.service.port, self.home / "carol")  # proves its key, says no hello
        await self.talk(1)
        done: Deferred[object] = DeferredList([Deferred.fromCoroutine(peer.closed()) for peer in silent])
        await done
        await half.closed()
        self.assertEqual(half.news[-1].code, "hello-timeout")
        for host in hosts:
            # The line that is due next counts all that had none.
            await self.service.line(f"{host}:")
            knocks: list[int] = []
            while not (told := [n for n, port in enumerate(knocks, 1) if self.lines_of(f"{host}:{port}")]):
                again = await connect_raw(self.service.port, host)
                knocks.append(again.transport.getHost().port)
                again.transport.write(b"knock")
                await again.closed()
            self.assertEqual(self.told(host), 10 + told[-1])
        await self.talk(2)

    async def test_after_the_handshake(self) -> None:
        await self.prepare()
        nested = b"\x91" * 200_000 + b"\xc0"
        for number, (code, before_hello, data) in enumerate(
            (
                ("malformed", True, b"\xff\xff\xff\xff"),
                ("malformed", True, (5000).to_bytes(4, "big") + bytes(5000)),
                ("malformed", True, encode(text(1, "hi"))),
                ("malformed", False, b"\xff\xff\xff\xff"),
                ("malformed", False, (1 << 20).to_bytes(4, "big") + bytes(1000)),
                ("malformed", False, len(nested).to_bytes(4, "big") + nested),
                ("malformed", False, b"\x00\x00\x00\x04\x92\xa3\xff\xfe"),
                ("malformed", False, b"\x00\x00\x00\x00"),
            )
        ):
            peer = await connect_frames(self.service.port, self.home / "eve")
            if not before_hello:
                peer.send(m.Hello((1,), "eve"))
                await peer.news_of(m.Welcome)
            peer.transport.write(data)
            await peer.closed()
            self.assertEqual((type(peer.news[-1]), peer.news[-1].code), (m.Error, code), data[:20])
            await self.talk(number)
        self.assertFalse([line for line in self.service.out if "Traceback" in line])

    async def test_requests_that_are_refused(self) -> None:
        await self.prepare()
        for name in ("a\nb", "\x1b[2Jx", "alice", "x" * 40, "guest-1234", ""):
            peer = await connect_frames(self.service.port, self.home / "eve")
            peer.send(m.Hello((1,), name))
            refused = await peer.news_of(m.Refused)
            self.assertIn(refused.code, {"bad-name", "name-taken"})
            self.assertNotRegex(refused.text, "[\x00-\x1f]")
            await peer.closed()
        eve = await welcome(self.service.port, self.home / "eve", "eve")
        eve.send(m.Join(1, "+lobby"), m.Send(2, "+lobby", msgid(1), "text", b"\xff\xfe"))
        self.assertEqual((await eve.news_of(m.Error)).code, "not-text")
        seen = len(eve.news)
        eve.send(m.Send(3, "+lobby", msgid(1), "text", b"x" * 200_000))
        self.assertEqual((await eve.news_of(m.Error, seen)).code, "too-large")
        seen = len(eve.news)
        eve.send(*[m.Join(n, f"+r{n}") for n in range(FLOOD)])
        let_in = Settings().max_rooms
        await eve.until(
            lambda: len([n for n in eve.news[seen:] if type(n) is m.Error]) >= FLOOD - let_in, "errors"
        )
        await self.talk(1)
        eve.transport.abortConnection()
        await eve.closed()
