"""The messages of encchat/1: the single source of the protocol.

Each message is a MessagePack array whose first element is its tag and whose other elements are the
fields below, in order. Unknown elements at the end are ignored and a field with a default may be left
out at the end: that is how a message grows. The table in ``docs/protocol.md`` is generated from this
module; ``encchat.wire`` turns messages into frames and back.

Conventions: ``id`` is chosen by the client and carried back by the one answer to its request, 0 to
2**32-1. ``seq`` counts the entries of a room from 1 without holes. ``time`` is milliseconds since
1970-01-01 UTC. ``chain`` is 32 bytes, a position in a room's hash chain. ``msgid`` is 16 bytes that the
client chose; sending the same (room, sender, msgid) again gets the same seq again.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, get_args

from msgspec import Meta, Struct

PROTOCOL = "encchat/1"
DEFAULT_PORT = 9999

#: A payload (what follows the u32 length) at most, before admission and after it, in bytes.
MAX_PAYLOAD_BEFORE_ADMISSION = 4 * 1024
MAX_PAYLOAD = 256 * 1024
#: The body of one entry at most, in bytes.
MAX_BODY = 64 * 1024
#: Entries that one Page carries at most.
MAX_PAGE = 500
#: Bytes of a file that one Chunk or Piece carries at most.
MAX_PIECE = 64 * 1024

Id: TypeAlias = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Seq: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Time: TypeAlias = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Name: TypeAlias = Annotated[str, Meta(max_length=64)]
RoomName: TypeAlias = Annotated[str, Meta(max_length=66)]
Word: TypeAlias = Annotated[str, Meta(max_length=32)]
Text: TypeAlias = Annotated[str, Meta(max_length=1000)]
Fingerprint: TypeAlias = Annotated[str, Meta(max_length=64)]
Reason: TypeAlias = Annotated[str, Meta(max_length=200)]
MsgId: TypeAlias = Annotated[bytes, Meta(min_length=16, max_length=16)]
Chain: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Body: TypeAlias = Annotated[bytes, Meta(max_length=MAX_BODY)]
Hash: TypeAlias = Annotated[bytes, Meta(min_length=32, max_length=32)]
Size: TypeAlias = Annotated[int, Meta(ge=0, le=2**53)]
Data: TypeAlias = Annotated[bytes, Meta(max_length=MAX_PIECE)]

#: Bounds in bytes of what devices publish and send to one another; the inner forms are the sealed rooms'.
MAX_CERTIFICATE = 24 * 1024
MAX_DEVICE_LIST = 38 * 1024
MAX_KEY = 512
MAX_LETTER = 16 * 1024
#: One-time keys, devices and letters in one message.
MAX_KEYS = 100
MAX_CLAIMS = 50
MAX_LETTERS = 100

Certificate: TypeAlias = Annotated[bytes, Meta(max_length=MAX_CERTIFICATE)]
SignedList: TypeAlias = Annotated[bytes, Meta(max_length=MAX_DEVICE_LIST)]
Key: TypeAlias = Annotated[bytes, Meta(max_length=MAX_KEY)]
LetterBody: TypeAlias = Annotated[bytes, Meta(max_length=MAX_LETTER)]

#: The chain before a room's first entry.
GENESIS = bytes(32)
#: What the name of a log begins with that lives in memory, and is another one after a restart.
PASSING_LOG = bytes(8)


class Position(Struct, frozen=True, array_like=True, order=True):
    """A place in a room's log: after entry ``seq``, where the hash chain is ``chain``."""

    seq: Seq = 0
    chain: Chain = GENESIS


class Limits(Struct, frozen=True, array_like=True):
    """What the server accepts: sizes in bytes, the send rate in messages a second (0: no limit). ``file`` is
    the largest file; 0: it takes none."""

    payload: Count = MAX_PAYLOAD
    body: Count = MAX_BODY
    page: Count = MAX_PAGE
    rate: Count = 20
    burst: Count = 60
    file: Size = 0


class Member(Struct, frozen=True, array_like=True):
    """One member of a room that is here now: the name, and whether only over the classic profile."""

    name: Name
    classic: bool = False


class RoomInfo(Struct, frozen=True, array_like=True):
    """One room in a list: how many members are here now, how many entries its log holds, its topic, and
    whether only those may come in who were invited."""

    room: RoomName
    members: Count
    entries: Seq
    topic: Text = ""
    private: bool = False


class Restriction(Struct, frozen=True, array_like=True):
    """One ban or mute of a room: of whom, by whom, and until when (0: until it is undone)."""

    name: Name
    by: Name
    until: Time = 0


class Standing(Struct, frozen=True, array_like=True):
    """One role in a room: whose, and which (``owner`` or ``moderator``)."""

    name: Name
    role: Word


