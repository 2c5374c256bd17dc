"""Runs a vault beside the session of one server: what the server sends goes in, what the vault wants goes out
through ``relay``, what it shows through ``telling``.

The vault is opened when both the cipher's identity and the server are known, which are not there from the
beginning. What a call of it leads to is carried out once its records and what was opened are written,
together. A vault whose store failed is not believed any more: this run does without.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat import messages as m
from encchat.client import events as e
from encchat.client.outbox import Item
from encchat.client.sealed.kept import Memory
from encchat.client.sealed.lock import Lock
from encchat.client.sealed.relay import Relay
from encchat.client.sealed.telling import PLACED, Telling, key_of
from encchat.core.names import is_conversation, is_open
from encchat.core.sealed import effects as fx
from encchat.core.sealed.contacts import Vouches
from encchat.core.sealed.identities import IdentityKey
from encchat.core.sealed.vault import Vault
from encchat.errors import EncchatError, PeerError, StorageError, UsageError

if TYPE_CHECKING:
    from encchat.client.chat import Chat
    from encchat.client.keeping import Keeper
    from encchat.client.store.records import Records

#: Seconds from one tick of the vault to the next.
TICK = 5.0
#: Ticks after which a machine that is not in its name's list looks whether it is.
LOOK_EVERY = 12
#: How often keys are refused before a person hears of it.
PUBLISH_TRIES = 3
#: Entries that were opened and perhaps not shown, of which so many are shown when a room is joined again.
AGAIN = 1000
#: What a vault knows of rooms, which the logs of a server that began anew contradict.
OF_ROOMS = ("room", "place", "chain", "waiting", "anchor", "marks", "lane")
#: What is done when a room is made; a conversation is made without a word.
CREATE, CONVERSE = "create", "converse"
#: The room is there already.
EXISTS = "room-exists"


class SealedUnavailable(UsageError):
    """There are no sealed rooms here: {reason}"""

    code = "sealed-unavailable"


class Sealing(NamedTuple):
    """What sealed rooms rest on: the cipher's identity, and the authority behind it, if there is one."""

    identity: IdentityKey
    vouches: Vouches | None = None


