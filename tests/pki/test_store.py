"""The certificate directory: what a crash at any step leaves, who takes turns, what is in the way."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.names import parse_name
from encchat.pki import authority, build, files, store
from encchat.pki.build import Signer
from encchat.pki.hosts import parse_host
from encchat.pki.store import Store
from tests.pki.support import NOW, commit, issue_server, issue_user, new_store

#: What a command does to the disk, each a place where it may be killed.
_STEPS = ("fchmod", "fsync", "mkdir", "replace", "unlink")
_KILLED = 77


def _killed_at(step: int, work: Callable[[], object]) -> bool:
    """Do ``work`` in a child process that ends, as by kill -9, before its n-th change of the disk.
    False if it came to its end before."""
    child = os.fork()
    if child == 0:
        try:
            count = iter(range(step + 1))

            def counted(real: Callable[..., object]) -> Callable[..., object]:
                def call(*arguments: object, **more: object) -> object:
                    if next(count) == step:
                        os._exit(_KILLED)
                    return real(*arguments, **more)

                return call

            for name in _STEPS:
                setattr(os, name, counted(getattr(os, name)))
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in {0, _KILLED}, f"the child ended with {code}"
    return code == _KILLED


class CrashTests(SynchronousTestCase):
    """Kill the command at every step: the next one puts everything right."""

    def _at_every_step(
        self, prepare: Callable[[Path], Signer | None], work: Callable[[Store, Signer | None], object]
    ) -> None:
        step, killed = 0, True
        outcomes = set()
        while killed:
            directory = Path(self.mktemp())
            signer = prepare(directory)
            killed = _killed_at(step, lambda at=directory, by=signer: work(Store(at), by))
            self._check_nothing_unrecorded(directory)
            self._check_recovered(directory)
            outcomes.add(self._content(directory))
            step += 1
        self.assertGreater(step, 10)
        self.assertEqual(len(outcomes), 2)  # before, or after: nothing between

    def _check_nothing_unrecorded(self, directory: Path) -> None:
        """Every certificate that can be seen is in the index, before anything is repaired."""
        seen = [path for path in directory.glob("*.pem") if path.name != "crl.pem"]
        if seen:
            serials = {record.serial for record in Store(directory).load().records}
            for path in seen:
                self.assertIn(f"{files.read_certificates(path)[0].serial_number:x}", serials)

    def _check_recovered(self, directory: Path) -> None:
        if not (directory / "index.json").exists():
            with Store(directory).first_turn():
                pass
            self.assertEqual([name for name in os.listdir(directory) if name[0] != "."], [])
            self.assertEqual(list((directory / ".pending").glob("*")), [])
            return
        with Store(directory).turn() as index:
            self.assertTrue(all(record.installed for record in index.records) and index.crl_installed)
        for stem in {record.stem for record in index.records}:
            newest = index.newest(stem)
            assert newest is not None
            self.assertEqual((directory / f"{stem}.pem").read_text(), newest.pem)
            key = files.read_private_key(directory / f"{stem}.key")
            self.assertEqual(key.public_key(), newest.certificate.public_key())
        if index.crl:
            self.assertEqual((directory / "crl.pem").read_text(), index.crl)
        self.assertEqual(list((directory / ".pending").glob("*")), [])
        self.assertEqual(list(directory.glob(".*.tmp")), [])
        self.assertEqual(Store(directory).load(), index)

    def _content(self, directory: Path) -> tuple[int, int, int]:
        if not (directory / "index.json").exists():
            return (0, 0, 0)
        index = Store(directory).load()
        revoked = sum(record.revoked is not None for record in index.records)
        return len(index.records), index.crl_number, revoked

    def test_init(self) -> None:
        """While the authority is made."""
        self._at_every_step(lambda directory: None, lambda at, by: _init(at))

    def test_user(self) -> None:
        """While a user's certificate is made."""
        self._at_every_step(
            lambda directory: new_store(directory)[1],
            lambda at, by: issue_user(at, _not_none(by), "alice"),
        )

    def test_server(self) -> None:
        """While a server's certificate is replaced."""

        def prepare(directory: Path) -> Signer:
            at, signer = new_store(directory)
            issue_server(at, signer, "old.example")
            return signer

        def work(at: Store, by: Signer | None) -> None:
            with at.turn() as index:
                hosts = [parse_host("new.example")]
                commit(at, authority.issue_server(index, _not_none(by), hosts, "server", NOW, force=True))

        self._at_every_step(prepare, work)

    def test_renew(self) -> None:
        """While two certificates are renewed with new keys."""

        def work(at: Store, by: Signer | None) -> None:
            with at.turn() as index:
                commit(at, authority.renew(index, _not_none(by), index.leaves, NOW, new_key=True))

        self._at_every_step(_with_two_users, work)

    def test_revoke(self) -> None:
        """While one is revoked: it is on the list as soon as the index says so."""

        def work(at: Store, by: Signer | None) -> None:
            with at.turn() as index:
                gone = authority.to_revoke(index, "alice", NOW)
                commit(at, authority.revoke(index, _not_none(by), gone, "unspecified", NOW))

        self._at_every_step(_with_two_users, work)

    def test_twice(self) -> None:
        """Killed again while it recovers, at any step."""
        step, killed = 0, True
        while killed:
            directory = Path(self.mktemp())
            at, signer = new_store(directory)
            with at.turn() as index:
                change = authority.issue_user(index, signer, parse_name("alice"), NOW)
                never = self.patch(Store, "_finish", lambda self, index: index)
                commit(at, change)  # signed, and killed at once
                never.restore()
            self.assertFalse((directory / "alice.pem").exists())
            killed = _killed_at(step, lambda at=at: at.turn().__enter__())
            self._check_recovered(directory)
            self.assertTrue((directory / "alice.pem").exists())
            step += 1
        self.assertGreater(step, 5)


