"""What a peer asks, handled strictly in order: while a request waits for the log, later ones wait behind it.

So they do while the peer does not take its answers. Past a bound it is no longer read, and it is read again
when few wait; the same where the queue to the log is full. What is wrong with a request is its answer.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Iterable
from typing import TYPE_CHECKING, cast

from encchat import messages as m
from encchat.core.requests import HANDLERS, UNMETERED
from encchat.core.states import State
from encchat.errors import EncchatError, PeerError
from encchat.text import clean_line
from encchat.wire import UnknownMessage, decode_client

if TYPE_CHECKING:
    from encchat.core.session import Session

#: Messages, and bytes of them, that wait behind a request before the peer is no longer read.
MAX_WAITING, MAX_WAITING_BYTES = 200, 256 * 1024
#: Refusals after admission that the audit log is told of.
NOTED = frozenset({"banned", "invite-only", "not-allowed"})

_CLOSED = State.CLOSED  # looked up for each message, which an Enum makes slow


class Intake:
    """One session's."""

    __slots__ = ("_busy", "_going_on", "_session", "_waiting", "_waiting_bytes", "held")

    def __init__(self, session: Session) -> None:
        self._session = session
        #: The peer is not read.
        self.held = False
        self._busy = False
        self._going_on = False
        self._waiting: deque[tuple[m.ClientMessage, int]] = deque()
        self._waiting_bytes = 0

    def receive_frames(self, frames: Iterable[bytes]) -> None:
        """Frames from the peer. What is wrong with one is answered, and closes unless it is merely new."""
        session = self._session
        for frame in frames:
            if session.state is _CLOSED:
                return
            try:
                message = decode_client(frame)
            except UnknownMessage as error:
                if session.is_admitted:
                    session.answer(m.Error(error.id, error.code, str(error)))
                else:
                    session.fail(error)
            except PeerError as error:
                session.fail(error)
            else:
                self.receive(message, len(frame))

    def receive(self, message: m.ClientMessage, size: int) -> None:
        """A message from the peer, of so many bytes: handled now, or after those that came before it."""
        if self._busy or self._waiting or self._session.deaf:
            self._waiting.append((message, size))
            self._waiting_bytes += size
            if len(self._waiting) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES:
                self._hold()
        else:
            self._handle(message)

    def begin(self, work: Coroutine[object, object, None]) -> None:
        """Run ``work``, and handle nothing else of the peer until it has ended."""
        self._busy = True
        self._session.hub.turn.spawn(self._run(work), self._session)

    def go_on(self) -> None:
        """Handle what waits, as far as that goes now."""
        if self._going_on:  # called by a request that was answered without waiting: the loop goes on
            return
        session = self._session
        self._going_on = True
        try:
            while self._waiting and not (self._busy or session.deaf or session.closed):
                message, size = self._waiting.popleft()
                self._waiting_bytes -= size
                self._handle(message)
        finally:
            self._going_on = False
        few = len(self._waiting) < MAX_WAITING // 2 and self._waiting_bytes < MAX_WAITING_BYTES // 2
        if self.held and few:
            self._release_when_stored()

    def heed_backlog(self) -> None:
        """The append queue is past its bound: stop reading from the peer until it has room."""
        if not (self.held or self._session.closed):
            self._hold()
            self._session.hub.appends.when_relieved(self._release_when_stored)

    def forget(self) -> None:
        """The session is over: nothing is handled any more."""
        self._waiting.clear()
        self._waiting_bytes = 0

    def _handle(self, message: m.ClientMessage) -> None:
        session = self._session
        kind = type(message)
        if kind not in session.legal:
            if not session.closed:
                session.fail(PeerError(reason=f"a {kind.__name__.lower()} message is out of place here"))
            return
        try:
            if kind not in UNMETERED:
                session.take_request()
            work = HANDLERS[kind](session, message)
        except EncchatError as error:
            self._refuse(message, error)
            return
        if work is not None:
            self.begin(self._answer(message, work))

    async def _run(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        finally:
            self._busy = False
        self.go_on()

    async def _answer(self, message: m.ClientMessage, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except EncchatError as error:
            self._refuse(message, error)

    def _refuse(self, message: m.ClientMessage, error: EncchatError) -> None:
        """Answer a request with the error; before admission, with Refused and a close."""
        session = self._session
        if session.closed:
            return
        if isinstance(error, PeerError):
            session.fail(error)
        elif not session.is_admitted:
            self._note(message, error)
            session.turn_away(error)
        else:
            if error.code in NOTED:
                self._note(message, error)
            session.refuse(cast(int, getattr(message, "id", 0)), error)

    def _note(self, message: m.ClientMessage, error: EncchatError) -> None:
        """A refusal, for the audit log."""
        session = self._session
        asked = getattr(message, "name", "") if isinstance(message, m.Hello) else session.name.shown
        facts = {"asked": type(message).__name__.lower(), "code": error.code}
        room = getattr(message, "room", "")
        if room:
            facts["room"] = clean_line(room)
        session.hub.note("refuse", clean_line(asked), session.identity.fingerprint, **facts)

    def _hold(self) -> None:
        if not self.held:
            self.held = True
            self._session.outlet.hold()

    def _release_when_stored(self) -> None:
        """Read on, unless the append queue is past its bound: then once it has room."""
        session = self._session
        if session.closed or not self.held:
            return
        if session.hub.appends.full:
            session.hub.appends.when_relieved(self._release_when_stored)
            return
        self.held = False
        session.outlet.release()
