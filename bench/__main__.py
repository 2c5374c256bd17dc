"""All benchmarks, one after the other: a table as they go, and all of it as JSON at the end.

    python -m bench [--only NAME,...] [--peers] [--quick] [--json FILE]
    python -m bench compare A.json B.json
    python -m bench page [FILE]

``compare`` prints how the numbers of one run relate to those of another. ``page`` brings a run's numbers and
its plots into docs/performance.md and the README. What the numbers mean is in docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench import fanout
from bench._page import write_page
from bench._proc import ROOT, raise_descriptors
from bench._report import compare, targets
from bench._servers import Certificates

RESULTS = ROOT / "bench" / "results"
#: Seconds that one benchmark may take.
PATIENCE = 300
#: How often the cases of fan-out are measured, in turn with the peers: the middle one counts.
TIMES = 3


@dataclass(frozen=True)
class Other:
    """A benchmark that is a program of its own."""

    name: str
    #: For a run, and for a quick one.
    arguments: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    #: How it gives JSON: ``--json`` on stdout, ``--json FILE``, or nothing but text.
    gives: str = "lines"
    #: Under which name, when a program is run in several ways.
    title: str = ""
    keys: tuple[str, ...] = field(default=())

    @property
    def key(self) -> str:
        """Its name in the results."""
        return self.title or self.name


OTHERS = (
    Other("handshake", ("--connections", "2000"), ("--connections", "500")),
    Other("idle", ("--connections", "1000"), ("--connections", "300"), title="idle 1,000"),
    Other("idle", ("--connections", "10000"), ("--connections", "1000"), title="idle 10,000"),
    Other("append", ("100000",), ("20000",)),
    Other("catchup", ("1000000", "--times", "2"), ("100000", "--times", "1")),
    Other("rsa", ("1000",), ("300",), gives="file"),
    Other("start", ("--runs", "10"), ("--runs", "3"), gives="file"),
    Other("keystroke", ("--keys", "150"), ("--keys", "30"), gives="text"),
)


def main() -> int:
    """Do what was asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", nargs="?", choices=["run", "compare", "page"], default="run")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--only", default="", help="fanout, or any other by name, with commas")
    parser.add_argument("--peers", action="store_true", help="measure InspIRCd and ngIRCd beside ours")
    parser.add_argument("--quick", action="store_true", help="few and short: whether it works, not numbers")
    parser.add_argument("--json", type=Path, help="[default: bench/results/DATE.json]")
    options = parser.parse_args()
    if options.what == "compare":
        if len(options.files) != 2:
            parser.error("compare needs two files")
        first, second = (json.loads(file.read_text()) for file in options.files)
        print(compare(first, second))
        return 0
    if options.what == "page":
        write_page(json.loads((options.files[0] if options.files else latest()).read_text()))
        return 0
    return run(options)


def latest() -> Path:
    """The newest run."""
    found = sorted(RESULTS.glob("*.json"))
    if not found:
        raise SystemExit("there is no run yet: make bench")
    return found[-1]


def run(options: argparse.Namespace) -> int:
    """Measure, print, and keep."""
    raise_descriptors()
    began = datetime.now(UTC)
    names = {name for name in options.only.split(",") if name}
    results: dict[str, Any] = {"machine": machine(), "began": began.isoformat(timespec="seconds")}
    results["load_before"] = os.getloadavg()[0]
    start = time.monotonic()
    if not names or "fanout" in names:
        results["fanout"] = run_fanout(options.peers, options.quick)
    results["others"] = {
        other.key: run_other(other, options.quick) for other in OTHERS if not names or other.name in names
    }
    results["took_s"] = time.monotonic() - start
    file = options.json or RESULTS / f"{began:%Y%m%d-%H%M%S}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n== what it must reach (design, section 12)\n{targets(results)}")
    print(f"\nAll of it, in {results['took_s'] / 60:.0f} minutes: {file}")
    return 0


def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    cpu = next(
        (line.split(":")[1].strip() for line in _read("/proc/cpuinfo").splitlines() if "model name" in line),
        "",
    )
    return {
        "cpu": cpu or platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}",
        "python": platform.python_version(),
        "commit": _commit(),
    }


def run_fanout(peers: bool, quick: bool) -> list[dict[str, Any]]:
    """Every case with every server; of several runs the middle one."""
    seconds = 2.0 if quick else 5.0
    certificates = Certificates()
    found: list[dict[str, Any]] = []
    print(fanout.HEADER, flush=True)
    try:
        for case in (*fanout.MAIN, *fanout.SIZES, *fanout.OWN):
            times = TIMES if case in fanout.MAIN[:2] and not quick else 1
            runs: dict[str, list[dict[str, Any]]] = {}
            makers = fanout.makers(certificates, case, peers=peers)
            for _ in range(times):
                for name, make in makers.items():
                    runs.setdefault(name, []).append(fanout.measure(case, make, certificates, seconds))
            middle = {name: _middle(each) for name, each in runs.items()}
            base = middle.get("inspircd")
            for name, result in middle.items():
                usable = base if base is not None and "failed" not in base and base is not result else None
                print(fanout.line(case.title, name, result, usable), flush=True)
                found.append({"case": case.title, "server": name, **result, "runs": len(runs[name])})
    finally:
        certificates.close()
    return found


def run_other(other: Other, quick: bool) -> dict[str, Any]:
    """What a benchmark printed, and its JSON."""
    print(f"\n== {other.key}", flush=True)
    arguments = list(other.quick if quick else other.arguments)
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "result.json"
        if other.gives == "lines":
            arguments.append("--json")
        elif other.gives == "file":
            arguments += ["--json", str(file)]
        begun = time.monotonic()
        try:
            done = subprocess.run(
                [sys.executable, "-m", f"bench.{other.name}", *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                capture_output=True,
                text=True,
                check=False,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            print(f"not done after {PATIENCE} s")
            return {"failed": f"not done after {PATIENCE} s"}
        print(done.stdout.rstrip(), flush=True)
        data: Any = None
        if other.gives == "lines":
            data = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        elif file.exists():
            data = json.loads(file.read_text())
    if done.returncode and not data:
        print(f"ended with code {done.returncode}: {done.stderr[-500:]}")
        return {"failed": done.stderr[-500:] or f"code {done.returncode}"}
    return {"data": data, "text": done.stdout, "took_s": time.monotonic() - begun}


def _middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the middle cost of a delivery."""
    good = [one for one in runs if "failed" not in one]
    if not good:
        return runs[0]
    key: Callable[[dict[str, Any]], float] = lambda one: float(one["us_per_delivery"])  # noqa: E731 -- typed
    return sorted(good, key=key)[len(good) // 2]


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def _commit() -> str:
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


if __name__ == "__main__":
    sys.exit(main())
