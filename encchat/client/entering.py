"""How what does one thing, or reads a pipe, comes into its room: an open one, a sealed one, or a conversation
that perhaps has to begin."""

from __future__ import annotations

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.view.entrylines import name_key
from encchat.client.view.titles import retold, title
from encchat.core.names import is_conversation, is_open, other
from encchat.errors import RefusedError


class CannotJoin(RefusedError):
    """You cannot be in {room}: {reason}"""


async def enter(
    chat: Chat, room: str, history: int = 0, *, resume: bool = True, only_says: bool = False
) -> None:
    """Be in a room, whenever there is a connection. If that cannot be, ``NotJoined`` tells, or there is an
    error. Who ``only_says`` something need not be in a sealed room that another process of the profile is in.

    :raises SealedUnavailable: there are no sealed rooms here.
    :raises CannotJoin: the conversation cannot begin.
    """
    if not is_open(room):
        await chat.when(lambda: chat.session.admitted)
        if only_says and chat.sealed.say_through(room):
            chat.tell([e.CaughtUp(room)])
            return
    unmade = chat.sealed.reasons
    unmade.pop(room, None)
    if is_conversation(room):
        chat.sealed.conversation(other(room, name_key(chat.name)))
    else:
        chat.session.join(room, history, resume=resume)
        chat.flush()
    await chat.when(
        lambda: room in unmade or (room in chat.session.rooms and chat.session.rooms[room].entered)
    )
    if room in unmade:
        raise CannotJoin(room=title(room, chat.name), reason=retold(unmade[room], chat.name))
