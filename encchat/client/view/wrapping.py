"""Long lines broken between words, as a person sets them, where the window ends.

Only at spaces: an address that is longer than the window stays in one piece, which the terminal breaks and
puts together again when it is copied.
"""

from __future__ import annotations

from prompt_toolkit.utils import get_cwidth

from encchat.client.view.colours import Line

#: Columns by which a line goes on, further in than it began; a narrow window has no room for it.
INDENT, NARROW = 8, 30


def columns_of(text: str) -> int:
    """The columns that a text takes. (prompt_toolkit remembers the width of each text that it is asked
    for, for ever; so it is asked for characters only.)"""
    return len(text) if text.isascii() else sum(map(get_cwidth, text))


def wrapped(line: Line, columns: int) -> list[Line]:
    """The lines that a line becomes in a window of so many columns; the spaces at which it is broken go."""
    length = sum(len(text) for _, text in line)
    if 2 * length < columns or _width(line) < columns:
        return [line]
    indent = INDENT if columns >= NARROW else 0
    done: list[Line] = []
    row: Line = []
    used = 0
    for style, text in line:
        for word in _words(text):
            wide = columns_of(word.rstrip(" "))
            if used + wide >= columns and used > indent and row:
                done.append(_ended(row))
                row, used = [("", " " * indent)] if indent else [], indent
            row.append((style, word))
            used += columns_of(word)
    return [*done, row]


def _width(line: Line) -> int:
    return sum(columns_of(text) for _, text in line)


def _words(text: str) -> list[str]:
    """The words of a text, each with the spaces behind it."""
    words: list[str] = []
    start = 0
    while start < len(text):
        end = text.find(" ", start)
        if end < 0:
            end = len(text)
        while end < len(text) and text[end] == " ":
            end += 1
        words.append(text[start:end])
        start = end
    return words


def _ended(row: Line) -> Line:
    style, text = row[-1]
    return [*row[:-1], (style, text.rstrip(" "))]
