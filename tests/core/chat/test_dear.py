"""Sessions to which writing is dear: they get everything, and one turn does little for them."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.chat.reading import DEAR_BYTES, DEAR_PAGE_BYTES, DearShare
from encchat.logs.memory_blobs import MemoryBlobs
from tests.core.world import LOG_ID, Gate, GatedLog, ManualTurn, Peer, World, text

#: A file of two pieces.
DATA = bytes(100_000)


class DearSessions(SynchronousTestCase):
    """A room with members over RSA, and one who is not."""

    def setUp(self) -> None:
        self.log = GatedLog(LOG_ID)
        self.world = World(self.log, limits=m.Limits(rate=0))
        self.alice = self.world.member("alice")
        self.dear = [self.world.member(f"dear{number}") for number in range(20)]
        for peer in self.dear:
            peer.session.dear = True
        for peer in (self.alice, *self.dear):
            peer.news()

    def seqs(self, peer: Peer) -> list[int]:
        return [entry.seq for entry in peer.news() if type(entry) is m.Entry]

    def test_a_short_message_is_pushed_to_all(self) -> None:
        self.alice.send(text(1, "hello"))
        self.log.gates = None
        self.world.turn.end()
        for peer in (self.alice, *self.dear):
            self.assertEqual((self.seqs(peer), len(peer.writes[-1:])), ([1], 1))

    def test_a_long_one_is_pushed_to_few(self) -> None:
        """The others read it from the log, one at a time; who is not dear waits for none of them."""
        self.alice.send(text(1, "x" * (DEAR_BYTES // 2)))
        self.log.gates = []
        self.world.turn.end()
        self.world.turn.open(self.log.gates.pop())  # the append
        self.assertEqual(self.seqs(self.alice), [1])
        pushed = [peer for peer in self.dear if self.seqs(peer) == [1]]
        self.assertEqual(len(pushed), 2)
        others = [peer for peer in self.dear if peer not in pushed]
        reads = 0
        while self.log.gates:
            self.assertEqual(len(self.log.gates), 1)
            before = sum(len(peer.writes) for peer in others)
            self.world.turn.open(self.log.gates.pop())
            self.assertEqual(sum(len(peer.writes) for peer in others), before + 1)
            reads += 1
            self.world.turn.end()
        self.assertEqual(reads, len(others))
        for peer in others:
            self.assertEqual(self.seqs(peer), [1])

    def test_many_in_order(self) -> None:
        """Whoever is pushed to and who reads: all get all, in order, in pages of a bounded size."""
        for number in range(1, 60):
            self.alice.send(text(number, "x" * 2000))
            if number % 7 == 0:
                self.world.turn.end()
        self.world.turn.end()
        for peer in (self.alice, *self.dear):
            self.assertEqual(self.seqs(peer), list(range(1, 60)))
        late = max(len(write) for write in self.dear[-1].writes)
        self.assertLess(late, DEAR_PAGE_BYTES + 3000)

    def test_presence_is_not_missed(self) -> None:
        """What is no entry and could not be pushed comes as the whole list."""
        bob = self.world.named("bob")
        self.alice.send(text(1, "x" * (DEAR_BYTES + 1)))
        bob.send(m.Join(1, "+lobby"))
        self.world.turn.end()
        for peer in self.dear:
            news = peer.news()
            self.assertIn(1, [entry.seq for entry in news if type(entry) is m.Entry])
            here = [one for one in news if type(one) is m.Presence and one.name == "bob"]
            lists = [one for one in news if type(one) is m.Members and m.Member("bob") in one.members]
            self.assertTrue(here or lists)

    def test_the_share_of_a_turn(self) -> None:
        share = DearShare(ManualTurn())
        self.assertTrue(share.spend(DEAR_BYTES * 10))
        self.assertFalse(share.spend(1))
        share.renew()
        self.assertTrue(share.spend(1))


class Bulk(SynchronousTestCase):
    """Files, pages and findings for members over RSA: one at a time, each in a turn of its own, so that who
    talks waits for one of them and not for all."""

    #: The most that one of them asks for is worth, about.
    ONE = 140 * 1024

    def setUp(self) -> None:
        self.world = World(blobs=lambda turn: MemoryBlobs(turn.now))
        self.alice = self.world.member("alice")
        self.dear = [self.world.member(f"dear{number}") for number in range(20)]
        self.blob = sha256(DATA).digest()
        self.alice.ask(
            m.Upload(1, "+lobby", self.blob, len(DATA)), m.Chunk(2, self.blob, 0, DATA[: m.MAX_PIECE])
        )
        self.alice.ask(m.Chunk(3, self.blob, m.MAX_PIECE, DATA[m.MAX_PIECE :]))
        for number in range(20, 60):
            self.alice.ask(text(number, f"words {'x' * 4000}"))
        self.world.turn.time += 60
        for peer in self.dear:
            peer.session.dear = True
        for peer in (self.alice, *self.dear):
            peer.news()

    def assert_bounded(self, ask: Callable[[int], m.ClientMessage]) -> None:
        """However many ask at once, no turn writes more to all of them than one answer; and what alice says
        meanwhile is stored and told within a few turns."""
        for peer in self.dear:
            peer.send(*[ask(number) for number in range(4)])
        said = text(100, "is anybody there?")
        self.alice.send(said)
        turns = told = 0
        while self.world.turn.steps:
            before = sum(len(data) for peer in self.dear for data in peer.writes)
            for _ in range(len(self.world.turn.steps)):  # what a reactor does in one turn
                self.world.turn.steps.popleft()()
            turns += 1
            written = sum(len(data) for peer in self.dear for data in peer.writes) - before
            self.assertLess(written, self.ONE + 20 * 100)
            told = told or (turns if any(isinstance(one, m.Sent) for one in self.alice.news()) else 0)
        self.assertTrue(0 < told <= 4, told)
        for peer in self.dear:
            answers = [one for one in peer.news() if getattr(one, "id", 0)]
            self.assertGreaterEqual(len(answers), 3)

    def test_downloads(self) -> None:
        self.assert_bounded(lambda number: m.Download(number, "+lobby", self.blob))

    def test_pages(self) -> None:
        self.assert_bounded(lambda number: m.Read(number, "+lobby", 0, 0, 500))

    def test_findings(self) -> None:
        self.assert_bounded(lambda number: m.Search(number, "+lobby", "words"))

    def test_an_uploader(self) -> None:
        """One piece of a file is worked at in a turn, whatever waits behind it, and what it costs is not
        taken from what its sender may say."""
        mallory = self.dear[0]
        blob = sha256(b"never to be whole").digest()
        mallory.ask(m.Upload(1, "+lobby", blob, 90 * 1024 * 1024))
        writes: list[int] = []
        real = self.world.blobs.write

        async def write(upload: str, offset: int, data: bytes) -> None:
            gate = Gate()
            gates.append(gate)
            await gate
            writes.append(len(data))
            await real(upload, offset, data)

        gates: list[Gate] = []
        self.patch(self.world.blobs, "write", write)
        piece = bytes(m.MAX_PIECE)
        offset = 0
        while not mallory.held:
            mallory.send(m.Chunk(5, blob, offset, piece))
            offset += len(piece)
            self.assertLess(offset, 100 * len(piece))
        for number in range(100, 120):
            said = [one for one in self.alice.ask(text(number, "hello")) if isinstance(one, m.Sent)]
            self.assertEqual(len(said), 1)
            self.assertLessEqual(len(gates), 1)
            if gates:
                self.world.turn.open(gates.pop())
        self.assertLessEqual(len(writes), 20)
        while gates:
            self.world.turn.open(gates.pop())
            self.world.turn.end()
        self.assertFalse(mallory.held)
        self.assertEqual(
            [
                type(one)
                for one in mallory.ask(text(1, "hi"))
                if not isinstance(one, m.Entry | m.Ready | m.Error)
            ],
            [m.Sent],
        )
