"""What may be said in a sealed room, judged here, as the server cannot: kinds that are known, bodies that
have the shape of their kind, and corrections by those who may make them.

Who wrote something is an identity, not a name: a name may pass to somebody else, who has no say in what was
said under it before. Nor has a machine that was taken back in what the others of its name said, nor somebody
who is only vouched for in what is proved."""

from __future__ import annotations

from collections.abc import Callable

from encchat.client.sealed.kept import Kept
from encchat.contents import CONTENTS, Delete, Edit, NoContent, parse
from encchat.core.plain import TALK
from encchat.core.sealed.events import REVOKED
from encchat.errors import PeerError
from encchat.messages import Entry

#: Kinds that exist besides those with contents.
PLAIN = TALK | {"topic"}
MAX_TOPIC = 1000


class Unfit(PeerError):
    """What {sender} sent cannot be shown: {reason}."""

    code = "unfit"


def check(said: Kept, admin: bool, find: Callable[[int], Kept | None]) -> None:
    """Whether what was opened may be shown as what it says it is. ``admin``: its sender may change the room;
    ``find`` gives an earlier entry.

    :raises Unfit: it may not.
    """
    entry = said.entry
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
        may = other is not None and (
            _is_of_same(said, other) or (isinstance(content, Delete) and admin and _is_sure(said))
        )
        if not may:
            raise Unfit(sender=entry.sender, reason="it is about what somebody else said")


def _is_sure(said: Kept) -> bool:
    """Whether it is as sure as anything that its sender's name stands for who wrote it."""
    return not said.seal.vouched_by and said.seal.trust != REVOKED


def _is_of_same(said: Kept, other: Kept) -> bool:
    """Whether both are of the same person, as surely as the earlier one is."""
    if said.entry.sender != other.entry.sender:
        return False
    if said.entry.device == other.entry.device:  # a device is of one identity for ever
        return not said.seal.vouched_by or bool(other.seal.vouched_by)
    return _is_sure(said) and bool(said.identity) and said.identity == other.identity


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
