"""The client in a pipe: a line in is a message, a message is a line out, and status goes to stderr.

Every line is sent as it is, also one that begins with a slash: a log is no list of commands. With
``--json`` each line is an object, both ways (``jsonlines``). At the end of the input it waits until
everything is acknowledged, and everything that was in the room before is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from encchat.client import events as e
from encchat.client.chat import Chat
from encchat.client.commands.table import Commands
from encchat.client.entering import CannotJoin, enter
from encchat.client.pipe import jsonlines
from encchat.client.pipe.errands import PATIENCE, Withheld
from encchat.client.pipe.jsoninput import JsonInput
from encchat.client.shown import Shown
from encchat.client.streams.ending import race
from encchat.client.streams.lines import LineCutter, Reader, Writer, pieces
from encchat.client.streams.progress import Progress
from encchat.client.view.sealnews import news_lines
from encchat.client.view.show import answer_lines, status_line, talk_lines
from encchat.client.view.titles import titled
from encchat.core.names import is_conversation, is_open
from encchat.core.plain import TALK, happening_line
from encchat.core.sealed import events as fx
from encchat.errors import EncchatError, StorageError, UsageError
from encchat.messages import Position
from encchat.text import clean, clean_line

#: Messages that were typed and are not acknowledged, above which no more input is read, and below which
#: it is read again.
HIGH_WATER, LOW_WATER = 1024, 512
#: Kinds of entry that are messages besides plain ones; what else happens goes to stderr.
SAID = frozenset({"reply", "file"})
#: Bytes of a line of JSON at most: the largest body, escaped.
MAX_JSON = 512 * 1024


class NotStored(StorageError):
    """The server has not stored anything for {seconds:g} seconds: {reason} What it has not acknowledged is
    kept here, and is sent when you next connect."""


@dataclass(frozen=True, slots=True)
class Manner:
    """How a pipe behaves: the room, JSON or not, how many older entries to show (None: go on from where
    the last run ended), and whether to stay after the end of the input."""

    room: str
    json: bool = False
    history: int | None = None
    follow: bool = False


class Pipe(Shown):
    """A console for programs. ``run`` returns the exit code: 0, or 1 if a line could not be sent."""

    def __init__(
        self,
        clock: IReactorTime,
        chat: Chat,
        manner: Manner,
        reader: Reader,
        make_writer: Callable[[Callable[[], None]], Writer],
        status: Callable[[str], None],
        progress: Progress | None = None,
    ) -> None:
        super().__init__(chat, manner.room)
        self._clock = clock
        self._chat = chat
        self._manner = manner
        self._reader = reader
        self._writer = make_writer(self._writer_changed)
        self._status = status if progress is None else progress.around(status)
        self._progress = progress
        self._commands = Commands(chat, self, self._say_command)
        self._failed = False
        self._greeted = False
        self._stalled: float | None = None
        self._caught_up = False
        self._input = JsonInput(chat, self, self._commands)
        self._number = 0
        self._quit = False
        self._fatal: Deferred[None] = Deferred()

    async def run(self) -> int:
        """Talk until the end of the input and of what it set off.

        :raises EncchatError: it cannot go on.
        """
        work = Deferred.fromCoroutine(self._work())
        await race(self._clock, work, self._fatal)
        return 1 if self._failed or self.trouble or self._writer.broken else 0

    async def _work(self) -> None:
        history = self._manner.history
        says = not (self._manner.follow or self._manner.json)
        if history and not is_open(self._manner.room):
            await self._chat.when(lambda: self._chat.session.admitted)
            self._show_again(history)
        await enter(self._chat, self._manner.room, history or 0, resume=history is None, only_says=says)
        await self._read_input()
        if self._manner.follow and not self._quit:
            await self._chat.when(lambda: self._quit)
        await self._chat.when(self._finished)
        if self._progress is not None:
            self._progress.clear()
        await self._writer.written()

    def _show_again(self, count: int) -> None:
        """Show the last entries of a sealed room that an earlier run has shown: what follows them comes from
        the server."""
        room, shown = self._manner.room, self._chat.shown(self._manner.room)
        if shown is None:
            return
        page = self._chat.sealed.history(room, shown.seq + 1, count)
        pairs = zip(page.entries, page.seals, strict=True)
        self.happened([e.NewEntry(entry, False, True, b"", Position(), seal) for entry, seal in pairs])

    def _finished(self) -> bool:
        chat = self._chat
        if chat.unacknowledged or chat.session.questions or chat.files.transfers or self.busy:
            return False
        return self._caught_up

    # ---------------------------------------------------------------------------------------- input

    async def _read_input(self) -> None:
        limit = MAX_JSON if self._manner.json else self._chat.max_body(self._manner.room)
        cutter = LineCutter(limit)
        while not self._quit:
            data = await self._reader.read()
            parts = list(cutter.feed(data) if data else cutter.end())
            for start in range(0, len(parts), HIGH_WATER):
                self._take(parts[start : start + HIGH_WATER])
                if self._progress is not None:
                    self._progress.read(len(data) if not start else 0, len(parts[start : start + HIGH_WATER]))
                    self._progress.look(self._chat.unacknowledged)
                if self._chat.unacknowledged >= HIGH_WATER:
                    await self._chat.when(lambda: self._chat.unacknowledged <= LOW_WATER)
            if not data:
                return

    def _take(self, parts: Sequence[tuple[bytes, int]]) -> None:
        if self._manner.json:
            for line, piece in parts:
                self._take_json(line, piece)
            return
        texts = []
        for line, piece in parts:
            self._number += piece <= 1
            if piece == 1:
                self._status(f"line {self._number} is too long for one message and is sent as several")
            try:
                text = line.decode("utf-8")
            except UnicodeDecodeError:
                self._wrong(UsageError(reason="The line is not UTF-8 text and was not sent."))
                continue
            if text:
                texts.append(text)
        if texts:
            self._chat.say(self._manner.room, *texts)

    def _take_json(self, line: bytes, piece: int) -> None:
        self._number += piece <= 1
        if not line.strip() or piece > 1:
            return
        ref: str | int | None = None
        try:
            if piece:
                raise jsonlines.BadInput(why=f"it has more than {MAX_JSON} bytes")
            given = jsonlines.parse(line)
            ref = given.ref
            self._input.take(given)
        except StorageError:
            raise
        except EncchatError as error:
            self._wrong(error, ref)

    def _say_command(self, room: str, kind: str, text: str) -> None:
        limit = self._chat.max_body(room)
        parts = [part.decode("utf-8") for part in pieces(text.encode("utf-8"), limit)]
        self._input.said(self._chat.say(room, *parts, kind=kind))

    def _wrong(self, error: EncchatError, ref: str | int | None = None) -> None:
        """A line of input cannot be used: say so and go on."""
        if not self._manner.json:
            self._failed = True
            self._status(f"line {self._number}: {error}")
            return
        fields: dict[str, jsonlines.Value] = {} if ref is None else {"ref": ref}
        number = self._number
        self._writer.write(
            jsonlines.line("error", code=error.code, text=clean_line(str(error)), line=number, **fields)
        )

    # --------------------------------------------------------------------------------------- output

    def happened(self, events: Sequence[e.Event]) -> None:
        """What the server said, or became of the link."""
        lines: list[bytes] = []
        for event in events:
            self._commands.notice(event)
            self.observe(event)
            self._judge(event)
            if not self._wants(event) or self._chat.hides(event):
                continue
            if self._manner.json:
                shown = jsonlines.of_event(event, self._input.ref(event), self._chat.name)
                if shown is not None:
                    room = _room_of(event)
                    conversing = is_conversation(room)
                    lines.append(jsonlines.with_title(shown, self.title(room)) if conversing else shown)
            else:
                lines += self._plain(event)
        if self._progress is not None:
            if lines:
                lines.insert(0, self._progress.make_way())
            elif any(isinstance(event, e.Acknowledged) for event in events):
                self._progress.look(self._chat.unacknowledged)
        if lines and not self._writer.broken:
            self._writer.write(b"".join(lines))
        rooms = {event.entry.room for event in events if isinstance(event, e.NewEntry)}
        rooms.update(event.room for event in events if isinstance(event, e.JoinedRoom))
        reached = self._chat.reached(rooms)
        if reached:
            self._writer.then(lambda: self._written(reached))
        if self._writer.full:
            self._chat.hold()

    def _wants(self, event: e.Event) -> bool:
        """Whether it is to be told."""
        return True

    def note(self, text: str) -> None:
        """Tell something that is no message."""
        if self._manner.json:
            self._writer.write(jsonlines.line("notice", text=text))
        else:
            self._status(text)

    def warn(self, text: str) -> None:
        """Tell what went wrong on our side."""
        self._status(text)

    def quit(self, reason: str) -> None:
        """A command ends the conversation, as the end of the input would."""
        self._quit = True

    def _plain(self, event: e.Event) -> list[bytes]:
        if isinstance(event, e.NewEntry) and event.entry.kind in TALK:
            # What this very run has sent stands in its input already.
            return [] if event.own else [_encoded(line) for line in talk_lines(event.entry)]
        if isinstance(event, e.NewEntry) and event.entry.kind in SAID:
            return [_encoded(happening_line(event.entry))]
        match event:
            case e.NewEntry():
                self._status(happening_line(titled(event.entry, self._chat.name)))
            case e.SealedNews(news):
                self._each([text for _, text in news_lines(news, self._chat.name)])
            case e.RoomsListed() | e.ProfileFound() | e.RoomDescribed() | e.LinkCode():
                self._each(answer_lines(titled(event, self._chat.name)))
            case e.Admitted():
                self._each([status_line(event) or ""])
                if not self._greeted:
                    self._greeted = True
                    self._each(clean(event.motd).splitlines())
            case _:
                words = status_line(titled(event, self._chat.name))
                if words is not None:
                    self._status(words)
        return []

    def _each(self, lines: Sequence[str]) -> None:
        for line in lines:
            self._status(line)

    def _judge(self, event: e.Event) -> None:
        """What an event means for when and how this ends."""
        match event:
            case e.NotSent() | e.FileFailed():
                self._failed = True
            case e.NotJoined() | e.PutOut() if event.room == self._manner.room:
                self._give_up(CannotJoin(room=event.room, reason=event.text))
            case e.CaughtUp() if event.room == self._manner.room:
                self._caught_up = True
            case e.JoinedRoom() if event.room == self._manner.room:
                self._caught_up = event.start.seq >= event.head.seq
            case e.SealedNews(news):
                self._judge_news(news)
            case e.Acknowledged():
                self._stalled = None
            case e.Delayed():
                now = self._clock.seconds()
                if self._stalled is None:
                    self._stalled = now
                elif now - self._stalled >= PATIENCE:
                    self._give_up(NotStored(seconds=PATIENCE, reason=event.text))

    def _judge_news(self, news: fx.Event) -> None:
        """Nobody is here to decide, unless something goes on listening."""
        if self._manner.follow or self._manner.json:
            return
        here = getattr(news, "room", "") == self._manner.room
        out = isinstance(news, fx.DeviceReady) and not news.listed and not is_open(self._manner.room)
        if out or (isinstance(news, fx.SendBlocked | fx.RolledBack) and here):
            words = " ".join(text.strip() for _, text in news_lines(news, self._chat.name))
            self._give_up(Withheld(reason=words))

    def _give_up(self, error: EncchatError) -> None:
        if not self._fatal.called:
            self._fatal.errback(error)

    def _written(self, reached: dict[str, Position]) -> None:
        if not self._writer.broken:
            self._chat.mark(reached)
            self._chat.read(reached)

    def _writer_changed(self) -> None:
        if self._writer.broken:
            if not self._fatal.called:
                self._fatal.callback(None)
        elif not self._writer.full:
            self._chat.release()


def _room_of(event: e.Event) -> str:
    about = getattr(event, "entry", None) or getattr(event, "item", None) or getattr(event, "news", event)
    return str(getattr(about, "room", ""))


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "replace") + b"\n"
