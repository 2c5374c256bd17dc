"""The keys of rooms that this device has: Megolm sessions of others and its own, and who asks for them.

A key is stored under (the device whose session it is, session id), never under the id alone: else somebody
could claim another's id first and silence them. It is *authentic* when that very device sent it over Olm;
what another device passed on, or a backup held, is marked with who vouches for it and never becomes more.
Keys are given again only to devices that were given them before, as far as they still exist.
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from encchat.core.sealed import effects as fx
from encchat.core.sealed import ratchets
from encchat.core.sealed.contacts import Contacts
from encchat.core.sealed.formats import Certificate
from encchat.core.sealed.keeper import Keeper
from encchat.core.sealed.letters import ForwardedKey, KeyRequest, RoomKeyLetter
from encchat.core.sealed.mail import LetterRefused, Mail
from encchat.core.sealed.own import Own
from encchat.core.sealed.ratchets import PICKLE_KEY, GroupSession, InboundGroupSession

#: Sessions that are kept open; sessions of one device that are stored; milliseconds between two answers to
#: the same request.
MAX_OPEN = 512
MAX_OF_DEVICE = 20_000
ANSWER_PAUSE = 30 * 1000
#: Backups' mark in ``vouched_by``.
BACKUP = "backup"


class KeyState(msgspec.Struct):
    """One session: whose, of which room, and how we came by it. ``identity`` is its owner's when the key
    came. ``given``: of our own session, the devices that have it; of another's, those of our name. ``key``
    is our own session's, to be given again."""

    room: str
    room_id: bytes
    user: str
    device: str
    identity: bytes
    session: bytes
    pickle: str
    given: list[str] = []
    key: str = ""
    vouched_by: str = ""


