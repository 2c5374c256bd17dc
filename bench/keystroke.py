"""How long a key takes to its echo, in the real client on a terminal, while others talk.

A service, one sender of so many messages a second (``bench._load``, which does little else), and
``encchat-client`` on a pseudo-terminal, each a process of its own on loopback; the client and who presses its
keys have one core, the service and the sender the rest. A letter that nobody says is pressed at an odd
moment; the time until the terminal gets it back is the latency: the kernel's terminal, the client's event
loop and what it does meanwhile, and prompt_toolkit's drawing. With no messages it is what the editor itself
takes. On a machine that does other things too, the client waits for its core, and so does who presses the
keys; the kernel tells how long (/proc/PID/schedstat), and the second line of numbers is without that.

    python -m bench.keystroke [--rates 0,1000] [--keys 1000] [--cipher tls] [--burst 1]
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench._load import Spec
from bench._proc import cores, cpu_of, rss_of, start, stop
from bench._servers import Certificates, Encchat

CLIENT = "from encchat.cli.client import main; main()"
#: Letters that are in no message, name, status or escape sequence of this.
LETTERS = "zkjvfgw"
#: What each message has, and nothing else: the sender's padding.
MARK = b"x" * 12
#: Seconds that anything may take.
PATIENCE = 60.0
#: Seconds of talk before the first key.
WARM_UP = 3.0
TARGET = 0.020


class Terminal:
    """The client on a pseudo-terminal."""

    def __init__(self, home: Path, port: int, cipher: str, on: set[int]) -> None:
        self.seen = 0
        self.pid, self._handle = pty.fork()
        if not self.pid:
            os.sched_setaffinity(0, on)
            environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": "1"}
            options = ["--state", str(home), "--cipher", cipher, "--name", "u1", "--room", "+bench"]
            options += ["--accept-new", f"127.0.0.1:{port}"]
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
        self.seen += data.count(MARK)
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
        """Seconds that the client, and we, have waited for a core so far."""
        return (
            sum(int(Path(f"/proc/{who}/schedstat").read_text().split()[1]) for who in (self.pid, "self"))
            / 1e9
        )

    def stop(self) -> None:
        """Leave."""
        os.kill(self.pid, signal.SIGTERM)
        with contextlib.suppress(OSError):
            while os.read(self._handle, 65536):
                pass
        os.waitpid(self.pid, 0)
        os.close(self._handle)


@contextlib.contextmanager
def talker(server: Encchat, certificates: Certificates, rate: int, burst: int) -> Iterator[int]:
    """One who says so many messages a second until the end; the process."""
    spec = Spec(
        port=server.port,
        pid=server.pid,
        speaks=server.speaks,
        cipher=server.cipher,
        members=1,
        certs=str(certificates.directory),
        rate=rate,
        seconds=3600,
        size=40,
        burst=burst,
        warm_up=0.1,
    )
    module = "bench._load_rsa" if server.cipher == "rsa" else "bench._load"
    process = start([sys.executable, "-m", module, "-"], cores()[1], stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(msgspec.json.encode(spec).decode())
    process.stdin.close()
    try:
        yield process.pid
    finally:
        process.stdin = None
        stop(process)


def measure(cipher: str, rate: int, keys: int, burst: int, certificates: Certificates) -> None:
    """One run, and its lines of output."""
    with (
        tempfile.TemporaryDirectory(prefix="encchat-bench-") as home,
        Encchat(certificates.members(2), cipher) as server,
        contextlib.ExitStack() as stack,
    ):
        measured, others = cores()
        os.sched_setaffinity(server.pid, others)
        used = f"tls:certs={certificates.directory}" if cipher == "tls" else cipher
        terminal = Terminal(Path(home), server.port, used, measured)
        stack.callback(terminal.stop)
        terminal.until(b" here")
        pids = {"client": terminal.pid, "service": server.pid}
        if rate:
            pids["sender"] = stack.enter_context(talker(server, certificates, rate, burst))
            terminal.until(MARK)
        os.sched_setaffinity(0, measured)
        stack.callback(os.sched_setaffinity, 0, measured | others)
        terminal.rest(WARM_UP)
        before = {who: cpu_of(pid) for who, pid in pids.items()}
        memory = rss_of(terminal.pid)
        seen, began = terminal.seen, time.perf_counter()
        pairs = list(_keys(terminal, keys))
        wall = time.perf_counter() - began
        shown = terminal.seen - seen
        spent = {who: cpu_of(pid) - before[who] for who, pid in pids.items()}
        grown = (rss_of(terminal.pid) - memory) / 2**20
    print(f"{cipher}, {rate:,} messages/s asked, {shown / wall:,.0f} shown, {shown:,} in all; {keys} keys")
    raw, own = (sorted(times) for times in zip(*pairs, strict=True))
    for title, times in (("key to echo", raw), ("with a core of its own", own)):
        p50, p99, p999 = (times[min(len(times) - 1, int(len(times) * part))] for part in (0.5, 0.99, 0.999))
        verdict = "within" if p99 < TARGET else "NOT within"
        print(
            f"  {title:<24} p50 {p50 * 1000:5.1f}  p99 {p99 * 1000:5.1f}  p99.9 {p999 * 1000:5.1f} ms "
            f"({verdict} {TARGET * 1000:g})"
        )
    shares = ", ".join(f"{who} {seconds / wall * 100:.0f} %" for who, seconds in spent.items())
    each = f"; {spent['client'] / shown * 1e6:.0f} µs of the client's for each line" if shown else ""
    print(f"  of a core: {shares}{each}; the client has grown by {grown:.1f} MiB", flush=True)


def _keys(terminal: Terminal, keys: int) -> Iterator[tuple[float, float]]:
    """The latency of each key, and what of it was not the wait for a core."""
    chance = random.Random(1)
    for number in range(keys):
        letter = LETTERS[number % len(LETTERS)]
        if letter == LETTERS[0]:
            terminal.press("\x15")  # C-u: an empty line
            terminal.rest(0.2)
        terminal.rest(chance.uniform(0.02, 0.06))
        waited = terminal.waited()
        began = terminal.press(letter)
        took = terminal.until(letter.encode()) - began
        yield took, max(0.0, took - (terminal.waited() - waited))


def main() -> None:
    """All runs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rates", default="0,1000", help="messages a second, of each run")
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--cipher", default="tls", help="tls, rsa or both: tls,rsa")
    parser.add_argument("--burst", type=int, default=1, help="messages in one write of the sender (tls)")
    options = parser.parse_args()
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    certificates = Certificates()
    try:
        for cipher in options.cipher.split(","):
            for rate in options.rates.split(","):
                measure(cipher, int(rate), options.keys, options.burst, certificates)
    finally:
        certificates.close()


if __name__ == "__main__":
    main()
