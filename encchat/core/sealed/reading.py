"""Reading a sealed room: each entry is opened, or waits for its key, or is shown as what failed.

Nothing is believed of an entry but its place. The key says whose session it is; log entry, key and payload
must name the same room, sender and device; the payload must be of the roster that counts at that seq, and
must have seen the same log as we did up to where it says.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Iterable

import msgspec

from encchat.core.sealed import effects as fx
from encchat.core.sealed import payload, ratchets
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

#: Entries that wait for keys: of one room, and of all.
MAX_WAITING = 1000
MAX_WAITING_ALL = 5000
#: When a key is asked for, in milliseconds after the last time: 10 s after the entry, then ever more rarely.
ASK_AFTER = (10_000, 60_000, 600_000, 3_600_000, 24 * 3_600_000)
MAX_ASKED_AT_ONCE = 50


class WaitingEntry(msgspec.Struct):
    """An entry whose key is missing, and what counts at its place."""

    room: str
    seq: int
    time: int
    sender: str
    device: str
    msgid: bytes
    body: bytes
    epoch: int
    roster: bytes
    identity: bytes
    session: bytes
    since: int
    asked: int = 0


class Reading:
    """What is read; entries that wait are records of kind ``waiting``."""

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
        #: Who waits for which key: the ids of their records, in order.
        self._waiting: dict[tuple[str, bytes], dict[str, None]] = {}
        self._counts: Counter[str] = Counter()
        for id, entry in keeper.scan("waiting", WaitingEntry):
            self._waiting.setdefault((entry.device, entry.session), {})[id] = None
            self._counts[entry.room] += 1

    def read(self, entry: Entry, chain: bytes) -> bool:
        """The next entry of a room, after which the log's chain is ``chain``. False if it was read before.

        :raises OutOfOrder: it is not the next one.
        """
        if not self._rooms.advance(entry.room, entry.seq, chain):
            return False
        sender = key_of(entry.sender)
        if entry.kind == "roster":
            self._rooms.read_roster(entry.room, entry.seq, entry.time, sender, entry.body)
            return True
        epoch = self._rooms.epoch(entry.room)
        try:
            if epoch is None or sender not in epoch.identities:
                raise NotGenuine("not-a-member", "It is from somebody who was not in the room.")
            if entry.kind != "sealed":
                raise NotGenuine("not-sealed", "It was not sealed, so anybody could have written it.")
            sealed = payload.parse_sealed(entry.body)
            waiting = self._as_waiting(entry, sender, sealed, epoch)
            self._open(waiting, sealed, late=False)
        except PeerError as error:
            self._fail(entry.room, entry.seq, entry.time, sender, entry.device, error, late=False)
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
            code = error.word if isinstance(error, NotGenuine) else error.code
            return fx.Failed(*place, code, str(error))
        trust = self._contacts.trust_of(sender, entry.device, key.identity)
        return fx.Opened(*place, said.kind, said.target, said.body, trust, key.vouched_by)

    def retry(self, device: str, session: bytes) -> None:
        """The key of a session came: open what waited for it."""
        for id in sorted(self._waiting.pop((device, session), {})):
            entry = self._keeper.get("waiting", id, WaitingEntry)
            if entry is None:
                continue
            self._keeper.drop("waiting", id)
            self._counts[entry.room] -= 1
            try:
                self._open(entry, payload.parse_sealed(entry.body), late=True)
            except PeerError as error:
                self._fail(entry.room, entry.seq, entry.time, entry.sender, device, error, late=True)

    def ask_anew(self, device: str) -> None:
        """Letters to this device may have been lost, and get through now: ask it soon once more."""
        for (owner, _), ids in self._waiting.items():
            entry = self._keeper.get("waiting", next(iter(ids)), WaitingEntry) if owner == device else None
            if entry is not None and entry.asked:
                entry.asked = 0
                self._keeper.put("waiting", next(iter(ids)), entry)

    def ask_for_keys(self) -> None:
        """Ask for keys that are missing for too long: the device whose they are, and our own others."""
        now, asked = self._turn.now, 0
        for (device, session), ids in list(self._waiting.items()):
            first = next(iter(ids))
            entry = self._keeper.get("waiting", first, WaitingEntry)
            if entry is None or asked >= MAX_ASKED_AT_ONCE:
                continue
            if now - entry.since < ASK_AFTER[min(entry.asked, len(ASK_AFTER) - 1)]:
                continue
            names = self._senders(ids)
            found = [self._contacts.certificate(name, device) for name in names]
            owner = next((certificate for certificate in found if certificate is not None), None)
            unasked = [name for name in names if not self._contacts.was_asked_since(name, entry.since)]
            if owner is None and unasked:
                for name in unasked:
                    self._contacts.ask(name)
                continue
            asked += 1
            entry.asked, entry.since = entry.asked + 1, now
            self._keeper.put("waiting", first, entry)
            others = [c for c in self._contacts.devices(self._own.user) if c != owner]
            for certificate in (owner, *others):
                if certificate is not None and certificate.device.id != self._own.id:
                    self._mail.send(certificate, KeyRequest(device, session))

    def _senders(self, ids: Iterable[str]) -> list[str]:
        """Whose the server says that some entries are. One of them is the owner of the device, if any."""
        entries = (self._keeper.get("waiting", id, WaitingEntry) for id in ids)
        return list(dict.fromkeys(entry.sender for entry in entries if entry is not None))

    def waiting(self, room: str) -> Iterable[int]:
        """The seqs of a room that wait for keys."""
        return [entry.seq for _, entry in self._keeper.scan("waiting", WaitingEntry, room + "/")]

    # -------------------------------------------------------------------------------------- opening

    def _as_waiting(self, entry: Entry, sender: str, sealed: Sealed, epoch: Epoch) -> WaitingEntry:
        return WaitingEntry(
            entry.room,
            entry.seq,
            entry.time,
            sender,
            entry.device,
            entry.msgid,
            entry.body,
            epoch.roster.epoch,
            epoch.hash,
            epoch.identities[sender],
            sealed.session,
            self._turn.now,
        )

    def _open(self, entry: WaitingEntry, sealed: Sealed, *, late: bool) -> None:
        key = self._keys.get(entry.device, sealed.session)
        mine = entry.device == self._own.id and entry.sender == self._own.user
        if key is None:
            if mine:
                self._judge_own(entry, sealed)
            self._wait(entry)
            return
        if key.user != entry.sender:
            raise NotGenuine("wrong-sender", f"It was written by {key.user}, not by {entry.sender}.")
        epoch = self._rooms.epoch(entry.room)
        if epoch is None or key.room_id != epoch.room_id:
            raise NotGenuine("wrong-room", "It was written in another room.")
        if key.identity != entry.identity and not self._contacts.authority:
            raise NotGenuine("wrong-sender", f"It is not from the {entry.sender} who is in the room.")
        said, index = self._decrypt(key, sealed)
        self._check(entry, said, epoch)
        if mine and said.n > self._rooms.place(entry.room).n:
            self._roll_back(entry)
        mark = Mark(index, entry.seq, said.n, said.mid)
        self._ledger.admit(entry.room, entry.device, sealed.session, mark)
        self._check_seen(entry, said)
        if not key.vouched_by:
            self._contacts.claim(entry.sender, entry.device, said.devices)
        trust = self._contacts.trust_of(entry.sender, entry.device, key.identity)
        place = (entry.room, entry.seq, entry.time, entry.sender, entry.device)
        self._turn.tell(fx.Opened(*place, said.kind, said.target, said.body, trust, key.vouched_by, late))

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

    def _check(self, entry: WaitingEntry, said: Payload, epoch: Epoch) -> None:
        """Whether what is inside names what is outside."""
        if said.room_id != epoch.room_id:
            raise NotGenuine("wrong-room", "It was written in another room.")
        if (said.user, said.device) != (entry.sender, entry.device):
            raise NotGenuine("wrong-sender", f"It was written by {said.user}, not by {entry.sender}.")
        if said.mid != entry.msgid:
            raise NotGenuine("replayed", "The server shows a message again that was written once.")
        if (said.epoch, said.roster) != (entry.epoch, entry.roster):
            raise NotGenuine("stale-roster", "It was sealed for other members than were in the room then.")

    def _check_seen(self, entry: WaitingEntry, said: Payload) -> None:
        """Whether its writer saw the same log as we did. What is wrong here concerns the whole room."""
        if said.seen >= entry.seq:
            raise NotGenuine("reordered", "It stands before something that its writer had seen.")
        if self._rooms.chain_at(entry.room, said.seen) != said.chain:
            self._rooms.fork(entry.room)
            self._turn.tell(fx.Forked(entry.room, entry.seq, entry.sender))
            raise NotGenuine("forked", f"The server showed {entry.sender} another history of this room.")

    def _wait(self, entry: WaitingEntry) -> None:
        place = (entry.room, entry.seq, entry.time, entry.sender, entry.device)
        epoch = self._rooms.epoch(entry.room)
        if epoch is None or self._own.user not in epoch.identities:
            raise NotGenuine("not-for-us", "It was written while you were not in the room.")
        id = f"{entry.room}/{entry.seq:016d}"
        kept = self._counts.total() < MAX_WAITING_ALL and self._counts[entry.room] < MAX_WAITING
        if kept:
            self._counts[entry.room] += 1
            self._keeper.put("waiting", id, entry)
            self._waiting.setdefault((entry.device, entry.session), {})[id] = None
        self._turn.tell(fx.Waiting(*place, kept))

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

    def _fail(
        self, room: str, seq: int, time: int, sender: str, device: str, error: PeerError, *, late: bool
    ) -> None:
        code = error.word if isinstance(error, NotGenuine) else error.code
        self._turn.tell(fx.Failed(room, seq, time, sender, device, code, str(error), late))
