"""Everything that can be wrong with the files of one side, each with a word, a sentence and a way out."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.names import parse_name
from encchat.pki import authority, build, files
from encchat.pki.checkup import Checkup, Files
from encchat.pki.health import Finding, Severity
from encchat.pki.profiles import Role
from tests.pki.support import NOW, certificate_with, commit, issue_server, issue_user, new_store

DAY = timedelta(days=1)


class CheckupTests(SynchronousTestCase):
    """A directory with everything in it, and one thing made wrong at a time."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.store, self.signer = new_store(self.directory)
        issue_server(self.store, self.signer, "chat.example.org", "127.0.0.1")
        issue_user(self.store, self.signer, "alice")
        with self.store.turn() as index:
            commit(self.store, authority.publish_crl(index, self.signer, NOW))
        for path in self.directory.iterdir():
            os.utime(path, (NOW.timestamp(), NOW.timestamp()))
        self.server = self._files(Role.SERVER, "server")
        self.user = replace(self._files(Role.USER, "alice"), user=parse_name("Alice"))

    def _files(self, role: Role, stem: str) -> Files:
        at = self.directory
        return Files(role, at / f"{stem}.pem", at / f"{stem}.key", at / "ca.pem", at / "crl.pem")

    def _look(self, at: Files, now: datetime = NOW) -> list[Finding]:
        return list(Checkup(at, now).run())

    def _wrong(self, at: Files, now: datetime = NOW) -> list[tuple[str, str]]:
        """The words and sentences of what is wrong."""
        found = [each for each in self._look(at, now) if each.severity >= Severity.WARNING]
        self.assertTrue(all(each.fix for each in found), found)
        return [(each.check, each.text) for each in found]

    def _only(self, at: Files, check: str, words: str, now: datetime = NOW) -> None:
        """Exactly one thing is wrong, and it is this one."""
        ((found, text),) = self._wrong(at, now)
        self.assertEqual(found, check)
        self.assertIn(words, text)

    def test_well(self) -> None:
        """Nothing is wrong, and what was looked at is told; the authority's key is a note."""
        self.assertEqual(self._wrong(self.server), [])
        self.assertEqual(self._wrong(self.user), [])
        texts = " ".join(each.text for each in self._look(self.server))
        for words in (
            "chat.example.org, 127.0.0.1",
            "expires in 89 days",
            "within 30 days",
            "ca.key is on this",
        ):
            self.assertIn(words, texts)
        self.assertIn("for the user alice", " ".join(each.text for each in self._look(self.user)))

    def test_missing(self) -> None:
        """A file that is not there."""
        for name, check in [("server.pem", "certificate"), ("server.key", "key"), ("ca.pem", "authority")]:
            path = self.directory / name
            content, mode = path.read_bytes(), path.stat().st_mode
            path.unlink()
            self._only(self.server, check, f"no file {path}")
            files.write_file(path, content, mode & 0o777)
            os.utime(path, (NOW.timestamp(), NOW.timestamp()))
        self.assertEqual(self._wrong(self.server), [])

    def test_crl(self) -> None:
        """A missing list is a note, unless it was named; an old, foreign or broken one is wrong."""
        path = self.directory / "crl.pem"
        path.unlink()
        self.assertEqual(self._wrong(self.server), [])
        self.assertIn("no revocation list", " ".join(each.text for each in self._look(self.server)))
        self._only(replace(self.server, crl_required=True), "crl", "no file")
        path.write_bytes(b"nothing")
        self._only(self.server, "crl", "no PEM revocation list")
        other = new_store(Path(self.mktemp()))[1]
        path.write_bytes(build.revocation_list([], 1, other, NOW).public_bytes(Encoding.PEM))
        self._only(self.server, "crl", "not signed by an authority")

    def test_ages(self) -> None:
        """What expires is told before, in the order of its coming."""
        self._only(self.server, "crl-age", "within 7 days", NOW + 23 * DAY)
        self._only(self.server, "crl-age", "everybody is refused", NOW + 31 * DAY)
        without = replace(self.server, crl=None)
        self._only(without, "certificate-expiry", "in 14 days", NOW + 75 * DAY)
        self._only(without, "certificate-expiry", "expired 1 day ago", NOW + 90 * DAY)
        both = self._wrong(without, NOW + 3653 * DAY)
        self.assertEqual([check for check, _ in both], ["certificate-expiry"] * 2)

    def test_clock(self) -> None:
        """A clock that is before what has happened is wrong."""
        checks = [check for check, _ in self._wrong(self.server, NOW - DAY)]
        self.assertEqual(checks[-1], "clock")
        self._only(self.server, "clock", "but the files are of 2026-03-01", NOW - timedelta(minutes=5))

    def test_revoked(self) -> None:
        """One's own certificate on the list."""
        with self.store.turn() as index:
            gone = authority.to_revoke(index, "server", NOW)
            commit(self.store, authority.revoke(index, self.signer, gone, "superseded", NOW))
        self._only(self.server, "crl", "itself is revoked")
        self.assertEqual(self._wrong(self.user), [])

    def test_key(self) -> None:
        """A key that others can read, of another certificate, with a passphrase, or none at all."""
        path = self.directory / "server.key"
        path.chmod(0o644)
        self._only(self.server, "permissions", "Others than its owner")
        path.chmod(0o600)
        good = path.read_bytes()
        for content, words in [
            (build.key_pem(build.new_key()), "does not belong"),
            (build.key_pem(build.new_key(), b"secret"), "passphrase"),
            (b"nothing", "no PEM private key"),
        ]:
            path.write_bytes(content)
            os.utime(path, (NOW.timestamp(), NOW.timestamp()))
            self._only(self.server, "key", words)
        path.write_bytes(good)
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))
        path.chmod(0o644)
        self._write_chain()
        self.assertEqual([check for check, _ in self._wrong(self.server)], ["certificate", "permissions"])

    def test_purpose(self) -> None:
        """A user's certificate is no server's, nor the other way round, and a user is one user."""
        swapped = replace(self.server, certificate=self.user.certificate, key=self.user.key)
        self.assertEqual([check for check, _ in self._wrong(swapped)], ["purpose", "names"])
        self.assertIn("for no host", self._wrong(swapped)[1][1])
        swapped = replace(self.user, certificate=self.server.certificate, key=self.server.key)
        self.assertEqual([check for check, _ in self._wrong(swapped)], ["purpose", "names"])
        self._only(replace(self.user, user=parse_name("bob")), "names", "user alice, not for bob")
        self.assertEqual(self._wrong(replace(self.user, user=None)), [])

    def _write_chain(self, *certificates: object) -> None:
        path = self.directory / "server.pem"
        path.write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in certificates))  # type: ignore[attr-defined]  # certificates
        os.utime(path, (NOW.timestamp(), NOW.timestamp()))

    def test_chain(self) -> None:
        """A chain is in order, and ends at an authority; another authority may be right."""
        (leaf,) = files.read_certificates(self.directory / "server.pem")
        self._write_chain(leaf, self.signer.certificate)
        self.assertEqual(self._wrong(self.server), [])
        self._write_chain(leaf, certificate_with())
        self._only(self.server, "chain", "out of order")
        self._write_chain(leaf)
        namesake, _ = new_store(Path(self.mktemp()))
        self._only(
            replace(self.server, authorities=namesake.certificate_path("ca"), crl=None),
            "chain",
            "did not sign",
        )
        (self.directory / "ca.pem").write_bytes(certificate_with().public_bytes(Encoding.PEM))
        found = self._look(replace(self.server, crl=None))
        self.assertIn("who is not in", " ".join(e.text for e in found if e.severity is Severity.NOTE))

    def test_no_authority(self) -> None:
        """A certificate that signs nothing is no authority; the machine's own list needs no file."""
        (self.directory / "ca.pem").write_bytes(certificate_with().public_bytes(Encoding.PEM))
        self._only(replace(self.server, crl=None), "authority", "may not sign certificates")
        self.assertEqual(self._wrong(replace(self.user, authorities=None, crl=None)), [])

    def test_who_can_write(self) -> None:
        """A place that all can write to is as good as no authority at all."""
        self.directory.chmod(0o777)
        self._only(self.server, "permissions", "Everybody on this machine can write")
        self.directory.chmod(0o1777)
        self.assertEqual(self._wrong(self.server), [])
        self.directory.chmod(0o700)
        (self.directory / "ca.pem").chmod(0o666)
        self._only(self.server, "permissions", "ca.pem")
