"""The data directory: ours alone, private, and with one server on it at a time.

What it holds is as secret as the people's talk, so a directory or file that others may enter is refused
rather than corrected: only its owner knows who has read it meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from typing import IO

from encchat.directories import make_private
from encchat.errors import ConfigError


def prepare_directory(directory: Path) -> None:
    """Make the directory (mode 0700) if there is none, or check the one that there is.

    :raises ConfigError: it cannot be made, is not a directory, or is not private to this user.
    """
    try:
        make_private(directory)
        found = directory.stat()
    except FileExistsError:
        raise ConfigError(reason=f"{directory} is not a directory; name another one") from None
    except OSError as error:
        raise ConfigError(reason=f"{directory} cannot be used: {error.strerror}") from None
    _check_private(directory, found, "700")


def check_file(path: Path) -> bool:
    """Whether the file is there; if so it is a plain file, private to this user.

    :raises ConfigError: it is not.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise ConfigError(reason=f"{path} cannot be used: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(reason=f"{path} is not a plain file; move it away or name another place")
    _check_private(path, found, "600")
    return True


def create_file(path: Path) -> None:
    """Make an empty file of mode 0600, so that there is no moment at which others can open it.

    :raises FileExistsError: there is one already.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable: after a file in it was made or renamed."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check_private(path: Path, found: os.stat_result, mode: str) -> None:
    if found.st_uid != os.geteuid():
        raise ConfigError(
            reason=f"{path} belongs to user {found.st_uid}, not to user {os.geteuid()} who runs this; "
            "run it as its owner, or give it to this user with chown"
        )
    if found.st_mode & 0o077:
        raise ConfigError(
            reason=f"others can open {path} (mode {stat.S_IMODE(found.st_mode):o}); close it with: "
            f"chmod {mode} {path}"
        )


class DirectoryLock:
    """Held by the one process that may write in a data directory; the kernel lets go of it when the
    process ends, however it ends.

    :raises ConfigError: another process holds it; says which.
    """

    def __init__(self, directory: Path) -> None:
        path = directory / "lock"
        check_file(path)
        try:
            self._file: IO[bytes] = os.fdopen(
                os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600), "r+b", 0
            )
        except OSError as error:
            raise ConfigError(reason=f"{path} cannot be used: {error.strerror}") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = self._file.read(20).strip().decode("ascii", "replace") or "unknown"
            self._file.close()
            raise ConfigError(
                reason=f"{directory} is in use by another server (process {holder}); "
                "stop that one first, or give this one another directory"
            ) from None
        self._file.truncate(0)
        self._file.write(b"%d\n" % os.getpid())

    def release(self) -> None:
        """Let another process have it; the file stays, as removing it would be a race."""
        self._file.close()
