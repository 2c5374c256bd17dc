"""Which console a run of the client has: for a person, for a program, or for one errand."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from encchat.cli.client_run import Program
from encchat.client.chat import Chat
from encchat.client.events import Acknowledged, FileGiven, FileSaved
from encchat.client.streams.lines import Reader, Writer
from encchat.core.names import is_open
from encchat.library.opening import milliseconds

if TYPE_CHECKING:
    from encchat.client.screen.prompt import Prompt
    from encchat.client.streams.progress import Progress


def progress_on(reactor: Any) -> Progress | None:
    """A line on stderr about a large input, where that is a terminal and the input is none."""
    if sys.stderr is None or not os.isatty(2) or os.isatty(0) or os.environ.get("TERM", "") in ("dumb", ""):
        return None
    from encchat.client.streams.progress import Progress

    found = os.fstat(0)

    def write(text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()

    size = found.st_size if stat.S_ISREG(found.st_mode) else None
    return Progress(reactor, write, size, shared=os.isatty(1))


class Consoles:
    """Makes the one that a program needs; each is imported when it is."""

    def __init__(self, program: Program, reactor: Any, chat: Chat, status: Callable[[str], None]) -> None:
        self.program = program
        self._reactor = reactor
        self._chat = chat
        self._status = status

    def make(self, prompt: Prompt | None) -> Any:
        """The console; on a terminal it listens to ``prompt``."""
        options, reactor, chat = self.program.options, self._reactor, self._chat
        if self.program.restored is not None:
            from encchat.client.commands.backing import Restoring

            return Restoring(chat, self.program.restored, self._status)
        if options.send:
            from encchat.client.pipe.sending import Sending

            return Sending(reactor, chat, self.program.room, options.send[1], self._status)
        if options.send_file or options.get:
            return self._carrying()

        def writer(changed: Callable[[], None]) -> Writer:
            return Writer(reactor, 1, changed)

        if prompt is not None:
            from encchat.client.screen.terminal import Terminal

            address = str(self.program.address)
            return Terminal(reactor, chat, self.program.room, address, options.history, prompt)
        if self.program.interactive:
            from encchat.client.screen.linear import Linear

            return Linear(reactor, chat, self.program.room, options.history, Reader(reactor, 0), writer)
        from encchat.client.pipe.pipe import Manner, Pipe

        manner = Manner(self.program.room, options.json, options.history, options.follow)
        if self.program.span:
            return self._extract()(
                reactor,
                chat,
                manner,
                self.program.span,
                Reader(reactor, 0),
                writer,
                self._status,
                milliseconds,
            )
        return Pipe(reactor, chat, manner, Reader(reactor, 0), writer, self._status, progress_on(reactor))

    def _extract(self) -> Any:
        if is_open(self.program.room):
            from encchat.client.pipe.extract import Extract

            return Extract
        from encchat.client.pipe.sealedextract import SealedExtract

        return SealedExtract

    def _carrying(self) -> Any:
        from encchat.client.pipe.carrying import Carrying, result_fields
        from encchat.client.pipe.jsonlines import line

        options, reactor, chat = self.program.options, self._reactor, self._chat

        def start() -> int:
            if options.send_file:
                return chat.files.give(self.program.room, options.send_file[1])
            assert options.get is not None
            return chat.files.fetch(self.program.room, options.get[1], options.to)

        def done(event: FileGiven | FileSaved, sent: Acknowledged | None) -> None:
            if options.json:
                word = "sent" if isinstance(event, FileGiven) else "file-saved"
                print(line(word, **result_fields(event, sent)).decode(), end="", flush=True)
            elif isinstance(event, FileSaved):
                print(event.path, flush=True)

        progress = sys.stderr is not None and sys.stderr.isatty()
        return Carrying(reactor, chat, self.program.room, start, done, self._status, progress=progress)
