"""What consoles have in common that print a part of a room, whoever can read it: which part, and its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from encchat.client.chat import Chat
from encchat.client.pipe.pipe import Manner, Pipe
from encchat.client.pipe.span import Span
from encchat.client.streams.ending import race
from encchat.client.streams.lines import Reader, Writer
from encchat.messages import Position


class Excerpt(Pipe):
    """A console that prints a :class:`Span` of a room."""

    def __init__(
        self,
        clock: IReactorTime,
        chat: Chat,
        manner: Manner,
        span: Span,
        reader: Reader,
        make_writer: Callable[[Callable[[], None]], Writer],
        status: Callable[[str], None],
        milliseconds: Callable[[], int],
    ) -> None:
        super().__init__(clock, chat, manner, reader, make_writer, status)
        self._span = span
        self._milliseconds = milliseconds
        #: An entry of ``until`` or later has come.
        self._past = False

    async def _ended(self, over: Deferred[None]) -> None:
        """Returns when it is over, or if it follows what is said, when ``until`` has come."""
        if self._manner.follow and self._span.until is not None:
            left = max(0.0, (self._span.until - self._milliseconds()) / 1000)
            await race(self._clock, over, cast("Deferred[None]", deferLater(self._clock, left)))
        else:
            await over

    def _written(self, reached: dict[str, Position]) -> None:
        """Who reads like this leaves no trace."""
