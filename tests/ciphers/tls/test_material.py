"""The arguments and files of the tls cipher: which are read, and what is said when one cannot be used."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.interfaces import Place
from encchat.ciphers.registry import client_cipher, server_cipher
from encchat.ciphers.tls import ARGUMENTS, client, server
from encchat.ciphers.tls.cipher import TlsClient, TlsServer
from encchat.ciphers.tls.material import Material, load, sources
from encchat.ciphers.tls.pin import pin_paths
from encchat.core.names import BadName
from encchat.errors import ConfigError, UsageError
from encchat.pki.profiles import fingerprint_of
from tests.ciphers.tls.authority import (
    CLIENT_AUTH,
    DAY,
    NOW,
    SERVER_AUTH,
    Authority,
    new_key,
    write_crl,
    write_set,
)


class FilesCase(SynchronousTestCase):
    """A directory with a whole set."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.authority = Authority()
        self.made = write_set(self.home, self.authority, "alice")

    def refused(
        self, *words: str, side: str = "server", user: str = "alice", **arguments: object
    ) -> ConfigError:
        """These arguments, or the files behind them, are refused in these words."""
        given = {name: str(value) for name, value in (arguments or {"certs": self.home}).items()}
        error = self.assertRaises(ConfigError, self.prepared, side, user, given)
        for word in words:
            self.assertIn(word, str(error))
        self.assertEqual(error.exit_code, 78)
        return error  # type: ignore[no-any-return]  # trial gives the exception

    def prepared(self, side: str, user: str, given: dict[str, str]) -> TlsServer | TlsClient:
        """A cipher that has read its files."""
        cipher = (server if side == "server" else client)(Place(self.home, user, given))
        cipher.prepare()
        return cipher  # type: ignore[return-value]  # it is one of the two


class ArgumentTests(FilesCase):
    """What is said on the command line."""

    def test_a_directory(self) -> None:
        where = sources({"certs": "/etc/encchat"}, self.home, server=True, user="")
        self.assertEqual(
            [str(path) for path in where.files],
            [
                "/etc/encchat/server.pem",
                "/etc/encchat/server.key",
                "/etc/encchat/ca.pem",
                "/etc/encchat/crl.pem",
            ],
        )
        where = sources({"certs": "/etc/encchat"}, self.home, server=False, user="Alice")
        self.assertEqual(where.certificate, Path("/etc/encchat/alice.pem"))
        where = sources({"certs": "/etc/encchat"}, self.home, server=False, user="server")
        self.assertEqual(where.certificate, Path("/etc/encchat/user%server.pem"))

    def test_single_files(self) -> None:
        """Each can be elsewhere; without a directory there is no revocation list but one that is named."""
        where = sources(
            {"certs": "/a", "cert": "/b/fullchain.pem", "key": "/b/privkey.pem"},
            self.home,
            server=True,
            user="",
        )
        self.assertEqual(
            [str(path) for path in where.files],
            [
                "/b/fullchain.pem",
                "/b/privkey.pem",
                "/a/ca.pem",
                "/a/crl.pem",
            ],
        )
        where = sources({"cert": "/c", "key": "/k", "ca": "~/ca.pem"}, self.home, server=True, user="")
        self.assertEqual(where.files[2], Path.home() / "ca.pem")
        self.assertEqual((where.crl, where.crl_required), (None, False))

    def test_the_registry_knows_them(self) -> None:
        """As a description string, with defaults; a wrong one lists what there is."""
        cipher = server_cipher(f"tls:certs={self.home}", self.home / "data", "")
        cipher.prepare()
        cipher = client_cipher("tls:trust=pin", self.home / "data", "alice")
        cipher.prepare()
        self.assertIsNone(cipher.identity.vouched_name)
        self.assertRaises(UsageError, server_cipher, "tls:trust=nobody", self.home / "data", "")
        self.assertRaises(UsageError, server_cipher, "tls:cerst=/etc", self.home / "data", "")
        self.assertEqual(
            [argument.name for argument in ARGUMENTS], ["trust", "certs", "cert", "key", "ca", "crl"]
        )

    def test_too_few(self) -> None:
        self.refused("tls:certs=DIR", "ca.pem and server.pem and server.key", trust="ca")
        self.refused("ca.pem and alice.pem and alice.key", side="client", trust="ca")
        self.refused("tls:certs=DIR", cert="/a", key="/b")

    def test_contradictions(self) -> None:
        self.refused("with trust=pin there is no certs=", trust="pin", certs=self.home)
        self.refused("anybody with any public certificate", certs=self.home, ca="system")
        self.refused(
            "crl= is the list of a private authority", side="client", certs=self.home, ca="system", crl="/x"
        )

    def test_a_user_without_a_good_name(self) -> None:
        self.assertRaises(BadName, client, Place(self.home, "a/b", {"certs": str(self.home)}))


