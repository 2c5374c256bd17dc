"""What was typed and is not acknowledged: in which order it goes out, how much at once, and again.

Pure: items in, items to send out. An item leaves only when the server has stored it or refuses it for
good. What was sent before a connection was lost, or before the server asked to wait, is sent again in the
same order under the same msgid, which is always safe.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator

from msgspec import Struct

#: Items and body bytes that are in flight at most.
WINDOW = 256
WINDOW_BYTES = 512 * 1024


class Item(Struct, frozen=True):
    """One message on its way: ``kind`` is ``text``, ``me`` or ``topic``, ``body`` is UTF-8. With a ``roster``
    (the seq of the last one that it is sealed for) it is what goes over the wire into a sealed room."""

    msgid: bytes
    room: str
    kind: str
    body: bytes
    roster: int | None = None


class Outbox:
    """The items of one server, in order within each room."""

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._items: dict[bytes, Item] = {}
        self._queues: dict[str, deque[Item]] = {}
        self._flying: dict[bytes, Item] = {}
        self._flying_bytes = 0
        for item in items:
            self.add(item)

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    def __contains__(self, msgid: object) -> bool:
        return msgid in self._items

    def count(self, room: str) -> int:
        """How many items wait for this room, in flight or not."""
        return sum(item.room == room for item in self._items.values())

    def add(self, item: Item) -> None:
        """Queue an item behind the others of its room; a msgid that is there already changes nothing."""
        if item.msgid not in self._items:
            self._items[item.msgid] = item
            self._queues.setdefault(item.room, deque()).append(item)

    def waiting(self, rooms: Collection[str]) -> bool:
        """Whether something could be sent to ``rooms`` now."""
        return self._next(rooms) is not None

    def take(self, rooms: Collection[str]) -> Item | None:
        """The next item for one of ``rooms``, which is in flight from now on; None if there is none or
        the window is full."""
        item = self._next(rooms)
        if item is not None:
            self._queues[item.room].popleft()
            self._flying[item.msgid] = item
            self._flying_bytes += len(item.body)
        return item

    def done(self, msgid: bytes) -> Item | None:
        """An item was stored, or refused for good: it leaves. None if it had left already."""
        item = self._items.pop(msgid, None)
        if item is None:
            return None
        if self._flying.pop(msgid, None) is not None:
            self._flying_bytes -= len(item.body)
        else:
            self._queues[item.room].remove(item)
        return item

    def rewind(self) -> None:
        """Nothing is in flight any more: what was goes out again, before anything else."""
        for item in reversed(self._flying.values()):
            self._queues[item.room].appendleft(item)
        self._flying.clear()
        self._flying_bytes = 0

    def _next(self, rooms: Collection[str]) -> Item | None:
        if len(self._flying) >= WINDOW:
            return None
        for room in rooms:
            queue = self._queues.get(room)
            if queue and (not self._flying or self._flying_bytes + len(queue[0].body) <= WINDOW_BYTES):
                return queue[0]
        return None
