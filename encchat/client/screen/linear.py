"""The console for screen readers and simple terminals: lines in, lines out, nothing is redrawn."""

from __future__ import annotations

import termios
from collections.abc import Callable, Sequence
from contextlib import suppress

from twisted.internet.interfaces import IReactorTime

from encchat.client.chat import Chat
from encchat.client.screen.console import PersonConsole
from encchat.client.streams.lines import LineCutter, Reader, Writer
from encchat.client.view.colours import Line

#: Bytes of one typed line at most; a terminal gives no longer ones.
MAX_TYPED = 64 * 1024


class Linear(PersonConsole):
    """Reads lines as the terminal gives them, which shows them while they are typed."""

    echoes = True

    def __init__(
        self,
        clock: IReactorTime,
        chat: Chat,
        room: str,
        history: int | None,
        reader: Reader,
        make_writer: Callable[[Callable[[], None]], Writer],
    ) -> None:
        super().__init__(clock, chat, room, history)
        self._reader = reader
        self._writer = make_writer(self._writer_changed)

    async def run(self) -> int:
        """As the base, and everything is on the screen at the end."""
        try:
            code = await super().run()
        finally:
            self.answer(None)
        await self._writer.written()
        return code

    def show(self, lines: Sequence[Line]) -> None:
        """Write lines; what was shown is not told again by the next run."""
        text = "".join("".join(piece for _, piece in line) + "\n" for line in lines)
        self._writer.write(text.encode("utf-8", "replace"))
        reached = self.chat.reached(self.chat.session.rooms)
        self._writer.then(lambda: self.seen(reached))
        if self._writer.full:
            self.chat.hold()

    def hide(self, question: str) -> None:
        """Turn off the terminal's echo, or on."""
        with suppress(termios.error, OSError, ValueError):
            found = termios.tcgetattr(0)
            found[3] = found[3] & ~termios.ECHO if question else found[3] | termios.ECHO
            termios.tcsetattr(0, termios.TCSANOW, found)
        if question:  # only now: who answers fast must not be seen
            self.note(f"{question} (it is not shown; an empty line stops)")

    def signal(self, code: str) -> None:
        """A bell is heard where lines are read, too."""
        self._writer.write(code.encode("utf-8", "replace"))

    async def converse(self) -> None:
        """Read lines to the end of the input."""
        await self.chat.when(lambda: self.ready)
        cutter = LineCutter(MAX_TYPED)
        while data := await self._reader.read():
            for line, _ in cutter.feed(data):
                self.typed(line.decode("utf-8", "replace"))

    def _writer_changed(self) -> None:
        if self._writer.broken:
            self.finish(1)
        elif not self._writer.full:
            self.chat.release()
