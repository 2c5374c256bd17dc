"""The words of a text, as a search compares them.

A word is a run of letters and digits of any script, in one form for all ways to write it (NFKC, case
folded). A search for several words finds the entries that have all of them, whole, in any order. Nothing in
what is searched for has a meaning of its own: there is no syntax, and so no error in it.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from encchat.errors import RefusedError
from encchat.wire import decode_entry

#: Words of one search at most.
MAX_WORDS = 16
#: The kinds of entry that are searched.
SEARCHED = frozenset({"text", "me"})

_WORD = re.compile(r"[^\W_]+")


class NothingToFind(RefusedError):
    """There is no word to search for: give 1 to {limit} words, of letters or digits."""

    code = "no-words"


def words_of(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(_WORD.findall(normalize("NFKC", text).casefold()))


def wanted(text: str) -> frozenset[str]:
    """The words to search for.

    :raises NothingToFind: there are none, or more than ``MAX_WORDS``.
    """
    words = words_of(text)
    if not 1 <= len(words) <= MAX_WORDS:
        raise NothingToFind(limit=MAX_WORDS)
    return words


def matches(frame: bytes, words: frozenset[str]) -> bool:
    """Whether a stored entry of an open room has all the words."""
    entry = decode_entry(frame)
    if entry.kind not in SEARCHED:
        return False
    text = entry.body.decode("utf-8", "replace")
    if text.isascii():  # most are, and of these most are done with here: in a third of the time
        text = text.lower()
        if not all(word in text for word in words):
            return False
    return words <= words_of(text)
