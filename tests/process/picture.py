"""A screen of the emulated terminal as SVG, the same for the same screen: for the README."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import Any

#: The window, and the eight colours that are not of the palette of 256.
PAPER, INK = "#fbfbf8", "#1f2328"
COLUMN, ROW, MARGIN = 8.4, 18, 12
_NAMED = {"red": "#d70000", "green": "#008700", "blue": "#0087d7", "magenta": "#d700d7", "cyan": "#008787"}


def svg(rows: list[list[Any]], title: str) -> str:
    """``rows`` of pyte's characters; the ones at the end that are empty are left out."""
    while rows and not "".join(character.data for character in rows[-1]).strip():
        rows = rows[:-1]
    width, height = len(rows[0]) * COLUMN + 2 * MARGIN, len(rows) * ROW + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{width:g}" height="{height:g}" rx="6" fill="{PAPER}" stroke="#d0d0d0"/>',
        '<g font-family="ui-monospace,\'DejaVu Sans Mono\',Menlo,Consolas,monospace" font-size="14" '
        'xml:space="preserve">',
    ]
    for number, row in enumerate(rows):
        parts += _row(row, number)
    return "\n".join([*parts, "</g>", "</svg>", ""])


def _row(row: list[Any], number: int) -> list[str]:
    parts: list[str] = []
    column = 0
    top = MARGIN + number * ROW
    for style, run in groupby(row, lambda x: (x.fg, x.bold, x.reverse)):
        cells = list(run)
        text = "".join(character.data for character in cells)
        left, wide = MARGIN + column * COLUMN, len(cells) * COLUMN
        colour, bold, reverse = _colour(style[0]), style[1], style[2]
        column += len(cells)
        if reverse:
            parts.append(f'<rect x="{left:g}" y="{top}" width="{wide:g}" height="{ROW}" fill="{colour}"/>')
            colour = PAPER
        if text.strip():
            shown = escape(text.rstrip())
            length = len(text.rstrip()) * COLUMN
            weight = ' font-weight="bold"' if bold else ""
            place = f'x="{left:g}" y="{top + 13}" textLength="{length:g}"'
            parts.append(f'<text {place} fill="{colour}"{weight}>{shown}</text>')
    return parts


def _colour(name: str) -> str:
    return INK if name == "default" else _NAMED.get(name, f"#{name}")
