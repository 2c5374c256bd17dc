"""PEM files, read with words for what is wrong and written all or nothing."""

from __future__ import annotations

import os
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, x25519
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.trial.unittest import SynchronousTestCase

from encchat.pki import authority, build, files
from tests.pki.support import NOW, certificate_with, malformed, new_authority


class ReadTests(SynchronousTestCase):
    """What is read, and what is refused."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "some.pem"

    def _write(self, data: bytes, mode: int = 0o600) -> Path:
        self.path.write_bytes(data)
        self.path.chmod(mode)
        return self.path

    def test_certificates(self) -> None:
        """All of a chain, with whatever text stands around it."""
        index, _ = new_authority()
        pem = index.authority.pem.encode()
        self.assertEqual(len(files.read_certificates(self._write(b"Bag Attributes\n" + pem + pem))), 2)

    def test_crls(self) -> None:
        """The lists of several authorities in one file."""
        index, signer = new_authority()
        pem = authority.publish_crl(index, signer, NOW).index.crl.encode()
        self.assertEqual(len(files.read_crls(self._write(b"text\n" + pem + b"\n" + pem))), 2)

    def test_missing(self) -> None:
        """A missing file is told with what to do about it."""
        for read in (files.read_certificates, files.read_crls, files.read_bytes):
            error = self.assertRaises(files.FileMissing, read, self.path, "Make one.")
            self.assertIn("Make one.", str(error))
        self.assertRaises(files.FileMissing, files.read_private_key, self.path)
        self.assertRaises(files.FileMissing, files.check_private, self.path)

    def test_malformed(self) -> None:
        """Nothing, anything and too much are refused."""
        crl = b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"
        for data in (
            b"",
            b"\x00\xff",
            crl,
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ):
            self._write(data)
            self.assertRaises(files.FileUnusable, files.read_certificates, self.path)
            self.assertRaises(files.FileUnusable, files.read_crls, self.path)
            self.assertRaises(files.FileUnusable, files.read_private_key, self.path)
        error = self.assertRaises(files.FileUnusable, files.read_certificates, self._write(b"x" * (1 << 21)))
        self.assertIn("larger than 1 MiB", str(error))
        self.assertRaises(files.FileUnusable, files.read_certificates, self.directory)
        beneath = self.path / "beneath"  # a file is no directory
        self.assertRaises(files.FileUnusable, files.check_private, beneath)

    def test_malformed_within(self) -> None:
        """A certificate of which only a part is malformed, or of an unknown kind, is refused at once."""
        broken = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x03\x86\x05a")
        for certificate in (malformed(b"\x0c"), malformed(b"\x03"), certificate_with(broken)):
            path = self._write(certificate.public_bytes(Encoding.PEM))
            self.assertRaises(files.FileUnusable, files.read_certificates, path)

    def test_key(self) -> None:
        """A private key that is the owner's alone."""
        key = build.new_key()
        read = files.read_private_key(self._write(build.key_pem(key)))
        self.assertEqual(read.public_key(), key.public_key())

    def test_exposed(self) -> None:
        """One that others can read is refused, with the command that mends it."""
        for mode in (0o640, 0o604, 0o660, 0o644):
            path = self._write(build.key_pem(build.new_key()), mode)
            error = self.assertRaises(files.KeyExposed, files.read_private_key, path)
            self.assertIn(f"chmod 600 {path}", str(error))

    def test_passphrase(self) -> None:
        """An encrypted key needs its passphrase, the right one; a plain one needs none."""
        key = build.new_key()
        path = self._write(build.key_pem(key, b"secret"))
        self.assertNotIn(build.key_pem(key), path.read_bytes())
        self.assertEqual(files.read_private_key(path, b"secret").public_key(), key.public_key())
        self.assertRaises(files.KeyEncrypted, files.read_private_key, path)
        self.assertRaises(files.WrongPassphrase, files.read_private_key, path, b"Secret")
        self.assertTrue(files.read_private_key(self._write(build.key_pem(key)), b"unneeded"))

    def test_kinds_of_key(self) -> None:
        """A key that cannot sign in TLS 1.3 is refused."""
        for key in (x25519.X25519PrivateKey.generate(), dsa.generate_private_key(2048)):
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            error = self.assertRaises(files.FileUnusable, files.read_private_key, self._write(pem))
            self.assertIn("use P-256", str(error))

    def test_only(self) -> None:
        """One is one."""
        self.assertEqual(files.only(["x"], self.path, "things"), "x")
        error = self.assertRaises(files.FileUnusable, files.only, ["x", "y"], self.path, "things")
        self.assertIn("2 things, not one", str(error))


class WriteTests(SynchronousTestCase):
    """All of it, or nothing."""

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.path = self.directory / "some.pem"

    def test_written(self) -> None:
        """Content and mode are as asked, whatever the umask and whatever was there."""
        self.addCleanup(os.umask, os.umask(0))
        for data, mode in [(b"one", 0o600), (b"two", 0o644)]:
            files.write_file(self.path, data, mode)
            self.assertEqual(self.path.read_bytes(), data)
            self.assertEqual(self.path.stat().st_mode & 0o777, mode)
        self.assertEqual(os.listdir(self.directory), ["some.pem"])

    def test_durable_before_visible(self) -> None:
        """The content is on the disk before the name points to it, and the name before anybody is told."""
        events: list[str] = []
        for name in ("fsync", "replace"):
            real = getattr(os, name)
            self.patch(os, name, lambda *a, real=real, name=name: (events.append(name), real(*a))[1])
        files.write_file(self.path, b"x")
        self.assertEqual(events, ["fsync", "replace", "fsync"])

    def test_failure(self) -> None:
        """A disk that is full leaves what was there, and nothing beside it."""
        files.write_file(self.path, b"old")

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        self.patch(os, "fsync", full)
        error = self.assertRaises(files.FileUnusable, files.write_file, self.path, b"new")
        self.assertIn("No space left", str(error))
        self.assertEqual(self.path.read_bytes(), b"old")
        self.assertEqual(os.listdir(self.directory), ["some.pem"])

    def test_no_directory(self) -> None:
        """Where there is no directory, that is said."""
        self.assertRaises(files.FileUnusable, files.write_file, self.directory / "no" / "x", b"")


class KindTests(SynchronousTestCase):
    """The union of keys that are taken."""

    def test_p256(self) -> None:
        """Ours are."""
        self.assertIsInstance(build.new_key(), files.PrivateKey)
        self.assertIsInstance(build.new_key().curve, ec.SECP256R1)
