"""A hundred thousand lines through a pipe: what waits is bounded by count, whatever the input is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client.network.link import Patience
from encchat.client.pipe.pipe import HIGH_WATER, LOW_WATER, Manner, Pipe
from encchat.client.protocol.outbox import Item
from encchat.client.streams.lines import CHUNK
from encchat.client.streams.progress import Progress
from tests.client.world import FakeWriter, World


class Chat:
    """A chat whose server acknowledges when the test says so."""

    def __init__(self) -> None:
        self.outbox: list[str] = []
        self.most = self.stored = 0
        self.waiting: list[tuple[Any, Deferred[None]]] = []
        self.order = True

    def say(self, room: str, *texts: str) -> list[Item]:
        self.outbox += texts
        self.most = max(self.most, len(self.outbox))
        return []

    def max_body(self, room: str) -> int:
        return m.Limits().body

    @property
    def unacknowledged(self) -> int:
        return len(self.outbox)

    def acknowledge(self, count: int) -> None:
        for text in self.outbox[:count]:
            self.order = self.order and text == f"line {self.stored}"
            self.stored += 1
        del self.outbox[:count]
        waiting, self.waiting = self.waiting, []
        for condition, deferred in waiting:
            if condition():
                deferred.callback(None)
            else:
                self.waiting.append((condition, deferred))

    def when(self, condition: Any) -> Deferred[None]:
        deferred: Deferred[None] = Deferred()
        if condition():
            deferred.callback(None)
        else:
            self.waiting.append((condition, deferred))
        return deferred


class Chunks:
    """An input of so many lines, read a chunk at a time."""

    def __init__(self, lines: int) -> None:
        self.data = b"".join(b"line %d\n" % number for number in range(lines))
        self.reads = 0

    def read(self) -> Deferred[bytes]:
        self.reads += 1
        chunk, self.data = self.data[:CHUNK], self.data[CHUNK:]
        done: Deferred[bytes] = Deferred()
        done.callback(chunk)
        return done


class LargeInput(TestCase):
    def test_a_hundred_thousand_lines(self) -> None:
        """Only the reading of the input: what lies beyond it is another test's."""
        world = World(Path(self.mktemp()), patience=Patience(False, 120.0))
        self.addCleanup(world.store.close)
        chat, chunks, screen = Chat(), Chunks(100_000), []
        progress = Progress(Clock(), screen.append, len(chunks.data), shared=False)
        pipe = Pipe(
            world.clock,
            world.chat,
            Manner("+lobby"),
            chunks,  # type: ignore[arg-type]  # a stub
            FakeWriter,  # type: ignore[arg-type]  # a stub
            lambda text: None,
            progress,
        )
        world.chat.session.limits = m.Limits()
        chat.session = world.chat.session  # type: ignore[attr-defined]  # as Chat has one
        pipe._chat = chat  # type: ignore[assignment]
        done = Deferred.fromCoroutine(pipe._read_input())
        while not done.called:
            before = chunks.reads
            chat.acknowledge(1)
            if len(chat.outbox) > LOW_WATER:
                self.assertEqual(chunks.reads, before, "it reads on only when there is room")
            chat.acknowledge(200)
        chat.acknowledge(len(chat.outbox))
        self.assertEqual((chat.stored, chat.order), (100_000, True))
        self.assertLess(chat.most, 2 * HIGH_WATER)
        self.assertTrue(any("on their way" in text for text in screen))
