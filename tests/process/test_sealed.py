"""Keys, mail and sealed rooms of a real service, across SIGKILL: what was acknowledged is there, no key is
handed out twice, and a room is for its members."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from encchat import messages as m
from encchat.core.identity import fingerprint
from encchat.wire import decode_entry
from tests.core.relay.sealing import Gadget, change, create, roster, sealed
from tests.process.harness import ProcessCase, Service
from tests.process.wire_peer import FramePeer, welcome

TLS = "tls:trust=pin"
ROOM = "#tea"


class Sealed(ProcessCase):
    """Alice and Bob, their keys in files as any client keeps them."""

    async def come(self, service: Service, name: str) -> FramePeer:
        return await welcome(service.port, self.home / name, name, TLS)

    async def ask(self, peer: FramePeer, message: Any) -> Any:
        """The answer to a request."""
        before = len(peer.news)
        peer.send(message)
        return await peer.until(
            lambda: next((n for n in peer.news[before:] if getattr(n, "id", None) == message.id), None),
            type(message).__name__,
        )

    async def kill(self, service: Service) -> Service:
        service.signal(signal.SIGKILL)
        self.assertEqual(await service.end(), -signal.SIGKILL)
        return await self.serve("--cipher", TLS, "--rate", "0")

    def spki(self, name: str) -> bytes:
        """The public key of a name's client, from the file that its client made."""
        for path in sorted((self.home / name).rglob("*")):
            if path.is_file() and b"PRIVATE KEY" in (text := path.read_bytes()):
                key = load_pem_private_key(text, None)
                return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        raise AssertionError(f"{name} has no key")

    async def test_across_kills(self) -> None:
        service = await self.serve("--cipher", TLS, "--rate", "0")
        alice, bob = await self.come(service, "alice"), await self.come(service, "bob")
        whois = await self.ask(alice, m.Whois(1, "alice"))
        self.assertEqual(fingerprint(self.spki("alice")), whois.fingerprint)
        laptop = Gadget("alice", 1, self.spki("alice"))
        self.assertEqual(await self.ask(alice, laptop.publish(2, *range(10))), m.Published(2, laptop.id, 10))
        claimed = await self.claim(bob, laptop, 3)
        alice.transport.abortConnection()
        letters = tuple(m.Letter("alice", laptop.id, b"letter %d" % n) for n in range(20))
        self.assertEqual(await self.ask(bob, m.ToDevice(9, letters)), m.Posted(9))
        genesis = roster(ROOM, "bob", ["alice", "bob"])
        self.assertEqual((await self.ask(bob, create(ROOM, genesis, 10))).seq, 1)
        await self.ask(bob, m.Join(11, ROOM))
        self.assertEqual((await self.ask(bob, sealed(12, ROOM, 1, b"\xff sealed"))).seq, 2)

        service = await self.kill(service)
        alice, bob = await self.come(service, "alice"), await self.come(service, "bob")
        self.assertEqual(await self.ask(alice, m.PublishKeys(1)), m.Published(1, laptop.id, 7))
        mail = await alice.until(lambda: self.mail(alice, 20), "mail")
        self.assertEqual(
            [(x.seq, x.sender, x.body) for x in mail], [(n + 1, "bob", b"letter %d" % n) for n in range(20)]
        )
        self.assertEqual(await self.ask(alice, m.AckMail(2, 15)), m.Done(2))
        claimed += await self.claim(bob, laptop, 2)
        self.assertEqual((await self.ask(bob, create(ROOM, genesis, 10))).seq, 1)
        await self.ask(alice, m.Join(3, ROOM))
        await self.ask(bob, m.Join(3, ROOM))
        left = roster(ROOM, "alice", ["bob"], ["bob"], after=genesis)
        self.assertEqual((await self.ask(alice, change(4, ROOM, 1, left))).seq, 3)

        service = await self.kill(service)
        alice, bob = await self.come(service, "alice"), await self.come(service, "bob")
        self.assertEqual(await self.ask(alice, m.PublishKeys(1)), m.Published(1, laptop.id, 5))
        mail = await alice.until(lambda: self.mail(alice, 5), "mail")
        self.assertEqual([x.seq for x in mail], [16, 17, 18, 19, 20])
        claimed += await self.claim(bob, laptop, 5)
        self.assertEqual(len(set(claimed)), 10)
        self.assertEqual((await self.ask(alice, m.Join(5, ROOM))).code, "invite-only")
        self.assertEqual((await self.ask(alice, change(4, ROOM, 1, left))).seq, 3)
        await self.ask(bob, m.Join(5, ROOM))
        page = await self.ask(bob, m.Read(6, ROOM))
        entries = list(map(decode_entry, page.entries))
        self.assertEqual([x.kind for x in entries], ["roster", "sealed", "roster"])
        self.assertEqual(entries[1].body, b"\xff sealed")
        await service.stop()
        with closing(sqlite3.connect(self.home / "server" / "log.sqlite")) as connection:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            self.assertEqual(
                connection.execute("SELECT count(*), count(key) FROM one_time").fetchone(), (10, 0)
            )

    async def claim(self, peer: FramePeer, gadget: Gadget, times: int) -> list[bytes]:
        """One-time keys, one after the other."""
        keys = []
        for n in range(times):
            answer = await self.ask(peer, m.ClaimKeys(100 + n, gadget.name, (gadget.id,)))
            keys += answer.keys
        return keys

    def mail(self, peer: FramePeer, count: int) -> list[m.Mail]:
        found = [news for news in peer.news if type(news) is m.Mail]
        return found if len(found) >= count else []
