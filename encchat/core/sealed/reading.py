"""Reading a sealed room: each entry is opened, or waits for its key, or is shown as what failed.

What failed because of a roster that was in doubt then is looked at again once that counts.

Nothing is believed of an entry but its place. The key says whose session it is; log entry, key and payload
must name the same room, sender and device; the payload must be of the roster that counts at that seq, and
must have seen the same log as we did up to where it says.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from contextlib import suppress

from encchat.core.sealed import effects as fx
from encchat.core.sealed import payload, ratchets
from encchat.core.sealed.backlog import Backlog, Stamp, WaitingEntry
from encchat.core.sealed.contacts import Contacts
from encchat.core.sealed.keeper import Keeper
from encchat.core.sealed.ledger import Ledger, Mark, NotGenuine
from encchat.core.sealed.letters import KeyRequest
from encchat.core.sealed.mail import Mail
from encchat.core.sealed.naming import key_of
from encchat.core.sealed.own import Own
from encchat.core.sealed.payload import Payload, Sealed
from encchat.core.sealed.ratchets import MegolmMessage
from encchat.core.sealed.roomkeys import KeyState, RoomKeys
from encchat.core.sealed.rooms import Epoch, Rooms
from encchat.errors import PeerError
from encchat.messages import Entry

#: When a key is asked for, in milliseconds after the last time: 10 s after the entry, then ever more rarely.
ASK_AFTER = (10_000, 60_000, 600_000, 3_600_000, 24 * 3_600_000)
MAX_ASKED_AT_ONCE = 50


#: Why an entry fails that a roster in doubt before it may cure.
_CURABLE = frozenset({"not-a-member", "not-for-us", "wrong-sender", "stale-roster"})


class Reading:
    """What is read."""

    def __init__(
        self,
        keeper: Keeper,
        turn: fx.Turn,
        own: Own,
        contacts: Contacts,
        mail: Mail,
        keys: RoomKeys,
        rooms: Rooms,
    ) -> None:
        self._keeper = keeper
        self._turn = turn
        self._own = own
        self._contacts = contacts
        self._mail = mail
        self._keys = keys
        self._rooms = rooms
        self._ledger = Ledger(keeper)
        self._backlog = Backlog(keeper, turn)

    def read(self, entry: Entry, chain: bytes) -> bool:
        """The next entry of a room, after which the log's chain is ``chain``. False if it was read before.

        :raises OutOfOrder: it is not the next one.
        """
        if not self._rooms.places.advance(entry.room, entry.seq, chain):
            return False
        sender = key_of(entry.sender)
        if entry.kind == "roster":
            cured = self._rooms.read_roster(entry.room, entry.seq, entry.time, sender, entry.body)
            self._look_again(entry.room, cured)
            return True
        epoch = self._rooms.epoch(entry.room)
        try:
            if epoch is None or sender not in epoch.identities:
                raise NotGenuine("not-a-member", "It is from somebody who was not in the room.")
            if entry.kind != "sealed":
                raise NotGenuine("not-sealed", "It was not sealed, so anybody could have written it.")
            sealed = payload.parse_sealed(entry.body)
            self._open(self._as_waiting(entry, sender, sealed, epoch), sealed, epoch, late=False)
        except PeerError as error:
            place = (entry.room, entry.seq, entry.time, sender, entry.device)
            self._turn.tell(fx.Failed(*place, _code(error), str(error)))
            if entry.kind == "sealed" and self._rooms.is_in_doubt(entry.room):
                with suppress(PeerError):
                    sealed = payload.parse_sealed(entry.body)
                    self._hold(self._as_waiting(entry, sender, sealed, epoch), error)
        return True

    def again(self, entry: Entry) -> fx.Opened | fx.Failed:
        """An entry that was opened before, for who shows it again: nothing is changed by it. What was not
        opened in just that place is ``Failed``."""
        sender = key_of(entry.sender)
        place = (entry.room, entry.seq, entry.time, sender, entry.device)
        try:
            sealed = payload.parse_sealed(entry.body)
            key = self._keys.get(entry.device, sealed.session)
            if key is None:
                raise NotGenuine("no-key", f"There is no key of it from {sender}.")
            said, index = self._decrypt(key, sealed)
            mark = Mark(index, entry.seq, said.n, said.mid)
            same = (said.user, said.device, said.mid) == (sender, entry.device, entry.msgid)
            if not same or not self._ledger.is_pinned(entry.room, entry.device, sealed.session, mark):
                raise NotGenuine("not-genuine", "It was not opened before.")
        except PeerError as error:
            return fx.Failed(*place, _code(error), str(error))
        trust = self._contacts.trust_of(sender, entry.device, key.identity)
        what = (said.kind, said.target, said.body)
        return fx.Opened(*place, *what, trust, key.vouched_by, identity=key.identity)

    def retry(self, device: str, session: bytes) -> None:
        """The key of a session came: open what waited for it."""
        for entry in self._backlog.take(device, session):
            self._try_again(entry, self._rooms.epoch(entry.room))

    def reconsider(self) -> None:
        """Who somebody is has changed: rosters that were in doubt may count now."""
        for room in self._rooms.in_doubt():
            self._look_again(room, self._rooms.reconsider(room))

    def ask_anew(self, device: str) -> None:
        """Letters to this device may have been lost, and get through now: ask it soon once more."""
        for key in self._backlog.missing():
            entry = self._backlog.first(key) if key[0] == device else None
            if entry is not None and entry.asked:
                entry.asked = 0
                self._backlog.change(entry)

    def ask_for_keys(self) -> None:
        """Ask for keys that are missing for too long: the device whose they are, and our own others."""
        now, asked = self._turn.now, 0
        for key in self._backlog.missing():
            entry = self._backlog.first(key)
            if entry is None or asked >= MAX_ASKED_AT_ONCE:
                continue
            if now - entry.since < ASK_AFTER[min(entry.asked, len(ASK_AFTER) - 1)]:
                continue
            device, session = key
            names = self._backlog.senders(key)
            found = [self._contacts.certificate(name, device) for name in names]
            owner = next((certificate for certificate in found if certificate is not None), None)
            unasked = [name for name in names if not self._contacts.was_asked_since(name, entry.since)]
            if owner is None and unasked:
                for name in unasked:
                    self._contacts.ask(name)
                continue
            asked += 1
            entry.asked, entry.since = entry.asked + 1, now
            self._backlog.change(entry)
            others = [c for c in self._contacts.devices(self._own.user) if c != owner]
            for certificate in (owner, *others):
                if certificate is not None and certificate.device.id != self._own.id:
                    self._mail.send(certificate, KeyRequest(device, session))

    def waiting(self, room: str) -> Iterable[int]:
        """The seqs of a room that wait for keys."""
        return [entry.seq for entry in self._backlog.waiting(room)]

    # ------------------------------------------------------------------------------ rosters in doubt

    def _hold(self, entry: WaitingEntry, error: PeerError) -> None:
        """Keep what failed, if a roster in doubt may be why."""
        if _code(error) in _CURABLE:
            entry.told = _code(error)
            self._backlog.add(entry)

    def _look_again(self, room: str, cured: Sequence[tuple[int, Epoch]]) -> None:
        """Rosters that were in doubt count now, each from its seq on: open what came after them, in order."""
        if cured:
            for entry in list(self._backlog.waiting(room)):
                if _stamp(entry, cured):
                    self._backlog.change(entry)
            for entry in self._backlog.take_held(room):
                epoch = _stamp(entry, cured)
                if epoch is not None:
                    self._try_again(entry, epoch)
                elif self._rooms.is_in_doubt(room):
                    self._backlog.add(entry)
        elif not self._rooms.is_in_doubt(room):
            self._backlog.take_held(room)  # what they waited for will not count

    def _try_again(self, entry: WaitingEntry, epoch: Epoch | None) -> None:
        told, entry.told = entry.told, ""
        try:
            self._open(entry, payload.parse_sealed(entry.body), epoch, late=True)
        except PeerError as error:
            if _code(error) != told:
                place = (entry.room, entry.seq, entry.time, entry.sender, entry.device)
                self._turn.tell(fx.Failed(*place, _code(error), str(error), late=True))
            if self._rooms.is_in_doubt(entry.room):
                self._hold(entry, error)

    # -------------------------------------------------------------------------------------- opening

    def _as_waiting(self, entry: Entry, sender: str, sealed: Sealed, epoch: Epoch | None) -> WaitingEntry:
        member = epoch is not None and sender in epoch.identities
        return WaitingEntry(
            entry.room,
            entry.seq,
            entry.time,
            sender,
            entry.device,
            entry.msgid,
            entry.body,
            epoch.roster.epoch if epoch is not None and member else 0,
            epoch.hash if epoch is not None and member else b"",
            epoch.identities[sender] if epoch is not None and member else b"",
            sealed.session,
            self._turn.now,
        )

    def _open(self, entry: WaitingEntry, sealed: Sealed, epoch: Epoch | None, *, late: bool) -> None:
        key = self._keys.get(entry.device, sealed.session)
        mine = entry.device == self._own.id and entry.sender == self._own.user
        if key is None:
            if mine:
                self._judge_own(entry, sealed)
            self._wait(entry, epoch)
            return
        if key.user != entry.sender:
            raise NotGenuine("wrong-sender", f"It was written by {key.user}, not by {entry.sender}.")
        if epoch is None or key.room_id != epoch.room_id:
            raise NotGenuine("wrong-room", "It was written in another room.")
        # A key that is only vouched for proves no identity; what it opens is shown as that.
        by_name = self._contacts.authority or bool(key.vouched_by)
        known = entry.stamps if by_name else _of_identity(entry, key.identity)
        said, index = self._decrypt(key, sealed)
        stamp = self._check(entry, said, epoch, known)
        identity = stamp.identity if key.vouched_by else key.identity
        if mine and said.n > self._rooms.places.last(entry.room):
            self._roll_back(entry)
        mark = Mark(index, entry.seq, said.n, said.mid)
        self._ledger.admit(entry.room, entry.device, sealed.session, mark)
        self._check_seen(entry, said)
        if not key.vouched_by:
            self._contacts.claim(entry.sender, entry.device, said.devices)
        trust = self._contacts.trust_of(entry.sender, entry.device, identity)
        place = (entry.room, entry.seq, entry.time, entry.sender, entry.device)
        what = (said.kind, said.target, said.body)
        self._turn.tell(fx.Opened(*place, *what, trust, key.vouched_by, late, identity))

    def _decrypt(self, key: KeyState, sealed: Sealed) -> tuple[Payload, int]:
        try:
            session = self._keys.use(key)
            with ratchets.checked("sealed message"):
                opened = session.decrypt(MegolmMessage.from_bytes(sealed.ciphertext))
        except ratchets.BadCrypto as error:
            if "unknown message index" in str(error):
                raise NotGenuine("before-key", "It was written before your key of it begins.") from None
            raise NotGenuine("tampered", "It was changed on its way.") from None
        if payload.commitment(opened.plaintext) != sealed.commitment:
            raise NotGenuine("tampered", "It was changed on its way.")
        return payload.unpad(opened.plaintext), opened.message_index

    def _check(self, entry: WaitingEntry, said: Payload, epoch: Epoch, known: Iterable[Stamp]) -> Stamp:
        """Whether what is inside names what is outside. Returns what counts at its place."""
        if said.room_id != epoch.room_id:
            raise NotGenuine("wrong-room", "It was written in another room.")
        if (said.user, said.device) != (entry.sender, entry.device):
            raise NotGenuine("wrong-sender", f"It was written by {said.user}, not by {entry.sender}.")
        if said.mid != entry.msgid:
            raise NotGenuine("replayed", "The server shows a message again that was written once.")
        found = [stamp for stamp in known if (stamp.epoch, stamp.roster) == (said.epoch, said.roster)]
        if not found:
            raise NotGenuine("stale-roster", "It was sealed for other members than were in the room then.")
        return found[-1]

    def _check_seen(self, entry: WaitingEntry, said: Payload) -> None:
        """Whether its writer saw the same log as we did. What is wrong here concerns the whole room."""
        if said.seen >= entry.seq:
            raise NotGenuine("reordered", "It stands before something that its writer had seen.")
        if self._rooms.places.chain_at(entry.room, said.seen) != said.chain:
            self._rooms.fork(entry.room)
            self._turn.tell(fx.Forked(entry.room, entry.seq, entry.sender))
            raise NotGenuine("forked", f"The server showed {entry.sender} another history of this room.")

    def _wait(self, entry: WaitingEntry, epoch: Epoch | None) -> None:
        place = (entry.room, entry.seq, entry.time, entry.sender, entry.device)
        if epoch is None or self._own.user not in epoch.identities:
            raise NotGenuine("not-for-us", "It was written while you were not in the room.")
        self._turn.tell(fx.Waiting(*place, self._backlog.add(entry), self._is_before(entry)))

    def _is_before(self, entry: WaitingEntry) -> bool:
        """Whether an entry is from before this device took part: it is in no list yet, or (if the server
        tells the time truly) was not made yet. Only what is said of the entry rests on that."""
        own = self._own
        out = not own.listed and not self._contacts.is_revoked(own.user, own.id)
        return out or entry.time < own.certificate.device.created

    def _judge_own(self, entry: WaitingEntry, sealed: Sealed) -> None:
        """A message in our own device's name, whose session we do not have: ours all the same, or made up."""
        if not hmac.compare_digest(self._own.mark(sealed.session, sealed.commitment), sealed.mark):
            raise NotGenuine("wrong-sender", "It was not written by this device, though the server says so.")
        self._roll_back(entry)

    def _roll_back(self, entry: WaitingEntry) -> None:
        """The log knows more of this device than the device itself."""
        if not self._own.state.rolled_back:
            self._own.state.rolled_back = True
            self._own.save()
        self._turn.tell(fx.RolledBack(entry.room, entry.seq))


def _code(error: PeerError) -> str:
    return error.word if isinstance(error, NotGenuine) else error.code


def _of_identity(entry: WaitingEntry, identity: bytes) -> list[Stamp]:
    """What counts at the place of an entry, by which its sender is who has this identity.

    :raises NotGenuine: nothing.
    """
    found = [stamp for stamp in entry.stamps if stamp.identity == identity]
    if not found:
        raise NotGenuine("wrong-sender", f"It is not from the {entry.sender} who is in the room.")
    return found


def _stamp(entry: WaitingEntry, cured: Sequence[tuple[int, Epoch]]) -> Epoch | None:
    """Note what came to count at the place of an entry, if its sender is in the room by it."""
    before = [epoch for seq, epoch in cured if seq < entry.seq]
    identity = before[-1].identities.get(entry.sender) if before else None
    if identity is None:
        return None
    entry.also.append(Stamp(before[-1].roster.epoch, before[-1].hash, identity))
    return before[-1]
