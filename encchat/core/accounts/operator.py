"""What concerns the whole server: who is in, putting people out of it and keeping them out, a name for
another, and a word to everybody. The server's operator asks for it through the control socket, an admin
through a message without a room (``orders``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec.structs import replace

from encchat import messages as m
from encchat.core.accounts import people
from encchat.core.accounts.admission import MAX_FORMER, Claim, NameReserved
from encchat.core.accounts.door import is_banned
from encchat.core.identity import is_fingerprint
from encchat.core.moderation.rules import MAX_LISTED, Person, Rank, Restraint, released, restrained
from encchat.core.names import is_guest, parse_name
from encchat.core.refusals import Certified, NoSuchName, TooManyListed
from encchat.core.relay import devicekeys
from encchat.errors import RefusedError
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.core.chat.hub import Hub
    from encchat.core.chat.session import Session

#: Who acts through the control socket: no name that anybody can have.
OPERATOR = "the operator"
#: Rooms that are told at most.
MAX_ROOMS = 10_000
#: Rooms that are read at a time when all are gone through.
ROOMS_AT_A_TIME = 500


class NameInUse(RefusedError):
    """The name {name} belongs to somebody already."""

    code = "name-taken"


class AdminStays(RefusedError):
    """{name} is an admin of this server. Take that fingerprint out of its configuration first (--admin)."""

    code = "not-allowed"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: the name, and the key that it proved; for the operator none."""

    name: str = OPERATOR
    key: str = ""


def users(hub: Hub) -> list[dict[str, object]]:
    """Every session that is in."""
    return [
        {
            "name": session.name.shown,
            "device": session.device,
            "key": session.identity.fingerprint,
            "cipher": session.identity.cipher,
            "classic": session.classic,
            "admin": session.person.admin,
            "since": session.since,
            "rooms": [room.name for room in session.rooms()],
        }
        for session in sorted(hub.sessions, key=lambda s: (s.name.key, s.since))
    ]


async def rooms(hub: Hub) -> list[dict[str, object]]:
    """Every room, private ones too, up to ``MAX_ROOMS`` by name."""
    found: list[dict[str, object]] = []
    after = ""
    while len(found) < MAX_ROOMS and (page := await hub.directory.rooms(ROOMS_AT_A_TIME, after)):
        for name, record in page.items():
            present = hub.present_room(name)
            owners = [who for who, rank in record.roles.items() if rank is Rank.OWNER]
            if record.sealed is not None:
                owners = sorted(record.sealed.admins)
            found.append(
                {
                    "room": name,
                    "access": "sealed" if record.sealed is not None else record.access,
                    "owners": owners,
                    "topic": record.topic,
                    "members": len(present.members()) if present else 0,
                    "bans": len(record.bans),
                    "since": record.created,
                }
            )
            after = name
    return found


def announce(hub: Hub, text: str, actor: Actor) -> int:
    """Say something to everybody who is in, and return how many that are."""
    line = clean_line(text, 1000)
    for session in list(hub.sessions):
        session.answer(m.Notice(line))
    hub.note("announce", actor.name, actor.key)
    return len(hub.sessions)


async def kick(hub: Hub, subject: str, actor: Actor, reason: str = "") -> int:
    """Close the sessions of a name or a key; they may come again. Returns how many there were.

    :raises RefusedError: nobody has that name.
    """
    person = await _subject(hub, subject)
    kicked = [s for s in hub.sessions if s.name.key == person.name or s.identity.fingerprint == subject]
    _dismiss(kicked, "You were put out of this server", reason)
    hub.note("kick", actor.name, actor.key, target=subject)
    return len(kicked)


async def ban(hub: Hub, subject: str, actor: Actor, seconds: int = 0, reason: str = "") -> int:
    """Keep a name with its keys, or a key, out of the server, for ``seconds`` (0: until it is undone).
    Returns how many sessions were closed.

    :raises RefusedError: nobody has that name, or too many are banned.
    """
    person = await _subject(hub, subject)
    if person.admin:
        raise AdminStays(name=subject)
    now = hub.milliseconds()
    until = now + seconds * 1000 if seconds else 0
    new = Restraint(person.name, person.keys, person.vouched, actor.name, now, until)

    def add(held: tuple[Restraint, ...]) -> tuple[Restraint, ...]:
        bans = restrained(tuple(r for r in held if r.lasts(now)), new)
        if len(bans) > MAX_LISTED:
            raise TooManyListed(what="bans", limit=MAX_LISTED)
        return bans

    bans = await hub.directory.change_bans(add)
    hub.door.changed()
    banned = [s for s in hub.sessions if is_banned(s.person, bans, now)]
    hub.note("ban", actor.name, actor.key, target=subject, seconds=seconds)
    _dismiss(banned, "You are banned from this server", reason)
    return len(banned)


