"""A program on a pseudo-terminal, and the screen that a person would see.

The terminal is emulated by pyte; a test waits for what the screen shows, never for a time.
"""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
from typing import Any

import pyte

from tests.process.harness import Child, reactor


class Screen(Child):
    """A child whose stdin, stdout and stderr are a terminal of ``columns`` by ``rows``."""

    def __init__(self, name: str, columns: int = 80, rows: int = 24) -> None:
        super().__init__(name)
        self.raw = b""
        self._screen = pyte.HistoryScreen(columns, rows, history=10_000)
        self._screen.write_process_input = self._reply
        self._stream = pyte.ByteStream(self._screen)

    # what tests use

    @property
    def lines(self) -> list[str]:
        """What the screen shows, without the spaces at the ends of lines."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """What the screen shows, from its first line to the last one that holds anything."""
        return "\n".join(self.lines).rstrip("\n")

    @property
    def cells(self) -> list[list[Any]]:
        """The characters on the screen with their colours, by row."""
        buffer, columns = self._screen.buffer, self._screen.columns
        return [[buffer[row][column] for column in range(columns)] for row in range(self._screen.lines)]

    @property
    def title(self) -> str:
        """The title of the window, if the program set one."""
        return str(self._screen.title)

    @property
    def scrollback(self) -> str:
        """What was scrolled off the top, and then the screen."""
        gone = ["".join(line[x].data for x in range(self._screen.columns)).rstrip() for line in self._history]
        return "\n".join([*gone, self.text])

    @property
    def _history(self) -> Any:
        return self._screen.history.top

    def said(self, words: str) -> bool:
        """Whether ``words`` were shown, wherever the lines were broken."""
        return "".join(words.split()) in "".join(self.scrollback.split())

    async def shows(self, part: str) -> None:
        """Wait until the screen shows ``part``."""
        await self.until(lambda: part in self.text, f"{part!r} on the screen")

    async def told(self, part: str) -> None:
        """Wait until ``part`` was shown, on the screen or off its top by now, wherever lines were broken."""
        await self.until(lambda: self.said(part), f"{part!r} told")

    async def hides(self, part: str) -> None:
        """Wait until the screen no longer shows ``part``."""
        await self.until(lambda: part not in self.text, f"screen without {part!r}")

    def press(self, keys: str) -> None:
        """Press keys."""
        self.transport.write(keys.encode())

    def enter(self, line: str) -> None:
        """Type a line, and Enter."""
        self.press(line + "\r")

    def resize(self, columns: int, rows: int) -> None:
        """The window changes its size; the kernel tells the program."""
        self._screen.resize(rows, columns)
        _set_size(self._master, columns, rows)

    def hang_up(self) -> None:
        """The window is closed; the kernel tells the program."""
        self.transport.loseConnection()

    def report(self) -> str:
        """The screen, for the message of a failure."""
        return f"{super().report()}\n--- screen\n{self.scrollback}"

    # underneath

    def start(self, command: list[str], environment: dict[str, str], directory: str) -> None:
        """Start a command on the terminal."""
        master, slave = pty.openpty()
        self._master = master
        _set_size(slave, self._screen.columns, self._screen.lines)
        reactor.spawnProcess(
            self,
            command[0],
            command,
            env={"TERM": "xterm-256color", "LANG": "C.UTF-8", **environment},
            path=directory,
            usePTY=(master, slave, os.ttyname(slave)),
        )

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        self.raw += data
        self._stream.feed(data)
        super().childDataReceived(1, data)

    def _reply(self, data: str) -> None:
        """What the terminal answers to a question of the program."""
        self.transport.write(data.encode())


def _set_size(handle: int, columns: int, rows: int) -> None:
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
