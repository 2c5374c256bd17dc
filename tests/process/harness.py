"""Real processes for the tests: started here, waited for by what they print, ended by their id.

A test never sleeps and never guesses a port: it waits for a line of output or for the end of a process,
and keeps the ports that its services listen on (``reserve``). What takes too long fails with all that the
process printed. What the machine is like does not matter to a process: it sees none of the environment
that we run in but what it needs to run (``surroundings``).
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessDone, ProcessExitedAlready, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from tests.process.keys import CLASSIC, has_identity, place_identity

reactor: Any = _reactor

ROOT = Path(__file__).resolve().parents[2]
#: How the commands are started, as their console scripts would.
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()", "--pidfile=", "-n")
CLIENT = ("-c", "from encchat.cli.client import main; main()")
ADMIN = ("-c", "from encchat.cli.admin import main; main()")
#: The stand-in for the classroom script.
SCRIPT = (
    *(str(ROOT / "tests" / "process" / "classic_peer.py"), "--apart"),
    *("--key", str(CLASSIC)),
)
#: The client that takes no answer for late.
PATIENT = str(ROOT / "tests" / "process" / "patient.py")
#: Seconds that anything may take, on a machine that is slow and busy; only a failing test ever waits so long.
PATIENCE = 180.0
#: What a process gets of the environment that the tests run in.
_KEPT = (
    "PATH",
    "LD_LIBRARY_PATH",
    "TMPDIR",
    "PYTHONHASHSEED",
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONPYCACHEPREFIX",
)


def noon() -> str:
    """A TZ in which it is about noon, so that no day ends while a test runs."""
    ahead = 12 - datetime.now(UTC).hour
    return f"<noon>{-ahead:+03d}"


def surroundings() -> dict[str, str]:
    """The same environment wherever the tests run: no colours, terminals, names, languages or options of
    the one who runs them."""
    kept = {key: os.environ[key] for key in _KEPT if key in os.environ}
    return {
        **kept,
        "LANG": "C.UTF-8",
        "TZ": noon(),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "PYTHONWARNINGS": "ignore",
    }


def reserve(case: TestCase) -> int:
    """A port of 127.0.0.1 that is the test's to its end: nobody listens there but a service that is told to,
    as often as it is started, and no other program gets it, not even by chance as its own end of a
    connection. (On Linux. Elsewhere it was free a moment ago.)"""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    port = int(held.getsockname()[1])
    if sys.platform == "linux":
        case.addCleanup(held.close)
    else:  # two may not be bound at once there
        held.close()
    return port


class Child(ProcessProtocol):
    """A process, its output by line, and its end."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.out: list[str] = []
        self.err: list[str] = []
        self.status: int | None = None
        self._partial = {1: b"", 2: b""}
        self._waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    # what tests use

    async def until(self, found: Callable[[], Any], what: str) -> Any:
        """Wait until ``found()`` is true, and return what it returned."""
        result = found()
        if result:
            return result
        if self.status is not None:
            raise AssertionError(f"{self.name} ended before {what}\n{self.report()}")
        waiting: Deferred[Any] = Deferred()
        entry = (found, waiting)
        self._waiting.append(entry)

        def give_up() -> None:
            self._waiting.remove(entry)
            waiting.errback(AssertionError(f"{self.name}: no {what} in {PATIENCE:g} s\n{self.report()}"))

        patience = reactor.callLater(PATIENCE, give_up)
        try:
            return await waiting
        finally:
            if patience.active():
                patience.cancel()

    async def line(self, part: str, after: int = 0) -> str:
        """Wait for a line of stdout, from the ``after``-th on, that contains ``part``."""
        return await self.until(
            lambda: next((line for line in self.out[after:] if part in line), None), f"line with {part!r}"
        )

    async def error_line(self, part: str) -> str:
        """Wait for a line of stderr that contains ``part``."""
        return await self.until(
            lambda: next((line for line in self.err if part in line), None), f"error with {part!r}"
        )

    async def end(self) -> int:
        """Wait for the end, and return the exit code; minus the signal's number if one ended it."""
        await self.until(lambda: self.status is not None, "end")
        assert self.status is not None
        return self.status

    def say(self, *lines: str) -> None:
        """Type lines."""
        for line in lines:
            self.transport.write(line.encode() + b"\n")

    def close_stdin(self) -> None:
        """End of input."""
        self.transport.closeStdin()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        with suppress(ProcessExitedAlready):
            self.transport.signalProcess(number.name.removeprefix("SIG"))

    @property
    def pid(self) -> int:
        """The process's id."""
        return int(self.transport.pid)

    def report(self) -> str:
        """All that it printed, for the message of a failure."""
        return "\n".join(
            [f"--- {self.name} stdout ({self.status})", *self.out[-60:], "--- stderr", *self.err[-60:]]
        )

    # ProcessProtocol

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, self._partial[childFD] = (self._partial[childFD] + data).split(b"\n")
        (self.out if childFD == 1 else self.err).extend(line.decode("utf-8", "replace") for line in lines)
        self._look()

    def processEnded(self, reason: Failure) -> None:
        for fd, kept in ((1, self.out), (2, self.err)):
            if self._partial[fd]:
                kept.append(self._partial[fd].decode("utf-8", "replace"))
        if reason.check(ProcessDone):
            self.status = 0
        else:
            ended = reason.value
            assert isinstance(ended, ProcessTerminated)
            self.status = ended.exitCode if ended.exitCode is not None else -int(ended.signal)
        self._look()
        for entry in list(self._waiting):
            self._waiting.remove(entry)
            entry[1].errback(AssertionError(f"{self.name} ended\n{self.report()}"))

    def _look(self) -> None:
        for entry in list(self._waiting):
            result = entry[0]()
            if result:
                self._waiting.remove(entry)
                entry[1].callback(result)


