"""Names that pass to another key without their holder's doing: the operator gives a name a new key when its
keys are lost, and a certificate's holder gets a name that somebody had merely claimed.

They differ in who the new key is. The operator has seen that it is the same person, who keeps the roles. Of
a certificate nobody said so: it proves a name, and not that its holder is whom people gave a role to.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from encchat.core import devicekeys
from encchat.core.admission import Claim
from encchat.core.identity import is_fingerprint
from encchat.core.names import parse_name
from encchat.core.refusals import Certified, NoSuchName
from encchat.errors import RefusedError

if TYPE_CHECKING:
    from encchat.core.hub import Hub

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
