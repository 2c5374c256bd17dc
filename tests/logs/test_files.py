"""The data directory: private, and for one server at a time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from encchat.errors import ConfigError
from encchat.logs.files import DirectoryLock, check_file, create_file, prepare_directory

_HOLDER = """
import sys
from pathlib import Path
from encchat.logs.files import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


class PrivacyTests(SynchronousTestCase):
    """What others may open is refused, and what we make they may not."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp()) / "a" / "data"

    def refused(self, function: object, path: Path) -> str:
        with self.assertRaises(ConfigError) as caught:
            function(path)  # type: ignore[operator] # one of two functions of a path
        return str(caught.exception)

    def test_what_we_make_is_private(self) -> None:
        prepare_directory(self.directory)
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)
        file = self.directory / "log.db"
        self.assertFalse(check_file(file))
        create_file(file)
        self.assertEqual(file.stat().st_mode & 0o777, 0o600)
        self.assertTrue(check_file(file))
        self.assertRaises(FileExistsError, create_file, file)
        prepare_directory(self.directory)

    def test_an_open_directory(self) -> None:
        prepare_directory(self.directory)
        self.directory.chmod(0o750)
        self.assertIn(f"chmod 700 {self.directory}", self.refused(prepare_directory, self.directory))

    def test_an_open_file(self) -> None:
        prepare_directory(self.directory)
        file = self.directory / "log.db"
        create_file(file)
        file.chmod(0o640)
        self.assertIn(f"chmod 600 {file}", self.refused(check_file, file))

    def test_somebody_elses(self) -> None:
        prepare_directory(self.directory)
        file = self.directory / "log.db"
        create_file(file)
        with patch("os.geteuid", return_value=os.geteuid() + 1):
            for function, path in ((prepare_directory, self.directory), (check_file, file)):
                said = self.refused(function, path)
                self.assertIn(f"belongs to user {os.geteuid() - 1}", said)
                self.assertIn("chown", said)

    def test_no_directory(self) -> None:
        self.directory.parent.mkdir(parents=True)
        self.directory.write_bytes(b"")
        self.assertIn("is not a directory", self.refused(prepare_directory, self.directory))
        self.assertIn("cannot be used", self.refused(prepare_directory, self.directory / "below"))
        self.assertIn("cannot be used", self.refused(check_file, self.directory / "below"))

    def test_no_plain_file(self) -> None:
        prepare_directory(self.directory)
        link = self.directory / "log.db"
        link.symlink_to("/etc/passwd")
        self.assertIn("is not a plain file", self.refused(check_file, link))


class LockTests(SynchronousTestCase):
    """One holder at a time, whoever it is, until it is gone."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        prepare_directory(self.directory)

    def test_second_holder_is_told_of_the_first(self) -> None:
        lock = DirectoryLock(self.directory)
        for _ in range(2):
            with self.assertRaises(ConfigError) as caught:
                DirectoryLock(self.directory)
            self.assertIn(f"process {os.getpid()}", str(caught.exception))
        lock.release()
        DirectoryLock(self.directory).release()

    def test_a_holder_that_was_killed(self) -> None:
        child = subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(self.directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        with child:
            assert child.stdout is not None
            self.assertEqual(child.stdout.readline(), b"held\n")
            with self.assertRaises(ConfigError) as caught:
                DirectoryLock(self.directory)
            self.assertIn(f"process {child.pid}", str(caught.exception))
            child.kill()
        DirectoryLock(self.directory).release()

    def test_a_lock_that_is_no_file(self) -> None:
        (self.directory / "lock").symlink_to("elsewhere")
        self.assertRaises(ConfigError, DirectoryLock, self.directory)

    def test_a_directory_without_room_for_it(self) -> None:
        with self.assertRaises(ConfigError) as caught:
            DirectoryLock(self.directory / "gone")
        self.assertIn("No such file", str(caught.exception))
