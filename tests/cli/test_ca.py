"""``encchat-admin ca``, as a person uses it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pexpect
from click.testing import CliRunner, Result
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12
from twisted.trial.unittest import SynchronousTestCase

from encchat.cli import ca
from encchat.cli.admin import main
from encchat.pki import files
from encchat.pki.names import user_of
from encchat.pki.store import Store
from tests.cli.test_admin import ENVIRONMENT
from tests.pki.support import NO_OPENSSL, NOW, openssl

DAY = timedelta(days=1)


class Admin(SynchronousTestCase):
    """Runs commands on a directory of its own, at a time that stands still."""

    def setUp(self) -> None:
        self.now: datetime = NOW
        self.certs = Path(self.mktemp())

    def invoke(self, *arguments: str | Path, typed: str | None = None) -> Result:
        """One ``encchat-admin ca`` command, which may fail."""
        command, *rest = map(str, arguments)
        full = ["ca", command, *rest, "--dir", str(self.certs)]
        return CliRunner().invoke(main, full, input=typed, obj=lambda: self.now)

    def run_ca(self, *arguments: str | Path, typed: str | None = None) -> str:
        """One that succeeds; what it prints."""
        done = self.invoke(*arguments, typed=typed)
        self.assertEqual(done.exit_code, 0, done.output)
        return done.output

    def fails(self, code: int, *arguments: str | Path, typed: str | None = None) -> str:
        """One that fails with ``code`` and one sentence; the sentence."""
        done = self.invoke(*arguments, typed=typed)
        self.assertEqual(done.exit_code, code, done.output)
        self.assertIsInstance(done.exception, SystemExit)
        self.assertEqual(done.stdout, "")
        lines = done.stderr.strip().splitlines()
        if code != 2 or len(lines) == 1:
            self.assertEqual(len(lines), 1, lines)
        return lines[-1]

    def listed(self) -> list[tuple[str, str]]:
        """Names and states, as programs read them."""
        found = json.loads(self.run_ca("list", "--json"))
        return [(each["name"], each["state"]) for each in found["certificates"]]

    def secret(self, text: str, mode: int = 0o600) -> Path:
        """A passphrase file."""
        path = Path(self.mktemp())
        path.write_text(text)
        path.chmod(mode)
        return path


class LifeTests(Admin):
    """From the first command to the last."""

    def test_whole_life(self) -> None:
        """An authority, a server, users, a renewal and a revocation, as openssl sees them."""
        said = self.run_ca("init", "--name", "Example chat")
        self.assertIn("good until 2036-02-29", said)
        self.run_ca("server", "chat.example.org", "127.0.0.1", "chat.example.org")
        self.assertIn(f"{self.certs}/alice.key", self.run_ca("user", "alice"))
        self.run_ca("user", "Zoë")
        self.assertEqual(self.listed(), [("chat.example.org", "valid"), ("alice", "valid"), ("Zoë", "valid")])
        self.assertEqual(user_of(files.read_certificates(self.certs / "zoë.pem")[0]).shown, "Zoë")
        self.now += 60 * DAY
        key = (self.certs / "alice.key").read_bytes()
        self.assertIn("for the same key", self.run_ca("renew", "alice"))
        self.assertEqual((self.certs / "alice.key").read_bytes(), key)
        said = self.run_ca("revoke", "alice", "--reason", "key-compromise")
        self.assertEqual(said.count("Revoked user alice"), 2)
        self.assertIn("number 1", said)
        self.assertEqual(
            self.listed(),
            [("chat.example.org", "valid"), ("alice", "revoked"), ("Zoë", "valid"), ("alice", "revoked")],
        )
        if NO_OPENSSL:
            return
        for name, good in [("server", True), ("zoë", True), ("alice", False)]:
            verified = openssl(
                "verify", "-crl_check", "-CAfile", self.certs / "ca.pem", "-CRLfile", self.certs / "crl.pem",
                self.certs / f"{name}.pem", at=self.now,
            )  # fmt: skip
            self.assertEqual(verified.returncode == 0, good, verified.stderr)

    def test_table(self) -> None:
        """The list as people read it: days left, state, file; what was replaced only if asked for."""
        self.run_ca("init")
        self.assertIn("nobody was revoked", self.run_ca("list"))
        self.run_ca("user", "alice")
        self.run_ca("user", "server")
        self.now += 80 * DAY
        self.run_ca("renew", "alice")
        lines = self.run_ca("list").splitlines()
        self.assertEqual(lines[0].split(), ["NAME", "ROLE", "STATE", "DAYS", "FILE", "FINGERPRINT"])
        self.assertEqual(lines[1].split()[:5], ["server", "user", "valid", "9", "user%server.pem"])
        self.assertEqual(lines[2].split()[:5], ["alice", "user", "valid", "89", "alice.pem"])
        self.assertIn("replaced", self.run_ca("list", "--all"))
        self.run_ca("revoke", "alice")
        said = self.run_ca("list")
        self.assertIn("revoked  -", said)
        self.assertIn("crl.pem, number 1, must be renewed within 30 days", said)

    def test_json(self) -> None:
        """The list as programs read it."""
        self.run_ca("init")
        self.assertIsNone(json.loads(self.run_ca("list", "--json"))["crl"])
        self.run_ca("server", "a.example", "10.0.0.1")
        self.run_ca("crl")
        found = json.loads(self.run_ca("list", "--json"))
        self.assertEqual(found["crl"]["days_left"], 30)
        self.assertEqual(found["authority"]["role"], "ca")
        (server,) = found["certificates"]
        self.assertEqual(server["hosts"], ["a.example", "10.0.0.1"])
        self.assertEqual(server["days_left"], 89)
        self.assertEqual(datetime.fromisoformat(server["ends"]), NOW + 89 * DAY)
        self.assertIsNone(server["revoked"])

    def test_renew_all_due(self) -> None:
        """Everything that is due, and nothing else, so that it can run every day."""
        self.run_ca("init")
        self.run_ca("user", "alice")
        self.run_ca("crl")
        self.assertEqual(self.run_ca("renew", "--all-due"), "Nothing is due.\n")
        self.now += 20 * DAY
        self.run_ca("user", "bob")
        said = self.run_ca("renew", "--all-due")
        self.assertIn("crl.pem, number 2", said)
        self.assertNotIn("alice", said)
        self.now += 40 * DAY
        said = self.run_ca("renew", "--all-due")
        self.assertIn("alice", said)
        self.assertNotIn("bob", said)
        self.assertIn("number 3", said)

    def test_renew_with_new_key(self) -> None:
        """Renewing twice in one command is once; a new key is a new key."""
        self.run_ca("init")
        self.run_ca("user", "alice")
        key = (self.certs / "alice.key").read_bytes()
        said = self.run_ca("renew", "--new-key", "alice", "ALICE")
        self.assertEqual(said.count("wrote"), 1)
        self.assertNotEqual((self.certs / "alice.key").read_bytes(), key)

    def test_new_hosts(self) -> None:
        """A server's hosts change by --force; a second server has its own files."""
        self.run_ca("init")
        self.run_ca("server", "a.example")
        self.assertIn("--as", self.fails(78, "server", "b.example"))
        self.run_ca("server", "b.example", "--as", "second")
        self.run_ca("server", "a.example", "c.example", "--force")
        self.run_ca("renew", "second")
        self.assertTrue((self.certs / "second.key").exists())

    def test_without_the_key(self) -> None:
        """A renewal needs no user's key, so that it may be gone to its user."""
        self.run_ca("init")
        self.run_ca("user", "alice")
        (self.certs / "alice.key").unlink()
        self.run_ca("renew", "alice")
        self.assertFalse((self.certs / "alice.key").exists())


