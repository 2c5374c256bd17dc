"""The certificate directory: who may change it, in which order, and what a crash half-way leaves.

A change is made in four steps, each of which is durable before the next begins:

1. new private keys go to ``.pending/SERIAL.key``;
2. ``index.json`` is exchanged for one that holds the new certificates: from here on they are issued;
3. the keys move, and the certificates and the revocation list are written, to where others read them;
4. ``index.json`` says that this is done.

A crash before 2 leaves a key without a certificate, which the next command deletes; one after 2 leaves
steps that the next command takes. So no certificate exists that is not in the index. Commands take turns
by a lock on ``.lock``. Reading (``load``) needs no turn.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from encchat.directories import make_private
from encchat.errors import ConfigError
from encchat.pki.files import FileUnusable, read_bytes, sync_directory, write_file
from encchat.pki.index import Index, Record, decode_index, encode_index

#: Seconds to wait for another command to finish.
LOCK_PATIENCE = 10.0
#: Bytes of the largest index: some 50,000 certificates.
MAX_INDEX = 64 << 20

_NO_AUTHORITY = "Make a certificate authority first: encchat-admin ca init --dir {directory}"


class AuthorityExists(ConfigError):
    """There is a certificate authority in {directory} already. Take another directory with --dir."""


class DirectoryBusy(ConfigError):
    """Another encchat-admin is at work in {directory}. Try again when it has finished."""


class DirectoryOpen(ConfigError):
    """Everybody can write to {directory}, and so exchange what is in it. Run: chmod 700 {directory}"""


class FileInTheWay(ConfigError):
    """{path} exists, and did not come from this authority. Move it away first: nothing is overwritten."""


class Store:
    """One certificate directory."""

    def __init__(
        self, directory: Path, *, patience: float = LOCK_PATIENCE, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self.directory = directory
        self._patience = patience
        self._sleep = sleep

    def certificate_path(self, stem: str) -> Path:
        """Where a certificate is."""
        return self.directory / f"{stem}.pem"

    def key_path(self, stem: str) -> Path:
        """Where its private key is, if it is kept here."""
        return self.directory / f"{stem}.key"

    @property
    def crl_path(self) -> Path:
        """Where the revocation list is."""
        return self.directory / "crl.pem"

    def load(self) -> Index:
        """The index as it is now.

        :raises FileMissing: there is no authority here.
        :raises FileUnusable: the index cannot be read.
        """
        hint = _NO_AUTHORITY.format(directory=self.directory)
        data = read_bytes(self._index_path, hint, limit=MAX_INDEX)
        try:
            return decode_index(data)
        except ValueError as error:
            raise FileUnusable(path=str(self._index_path), why=str(error)) from None

    @contextmanager
    def turn(self) -> Iterator[Index]:
        """Work alone in the directory, after finishing what an interrupted command had begun.

        :raises DirectoryBusy: another command does not finish.
        :raises FileMissing: there is no authority here.
        """
        if not self._index_path.exists():
            self.load()  # raises, before a lock file is left in a place that is none of ours
        with self._locked():
            yield self._finish(self.load())

    @contextmanager
    def first_turn(self) -> Iterator[None]:
        """Work alone in a directory that has no authority yet; makes it if need be, for the owner only.

        :raises AuthorityExists: there is one.
        :raises FileInTheWay: there are files of another one.
        """
        try:
            if not self.directory.exists():
                make_private(self.directory)
            elif self.directory.stat().st_mode & 0o002:
                raise DirectoryOpen(directory=str(self.directory))
        except OSError as error:
            raise FileUnusable(path=str(self.directory), why=error.strerror or str(error)) from None
        with self._locked():
            if self._index_path.exists():
                self._finish(self.load())  # perhaps it is this command's own, interrupted
                raise AuthorityExists(directory=str(self.directory))
            self._check_free("ca")
            self._check_free("crl")
            self._sweep()
            yield

    def check_ours(self, index: Index, stem: str) -> None:
        """Whether a stem has no files, or those of this authority.

        :raises FileInTheWay: it has somebody else's.
        """
        if index.newest(stem) is None:
            self._check_free(stem)

    def _check_free(self, stem: str) -> None:
        for path in (self.certificate_path(stem), self.key_path(stem)):
            if path.exists() or path.is_symlink():
                raise FileInTheWay(path=str(path))

    def commit(self, index: Index, keys: Mapping[str, bytes]) -> Index:
        """Make ``index`` the truth, and bring the files in line. ``keys`` are the new private keys, as PEM,
        by serial. Only within a turn."""
        if keys:
            self._pending.mkdir(mode=0o700, exist_ok=True)
        for serial, pem in keys.items():
            write_file(self._pending / f"{serial}.key", pem, 0o600)
        self._save(index)
        return self._finish(index)

    # ------------------------------------------------------------------------------------ the steps

    @property
    def _index_path(self) -> Path:
        return self.directory / "index.json"

    @property
    def _pending(self) -> Path:
        return self.directory / ".pending"

    def _save(self, index: Index) -> None:
        write_file(self._index_path, encode_index(index), 0o600)

    def _finish(self, index: Index) -> Index:
        unfinished = [record for record in index.records if not record.installed]
        for record in unfinished:
            self._install(record)
            index = index.with_record(msgspec.structs.replace(record, installed=True))
        if not index.crl_installed:
            write_file(self.crl_path, index.crl.encode("ascii"))
        if unfinished or not index.crl_installed:
            index = msgspec.structs.replace(index, crl_installed=True)
            self._save(index)
        self._sweep()
        return index

    def _install(self, record: Record) -> None:
        staged = self._pending / f"{record.serial}.key"
        if staged.exists():
            os.replace(staged, self.key_path(record.stem))
            sync_directory(self.directory)
        write_file(self.certificate_path(record.stem), record.pem.encode("ascii"))

    def _sweep(self) -> None:
        """Delete what a crash left: keys that never got a certificate, and files that were half-written."""
        for path in [*self._pending.glob("*"), *self._pending.glob(".*.tmp"), *self.directory.glob(".*.tmp")]:
            path.unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------- the lock

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            descriptor = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FileUnusable(path=str(self.directory), why=error.strerror or str(error)) from None
        try:
            self._wait_for(descriptor)
            yield
        except OSError as error:
            raise FileUnusable(path=str(self.directory), why=error.strerror or str(error)) from None
        finally:
            os.close(descriptor)  # which releases the lock

    def _wait_for(self, descriptor: int) -> None:
        waited = 0.0
        while True:
            try:
                return fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waited >= self._patience:
                    raise DirectoryBusy(directory=str(self.directory)) from None
            self._sleep(0.1)
            waited += 0.1
