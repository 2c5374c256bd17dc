"""How long the server takes to answer: measured from when the ping goes out, told once, never carried over
to another connection."""

from __future__ import annotations

from encchat import messages as m
from encchat.client import events as e
from tests.client.protocol.test_session import SessionTestCase


class Latency(SessionTestCase):
    def test_it_is_measured_from_when_the_ping_goes_out(self) -> None:
        self.enter()
        self.assertIsNone(self.session.latency)
        self.session.ping()
        self.now += 5  # the transport was full
        self.push()
        self.now += 0.25
        self.assertEqual(self.pull(), [e.Answered(0.25)])
        self.assertEqual(self.session.latency, 0.25)
        self.lose()
        self.assertIsNone(self.session.latency)

    def test_only_the_answer_to_the_last_one_counts(self) -> None:
        self.enter()
        self.session.ping()
        self.push()
        self.link.drain()
        ours = max(x.id for x in self.link.received if isinstance(x, m.Ping))
        self.assertEqual(self.tell(m.Pong(0), m.Pong(ours + 1)), [])
        self.assertEqual(self.tell(m.Pong(ours), m.Pong(ours)), [e.Answered(0.0)])

    def test_an_answer_that_is_owed(self) -> None:
        self.enter()
        self.session.ping()
        self.now += 5  # nothing went out yet
        self.assertEqual(self.session.unanswered(self.now), 0)
        self.push()
        self.link.drain()
        self.now += 15
        self.session.ping()
        self.push()
        self.now += 15
        self.assertEqual(self.session.unanswered(self.now), 30)
        self.pull()
        self.assertEqual(self.session.unanswered(self.now), 0)
        self.session.ping()
        self.push()
        self.lose()
        self.assertEqual(self.session.unanswered(self.now + 99), 0)
