"""The paced queue: one block at a time, joined where they fit, bounded, and nothing lost."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase as TestCase

from encchat.ciphers.rsa import pacing
from encchat.ciphers.rsa.pacing import AFTER_KEY, BETWEEN_BLOCKS, PacedQueue, TooMuchWaiting


class Queue(TestCase):
    """A queue on a clock, with an ordered log of what it did."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.events: list[tuple[float, str | bytes]] = []
        self.queue = self.make(117)

    def make(self, room: int) -> PacedQueue:
        return PacedQueue(
            self.clock,
            room,
            self.note,
            paused=lambda: self.note("paused"),
            resumed=lambda: self.note("resumed"),
            empty=lambda: self.note("empty"),
        )

    def note(self, event: str | bytes) -> None:
        self.events.append((round(self.clock.seconds(), 3), event))

    def run_clock(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds / 0.01))

    @property
    def blocks(self) -> list[bytes]:
        return [event for _, event in self.events if isinstance(event, bytes)]

    @property
    def words(self) -> list[str]:
        return [event for _, event in self.events if isinstance(event, str)]


class Pace(Queue):
    """When a block is sent."""

    def test_the_first_waits_for_the_key_to_be_read(self) -> None:
        self.queue.put("one")
        self.clock.advance(AFTER_KEY - 0.01)
        self.assertEqual(self.events, [])
        self.clock.advance(0.01)
        self.assertEqual(self.events, [(0.25, b"one"), (0.25, "empty")])

    def test_the_first_goes_at_once_when_the_key_was_sent_long_ago(self) -> None:
        self.clock.advance(5)
        self.queue.put("one")
        self.clock.advance(0)
        self.assertEqual(self.blocks, [b"one"])

    def test_pauses_between_blocks(self) -> None:
        for letter in "abc":
            self.queue.put(letter * 117)
        self.run_clock(1)
        times = [time for time, event in self.events if isinstance(event, bytes)]
        self.assertEqual(len(times), 3)
        for before, after in pairwise(times):
            self.assertGreaterEqual(after - before, BETWEEN_BLOCKS - 1e-6)

    def test_a_line_that_comes_just_after_a_block_waits_its_turn(self) -> None:
        self.queue.put("one")
        self.clock.advance(AFTER_KEY)
        self.clock.advance(0.04)
        self.queue.put("two")
        self.clock.advance(0.05)
        self.assertEqual(self.blocks, [b"one"])
        self.clock.advance(0.02)
        self.assertEqual(self.blocks, [b"one", b"two"])

    def test_a_clock_that_is_set_back_delays_by_one_pause_at_most(self) -> None:
        self.clock.rightNow = 1000.0
        queue = self.make(117)
        self.clock.rightNow = 10.0
        queue.put("one")
        self.clock.advance(AFTER_KEY)
        self.assertEqual(self.blocks, [b"one"])

    def test_an_idle_queue_has_no_timer(self) -> None:
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.queue.put("one")
        self.run_clock(1)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class Joining(Queue):
    """What one block holds."""

    def test_waiting_lines_share_a_block(self) -> None:
        for line in ("one", "two", ""):
            self.queue.put(line)
        self.run_clock(1)
        self.assertEqual(self.blocks, [b"one\ntwo\n"])

    def test_a_block_is_filled_to_the_last_byte_and_no_further(self) -> None:
        self.queue.put("x" * 57)
        self.queue.put("y" * 59)
        self.queue.put("")
        self.run_clock(1)
        self.assertEqual(self.blocks, [b"x" * 57 + b"\n" + b"y" * 59, b""])

    def test_a_long_line_comes_in_pieces_that_are_not_torn_apart_by_line_ends(self) -> None:
        line = "0123456789" * 100
        self.queue.put("before")
        self.queue.put(line)
        self.queue.put("after")
        self.run_clock(3)
        self.assertEqual(b"".join(self.blocks), b"before" + line.encode() + b"\nafter")
        self.assertLessEqual(max(map(len, self.blocks)), 117)

    def test_two_hundred_lines_in_a_burst_all_come(self) -> None:
        lines = [f"line {number} of the burst" for number in range(200)]
        for line in lines:
            self.queue.put(line)
        self.run_clock(10)
        self.assertEqual(b"\n".join(self.blocks).decode().split("\n"), lines)
        self.assertLess(len(self.blocks), 60)

    @settings(max_examples=80, deadline=None)
    @given(st.lists(st.text(st.characters(exclude_characters="\n", codec="utf-8"), max_size=60), max_size=30))
    def test_nothing_is_lost_or_reordered(self, lines: list[str]) -> None:
        self.clock = Clock()
        self.events = []
        queue = self.make(25)
        for line in lines:
            queue.put(line)
        waiting = queue.waiting
        self.assertEqual(waiting == 0, not lines)
        self.clock.advance(AFTER_KEY)
        for _ in range(1000):
            if not queue:
                break
            self.clock.advance(BETWEEN_BLOCKS)
        self.assertEqual(queue.waiting, 0)
        joined = b"".join(block.replace(b"\n", b"") for block in self.blocks)
        self.assertEqual(joined.decode(), "".join(lines))
        self.assertEqual(sum(len(block) + 1 for block in self.blocks), waiting)


