"""The slash commands: one table from which help, completion and the doing come.

A line that begins with ``/`` is a command; ``//`` sends a line that begins with one slash. What is not a
command is never sent, but taught.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn, Protocol

from encchat.client import moderating
from encchat.client.chat import Chat
from encchat.client.events import Event, History, JoinedRoom, SearchFound
from encchat.client.requests import ActMessage
from encchat.core.names import parse_name, parse_room
from encchat.errors import RefusedError, UsageError
from encchat.text import clean_line

#: Entries that /history shows when it is not told how many.
HISTORY = 20
#: Messages that /context shows before the one asked for, and after it.
CONTEXT = 5
#: Columns of /help that the usage takes; a longer one pushes its help to the right.
WIDTH = 30


class UnknownCommand(UsageError):
    """There is no command {command}.{hint} /help lists the commands; begin with // to send a line that
    begins with a slash."""


class WrongUse(UsageError):
    """Write {usage}: {help}"""


class NoRoom(UsageError):
    """You are in no room. Join one first: /join +lobby"""


class Offline(UsageError):
    """There is no connection right now. Ask again when it is back."""


class NotThere(UsageError):
    """You are not in {room} right now. Ask again when you are."""


class Screen(Protocol):
    """What commands need of a console."""

    room: str | None

    def note(self, text: str) -> None: ...
    def quit(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how it is written, what it does, and its work."""

    name: str
    arguments: str
    help: str
    run: Callable[[Commands, str], None]

    @property
    def usage(self) -> str:
        """As a person writes it."""
        return f"/{self.name} {self.arguments}".rstrip()


def room_named(text: str) -> str:
    """The room that a person means: ``lobby`` is ``+lobby``.

    :raises UsageError: no room can be called so.
    """
    try:
        return parse_room(text if text[:1] in ("+", "#", "@") else f"+{text}")
    except RefusedError as error:
        raise UsageError(reason=str(error)) from None


class Commands:
    """Does what a person types, in the room that the screen shows."""

    def __init__(self, chat: Chat, screen: Screen, say: Callable[[str, str, str], None]) -> None:
        self.chat = chat
        self.screen = screen
        self.say = say
        #: The oldest entry that each room has shown, for /history to go on from.
        self._oldest: dict[str, int] = {}
        #: What each room was last searched for, and how far back that went.
        self._searched: dict[str, tuple[str, int]] = {}

    def typed(self, line: str) -> None:
        """A whole line, or several that were pasted: said, or done.

        :raises UsageError: it cannot be; says how to.
        """
        if line.startswith("//"):
            self.talk(line[1:])
        elif line.startswith("/"):
            self.do(line)
        elif line.strip():
            self.talk(line)

    def talk(self, text: str, kind: str = "text") -> None:
        """Send ``text`` to the current room."""
        self.say(self.current_room(), kind, text)

    def do(self, line: str) -> None:
        """Carry out a line that begins with a slash."""
        word, _, rest = line[1:].partition(" ")
        name = word.strip().lower()
        command = COMMANDS.get(name)
        if command is None:
            near = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean /{near[0]}?" if near else ""
            raise UnknownCommand(command="/" + word, hint=hint)
        command.run(self, rest.strip())

    def notice(self, event: Event) -> None:
        """Keep track of what was shown."""
        if isinstance(event, JoinedRoom):
            if event.first:
                self._oldest[event.room] = event.start.seq + 1
        elif isinstance(event, SearchFound) and event.room in self._searched:
            self._searched[event.room] = self._searched[event.room][0], event.reached
        elif isinstance(event, History) and event.entries:
            first = event.entries[0].seq
            self._oldest[event.room] = min(first, self._oldest.get(event.room, first))

    # ------------------------------------------------------------------------------ what they need

    def current_room(self) -> str:
        """The room that the screen shows."""
        if self.screen.room is None:
            raise NoRoom()
        return self.screen.room

    def room(self, text: str) -> str:
        """The room that is named; the current one if none is."""
        return room_named(text) if text else self.current_room()

    def online(self) -> None:
        """Only with a connection."""
        if not self.chat.session.admitted:
            raise Offline()

    def name(self, text: str) -> str:
        """A name that a person means, as it is written.

        :raises UsageError: nobody can be called so.
        """
        try:
            return parse_name(text).shown
        except RefusedError as error:
            raise UsageError(reason=str(error)) from None

    def act(self, build: Callable[[int, str, bytes], ActMessage]) -> None:
        """Do something to the current room or a member of it; ``build`` gets the request's id, the room and
        a msgid. Its entry in the room, or an error, tells how it went."""
        room = self.current_room()
        self.online()
        if room not in self.chat.session.rooms:
            raise NotThere(room=room)
        self.chat.act(lambda id, msgid: build(id, room, msgid))

    def teach(self, command: str) -> NoReturn:
        """The command is written in another way."""
        raise WrongUse(usage=COMMANDS[command].usage, help=COMMANDS[command].help + ".")

    def search(self, room: str, words: str) -> None:
        """Search a room for words; for none, go on with the last search there."""
        self.online()
        words, before = (words, 0) if words else self._searched.get(room, ("", 0))
        if not words:
            raise WrongUse(usage="/search WORDS", help="finds messages that have all the words, whole.")
        self.chat.session.search(room, words, before)
        self._searched[room] = words, before
        self.chat.flush()

    def history(self, room: str, count: int) -> None:
        """Ask for entries before those that were shown."""
        self.online()
        before = self._oldest.get(room, 0)
        if before == 1:
            self.screen.note(f"{clean_line(room)} has nothing older")
            return
        self.chat.session.read(room, before=before or 2**62, limit=count)
        self.chat.flush()


