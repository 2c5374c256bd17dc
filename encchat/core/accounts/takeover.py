"""Names that pass to another key without their holder's doing: the operator gives a name a new key when its
keys are lost, and a certificate's holder gets a name that somebody had merely claimed.

They differ in who the new key is. The operator has seen that it is the same person, who keeps the roles. Of
a certificate nobody said so: it proves a name, and not that its holder is whom people gave a role to, nor who
wrote what stands under that name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from encchat.core.accounts.admission import MAX_FORMER, TAKEN, Claim
from encchat.core.identity import is_fingerprint
from encchat.core.names import BadName, is_open, parse_name
from encchat.core.refusals import Certified, NoSuchName
from encchat.core.relay import devicekeys
from encchat.errors import RefusedError
from encchat.messages import Entry

if TYPE_CHECKING:
    from encchat.core.chat.hub import Hub

#: Rooms that are read at a time when all are gone through.
ROOMS_AT_A_TIME = 500


class NoFingerprint(RefusedError):
    """{text!r} is no fingerprint: write SHA256:..., as encchat-client prints it on the new device."""

    code = "bad-fingerprint"


async def rekey(hub: Hub, requested: str, fingerprint: str, by: str) -> int:
    """Give a name to another key, when those that it had are lost: they can not use it any more, and their
    sessions are closed. Roles and bans stay with the name. Returns how many sessions were closed.

    :raises RefusedError: nobody has the name, or the holder of a certificate.
    """
    name = parse_name(requested)
    if not is_fingerprint(fingerprint):
        raise NoFingerprint(text=fingerprint)

    def given(held: Claim | None) -> Claim:
        if held is None or held.moved:
            raise NoSuchName(name=name.shown)
        if held.vouched:
            raise Certified(name=held.shown)
        return replace(held, fingerprint=fingerprint, further=())

    claim = await hub.directory.change_claim(name.key, given)
    hub.door.changed(name.key)
    cut = [s for s in hub.sessions_of(name.key) if s.identity.fingerprint != fingerprint]
    for session in cut:
        session.dismiss(f"the operator gave the name {claim.shown} to another key")
    await devicekeys.prune(hub, name.key)
    hub.note("rekey", by, "", target=claim.shown, device=fingerprint)
    return len(cut)


async def disown(hub: Hub, name: str) -> None:
    """Take every role and invitation from the name with this key: who had them is not who has the name."""
    after = ""
    while page := await hub.directory.rooms(ROOMS_AT_A_TIME, after):
        for room, record in page.items():
            if record.pending or record.without(name) != record:
                await hub.change_room(room, lambda found: found.without(name))
            after = room


async def keep_apart(hub: Hub, name: str) -> None:
    """What was said under the name with this key until now is not of who has it from now on: remember up to
    which entry of each room that goes. Nobody is in under the name."""
    await hub.appends.settled()  # what its former holder sent
    heads: dict[str, int] = {}
    after = ""
    while rooms := await hub.log.rooms(after, ROOMS_AT_A_TIME):
        heads |= {room: (await hub.log.head(room)).seq for room in rooms if is_open(room)}
        after = rooms[-1]
    await hub.directory.put_passed(name, heads)
    if hub.keeper is not None:
        await hub.keeper.disown(name)
    await hub.directory.change_claim(name, _taken)


def _taken(claim: Claim | None) -> Claim:
    if claim is None:
        raise NoSuchName(name="")  # no claim is ever deleted
    return replace(claim, passed=TAKEN)


async def is_of(hub: Hub, entry: Entry, name: str, *, vouched: bool) -> bool:
    """Whether an entry was said by who has the name with this key now, by certificate or not: under it, since
    it is theirs, or under a name that they had before it."""
    try:
        sender = parse_name(entry.sender).key
        if sender == name:
            return not vouched or entry.seq > (await hub.directory.passed(name)).get(entry.room, 0)
        for _ in range(MAX_FORMER):
            claim = await hub.directory.claim(sender)
            if claim is None or not claim.moved:  # somebody else's, perhaps by a certificate
                return False
            sender = parse_name(claim.moved).key
            if sender == name:
                return True
    except BadName:  # by another version's rules
        pass
    return False
