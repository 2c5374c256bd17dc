"""When a message is for this person, and what calls them: a bell, or a notice of the desktop.

BEL is a sound, or a mark at the window, as the terminal is set. OSC 9 is a notice of the desktop in
iTerm2, kitty, WezTerm, Ghostty and others; the rest ignore it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

from encchat.core.plain import shown_name
from encchat.text import clean_line

#: When to call, and how.
WHEN = ("off", "mentions", "all")
HOW = ("bell", "notice")

BEL = "\x07"


@lru_cache(maxsize=8)
def _pattern(name: str) -> Callable[[str], object]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])", re.IGNORECASE).search


def mentions(text: str, name: str) -> bool:
    """Whether a text has ``name`` as a word of its own."""
    return bool(name) and bool(_pattern(name)(text))


def call(how: str, sender: str, room: str) -> str:
    """What makes the terminal call the person: who spoke, and where, but never what was said."""
    if how != "notice":
        return BEL
    # In OSC the text ends at a control character, and a semicolon would begin another parameter.
    words = f"{shown_name(sender)} in {clean_line(room)}".replace(";", ",")
    return f"\x1b]9;{words}\x07"
