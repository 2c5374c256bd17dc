"""What Tab makes of the word before the cursor: the next of what it may become, again and again.

As in irssi: who spoke last comes first, and a name at the line's start gets ``: ``. Commands, rooms and
paths are completed where they can stand. Pure, apart from looking into directories for paths.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from encchat.text import clean_line

#: Candidates that are gone through at most, and names of a directory that are looked at.
MAX_CANDIDATES, MAX_NAMES = 200, 5000


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to complete: commands without their slash, those of them that take a path, rooms, and
    names, in the order in which they are offered. ``aliases`` are offered where no command fits."""

    commands: Sequence[str]
    paths: frozenset[str]
    rooms: Sequence[str]
    names: Sequence[str]
    aliases: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Completed:
    """The text before the cursor as it is now, and what it was made from."""

    text: str
    choice: int
    candidates: tuple[str, ...]
    start: str


def candidates(before: str, known: Known) -> list[str]:
    """What the last word of ``before`` may become, best first."""
    word = before.rpartition(" ")[2]
    first = word == before
    command = before[1:].partition(" ")[0].lower() if before.startswith("/") and not first else ""
    if first and word.startswith("/"):
        commands = _matching(word, (f"/{name} " for name in known.commands))
        return commands or _matching(word, (f"/{name} " for name in known.aliases))
    if command in known.paths:
        return _paths(before.partition(" ")[2].lstrip())
    rooms = [f"{room} " for room in known.rooms]
    if word[:1] in ("+", "#"):
        return _matching(word, rooms)
    bare = word.removeprefix("@") if word[:1] == "@" else word
    names = [f"{name}: " if first else f"{name} " for name in known.names]
    if command == "go" and word[:1] == "@":
        return _matching(word, rooms)
    return _matching(bare, names) if bare else []


def _matching(word: str, offers: Iterable[str]) -> list[str]:
    begins = word.casefold()
    return [offer for offer in offers if offer.casefold().startswith(begins)][:MAX_CANDIDATES]


def _paths(word: str) -> list[str]:
    """Files and directories, as they are typed: a home directory stays ``~``."""
    begins = word.rpartition("/")[2]
    typed = word[: len(word) - len(begins)]
    found = []
    try:
        with os.scandir(os.path.expanduser(typed) if typed else ".") as listing:
            for _, item in zip(range(MAX_NAMES), listing, strict=False):
                hidden = item.name.startswith(".") and not begins.startswith(".")
                # A name that could steer the terminal, or is no text, has to be typed.
                if item.name.startswith(begins) and not hidden and clean_line(item.name) == item.name:
                    found.append(typed + item.name + ("/" if item.is_dir() else ""))
    except (OSError, ValueError):
        return []
    return sorted(found)[:MAX_CANDIDATES]


class Completion:
    """Tab after Tab."""

    def __init__(self, known: Callable[[], Known]) -> None:
        self._known = known
        self.state: Completed | None = None

    def step(self, before: str, by: int = 1) -> str | None:
        """What stands before the cursor after Tab (``by`` is -1: after Shift-Tab); None for no change."""
        state = self.state
        if state is None or state.text != before or len(state.candidates) == 1:
            found = tuple(candidates(before, self._known()))
            if not found or found == (self._word(before),):
                self.state = None
                return None
            state = Completed(before, -1 if by > 0 else 0, found, self._start(before))
        choice = (state.choice + by) % len(state.candidates)
        text = state.start + state.candidates[choice]
        self.state = Completed(text, choice, state.candidates, state.start)
        return text

    def shown(self, before: str, columns: int) -> str | None:
        """A line with what Tab goes through, while it does: the one that stands there in brackets."""
        state = self.state
        if state is None or state.text != before or len(state.candidates) == 1:
            return None
        words = [candidate.strip() for candidate in state.candidates]
        if not words[0].startswith("/") or "/" in words[0][1:]:  # paths, of which the end is enough
            words = [word.rstrip("/").rpartition("/")[2] + word[len(word.rstrip("/")) :] for word in words]
        line = ""
        for word in [f"[{words[state.choice]}]", *words[state.choice + 1 :], *words[: state.choice]]:
            if len(line) + len(word) + 4 > columns:
                return line + " …"
            line += " " + word
        return line

    def _start(self, before: str) -> str:
        return before[: len(before) - len(self._word(before))]

    def _word(self, before: str) -> str:
        """The part of the text that is replaced."""
        command = before[1:].partition(" ")[0].lower() if before.startswith("/") and " " in before else ""
        if command in self._known().paths:
            return before.partition(" ")[2].lstrip()
        return before.rpartition(" ")[2]
