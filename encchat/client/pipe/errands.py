"""What those end with who run for a program: the pipe, and errands, which need no more of it."""

from __future__ import annotations

from encchat.errors import RefusedError

#: Seconds without anything being stored after which a connected client gives up.
PATIENCE = 120.0


class Withheld(RefusedError):
    """{reason}"""

    code = "withheld"
