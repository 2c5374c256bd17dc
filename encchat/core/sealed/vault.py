"""The way in: one vault holds all that one device of one name knows about sealed rooms.

Every method takes what came in, and the time in milliseconds since 1970 (UTC), and returns an ``Outcome``: what to
ask of the server and what to show, in order, after the state behind it has been written to the store. If the
store fails, the method raises ``StorageError`` and nothing gets out; the next call writes it again.

The order of calls::

    vault = Vault(store, key, "alice", identity, entropy, now)   # once a process
    vault.connected(now)             # at every Welcome; asks for our own devices and publishes ours
    vault.devices / no_devices       # the answers to AskDevices
    vault.published / not_published  # the answers to Publish
    vault.claimed                    # the answers to Claim
    vault.mail                       # every Mail that is pushed
    vault.entry                      # every Entry of a sealed room, from seq 1, in order, once its chain holds
    vault.send / change              # what a person wants; then, for each Append or Create that came of it:
    vault.appended / refused         #   Sent, or Error with its code
    vault.tick                       # every five seconds or so
    vault.disconnected(now)          # the connection is gone; what was not answered is asked again later

Actions of one outcome are sent in their order. Entries of sealed rooms are read from the very first one, as who is in
a room is known from its rosters alone: join a room with the position that ``position`` gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from encchat.core.names import BadName, parse_name
from encchat.core.sealed import effects as fx
from encchat.core.sealed import letters
from encchat.core.sealed.changes import Change
from encchat.core.sealed.contacts import Contacts, Vouches
from encchat.core.sealed.effects import Outcome, Turn
from encchat.core.sealed.formats import Certificate, Roster, fingerprint_of
from encchat.core.sealed.identities import IdentityKey
from encchat.core.sealed.keeper import Keeper, VaultStore
from encchat.core.sealed.letters import Content
from encchat.core.sealed.mail import Mail
from encchat.core.sealed.naming import BadFormat, check_room
from encchat.core.sealed.own import Own
from encchat.core.sealed.payload import MAX_SAID, TooLong
from encchat.core.sealed.reading import Reading
from encchat.core.sealed.roomkeys import RoomKeys
from encchat.core.sealed.rooms import Rooms
from encchat.core.sealed.sending import Outgoing, Sending
from encchat.errors import PeerError, UsageError
from encchat.messages import Entry, Position

#: Letters that wait until their senders' devices are known.
MAX_QUEUED = 1000


class NotSealed(UsageError):
    """{room} is not a sealed room: those begin with '#' or '@'."""

    code = "not-sealed"


class Vault:
    """One device of ``user`` (the name's key).

    ``store`` keeps the records, encrypted under ``key`` (32 bytes). ``identity`` is the transport identity of
    this machine. ``entropy(n)`` gives n random bytes. ``vouches`` (see ``contacts.Vouches``) is given where an
    authority decides who has a name; else identities are pinned.

    :raises StateUnreadable: the store holds a device that cannot be read.
    """

    def __init__(
        self,
        store: VaultStore,
        key: bytes,
        user: str,
        identity: IdentityKey,
        entropy: Callable[[int], bytes],
        now: int,
        vouches: Vouches | None = None,
    ) -> None:
        self._turn = Turn(now)
        self._acknowledge = 0
        self.user = user
        self._keeper = Keeper(store, key, entropy)
        self.contacts = Contacts(self._keeper, self._turn, user, vouches)
        self._own = Own(self._keeper, self._turn, self.contacts, user, identity)
        self._mail = Mail(self._keeper, self._turn, self._own, self.contacts, entropy)
        self._keys = RoomKeys(self._keeper, self._turn, self._own, self.contacts, self._mail)
        self._rooms = Rooms(self._keeper, self._turn, self.contacts, user)
        self._reading = Reading(
            self._keeper, self._turn, self._own, self.contacts, self._mail, self._keys, self._rooms
        )
        self._sending = Sending(
            self._keeper, self._turn, self._own, self.contacts, self._keys, self._rooms, entropy
        )
        self._letters: deque[tuple[int, str, str, bytes]] = deque()
        self._keeper.flush()

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
        place = self._rooms.place(room)
        return Position(place.at, place.chain)

    def roster(self, room: str) -> Roster | None:
        """Who is in a room, as far as it was read; None before its first roster."""
        epoch = self._rooms.epoch(room)
        return None if epoch is None else epoch.roster

    def rooms(self) -> list[str]:
        """The sealed rooms that were read, in the order of their names."""
        return self._rooms.names()

    def trust(self, name: str) -> str:
        """How sure the identity of ``name`` is: ``verified``, ``vouched``, ``pinned``, ``changed``, ``unknown``."""
        return self.contacts.trust(name)

    def room_trust(self, room: str) -> str:
        """How sure those in a room are, all together: the least sure of them but ourselves."""
        epoch = self._rooms.epoch(room)
        names = [name for name in (epoch.roster.identities if epoch else ()) if name != self.user]
        order = (fx.CHANGED, fx.UNKNOWN, fx.PINNED, fx.VOUCHED, fx.VERIFIED)
        return min((self.trust(name) for name in names), key=order.index, default=fx.VERIFIED)

    def is_forked(self, room: str) -> bool:
        """Whether the server was seen to show different histories of a room."""
        return self._rooms.state(room).forked

    def waiting(self, room: str) -> list[int]:
        """The seqs of a room whose keys are missing."""
        return list(self._reading.waiting(room))

    def outgoing(self) -> list[Outgoing]:
        """What was taken to be sent and is not in a log yet, in order."""
        return self._sending.waiting()

    def devices_of(self, name: str) -> list[Certificate]:
        """The devices of ``name`` that messages are encrypted for, as far as known."""
        return self.contacts.devices(name)

    # ---------------------------------------------------------------------------------- connection

    def connected(self, now: int) -> Outcome:
        """The server admitted us."""
        self._begin(now)
        self._letters.clear()
        self.contacts.disconnected()
        self._mail.disconnected()
        self._sending.reset(connected=True)
        self._own.connected()
        self._mail.connected()
        return self._end()

    def disconnected(self, now: int) -> Outcome:
        """The connection is gone. Letters that were not acknowledged come again."""
        self._begin(now)
        self._letters.clear()
        self.contacts.disconnected()
        self._mail.disconnected()
        self._sending.reset(connected=False)
        return self._end()

    def tick(self, now: int) -> Outcome:
        """Time passes: ask for missing keys, replace keys that are due."""
        self._begin(now)
        if self._sending.connected:
            self._reading.ask_for_keys()
            self._own.replenish()
        return self._end()

    # -------------------------------------------------------------------------------------- answers

    def devices(self, name: str, devices: bytes, certificates: Iterable[bytes], now: int) -> Outcome:
        """The server gave out this device list (empty: it has none) and these certificates for ``name``."""
        self._begin(now)
        name = _key(name)
        unlisted: list[Certificate] = []
        try:
            unlisted = self.contacts.answer(name, devices, certificates)
        except PeerError as error:
            self._turn.tell(fx.KeysRejected(name, "", str(error)))
        if name == self.user:
            self._own.introduce(unlisted)
        self._deliver()
        return self._end()

    def no_devices(self, name: str, now: int) -> Outcome:
        """The server has no devices of ``name``, or does not answer."""
        self._begin(now)
        name = _key(name)
        self.contacts.nothing_of(name)
        if name == self.user:
            self._own.introduce([])
        self._deliver()
        return self._end()

    def hint_devices(self, name: str, now: int) -> Outcome:
        """Somebody says that the devices of ``name`` changed: they are asked for before the next message."""
        self._begin(now)
        self.contacts.outdate(_key(name))
        return self._end()

    def published(self, one_time: int, now: int) -> Outcome:
        """The server took what was published; it now has ``one_time`` keys of this device."""
        self._begin(now)
        self._own.published(one_time)
        return self._end()

    def not_published(self, now: int) -> Outcome:
        """The server did not take it."""
        self._begin(now)
        self._own.not_published()
        return self._end()

    def claimed(self, name: str, devices: Sequence[str], keys: Sequence[bytes], now: int) -> Outcome:
        """The server handed out these one-time keys: one for each device, empty where there is none. After an
        error, give no keys."""
        self._begin(now)
        padded = [*keys, *([b""] * len(devices))][: len(devices)]
        self._mail.claimed(_key(name), devices, padded)
        return self._end()

    # ----------------------------------------------------------------------------------------- mail

    def mail(self, letters: Iterable[tuple[int, str, str, bytes]], now: int) -> Outcome:
        """Letters, as (seq, sender, device, body), in order. What is done with is acknowledged; the others
        wait until their senders' devices are known."""
        self._begin(now)
        for seq, sender, device, body in letters:
            if len(self._letters) < MAX_QUEUED and (not self._letters or seq > self._letters[-1][0]):
                self._letters.append((seq, _key(sender), device, body))
        self._deliver()
        return self._end()

    def _deliver(self) -> None:
        done = 0
        while self._letters:
            seq, sender, device, body = self._letters[0]
            certificate = self.contacts.certificate(sender, device)
            if certificate is None and not self.contacts.was_asked_since(sender, self._turn.now - 60_000):
                self.contacts.ask(sender)
                break
            self._letters.popleft()
            done = seq
            try:
                if certificate is None:
                    raise BadFormat(what="letter", reason="its sender has no such device")
                self._handle(certificate, self._mail.open(certificate, body))
            except PeerError as error:
                self._turn.tell(fx.MailRejected(sender, device, str(error)))
        if done:
            self._acknowledge = done

    def _handle(self, sender: Certificate, content: Content) -> None:
        match content:
            case letters.RoomKeyLetter():
                self._reading.retry(*self._keys.receive(sender, content))
            case letters.ForwardedKey():
                self._reading.retry(*self._keys.receive_forwarded(sender, content))
            case letters.KeyRequest():
                self._keys.answer(sender, content)
            case letters.Fresh():
                pass

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
            self._reading.read(entry, chain)
            if _key(entry.sender) == self.user:
                self._sending.appended(entry.msgid, entry.seq)
        return self._end()

    def send(self, room: str, msgid: bytes, kind: str, body: bytes, now: int, *, target: int = 0) -> Outcome:
        """Say something: ``kind``, ``body`` and ``target`` as in an open room, and ``topic``. It is kept until it
        is in the log: ``SendDone`` or ``SendFailed`` tells.

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
        self.contacts.accept(_key(name))
        for room in self._rooms.names():
            self._rooms.reconsider(room)
        return self._end()

    def accept_device(self, device: str, now: int) -> Outcome:
        """Let another machine of one's own name in, whose fingerprint a person compared.

        :raises NotOurDevice: none such waits.
        :raises NotOurList: another machine keeps the list.
        """
        self._begin(now)
        self._own.accept_device(device)
        return self._end()

    def revoke_device(self, device: str, now: int) -> Outcome:
        """Take a device of one's own name out of its list, for ever.

        :raises NotOurDevice: it is not in it.
        :raises NotOurList: another machine keeps the list.
        """
        self._begin(now)
        self._own.revoke(device)
        return self._end()

    def renew(self, now: int) -> Outcome:
        """Become a new device, after ``RolledBack``: keys for reading stay, everything else is made anew."""
        self._begin(now)
        self._mail.forget_all()
        self._sending.forget_sessions()
        self._own.renew()
        return self._end()

    # ---------------------------------------------------------------------------------------- turns

    def _begin(self, now: int) -> None:
        self._turn.now = now
        self._acknowledge = 0

    def _end(self) -> Outcome:
        self._sending.pump()
        self._mail.settle()
        if self._acknowledge:
            self._turn.do(fx.AckMail(self._acknowledge))
        self._keeper.flush()
        actions = sorted(self._turn.actions, key=_is_entry)  # keys go before what they open
        outcome = Outcome(tuple(actions), tuple(self._turn.events))
        self._turn.actions.clear()
        self._turn.events.clear()
        return outcome


def _is_entry(action: fx.Action) -> bool:
    return isinstance(action, fx.Append | fx.Create)


def _key(name: str) -> str:
    """A name that the server told, in the form in which names are compared; empty if it is none."""
    try:
        return parse_name(name).key
    except BadName:
        return ""


def _check_sealed(room: str) -> None:
    try:
        check_room(room, "room")
    except BadFormat:
        raise NotSealed(room=room) from None
