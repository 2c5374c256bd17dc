"""What a pure hrsa1 machine tells the layer around it, and how it is driven.

Bytes go in with ``receive``, events come out; bytes to send are fetched with ``take_output``. RSA with a
private key takes milliseconds, so the machine never does it itself: it yields ``Work``, the layer runs
the job in a thread and hands its result to ``work_done``. Meanwhile the machine keeps what it is fed
and yields nothing else, so the order of events never depends on the threads.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from encchat.core.identity import PeerIdentity


@dataclass(frozen=True, slots=True)
class Established:
    """The handshake is complete: the peer has proved its key."""

    protocol: str
    identity: PeerIdentity


@dataclass(frozen=True, slots=True)
class Data:
    """Plain bytes from the peer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The peer closed properly."""


@dataclass(frozen=True, slots=True)
class Work:
    """Run ``job`` away from the reactor thread and give what it returns to ``work_done``.

    It touches nothing of the machine and turns every failure into its result."""

    job: Callable[[], object]


Event: TypeAlias = Established | Data | PeerClosed | Work


class Machine(Protocol):
    """One end of an hrsa1 connection, as bytes and events. ``receive`` and ``work_done`` raise
    PeerError or RefusedError when the peer broke the protocol or cannot be trusted; the machine is of no
    use afterwards."""

    def start(self) -> None: ...
    def receive(self, data: bytes) -> list[Event]: ...
    def work_done(self, result: object) -> list[Event]: ...
    def send(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def take_output(self) -> bytes: ...

    @property
    def backlog(self) -> int:
        """Bytes held that wait for work; the layer stops reading below past a bound."""
