"""Who has a name: who owns it, as the rules see him, and what may be known of him."""

from __future__ import annotations

from typing import TYPE_CHECKING

from encchat.core.moderation.rules import Person
from encchat.core.names import parse_name
from encchat.core.refusals import NoSuchName
from encchat.messages import Profile

if TYPE_CHECKING:
    from encchat.core.chat.hub import Hub
    from encchat.core.chat.session import Session


async def owner_of(hub: Hub, requested: str) -> Person:
    """Who owns a name, whether in or not.

    :raises NoSuchName: nobody does.
    """
    name = parse_name(requested)
    claim = await hub.directory.claim(name.key)
    if claim is None or claim.moved:
        raise NoSuchName(name=name.shown)
    admin = not hub.settings.admins.isdisjoint(claim.keys)
    return Person(name.key, claim.keys, claim.vouched, admin)


async def person(hub: Hub, requested: str) -> Person:
    """Who owns a name, or is a guest of that name.

    :raises NoSuchName: nobody is.
    """
    name = parse_name(requested)
    if name.key not in hub.guests:
        return await owner_of(hub, requested)
    return Person(name.key, tuple(key for s in hub.sessions_of(name.key) for key in s.person.keys))


async def profile(hub: Hub, id: int, requested: str, asker: Session) -> Profile:
    """What is known of a name, with the rooms that the asker shares with it.

    :raises NoSuchName: nobody has it.
    """
    name = parse_name(requested)
    claim = await hub.directory.claim(name.key)
    if claim is not None and claim.moved:
        raise NoSuchName(name=name.shown)
    devices = hub.sessions_of(name.key)
    if claim is None and not devices:
        raise NoSuchName(name=name.shown)
    shared = tuple(room.name for room in asker.rooms() if room.has_name(name.key))
    if claim is None:
        guest = devices[0]
        fingerprint, since, vouched = guest.identity.fingerprint, guest.since, False
        shown = guest.name.shown
    else:
        fingerprint, since, vouched = claim.fingerprint, claim.since, claim.vouched
        shown = claim.shown
    classic = bool(devices) and all(d.classic for d in devices)
    keys = claim.further if claim else ()
    return Profile(id, shown, fingerprint, since, vouched, bool(devices), classic, shared, keys)
