"""``--send ROOM TEXT``: one message, and an exit code that says whether it is stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.entering import CannotJoin, enter
from encchat.client.pipe.errands import PATIENCE, Withheld
from encchat.client.streams.ending import race
from encchat.client.streams.lines import pieces
from encchat.client.view.show import status_line
from encchat.errors import EncchatError, RefusedError, StorageError

if TYPE_CHECKING:
    from encchat.core.sealed import events as fx


class Unwanted(RefusedError):
    """The server does not take the message: {reason}"""


class SendNotStored(StorageError):
    """The server has not said within {seconds:g} seconds that the message is stored: {reason} Nothing was
    kept here; send it again when the server is well."""


class Sending:
    """A console that says one thing. It reads nothing of the room, and leaves the room's position as it
    is; what it could not send it forgets, as whoever called it knows from the exit code."""

    def __init__(
        self, clock: IReactorTime, chat: Chat, room: str, text: str, status: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._chat = chat
        self._room = room
        self._text = text
        self._status = status
        self._stalled: float | None = None
        self._fatal: Deferred[None] = Deferred()

    async def run(self) -> int:
        """Say it, and wait until it is stored.

        :raises EncchatError: it is not; says why.
        """
        await race(self._clock, Deferred.fromCoroutine(self._send()), self._fatal)
        return 0

    async def _send(self) -> None:
        await enter(self._chat, self._room, resume=False, only_says=True)
        parts = pieces(self._text.encode("utf-8", "replace"), self._chat.max_body(self._room))
        self._chat.say(self._room, *(part.decode("utf-8") for part in parts))
        await self._chat.when(lambda: not self._chat.unacknowledged)

    def happened(self, events: Sequence[e.Event]) -> None:
        """What the server said, or became of the link."""
        for event in events:
            match event:
                case e.NotJoined() | e.PutOut():
                    self._give_up(CannotJoin(room=event.room, reason=event.text))
                case e.NotSent():
                    self._give_up(Unwanted(reason=event.text))
                case e.SealedNews(news):
                    self._hear(news)
                case e.Delayed():
                    self._be_patient(event)
                case e.LinkLost() | e.ServerComplains() | e.ServerCloses():
                    self._status(status_line(event) or "")

    def _hear(self, news: fx.Event) -> None:
        from encchat.client.view.sealnews import news_lines  # not needed where a room is open
        from encchat.core.sealed import events as fx

        words = " ".join(text.strip() for _, text in news_lines(news, self._chat.name))
        out = isinstance(news, fx.DeviceReady) and not news.listed
        if out or isinstance(news, fx.SendBlocked | fx.RolledBack):
            self._give_up(Withheld(reason=words))
        elif isinstance(news, fx.IdentityChanged | fx.KeysRejected | fx.Forked):
            self._status(words)

    def warn(self, text: str) -> None:
        """Tell what went wrong on our side."""
        self._status(text)

    def _be_patient(self, event: e.Delayed) -> None:
        now = self._clock.seconds()
        if self._stalled is None:
            self._stalled = now
        if now - self._stalled >= PATIENCE:
            self._give_up(SendNotStored(seconds=PATIENCE, reason=event.text))

    def _give_up(self, error: EncchatError) -> None:
        if not self._fatal.called:
            self._fatal.errback(error)
