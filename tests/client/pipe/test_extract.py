"""``--tail``, ``--since`` and ``--until``: what comes out, when it ends, and that it leaves no trace."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client.network.link import Patience
from encchat.client.pipe.extract import PAUSE, SPARE, CannotRead, Extract
from encchat.client.pipe.pipe import CannotJoin, Manner
from encchat.client.pipe.span import Span
from encchat.errors import EncchatError
from tests.client.fake_server import FakeLink
from tests.client.world import FakeReader, FakeWriter, World

LOBBY = "+lobby"
#: The fake server's entry ``seq`` has the time START + seq.
START = 1_700_000_000_000


class ExtractCase(TestCase):
    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()), lane=None, patience=Patience(False, 120.0))
        self.addCleanup(self.world.store.close)
        self.status: list[str] = []
        self.now = START + 1000

    def say(self, count: int) -> None:
        for _ in range(count):
            self.world.server.say(LOBBY, str(len(self.world.server.room(LOBBY).frames) + 1))

    def start(self, *, json: bool = False, follow: bool = False, **span: Any) -> None:
        def writer(changed: Any) -> Any:
            self.writer = FakeWriter(changed)
            return self.writer

        self.reader = FakeReader()
        console = Extract(
            self.world.clock,
            self.world.chat,
            Manner(LOBBY, json=json, follow=follow),
            Span(**span),
            self.reader,  # type: ignore[arg-type]  # a stub
            writer,
            self.status.append,
            lambda: self.now,
        )
        self.world.start(console)
        self.code: int | None = None
        self.error: EncchatError | None = None
        Deferred.fromCoroutine(console.run()).addCallbacks(self._ended, self._failed)
        self.world.settle()

    def _ended(self, code: int) -> None:
        self.code = code

    def _failed(self, failure: Any) -> None:
        failure.trap(EncchatError, CancelledError)
        self.error = failure.value if isinstance(failure.value, EncchatError) else None

    @property
    def numbers(self) -> list[int]:
        return [int(line.removeprefix("bob: ")) for line in self.writer.lines]


class Tail(ExtractCase):
    def test_the_last_ones(self) -> None:
        self.say(10)
        self.start(tail=3)
        self.assertEqual((self.numbers, self.code), ([8, 9, 10], 0))

    def test_more_than_there_are_and_none(self) -> None:
        self.say(2)
        self.start(tail=50)
        self.assertEqual((self.numbers, self.code), ([1, 2], 0))

    def test_none_at_all(self) -> None:
        self.say(2)
        self.start(tail=0)
        self.assertEqual((self.numbers, self.code), ([], 0))

    def test_following(self) -> None:
        self.say(3)
        self.start(tail=1, follow=True)
        self.say(2)
        self.world.settle()
        self.assertEqual((self.numbers, self.code), ([3, 4, 5], None))

    def test_following_across_a_lost_connection(self) -> None:
        self.say(3)
        self.start(tail=2, follow=True)
        self.world.cut()
        self.say(2)
        self.world.later(5)
        self.assertEqual((self.numbers, self.code), ([2, 3, 4, 5], None))


class Since(ExtractCase):
    def test_from_a_time_on(self) -> None:
        self.say(100)
        for first in (1, 2, 57, 99, 100):
            self.start(since=START + first)
            self.assertEqual((self.numbers, self.code), (list(range(first, 101)), 0))
            self.world.link.abort()
            self.world.settle()
            self.world.new_run()

    def test_nothing_since_then(self) -> None:
        self.say(100)
        self.start(since=START + 101)
        self.assertEqual((self.writer.data, self.code), (b"", 0))

    def test_an_empty_room(self) -> None:
        self.start(since=START)
        self.assertEqual((self.writer.data, self.code), (b"", 0))

    def test_until(self) -> None:
        self.say(100)
        self.start(since=START + 20, until=START + 25)
        self.assertEqual((self.numbers, self.code), ([20, 21, 22, 23, 24], 0))

    def test_until_alone(self) -> None:
        self.say(100)
        self.start(until=START + 4)
        self.assertEqual((self.numbers, self.code), ([1, 2, 3], 0))

    def test_what_is_asked_is_little(self) -> None:
        self.say(1000)
        self.start(since=START + 990)
        reads = [x for x in self.world.transport.link.received if isinstance(x, m.Read)]
        self.assertLessEqual(len(reads), 10)
        self.assertEqual({read.limit for read in reads}, {1})
        self.assertEqual(self.numbers, list(range(990, 1001)))

    def test_following_until_a_time(self) -> None:
        self.say(5)
        self.now = START + 1000
        self.start(since=START + 4, until=START + 31_000, follow=True)
        self.say(1)
        self.world.settle()
        self.assertEqual((self.numbers, self.code), ([4, 5, 6], None))
        self.world.later(29)
        self.assertIsNone(self.code)
        self.world.later(2)
        self.assertEqual(self.code, 0)

    def test_a_log_that_grows_meanwhile(self) -> None:
        """More is stored between the look and the Join than was allowed for: it goes back once more."""
        self.say(50)
        histories = []

        def on_join(link: FakeLink, message: m.Join) -> None:
            histories.append(message.history)
            if len(histories) == 2:
                self.say(SPARE + 300)
            join(link, message)

        join = FakeLink.on_join
        self.patch(FakeLink, "on_join", on_join)
        self.start(since=START + 41)
        self.assertEqual(self.numbers, list(range(41, 351 + SPARE)))
        self.assertEqual((len(histories), self.code), (3, 0))

    def test_a_connection_that_is_lost_during_the_search(self) -> None:
        self.say(100)
        answer = FakeLink.on_read
        self.patch(FakeLink, "on_read", lambda link, message: None)
        self.start(since=START + 60)
        self.patch(FakeLink, "on_read", answer)
        self.world.cut()
        self.world.later(10)
        self.assertEqual((self.numbers, self.code), (list(range(60, 101)), 0))

    def test_a_server_that_cannot_answer_now(self) -> None:
        self.say(100)
        self.world.server.refuse = {m.Read: ("storage-unavailable", 0)}
        self.start(since=START + 60)
        self.world.server.refuse = {}
        self.world.later(PAUSE + 1)
        self.assertEqual((self.numbers, self.code), (list(range(60, 101)), 0))

    def test_not_allowed_to_read(self) -> None:
        self.say(3)
        self.world.server.refuse = {m.Read: ("not-in-room", 0)}
        self.start(since=START)
        self.assertIsInstance(self.error, CannotRead)

    def test_not_allowed_in(self) -> None:
        self.world.server.refuse = {m.Join: ("banned", 0)}
        self.start(since=START)
        self.assertIsInstance(self.error, CannotJoin)


class NoTrace(ExtractCase):
    def test_positions_and_marks_stay(self) -> None:
        self.say(5)
        self.start(tail=5)
        self.assertEqual(self.code, 0)
        self.world.later(30)
        received = self.world.transport.link.received
        self.assertFalse([x for x in received if isinstance(x, m.Mark)])
        self.world.chat.stop()
        log = self.world.server.log
        self.assertIsNone(self.world.store.position(self.world.shown.fingerprint, log, LOBBY))

    def test_the_input_is_not_read(self) -> None:
        self.start(tail=1)
        self.assertEqual((self.reader.reads, self.code), (0, 0))


class Json(ExtractCase):
    def test_one_beginning(self) -> None:
        """The room is entered twice to find the place, and that is told once."""
        self.say(30)
        self.start(since=START + 28, json=True)
        events = [json.loads(line) for line in self.writer.lines]
        self.assertEqual(
            [event["event"] for event in events], ["admitted", "joined", *["message"] * 3, "caught-up"]
        )
        self.assertEqual([event["seq"] for event in events if event["event"] == "message"], [28, 29, 30])


class SlowOutput(ExtractCase):
    def test_the_server_waits(self) -> None:
        self.say(50)
        self.start(tail=1, follow=True)
        self.writer.full = True
        self.say(3)
        self.world.settle()
        self.assertTrue(self.world.transport.paused)
