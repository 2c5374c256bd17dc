"""An upload on its way, as the keeper of files holds it in memory."""

from __future__ import annotations

from hashlib import sha256

from encchat.core.chat.lock import Lock
from encchat.core.interfaces import ITurn


class Partial:
    """An upload on its way: whose, of what, for which rooms, and how far it is."""

    __slots__ = ("blob", "ended", "id", "known", "lock", "name", "offset", "rooms", "size", "touched")

    def __init__(self, name: str, blob: bytes, size: int, turn: ITurn) -> None:
        self.name = name
        self.blob = blob
        self.size = size
        #: The same again after a restart. Of another name's it tells nothing, nor of another size.
        self.id = sha256(b"%s %d %s" % (blob, size, name.encode("utf-8"))).hexdigest()
        self.rooms: set[str] = set()
        self.offset = 0
        #: Whether ``offset`` is what is held; it is not before that was asked, nor after a write failed.
        self.known = False
        self.touched = turn.now()
        self.ended = False
        self.lock = Lock(turn)