class Service(Child):
    """A running ``twistd encchat``, and where it listens."""

    def listener(self, index: int = 0) -> dict[str, Any]:
        """What the service announced of its n-th listener."""
        announced = [json.loads(line) for line in self.out if line.startswith('{"event"')]
        found: dict[str, Any] = announced[index]
        return found

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return int(self.listener()["port"])

    async def stop(self) -> None:
        """SIGTERM, which twistd answers with a clean shutdown and then with the signal itself."""
        self.signal(signal.SIGTERM)
        status = await self.end()
        assert status == -signal.SIGTERM, self.report()
        assert any("Server Shut Down." in line for line in self.out), self.report()

    @property
    def address(self) -> str:
        """The address of the first listener, as the client takes it."""
        return f"127.0.0.1:{self.port}"


class ProcessCase(TestCase):
    """A test with processes of its own, in a home of its own."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir(mode=0o700)
        self.children: list[Child] = []
        self.addCleanup(self._end_children)

    async def _end_children(self) -> None:
        for child in self.children:
            if child.status is None:
                child.signal(signal.SIGKILL)
        for child in self.children:
            await child.end()

    def environment(self, **more: str) -> dict[str, str]:
        """The environment of a process, with a home of its own and this checkout on the path."""
        return {**surroundings(), "HOME": str(self.home), **more}

    def spawn(
        self,
        arguments: Sequence[str],
        child: Child | None = None,
        environment: Mapping[str, str] | None = None,
        stdin: int | str = "w",
    ) -> Child:
        """Start ``python ARGUMENTS``. ``stdin`` is 'w' for a pipe that we write, or a descriptor."""
        child = child or Child(" ".join(arguments[:3]))
        self.children.append(child)
        reactor.spawnProcess(
            child,
            sys.executable,
            [sys.executable, *arguments],
            env=self.environment(**(environment or {})),
            path=str(self.home),
            childFDs={0: stdin, 1: "r", 2: "r"},
        )
        return child

    async def serve(
        self, *options: str, data: str = "server", port: int | None = None, listeners: int = 1
    ) -> Service:
        """A running service on a port of this machine (that of the service before it, if ``port`` says so),
        with its data in our home; in ``data`` as it is called usually it has a key."""
        if data == "server":
            place_identity(self.home / data, "service")
        arguments = [*TWISTD, "encchat", "--announce"]
        if "--port" not in options:
            arguments += ["--port", f"tcp:{port or reserve(self)}:interface=127.0.0.1"]
        arguments += ["--data", str(self.home / data), *options]
        service = Service("twistd encchat")
        self.spawn(arguments, service)
        await service.until(
            lambda: sum(line.startswith('{"event"') for line in service.out) >= listeners, "announcement"
        )
        return service

    def client(self, *options: str, name: str = "", state: str = "") -> Child:
        """A running ``encchat-client``; each name keeps its state in our home, and has a key unless the state
        is called otherwise than usually."""
        if not state and has_identity(name):
            place_identity(self.home / "client" / name, name)
        arguments = [*CLIENT, *options]
        if name:
            arguments += ["--name", name]
        arguments += ["--state", str(self.home / (state or "client"))]
        return self.spawn(arguments, Child(f"encchat-client {name}"))
