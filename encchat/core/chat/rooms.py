"""A room as the hub knows it: who is here, who may do what, and what the next turn sends to all of them.

Each member session has a ``Membership`` with a cursor: the last seq that was written to its transport.
A flush writes the same joined bytes to every member whose cursor stands right before them; whoever is
behind (slow, or still reading history) catches up from the log instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from encchat.core.chat.lock import Lock
from encchat.core.interfaces import ITurn
from encchat.core.moderation.rules import Act, Person, Rank, Restraint, Restraints, RoomRecord
from encchat.core.refusals import Banned, InviteOnly, Muted, NotAMember, NotInRoom
from encchat.core.relay.membership import Sealed
from encchat.messages import MAX_PAYLOAD, Member, Position, Presence, RoomInfo
from encchat.wire import encode

if TYPE_CHECKING:
    from encchat.core.chat.session import Session

#: Bytes that a list in one message takes at most: the limit of a payload, less what else is in it.
LIST_BYTES = MAX_PAYLOAD - 16 * 1024


class Membership:
    """One session in one room."""

    __slots__ = ("cursor", "leaving", "mute", "room", "session", "stale")

    def __init__(self, session: Session, room: Room, cursor: int) -> None:
        self.session = session
        self.room = room
        #: Seq of the last entry that was written to this session's transport.
        self.cursor = cursor
        #: Presence passed this session by: it gets the whole list once it has caught up.
        self.stale = False
        #: What keeps it from writing here, and whether it is being put out.
        self.mute: Restraint | None = None
        self.leaving = False

    def check_speech(self) -> None:
        """Whether the session may write here.

        :raises Muted: not now.
        :raises NotInRoom: it is being put out.
        """
        if self.leaving:
            raise NotInRoom(room=self.room.name)
        if self.mute is not None:
            self.room.check_mute(self.mute)


class Room:
    """Members, rules, and the frames that wait for the end of the turn. Holds no history: that is the
    log's. ``record`` is there once the room was loaded."""

    def __init__(self, name: str, turn: ITurn) -> None:
        self.name = name
        self._turn = turn
        #: Seq of the last entry that was given to the members.
        self.announced = 0
        #: Coroutines and entries on their way that need this room: it is not forgotten meanwhile.
        self.holds = 0
        #: Held by whoever changes the record.
        self.lock = Lock(turn)
        #: The record may be another than we know: it has to be read again.
        self.unsettled = True
        self.settling = False
        #: Seq of the last act that was brought into force here.
        self.enforced = 0
        self._record: RoomRecord | None = None
        #: The rules in force: those of the record, and those after its pending act.
        self._views: tuple[RoomRecord, ...] = ()
        #: Whether they keep anybody from writing.
        self._restrains = False
        self._memberships: dict[Session, Membership] = {}
        self._names: dict[str, list[Session]] = {}
        self._entries: list[bytes] = []
        self._first = 0
        self._signals: list[bytes] = []

    # ------------------------------------------------------------------------------------ members

    @property
    def deserted(self) -> bool:
        """Whether nobody is here and nothing is on its way: the hub may forget the room."""
        return not self._memberships and not self.holds

    def __contains__(self, session: object) -> bool:
        return session in self._memberships

    def membership(self, session: Session) -> Membership | None:
        """The session's place in this room, if it is here."""
        return self._memberships.get(session)

    def enter(self, session: Session, cursor: int) -> Membership:
        """Let a session in at a place in the log; a name's first session is announced to the others."""
        membership = self._memberships[session] = Membership(session, self, cursor)
        if self.record.mutes or self.record.pending:
            self._restrain([membership])
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
        """Who is here, a name once, in the order of arrival; of a crowd as many as one message holds."""
        members = []
        size = 0
        for devices in self._names.values():
            shown = devices[0].name.shown
            size += len(shown.encode("utf-8")) + 4
            if size > LIST_BYTES:
                break
            members.append(Member(shown, all(d.classic for d in devices)))
        return tuple(members)

    def has_name(self, key: str) -> bool:
        """Whether somebody of this name is here."""
        return key in self._names

    def info(self) -> RoomInfo:
        """The room's line in a list of rooms."""
        record = self.record
        return RoomInfo(self.name, len(self._names), self.announced, record.topic, record.private)

    # -------------------------------------------------------------------------------------- rules

    @property
    def loaded(self) -> bool:
        """Whether the record was read."""
        return self._record is not None

    @property
    def record(self) -> RoomRecord:
        """The record, as far as we know it."""
        assert self._record is not None, "the room was not loaded"
        return self._record

    @property
    def topic(self) -> str:
        """The topic."""
        return self.record.topic

    def adopt(self, record: RoomRecord) -> None:
        """This is the record now. While an act is pending, only what both allow is allowed: so nothing
        that it forbids can come behind it into the log."""
        self._record = record
        self._views = (record, record.after(record.pending)) if record.pending else (record,)
        self._restrain(list(self._memberships.values()))

    def _restrain(self, memberships: Sequence[Membership]) -> None:
        """Find out anew who may not write."""
        restrains = bool(self.record.pending or self.record.mutes)
        if not restrains and not self._restrains:
            return
        self._restrains = restrains
        people = [membership.session.person for membership in memberships]
        views = [(view, Restraints(view.mutes, people)) for view in self._views]
        now, pending = self._now(), self.record.pending
        for membership, person in zip(memberships, people, strict=True):
            mutes = (_holding(view, mutes, person, now) for view, mutes in views)
            membership.mute = next(filter(None, mutes), None)
            membership.leaving = self.is_put_out(person, pending)

    def is_put_out(self, person: Person, act: Act | None) -> bool:
        """Whether the act puts this person out of the room."""
        if act is None or act.kind not in ("kick", "ban"):
            return False
        whom = Restraints([act.restraint], [person])
        return _holding(self.record, whom, person, act.time) is not None

    def is_shown_to(self, person: Person) -> bool:
        """Whether this person may know of the room."""
        return all(view.invites_in(person) for view in self._views)

    def present(self) -> tuple[str, ...]:
        """The names of who is here, but for guests."""
        return tuple(name for name, devices in self._names.items() if not all(d.classic for d in devices))

    def check_entry(self, person: Person) -> None:
        """Whether this person may come in and be here.

        :raises Banned: no.
        :raises InviteOnly: not without an invitation.
        :raises NotAMember: not without being in the roster.
        """
        if not self.is_shown_to(person):
            if self.record.sealed is not None:
                raise NotAMember(room=self.name)
            raise InviteOnly(room=self.name)
        now = self._now()
        if any(_holding(view, Restraints(view.bans, [person]), person, now) for view in self._views):
            raise Banned(room=self.name)

    def check_speech(self, session: Session) -> None:
        """Whether a session that is here may write.

        :raises Muted: not now.
        :raises NotInRoom: it is being put out.
        """
        self._memberships[session].check_speech()

    def check_mute(self, mute: Restraint) -> None:
        """
        :raises Muted: it holds now.
        """
        now = self._now()
        if mute.lasts(now):
            seconds = (mute.until - now + 999) // 1000
            left = f"for another {seconds} s" if mute.until else "until that is undone"
            raise Muted(room=self.name, how_long=left)

    def rank(self, person: Person) -> Rank:
        """What this person may do here, before and after what is pending."""
        return min(view.rank(person) for view in self._views)

    def put_out(self, act: Act) -> list[Session]:
        """The sessions here that the act puts out."""
        if act.kind == "roster":
            sealed = self.record.after(act).sealed or Sealed()
            return [session for session in self._memberships if session.name.key not in sealed.admitted]
        return [session for session in self._memberships if self.is_put_out(session.person, act)]

    def let_in(self, act: Act) -> list[str]:
        """The keys of the names that may come in by the act, and could not before."""
        if act.kind == "invite":
            return [act.target] if act.target not in self.record.invites else []
        if act.kind == "roster" and self.record.sealed is not None:
            after = self.record.after(act).sealed or Sealed()
            return sorted(after.admitted - self.record.sealed.admitted)
        return []

    def unwelcome(self) -> list[Session]:
        """The sessions here that are banned."""
        people = {session: session.person for session in self._memberships}
        bans = Restraints(self.record.bans, people.values())
        now = self._now()
        return [s for s, person in people.items() if _holding(self.record, bans, person, now)]

    def _now(self) -> int:
        return int(self._turn.wall() * 1000)

    # ------------------------------------------------------------------------------------ fan-out

    def count(self, head: Position) -> None:
        """The log was seen to end there. Entries that this counts and the next flush brings reach everybody
        all the same: a cursor that stands before them is pushed to, and one that has read them is not."""
        self.announced = max(self.announced, head.seq)

    def commit(self, seq: int, frame: bytes) -> None:
        """An entry was stored: it goes out with the next flush."""
        entries = self._entries
        if seq != self._first + len(entries):  # or others append too: the log has what lies between
            entries.clear()
            self._first = seq
        entries.append(frame)

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
            if session.congested or (entries and session.dear and not session.hub.dear.spend(len(joined))):
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


def _holding(record: RoomRecord, restraints: Restraints, person: Person, now: int) -> Restraint | None:
    """What holds for a person: for its keys alone only while it has no role here, for admins nothing."""
    rank = record.rank(person)
    if not restraints or rank is Rank.ADMIN:
        return None
    return restraints.find(person, now, by_key=rank is Rank.MEMBER)
