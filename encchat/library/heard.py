"""An entry of a room, as a program gets it."""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct

from encchat.client.events import Seal
from encchat.contents import CONTENTS, Content, Edit, NoContent, Reply, parse
from encchat.core.plain import TALK, happening_line
from encchat.messages import Entry, Position
from encchat.text import clean


class Heard(Struct, frozen=True, dict=True):
    """One entry. ``own``: this connection sent it; ``old``: it was there before we came; ``after`` is the
    position behind it in the room's log. ``seal`` is there in a sealed room: whether the entry was opened,
    and how sure it is who wrote it; one that waits for its key comes again, opened, with ``seal.late``."""

    entry: Entry
    own: bool
    old: bool
    after: Position
    seal: Seal | None = None

    @property
    def room(self) -> str:
        """The room that it is in."""
        return self.entry.room

    @property
    def seq(self) -> int:
        """Its number in the room."""
        return self.entry.seq

    @property
    def time(self) -> int:
        """When the server stored it, in milliseconds since 1970-01-01 UTC."""
        return self.entry.time

    @property
    def sender(self) -> str:
        """Who sent it."""
        return self.entry.sender

    @property
    def kind(self) -> str:
        """What it is: ``text``, ``me``, ``reply``, ``edit``, ``file``, ``topic``, ``kick`` ..."""
        return self.entry.kind

    @property
    def is_talk(self) -> bool:
        """Whether somebody says something with it: a text, a ``/me`` or a reply."""
        return self.kind in TALK or self.kind == "reply"

    @cached_property
    def content(self) -> Content | None:
        """What it says beyond text (``encchat.contents``); None for a text, an act, and nonsense."""
        if self.kind not in CONTENTS:
            return None
        try:
            return parse(self.kind, self.entry.body)
        except NoContent:
            return None

    @property
    def text(self) -> str:
        """What it says, without anything that could steer a terminal; for an act, a sentence about it."""
        if isinstance(self.content, Reply | Edit):
            return clean(self.content.text)
        if self.kind in TALK:
            return clean(self.entry.body.decode("utf-8", "replace"))
        return happening_line(self.entry)
