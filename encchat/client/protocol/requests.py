"""The requests of one connection that wait for their one answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, TypeAlias

from msgspec import Struct

from encchat import messages as m
from encchat.errors import PeerError, UsageError

#: Questions that wait for their answer at most; more than a person can ask.
MAX_QUESTIONS = 1000


class Announce(Struct):
    """What a ``Send`` without a room is: an act, of which no entry comes."""


#: What somebody does to a room and its members, or to the whole server.
ACTS: tuple[type[Struct], ...] = (
    m.Invite,
    m.Kick,
    m.Ban,
    m.Unban,
    m.Mute,
    m.Unmute,
    m.Role,
    m.Access,
    Announce,
)
#: What carries files.
FILES: tuple[type[Struct], ...] = (m.Upload, m.Chunk, m.Download)
#: What sealed rooms are made of; ``Chat.sealed`` asks it again itself.
RELAYED: tuple[type[Struct], ...] = (
    m.Create,
    m.PublishKeys,
    m.Devices,
    m.ClaimKeys,
    m.ToDevice,
    m.AckMail,
)
#: What is not asked again by itself after a connection was lost.
QUESTIONS: frozenset[type[Struct]] = frozenset(
    {m.Read, m.Search, m.Who, m.Rooms, m.Whois, m.About, m.Link, m.Unlink, *FILES, *ACTS}
)
#: Which message answers which request, if not an Error.
ANSWERS: dict[type[Struct], type[Struct]] = {
    m.Join: m.Joined,
    m.Part: m.Done,
    m.Send: m.Sent,
    m.Topic: m.Sent,
    m.Read: m.Page,
    m.Search: m.Found,
    m.Who: m.Members,
    m.Rooms: m.RoomList,
    m.Whois: m.Profile,
    m.About: m.RoomProfile,
    m.Mark: m.Done,
    m.Link: m.Linked,
    m.Unlink: m.Done,
    m.Upload: m.Ready,
    m.Chunk: m.Ready,
    m.Download: m.Piece,
    m.Create: m.Sent,
    m.PublishKeys: m.Published,
    m.Devices: m.DeviceList,
    m.ClaimKeys: m.Keys,
    m.ToDevice: m.Posted,
    m.AckMail: m.Done,
    **dict.fromkeys(ACTS, m.Sent),
}

ActMessage: TypeAlias = m.Invite | m.Kick | m.Ban | m.Unban | m.Mute | m.Unmute | m.Role | m.Access | m.Send
FileMessage: TypeAlias = m.Upload | m.Chunk | m.Download
RelayMessage: TypeAlias = m.Create | m.Send | m.PublishKeys | m.Devices | m.ClaimKeys | m.ToDevice | m.AckMail
QuestionMessage: TypeAlias = m.About | m.Link | m.Unlink | FileMessage | ActMessage
RequestMessage: TypeAlias = (
    m.Join
    | m.Part
    | m.Send
    | m.Topic
    | m.Read
    | m.Search
    | m.Who
    | m.Rooms
    | m.Whois
    | m.Mark
    | RelayMessage
    | QuestionMessage
)


class TooManyRequests(UsageError):
    """{count} requests wait for an answer of the server already. Wait for them."""


class Request(NamedTuple):
    """What was asked: the kind of message, and the room and msgid that it was about. ``relayed``: it was
    asked for ``Chat.sealed``, which alone gets the answer."""

    kind: type[Struct]
    room: str
    msgid: bytes
    relayed: bool = False


class Requests:
    """Hands out ids, and knows what each answer must be. Ids are not used again soon, even when the
    connection is another one."""

    def __init__(self) -> None:
        #: The id of the next request.
        self.next = 1
        self._open: dict[int, Request] = {}

    def new_id(self) -> int:
        """An id for the next request."""
        id, self.next = self.next, self.next % (2**32 - 1) + 1
        return id

    def put(self, message: RequestMessage, *, relayed: bool = False) -> None:
        """A request is sent.

        :raises TooManyRequests: too many questions wait.
        """
        kind: type[Struct] = type(message)
        if isinstance(message, m.Send) and not message.room:
            kind = Announce
        if len(self._open) >= MAX_QUESTIONS and kind in QUESTIONS:
            raise TooManyRequests(count=MAX_QUESTIONS)
        room, msgid = getattr(message, "room", ""), getattr(message, "msgid", b"")
        self._open[message.id] = Request(kind, room, msgid, relayed)

    @property
    def questions(self) -> int:
        """How many questions wait for their answer."""
        return sum(request.kind in QUESTIONS for request in self._open.values())

    def answered(self, id: int, answer: type[Struct]) -> Request:
        """The request that a message of the type ``answer`` answers; it is open no more.

        :raises PeerError: nothing was asked that could be answered so.
        """
        request = self._open.pop(id, None)
        if request is None or (answer is not m.Error and ANSWERS[request.kind] is not answer):
            raise PeerError(reason=f"a {answer.__name__.lower()} message answers nothing that was asked")
        return request

    def drop(self) -> Iterator[int]:
        """The connection is gone: forget all, and tell the ids of the questions among them."""
        dropped, self._open = self._open, {}
        return (id for id, request in dropped.items() if request.kind in QUESTIONS)
