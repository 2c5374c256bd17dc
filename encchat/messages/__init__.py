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

from typing import TypeAlias, get_args

from msgspec import Struct

from encchat.messages.answers import (
    Closing,
    DeviceList,
    Done,
    Entry,
    Error,
    Found,
    Invited,
    Joined,
    Keys,
    Linked,
    Mail,
    Marked,
    Members,
    Notice,
    Page,
    Piece,
    Posted,
    Presence,
    Profile,
    Published,
    Ready,
    Refused,
    Removed,
    RoomList,
    RoomProfile,
    Sent,
    Welcome,
)
from encchat.messages.common import Ping, Pong, Typing
from encchat.messages.requests import (
    About,
    Access,
    AckMail,
    Ban,
    Bye,
    Chunk,
    ClaimKeys,
    Create,
    Devices,
    Download,
    Hello,
    Invite,
    Join,
    Kick,
    Link,
    Mark,
    Mute,
    Part,
    PublishKeys,
    Read,
    Role,
    Rooms,
    Search,
    Send,
    ToDevice,
    Topic,
    Unban,
    Unlink,
    Unmute,
    Upload,
    Who,
    Whois,
)
from encchat.messages.values import (
    DEFAULT_PORT,
    GENESIS,
    MAX_BODY,
    MAX_CERTIFICATE,
    MAX_CLAIMS,
    MAX_DEVICE_LIST,
    MAX_KEY,
    MAX_KEYS,
    MAX_LETTER,
    MAX_LETTERS,
    MAX_PAGE,
    MAX_PAYLOAD,
    MAX_PAYLOAD_BEFORE_ADMISSION,
    MAX_PIECE,
    PASSING_LOG,
    PROTOCOL,
    Body,
    Certificate,
    Chain,
    Count,
    Data,
    Fingerprint,
    Hash,
    Id,
    Key,
    Letter,
    LetterBody,
    Limits,
    Member,
    MsgId,
    Name,
    Position,
    Reason,
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

__all__ = [
    "CLIENT_MESSAGES",
    "DEFAULT_PORT",
    "GENESIS",
    "MAX_BODY",
    "MAX_CERTIFICATE",
    "MAX_CLAIMS",
    "MAX_DEVICE_LIST",
    "MAX_KEY",
    "MAX_KEYS",
    "MAX_LETTER",
    "MAX_LETTERS",
    "MAX_PAGE",
    "MAX_PAYLOAD",
    "MAX_PAYLOAD_BEFORE_ADMISSION",
    "MAX_PIECE",
    "PASSING_LOG",
    "PROTOCOL",
    "SERVER_MESSAGES",
    "About",
    "Access",
    "AckMail",
    "Ban",
    "Body",
    "Bye",
    "Certificate",
    "Chain",
    "Chunk",
    "ClaimKeys",
    "ClientMessage",
    "Closing",
    "Count",
    "Create",
    "Data",
    "DeviceList",
    "Devices",
    "Done",
    "Download",
    "Entry",
    "Error",
    "Fingerprint",
    "Found",
    "Hash",
    "Hello",
    "Id",
    "Invite",
    "Invited",
    "Join",
    "Joined",
    "Key",
    "Keys",
    "Kick",
    "Letter",
    "LetterBody",
    "Limits",
    "Link",
    "Linked",
    "Mail",
    "Mark",
    "Marked",
    "Member",
    "Members",
    "Message",
    "MsgId",
    "Mute",
    "Name",
    "Notice",
    "Page",
    "Part",
    "Piece",
    "Ping",
    "Pong",
    "Position",
    "Posted",
    "Presence",
    "Profile",
    "PublishKeys",
    "Published",
    "Read",
    "Ready",
    "Reason",
    "Refused",
    "Removed",
    "Restriction",
    "Role",
    "RoomInfo",
    "RoomList",
    "RoomName",
    "RoomProfile",
    "Rooms",
    "Search",
    "Send",
    "Sent",
    "Seq",
    "ServerMessage",
    "SignedList",
    "Size",
    "Standing",
    "Text",
    "Time",
    "ToDevice",
    "Topic",
    "Typing",
    "Unban",
    "Unlink",
    "Unmute",
    "Upload",
    "Welcome",
    "Who",
    "Whois",
    "Word",
]
