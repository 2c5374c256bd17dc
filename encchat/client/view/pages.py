"""Several entries as lines: a page of history, and what a search found; and the lines of the client's own."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest

from encchat.client import events as e
from encchat.client.view.colours import Line
from encchat.client.view.entrylines import EntryLines
from encchat.client.view.sealnews import doubt
from encchat.client.view.show import moment
from encchat.messages import Entry


def note(text: str) -> Line:
    """What the client says."""
    return [("note", f"-- {text}")]


def warning(text: str) -> Line:
    """What it says so that it is not overlooked."""
    return [("warning", f"!! {text}")]


def sealed_lines(
    entries: EntryLines, entry: Entry, seal: e.Seal | None, *, numbered: bool = False
) -> list[Line]:
    """An entry, with what is to be doubted of it."""
    lines = entries.lines(entry, numbered=numbered)
    if doubtful := doubt(seal):
        lines[-1].append(("note", doubtful))
    return lines


def history_lines(entries: EntryLines, page: e.History, name: str) -> list[Line]:
    """A page of a room's history; ``name`` is what people call the room."""
    if not page.entries:
        return [note(f"{name} has nothing older")]
    shown = [
        line
        for entry, seal in zip_longest(page.entries, page.seals[: len(page.entries)])
        for line in sealed_lines(entries, entry, seal, numbered=True)
    ]
    day = moment(page.entries[0].time, "%Y-%m-%d")
    return [note(f"{name} from {day}:"), *shown, note("as far as there is" if not page.more else "so far")]


def found_lines(
    entries: EntryLines, found: e.SearchFound, name: str, told: Mapping[int, Entry]
) -> list[Line]:
    """What a search found; ``told`` has what became of it since."""
    lines: list[Line] = []
    for entry, seal in zip_longest(found.entries, found.seals[: len(found.entries)]):
        first, *others = entries.found(entry, told.get(entry.seq))
        if doubtful := doubt(seal):
            (others or [first])[-1].append(("note", doubtful))
        lines += [[("note", moment(entry.time, "%Y-%m-%d") + " "), *first], *others]
    number = len(found.entries)
    words = f"{number} found in {name}" if number else "nothing found"
    further = f", back to #{found.reached}: /search looks further back" if found.more else ""
    around = "; /context NUMBER shows what was said around one" if number else ""
    return [*lines, note(words + further + around)]
