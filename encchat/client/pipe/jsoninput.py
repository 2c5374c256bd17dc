"""What lines of ``--json`` ask for is done here: messages and commands, each in the room that it names; and
which event answers which line, by the ``ref`` that the line gave.
"""

from __future__ import annotations

from collections.abc import Iterable

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.commands.table import Commands
from encchat.client.pipe import jsonlines
from encchat.client.protocol.outbox import Item
from encchat.client.shown import Shown
from encchat.client.streams.lines import pieces
from encchat.errors import UsageError

#: Requests whose refs are remembered; of more, the oldest is forgotten. Not every request has an answer.
MAX_ASKED = 10_000


class JsonInput:
    """``take`` each line that was understood; ``ref`` tells what an event answers."""

    def __init__(self, chat: Chat, shown: Shown, commands: Commands) -> None:
        self._chat = chat
        self._shown = shown
        self._commands = commands
        self._now: str | int | None = None
        self._said: dict[bytes, str | int] = {}
        self._asked: dict[int, str | int] = {}

    def take(self, given: jsonlines.Input) -> None:
        """Do what a line asks for.

        :raises EncchatError: it cannot be.
        """
        self._now = given.ref
        try:
            if given.command is None:
                self._say(given)
            else:
                self._do(given.command, given.room)
        finally:
            self._now = None

    def said(self, items: Iterable[Item]) -> None:
        """These were said: by a line, or by a command that is being done."""
        if self._now is not None:
            self._said.update((item.msgid, self._now) for item in items)

    def ref(self, event: e.Event) -> str | int | None:
        """The ref of the line that an event answers, which is then forgotten."""
        if isinstance(event, e.Acknowledged | e.NotSent):
            return self._said.pop(event.item.msgid, None)
        return self._asked.pop(getattr(event, "request", 0), None)

    def _do(self, command: str, room: str | None) -> None:
        """Do a command, in the room that the line names."""
        before = self._shown.room
        here = before if not room else self._room(room)
        self._shown.room = here
        first = self._chat.session.next_request
        try:
            self._commands.do(command if command.startswith("/") else "/" + command)
        finally:
            if self._shown.room == here:  # else the command has gone elsewhere
                self._shown.room = before
            if self._now is not None:
                self._asked.update(dict.fromkeys(range(first, self._chat.session.next_request), self._now))
                while len(self._asked) > MAX_ASKED:
                    del self._asked[next(iter(self._asked))]

    def _say(self, given: jsonlines.Input) -> None:
        room = self._room(given.room or "")
        text = given.text or ""
        limit = self._chat.max_body(room)
        parts = [part.decode("utf-8") for part in pieces(text.encode("utf-8"), limit)]
        msgid = jsonlines.msgid_of(given)
        if msgid is not None and len(parts) > 1:
            raise jsonlines.BadInput(why=f"a text of more than {limit} bytes cannot have one msgid")
        if text:
            self.said(self._chat.say(room, *parts, kind=given.kind, msgid=msgid))

    def _room(self, text: str) -> str:
        """The room that a line means, which we must be in."""
        room = self._commands.room(text)
        if room not in self._chat.session.rooms:
            raise UsageError(reason=f"You are not in {room}; join it with a command first.")
        return room
