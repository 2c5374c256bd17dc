"""What a client shows in the place of an entry of a sealed room that is no message: one that waits for its
key, one that did not pass a check, and a change of who is in the room. Only clients make these kinds, out of
what they checked; the server knows none of them, and whoever writes in a sealed room cannot send one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from encchat.messages import Entry
from encchat.text import clean_line

WAITING, FAILED, ROSTER = "waiting", "failed", "roster"
#: Kinds that stand for an entry of a sealed room.
STANDING_IN = frozenset({WAITING, FAILED, ROSTER})
#: The body of a ``waiting`` one whose key nobody will give to this device.
BEFORE = b"from before this device took part"
#: Names that a line has at most, and characters of a reason.
MAX_NAMES, MAX_REASON = 20, 300

_Names = Annotated[tuple[Annotated[str, Meta(max_length=200)], ...], Meta(max_length=1000)]


class Facts(Struct, frozen=True):
    """What the body of a ``roster`` says: who was put in or out, and who may change it now or no more."""

    by: str = ""
    epoch: int = 0
    added: _Names = ()
    removed: _Names = ()
    promoted: _Names = ()
    demoted: _Names = ()


_decoder = msgspec.json.Decoder(Facts)


def sealed_line(entry: Entry) -> str:
    """An entry of one of the kinds in ``STANDING_IN``, in one line."""
    name = clean_line(entry.sender, 64) or "?"
    if entry.kind == WAITING:
        before = entry.body == BEFORE
        return f"[of {name}, {BEFORE.decode()}]" if before else f"[no key yet from {name}]"
    if entry.kind == FAILED:
        reason = clean_line(entry.body.decode("utf-8", "replace"), MAX_REASON)
        return f"[not shown, said to be of {name}: {reason}]"
    try:
        return _roster(name, _decoder.decode(entry.body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return f"{name} changed who is in the room"


def _roster(name: str, facts: Facts) -> str:
    me = facts.by or name
    by = clean_line(me, 64) or "?"
    others = tuple(one for one in facts.added if one != me)
    if facts.epoch <= 1 and me in facts.added:
        return f"{by} made this sealed room" + (f" with {_names(others)}" if others else "")
    if facts.removed == (me,) and not facts.added:
        return f"{by} left for good"
    words = [
        f"{what} {_names(some)}{more}"
        for what, some, more in (
            ("let", facts.added, " in"),
            ("put", facts.removed, " out"),
            ("made", facts.promoted, " an admin" if len(facts.promoted) == 1 else " admins"),
            ("took from", facts.demoted, " the right to change who is in"),
        )
        if some
    ]
    return f"{by} {' and '.join(words) or 'renewed who is in the room'}"


def _names(names: tuple[str, ...]) -> str:
    more = len(names) - MAX_NAMES
    shown = ", ".join(clean_line(name, 64) or "?" for name in names[:MAX_NAMES])
    return shown + (f" and {more} more" if more > 0 else "")
