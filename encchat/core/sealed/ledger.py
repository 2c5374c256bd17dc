"""What was read where: the pins that make a message count once, in its place, in its order.

Megolm has no protection against replay, and its encodings can be changed without the key: so what counts is
the index within the session, never a hash of the ciphertext. A session's marks pin (index, mid) to the first
seq; within a session, and between the sessions of one device in one room, ``n`` and the index rise with seq.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict

import msgspec

from encchat.core.sealed.keeper import Keeper
from encchat.errors import PeerError

#: Messages of one session that are read at most; others rotate theirs after a tenth of that.
MAX_INDEX = 1000
#: Sessions of one device in one room whose order is remembered: the last ones.
MAX_SESSIONS = 100


#: Devices in rooms whose mids are kept at hand.
MAX_LANES = 256


class NotGenuine(PeerError):
    """{reason}"""

    code = "not-genuine"

    def __init__(self, word: str, reason: str) -> None:
        super().__init__(reason=reason)
        #: A stable word for programs.
        self.word = word


class Mark(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One message that was read: its index in the session, its seq, n and mid."""

    index: int
    seq: int
    n: int
    mid: bytes


class Marks(msgspec.Struct):
    """The messages of one session that were read, by index."""

    marks: list[Mark]


class Lane(msgspec.Struct):
    """The sessions of one device in one room, in the order of their messages."""

    sessions: list[bytes]


class Ledger:
    """All pins, kept as records of the kinds ``marks`` and ``lane``."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._mids: OrderedDict[str, set[bytes]] = OrderedDict()

    def admit(self, room: str, device: str, session: bytes, mark: Mark) -> bool:
        """Pin a message that passed all else to its place. False if it was pinned to just that before.

        :raises NotGenuine: it was read in another place, or stands where its order does not allow it.
        """
        if mark.index >= MAX_INDEX:
            raise NotGenuine("too-many", "The message has a number that its key does not go up to.")
        lane_id, id = f"{room}/{device}", _id(room, device, session)
        kept = self._keeper.get("marks", id, Marks) or Marks([])
        marks = kept.marks
        place = bisect_left(marks, mark.index, key=_index)
        if place < len(marks) and marks[place].index == mark.index:
            if marks[place] != mark:
                raise _replayed()
            return False
        lane = self._keeper.get("lane", lane_id, Lane) or Lane([])
        known = session in lane.sessions
        at = lane.sessions.index(session) if known else self._place(room, device, lane, mark.seq)
        before = self._marks(room, device, lane.sessions[at - 1 : at])
        after = self._marks(room, device, lane.sessions[at + known : at + known + 1])
        mids = self._mids_of(room, device, lane_id, lane)
        if mark.mid in mids or mark.mid in [other.mid for other in marks]:
            raise _replayed()
        for other in marks[max(0, place - 1) : place + 1]:
            earlier = other.index < mark.index
            if (other.seq < mark.seq) != earlier or other.n - other.index != mark.n - mark.index:
                raise _moved()
        if before and not (before[-1].seq < mark.seq and before[-1].n < mark.n):
            raise _moved()
        if after and not (after[0].seq > mark.seq and after[0].n > mark.n):
            raise _moved()
        marks.insert(place, mark)
        mids.add(mark.mid)
        self._keeper.put("marks", id, kept)
        if not known:
            lane.sessions.insert(at, session)
            del lane.sessions[:-MAX_SESSIONS]
            self._keeper.put("lane", lane_id, lane)
        return True

    def _place(self, room: str, device: str, lane: Lane, seq: int) -> int:
        """Where a new session belongs, which has a message at ``seq``."""
        at = len(lane.sessions)
        while at and self._marks(room, device, lane.sessions[at - 1 : at])[0].seq > seq:
            at -= 1
        return at

    def _mids_of(self, room: str, device: str, lane_id: str, lane: Lane) -> set[bytes]:
        """What a device said in a room, as far back as its sessions are remembered. One message may have been
        sealed in several sessions, as the server claimed to have refused it: it counts once all the same."""
        mids = self._mids.get(lane_id)
        if mids is None:
            mids = {mark.mid for mark in self._marks(room, device, lane.sessions)}
            self._mids[lane_id] = mids
            while len(self._mids) > MAX_LANES:
                self._mids.popitem(last=False)
        self._mids.move_to_end(lane_id)
        return mids

    def _marks(self, room: str, device: str, sessions: list[bytes]) -> list[Mark]:
        """The marks of these sessions. (Each that is in a lane has one at least.)"""
        marks: list[Mark] = []
        for session in sessions:
            kept = self._keeper.get("marks", _id(room, device, session), Marks)
            marks += kept.marks if kept is not None else []
        return marks

    def is_pinned(self, room: str, device: str, session: bytes, mark: Mark) -> bool:
        """Whether just this was admitted."""
        marks = self._keeper.get("marks", _id(room, device, session), Marks)
        return marks is not None and mark in marks.marks


def _index(mark: Mark) -> int:
    return mark.index


def _id(room: str, device: str, session: bytes) -> str:
    return f"{room}/{device}/{session.hex()}"


def _replayed() -> NotGenuine:
    return NotGenuine("replayed", "The server shows a message again that was written once.")


def _moved() -> NotGenuine:
    return NotGenuine("reordered", "The server shows messages in another order than they were written in.")