class Bounds(Queue):
    """How much waits."""

    LINE = "x" * 116  # with what stands for its end, 117 bytes

    def put_bytes(self, size: int) -> None:
        for _ in range(-(-size // 117)):
            self.queue.put(self.LINE)

    def test_pauses_at_the_high_mark_once_and_resumes_at_the_low_one(self) -> None:
        self.put_bytes(pacing.HIGH_WATER - 200)
        self.assertEqual(self.words, [])
        self.put_bytes(600)
        self.assertEqual(self.words, ["paused"])
        self.assertTrue(self.queue.full)
        while self.queue.waiting > pacing.LOW_WATER + 117:
            self.clock.advance(AFTER_KEY)
        self.assertEqual(self.words, ["paused"])
        self.clock.advance(AFTER_KEY)
        self.assertEqual(self.words, ["paused", "resumed"])
        self.assertFalse(self.queue.full)

    def test_what_is_written_on_and_on_is_refused(self) -> None:
        self.put_bytes(pacing.BOUND)
        with self.assertRaises(TooMuchWaiting) as caught:
            self.queue.put("one more")
        self.assertEqual(caught.exception.code, "too-slow")
        self.assertIn(str(self.queue.waiting), str(caught.exception))

    def test_one_long_line_is_never_half_taken(self) -> None:
        line = "x" * (pacing.BOUND + 1000)
        self.queue.put(line)
        for _ in range(700):
            self.clock.advance(AFTER_KEY)
        self.assertEqual(b"".join(self.blocks).decode(), line)
        self.assertEqual(self.words, ["paused", "resumed", "empty"])


class Holding(Queue):
    """The connection below has no room."""

    def test_nothing_is_sent_while_held(self) -> None:
        self.queue.put("one")
        self.queue.hold()
        self.run_clock(2)
        self.assertEqual(self.events, [])
        self.queue.release()
        self.clock.advance(0)
        self.assertEqual(self.blocks, [b"one"])

    def test_holding_an_idle_queue(self) -> None:
        self.queue.hold()
        self.queue.put("one")
        self.run_clock(2)
        self.assertEqual(self.events, [])
        self.queue.release()
        self.run_clock(1)
        self.assertEqual(self.blocks, [b"one"])

    def test_held_from_within_a_send(self) -> None:
        queue = PacedQueue(
            self.clock,
            10,
            lambda block: (self.note(block), queue.hold())[0],
            paused=lambda: None,
            resumed=lambda: None,
            empty=lambda: None,
        )
        queue.put("0123456789")
        queue.put("abc")
        self.run_clock(2)
        self.assertEqual(self.blocks, [b"0123456789"])


class Stopping(Queue):
    """The connection is gone."""

    def test_nothing_is_sent_afterwards(self) -> None:
        self.queue.put("one")
        self.queue.stop()
        self.queue.release()
        self.run_clock(2)
        self.assertEqual(self.events, [])
        self.assertFalse(self.queue)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stopped_from_within_a_send(self) -> None:
        queue = PacedQueue(
            self.clock,
            117,
            lambda block: (self.note(block), queue.stop())[0],
            paused=lambda: None,
            resumed=lambda: self.note("resumed"),
            empty=lambda: self.note("empty"),
        )
        queue.put("one")
        self.run_clock(2)
        self.assertEqual(self.events, [(0.25, b"one")])
