"""Where a session is with the server, and what the server may say there."""

from __future__ import annotations

from enum import Enum, auto

from msgspec import Struct

from encchat import messages as m


class State(Enum):
    """Where we are with the server."""

    APART = auto()
    GREETING = auto()
    ADMITTED = auto()
    LEAVING = auto()


#: Which messages the server may send in which state; any other is its error.
LEGAL: dict[State, frozenset[type[Struct]]] = {
    State.APART: frozenset(),
    State.GREETING: frozenset({m.Welcome, m.Refused, m.Error, m.Closing, m.Ping}),
    State.ADMITTED: frozenset(set(m.SERVER_MESSAGES) - {m.Welcome, m.Refused}),
    State.LEAVING: frozenset(m.SERVER_MESSAGES),
}
