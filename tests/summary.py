"""Runs trial and closes with one plain line, ``N passed, N failed``, as ``make test`` prints it.

Trial's own report stays as it is; its last line is read for the counts. A run that ends without one,
or without a test, has failed.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence

_OUTCOME = re.compile(r"(?:PASSED|FAILED)(?: \((?P<counts>[a-zA-Z0-9=, ]*)\))?\Z")
_FAILED = ("failures", "errors", "unexpectedSuccesses")
_PASSED = ("successes", "expectedFailures")


def summary(outcome: str) -> tuple[str, bool]:
    """The closing line for trial's last line, and whether the run was a good one."""
    match = _OUTCOME.match(outcome.strip())
    counts = dict.fromkeys((*_FAILED, *_PASSED, "skips"), 0)
    if match is not None:
        counts |= {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", match["counts"] or "")}
    failed = sum(counts[name] for name in _FAILED)
    passed = sum(counts[name] for name in _PASSED)
    if match is None or (passed == 0 and failed == 0):
        failed = max(failed, 1)  # trial itself broke, or there was nothing to run
    line = f"{passed} passed, {failed} failed"
    return (f"{line}, {counts['skips']} skipped" if counts["skips"] else line), failed == 0


def main(arguments: Sequence[str]) -> int:
    """Run trial over ``arguments``; return the exit code."""
    command = [sys.executable, "-m", "twisted.trial", "--reporter=text", *arguments]
    tail = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0) as trial:
        assert trial.stdout is not None
        while piece := trial.stdout.read(4096):
            sys.stdout.buffer.write(piece)
            sys.stdout.flush()
            tail = (tail + piece)[-4096:]
    last = tail.decode(errors="replace").rstrip().rpartition("\n")[2]
    line, good = summary(last)
    print(line, flush=True)
    return 0 if good and trial.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