class RefusalTests(Admin):
    """What goes wrong is one sentence, and changes nothing."""

    def test_no_authority(self) -> None:
        """Nothing works before the authority is made, and nothing is made on the way."""
        for command in (["user", "alice"], ["server", "a.example"], ["list"], ["crl"], ["revoke", "alice"]):
            self.assertIn("encchat-admin ca init", self.fails(78, *command))
        self.assertIn("encchat-admin ca init", self.fails(78, "renew", "--all-due"))
        self.assertIn("encchat-admin ca init", self.fails(78, "export", "alice", "--p12"))
        self.assertFalse(self.certs.exists())

    def test_command_line(self) -> None:
        """A wrong command line is exit code 2."""
        self.run_ca("init")
        for arguments in (
            ["user", "a/b"],
            ["user", "al\x1b[31mice"],
            ["user", "a" * 33],
            ["server"],
            ["server", "a b"],
            ["server", "a.example:9999"],
            ["server", "a.example", "--as", "ca"],
            ["server", "a.example", "--as", "../a"],
            ["server", "a.example", "--as", ".hidden"],
            ["server", "a.example", "--as", "user%server"],
            ["server", "a.example", "--as", ""],
            ["revoke", "nobody"],
            ["revoke", "alice", "--reason", "because"],
            ["renew"],
            ["renew", "alice", "--all-due"],
            ["renew", "nobody"],
            ["export", "nobody", "--p12"],
            ["export", "nobody"],
        ):
            self.assertNotIn("\x1b", self.fails(2, *arguments))
        self.assertEqual(self.listed(), [])
        self.certs = Path(self.mktemp())
        self.fails(2, "init", "--name", "")
        self.fails(2, "init", "--name", "x" * 65)
        self.assertFalse(self.certs.exists())

    def test_again(self) -> None:
        """What exists is never overwritten."""
        self.run_ca("init")
        self.run_ca("server", "a.example")
        self.run_ca("user", "alice")
        before = {path.name: path.read_bytes() for path in self.certs.glob("[!.]*")}
        self.fails(78, "init")
        self.fails(78, "server", "a.example")
        self.fails(78, "user", "Alice")
        (self.certs / "bob.pem").write_text("mine")
        self.assertIn("bob.pem", self.fails(78, "user", "bob"))
        (self.certs / "bob.pem").unlink()
        self.assertEqual({path.name: path.read_bytes() for path in self.certs.glob("[!.]*")}, before)

    def test_authority_key(self) -> None:
        """A lost, exposed, foreign or broken key of the authority is told as what it is."""
        self.run_ca("init")
        key = self.certs / "ca.key"
        good = key.read_bytes()
        key.chmod(0o644)
        self.assertIn(f"chmod 600 {key}", self.fails(78, "user", "alice"))
        key.write_bytes(b"nothing")
        key.chmod(0o600)
        self.assertIn("no PEM private key", self.fails(78, "user", "alice"))
        key.unlink()
        self.assertIn("bring it back", self.fails(78, "user", "alice"))
        other = Path(self.mktemp())
        CliRunner().invoke(main, ["ca", "init", "--dir", str(other)])
        os.replace(other / "ca.key", key)
        self.assertIn("not the key of this", self.fails(78, "user", "alice"))
        key.write_bytes(good)
        self.run_ca("user", "alice")

    def test_expired_authority(self) -> None:
        """An expired authority says so."""
        self.run_ca("init")
        self.now += 3653 * DAY
        self.assertIn("expired on 2036", self.fails(78, "user", "alice"))
        self.assertIn("expired", self.run_ca("list"))

    def test_busy(self) -> None:
        """While another command works, this one gives up after a while."""
        self.run_ca("init")
        self.patch(ca, "Store", partial(Store, patience=0))
        with Store(self.certs).turn():
            self.assertIn("Another encchat-admin", self.fails(78, "user", "alice"))
        self.run_ca("user", "alice")

    def test_unwritable(self) -> None:
        """A place that cannot be written to is told as such."""
        self.certs = Path("/proc/none/certs")
        self.assertIn("/proc/none", self.fails(78, "init"))
        self.certs = Path("/dev/null")
        self.assertIn("/dev/null", self.fails(78, "init"))


