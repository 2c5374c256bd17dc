"""What the core needs from others: a log of every room, a directory of who owns what, a transport,
and the time.

The log numbers the entries, whoever else is writing, so that the hub never needs to know the engine.
One contract suite (``tests/contracts/log.py``) proves every implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

from msgspec import Struct
from zope.interface import Attribute, Interface

from encchat.errors import EncchatError, RefusedError, StorageError
from encchat.messages import Position

if TYPE_CHECKING:
    from encchat.core.chat.session import Session

_T = TypeVar("_T")


class Conflict(StorageError):
    """Somebody else changed {key} first; read it again and decide anew."""

    code = "conflict"


class Unavailable(StorageError):
    """The messages cannot be stored right now ({reason}). Nothing was acknowledged; try again."""


class Damaged(Unavailable):
    """The file of the messages is damaged ({reason}). Stop the server, keep a copy of the file, and restore
    a backup: encchat-admin restore FILE."""


class Trimmed(StorageError):
    """The entries up to {first} of {room} have left the log; the first one that is kept comes next."""

    code = "trimmed"

    @property
    def first(self) -> int:
        """The seq after which the log can be read."""
        first = self.facts["first"]
        assert isinstance(first, int)
        return first


class UnknownPosition(RefusedError):
    """{room} has no entry {seq} yet: your copy is of another log."""

    code = "unknown-position"


class Draft(Struct, frozen=True, gc=False):
    """What is to become an entry; the log adds seq and stores the encoded frame.

    ``roster`` is, in a sealed room, the seq of the last roster entry that the sender has seen: the
    draft is rejected when another one was ordered since. With ``again`` it is only to be answered if it was
    stored before, by whoever may not say it any more; else it is rejected. What was stored under one of the
    ``former`` names of the sender is known again as well.
    """

    room: str
    time: int
    sender: str
    device: str
    kind: str
    msgid: bytes
    body: bytes
    roster: int | None = None
    again: bool = False
    former: tuple[str, ...] = ()


class Stored(Struct, frozen=True, gc=False):
    """A draft that is durable, or was before: then ``duplicate``, with what was stored the first time."""

    seq: int
    time: int
    frame: bytes
    duplicate: bool = False


@dataclass(frozen=True, slots=True)
class Rejected:
    """A draft that can never be stored as it is: its msgid was used with another content
    (``msgid-reused``), the roster has moved on (``roster-changed``), or it was only to be known again and is
    not (``not-stored``)."""

    code: str


Outcome: TypeAlias = Stored | Rejected
#: Kinds of directory records of which a log that was asked to be less durable may lose the last changes with
#: the power: nothing but comfort rests on them.
PASSING = frozenset({"mark"})


@dataclass(frozen=True, slots=True)
class Slice:
    """Consecutive entries of one room. ``start`` is the position before the first; ``more`` says that
    the log holds further ones in the direction of the read."""

    start: Position
    frames: Sequence[bytes]
    more: bool


@dataclass(frozen=True, slots=True)
class Findings:
    """Entries of one room that were searched for, in order. All from seq ``reached`` on were looked at;
    ``more`` says that there are earlier ones."""

    frames: Sequence[bytes]
    reached: int
    more: bool


@dataclass(frozen=True, slots=True)
class Item:
    """A value in the directory, at the revision that a change of it must name."""

    value: bytes
    revision: int


class IRoomLog(Interface):
    """A log for each room, numbered densely from 1 and chained; durable as far as the engine is.

    Every method may raise :class:`Unavailable`: for an append it means that the outcome is unknown, and
    the same drafts may be given again.
    """

    log_id: bytes = Attribute("16 bytes that name this log for as long as it exists.")

    async def append(drafts: Sequence[Draft]) -> Sequence[Outcome | StorageError]:
        """Number, chain and store the drafts, in order and as a whole, and answer for each of them only
        once all are durable. A repeated (room, sender, msgid) with the same kind and body is a duplicate
        and returns what was stored the first time. Those of a room that is damaged are left out, and answered
        with the error."""

    async def read(room: str, after: int, limit: int, size: int) -> Slice:
        """The entries that follow seq ``after``: at most ``limit``, and at most ``size`` bytes of frames
        unless the first alone is larger. Includes all that this node acknowledged or announced.

        :raises Trimmed: retention has passed ``after``.
        :raises UnknownPosition: ``after`` lies beyond the head.
        """

    async def read_back(room: str, before: int, limit: int, size: int) -> Slice:
        """The last entries with seq below ``before``, oldest first, bounded as in ``read``.
        ``before`` may lie beyond the head. What retention took is simply not there any more."""

    async def head(room: str) -> Position:
        """Where the room's log ends; ``Position()`` for a room without entries."""

    async def position(room: str, seq: int) -> Position:
        """The position after entry ``seq``, with its chain.

        :raises Trimmed: retention has passed it.
        :raises UnknownPosition: it lies beyond the head.
        """

    async def search(room: str, words: frozenset[str], before: int, limit: int, size: int) -> Findings:
        """The last entries with seq below ``before`` that people wrote in an open room and that have all
        the words (``words.words_of``): at most ``limit``, and at most ``size`` bytes of frames unless one
        alone is larger. Work is bounded too: it may stop before anything is found, and goes on when asked
        again with ``reached``. ``before`` may lie beyond the head."""

    async def rooms(after: str = "", limit: int = 1000) -> Sequence[str]:
        """Up to ``limit`` names of rooms that have had entries, above ``after``, in order."""

    async def trim(room: str, before: int) -> Position:
        """Let the entries with seq below ``before`` go, as far as there are any, and return the position
        after the last one that is gone. Their msgids stay known, and what remains is chained as before."""

    def hints(callback: Callable[[str, int], None]) -> None:
        """Call ``callback(room, seq)`` after entries were appended, perhaps by others. Hints may be
        lost, repeated or late; correctness never rests on them."""

    async def state() -> str:
        """``ok``, ``degraded`` or ``down``, judged by writing a probe."""

    async def close() -> None:
        """Finish what was begun and let go of the engine."""


