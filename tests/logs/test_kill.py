"""The process is killed while it appends, again and again: what it acknowledged is there, once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from encchat.logs.verify import verify
from encchat.messages import Entry
from encchat.wire import decode_entry
from tests.contracts.log import MUCH
from tests.logs.rig import Rig, open_log
from tests.logs.sender import ROOM, SENDERS

#: How often; ``ENCCHAT_KILLS=50`` for a long run.
KILLS = int(os.environ.get("ENCCHAT_KILLS", "3"))


class KillTests(SynchronousTestCase):
    """SIGKILL, at a moment that chance decides."""

    def test_what_was_acknowledged_is_there_once(self) -> None:
        path = Path(self.mktemp()) / "log.db"
        acknowledged: dict[tuple[int, int], int] = {}
        begin = [1] * SENDERS
        for _ in range(KILLS):
            for sender, number, seq in self.run_and_kill(path, begin, random.randrange(1, 3000)):
                acknowledged[sender, number] = seq
                # What was not acknowledged is sent again by the next process.
                begin[sender] = max(begin[sender], number + 1)
            self.check(path, acknowledged)
        self.assertEqual(list(verify(path)), [])

    def run_and_kill(self, path: Path, begin: list[int], lines: int) -> list[tuple[int, ...]]:
        """Let a process send until it acknowledged ``lines``, kill it, and return all that it did."""
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.logs.sender", str(path.absolute()), *map(str, begin)],
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        with child:
            assert child.stdout is not None
            heard = [child.stdout.readline() for _ in range(lines)]
            child.kill()
            heard += child.stdout.readlines()
        self.assertEqual(child.returncode, -9)
        # The very last line may have been cut.
        return [tuple(map(int, line.split())) for line in heard if line.endswith(b"\n")]

    def check(self, path: Path, acknowledged: dict[tuple[int, int], int]) -> None:
        rig = Rig()
        log = open_log(self, path, rig)
        entries: list[Entry] = []
        more = True
        while more:
            page = rig.wait(log.read(ROOM, len(entries), 1000, MUCH))
            entries += map(decode_entry, page.frames)
            more = page.more
        rig.wait(log.close())
        self.assertEqual([entry.seq for entry in entries], list(range(1, len(entries) + 1)))
        stored = {(int(e.sender[4:]), int(e.body[5:])): e.seq for e in entries}
        self.assertEqual(len(stored), len(entries), "an entry is there twice")
        self.assertEqual({key: stored.get(key) for key in acknowledged}, acknowledged)
        for sender in range(SENDERS):
            numbers = [number for of, number in stored if of == sender]
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        # Each sender had at most one line on its way.
        self.assertLessEqual(len(stored) - len(acknowledged), SENDERS)
