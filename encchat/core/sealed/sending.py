"""Sending to a sealed room: what a person said waits here until it is in the log, sealed for those who are
in.

Recipients are the devices of the roster's members by their own signed lists; the server can leave one out,
and never add one. A session is made anew for every change of roster or devices, after 100 messages or a day,
and after every start, as none is ever restored. What was sealed is stored before it is sent, so that the
same bytes go again after a lost connection; only if the server refuses them for a newer roster is the
message sealed anew.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from encchat.core.sealed import effects as fx
from encchat.core.sealed import payload, ratchets
from encchat.core.sealed.changes import (
    CannotChange,
    CannotMake,
    Change,
    first_roster,
    next_roster,
    signed_roster,
)
from encchat.core.sealed.contacts import Contacts
from encchat.core.sealed.formats import ALG_ROOM, Certificate, encode
from encchat.core.sealed.keeper import Keeper
from encchat.core.sealed.own import Own
from encchat.core.sealed.payload import Payload, Sealed
from encchat.core.sealed.ratchets import GroupSession
from encchat.core.sealed.roomkeys import RoomKeys
from encchat.core.sealed.rooms import Epoch, Rooms
from encchat.errors import EncchatError, UsageError

#: When a session is replaced: after that many messages, or milliseconds.
MAX_MESSAGES = 100
MAX_AGE = 24 * 3600 * 1000
#: How often one message is sealed anew because the roster changed meanwhile.
MAX_TRIES = 8
#: Messages that wait to be sent, at most.
MAX_OUTGOING = 1000
_HOW_KEYS_COME = "as nobody called so has come to this server with encchat-client"


class TooManyWaiting(UsageError):
    """{count} messages wait to be sent already; wait until some are through."""

    code = "outbox-full"


class Outgoing(msgspec.Struct):
    """A message (``kind`` and so on) or ``change`` that is on its way; ``sealed`` once its bytes are
    final, with the ``n`` that they say."""

    room: str
    msgid: bytes
    kind: str = ""
    target: int = 0
    body: bytes = b""
    change: Change | None = None
    sealed: bytes = b""
    roster: int = 0
    tries: int = 0
    n: int = 0


@dataclass(slots=True)
class Talk:
    """Our session in one room, for the roster and devices that it was made for."""

    session: GroupSession
    id: bytes
    roster: bytes
    devices: tuple[str, ...]
    revision: int
    made: int


class Sending:
    """What is on its way, kept as records of kind ``out``."""

    def __init__(
        self,
        keeper: Keeper,
        turn: fx.Turn,
        own: Own,
        contacts: Contacts,
        keys: RoomKeys,
        rooms: Rooms,
        entropy: Callable[[int], bytes],
    ) -> None:
        self._keeper = keeper
        self._turn = turn
        self._own = own
        self._contacts = contacts
        self._keys = keys
        self._rooms = rooms
        self._entropy = entropy
        self._talks: dict[str, Talk] = {}
        self._queue = dict(keeper.scan("out", Outgoing))
        self._ids = {outgoing.msgid: id for id, outgoing in self._queue.items()}
        self._next = int(max(self._queue, default="0")) + 1
        for outgoing in self._queue.values():
            rooms.places.counted(outgoing.room, outgoing.n)
        self._sent: set[str] = set()
        self._caught_up: set[str] = set()
        self._told: dict[str, tuple[str, ...]] = {}
        self.connected = False

    def add(self, outgoing: Outgoing) -> None:
        """Take a message or change; ``pump`` sends it.

        :raises TooManyWaiting: there are too many.
        """
        if len(self._queue) >= MAX_OUTGOING:
            raise TooManyWaiting(count=len(self._queue))
        if outgoing.msgid in self._ids:
            return
        id = f"{self._next:016d}"
        self._next += 1
        self._queue[id] = outgoing
        self._ids[outgoing.msgid] = id
        self._keeper.add("out", id, outgoing)

    def reset(self, connected: bool) -> None:
        """The connection is new, or gone: what was sent is sent again."""
        self.connected = connected
        self._sent.clear()
        self._caught_up.clear()

    def caught_up(self, room: str) -> None:
        """The room was read to where its log ended when we came in: whether our state is an old copy, and who
        is in it, is known now."""
        self._caught_up.add(room)

    def forget_sessions(self) -> None:
        """Make every session anew."""
        self._talks.clear()

    def pump(self) -> None:
        """Send whatever can be sent, in order within each room."""
        if not self.connected or self._own.state.rolled_back or not self._own.listed:
            return
        stuck: set[str] = set()
        for id, outgoing in list(self._queue.items()):
            if id in self._sent and self._will_be_refused(outgoing):
                stuck.add(outgoing.room)  # what was said after it comes after it
            if outgoing.room in stuck or id in self._sent:
                continue
            try:
                ready = bool(outgoing.sealed) or self._prepare(id, outgoing)
            except EncchatError as error:
                self._give_up(id, error.code, str(error))
                continue
            if not ready:
                stuck.add(outgoing.room)
                continue
            self._sent.add(id)
            room, msgid, body = outgoing.room, outgoing.msgid, outgoing.sealed
            if outgoing.change is not None and outgoing.change.create:
                self._turn.do(fx.Create(room, msgid, body))
            else:
                kind = "sealed" if outgoing.change is None else "roster"
                self._turn.do(fx.Append(room, msgid, kind, body, outgoing.roster))

    def _will_be_refused(self, outgoing: Outgoing) -> bool:
        """Whether a message that is on its way rests on a roster that is not the last one any more."""
        creates = outgoing.change is not None and outgoing.change.create
        return not creates and outgoing.roster < self._rooms.state(outgoing.room).seq

    def appended(self, msgid: bytes, seq: int) -> None:
        """It is in the log."""
        id = self._find(msgid)
        if id is not None:
            self._turn.tell(fx.SendDone(self._queue[id].room, msgid, seq))
            self._remove(id)

    def arrived(self, msgid: bytes, seq: int, body: bytes, *, opened: bool) -> None:
        """The log has an entry of ours with this msgid; whether it is one, its bytes or its opening tell."""
        id = self._ids.get(msgid)
        if id is not None and (opened or self._queue[id].sealed == body):
            self.appended(msgid, seq)

    def refused(self, msgid: bytes, code: str, reason: str) -> None:
        """The server will not take it: sealed anew if that is only because of a newer roster."""
        id = self._find(msgid)
        if id is None:
            return
        outgoing = self._queue[id]
        if code != "roster-changed":
            self._give_up(id, code, reason)
            return
        outgoing.tries += 1
        if outgoing.tries > MAX_TRIES:
            self._give_up(id, code, reason)
            return
        outgoing.sealed = b""
        self._sent.discard(id)
        self._keeper.put("out", id, outgoing)

    def waiting(self) -> list[Outgoing]:
        """What is not in the log yet, in order."""
        return list(self._queue.values())

    # ------------------------------------------------------------------------------------ preparing

    def _prepare(self, id: str, outgoing: Outgoing) -> bool:
        """Seal or sign it, if all is there that it takes."""
        state = self._rooms.state(outgoing.room)
        creates = outgoing.change is not None and outgoing.change.create
        if not creates and (outgoing.room not in self._caught_up or self._rooms.is_behind(outgoing.room)):
            return False
        if outgoing.tries and state.seq <= outgoing.roster:
            return False  # the roster that it was refused for is not read yet
        if outgoing.change is not None:
            body = self._sign(outgoing.room, outgoing.change)
        else:
            body = self._seal(outgoing)
        if body is None:
            return False
        outgoing.sealed, outgoing.roster = body, state.seq
        self._keeper.put("out", id, outgoing)
        return True

    def _sign(self, room: str, change: Change) -> bytes | None:
        me, epoch = self._own.user, self._rooms.epoch(room)
        if not self._contacts.refresh(change.needs):
            return None
        identities = {}
        refused = CannotMake if change.create else CannotChange
        for name in (me, *change.needs):
            peer = self._contacts.peer(name)
            if not peer.identity:
                raise refused(room=room, reason=f"{name} has no keys here yet, {_HOW_KEYS_COME}")
            if peer.offered:
                raise refused(room=room, reason=f"the identity of {name} changed; compare it first")
            identities[name] = peer.identity
        if change.create:
            roster = first_roster(room, change, me, identities, self._turn.now, self._entropy(16))
        elif epoch is None:
            return None
        else:
            roster = next_roster(epoch, change, me, identities, self._turn.now, self._entropy(16))
        mine = (epoch.identities if epoch else identities).get(me, b"")
        return signed_roster(roster, self._own, mine, self._contacts.peer(me).listing)

    def _seal(self, outgoing: Outgoing) -> bytes | None:
        room, epoch = outgoing.room, self._rooms.epoch(outgoing.room)
        if epoch is None:
            return None
        members = epoch.identities
        if self._own.user not in members:
            raise CannotChange(room=room, reason="you are not in it")
        if not self._contacts.refresh(members):
            return None
        talk = self._talk(epoch)
        if talk is None:
            return None
        outgoing.n = self._rooms.places.count(room)
        place, mine = self._rooms.places.place(room), self._contacts.list_of(self._own.user)
        said = Payload(
            room_id=epoch.room_id,
            epoch=epoch.roster.epoch,
            roster=epoch.hash,
            mid=outgoing.msgid,
            user=self._own.user,
            device=self._own.id,
            n=outgoing.n,
            kind=outgoing.kind,
            target=outgoing.target,
            body=outgoing.body,
            seen=place.at,
            chain=place.chain,
            devices=mine.version if mine else 0,
            salt=self._entropy(16),
        )
        plaintext = payload.pad(said)
        ciphertext = talk.session.encrypt(plaintext).to_bytes()
        commitment = payload.commitment(plaintext)
        mark = self._own.mark(talk.id, commitment)
        return encode(Sealed(ALG_ROOM, talk.id, commitment, ciphertext, mark))

    def _talk(self, epoch: Epoch) -> Talk | None:
        """Our session for who is in the room now; None while somebody's identity is in question."""
        talk, revision = self._talks.get(epoch.room), self._contacts.revision
        if talk is not None and talk.revision == revision and self._is_good(talk, epoch):
            return talk
        members = epoch.identities
        blocked = tuple(n for n, identity in members.items() if self._contacts.is_blocked(n, identity))
        self._tell_once(epoch.room, fx.SendBlocked(epoch.room, blocked) if blocked else None)
        if blocked:
            for name in blocked:
                self._contacts.offer(name, members[name])
            return None
        to: list[Certificate] = []
        unreachable: list[str] = []
        for name, identity in members.items():
            known = self._contacts.speaks_for(name, identity) and not self._contacts.is_behind(name)
            certificates = self._contacts.devices(name) if known else []
            if not certificates:
                unreachable.append(name)
            to.extend(each for each in certificates if each.device.id != self._own.id)
        devices = tuple(certificate.device.id for certificate in to)
        if talk is not None and talk.devices == devices and self._is_good(talk, epoch):
            talk.revision = revision
            return talk
        group = GroupSession()
        id = ratchets.session_id(group)
        talk = Talk(group, id, epoch.hash, devices, revision, self._turn.now)
        self._talks[epoch.room] = talk
        self._keys.add_own(epoch.room, epoch.room_id, talk.session, to)
        if unreachable:
            self._tell_once(epoch.room, fx.Unreachable(epoch.room, tuple(unreachable)))
        return talk

    def _is_good(self, talk: Talk, epoch: Epoch) -> bool:
        young = self._turn.now - talk.made < MAX_AGE
        return talk.roster == epoch.hash and talk.session.message_index < MAX_MESSAGES and young

    def _tell_once(self, room: str, event: fx.SendBlocked | fx.Unreachable | None) -> None:
        names = event.names if event is not None else ()
        if event is not None and self._told.get(room) != names:
            self._turn.tell(event)
        self._told[room] = names

    # --------------------------------------------------------------------------------------- ending

    def _find(self, msgid: bytes) -> str | None:
        return self._ids.get(msgid)

    def _give_up(self, id: str, code: str, reason: str) -> None:
        outgoing = self._queue[id]
        self._turn.tell(fx.SendFailed(outgoing.room, outgoing.msgid, code, reason))
        self._remove(id)

    def _remove(self, id: str) -> None:
        outgoing = self._queue.pop(id)
        del self._ids[outgoing.msgid]
        self._rooms.places.counted(outgoing.room, outgoing.n)
        self._sent.discard(id)
        self._keeper.drop("out", id)
