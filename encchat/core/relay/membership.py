"""Who is in a sealed room, as its last roster says: what the server keeps of it, and how one follows another.

Pure. The rules are those of ``sealed.rosters``, which every member applies as well. The server checks no
signature: it goes by who is connected, and keeps out of the log what no member would believe anyway.
"""

from __future__ import annotations

from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from encchat.core.names import GUEST
from encchat.core.refusals import UnreadableRoster
from encchat.core.sealed.formats import RosterEntry, parse_roster
from encchat.core.sealed.rosters import RosterRefused, check_genesis, check_successor
from encchat.errors import PeerError


class Sealed(Struct, frozen=True, array_like=True):
    """The last roster of a sealed room, as it is in the log, and whom it names. Without a roster the room was
    never begun, and nobody is in it."""

    raw: bytes = b""
    members: frozenset[str] = frozenset()
    admins: frozenset[str] = frozenset()
    #: Names of the roster that have passed to somebody else, who is not whom it means.
    passed: frozenset[str] = frozenset()

    @property
    def admitted(self) -> frozenset[str]:
        """The names that may come in."""
        return self.members - self.passed

    def followed(self, raw: bytes) -> Sealed:
        """What is kept once this roster follows. A name that has passed to somebody else may come in again
        when the roster names another identity for it.

        :raises UnreadableRoster: it is none.
        """
        roster = read_roster(raw).roster
        identities = roster.identities
        before = read_roster(self.raw).roster.identities if self.passed else {}
        passed = {name for name in self.passed if identities.get(name) == before[name]}
        return Sealed(raw, frozenset(identities), frozenset(roster.admins), frozenset(passed))

    def without(self, name: str) -> Sealed:
        """What is kept after the name has passed to somebody else."""
        return replace(self, passed=self.passed | {name}) if name in self.members else self

    def check_next(self, new: RosterEntry, room: str, by: str) -> None:
        """Whether a roster that somebody brings may be the room's next, or its first.

        :raises RosterRefused: it may not.
        """
        if new.roster.room != room:
            raise RosterRefused(room=room, reason="it is for another room")
        if new.roster.by != by:
            raise RosterRefused(room=room, reason=f"it is by {new.roster.by}, not by {by}")
        if any(name.startswith(GUEST) for name in new.roster.identities):
            raise RosterRefused(room=room, reason="guests of the classic profile cannot be in it")
        if self.raw:
            old = read_roster(self.raw)
            check_successor(old.roster, old.hash, new.roster)
        else:
            check_genesis(new.roster)


@lru_cache(maxsize=64)
def read_roster(raw: bytes) -> RosterEntry:
    """A roster, from the body of its entry.

    :raises UnreadableRoster: it is none.
    """
    try:
        return parse_roster(raw)
    except PeerError as error:
        raise UnreadableRoster(reason=str(error)) from None
