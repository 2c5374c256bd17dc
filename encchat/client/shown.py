"""What every console keeps of what it shows: rooms with their numbers, the last entries, settings."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.view.entrylines import EntryLines
from encchat.client.view.memory import Memory
from encchat.client.view.preferences import Preferences
from encchat.client.view.tabs import Tabs
from encchat.client.view.titles import title
from encchat.errors import UsageError


class NobodyToAsk(UsageError):
    """Nobody is here who could be asked for a passphrase. Start with --passphrase-fd N, and write it to that
    file descriptor."""


class Shown:
    """The part of a console that commands use (command.Screen)."""

    def __init__(self, chat: Chat, room: str) -> None:
        self.chat = chat
        #: The room that is shown and written to; None after the last was left.
        self.room: str | None = room
        self.tabs = Tabs()
        self.memory = Memory()
        #: The file descriptor that a passphrase is read from, and the passphrase once it was.
        self.secret_fd: int | None = None
        self.secret: str | None = None
        #: Commands that are not done yet, and whether one came to nothing.
        self.busy = 0
        self.trouble = False
        self.preferences = Preferences(chat.setting, chat.set_setting)
        self.entries = EntryLines(self.memory, lambda: self.room, lambda: self.chat.name)
        self.entries.numbers = self.preferences["numbers"] == "on"

    def observe(self, event: e.Event) -> None:
        """Remember what happens, before it is shown."""
        match event:
            case e.JoinedRoom(room=room, mark=mark):
                self.tabs.entered(room, mark)
            case e.LeftRoom(room) | e.PutOut(room) | e.NotJoined(room):
                self.tabs.left(room)
            case e.NewEntry(entry):
                self.memory.remember(entry)
            case e.History(entries=entries) | e.SearchFound(entries=entries):
                for entry in reversed(entries):
                    self.memory.remember(entry, old=True)

    def go(self, room: str) -> None:
        """Show and write to a room that we are in."""
        self.room = room

    def ask_secret(self, question: str) -> Deferred[str | None]:
        """Ask for something that nobody else should see; None if the person would rather not. Here it is the
        first line of the file descriptor that was named for it.

        :raises NobodyToAsk: none was.
        """
        if self.secret is not None:
            return succeed(self.secret)
        if self.secret_fd is None:
            raise NobodyToAsk()
        from encchat.client.commands.backing import read_passphrase

        reading: Deferred[str | None] = self.chat.files.in_thread(read_passphrase, self.secret_fd)
        return reading.addCallback(self._read_secret)

    def _read_secret(self, secret: str | None) -> str | None:
        self.secret = secret
        return secret

    def title(self, room: str) -> str:
        """A room as people call it, cleaned."""
        return title(room, self.chat.name)

    def prefill(self, text: str) -> bool:
        """Put a text into the line that is typed; whether that can be done here."""
        return False

    def clear(self) -> bool:
        """Clear the screen; whether there is one that can be cleared."""
        return False
