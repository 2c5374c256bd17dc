"""Several clients of one profile: one of them has the keys, and the others say through it what they have to
say in sealed rooms, read what it has opened, and take its place once it is gone."""

from __future__ import annotations

from pathlib import Path

from msgspec.structs import replace

from encchat.client import events as e
from encchat.client.protocol.outbox import Item
from encchat.client.sealed.beside import Beside
from encchat.client.sealed.doorway import Answer
from encchat.client.sealed.fitting import target_of
from encchat.client.sealed.holding import Holder, SealedUnavailable, Sealing
from encchat.client.sealed.kept import Memory
from encchat.client.sealed.telling import key_of
from encchat.client.store.records import Records
from encchat.core.names import is_open
from encchat.core.sealed import effects as fx
from encchat.core.sealed.vault import Vault
from encchat.messages import Entry

#: Entries that are looked through for what another process was to say.
LOOKED = 1000


class Sharing(Holder):
    """The part of ``Chat.sealed`` that says things, here or through another process."""

    _beside: Beside | None = None
    _reminded = False
    #: Whether it was told that what is said waits for another machine of this name.
    _told_out = False
    #: Rooms in which something is said through the other process.
    _through: frozenset[str] = frozenset()

    @property
    def is_beside(self) -> bool:
        """Whether another process has the keys, and says what is said here."""
        return self._beside is not None and self._beside.is_possible

    def say_through(self, room: str) -> bool:
        """We only speak in this room, and give way to who would like to read. Whether another process says
        it, so that one need not be in it; once that process is gone, we will be."""
        self._through |= {room}
        return self.is_beside

    def close(self) -> None:
        """Let go of everything; what is on its way goes on in the next run."""
        beside, self._beside = self._beside, None
        if beside is not None:
            beside.stop()
        super().close()

    def _say(self, item: Item) -> None:
        """Keep what was said and send it as soon as it can be, or have the other process do so.

        :raises EncchatError: it cannot be kept, and is not sent.
        """
        self._items[item.msgid] = item
        self._said.add(item.msgid)
        if self._vault is None and self._beside is not None and self.is_beside:
            self._beside.say(item)
            return
        target = target_of(item.kind, item.body)

        def send(vault: Vault, now: int) -> fx.Outcome:
            return vault.send(item.room, item.msgid, item.kind, item.body, now, target=target)

        try:
            self.perform(send)
        except BaseException:
            self._items.pop(item.msgid, None)
            self._said.discard(item.msgid)
            raise
        if self._vault is None:
            raise SealedUnavailable(reason=self.why_not)
        if self._vault.is_out and not self._told_out:
            self._told_out = True
            self._chat.warn("kept here, and sent once another machine of yours has let this one in: /devices")

    # ------------------------------------------------------------------------------ beside another one

    def _stand_beside(self, sealing: Sealing, server: str, records: Records, door: Path) -> None:
        self._memory = Memory(records, lambda: self._chat.log)  # to read what it has opened
        self._beside = Beside(
            self._clock,
            door,
            self._passed_on,
            lambda: self._takes_over(sealing, server),
            wanted=self._chat.joins_by_itself,
        )
        self.why_not = "another encchat-client of this name has their keys, which are for one at a time."
        self._reminded = False
        self._remind()

    def _remind(self) -> None:
        if self._beside is not None and self._chat.has_console and not self._reminded:
            self._reminded = True
            self._chat.warn(
                "another encchat-client of this name has the keys of sealed rooms: they are read there, and "
                "what scripts say in them here goes through it"
            )

    def _passed_on(self, answer: Answer) -> None:
        """What was handed over has ended."""
        item = self._items.pop(answer.msgid, None)
        self._said.discard(answer.msgid)
        if item is not None and answer.code:
            self._chat.tell([e.NotSent(item, answer.code, answer.text)])
        elif item is not None:
            self._chat.tell([e.Acknowledged(item, answer.seq, answer.time)])

    def _takes_over(self, sealing: Sealing, server: str) -> bool:
        """Take the place of the process that had the keys, if it is gone; whether we look no more."""
        assert self._records is not None, "it was looked for there"
        if not self._is_free(self._records):
            return False
        pending = [] if self._beside is None else self._beside.pending()
        self.close()
        self._try(sealing, server, anew=False)
        if self._vault is not None:
            self._chat.warn("the other encchat-client has let go of the keys: sealed rooms are here now")
            for room in self._through:
                self.entering.add(room)
                self._session.join(room, by_itself=True)
            for item in pending:
                self._settle(item)
            self._begin_anew()
        return True

    def _give_way(self) -> None:
        sealing, server, records = self._sealing, self._server, self._records
        if not self._through or self._vault is None or sealing is None or records is None:
            return
        items = [item for item in self._items.values() if item.msgid in self._said]
        for room in [room for room in self._session.rooms if not is_open(room)]:
            self._session.part(room)
        self.close()
        self._server, self._records = server, records
        self._session.hello = replace(self._session.hello, device="")
        self._stand_beside(sealing, server, records, self._door_of(records))
        for item in items:
            self._say(item)
        self._chat.redial()

    def _settle(self, item: Item) -> None:
        """What was handed over and not answered is in the log, or kept to be sent, or said now."""
        found = self._found(item.room, item.msgid)
        if found is not None:
            self._items.pop(item.msgid, None)
            self._chat.tell([e.Acknowledged(item, found.seq, found.time)])
        elif item.msgid not in self._items:
            self._say(item)

    def _found(self, room: str, msgid: bytes) -> Entry | None:
        """What was said already, if it is in the log."""
        kept = None if self._memory is None else self._memory.find(room, msgid, LOOKED)
        return kept.entry if kept is not None and key_of(kept.entry.sender) == self._user else None
