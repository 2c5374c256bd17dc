"""The half of a vault that faces the server: connections, answers, mail, and what a call begins and ends
with.

A call gathers what it leads to in a ``Turn``; ``_end`` writes the changed records, and only then lets it out.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence

from encchat.core.sealed import effects as fx
from encchat.core.sealed import letters
from encchat.core.sealed.contacts import Contacts, Vouches
from encchat.core.sealed.effects import Outcome, Turn
from encchat.core.sealed.formats import Certificate
from encchat.core.sealed.identities import IdentityKey
from encchat.core.sealed.keeper import Keeper, VaultStore
from encchat.core.sealed.letters import Content
from encchat.core.sealed.mail import Mail
from encchat.core.sealed.naming import BadFormat, key_of
from encchat.core.sealed.own import Own
from encchat.core.sealed.publishing import Publishing
from encchat.core.sealed.reading import Reading
from encchat.core.sealed.roomkeys import RoomKeys
from encchat.core.sealed.rooms import Rooms
from encchat.core.sealed.sas import Comparing
from encchat.core.sealed.sending import Sending
from encchat.errors import PeerError

#: Letters that wait until their senders' devices are known.
MAX_QUEUED = 1000
#: Unknown devices that are looked for: each after that many milliseconds again, and so many in that time.
LOOK_PAUSE = 60 * 1000
MAX_LOOKS = 100


class Desk:
    """One device of ``user`` (the name's key).

    ``store`` keeps the records, encrypted under ``key`` (32 bytes). ``identity`` is the transport identity of
    this machine. ``entropy(n)`` gives n random bytes. ``vouches`` (see ``contacts.Vouches``) is given where
    an authority decides who has a name; else identities are pinned.

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
        self._own = Own(self._keeper, self._turn, self.contacts, user, identity, entropy)
        self._publishing = Publishing(self._turn, self._own, self.contacts)
        self._mail = Mail(self._keeper, self._turn, self._own, self.contacts, entropy)
        self._keys = RoomKeys(self._keeper, self._turn, self._own, self.contacts, self._mail)
        self._rooms = Rooms(self._keeper, self._turn, self.contacts, user)
        self._reading = Reading(
            self._keeper, self._turn, self._own, self.contacts, self._mail, self._keys, self._rooms
        )
        self._sending = Sending(
            self._keeper, self._turn, self._own, self.contacts, self._keys, self._rooms, entropy
        )
        self._comparing = Comparing(self._turn, self._own, self.contacts, self._mail, entropy)
        self._looked: dict[tuple[str, str], int] = {}
        self._full = False
        #: What was known of people when rosters in doubt were last looked at.
        self._revision = 0
        self._letters: deque[tuple[int, str, str, bytes]] = deque()
        self._keeper.flush()

    # ---------------------------------------------------------------------------------- connection

    def connected(self, now: int) -> Outcome:
        """The server admitted us."""
        self._begin(now)
        self._letters.clear()
        self._full = False
        self.contacts.disconnected()
        self._mail.disconnected()
        self._sending.reset(connected=True)
        self._publishing.connected()
        self._mail.retry()
        return self._end()

    def disconnected(self, now: int) -> Outcome:
        """The connection is gone. Letters that were not acknowledged come again."""
        self._begin(now)
        self._letters.clear()
        self._full = False
        self.contacts.disconnected()
        self._mail.disconnected()
        self._sending.reset(connected=False)
        self._publishing.disconnected()
        return self._end()

    def tick(self, now: int) -> Outcome:
        """Time passes: ask for missing keys, replace keys that are due."""
        self._begin(now)
        if self._sending.connected:
            self._reading.ask_for_keys()
            self._mail.retry()
            self._publishing.replenish()
        return self._end()

    # -------------------------------------------------------------------------------------- answers

    def devices(self, name: str, devices: bytes, certificates: Iterable[bytes], now: int) -> Outcome:
        """The server gave out this device list (empty: it has none) and these certificates for ``name``."""
        self._begin(now)
        name = key_of(name)
        unlisted: list[Certificate] = []
        try:
            unlisted = self.contacts.answer(name, devices, certificates)
        except PeerError as error:
            self._turn.tell(fx.KeysRejected(name, "", str(error)))
        if name == self.user:
            self._publishing.introduce(devices, unlisted)
        self._deliver()
        self._reading.ask_for_keys()
        return self._end()

    def no_devices(self, name: str, now: int) -> Outcome:
        """The server has no devices of ``name``, or does not answer."""
        self._begin(now)
        name = key_of(name)
        self.contacts.nothing_of(name)
        if name == self.user:
            self._publishing.introduce(b"", [])
        self._deliver()
        return self._end()

    def hint_devices(self, name: str, now: int) -> Outcome:
        """Somebody says that the devices of ``name`` changed: they are asked for before the next message."""
        self._begin(now)
        self.contacts.outdate(key_of(name))
        return self._end()

    def published(self, one_time: int, now: int) -> Outcome:
        """The server took what was published; it now has ``one_time`` keys of this device."""
        self._begin(now)
        self._publishing.published(one_time)
        return self._end()

    def not_published(self, now: int) -> Outcome:
        """The server did not take it."""
        self._begin(now)
        self._publishing.not_published()
        return self._end()

    def claimed(self, name: str, devices: Sequence[str], keys: Sequence[bytes], now: int) -> Outcome:
        """The server handed out these one-time keys: one for each device, empty where there is none. After an
        error, give no keys."""
        self._begin(now)
        padded = [*keys, *([b""] * len(devices))][: len(devices)]
        self._mail.claimed(key_of(name), devices, padded)
        return self._end()

    # ----------------------------------------------------------------------------------------- mail

    def mail(self, letters: Iterable[tuple[int, str, str, bytes]], now: int) -> Outcome:
        """Letters, as (seq, sender, device, body), in order. What is done with is acknowledged; the others
        wait until their senders' devices are known."""
        self._begin(now)
        for seq, sender, device, body in letters:
            # What does not fit comes again with the next connection: an acknowledgement must not pass it.
            self._full = self._full or len(self._letters) >= MAX_QUEUED
            if not self._full and (not self._letters or seq > self._letters[-1][0]):
                self._letters.append((seq, key_of(sender), device, body))
        self._deliver()
        return self._end()

    def _deliver(self) -> None:
        done = 0
        while self._letters:
            seq, sender, device, body = self._letters[0]
            certificate = self.contacts.certificate(sender, device)
            if certificate is None and self._looks_for(sender, device):
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

    def _looks_for(self, sender: str, device: str) -> bool:
        """Whether the devices of a sender are asked for, as one of them is unknown: once for each."""
        now, place = self._turn.now, (sender, device)
        recently = [when for when in self._looked.values() if now - when < LOOK_PAUSE]
        if now - self._looked.get(place, -LOOK_PAUSE) >= LOOK_PAUSE and len(recently) < MAX_LOOKS:
            if not recently:
                self._looked.clear()
            self._looked[place] = now
            self.contacts.ask(sender)
        return self.contacts.is_asking(sender)

    def _handle(self, sender: Certificate, content: Content) -> None:
        match content:
            case letters.RoomKeyLetter():
                self._reading.retry(*self._keys.receive(sender, content))
            case letters.ForwardedKey():
                self._reading.retry(*self._keys.receive_forwarded(sender, content))
            case letters.KeyRequest():
                self._keys.answer(sender, content)
            case letters.Fresh():
                self._reading.ask_anew(sender.device.id)
            case _:
                self._comparing.handle(sender, content)

    # ---------------------------------------------------------------------------------------- turns

    def _begin(self, now: int) -> None:
        self._turn.now = now
        self._acknowledge = 0

    def _end(self) -> Outcome:
        if self.contacts.revision != self._revision:
            self._revision = self.contacts.revision
            self._reading.reconsider()
        self._sending.pump()
        self._mail.settle()
        if self._acknowledge:
            self._turn.do(fx.AckMail(self._acknowledge))
        self._keeper.flush()
        if len(self._turn.actions) > 1:
            self._turn.actions.sort(key=_is_entry)  # keys go before what they open
        outcome = Outcome(tuple(self._turn.actions), tuple(self._turn.events))
        self._turn.actions.clear()
        self._turn.events.clear()
        return outcome


def _is_entry(action: fx.Action) -> bool:
    return isinstance(action, fx.Append | fx.Create)