def _init(at: Store) -> None:
    change = authority.found("test CA", NOW)
    with at.first_turn():
        commit(at, change)


def _with_two_users(directory: Path) -> Signer:
    at, signer = new_store(directory)
    issue_user(at, signer, "alice")
    issue_user(at, signer, "bob")
    return signer


def _not_none(signer: Signer | None) -> Signer:
    assert signer is not None
    return signer


class TurnTests(SynchronousTestCase):
    """Two commands never work at once."""

    def test_busy(self) -> None:
        """The second waits a while, and then says why it gives up."""
        directory = Path(self.mktemp())
        first, signer = new_store(directory)
        slept: list[float] = []
        second = Store(directory, patience=1.0, sleep=slept.append)
        with first.turn():
            error = self.assertRaises(store.DirectoryBusy, second.turn().__enter__)
            self.assertIn(str(directory), str(error))
            self.assertRaises(store.DirectoryBusy, second.first_turn().__enter__)
        self.assertTrue(0.9 < sum(slept) / 2 < 1.2, slept)
        issue_user(second, signer, "alice")

    def test_wait(self) -> None:
        """It goes on as soon as the first has finished."""
        directory = Path(self.mktemp())
        first, _ = new_store(directory)
        turn = first.turn()
        turn.__enter__()
        with Store(directory, sleep=lambda seconds: turn.__exit__(None, None, None) and None).turn() as index:
            self.assertEqual(len(index.records), 1)

    def test_many_processes(self) -> None:
        """Of many processes at once, each gets its certificate, and none is lost."""
        directory = Path(self.mktemp())
        at, signer = new_store(directory)
        children = []
        for number in range(6):
            child = os.fork()
            if child == 0:
                try:
                    issue_user(at, signer, f"user{number}")
                    os._exit(0)
                finally:
                    os._exit(1)
            children.append(child)
        for child in children:
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertEqual({record.name for record in at.load().leaves}, {f"user{n}" for n in range(6)})


