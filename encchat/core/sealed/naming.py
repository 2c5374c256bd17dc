"""The names that stand in what is signed: of people and of sealed rooms, each in the one form that compares
(``core.names`` says which that is).
"""

from __future__ import annotations

from functools import lru_cache

from encchat.core.names import BadName, BadRoom, is_open, parse_name, parse_room
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


@lru_cache(maxsize=4096)
def check_room(room: str, what: str) -> None:
    """Whether a room's name is that of a sealed room, in the one form: ``#tea`` or ``@alice&bob``.

    :raises BadFormat: it is not.
    """
    try:
        good = not is_open(room) and parse_room(room) == room
    except BadRoom:
        good = False
    if not good:
        raise BadFormat(what=what, reason="it is for a room that is not sealed")
