"""The rooms that a person is in: the number of each, what is unread there, and how far was read.

A number stays with its room until it is left, so that Alt-2 means the same all day; a new room gets the
lowest one that is free.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Tab:
    """One room: its number from 1, messages that came while another room was shown, whether one of
    them was for this person, and how far this person has read, on any device."""

    number: int
    unread: int = 0
    mentioned: bool = False
    read: int = 0


class Tabs:
    """The numbered rooms."""

    def __init__(self) -> None:
        self._tabs: dict[str, Tab] = {}

    def __contains__(self, room: object) -> bool:
        return room in self._tabs

    @property
    def numbers(self) -> dict[str, int]:
        """The rooms in the order of their numbers."""
        return {room: tab.number for room, tab in sorted(self._tabs.items(), key=lambda x: x[1].number)}

    @property
    def unread(self) -> dict[str, int]:
        """How many messages are unread, in rooms where any are."""
        return {room: self._tabs[room].unread for room in self.numbers if self._tabs[room].unread}

    def mentioned(self, room: str) -> bool:
        """Whether one of the unread messages is for this person."""
        return room in self._tabs and self._tabs[room].mentioned

    def entered(self, room: str, read: int) -> None:
        """We are in a room, which was read up to ``read``."""
        tab = self._tabs.get(room)
        if tab is None:
            taken = {tab.number for tab in self._tabs.values()}
            number = next(number for number in range(1, len(taken) + 2) if number not in taken)
            tab = self._tabs[room] = Tab(number)
        tab.read = max(tab.read, read)

    def left(self, room: str) -> None:
        """We are in a room no more."""
        self._tabs.pop(room, None)

    def arrived(self, room: str, seq: int, mentions: bool) -> None:
        """A message came in a room that is not shown."""
        tab = self._tabs.get(room)
        if tab is not None and seq > tab.read:
            tab.unread += 1
            tab.mentioned = tab.mentioned or mentions

    def read(self, room: str) -> int:
        """All of a room is read; how much of it was not."""
        tab = self._tabs.get(room)
        if tab is None:
            return 0
        unread, tab.unread, tab.mentioned = tab.unread, 0, False
        return unread

    def read_elsewhere(self, room: str, seq: int, head: int) -> None:
        """Another device has shown a room up to ``seq``; it goes up to ``head``."""
        tab = self._tabs.get(room)
        if tab is not None:
            tab.read = max(tab.read, seq)
            tab.unread = max(0, min(tab.unread, head - seq))
            tab.mentioned = tab.mentioned and tab.unread > 0

    def numbered(self, number: int) -> str | None:
        """The room of that number."""
        return next((room for room, tab in self._tabs.items() if tab.number == number), None)

    def beside(self, room: str | None, step: int) -> str | None:
        """The room ``step`` numbers on, around the end."""
        rooms = list(self.numbers)
        if not rooms:
            return None
        return rooms[(rooms.index(room) + step) % len(rooms)] if room in rooms else rooms[0]

    def next_unread(self) -> str | None:
        """Where to look next: first where somebody means this person, then by number."""
        return min(self.unread, key=lambda room: not self._tabs[room].mentioned, default=None)
