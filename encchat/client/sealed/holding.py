"""Holds the vault of one server, or the reason why there is none, and has it do things.

It is opened when both the cipher's identity and the server are known, which are not there from the beginning.
What a call of it leads to is carried out once its records and what was opened are written, together. A vault
whose store failed knows what was never written, and is let go of. Nothing that it led to got out, so once
there is room again another one begins from what is stored, as after a restart.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from encchat import messages as m
from encchat.client import events as e
from encchat.client.protocol.outbox import Item
from encchat.client.sealed.doorway import Answer, Ask, Doorway
from encchat.client.sealed.kept import Memory
from encchat.client.sealed.relay import Relay
from encchat.client.sealed.telling import PLACED, Telling
from encchat.client.store.database import StoreFailed
from encchat.client.store.locks import Lock
from encchat.core.names import is_conversation, is_open
from encchat.core.sealed import effects as fx
from encchat.core.sealed.contacts import Vouches
from encchat.core.sealed.identities import IdentityKey
from encchat.core.sealed.vault import Vault
from encchat.errors import EncchatError, StorageError, UsageError

if TYPE_CHECKING:
    from encchat.client.chat import Chat
    from encchat.client.store.keeping import Keeper
    from encchat.client.store.records import Records

#: What a vault knows of rooms, which the logs of a server that began anew contradict.
OF_ROOMS = ("room", "place", "chain", "waiting", "held", "anchor", "marks", "lane")
#: What is done when a room is made; a conversation is made without a word.
CREATE, CONVERSE, LEAVE = "create", "converse", "leave"
#: Seconds after which it is looked whether a store that failed can be written again: at first, and at most.
MEND_AFTER, MEND_EVERY = 5.0, 60.0
#: Messages of other processes that are known as theirs, at most.
MAX_GUESTS = 4096
#: The room is there already.
EXISTS = "room-exists"


class SealedUnavailable(UsageError):
    """There are no sealed rooms here: {reason}"""

    code = "sealed-unavailable"


class Sealing(NamedTuple):
    """What sealed rooms rest on: the cipher's identity, and the authority behind it, if there is one."""

    identity: IdentityKey
    vouches: Vouches | None = None


