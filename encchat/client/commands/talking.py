"""The slash commands that say something: what is typed becomes an entry of the current room.

What somebody means by a number or a name is looked up in what was shown lately; whether it may be changed or
taken back, only the server decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat.client.commands.command import Command
from encchat.client.view.entrylines import content_of, name_key
from encchat.client.view.memory import EDITABLE, SAID
from encchat.contents import MAX_TEXT, Content, Delete, Edit, Reaction, Reply, body_of
from encchat.core.words import said
from encchat.errors import UsageError
from encchat.messages import Entry
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.client.commands.table import Commands

#: Characters of a reaction.
MAX_SIGN = 32


class NothingYet(UsageError):
    """{what} Give a number: /numbers on shows them, and so do /history and /search."""


class TooMuch(UsageError):
    """That is too long for one message. Say it in two."""


def number_of(word: str) -> int | None:
    """The number that ``41`` or ``#41`` means."""
    digits = word.removeprefix("#")
    return int(digits) if digits.isascii() and digits.isdecimal() and 0 < len(digits) <= 18 else None


def send(c: Commands, kind: str, content: Content) -> None:
    """Say it in the current room.

    :raises TooMuch: it is too long.
    """
    body = body_of(content)
    if len(body) > c.chat.max_body(c.current_room()):
        raise TooMuch()
    c.talk(body.decode(), kind)


def _me(c: Commands, rest: str) -> None:
    if not rest:
        c.teach("me")
    c.talk(rest, "me")


def _reply(c: Commands, rest: str) -> None:
    room = c.current_room()
    word, _, more = rest.partition(" ")
    target = _meant(c, room, word) if more.strip() else None
    text = more.strip() if target is not None else rest
    if not text:
        c.teach("reply")
    if target is None:
        target = _last_of_others(c, room)
    if len(text) > MAX_TEXT:
        raise TooMuch()
    send(c, "reply", Reply(target, text))


def _meant(c: Commands, room: str, word: str) -> int | None:
    """The entry that the first word of a reply names, if it names one: by its number, or by who said it."""
    number = number_of(word)
    if number is not None:
        known = c.screen.memory.entry(room, number) is not None
        return number if known or word.startswith("#") else None
    key = name_key(word.removeprefix("@").rstrip(":,"))
    speaker = next((name for name in c.screen.memory.speakers(room) if name_key(name) == key), None)
    entry = None if speaker is None else c.screen.memory.last(room, SAID, speaker)
    return None if entry is None else entry.seq


def _last_of_others(c: Commands, room: str) -> int:
    others = [name for name in c.screen.memory.speakers(room) if name != c.chat.name]
    entry = c.screen.memory.last(room, SAID, others[0]) if others else None
    if entry is None:
        raise NothingYet(what="Nobody else has said anything here lately.")
    return entry.seq


def _own(c: Commands, room: str, kinds: frozenset[str]) -> Entry:
    entry = c.screen.memory.last(room, kinds, c.chat.name)
    if entry is None:
        raise NothingYet(what="You have said nothing here lately.")
    return entry


def _edit(c: Commands, rest: str) -> None:
    room = c.current_room()
    word, _, more = rest.partition(" ")
    number = number_of(word)
    entry = None if number is None else c.screen.memory.entry(room, number)
    if number is not None and not word.startswith("#"):  # else it is the text's own first word
        number = number if entry is not None and entry.sender == c.chat.name else None
    text = rest if number is None else more.strip()
    if not text:
        entry = entry if number is not None and entry is not None else _own(c, room, EDITABLE)
        if not c.screen.prefill(f"/edit #{entry.seq} {clean_line(_now_says(entry))}"):
            c.teach("edit")
        return
    if len(text) > MAX_TEXT:
        raise TooMuch()
    send(c, "edit", Edit(_own(c, room, EDITABLE).seq if number is None else number, text))


def _now_says(entry: Entry) -> str:
    content = content_of(entry)
    return content.text if isinstance(content, Reply) else said(entry)


def _delete(c: Commands, rest: str) -> None:
    room = c.current_room()
    number = number_of(rest) if rest else _own(c, room, SAID).seq
    if number is None:
        c.teach("delete")
    send(c, "delete", Delete(number))


def _react(c: Commands, rest: str) -> None:
    _put(c, "react", rest, undo=False)


def _unreact(c: Commands, rest: str) -> None:
    _put(c, "unreact", rest, undo=True)


def _put(c: Commands, command: str, rest: str, *, undo: bool) -> None:
    room = c.current_room()
    words = rest.split()
    number = number_of(words[1]) if len(words) == 2 else None
    if not words or len(words) > 2 or len(words[0]) > MAX_SIGN or (len(words) == 2 and number is None):
        c.teach(command)
    send(c, "reaction", Reaction(_last_of_others(c, room) if number is None else number, words[0], undo))


COMMANDS = (
    Command(
        "me",
        "ACTION",
        "say what you do: /me waves",
        _me,
        "as in /me waves, which shows as: * alice waves",
    ),
    Command(
        "reply",
        "[NUMBER|NAME] TEXT",
        "answer a message: that of a number, the last one of somebody, or the last one",
        _reply,
        "as in /reply bob yes, or /reply #41 yes; without either it answers the last one who spoke",
    ),
    Command(
        "edit",
        "[NUMBER] TEXT",
        "correct a message of yours, the last one if you give no number",
        _edit,
        "as in /edit #41 the build is green; alone it puts your last message into the line",
    ),
    Command(
        "delete",
        "[NUMBER]",
        "take back a message of yours, the last one if you give no number; moderators, of anybody",
        _delete,
        "as in /delete #41. Who has read it has read it, and the room's log still holds it",
    ),
    Command(
        "react",
        "SIGN [NUMBER]",
        "put a sign to a message: /react +1",
        _react,
        "as in /react +1 or /react 👍 #41; without a number it is for the last one who spoke",
    ),
    Command("unreact", "SIGN [NUMBER]", "take your sign back", _unreact, "as in /unreact +1 #41"),
)
