"""Text as an attacker would write it, and how to tell that none of it got through.

For every test of something that shows or logs what came from outside.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator

from hypothesis import strategies as st

ESC = "\x1b"
JOINERS = "\u200c\u200d"
BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
#: Format characters that are visible: the prepended concatenation marks of Arabic, Syriac and Kaithi.
VISIBLE_FORMATS = frozenset(
    map(chr, (*range(0x600, 0x606), 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD))
)
#: Kept by Unicode for characters that show nothing, and for further format controls.
RESERVED = frozenset((0x2065, *range(0xFFF0, 0xFFF9), *range(0x13430, 0x13440), *range(0xE0000, 0xE1000)))
FILLERS = "\u115f\u1160\u17b4\u17b5\u3164\uffa0"

#: Text as an attacker would write it: dense in what is taken out, and in what it could be joined from.
hostile_text = st.text(
    st.sampled_from([*"\x1b\x9b\x9d\x90[]P\\;0123m;ABhlJ \n\r\t\x07\x00\x7f\x85", *BIDI, *JOINERS, *FILLERS])
    | st.sampled_from(
        [*"\u0301\u0300\u0345\u20dd\ufe0f\u200b\ufeff\u2028\ud800\udc00\ufffe\U000e0041ae\u0600\U0001f468"]
    )
    | st.characters(),
    max_size=60,
)


def is_unsafe(character: str) -> bool:
    """Whether a character must not come out, by its Unicode properties rather than by our list."""
    if character in "\n\t" or character in JOINERS or character in VISIBLE_FORMATS:
        return False
    code = ord(character)
    return (
        unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
        or character in FILLERS
        or code & 0xFFFE == 0xFFFE
        or 0xFDD0 <= code <= 0xFDEF
        or code in RESERVED
    )


def attacks() -> Iterator[str]:
    """Texts that would steer a terminal, hide, or reorder what is read, each short enough for every field of
    the protocol: at most 24 characters. What could be taken for our own output is marked by the number 66."""
    for code in (*range(0x20), *range(0x7F, 0xA0)):
        yield f"a{chr(code)}b"
        yield f"{chr(code)}66H"
    yield f"{ESC}]52;c;QUJD\x07"
    yield f"{ESC}]0;owned{ESC}\\"
    yield "\x9d2;owned\x9c"
    yield f"{ESC}[66;66H"
    yield f"{ESC}[66A{ESC}[2J"
    yield f"{ESC}[?1049h{ESC}c"
    yield f"{ESC}P+q544e{ESC}\\"
    yield f"{ESC}[66n{ESC}[6n"
    yield f"\x9b66;66H{ESC}(0"
    yield f"{ESC}{ESC}[[66m"
    yield "line\nzoe: not me"
    yield "over\rwritten"
    yield "back\x08\x08\x08\x08gone"
    yield from (f"x{character}y" for character in BIDI)
    yield "\u200b" * 24
    yield "e" + "\u0301" * 23
    yield "\u115f\u3164\u2800"
    yield "\u2028\u2029\u0085"


def floods() -> Iterator[str]:
    """10,000 of each kind of character that takes no room, on one letter."""
    for character in "\u0301\u200b\u1161\u200d":
        yield f"a{character * 10_000}b"
