"""What messages are made of: the protocol's bounds, the types of fields, and the structures in messages."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from encchat import DEFAULT_PORT as DEFAULT_PORT

PROTOCOL = "encchat/1"

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
