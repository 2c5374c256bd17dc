"""A client that receives for long does not grow: everything that it holds of a room has a bound."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client.events import NewEntry
from encchat.client.protocol.outgoing import MAX_OWN
from encchat.client.protocol.roomcopy import MAX_ANCHORS, MAX_RECENT
from encchat.client.store import Bounds, history
from encchat.client.store.blocks import BLOCK_FRAMES
from encchat.wire import encode
from tests.client.world import World

LOBBY = "+lobby"
LINES = 100_000
#: Entries that arrive at once.
BATCH = 500


class Counting:
    """A console that holds nothing."""

    def __init__(self) -> None:
        self.count = 0

    def happened(self, events: object) -> None:
        for event in events:  # type: ignore[attr-defined]  # a sequence of them
            self.count += isinstance(event, NewEntry)

    def warn(self, text: str) -> None:
        raise AssertionError(text)


class LongRun(TestCase):
    def test_a_hundred_thousand_lines(self) -> None:
        world = World(Path(self.mktemp()))
        self.addCleanup(world.store.close)
        console = Counting()
        world.start(console)
        world.chat.session.join(LOBBY)
        world.chat.flush()
        world.settle()
        world.store.archive.bounds = Bounds(entries=5000)
        room, session = world.chat.session.rooms[LOBBY], world.chat.session
        for batch in _batches():
            world.transport.deliver(batch)
            world.settle()
            world.clock.advance(0.3)
            self.assertLessEqual(len(room._anchors), MAX_ANCHORS + 2)
            self.assertLessEqual(len(room._recent), MAX_RECENT)
            self.assertLess(world.store.archive.pending, history.PENDING)
            self.assertEqual(world.store.archive._pending, {})
        self.assertEqual(console.count, LINES)
        self.assertLessEqual(len(session._outgoing._own), MAX_OWN)
        self.assertEqual((len(session.outbox), session.questions, session._out), (0, 0, []))
        self.assertEqual((world.chat._watchers, len(room.members)), ([], 2))
        database = world.store.archive._database
        assert database is not None
        ((kept, rows),) = database.read("SELECT sum(last - first + 1), count(*) FROM blocks")
        self.assertLessEqual(kept, 5000)
        self.assertGreater(kept, 5000 - BLOCK_FRAMES)
        self.assertLessEqual(rows, 5000 / (BATCH / 4) + 1)
        self.assertEqual(world.chat.local_history(LOBBY, 0, 1).entries[0].seq, LINES)


def _batches() -> Iterator[bytes]:
    for first in range(1, LINES, BATCH):
        yield b"".join(
            encode(m.Entry(LOBBY, seq, seq, "bob", "", "text", seq.to_bytes(16, "big"), b"line %d" % seq))
            for seq in range(first, first + BATCH)
        )
