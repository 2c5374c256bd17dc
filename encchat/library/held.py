"""What happened and nobody has looked at yet: bounded in number and in what it holds, the oldest go first."""

from __future__ import annotations

from collections import deque

from encchat.client.events import Event

#: Events that are held, and what they hold: members, entries, rooms, devices, each counted as one.
EVENTS, PARTS = 1000, 100_000


class Held:
    """A queue of events."""

    def __init__(self) -> None:
        self._events: deque[tuple[Event, int]] = deque()
        self._parts = 0

    def __len__(self) -> int:
        return len(self._events)

    def put(self, event: Event) -> None:
        """It happened; of too much, forget the oldest."""
        parts = _parts(event)
        self._events.append((event, parts))
        self._parts += parts
        while len(self._events) > EVENTS or (self._parts > PARTS and len(self._events) > 1):
            self.take()

    def clear(self) -> None:
        """Forget all."""
        self._events.clear()
        self._parts = 0

    def take(self) -> Event:
        """The oldest."""
        event, parts = self._events.popleft()
        self._parts -= parts
        return event


def _parts(event: Event) -> int:
    fields = (getattr(event, name) for name in event.__struct_fields__)
    return 1 + sum(len(field) for field in fields if isinstance(field, tuple))