class FileTests(FilesCase):
    """What is in the files."""

    def test_identities(self) -> None:
        """The server's and the user's, as the other side will see them."""
        made = self.prepared("server", "", {"certs": str(self.home)})
        self.assertEqual(made.identity.fingerprint, fingerprint_of(self.made["server"].certificate))
        self.assertEqual(made.identity.vouched_name, None)
        self.assertEqual(made.identity.summary, "TLS 1.3, P-256 certificate signed by CN=Test CA")
        self.assertEqual(made.notes, ())
        made = self.prepared("client", "Alice", {"certs": str(self.home)})
        self.assertEqual(made.identity.vouched_name, "alice")

    def test_missing(self) -> None:
        for name, side, words in (
            ("server.pem", "server", "encchat-admin ca server HOST"),
            ("server.key", "server", "encchat-admin ca server HOST"),
            ("alice.pem", "client", "Ask the server's operator"),
            ("alice.key", "client", "Ask the server's operator"),
            ("ca.pem", "server", "encchat-admin ca init"),
            ("ca.pem", "client", "encchat-admin ca init"),
        ):
            path = self.home / name
            content = path.read_bytes()
            path.unlink()
            self.refused(str(path), words, side=side)
            path.touch(mode=0o600)
            path.write_bytes(content)

    def test_garbage(self) -> None:
        for name, side in (
            ("server.pem", "server"),
            ("server.key", "server"),
            ("ca.pem", "server"),
            ("crl.pem", "server"),
            ("alice.pem", "client"),
            ("alice.key", "client"),
            ("ca.pem", "client"),
            ("crl.pem", "client"),
        ):
            path = self.home / name
            content = path.read_bytes()
            for garbage in (
                b"",
                b"\x00" * 1000,
                content[: len(content) // 2],
                b"-----BEGIN CERTIFICATE-----\n",
            ):
                path.write_bytes(garbage)
                self.refused(str(path), side=side)
            path.write_bytes(content)

    def test_a_file_too_large(self) -> None:
        (self.home / "ca.pem").write_bytes(b"\n" * ((1 << 20) + 1))
        self.refused("ca.pem", "larger than 1 MiB")

    def test_a_directory_as_a_file(self) -> None:
        self.refused("cannot be used", certs=self.home, ca=self.home)

    def test_a_key_that_others_can_read(self) -> None:
        """Refused, with the command that mends it."""
        path = self.home / "server.key"
        for mode in (0o604, 0o640, 0o644, 0o660, 0o606):
            path.chmod(mode)
            self.refused(f"Run: chmod 600 {path}")
        path.chmod(0o400)
        self.prepared("server", "", {"certs": str(self.home)})
        (self.home / "alice.key").chmod(0o644)
        self.refused(f"Run: chmod 600 {self.home / 'alice.key'}", side="client")

    def test_a_key_with_a_passphrase(self) -> None:
        pem = self.made["server"].key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        (self.home / "server.key").write_bytes(pem)
        self.refused("protected by a passphrase", "openssl pkey -in")

    def test_the_key_of_another(self) -> None:
        self.authority.server().write(self.home, "other")
        self.refused("does not belong to", certs=self.home, key=self.home / "other.key")

    def test_certificates_that_nobody_would_believe(self) -> None:
        """Said at the start, and not by each peer."""
        weak = rsa.generate_private_key(65537, 1024)
        for leaf, words in (
            (self.authority.server(ends=NOW - DAY, begins=NOW - 9 * DAY), "expired 1 day ago"),
            (self.authority.server(begins=NOW + DAY), "Set this machine's clock"),
            (self.authority.server(purposes=[CLIENT_AUTH]), "serverAuth"),
            (self.authority.server(purposes=[]), "no EKU"),
            (self.authority.server(key=weak), "1024 bits"),
        ):
            leaf.write(self.home, "server")
            self.refused(str(self.home / "server.pem"), words)
        self.authority.server(purposes=[SERVER_AUTH, CLIENT_AUTH]).write(self.home, "server")
        self.prepared("server", "", {"certs": str(self.home)})

    def test_certificates_of_users(self) -> None:
        for leaf, words in (
            (self.authority.user("bob"), "for the user bob, not alice. Connect with --name bob"),
            (self.authority.user(names=[]), "names no user"),
            (self.authority.user(purposes=[SERVER_AUTH]), "clientAuth"),
            (self.authority.user(purposes=[SERVER_AUTH, CLIENT_AUTH]), "clientAuth alone"),
            (self.authority.user(ends=NOW - DAY, begins=NOW - 9 * DAY), "Ask the server's operator"),
        ):
            leaf.write(self.home, "alice")
            self.refused(str(self.home / "alice.pem"), words, side="client")

    def test_revocation_lists_that_cannot_be_right(self) -> None:
        """Of another authority, or signed by another key."""
        path = self.home / "crl.pem"
        for crl in (Authority("Other CA").crl(), self.authority.crl(signer=new_key())):
            write_crl(path, crl)
            self.refused(str(path), "no authority in", str(self.home / "ca.pem"))
        path.unlink()
        self.prepared("server", "", {"certs": str(self.home)})
        self.refused(str(path), "encchat-admin ca crl", certs=self.home, crl=path)

    def test_several_authorities_with_lists(self) -> None:
        other = Authority("Other CA", key=rsa.generate_private_key(65537, 2048))
        gone = other.user("mallory")
        (self.home / "ca.pem").write_bytes(self.authority.pem + other.pem)
        write_crl(self.home / "crl.pem", self.authority.crl(), other.crl(gone))
        material = self.material()
        self.assertEqual(len(material.authorities), 2)
        self.assertEqual(
            material.revoked[other.name.public_bytes()], frozenset({gone.certificate.serial_number})
        )

    def test_findings(self) -> None:
        """What ends within the time of warning, and what has ended."""
        self.assertEqual({finding.severity.name for finding in self.material().findings(NOW)}, {"OK"})
        write_crl(self.home / "crl.pem", self.authority.crl(updated=NOW - 2 * DAY, ends=NOW - DAY))
        findings = list(self.material().findings(NOW + 70 * DAY))
        self.assertEqual(
            [(finding.check, finding.severity.name) for finding in findings],
            [("certificate-expiry", "WARNING"), ("certificate-expiry", "WARNING"), ("crl-age", "ERROR")],
        )
        self.assertIn("encchat-admin ca renew", findings[0].fix)

    def material(self) -> Material:
        """What the server has read."""
        return load(sources({"certs": str(self.home)}, self.home, server=True, user=""), NOW)


class PinTests(FilesCase):
    """The keys that pin mode makes."""

    def pinned(self, side: str = "server", user: str = "") -> TlsServer | TlsClient:
        """A cipher in pin mode."""
        return self.prepared(side, user, {"trust": "pin"})

    def test_made_once(self) -> None:
        """The first time makes key and certificate, for their owner alone; later the same are found."""
        first = self.pinned()
        certificate, key = pin_paths(self.home)
        for path in (certificate, key):
            self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        before = certificate.read_bytes(), key.read_bytes()
        self.assertEqual(self.pinned().identity, first.identity)
        self.assertEqual((certificate.read_bytes(), key.read_bytes()), before)
        self.assertEqual(first.identity.summary, "TLS 1.3, P-256 certificate self-signed")
        loaded = x509.load_pem_x509_certificate(before[0])
        self.assertEqual(fingerprint_of(loaded), first.identity.fingerprint)
        self.assertGreater(loaded.not_valid_after_utc, NOW + timedelta(days=365_000))

    def test_a_name_in_it(self) -> None:
        self.pinned("client", "alice")
        loaded = x509.load_pem_x509_certificate(pin_paths(self.home)[0].read_bytes())
        self.assertEqual(loaded.subject.rfc4514_string(), "CN=alice")

    def test_a_crash_between_the_two(self) -> None:
        """The certificate is made again for the key, so that nobody becomes a stranger."""
        first = self.pinned()
        pin_paths(self.home)[0].unlink()
        self.assertEqual(self.pinned().identity, first.identity)

    def test_a_key_that_was_lost(self) -> None:
        """A new identity is nothing to make silently."""
        self.pinned()
        pin_paths(self.home)[1].unlink()
        self.refused("Bring the key back", trust="pin")

    def test_a_key_that_was_exchanged(self) -> None:
        self.pinned()
        certificate, key = pin_paths(self.home)
        pem = new_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        key.write_bytes(pem)
        self.refused("does not belong to", trust="pin")
        certificate.unlink()
        rsa_key = rsa.generate_private_key(65537, 2048)
        key.write_bytes(rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.refused("not a P-256 key", trust="pin")

    def test_an_exposed_key(self) -> None:
        self.pinned()
        pin_paths(self.home)[1].chmod(0o644)
        self.refused("Run: chmod 600", trust="pin")

    def test_a_place_that_cannot_be_written(self) -> None:
        home = self.home / "gone"
        cipher = TlsServer(Place(home, "", {"trust": "pin"}))
        error = self.assertRaises(ConfigError, cipher.prepare)
        self.assertIn(str(home), str(error))
        self.assertFalse(os.path.exists(home))
