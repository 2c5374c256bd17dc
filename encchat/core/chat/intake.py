"""What a peer asks, handled strictly in order: while a request waits for the log, later ones wait behind it.

So they do while the peer does not take its answers. Past a bound it is no longer read, and it is read again
when few wait; the same where the queue to the log is full. What is wrong with a request is its answer.

A refusal takes time, too, and so does nonsense: who sends far more than the server's rates allow is left
alone for a while, and of what waited one turn handles no more than a step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, cast

from encchat import messages as m
from encchat.core.chat.limits import TokenBucket
from encchat.core.chat.requests import HANDLERS, UNMETERED
from encchat.core.chat.states import State
from encchat.errors import EncchatError, PeerError
from encchat.text import clean_line
from encchat.wire import UnknownMessage, decode_client

if TYPE_CHECKING:
    from encchat.core.chat.session import Session

#: Messages, and bytes of them, that wait behind a request before the peer is no longer read.
MAX_WAITING, MAX_WAITING_BYTES = 200, 256 * 1024
#: Frames of any kind, a second and at once, where the server has rates: more than all of these allow.
FRAME_RATE, FRAME_BURST = 600, 2000
#: Messages that waited and are handled in one turn.
STEP = 200
#: Refusals after admission that the audit log is told of.
NOTED = frozenset({"banned", "invite-only", "not-allowed"})

_CLOSED = State.CLOSED  # looked up for each message, which an Enum makes slow


class Intake:
    """One session's."""

    __slots__ = (
        "_busy",
        "_frames",
        "_going_on",
        "_resting",
        "_session",
        "_soon",
        "_waiting",
        "_waiting_bytes",
        "held",
    )

    def __init__(self, session: Session) -> None:
        self._session = session
        #: The peer is not read.
        self.held = False
        self._busy = False
        self._going_on = False
        #: Nothing is handled until some time has passed; or until the next turn.
        self._resting = False
        self._soon = False
        hub = session.hub
        rate = FRAME_RATE if hub.settings.limits.rate else 0
        self._frames = TokenBucket(rate, FRAME_BURST, hub.turn.now())
        self._waiting: deque[tuple[m.ClientMessage | bytes, int]] = deque()
        self._waiting_bytes = 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes of frames that wait."""
        return self._waiting_bytes

    def receive_frames(self, frames: Sequence[bytes]) -> None:
        """Frames from the peer. What is wrong with one is answered, and closes unless it is merely new."""
        session = self._session
        if self._frames.rate and frames:
            now = session.hub.turn.now()
            self._frames.take(now)
            self._frames.spend(len(frames) - 1)
            wait = self._frames.wait(now)
            if wait > 1 / FRAME_RATE and not self._resting:
                self._rest(wait)
        for frame in frames:
            if session.state is _CLOSED:
                return
            if self._busy or self._waiting or self._resting or session.deaf:
                self._keep(frame, len(frame))
            else:
                self._open(frame)

    def receive(self, message: m.ClientMessage, size: int) -> None:
        """A message from the peer, of so many bytes: handled now, or after those that came before it."""
        if self._busy or self._waiting or self._resting or self._session.deaf:
            self._keep(message, size)
        else:
            self._handle(message)

    def _keep(self, message: m.ClientMessage | bytes, size: int) -> None:
        self._waiting.append((message, size))
        self._waiting_bytes += size
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes >= MAX_WAITING_BYTES:
            self._hold()

    def _rest(self, seconds: float) -> None:
        """Handle nothing for so long, and read nothing."""
        self._resting = True
        self._hold()
        self._session.hub.turn.after(seconds, self._rested)

    def _rested(self) -> None:
        self._resting = False
        self.go_on()

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
        left = STEP
        try:
            while (
                self._waiting and left and not (self._busy or self._resting or session.deaf or session.closed)
            ):
                message, size = self._waiting.popleft()
                self._waiting_bytes -= size
                left -= 1
                if isinstance(message, bytes):
                    self._open(message)
                else:
                    self._handle(message)
        finally:
            self._going_on = False
        if not left and not self._soon:
            self._soon = True
            session.hub.turn.soon(self._next_step)
        few = len(self._waiting) < MAX_WAITING // 2 and self._waiting_bytes < MAX_WAITING_BYTES // 2
        if self.held and few and not self._resting:
            self._release_when_stored()

    def _next_step(self) -> None:
        self._soon = False
        self.go_on()

    def heed_backlog(self) -> None:
        """The append queue is past its bound: stop reading from the peer until it has room."""
        if not (self.held or self._session.closed):
            self._hold()
            self._session.hub.appends.when_relieved(self._release_when_stored)

    def forget(self) -> None:
        """The session is over: nothing is handled any more."""
        self._waiting.clear()
        self._waiting_bytes = 0

    def _open(self, frame: bytes) -> None:
        """Handle a message, once it was made out."""
        session = self._session
        try:
            message = decode_client(frame)
        except UnknownMessage as error:
            self._tell_unknown(error)
        except PeerError as error:
            session.fail(error)
        else:
            self._handle(message)

    def _tell_unknown(self, error: UnknownMessage) -> None:
        session = self._session
        if not session.is_admitted:
            session.fail(error)
            return
        try:
            session.take_request()
        except EncchatError as refused:
            session.refuse(error.id, refused)
        else:
            session.answer(m.Error(error.id, error.code, str(error)))

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
        if session.closed or not self.held or self._resting:
            return
        if session.hub.appends.full:
            session.hub.appends.when_relieved(self._release_when_stored)
            return
        self.held = False
        session.outlet.release()
