"""What the authority signs, and when it declines; judged by openssl where it is there."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.names import parse_name
from encchat.pki import authority
from encchat.pki.hosts import parse_host
from encchat.pki.index import Index, State, decode_index, encode_index
from encchat.pki.names import user_of
from encchat.pki.profiles import Role, check_role, check_strength
from tests.pki.support import NO_OPENSSL, NOW, new_authority, openssl

DAY = timedelta(days=1)
HOSTS = [parse_host(text) for text in ("chat.example.org", "127.0.0.1", "::1", "Bücher.example")]


class CertificateTests(SynchronousTestCase):
    """What is in a certificate."""

    def setUp(self) -> None:
        self.index, self.signer = new_authority()

    def _user(self, name: str = "alice") -> x509.Certificate:
        change = authority.issue_user(self.index, self.signer, parse_name(name), NOW)
        return change.records[0].certificate

    def _server(self) -> x509.Certificate:
        change = authority.issue_server(self.index, self.signer, HOSTS, "server", NOW)
        return change.records[0].certificate

    def test_authority(self) -> None:
        """The authority signs leaves and lists, and no authorities, for ten years."""
        certificate = self.signer.certificate
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
        self.assertEqual((constraints.value.ca, constraints.value.path_length), (True, 0))
        self.assertTrue(constraints.critical)
        usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
        self.assertTrue(usage.critical)
        self.assertTrue(usage.value.key_cert_sign and usage.value.crl_sign)
        self.assertFalse(usage.value.digital_signature)
        self.assertEqual(certificate.not_valid_after_utc.year, NOW.year + 10)

    def test_leaves(self) -> None:
        """A leaf signs handshakes, for one purpose and 89 days, and says who signed it."""
        issuer = self.signer.certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
        for certificate, role in [(self._user(), Role.USER), (self._server(), Role.SERVER)]:
            check_role(certificate, role)
            check_strength(certificate)
            usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
            self.assertTrue(usage.critical)
            self.assertTrue(usage.value.digital_signature)
            self.assertFalse(usage.value.key_cert_sign or usage.value.key_encipherment)
            constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
            self.assertEqual((constraints.value.ca, constraints.critical), (False, True))
            self.assertEqual(certificate.not_valid_after_utc, NOW + 89 * DAY)
            key_id = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
            self.assertEqual(key_id.key_identifier, issuer.digest)
            self.assertIsInstance(certificate.public_key(), ec.EllipticCurvePublicKey)

    def test_user(self) -> None:
        """A user's name is in the one URI."""
        self.assertEqual(user_of(self._user("Zoë")).shown, "Zoë")

    def test_server(self) -> None:
        """A server's names and addresses are all there."""
        names = self._server().extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(
            names.get_values_for_type(x509.DNSName), ["chat.example.org", "xn--bcher-kva.example"]
        )
        self.assertEqual(len(names.get_values_for_type(x509.IPAddress)), 2)

    def test_long_host(self) -> None:
        """A host that is too long for a common name stands in a critical alternative name alone."""
        host = parse_host(".".join(["a" * 40] * 4))
        change = authority.issue_server(self.index, self.signer, [host], "server", NOW)
        certificate = change.records[0].certificate
        self.assertEqual(list(certificate.subject), [])
        self.assertTrue(certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).critical)

    def test_end_of_the_authority(self) -> None:
        """A leaf never outlives its authority, and an expired authority signs nothing."""
        ends = self.signer.certificate.not_valid_after_utc
        late = authority.issue_user(self.index, self.signer, parse_name("alice"), ends - DAY)
        self.assertEqual(late.records[0].ends, ends)
        for attempt in (
            lambda: authority.issue_user(self.index, self.signer, parse_name("bob"), ends),
            lambda: authority.issue_server(self.index, self.signer, HOSTS, "server", ends),
            lambda: authority.renew(late.index, self.signer, late.records, ends),
        ):
            self.assertRaises(authority.AuthorityExpired, attempt)

    def test_serials(self) -> None:
        """Serials are random, positive, of at most 20 octets, and never given twice."""
        index = self.index
        for number in range(20):
            index = authority.issue_user(index, self.signer, parse_name(f"user{number}"), NOW).index
        serials = {int(record.serial, 16) for record in index.records}
        self.assertEqual(len(serials), 21)
        self.assertTrue(all(0 < serial < 2**159 for serial in serials))
        self.assertTrue(any(serial > 2**100 for serial in serials))

    def test_serial_taken(self) -> None:
        """One that was given before is drawn again, and so is zero."""
        drawn = iter([int(self.index.authority.serial, 16), 0, 5])
        self.patch(authority.secrets, "randbits", lambda bits: next(drawn))
        self.assertEqual(self._user().serial_number, 5)


