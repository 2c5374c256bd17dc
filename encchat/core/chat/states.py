"""The state table of a session: which messages of a client are legal when."""

from __future__ import annotations

from enum import Enum, auto

from msgspec import Struct

from encchat import messages as m


class State(Enum):
    """Where a session is in its life."""

    GREETING = auto()
    ADMITTED = auto()
    CLOSED = auto()


#: Which messages are legal in which state; any other is the peer's error.
LEGAL: dict[State, frozenset[type[Struct]]] = {
    State.GREETING: frozenset({m.Hello, m.Bye}),
    State.ADMITTED: frozenset(set(m.CLIENT_MESSAGES) - {m.Hello}),
    State.CLOSED: frozenset(),
}
