"""What a slash command is, what it needs of a console, and what goes wrong with commands in general."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from twisted.internet.defer import Deferred

from encchat.client.events import Event
from encchat.client.view.memory import Memory
from encchat.client.view.preferences import Preferences
from encchat.client.view.tabs import Tabs
from encchat.errors import UsageError

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands
    from encchat.client.view.entrylines import EntryLines


class UnknownCommand(UsageError):
    """There is no command {command}.{hint} /help lists the commands; begin with // to send a line that
    begins with a slash."""


class Elsewhere(UnknownCommand):
    """There is no {command} here: {instead}"""


class NoCommand(UnknownCommand):
    """The name of a command follows right after the slash: /help lists them. Begin with // to send a line
    that begins with a slash."""


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
    tabs: Tabs
    memory: Memory
    entries: EntryLines
    preferences: Preferences
    busy: int
    trouble: bool

    def happened(self, events: Sequence[Event]) -> None: ...
    def note(self, text: str) -> None: ...
    def go(self, room: str) -> None: ...
    def ask_secret(self, question: str) -> Deferred[str | None]: ...
    def prefill(self, text: str) -> bool: ...
    def clear(self) -> bool: ...
    def quit(self, reason: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Command:
    """One command: how it is written, what it does in one line, its work, and what more there is to know.
    ``takes_path``: its first argument is a path, for Tab."""

    name: str
    arguments: str
    help: str
    run: Callable[[Commands, str], None]
    detail: str = ""
    takes_path: bool = False

    @property
    def usage(self) -> str:
        """As a person writes it."""
        return f"/{self.name} {self.arguments}".rstrip()
