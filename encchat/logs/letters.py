"""Mail and one-time keys in SQLite: in the log's own file, written by its one writer."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from encchat.core.relay.keeping import IKeyPool, IMail, Mailed, Posting
from encchat.logs import boxes as tables
from encchat.logs.readers import Readers
from encchat.logs.writer import Writer


@implementer(IMail)
class SqliteMail:
    """Letters in the log's file."""

    def __init__(self, writer: Writer, readers: Readers) -> None:
        self._writer = writer
        self._readers = readers

    async def post(self, postings: Sequence[Posting]) -> Sequence[int]:
        seqs: list[int] = await self._writer.change(lambda c: tables.post(c, postings))
        return seqs

    async def fetch(self, box: str, after: int, limit: int, size: int) -> Sequence[Mailed]:
        return await self._readers.run(lambda c: tables.fetch(c, box, after, limit, size))

    async def discard(self, box: str, upto: int) -> None:
        await self._writer.change(lambda c: tables.discard(c, box, upto))

    async def close_box(self, box: str) -> None:
        await self._writer.change(lambda c: tables.close_box(c, box))

    async def expire(self, before: int) -> None:
        await self._writer.change(lambda c: tables.expire(c, before))


@implementer(IKeyPool)
class SqliteKeys:
    """One-time keys in the log's file."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer

    async def add(self, box: str, keys: Sequence[bytes]) -> int:
        held: int = await self._writer.change(lambda c: tables.add(c, box, keys))
        return held

    async def take(self, boxes: Sequence[str]) -> Sequence[bytes]:
        keys: list[bytes] = await self._writer.change(lambda c: [tables.take(c, box) for box in boxes])
        return keys

    async def empty(self, box: str) -> None:
        await self._writer.change(lambda c: tables.empty(c, box))
