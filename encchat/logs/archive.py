"""A backup with everything: the log and the files that people gave to rooms, as one tar file.

It holds a copy of the log from one moment, and the bytes of each file that the log knows at that moment,
compared with their hash on the way. Files never change, so that it may be made while the service runs; what
was taken back meanwhile is not in it, nor is what has suffered, which is told.
"""

from __future__ import annotations

import hashlib
import os
import re
import sqlite3
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from encchat.core.directory import BLOB
from encchat.errors import ConfigError
from encchat.logs.backup import copy_into, failed
from encchat.logs.blobs import DIRECTORY, place_of
from encchat.logs.files import create_file, sync_directory
from encchat.logs.partials import finish, partial_beside

#: The log's name in the archive; a file's is its SHA-256 in this directory.
LOG = "log.sqlite"
_FILE = re.compile(rf"{DIRECTORY}/([0-9a-f]{{64}})\Z")
#: Bytes that are moved at a time.
_PIECE = 1024 * 1024


class Broken(ConfigError):
    """{path} is no backup that can be used: {problem}. Nothing was changed; restore another one."""


@dataclass(slots=True)
class Contents:
    """How many files are in a backup; how many were gone, as somebody had taken them back; and the hashes of
    those whose bytes are not what they were."""

    files: int = 0
    gone: int = 0
    damaged: list[str] = field(default_factory=list)


def write(source: sqlite3.Connection, directory: Path, target: Path) -> Contents:
    """Write the log behind ``source``, and the files in the data directory, to the new file ``target``.

    :raises BackupFailed: it could not be written, or is there already.
    """
    contents = Contents()
    try:
        if os.path.lexists(target):
            raise FileExistsError
        with partial_beside(target) as copied, partial_beside(target) as partial:
            copy_into(source, copied)
            with partial.open("wb") as file, tarfile.open(fileobj=file, mode="w") as archive:
                archive.add(copied, LOG, filter=_plain)
                for name in _files_of(copied):
                    _add(archive, directory / DIRECTORY / place_of(name), name, contents)
            finish(partial, target)
    except (sqlite3.Error, OSError) as error:
        raise failed(target, error) from None
    return contents


def is_archive(path: Path) -> bool:
    """Whether a backup has files in it, or may have; else it is the log alone."""
    try:
        with path.open("rb") as file:
            return file.read(512)[257:262] == b"ustar"
    except OSError:
        return False


@contextmanager
def log_of(source: Path, directory: Path) -> Iterator[Path]:
    """The log in an archive, as a file in ``directory`` for as long as it is needed.

    :raises Broken: there is none.
    """
    with _reading(source) as archive, partial_beside(directory / LOG) as partial:
        member = archive.next()
        if member is None or member.name != LOG or not member.isreg():
            raise Broken(path=str(source), problem="it does not begin with a log")
        with partial.open("r+b") as file:
            _copy(_bytes_of(archive, member), file)
        yield partial


def unpack(source: Path, held: Path, target: Path) -> int:
    """Put the files of an archive into the new directory ``target``, and return how many they are. Those that
    are in the directory ``held`` and whole are linked, not written again.

    :raises Broken: one of them is not what it has to be.
    """
    target.mkdir(mode=0o700)
    count = 0
    with _reading(source) as archive:
        archive.next()  # the log
        for member in iter(archive.next, None):
            name = _FILE.match(member.name)
            if name is None or not member.isreg():
                raise Broken(path=str(source), problem=f"it holds {member.name!r}")
            _unpack(archive, member, name[1], held, target, str(source))
            count += 1
    for made in (*target.iterdir(), target):
        sync_directory(made)
    return count


def _unpack(
    archive: tarfile.TarFile, member: tarfile.TarInfo, name: str, held: Path, target: Path, source: str
) -> None:
    place, old = target / place_of(name), held / place_of(name)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    if old.is_file() and not old.is_symlink() and _hash_of(old) == name:
        with suppress(OSError):  # where the file system has no links it is written
            os.link(old, place)
            return
    create_file(place)
    with place.open("r+b") as file:
        if _copy(_bytes_of(archive, member), file) != name:
            raise Broken(path=source, problem=f"the file {name} in it has suffered")
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _reading(source: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(source, "r:") as archive:
            yield archive
    except tarfile.TarError as error:
        raise Broken(path=str(source), problem=str(error)) from None


def _bytes_of(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    found = archive.extractfile(member)
    assert found is not None  # it is a regular file
    return found


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy the bytes, and return their SHA-256 in hexadecimal."""
    digest = hashlib.sha256()
    while piece := source.read(_PIECE):
        digest.update(piece)
        target.write(piece)
    return digest.hexdigest()


def _hash_of(path: Path) -> str:
    with path.open("rb", 0) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files_of(log: Path) -> list[str]:
    with closing(sqlite3.connect(log.absolute().as_uri() + "?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT key FROM directory WHERE kind = ? ORDER BY key", (BLOB,))
        return [key for (key,) in rows]


def _add(archive: tarfile.TarFile, path: Path, name: str, contents: Contents) -> None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        contents.gone += 1
        return
    with os.fdopen(descriptor, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != name:
            contents.damaged.append(name)
            return
        file.seek(0)
        member = _plain(archive.gettarinfo(arcname=f"{DIRECTORY}/{name}", fileobj=file))
        archive.addfile(member, file)
        contents.files += 1


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Without what it does not matter to anybody: whose file it was."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member
