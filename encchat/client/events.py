"""What a session tells the one who listens to it: typed, already checked, not yet cleaned for a screen.

``request`` is the id that the asking method returned, or 0 where the server spoke unasked. What
``Chat.local_history`` and ``Chat.local_search`` return has ``local`` set and the request 0: it was kept from
before, and nobody was asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from encchat.client.protocol.outbox import Item
from encchat.messages import Entry, Mail, Member, Position, Profile, RoomInfo, RoomProfile, ServerMessage

if TYPE_CHECKING:
    from encchat.core.sealed import events as fx


class Admitted(Struct, frozen=True):
    """The server let us in, as ``name``. ``new_log``: it had another log when it was last met."""

    name: str
    log: bytes
    motd: str
    software: str
    new_log: bool


class JoinedRoom(Struct, frozen=True):
    """We are in a room. ``head.seq - start.seq`` entries follow that were there before; ``first`` is
    true unless this session had been in it already and resumes. ``mark`` is how far this person has
    read it, on any device. ``by_itself``: nobody asked for it, so no console should go there."""

    room: str
    head: Position
    start: Position
    members: tuple[Member, ...]
    topic: str
    first: bool
    mark: int = 0
    by_itself: bool = False


class NotJoined(Struct, frozen=True):
    """The server does not let us into a room, and why."""

    room: str
    code: str
    text: str


class LeftRoom(Struct, frozen=True):
    """We left a room, as we wanted."""

    room: str


class PutOut(Struct, frozen=True):
    """A moderator put us out of a room: ``code`` is ``kicked`` or ``banned``."""

    room: str
    code: str
    text: str


class WasInvited(Struct, frozen=True):
    """``name`` invites us into a room."""

    room: str
    name: str


class Announced(Struct, frozen=True):
    """The server's operator says something to everybody."""

    text: str


class Seal(Struct, frozen=True, array_like=True):
    """How an entry of a sealed room came to be what it is. ``state`` is ``opened``; ``waiting`` for a key;
    ``failed``, with the check that it did not pass as a stable ``code`` and a ``reason`` in words; or
    ``roster``. ``trust`` is how sure its writer's identity is (``core.sealed.events``). With a ``vouched_by``
    its key came from there and not from its writer. ``late``: its place was shown before."""

    state: str
    trust: str = ""
    vouched_by: str = ""
    code: str = ""
    reason: str = ""
    late: bool = False


class NewEntry(Struct, frozen=True):
    """The next entry of a room's log. ``own``: it was sent by this run of the client; ``old``: it was
    there before we came. ``frame`` is the entry as it came, which follows ``start``. In a sealed room
    (``seal`` is there) the entry has the kind and body that were sealed; one that waits for its key has the
    kind ``waiting``, one that did not pass a check ``failed``, and a late one comes under its old number."""

    entry: Entry
    own: bool
    old: bool
    frame: bytes = b""
    start: Position = Position()
    seal: Seal | None = None


class SealedNews(Struct, frozen=True):
    """Something about keys, devices or identities: an event of ``core.sealed.events``, but for those that are
    told as entries, or as the end of what was sent."""

    news: fx.Event


class CaughtUp(Struct, frozen=True):
    """Every entry that was in the room when we came has been told."""

    room: str


class Lost(Struct, frozen=True):
    """``count`` entries of a room have left the server's log unread: it keeps them no longer."""

    room: str
    count: int


class History(Struct, frozen=True):
    """Entries that were asked for, in order; ``more`` of them lie in the direction that was asked. A local
    page is shorter than it could be where entries are missing before it. ``frames`` are the entries as
    they came, which follow ``start``; ``proved``: the chain leads from or to what we have read. Of a sealed
    room there is a seal for each entry."""

    request: int
    room: str
    entries: tuple[Entry, ...]
    more: bool
    start: Position = Position()
    frames: tuple[bytes, ...] = ()
    proved: bool = False
    local: bool = False
    seals: tuple[Seal, ...] = ()


class SearchFound(Struct, frozen=True):
    """What a search for ``words`` found, in order, from entry ``reached`` on; ``more`` says that there are
    earlier entries which were not looked at. No chain proves them: the server alone says that they are so,
    unless they are ``local``. Of a sealed room there is a seal for each entry."""

    request: int
    room: str
    entries: tuple[Entry, ...]
    reached: int
    more: bool
    local: bool = False
    seals: tuple[Seal, ...] = ()


class Acknowledged(Struct, frozen=True):
    """The server has stored what was sent, as entry ``seq`` at ``time``."""

    item: Item
    seq: int
    time: int


class NotSent(Struct, frozen=True):
    """The server refuses for good what was sent, and why."""

    item: Item
    code: str
    text: str


