"""Names of people and rooms: which are well-formed, and which are the same.

Two names are the same when PRECIS UsernameCaseMapped (RFC 8265, section 3.3) maps them to the same
string: ``Alice``, ``alice`` and full-width ``ＡＬＩＣＥ`` are one name. That string is the ``key``; what a
person typed is kept for show. A room is ``+name`` (open: the server can read it) or ``#name`` (sealed), and
the part behind the sign follows the same rules. ``@alice&bob`` is the sealed conversation of these two: their
names' keys in the order of their code points, so that both call it the same; each is shown ``@`` and the
other's name. A name has letters of one alphabet, where alphabets have letters that look alike; a name all of
whose letters have doubles in another one can still be told apart only by its key.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol, cast

from encchat.errors import RefusedError
from encchat.text import clean_line

MAX_NAME = 32
LOBBY = "+lobby"
GUEST = "guest-"

_SIGNS = "+#@"
#: What would confuse a command line, a mention or a path, though PRECIS allows it.
_EXCLUDED = frozenset("/\\\"'`,;:<>|&$*?!(){}[]~^%=")

#: Alphabets with letters that look like one another's, as the names of their characters begin. What a name is
#: written in besides (Chinese, Arabic, Thai, ...) nobody takes for one of these.
_ALPHABETS = frozenset({"Latin", "Greek", "Cyrillic", "Armenian", "Cherokee", "Coptic", "Georgian", "Lisu"})


class _Profile(Protocol):
    def enforce(self, value: str) -> str: ...


@lru_cache(maxsize=1)
def _precis() -> _Profile:
    import precis_i18n  # it builds its tables, which plain names do not need

    return cast(_Profile, precis_i18n.get_profile("UsernameCaseMapped"))


class BadName(RefusedError):
    """The name {name!r} cannot be used: {why}. A name has 1 to 32 letters, digits, '.', '-' or '_'."""

    code = "bad-name"


class BadRoom(RefusedError):
    """The room {room!r} cannot be used: {why}. A room is '+' or '#' and a name, like +lobby."""

    code = "bad-room"


@dataclass(frozen=True, slots=True)
class Name:
    """A well-formed name: ``shown`` as its owner writes it, ``key`` to compare."""

    shown: str
    key: str

    def __str__(self) -> str:
        return self.shown


def parse_name(text: str) -> Name:
    """The name that a person asks for.

    :raises BadName: it is not well-formed; says why.
    """
    try:
        shown, key = _mapped(text)
    except ValueError as error:
        raise BadName(name=text, why=str(error)) from None
    return Name(shown, key)


def is_guest(name: Name) -> bool:
    """Whether the name is of the form that is kept for classic peers."""
    return name.key.startswith(GUEST)


def parse_room(text: str) -> str:
    """A room's name in the one form that everybody uses: ``+lobby`` for ``+Lobby``, ``@alice&bob`` for
    ``@Bob&Alice``.

    :raises BadRoom: it is not well-formed; says why.
    """
    sign, rest = text[:1], text[1:]
    try:
        if not sign or sign not in _SIGNS:
            raise ValueError("it must begin with '+' (open) or '#' (sealed)")
        if sign == "@":
            return _conversation(*_two(rest))
        return sign + _mapped(rest)[1]
    except ValueError as error:
        raise BadRoom(room=text, why=str(error)) from None


def is_open(room: str) -> bool:
    """Whether the server may read the room."""
    return room.startswith("+")


def is_conversation(room: str) -> bool:
    """Whether the room is a sealed conversation of two."""
    return room.startswith("@")


def conversation(one: str, other: str) -> str:
    """The room in which two people, given by their names, talk alone.

    :raises BadName: one of them is not well-formed.
    :raises BadRoom: they are the same.
    """
    keys = parse_name(one).key, parse_name(other).key
    try:
        return _conversation(*keys)
    except ValueError as error:
        raise BadRoom(room="&".join(keys), why=str(error)) from None


def pair(room: str) -> tuple[str, str]:
    """The keys of the two names whose conversation this is; ``room`` is in the form that everybody uses."""
    one, _, other = room[1:].partition("&")
    return one, other


def other(room: str, me: str) -> str:
    """The key of the other one's name in a conversation, for whom has the name with the key ``me``.

    :raises BadRoom: it is not a conversation of theirs.
    """
    if is_conversation(room):
        one, two = pair(room)
        if me in (one, two):
            return two if me == one else one
    raise BadRoom(room=room, why=f"{me} has no part in it")


def _conversation(one: str, two: str) -> str:
    if one == two:
        raise ValueError("a conversation is between two, and both are the same here")
    return f"@{min(one, two)}&{max(one, two)}"


def _two(text: str) -> tuple[str, str]:
    names = text.split("&")
    if len(names) != 2:
        raise ValueError("a conversation is '@', a name, '&' and another name")
    return _mapped(names[0])[1], _mapped(names[1])[1]


@lru_cache(maxsize=4096)
def _mapped(text: str) -> tuple[str, str]:
    if not 1 <= len(text) <= MAX_NAME:
        raise ValueError(f"it has {len(text)} characters, not 1 to {MAX_NAME}")
    shown = unicodedata.normalize("NFC", text)
    if shown != clean_line(shown):
        raise ValueError("it has characters that cannot be shown")
    try:
        key = shown.lower() if _is_plain(shown) else _precis().enforce(shown)
    except UnicodeEncodeError as error:
        raise ValueError(_why(error)) from None
    if not 1 <= len(key) <= MAX_NAME:
        raise ValueError(f"it has {len(key)} characters when written plainly, not 1 to {MAX_NAME}")
    for form in (shown, key):  # the mapping turns a full-width '／' into '/': look at both
        _check_signs(form)
    if not key.isascii():
        _check_alphabets(key)
    return shown, key


def _is_plain(shown: str) -> bool:
    """Whether it is of visible ASCII alone, all of which PRECIS allows and maps to lower case."""
    return shown.isascii() and shown.isprintable() and " " not in shown


def _check_signs(form: str) -> None:
    if form[0] in "+#@-.":
        raise ValueError(f"it must not begin with {form[0]!r}")
    if unicodedata.category(form[0]).startswith("M"):
        raise ValueError("it begins with a combining mark, which would change the character before it")
    if form[-1] == ".":
        raise ValueError("it ends in '.'")
    unwanted = next((c for c in form if c in _EXCLUDED), None)
    if unwanted:
        raise ValueError(f"it has the character {unwanted!r}")


def _check_alphabets(key: str) -> None:
    """Whoever wants to be taken for somebody writes one letter of the name in another alphabet."""
    scripts = {unicodedata.name(c, "").partition(" ")[0].title() for c in key if c.isalpha()}
    alphabets = sorted(scripts & _ALPHABETS)
    if len(alphabets) > 1:
        raise ValueError(f"it mixes letters of {' and '.join(alphabets)}, which look alike")


def _why(error: UnicodeEncodeError) -> str:
    character = error.object[error.start : error.end]
    kind = error.reason.rpartition("/")[2].replace("_", " ")
    return f"{clean_line(character)!r} is not allowed ({kind})"
