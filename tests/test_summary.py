"""The closing line of ``make test`` tells the truth about trial's run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests import summary
from tests.summary import counts, groups, line, run, surroundings

ROOT = Path(__file__).resolve().parent.parent

CASES = """
from twisted.trial.unittest import SynchronousTestCase


class Good(SynchronousTestCase):
    def test_one(self): pass
    def test_two(self): pass


class Mixed(SynchronousTestCase):
    def test_good(self): pass
    def test_fails(self): self.fail("on purpose")
    def test_breaks(self): raise ValueError("on purpose")
    def test_skipped(self): pass
    test_skipped.skip = "on purpose"
"""

HANGS = """
import time
from twisted.trial.unittest import SynchronousTestCase


class Hangs(SynchronousTestCase):
    def test_for_ever(self):
        time.sleep(1000)
"""


class Reading(SynchronousTestCase):
    """Trial's last line, and what is made of it."""

    def test_lines(self) -> None:
        """Passed, failed, skipped, and the other outcomes that trial has."""
        for outcome, expected in {
            "PASSED (successes=3)": ("3 passed, 0 failed", True),
            "PASSED (skips=2, successes=3)": ("3 passed, 0 failed, 2 skipped", True),
            "PASSED (expectedFailures=1, successes=3)": ("4 passed, 0 failed", True),
            "FAILED (failures=1, errors=2, successes=3)": ("3 passed, 3 failed", False),
            "FAILED (unexpectedSuccesses=1, successes=3)": ("3 passed, 1 failed", False),
            "FAILED (errors=1)": ("0 passed, 1 failed", False),
        }.items():
            found = counts(f"dots\n{outcome}\n")
            self.assertEqual((line(found), not found["failed"]), expected)

    def test_no_tests(self) -> None:
        """A run that tried nothing, or did not get to its end, has failed."""
        for outcome in (
            "PASSED",
            "",
            "Segmentation fault",
            "PASSED (successes=3) and more",
        ):
            self.assertEqual(line(counts(outcome)), "0 passed, 1 failed")

    def test_groups(self) -> None:
        """Every module of tests is in one group, and one only."""
        modules = [module for group in groups() for module in group]
        self.assertEqual(len(modules), len(set(modules)))
        self.assertEqual(len(modules), len(list((ROOT / "tests").rglob("test_*.py"))))
        self.assertIn("tests.test_summary", modules)
        self.assertIn(["tests.process.test_service"], groups())


class Surroundings(SynchronousTestCase):
    """What the processes of the tests find."""

    def test_compiled_beside_the_sources(self) -> None:
        """Where nothing forbids it."""
        self.patch(os, "environ", {"HOME": "/", "PYTHONHASHSEED": "7"})
        self.assertEqual(surroundings("place"), {"HOME": "/", "PYTHONHASHSEED": "7"})

    def test_compiled_apart(self) -> None:
        """Where it must not be written beside the sources."""
        self.patch(os, "environ", {"PYTHONDONTWRITEBYTECODE": "1", "ENCCHAT_SOAK": "1"})
        self.assertEqual(surroundings("place"), {"PYTHONPYCACHEPREFIX": "place", "ENCCHAT_SOAK": "1"})

    def test_sets_in_order(self) -> None:
        """The same in every run, unless chance is wanted."""
        self.patch(os, "environ", {})
        self.assertEqual(surroundings("place"), {"PYTHONHASHSEED": "0"})


class Running(SynchronousTestCase):
    """The command itself, over a module made for it."""

    def setUp(self) -> None:
        """A module with tests of every outcome."""
        self.place = Path(self.mktemp()).resolve()
        self.place.mkdir()
        (self.place / "test_cases.py").write_text(CASES)

    def run_tests(self, *arguments: str) -> tuple[int, list[str]]:
        """Run it; its exit code and its lines."""
        command = [sys.executable, str(ROOT / "tests" / "summary.py"), *arguments]
        done = subprocess.run(command, cwd=self.place, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout.splitlines()

    def test_good(self) -> None:
        """All is well: exit code 0, and trial's own report before the line."""
        code, lines = self.run_tests("test_cases.Good")
        self.assertEqual((code, lines[-1]), (0, "2 passed, 0 failed"))
        self.assertIn("PASSED (successes=2)", lines)

    def test_bad(self) -> None:
        """Failures and errors count alike, and the reasons are shown."""
        code, lines = self.run_tests("test_cases")
        self.assertEqual((code, lines[-1]), (1, "3 passed, 2 failed, 1 skipped"))
        self.assertTrue(any("on purpose" in line for line in lines))
        self.assertEqual(
            sorted(lines[-3:-1]),
            ["failed: test_cases.Mixed.test_breaks", "failed: test_cases.Mixed.test_fails"],
        )

    def test_missing(self) -> None:
        """A module that is not there is a failure."""
        code, lines = self.run_tests("no_such_tests")
        self.assertEqual((code, lines[-2:]), (1, ["failed: no_such_tests, as a whole", "0 passed, 1 failed"]))

    def test_wrong_option(self) -> None:
        """So is a run that trial refuses."""
        code, lines = self.run_tests("--no-such-option")
        self.assertEqual((code, lines[-1]), (1, "0 passed, 1 failed"))

    def test_a_group_that_hangs(self) -> None:
        """It is ended, and its report says where it was by then."""
        self.patch(summary, "PATIENCE", 5)
        (self.place / "test_hangs.py").write_text(HANGS)
        report, found, well = run(["test_hangs"], {**os.environ, "PYTHONPATH": str(self.place)})
        self.assertEqual((found["failed"], well), (1, False))
        self.assertIn("Fatal Python error: Aborted", report)
        self.assertRegex(report, r'File ".*", line \d+ in ')
