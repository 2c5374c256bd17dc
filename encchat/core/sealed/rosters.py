"""What a roster may say after another: the one rule that the server and every member apply alike.

A roster is signed by a device of one member, ``by``. An admin may change anything; anybody may leave; with
the policy ``members`` anybody may add others. The server applies the rule to keep nonsense out of the log;
members apply it again, and check the signatures, as they believe the server nothing.
"""

from __future__ import annotations

from collections.abc import Set

from encchat.core.names import is_conversation, pair
from encchat.core.sealed.formats import MAX_ADMINS, NOTHING, Roster
from encchat.errors import RefusedError

#: The epoch of a room's first roster.
GENESIS_EPOCH = 1


class RosterRefused(RefusedError):
    """The change of who is in {room} does not hold: {reason}."""

    code = "roster-refused"


def check_genesis(roster: Roster) -> None:
    """Whether a room may begin with this roster.

    :raises RosterRefused: it may not.
    """
    two = {*pair(roster.room)} if is_conversation(roster.room) else None
    if roster.epoch != GENESIS_EPOCH or roster.prev != NOTHING:
        raise _refused(roster, "it is not the first one")
    if roster.by not in roster.admins:
        raise _refused(roster, "who makes a room must be among those who run it")
    if two is not None and two != roster.identities.keys():
        raise _refused(roster, "a conversation is between the two whom its name names")
    if two is not None and two != set(roster.admins):
        raise _refused(roster, "a conversation is run by both")


def check_successor(old: Roster, old_hash: bytes, new: Roster) -> None:
    """Whether ``new`` may follow ``old``, whose hash is ``old_hash``.

    :raises RosterRefused: it may not.
    """
    if new.room != old.room:
        raise _refused(new, "it is for another room")
    if new.epoch != old.epoch + 1 or new.prev != old_hash:
        raise _refused(new, "it does not follow the last one")
    if new.by not in old.identities:
        raise _refused(new, f"{new.by} is not in the room")
    if is_conversation(old.room):
        _check_conversation(old, new)
    elif not (_leaves(old, new) or (new.by in old.admins and _is_run(new)) or _adds(old, new)):
        raise _refused(new, f"{new.by} may not make it")


def removed(old: Roster, new: Roster) -> Set[str]:
    """The names that are in ``old`` and not in ``new``."""
    return old.identities.keys() - new.identities.keys()


def added(old: Roster | None, new: Roster) -> Set[str]:
    """The names that are in ``new`` and were not in ``old``."""
    return new.identities.keys() - (old.identities.keys() if old else set())


def without(old: Roster, name: str) -> tuple[str, ...]:
    """Who runs the room once ``name`` has left: the other admins, or if there are none, all who stay (as
    far as there may be admins, in the order of the roster)."""
    rest = tuple(admin for admin in old.admins if admin != name)
    return rest or tuple(member.name for member in old.members if member.name != name)[:MAX_ADMINS]


def _leaves(old: Roster, new: Roster) -> bool:
    """Whether all that changes is that whoever made it is gone."""
    return (
        new.members == tuple(member for member in old.members if member.name != new.by)
        and new.admins == without(old, new.by)
        and new.policy == old.policy
    )


def _adds(old: Roster, new: Roster) -> bool:
    """Whether all that changes is that somebody came in, where every member may let others in."""
    return (
        old.policy == "members"
        and new.members[: len(old.members)] == old.members
        and (new.admins, new.policy) == (old.admins, old.policy)
    )


def _is_run(new: Roster) -> bool:
    """Whether somebody runs the room, as long as there is somebody in it."""
    return bool(new.admins) or not new.members


def _check_conversation(old: Roster, new: Roster) -> None:
    """In a conversation of two, all that ever changes is an identity."""
    if new.identities.keys() != old.identities.keys() or set(new.admins) != set(old.admins):
        raise _refused(new, "a conversation stays between the same two")


def _refused(roster: Roster, reason: str) -> RosterRefused:
    return RosterRefused(room=roster.room, reason=reason)
