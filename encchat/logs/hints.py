"""Who wants to hear that entries were appended."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.logger import Logger

_log = Logger()


class Hints:
    """Calls every listener with (room, seq). One that fails is logged and harms nobody else."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[str, int], None]] = []

    def add(self, callback: Callable[[str, int], None]) -> None:
        """Call ``callback`` from now on."""
        self._callbacks.append(callback)

    def tell(self, heads: Mapping[str, int]) -> None:
        """Each room in ``heads`` has entries up to the seq given."""
        for room, seq in heads.items():
            for callback in self._callbacks:
                with _log.failuresHandled("a listener failed at the hint of {room}", room=room):
                    callback(room, seq)
