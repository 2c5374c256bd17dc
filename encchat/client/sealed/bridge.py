"""Runs a vault beside the session of one server: what the server sends goes in, what the vault wants goes out
through ``relay``, what it shows through ``telling``. Here is the order of all that: keys before what they
open, entries of one read together, rooms joined and left.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import replace

from encchat import messages as m
from encchat.client import events as e
from encchat.client.sealed.answering import LINKING_FOR, Answering
from encchat.client.sealed.holding import SealedUnavailable
from encchat.client.sealed.telling import key_of
from encchat.core.names import is_conversation, is_open
from encchat.errors import PeerError

#: What the server puts somebody out with who left for good, here or at another machine.
LEFT = "left"
#: Entries that were opened and perhaps not shown, of which so many are shown when a room is joined again.
AGAIN = 1000


class Bridge(Answering):
    """The part of ``Chat.sealed`` that hears the server."""

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
            case e.LinkCode():
                self._linking = LINKING_FOR
            case e.WasInvited(room) if not is_open(room):
                return self._invited(event)
            case e.RoomsListed(request) | e.RequestFailed(request) if request and request == self._listing:
                return self._listed(event)
        return (event,)

    def lost(self) -> list[e.Event]:
        """The connection is gone."""
        found = self._hurried()
        self._relay.lost()
        self._stop_timer()
        self._listing = 0
        return [*found, *self._answer(lambda vault, now: vault.disconnected(now))]

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
        wanted = room in self._leaving and isinstance(event, e.PutOut) and event.code == LEFT
        self._leaving.discard(room)
        left = e.LeftRoom(room) if wanted else event
        return (left, *self._give_up(room, event.code, event.text))

    def _hurried(self) -> list[e.Event]:
        """What waits for letters has waited long enough."""
        later, self._later = self._later, []
        self._patient = False
        try:
            return self._process(later)
        finally:
            self._patient = True


def _room_of(event: e.Event) -> str:
    """The room that something happened in, if it is a matter of order; else any open one."""
    if isinstance(event, e.NewEntry):
        return event.entry.room
    if isinstance(event, e.CaughtUp | e.Lost | e.PutOut | e.LeftRoom | e.NotJoined):
        return event.room
    return "+"
