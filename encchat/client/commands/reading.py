"""The slash commands that show what was said."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from encchat.client.commands.command import Command
from encchat.client.commands.talking import number_of
from encchat.client.view.show import count, moment
from encchat.core.export import FORMATS
from encchat.core.names import is_open
from encchat.errors import UsageError
from encchat.messages import Entry
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands

#: Entries that /history shows when it is not told how many, and at most.
HISTORY, MOST = 20, 500
#: Messages that /context shows before the one asked for, and after it.
CONTEXT = 5
#: Characters of what is searched for.
MAX_WORDS = 200
#: Entries that are exported at most, and what the end of a file's name means.
MOST_EXPORTED = 200_000
SUFFIXES: Mapping[str, str] = {".jsonl": "json", ".json": "json", ".html": "html", ".htm": "html"}


class NothingKept(UsageError):
    """This client has kept nothing of {room} yet. /history shows what the server has, and that is kept."""


class CannotExport(UsageError):
    """{path} cannot be written: {reason}. Give another name, such as ~/room.html."""


def _history(c: Commands, rest: str) -> None:
    if rest and (not (rest.isascii() and rest.isdecimal() and len(rest) <= 4) or not int(rest)):
        c.teach("history")
    c.history(c.current_room(), min(int(rest or HISTORY), MOST), again=bool(rest))


def _search(c: Commands, rest: str) -> None:
    if len(rest) > MAX_WORDS:
        c.teach("search")
    c.search(c.current_room(), rest)


def _context(c: Commands, rest: str) -> None:
    number = number_of(rest)
    if number is None:
        c.teach("context")
    room = c.current_room()
    if is_open(room):
        c.online()
    c.chat.history(room, before=number + CONTEXT + 1, limit=2 * CONTEXT + 1)


@dataclass(frozen=True, slots=True)
class Kept:
    """What this client has kept of a room, for ``export``; if it is a sealed one, what it has opened."""

    name: str
    floor: int
    opened: bool = True


def _export(c: Commands, rest: str) -> None:
    if not rest:
        c.teach("export")
    room = c.current_room()
    path = Path(rest).expanduser()
    entries = _kept(c, room)
    if not entries:
        raise NothingKept(room=room)
    write = FORMATS[SUFFIXES.get(path.suffix.lower(), "text")]
    try:
        with os.fdopen(
            os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8"
        ) as file:
            for line in write([(Kept(room, entries[0].seq - 1), entries)]):
                file.write(line + "\n")
    except (OSError, ValueError) as error:
        raise CannotExport(path=rest, reason=getattr(error, "strerror", None) or str(error)) from None
    first = moment(entries[0].time, "%Y-%m-%d")
    number = count(len(entries), "entry", "entries")
    c.screen.note(f"{number} of {clean_line(room)}, from {first} on, written to {clean_line(str(path))}")


def _kept(c: Commands, room: str) -> list[Entry]:
    """All that is kept of a room, oldest first; of very much the newest."""
    pages: list[Sequence[Entry]] = []
    before, more = 0, True
    while more and sum(map(len, pages)) < MOST_EXPORTED:
        page = c.chat.local_history(room, before, MOST)
        if not page.entries:
            break
        pages.append(page.entries)
        before, more = page.entries[0].seq, page.more
    return [entry for entries in reversed(pages) for entry in entries]


COMMANDS = (
    Command(
        "history", "[COUNT]", "show older messages", _history, f"shows so many older messages, up to {MOST}"
    ),
    Command(
        "search",
        "[WORDS]",
        "find messages with all these words; alone, look further back",
        _search,
        f"finds messages that have all the words, whole; up to {MAX_WORDS} characters",
    ),
    Command(
        "context",
        "NUMBER",
        "show what was said around a message",
        _context,
        "as in /context 41; /search shows the numbers of what it finds",
    ),
    Command(
        "export",
        "FILE",
        "write what this client has of the room into a file: .txt, .html or .jsonl",
        _export,
        "as in /export ~/ops.html; works without a connection, and never overwrites a file",
        takes_path=True,
    ),
)