class PassphraseTests(Admin):
    """The authority's key under a passphrase."""

    def test_file(self) -> None:
        """From a file: its first line, and no other."""
        right, wrong = self.secret("correct horse\nsecond line\n"), self.secret("wrong")
        self.run_ca("init", "--passphrase-file", right)
        self.assertIn(b"ENCRYPTED", (self.certs / "ca.key").read_bytes())
        self.assertNotIn("correct", (self.certs / "index.json").read_text())
        self.assertIn("--passphrase-file", self.fails(78, "user", "alice"))
        self.assertIn("does not open", self.fails(78, "user", "alice", "--passphrase-file", wrong))
        self.run_ca("user", "alice", "--passphrase-file", right)
        self.run_ca("user", "bob", "--passphrase-file", self.secret("correct horse\r\n"))
        self.assertNotIn(b"ENCRYPTED", (self.certs / "alice.key").read_bytes())

    def test_bad_file(self) -> None:
        """A file that others can read, or with nothing in it, or that is not there."""
        self.assertIn("chmod 600", self.fails(78, "init", "--passphrase-file", self.secret("x", 0o644)))
        self.assertIn("empty", self.fails(2, "init", "--passphrase-file", self.secret("\nx")))
        self.assertIn("no file", self.fails(78, "init", "--passphrase-file", self.mktemp()))
        self.assertIn("larger", self.fails(78, "init", "--passphrase-file", self.secret("x" * 5000)))
        self.assertFalse(self.certs.exists())

    def test_asked(self) -> None:
        """Typed twice when it is made; the two must agree."""
        self.run_ca("init", "--passphrase", typed="secret\nsecret\n")
        self.run_ca("user", "alice", "--passphrase-file", self.secret("secret"))
        self.certs = Path(self.mktemp())
        self.assertNotEqual(self.invoke("init", "--passphrase", typed="one\ntwo\n").exit_code, 0)
        self.assertFalse(self.certs.exists())

    def test_terminal(self) -> None:
        """On a terminal it is asked for, and not shown."""
        self.run_ca("init", "--passphrase-file", self.secret("secret"))
        code = "from encchat.cli.admin import main; main()"
        arguments = ["-c", code, "ca", "user", "alice", "--dir", str(self.certs)]
        for typed, code_, said in [("wrong", 78, "does not open"), ("secret", 0, "alice: wrote")]:
            child = pexpect.spawn(sys.executable, arguments, encoding="utf-8", timeout=180, env=ENVIRONMENT)
            child.expect("Passphrase of .*ca.key: ")
            child.sendline(typed)
            child.expect(pexpect.EOF)
            child.close()
            self.assertIn(said, child.before)
            self.assertNotIn(typed + "\r", child.before)
            self.assertEqual(child.exitstatus, code_)


