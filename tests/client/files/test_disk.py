"""The two ends of a transfer on disk."""

from __future__ import annotations

import errno
import os
import stat
from hashlib import sha256
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import TestCase

from encchat.client.files.disk import (
    CannotRead,
    CannotWrite,
    FetchedTwice,
    FileChanged,
    NotTheFile,
    Part,
    Source,
    Stopped,
)

DATA = bytes(range(256)) * 10
BLOB = sha256(DATA).digest()


class Case(TestCase):
    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()


class Sources(Case):
    """The file that is sent."""

    def test_read_and_hashed(self) -> None:
        (self.here / "a").write_bytes(DATA)
        source = Source(self.here / "a")
        self.addCleanup(source.close)
        self.assertEqual((source.size, source.digest(), source.read(3, 5)), (len(DATA), BLOB, DATA[3:8]))

    def test_what_cannot_be_sent(self) -> None:
        os.mkfifo(self.here / "pipe")
        (self.here / "secret").write_bytes(b"x")
        for path, word in (
            (self.here, "directory"),
            (self.here / "pipe", "plain file"),
            (Path("/dev/zero"), "plain file"),
            (self.here / "none", "No such file"),
            (self.here / ("x" * 300), "too long"),
            (self.here / "secret" / "y", "Not a directory"),
        ):
            self.assertIn(word, str(self.assertRaises(CannotRead, Source, path)))

    def test_one_that_shrinks(self) -> None:
        (self.here / "a").write_bytes(DATA)
        source = Source(self.here / "a")
        self.addCleanup(source.close)
        (self.here / "a").write_bytes(b"less")
        self.assertRaises(FileChanged, source.digest)

    def test_closed_while_somebody_reads(self) -> None:
        (self.here / "a").write_bytes(DATA)
        source = Source(self.here / "a")
        source.close()
        source.close()
        self.assertRaises(Stopped, source.read, 0, 1)


class Parts(Case):
    """The file that is received."""

    def part(self, name: str = "a.bin", data: bytes = DATA) -> Part:
        part = Part(self.here, name, sha256(data).digest(), len(data))
        self.addCleanup(part.close)
        return part

    def test_whole_and_private(self) -> None:
        part = self.part()
        part.write(DATA)
        path = part.finish()
        self.assertEqual((path, path.read_bytes()), (self.here / "a.bin", DATA))
        self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)
        self.assertEqual(list(self.here.iterdir()), [path])

    def test_going_on(self) -> None:
        part = self.part()
        part.write(DATA[:100])
        part.close()
        again = self.part()
        self.assertEqual(again.held, 100)
        again.write(DATA[100:])
        self.assertEqual(again.finish().read_bytes(), DATA)

    def test_never_over_another(self) -> None:
        (self.here / "a.bin").write_bytes(b"mine")
        (self.here / "a (1).bin").symlink_to("/nowhere")
        part = self.part()
        part.write(DATA)
        self.assertEqual(part.finish(), self.here / "a (2).bin")
        self.assertEqual((self.here / "a.bin").read_bytes(), b"mine")

    def test_another_file_than_was_offered(self) -> None:
        part = self.part()
        part.write(DATA[:-1] + b"!")
        self.assertRaises(NotTheFile, part.finish)
        part.close()
        self.assertEqual(list(self.here.iterdir()), [])

    def test_two_at_once(self) -> None:
        self.part()
        self.assertRaises(FetchedTwice, self.part)

    def test_a_trap_in_its_place(self) -> None:
        outside = self.here / "outside"
        outside.write_bytes(b"mine")
        trap = self.here / f"a.bin.{BLOB.hex()[:12]}.part"
        trap.symlink_to(outside)
        self.assertRaises(CannotWrite, self.part)
        trap.unlink()
        trap.mkdir()
        self.assertRaises(CannotWrite, self.part)
        self.assertEqual(outside.read_bytes(), b"mine")

    def test_more_than_it_should_be_begins_anew(self) -> None:
        part = self.part()
        part.write(DATA + b"more")
        part.close()
        self.assertEqual(self.part().held, 0)

    def test_a_full_disk(self) -> None:
        part = self.part()
        real = os.pwrite

        def full(file: int, data: bytes, offset: int) -> int:
            if offset >= 8:
                raise OSError(errno.ENOSPC, "No space left on device")
            return real(file, bytes(data)[:8], offset)

        with patch.object(os, "pwrite", full):
            self.assertIn("No space left", str(self.assertRaises(CannotWrite, part.write, DATA)))
        self.assertEqual(part.held, 8)
        part.write(DATA[8:])
        self.assertEqual(part.finish().read_bytes(), DATA)

    def test_nothing_is_left_of_nothing(self) -> None:
        self.part().close()
        self.assertEqual(list(self.here.iterdir()), [])

    def test_an_empty_file(self) -> None:
        part = self.part("empty", b"")
        self.assertEqual(part.finish().read_bytes(), b"")

    def test_no_such_directory(self) -> None:
        self.assertRaises(CannotWrite, Part, self.here / "none", "a", BLOB, 1)
