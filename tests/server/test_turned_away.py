"""Whom TLS turns away or cuts off is in the audit log: the cipher tells, and the service notes it."""

from __future__ import annotations

import json
from pathlib import Path

from encchat import messages as m
from encchat.ciphers.testing.link import CLIENT_ADDRESS
from encchat.ciphers.tls.cipher import TlsServer
from encchat.pki.profiles import fingerprint_of
from encchat.server.audit import DELAY, RATES, AuditLog
from encchat.server.caps import Caps
from encchat.server.factory import ChatFactory
from encchat.wire import encode
from tests.ciphers.tls.authority import DAY, NOW, Authority, Leaf, uri, write_crl, write_set
from tests.ciphers.tls.rig import RawPeer, TlsCase, place, raw_context
from tests.core.world import World


class TurnedAway(TlsCase):
    """A service with its audit log, and peers of plain OpenSSL."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority()
        self.made = write_set(self.home, self.authority, "alice", "bob")
        self.cipher = self._ready(TlsServer(place(self.home, "", certs=self.home), now=lambda: NOW))
        self.world = World()
        self.path = Path(self.home) / "audit.log"
        self.audit = AuditLog(self.path, self.reactor)
        self.audit.start(self.world.hub)
        self.factory = ChatFactory(Caps(10_000, 10_000), self.reactor)
        self.factory.hub = self.world.hub

    def come(self, leaf: Leaf | None) -> RawPeer:
        """Somebody who shows this certificate, and says hello if he gets so far."""
        peer = RawPeer(raw_context(leaf))
        protocol = self.cipher.wrap(self.factory).buildProtocol(CLIENT_ADDRESS)
        assert protocol is not None
        self.link(peer, protocol)
        return peer

    def admitted(self, name: str) -> RawPeer:
        peer = self.come(self.made[name])
        peer.say(encode(m.Hello((1,), name)))
        self.settle()
        return peer

    def settle(self) -> None:
        for link in self.links:
            link.flush()
        self.world.turn.end()
        for link in self.links:
            link.flush()

    def noted(self) -> list[dict[str, object]]:
        """The audit log but for times and admissions."""
        self.reactor.advance(DELAY)
        self.reactor.settle()
        if not self.path.exists():
            return []
        lines = [json.loads(line) for line in self.path.read_bytes().splitlines()]
        return [
            {key: fact for key, fact in line.items() if key != "time"}
            for line in lines
            if line["what"] != "admit"
        ]

    def test_a_session_whose_certificate_is_revoked(self) -> None:
        self.admitted("alice")
        bob = self.admitted("bob")
        self.assertEqual(self.noted(), [])
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["bob"]))
        self.cipher.reload()
        self.settle()
        self.assertIsNotNone(bob.lost)
        key = fingerprint_of(self.made["bob"].certificate)
        cut = {"what": "cut", "who": "bob", "key": key, "code": "certificate-revoked"}
        self.assertEqual(self.noted(), [cut])
        self.come(self.made["bob"])
        again = {
            "what": "refuse",
            "who": "bob",
            "key": key,
            "asked": "handshake",
            "code": "certificate-revoked",
        }
        self.assertEqual(self.noted(), [cut, again])

    def test_before_it_said_who_it_is(self) -> None:
        """A connection that has not come in is cut off under the name in its certificate."""
        self.come(self.made["bob"])
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["bob"]))
        self.cipher.reload()
        self.settle()
        self.assertEqual([(line["what"], line["who"]) for line in self.noted()], [("cut", "bob")])

    def test_refused_certificates(self) -> None:
        """What they showed, though it proves nothing."""
        other = Authority("Other CA").user("alice")
        expired = self.authority.user("bob", begins=NOW - 9 * DAY, ends=NOW - DAY)
        nameless = self.authority.user(names=[uri("mailto:alice@example.org")])
        for leaf in (other, expired, nameless, self.made["server"]):
            self.come(leaf)
        self.assertEqual(
            [(line["what"], line["who"], line["key"], line["asked"], line["code"]) for line in self.noted()],
            [
                ("refuse", who, fingerprint_of(leaf.certificate), "handshake", code)
                for leaf, who, code in (
                    (other, "alice", "unknown-authority"),
                    (expired, "bob", "certificate-expired"),
                    (nameless, "", "no-user-in-certificate"),
                    (self.made["server"], "", "certificate-refused"),
                )
            ],
        )

    def test_who_shows_none(self) -> None:
        """There is nobody to tell of: that is for the service's log."""
        self.come(None)
        self.assertEqual(self.noted(), [])

    def test_who_leaves(self) -> None:
        """Only who was turned away is told of."""
        bob = self.admitted("bob")
        bob.tls.shutdown()
        bob.flush()
        self.settle()
        self.assertEqual(self.noted(), [])

    def test_a_flood_of_refusals_is_counted(self) -> None:
        """As those that the service itself refuses."""
        rate, burst = RATES["refuse"]
        for _ in range(burst):
            self.audit._buckets["refuse"].take(self.reactor.seconds())
        other = Authority("Other CA").user("mallory")
        for _ in range(3):
            self.come(other)
        self.assertEqual(self.noted(), [])
        self.reactor.advance(2 / rate)
        self.come(other)
        self.assertEqual([line["skipped"] for line in self.noted()], [3])
