"""The paced transport and its producers."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.rsa.classic import read_key
from encchat.ciphers.rsa.paced import PacedTransport
from encchat.ciphers.rsa.pacing import AFTER_KEY, BETWEEN_BLOCKS, HIGH_WATER, LOW_WATER
from tests.ciphers.rsa.script import PEM

LINE = b"x" * 116 + b"\n"


class Producer:
    """Writes down what it is told; a pull producer writes a line each time it is asked."""

    def __init__(self, transport: PacedTransport, lines: int = 0) -> None:
        self.transport = transport
        self.lines = lines
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")
        if self.lines:
            self.lines -= 1
            self.transport.write(LINE)

    def stopProducing(self) -> None:
        self.told.append("stop")


class Paced(SynchronousTestCase):
    """Over a transport in memory."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.below = StringTransport()
        self.progress = 0
        self.paced = PacedTransport(self.below, self.clock, read_key(PEM), self.note)
        self.producer = Producer(self.paced)

    def note(self) -> None:
        self.progress += 1

    @property
    def blocks(self) -> int:
        return len(self.below.value()) // 128

    def run_blocks(self, count: int) -> None:
        for _ in range(count):
            self.clock.advance(AFTER_KEY)

    def fill(self) -> None:
        while self.paced.unsent < HIGH_WATER:
            self.paced.write(LINE)

    def test_each_block_is_one_write_and_is_told(self) -> None:
        self.paced.write(LINE * 3)
        self.run_blocks(5)
        self.assertEqual((self.blocks, self.progress), (3, 3))

    def test_a_streaming_producer_is_paused_and_resumed(self) -> None:
        self.paced.registerProducer(self.producer, True)
        self.assertEqual(self.producer.told, [])
        self.fill()
        self.assertEqual(self.producer.told, ["pause"])
        while self.paced.unsent > LOW_WATER:
            self.assertEqual(self.producer.told, ["pause"])
            self.clock.advance(AFTER_KEY)
        self.assertEqual(self.producer.told, ["pause", "resume"])

    def test_one_that_comes_to_a_full_queue_is_paused_at_once(self) -> None:
        self.fill()
        self.paced.registerProducer(self.producer, True)
        self.assertEqual(self.producer.told, ["pause"])

    def test_a_pull_producer_is_asked_whenever_there_is_nothing_left(self) -> None:
        self.producer.lines = 3
        self.paced.registerProducer(self.producer, False)
        self.assertEqual(self.producer.told, ["resume"])
        self.run_blocks(5)
        self.assertEqual(self.blocks, 3)
        self.assertEqual(self.producer.told, ["resume"] * 4)

    def test_a_pull_producer_waits_for_what_is_there(self) -> None:
        self.fill()
        self.paced.registerProducer(self.producer, False)
        self.assertEqual(self.producer.told, [])
        self.run_blocks(HIGH_WATER // 117 + 2)
        self.assertEqual(self.producer.told, ["resume"])

    def test_one_that_has_left_is_told_nothing(self) -> None:
        self.paced.registerProducer(self.producer, True)
        self.paced.unregisterProducer()
        self.fill()
        self.run_blocks(HIGH_WATER // 117 + 2)
        self.assertEqual(self.producer.told, [])

    def test_the_connection_below_has_no_room(self) -> None:
        self.paced.write(LINE * 3)
        self.below.producer.pauseProducing()
        self.run_blocks(5)
        self.assertEqual(self.blocks, 0)
        self.below.producer.resumeProducing()
        self.run_blocks(5)
        self.assertEqual(self.blocks, 3)

    def test_the_connection_below_is_gone(self) -> None:
        self.paced.registerProducer(self.producer, True)
        self.paced.write(LINE)
        self.below.producer.stopProducing()
        self.below.producer.stopProducing()
        self.assertEqual(self.producer.told, ["stop"])
        self.assertEqual(self.paced.unsent, 117)
        self.paced.end()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_closing_sends_what_waits_and_no_more(self) -> None:
        self.paced.write(LINE + b"and the end")
        self.paced.loseConnection()
        self.paced.loseConnection()
        self.paced.write(LINE)
        self.assertFalse(self.below.disconnecting)
        self.clock.advance(AFTER_KEY)
        self.assertFalse(self.below.disconnecting)
        self.clock.advance(BETWEEN_BLOCKS)
        self.assertTrue(self.below.disconnecting)
        self.assertEqual(self.blocks, 2)
        self.assertIsNone(self.below.producer)

    def test_closing_an_idle_one(self) -> None:
        self.paced.loseConnection()
        self.assertTrue(self.below.disconnecting)

    def test_reading_and_addresses_are_the_connection_s_below(self) -> None:
        self.paced.pauseProducing()
        self.assertEqual(self.below.producerState, "paused")
        self.paced.resumeProducing()
        self.assertEqual(self.below.producerState, "producing")
        self.assertEqual(self.paced.getPeer(), self.below.getPeer())
        self.assertEqual(self.paced.getHost(), self.below.getHost())
        self.paced.abortConnection()
        self.assertTrue(self.below.disconnected)

    def test_what_is_not_utf8_is_shown_as_such(self) -> None:
        self.paced.write(b"\xff\xfe\n")
        self.run_blocks(1)
        self.assertEqual(self.blocks, 1)
