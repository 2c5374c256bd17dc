"""The terminal's two ends as prompt_toolkit has them, for a prompt above which lines appear all the time."""

from __future__ import annotations

import fcntl
import struct
import sys
import termios
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

from prompt_toolkit.data_structures import Size
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from encchat.client.colours import Depth

#: The size of a window that does not tell it.
USUAL = Size(rows=24, columns=80)

_DEPTHS = {Depth.MONO: ColorDepth.DEPTH_1_BIT, Depth.FEW: ColorDepth.DEPTH_4_BIT}


class Keyboard(Vt100Input):
    """Keys that are pressed while lines are drawn above the prompt wait, as at any other time; they would
    be echoed in the midst of the lines if the terminal were cooked meanwhile."""

    def cooked_mode(self) -> AbstractContextManager[None]:
        """Nothing that draws here needs it."""
        return nullcontext()


class Window(Vt100_Output):
    """The prompt stands right below the last line. So nobody has to ask the terminal where the cursor is
    each time that lines were drawn: its answers would come as keys, late on a slow line, and after the
    end into the shell."""

    def __init__(self, depth: Depth) -> None:
        self._held = False
        super().__init__(
            sys.stdout,
            _size,
            default_color_depth=_DEPTHS.get(depth, ColorDepth.DEPTH_8_BIT),
            enable_cpr=False,
        )

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """What is written meanwhile goes out in one piece: a prompt that is taken away, drawn above and put
        back does not flicker."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
            self.flush()

    def flush(self) -> None:
        """Send what was written, unless more is to go with it."""
        if not self._held:
            super().flush()

    def get_rows_below_cursor_position(self) -> int:
        """As many as there must be; the prompt takes more when it needs them."""
        return 1


def _size() -> Size:
    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(1, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return USUAL
    return Size(rows=rows or USUAL.rows, columns=columns or USUAL.columns)