class ExportTests(Admin):
    """PKCS#12, for the way to a user."""

    def setUp(self) -> None:
        super().setUp()
        self.run_ca("init")
        self.run_ca("user", "Zoë")

    def test_p12(self) -> None:
        """Certificate, key and authority, under a passphrase from a file."""
        self.run_ca("export", "zoë", "--p12", "--passphrase-file", self.secret("secret\n"))
        path = self.certs / "zoë.p12"
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        content = load_pkcs12(path.read_bytes(), b"secret")
        assert content.cert is not None
        self.assertIsNotNone(content.key)
        self.assertEqual(user_of(content.cert.certificate).shown, "Zoë")
        self.assertEqual(content.cert.friendly_name, "Zoë".encode())
        self.assertEqual(len(content.additional_certs), 1)

    def test_openssl(self) -> None:
        """openssl opens it, and makes of it the files that the client reads."""
        out, unpacked = Path(self.mktemp()), Path(self.mktemp())
        self.run_ca("export", "zoë", "--p12", "--out", out, typed="secret\nsecret\n")
        info = openssl("pkcs12", "-info", "-in", out, "-passin", "pass:secret", "-noout")
        self.assertEqual(info.returncode, 0, info.stderr)
        self.assertIn("AES-256-CBC", info.stderr)
        wrong = openssl("pkcs12", "-in", out, "-passin", "pass:other", "-noout")
        self.assertNotEqual(wrong.returncode, 0)
        done = openssl("pkcs12", "-in", out, "-passin", "pass:secret", "-nodes", "-nocerts", "-out", unpacked)
        self.assertEqual(done.returncode, 0, done.stderr)
        unpacked.chmod(0o600)
        (certificate,) = files.read_certificates(self.certs / "zoë.pem")
        self.assertEqual(files.read_private_key(unpacked).public_key(), certificate.public_key())

    if NO_OPENSSL:
        test_openssl.skip = NO_OPENSSL  # type: ignore[attr-defined]  # trial reads it

    def test_overwrite(self) -> None:
        """A file is overwritten by --force alone."""
        secret = self.secret("secret")
        arguments: Sequence[str | Path] = ["export", "zoë", "--p12", "--passphrase-file", secret]
        self.run_ca(*arguments)
        before = (self.certs / "zoë.p12").read_bytes()
        self.assertIn("--force", self.fails(2, *arguments))
        self.assertEqual((self.certs / "zoë.p12").read_bytes(), before)
        self.run_ca(*arguments, "--force")
        self.assertNotEqual((self.certs / "zoë.p12").read_bytes(), before)

    def test_no_key(self) -> None:
        """Without the key there is nothing to pack."""
        (self.certs / "zoë.key").unlink()
        said = self.fails(78, "export", "zoë", "--p12", "--passphrase-file", self.secret("secret"))
        self.assertIn("ca renew --new-key Zoë", said)
        self.assertFalse((self.certs / "zoë.p12").exists())


class ClockTests(SynchronousTestCase):
    """The command's own clock."""

    def test_now(self) -> None:
        """Without one from a test, it is the time of day."""
        certs = Path(self.mktemp())
        CliRunner().invoke(main, ["ca", "init", "--dir", str(certs)])
        begins = Store(certs).load().authority.begins
        self.assertLess(abs(datetime.now(UTC) - begins - timedelta(hours=1)), timedelta(minutes=5))
