"""The slash commands that show what was said."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat.client.command import Command
from encchat.client.talking import number_of

if TYPE_CHECKING:
    from encchat.client.commands import Commands

#: Entries that /history shows when it is not told how many, and at most.
HISTORY, MOST = 20, 500
#: Messages that /context shows before the one asked for, and after it.
CONTEXT = 5
#: Characters of what is searched for.
MAX_WORDS = 200


def _history(c: Commands, rest: str) -> None:
    if rest and (not (rest.isascii() and rest.isdecimal() and len(rest) <= 4) or not int(rest)):
        c.teach("history")
    c.history(c.current_room(), min(int(rest or HISTORY), MOST))


def _search(c: Commands, rest: str) -> None:
    if len(rest) > MAX_WORDS:
        c.teach("search")
    c.search(c.current_room(), rest)


def _context(c: Commands, rest: str) -> None:
    number = number_of(rest)
    if number is None:
        c.teach("context")
    c.online()
    c.chat.session.read(c.current_room(), before=number + CONTEXT + 1, limit=2 * CONTEXT + 1)
    c.chat.flush()


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
)
