"""``--wire`` of one run of the client: imported only when it is asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Protocol

from encchat.wiretap.opening import open_wiretap
from encchat.wiretap.screen import Line, Screen, on_stderr


class Console(Protocol):
    """What is used of a console for people."""

    def show(self, lines: Sequence[Line]) -> None: ...
    def warn(self, text: str) -> None: ...


class ClientWire:
    """The wiretap, and where what it shows goes: stderr, or a console once there is one.

    :raises EncchatError: a file cannot be made, or ``names`` name none; see ``open_wiretap``.
    """

    def __init__(
        self, names: Sequence[str], tell: Callable[[str], object], milliseconds: Callable[[], int]
    ) -> None:
        self._tell = tell
        self._screen = Screen(on_stderr(os.environ))
        #: Taps the run's cipher.
        self.tap = open_wiretap(names, self._screen, self._say, milliseconds)

    def move_to(self, console: Console) -> None:
        """From here on a console for people has the screen."""
        self._tell = console.warn
        self._screen.show = console.show

    def _say(self, text: str) -> None:
        self._tell(text)