def _join(c: Commands, rest: str) -> None:
    if not rest or " " in rest:
        raise WrongUse(usage="/join +ROOM", help="joins a room, or shows one that you are in.")
    room = c.room(rest)
    if room in c.chat.session.rooms:
        c.screen.room = room
        c.screen.note(f"now in {clean_line(room)}")
        return
    c.chat.session.join(room, HISTORY)
    c.chat.flush()


def _part(c: Commands, rest: str) -> None:
    room = c.room(rest)
    if room not in c.chat.session.rooms:
        raise UsageError(reason=f"You are not in {room}.")
    c.chat.session.part(room)
    c.chat.flush()


def _me(c: Commands, rest: str) -> None:
    if not rest:
        raise WrongUse(usage="/me ACTION", help="as in /me waves, which shows as: * alice waves")
    c.talk(rest, "me")


def _who(c: Commands, rest: str) -> None:
    room = c.room(rest)
    c.online()
    c.chat.session.who(room)
    c.chat.flush()


def _whois(c: Commands, rest: str) -> None:
    if not rest:
        raise WrongUse(usage="/whois NAME", help="shows whose name that is, and their key.")
    c.online()
    c.chat.session.whois(rest)
    c.chat.flush()


def _topic(c: Commands, rest: str) -> None:
    room = c.current_room()
    if rest:
        c.say(room, "topic", clean_line(rest)[:1000])
        return
    copy = c.chat.session.rooms.get(room)
    topic = clean_line(copy.topic, 1000) if copy is not None else ""
    c.screen.note(f"the topic of {clean_line(room)} is: {topic}" if topic else "there is no topic")


def _rooms(c: Commands, rest: str) -> None:
    c.online()
    c.chat.session.list_rooms()
    c.chat.flush()


def _history(c: Commands, rest: str) -> None:
    if rest and not (rest.isascii() and rest.isdecimal() and 1 <= len(rest) <= 4 and int(rest)):
        raise WrongUse(usage="/history [COUNT]", help="shows so many older messages, up to 500.")
    c.history(c.current_room(), min(int(rest or HISTORY), 500))


def _search(c: Commands, rest: str) -> None:
    if len(rest) > 200:
        raise WrongUse(
            usage="/search WORDS", help="finds messages that have all the words; up to 200 characters."
        )
    c.search(c.current_room(), rest)


