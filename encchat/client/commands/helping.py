"""/help and /quit, and the keys, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from encchat.client.commands.command import Command

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands

#: Columns of /help that the usage takes; a longer one pushes its help to the right.
WIDTH = 28

#: Keys of the terminal, and what they do (``keys``).
KEYS: Mapping[str, str] = {
    "Enter": "send the line, or do the command",
    "Alt-Enter": "begin a new line in the message",
    "Tab, Shift-Tab": "complete a name, a room, a command or a path; again for the next one",
    "Alt-1 to Alt-9, Alt-0": "go to the room of that number, or 10",
    "Alt-a": "go to the next room with something unread",
    "Alt-Left, Alt-Right": "go to the room before or after",
    "Up, Down": "lines that were typed before",
    "C-r": "search what was typed before",
    "C-c": "clear the line; on an empty one it says how to leave, and again it leaves",
    "C-d": "on an empty line, leave",
    "C-l": "clear the screen",
    "C-z": "suspend the client",
}


def _help(c: Commands, rest: str) -> None:
    from encchat.client.commands.table import GROUPS

    word = rest.lstrip("/").lower()
    if word == "keys":
        for key, what in KEYS.items():
            c.screen.note(f"{key:<{WIDTH}} {what}")
    elif word == "all":
        for group, commands in GROUPS.items():
            c.screen.note(f"{group}:")
            for command in commands:
                c.screen.note(f"  {command.usage:<{WIDTH}} {command.help}")
    elif word:
        command = c.find(word)
        c.screen.note(f"{command.usage}  {command.help}")
        if command.detail:
            c.screen.note(f"    {command.detail}")
    else:
        for group, commands in GROUPS.items():
            c.screen.note(f"{group}: " + " ".join(f"/{command.name}" for command in commands))
        c.screen.note("/help reply says more about one, /help all about all, /help keys what the keys do")
        c.screen.note("a line that begins with a slash is sent with one more: //shrug")


def _quit(c: Commands, rest: str) -> None:
    c.screen.quit(rest)


HELP = Command(
    "help",
    "[COMMAND|all|keys]",
    "the commands by what they are for; more about one, or about all, or the keys",
    _help,
    "as in /help reply",
)
QUIT = Command("quit", "[REASON]", "leave", _quit)
