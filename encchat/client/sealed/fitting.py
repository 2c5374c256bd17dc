"""What may be said in a sealed room, judged here, as the server cannot: kinds that are known, bodies that
have the shape of their kind, and corrections by those who may make them."""

from __future__ import annotations

from collections.abc import Callable

from encchat.contents import CONTENTS, Delete, Edit, NoContent, parse
from encchat.core.plain import TALK
from encchat.errors import PeerError
from encchat.messages import Entry

#: Kinds that exist besides those with contents.
PLAIN = TALK | {"topic"}
MAX_TOPIC = 1000


class Unfit(PeerError):
    """What {sender} sent cannot be shown: {reason}."""

    code = "unfit"


def check(entry: Entry, admin: bool, find: Callable[[int], Entry | None]) -> None:
    """Whether what was opened may be shown as what it says it is. ``admin``: its sender may change the room;
    ``find`` gives an earlier entry that was opened.

    :raises Unfit: it may not.
    """
    if entry.kind in PLAIN:
        _check_text(entry)
        return
    if entry.kind not in CONTENTS:
        raise Unfit(sender=entry.sender, reason=f"this version does not know what {entry.kind!r} is")
    try:
        content = parse(entry.kind, entry.body)
    except NoContent:
        raise Unfit(sender=entry.sender, reason=f"it is no {entry.kind}") from None
    target = getattr(content, "target", 0)
    if target >= entry.seq:
        raise Unfit(sender=entry.sender, reason="it is about something that was not said yet")
    if isinstance(content, Edit | Delete):
        other = find(target)
        may = other is not None and (other.sender == entry.sender or (isinstance(content, Delete) and admin))
        if not may:
            raise Unfit(sender=entry.sender, reason="it is about what somebody else said")


def target_of(kind: str, body: bytes) -> int:
    """The entry that a message is about, or 0."""
    if kind not in CONTENTS:
        return 0
    try:
        return int(getattr(parse(kind, body), "target", 0))
    except NoContent:
        return 0


def _check_text(entry: Entry) -> None:
    try:
        text = entry.body.decode("utf-8")
    except UnicodeDecodeError:
        raise Unfit(sender=entry.sender, reason="it is no text") from None
    if entry.kind == "topic" and len(text) > MAX_TOPIC:
        raise Unfit(sender=entry.sender, reason="the topic is too long")