class Letter(Struct, frozen=True, array_like=True):
    """Something sealed for one device of somebody."""

    name: Name
    device: Word
    body: LetterBody


class _Message(Struct, frozen=True, array_like=True, gc=False, tag=lambda name: name.lower()):
    """What all messages share: frozen, encoded as an array that starts with the lower-case name. What they
    hold refers to nothing but values, so that Python's collector has nothing to look for in them."""


# ------------------------------------------------------------------------------------ client to server


class Hello(_Message, frozen=True):
    """First message: the protocol versions that the client speaks, the name that it asks for, a word
    for the device, and the software it runs. ``link`` is a code that another device of the name got by
    ``Link``. Answered by ``Welcome`` or ``Refused``."""

    versions: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=8)]
    name: Name
    device: Word = ""
    software: Word = ""
    link: Word = ""


class Join(_Message, frozen=True):
    """Enter a room. ``after`` is where the client's copy of the log ends: everything later follows as
    ``Entry``. Without it the last ``history`` entries follow. Answered by ``Joined``."""

    id: Id
    room: RoomName
    after: Position | None = None
    history: Count = 0


class Part(_Message, frozen=True):
    """Leave a room. Answered by ``Done``."""

    id: Id
    room: RoomName


class Send(_Message, frozen=True):
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


class Create(_Message, frozen=True):
    """Make a sealed room, or a conversation of two. ``body`` is its first roster, which becomes entry 1, of
    kind ``roster``. Answered by ``Sent``; the same msgid again is answered alike."""

    id: Id
    room: RoomName
    msgid: MsgId
    body: Body


class Read(_Message, frozen=True):
    """Read up to ``limit`` entries of a room: the first ones after seq ``after``, or with ``before``
    (above 0) the last ones before that seq. Answered by ``Page``."""

    id: Id
    room: RoomName
    after: Seq = 0
    before: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 100


class Search(_Message, frozen=True):
    """Find entries that people wrote in an open room and that have all the ``words``, whole and in any
    case: the last ``limit`` of them, below seq ``before`` if that is not 0. Answered by ``Found``."""

    id: Id
    room: RoomName
    words: Reason
    before: Seq = 0
    limit: Annotated[int, Meta(ge=1, le=MAX_PAGE)] = 50


class Who(_Message, frozen=True):
    """Who is in a room now? Answered by ``Members``."""

    id: Id
    room: RoomName


class Rooms(_Message, frozen=True):
    """Which rooms can I enter? Answered by ``RoomList``."""

    id: Id


class Whois(_Message, frozen=True):
    """Who has this name? Answered by ``Profile``."""

    id: Id
    name: Name


class Topic(_Message, frozen=True):
    """Set a room's topic; it becomes an entry of kind ``topic``. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    topic: Text


class Invite(_Message, frozen=True):
    """Let ``name`` into a private room, until a ``Kick`` or ``Ban`` takes it back; an entry of kind
    ``invite``. For moderators. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name


class Kick(_Message, frozen=True):
    """Put ``name`` out of a room, and take back an invitation; an entry of kind ``kick``. For moderators,
    and for admins also with an empty ``room``: out of the server. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name
    reason: Reason = ""


class Ban(_Message, frozen=True):
    """Put ``name`` out of a room and keep it out, with all its keys, for ``seconds`` (0: until it is
    undone); it loses its role. An entry of kind ``ban``. For moderators, and for admins also with an empty
    ``room``: out of the server. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name
    seconds: Count = 0
    reason: Reason = ""


class Unban(_Message, frozen=True):
    """Undo a ban; an entry of kind ``unban``. For moderators, and for admins also with an empty ``room``.
    Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name


class Mute(_Message, frozen=True):
    """Let ``name`` read but not write in a room, for ``seconds`` (0: until it is undone); an entry of kind
    ``mute``. For moderators. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name
    seconds: Count = 0
    reason: Reason = ""


class Unmute(_Message, frozen=True):
    """Undo a mute; an entry of kind ``unmute``. For moderators. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name


class Role(_Message, frozen=True):
    """Make ``name`` an ``owner``, a ``moderator`` or a mere ``member`` of a room; an entry of kind
    ``role``. For owners. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    name: Name
    role: Word


class Access(_Message, frozen=True):
    """Make a room ``open`` or ``private`` (who is in it now is then invited), and let its ``members`` or
    only its ``moderators`` set the topic; an empty word leaves things as they are. An entry of kind
    ``access``. For owners. Answered by ``Sent``."""

    id: Id
    room: RoomName
    msgid: MsgId
    access: Word = ""
    topic_by: Word = ""


class Mark(_Message, frozen=True):
    """The person has read a room up to ``seq``. A mark never goes back. Answered by ``Done``."""

    id: Id
    room: RoomName
    seq: Seq


