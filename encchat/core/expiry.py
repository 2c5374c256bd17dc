"""The time by which things leave: letters, files, old entries."""

from __future__ import annotations

from encchat.core.interfaces import ITurn


class Expiry:
    """Tells the time so that a clock that is set forward while this runs lets nothing leave too early; one
    that was wrong from the start is believed."""

    def __init__(self, turn: ITurn) -> None:
        self._turn = turn
        self._began = turn.wall() - turn.now()

    def milliseconds(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        return int(min(self._turn.wall(), self._began + self._turn.now()) * 1000)
