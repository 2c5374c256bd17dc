"""The connection and the link: deadlines, hostile servers, coming back, giving up."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.internet.error import DNSLookupError
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client import events as e
from encchat.client.network.connection import (
    GONE_AFTER,
    PING_AFTER,
    TURN,
    WELCOME_DEADLINE,
    NotNative,
    NoWelcome,
    Silent,
)
from encchat.client.network.link import FIRST_WAIT, LONGEST_WAIT, Disconnected, GaveUp, NoConnection, Patience
from encchat.client.network.trust import ServerKeyChanged
from encchat.client.protocol.roomcopy import LogMismatch
from encchat.client.protocol.session import Refused
from encchat.client.store import StoreFailed
from encchat.errors import PeerError
from encchat.wire import encode
from tests.client.world import KEY, Listener, World

LOBBY = "+lobby"


class WorldTestCase(TestCase):
    patience = Patience()

    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()), patience=self.patience)
        self.addCleanup(self.world.store.close)
        self.console = Listener()

    def start(self) -> None:
        self.world.chat.session.join(LOBBY)
        self.world.start(self.console)
        self.world.settle()

    def no_timers(self) -> None:
        """Nothing is left behind."""
        self.assertEqual(self.world.clock.getDelayedCalls(), [])


class Beginning(WorldTestCase):
    def test_hello_waits_for_the_proof(self) -> None:
        self.world.handshake = False
        self.start()
        self.assertEqual(self.world.transport.written, 0)
        self.assertEqual(self.world.store.pins("chat.example:9999"), [])
        connection = self.world.transport.peer
        assert connection is not None
        connection.handshakeCompleted()
        self.world.settle()
        self.assertEqual(
            [type(x).__name__ for x in self.console.events], ["Admitted", "JoinedRoom", "CaughtUp"]
        )
        self.assertEqual(self.world.store.pins("chat.example:9999")[0].fingerprint, KEY)

    def test_another_protocol(self) -> None:
        self.world.protocol = None
        self.start()
        self.assertIsInstance(self.world.failure, NotNative)
        self.assertEqual(self.world.transport.written, 0)
        self.no_timers()

    def test_no_welcome_in_time(self) -> None:
        self.world.server.refuse[m.Hello] = ("", 0)
        self.world.handshake = False
        self.start()
        connection = self.world.transport.peer
        assert connection is not None
        connection.handshakeCompleted()
        self.world.transport.link.drain()
        self.world.later(WELCOME_DEADLINE - 0.5)
        self.assertIsNone(self.world.failure)
        self.world.later(1)
        self.assertIsInstance(self.world.failure, NoWelcome)
        self.no_timers()

    def test_a_refusal(self) -> None:
        self.world.server.refuse[m.Hello] = ("name-taken", 0)
        self.start()
        assert isinstance(self.world.failure, Refused)
        self.assertEqual((self.world.failure.reason, self.world.failure.exit_code), ("name-taken", 77))
        self.no_timers()

    def test_a_key_that_cannot_be_written_down(self) -> None:
        self.world.store._database.connection.execute("PRAGMA query_only = ON")
        self.start()
        self.assertIsInstance(self.world.failure, StoreFailed)
        self.assertEqual(self.world.transport.written, 0)
        self.no_timers()

    def test_a_server_that_an_authority_vouches_for_may_have_a_new_key(self) -> None:
        self.world.shown.vouched = True
        self.start()
        self.world.chat.mark(self.world.chat.reached([LOBBY]))
        self.world.link.abort()
        self.world.settle()
        self.world.chat.stop()
        self.world.new_run()
        self.world.shown.fingerprint = "SHA256:" + "B" * 42 + "A"
        self.world.server.say(LOBBY, "missed")
        self.console = Listener()
        self.start()
        self.assertEqual(self.console.texts, ["missed"])

    def test_another_key(self) -> None:
        self.start()
        self.world.link.abort()
        self.world.settle()
        self.world.new_run()
        self.world.shown.fingerprint = "SHA256:" + "B" * 42 + "A"
        self.start()
        self.assertIsInstance(self.world.failure, ServerKeyChanged)
        self.assertEqual(self.world.transport.written, 0)


class HostileServers(WorldTestCase):
    def hostile(self, data: bytes) -> None:
        self.world.transport.deliver(data)
        self.world.settle()
        self.assertIsInstance(self.world.failure, PeerError)
        assert self.world.failure is not None
        self.assertEqual(self.world.failure.exit_code, 76)
        self.no_timers()

    def test_a_huge_length(self) -> None:
        self.start()
        self.hostile(b"\xff\xff\xff\xff")

    def test_a_large_frame_before_the_welcome(self) -> None:
        self.world.handshake = False
        self.start()
        self.hostile((40_000).to_bytes(4, "big"))

    def test_noise(self) -> None:
        self.start()
        self.hostile(b"\0\0\0\2\xc1\xc1")

    def test_what_came_before_the_noise_is_told(self) -> None:
        self.start()
        self.hostile(encode(m.Presence(LOBBY, "zoe", True)) + b"\0\0\0\2\xc1\xc1" + encode(m.Closing("x")))
        self.assertEqual(len(self.console.of(e.CameOrWent)), 1)
        self.assertEqual(self.console.of(e.ServerCloses), [])

    def test_nothing_more_is_heard_after_it(self) -> None:
        self.start()
        peer = self.world.transport.peer
        assert peer is not None
        peer.dataReceived(b"\0\0\0\2\xc1\xc1")
        peer.dataReceived(encode(m.Closing("x")))
        self.assertEqual(self.console.of(e.ServerCloses), [])

    def test_a_gap_in_the_log_ends_it_for_good(self) -> None:
        self.start()
        self.world.server.say(LOBBY, "left out")
        self.world.transport.link.drain()
        self.world.server.say(LOBBY, "told")
        self.world.settle()
        self.assertIsInstance(self.world.failure, LogMismatch)


class Silence(WorldTestCase):
    def test_ping_and_pong(self) -> None:
        self.start()
        self.world.later(10 * GONE_AFTER, 5)
        self.assertIsNone(self.world.failure)
        self.assertEqual(len(self.world.transports), 1)
        pings = [x for x in self.world.transport.link.received if isinstance(x, m.Ping)]
        self.assertGreater(len(pings), GONE_AFTER * 10 / (PING_AFTER + 10))

    def test_no_pong(self) -> None:
        self.world.server.refuse[m.Ping] = ("", 0)
        self.start()
        link = self.world.transport.link
        for _ in range(int(GONE_AFTER) - 1):
            self.world.clock.advance(1)
            link.drain()
        self.assertEqual(self.console.of(e.LinkLost), [])
        self.world.clock.advance(2)
        self.world.settle()
        (lost,) = self.console.of(e.LinkLost)
        assert isinstance(lost, e.LinkLost)
        self.assertEqual(lost.reason, str(Silent(seconds=GONE_AFTER)))

    def test_a_server_that_we_do_not_listen_to_is_not_silent(self) -> None:
        self.start()
        self.world.link.hold()
        self.world.link.hold()
        self.world.later(3 * GONE_AFTER, 5)
        self.assertEqual(self.console.of(e.LinkLost), [])
        self.world.link.release()
        self.world.link.release()
        self.assertFalse(self.world.transport.paused)


class BackPressure(WorldTestCase):
    def test_a_full_transport_is_not_written_to(self) -> None:
        self.start()
        connection = self.world.transport.peer
        assert connection is not None
        connection.pauseProducing()
        before = self.world.transport.written
        self.world.chat.say(LOBBY, "hello")
        self.world.later(5)
        self.assertEqual(self.world.transport.written, before)
        connection.resumeProducing()
        self.world.settle()
        self.assertEqual(self.console.texts, ["hello"])

    def test_a_transport_that_is_gone_wants_nothing(self) -> None:
        self.start()
        connection = self.world.transport.peer
        assert connection is not None
        connection.stopProducing()
        before = self.world.transport.written
        self.world.chat.say(LOBBY, "hello")
        self.assertEqual(self.world.transport.written, before)

    def test_a_held_server_waits(self) -> None:
        self.start()
        self.world.link.hold()
        self.world.server.say(LOBBY, "one")
        self.world.settle()
        self.assertEqual(self.console.texts, [])
        self.world.link.release()
        self.world.settle()
        self.assertEqual(self.console.texts, ["one"])

    def test_much_at_once_is_looked_at_in_many_turns(self) -> None:
        self.start()
        for number in range(1000):
            self.world.server.say(LOBBY, f"{number} " + "x" * 40)
        data = b"".join(self.world.transport.link.drain())
        turns: list[int] = []

        def between() -> None:
            turns.append(len(self.console.texts))
            if self.world.transport.paused:
                self.world.clock.callLater(0, between)

        self.world.transport.deliver(data)
        between()
        self.world.settle()
        self.assertGreaterEqual(len(turns), len(data) // TURN)
        self.assertLess(max(after - before for before, after in pairwise([0, *turns])), 120)
        self.assertEqual([text.split()[0] for text in self.console.texts], [str(n) for n in range(1000)])

    def test_who_is_held_meanwhile_looks_at_nothing_more(self) -> None:
        self.start()
        for number in range(500):
            self.world.server.say(LOBBY, f"{number} " + "x" * 40)
        self.world.transport.deliver(b"".join(self.world.transport.link.drain()))
        self.world.link.hold()
        self.world.settle()
        self.assertLess(len(self.console.texts), 120)
        self.world.link.release()
        self.world.settle()
        self.assertEqual(len(self.console.texts), 500)
        self.assertFalse(self.world.transport.paused)

    def test_all_that_came_before_the_end_is_told(self) -> None:
        self.start()
        for number in range(500):
            self.world.server.say(LOBBY, f"{number} " + "x" * 40)
        self.world.transport.deliver(b"".join(self.world.transport.link.drain()))
        self.world.cut()
        self.assertEqual(len(self.console.texts), 500)
        self.assertEqual(type(self.console.events[-1]), e.LinkLost)
        self.world.settle()

    def test_the_pace_is_kept_by_the_clock(self) -> None:
        self.world.server.limits = m.Limits(rate=10, burst=5)
        self.start()
        self.world.chat.say(LOBBY, *(str(number) for number in range(20)))
        self.world.settle()
        self.assertEqual(len(self.console.of(e.Acknowledged)), 4)
        self.world.later(3, 0.05)
        self.assertEqual(len(self.console.of(e.Acknowledged)), 20)


class ComingBack(WorldTestCase):
    def test_what_was_not_acknowledged_is_sent_again(self) -> None:
        self.start()
        self.world.transport.paused = True
        self.world.chat.say(LOBBY, "one", "two")
        self.world.cut()
        self.world.chat.say(LOBBY, "three")
        self.world.later(2)
        self.assertEqual(self.console.texts, ["one", "two", "three"])
        self.assertEqual(len(self.world.server.room(LOBBY).frames), 3)

    def test_the_waits_grow_to_a_bound(self) -> None:
        self.start()
        self.world.refuse_connections(12)
        self.world.cut()
        self.world.later(600)
        waits = [event.wait for event in self.console.of(e.LinkLost) if isinstance(event, e.LinkLost)]
        self.assertEqual(waits[:4], [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT, 8 * FIRST_WAIT])
        self.assertEqual(max(waits), LONGEST_WAIT)
        self.assertEqual(len(waits), 13)
        self.assertTrue(self.world.chat.session.admitted)

    def test_they_begin_anew_only_after_a_steady_connection(self) -> None:
        self.start()
        for _ in range(3):
            self.world.cut()
            self.world.later(5)
        self.world.later(30)
        self.world.cut()
        waits = [event.wait for event in self.console.of(e.LinkLost) if isinstance(event, e.LinkLost)]
        self.assertEqual(waits, [FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT, FIRST_WAIT])

    def test_at_once_when_told_to(self) -> None:
        self.start()
        self.world.chat.reconnect()
        self.world.refuse_connections(5)
        self.world.cut()
        self.world.later(8)
        attempts = self.world.endpoint.attempts
        self.world.chat.reconnect()
        self.assertEqual(self.world.endpoint.attempts, attempts + 1)

    def test_a_passing_refusal_is_waited_out(self) -> None:
        self.start()
        self.world.server.refuse[m.Hello] = ("server-full", 0)
        self.world.cut()
        self.world.later(5)
        self.assertIsNone(self.world.failure)
        self.world.server.refuse.clear()
        self.world.later(60)
        self.assertTrue(self.world.chat.session.admitted)

    def test_a_lasting_one_is_not(self) -> None:
        self.start()
        self.world.server.refuse[m.Hello] = ("banned", 0)
        self.world.cut()
        self.world.later(5)
        self.assertIsInstance(self.world.failure, Refused)

    def test_a_key_that_changed_meanwhile_is_refused(self) -> None:
        self.start()
        self.world.shown.fingerprint = "SHA256:" + "B" * 42 + "A"
        self.world.cut()
        self.world.later(5)
        self.assertIsInstance(self.world.failure, ServerKeyChanged)

    def test_why_it_was_lost_is_told(self) -> None:
        self.start()
        self.world.transport.link.answer(m.Closing("the server is stopping"))
        self.world.settle()
        self.world.transport.link.cut()
        self.world.settle()
        closes, lost = self.console.events[-2:]
        self.assertEqual(closes, e.ServerCloses("the server is stopping"))
        assert isinstance(lost, e.LinkLost)
        self.assertIn("has ended: the server closed it", lost.reason)


class GivingUp(WorldTestCase):
    def test_at_once_when_the_first_attempt_fails(self) -> None:
        self.world.refuse_connections(1)
        self.start()
        assert isinstance(self.world.failure, NoConnection)
        self.assertEqual(self.world.failure.exit_code, 69)
        self.assertIn("chat.example:9999 cannot be reached: Connection refused.", str(self.world.failure))
        self.no_timers()

    def test_a_name_that_nobody_knows(self) -> None:
        self.world.endpoint.failures = [DNSLookupError("no results for hostname lookup: chat.example")]
        self.start()
        self.assertIn("no results", str(self.world.failure))

    def test_a_connection_that_ends_without_a_word(self) -> None:
        self.world.handshake = False
        self.start()
        self.world.transport.link.cut()
        self.world.settle()
        assert isinstance(self.world.failure, Disconnected)
        self.assertEqual(self.world.failure.exit_code, 69)


class ImpatientLink(WorldTestCase):
    patience = Patience(first=True, seconds=20.0)

    def test_the_first_attempt_may_fail(self) -> None:
        self.world.refuse_connections(2)
        self.start()
        self.world.later(5)
        self.assertTrue(self.world.chat.session.admitted)

    def test_but_not_for_longer_than_that(self) -> None:
        self.world.refuse_connections(100)
        self.start()
        self.world.later(40)
        assert isinstance(self.world.failure, GaveUp)
        self.assertEqual(self.world.failure.exit_code, 69)
        self.no_timers()


class Leaving(WorldTestCase):
    def left(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.world.link.leave())

    def test_with_a_goodbye(self) -> None:
        self.start()
        left = self.left()
        self.assertNoResult(left)
        self.world.settle()
        self.successResultOf(left)
        self.successResultOf(self.world.running)
        self.assertEqual(self.world.transport.link.received[-1], m.Bye())
        self.no_timers()

    def test_a_server_that_does_not_let_go(self) -> None:
        self.start()
        self.world.server.refuse[m.Bye] = ("", 0)
        left = self.left()
        self.world.transport.closing = False
        self.world.later(10)
        self.successResultOf(left)
        self.assertTrue(self.world.transport.aborted)

    def test_while_it_waits_to_try_again(self) -> None:
        self.start()
        self.world.refuse_connections(9)
        self.world.cut()
        self.successResultOf(self.left())
        self.successResultOf(self.world.running)
        self.no_timers()

    def test_while_it_tries(self) -> None:
        self.world.endpoint.hang = True
        self.start()
        self.successResultOf(self.left())
        self.successResultOf(self.world.running)

    def test_during_a_handshake(self) -> None:
        self.world.handshake = False
        self.start()
        left = self.left()
        self.world.settle()
        self.successResultOf(left)
        self.assertEqual(self.world.transport.written, 0)

    def test_at_once(self) -> None:
        for hang, handshake in ((False, True), (False, False), (True, True)):
            self.setUp()
            self.world.endpoint.hang = hang
            self.world.handshake = handshake
            self.start()
            self.world.link.abort()
            self.world.settle()
            self.successResultOf(self.world.running)
            self.no_timers()