class Link(_Message, frozen=True):
    """Let another device use this name: ask for a code for its ``Hello``. It replaces an earlier one.
    Answered by ``Linked``."""

    id: Id


class Unlink(_Message, frozen=True):
    """Take a key from this name: one's own, or one that was linked after one's own. Answered by ``Done``."""

    id: Id
    fingerprint: Fingerprint


class PublishKeys(_Message, frozen=True):
    """This session is that of the device with this ``certificate`` (empty: the one of this key's certificate
    that the server has), whose mail then comes here; keep the list of the name's ``devices`` (empty: as it
    is), which must follow the one that the server has; add ``one_time`` keys, and replace the ``fallback``
    (empty: as it is). Answered by ``Published``."""

    id: Id
    certificate: Certificate = b""
    devices: SignedList = b""
    one_time: Annotated[tuple[Key, ...], Meta(max_length=MAX_KEYS)] = ()
    fallback: Key = b""


class Devices(_Message, frozen=True):
    """Which devices has this name? Answered by ``DeviceList``."""

    id: Id
    name: Name


class ClaimKeys(_Message, frozen=True):
    """Give me a key with which to begin to write to each of these ``devices`` of a name. A one-time key is
    given to nobody again. Answered by ``Keys``."""

    id: Id
    name: Name
    devices: Annotated[tuple[Word, ...], Meta(max_length=MAX_CLAIMS)]


class ToDevice(_Message, frozen=True):
    """Keep these letters until their devices have taken them. Answered by ``Posted``, once they are there."""

    id: Id
    letters: Annotated[tuple[Letter, ...], Meta(max_length=MAX_LETTERS)]


class AckMail(_Message, frozen=True):
    """This device has all its ``Mail`` up to ``seq``: the server lets it go. Answered by ``Done``."""

    id: Id
    seq: Seq


class About(_Message, frozen=True):
    """How is this room run, and by whom? Answered by ``RoomProfile``."""

    id: Id
    room: RoomName


class Upload(_Message, frozen=True):
    """Begin to give a file of ``size`` bytes with the SHA-256 ``hash`` to a room, or go on with it.
    Answered by ``Ready``, which says from where."""

    id: Id
    room: RoomName
    hash: Hash
    size: Size


class Chunk(_Message, frozen=True):
    """The bytes at ``offset`` of a file whose ``Upload`` was begun. Answered by ``Ready``; the last one's
    says that the file is whole, durable, and what its hash says."""

    id: Id
    hash: Hash
    offset: Size
    data: Data


class Download(_Message, frozen=True):
    """Read a file that somebody gave to a room, from ``offset`` on. Answered by ``Piece``."""

    id: Id
    room: RoomName
    hash: Hash
    offset: Size = 0


class Ping(_Message, frozen=True):
    """Are you there? Answered by ``Pong``. Both sides may ask."""

    id: Id = 0


class Bye(_Message, frozen=True):
    """The client leaves on purpose. The server closes."""

    reason: Text = ""


# ------------------------------------------------------------------------------------ server to client


class Welcome(_Message, frozen=True):
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


class Refused(_Message, frozen=True):
    """Not admitted; the server closes. ``code`` is a stable word, ``text`` is for people."""

    code: Word
    text: Text


class Joined(_Message, frozen=True):
    """You are in ``room``, whose log ends at ``head``. The entries after ``start`` follow. ``mark`` is how
    far this name has read the room."""

    id: Id
    room: RoomName
    head: Position
    start: Position
    members: tuple[Member, ...]
    topic: Text = ""
    mark: Seq = 0


class Done(_Message, frozen=True):
    """The request with this id was carried out and has nothing else to tell."""

    id: Id


class Sent(_Message, frozen=True):
    """Stored, durably, as entry ``seq`` at ``time``. (``seq`` is 0 for what was not about a room.)"""

    id: Id
    seq: Seq
    time: Time


class Page(_Message, frozen=True):
    """Entries in order, each the whole stored ``Entry`` frame. ``start`` is the position before the
    first one; ``more`` says whether the log goes on in the direction that was asked for."""

    id: Id
    room: RoomName
    start: Position
    entries: tuple[bytes, ...]
    more: bool


class Found(_Message, frozen=True):
    """Entries that were searched for, in order, each the whole stored ``Entry`` frame. All from seq
    ``reached`` on were looked at; if ``more`` is true there are earlier ones: to go on, search with
    ``before`` = ``reached``, also when nothing was found."""

    id: Id
    room: RoomName
    entries: tuple[bytes, ...]
    reached: Seq
    more: bool


class Entry(_Message, frozen=True):
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


class Members(_Message, frozen=True):
    """Who is in ``room`` now. With id 0 nobody asked: it replaces what the client knew before."""

    id: Id
    room: RoomName
    members: tuple[Member, ...]


