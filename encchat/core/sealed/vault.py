"""The way in: one vault holds all that one device of one name knows about sealed rooms.

Every method takes what came in, and the time in milliseconds since 1970 (UTC), and returns an ``Outcome``:
what to ask of the server and what to show, in order, after the state behind it was written to the store. If
the store fails, the method raises ``StorageError`` and nothing gets out; the next call writes it again.

The order of calls::

    vault = Vault(store, key, "alice", identity, entropy, now)   # once a process
    vault.connected(now)             # at every Welcome: asks for our own devices, then publishes ours
    vault.devices / no_devices       # the answers to AskDevices
    vault.published / not_published  # the answers to Publish
    vault.claimed                    # the answers to Claim
    vault.mail                       # every Mail that is pushed
    vault.entry                      # every Entry of a sealed room, once its chain holds
    vault.caught_up                  # a room was joined and read up to the head that Joined named
    vault.send / change              # what a person wants; then for each Append or Create that comes of it
    vault.appended / refused         # its Sent, or the code of its Error
    vault.tick                       # every five seconds or so
    vault.hint_devices               # somebody came online, or a letter could not be queued
    vault.disconnected(now)          # the connection is gone; what was not answered is asked again later

The actions of one outcome are sent in their order. Entries of a sealed room are read from the very first
one, in order, as who is in a room is known from its rosters alone: join it after ``position``.
"""

from __future__ import annotations

from collections.abc import Iterable

from encchat.core.sealed import effects as fx
from encchat.core.sealed.backup import BackupUnreadable, Contents, KeptKey, KeptPin, KeptRoom
from encchat.core.sealed.changes import Change
from encchat.core.sealed.desk import Desk
from encchat.core.sealed.effects import Outcome
from encchat.core.sealed.formats import Certificate, Roster, fingerprint_of
from encchat.core.sealed.naming import BadFormat, check_room, key_of
from encchat.core.sealed.numbers import SafetyNumber, safety_number
from encchat.core.sealed.payload import MAX_SAID, TooLong
from encchat.core.sealed.ratchets import BadCrypto
from encchat.core.sealed.roomkeys import BACKUP
from encchat.core.sealed.rooms import Anchor
from encchat.core.sealed.sas import NothingToCompare
from encchat.core.sealed.sending import Outgoing
from encchat.errors import PeerError, UsageError
from encchat.messages import Entry, Position


class NotSealed(UsageError):
    """{room} is not a sealed room: those begin with '#' or '@'."""

    code = "not-sealed"


