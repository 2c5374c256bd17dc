"""What the answers to questions tell: from an answer of the server, and the request that it answers, to
events. Pure functions in one table, by kind of answer.

A new question gets a line in ``requests.ANSWERS``, an event, and a function here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from msgspec import Struct

from encchat import messages as m
from encchat.client import events as e
from encchat.client.protocol.requests import Request
from encchat.errors import PeerError
from encchat.messages import ServerMessage
from encchat.wire import decode_entry


def _found(message: m.Found, request: Request, me: str) -> Iterable[e.Event]:
    entries = tuple(map(decode_entry, message.entries))
    seqs = [entry.seq for entry in entries]
    name = request.room
    if message.room != name or any(entry.room != name for entry in entries):
        raise PeerError(reason=f"it found entries of {message.room}, where {name} was searched")
    if seqs != sorted(set(seqs)):
        raise PeerError(reason=f"what it found in {name} is not in order")
    return (e.SearchFound(message.id, name, entries, message.reached, message.more),)


def _room_list(message: m.RoomList, request: Request, me: str) -> Iterable[e.Event]:
    return (e.RoomsListed(message.id, message.rooms),)


def _profile(message: m.Profile, request: Request, me: str) -> Iterable[e.Event]:
    return (e.ProfileFound(message.id, message),)


def _room_profile(message: m.RoomProfile, request: Request, me: str) -> Iterable[e.Event]:
    if message.room != request.room:
        raise PeerError(reason=f"it tells of {message.room}, where {request.room} was asked for")
    return (e.RoomDescribed(message.id, message),)


def _linked(message: m.Linked, request: Request, me: str) -> Iterable[e.Event]:
    return (e.LinkCode(message.id, message.code, message.seconds, me),)


def _ready(message: m.Ready, request: Request, me: str) -> Iterable[e.Event]:
    return (e.FileReady(message.id, message.offset),)


def _piece(message: m.Piece, request: Request, me: str) -> Iterable[e.Event]:
    return (e.FilePiece(message.id, message.offset, message.size, message.data),)


def _relayed(message: ServerMessage, request: Request, me: str) -> Iterable[e.Event]:
    return (e.Relayed(getattr(message, "id", 0), message),)


#: Each is called with the answer, the request that it answers, and the name that we have on the server.
#:
#: :raises PeerError: the answer is not about what was asked.
TOLD: dict[type[Struct], Callable[..., Iterable[e.Event]]] = {
    m.Found: _found,
    m.RoomList: _room_list,
    m.Profile: _profile,
    m.RoomProfile: _room_profile,
    m.Linked: _linked,
    m.Ready: _ready,
    m.Piece: _piece,
    **dict.fromkeys((m.Published, m.DeviceList, m.Keys, m.Posted), _relayed),
}
