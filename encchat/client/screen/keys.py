"""The keys beyond those of every line editor, and what each does.

Those of a line editor (C-a, C-e, C-w, C-y, C-r...) are prompt_toolkit's, which are Emacs's and readline's.
``helping.KEYS`` tells all of them in words.
"""

from __future__ import annotations

import os
import signal
from typing import Protocol

from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, Filter, has_focus
from prompt_toolkit.input.vt100 import cooked_mode
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

#: What C-c twice on an empty line ends with.
INTERRUPTED = 130


class Desk(Protocol):
    """What the keys do."""

    @property
    def asking(self) -> bool: ...
    @property
    def question(self) -> str: ...
    @property
    def text(self) -> str: ...
    def may_send(self, text: str) -> bool: ...
    def refuse(self) -> None: ...
    def entered(self, text: str) -> None: ...
    def pasted(self, data: str, already: str) -> str: ...
    def complete(self, before: str, by: int) -> str | None: ...
    def go_to(self, number: int) -> None: ...
    def go_beside(self, step: int) -> None: ...
    def go_unread(self) -> None: ...
    def paged(self) -> None: ...
    def cleared(self) -> None: ...
    def interrupted(self) -> bool: ...
    def leave(self, code: int) -> None: ...


def bindings(desk: Desk) -> KeyBindings:
    """The keys of a desk."""
    keys = KeyBindings()
    asking = Condition(lambda: desk.asking)
    typing = has_focus(DEFAULT_BUFFER) & ~asking
    _line_keys(keys, desk, typing)
    _room_keys(keys, desk, typing)

    @keys.add("y", filter=asking, eager=True)
    @keys.add("Y", filter=asking, eager=True)
    @keys.add("enter", filter=asking, eager=True)
    def _yes(event: KeyPressEvent) -> None:
        _take(event, desk)

    @keys.add("<any>", filter=asking, eager=True)
    def _other(event: KeyPressEvent) -> None:
        """Anything else is no answer."""

    @keys.add("n", filter=asking, eager=True)
    @keys.add("N", filter=asking, eager=True)
    @keys.add("escape", filter=asking, eager=True)
    @keys.add("c-c", filter=asking, eager=True)
    def _no(event: KeyPressEvent) -> None:
        desk.refuse()

    return keys


def _take(event: KeyPressEvent, desk: Desk) -> None:
    """Take the line as it is, and have an empty one."""
    buffer = event.current_buffer
    text = buffer.text
    if text.strip() and not desk.question:
        buffer.append_to_history()
    buffer.reset()
    desk.entered(text)


def _line_keys(keys: KeyBindings, desk: Desk, typing: Filter) -> None:
    @keys.add("enter", filter=typing)
    def _enter(event: KeyPressEvent) -> None:
        if desk.may_send(event.current_buffer.text):
            _take(event, desk)

    @keys.add("escape", "enter", filter=typing)
    def _newline(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("<bracketed-paste>", filter=typing)
    def _paste(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text(desk.pasted(event.data, event.current_buffer.text))

    @keys.add("tab", filter=typing)
    def _tab(event: KeyPressEvent) -> None:
        _complete(event, desk, 1)

    @keys.add("s-tab", filter=typing)
    def _back_tab(event: KeyPressEvent) -> None:
        _complete(event, desk, -1)

    @keys.add("c-c", filter=typing)
    def _clear(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
            desk.cleared()
        elif desk.interrupted():
            desk.leave(INTERRUPTED)

    @keys.add("c-d", filter=typing & Condition(lambda: not desk.text))
    def _end(event: KeyPressEvent) -> None:
        desk.leave(0)

    @keys.add("c-z")
    def _suspend(event: KeyPressEvent) -> None:
        """As prompt_toolkit does; and when it goes on, keys are keys again, whatever the shell has made of
        the terminal (``window.Keyboard`` leaves it as it is)."""
        keyboard = event.app.input

        def stop() -> None:
            with cooked_mode(keyboard.fileno()):
                os.kill(0, signal.SIGTSTP)

        run_in_terminal(stop)

    @keys.add("c-j", filter=typing)  # what a paste without brackets has at its lines' ends
    def _line_feed(event: KeyPressEvent) -> None:
        _enter(event)


def _complete(event: KeyPressEvent, desk: Desk, by: int) -> None:
    buffer = event.current_buffer
    before = buffer.document.text_before_cursor
    after = desk.complete(before, by)
    if after is not None:
        buffer.delete_before_cursor(len(before))
        buffer.insert_text(after)


def _room_keys(keys: KeyBindings, desk: Desk, typing: Filter) -> None:
    for number in range(1, 11):

        @keys.add("escape", str(number % 10), filter=typing)
        def _go(event: KeyPressEvent, number: int = number) -> None:
            desk.go_to(number)

    @keys.add("pageup", filter=typing)
    @keys.add("pagedown", filter=typing)
    def _page(event: KeyPressEvent) -> None:
        desk.paged()

    @keys.add("escape", "a", filter=typing)
    def _unread(event: KeyPressEvent) -> None:
        desk.go_unread()

    @keys.add("escape", "left", filter=typing)
    def _before(event: KeyPressEvent) -> None:
        desk.go_beside(-1)

    @keys.add("escape", "right", filter=typing)
    def _after(event: KeyPressEvent) -> None:
        desk.go_beside(1)
