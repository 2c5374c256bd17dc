"""An entry in plain words: the one form that the classic bridge and all consoles show.

Bodies are what somebody sent: those of acts are JSON that is bounded, checked and cleaned here, and one
that has not the shape of its act is told as an act that nobody can read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from encchat.messages import Count, Entry
from encchat.text import clean_line

#: Kinds of entries that are messages; others are told in a line of their own.
TALK = frozenset({"text", "me"})

_Fact = Annotated[str, Meta(max_length=1000)]


class Facts(Struct, frozen=True):
    """What the body of an act may say; see ``core/moderation.py``, which writes it."""

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


def entry_line(entry: Entry) -> str | None:
    """An entry as one line, as IRC clients write it: ``alice: text``, ``* alice waves``, ``* alice banned
    bob``. None for a kind that this version does not know."""
    if entry.kind == "text":
        return f"{shown_name(entry.sender)}: {_text(entry)}"
    if entry.kind == "me":
        return f"* {shown_name(entry.sender)} {_text(entry)}"
    if entry.kind == "topic":
        return f"* {shown_name(entry.sender)} set the topic: {_text(entry)}"
    return f"* {happening_line(entry)}" if entry.kind in ACTS else None


def happening_line(entry: Entry) -> str:
    """An entry that is no message, in one line: ``alice banned bob for 2 hours: spam``."""
    name = shown_name(entry.sender)
    if entry.kind == "topic":
        topic = clean_line(_text(entry), 1000)
        return (
            f"{name} set the topic of {clean_line(entry.room)} to: {topic}"
            if topic
            else f"{name} cleared the topic"
        )
    kind = clean_line(entry.kind, 32)
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
