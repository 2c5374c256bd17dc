"""An entry in plain words: the one form that the classic bridge and all consoles show.

Bodies are what somebody sent: those of acts, and of replies, edits and the like, are JSON that is bounded,
checked and cleaned here, and one that has not the shape of its kind is told as something that nobody can
read. What another entry is about is shown with that entry's first words where the caller has it, and with
its number elsewhere; whether somebody may correct or take back that one is not judged here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, TypeGuard

import msgspec
from msgspec import Meta, Struct

from encchat.contents import CONTENTS, Content, Delete, Edit, File, NoContent, Reaction, Reply, parse
from encchat.core.sealedwords import STANDING_IN, sealed_line
from encchat.core.words import said
from encchat.messages import Count, Entry
from encchat.text import clean_line

#: Kinds of entries that are messages; others are told in a line of their own.
TALK = frozenset({"text", "me"})

#: Characters of another entry that are quoted.
QUOTED = 40

_Fact = Annotated[str, Meta(max_length=1000)]


class Facts(Struct, frozen=True):
    """What the body of an act may say; see ``core/moderation/moderation.py``, which writes it."""

    name: _Fact = ""
    seconds: Count = 0
    reason: _Fact = ""
    role: _Fact = ""
    access: _Fact = ""
    topic_by: _Fact = ""


_decoder = msgspec.json.Decoder(Facts)

#: The units of a duration in seconds, the longest first.
UNITS: Mapping[str, int] = {"day": 86_400, "hour": 3600, "minute": 60, "second": 1}


def duration(seconds: int) -> str:
    """A duration above 0 in words, exactly: ``2 hours``, ``90 seconds``."""
    unit, size = next((unit, size) for unit, size in UNITS.items() if seconds % size == 0)
    count = seconds // size
    return f"{count:,} {unit}" if count == 1 else f"{count:,} {unit}s"


def shown_name(name: str) -> str:
    """A name from the network, safe to show."""
    return clean_line(name, 64) or "?"


def entry_line(entry: Entry, target: Entry | None = None) -> str | None:
    """An entry as one line, as IRC clients write it: ``alice: text``, ``* alice waves``, ``* alice banned
    bob``. ``target`` is the entry that it is about, where the caller has it. None for a kind that this
    version does not know."""
    if entry.kind == "text":
        return f"{shown_name(entry.sender)}: {_text(entry)}"
    if entry.kind == "me":
        return f"* {shown_name(entry.sender)} {_text(entry)}"
    if entry.kind == "topic":
        return f"* {shown_name(entry.sender)} set the topic: {_text(entry)}"
    if entry.kind in ("reply", "reaction"):
        return happening_line(entry, target)
    return f"* {happening_line(entry)}" if entry.kind in ACTS or entry.kind in CONTENTS else None


def happening_line(entry: Entry, target: Entry | None = None) -> str:
    """An entry that is no plain message, in one line: ``alice banned bob for 2 hours: spam``, ``alice: (to
    bob: "shall we?") yes``. ``target`` is the entry that it is about, where the caller has it."""
    name = shown_name(entry.sender)
    if entry.kind == "topic":
        topic = clean_line(_text(entry), 1000)
        return (
            f"{name} set the topic of {clean_line(entry.room)} to: {topic}"
            if topic
            else f"{name} cleared the topic"
        )
    kind = clean_line(entry.kind, 32)
    if entry.kind in STANDING_IN:
        return sealed_line(entry)
    if entry.kind in CONTENTS:
        try:
            content = parse(entry.kind, entry.body)
        except NoContent:
            return f"{name} did something ({kind})"
        return f"{name}{_content(content, entry, target)}"
    if entry.kind not in ACTS:
        return f"{name} sent something that this version cannot show ({kind})"
    try:
        facts = _decoder.decode(entry.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return f"{name} did something ({kind})"
    words = ACTS[entry.kind](facts)
    if words is None:
        return f"{name} did something ({kind})"
    reason = clean_line(facts.reason, 200)
    return f"{name} {words}: {reason}" if reason else f"{name} {words}"


def _text(entry: Entry) -> str:
    return clean_line(entry.body.decode("utf-8", "replace"))


def _content(content: Content, entry: Entry, target: Entry | None) -> str:
    """What follows the sender's name."""
    match content:
        case Reply():
            to = _quote(target) if _is_at(target, content.target) else f"#{content.target}"
            return f": (to {to}) {clean_line(content.text)}"
        case Edit():
            return f" corrects #{content.target}: {clean_line(content.text)}"
        case Delete():
            if _is_at(target, content.target) and target.sender != entry.sender:
                return f" hides #{content.target} ({_quote(target)})"
            return f" takes back #{content.target}"
        case Reaction():
            sign = clean_line(content.sign, 32) or "?"
            to = f" to #{content.target}"
            if _is_at(target, content.target):
                to = f"{to} ({_quote(target)})"
            return f" takes back {sign}{to}" if content.undo else f": {sign}{to}"
        case File():
            return f" offers the file {clean_line(content.name, 120) or '?'} ({size_words(content.size)})"


def _is_at(entry: Entry | None, seq: int) -> TypeGuard[Entry]:
    return entry is not None and entry.seq == seq


def _quote(entry: Entry) -> str:
    """Who said it, and the first words."""
    words = clean_line(said(entry), QUOTED).strip()
    return f'{shown_name(entry.sender)}: "{words}"' if words else f"{shown_name(entry.sender)}, #{entry.seq}"


#: The units of a size in bytes, the largest first.
SIZES: Mapping[str, int] = {"TiB": 2**40, "GiB": 2**30, "MiB": 2**20, "KiB": 2**10}


def size_words(size: int) -> str:
    """A number of bytes in words: ``12 KiB``, ``1.5 MiB``, ``1 byte``."""
    for unit, least in SIZES.items():
        if size >= least:
            count = f"{size / least:.1f}" if size < 10 * least else f"{size // least:,}"
            return f"{count.removesuffix('.0')} {unit}"
    return "1 byte" if size == 1 else f"{size} bytes"


def _about(before: str, after: str = "") -> Callable[[Facts], str | None]:
    """What is done to somebody, and for how long."""

    def words(facts: Facts) -> str | None:
        if not facts.name:
            return None
        how_long = f" for {duration(facts.seconds)}" if facts.seconds else ""
        return f"{before} {shown_name(facts.name)}{after}{how_long}"

    return words


_ROLES = {"owner": "an owner", "moderator": "a moderator", "member": "a mere member"}


def _role(facts: Facts) -> str | None:
    role = _ROLES.get(facts.role)
    return f"made {shown_name(facts.name)} {role}" if facts.name and role else None


_ACCESS = {"open": "opened the room to everybody", "private": "made the room private"}
_TOPIC_BY = {"members": "lets every member set the topic", "moderators": "lets only moderators set the topic"}


def _access(facts: Facts) -> str:
    words = [_ACCESS.get(facts.access), _TOPIC_BY.get(facts.topic_by)]
    return " and ".join(word for word in words if word) or "changed how the room is run"


#: How an act reads; None from the facts of one that has not its shape.
ACTS: Mapping[str, Callable[[Facts], str | None]] = {
    "kick": _about("put", " out"),
    "ban": _about("banned"),
    "unban": _about("lifted the ban of"),
    "mute": _about("muted"),
    "unmute": _about("lets", " speak again"),
    "invite": _about("invited"),
    "role": _role,
    "access": _access,
}
