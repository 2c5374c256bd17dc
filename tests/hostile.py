"""Text as an attacker would write it, and how to tell that none of it got through.

For every test of something that shows or logs what came from outside.
"""

from __future__ import annotations

import unicodedata

from hypothesis import strategies as st

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