class OperationTests(SynchronousTestCase):
    """Issue, renew and revoke, as values."""

    def setUp(self) -> None:
        self.index, self.signer = new_authority()

    def _issue(self, name: str, now: object = NOW) -> None:
        self.index = authority.issue_user(self.index, self.signer, parse_name(name), now).index

    def _serve(self, host: str = "a.example", stem: str = "server", **more: bool) -> authority.Change:
        change = authority.issue_server(self.index, self.signer, [parse_host(host)], stem, NOW, **more)
        self.index = change.index
        return change

    def _states(self, now: object = NOW) -> list[tuple[str, State]]:
        return [(record.name, state) for record, state in self.index.states(now)]

    def test_one_certificate_a_user(self) -> None:
        """A user, however written, gets a second one only when the first is over."""
        self._issue("alice")
        error = self.assertRaises(authority.AlreadyIssued, self._issue, "Alice")
        self.assertIn("ca renew Alice", str(error))
        self._issue("alice", NOW + 90 * DAY)

    def test_after_revocation(self) -> None:
        """After a revocation, a user can have another at once."""
        self._issue("alice")
        gone = authority.to_revoke(self.index, "alice", NOW)
        self.index = authority.revoke(self.index, self.signer, gone, "key-compromise", NOW).index
        self._issue("alice")
        self.assertEqual(self._states(), [("alice", State.REVOKED), ("alice", State.VALID)])

    def test_one_certificate_a_server(self) -> None:
        """A server's files are its own; --as and --force are the ways out."""
        self._serve()
        error = self.assertRaises(authority.ServerAlreadyIssued, self._serve)
        self.assertIn("--force", str(error))
        self.assertRaises(authority.FileTaken, self._serve, "b.example")
        self._serve("b.example", "second")
        self._serve("c.example", force=True)
        self.assertEqual(
            self._states(),
            [("a.example", State.REPLACED), ("b.example", State.VALID), ("c.example", State.VALID)],
        )

    def test_user_and_server_of_one_name(self) -> None:
        """Neither takes the other's files, not even by force."""
        self._issue("alice")
        self.assertRaises(authority.FileTaken, self._serve, "a.example", "alice", force=True)
        self._serve("a.example", "bob")
        self.assertRaises(authority.UserFileTaken, self._issue, "bob")

    def test_renew(self) -> None:
        """A renewal is for the same key and names; the old one holds until its end."""
        self._issue("alice")
        self._serve()
        later = NOW + 60 * DAY
        old = self.index.leaves
        change = authority.renew(self.index, self.signer, old, later)
        self.index = change.index
        self.assertEqual([r.fingerprint for r in change.records], [r.fingerprint for r in old])
        self.assertEqual([r.hosts for r in change.records], [r.hosts for r in old])
        self.assertEqual({r.ends for r in change.records}, {later + 89 * DAY})
        self.assertEqual(dict(change.keys), {})
        self.assertEqual(
            [state for _, state in self.index.states(later)], [State.REPLACED] * 2 + [State.VALID] * 2
        )
        self.assertEqual(
            [state for _, state in self.index.states(NOW + 89 * DAY)],
            [State.EXPIRED] * 2 + [State.VALID] * 2,
        )

    def test_renew_with_new_key(self) -> None:
        """If asked for, with a new key."""
        self._issue("alice")
        change = authority.renew(self.index, self.signer, self.index.leaves, NOW, new_key=True)
        self.assertNotEqual(change.records[0].fingerprint, self.index.leaves[0].fingerprint)
        self.assertEqual(list(change.keys), [change.records[0].serial])

    def test_due(self) -> None:
        """Due is what ends within 30 days or has ended, is in use, and was not revoked."""
        self._issue("early")
        self._issue("late", NOW + 30 * DAY)
        self._issue("gone")
        gone = authority.to_revoke(self.index, "gone", NOW)
        self.index = authority.revoke(self.index, self.signer, gone, "unspecified", NOW).index

        def due(after: int) -> list[str]:
            return [record.name for record in authority.due(self.index, NOW + after * DAY)]

        self.assertEqual(due(58), [])
        self.assertEqual(due(59), ["early"])
        self.assertEqual(due(100), ["early", "late"])
        again = authority.renew(
            self.index, self.signer, authority.due(self.index, NOW + 59 * DAY), NOW + 59 * DAY
        )
        self.index = again.index
        self.assertEqual(due(59), [])

    def test_crl_due(self) -> None:
        """A list is due from the middle of its life; where there is none, none is due."""
        self.assertFalse(authority.crl_due(self.index, NOW + 1000 * DAY))
        index = authority.publish_crl(self.index, self.signer, NOW).index
        self.assertFalse(authority.crl_due(index, NOW + 14 * DAY))
        self.assertTrue(authority.crl_due(index, NOW + 15 * DAY))

    def test_what_a_word_names(self) -> None:
        """A fingerprint, a user's name, a host, or a server's files."""
        self._issue("Alice")
        self._serve("bücher.example")
        self._serve("b.example", "second")
        alice, first, second = self.index.leaves
        for word, record in [
            ("alice", alice),
            (alice.fingerprint, alice),
            ("bücher.example", first),
            ("xn--bcher-kva.example", first),
            ("server", first),
            ("second", second),
            (second.fingerprint, second),
        ]:
            self.assertEqual(authority.to_revoke(self.index, word, NOW), [record])
            self.assertEqual(authority.to_renew(self.index, word), record)
        for word in (
            "nobody",
            "ca",
            "test CA",
            "",
            "-",
            "SHA256:" + "A" * 43,
            self.index.authority.fingerprint,
        ):
            self.assertRaises(authority.NothingFound, authority.to_revoke, self.index, word, NOW)
            self.assertRaises(authority.NothingFound, authority.to_renew, self.index, word)

    def test_ambiguous(self) -> None:
        """A word for a user and for a server is not guessed at."""
        self._issue("server")
        self._serve()
        self.assertRaises(authority.Ambiguous, authority.to_revoke, self.index, "server", NOW)

    def test_revoke_all_that_holds(self) -> None:
        """What a renewal left valid is revoked with it; what expired needs no more."""
        self._issue("alice")
        later = NOW + 80 * DAY
        for _ in range(2):
            newest = [authority.to_renew(self.index, "alice")]
            self.index = authority.renew(self.index, self.signer, newest, later).index
        self.assertEqual(len(authority.to_revoke(self.index, "alice", later)), 3)
        self.assertEqual(len(authority.to_revoke(self.index, "alice", NOW + 90 * DAY)), 2)
        change = authority.revoke(
            self.index, self.signer, authority.to_revoke(self.index, "alice", later), "superseded", later
        )
        self.assertRaises(authority.NothingFound, authority.to_revoke, change.index, "alice", later)
        self.assertRaises(authority.NothingFound, authority.to_renew, change.index, "alice")

    def test_crl(self) -> None:
        """The list has a rising number, an end in 30 days, serials and reasons, and forgets in time."""
        self._issue("alice")
        self._issue("bob")
        for name, reason in [("alice", "unspecified"), ("bob", "key-compromise")]:
            gone = authority.to_revoke(self.index, name, NOW)
            self.index = authority.revoke(self.index, self.signer, gone, reason, NOW).index
        crl = x509.load_pem_x509_crl(self.index.crl.encode())
        self.assertEqual(crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number, 2)
        self.assertEqual(crl.next_update_utc, NOW + 30 * DAY)
        self.assertTrue(crl.is_signature_valid(self.signer.certificate.public_key()))
        entries = {entry.serial_number: entry for entry in crl}
        alice, bob = (entries[int(record.serial, 16)] for record in self.index.leaves)
        self.assertEqual(len(alice.extensions), 0)
        reason = bob.extensions.get_extension_for_class(x509.CRLReason).value.reason
        self.assertEqual(reason, x509.ReasonFlags.key_compromise)
        later = authority.publish_crl(self.index, self.signer, NOW + (89 + 30) * DAY).index
        self.assertEqual(len(x509.load_pem_x509_crl(later.crl.encode())), 0)
        self.assertEqual(later.crl_number, 3)

    def test_index_round_trip(self) -> None:
        """The index says the same after it was written and read."""
        self._issue("Zoë")
        self._serve()
        index = authority.publish_crl(self.index, self.signer, NOW).index
        self.assertEqual(decode_index(encode_index(index)), index)
        self.assertEqual(index.leaves[0].user, parse_name("Zoë"))
        self.assertIsNone(index.leaves[1].user)

    def test_bad_index(self) -> None:
        """What is no index is refused."""
        good = encode_index(self.index)
        for data in (
            b"",
            b"[]",
            b"{}",
            good[: len(good) // 2],
            good.replace(b'"version": 1', b'"version": 2'),
            good.replace(b'"ca",', b'"king",'),
            encode_index(Index()),
        ):
            self.assertRaises(ValueError, decode_index, data)


class OpensslTests(SynchronousTestCase):
    """Others understand what we make."""

    skip = NO_OPENSSL

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        index, signer = new_authority()
        index = authority.issue_server(index, signer, HOSTS, "server", NOW).index
        for name in ("alice", "bob"):
            index = authority.issue_user(index, signer, parse_name(name), NOW).index
        gone = authority.to_revoke(index, "bob", NOW)
        index = authority.revoke(index, signer, gone, "key-compromise", NOW).index
        for record in index.records:
            self._write(f"{record.stem}.pem", record.pem)
        self._write("crl.pem", index.crl)

    def _write(self, name: str, text: str) -> None:
        (self.directory / name).write_text(text)

    def _verify(self, name: str, purpose: str, *more: str) -> tuple[int, str]:
        at = self.directory
        strict = ["-x509_strict", "-check_ss_sig", "-crl_check", "-CRLfile", at / "crl.pem"]
        arguments = ["-CAfile", at / "ca.pem", *strict, "-purpose", purpose, *more, at / f"{name}.pem"]
        done = openssl("verify", *arguments, at=NOW + DAY)
        return done.returncode, done.stdout + done.stderr

    def test_good(self) -> None:
        """Each is good for its own purpose and host, by the strict rules."""
        self.assertEqual(self._verify("server", "sslserver")[0], 0, self._verify("server", "sslserver"))
        self.assertEqual(self._verify("alice", "sslclient")[0], 0, self._verify("alice", "sslclient"))
        self.assertEqual(self._verify("server", "sslserver", "-verify_hostname", "chat.example.org")[0], 0)
        self.assertEqual(self._verify("server", "sslserver", "-verify_ip", "127.0.0.1")[0], 0)

    def test_bad(self) -> None:
        """And for no other, and not when revoked."""
        for name, purpose, more, why in [
            ("server", "sslclient", [], "purpose"),
            ("alice", "sslserver", [], "purpose"),
            ("server", "sslserver", ["-verify_hostname", "other.example.org"], "mismatch"),
            ("bob", "sslclient", [], "revoked"),
        ]:
            code, said = self._verify(name, purpose, *more)
            self.assertNotEqual(code, 0)
            self.assertIn(why, said)

    def test_crl(self) -> None:
        """The list is read and its signature found good."""
        done = openssl(
            "crl", "-in", self.directory / "crl.pem", "-CAfile", self.directory / "ca.pem", "-noout", "-text"
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("verify OK", done.stderr + done.stdout)
        self.assertIn("Key Compromise", done.stdout)
        self.assertIn("CRL Number", done.stdout)
