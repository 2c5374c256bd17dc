"""The slash commands: one table from which help, completion, docs/commands.md and the doing come.

A line that begins with ``/`` is a command; ``//`` sends a line that begins with one slash. What is not a
command is never sent, but taught.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import NoReturn

from encchat.client.chat import Chat
from encchat.client.commands import (
    administering,
    backing,
    filing,
    helping,
    moderating,
    reading,
    roaming,
    sealing,
    settling,
    talking,
    trusting,
)
from encchat.client.commands.aliases import ALIASES, INSTEAD
from encchat.client.commands.command import (
    Command,
    Elsewhere,
    NoCommand,
    NoRoom,
    NotThere,
    Offline,
    Screen,
    UnknownCommand,
    WrongUse,
)
from encchat.client.events import Event, History, JoinedRoom, RequestFailed, SealedNews, SearchFound
from encchat.client.protocol.requests import ActMessage
from encchat.client.view.titles import meant, title
from encchat.core.names import is_open, parse_name
from encchat.errors import RefusedError, UsageError

#: Entries that /history shows when it is not told how many.
HISTORY = 20


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
        #: Sealed rooms that are being made or entered, and are to be shown then.
        self.going: set[str] = set()
        self.trusting = trusting.Trusting()

    @property
    def table(self) -> Mapping[str, Command]:
        """All commands by name."""
        return COMMANDS

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
        command = self.find(word)
        room = self.screen.room
        sealed = None if room is None or is_open(room) else sealing.IN_SEALED.get(command.name)
        (sealed or command.run)(self, rest.strip())

    def find(self, word: str) -> Command:
        """The command of that name.

        :raises UnknownCommand: there is none; says what was perhaps meant.
        """
        name = word.strip().lower()
        command = COMMANDS.get(ALIASES.get(name, name))
        if command is not None:
            return command
        if not name:
            raise NoCommand()
        if name in INSTEAD:
            raise Elsewhere(command="/" + word, instead=INSTEAD[name])
        begun = [known for known in COMMANDS if known.startswith(name)]
        near = begun if len(begun) == 1 else get_close_matches(name, [*COMMANDS, *ALIASES], n=1)
        hint = f" Did you mean /{ALIASES.get(near[0], near[0])}?" if near else ""
        raise UnknownCommand(command="/" + word, hint=hint)

    def notice(self, event: Event) -> None:
        """Keep track of what was shown."""
        if isinstance(event, SealedNews):
            self.trusting.notice(self, event)
        elif isinstance(event, RequestFailed):
            self.going.clear()
        elif isinstance(event, JoinedRoom):
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
        return meant(text, self.chat.name) if text else self.current_room()

    def go_to_person(self, name: str) -> None:
        """Show the conversation with somebody, which is made or entered if need be."""
        room = self.chat.sealed.conversation(name)
        if room in self.screen.tabs:
            self.screen.go(room)
        else:
            self.going.add(room)

    def wants(self, room: str) -> bool:
        """Whether a room that was entered by itself is one that the person waits for."""
        wanted = room in self.going
        self.going.discard(room)
        return wanted

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
        found = COMMANDS[command]
        raise WrongUse(usage=found.usage, help=f"{found.detail or found.help}.")

    def search(self, room: str, words: str) -> None:
        """Search a room for words; for none, go on with the last search there. Without a connection, search
        what this client has kept of it."""
        words, before = (words, 0) if words else self._searched.get(room, ("", 0))
        if not words:
            self.teach("search")
        self._searched[room] = words, before
        if self.chat.session.admitted or not is_open(room):
            self.chat.search(room, words, before)
        else:
            self._tell_kept(self.chat.local_search(room, words, before))

    def history(self, room: str, count: int, *, again: bool = False) -> None:
        """Ask for entries before those that were shown; without a connection, of what this client has
        kept. Where all was shown, ``again`` shows the last ones once more."""
        before = self._oldest.get(room, 0)
        if before == 1 and again:
            before = 0
        if before == 1:
            self.screen.note(f"{title(room, self.chat.name)} has nothing older")
        elif self.chat.session.admitted or not is_open(room):
            self.chat.history(room, before=before or 2**62, limit=count)
        else:
            self._tell_kept(self.chat.local_history(room, before, count))

    def _tell_kept(self, found: History | SearchFound) -> None:
        if not found.entries:
            self.screen.note("there is no connection, and nothing more of that was kept here")
            return
        self.screen.note("there is no connection; this is what was kept here:")
        self.screen.happened([found])


#: The commands of each group, in the order in which they are told.
GROUPS: Mapping[str, tuple[Command, ...]] = {
    "talk": (*talking.COMMANDS, sealing.MSG),
    "files": filing.COMMANDS,
    "rooms": (*roaming.ROOMS, *sealing.ROOMS),
    "what was said": reading.COMMANDS,
    "people": (*roaming.PEOPLE, *trusting.VERIFY),
    "moderation": moderating.COMMANDS,
    "you and your devices": (*moderating.DEVICES, *trusting.DEVICES, backing.BACKUP),
    "the server": administering.COMMANDS,
    "this client": (*settling.COMMANDS, helping.HELP, helping.QUIT),
}

COMMANDS: Mapping[str, Command] = {
    command.name: command for commands in GROUPS.values() for command in commands
}
