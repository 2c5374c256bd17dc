"""What the hub keeps in the directory: who owns a name, what is known of a room, how far each name has read
each room, codes for further devices, who is banned from the server, what its admins ordered, and which files
there are."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from hmac import compare_digest
from typing import TypeVar

import msgspec
from msgspec import Struct

from encchat.core.accounts.admission import TAKING, Claim
from encchat.core.accounts.links import LinkRecord
from encchat.core.files.blobs import BlobRecord
from encchat.core.interfaces import Conflict, IDirectory, Unavailable
from encchat.core.moderation.rules import Restraint, RoomRecord
from encchat.core.relay.books import DeviceBook, DeviceRecord

_T = TypeVar("_T")

#: How often a change is tried while others change the same record.
MAX_TRIES = 100

_NAME = "name"
_ROOM = "room"
_MARK = "mark"
_LINK = "link"
_PASSED = "passed"
_BOOK, _DEVICE = "devices", "device"
_SERVER, _BANS = "server", "bans"
#: The records of files, by their hash in hexadecimal.
BLOB = "blob"
_ORDER = "order"

_encode = msgspec.msgpack.Encoder().encode
_decode_claim = msgspec.msgpack.Decoder(Claim).decode


_decode_mark = msgspec.msgpack.Decoder(int).decode
_decode_passed = msgspec.msgpack.Decoder(dict[str, int]).decode
_decode_link = msgspec.msgpack.Decoder(LinkRecord).decode
_decode_book = msgspec.msgpack.Decoder(DeviceBook).decode
_decode_device = msgspec.msgpack.Decoder(DeviceRecord).decode
_decode_bans = msgspec.msgpack.Decoder(tuple[Restraint, ...]).decode
_decode_blob = msgspec.msgpack.Decoder(BlobRecord).decode
_decode_room = msgspec.msgpack.Decoder(RoomRecord).decode


class Order(Struct, frozen=True, array_like=True):
    """An order that was carried out: the SHA-256 of what was asked, and when (milliseconds)."""

    digest: bytes
    time: int


_decode_order = msgspec.msgpack.Decoder(Order).decode


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

        Of two keys that race for a free name one wins, but a certificate goes before both; the caller
        judges again with what is returned.
        """

        def settled(held: Claim | None) -> Claim:
            if held is None:
                return claim
            if not claim.vouched or (held.vouched and held.fingerprint == claim.fingerprint):
                return held
            if held.vouched:
                return msgspec.structs.replace(claim, shown=held.shown, since=held.since, passed=held.passed)
            return msgspec.structs.replace(claim, shown=held.shown, passed=TAKING)

        return await self.change_claim(key, settled)

    async def change_claim(self, key: str, change: Callable[[Claim | None], Claim]) -> Claim:
        """Replace what is recorded of a name by what ``change`` makes of it, and return that. Where others
        change it too, ``change`` is asked again; what it raises ends the matter."""
        return await self._change(_NAME, key, _decode_claim, change)

    async def put_link(self, key: str, link: LinkRecord) -> None:
        """A code for the name is out; it replaces an earlier one."""
        await self._change(_LINK, key, _decode_link, lambda held: link)

    async def redeem(self, key: str, digest: bytes, now: int) -> str | None:
        """Use up a code of the name, and return whose key asked for it; None for a wrong one, which changes
        nothing: a code cannot be guessed, and nobody can make one void for whom it is for. Of two that bring
        the right one, one gets None."""
        while (item := await self._items.get(_LINK, key)) is not None:
            link = _readable(_decode_link, item.value)
            expired = now >= link.expires
            # A clock that was set back since makes no code good for longer.
            right = link.is_good(now) and compare_digest(link.digest, digest)
            if right or expired:
                try:
                    await self._items.delete(_LINK, key, item.revision)
                except Conflict:
                    continue
            return link.by if right else None
        return None

    async def passed(self, key: str) -> dict[str, int]:
        """Up to which entry of each room what was said under this name is not of who has it now."""
        item = await self._items.get(_PASSED, key)
        return {} if item is None else _readable(_decode_passed, item.value)

    async def put_passed(self, key: str, passed: dict[str, int]) -> None:
        """Record that, once."""

        def first(held: dict[str, int] | None) -> dict[str, int]:
            return passed if held is None else held

        await self._change(_PASSED, key, _decode_passed, first)

    async def book(self, name: str) -> DeviceBook:
        """Which devices the name has published."""
        item = await self._items.get(_BOOK, name)
        return DeviceBook() if item is None else _readable(_decode_book, item.value)

    async def change_book(self, name: str, change: Callable[[DeviceBook | None], DeviceBook]) -> DeviceBook:
        """Replace that, as ``change_claim`` does."""
        return await self._change(_BOOK, name, _decode_book, change)

    async def device(self, box: str) -> DeviceRecord | None:
        """What a device has published; ``box`` as ``keeping.box_of`` has it."""
        item = await self._items.get(_DEVICE, box)
        return None if item is None else _readable(_decode_device, item.value)

    async def change_device(
        self, box: str, change: Callable[[DeviceRecord | None], DeviceRecord]
    ) -> DeviceRecord:
        """Replace that, as ``change_claim`` does."""
        return await self._change(_DEVICE, box, _decode_device, change)

    async def forget_device(self, box: str) -> None:
        """Let go of what a device has published."""
        while (item := await self._items.get(_DEVICE, box)) is not None:
            with suppress(Conflict):
                await self._items.delete(_DEVICE, box, item.revision)

    async def bans(self) -> tuple[Restraint, ...]:
        """Who is banned from the server."""
        item = await self._items.get(_SERVER, _BANS)
        return () if item is None else _readable(_decode_bans, item.value)

    async def change_bans(
        self, change: Callable[[tuple[Restraint, ...]], tuple[Restraint, ...]]
    ) -> tuple[Restraint, ...]:
        """Replace them, as ``change_claim`` does."""
        return await self._change(_SERVER, _BANS, _decode_bans, lambda held: change(held or ()))

    async def order(self, key: str, msgid: bytes) -> Order | None:
        """What became of an order of the admin with this key."""
        item = await self._items.get(_ORDER, f"{key} {msgid.hex()}")
        return None if item is None else _readable(_decode_order, item.value)

    async def put_order(self, key: str, msgid: bytes, order: Order) -> None:
        """It was carried out."""
        await self._change(_ORDER, f"{key} {msgid.hex()}", _decode_order, lambda _: order)

    async def mark(self, name: str, room: str) -> int:
        """Up to which seq this name has read the room."""
        item = await self._items.get(_MARK, f"{name} {room}")
        return 0 if item is None else _readable(_decode_mark, item.value)

    async def advance_mark(self, name: str, room: str, seq: int) -> int:
        """It has read up to ``seq`` now, or further; returns how far."""
        return await self._change(_MARK, f"{name} {room}", _decode_mark, lambda held: max(held or 0, seq))

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

    async def change_room(self, room: str, change: Callable[[RoomRecord], RoomRecord]) -> RoomRecord:
        """Replace the record by what ``change`` makes of it, and return that. Where others change it too,
        ``change`` is asked again; what it raises ends the matter."""

        def changed(held: RoomRecord | None) -> RoomRecord:
            if held is None:
                raise Unavailable(reason=f"the record of {room} is gone")
            return change(held)

        return await self._change(_ROOM, room, _decode_room, changed)

    async def rooms(self, limit: int, after: str = "") -> dict[str, RoomRecord]:
        """Up to ``limit`` recorded rooms, by name, of those behind ``after``."""
        found = await self._items.scan(_ROOM, after, limit)
        return {room: _readable(_decode_room, item.value) for room, item in found.items()}

    async def blob(self, blob: bytes) -> BlobRecord | None:
        """What is recorded of a blob."""
        item = await self._items.get(BLOB, blob.hex())
        return None if item is None else _readable(_decode_blob, item.value)

    async def change_blob(self, blob: bytes, change: Callable[[BlobRecord | None], BlobRecord]) -> BlobRecord:
        """Replace the record by what ``change`` makes of it, as ``change_claim`` does."""
        return await self._change(BLOB, blob.hex(), _decode_blob, change)

    async def forget_blob(self, blob: bytes) -> bool:
        """Remove the record of a blob that has no links, if there is one; whether there is none now."""
        item = await self._items.get(BLOB, blob.hex())
        if item is None:
            return True
        if _readable(_decode_blob, item.value).links:
            return False
        try:
            await self._items.delete(BLOB, blob.hex(), item.revision)
        except Conflict:
            return False
        return True

    async def blobs(self, after: bytes = b"", limit: int = 1000) -> dict[bytes, BlobRecord]:
        """Up to ``limit`` recorded blobs behind ``after``, in order."""
        found = await self._items.scan(BLOB, after.hex(), limit)
        return {bytes.fromhex(key): _readable(_decode_blob, item.value) for key, item in found.items()}

    async def _change(
        self, kind: str, key: str, decode: Callable[[bytes], _T], change: Callable[[_T | None], _T]
    ) -> _T:
        """Compare and set, until nobody comes between."""
        for _ in range(MAX_TRIES):
            item = await self._items.get(kind, key)
            held = None if item is None else _readable(decode, item.value)
            new = change(held)
            if new == held:
                return new
            try:
                await self._items.put(kind, key, _encode(new), 0 if item is None else item.revision)
            except Conflict:
                continue
            return new
        raise Unavailable(reason=f"{key} is changed by too many at once")


def _readable(decode: Callable[[bytes], _T], value: bytes) -> _T:
    try:
        return decode(value)
    except msgspec.MsgspecError as error:
        raise Unavailable(reason=f"a record of the directory is damaged: {error}") from None