def _context(c: Commands, rest: str) -> None:
    number = rest.removeprefix("#")
    if not (number.isascii() and number.isdecimal() and len(number) <= 18):
        raise WrongUse(usage="/context NUMBER", help="shows what was said around a message that was found.")
    c.online()
    c.chat.session.read(c.current_room(), before=int(number) + CONTEXT + 1, limit=2 * CONTEXT + 1)
    c.chat.flush()


def _ignore(c: Commands, rest: str) -> None:
    if not rest:
        names = ", ".join(sorted(c.chat.ignored))
        c.screen.note(f"ignored: {clean_line(names)}" if names else "nobody is ignored")
        return
    name = parse_name(c.name(rest))
    ignored = name.key in c.chat.ignored
    c.chat.set_ignored(name.key, not ignored)
    c.screen.note(f"{name.shown} is {'shown again' if ignored else 'ignored, here on your side only'}")


def _nick(c: Commands, rest: str) -> None:
    c.screen.note(
        "Your name belongs to your key. For another name, with a key of its own: "
        "/quit, then encchat-client --name NAME"
    )


def _reconnect(c: Commands, rest: str) -> None:
    if c.chat.session.admitted:
        c.screen.note("you are connected")
    else:
        c.chat.reconnect()


def _help(c: Commands, rest: str) -> None:
    name = rest.lstrip("/").lower()
    if name and name not in COMMANDS:
        raise UnknownCommand(command="/" + name, hint="")
    shown = [COMMANDS[name]] if name else list(COMMANDS.values())
    width = min(WIDTH, max(len(command.usage) for command in shown))
    for command in shown:
        c.screen.note(f"{command.usage:<{width}}  {command.help}")
    if not name:
        c.screen.note(f"{'//TEXT':<{width}}  sends a line that begins with a slash")


def _quit(c: Commands, rest: str) -> None:
    c.screen.quit(rest)


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command("join", "+ROOM", "join a room, or show one that you are in", _join),
        Command("part", "[+ROOM]", "leave a room", _part),
        Command("rooms", "", "list the rooms", _rooms),
        Command("who", "[+ROOM]", "who is here", _who),
        Command("whois", "NAME", "whose name that is, and their key", _whois),
        Command("topic", "[TEXT]", "show or set the room's topic", _topic),
        Command("me", "ACTION", "say what you do: /me waves", _me),
        Command("history", "[COUNT]", "show older messages", _history),
        Command("search", "[WORDS]", "find messages with all these words; alone, look further back", _search),
        Command("context", "NUMBER", "show what was said around a message that was found", _context),
        Command("ignore", "[NAME]", "show nothing of somebody, or again; without a name: whom", _ignore),
        Command("invite", "NAME", "let somebody into this room", moderating.invite),
        Command("kick", "NAME [REASON]", "put somebody out of this room", moderating.kick),
        Command("ban", "NAME [10m|2h|1d] [REASON]", "put somebody out, and keep them out", moderating.ban),
        Command("unban", "NAME", "lift a ban", moderating.unban),
        Command("mute", "NAME [10m|2h|1d] [REASON]", "let somebody read but not write", moderating.mute),
        Command("unmute", "NAME", "let somebody write again", moderating.unmute),
        Command("op", "NAME", "make somebody a moderator of this room", moderating.op),
        Command("owner", "NAME", "make somebody an owner of this room", moderating.owner),
        Command("deop", "NAME", "take somebody's role", moderating.deop),
        Command(
            "access",
            "[open|private] [topic members|moderators]",
            "who may come in and who sets the topic; alone, it shows how this room is run",
            moderating.access,
        ),
        Command("link", "", "a code with which another device of yours takes part as you", moderating.link),
        Command("devices", "", "the keys of your devices", moderating.devices),
        Command("unlink", "FINGERPRINT", "take a device's key from your name", moderating.unlink),
        Command("nick", "", "how to have another name", _nick),
        Command("reconnect", "", "try to connect now", _reconnect),
        Command("help", "[COMMAND]", "this list", _help),
        Command("quit", "[REASON]", "leave", _quit),
    )
}