class Holder:
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
        self._tries = self._ticks = self._linking = 0
        self._listing = 0
        self._times: dict[bytes, int] = {}
        #: What was said and is not stored, by msgid; and of changes, the request and what is done.
        self._items: dict[bytes, Item] = {}
        self._acts: dict[bytes, tuple[int, str]] = {}
        #: The msgids of what this run itself said.
        self._said: set[bytes] = set()
        #: Rooms that are being made, or entered because somebody writes to them.
        self.entering: set[str] = set()
        self._unmade: list[tuple[str, str, str]] = []
        #: Rooms that this run leaves for good.
        self._leaving: set[str] = set()
        #: Why rooms could not be made or entered.
        self.reasons: dict[str, str] = {}
        self._untold: list[e.Event] = []
        #: What happened in sealed rooms since letters wait, and whether there is still patience with them.
        self._later: list[e.Event] = []
        self._patient = True
        self._telling_soon: IDelayedCall | None = None
        self._mending: IDelayedCall | None = None
        #: For other processes of this profile, who have no keys.
        self._doorway = Doorway(self._say_for, self._give_way)
        #: The msgids of what they said last: nobody at this console typed it.
        self._guests: dict[bytes, None] = {}
        #: What is stored to be sent while the store cannot be written.
        self._owed = 0
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
        known = server == self._server and self._records is not None and not anew
        if known:
            self._remind()
        if self._sealing is None or not server or known:
            return
        self.close()
        self._server = server
        self._try(self._sealing, server, anew)

    def _try(self, sealing: Sealing, server: str, anew: bool) -> None:
        try:
            self._open(sealing, server, anew)
        except (EncchatError, ImportError) as error:
            self.close()
            self.why_not = str(error)
            self._chat.warn(f"sealed rooms cannot be used: {error}")

    def _open(self, sealing: Sealing, server: str, anew: bool) -> None:
        store = self._keeper.store
        records = self._records = store.records(server)
        self._lock = Lock.take(self._lock_of(records))
        door = self._door_of(records)
        if self._lock is None:
            self._stand_beside(sealing, server, records, door)
            return
        if anew:
            records.forget(*OF_ROOMS)
        now = self._chat.milliseconds()
        user, key = self._user, records.key
        self._memory = memory = Memory(records, lambda: self._chat.log)
        vault = Vault(records, key, user, sealing.identity, os.urandom, now, sealing.vouches)
        self._telling = Telling(memory, vault.trust_in, self._topic)
        self._vault = vault
        self._session.keys_first = True
        self._introduce(vault)
        for waiting in vault.outgoing():
            if waiting.change is None:
                item = Item(waiting.msgid, waiting.room, waiting.kind, waiting.body)
                self._items[item.msgid] = item
            elif waiting.change.create:
                self._making(waiting.room, waiting.msgid, 0)
        self._doorway.open(self._clock, door)

    def _lock_of(self, records: Records) -> Path:
        return self._keeper.store.path.with_name(f"sealed-{records.name}.lock")

    def _door_of(self, records: Records) -> Path:
        return self._keeper.store.path.with_name(f"sealed-{records.name}.sock")

    def _is_free(self, records: Records) -> bool:
        """Whether no process has the keys."""
        lock = Lock.take(self._lock_of(records))
        if lock is not None:
            lock.release()
        return lock is not None

    def _stand_beside(self, sealing: Sealing, server: str, records: Records, door: Path) -> None:
        """Another process has the keys."""

    def _remind(self) -> None:
        """Tell what there was nobody to be told when it was found out."""

    def _say_for(self, ask: Ask) -> None:
        """Another process, which has no keys, has something to say."""
        raise SealedUnavailable(reason=self.why_not)

    def _give_way(self) -> None:
        """Another process, at which a person sits, would like to have the keys."""

    def _introduce(self, vault: Vault) -> None:
        """The server is to put this device's id into what it stores: members find the key by it."""
        self._session.hello = replace(self._session.hello, device=vault.device)

    def close(self) -> None:
        """Let go of everything; what is on its way goes on in the next run."""
        self._relay.lost()
        if self._mending is not None:
            self._mending.cancel()
            self._mending = None
        self._owed = 0
        self._doorway.close()
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
        """The store failed: nothing of what was just done counts."""
        records, sealing, server = self._records, self._sealing, self._server
        self.close()
        self.why_not = str(error)
        if records is None or sealing is None or not isinstance(error, StoreFailed):
            self._chat.warn(f"sealed rooms stop in this run: {error}")
            self._server, self._sealing = "", None
            return
        self._chat.warn(f"sealed rooms stop until that is mended: {error}")
        with suppress(StorageError):
            self._owed = sum(1 for _ in records.scan("out", ""))
        self._mend_later(lambda: self._mend(records, sealing, server), MEND_AFTER)

    def _mend_later(self, mend: Callable[[], StoreFailed | None], seconds: float) -> None:
        def now() -> None:
            self._mending = None
            error = mend()
            if error is not None:
                wait = min(2 * seconds, MEND_EVERY)
                self._mend_later(mend, wait)
                if self._owed:
                    self._chat.tell([e.Delayed("cannot-keep", str(error), wait)])

        self._mending = self._clock.callLater(seconds, now)

    def _mend(self, records: Records, sealing: Sealing, server: str) -> StoreFailed | None:
        """If the store can be written again, begin from what it has, with a new connection."""
        try:
            records.probe()
        except StoreFailed as error:
            return error
        self._try(sealing, server, anew=False)
        if self._vault is not None:
            self._chat.warn("there is room again: sealed rooms go on")
        self._begin_anew()
        return None

    def _begin_anew(self) -> None:
        """There is a vault since now: with a new connection it hears all from the beginning."""
        for room in self._session.rooms:
            if not is_open(room):
                self._session.reread.add(room)
        self._chat.redial()

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
                return [
                    replace(event, own=False) if event.entry.msgid in self._guests else event
                    for event in self._telling.tell(news)
                ]
        return (e.SealedNews(news),)

    def _done(self, room: str, msgid: bytes, seq: int) -> Iterable[e.Event]:
        time = self._times.pop(msgid, 0) or self._chat.milliseconds()
        item = self._items.pop(msgid, None)
        self._said.discard(msgid)
        self._doorway.ended(Answer(msgid, seq, time))
        if msgid in self._guests:
            return ()
        if item is not None:
            return (e.Acknowledged(item, seq, time),)
        request, act = self._acts.pop(msgid, (0, "roster"))
        return (e.ActDone(request, act, room, seq, time),)

    def _failed(self, room: str, msgid: bytes, code: str, reason: str) -> Iterable[e.Event]:
        self._times.pop(msgid, None)
        self._doorway.ended(Answer(msgid, code=code, text=reason))
        item = self._items.pop(msgid, None)
        self._said.discard(msgid)
        if msgid in self._guests:
            return ()
        if item is not None:
            return (e.NotSent(item, code, reason),)
        request, act = self._acts.pop(msgid, (0, ""))
        if act == LEAVE:
            self._leaving.discard(room)
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

    def recall(self, room: str) -> m.Position:
        """How far a sealed room was read: it is joined from there."""
        return m.Position() if self._vault is None else self._vault.position(room)

    def _answer(self, do: Callable[[Vault, int], fx.Outcome]) -> list[e.Event]:
        return [] if self._vault is None else self.call(do)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def refusing(msgid: bytes, code: str, reason: str) -> Callable[[Vault, int], fx.Outcome]:
    """What is on its way will not arrive."""
    return lambda vault, now: vault.refused(msgid, code, reason, now)