class Delayed(Struct, frozen=True):
    """The server cannot take what is sent now; it goes out again in ``seconds``. With the code
    ``cannot-keep`` it is our own disk that fails."""

    code: str
    text: str
    seconds: float


class RoomMembers(Struct, frozen=True):
    """Who is in a room."""

    request: int
    room: str
    members: tuple[Member, ...]


class RoomsListed(Struct, frozen=True):
    """The rooms that can be entered."""

    request: int
    rooms: tuple[RoomInfo, ...]


class ProfileFound(Struct, frozen=True):
    """Who has a name."""

    request: int
    profile: Profile


class RoomDescribed(Struct, frozen=True):
    """How a room is run, and by whom."""

    request: int
    profile: RoomProfile


class ActDone(Struct, frozen=True):
    """What was done to a room or a member of it (``act`` is ``ban``, ``role``...) is stored as ``seq``."""

    request: int
    act: str
    room: str
    seq: int
    time: int


class LinkCode(Struct, frozen=True):
    """A code that lets one other device in under our ``name``, within ``seconds``. ``server`` is the
    address that this device has of the server."""

    request: int
    code: str
    seconds: int
    name: str
    server: str = ""


class Unlinked(Struct, frozen=True):
    """A key was taken from our name."""

    request: int


class ReadElsewhere(Struct, frozen=True):
    """Another device of ours has read a room up to ``seq``."""

    room: str
    seq: int


class CameOrWent(Struct, frozen=True):
    """Somebody came into a room or left it."""

    room: str
    name: str
    here: bool
    classic: bool


class IsTyping(Struct, frozen=True):
    """Somebody is writing."""

    room: str
    name: str


class RequestFailed(Struct, frozen=True):
    """A question was answered with an error; after ``wait`` seconds it may be asked again."""

    request: int
    code: str
    text: str
    wait: float = 0.0


class Relayed(Struct, frozen=True):
    """The answer to a request that ``Chat.sealed`` made: for it alone, as ``MailCame`` is."""

    request: int
    answer: ServerMessage


class MailCame(Struct, frozen=True):
    """A letter for this device."""

    mail: Mail


class FileReady(Struct, frozen=True):
    """The server has so many bytes of a file. For ``Chat.files`` alone, as ``FilePiece`` is."""

    request: int
    offset: int


class FilePiece(Struct, frozen=True):
    """The server gives a piece of a file of ``size`` bytes."""

    request: int
    offset: int
    size: int
    data: bytes


class FileProgress(Struct, frozen=True):
    """So much of a file has gone to the server (``up``), or come from it. ``transfer`` is its number."""

    transfer: int
    room: str
    name: str
    up: bool
    done: int
    size: int


class FileGiven(Struct, frozen=True):
    """The server has all of a file; its entry goes out as the message ``msgid``, which is acknowledged like
    any other. ``hash`` is hexadecimal."""

    transfer: int
    room: str
    name: str
    size: int
    hash: str
    msgid: bytes


class FileSaved(Struct, frozen=True):
    """A file was received, and is at ``path``."""

    transfer: int
    room: str
    name: str
    size: int
    hash: str
    path: str


class FileFailed(Struct, frozen=True):
    """A file was not sent (``up``) or received, and why."""

    transfer: int
    room: str
    name: str
    up: bool
    code: str
    text: str


class ServerComplains(Struct, frozen=True):
    """The server found something wrong with the connection as a whole, and will close it."""

    code: str
    text: str


class ServerCloses(Struct, frozen=True):
    """The server is about to close the connection, and why."""

    reason: str


class Answered(Struct, frozen=True):
    """The server answered a ping within ``seconds``."""

    seconds: float


class LinkLost(Struct, frozen=True):
    """There is no connection, and why; the next attempt is in ``wait`` seconds."""

    reason: str
    wait: float


Event: TypeAlias = (
    Admitted
    | JoinedRoom
    | NotJoined
    | LeftRoom
    | PutOut
    | WasInvited
    | Announced
    | NewEntry
    | SealedNews
    | CaughtUp
    | Lost
    | History
    | SearchFound
    | Acknowledged
    | NotSent
    | Delayed
    | RoomMembers
    | RoomsListed
    | ProfileFound
    | RoomDescribed
    | ActDone
    | LinkCode
    | Unlinked
    | ReadElsewhere
    | CameOrWent
    | IsTyping
    | RequestFailed
    | Relayed
    | MailCame
    | FileReady
    | FilePiece
    | FileProgress
    | FileGiven
    | FileSaved
    | FileFailed
    | ServerComplains
    | ServerCloses
    | Answered
    | LinkLost
)
