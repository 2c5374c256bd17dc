"""Lines that wait to be drawn: together with those that come meanwhile, and only so much at once, so that
keys are heard between. When there are far more than a screen can follow, who sends them is told to wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat.client.view.colours import Line, Painter
from encchat.client.view.wrapping import wrapped

#: Seconds from one drawing to the next at least: what comes meanwhile is drawn together.
DRAW_EVERY = 1 / 30
#: Lines, and characters but for those of the last line, that are drawn at once.
DRAWN, WRITTEN = 100, 16 * 1024
#: Lines that may wait before nothing more is to come.
BEHIND = 2000


class Paper(Protocol):
    """Where it is drawn: ``prompt.Prompt``."""

    @property
    def columns(self) -> int: ...
    def put(self, text: str) -> None: ...
    def redraw(self) -> None: ...


class Owner(Protocol):
    """Who has things drawn: ``behind``, when more is waiting than can be followed; ``drawn``, when nothing
    waits any more; ``gone``, when nothing can be drawn."""

    def behind(self) -> None: ...
    def drawn(self) -> None: ...
    def gone(self) -> None: ...


class Drawing:
    """What waits, and when it is drawn."""

    def __init__(self, clock: IReactorTime, paper: Paper, painter: Painter, owner: Owner) -> None:
        self._clock = clock
        self._paper = paper
        self._painter = painter
        self._owner = owner
        self._waiting: deque[Line] = deque()
        self._signals = ""
        self._timer: IDelayedCall | None = None
        self._next = 0.0

    def show(self, lines: Sequence[Line]) -> None:
        """Draw lines, soon."""
        self._waiting += lines
        if len(self._waiting) > BEHIND:
            self._owner.behind()
        self.soon()

    def signal(self, code: str) -> None:
        """Send the terminal a code with what is drawn next: once, however often it is wanted until then."""
        self._signals = code

    def soon(self) -> None:
        """Draw what surrounds the lines anew, and what waits of them."""
        if self._timer is None:
            self._timer = self._clock.callLater(max(0.0, self._next - self._clock.seconds()), self._due)

    def finish(self) -> None:
        """Draw all that waits, now; or nothing, if the terminal is gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        try:
            while self._waiting or self._signals:
                self._paper.put(self._take())
        except OSError:
            return
        self._owner.drawn()

    def _due(self) -> None:
        self._timer = None
        self._next = self._clock.seconds() + DRAW_EVERY
        if not self._waiting and not self._signals:
            self._paper.redraw()
            return
        try:
            self._paper.put(self._take())
        except OSError:
            self._owner.gone()
            return
        if self._waiting:
            self.soon()
        else:
            self._owner.drawn()

    def _take(self) -> str:
        """The next lines, as they are written."""
        columns = self._paper.columns
        parts: list[str] = []
        size = 0
        while self._waiting and len(parts) < DRAWN and size < WRITTEN:
            part = self._painter.paint(wrapped(self._waiting.popleft(), columns))
            parts.append(part)
            size += len(part)
        parts.append(self._signals)
        self._signals = ""
        return "".join(parts)
