"""How long a key takes to its echo, in the real client on a terminal, while others talk.

A service, one sender with so many messages a second, and ``encchat-client`` on a pseudo-terminal, each a
process of its own on loopback; the client has one core, the others the rest. A letter that nobody says is
pressed at an odd moment; the time until the terminal gets it back is the latency: the kernel's terminal, the
client's event loop and what it does meanwhile, and prompt_toolkit's drawing. With no messages it is what the
editor itself takes. On a machine that does other things too, the client waits for its core; the kernel tells
how long (/proc/PID/schedstat), and the second pair of numbers is without that.

    python -m bench.keystroke [--rates 0,1000] [--keys 300]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import pty
import random
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

TWISTD = "from twisted.scripts.twistd import run; run()"
CLIENT = "from encchat.cli.client import main; main()"
#: Letters that are in no message, name, status or escape sequence of this.
LETTERS = "xzkjvfgw"
#: Seconds that anything may take.
PATIENCE = 60.0
#: Seconds of talk before the first key.
WARM_UP = 2.0
TARGET = 0.020
#: The cores of this machine that we may use.
EVERY = frozenset(os.sched_getaffinity(0))


def place(pid: int, *, measured: bool) -> None:
    """Put a process on a core: the client and who presses its keys on the first, who talks on the rest."""
    there = sorted(os.sched_getaffinity(0) | EVERY)
    os.sched_setaffinity(pid, there[:1] if measured else there[1:] or there)


@contextlib.contextmanager
def service(home: Path) -> Iterator[int]:
    """A running service, and its port."""
    arguments = [
        "--port",
        "tcp:0:interface=127.0.0.1",
        "--announce",
        "--data",
        str(home / "data"),
        "--rate",
        "0",
    ]
    process = subprocess.Popen(
        [sys.executable, "-c", TWISTD, "--pidfile=", "-n", "encchat", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert process.stdout is not None
    place(process.pid, measured=False)
    try:
        line = next(line for line in process.stdout if line.startswith(b'{"event"'))
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield int(json.loads(line)["port"])
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)


class Talker:
    """Says ``rate`` messages a second, in bursts of a hundredth of a second."""

    def __init__(self, home: Path, port: int, rate: int) -> None:
        self.said = 0
        address = f"127.0.0.1:{port}"
        self._over = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-c", CLIENT, "--state", str(home), "--name", "bob", "--accept-new", address],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        place(self._process.pid, measured=False)
        self._thread = threading.Thread(target=self._talk, args=(rate,), daemon=True)
        self._thread.start()

    def _talk(self, rate: int) -> None:
        assert self._process.stdin is not None
        began = time.monotonic()
        while not self._over.wait(0.01):
            due = int((time.monotonic() - began) * rate) - self.said
            if due > 0:
                self._process.stdin.write(
                    b"".join(b"%06d 0123456789\n" % (self.said + n) for n in range(due))
                )
                self._process.stdin.flush()
                self.said += due

    def stop(self) -> None:
        """Say nothing more."""
        self._over.set()
        self._thread.join(PATIENCE)
        self._process.terminate()
        self._process.wait(PATIENCE)


class Terminal:
    """The client on a pseudo-terminal."""

    def __init__(self, home: Path, port: int) -> None:
        self.seen = 0
        place(0, measured=True)
        self._pid, self._handle = pty.fork()
        if not self._pid:
            environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
            options = ["--state", str(home), "--name", "alice", "--accept-new", f"127.0.0.1:{port}"]
            os.execve(sys.executable, [sys.executable, "-c", CLIENT, *options], environment)

    def until(self, part: bytes) -> float:
        """Read until ``part`` comes; returns the time at which it did."""
        data = b""
        end = time.perf_counter() + PATIENCE
        while part not in data:
            data = data[-len(part) :] + self.read(end - time.perf_counter())
        return time.perf_counter()

    def read(self, seconds: float) -> bytes:
        """What comes within so many seconds, or ``b""``."""
        if not select.select([self._handle], [], [], max(0.0, seconds))[0]:
            if seconds >= 1.0:
                raise TimeoutError("the client does not answer")
            return b""
        data = os.read(self._handle, 65536)
        self.seen += data.count(b"0123456789")
        return data

    def rest(self, seconds: float) -> None:
        """Read for so many seconds."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.read(min(left, 0.5))

    def press(self, key: str) -> float:
        """Press a key; returns when."""
        began = time.perf_counter()
        os.write(self._handle, key.encode())
        return began

    def waited(self) -> float:
        """Seconds that the client has waited for its core so far."""
        return int(Path(f"/proc/{self._pid}/schedstat").read_text().split()[1]) / 1e9

    def stop(self) -> None:
        """Leave."""
        os.kill(self._pid, signal.SIGTERM)
        with contextlib.suppress(OSError):
            while os.read(self._handle, 65536):
                pass
        os.waitpid(self._pid, 0)
        os.close(self._handle)


def measure(rate: int, keys: int) -> None:
    """One run, and its line of output."""
    with tempfile.TemporaryDirectory(prefix="encchat-bench-") as directory:
        home = Path(directory)
        with service(home) as port:
            terminal = Terminal(home, port)
            terminal.until(b"here")
            talker = Talker(home, port, rate) if rate else None
            try:
                if talker:
                    terminal.until(b"0123456789")
                terminal.rest(WARM_UP)
                seen, began = terminal.seen, time.perf_counter()
                pairs = list(_keys(terminal, keys))
                shown = (terminal.seen - seen) / (time.perf_counter() - began)
            finally:
                if talker:
                    talker.stop()
                terminal.stop()
    raw, own = (sorted(times) for times in zip(*pairs, strict=True))
    (p50, p99), (own50, own99) = _percentiles(raw), _percentiles(own)
    verdict = "within" if own99 < TARGET * 1000 else "NOT within"
    print(
        f"{rate:>6} messages/s asked, {shown:>6.0f} shown: key to echo p50 {p50:5.1f} ms, p99 {p99:5.1f} ms; "
        f"with a core of its own {own50:5.1f} and {own99:5.1f} ms ({verdict} {TARGET * 1000:g}), {keys} keys"
    )


def _percentiles(times: list[float]) -> tuple[float, float]:
    p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    return p50, p99


def _keys(terminal: Terminal, keys: int) -> Iterator[tuple[float, float]]:
    """The latency of each key, and what of it was not the wait for a core."""
    chance = random.Random(1)
    for number in range(keys):
        letter = LETTERS[number % len(LETTERS)]
        if letter == LETTERS[0]:
            terminal.press("\x15")  # C-u: an empty line
            terminal.rest(0.2)
        terminal.rest(chance.uniform(0.03, 0.11))
        waited = terminal.waited()
        began = terminal.press(letter)
        took = terminal.until(letter.encode()) - began
        yield took, max(0.0, took - (terminal.waited() - waited))


def main() -> None:
    """All runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rates", default="0,1000", help="messages a second, of each run")
    parser.add_argument("--keys", type=int, default=300)
    options = parser.parse_args()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    for rate in options.rates.split(","):
        measure(int(rate), options.keys)


if __name__ == "__main__":
    main()