async def unban(hub: Hub, subject: str, actor: Actor) -> bool:
    """Undo a ban of a name, or of a key; returns whether there was one."""
    name, keys = ("", (subject,)) if is_fingerprint(subject) else (parse_name(subject).key, ())
    found = False

    def take(held: tuple[Restraint, ...]) -> tuple[Restraint, ...]:
        nonlocal found
        left = released(held, name, keys)
        found = left != held
        return left

    await hub.directory.change_bans(take)
    hub.note("unban", actor.name, actor.key, target=subject)
    return found


async def rename(hub: Hub, old: str, new: str, actor: Actor) -> None:
    """Give the holder of a name another one, with its roles, invitations, bans and mutes in every room.
    Nobody can claim the old name. It may be done again when it was cut off.

    :raises RefusedError: the one name is nobody's, or a certificate's, or the other is somebody's or a
        guest's.
    """
    held, wanted = parse_name(old), parse_name(new)
    claim = await hub.directory.claim(held.key)
    if claim is None or (claim.moved and claim.moved != wanted.shown):
        raise NoSuchName(name=held.shown)
    if claim.vouched:
        raise Certified(name=claim.shown)
    if is_guest(wanted):
        raise NameReserved()
    if wanted.key == held.key:
        raise NameInUse(name=wanted.shown)
    if not _is_free(await hub.directory.claim(wanted.key), claim):
        raise NameInUse(name=wanted.shown)
    # From here on the old name's keys do not change any more: what is given is what was held.
    left = await hub.directory.change_claim(held.key, lambda found: _moved(found, wanted.shown))

    def take(found: Claim | None) -> Claim:
        if not _is_free(found, left):
            raise NameInUse(name=wanted.shown)
        former = (*left.former, left.shown)[-MAX_FORMER:]
        return found or replace(left, shown=wanted.shown, moved="", former=former)

    try:
        await hub.directory.change_claim(wanted.key, take)
    except NameInUse:
        await hub.directory.change_claim(held.key, lambda found: _moved(found, ""))
        raise
    hub.door.changed(held.key)
    for session in hub.sessions_of(held.key):
        session.dismiss(f"You are called {wanted.shown} here now. Connect as {wanted.shown}.")
    await devicekeys.prune(hub, held.key)
    await hub.directory.change_bans(
        lambda bans: tuple(replace(r, name=wanted.key) if r.name == held.key else r for r in bans)
    )
    after = ""
    while page := await hub.directory.rooms(ROOMS_AT_A_TIME, after):
        for room, record in page.items():
            if record.pending or record.renamed(held.key, wanted.key) != record:
                await hub.change_room(room, lambda found: found.renamed(held.key, wanted.key))
            after = room
    hub.note("rename", actor.name, actor.key, target=claim.shown, new=wanted.shown)


def _is_free(found: Claim | None, claim: Claim) -> bool:
    """Whether a name can be given to who holds ``claim``: nobody has it, or that very person."""
    return found is None or not (found.moved or found.vouched or set(found.keys).isdisjoint(claim.keys))


def _moved(claim: Claim | None, new: str) -> Claim:
    if claim is None:
        raise NoSuchName(name="")  # no claim is ever deleted
    return replace(claim, moved=new)


async def _subject(hub: Hub, subject: str) -> Person:
    if is_fingerprint(subject):  # proved, or merely shown
        return Person("", (subject, f"guest {subject}"), admin=subject in hub.settings.admins)
    return await people.person(hub, subject)


def _dismiss(sessions: list[Session], what: str, reason: str) -> None:
    text = f"{what}: {clean_line(reason, 200)}" if reason else f"{what}."
    for session in sessions:
        session.dismiss(text)
