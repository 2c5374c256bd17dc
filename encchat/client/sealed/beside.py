"""For a client whose profile's keys another process has: what is said in sealed rooms goes through that one
(``doorway``), and once it is gone, this one takes its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall, IReactorTime, IReactorUNIX
from twisted.internet.protocol import ClientFactory
from twisted.internet.protocol import Protocol as Connection
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from encchat.client.protocol.outbox import Item
from encchat.client.sealed.doorway import MAX_LINE, MAX_PATH, Answer, Ask, GiveWay

#: Seconds from one look for the other process to the next.
LOOK_EVERY = 5.0
#: Seconds without an answer, while something is on its way, after which that is told.
PATIENCE = 120.0

_KEPT = "the other encchat-client of this name keeps it, and sends it when it can"
_SILENT = "the other encchat-client of this name, which has the keys, does not answer; it was not sent"
_answer = msgspec.json.Decoder(Answer)


class Passage(LineOnlyReceiver):
    """The way to the other process."""

    delimiter = b"\n"
    MAX_LENGTH = MAX_LINE

    def __init__(self, beside: Beside) -> None:
        self._beside = beside

    def connectionMade(self) -> None:
        """It is there."""
        self._beside.found(self)

    def lineReceived(self, line: bytes) -> None:
        """Something has ended."""
        try:
            answer = _answer.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            self.leave()
            return
        self._beside.answered(answer)

    def connectionLost(self, reason: object = None) -> None:
        """It is gone."""
        self._beside.lost(self)

    def say(self, item: Item) -> None:
        """Have it said."""
        self.sendLine(msgspec.json.encode(Ask(item.msgid, item.room, item.kind, item.body)))

    def ask_for_keys(self) -> None:
        """A person would like to read."""
        self.sendLine(msgspec.json.encode(GiveWay()))

    def leave(self) -> None:
        """It is needed no more."""
        assert self.transport is not None, "connected"
        self.transport.loseConnection()


class Beside(ClientFactory):
    """Hands over what is said, as often as it takes: it counts once. ``ended`` hears how each ended;
    ``is_free`` looks whether the keys are to be had, and takes them if they are. ``wanted`` says that a
    person would like to read here."""

    noisy = False

    def __init__(
        self,
        clock: IReactorTime,
        path: Path,
        ended: Callable[[Answer], None],
        is_free: Callable[[], bool],
        *,
        wanted: bool = False,
    ) -> None:
        self._clock = clock
        self._path = path
        self._ended = ended
        self._is_free = is_free
        self._wanted = wanted
        self._pending: dict[bytes, Item] = {}
        #: Of those, what was handed over at all.
        self._handed: set[bytes] = set()
        self._passage: Passage | None = None
        self._asked_at = 0.0
        self._over = False
        self._timer: IDelayedCall = clock.callLater(LOOK_EVERY, self._look)
        self._connect()

    @property
    def is_possible(self) -> bool:
        """Whether there is, or was, somebody to hand over to."""
        return (
            not self._over
            and IReactorUNIX(self._clock, None) is not None
            and len(bytes(self._path)) <= MAX_PATH
        )

    def say(self, item: Item) -> None:
        """Have something said."""
        self._pending[item.msgid] = item
        self._asked_at = self._clock.seconds()
        if self._passage is not None:
            self._hand(item, self._passage)

    def _hand(self, item: Item, passage: Passage) -> None:
        self._handed.add(item.msgid)
        passage.say(item)

    def pending(self) -> list[Item]:
        """What no answer has come to, in order."""
        return list(self._pending.values())

    def stop(self) -> None:
        """No more of this."""
        self._over = True
        if self._timer.active():
            self._timer.cancel()
        if self._passage is not None:
            self._passage.leave()

    # ----------------------------------------------------------------------------------- what happens

    def buildProtocol(self, addr: IAddress | None) -> Connection:
        """The other process answers."""
        return Passage(self)

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """It does not: look again later."""

    def found(self, passage: Passage) -> None:
        """What is on its way goes to whoever is there now."""
        self._passage = passage
        if self._wanted:
            passage.ask_for_keys()
        for item in self.pending():
            self._hand(item, passage)

    def answered(self, answer: Answer) -> None:
        """Something has ended."""
        self._handed.discard(answer.msgid)
        if self._pending.pop(answer.msgid, None) is not None:
            self._asked_at = self._clock.seconds()
            self._ended(answer)

    def lost(self, passage: Passage) -> None:
        """The other process ended, or closed its door."""
        if self._passage is passage:
            self._passage = None
            if self._wanted and self._timer.active():
                self._timer.reset(0)

    def _connect(self) -> None:
        if self.is_possible and self._passage is None:
            cast(IReactorUNIX, self._clock).connectUNIX(str(self._path), self)

    def _look(self) -> None:
        if self._is_free():
            return
        self._timer = self._clock.callLater(LOOK_EVERY, self._look)
        self._connect()
        if self._pending and self._clock.seconds() - self._asked_at >= PATIENCE:
            for item in self.pending():
                kept = item.msgid in self._handed
                text = _KEPT if kept else _SILENT
                self.answered(Answer(item.msgid, code="kept" if kept else "no-answer", text=text))
