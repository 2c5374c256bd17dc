"""What a fan-out costs, counted and not timed: encodings, records, writes, appends, timers, calls of Python.

A room of members over mutual TLS, in memory, and messages that come in one turn. These numbers must not grow
unnoticed: the cost of a delivery is what the service is made of (docs/performance.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, cast

from OpenSSL import SSL
from twisted.internet.interfaces import IProtocolFactory

from encchat import messages as m
from encchat import wire
from encchat.ciphers.testing.link import CLIENT_ADDRESS, End, Link
from encchat.ciphers.tls.cipher import TlsServer
from encchat.ciphers.tls.layer import RECORD
from encchat.server.caps import Caps
from encchat.server.factory import ChatFactory
from encchat.wire import encode
from tests.ciphers.tls.authority import NOW, Authority, write_set
from tests.ciphers.tls.rig import RawPeer, TlsCase, place, raw_context
from tests.core.world import World, text

#: Calls of Python functions for each member, whatever the number of messages; four of them are the counting's
#: own. Where it can be fewer, lower it.
CALLS_A_MEMBER = 18
#: The same for each message, whatever the number of members: as it is received, and as it is stored in memory
#: and answered.
CALLS_TO_RECEIVE, CALLS_TO_STORE = 17, 17


@dataclass
class Costs:
    """What was counted."""

    encodings: int = 0
    records: int = 0
    writes: int = 0
    appends: int = 0
    timers: int = 0
    calls: int = 0


class FanoutCosts(TlsCase):
    """A room over TLS."""

    def setUp(self) -> None:
        super().setUp()
        self.costs = Costs()
        self.counting = False
        self._count(SSL.Connection, "send", "records")
        self._count(End, "write", "writes")
        self._count(type(self.reactor), "callLater", "timers")
        self._count(World().log.__class__, "append", "appends")
        encoder = cast(Any, wire)._encoder
        case = self

        class Encoder:
            def encode(self, message: m.Message) -> bytes:
                case._saw("encodings")
                return bytes(encoder.encode(message))

        self.patch(wire, "_encoder", Encoder())

    def _saw(self, what: str) -> None:
        if self.counting:
            setattr(self.costs, what, getattr(self.costs, what) + 1)

    def _count(self, owner: Any, name: str, what: str) -> None:
        original = getattr(owner, name)

        def counted(*arguments: Any, **named: Any) -> Any:
            self._saw(what)
            return original(*arguments, **named)

        self.patch(owner, name, counted)

    def crowd(self, members: int) -> None:
        """A room with so many members, the first of whom will speak."""
        names = [f"member{number}" for number in range(members)]
        made = write_set(self.home, Authority(), *names)
        cipher = self._ready(TlsServer(place(self.home, "", certs=self.home), now=lambda: NOW))
        self.world = World(limits=m.Limits(rate=0))
        factory = ChatFactory(Caps(1000, 1000), self.reactor)
        factory.hub = self.world.hub
        wrapped = cipher.wrap(cast(IProtocolFactory, factory))
        self.peers: list[tuple[RawPeer, Link]] = []
        for name in names:
            peer = RawPeer(raw_context(made[name]))
            protocol = wrapped.buildProtocol(CLIENT_ADDRESS)
            assert protocol is not None
            self.peers.append((peer, self.link(peer, protocol)))
            self._ask(peer, self.peers[-1][1], encode(m.Hello((1,), name)))
            self._ask(peer, self.peers[-1][1], encode(m.Join(1, "+lobby")))
        for peer, link in self.peers:
            link.flush()
            self.assertIn(b"joined", peer.received)
            peer.received = b""

    def _ask(self, peer: RawPeer, link: Link, request: bytes) -> None:
        peer.say(request)
        link.flush()
        self.world.turn.end()
        link.flush()

    def say(self, messages: int, size: int = 100) -> Costs:
        """The first member says so many things at once: what that costs the server, from the moment that it
        has decoded them."""
        speaker, link = self.peers[0]
        first = self.world.hub.present_room("+lobby").announced + 1  # type: ignore[union-attr]  # it is there
        for number in range(first, first + messages):
            speaker.say(encode(text(number, "x" * size)))
        link.flush()
        self._measure(self.world.turn.end)
        for peer, each in self.peers:
            each.flush()
            self.assertEqual(peer.received.count(b"\xa5entry"), messages)
            peer.received = b""
        return self.costs

    def _measure(self, work: Callable[[], object]) -> Costs:
        self.costs = Costs()

        def profile(frame: FrameType, event: str, argument: object) -> None:
            if event == "call":
                self.costs.calls += 1

        before = sys.getprofile()
        self.counting = True
        sys.setprofile(profile)
        try:
            work()
        finally:
            sys.setprofile(before)
            self.counting = False
        return self.costs

    def test_one_message(self) -> None:
        """One append, one encoding of the entry and one of its answer; for each member one record and one
        write, and no timer."""
        self.crowd(6)
        costs = self.say(1)
        self.assertEqual((costs.appends, costs.encodings), (1, 2))
        self.assertEqual((costs.records, costs.writes, costs.timers), (6, 6, 0))

    def test_many_messages_of_one_turn(self) -> None:
        """Still one append, and one record and one write for each member."""
        self.crowd(6)
        costs = self.say(50)
        self.assertEqual((costs.appends, costs.encodings), (1, 100))
        self.assertEqual((costs.records, costs.writes, costs.timers), (6, 6, 0))

    def test_records_of_full_size(self) -> None:
        self.crowd(3)
        costs = self.say(40, 1000)
        self.assertEqual(costs.writes, 3)
        whole = -(-40 * (1000 + 100) // RECORD)  # an entry is its text and less than a hundred bytes
        self.assertLessEqual(costs.records, 3 * whole)

    def test_python_a_member(self) -> None:
        """Calls of Python functions for each member, and none for each member and message."""
        found = {}
        for members in (4, 12):
            self.crowd(members)
            self.say(1)  # once, as things are imported and cached
            for messages in (1, 30):
                found[members, messages] = self.say(messages).calls
        for messages in (1, 30):
            each = (found[12, messages] - found[4, messages]) / 8
            self.assertLessEqual(each, CALLS_A_MEMBER, found)
            self.assertGreater(each, 5, "the counting counts nothing")
        self.assertEqual(found[12, 30] - found[12, 1], found[4, 30] - found[4, 1])

    def test_python_a_message(self) -> None:
        """Calls of Python functions for each message of one write."""
        self.crowd(2)
        speaker, link = self.peers[0]
        received, stored = {}, {}
        for first, messages in ((0, 5), (100, 5), (200, 45)):  # at first things are imported and cached
            said = [encode(text(number, "x" * 100)) for number in range(first, first + messages)]
            speaker.say(b"".join(said))
            received[messages] = self._measure(link.flush).calls
            stored[messages] = self._measure(self.world.turn.end).calls
            for peer, each in self.peers:
                each.flush()
                self.assertEqual(peer.received.count(b"\xa5entry"), messages)
                peer.received = b""
        self.assertLessEqual((received[45] - received[5]) // 40, CALLS_TO_RECEIVE)
        self.assertLessEqual((stored[45] - stored[5]) // 40, CALLS_TO_STORE)
