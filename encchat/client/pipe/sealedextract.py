"""``--tail``, ``--since`` and ``--until`` of a sealed room: what this machine has opened of it, on stdout.

The server cannot read the room, so what there is to print is kept here: by this run, which first reads what
is new, or where another client of the profile has the keys, by that one. Neither what the next run shows nor
what counts as read is changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.pipe.excerpt import Excerpt
from encchat.client.pipe.pipe import Manner
from encchat.client.pipe.span import Span
from encchat.client.sealed.kept import Kept
from encchat.client.streams.lines import Reader, Writer
from encchat.errors import UsageError

#: Entries that are printed at a time.
PAGE = 200


class FollowedThere(UsageError):
    """Another encchat-client of this name has the keys of sealed rooms, which are for one at a time: what is
    said in {room} from now on is shown there. Without --follow, what it has opened is printed."""


class SealedExtract(Excerpt):
    """A console that prints a :class:`Span` of a sealed room."""

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
        super().__init__(clock, chat, manner, span, reader, make_writer, status, milliseconds)
        #: The last entry that was printed; None before the first.
        self._last: int | None = None
        #: What is told now comes from what is kept.
        self._printing = False

    async def _work(self) -> None:
        room, sealed = self._manner.room, self._chat.sealed
        await self._chat.when(lambda: self._chat.session.admitted)
        if sealed.is_beside:
            if self._manner.follow:
                raise FollowedThere(room=self.title(room))
        else:
            self._chat.session.join(room)  # not as one enters to speak: reading begins no conversation
            self._chat.flush()
            await self._chat.when(lambda: self._caught_up)
        await self._print()
        if self._manner.follow and not self._past:
            await self._ended(self._chat.when(lambda: self._quit or self._past))
        await self._writer.written()

    async def _print(self) -> None:
        """Print what is kept, as fast as it is read."""
        room, sealed = self._manner.room, self._chat.sealed
        at = self._first() - 1
        while not self._past:
            some = sealed.kept_after(room, at, PAGE)
            if not some:
                break
            at = some[-1].entry.seq
            wanted = self._wanted(some)
            self._printing = True
            self.happened([e.NewEntry(x.entry, False, True, b"", x.after, x.seal) for x in wanted])
            self._printing = False
            await self._writer.written()
        self._last = at

    def _first(self) -> int:
        """The entry to begin with."""
        if self._span.tail is None:
            return 1
        page = self._chat.sealed.history(self._manner.room, 0, max(1, self._span.tail))
        if not page.entries:
            return 1
        return page.entries[0].seq if self._span.tail else page.entries[-1].seq + 1

    def _wanted(self, some: Sequence[Kept]) -> list[Kept]:
        """Those that lie within the span."""
        since, until = self._span.since or 0, self._span.until
        found = []
        for kept in some:
            if until is not None and kept.entry.time >= until:
                self._past = True
                break
            if kept.entry.time >= since:
                found.append(kept)
        return found

    def _wants(self, event: e.Event) -> bool:
        if not isinstance(event, e.NewEntry) or event.entry.room != self._manner.room or self._printing:
            return not isinstance(event, e.JoinedRoom | e.CaughtUp | e.CameOrWent)
        late = event.seal is not None and event.seal.late
        if self._last is None or not self._manner.follow or (event.entry.seq <= self._last and not late):
            return False  # it is kept, and printed from there
        until = self._span.until
        self._past = self._past or (until is not None and event.entry.time >= until)
        return not self._past
