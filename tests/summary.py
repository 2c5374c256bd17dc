"""Runs trial and closes with one plain line, ``N passed, N failed``, as ``make test`` prints it.

    python -m tests.summary [-jN] [tests or what is named]

All the tests are run in groups, N at a time, each by a trial of its own: a group that breaks its process
fails alone, and tests that wait for other processes do not hold up the rest. Trial's reports stay as
they are, one after the other; the last line of each is read for the counts. A run that ends without one, or
without a test, has failed.

The tests start hundreds of processes, so what Python compiles is kept at least for the run: where the
environment forbids it beside the sources (PYTHONDONTWRITEBYTECODE), in a directory that goes with the run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).resolve().parent

_OUTCOME = re.compile(r"(?:PASSED|FAILED)(?: \((?P<counts>[a-zA-Z0-9=, ]*)\))?\Z")
_FAILED = ("failures", "errors", "unexpectedSuccesses")
_PASSED = ("successes", "expectedFailures")
#: Modules that take long, each a group of its own.
_LONG = ("test_operating", "test_doctor", "test_rsa_contract", "test_refusals", "test_example_cipher")


def counts(report: str) -> Counter[str]:
    """Passed, failed and skipped tests, by the last line of trial's report; a report without one is a
    failure, and so is one without a test."""
    match = _OUTCOME.match(report.rstrip().rpartition("\n")[2].strip())
    found = Counter(
        {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", (match and match["counts"]) or "")}
    )
    failed, passed = sum(found[name] for name in _FAILED), sum(found[name] for name in _PASSED)
    if match is None or (passed == 0 and failed == 0 and not found["skips"]):
        failed = max(failed, 1)
    return Counter(passed=passed, failed=failed, skipped=found["skips"])


def line(total: Counter[str]) -> str:
    """The closing line."""
    plain = f"{total['passed']} passed, {total['failed']} failed"
    return f"{plain}, {total['skipped']} skipped" if total["skipped"] else plain


def groups(root: Path = HERE) -> list[list[str]]:
    """All test modules: those with processes of their own alone, the others by their folder. What may take
    longest comes first, so that no core is idle at the end."""
    alone, together = [], {}
    for path in sorted(root.rglob("test_*.py")):
        module = ".".join((root.name, *path.relative_to(root).with_suffix("").parts))
        if path.parent.name == "process" or path.stem in _LONG:
            alone.append([module])
        else:
            together.setdefault(path.parent, []).append(module)
    return sorted(together.values(), key=len, reverse=True) + alone


def compiling(place: str) -> dict[str, str]:
    """The environment of the tests, in which compiled modules are kept, if need be in ``place``."""
    environment = dict(os.environ)
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment["PYTHONPYCACHEPREFIX"] = place
    return environment


def run(modules: Sequence[str], environment: Mapping[str, str]) -> tuple[str, Counter[str], bool]:
    """Run one trial: its report, its counts, and whether it ended well."""
    with tempfile.TemporaryDirectory(prefix="encchat-trial-") as place:
        command = [sys.executable, "-m", "twisted.trial", "--reporter=text", f"--temp-directory={place}/t"]
        done = subprocess.run(
            [*command, *modules],
            check=False,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    report = done.stdout.decode("utf-8", "replace")
    found = counts(report)
    if done.returncode and not found["failed"]:
        found["failed"] = 1
    return report, found, not found["failed"]


def main(arguments: Sequence[str]) -> int:
    """Run what is named, or all; return the exit code."""
    jobs = next((int(word[2:]) for word in arguments if re.fullmatch(r"-j\d+", word)), os.cpu_count() or 1)
    named = [word for word in arguments if not word.startswith("-j")]
    work = groups() if named in ([], ["tests"]) else [named]
    total: Counter[str] = Counter()
    good = True
    with tempfile.TemporaryDirectory(prefix="encchat-compiled-") as place, ThreadPoolExecutor(jobs) as pool:
        environment = compiling(place)
        running = {pool.submit(run, modules, environment): modules for modules in work}
        for future in as_completed(running):
            report, found, well = future.result()
            if len(work) > 1:
                print(f"{_title(running[future])}:")
            sys.stdout.write(report if not well or len(work) == 1 else _short(report))
            sys.stdout.flush()
            total += found
            good = good and well
    print(line(total), flush=True)
    return 0 if good else 1


def _title(modules: Sequence[str]) -> str:
    """What a group is called."""
    return modules[0] if len(modules) == 1 else f"{modules[0].rpartition('.')[0]}, {len(modules)} modules"


def _short(report: str) -> str:
    """A good report without its dots and its rules."""
    kept = [words for words in report.splitlines() if words and not set(words) <= set(".S-=")]
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
