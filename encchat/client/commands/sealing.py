"""The slash commands of sealed rooms: to make one, to talk to one person, and who is in.

``IN_SEALED`` has what the commands of open rooms do in a sealed one, where the server runs nothing: its
admins sign who is in, and what the server would have to do there does not exist and is taught.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from encchat.client.commands.command import Command, NotThere
from encchat.client.view.sealnews import trust_words
from encchat.client.view.titles import title
from encchat.core.names import is_conversation, is_open
from encchat.core.plain import shown_name
from encchat.errors import UsageError
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands

#: Members that /who lists one by one.
MAX_LISTED = 200


class NoSealedName(UsageError):
    """{room} is no name of a sealed room: those begin with '#', as in /create #tea bob. An open room, which
    the server can read, is made by joining it: /join +tea"""


class NotInSealed(UsageError):
    """There is no /{command} in a sealed room: {why}"""


class OnlyTwo(UsageError):
    """This is a conversation of two, which nobody can be let into, put out of or leave. /create #NAME makes a
    sealed room for more; /part closes the conversation."""


class OneName(UsageError):
    """In a sealed room /{command} takes one name and nothing else: the others see who did it. Say why as a
    message."""


class NotSure(UsageError):
    """After this only an invitation brings you back into {room}. Write /leave yes if that is what you want;
    /part closes it here, and you stay a member."""


def create(c: Commands, rest: str) -> None:
    """/create #ROOM [NAME…]"""
    room, *names = rest.split()[:100] or [""]
    if not room:
        c.teach("create")
    if not room.startswith("#"):
        raise NoSealedName(room=clean_line(room, 40))
    room = c.room(room)
    c.chat.sealed.create(room, tuple(map(c.name, names)))
    c.going.add(room)


def msg(c: Commands, rest: str) -> None:
    """/msg NAME [TEXT]"""
    word, _, text = rest.partition(" ")
    if not word:
        c.teach("msg")
    if word[0] in "+#":
        _to_room(c, word, text.strip())
        return
    name, text = c.name(word.removeprefix("@")), text.strip()
    if not text:
        c.go_to_person(name)
        return
    room = c.chat.sealed.conversation(name)
    c.say(room, "text", text)
    c.screen.note(f"sent to {title(room, c.chat.name)}; /msg {name} goes there")


def _to_room(c: Commands, word: str, text: str) -> None:
    """Say something in another room that we are in, and stay; without a text, go there."""
    room = c.room(word)
    if room not in c.chat.session.rooms:
        raise NotThere(room=clean_line(room))
    if text:
        c.say(room, "text", text)
    else:
        c.screen.go(room)


def leave(c: Commands, rest: str) -> None:
    """/leave [yes]"""
    room = c.current_room()
    if is_open(room):
        if rest:
            c.teach("leave")
        c.find("part").run(c, "")
        return
    _not_of_two(room)
    if rest.lower() != "yes":
        raise NotSure(room=clean_line(room))
    _there(c, room)
    c.chat.sealed.leave(room)


def _invite(c: Commands, rest: str) -> None:
    c.chat.sealed.invite(*_room_and_names(c, "invite", rest))


def _kick(c: Commands, rest: str) -> None:
    c.chat.sealed.remove(*_room_and_name(c, "kick", rest))


def _op(c: Commands, rest: str) -> None:
    c.chat.sealed.promote(*_room_and_name(c, "op", rest))


def _deop(c: Commands, rest: str) -> None:
    c.chat.sealed.demote(*_room_and_name(c, "deop", rest))


def _who(c: Commands, rest: str) -> None:
    room = c.room(rest)
    copy = c.chat.session.rooms.get(room)
    here = set() if copy is None else {_key(name) for name in copy.members}
    people = c.chat.sealed.members(room)
    name = title(room, c.chat.name)
    if not people:
        c.screen.note(f"who is in {name} is not known here yet")
        return
    c.screen.note(f"in {name} {'is' if len(people) == 1 else 'are'}, as its admins signed:")
    for person in people[:MAX_LISTED]:
        words = ["you"] if person.name == _key(c.chat.name) else [trust_words(person.trust)]
        words += ["admin"] if person.admin and not is_conversation(room) else []
        words += ["here now"] if person.name in here else []
        c.screen.note(f"    {shown_name(person.name)} ({', '.join(words)})")
    if len(people) > MAX_LISTED:
        c.screen.note(f"    and {len(people) - MAX_LISTED} more")


def _room_and_names(c: Commands, command: str, rest: str) -> tuple[str, ...]:
    """The current room, and one or more names; whether we may, its admins' signatures decide."""
    room = c.current_room()
    _not_of_two(room)
    names = rest.split()[:100]
    if not names:
        c.teach(command)
    _there(c, room)
    return room, *map(c.name, names)


def _room_and_name(c: Commands, command: str, rest: str) -> tuple[str, ...]:
    """As above, with one name: a word of a reason could be another member's."""
    if len(rest.split()) > 1:
        raise OneName(command=command)
    return _room_and_names(c, command, rest)


def _there(c: Commands, room: str) -> None:
    if room not in c.chat.session.rooms:
        raise NotThere(room=clean_line(room))


def _not_of_two(room: str) -> None:
    if is_conversation(room):
        raise OnlyTwo()


def _key(name: str) -> str:
    from encchat.client.view.entrylines import name_key

    return name_key(name)


def _instead(command: str, why: str) -> Callable[[Commands, str], None]:
    def taught(c: Commands, rest: str) -> None:
        raise NotInSealed(command=command, why=why)

    return taught


_PUT_OUT = "the server decides nothing here. /kick NAME puts somebody out, until somebody lets them in again."
_SILENT = (
    "the server, which would have to hold to it, cannot tell what is said. /ignore NAME hides it from you."
)

#: What the commands of open rooms do in a sealed one, by their names.
IN_SEALED: Mapping[str, Callable[[Commands, str], None]] = {
    "invite": _invite,
    "kick": _kick,
    "op": _op,
    "deop": _deop,
    "who": _who,
    "owner": _instead("owner", "its admins are all equal. /op NAME makes one."),
    "ban": _instead("ban", _PUT_OUT),
    "unban": _instead("unban", "/invite NAME lets somebody in again."),
    "mute": _instead("mute", _SILENT),
    "unmute": _instead("unmute", _SILENT),
    "access": _instead("access", "only whom an admin lets in is in. /who lists them, /invite NAME adds one."),
}

ROOMS = (
    Command(
        "create",
        "#ROOM [NAME…]",
        "make a sealed room, which the server cannot read, with these people",
        create,
        "as in /create #tea bob carol; you are its admin, and /invite lets others in later",
    ),
    Command(
        "leave",
        "[yes]",
        "leave a sealed room for good, where /part only closes it here; an open one as /part does",
        leave,
        "as in /leave yes; afterwards you read nothing more of it, unless somebody invites you again",
    ),
)
MSG = Command(
    "msg",
    "NAME [TEXT]",
    "talk to one person, sealed; with a text it is sent and you stay where you are",
    msg,
    "as in /msg bob hello, or /msg bob to go there; the conversation is shown as @bob. /msg +ops hello says "
    "something in a room that you are in",
)
