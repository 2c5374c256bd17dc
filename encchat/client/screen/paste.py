"""Lines that are pasted: many of them are one message, and only after a question.

A paste into the wrong window says everything to everybody; and a paste that is sent line by line floods the
room. What is far too long for a message is not taken at all.
"""

from __future__ import annotations

from encchat.errors import UsageError

#: Characters and lines of what is typed at most.
MAX_CHARACTERS, MAX_LINES = 64 * 1024, 1000


class TooLong(UsageError):
    """That is {lines} lines with {characters} characters, more than is typed here. Send it as a file: /file
    PATH"""


class Pasting:
    """Whether what stands in the line has been pasted, and is to be asked about."""

    def __init__(self) -> None:
        self._pasted = False
        self.asking = False

    def paste(self, data: str, already: str) -> str:
        """What is inserted of a paste.

        :raises TooLong: nothing of it.
        """
        data = data.replace("\r\n", "\n").replace("\r", "\n").expandtabs(4)
        data = data.removesuffix("\n")  # it would only be an empty line
        lines, characters = already.count("\n") + data.count("\n") + 1, len(already) + len(data)
        if lines > MAX_LINES or characters > MAX_CHARACTERS:
            raise TooLong(lines=lines, characters=characters)
        self._pasted = self._pasted or "\n" in data
        return data

    def may_send(self, text: str) -> bool:
        """Whether ``text`` is to be sent now, and not to be asked about first."""
        self.asking = self._pasted and "\n" in text and not self.asking
        return not self.asking

    def kept(self) -> None:
        """The answer is no: it stays in the line."""
        self.asking = False

    def cleared(self) -> None:
        """The line is empty again."""
        self._pasted = self.asking = False

    def question(self, text: str) -> str:
        """What is asked."""
        return f"send {text.count(chr(10)) + 1} lines as one message? y/n"
