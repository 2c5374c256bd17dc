"""Bars as SVG, in a few lines: enough for a page that compares costs."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, BAR, GAP, LEFT, TOP = 720, 18, 6, 250, 34
COLOURS = {"encchat": "#2a6f97", "inspircd": "#bc6c25", "ngircd": "#7f8c3b"}


def bars(title: str, unit: str, groups: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> str:
    """Groups of bars, a bar for each (name, value); on one scale."""
    most = max((value for _, each in groups for _, value in each), default=1.0) or 1.0
    scale = (WIDTH - LEFT - 110) / most
    parts: list[str] = []
    at = TOP
    for group, each in groups:
        middle = at + len(each) * (BAR + 2) / 2
        parts.append(f'<text x="{LEFT - 10}" y="{middle + 4:.0f}" text-anchor="end">{escape(group)}</text>')
        for name, value in each:
            wide = max(1.0, value * scale)
            colour = COLOURS.get(name, "#666666")
            parts.append(
                f'<rect x="{LEFT}" y="{at}" width="{wide:.1f}" height="{BAR}" fill="{colour}"/>'
                f'<text x="{LEFT + wide + 6:.1f}" y="{at + 13}">{escape(name)} {value:,.2f}</text>'
            )
            at += BAR + 2
        at += GAP * 2
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {at}" font-family="sans-serif" '
        f'font-size="12">\n<rect width="100%" height="100%" fill="#ffffff"/>\n'
        f'<text x="10" y="20" font-size="14" font-weight="bold">{escape(title)} ({escape(unit)})</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
