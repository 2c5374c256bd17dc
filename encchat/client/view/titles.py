"""What people call a room: a conversation of two, ``@alice&bob`` on the wire, is ``@bob`` for alice.

Everything that is shown goes through here, everything that is typed comes back through ``meant``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, TypeVar

from encchat.core.names import BadName, BadRoom, conversation, is_conversation, other, parse_name, parse_room
from encchat.errors import RefusedError, UsageError
from encchat.text import clean_line

if TYPE_CHECKING:
    from msgspec import Struct

#: Characters of a room that are shown; any name is shorter.
MAX_TITLE = 80

#: A conversation as the wire names it, in the midst of a sentence.
_CONVERSATION = re.compile(r"@[\w.-]+&[\w.-]*\w")

Shown = TypeVar("Shown", bound="Struct")


def title(room: str, me: str) -> str:
    """A room as people call it, cleaned; ``me`` is our own name."""
    if is_conversation(room):
        try:
            return clean_line("@" + other(room, parse_name(me).key), MAX_TITLE)
        except (BadName, BadRoom):
            pass
    return clean_line(room, MAX_TITLE)


def retold(text: str, me: str) -> str:
    """A sentence with the conversations that it names as people call them."""
    return _CONVERSATION.sub(lambda found: title(found[0], me), text) if "&" in text else text


def titled(event: Shown, me: str) -> Shown:
    """An event or an entry with its rooms as people call them: to be shown, and for nothing else."""
    changes: dict[str, object] = {}
    if "&" in (text := getattr(event, "text", "")):
        changes["text"] = retold(text, me)
    if (item := getattr(event, "item", None)) is not None:
        changes["item"] = titled(item, me)
    if is_conversation(room := getattr(event, "room", "")):
        changes["room"] = title(room, me)
    if rooms := getattr(event, "rooms", ()):  # names, or what is told of each
        changes["rooms"] = tuple(title(one, me) if isinstance(one, str) else titled(one, me) for one in rooms)
    if (profile := getattr(event, "profile", None)) is not None:
        changes["profile"] = titled(profile, me)
    if not changes:
        return event
    from msgspec.structs import replace  # the first prompt needs titles, and no messages yet

    return replace(event, **changes)


def meant(text: str, me: str) -> str:
    """The room that a person means: ``lobby`` is ``+lobby``, ``@bob`` the conversation with bob.

    :raises UsageError: no room can be called so.
    """
    try:
        if text.startswith("@") and "&" not in text and me:
            return conversation(me, text[1:])
        return parse_room(text if text[:1] in ("+", "#", "@") else f"+{text}")
    except RefusedError as error:
        raise UsageError(reason=str(error)) from None
