"""Identity keys for processes, each made once in a run of the tests: making one costs as much as all else
that a client does at its start."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from encchat.ciphers.rsa import IDENTITY_FILE
from encchat.ciphers.rsa.keys import load_or_make_identity


@lru_cache
def identity(who: str) -> bytes:
    """The file of an identity key, the same for the same ``who``."""
    with TemporaryDirectory() as directory:
        path = Path(directory) / IDENTITY_FILE
        load_or_make_identity(path)
        return path.read_bytes()


def place_identity(directory: Path, who: str) -> None:
    """Put the key of ``who`` where a service or a profile keeps its own."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / IDENTITY_FILE
    path.touch(mode=0o600)
    path.write_bytes(identity(who))
