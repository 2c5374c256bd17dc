"""What a server sends: the answers to requests, entries, and news that nobody asked for."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from encchat.messages.common import Shape
from encchat.messages.values import (
    Body,
    Certificate,
    Count,
    Data,
    Fingerprint,
    Id,
    Key,
    LetterBody,
    Limits,
    Member,
    MsgId,
    Name,
    Position,
    Restriction,
    RoomInfo,
    RoomName,
    Seq,
    SignedList,
    Size,
    Standing,
    Text,
    Time,
    Word,
)


class Welcome(Shape, frozen=True):
    """Admitted, as ``name``. ``log`` names the server's log: positions kept for another log mean
    nothing in this one. A client refuses another log than the one it knew, unless that one's name began with
    8 zero bytes: such a log lives in memory, and ends with its process. ``motd``: the message of the day."""

    name: Name
    session: Seq
    limits: Limits
    motd: Annotated[str, Meta(max_length=4000)]
    time: Time
    log: Annotated[bytes, Meta(min_length=16, max_length=16)]
    software: Word = ""


class Refused(Shape, frozen=True):
    """Not admitted; the server closes. ``code`` is a stable word, ``text`` is for people."""

    code: Word
    text: Text


class Joined(Shape, frozen=True):
    """You are in ``room``, whose log ends at ``head``. The entries after ``start`` follow. ``mark`` is how
    far this name has read the room."""

    id: Id
    room: RoomName
    head: Position
    start: Position
    members: tuple[Member, ...]
    topic: Text = ""
    mark: Seq = 0


class Done(Shape, frozen=True):
    """The request with this id was carried out and has nothing else to tell."""

    id: Id


class Sent(Shape, frozen=True):
    """Stored, durably, as entry ``seq`` at ``time``. (``seq`` is 0 for what was not about a room.)"""

    id: Id
    seq: Seq
    time: Time


class Page(Shape, frozen=True):
    """Entries in order, each the whole stored ``Entry`` frame. ``start`` is the position before the
    first one; ``more`` says whether the log goes on in the direction that was asked for."""

    id: Id
    room: RoomName
    start: Position
    entries: tuple[bytes, ...]
    more: bool


class Found(Shape, frozen=True):
    """Entries that were searched for, in order, each the whole stored ``Entry`` frame. All from seq
    ``reached`` on were looked at; if ``more`` is true there are earlier ones: to go on, search with
    ``before`` = ``reached``, also when nothing was found."""

    id: Id
    room: RoomName
    entries: tuple[bytes, ...]
    reached: Seq
    more: bool


class Entry(Shape, frozen=True):
    """One entry of a room's log. These very bytes are stored, hashed into the chain
    (chain(n) = SHA-256(chain(n-1) || frame(n)), the frame with its length) and sent to every member."""

    room: RoomName
    seq: Seq
    time: Time
    sender: Name
    device: Word
    kind: Word
    msgid: MsgId
    body: Body


class Members(Shape, frozen=True):
    """Who is in ``room`` now. With id 0 nobody asked: it replaces what the client knew before."""

    id: Id
    room: RoomName
    members: tuple[Member, ...]


class RoomList(Shape, frozen=True):
    """The rooms that the client can enter."""

    id: Id
    rooms: tuple[RoomInfo, ...]


class Profile(Shape, frozen=True):
    """Who has a name: the key's fingerprint, when it was claimed, whether a certificate authority
    vouches for it, the rooms shared with the one who asks where that person is now, and the ``keys`` of
    further devices in the order in which they were linked."""

    id: Id
    name: Name
    fingerprint: Fingerprint
    since: Time
    vouched: bool
    online: bool
    classic: bool = False
    rooms: tuple[RoomName, ...] = ()
    keys: tuple[Fingerprint, ...] = ()


class RoomProfile(Shape, frozen=True):
    """How a room is run: ``access`` and ``topic_by`` as in ``Access``, and who has a role. Bans, mutes and
    invitations are told to those who can change them. Of a sealed room ``access`` is ``sealed``; ``roles``
    names every member: an ``admin``, who may change the roster, or a ``member``."""

    id: Id
    room: RoomName
    access: Word
    topic_by: Word
    roles: tuple[Standing, ...] = ()
    bans: tuple[Restriction, ...] = ()
    mutes: tuple[Restriction, ...] = ()
    invites: tuple[Name, ...] = ()


class Removed(Shape, frozen=True):
    """You are not in ``room`` any more: ``code`` is ``kicked``, ``banned`` or, where another device of this
    name has left a sealed room for all of them, ``left``; ``text`` is for people."""

    room: RoomName
    code: Word
    text: Text


class Invited(Shape, frozen=True):
    """``name`` invites you into ``room``."""

    room: RoomName
    name: Name


class Marked(Shape, frozen=True):
    """Another device of this name has read ``room`` up to ``seq``."""

    room: RoomName
    seq: Seq


class Linked(Shape, frozen=True):
    """The ``code`` lets one other device in under this name, within ``seconds``."""

    id: Id
    code: Word
    seconds: Count


class Ready(Shape, frozen=True):
    """The server has the first ``offset`` bytes of the file: go on from there. Once that is its size, there
    is nothing left to send, and a ``file`` entry may name it."""

    id: Id
    offset: Size


class Piece(Shape, frozen=True):
    """The bytes at ``offset`` of a file of ``size`` bytes; empty only at its end."""

    id: Id
    offset: Size
    size: Size
    data: Data


class Published(Shape, frozen=True):
    """Kept: this session is that of the ``device`` with this id, of which the server has so many ``one_time``
    keys now."""

    id: Id
    device: Word
    one_time: Count


class DeviceList(Shape, frozen=True):
    """The devices of ``name``: the signed list, empty if there is none, and the certificates that the server
    has. None of it is to be believed unchecked."""

    id: Id
    name: Name
    devices: SignedList
    certificates: tuple[Certificate, ...]


class Keys(Shape, frozen=True):
    """A key for each device that was asked for, in that order: a one-time key, or the fallback where none is
    left; empty where there is no such device, or nothing of it."""

    id: Id
    name: Name
    keys: tuple[Key, ...]


class Posted(Shape, frozen=True):
    """Stored, durably, but for the letters with these places (from 0) in the request: no such device,
    or its mailbox takes no more from this sender."""

    id: Id
    refused: tuple[Count, ...] = ()


class Mail(Shape, frozen=True):
    """A letter for this device, numbered upwards: it stays with the server until ``AckMail``. From which
    ``sender`` and ``device`` it comes is what the server believes."""

    seq: Seq
    sender: Name
    device: Word
    body: LetterBody


class Notice(Shape, frozen=True):
    """The server's operator has something to say to everybody."""

    text: Text


class Presence(Shape, frozen=True):
    """``name`` came into ``room`` (``here`` is true) or left it."""

    room: RoomName
    name: Name
    here: bool
    classic: bool = False


class Error(Shape, frozen=True):
    """The request with this id failed. ``code`` is a stable word, ``text`` is for people; ``wait`` is
    how long to wait before trying again, in milliseconds. With id 0 the connection as a whole is meant."""

    id: Id
    code: Word
    text: Text
    wait: Count = 0


class Closing(Shape, frozen=True):
    """The server is about to close this connection, and why."""

    reason: Text
