"""Who listens to a prompt: what is told, and what stands around the line until somebody does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Listener(Protocol):
    """Who is told what is typed, and says what stands around the line."""

    @property
    def question(self) -> str: ...
    def label(self) -> str: ...
    def bar(self, before: str, columns: int) -> str: ...
    def entered(self, text: str) -> None: ...
    def warn(self, text: str) -> None: ...
    def complete(self, before: str, by: int) -> str | None: ...
    def go_to(self, number: int) -> None: ...
    def go_beside(self, step: int) -> None: ...
    def go_unread(self) -> None: ...
    def paged(self) -> None: ...
    def refused(self) -> None: ...
    def interrupted(self) -> None: ...


class Early:
    """Listens before anybody else does: what is entered is kept, to be told in its order."""

    question = ""

    def __init__(self, label: str, bar: Callable[[int], str]) -> None:
        self._label = label
        self._bar = bar
        self._kept: list[Callable[[Listener], None]] = []

    def label(self) -> str:
        """The room that was asked for."""
        return self._label

    def bar(self, before: str, columns: int) -> str:
        """That there is no connection yet."""
        return self._bar(columns)

    def entered(self, text: str) -> None:
        """Keep it."""
        self._kept.append(lambda listener: listener.entered(text))

    def warn(self, text: str) -> None:
        """Keep it."""
        self._kept.append(lambda listener: listener.warn(text))

    def tell(self, listener: Listener) -> None:
        """Tell what was kept."""
        for one in self._kept:
            one(listener)

    def complete(self, before: str, by: int) -> str | None:
        """Nothing is known yet."""
        return None

    def go_to(self, number: int) -> None:
        """There is no other room yet."""

    def go_beside(self, step: int) -> None:
        """There is no other room yet."""

    def go_unread(self) -> None:
        """There is no other room yet."""

    def paged(self) -> None:
        """There is nothing above yet."""

    def refused(self) -> None:
        """There is no question."""

    def interrupted(self) -> None:
        """Keep it."""
        self._kept.append(lambda listener: listener.interrupted())
