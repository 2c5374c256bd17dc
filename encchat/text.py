"""Text from outside, made safe to show: nothing here reaches a terminal's control functions.

What is taken out: C0 and C1 controls with DEL, so also ESC and lone CR; line and paragraph separators;
every bidirectional control [Bidi_Control], which could reorder what a person reads; the characters that
show nothing and could hide text (zero width space, word joiner, BOM, soft hyphen, fillers, tags and other
invisible format controls); lone surrogates and noncharacters. Whole ANSI sequences go with their ESC, so
that no ``[31m`` stays behind. Joiners (ZWJ, ZWNJ) stay, as scripts and emoji need them, but never two in a
row; of combining marks, joiners and whatever else takes no room of its own, at most ``MAX_MARKS`` stay on
one character.
"""

from __future__ import annotations

import re
from unicodedata import category

#: Combining marks and joiners kept on one base character: Unicode's stream-safe text format (UAX 15,
#: section 13) allows 30, eyes need few.
MAX_MARKS = 8

_ANSI = re.compile(
    "\x1b(?:"
    "\\[[0-?]*[ -/]*[@-~]"  # CSI
    "|[]PX^_][^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\\\|\x9c)?"  # OSC, DCS, SOS, PM, APC
    "|[ -/]*[0-~]"  # two-character and nF sequences
    ")?"
    "|\x9b[0-?]*[ -/]*[@-~]?"  # CSI as one C1 character
    "|[\x9d\x90\x98\x9e\x9f][^\x07\x1b\x9c]{0,4096}(?:\x07|\x1b\\\\|\x9c)?"
)
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f"
    "\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\U0001d173-\U0001d17a\U000e0000-\U000e0fff\ud800-\udfff\ufdd0-\ufdef"
    + "".join(f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(0, 0x110000, 0x10000))
    + "]"
)
_JOINERS = re.compile("([\u200c\u200d])[\u200c\u200d]+")
_PLAIN = re.compile(r"[\x20-\x7e]*\Z")


def clean(text: str) -> str:
    """``text`` without anything that could steer a terminal; LF and TAB stay."""
    if _PLAIN.match(text):
        return text
    text = _UNSAFE.sub("", _ANSI.sub("", text.replace("\r\n", "\n")))
    return text if text.isascii() else _bound_marks(_JOINERS.sub(r"\1", text))


def clean_line(text: str, limit: int | None = None) -> str:
    """``text`` as one safe line: LF and TAB become spaces; past ``limit`` characters it ends in …"""
    line = clean(text).replace("\n", " ").replace("\t", " ")
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def _bound_marks(text: str) -> str:
    kept: list[str] = []
    marks = 0
    for character in text:
        marks = marks + 1 if _takes_no_room(character) else 0
        if marks <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)


def _takes_no_room(character: str) -> bool:
    """Whether a terminal may put it onto the character before. Marks are; so are the vowels and final
    consonants of Hangul, and what a newer Unicode than ours may have made a mark."""
    if character.isascii():
        return False
    kind = category(character)
    return (
        kind in {"Mn", "Me", "Mc"}
        or character in "\u200c\u200d"
        or "\u1161" <= character <= "\u11ff"
        or "\ud7b0" <= character <= "\ud7ff"
        or (kind == "Cn" and character < "\U0001f000")
    )
