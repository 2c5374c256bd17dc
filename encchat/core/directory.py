"""What the hub keeps in the directory: who owns a name, and what is known of a room."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec
from msgspec import Struct

from encchat.core.admission import Claim
from encchat.core.interfaces import Conflict, IDirectory, Unavailable

_T = TypeVar("_T")

_NAME = "name"
_ROOM = "room"

_encode = msgspec.msgpack.Encoder().encode
_decode_claim = msgspec.msgpack.Decoder(Claim).decode


class RoomRecord(Struct, frozen=True, array_like=True):
    """What is durable about a room besides its log."""

    created: int
    creator: str
    topic: str = ""


_decode_room = msgspec.msgpack.Decoder(RoomRecord).decode


class Directory:
    """Typed access to an ``IDirectory``. Every method may raise ``Unavailable``."""

    def __init__(self, items: IDirectory) -> None:
        self._items = items

    async def claim(self, key: str) -> Claim | None:
        """Who owns the name, if anybody does."""
        item = await self._items.get(_NAME, key)
        return None if item is None else _readable(_decode_claim, item.value)

    async def settle(self, key: str, claim: Claim) -> Claim:
        """Record ``claim`` for a name unless it is as good as settled, and return what holds.

        Of two keys that race for a free name one wins; the caller judges again with what is returned.
        """
        item = await self._items.get(_NAME, key)
        held = None if item is None else _readable(_decode_claim, item.value)
        if held is not None:
            if not claim.vouched or (held.vouched and held.fingerprint == claim.fingerprint):
                return held
            since = held.since if held.vouched else claim.since
            claim = msgspec.structs.replace(claim, shown=held.shown, since=since)
        try:
            await self._items.put(_NAME, key, _encode(claim), 0 if item is None else item.revision)
        except Conflict:
            found = await self.claim(key)
            return claim if found is None else found
        return claim

    async def room(self, room: str) -> RoomRecord | None:
        """What is recorded of the room."""
        item = await self._items.get(_ROOM, room)
        return None if item is None else _readable(_decode_room, item.value)

    async def create_room(self, room: str, record: RoomRecord) -> RoomRecord:
        """Record a room if there is none yet, and return what holds."""
        try:
            await self._items.put(_ROOM, room, _encode(record), 0)
        except Conflict:
            return await self.room(room) or record
        return record

    async def set_topic(self, room: str, topic: str) -> None:
        """Change the recorded topic."""
        while (item := await self._items.get(_ROOM, room)) is not None:
            record = msgspec.structs.replace(_readable(_decode_room, item.value), topic=topic)
            try:
                await self._items.put(_ROOM, room, _encode(record), item.revision)
            except Conflict:
                continue
            return

    async def rooms(self, limit: int) -> dict[str, RoomRecord]:
        """Up to ``limit`` recorded rooms, by name."""
        found = await self._items.scan(_ROOM, limit=limit)
        return {room: _readable(_decode_room, item.value) for room, item in found.items()}


def _readable(decode: Callable[[bytes], _T], value: bytes) -> _T:
    try:
        return decode(value)
    except msgspec.MsgspecError as error:
        raise Unavailable(reason=f"a record of the directory is damaged: {error}") from None
