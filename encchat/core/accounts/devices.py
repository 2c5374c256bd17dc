"""The keys of one's own name: a code for a further device, and taking one away.

The keys of a name stand in the order in which they came. A device may take away itself and those that came
after it, so that one which was stolen cannot shut out the one that let it in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from encchat import messages as m
from encchat.core.accounts.admission import Claim
from encchat.core.accounts.door import MAX_KEYS
from encchat.core.accounts.links import ENTROPY, LIFETIME, LinkRecord, digest, make_code
from encchat.core.refusals import Certified, LastKey, NoSuchKey, SeniorKey, TooManyDevices
from encchat.core.relay import devicekeys

if TYPE_CHECKING:
    from encchat.core.chat.session import Session


async def link(session: Session, message: m.Link) -> None:
    """Give the peer a code."""
    session.take_act()
    hub, name = session.hub, session.name
    claim = _own(session, await hub.directory.claim(name.key))
    if len(claim.keys) >= MAX_KEYS:
        raise TooManyDevices(name=name.shown, limit=MAX_KEYS)
    code = make_code(hub.turn.token(ENTROPY))
    expires = hub.milliseconds() + LIFETIME
    record = LinkRecord(digest(code, name.key), expires, session.identity.fingerprint)
    await hub.directory.put_link(name.key, record)
    hub.note("code", name.shown, session.identity.fingerprint)
    session.answer(m.Linked(message.id, code, LIFETIME // 1000))


async def unlink(session: Session, message: m.Unlink) -> None:
    """Take a key from the peer's name, and cut off who uses it."""
    session.take_act()
    hub, name, own = session.hub, session.name, session.identity.fingerprint

    def without(held: Claim | None) -> Claim:
        claim = _own(session, held)
        if message.fingerprint not in claim.keys:
            raise NoSuchKey(name=name.shown, fingerprint=message.fingerprint)
        if claim.keys.index(message.fingerprint) < claim.keys.index(own):
            raise SeniorKey(fingerprint=message.fingerprint)
        first, *further = [key for key in claim.keys if key != message.fingerprint] or [""]
        if not first:
            raise LastKey(name=name.shown)
        return replace(claim, fingerprint=first, further=tuple(further))

    await hub.directory.change_claim(name.key, without)
    hub.door.changed(name.key)
    hub.note("unlink", name.shown, own, device=message.fingerprint)
    session.answer(m.Done(message.id))
    for device in hub.sessions_of(name.key):
        if device.identity.fingerprint == message.fingerprint:
            device.dismiss("this device was taken from your name")
    await devicekeys.prune(hub, name.key)


def _own(session: Session, claim: Claim | None) -> Claim:
    """The claim of the peer's name, when its key is one of the name's."""
    if session.identity.vouched_name is not None or claim is None or claim.vouched:
        raise Certified(name=session.name.shown)
    if claim.moved or session.identity.fingerprint not in claim.keys:
        raise NoSuchKey(name=session.name.shown, fingerprint=session.identity.fingerprint)
    return claim
