"""The slash commands that settle how this client behaves; the server hears of none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat.client.commands.command import Command
from encchat.client.store.keeping import MAX_HISTORY
from encchat.client.view.notify import HOW, WHEN
from encchat.client.view.show import count

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands

_BELLS = {"off": "never calls you", "mentions": "calls you when somebody says your name or answers you"}
_CALLS = {
    "bell": "with the terminal's bell",
    "notice": "with a notice on the desktop, where the terminal can",
}


def _bell(c: Commands, rest: str) -> None:
    words = rest.lower().split()
    settings = c.screen.preferences
    if len(words) > 2 or (words and words[0] not in WHEN) or (len(words) == 2 and words[1] not in HOW):
        c.teach("bell")
    for name, word in zip(("bell", "call"), words, strict=False):
        settings[name] = word
    when = settings["bell"]
    how = "" if when == "off" else f", {_CALLS[settings['call']]}"
    c.screen.note(f"the client {_BELLS.get(when, 'calls you for every message')}{how}")


def _numbers(c: Commands, rest: str) -> None:
    word = rest.lower() or ("off" if c.screen.entries.numbers else "on")
    if word not in ("on", "off"):
        c.teach("numbers")
    c.screen.preferences["numbers"] = word
    c.screen.entries.numbers = word == "on"
    c.screen.note(f"messages are shown {'with' if word == 'on' else 'without'} their numbers")


def _keep(c: Commands, rest: str) -> None:
    number = rest.replace(",", "")
    if number:
        if not (number.isascii() and number.isdecimal() and len(number) <= 7) or int(number) > MAX_HISTORY:
            c.teach("keep")
        c.chat.keep_history(int(number))
    kept = c.chat.kept_history
    words = f"the last {count(kept, 'message', 'messages')} of each room are" if kept else "no messages are"
    c.screen.note(f"{words} kept on this machine, for /history and /search without a connection")


def _clear(c: Commands, rest: str) -> None:
    if not c.screen.clear():
        c.screen.note("nothing is ever redrawn here, so there is nothing to clear")


def _reconnect(c: Commands, rest: str) -> None:
    if c.chat.session.admitted:
        c.screen.note("you are connected")
    else:
        c.chat.reconnect()


COMMANDS = (
    Command(
        "bell",
        "[off|mentions|all] [bell|notice]",
        "when to call you, and how; alone, it says how it is",
        _bell,
        "as in /bell mentions notice; a notice shows who spoke and where, not what was said",
    ),
    Command(
        "numbers",
        "[on|off]",
        "show each message with its number, or no longer",
        _numbers,
        "numbers are what /reply, /edit, /delete, /react and /context take",
    ),
    Command(
        "keep",
        "[COUNT]",
        "how many messages of each room to keep on this machine; alone, it says how it is",
        _keep,
        f"up to {MAX_HISTORY:,}; 0 keeps none from now on. What is kept is encrypted (docs/client-store.md)",
    ),
    Command("clear", "", "clear the screen, as C-l does; what was said stays in the scrollback", _clear),
    Command("reconnect", "", "try to connect now", _reconnect),
)
