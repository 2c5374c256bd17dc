"""Two of our clients over rsa against two classroom scripts: messages a second, one way, losing none.

    python -m bench.rsa [MESSAGES] [--size BYTES] [--json FILE]

Ours: a service, and two ``encchat-client`` in pipes; one is given a file of messages, the other counts
them. Timed from the first line that comes out to the last, and from the start of the sending client too.
The script's: its stand-in (tests/process/classic_peer.py) at both ends of the same loopback. It loses a
message when two blocks reach one ``recv``, so its sender has to pause after each: the pause is halved as
long as none of the messages is lost in each of several runs, one of which may be had again. Its blocks hold
117 bytes, so a longer message is several of them; what counts is whole messages.
"""

from __future__ import annotations

import argparse
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TWISTD = "from twisted.scripts.twistd import run; run()"
CLIENT = "from encchat.cli.client import main; main()"
BLOCK = 117
#: Pauses of the script that are tried, in seconds, the longest first.
PAUSES = (0.05, 0.02, 0.015, 0.01, 0.0075, 0.005, 0.004, 0.003, 0.002)
RUNS = 3
#: Runs with one pause that may lose a message: the machine stands still now and then.
SPARE = 1
EVENT = '{"event"'


def start(*arguments: str, stdin: int | None = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A python process of ours."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def first_line(process: subprocess.Popen[bytes], stream: str, part: str) -> str:
    """The first line of a stream that contains ``part``."""
    pipe = getattr(process, stream)
    for raw in pipe:
        line = str(raw.decode("utf-8", "replace"))
        if part in line:
            return line
    raise SystemExit(f"a process ended without saying {part!r}: {(process.stderr or pipe).read()!r}")


def stop(*processes: subprocess.Popen[bytes]) -> None:
    """End processes by their ids."""
    for process in processes:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()


def lines(messages: int, size: int) -> list[str]:
    """Messages of ``size`` bytes, each with its number."""
    return [f"{number:06d} ".ljust(size, "x") for number in range(messages)]


def ours(messages: int, size: int) -> dict[str, float]:
    """Messages a second from one client to another, through the service."""
    with tempfile.TemporaryDirectory(prefix="encchat-bench-") as place:
        options = ("--announce", "--rate", "0", "--port", "tcp:0:interface=127.0.0.1", "--data", f"{place}/d")
        service = start("-c", TWISTD, "--pidfile=", "-n", "encchat", *options)
        address = f"127.0.0.1:{json.loads(first_line(service, 'stdout', EVENT))['port']}"
        common = ("-c", CLIENT, address, "--state", f"{place}/c", "--accept-new")
        bob = start(*common, "--name", "bob", stdin=subprocess.PIPE)
        first_line(bob, "stderr", "in +lobby")
        text = Path(place) / "messages"
        text.write_text("".join(line + "\n" for line in lines(messages, size)))
        began = time.perf_counter()
        with text.open("rb") as source:
            alice = start(*common, "--name", "alice", stdin=source.fileno())
        assert bob.stdout is not None
        numbers, first = [], 0.0
        while len(numbers) < messages:
            line = bob.stdout.readline()
            first = first or time.perf_counter()
            numbers.append(int(line.removeprefix(b"alice: ")[:6]))
        ended = time.perf_counter()
        code = alice.wait(30)
        stop(bob, service)
    if numbers != list(range(messages)) or code:
        raise SystemExit("messages were lost or out of order")
    return {"steady": (messages - 1) / (ended - first), "with start": messages / (ended - began)}


def peers(messages: int, size: int) -> float:
    """Messages a second between two of our own, without a service between them: as the script's."""
    with tempfile.TemporaryDirectory(prefix="encchat-bench-") as place:
        for name in ("l", "s"):
            Path(place, name).mkdir(mode=0o700)
        listener = start("-m", "bench._rsa_peer", "listen", f"{place}/l")
        port = str(json.loads(first_line(listener, "stdout", '{"port"'))["port"])
        sender = start("-m", "bench._rsa_peer", "send", port, f"{place}/s", stdin=subprocess.PIPE)
        assert sender.stdin is not None
        sender.stdin.write("".join(line + "\n" for line in lines(messages, size)).encode())
        sender.stdin.close()
        sender.stdin = None
        found = json.loads(first_line(listener, "stdout", '"lines"'))
        stop(sender, listener)
    if found["lines"] != messages or not found["in_order"]:
        raise SystemExit("messages were lost or out of order")
    return float((messages - 1) / found["seconds"])


def script(messages: int, size: int, pause: float) -> float | None:
    """Messages a second between two scripts with this pause; None if one was lost."""
    cut = [line[at : at + BLOCK] for line in lines(messages, size) for at in range(0, size, BLOCK)]
    listener = start("-m", "tests.process.classic_peer", "1", "0")
    port = str(json.loads(first_line(listener, "stdout", '{"port"'))["port"])
    options = ("--pause", str(pause), "--linger", "0.5")
    sender = start("-m", "tests.process.classic_peer", "2", port, *options, stdin=subprocess.PIPE)
    assert sender.stdin is not None
    assert listener.stdout is not None
    selector = selectors.DefaultSelector()
    selector.register(listener.stdout, selectors.EVENT_READ)
    time.sleep(0.5)  # as a person would: a block right behind the PEM is swallowed with it
    sender.stdin.write("".join(block + "\n" for block in cut).encode())
    sender.stdin.close()
    sender.stdin = None
    arrived, held, began, last = 0, b"", 0.0, 0.0
    while arrived < len(cut) and selector.select(5):
        data = os.read(listener.stdout.fileno(), 65536)
        if not data:
            break
        last = time.perf_counter()
        began = began or last
        *whole, held = (held + data).split(b"\n")
        arrived += sum(line.startswith(b"Partner: ") for line in whole)
    stop(sender, listener)
    return messages / (last - began) if arrived == len(cut) else None


def fastest_script(messages: int, size: int) -> tuple[float, float]:
    """The shortest pause with which none is lost in each of several runs, and the rate then."""
    best = (0.0, 0.0)
    for pause in PAUSES:
        rates = []
        # As many messages as take some seconds: fewer are in the script's favour.
        few = min(messages, int(4 / pause / (-(-size // BLOCK))))
        lost = 0
        while len(rates) < RUNS:
            rate = script(few, size, pause)
            if rate is not None:
                rates.append(rate)
            elif (lost := lost + 1) > SPARE:
                return best
        best = (pause, sorted(rates)[RUNS // 2])
    return best


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("messages", nargs="?", type=int, default=1000)
    parser.add_argument("--size", type=int, default=180)
    parser.add_argument("--json", metavar="FILE")
    arguments = parser.parse_args()
    runs = sorted((ours(arguments.messages, arguments.size) for _ in range(RUNS)), key=lambda r: r["steady"])
    our = runs[RUNS // 2]
    direct = sorted(peers(arguments.messages, arguments.size) for _ in range(RUNS))[RUNS // 2]
    pause, rate = fastest_script(min(arguments.messages, 200), arguments.size)
    print(f"{arguments.messages} messages of {arguments.size} bytes, one way, median of {RUNS} runs")
    print(f"  encchat, rsa          {our['steady']:8.0f} a second ({our['with start']:.0f} with the start)")
    print(f"  the cipher alone      {direct:8.0f} a second, between two peers as the scripts are")
    print(f"  classroom script      {rate:8.0f} a second, pausing {pause * 1000:g} ms after each block")
    if rate:
        print(
            f"  ratio                 {our['steady'] / rate:8.1f}, and {direct / rate:.1f} between two peers"
        )
    if arguments.json:
        result = {
            "encchat": our,
            "peers": direct,
            "script": rate,
            "script pause": pause,
            "messages": arguments.messages,
        }
        Path(arguments.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
