"""Directories are their owner's alone, those above them too, whatever the umask."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.registry import server_cipher
from encchat.ciphers.rsa.keys import load_or_make_identity
from encchat.client.profile import open_profile
from encchat.core.names import parse_name
from encchat.directories import make_private
from encchat.logs.files import prepare_directory
from encchat.pki.store import Store
from encchat.server.config import Config
from encchat.tap import _data_directory
from tests.ciphers.rsa.rig import I_S


def make_authority(directory: Path) -> None:
    with Store(directory).first_turn():
        pass


#: Whoever makes a directory that was named by a user.
MAKERS: dict[str, Callable[[Path], object]] = {
    "any": make_private,
    "the log": prepare_directory,
    "the service": lambda directory: _data_directory(Config(data=str(directory))),
    "a cipher": lambda directory: server_cipher("rsa", directory, ""),
    "an identity": lambda directory: load_or_make_identity(directory / "key.pem", lambda: I_S),
    "a profile": lambda directory: open_profile(parse_name("alice"), directory),
    "an authority": make_authority,
}


class Private(SynchronousTestCase):
    """Under a umask that keeps nothing from anybody."""

    def setUp(self) -> None:
        self.addCleanup(os.umask, os.umask(0))
        self.home = Path(self.mktemp())
        self.home.mkdir(parents=True)

    def test_all_that_is_made(self) -> None:
        for name, make in MAKERS.items():
            top = self.home / name.replace(" ", "-")
            make(top / "middle" / "place")
            for each in (top, top / "middle", top / "middle" / "place"):
                self.assertEqual(oct(each.stat().st_mode & 0o777), "0o700", name)

    def test_what_is_there_stays(self) -> None:
        before = self.home.stat().st_mode
        make_private(self.home)
        make_private(self.home / "place")
        make_private(self.home / "place")
        self.assertEqual(self.home.stat().st_mode, before)

    def test_what_is_no_directory(self) -> None:
        (self.home / "file").touch()
        with self.assertRaises(FileExistsError):
            make_private(self.home / "file")
        with self.assertRaises(NotADirectoryError):
            make_private(self.home / "file" / "place")
        (self.home / "nowhere").symlink_to("gone")
        with self.assertRaises(FileExistsError):
            make_private(self.home / "nowhere")