class Vault(Desk):
    """One device of one name; see ``Desk`` for what it is made of."""

    # ------------------------------------------------------------------------------- what is known

    @property
    def device(self) -> str:
        """The id of this device."""
        return self._own.id

    @property
    def fingerprint(self) -> str:
        """The fingerprint of this machine's identity."""
        return fingerprint_of(self._own.certificate.identity)

    def position(self, room: str) -> Position:
        """How far a room was read: join it from there."""
        place = self._rooms.places.place(room)
        return Position(place.at, place.chain)

    def roster(self, room: str) -> Roster | None:
        """Who is in a room, as far as it was read; None before its first roster."""
        epoch = self._rooms.epoch(room)
        return None if epoch is None else epoch.roster

    def rooms(self) -> list[str]:
        """The sealed rooms that were read, in the order of their names."""
        return self._rooms.names()

    def trust(self, name: str) -> str:
        """How sure the identity of ``name`` is: ``verified``, ``vouched``, ``pinned``, ``changed``
        or ``unknown``."""
        return self.contacts.trust(name)

    def room_trust(self, room: str) -> str:
        """How sure those in a room are, all together: the least sure of them but ourselves."""
        epoch = self._rooms.epoch(room)
        names = [name for name in (epoch.identities if epoch else ()) if name != self.user]
        order = (fx.CHANGED, fx.UNKNOWN, fx.PINNED, fx.VOUCHED, fx.VERIFIED)
        return min((self.trust_in(room, name) for name in names), key=order.index, default=fx.VERIFIED)

    def trust_in(self, room: str, name: str) -> str:
        """How sure it is that whom a room means by ``name`` is ``name``."""
        epoch = self._rooms.epoch(room)
        identity = epoch.identities.get(name) if epoch is not None else None
        return self.trust(name) if identity is None else self.contacts.trust_as(name, identity)

    def means(self, room: str, name: str) -> bool:
        """Whether whom a room's roster means by ``name`` is whom we know by it; so for who is not in it."""
        epoch = self._rooms.epoch(room)
        identity = epoch.identities.get(name) if epoch is not None else None
        return identity is None or identity == self.contacts.peer(name).identity

    def is_forked(self, room: str) -> bool:
        """Whether the server was seen to show different histories of a room."""
        return self._rooms.state(room).forked

    def waiting(self, room: str) -> list[int]:
        """The seqs of a room whose keys are missing."""
        return list(self._reading.waiting(room))

    def outgoing(self) -> list[Outgoing]:
        """What was taken to be sent and is not in a log yet, in order."""
        return self._sending.waiting()

    @property
    def certificate(self) -> Certificate:
        """The certificate of this device, whether it is in a list or waits to be."""
        return self._own.certificate

    def devices_of(self, name: str) -> list[Certificate]:
        """The devices of ``name`` that messages are encrypted for, as far as known."""
        return self.contacts.devices(name)

    @property
    def letters_wait(self) -> bool:
        """Whether letters wait until their senders' devices are known: keys may be in them."""
        return bool(self._letters)

    def waiting_devices(self) -> list[Certificate]:
        """Machines of our own name that nobody has accepted yet, as far as the server has told."""
        return self._publishing.waiting

    @property
    def waits(self) -> bool:
        """Whether this device is in no list of our name yet; one that was taken back never will be."""
        mine, name = self._own.id, self._own.user
        return not (self.contacts.has(name, mine) or self.contacts.is_revoked(name, mine))

    @property
    def is_out(self) -> bool:
        """Whether nothing is sent, as another device of our name has to let this one in."""
        return self._publishing.is_out

    # ---------------------------------------------------------------------------------------- rooms

    def entry(self, entry: Entry, chain: bytes, now: int) -> Outcome:
        """The next entry of a sealed room; ``chain`` is the log's after it, which the caller has checked.

        :raises OutOfOrder: it does not follow what was read.
        """
        return self.entries([(entry, chain)], now)

    def entries(self, entries: Iterable[tuple[Entry, bytes]], now: int) -> Outcome:
        """As ``entry``, for many at once, which is written at once.

        :raises OutOfOrder: one does not follow what was read; those before it were read.
        """
        self._begin(now)
        for entry, chain in entries:
            told = len(self._turn.events)
            self._reading.read(entry, chain)
            if key_of(entry.sender) == self.user:
                opened = any(isinstance(event, fx.Opened) for event in self._turn.events[told:])
                self._sending.arrived(entry.msgid, entry.seq, entry.body, opened=opened)
        return self._end()

    def again(self, entry: Entry) -> fx.Opened | fx.Failed:
        """Open an entry once more that was opened before, as for a page of history. Changes nothing, and is
        not for what was not read yet."""
        return self._reading.again(entry)

    def caught_up(self, room: str, now: int) -> Outcome:
        """The room was read up to where its log ended when we joined it, in this connection: from now on what
        waits for it is sent."""
        self._begin(now)
        self._sending.caught_up(room)
        return self._end()

    def send(self, room: str, msgid: bytes, kind: str, body: bytes, now: int, *, target: int = 0) -> Outcome:
        """Say something: ``kind``, ``body`` and ``target`` as in an open room, and ``topic``. It is kept
        until it is in the log: ``SendDone`` or ``SendFailed`` tells.

        :raises NotSealed: the room is open.
        :raises TooLong: the body is too large.
        :raises TooManyWaiting: too much waits already.
        """
        self._begin(now)
        _check_sealed(room)
        if len(body) > MAX_SAID:
            raise TooLong(size=len(body), limit=MAX_SAID)
        self._sending.add(Outgoing(room, msgid, kind, target, body))
        return self._end()

    def change(self, room: str, msgid: bytes, change: Change, now: int) -> Outcome:
        """Make a room, or change who is in it: ends as ``send`` does.

        :raises NotSealed: the room is open.
        :raises TooManyWaiting: too much waits already.
        """
        self._begin(now)
        _check_sealed(room)
        self._sending.add(Outgoing(room, msgid, change=change))
        return self._end()

    def appended(self, msgid: bytes, seq: int, now: int) -> Outcome:
        """The server stored it, as entry ``seq``."""
        self._begin(now)
        self._sending.appended(msgid, seq)
        return self._end()

    def refused(self, msgid: bytes, code: str, reason: str, now: int) -> Outcome:
        """The server refused it. After ``roster-changed`` it is sealed anew once that roster was read."""
        self._begin(now)
        self._sending.refused(msgid, code, reason)
        return self._end()

    # --------------------------------------------------------------------------------------- people

    def accept_identity(self, name: str, now: int) -> Outcome:
        """A person accepts the identity that claims ``name`` now.

        :raises NobodyOffered: none does.
        """
        self._begin(now)
        self.contacts.accept(key_of(name))
        return self._end()

    def accept_device(self, device: str, now: int) -> Outcome:
        """Let another machine of one's own name in, whose fingerprint a person compared.

        :raises NotOurDevice: none such waits.
        :raises NotOurList: another machine keeps the list.
        """
        self._begin(now)
        self._publishing.accept_device(device)
        return self._end()

    def revoke_device(self, device: str, now: int) -> Outcome:
        """Take a device of one's own name out of its list, for ever.

        :raises NotOurDevice: it is not in it.
        :raises NotOurList: another machine keeps the list.
        """
        self._begin(now)
        self._publishing.revoke(device)
        return self._end()

    def renew(self, now: int) -> Outcome:
        """Become a new device, after ``RolledBack``: keys for reading stay, everything else is made anew."""
        self._begin(now)
        self._mail.forget_all()
        self._sending.forget_sessions()
        self._own.renew()
        self._publishing.renewed()
        return self._end()

    # ------------------------------------------------------------------------------------ comparing

    def safety_number(self, name: str) -> SafetyNumber:
        """The 60 digits that ``name`` must see, too: of the identity that claims the name now, if it changed.

        :raises NothingToCompare: ``name`` was not met yet; ask for its devices first (``ask_devices``).
        """
        name = key_of(name)
        peer, own = self.contacts.peer(name), self.contacts.peer(self.user).identity
        identity = peer.offered or peer.identity
        if not identity:
            raise NothingToCompare(reason=f"{name} has no keys here yet")
        return SafetyNumber(name, identity, safety_number(self.user, own, name, identity))

    def ask_devices(self, name: str, now: int) -> Outcome:
        """Ask for the devices of ``name``, whatever is known."""
        self._begin(now)
        self.contacts.ask(key_of(name))
        return self._end()

    def verify(self, number: SafetyNumber, now: int) -> Outcome:
        """A person compared this number and found it the same: its identity is verified, and accepted.

        :raises NothingToCompare: the identity has changed since.
        """
        self._begin(now)
        if not self.contacts.verify(number.name, number.identity):
            raise NothingToCompare(reason=f"the identity of {number.name} has changed meanwhile")
        return self._end()

    def start_sas(self, name: str, device: str, now: int) -> tuple[bytes, Outcome]:
        """Ask the person at this device (empty: at any of ``name``, of which the first that answers
        counts) to compare emoji. Returns the transaction, too.

        :raises NothingToCompare: there is no such device.
        """
        self._begin(now)
        transaction = self._comparing.start(key_of(name), device)
        return transaction, self._end()

    def accept_sas(self, transaction: bytes, now: int) -> Outcome:
        """Agree to compare emoji.

        :raises NothingToCompare: nobody asked, or it is too late.
        """
        self._begin(now)
        self._comparing.accept(transaction)
        return self._end()

    def confirm_sas(self, transaction: bytes, now: int) -> Outcome:
        """The emoji are the same on both sides. ``Verified`` follows when the other one says so, too.

        :raises NothingToCompare: there are none to compare.
        """
        self._begin(now)
        self._comparing.confirm(transaction)
        return self._end()

    def cancel_sas(self, transaction: bytes, now: int) -> Outcome:
        """The emoji differ, or it is not wanted."""
        self._begin(now)
        self._comparing.cancel(transaction)
        return self._end()

    # --------------------------------------------------------------------------------------- backup

    def contents(self, now: int) -> Contents:
        """What a backup holds; ``backup.seal`` makes the file of it."""
        keys = []
        for state in self._keys.all():
            try:
                keys.append(KeptKey(self._keys.exported(state), state.vouched_by))
            except BadCrypto:
                continue  # of another version: it cannot be read here either
        pins = (KeptPin(p.name, p.identity, p.trust) for p in self.contacts.all() if p.identity)
        rooms = []
        for name in self._rooms.names():
            epoch = self._rooms.epoch(name)
            if epoch is not None:
                rooms.append(KeptRoom(name, epoch.room_id, epoch.roster.epoch, epoch.hash))
        return Contents(self.user, now, tuple(keys), tuple(pins), tuple(rooms))

    def restore(self, contents: Contents, now: int) -> tuple[int, Outcome]:
        """Take what ``backup.open_`` read: keys that we do not have, pins of who was not met, rooms that were
        not read. Returns how many keys were taken, too. What waits for one of them is opened.

        :raises BackupUnreadable: it is of another name.
        """
        self._begin(now)
        if contents.user != self.user:
            raise BackupUnreadable(reason=f"it is of {contents.user}")
        for pin in contents.pins:
            self.contacts.restore(pin.name, pin.identity, pin.trust)
        for room in contents.rooms:
            self._rooms.anchor(room.room, Anchor(room.room_id, room.epoch, room.hash))
        taken = 0
        for kept in contents.keys:
            try:
                if self._keys.take_unproved(kept.key, BACKUP):
                    taken += 1
                    self._reading.retry(kept.key.device, kept.key.session)
            except PeerError:
                continue
        return taken, self._end()


def _check_sealed(room: str) -> None:
    try:
        check_room(room, "room")
    except BadFormat:
        raise NotSealed(room=room) from None
