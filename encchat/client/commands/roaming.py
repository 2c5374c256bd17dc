"""The slash commands for rooms and the people in them: where to be, and who is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat.client.commands import moderating
from encchat.client.commands.command import Command
from encchat.client.view.entrylines import name_key
from encchat.client.view.sealnews import room_words
from encchat.client.view.titles import title
from encchat.core.names import is_conversation, other, parse_name
from encchat.errors import UsageError
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands

#: Entries that a room shows when it is joined.
SHOWN = 20
#: What clears a topic: of IRC's clients each has one of these.
_CLEARED = frozenset({"-", "-delete"})
#: Words for the rooms beside this one.
_STEPS = {"next": 1, "right": 1, "prev": -1, "previous": -1, "left": -1}


class NotIn(UsageError):
    """You are not in {room}. /go lists your rooms, /join +ROOM enters one."""


def _join(c: Commands, rest: str) -> None:
    words = [word.strip() for word in rest.split(",")]
    if not all(words) or any(" " in word for word in words):
        c.teach("join")
    for room in [c.room(word) for word in words]:
        _enter(c, room)


def _enter(c: Commands, room: str) -> None:
    if room in c.chat.session.rooms:
        c.screen.go(room)
        return
    if is_conversation(room):
        c.go_to_person(other(room, name_key(c.chat.name)))
        return
    c.chat.session.join(room, SHOWN)
    c.chat.flush()


def _part(c: Commands, rest: str) -> None:
    word, _, words = rest.partition(" ")
    if words and word[:1] not in ("+", "#", "@"):  # a farewell, which IRC has
        c.teach("part")
    room = c.room(word)
    if room not in c.chat.session.rooms:
        raise NotIn(room=room)
    c.chat.session.part(room)
    c.chat.flush()


def _go(c: Commands, rest: str) -> None:
    tabs = c.screen.tabs
    if rest == "close" and c.room(rest) not in tabs:
        _part(c, "")
        return
    if not rest or (rest == "list" and c.room(rest) not in tabs):
        for room, number in tabs.numbers.items():
            unread = tabs.unread.get(room, 0)
            here = " (here)" if room == c.screen.room else ""
            more = f", {unread} unread" if unread else ""
            name = title(room, c.chat.name)
            c.screen.note(f"{number}: {name}, {room_words(c.chat, room)}{more}{here}")
        if not tabs.numbers:
            c.current_room()
        return
    rest = rest.removeprefix("goto ").strip()
    if rest in _STEPS and c.room(rest) not in tabs:
        c.screen.go(tabs.beside(c.screen.room, _STEPS[rest]) or c.current_room())
        return
    room_of_number = (
        tabs.numbered(int(rest)) if rest.isascii() and rest.isdecimal() and len(rest) < 4 else None
    )
    room = room_of_number or c.room(rest)
    if room not in tabs:
        near = [known for known in tabs.numbers if title(known, c.chat.name)[1:].startswith(room[1:])]
        if len(near) != 1:
            raise NotIn(room=room)
        room = near[0]
    c.screen.go(room)


def _rooms(c: Commands, rest: str) -> None:
    c.online()
    c.chat.session.list_rooms()
    c.chat.flush()


def _topic(c: Commands, rest: str) -> None:
    room = c.current_room()
    if rest:
        c.say(room, "topic", "" if rest in _CLEARED else clean_line(rest)[:1000])
        return
    copy = c.chat.session.rooms.get(room)
    topic = clean_line(copy.topic, 1000) if copy is not None else ""
    where = title(room, c.chat.name)
    c.screen.note(f"the topic of {where} is: {topic}" if topic else "there is no topic")


def _who(c: Commands, rest: str) -> None:
    room = c.room(rest)
    c.online()
    c.chat.session.who(room)
    c.chat.flush()


def _whois(c: Commands, rest: str) -> None:
    if not rest and c.screen.room is not None and is_conversation(c.screen.room):
        rest = other(c.screen.room, name_key(c.chat.name))
    if not rest:
        c.teach("whois")
    c.online()
    c.chat.session.whois(rest)
    c.chat.flush()


def _ignore(c: Commands, rest: str) -> None:
    if not rest:
        names = ", ".join(sorted(c.chat.ignored))
        c.screen.note(f"ignored: {clean_line(names)}" if names else "nobody is ignored")
        return
    name = parse_name(c.name(rest))
    c.chat.set_ignored(name.key, True)
    c.screen.note(f"{name.shown} is ignored, here on your side only; /unignore {name.shown} ends it")


def _unignore(c: Commands, rest: str) -> None:
    if not rest:
        c.teach("unignore")
    name = parse_name(c.name(rest))
    ignored = name.key in c.chat.ignored
    c.chat.set_ignored(name.key, False)
    c.screen.note(f"{name.shown} is shown again" if ignored else f"{name.shown} was not ignored")


ROOMS = (
    Command(
        "join",
        "+ROOM|#ROOM",
        "join a room, or show one that you are in",
        _join,
        "as in /join +ops, or /join +ops,+dev; an open room that nobody has made is made by you, and yours",
    ),
    Command("part", "[+ROOM]", "leave a room", _part, "leaves this room, or the one that you name"),
    Command(
        "go",
        "[+ROOM|NUMBER]",
        "show another of your rooms (Alt-1 to Alt-9); alone, list them",
        _go,
        "as in /go 2 or /go +ops or /go op; /go next and /go prev go on from here",
    ),
    Command("rooms", "", "list the rooms of the server", _rooms),
    Command(
        "topic", "[TEXT]", "show or set the room's topic", _topic, "alone, it shows it; /topic - clears it"
    ),
    Command(
        "access",
        "[open|private] [topic members|moderators]",
        "who may come in and who sets the topic; alone, it shows how this room is run",
        moderating.access,
        "as in /access private, or /access open topic moderators; alone, it shows how this room is run",
    ),
    Command("invite", "NAME", "let somebody into this room", moderating.invite, "as in /invite bob"),
)
PEOPLE = (
    Command("who", "[+ROOM]", "who is here", _who),
    Command("whois", "NAME", "whose name that is, and their key", _whois, "as in /whois bob"),
    Command("ignore", "[NAME]", "show nothing of somebody; without a name: whom", _ignore),
    Command("unignore", "NAME", "show somebody again", _unignore, "as in /unignore bob"),
)
