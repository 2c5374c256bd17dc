"""Positions: joining, reading and resuming while retention takes entries, and what is sent again after a
restart of the server."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.chat.positions import position_from, read_from
from encchat.logs.memory import MemoryLog
from encchat.wire import advance, decode_entry, encode
from tests.core.test_directory import run
from tests.core.world import LOG_ID, GatedLog, World, text


class Shrinking(GatedLog):
    """A log from which entries leave just before it is asked: ``trims`` holds one seq for each question."""

    trims: tuple[int, ...] = ()

    async def _shrink(self, room: str) -> None:
        if self.trims:
            first, *rest = self.trims
            self.trims = tuple(rest)
            await self.trim(room, first)

    async def position(self, room: str, seq: int) -> Any:
        await self._shrink(room)
        return await super().position(room, seq)

    async def read(self, room: str, after: int, limit: int, size: int) -> Any:
        await self._shrink(room)
        return await super().read(room, after, limit, size)


class Retention(SynchronousTestCase):
    """Whatever leaves the log, and whenever: one who reads on finds the first entry that is left."""

    def setUp(self) -> None:
        self.log = Shrinking(LOG_ID)
        self.world = World(self.log, limits=m.Limits(rate=0))
        self.alice = self.world.member("alice")
        self.alice.ask(*[text(n, f"{n}") for n in range(1, 21)])
        self.alice.news()

    def test_the_log_moves_on_while_it_is_asked(self) -> None:
        self.log.trims = (5, 9, 14)
        self.assertEqual(run(position_from(self.log, "+lobby", 2)).seq, 13)
        self.log.trims = (16, 17, 18)
        page = run(read_from(self.log, "+lobby", 14, 100, 1 << 20))
        self.assertEqual([decode_entry(frame).seq for frame in page.frames], [18, 19, 20])

    def test_join_with_history(self) -> None:
        bob = self.world.named("bob")
        self.log.trims = (6, 11, 16)
        joined, *rest = bob.ask(m.Join(1, "+lobby", None, 18))
        self.assertEqual(joined.start.seq, 15)
        frames = [encode(entry) for entry in rest if type(entry) is m.Entry]
        self.assertEqual(advance(joined.start, frames), joined.head)

    def test_resume_at_what_has_left(self) -> None:
        here = advance(m.Position(), self.world.log_frames("+lobby")[:3])
        bob = self.world.named("bob")
        self.log.trims = (9, 13)
        joined, *rest = bob.ask(m.Join(1, "+lobby", here))
        self.assertEqual(joined.start.seq, 12)
        self.assertEqual([e.seq for e in rest if type(e) is m.Entry], list(range(13, 21)))

    def test_resume_right_where_the_log_begins(self) -> None:
        here = advance(m.Position(), self.world.log_frames("+lobby")[:8])
        run(self.log.trim("+lobby", 9))
        bob = self.world.named("bob")
        self.assertEqual(bob.ask(m.Join(1, "+lobby", here))[0].start, here)
        (error,) = bob.ask(m.Join(2, "+lobby", m.Position(8, b"x" * 32)))
        self.assertEqual((error.id, error.code), (2, "wrong-chain"))

    def test_read(self) -> None:
        self.log.trims = (6, 12, 15)
        page = self.alice.ask(m.Read(1, "+lobby", 3, 0, 2))[0]
        self.assertEqual((page.start.seq, len(page.entries), page.more), (14, 2, True))
        page = self.alice.ask(m.Read(2, "+lobby", 0, 3, 5))[0]
        self.assertEqual((page.start.seq, page.entries, page.more), (14, (), False))

    def test_a_slow_reader_is_told_where_the_log_begins(self) -> None:
        bob = self.world.member("bob")
        self.alice.session.congested = True
        bob.ask(*[text(n, f"{n}") for n in range(21, 31)])
        self.log.trims = (23, 25, 28)
        self.alice.drain()
        news = self.alice.news()
        skipped = [n.start.seq for n in news if type(n) is m.Page]
        seqs = [n.seq for n in news if type(n) is m.Entry]
        self.assertEqual((skipped, seqs), ([27], [28, 29, 30]))

    def test_one_who_left_meanwhile_is_told_nothing(self) -> None:
        bob = self.world.member("bob")
        self.alice.session.congested = True
        bob.ask(text(21, "21"), text(22, "22"))
        self.log.gates = []
        self.alice.session.drained()
        self.alice.ask(m.Part(9, "+lobby"))
        gate = self.log.gates.pop()
        self.log.gates = None
        run(self.log.trim("+lobby", 22))
        self.world.turn.open(gate)
        self.world.turn.end()
        self.assertEqual([n for n in self.alice.news() if type(n) in (m.Page, m.Entry)], [])


class Restart(SynchronousTestCase):
    """Another hub on the same log: as if the server had been stopped and started."""

    def test_what_is_sent_again_is_the_same_entry(self) -> None:
        log = MemoryLog(LOG_ID)
        alice = World(log).member("alice")
        first = alice.ask(text(1, "one"), text(2, "two"))[:2]
        again = World(log).member("alice").ask(text(2, "two"), text(1, "one"), text(3, "three"))
        self.assertEqual([n for n in again if type(n) is m.Sent][:2], [first[1], first[0]])
        self.assertEqual([n.seq for n in again if type(n) is m.Entry], [3])

    def test_also_when_the_entry_has_left_the_log(self) -> None:
        log = MemoryLog(LOG_ID)
        alice = World(log).member("alice")
        first = alice.ask(text(1, "one"), text(2, "two"))[0]
        run(log.trim("+lobby", 3))
        later = World(log)
        later.turn.time += 366 * 86400
        alice = later.member("alice")
        self.assertEqual(alice.ask(text(1, "one"))[0], first)
        self.assertEqual(alice.ask(text(1, "another"))[0].code, "msgid-reused")

    def test_resume_after_a_restart(self) -> None:
        log = MemoryLog(LOG_ID)
        world = World(log)
        alice = world.member("alice")
        alice.ask(*[text(n, f"{n}") for n in range(1, 6)])
        here = advance(m.Position(), world.log_frames("+lobby")[:2])
        alice = World(log).named("alice")
        joined, *rest = alice.ask(m.Join(1, "+lobby", here))
        self.assertEqual((joined.start, joined.head.seq), (here, 5))
        self.assertEqual([e.seq for e in rest if type(e) is m.Entry], [3, 4, 5])


class BadPositions(SynchronousTestCase):
    """Seqs of the future, negative ones, chains that are not: each an error, and nothing else happens."""

    def test_negative_values_are_malformed(self) -> None:
        for frame in (
            b"\x95\xa4join\x01\xa6+lobby\x92\xff\xc4\x20" + bytes(32) + b"\x00",
            b"\x95\xa4join\x01\xa6+lobby\xc0\xff",
            b"\x96\xa4read\x01\xa6+lobby\xff\x00\x0a",
            b"\x96\xa4read\x01\xa6+lobby\x00\xff\x0a",
            b"\x96\xa4read\x01\xa6+lobby\x00\x00\xff",
            b"\x96\xa4read\x01\xa6+lobby\x00\x00\x00",
        ):
            alice = World().member("alice")
            alice.news()
            alice.session.receive_frames([len(frame).to_bytes(4, "big") + frame])
            self.assertEqual([n.code for n in alice.news()], ["malformed"])
            self.assertTrue(alice.closed)

    def test_the_future_is_unknown(self) -> None:
        alice = World().member("alice")
        alice.ask(text(1, "one"))
        far = 2**63 - 1
        for asked in (m.Read(1, "+lobby", 2), m.Read(1, "+lobby", far), m.Join(1, "+lobby", m.Position(far))):
            self.assertEqual(alice.ask(asked)[0].code, "unknown-position")
        page = alice.ask(m.Read(1, "+lobby", 0, far, 5))[0]
        self.assertEqual([decode_entry(frame).seq for frame in page.entries], [1])
