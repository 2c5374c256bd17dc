"""How long a person waits for the client: from its start in a terminal to its first prompt, and to being in a
room; with the time of the processor, as the machine may be busy. And ``--version``.

    python bench/start.py [--runs 10] [--json FILE]

The real client runs in a pseudo-terminal against a real service on this machine, with a key that exists.
"""

from __future__ import annotations

import argparse
import json
import os
import pty
import resource
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CLIENT = [sys.executable, "-c", "from encchat.cli.client import main; main()"]
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "--pidfile=", "-n"]
#: Seconds after which a run has failed.
PATIENCE = 60.0


def serve(place: Path, cipher: str) -> tuple[subprocess.Popen[str], str]:
    """A service, and where it listens."""
    command = [*TWISTD, "encchat", "--announce", "--cipher", cipher, "--log", "memory"]
    command += ["--port", "tcp:0:interface=127.0.0.1", "--data", str(place / "server")]
    service = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=place
    )
    assert service.stdout is not None
    for line in service.stdout:
        if line.startswith('{"event"'):
            return service, f"127.0.0.1:{json.loads(line)['port']}"
    raise SystemExit("the service did not start")


def run_once(command: Sequence[str], marks: Sequence[bytes]) -> list[tuple[float, float]]:
    """Run a command in a terminal until it has shown each of ``marks``; returns the seconds, of the clock and
    of the processor, at which each appeared."""
    pid, master = pty.fork()
    if pid == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(command[0], command)
    start = time.perf_counter()
    seen = b""
    found: dict[bytes, tuple[float, float]] = {}
    while len(found) < len(marks):
        ready, _, _ = select.select([master], [], [], PATIENCE)
        try:
            data = os.read(master, 65536) if ready else b""
        except OSError:
            data = b""
        if not data:
            raise SystemExit(f"only {list(found)} within {PATIENCE:g} s:\n{seen!r}")
        seen += data
        if b"\x1b[6n" in data:
            os.write(master, b"\x1b[1;1R")
        for mark in marks:
            if mark in seen and mark not in found:
                found[mark] = (time.perf_counter() - start, cpu_of(pid))
    os.write(master, b"\x04")
    os.close(master)
    os.waitpid(pid, 0)
    return [found[mark] for mark in marks]


def cpu_of(pid: int) -> float:
    """The seconds of the processor that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def version_once() -> tuple[float, float]:
    """``--version``, from start to end."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([*CLIENT, "--version"], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.perf_counter() - start, used


def main() -> None:
    """Measure, print a table, and write JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--runs", type=int, default=10)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    results: dict[str, Any] = {}

    def note(what: str, times: Sequence[tuple[float, float]]) -> None:
        wall, cpu = ([pair[index] for pair in times] for index in (0, 1))
        results[what] = {"wall": wall, "cpu": cpu}
        print(
            f"{what:<28} {min(wall):>8.3f} {statistics.median(wall):>8.3f} {max(wall):>8.3f}"
            f" {min(cpu):>8.2f} {statistics.median(cpu):>8.2f}"
        )

    print(f"{'seconds':<28} {'wall min':>8} {'median':>8} {'max':>8} {'cpu min':>8} {'median':>8}")
    note("--version", [version_once() for _ in range(given.runs)])
    for cipher in ("rsa", "tls:trust=pin"):
        with tempfile.TemporaryDirectory() as directory:
            place = Path(directory)
            service, address = serve(place, cipher)
            try:
                command = [*CLIENT, "--name", "alice", "--accept-new", "--state", str(place / "client")]
                command += ["--cipher", cipher, address]
                marks = [b"+lobby\x1b[0m>", b"in +lobby with"]
                run_once(command, marks[1:])  # makes the key
                runs = [run_once(command, marks) for _ in range(given.runs)]
                note(f"{cipher}: prompt", [run[0] for run in runs])
                note(f"{cipher}: in the room", [run[1] for run in runs])
            finally:
                service.terminate()
                service.wait()
    if given.json is not None:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
