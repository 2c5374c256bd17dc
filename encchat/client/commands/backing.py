"""``/backup``, and what ``--restore`` does: the keys of sealed rooms in a file, under a passphrase.

The passphrase is asked for where nobody sees it, or read from a file descriptor; it is never an argument, and
never in a history. What takes long, or waits for the disk, is done in a thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from encchat.client import events as e
from encchat.client.commands.command import Command
from encchat.client.view.show import count, status_line
from encchat.errors import EncchatError, UsageError
from encchat.text import clean_line

if TYPE_CHECKING:
    from encchat.client.chat import Chat
    from encchat.client.commands.table import Commands
    from encchat.core.sealed.backup import Contents

#: Bytes of a passphrase at most.
MAX_PASSPHRASE = 4096


class NotTheSame(UsageError):
    """The two passphrases differ. Nothing was written; begin again with /backup FILE"""


class CannotBackUp(UsageError):
    """{path} cannot be written: {reason}. Give another name; nothing is ever overwritten."""


class CannotRestore(UsageError):
    """{path} cannot be read: {reason}."""


class NoPassphrase(UsageError):
    """There is no passphrase: {reason}."""


def read_passphrase(fd: int) -> str:
    """The first line of a file descriptor.

    :raises NoPassphrase: there is none.
    """
    data = b""
    try:
        while b"\n" not in data and len(data) <= MAX_PASSPHRASE:
            more = os.read(fd, MAX_PASSPHRASE)
            if not more:
                break
            data += more
        text = data.partition(b"\n")[0].decode("utf-8")
    except (OSError, UnicodeDecodeError, OverflowError) as error:
        raise NoPassphrase(reason=getattr(error, "strerror", None) or "it is no UTF-8 text") from None
    if not text or len(data) > MAX_PASSPHRASE:
        raise NoPassphrase(reason=f"file descriptor {fd} gives no line, or too long a one")
    return text


def backup(c: Commands, rest: str) -> None:
    """/backup FILE"""
    if not rest:
        c.teach("backup")
    path = Path(rest.strip("'\"")).expanduser()
    if path.exists() or path.is_symlink():
        c.screen.trouble = True
        raise CannotBackUp(path=str(path), reason="there is something already")
    contents = c.chat.sealed.contents()
    c.screen.busy += 1
    work = Deferred.fromCoroutine(_back_up(c, path, contents))
    work.addErrback(lambda failure: _told(c, failure))
    work.addBoth(lambda result: _over(c, result))


async def _back_up(c: Commands, path: Path, contents: Contents) -> None:
    from encchat.core.sealed.backup import MIN_PASSPHRASE, WeakPassphrase

    first = await c.screen.ask_secret(f"passphrase for the backup, {MIN_PASSPHRASE} characters or more")
    if first is None:
        c.screen.note("no backup was written")
        return
    if len(first) < MIN_PASSPHRASE:
        raise WeakPassphrase(least=MIN_PASSPHRASE)
    if await c.screen.ask_secret("the same passphrase again") != first:
        raise NotTheSame()
    await c.chat.files.in_thread(_write, path, contents, first)
    keys = count(len(contents.keys), "key", "keys")
    c.screen.note(f"{keys} for reading sealed rooms are in {clean_line(str(path))}, under your passphrase.")
    c.screen.note("to take them on another machine: encchat-client --restore FILE")


def _write(path: Path, contents: Contents, passphrase: str) -> None:
    from encchat.core.sealed.backup import seal

    data = seal(contents, passphrase, os.urandom)
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(file, "wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        except OSError:
            path.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CannotBackUp(path=str(path), reason=error.strerror or error) from None


def _over(c: Commands, result: object) -> object:
    c.screen.busy -= 1
    c.chat.look()
    return result


def _told(c: Commands, failure: Failure) -> None:
    c.screen.trouble = True
    failure.trap(EncchatError)
    c.chat.warn(str(failure.value))


def read_backup(path: str, passphrase: Callable[[], str]) -> Contents:
    """What a backup holds; takes about a third of a second.

    :raises CannotRestore: there is no such file.
    :raises RefusedError: it is no backup, or the passphrase is another one.
    """
    from encchat.core.sealed.backup import MAGIC, MAX_BACKUP, BackupUnreadable, open_

    try:
        with Path(path).expanduser().open("rb") as file:
            data = file.read(MAX_BACKUP + 1)
    except OSError as error:
        raise CannotRestore(path=path, reason=error.strerror or error) from None
    if not data.startswith(MAGIC):  # before somebody types a passphrase
        raise BackupUnreadable(reason="it is not a backup of sealed rooms")
    return open_(data, passphrase())


class Restoring:
    """A console that takes what a backup held, and ends."""

    def __init__(self, chat: Chat, contents: Contents, status: Callable[[str], None]) -> None:
        self._chat = chat
        self._contents = contents
        self._status = status

    async def run(self) -> int:
        """Take it; returns the exit code.

        :raises EncchatError: it could not be taken; then nothing was.
        """
        await self._chat.when(lambda: self._chat.session.admitted)
        taken = self._chat.sealed.restore(self._contents)
        had = len(self._contents.keys) - taken
        known = f"; {count(had, 'was', 'were')} here already" if had > 0 else ""
        self._status(f"{count(taken, 'key', 'keys')} for reading sealed rooms taken{known}")
        return 0

    def happened(self, events: Sequence[e.Event]) -> None:
        """What the server said, or became of the link."""
        for event in events:
            match event:
                case e.LinkLost() | e.ServerComplains() | e.ServerCloses():
                    self._status(status_line(event) or "")

    def warn(self, text: str) -> None:
        """Tell what went wrong on our side."""
        self._status(text)


BACKUP = Command(
    "backup",
    "FILE",
    "write the keys of your sealed rooms into a file, under a passphrase",
    backup,
    "as in /backup ~/encchat.backup; the passphrase is asked for. Later, encchat-client --restore FILE takes "
    "the keys again",
    takes_path=True,
)
