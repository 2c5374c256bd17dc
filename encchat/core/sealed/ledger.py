"""What was read where: the pins that make a message count once, in its place, in its order.

Megolm has no protection against replay, and its encodings can be changed without the key: so what counts is
the index within the session, never a hash of the ciphertext. A session's marks pin (index, mid) to the first
seq; within a session, and between the sessions of one device in one room, ``n`` and the index rise with seq.
"""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from encchat.core.sealed.keeper import Keeper
from encchat.errors import PeerError

#: Messages of one session that are read at most; others rotate theirs after a tenth of that.
MAX_INDEX = 1000
#: Sessions of one device in one room whose places are told apart; and the last mids across them.
MAX_SPANS = 16
MAX_MIDS = 64


class NotGenuine(PeerError):
    """{reason}"""

    code = "not-genuine"

    def __init__(self, word: str, reason: str) -> None:
        super().__init__(reason=reason)
        #: A stable word for programs.
        self.word = word


class Mark(msgspec.Struct, array_like=True, frozen=True):
    """One message that was read: its index in the session, its seq, n and mid."""

    index: int
    seq: int
    n: int
    mid: bytes


class Marks(msgspec.Struct):
    """The messages of one session that were read, by index."""

    marks: list[Mark]


class Span(msgspec.Struct, array_like=True):
    """From where to where one session went. ``loose``: several sessions, long ago, in one."""

    session: bytes
    first_seq: int
    last_seq: int
    first_n: int
    last_n: int
    loose: bool = False


class Lane(msgspec.Struct):
    """One device in one room: its sessions, in order, and the mids of its last messages."""

    spans: list[Span]
    mids: list[bytes]


class Ledger:
    """All pins, kept as records of the kinds ``marks`` and ``lane``."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper

    def admit(self, room: str, device: str, session: bytes, mark: Mark) -> bool:
        """Pin a message that passed all else to its place. False if it was pinned to just that before.

        :raises NotGenuine: it was read in another place, or stands where its order does not allow it.
        """
        if mark.index >= MAX_INDEX:
            raise NotGenuine("too-many", "The message has a number that its key does not go up to.")
        lane_id, id = f"{room}/{device}", f"{room}/{device}/{session.hex()}"
        marks = self._keeper.get("marks", id, Marks) or Marks([])
        lane = self._keeper.get("lane", lane_id, Lane) or Lane([], [])
        place = bisect_left(marks.marks, mark.index, key=_index)
        if place < len(marks.marks) and marks.marks[place].index == mark.index:
            if marks.marks[place] != mark:
                raise _replayed()
            return False
        if mark.mid in lane.mids or mark.mid in [known.mid for known in marks.marks]:
            raise _replayed()
        self._check_order(marks.marks, place, mark)
        spans = self._place(lane.spans, session, mark)
        marks.marks.insert(place, mark)
        lane.spans = spans
        lane.mids = [*lane.mids, mark.mid][-MAX_MIDS:]
        self._keeper.put("marks", id, marks)
        self._keeper.put("lane", lane_id, lane)
        return True

    def is_pinned(self, room: str, device: str, session: bytes, mark: Mark) -> bool:
        """Whether just this was admitted."""
        marks = self._keeper.get("marks", f"{room}/{device}/{session.hex()}", Marks)
        return marks is not None and mark in marks.marks

    def _check_order(self, marks: list[Mark], place: int, mark: Mark) -> None:
        """Within the session: index, n and seq rise together, and n and index by the same steps."""
        for other in marks[max(0, place - 1) : place + 1]:
            before = other.index < mark.index
            if (other.seq < mark.seq) != before or other.n - other.index != mark.n - mark.index:
                raise _moved()

    def _place(self, spans: list[Span], session: bytes, mark: Mark) -> list[Span]:
        """Between the sessions of the device: one is over before the next one begins."""
        mine = Span(session, mark.seq, mark.seq, mark.n, mark.n)
        others: list[Span] = []
        for span in spans:
            if span.session == session and not span.loose:
                mine = Span(
                    session,
                    min(span.first_seq, mark.seq),
                    max(span.last_seq, mark.seq),
                    min(span.first_n, mark.n),
                    max(span.last_n, mark.n),
                )
            else:
                others.append(span)
        for other in others:
            earlier = other.last_seq < mine.first_seq and other.last_n < mine.first_n
            later = other.first_seq > mine.last_seq and other.first_n > mine.last_n
            if earlier or later:
                continue
            if other.loose and other.first_seq <= mark.seq <= other.last_seq:
                return spans  # too long ago to be told apart
            raise _moved()
        placed = sorted([*others, mine], key=_first)
        while len(placed) > MAX_SPANS:
            a, b = placed[:2]
            placed[:2] = [Span(b"", a.first_seq, b.last_seq, a.first_n, b.last_n, True)]
        return placed


def _index(mark: Mark) -> int:
    return mark.index


def _first(span: Span) -> int:
    return span.first_seq


def _replayed() -> NotGenuine:
    return NotGenuine("replayed", "The server shows a message again that was written once.")


def _moved() -> NotGenuine:
    return NotGenuine("reordered", "The server shows messages in another order than they were written in.")
