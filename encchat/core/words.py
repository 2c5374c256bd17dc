"""The words of a text, as a search compares them.

A word is a run of letters and digits of any script, in one form for all ways to write it (NFKC, case
folded). A search for several words finds the entries that have all of them, whole, in any order. Nothing in
what is searched for has a meaning of its own: there is no syntax, and so no error in it.
"""

from __future__ import annotations

import re
from unicodedata import normalize

from encchat.contents import Edit, File, NoContent, Reply, parse
from encchat.errors import RefusedError
from encchat.messages import Entry
from encchat.wire import decode_entry

#: Words of one search at most.
MAX_WORDS = 16
#: The kinds of entry that are searched: what people said, and the names of files.
SEARCHED = frozenset({"text", "me", "reply", "edit", "file"})

_WORD = re.compile(r"[^\W_]+")
_ASCII_WORD = re.compile(r"[a-z0-9]+")


class NothingToFind(RefusedError):
    """There is no word to search for: give 1 to {limit} words, of letters or digits."""

    code = "no-words"


def words_of(text: str) -> frozenset[str]:
    """The words of a text."""
    if text.isascii():  # the same, in two thirds of the time
        return frozenset(_ASCII_WORD.findall(text.lower()))
    return frozenset(_WORD.findall(normalize("NFKC", text).casefold()))


def wanted(text: str) -> frozenset[str]:
    """The words to search for.

    :raises NothingToFind: there are none, or more than ``MAX_WORDS``.
    """
    words = words_of(text)
    if not 1 <= len(words) <= MAX_WORDS:
        raise NothingToFind(limit=MAX_WORDS)
    return words


def said(entry: Entry) -> str:
    """What there is to search in an entry of an open room; empty for one of another kind."""
    if entry.kind in ("text", "me"):
        return entry.body.decode("utf-8", "replace")
    if entry.kind in SEARCHED:
        try:
            content = parse(entry.kind, entry.body)
        except NoContent:
            return ""
        if isinstance(content, Reply | Edit):
            return content.text
        if isinstance(content, File):
            return content.name
    return ""


def matches(frame: bytes, words: frozenset[str]) -> bool:
    """Whether a stored entry of an open room has all the words."""
    text = said(decode_entry(frame))
    if text.isascii():  # most are, and of these most are done with here: in a third of the time
        text = text.lower()
        if not all(word in text for word in words):
            return False
    return words <= words_of(text)
