"""Colours for a terminal that may be light or dark: one for each name, and what the rest of a line has.

Who reads may have black on white or white on black, and no terminal can be trusted to say which. So every
colour here is of a middle brightness, with a contrast of 3.8 or more on both (WCAG 2.1, 1.4.3, computed by
the tests). Where there are only the eight colours of old the terminal's own theme decides. With NO_COLOR
(https://no-color.org) nothing has a colour; bold and reversed remain.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from typing import TypeAlias

from encchat.client.view.depth import Depth

#: A line to show: pieces of (style, clean text).
Line: TypeAlias = list[tuple[str, str]]

#: Names' colours of the palette of 256 (xterm's), and of the 8 without those that vanish on white or black.
NAMES_OF_MANY = (131, 166, 100, 64, 28, 30, 32, 63, 134, 164, 162, 99)
NAMES_OF_FEW = (1, 2, 4, 5, 6)
#: The grey that is as far from black as from white, and a red for what went wrong.
GREY, RED = 243, 160

_ATTRIBUTES: Mapping[str, tuple[str, int | None]] = {
    "time": ("", GREY),
    "note": ("", GREY),
    "waiting": ("", GREY),
    "warning": ("1", RED),
    "room": ("1", None),
    "own": ("1", None),
    "mention": ("1;7", None),
    "day": ("1", GREY),
}


def name_style(key: str) -> str:
    """The style of a name, the same on every screen and every day; ``key`` is what names are compared by."""
    return f"name {int.from_bytes(blake2b(key.encode('utf-8', 'replace'), digest_size=4).digest(), 'big')}"


def codes(style: str, depth: Depth) -> str:
    """The parameters of SGR for a style, ``""`` for none (ECMA-48, section 8.3.117)."""
    if depth is Depth.PLAIN:
        return ""
    if style.startswith("name "):
        number = int(style[5:])
        many, few = NAMES_OF_MANY[number % len(NAMES_OF_MANY)], NAMES_OF_FEW[number % len(NAMES_OF_FEW)]
        parts = ["1", _colour(many, few, depth)]
    else:
        attributes, colour = _ATTRIBUTES.get(style, ("", None))
        few_colour = {RED: 1}.get(colour or 0)
        parts = [attributes, "" if colour is None else _colour(colour, few_colour, depth)]
    return ";".join(part for part in parts if part)


def _colour(many: int, few: int | None, depth: Depth) -> str:
    if depth is Depth.MANY:
        return f"38;5;{many}"
    return f"3{few}" if depth is Depth.FEW and few is not None else ""


class Painter:
    """Turns lines into what is written to the terminal."""

    def __init__(self, depth: Depth) -> None:
        self.depth = depth
        self._codes: dict[str, str] = {}

    def paint(self, lines: Iterable[Line]) -> str:
        """Lines with their colours, each ended by CR LF, as a terminal in raw mode wants them."""
        return "".join(self._line(line) for line in lines)

    def _line(self, line: Sequence[tuple[str, str]]) -> str:
        done = []
        for style, text in line:
            code = self._code(style) if style else ""
            done.append(f"\x1b[{code}m{text}\x1b[m" if code else text)
        return "".join(done) + "\r\n"

    def _code(self, style: str) -> str:
        code = self._codes.get(style)
        if code is None:
            if len(self._codes) > 1000:  # names that came by
                self._codes.clear()
            code = self._codes[style] = codes(style, self.depth)
        return code
