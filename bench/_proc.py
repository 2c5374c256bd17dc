"""A measured process: started on a core of its own, its CPU and memory read from /proc, ended by its id."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
ROOT = Path(__file__).resolve().parents[1]


def cores() -> tuple[set[int], set[int]]:
    """The core for what is measured, and those for the load; the same where there is only one."""
    there = sorted(os.sched_getaffinity(0))
    return set(there[:1]), set(there[1:] or there)


def raise_descriptors() -> None:
    """Let this process, and what it starts, have as many sockets as the system allows."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def cpu_of(pid: int) -> float:
    """Seconds of CPU, user and system, that a process has used in all its threads."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
        except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
            continue
    return total / 1e9


def rss_of(pid: int) -> int:
    """Bytes of memory that a process holds."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def start(
    command: Sequence[str],
    on: set[int],
    env: Mapping[str, str] | None = None,
    stdin: int = subprocess.DEVNULL,
    output: Path | None = None,
    cwd: Path = ROOT,
) -> subprocess.Popen[str]:
    """A process on these cores, its stdout in a pipe; or all that it prints in the file ``output``."""
    with contextlib.ExitStack() as stack:
        file = None if output is None else stack.enter_context(output.open("w"))
        return subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, sorted(on))), *command],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), **(env or {})},
            stdin=stdin,
            stdout=subprocess.PIPE if file is None else file,
            stderr=None if file is None else subprocess.STDOUT,
            text=True,
        )


def stop(process: subprocess.Popen[str]) -> None:
    """End a process: kindly, then by force."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
