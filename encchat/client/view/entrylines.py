"""How entries read in a scrollback, where nothing that was shown can be changed any more.

So a reply quotes a few words of what it answers; an edit, a deletion or a reaction is a line of its own
that says what it is about. Everything is clean (``encchat.text``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from encchat.client.view.colours import Line, name_style
from encchat.client.view.memory import SAID, Memory
from encchat.client.view.notify import mentions
from encchat.client.view.show import body_lines, moment
from encchat.client.view.titles import title, titled
from encchat.contents import CONTENTS, Content, File, NoContent, Reply, parse
from encchat.core.names import BadName, parse_name
from encchat.core.plain import TALK, happening_line, shown_name, size_words
from encchat.core.words import said
from encchat.messages import Entry
from encchat.text import clean, clean_line

#: Characters of a message that are quoted.
QUOTED = 32
#: What begins the further lines of a message, so that they stand out from what others might have said.
FURTHER: Line = [("time", "      | ")]


class EntryLines:
    """Turns entries into lines. ``shown`` says which room the screen shows, ``me`` what we are called."""

    def __init__(self, memory: Memory, shown: Callable[[], str | None], me: Callable[[], str]) -> None:
        self._memory = memory
        self._shown = shown
        self._me = me
        #: The entry that was judged last, which is asked for more than once.
        self._judged: tuple[Entry | None, bool] = None, False
        #: Whether each line begins with the entry's number.
        self.numbers = False

    def lines(self, entry: Entry, *, numbered: bool = False) -> list[Line]:
        """An entry as it is shown; ``numbered``: with its number, whatever is set."""
        start: Line = [("time", moment(entry.time, "%H:%M") + " ")]
        if self.numbers or numbered:
            start.append(("time", f"#{entry.seq} "))
        if entry.room != self._shown():
            start.append(("room", f"[{title(entry.room, self._me())}] "))
        content = content_of(entry)
        if entry.kind in TALK:
            first, *others = body_lines(entry)
        elif isinstance(content, Reply):
            first, *others = clean(content.text).split("\n")
        elif isinstance(content, File):
            first, others = f"[file #{entry.seq}: {file_words(content)}; /save {entry.seq} fetches it]", []
        else:
            target = self._memory.entry(entry.room, getattr(content, "target", 0))
            shown = titled(entry, self._me())
            return [[*start, ("note", f"-- {happening_line(shown, target)}")]]
        who = (self._style(entry, "\n".join([first, *others])), shown_name(entry.sender))
        if entry.kind == "me":
            start += [("", "* "), who, ("", f" {first}")]
        elif isinstance(content, Reply):
            start += [who, ("", ": "), ("note", f"[{self._to(entry.room, content.target)}] "), ("", first)]
        else:
            start += [who, ("", f": {first}")]
        return [start, *([*FURTHER, ("", line)] for line in others)]

    def found(self, entry: Entry, fate: Entry | None) -> list[Line]:
        """An entry that is shown again, with its number; ``fate``: what took it back, or corrected it."""
        if fate is not None and fate.kind == "delete":
            words = f"#{entry.seq} {shown_name(entry.sender)}: (taken back in #{fate.seq})"
            return [[("time", moment(entry.time, "%H:%M") + " "), ("note", words)]]
        lines = self.lines(entry, numbered=True)
        if fate is not None:
            lines[-1].append(("note", f"  (corrected in #{fate.seq})"))
        return lines

    def waiting(self, room: str, kind: str, text: str, time: int) -> list[Line]:
        """What was typed and is not stored by the server yet."""
        first, *others = clean(text).split("\n")
        name = shown_name(self._me())
        words = f"* {name} {first}" if kind == "me" else f"{name}: {first}"
        where = f"[{title(room, self._me())}] " if room != self._shown() else ""
        lines: list[Line] = [[("waiting", f"{moment(time, '%H:%M')} {where}{words}")]]
        lines += [[("waiting", f"      | {line}")] for line in others]
        lines[-1].append(("waiting", "  (queued)"))
        return lines

    def is_for_me(self, entry: Entry) -> bool:
        """Whether somebody else says our name, or answers us."""
        known, answer = self._judged
        if known is not entry:
            answer = self._is_for_me(entry)
            self._judged = entry, answer
        return answer

    def _is_for_me(self, entry: Entry) -> bool:
        me = self._me()
        if entry.sender == me or entry.kind not in SAID:
            return False
        content = content_of(entry)
        if isinstance(content, Reply):
            target = self._memory.entry(entry.room, content.target)
            if target is not None and target.sender == me:
                return True
        return mentions(said(entry), me)

    def _style(self, entry: Entry, text: str) -> str:
        if entry.sender == self._me():
            return "own"
        return "mention" if self.is_for_me(entry) else name_style(name_key(entry.sender))

    def _to(self, room: str, number: int) -> str:
        target = self._memory.entry(room, number)
        return f"to #{number}" if target is None else f"to {shown_name(target.sender)}, {quote(target)}"


def content_of(entry: Entry) -> Content | None:
    """What the body of a reply, edit, deletion, reaction or file says; None for another kind, or a body that
    is none."""
    if entry.kind not in CONTENTS:
        return None
    try:
        return parse(entry.kind, entry.body)
    except NoContent:
        return None


def quote(entry: Entry) -> str:
    """The first words of an entry in quotation marks, or its number."""
    words = clean_line(said(entry)).strip()
    if not words:
        return f"#{entry.seq}"
    return f'"{words}"' if len(words) <= QUOTED else f'"{words[: QUOTED - 1].rstrip()}…"'


def file_words(file: File) -> str:
    """A file's name and size: ``report.pdf, 1.2 MiB``."""
    return f"{clean_line(file.name, 100) or '?'}, {size_words(file.size)}"


@lru_cache(maxsize=1000)
def name_key(name: str) -> str:
    """What a name is compared by; the name itself if it cannot be one."""
    try:
        return parse_name(name).key
    except BadName:
        return name
