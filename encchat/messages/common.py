"""What every message is, and the messages that both sides send."""

from __future__ import annotations

from msgspec import Struct

from encchat.messages.values import (
    Id,
    Name,
    RoomName,
)


class Shape(Struct, frozen=True, array_like=True, gc=False, tag=lambda name: name.lower()):
    """What all messages share: frozen, encoded as an array that starts with the lower-case name. What they
    hold refers to nothing but values, so that Python's collector has nothing to look for in them."""


class Ping(Shape, frozen=True):
    """Are you there? Answered by ``Pong``. Both sides may ask."""

    id: Id = 0


class Pong(Shape, frozen=True):
    """Yes."""

    id: Id = 0


class Typing(Shape, frozen=True):
    """Somebody is writing in ``room``. The client leaves ``name`` empty; the server fills it in."""

    room: RoomName
    name: Name = ""