class RoomList(_Message, frozen=True):
    """The rooms that the client can enter."""

    id: Id
    rooms: tuple[RoomInfo, ...]


class Profile(_Message, frozen=True):
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


class RoomProfile(_Message, frozen=True):
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


class Removed(_Message, frozen=True):
    """You are not in ``room`` any more: ``code`` is ``kicked``, ``banned`` or, where another device of this
    name has left a sealed room for all of them, ``left``; ``text`` is for people."""

    room: RoomName
    code: Word
    text: Text


class Invited(_Message, frozen=True):
    """``name`` invites you into ``room``."""

    room: RoomName
    name: Name


class Marked(_Message, frozen=True):
    """Another device of this name has read ``room`` up to ``seq``."""

    room: RoomName
    seq: Seq


class Linked(_Message, frozen=True):
    """The ``code`` lets one other device in under this name, within ``seconds``."""

    id: Id
    code: Word
    seconds: Count


class Ready(_Message, frozen=True):
    """The server has the first ``offset`` bytes of the file: go on from there. Once that is its size, there
    is nothing left to send, and a ``file`` entry may name it."""

    id: Id
    offset: Size


class Piece(_Message, frozen=True):
    """The bytes at ``offset`` of a file of ``size`` bytes; empty only at its end."""

    id: Id
    offset: Size
    size: Size
    data: Data


class Published(_Message, frozen=True):
    """Kept: this session is that of the ``device`` with this id, of which the server has so many ``one_time``
    keys now."""

    id: Id
    device: Word
    one_time: Count


class DeviceList(_Message, frozen=True):
    """The devices of ``name``: the signed list, empty if there is none, and the certificates that the server
    has. None of it is to be believed unchecked."""

    id: Id
    name: Name
    devices: SignedList
    certificates: tuple[Certificate, ...]


class Keys(_Message, frozen=True):
    """A key for each device that was asked for, in that order: a one-time key, or the fallback where none is
    left; empty where there is no such device, or nothing of it."""

    id: Id
    name: Name
    keys: tuple[Key, ...]


class Posted(_Message, frozen=True):
    """Stored, durably, but for the letters with these places (from 0) in the request: no such device,
    or its mailbox takes no more from this sender."""

    id: Id
    refused: tuple[Count, ...] = ()


class Mail(_Message, frozen=True):
    """A letter for this device, numbered upwards: it stays with the server until ``AckMail``. From which
    ``sender`` and ``device`` it comes is what the server believes."""

    seq: Seq
    sender: Name
    device: Word
    body: LetterBody


class Notice(_Message, frozen=True):
    """The server's operator has something to say to everybody."""

    text: Text


class Presence(_Message, frozen=True):
    """``name`` came into ``room`` (``here`` is true) or left it."""

    room: RoomName
    name: Name
    here: bool
    classic: bool = False


class Typing(_Message, frozen=True):
    """Somebody is writing in ``room``. The client leaves ``name`` empty; the server fills it in."""

    room: RoomName
    name: Name = ""


class Error(_Message, frozen=True):
    """The request with this id failed. ``code`` is a stable word, ``text`` is for people; ``wait`` is
    how long to wait before trying again, in milliseconds. With id 0 the connection as a whole is meant."""

    id: Id
    code: Word
    text: Text
    wait: Count = 0


class Pong(_Message, frozen=True):
    """Yes."""

    id: Id = 0


class Closing(_Message, frozen=True):
    """The server is about to close this connection, and why."""

    reason: Text


ClientMessage: TypeAlias = (
    Hello
    | Join
    | Part
    | Send
    | Create
    | Read
    | Search
    | Who
    | Rooms
    | Whois
    | Topic
    | Invite
    | Kick
    | Ban
    | Unban
    | Mute
    | Unmute
    | Role
    | Access
    | About
    | Mark
    | Link
    | Unlink
    | PublishKeys
    | Devices
    | ClaimKeys
    | ToDevice
    | AckMail
    | Upload
    | Chunk
    | Download
    | Typing
    | Ping
    | Pong
    | Bye
)
ServerMessage: TypeAlias = (
    Welcome
    | Refused
    | Joined
    | Done
    | Sent
    | Page
    | Found
    | Entry
    | Members
    | RoomList
    | Profile
    | RoomProfile
    | Removed
    | Invited
    | Marked
    | Linked
    | Published
    | DeviceList
    | Keys
    | Posted
    | Mail
    | Ready
    | Piece
    | Notice
    | Presence
    | Typing
    | Error
    | Ping
    | Pong
    | Closing
)
Message: TypeAlias = ClientMessage | ServerMessage

CLIENT_MESSAGES: tuple[type[Struct], ...] = get_args(ClientMessage)
SERVER_MESSAGES: tuple[type[Struct], ...] = get_args(ServerMessage)
