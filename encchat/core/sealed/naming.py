"""The names that stand in what is signed: of people and of sealed rooms, each in the one form that compares.

A sealed room is ``#name``; a conversation of two is ``@one&other``, the two names' keys in code point order.
"""

from __future__ import annotations

from functools import lru_cache

from encchat.core.names import BadName, BadRoom, parse_name, parse_room
from encchat.errors import PeerError


class BadFormat(PeerError):
    """The {what} cannot be read: {reason}."""


@lru_cache(maxsize=4096)
def key_of(name: str) -> str:
    """A name that the server told, in the form in which names are compared; empty if it is none."""
    try:
        return parse_name(name).key
    except BadName:
        return ""


def check_name(name: str, what: str) -> None:
    """Whether a name is in the one form in which names are compared.

    :raises BadFormat: it is not.
    """
    if not name or key_of(name) != name:
        raise BadFormat(what=what, reason="it has a name that is none")


def conversation(one: str, other: str) -> str:
    """The room of a conversation of two, given both names' keys: ``@alice&bob``."""
    return "@" + "&".join(sorted((one, other)))


def partners(room: str) -> tuple[str, str] | None:
    """The two names of a conversation, or None for any other room."""
    if not room.startswith("@"):
        return None
    one, _, other = room[1:].partition("&")
    return one, other


@lru_cache(maxsize=4096)
def check_room(room: str, what: str) -> None:
    """Whether a room's name is that of a sealed room, in the one form: ``#tea`` or ``@alice&bob``.

    :raises BadFormat: it is not.
    """
    pair = partners(room)
    if pair is not None:
        check_name(pair[0], what)
        check_name(pair[1], what)
        good = pair[0] < pair[1]
    else:
        try:
            good = room.startswith("#") and parse_room(room) == room
        except BadRoom:
            good = False
    if not good:
        raise BadFormat(what=what, reason="it is for a room that is not sealed")
