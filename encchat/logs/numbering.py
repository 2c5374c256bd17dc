"""What every log does with a draft, whatever its engine: number it, encode it, chain it, know it again.

Pure. An engine keeps a :class:`Tail` for each room and calls these within its own transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from encchat.core.interfaces import Draft, Outcome, Rejected, Stored
from encchat.messages import GENESIS, Entry, Position
from encchat.wire import chained, decode_entry, encode

#: The kind of the entries that a draft's ``roster`` refers to.
ROSTER = "roster"


@dataclass(slots=True)
class Tail:
    """Where a room's log ends: the last seq, its chain, and the seq of the last roster entry (0: none)."""

    seq: int = 0
    chain: bytes = GENESIS
    roster: int = 0

    @property
    def position(self) -> Position:
        """The room's head."""
        return Position(self.seq, self.chain)


def refusal(tail: Tail, draft: Draft) -> Rejected | None:
    """Why a draft that is new to the room cannot be the next entry, or None if it can."""
    if draft.again:
        return Rejected("not-stored")
    if draft.roster is not None and tail.roster > draft.roster:
        return Rejected("roster-changed")
    return None


def number(tail: Tail, draft: Draft) -> bytes:
    """The frame of the next entry; ``tail`` moves behind it."""
    seq = tail.seq + 1
    frame = encode(
        Entry(draft.room, seq, draft.time, draft.sender, draft.device, draft.kind, draft.msgid, draft.body)
    )
    tail.seq = seq
    tail.chain = chained(tail.chain, frame)
    if draft.kind == ROSTER:
        tail.roster = seq
    return frame


def repeated(draft: Draft, frame: bytes) -> Outcome:
    """The answer to a draft whose msgid was stored before, as ``frame``."""
    entry = decode_entry(frame)
    if (entry.kind, entry.body) != (draft.kind, draft.body):
        return Rejected("msgid-reused")
    return Stored(entry.seq, entry.time, frame, duplicate=True)


@dataclass(frozen=True, slots=True)
class Memo:
    """What a log remembers of an entry that retention took, to know it again and to answer as before."""

    seq: int
    time: int
    device: str
    digest: bytes

    @classmethod
    def of(cls, entry: Entry) -> Memo:
        """The memo of an entry that is about to leave."""
        return cls(entry.seq, entry.time, entry.device, _digest(entry.kind, entry.body))

    def repeated(self, draft: Draft) -> Outcome:
        """The answer to a draft with this entry's msgid. The frame is made anew: it has the same bytes,
        as all else that went into it is in the draft."""
        if self.digest != _digest(draft.kind, draft.body):
            return Rejected("msgid-reused")
        frame = _encode(draft, self.seq, self.time, self.device)
        return Stored(self.seq, self.time, frame, duplicate=True)


def check_drafts(drafts: Sequence[Draft]) -> None:
    """Refuse, before anything is numbered, drafts whose entry nobody could decode.

    The sizes of names and bodies are the caller's to check: it had them from a decoded message.

    :raises ValueError: a msgid that is not 16 bytes, a time out of range, or text that UTF-8 cannot hold.
    """
    for draft in drafts:
        if len(draft.msgid) != 16 or not 0 <= draft.time < 2**63:
            raise ValueError(f"msgid {draft.msgid!r} or time {draft.time} is out of bounds")
        (draft.room + draft.sender + draft.device + draft.kind).encode()


def check_bounds(seq: int, limit: int) -> None:
    """Refuse what no caller may ask for.

    :raises ValueError: a negative seq, or a limit below 1.
    """
    if seq < 0:
        raise ValueError(f"a seq is never negative, {seq} is")
    if limit < 1:
        raise ValueError(f"a limit is at least 1, {limit} is not")


def _encode(draft: Draft, seq: int, time: int, device: str) -> bytes:
    return encode(Entry(draft.room, seq, time, draft.sender, device, draft.kind, draft.msgid, draft.body))


def _digest(kind: str, body: bytes) -> bytes:
    word = kind.encode()
    return sha256(len(word).to_bytes(4, "big") + word + body).digest()
