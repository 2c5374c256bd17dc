"""What a terminal can do, as far as its environment tells."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Depth(Enum):
    """What a terminal can do."""

    PLAIN = "nothing"
    MONO = "bold and reversed"
    FEW = "8 colours"
    MANY = "256 colours"


def depth_of(environment: Mapping[str, str]) -> Depth:
    """What the terminal of this environment can do."""
    term = environment.get("TERM", "dumb")
    if term in ("", "dumb"):
        return Depth.PLAIN
    if environment.get("NO_COLOR") or term.startswith("vt"):
        return Depth.MONO
    return Depth.FEW if term in ("linux", "ansi", "eterm-color") else Depth.MANY