class Bridge:
    """One vault, or the reason why there is none (``why_not``)."""

    def __init__(self, chat: Chat, clock: IReactorTime, keeper: Keeper, user: str) -> None:
        self._chat = chat
        self._clock = clock
        self._keeper = keeper
        self._user = user
        self._session = chat.session
        self._sealing: Sealing | None = None
        self._server = ""
        self._vault: Vault | None = None
        self._records: Records | None = None
        self._memory: Memory | None = None
        self._telling: Telling | None = None
        self._lock: Lock | None = None
        self._relay = Relay(chat.session, clock, chat.flush)
        self._timer: IDelayedCall | None = None
        self._tries = self._ticks = 0
        self._listing = 0
        self._times: dict[bytes, int] = {}
        #: What was said and is not stored, by msgid; and of changes, the request and what is done.
        self._items: dict[bytes, Item] = {}
        self._acts: dict[bytes, tuple[int, str]] = {}
        #: Rooms that are being made, or entered because somebody writes to them.
        self.entering: set[str] = set()
        self._unmade: list[tuple[str, str, str]] = []
        #: Why rooms could not be made or entered.
        self.reasons: dict[str, str] = {}
        self._untold: list[e.Event] = []
        #: What happened in sealed rooms since letters wait, and whether there is still patience with them.
        self._later: list[e.Event] = []
        self._patient = True
        self._telling_soon: IDelayedCall | None = None
        self.why_not = "the connection is not ready yet."

    @property
    def available(self) -> bool:
        """Whether there is a vault."""
        return self._vault is not None

    # ------------------------------------------------------------------------------ beginning, ending

    def ready(self, sealing: Sealing | None, why_not: str = "") -> None:
        """The cipher has its keys; without ``sealing`` it has none that could sign."""
        self._sealing = sealing
        self.why_not = why_not or "this cipher has no identity that could sign keys."
        if sealing is not None:
            self.why_not = "you have not met this server yet."
            self.met(self._chat.server)

    def met(self, server: str, *, anew: bool = False) -> None:
        """This server is the one that is talked to; ``anew``: its logs count as they are now."""
        if self._sealing is None or not server or (server == self._server and self._vault and not anew):
            return
        self.close()
        self._server = server
        try:
            self._open(self._sealing, server, anew)
        except (EncchatError, ImportError) as error:
            self.close()
            self.why_not = str(error)
            self._chat.warn(f"sealed rooms cannot be used: {error}")

    def _open(self, sealing: Sealing, server: str, anew: bool) -> None:
        store = self._keeper.store
        records = self._records = store.records(server)
        self._lock = Lock.take(store.path.with_name(f"sealed-{records.name}.lock"))
        if self._lock is None:
            self.why_not = "another encchat-client of this name has them; they are for one at a time."
            self._chat.warn(f"there are no sealed rooms here: {self.why_not}")
            return
        if anew:
            records.forget(*OF_ROOMS)
        now = self._chat.milliseconds()
        user, key = self._user, records.key
        self._memory = memory = Memory(records, lambda: self._chat.log)
        vault = Vault(records, key, user, sealing.identity, os.urandom, now, sealing.vouches)
        self._telling = Telling(memory, vault.trust, self._topic)
        self._vault = vault
        self._session.keys_first = True
        self._introduce(vault)
        for waiting in vault.outgoing():
            if waiting.change is None:
                item = Item(waiting.msgid, waiting.room, waiting.kind, waiting.body)
                self._items[item.msgid] = item
            elif waiting.change.create:
                self._making(waiting.room, waiting.msgid, 0)

    def _introduce(self, vault: Vault) -> None:
        """The server is to put this device's id into what it stores: members find the key by it."""
        self._session.hello = replace(self._session.hello, device=vault.device)

    def close(self) -> None:
        """Let go of everything; what is on its way goes on in the next run."""
        self._relay.lost()
        self._stop_timer()
        if self._telling_soon is not None and self._telling_soon.active():
            self._telling_soon.cancel()
        self._telling_soon = None
        self._session.keys_first = False
        self._vault = self._memory = self._telling = self._records = None
        self._items.clear()
        self._acts.clear()
        self._later.clear()
        lock, self._lock = self._lock, None
        if lock is not None:
            lock.release()

    def _broken(self, error: StorageError) -> None:
        self._chat.warn(f"sealed rooms stop in this run: {error}")
        self.close()
        self._server = ""
        self.why_not = str(error)
        self._sealing = None

    # ------------------------------------------------------------------------------------- the vault

    def call(self, do: Callable[[Vault, int], fx.Outcome]) -> list[e.Event]:
        """Have the vault do something, carry out what it wants, and return what it shows.

        :raises SealedUnavailable: there is none.
        :raises EncchatError: as the vault does; then nothing was done.
        """
        vault, records = self._vault, self._records
        if vault is None or records is None:
            raise SealedUnavailable(reason=self.why_not)
        events: list[e.Event] = []
        try:
            with records.batch():
                outcome = do(vault, self._chat.milliseconds())
                events = [event for news in outcome.events for event in self._shown(news)]
        except StorageError as error:
            self._broken(error)
            return []
        self._relay.do(outcome.actions)
        shown = [event for found in events for event in self._followed(found)]
        while self._unmade and self._vault is not None:
            shown += self._give_up(*self._unmade.pop())
        return shown

    def perform(self, do: Callable[[Vault, int], fx.Outcome]) -> None:
        """As ``call``, for a person: what is shown goes to the console, in a turn of its own, and what is
        asked to the server."""
        self._untold += self.call(do)
        self._relay.settle()
        self._chat.flush()
        if self._untold and self._telling_soon is None:
            self._telling_soon = self._clock.callLater(0, self._tell)

    def _tell(self) -> None:
        self._telling_soon = None
        events, self._untold = self._untold, []
        self._chat.tell(events)

    def _shown(self, news: fx.Event) -> Iterable[e.Event]:
        assert self._telling is not None, "a vault is open"
        match news:
            case fx.SendDone(room, msgid, seq):
                return self._done(room, msgid, seq)
            case fx.SendFailed(room, msgid, code, reason):
                return self._failed(room, msgid, code, reason)
            case _ if isinstance(news, PLACED):
                return list(self._telling.tell(news))
        return (e.SealedNews(news),)

    def _done(self, room: str, msgid: bytes, seq: int) -> Iterable[e.Event]:
        time = self._times.pop(msgid, 0) or self._chat.milliseconds()
        item = self._items.pop(msgid, None)
        if item is not None:
            return (e.Acknowledged(item, seq, time),)
        request, act = self._acts.pop(msgid, (0, "roster"))
        return (e.ActDone(request, act, room, seq, time),)

    def _failed(self, room: str, msgid: bytes, code: str, reason: str) -> Iterable[e.Event]:
        self._times.pop(msgid, None)
        item = self._items.pop(msgid, None)
        if item is not None:
            return (e.NotSent(item, code, reason),)
        request, act = self._acts.pop(msgid, (0, ""))
        if act in (CREATE, CONVERSE):
            if act == CONVERSE and code == EXISTS:  # the other one was faster
                return (e.ActDone(0, act, room, 0, 0),)
            self.entering.discard(room)
            self.reasons[room] = reason
            self._unmade.append((room, code, reason))
        return (e.RequestFailed(request, code, reason),)

    def _followed(self, event: e.Event) -> Iterable[e.Event]:
        """What comes of what was shown, now that it is written."""
        if isinstance(event, e.ActDone):
            if event.act in (CREATE, CONVERSE):
                self._session.join(event.room, by_itself=True)
            return (event,) if event.request and event.act != CONVERSE else ()
        return (event,)

    def _making(self, room: str, msgid: bytes, request: int) -> None:
        """A room is being made, and entered then."""
        self.entering.add(room)
        self._acts[msgid] = request, CONVERSE if is_conversation(room) else CREATE

    def _give_up(self, room: str, code: str, reason: str) -> list[e.Event]:
        """Nobody can be in a room: what was said there is not sent."""
        found: list[e.Event] = []
        for waiting in self._vault.outgoing() if self._vault is not None else ():
            if waiting.room == room and waiting.change is None:
                self._relay.withdraw(waiting.msgid)
                found += self._answer(refusing(waiting.msgid, code, reason))
        return found

    def _topic(self, room: str, topic: str) -> None:
        assert self._memory is not None, "a vault is open"
        self._memory.change_note(room, topic=topic)
        copy = self._session.rooms.get(room)
        if copy is not None:
            copy.topic = topic

    # -------------------------------------------------------------------------------- what comes in

    def recall(self, room: str) -> m.Position:
        """How far a sealed room was read: it is joined from there."""
        return m.Position() if self._vault is None else self._vault.position(room)

    def process(self, events: Sequence[e.Event]) -> list[e.Event]:
        """What the server said, with what concerns sealed rooms turned into what there is to show."""
        out, self._untold = self._untold, []
        out += self._process(events)
        while self._later and not self._waits:
            later, self._later = self._later, []
            out += self._process(later)
        self._relay.settle()
        return out

    @property
    def _waits(self) -> bool:
        """Whether letters came that cannot be read yet: what is said waits for the keys in them."""
        return self._patient and self._vault is not None and self._vault.letters_wait

    def _process(self, events: Sequence[e.Event]) -> list[e.Event]:
        out: list[e.Event] = []
        entries: list[e.NewEntry] = []
        letters: list[tuple[int, str, str, bytes]] = []
        for event in events:
            if not is_open(_room_of(event)) and not isinstance(event, e.JoinedRoom):
                out += self._mail(letters)
                if self._later or self._waits:
                    self._later.append(event)
                    continue
            if isinstance(event, e.NewEntry) and not is_open(event.entry.room):
                entries.append(event)
                continue
            if isinstance(event, e.MailCame):
                mail = event.mail
                letters.append((mail.seq, mail.sender, mail.device, mail.body))
                continue
            out += self._mail(letters)
            out += self._entries(entries)
            out += self._event(event)
        out += self._mail(letters)
        out += self._entries(entries)
        return out

    def _mail(self, letters: list[tuple[int, str, str, bytes]]) -> list[e.Event]:
        some, letters[:] = list(letters), []
        if not some or self._vault is None:
            return []
        return self.call(lambda vault, now: vault.mail(some, now))

    def _entries(self, entries: list[e.NewEntry]) -> list[e.Event]:
        some, entries[:] = list(entries), []
        if not some or self._vault is None or self._telling is None:
            return []
        arrived = [self._telling.arrived(event) for event in some]
        for event in some:
            if event.own:
                self._times[event.entry.msgid] = event.entry.time
        try:
            return self.call(lambda vault, now: vault.entries(arrived, now))
        except PeerError as error:  # the log is another one than was read before, or has a hole
            return [refused for room in {x.entry.room for x in some} for refused in self._unread(room, error)]
        finally:
            if self._telling is not None:
                self._telling.forget()

    def _unread(self, room: str, error: PeerError) -> list[e.Event]:
        self._session.part(room)
        return [e.NotJoined(room, error.code, str(error))]

    def _event(self, event: e.Event) -> Iterable[e.Event]:
        match event:
            case e.LinkLost():
                return (*self.lost(), event)
            case e.Relayed():
                return self._relayed(event)
            case e.Admitted():
                return self._admitted(event)
            case e.JoinedRoom(room) if not is_open(room):
                return self._joined(event)
            case e.CaughtUp(room) if not is_open(room) and self._vault is not None:
                return [*self.call(lambda vault, now: vault.caught_up(room, now)), event]
            case e.NotJoined(room) | e.PutOut(room) | e.LeftRoom(room) if not is_open(room):
                return self._out_of(event, room)
            case e.Acknowledged(item, seq, time) if item.roster is not None:
                self._times[item.msgid] = time
                return self._answer(lambda vault, now: vault.appended(item.msgid, seq, now))
            case e.NotSent(item, code, text) if item.roster is not None:
                return self._answer(lambda vault, now: vault.refused(item.msgid, code, text, now))
            case e.WasInvited(room) if not is_open(room):
                return self._invited(event)
            case e.RoomsListed(request) | e.RequestFailed(request) if request and request == self._listing:
                return self._listed(event)
        return (event,)

    def _answer(self, do: Callable[[Vault, int], fx.Outcome]) -> list[e.Event]:
        return [] if self._vault is None else self.call(do)

    def lost(self) -> list[e.Event]:
        """The connection is gone."""
        found = self._hurry()
        self._relay.lost()
        self._stop_timer()
        self._listing = 0
        return [*found, *self._answer(lambda vault, now: vault.disconnected(now))]

    # ------------------------------------------------------------------------------------ connection

    def _admitted(self, event: e.Admitted) -> Iterable[e.Event]:
        self._tries = 0
        if self._vault is None:
            return (event,)
        if key_of(event.name) != self._user:
            self.close()
            self.why_not = f"the server calls you {event.name}, and the keys are those of {self._user}."
            return (event,)
        found = self.call(lambda vault, now: vault.connected(now))
        self._tick_later()
        vault, memory = self._vault, self._memory
        if self._chat.joins_by_itself and vault is not None and memory is not None:
            for room in vault.rooms():
                roster = vault.roster(room)
                if roster and self._user in roster.identities and not memory.note(room).out:
                    self._session.join(room, by_itself=True)
            self._listing = self._session.list_rooms()
        return (event, *found)

    def _listed(self, event: e.Event) -> Iterable[e.Event]:
        """The rooms that may be entered: join those that somebody let us into meanwhile."""
        self._listing = 0
        if isinstance(event, e.RoomsListed) and self._memory is not None:
            for info in event.rooms:
                if not is_open(info.room) and not self._memory.note(info.room).out:
                    self._session.join(info.room, by_itself=True)
        return ()

    def _invited(self, event: e.WasInvited) -> Iterable[e.Event]:
        if self._vault is None or not self._chat.joins_by_itself:
            return (event,)
        if event.room not in self._session.rooms:
            self._session.join(event.room, by_itself=True)
        return () if is_conversation(event.room) or key_of(event.name) == self._user else (event,)

    def _joined(self, event: e.JoinedRoom) -> Iterable[e.Event]:
        room = event.room
        if self._vault is None or self._memory is None or self._telling is None:
            self._session.part(room)
            return (e.NotJoined(room, SealedUnavailable.code, str(SealedUnavailable(reason=self.why_not))),)
        self.entering.discard(room)
        self._memory.change_note(room, out=False)
        topic = self._memory.note(room).topic
        copy = self._session.rooms.get(room)
        if copy is not None:
            copy.topic = topic
        self._relay.settled(room)
        event = replace(event, topic=topic)
        if not event.first:
            return (event,)
        shown = self._chat.shown(room) or m.Position()
        if shown.seq >= event.start.seq:
            return (event,)
        again = list(self._telling.again(room, max(shown.seq, event.start.seq - AGAIN), AGAIN))
        return (replace(event, start=shown) if again else event, *again)

    def _out_of(self, event: e.NotJoined | e.PutOut | e.LeftRoom, room: str) -> Iterable[e.Event]:
        self.entering.discard(room)
        self._relay.settled(room)
        if self._vault is None or self._memory is None:
            return (event,)
        self._memory.change_note(room, out=True)
        if isinstance(event, e.LeftRoom):
            return (event,)
        return (event, *self._give_up(room, event.code, event.text))

    # --------------------------------------------------------------------------------------- answers

    def _relayed(self, event: e.Relayed) -> list[e.Event]:
        answered = self._relay.answered(event)
        if self._vault is None or answered is None:
            return []
        match answered:
            case fx.AskDevices(name), m.DeviceList(_, _, listing, certificates) if listing or certificates:
                return self.call(lambda vault, now: vault.devices(name, listing, certificates, now))
            case fx.AskDevices(name), _:
                return self.call(lambda vault, now: vault.no_devices(name, now))
            case fx.Publish(), m.Published(_, _, one_time):
                self._tries = 0
                found = self.call(lambda vault, now: vault.published(one_time, now))
                self._session.enter_sealed()
                return found
            case fx.Publish(), m.Error(_, _, text):
                return self._not_published(text)
            case fx.Claim(name, devices), m.Keys(_, _, keys):
                return self.call(lambda vault, now: vault.claimed(name, devices, keys, now))
            case fx.Claim(name, devices), _:
                return self.call(lambda vault, now: vault.claimed(name, devices, (), now))
            case fx.Post(letters), m.Posted(_, refused):
                return self._refused_letters(letters[place].name for place in refused if place < len(letters))
            case fx.Create(_, msgid) | fx.Append(_, msgid), m.Sent(_, seq, time):
                self._times[msgid] = time
                return self.call(lambda vault, now: vault.appended(msgid, seq, now))
            case fx.Create(_, msgid) | fx.Append(_, msgid), m.Error(_, code, text):
                return self.call(lambda vault, now: vault.refused(msgid, code, text, now))
        return []

    def _refused_letters(self, names: Iterable[str]) -> list[e.Event]:
        """Devices that the server does not know any more."""
        found: list[e.Event] = []
        for name in sorted(set(names)):
            found += self._answer(hinting(name))
        return found

    def _not_published(self, text: str) -> list[e.Event]:
        self._tries += 1
        self._session.enter_sealed()
        if self._tries == PUBLISH_TRIES:
            self._chat.warn(f"the server does not take the keys of this device: {text}")
        return self.call(lambda vault, now: vault.not_published(now))

    def _tick_later(self) -> None:
        self._stop_timer()
        self._timer = self._clock.callLater(TICK, self._tick)

    def _tick(self) -> None:
        if self._vault is not None:
            self._tick_later()
            self._session.enter_sealed()
            self._untold += self._hurry()
            self.perform(lambda vault, now: vault.tick(now))
            self._look_for_acceptance()

    def _look_for_acceptance(self) -> None:
        """While this machine is not in the list of its name, see now and then whether another let it in."""
        self._ticks = (self._ticks + 1) % LOOK_EVERY
        vault, user = self._vault, self._user
        if vault is None or self._ticks or not self._session.admitted:
            return
        if all(certificate.device.id != vault.device for certificate in vault.devices_of(user)):
            self.perform(lambda vault, now: vault.ask_devices(user, now))

    def _hurry(self) -> list[e.Event]:
        """What waits for letters has waited long enough."""
        later, self._later = self._later, []
        self._patient = False
        try:
            return self._process(later)
        finally:
            self._patient = True

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def _room_of(event: e.Event) -> str:
    """The room that something happened in, if it is a matter of order; else any open one."""
    if isinstance(event, e.NewEntry):
        return event.entry.room
    if isinstance(event, e.CaughtUp | e.Lost | e.PutOut | e.LeftRoom | e.NotJoined):
        return event.room
    return "+"


def refusing(msgid: bytes, code: str, reason: str) -> Callable[[Vault, int], fx.Outcome]:
    """What is on its way will not arrive."""
    return lambda vault, now: vault.refused(msgid, code, reason, now)


def hinting(name: str) -> Callable[[Vault, int], fx.Outcome]:
    """Somebody's devices have changed."""
    return lambda vault, now: vault.hint_devices(name, now)
