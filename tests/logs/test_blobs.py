"""Files in memory and on disk: the contract, and what the disk adds to it."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from threading import get_ident
from typing import Any
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred
from twisted.trial.unittest import TestCase

from encchat.core.interfaces import Unavailable
from encchat.errors import ConfigError
from encchat.logs.blobs import FileBlobs
from encchat.logs.memory_blobs import MemoryBlobs
from tests.contracts.blobs import BlobsContract, name


class MemoryBlobsContract(BlobsContract, TestCase):
    """The contract."""

    def open_blobs(self) -> MemoryBlobs:
        return MemoryBlobs(lambda: 0.0)


class FileBlobsContract(BlobsContract, TestCase):
    """The contract, with restarts."""

    durable = True

    def setUp(self) -> None:
        self.path = Path(self.mktemp())

    def open_blobs(self) -> FileBlobs:
        blobs = FileBlobs(self.path, reactor)
        self.addCleanup(lambda: ensureDeferred(blobs.close()))
        return blobs


class FileBlobsTests(TestCase):
    """What the disk adds."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.blobs = FileBlobs(self.path, reactor)
        self.addCleanup(lambda: ensureDeferred(self.blobs.close()))

    async def put(self, data: bytes) -> bytes:
        await self.blobs.write("a", 0, data)
        await self.blobs.keep("a", await self.blobs.digest("a"))
        return name(data)

    async def test_places_and_modes(self) -> None:
        blob = (await self.put(b"x")).hex()
        await self.blobs.write("b", 0, b"y")
        files = {p.relative_to(self.path): p for p in self.path.rglob("*") if p.is_file()}
        self.assertEqual(set(files), {Path("blobs", blob[:2], blob), Path("uploads", "b")})
        for path in self.path.rglob("*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            self.assertEqual(mode, 0o700 if path.is_dir() else 0o600, path)

    async def test_nothing_runs_on_the_reactor_s_thread(self) -> None:
        here, threads = get_ident(), set()
        for called in ("open", "fsync", "pwrite", "pread", "listdir", "scandir"):
            real = getattr(os, called)

            def noted(*args: Any, _real: Any = real, **kwargs: Any) -> Any:
                threads.add(get_ident())
                return _real(*args, **kwargs)

            self.patch(os, called, noted)
        blob = await self.put(b"x" * 100_000)
        await self.blobs.read(blob, 0, 10)
        await self.blobs.blobs()
        await self.blobs.uploads()
        self.assertTrue(threads)
        self.assertNotIn(here, threads)

    async def test_durable_before_it_is_a_blob(self) -> None:
        order: list[str] = []
        real_fsync, real_replace = os.fsync, Path.replace

        def fsync(file: int) -> None:
            order.append("directory" if stat.S_ISDIR(os.fstat(file).st_mode) else "file")
            real_fsync(file)

        def replace(path: Path, target: Path) -> Path:
            order.append("rename")
            return real_replace(path, target)

        with patch.object(os, "fsync", fsync), patch.object(Path, "replace", replace):
            await self.put(b"x")
        self.assertEqual(order, ["file", "directory", "rename", "directory"])

    async def test_a_full_disk(self) -> None:
        await self.blobs.write("a", 0, b"before")
        real = os.pwrite

        def full(file: int, data: bytes, offset: int) -> int:
            if offset >= 8:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(file, bytes(data)[:2], offset)

        with patch.object(os, "pwrite", full), self.assertRaises(Unavailable) as caught:
            await self.blobs.write("a", 6, b"and more")
        self.assertIn("No space left", str(caught.exception))
        self.assertEqual(await self.blobs.held("a"), 8)
        await self.blobs.write("a", 6, b"and more")
        self.assertEqual(await self.blobs.digest("a"), name(b"beforeand more"))

    async def test_a_disk_that_failed_to_keep_it(self) -> None:
        """The system takes what was written for kept then: it is sent again, not asked again."""
        await self.blobs.write("a", 0, b"lost")

        def fail(file: int) -> None:
            raise OSError(errno.EIO, "Input/output error")

        with patch.object(os, "fsync", fail), self.assertRaises(Unavailable):
            await self.blobs.digest("a")
        self.assertEqual(await self.blobs.held("a"), 0)
        await self.blobs.write("a", 0, b"kept")
        self.assertEqual(await self.blobs.digest("a"), name(b"kept"))

    async def test_names_stay_in_their_directory(self) -> None:
        for upload in ("", "..", "../x", "a/b", "a\0b", ".", "A", "x" * 65, "a\n"):
            with self.assertRaises(ValueError):
                await self.blobs.write(upload, 0, b"x")

    async def test_links_are_not_followed(self) -> None:
        outside = self.path / "outside"
        outside.write_bytes(b"secret")
        (self.path / "uploads" / "a").symlink_to(outside)
        with self.assertRaises(Unavailable):
            await self.blobs.write("a", 0, b"x")
        with self.assertRaises(Unavailable):
            await self.blobs.digest("a")
        blob = name(b"x")
        (self.path / "blobs" / blob.hex()[:2]).mkdir()
        (self.path / "blobs" / blob.hex()[:2] / blob.hex()).symlink_to(outside)
        with self.assertRaises(Unavailable):
            await self.blobs.read(blob, 0, 9)
        self.assertEqual(outside.read_bytes(), b"secret")

    async def test_what_is_none_of_ours_is_left_alone(self) -> None:
        (self.path / "uploads" / "README").write_text("hi")
        (self.path / "blobs" / "ab").mkdir()
        (self.path / "blobs" / "ab" / "lost+found").write_text("hi")
        self.assertEqual(list(await self.blobs.blobs()), [])
        self.assertEqual(dict(await self.blobs.uploads()), {})

    def test_a_directory_that_others_can_read(self) -> None:
        self.path.chmod(0o755)
        with self.assertRaises(ConfigError):
            FileBlobs(self.path, reactor)

    async def test_closed(self) -> None:
        await self.blobs.close()
        with self.assertRaises(Unavailable):
            await self.blobs.held("a")
