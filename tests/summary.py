"""Runs trial and closes with one plain line, ``N passed, N failed``, as ``make test`` prints it.

    python -m tests.summary [-jN] [tests or what is named]

All the tests are run in groups, N at a time, each by a trial of its own: a group that breaks its process
fails alone, and tests that wait for other processes do not hold up the rest. Trial's reports stay as
they are, one after the other; the last line of each is read for the counts. A run that ends without one, or
without a test, has failed; so has one that does not end, after it has told where it is. What failed is told
once more right before the closing line, as the end is what is looked at, and often all that is kept.

The tests start hundreds of processes, so what Python compiles is kept at least for the run: where the
environment forbids it beside the sources (PYTHONDONTWRITEBYTECODE), in a directory that goes with the run.
Sets have the same order in every run, but not in those of make soak.
"""

from __future__ import annotations

import os
import re
import signal
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
#: Modules that take long, the longest first: each is a group of its own.
_LONG = (
    "process.test_client_pipe",
    "process.test_sealed_talk",
    "process.test_client_terminal",
    "process.test_scripts",
    "process.test_screens",
    "process.test_kill",
    "test_operating",
    "process.test_hostile",
    "process.test_moderation",
    "ciphers.rsa.test_rsa_contract",
    "cli.test_doctor",
    "ciphers.test_example_cipher",
)
#: Seconds after which a group hangs.
PATIENCE = 1800
#: The name of a test, alone in a line, as trial tells it below what went wrong.
_NAME = re.compile(r"(?:\w+\.)+test_\w+")


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
    """All test modules: those with processes of their own alone, the others by their folder. What takes
    longest comes first, so that no core is idle at the end."""
    long: list[tuple[int, list[str]]] = []
    short, together = [], {}
    for path in sorted(root.rglob("test_*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        if name in _LONG:
            long.append((_LONG.index(name), [f"{root.name}.{name}"]))
        elif path.parent.name == "process":
            short.append([f"{root.name}.{name}"])
        else:
            together.setdefault(path.parent, []).append(f"{root.name}.{name}")
    folders = sorted(together.values(), key=len, reverse=True)
    return [group for _, group in sorted(long)] + folders[:4] + short + folders[4:]


def surroundings(place: str) -> dict[str, str]:
    """The environment of the tests, in which compiled modules are kept, if need be in ``place``."""
    environment = dict(os.environ)
    if environment.get("ENCCHAT_SOAK") != "1":
        environment.setdefault("PYTHONHASHSEED", "0")
    if environment.pop("PYTHONDONTWRITEBYTECODE", ""):
        environment["PYTHONPYCACHEPREFIX"] = place
    return environment


def run(modules: Sequence[str], environment: Mapping[str, str]) -> tuple[str, Counter[str], bool]:
    """Run one trial: its report, its counts, and whether it ended well."""
    with tempfile.TemporaryDirectory(prefix="encchat-trial-") as place, tempfile.TemporaryFile() as said:
        trial = [sys.executable, "-X", "faulthandler", "-m", "twisted.trial", "--reporter=text"]
        running = subprocess.Popen(
            [*trial, f"--temp-directory={place}/t", *modules],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,  # a pipe would stay open for as long as any process that was left behind
            stderr=subprocess.STDOUT,
        )
        try:
            code = running.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            running.send_signal(signal.SIGABRT)  # it prints where it is
            code = running.wait()
        said.seek(0)
        report = said.read().decode("utf-8", "replace")
    found = counts(report)
    if code and not found["failed"]:
        found["failed"] = 1
    return report, found, not found["failed"]


def failures(report: str) -> str:
    """What a report tells of what went wrong."""
    begin = report.find("\n" + "=" * 79 + "\n")
    return report[begin + 1 :] if begin >= 0 else report


def failed_tests(report: str) -> list[str]:
    """The names of the tests that a report tells to have failed."""
    return [line for line in failures(report).splitlines() if _NAME.fullmatch(line)]


def main(arguments: Sequence[str]) -> int:
    """Run what is named, or all; return the exit code."""
    jobs = next((int(word[2:]) for word in arguments if re.fullmatch(r"-j\d+", word)), os.cpu_count() or 1)
    named = [word for word in arguments if not word.startswith("-j")]
    work = groups() if named in ([], ["tests"]) else [named]
    total: Counter[str] = Counter()
    bad: list[tuple[str, str]] = []
    with tempfile.TemporaryDirectory(prefix="encchat-compiled-") as place, ThreadPoolExecutor(jobs) as pool:
        environment = surroundings(place)
        running = {pool.submit(run, modules, environment): modules for modules in work}
        for future in as_completed(running):
            report, found, well = future.result()
            if len(work) > 1:
                print(f"{_title(running[future])}:")
            sys.stdout.write(report if not well or len(work) == 1 else _short(report))
            sys.stdout.flush()
            total += found
            if not well:
                bad.append((_title(running[future]), report))
    if len(work) > 1:
        for title, report in bad:
            print(f"\nfailed in {title}:\n{failures(report)}")
    for title, report in bad:
        for name in failed_tests(report) or [f"{title}, as a whole"]:
            print(f"failed: {name}")
    print(line(total), flush=True)
    return 1 if bad else 0


def _title(modules: Sequence[str]) -> str:
    """What a group is called."""
    return modules[0] if len(modules) == 1 else f"{modules[0].rpartition('.')[0]}, {len(modules)} modules"


def _short(report: str) -> str:
    """A good report without its dots and its rules."""
    kept = [words for words in report.splitlines() if words and not set(words) <= set(".S-=")]
    return "\n".join(kept) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
