"""A room as the hub knows it: who is here, and what the next turn sends to all of them.

Each member session has a ``Membership`` with a cursor: the last seq that was written to its transport.
A flush writes the same joined bytes to every member whose cursor stands right before them; whoever is
behind (slow, or still reading history) catches up from the log instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from encchat.messages import Member, Presence, RoomInfo
from encchat.wire import encode

if TYPE_CHECKING:
    from encchat.core.session import Session


class Membership:
    """One session in one room."""

    __slots__ = ("cursor", "room", "session", "stale")

    def __init__(self, session: Session, room: Room, cursor: int) -> None:
        self.session = session
        self.room = room
        #: Seq of the last entry that was written to this session's transport.
        self.cursor = cursor
        #: Presence passed this session by: it gets the whole list once it has caught up.
        self.stale = False


class Room:
    """Members and the frames that wait for the end of the turn. Holds no history: that is the log's."""

    def __init__(self, name: str, announced: int, topic: str) -> None:
        self.name = name
        #: Seq of the last entry that was given to the members.
        self.announced = announced
        self.topic = topic
        #: Entries of this room that are on their way into the log.
        self.appending = 0
        self._memberships: dict[Session, Membership] = {}
        self._names: dict[str, list[Session]] = {}
        self._entries: list[bytes] = []
        self._first = 0
        self._signals: list[bytes] = []

    # ------------------------------------------------------------------------------------ members

    @property
    def deserted(self) -> bool:
        """Whether nobody is here and nothing is on its way: the hub may forget the room."""
        return not self._memberships and not self.appending

    def __contains__(self, session: object) -> bool:
        return session in self._memberships

    def membership(self, session: Session) -> Membership | None:
        """The session's place in this room, if it is here."""
        return self._memberships.get(session)

    def enter(self, session: Session, cursor: int) -> Membership:
        """Let a session in at a place in the log; a name's first session is announced to the others."""
        membership = self._memberships[session] = Membership(session, self, cursor)
        devices = self._names.setdefault(session.name.key, [])
        devices.append(session)
        if len(devices) == 1:
            self._announce(session, here=True)
        return membership

    def leave(self, session: Session) -> None:
        """Let a session out; a name's last session is announced to the others."""
        if self._memberships.pop(session, None) is None:
            return
        devices = self._names[session.name.key]
        devices.remove(session)
        if not devices:
            del self._names[session.name.key]
            self._announce(session, here=False)

    def members(self) -> tuple[Member, ...]:
        """Who is here, a name once, in the order of arrival."""
        return tuple(
            Member(devices[0].name.shown, all(d.classic for d in devices)) for devices in self._names.values()
        )

    def has_name(self, key: str) -> bool:
        """Whether somebody of this name is here."""
        return key in self._names

    def info(self) -> RoomInfo:
        """The room's line in a list of rooms."""
        return RoomInfo(self.name, len(self._names), self.announced, self.topic)

    # ------------------------------------------------------------------------------------ fan-out

    def commit(self, seq: int, frame: bytes) -> None:
        """An entry was stored: it goes out with the next flush."""
        if not self._entries:
            self._first = seq
        elif seq != self._first + len(self._entries):  # others append too: the log has what lies between
            self._entries.clear()
            self._first = seq
        self._entries.append(frame)

    def signal(self, frame: bytes) -> None:
        """Something that is not an entry (presence, typing): goes out with the next flush."""
        self._signals.append(frame)

    def flush(self) -> Iterator[Session]:
        """Write what waits, once for each member; yields those who have to catch up from the log."""
        entries, signals = self._entries, self._signals
        self._entries, self._signals = [], []
        first, last = self._first, self._first + len(entries) - 1
        if not entries:
            first, last = self.announced + 1, self.announced
        self.announced = max(self.announced, last)
        joined = b"".join(entries + signals)
        for session, membership in self._memberships.items():
            if session.congested:
                membership.stale = membership.stale or bool(signals)
            elif membership.cursor == first - 1:
                membership.cursor = last
                session.push(joined)
                continue
            elif membership.cursor >= last:
                session.push(b"".join(signals))
                continue
            elif membership.cursor >= first:
                session.push(b"".join(entries[membership.cursor + 1 - first :] + signals))
                membership.cursor = last
                continue
            else:
                membership.stale = membership.stale or bool(signals)
            if membership.cursor < self.announced:
                yield session

    def _announce(self, session: Session, here: bool) -> None:
        self.signal(encode(Presence(self.name, session.name.shown, here, session.classic)))
