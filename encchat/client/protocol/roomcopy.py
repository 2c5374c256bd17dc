"""One room as a client knows it: who is there, and how far its log was read and proved.

Every entry must be the one after the last, and the hash chain over the bytes that arrived must pass
through every position that is known from elsewhere: the head that the server named, a position of an
earlier run, the start of a page. A server that leaves out, alters or reorders an entry, or shows two
people different logs, cannot keep that up (design, promise 3).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from enum import Enum, auto

from encchat.errors import PeerError
from encchat.messages import GENESIS, Entry, Member, Position
from encchat.wire import advance, decode_entry

#: Positions behind the reader that are kept to check pages of history against.
MAX_ANCHORS = 64
#: Messages whose ids are remembered, to tell a doubled one.
MAX_RECENT = 512
#: Members of one room that a client keeps track of.
MAX_MEMBERS = 50_000


class LogMismatch(PeerError):
    """The server's log of {room} does not match what you saw: {reason}. It was altered, or replaced by an
    older copy; ask its operator. To go on with the log as it is now, start with --accept-log."""

    code = "log-mismatch"


class Stage(Enum):
    """Where we are with a room on this connection."""

    OUT = auto()
    JOINING = auto()
    IN = auto()
    LEAVING = auto()


class RoomCopy:
    """A room that we are in, or want to be in.

    ``history`` is how many entries from before we want to read; with ``resume`` that is only for a room
    that was never read before, and else we read on from where we were.
    """

    def __init__(self, name: str, history: int = 0, *, resume: bool = True) -> None:
        self.name = name
        #: Nobody asked to be in it.
        self.by_itself = False
        self.history = history
        self.resume = resume
        self.stage = Stage.OUT
        #: The id of the last Join.
        self.request = 0
        #: Where reading has come to; None: nowhere yet.
        self.position: Position | None = None
        #: Whether we have been in it during this run.
        self.entered = False
        self.topic = ""
        #: How far the server knows that the person has read.
        self.mark = 0
        self.members: dict[str, Member] = {}
        self._remembered = Position()
        self._head = Position()
        #: Chains that we know, by seq; the oldest are let go, but never the two above.
        self._anchors: dict[int, bytes] = {}
        self._recent: OrderedDict[tuple[str, bytes], None] = OrderedDict()

    # -------------------------------------------------------------------------------------- coming

    def recall(self, position: Position | None) -> None:
        """A log that is new to this run. ``position`` is where an earlier run had come to in it."""
        self._anchors.clear()
        self._recent.clear()
        self._head = Position()
        self._remembered = position or Position()
        self.position = position if self.resume else None
        self._anchor(self._remembered)
        self.entered = False

    def joined(self, start: Position, head: Position) -> int:
        """The server lets us in: entries after ``start`` will follow, up to ``head`` and beyond.

        :returns: how many entries that we have not read are not in the log any more.
        :raises LogMismatch: that is not the log that we know.
        """
        if start.seq > head.seq:
            raise PeerError(reason=f"the log of {self.name} ends before it begins")
        if head.seq < self._remembered.seq:
            raise self._mismatch(f"it ends at entry {head.seq}, but you have read {self._remembered.seq}")
        lost = 0
        if self.position is not None:
            lost = start.seq - self.position.seq
            if lost < 0:
                raise self._mismatch(f"it goes on from entry {start.seq}, not from {self.position.seq}")
        self._head = head
        self._anchor(head)
        self._anchor(start)
        self.position = start
        return lost

    # -------------------------------------------------------------------------------------- reading

    def read(self, entry: Entry, frame: bytes) -> bool:
        """The next entry, with its whole frame.

        :returns: false for a message that came not long before: a doubled one is told only once.
        :raises LogMismatch: it is not the next one, or not the one that the chain says.
        """
        position = self.position
        if position is None or entry.seq != position.seq + 1:
            due = "none was" if position is None else f"{position.seq + 1} was"
            raise self._mismatch(f"entry {entry.seq} came where {due} due")
        self.position = here = advance(position, (frame,))
        known = self._anchors.get(here.seq)
        if known is not None and known != here.chain:
            self.position = position
            self._check(here)
        message = (entry.sender, entry.msgid)
        if message in self._recent:
            return False
        self._recent[message] = None
        if len(self._recent) > MAX_RECENT:
            self._recent.popitem(last=False)
        return True

    def skip(self, start: Position) -> int:
        """The server has dropped what we have not read yet: go on after ``start``.

        :returns: how many entries were lost.
        :raises LogMismatch: that is not ahead of us.
        """
        if self.position is None or start.seq < self.position.seq:
            raise self._mismatch(f"it goes back to entry {start.seq}")
        lost = start.seq - self.position.seq
        self._anchor(start)
        self.position = start
        return lost

    def read_page(self, start: Position, frames: Sequence[bytes]) -> tuple[tuple[Entry, ...], bool]:
        """A page of history: the entries after ``start``, and whether they are proved.

        What follows a known position, or leads to one, is proved by it; a page that touches none stands
        alone until one does.

        :raises LogMismatch: it contradicts a position that we know.
        :raises PeerError: the entries are not consecutive entries of this room.
        """
        entries = []
        here = start
        proved = self._check(here)
        for frame in frames:
            entry = decode_entry(frame)
            here = advance(here, (frame,))
            if entry.room != self.name or entry.seq != here.seq:
                raise PeerError(reason=f"a page of {self.name} holds entry {entry.seq} of {entry.room}")
            proved = self._check(here) or proved
            entries.append(entry)
        if proved:
            self._anchor(start)
            self._anchor(here)
        return tuple(entries), proved

    @property
    def caught_up(self) -> bool:
        """Whether everything was read that was there when we came."""
        return self.position is not None and self.position.seq >= self._head.seq

    def is_old(self, seq: int) -> bool:
        """Whether this entry was there before we came."""
        return seq <= self._head.seq

    def _known(self, seq: int) -> bytes | None:
        """The chain after entry ``seq``, if we know it."""
        if seq == 0:
            return GENESIS
        if self.position is not None and seq == self.position.seq:
            return self.position.chain
        return self._anchors.get(seq)

    def _check(self, position: Position) -> bool:
        """Whether the position is one that we know; it must not contradict one."""
        known = self._known(position.seq)
        if known is not None and known != position.chain:
            raise self._mismatch(f"entry {position.seq}, or one before it, is another")
        return known is not None

    def _anchor(self, position: Position) -> None:
        """Know the position from now on."""
        self._check(position)
        self._anchors[position.seq] = position.chain
        kept = (self._head.seq, self._remembered.seq)
        while len(self._anchors) > MAX_ANCHORS + len(kept):
            del self._anchors[next(seq for seq in self._anchors if seq not in kept)]

    def _mismatch(self, reason: str) -> LogMismatch:
        return LogMismatch(room=self.name, reason=reason)

    # -------------------------------------------------------------------------------------- members

    def set_members(self, members: Sequence[Member]) -> None:
        """The whole list of who is here."""
        self.members = {member.name: member for member in members[:MAX_MEMBERS]}

    def came_or_went(self, member: Member, here: bool) -> bool:
        """Somebody came or went; whether that is news."""
        if not here:
            return self.members.pop(member.name, None) is not None
        if self.members.get(member.name) == member or len(self.members) >= MAX_MEMBERS:
            return False
        self.members[member.name] = member
        return True
