"""What every ``IBlobs`` promises, as one suite to run over each implementation.

Mix :class:`BlobsContract` into a trial ``TestCase`` and give it :meth:`~BlobsContract.open_blobs`. One that
survives a restart sets ``durable`` and opens the same place again at each call within one test.
"""

from __future__ import annotations

from collections.abc import Coroutine
from hashlib import sha256
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from zope.interface.verify import verifyObject

from encchat.core.interfaces import IBlobs, Unavailable


def name(data: bytes) -> bytes:
    """What a blob of these bytes is called."""
    return sha256(data).digest()


class BlobsContract:
    """The promises."""

    durable = False

    def open_blobs(self) -> Any:
        raise NotImplementedError  # abstract

    async def put(self: Any, blobs: Any, data: bytes, upload: str = "upload") -> bytes:
        """Make a blob of the bytes, and return its name."""
        await blobs.write(upload, 0, data)
        blob = await blobs.digest(upload)
        await blobs.keep(upload, blob)
        return bytes(blob)

    def test_interface(self: Any) -> None:
        verifyObject(IBlobs, self.open_blobs())

    async def test_an_upload_grows_and_becomes_a_blob(self: Any) -> None:
        blobs = self.open_blobs()
        self.assertEqual(await blobs.held("a"), 0)
        await blobs.write("a", 0, b"one ")
        self.assertEqual(await blobs.held("a"), 4)
        await blobs.write("a", 4, b"two")
        self.assertEqual(await blobs.digest("a"), name(b"one two"))
        await blobs.keep("a", name(b"one two"))
        self.assertEqual(await blobs.held("a"), 0)
        self.assertEqual(await blobs.read(name(b"one two"), 0, 100), b"one two")

    async def test_reading_a_part(self: Any) -> None:
        blobs = self.open_blobs()
        blob = await self.put(blobs, b"0123456789")
        for offset, size, part in ((0, 3, b"012"), (3, 3, b"345"), (8, 9, b"89"), (10, 9, b""), (99, 1, b"")):
            self.assertEqual(await blobs.read(blob, offset, size), part)

    async def test_what_is_not_there(self: Any) -> None:
        blobs = self.open_blobs()
        self.assertIsNone(await blobs.read(name(b"x"), 0, 1))
        await blobs.remove(name(b"x"))
        await blobs.discard("x")
        self.assertEqual(await blobs.digest("x"), name(b""))
        self.assertEqual(list(await blobs.blobs()), [])
        self.assertEqual(dict(await blobs.uploads()), {})
        with self.assertRaises(Unavailable):
            await blobs.keep("x", name(b""))

    async def test_nothing_empty_is_left_out(self: Any) -> None:
        blobs = self.open_blobs()
        blob = await self.put(blobs, b"")
        self.assertEqual(await blobs.read(blob, 0, 9), b"")

    async def test_writing_again_replaces_what_came_behind(self: Any) -> None:
        blobs = self.open_blobs()
        await blobs.write("a", 0, b"abcdef")
        await blobs.write("a", 2, b"X")
        self.assertEqual(await blobs.held("a"), 3)
        self.assertEqual(await blobs.digest("a"), name(b"abX"))

    async def test_no_holes(self: Any) -> None:
        blobs = self.open_blobs()
        await blobs.write("a", 0, b"abc")
        with self.assertRaises(Unavailable):
            await blobs.write("a", 4, b"x")
        self.assertEqual(await blobs.held("a"), 3)

    async def test_a_blob_that_is_there_already(self: Any) -> None:
        blobs = self.open_blobs()
        blob = await self.put(blobs, b"same", "a")
        self.assertEqual(await self.put(blobs, b"same", "b"), blob)
        self.assertEqual(await blobs.read(blob, 0, 9), b"same")
        self.assertEqual(dict(await blobs.uploads()), {})

    async def test_letting_go(self: Any) -> None:
        blobs = self.open_blobs()
        blob = await self.put(blobs, b"x")
        await blobs.remove(blob)
        self.assertIsNone(await blobs.read(blob, 0, 9))
        await blobs.write("a", 0, b"abc")
        await blobs.discard("a")
        self.assertEqual(await blobs.held("a"), 0)

    async def test_lists(self: Any) -> None:
        blobs = self.open_blobs()
        kept = sorted([await self.put(blobs, b"%d" % n) for n in range(30)])
        self.assertEqual(list(await blobs.blobs()), kept)
        found: list[bytes] = []
        while page := await blobs.blobs(found[-1] if found else b"", 7):
            self.assertLessEqual(len(page), 7)
            found += page
        self.assertEqual(found, kept)
        await blobs.write("a", 0, b"abc")
        await blobs.write("b", 0, b"")
        uploads = await blobs.uploads()
        self.assertEqual({upload: size for upload, (size, _) in uploads.items()}, {"a": 3, "b": 0})
        self.assertTrue(all(0 <= idle < 60 for _, idle in uploads.values()))

    async def test_many_at_once(self: Any) -> None:
        blobs = self.open_blobs()

        async def one(number: int) -> None:
            data = bytes([number]) * (number * 1000)
            self.assertEqual(await self.put(blobs, data, f"u{number}"), name(data))
            self.assertEqual(await blobs.read(name(data), 0, 10**6), data)

        await gatherResults([_run(one(number)) for number in range(20)])

    async def test_restart(self: Any) -> None:
        if not self.durable:
            return
        blobs = self.open_blobs()
        blob = await self.put(blobs, b"kept")
        await blobs.write("a", 0, b"half")
        await blobs.close()
        again = self.open_blobs()
        self.assertEqual(await again.read(blob, 0, 9), b"kept")
        self.assertEqual(await again.held("a"), 4)
        await again.write("a", 4, b"whole")
        self.assertEqual(await again.digest("a"), name(b"halfwhole"))

    async def test_closing_twice(self: Any) -> None:
        blobs = self.open_blobs()
        await blobs.close()
        await blobs.close()


def _run(work: Coroutine[Any, Any, None]) -> Deferred[None]:
    return Deferred.fromCoroutine(work)
