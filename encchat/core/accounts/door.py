"""Where everybody comes in: bans, claims, codes for further devices, and the order in which they are asked.

Asking the directory takes time, in which somebody may be banned, lose a key or be renamed. Whoever brings
that about cuts the sessions that are in and calls ``changed``, in one turn; those who were on their way in
are then judged anew, so that everybody has been judged by the last word in the turn of coming in.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from encchat.core.accounts.admission import TAKING, Claim, NameTaken, guest_name, judge, judge_guest
from encchat.core.accounts.links import digest
from encchat.core.accounts.takeover import disown, keep_apart
from encchat.core.identity import PeerIdentity
from encchat.core.moderation.rules import Person, Restraint, Restraints
from encchat.core.names import Name, parse_name
from encchat.core.refusals import BadLink, BannedHere, ServerFull, TooManyDevices
from encchat.core.relay import devicekeys

if TYPE_CHECKING:
    from encchat.core.chat.hub import Hub
    from encchat.core.chat.session import Session

#: Keys of one name at most.
MAX_KEYS = 8


class _Arrival:
    """Somebody on the way in; ``stale`` when it has to be judged, for the first time or anew."""

    __slots__ = ("stale",)

    def __init__(self) -> None:
        self.stale = True


class Door:
    """Lets sessions into the hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        #: Those on their way in, by the name that they ask for.
        self._arriving: dict[str, set[_Arrival]] = {}

    def changed(self, key: str | None = None) -> None:
        """Something was changed that may keep out who comes in under a name; None: under any."""
        some = [self._arriving.get(key, set())] if key is not None else list(self._arriving.values())
        for arrivals in some:
            for arrival in arrivals:
                arrival.stale = True

    @contextmanager
    def _arrival(self, key: str) -> Iterator[_Arrival]:
        arrival = _Arrival()
        arrivals = self._arriving.setdefault(key, set())
        arrivals.add(arrival)
        try:
            yield arrival
        finally:
            arrivals.discard(arrival)
            if not arrivals and self._arriving.get(key) is arrivals:
                del self._arriving[key]

    async def admit(self, session: Session, requested: str, link: str = "") -> Name:
        """Let a session in under the name that it asks for, or with the code ``link`` join its key to it.

        :raises RefusedError: it may not come in, or not under that name.
        :raises Unavailable: the directory cannot be read now.
        """
        key = parse_name(requested).key
        with self._arrival(key) as arrival:
            while arrival.stale:
                arrival.stale = False
                name, claim = await self._judge(session, requested, key, link)
        if claim.vouched:
            self._cut_unvouched(key)
        session.former = claim.former
        if not session.closed:
            self._hub.enter(session, name)
        return name

    async def _judge(self, session: Session, requested: str, key: str, link: str) -> tuple[Name, Claim]:
        """The name under which a peer is admitted, and what is recorded of it now."""
        identity = session.identity
        await self._refuse_banned(self._hub.person_of(identity, key))
        claim = await self._claim(identity, requested, key, link)
        name = judge(identity, requested, claim, self._hub.settings.policy)
        self._refuse_when_full()
        now, vouched = self._hub.milliseconds(), identity.vouched_name is not None
        if claim is None and not vouched and self._hub.settings.policy.members is None:
            self._hub.floods.take_name(session.outlet.origin, self._hub.turn.now())
        wanted = Claim(name.shown, identity.fingerprint, now, vouched)
        # Also a name that was renamed: the rosters of sealed rooms still mean who had it.
        taken = claim if vouched and claim is not None and not claim.vouched else None
        if taken is not None:  # before it is theirs, so that no crash leaves them what was another's
            await disown(self._hub, key)
        settled = await self._hub.directory.settle(key, wanted)
        if settled.passed == TAKING:  # also where a server was killed on the way
            self._cut_unvouched(key)
            await disown(self._hub, key)  # what was given while that went on
            await devicekeys.prune(self._hub, key)
            await keep_apart(self._hub, key)
            if taken is not None:
                self._hub.note("takeover", name.shown, identity.fingerprint, device=taken.fingerprint)
        name = judge(identity, requested, settled, self._hub.settings.policy)
        self._refuse_when_full()
        return name, settled

    async def admit_guest(self, session: Session) -> Name:
        """Let a classic peer in under a name made from its key.

        :raises RefusedError: this server takes none, or no more, or not this one.
        :raises Unavailable: the directory cannot be read now.
        """
        with self._arrival("") as arrival:
            while arrival.stale:
                arrival.stale = False
                judge_guest(self._hub.settings.policy)
                await self._refuse_banned(self._hub.person_of(session.identity, ""))
                self._refuse_when_full()
        name = guest_name(session.identity, self._hub.guests)
        if not session.closed:
            self._hub.enter(session, name)
        return name

    async def _refuse_banned(self, person: Person) -> None:
        if is_banned(person, await self._hub.directory.bans(), self._hub.milliseconds()):
            raise BannedHere()

    async def _claim(self, identity: PeerIdentity, requested: str, key: str, link: str) -> Claim | None:
        """Who owns the name, after the peer's key was joined to it where a code allows that."""
        claim = await self._hub.directory.claim(key)
        if not link:
            return claim
        if claim is None:  # a mistyped name is not to be claimed by the way
            raise BadLink()
        try:
            judge(identity, requested, claim, self._hub.settings.policy)
        except NameTaken:
            return await self._redeem(identity, key, claim, link)
        return claim  # the key is known already, the code may serve another

    async def _redeem(self, identity: PeerIdentity, key: str, claim: Claim, link: str) -> Claim:
        directory, now = self._hub.directory, self._hub.milliseconds()
        by = await directory.redeem(key, digest(link, key), now)
        if by is None or is_banned(Person(key, (by,)), await directory.bans(), now):
            raise BadLink()

        def join(held: Claim | None) -> Claim:
            # The device that asked for the code may have been taken away since.
            if held is None or held.vouched or held.moved or by not in held.keys:
                raise BadLink()
            if identity.fingerprint in held.keys:
                return held
            return with_key(held, identity.fingerprint)

        joined = await directory.change_claim(key, join)
        self._hub.note("link", joined.shown, by, device=identity.fingerprint)
        return joined

    def _cut_unvouched(self, key: str) -> None:
        """A certificate's holder is here: who merely claimed the name has lost it."""
        self.changed(key)
        for session in self._hub.sessions_of(key):
            if session.identity.vouched_name is None:
                session.dismiss("the name belongs to the holder of a certificate for it")

    def _refuse_when_full(self) -> None:
        limit = self._hub.settings.max_sessions
        if len(self._hub.sessions) >= limit:
            raise ServerFull(limit=limit)


def with_key(claim: Claim, fingerprint: str) -> Claim:
    """The claim with one more key.

    :raises TooManyDevices: it has as many as it can have.
    """
    if len(claim.keys) >= MAX_KEYS:
        raise TooManyDevices(name=claim.shown, limit=MAX_KEYS)
    return replace(claim, further=(*claim.further, fingerprint))


def is_banned(person: Person, bans: tuple[Restraint, ...], now: int) -> bool:
    """Whether a person is banned from the server; its admins never are."""
    return bool(bans) and not person.admin and Restraints(bans, [person]).find(person, now) is not None