class IDirectory(Interface):
    """Small durable records by kind and key, changed by compare-and-set."""

    async def get(kind: str, key: str) -> Item | None:
        """The record, or None."""

    async def put(kind: str, key: str, value: bytes, expected: int) -> int:
        """Store the record if its revision is still ``expected`` (0: it does not exist), and return the
        new revision.

        :raises Conflict: it is not.
        """

    async def delete(kind: str, key: str, expected: int) -> None:
        """Remove the record if its revision is still ``expected``.

        :raises Conflict: it is not.
        """

    async def scan(kind: str, after: str = "", limit: int = 1000) -> Mapping[str, Item]:
        """Up to ``limit`` records of a kind with keys above ``after``, in the order of their keys."""


class IBlobs(Interface):
    """Keeps the bytes of files: of those that are on their way, under any id of letters and digits, and of
    blobs, under their SHA-256. Who calls takes care that nothing is done twice at once to one of them.
    ``tests/contracts/blobs.py`` proves every implementation.

    Every method may raise ``Unavailable``.
    """

    async def held(upload: str) -> int:
        """How many bytes of an upload there are; 0 for one that is not known."""

    async def write(upload: str, offset: int, data: bytes) -> None:
        """Keep ``data`` at ``offset``, which is where what is held ends. If that fails, ``held`` may be
        anything from ``offset`` to what it would be."""

    async def digest(upload: str) -> bytes:
        """The SHA-256 of what is held, as it can be read back, once all of it is durable."""

    async def keep(upload: str, blob: bytes) -> None:
        """Make a blob of an upload, durably; also where there is one already."""

    async def discard(upload: str) -> None:
        """Forget an upload, if there is one."""

    async def read(blob: bytes, offset: int, size: int) -> bytes | None:
        """Up to ``size`` bytes of a blob, fewer only at its end; None if there is no such blob."""

    async def remove(blob: bytes) -> None:
        """Forget a blob, if there is one."""

    async def blobs(after: bytes = b"", limit: int = 1000) -> Sequence[bytes]:
        """Up to ``limit`` blobs that there are, above ``after``, in order."""

    async def uploads() -> Mapping[str, tuple[int, float]]:
        """The uploads that there are: how many bytes each holds, and for how many seconds nothing was written
        to it."""

    async def close() -> None:
        """Finish what was begun."""


class Promise(Protocol[_T]):
    """A value that one coroutine awaits and somebody else has, once."""

    def resolve(self, value: _T) -> None:
        """Go on with whoever awaits it, at once."""

    def __await__(self) -> Generator[Any, None, _T]: ...


class ITurn(Interface):
    """The world outside of the hub: time, randomness, and the way to do something later."""

    def now() -> float:
        """Seconds from any fixed origin; never goes back."""

    def wall() -> float:
        """Seconds since 1970-01-01 UTC, as this machine believes."""

    def token(size: int) -> bytes:
        """``size`` random bytes that nobody can guess."""

    def soon(step: Callable[[], None]) -> None:
        """Run ``step`` once the current turn's input has been handled."""

    def after(seconds: float, step: Callable[[], None]) -> None:
        """Run ``step`` after so many seconds."""

    def spawn(work: Coroutine[object, object, None], session: Session | None) -> None:
        """Run ``work``. What it did not foresee is logged, and closes ``session``."""

    def promise() -> Promise[Any]:
        """A promise, for one coroutine that was spawned here to await."""


@dataclass(frozen=True, slots=True)
class Deed:
    """Something for the audit log: what was done, by whom with which key, when (milliseconds), and what
    there is to know about it. Never what people wrote."""

    what: str
    time: int
    who: str
    key: str
    facts: Mapping[str, str | int]


class IAudit(Interface):
    """Keeps who came in, who was refused, and what moderators and operators did."""

    def record(deed: Deed) -> None:
        """Keep it, without waiting for that."""

    async def settle() -> None:
        """Returns when all that was recorded until now is on disk, or when that was tried and failed."""


class IOutlet(Interface):
    """What carries a session: the bridge to a transport."""

    origin: str = Attribute("What counts as one address, from which the peer comes; empty if nobody knows.")

    def write(data: bytes) -> None:
        """Send frames."""

    def close() -> None:
        """Close after what was written."""

    def hold() -> None:
        """Read no more from the peer until ``release``."""

    def release() -> None:
        """Read on."""

    def note(error: EncchatError) -> None:
        """Log, in one line, why this peer was refused or failed."""

    def admitted() -> None:
        """The hub let the peer in: the tighter bounds of before end."""
