"""What a client keeps of a sealed room in the clear (the store encrypts it again): each entry as it was
shown, how sure that was, and a note of the room itself. Here history and searches of sealed rooms are
answered, as no server can."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from encchat.client import events as e
from encchat.client.store.records import Records
from encchat.core.words import said, wanted, words_of
from encchat.messages import Entry, Position

#: Entries that one search looks at.
SCAN = 10_000
#: Where the note of a room is kept.
_NOTE = 0


class Kept(Struct, frozen=True, array_like=True):
    """An entry as it was shown, the place behind it in the room's log, and the identity that wrote it; empty
    for what was not opened."""

    entry: Entry
    seal: e.Seal
    after: Position
    identity: bytes = b""


class Note(Struct, frozen=True, array_like=True):
    """What is known of a room: its topic, whether this person left it, and who could change it last."""

    topic: str = ""
    out: bool = False
    admins: tuple[str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_kept = msgspec.msgpack.Decoder(Kept)
_note = msgspec.msgpack.Decoder(Note)


class Memory:
    """What is kept of all sealed rooms of one server; ``log`` tells which of its logs is meant."""

    def __init__(self, records: Records, log: Callable[[], bytes]) -> None:
        self._records = records
        self._log = log

    def keep(self, kept: Kept) -> None:
        """Keep an entry, in place of what was kept of it."""
        entry = kept.entry
        self._records.say(self._log(), entry.room, entry.seq, _encoder.encode(kept))

    def entry(self, room: str, seq: int) -> Kept | None:
        """What is kept of an entry."""
        data = self._records.said(self._log(), room, seq) if seq else None
        return None if data is None else _kept.decode(data)

    def after(self, room: str, seq: int, limit: int) -> list[Kept]:
        """The first ``limit`` entries behind ``seq``."""
        return [_kept.decode(data) for data in self._records.said_after(self._log(), room, seq, limit)]

    def before(self, room: str, seq: int) -> Iterator[Kept]:
        """The entries before ``seq`` (0: all), the last one first."""
        return map(_kept.decode, self._records.said_before(self._log(), room, seq or 2**62))

    def find(self, room: str, msgid: bytes, among: int) -> Kept | None:
        """What was opened with this msgid, among the last entries."""
        last = (kept for kept in islice(self.before(room, 0), among) if kept.seal.state == "opened")
        return next((kept for kept in last if kept.entry.msgid == msgid), None)

    def page(self, room: str, before: int, limit: int) -> e.History:
        """The last ``limit`` entries before ``before`` (0: of all)."""
        found: list[Kept] = []
        for kept in self.before(room, before):
            if len(found) == limit:
                return _history(room, found[::-1], more=True)
            found.append(kept)
        return _history(room, found[::-1], more=False)

    def page_after(self, room: str, after: int, limit: int) -> e.History:
        """The first ``limit`` entries behind ``after``."""
        found = self.after(room, after, limit + 1)
        return _history(room, found[:limit], more=len(found) > limit)

    def search(self, room: str, words: str, before: int, limit: int) -> e.SearchFound:
        """The last ``limit`` entries before ``before`` (0: of all) that have all the words.

        :raises RefusedError: there is no word to search for.
        """
        looking = wanted(words)
        found: list[Kept] = []
        looked = reached = 0
        more = False
        for kept in self.before(room, before):
            if len(found) == limit or looked == SCAN:
                more = True
                break
            looked, reached = looked + 1, kept.entry.seq
            if looking <= words_of(said(kept.entry)):
                found.append(kept)
        found.reverse()
        entries, seals = tuple(k.entry for k in found), tuple(k.seal for k in found)
        return e.SearchFound(0, room, entries, reached, more, local=True, seals=seals)

    def note(self, room: str) -> Note:
        """What is known of a room."""
        data = self._records.said(self._log(), room, _NOTE)
        return Note() if data is None else _note.decode(data)

    def change_note(self, room: str, **facts: object) -> None:
        """Know something else of a room."""
        before = self.note(room)
        after = replace(before, **facts)
        if after != before:
            self._records.say(self._log(), room, _NOTE, _encoder.encode(after))


def _history(room: str, found: list[Kept], *, more: bool) -> e.History:
    entries, seals = tuple(k.entry for k in found), tuple(k.seal for k in found)
    return e.History(0, room, entries, more, local=True, seals=seals)
