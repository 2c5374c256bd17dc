"""The line about a large input: for large ones only, not too often, and never in the way."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from encchat.client.streams.progress import CLEAR, LARGE, PAUSE, Progress


class ProgressTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.screen = ""

    def progress(self, size: int | None = None, *, shared: bool = False) -> Progress:
        return Progress(self.clock, self._write, size, shared)

    def _write(self, text: str) -> None:
        self.screen += text

    @property
    def line(self) -> str:
        """What stands on the line now."""
        return self.screen.rpartition(CLEAR)[2]

    def test_small_inputs_go_by_without_it(self) -> None:
        progress = self.progress()
        progress.read(100, 10)
        progress.look(LARGE - 1)
        progress.clear()
        self.assertEqual((self.screen, progress.make_way()), ("", b""))

    def test_a_large_one(self) -> None:
        progress = self.progress(10_000)
        progress.read(5000, 1200)
        progress.look(1000)
        self.assertEqual(self.line, "200 stored, 1,000 on their way, 50 % read")
        progress.look(900)
        self.assertEqual(self.line, "200 stored, 1,000 on their way, 50 % read", "not so soon")
        self.clock.advance(PAUSE)
        progress.look(0)
        self.assertEqual(self.line, "1,200 stored, 0 on their way, 50 % read")
        progress.clear()
        self.assertEqual(self.line, "")

    def test_a_pipe_has_no_size(self) -> None:
        progress = self.progress()
        progress.read(5000, 1200)
        progress.look(1000)
        self.assertEqual(self.line, "200 stored, 1,000 on their way")

    def test_a_file_that_grows(self) -> None:
        progress = self.progress(10)
        progress.read(5000, LARGE)
        progress.look(LARGE)
        self.assertIn("100 % read", self.line)

    def test_other_things_are_told_beside_it(self) -> None:
        progress = self.progress(shared=True)
        said: list[str] = []
        progress.read(1, LARGE)
        progress.look(LARGE)
        progress.around(said.append)("hello")
        self.assertEqual((said, self.line), (["hello"], ""))
        self.assertEqual(progress.make_way(), CLEAR.encode())