class DirectoryTests(SynchronousTestCase):
    """What is in the way, and what is left alone."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())

    def test_modes(self) -> None:
        """The directory and the keys are the owner's alone, whatever the umask."""
        self.addCleanup(os.umask, os.umask(0))
        at, signer = new_store(self.directory / "deep" / "in")
        issue_user(at, signer, "alice")
        self.assertEqual(at.directory.stat().st_mode & 0o777, 0o700)
        for path in at.directory.iterdir():
            expected = {".pem": 0o644}.get(path.suffix, 0o700 if path.is_dir() else 0o600)
            self.assertEqual(path.stat().st_mode & 0o777, expected, path)

    def test_existing_directory(self) -> None:
        """A directory that exists keeps its mode; one that all can write to is refused."""
        self.directory.mkdir(mode=0o755)
        new_store(self.directory)
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o755)
        other = Path(self.mktemp())
        other.mkdir()
        other.chmod(0o777)
        error = self.assertRaises(store.DirectoryOpen, new_store, other)
        self.assertIn(f"chmod 700 {other}", str(error))

    def test_second_authority(self) -> None:
        """There is one authority in a directory."""
        new_store(self.directory)
        before = (self.directory / "ca.pem").read_bytes()
        self.assertRaises(store.AuthorityExists, new_store, self.directory)
        self.assertEqual((self.directory / "ca.pem").read_bytes(), before)

    def test_foreign_files(self) -> None:
        """What did not come from here is not overwritten, and neither is a dangling link."""
        self.directory.mkdir()
        for name in ("ca.pem", "ca.key", "crl.pem"):
            path = self.directory / name
            path.write_text("mine")
            self.assertRaises(store.FileInTheWay, new_store, self.directory)
            self.assertEqual(path.read_text(), "mine")
            path.unlink()
        at, _ = new_store(self.directory)
        (self.directory / "alice.key").symlink_to("nowhere")
        index = at.load()
        self.assertRaises(store.FileInTheWay, at.check_ours, index, "alice")
        at.check_ours(index, "bob")
        at.check_ours(index, "ca")

    def test_no_authority(self) -> None:
        """Without an authority, the command that makes one is told, and nothing is left behind."""
        self.directory.mkdir()
        for attempt in (Store(self.directory).load, Store(self.directory).turn().__enter__):
            error = self.assertRaises(files.FileMissing, attempt)
            self.assertIn(f"encchat-admin ca init --dir {self.directory}", str(error))
        self.assertEqual(os.listdir(self.directory), [])

    def test_broken_index(self) -> None:
        """A broken index stops everything, with words."""
        new_store(self.directory)
        (self.directory / "index.json").write_text('{"version": 1, "records"')
        error = self.assertRaises(files.FileUnusable, Store(self.directory).turn().__enter__)
        self.assertIn("index.json", str(error))

    def test_disk(self) -> None:
        """A disk that declines is told as such, wherever it happens."""
        at, signer = new_store(self.directory)

        def refuse(*arguments: object, **more: object) -> None:
            raise OSError(30, "Read-only file system")

        for name, directory in [
            ("fsync", self.directory),
            ("open", self.directory),
            ("mkdir", self.directory / "new"),
        ]:
            patch = self.patch(os, name, refuse)
            error = self.assertRaises(files.FileUnusable, _init_or_issue, directory, signer)
            self.assertIn("Read-only file system", str(error))
            patch.restore()
        self.assertEqual(at.load().leaves, ())
        (self.directory / ".left.tmp").write_text("what a crash left")
        self.patch(os, "unlink", refuse)
        self.assertRaises(files.FileUnusable, at.turn().__enter__)


def _init_or_issue(directory: Path, signer: Signer) -> None:
    if directory.exists():
        issue_user(Store(directory), signer, "alice")
    else:
        _init(Store(directory))


class UnfinishedTests(SynchronousTestCase):
    """The state between signing and writing is visible, and ends by itself."""

    def test_revocation_without_key(self) -> None:
        """A list that was signed but not written is written by a command that has no key."""
        directory = Path(self.mktemp())
        at, signer = new_store(directory)
        certificate = issue_user(at, signer, "alice")
        with at.turn() as index:
            gone = authority.to_revoke(index, "alice", NOW)
            change = authority.revoke(index, signer, gone, "unspecified", NOW)
            at._save(change.index)
        (directory / "ca.key").unlink()
        self.assertFalse((directory / "crl.pem").exists())
        with at.turn():
            pass
        (crl,) = files.read_crls(directory / "crl.pem")
        self.assertIsInstance(
            crl.get_revoked_certificate_by_serial_number(certificate.serial_number), x509.RevokedCertificate
        )
        self.assertEqual(crl.next_update_utc, NOW + build.CRL_LIFE)
        self.assertEqual(timedelta(days=30), build.CRL_LIFE)
