"""What a client sends."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from encchat.messages.common import Shape
from encchat.messages.values import (
    MAX_CLAIMS,
    MAX_KEYS,
    MAX_LETTERS,
    MAX_PAGE,
    Body,
    Certificate,
    Count,
    Data,
    Fingerprint,
    Hash,
    Id,
    Key,
    Letter,
    MsgId,
    Name,
    Position,
    Reason,
    RoomName,
    Seq,
    SignedList,
    Size,
    Text,
    Word,
)


class Hello(Shape, frozen=True):
    """First message: the protocol versions that the client speaks, the name that it asks for, a word
    for the device, and the software it runs. ``link`` is a code that another device of the name got by
    ``Link``. Answered by ``Welcome`` or ``Refused``."""

    versions: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=8)]
    name: Name
    device: Word = ""
    software: Word = ""
    link: Word = ""


class Join(Shape, frozen=True):
    """Enter a room. ``after`` is where the client's copy of the log ends: everything later follows as
    ``Entry``. Without it the last ``history`` entries follow. Answered by ``Joined``."""

    id: Id
    room: RoomName
    after: Position | None = None
    history: Count = 0


class Part(Shape, frozen=True):
    """Leave a room. Answered by ``Done``."""

    id: Id
    room: RoomName


class Send(Shape, frozen=True):
    """Append an entry to a room. In an open room ``kind`` is ``text`` or ``me``, with a UTF-8 ``body``, or
    ``reply``, ``edit``, ``delete``, ``reaction`` or ``file``, whose bodies are JSON. In a sealed room it is
    ``sealed`` or ``roster``, and ``roster`` is the seq of the last roster that the sender has seen: if there
    is a later one, the entry is refused (``roster-changed``), as it would be for others than the sender
    believes. Answered by ``Sent`` once the entry is stored; the same msgid again is answered alike. Without
    a room, a ``text`` of the server's admins is told to everybody who is in, as a ``Notice``."""

    id: Id
    room: RoomName
    msgid: MsgId
    kind: Word
    body: bytes
    roster: Seq | None = None


class Create(Shape, frozen=True):
    """Make a sealed room, or a conversation of two. ``body`` is its first roster, which becomes entry 1, of
    kind ``roster``. Answered by ``Sent``; the same msgid again is answered alike."""

    id: Id
    room: RoomName
    msgid: MsgId
    body: Body


class Read(Shape, frozen=True):
    """Read up to ``limit`` entries of a room: the first ones after seq ``after``, or with ``before``
    (above 0) the last ones before that seq. Answered by ``Page``."""

    id: Id
    room: RoomName
    after: Seq = 0
    before: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100


class Search(Shape, frozen=True):
    """Find entries that people wrote in an open room and that have all the ``words``, whole and in any
    case: the last ``limit`` of them, below seq ``before`` if that is not 0. Answered by ``Found``."""

    id: Id
    room: RoomName
    words: Reason
    before: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class Who(Shape, frozen=True):
    """Who is in a room now? Answered by ``Members``."""

    id: Id
    room: RoomName


class Rooms(Shape, frozen=True):
    """Which rooms can I enter? Answered by ``RoomList``."""

    id: Id


class Whois(Shape, frozen=True):
    """Who has this name? Answered by ``Profile``."""

    id: Id
    name: Name


class Topic(Shape, frozen=True):
    """Set a room's topic; it becomes an entry of kind ``topic``. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    topic: Text


class Invite(Shape, frozen=True):
    """Let ``name`` into a private room, until a ``Kick`` or ``Ban`` takes it back; an entry of kind
    ``invite``. For moderators. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name


class Kick(Shape, frozen=True):
    """Put ``name`` out of a room, and take back an invitation; an entry of kind ``kick``. For moderators,
    and for admins also with an empty ``room``: out of the server. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name
    reason: Reason = ""


class Ban(Shape, frozen=True):
    """Put ``name`` out of a room and keep it out, with all its keys, for ``seconds`` (0: until it is
    undone); it loses its role. An entry of kind ``ban``. For moderators, and for admins also with an empty
    ``room``: out of the server. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name
    seconds: Count = 0
    reason: Reason = ""


