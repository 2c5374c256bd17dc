"""The terminal's two ends as prompt_toolkit has them, for a prompt above which lines appear all the time."""

from __future__ import annotations

import fcntl
import struct
import sys
import termios
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from prompt_toolkit.data_structures import Size
from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output

from encchat.client.view.depth import Depth

#: The size of a window that does not tell it.
USUAL = Size(rows=24, columns=80)

_DEPTHS = {Depth.MONO: ColorDepth.DEPTH_1_BIT, Depth.FEW: ColorDepth.DEPTH_4_BIT}


class Keyboard(Vt100Input):
    """Keys that are pressed while lines are drawn above the prompt wait, as at any other time; they would
    be echoed in the midst of the lines if the terminal were cooked meanwhile."""

    def cooked_mode(self) -> AbstractContextManager[None]:
        """Nothing that draws here needs it."""
        return nullcontext()


class Display(Vt100_Output):
    """The prompt stands right below the last line. So nobody has to ask the terminal where the cursor is
    each time that lines were drawn: its answers would come as keys, late on a slow line, and after the
    end into the shell.

    ``hold`` lets what is written wait for ``release``: a prompt that is taken away, drawn above and put back
    in one piece does not flicker."""

    def __init__(self, depth: Depth) -> None:
        self._held = False
        #: Told when the terminal turns out to be gone; without it, that is raised.
        self.gone: Callable[[OSError], object] | None = None
        super().__init__(
            sys.stdout,
            _size,
            default_color_depth=_DEPTHS.get(depth, ColorDepth.DEPTH_8_BIT),
            enable_cpr=False,
        )

    def hold(self) -> None:
        """Send nothing until ``release``."""
        self._held = True

    def release(self) -> None:
        """Send what was held, if anything was."""
        if self._held:
            self._held = False
            self.flush()

    def flush(self) -> None:
        """Send what was written, unless more is to go with it.

        :raises OSError: the terminal is gone, and nobody is told.
        """
        if self._held:
            return
        try:
            super().flush()
        except OSError as error:
            if self.gone is None:
                raise
            self.gone(error)

    def get_rows_below_cursor_position(self) -> int:
        """As many as there must be; the prompt takes more when it needs them."""
        return 1


def _size() -> Size:
    try:
        rows, columns, _, _ = struct.unpack("HHHH", fcntl.ioctl(1, termios.TIOCGWINSZ, b"\0" * 8))
    except OSError:
        return USUAL
    return Size(rows=rows or USUAL.rows, columns=columns or USUAL.columns)
