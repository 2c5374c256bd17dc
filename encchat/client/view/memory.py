"""What was shown lately, by room and number: what a reply, an edit or a reaction refers to, and who spoke.

Bounded in every direction: so many entries a room, so many bytes of each, so many speakers. What is not here
any more is still known by its number.
"""

from __future__ import annotations

from collections import OrderedDict

from msgspec.structs import replace

from encchat.core.plain import TALK
from encchat.messages import Entry

#: Entries of a room that are remembered, bytes of a body, and names of who spoke.
MAX_ENTRIES, MAX_BODY, MAX_SPEAKERS = 500, 4096, 200
#: Kinds that somebody says, rather than does to the room.
SAID = TALK | {"reply", "edit", "file"}
#: Kinds that can be edited.
EDITABLE = TALK | {"reply"}


class Memory:
    """The last entries of each room."""

    def __init__(self) -> None:
        self._rooms: dict[str, OrderedDict[int, Entry]] = {}
        self._speakers: dict[str, OrderedDict[str, None]] = {}

    def remember(self, entry: Entry, *, old: bool = False) -> None:
        """An entry is shown; ``old``: it comes from further back, after newer ones."""
        entries = self._rooms.setdefault(entry.room, OrderedDict())
        known = entries.get(entry.seq)
        if known is not None and known.kind != "waiting":
            return
        if len(entry.body) > MAX_BODY:
            entry = replace(entry, body=entry.body[:MAX_BODY])
        entries[entry.seq] = entry
        if old:
            entries.move_to_end(entry.seq, last=False)
        if len(entries) > MAX_ENTRIES:
            entries.popitem(last=False)
        if entry.kind in SAID and not old:
            speakers = self._speakers.setdefault(entry.room, OrderedDict())
            speakers[entry.sender] = None
            speakers.move_to_end(entry.sender)
            if len(speakers) > MAX_SPEAKERS:
                speakers.popitem(last=False)

    def forget(self, room: str) -> None:
        """The room was left."""
        self._rooms.pop(room, None)
        self._speakers.pop(room, None)

    def entry(self, room: str, seq: int) -> Entry | None:
        """The entry of that number, if it was shown lately."""
        entries = self._rooms.get(room)
        return None if entries is None else entries.get(seq)

    def newest_first(self, room: str) -> list[Entry]:
        """All that is remembered of a room."""
        return [entry for _, entry in sorted(self._rooms.get(room, {}).items(), reverse=True)]

    def last(self, room: str, kinds: frozenset[str], sender: str | None = None) -> Entry | None:
        """The newest entry of one of ``kinds``, of anybody or of ``sender``."""
        return next(
            (
                entry
                for _, entry in sorted(self._rooms.get(room, {}).items(), reverse=True)
                if entry.kind in kinds and sender in (None, entry.sender)
            ),
            None,
        )

    def latest(self, room: str, count: int) -> list[Entry]:
        """The newest ``count`` entries that somebody said, in order."""
        said = [entry for _, entry in sorted(self._rooms.get(room, {}).items()) if entry.kind in SAID]
        return said[-count:] if count else []

    def speakers(self, room: str) -> list[str]:
        """Who spoke, the last one first."""
        return list(reversed(self._speakers.get(room, {})))