class Unban(Shape, frozen=True):
    """Undo a ban; an entry of kind ``unban``. For moderators, and for admins also with an empty ``room``.
    Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name


class Mute(Shape, frozen=True):
    """Let ``name`` read but not write in a room, for ``seconds`` (0: until it is undone); an entry of kind
    ``mute``. For moderators. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name
    seconds: Count = 0
    reason: Reason = ""


class Unmute(Shape, frozen=True):
    """Undo a mute; an entry of kind ``unmute``. For moderators. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name


class Role(Shape, frozen=True):
    """Make ``name`` an ``owner``, a ``moderator`` or a mere ``member`` of a room; an entry of kind
    ``role``. For owners. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name
    role: Word


class Access(Shape, frozen=True):
    """Make a room ``open`` or ``private`` (who is in it now is then invited), and let its ``members`` or
    only its ``moderators`` set the topic; an empty word leaves things as they are. An entry of kind
    ``access``. For owners. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    access: Word = ""
    topic_by: Word = ""


class Mark(Shape, frozen=True):
    """The person has read a room up to ``seq``. A mark never goes back. Answered by ``Done``."""

    id: Id
    room: RoomName
    seq: Seq


class Link(Shape, frozen=True):
    """Let another device use this name: ask for a code for its ``Hello``. It replaces an earlier one.
    Answered by ``Linked``."""

    id: Id


class Unlink(Shape, frozen=True):
    """Take a key from this name: one's own, or one that was linked after one's own. Answered by ``Done``."""

    id: Id
    fingerprint: Fingerprint


class PublishKeys(Shape, frozen=True):
    """This session is that of the device with this ``certificate`` (empty: the one of this key's certificate
    that the server has), whose mail then comes here; keep the list of the name's ``devices`` (empty: as it
    is), which must follow the one that the server has; add ``one_time`` keys, and replace the ``fallback``
    (empty: as it is). Answered by ``Published``."""

    id: Id
    certificate: Certificate = b""
    devices: SignedList = b""
    one_time: Annotated[tuple[Key, ...], Meta(max_length=MAX_KEYS)] = ()
    fallback: Key = b""


class Devices(Shape, frozen=True):
    """Which devices has this name? Answered by ``DeviceList``."""

    id: Id
    name: Name


class ClaimKeys(Shape, frozen=True):
    """Give me a key with which to begin to write to each of these ``devices`` of a name. A one-time key is
    given to nobody again. Answered by ``Keys``."""

    id: Id
    name: Name
    devices: Annotated[tuple[Word, ...], Meta(max_length=MAX_CLAIMS)]


class ToDevice(Shape, frozen=True):
    """Keep these letters until their devices have taken them. Answered by ``Posted``, once they are there."""

    id: Id
    letters: Annotated[tuple[Letter, ...], Meta(max_length=MAX_LETTERS)]


class AckMail(Shape, frozen=True):
    """This device has all its ``Mail`` up to ``seq``: the server lets it go. Answered by ``Done``."""

    id: Id
    seq: Seq


class About(Shape, frozen=True):
    """How is this room run, and by whom? Answered by ``RoomProfile``."""

    id: Id
    room: RoomName


class Upload(Shape, frozen=True):
    """Begin to give a file of ``size`` bytes with the SHA-256 ``hash`` to a room, or go on with it.
    Answered by ``Ready``, which says from where."""

    id: Id
    room: RoomName
    hash: Hash
    size: Size


class Chunk(Shape, frozen=True):
    """The bytes at ``offset`` of a file whose ``Upload`` was begun. Answered by ``Ready``; the last one's
    says that the file is whole, durable, and what its hash says."""

    id: Id
    hash: Hash
    offset: Size
    data: Data


class Download(Shape, frozen=True):
    """Read a file that somebody gave to a room, from ``offset`` on. Answered by ``Piece``."""

    id: Id
    room: RoomName
    hash: Hash
    offset: Size = 0


class Bye(Shape, frozen=True):
    """The client leaves on purpose. The server closes."""

    reason: Text = ""
