"""The slash commands about files: give one to the room, save one that was given, see what is on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat.client.commands.command import Command
from encchat.client.commands.talking import NothingYet, number_of
from encchat.client.view.show import progress_words
from encchat.core.plain import shown_name
from encchat.errors import UsageError
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands


class NoTransfer(UsageError):
    """No file with the number {number} is on its way. /files tells which are."""


def file(c: Commands, rest: str) -> None:
    """/file PATH"""
    if not rest:
        c.teach("file")
    c.chat.files.give(c.current_room(), _unquoted(rest))


def save(c: Commands, rest: str) -> None:
    """/save [NUMBER] [PATH]"""
    room = c.current_room()
    word, _, more = rest.partition(" ")
    number = number_of(word) if word else None
    entry = c.screen.memory.last(room, frozenset({"file"})) if number is None else None
    if number is None:
        if word:
            c.teach("save")
        if entry is None:
            raise NothingYet(what="Nobody has given a file to this room lately.")
        number = entry.seq
    else:
        entry = c.screen.memory.entry(room, number)
    c.chat.files.fetch(room, number, _unquoted(more.strip()) or None, entry)


def files(c: Commands, rest: str) -> None:
    """/files [stop NUMBER]"""
    words = rest.split()
    if words:
        number = number_of(words[1]) if len(words) == 2 and words[0] == "stop" else None
        if number is None:
            c.teach("files")
        if not c.chat.files.cancel(number):
            raise NoTransfer(number=number)
        c.screen.note("stopped")
        return
    transfers = c.chat.files.transfers
    for t in transfers:
        where = f"{'to' if t.up else 'from'} {clean_line(t.room)}"
        c.screen.note(f"{t.number}: {shown_name(t.name)} {where}, {progress_words(t.done, t.size)}")
    if not transfers:
        c.screen.note("no file is on its way")


def _unquoted(path: str) -> str:
    """A path as it is pasted from a shell or a file manager."""
    if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"":
        return path[1:-1]
    return path


COMMANDS = (
    Command(
        "file",
        "PATH",
        "give a file to this room",
        file,
        "as in /file ~/report.pdf; everybody in the room can then save it",
        takes_path=True,
    ),
    Command(
        "save",
        "[NUMBER] [PATH]",
        "save a file that somebody gave, the last one if you give no number",
        save,
        "as in /save 41, or /save 41 ~/plans/; without a path it goes to your downloads, or where there is "
        "no such directory to where encchat-client was started. Nothing is ever overwritten",
    ),
    Command("files", "[stop NUMBER]", "the files on their way; /files stop 2 stops one", files),
)
