"""The audit log: whole lines, private, bounded, and never waited for."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from encchat.ciphers.testing.reactor import ContractReactor
from encchat.core.interfaces import Deed, IAudit
from encchat.server import audit
from encchat.server.audit import DELAY, FILES, RATES, RETRY, SIZE, WAITING, AuditLog
from tests.core.world import World


def deed(what: str = "kick", who: str = "olga", **facts: str | int) -> Deed:
    return Deed(what, 1_700_000_000_123, who, "SHA256:x", facts)


class AuditTests(SynchronousTestCase):
    """AuditLog on a reactor whose threads run when the test says so."""

    def setUp(self) -> None:
        self.place = Path(self.mktemp())
        self.place.mkdir()
        self.path = self.place / "audit.log"
        self.reactor = ContractReactor()
        self.audit = AuditLog(self.path, self.reactor, 1000)
        self.events = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def write(self, seconds: float = DELAY) -> None:
        self.reactor.advance(seconds)
        self.reactor.settle()

    def lines(self, path: Path | None = None) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (path or self.path).read_bytes().splitlines()]

    def stop(self) -> None:
        stopped = Deferred.fromCoroutine(self.audit.stop())
        self.reactor.settle()
        self.successResultOf(stopped)

    def test_interface(self) -> None:
        verifyObject(IAudit, self.audit)
        world = World()
        self.audit.start(world.hub)
        world.named("alice")
        self.write()
        self.assertEqual([(line["what"], line["who"]) for line in self.lines()], [("admit", "alice")])

    def test_a_line(self) -> None:
        self.audit.record(deed(room="+tea", seq=7, target="bøb"))
        self.assertFalse(self.path.exists())
        self.write()
        self.assertEqual(
            self.lines(),
            [
                {
                    "time": "2023-11-14T22:13:20.123+00:00",
                    "what": "kick",
                    "who": "olga",
                    "key": "SHA256:x",
                    "room": "+tea",
                    "seq": 7,
                    "target": "bøb",
                }
            ],
        )
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_private_even_if_it_was_not(self) -> None:
        self.path.touch(0o666)
        self.path.chmod(0o644)
        self.audit.record(deed())
        self.write()
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)

    def test_no_file_of_another(self) -> None:
        other = self.place / "other"
        other.write_text("precious")
        self.path.symlink_to(other)
        self.audit.record(deed())
        self.write()
        self.assertEqual(other.read_text(), "precious")
        self.assertEqual(len(list(self.events)), 1)

    def test_one_line_whatever_is_in_it(self) -> None:
        self.audit.record(deed(who="a\nb\x1b\u2028\ud800"))
        self.write()
        self.assertEqual(len(self.path.read_bytes().splitlines()), 1)
        self.assertEqual(len(self.lines()), 1)

    def test_one_write_for_many(self) -> None:
        for n in range(5):
            self.audit.record(deed(seq=n))
        self.reactor.advance(DELAY)
        self.assertEqual(self.reactor.pending_jobs, 1)
        self.audit.record(deed(seq=5))
        self.reactor.settle()
        self.write()
        self.assertEqual([line["seq"] for line in self.lines()], list(range(6)))

    def test_rotation(self) -> None:
        for n in range(60):
            self.audit.record(deed(seq=n))
            self.write()
        files = sorted(path.name for path in self.place.iterdir())
        self.assertEqual(files, ["audit.log", *(f"audit.log.{n}" for n in range(1, FILES))])
        found = [n for name in reversed(files) for n in (li["seq"] for li in self.lines(self.place / name))]
        self.assertEqual(found, list(range(found[0], 60)))
        for name in files:
            self.assertLessEqual((self.place / name).stat().st_size, 1000)
            self.assertEqual(stat.S_IMODE((self.place / name).stat().st_mode), 0o600)

    def test_stop_writes_what_waits(self) -> None:
        self.audit.record(deed(seq=1))
        self.stop()
        self.assertEqual(len(self.lines()), 1)
        self.audit.record(deed(seq=2))
        self.reactor.advance(DELAY)
        self.audit.record(deed(seq=3))
        self.stop()
        self.assertEqual([line["seq"] for line in self.lines()], [1, 2, 3])
        self.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_settled_is_on_disk(self) -> None:
        """Also what was recorded while a batch is being written, for each who waits."""
        self.audit.record(deed(seq=0))
        self.reactor.advance(DELAY)
        self.audit.record(deed(seq=1))
        first = Deferred.fromCoroutine(self.audit.settle())
        self.audit.record(deed(seq=2))
        second = Deferred.fromCoroutine(self.audit.settle())
        self.assertNoResult(first)
        self.assertNoResult(second)
        self.reactor.settle()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual([line["seq"] for line in self.lines()], [0, 1, 2])
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        self.successResultOf(Deferred.fromCoroutine(self.audit.settle()))

    def test_settled_although_it_failed(self) -> None:
        self.place.rename(self.place.with_name("away"))
        self.audit.record(deed())
        tried = Deferred.fromCoroutine(self.audit.settle())
        self.reactor.settle()
        self.successResultOf(tried)
        self.assertEqual(len(list(self.events)), 1)
        self.place.with_name("away").rename(self.place)
        self.write(RETRY)
        self.assertEqual(len(self.lines()), 1)

    def test_a_disk_that_is_away_for_a_while(self) -> None:
        self.place.rename(self.place.with_name("away"))
        for n in range(3):
            self.audit.record(deed(seq=n))
        self.write()
        self.assertEqual(len(list(self.events)), 1)
        self.audit.record(deed(seq=3))
        self.place.with_name("away").rename(self.place)
        self.write(RETRY)
        self.assertEqual([line["seq"] for line in self.lines()], [0, 1, 2, 3])

    def test_a_disk_that_is_full_leaves_no_half_lines(self) -> None:
        self.audit.record(deed(seq=0))
        self.write()
        real = os.write

        def full(descriptor: int, data: bytes) -> int:
            real(descriptor, data[:10])
            raise OSError(28, "No space left on device")

        self.patch(audit.os, "write", full)
        self.audit.record(deed(seq=1))
        self.write()
        self.assertEqual(len(self.lines()), 1)
        self.patch(audit.os, "write", real)
        self.write(RETRY)
        self.assertEqual([line["seq"] for line in self.lines()], [0, 1])

    def test_what_waits_is_bounded(self) -> None:
        for n in range(WAITING + 10):
            self.audit.record(deed(seq=n))
        self.write()
        self.audit.record(deed(seq=-1))
        self.write()
        self.assertEqual((self.lines()[-1]["seq"], self.lines()[-1]["skipped"]), (-1, 10))

    def test_what_anybody_can_cause_washes_nothing_out_within_a_day(self) -> None:
        """Not by coming in and being refused, nor by acting in rooms of one's own."""
        self.audit = AuditLog(self.path, self.reactor)
        self.audit.record(deed("ban", "the operator", target="eve", seconds=0))
        long = {"room": "+" + "r" * 32, "target": "t" * 32, "keys": "SHA256:" + "k" * 43, "seq": 10**6}
        own = ("topic", "kick", "ban", "role", "roster", "code", "link", "unlink")
        kinds = {"admit": 2000, "refuse": 1000} | dict.fromkeys(own, 250)
        for _ in range(24):
            for kind, times in kinds.items():
                for _ in range(times):
                    self.audit.record(deed(kind, "e" * 32, **long))
            self.write()
            self.reactor.advance(3600)
        size = sum(path.stat().st_size for path in self.path.parent.glob("audit.log*"))
        bursts = sum(burst for _, burst in RATES.values())
        lines = sum(rate for rate, _ in RATES.values()) * 86_400
        longest = max(map(len, self.path.read_bytes().splitlines(keepends=True)))
        self.assertLess(size, SIZE * (FILES - 1))
        self.assertLess((bursts + lines) * longest, SIZE * (FILES - 1))
        found = [
            line for path in self.path.parent.glob("audit.log*") for line in path.read_text().splitlines()
        ]
        self.assertEqual(len([line for line in found if "the operator" in line]), 1)

    def test_no_flood(self) -> None:
        """Whoever is refused ten thousand times does not wash out what moderators did."""
        rate, burst = RATES["refuse"]
        self.audit = AuditLog(self.path, self.reactor)
        self.audit.record(deed())
        for _ in range(10_000):
            self.audit.record(deed("refuse", "eve"))
        self.audit.record(deed())
        self.write()
        self.assertEqual(len(self.lines()), burst + 2)
        self.assertEqual(self.lines()[-1]["skipped"], 10_000 - burst)
        self.reactor.advance(60 / rate)
        for _ in range(10_000):
            self.audit.record(deed("refuse", "eve"))
        self.write()
        self.assertEqual(len(self.lines()), burst + 2 + 60)
