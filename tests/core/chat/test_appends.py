"""The append queue: batches, order, bounds, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from encchat.core.chat import appends
from encchat.core.chat.appends import AppendQueue
from encchat.core.chat.limits import TokenBucket
from encchat.core.interfaces import Draft, Rejected, Stored, Unavailable
from tests.core.world import LOG_ID, GatedLog, ManualTurn, msgid


def draft(number: int, body: bytes = b"x") -> Draft:
    return Draft("+lobby", 0, "alice", "", "text", msgid(number), body)


class Queue(SynchronousTestCase):
    """One append in flight; whatever comes meanwhile is the next one."""

    def setUp(self) -> None:
        self.turn = ManualTurn()
        self.log = GatedLog(LOG_ID)
        self.batches: list[int] = []
        self.answers: list[tuple[int, Any]] = []
        self.pauses: list[float] = []
        self.queue = AppendQueue(
            self.log, self.turn, self.committed, lambda: self.pauses.pop(0) if self.pauses else 0.0
        )

    def committed(self, stored: Sequence[tuple[Draft, Stored]]) -> None:
        self.batches.append(len(stored))

    def put(self, number: int, body: bytes = b"x") -> None:
        self.queue.put(draft(number, body), lambda outcome: self.answers.append((number, outcome)))

    def test_a_turn_is_a_batch(self) -> None:
        for number in range(5):
            self.put(number)
        self.assertEqual(self.answers, [])
        self.turn.end()
        self.assertEqual(self.batches, [5])
        self.assertEqual([outcome.seq for _, outcome in self.answers], [1, 2, 3, 4, 5])
        self.assertTrue(self.queue.idle)

    def test_a_pause_gathers(self) -> None:
        """What comes during the pause goes along, in one append."""
        self.pauses = [0.004]
        self.put(1)
        self.turn.steps.popleft()()  # the turn ends; the pause begins
        self.assertEqual((self.turn.time, self.batches), (1000.004, []))
        self.assertFalse(self.queue.idle)
        self.put(2)
        self.turn.end()
        self.assertEqual(self.batches, [2])
        self.assertTrue(self.queue.idle)

    def test_a_pause_between_batches(self) -> None:
        self.log.gates = []
        self.put(1)
        self.turn.end()
        self.put(2)
        self.pauses = [0.004, 0.003]  # asked for as the first is done, and in the turn after it
        self.turn.open(self.log.gates.pop())
        self.assertEqual((self.batches, self.log.gates), ([1], []))
        self.put(3)
        self.turn.end()
        self.assertEqual(self.turn.time, 1000.003)
        self.turn.open(self.log.gates.pop())
        self.assertEqual(self.batches, [1, 2])

    def test_enough_does_not_pause(self) -> None:
        self.pauses = [0.004]
        self.put(1, bytes(appends.SOON_BYTES))
        self.turn.end()
        self.assertEqual((self.batches, self.pauses), ([1], [0.004]))

    def test_many_do_not_pause(self) -> None:
        self.pauses = [0.004]
        for number in range(appends.SOON):
            self.put(number)
        self.turn.end()
        self.assertEqual((self.batches, self.pauses), ([appends.SOON], [0.004]))

    def test_batches_grow_while_the_log_is_slow(self) -> None:
        self.log.gates = []
        self.put(1)
        self.turn.end()
        for number in range(2, 30):
            self.put(number)
        self.turn.end()
        self.assertEqual(len(self.log.gates), 1)
        while self.log.gates:
            self.turn.open(self.log.gates.pop())
        self.assertEqual(self.batches, [1, 28])
        self.assertEqual([number for number, _ in self.answers], list(range(1, 30)))

    def test_batches_are_bounded(self) -> None:
        self.patch(appends, "BATCH", 10)
        self.patch(appends, "BATCH_BYTES", 1000)
        for number in range(15):
            self.put(number)
        for number in range(15, 20):
            self.put(number, b"x" * 600)
        self.turn.end()
        self.assertEqual(self.batches, [10, 7, 2, 1])

    def test_duplicates_and_rejects_are_answered_but_not_announced(self) -> None:
        self.put(1)
        self.put(1)
        self.put(1, b"other")
        self.turn.end()
        self.assertEqual(self.batches, [1])
        self.assertTrue(self.answers[1][1].duplicate)
        self.assertEqual(self.answers[2][1], Rejected("msgid-reused"))

    def test_unavailable_is_an_answer_for_all_of_the_batch(self) -> None:
        self.log.gates = []
        self.put(1)
        self.put(2)
        self.turn.end()
        gate = self.log.gates.pop()
        gate.error = error = Unavailable(reason="away")
        self.log.gates = None
        self.put(3)
        self.turn.open(gate)
        self.assertEqual(self.answers[:2], [(1, error), (2, error)])
        self.assertEqual(self.answers[2][1].seq, 1)

    def test_an_unforeseen_failure_does_not_stop_the_queue(self) -> None:
        self.log.gates = []
        self.put(1)
        self.turn.end()
        gate = self.log.gates.pop()
        self.log.gates = None
        gate.error = ZeroDivisionError()
        self.put(2)
        self.turn.open(gate)
        self.turn.end()
        self.assertEqual(len(self.turn.unforeseen), 1)
        self.assertEqual([number for number, _ in self.answers], [1, 2])
        self.assertIsInstance(self.answers[0][1], Unavailable)
        self.assertEqual(self.answers[1][1].seq, 1)

    def test_full_and_relieved(self) -> None:
        self.patch(appends, "QUEUE", 3)
        self.log.gates = []
        relieved: list[bool] = []
        self.put(0)
        self.turn.end()
        for number in range(1, 4):
            self.assertFalse(self.queue.full)
            self.put(number)
        self.assertTrue(self.queue.full)
        self.queue.when_relieved(lambda: relieved.append(self.queue.full))
        gates, self.log.gates = self.log.gates, None
        self.turn.open(gates.pop())
        self.assertEqual(relieved, [False])

    def test_full_by_bytes(self) -> None:
        self.patch(appends, "QUEUE_BYTES", 1000)
        self.put(1, b"x" * 999)
        self.assertFalse(self.queue.full)
        self.put(2, b"x")
        self.assertTrue(self.queue.full)
        self.turn.end()
        self.assertFalse(self.queue.full)


class Buckets(SynchronousTestCase):
    """A token bucket."""

    def test_burst_then_rate(self) -> None:
        bucket = TokenBucket(10, 3, 0.0)
        self.assertEqual([bucket.take(0.0) for _ in range(3)], [0.0, 0.0, 0.0])
        self.assertAlmostEqual(bucket.take(0.0), 0.1)
        self.assertAlmostEqual(bucket.wait(0.05), 0.05)
        self.assertEqual(bucket.take(0.2), 0.0)
        self.assertEqual([bucket.take(100.0) for _ in range(3)], [0.0, 0.0, 0.0])
        self.assertGreater(bucket.take(100.0), 0)

    def test_spent_in_advance(self) -> None:
        bucket = TokenBucket(10, 5, 0.0)
        bucket.spend(9)
        self.assertAlmostEqual(bucket.take(0.0), 0.5)
        self.assertEqual(bucket.take(0.5), 0.0)

    def test_no_rate(self) -> None:
        bucket = TokenBucket(0, 0, 0.0)
        self.assertEqual({bucket.take(0.0) for _ in range(100)}, {0.0})
        self.assertEqual(bucket.wait(0.0), 0.0)