class RoomKeys:
    """All room keys, kept as records of kind ``key``."""

    def __init__(self, keeper: Keeper, turn: fx.Turn, own: Own, contacts: Contacts, mail: Mail) -> None:
        self._keeper = keeper
        self._turn = turn
        self._own = own
        self._contacts = contacts
        self._mail = mail
        self._open: OrderedDict[str, InboundGroupSession] = OrderedDict()
        self._counts: dict[str, int] = {}
        self._answered: OrderedDict[tuple[str, str], int] = OrderedDict()

    def get(self, device: str, session: bytes) -> KeyState | None:
        """What is kept of a session, or None."""
        return self._keeper.get("key", _id(device, session), KeyState)

    def use(self, state: KeyState) -> InboundGroupSession:
        """The session itself.

        :raises BadCrypto: it was pickled by another version.
        """
        id = _id(state.device, state.session)
        session = self._open.get(id)
        if session is None:
            with ratchets.checked("room key"):
                session = InboundGroupSession.from_pickle(state.pickle, PICKLE_KEY)
            self._opened(id, session)
        else:
            self._open.move_to_end(id)
        return session

    # ------------------------------------------------------------------------------------ receiving

    def add_own(self, room: str, room_id: bytes, group: GroupSession, to: list[Certificate]) -> None:
        """Keep our own session, so that we can read it and give it again, and send it to ``to``."""
        mine, id = self._own.certificate, ratchets.session_id(group)
        key = group.session_key.to_base64()
        identity = self._contacts.peer(mine.device.user).identity
        state = KeyState(room, room_id, mine.device.user, mine.device.id, identity, id, "", key=key)
        state.given = [certificate.device.id for certificate in to]
        self._keep(state, InboundGroupSession(group.session_key))
        of_user: dict[str, list[str]] = {}
        for certificate in to:
            of_user.setdefault(certificate.device.user, []).append(certificate.device.id)
        for certificate in to:
            given = tuple(of_user[certificate.device.user])
            self._mail.send(certificate, RoomKeyLetter(room, room_id, id, key, given))

    def receive(self, sender: Certificate, letter: RoomKeyLetter) -> tuple[str, bytes]:
        """A device sent the key of its own session. Returns where it is stored now.

        :raises PeerError: the key does not hold; nothing was changed.
        """
        session = ratchets.inbound(letter.key)
        if ratchets.session_id(session) != letter.session:
            raise LetterRefused(reason="the room key is of another session than it says")
        device = sender.device
        old = self.get(device.id, letter.session)
        if old is not None and not old.vouched_by:
            if old.room_id != letter.room_id:
                raise LetterRefused(reason="the session belongs to another room")
            kept = self.use(old)
            if not ratchets.same_ratchet(kept, session):
                raise LetterRefused(reason="there is another key of the same session")
            if kept.first_known_index <= session.first_known_index:
                return device.id, letter.session
        identity = self._contacts.peer(device.user).identity
        state = KeyState(letter.room, letter.room_id, device.user, device.id, identity, letter.session, "")
        state.given = list(letter.given)
        self._keep(state, session)
        return device.id, letter.session

    def receive_forwarded(self, sender: Certificate, letter: ForwardedKey) -> tuple[str, bytes]:
        """Another device of our own name passed on somebody's key: good for reading, no proof.

        :raises PeerError: the key does not hold; nothing was changed.
        """
        if sender.device.user != self._own.user:
            raise LetterRefused(reason="room keys are passed on between devices of one name only")
        self.take_unproved(letter, sender.device.id)
        return letter.device, letter.session

    def take_unproved(self, letter: ForwardedKey, vouched_by: str) -> bool:
        """Keep a key that ``vouched_by`` had, unless we have one that is at least as good: False then.

        :raises PeerError: the key does not hold.
        """
        session = ratchets.imported(letter.key)
        if ratchets.session_id(session) != letter.session:
            raise LetterRefused(reason="the room key is of another session than it says")
        old = self.get(letter.device, letter.session)
        if old is not None and (
            not old.vouched_by or self.use(old).first_known_index <= session.first_known_index
        ):
            return False
        identity = self._contacts.peer(letter.owner).identity
        state = KeyState(
            letter.room, letter.room_id, letter.owner, letter.device, identity, letter.session, ""
        )
        state.vouched_by = vouched_by
        self._keep(state, session)
        return True

    # ------------------------------------------------------------------------------------ answering

    def answer(self, sender: Certificate, request: KeyRequest) -> None:
        """Give a key again, if that very device was given it before.

        :raises LetterRefused: it was not.
        """
        asker = sender.device
        state = self.get(request.device, request.session)
        if state is None:
            if asker.user == self._own.user and request.device != self._own.id:
                return  # our other devices ask whoever might have it
            raise LetterRefused(reason="it asks for a room key that we do not have")
        if asker.id not in state.given or state.vouched_by:
            raise LetterRefused(reason="it asks for a room key that it was never given")
        place = (asker.id, _id(state.device, state.session))
        if self._turn.now - self._answered.get(place, -ANSWER_PAUSE) < ANSWER_PAUSE:
            return
        self._answered[place] = self._turn.now
        self._answered.move_to_end(place)
        while len(self._answered) > 10_000:
            self._answered.popitem(last=False)
        if state.device == self._own.id:
            self._mail.send(
                sender, RoomKeyLetter(state.room, state.room_id, state.session, state.key, (asker.id,))
            )
        elif asker.user == self._own.user:
            self._mail.send(sender, self.exported(state))
        else:
            raise LetterRefused(reason="it asks for somebody else's room key")

    def exported(self, state: KeyState) -> ForwardedKey:
        """A key as one device passes it on to another of its name, or a backup holds it."""
        session = self.use(state)
        key = ratchets.exported(session, session.first_known_index)
        return ForwardedKey(state.room, state.room_id, state.user, state.device, state.session, key)

    def all(self) -> list[KeyState]:
        """Every key, in the order of their owners' devices."""
        return [state for _, state in self._keeper.scan("key", KeyState)]

    # -------------------------------------------------------------------------------------- storing

    def _keep(self, state: KeyState, session: InboundGroupSession) -> None:
        id = _id(state.device, state.session)
        if self.get(state.device, state.session) is None:
            count = self._counts.get(state.device)
            if count is None:
                count = sum(1 for _ in self._keeper.scan("key", KeyState, state.device + "/"))
            if count >= MAX_OF_DEVICE:
                raise LetterRefused(reason="its device sent too many room keys")
            self._counts[state.device] = count + 1
        state.pickle = session.pickle(PICKLE_KEY)
        self._keeper.put("key", id, state)
        self._opened(id, session)

    def _opened(self, id: str, session: InboundGroupSession) -> None:
        self._open[id] = session
        self._open.move_to_end(id)
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)


def _id(device: str, session: bytes) -> str:
    return f"{device}/{session.hex()}"
