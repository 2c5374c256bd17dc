"""New certificates and revocation lists while connections are open: by SIGHUP, and when the files change."""

from __future__ import annotations

import gc
import os
import weakref
from datetime import datetime, timedelta
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.testing import Recorder
from encchat.ciphers.tls import failures
from encchat.ciphers.tls.cipher import REMINDER, TlsServer
from encchat.ciphers.tls.watch import INTERVAL, FileWatch
from encchat.pki.profiles import fingerprint_of
from tests.ciphers.tls.authority import DAY, NOW, Authority, write_crl, write_set
from tests.ciphers.tls.rig import RawPeer, TlsCase, place, raw_context

#: How often the files are read again while connections talk; bench/reload.py does it to a process.
RELOADS = 1000 if os.environ.get("ENCCHAT_SOAK") else 50


class ReloadCase(TlsCase):
    """A server, and somebody who is connected."""

    def setUp(self) -> None:
        super().setUp()
        self.authority = Authority()
        self.made = write_set(self.home, self.authority, "alice", "bob")
        self.now = NOW
        self.cipher = self._ready(TlsServer(place(self.home, "", certs=self.home), now=lambda: self.now))

    def connected(self, name: str = "alice") -> tuple[RawPeer, Recorder]:
        """Somebody who comes in."""
        peer, recorder = self.raw_client(raw_context(self.made[name]), self.cipher)
        self.assertEqual(recorder.completed, 1)
        return peer, recorder

    def served(self, peer: RawPeer) -> str:
        """The fingerprint that a client saw."""
        certificate = peer.tls.get_peer_certificate(as_cryptography=True)
        assert certificate is not None
        return fingerprint_of(certificate)

    def assert_open(self, peer: RawPeer, recorder: Recorder) -> None:
        """Both ways."""
        before = len(peer.received), len(recorder.received)
        peer.say(b"ping")
        recorder.secure_transport.write(b"pong")
        for link in self.links:
            link.flush()
        self.assertEqual((len(peer.received), len(recorder.received)), (before[0] + 4, before[1] + 4))


class HangupTests(ReloadCase):
    """SIGHUP."""

    def test_a_new_certificate(self) -> None:
        """For new connections; those that are open stay as they are."""
        old = self.connected()
        renewed = self.authority.server()
        renewed.write(self.home, "server")
        self.cipher.reload()
        self.assertEqual(self.cipher.identity.fingerprint, fingerprint_of(renewed.certificate))
        new = self.connected()
        self.assertEqual(self.served(new[0]), fingerprint_of(renewed.certificate))
        self.assertEqual(self.served(old[0]), fingerprint_of(self.made["server"].certificate))
        self.assert_open(*old)
        self.assert_open(*new)
        self.assertEqual(len(self.log.having("New certificates are in force")), 1)

    def test_the_revoked_are_cut_at_once(self) -> None:
        """They, and nobody else."""
        alice, bob = self.connected("alice"), self.connected("bob")
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["alice"]))
        self.cipher.reload()
        for link in self.links:
            link.flush()
        self.assertIsInstance(alice[1].reason, failures.Revoked)
        self.assertIn("CN=alice", str(alice[1].reason))
        self.assertIsNotNone(alice[0].lost)
        self.assertIsNone(bob[1].reason)
        self.assert_open(*bob)
        self.assertEqual(len(self.log.having("was revoked by its authority")), 1)
        _, again = self.raw_client(raw_context(self.made["alice"]), self.cipher)
        self.assert_refused(again, failures.Revoked)

    def test_the_same_number_of_another_authority(self) -> None:
        """A serial number that another authority revoked is nobody's business."""
        alice = self.connected()
        other = Authority("Other CA")
        other.revoked.append(self.made["alice"].certificate.serial_number)
        (self.home / "ca.pem").write_bytes(self.authority.pem + other.pem)
        write_crl(self.home / "crl.pem", self.authority.crl(), other.crl())
        self.cipher.reload()
        self.assertEqual(len(self.log.having("New certificates are in force")), 1)
        self.assert_open(*alice)
        self.connected()

    def test_revoked_within_the_handshake(self) -> None:
        """A handshake that began before the list was read is judged by the new one, and a client that has
        shown nothing yet is not in the way."""
        recorder = Recorder()
        peer = RawPeer(raw_context(self.made["alice"]))
        server = self.serve(self.cipher, recorder)
        link = self.link(peer, server)
        self.assertEqual(recorder.completed, 1)
        recorder = Recorder()
        peer = RawPeer(raw_context(self.made["alice"]))
        link = type(link)(self.reactor, peer, self.serve(self.cipher, recorder))
        self.links.append(link)
        link.pump()
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["alice"]))
        self.cipher.reload()
        self.assertEqual(recorder.events, ["connectionMade"])
        link.flush()
        self.assert_refused(recorder, failures.Revoked)

    def test_bad_files_change_nothing(self) -> None:
        """The old ones stay in force, and the log says why."""
        contents = {path: path.read_bytes() for path in self.home.glob("*.*")}
        old = self.connected()
        for name, change, words in (
            ("server.pem", b"garbage", "holds no PEM certificate"),
            ("server.pem", self.authority.server().pem, "Was only one of them replaced?"),
            ("server.key", b"", "holds no PEM private key"),
            ("ca.pem", b"garbage", "holds no PEM certificate"),
            ("crl.pem", b"garbage", "revocation list"),
            ("crl.pem", None, "any more"),
            ("crl.pem", _crl(Authority("Other CA")), "no authority in"),
            ("crl.pem", _crl(self.authority, updated=NOW - 5 * DAY), "let the revoked in again"),
            ("server.pem", None, "There is no file"),
        ):
            path = self.home / name
            if change is None:
                path.unlink()
            else:
                path.write_bytes(change)
            self.cipher.reload()
            (line,) = self.log.having("The certificates in force stay")
            self.assertIn(words, line)
            self.log.events.clear()
            self.assertEqual(
                self.served(self.connected()[0]), fingerprint_of(self.made["server"].certificate)
            )
            self.assert_open(*old)
            path.write_bytes(contents[path])
            path.chmod(0o600)
        (self.home / "server.key").chmod(0o644)
        self.cipher.reload()
        self.assertEqual(len(self.log.having("chmod 600")), 1)

    def test_an_expired_certificate_changes_nothing(self) -> None:
        self.authority.server(ends=NOW - DAY, begins=NOW - 9 * DAY).write(self.home, "server")
        self.cipher.reload()
        self.assertEqual(len(self.log.having("expired 1 day ago")), 1)
        self.connected()

    def test_a_new_authority(self) -> None:
        """Who came in under the old one stays; he does not come in again."""
        old = self.connected()
        other = Authority("Next CA")
        made = write_set(self.home, other, "alice")
        self.cipher.reload()
        self.assert_open(*old)
        _, recorder = self.raw_client(raw_context(self.made["alice"]), self.cipher)
        self.assert_refused(recorder, failures.UnknownAuthority)
        self.made = made
        self.connected()

    def test_pins(self) -> None:
        """There is nothing to expire, and nothing to revoke; a reload harms nobody."""
        server, client = self.server(trust="pin"), self.client(trust="pin")
        above, below, link = self.both(client, server)
        server.reload()
        client.reload()
        above.secure_transport.write(b"still there?")
        link.flush()
        self.assertEqual(below.received, b"still there?")

    def test_the_server_is_revoked(self) -> None:
        """A client that stays connected cuts a server whose certificate was revoked, too."""
        client = self.client()
        above, _, link = self.both(client, self.cipher)
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["server"]))
        client.reload()
        link.flush()
        self.assertIsInstance(above.reason, failures.Revoked)
        self.assertIn("The server's certificate", str(above.reason))

    def test_the_end_frees_memory(self) -> None:
        """OpenSSL's state of a connection goes with it, without waiting for Python's collector."""
        peer, recorder = self.connected()
        held = weakref.ref(recorder.transport._tls)
        gc.disable()
        self.addCleanup(gc.enable)
        self.links.pop().cut()
        self.assertIsNotNone(peer.lost)
        self.assertIsNone(held())

    def test_many(self) -> None:
        """Reloads under traffic: nobody is dropped, no descriptor and no context stays behind."""
        peers = [self.connected() for _ in range(5)]
        contexts: list[weakref.ref[SSL.Context]] = []
        gc.collect()  # what other tests left is not to be closed meanwhile
        descriptors = len(os.listdir("/proc/self/fd"))
        for number in range(RELOADS):
            if number % 10 == 0:
                self.authority.server().write(self.home, "server")
            self.cipher.reload()
            contexts.append(weakref.ref(self.cipher._context))
            for peer in peers:
                self.assert_open(*peer)
            passing, recorder = self.connected()
            recorder.secure_transport.loseConnection()
            self.links.pop().flush()
            self.assertIsNotNone(passing.lost)
        self.assertEqual(len(os.listdir("/proc/self/fd")), descriptors)
        del passing, recorder
        gc.collect()
        self.assertEqual(len([context for context in contexts if context() is not None]), 1)
        self.assertEqual(len(self.cipher._live), len(peers))


class WatchingTests(ReloadCase):
    """The service sees by itself that files were exchanged."""

    def passing(self, seconds: float) -> None:
        """Time goes by."""
        for _ in range(int(seconds / INTERVAL)):
            self.reactor.advance(INTERVAL)

    def test_within_a_minute(self) -> None:
        renewed = self.authority.server()
        renewed.write(self.home, "server")
        self.passing(60)
        self.assertEqual(self.cipher.identity.fingerprint, fingerprint_of(renewed.certificate))
        self.assertEqual(len(self.log.having("New certificates are in force")), 1)
        self.passing(600)
        self.assertEqual(len(self.log.having("New certificates are in force")), 1)

    def test_a_revocation_list(self) -> None:
        """Also one that was not there before."""
        alice = self.connected()
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["alice"]))
        self.passing(60)
        self.links[0].flush()
        self.assertIsInstance(alice[1].reason, failures.Revoked)

    def test_half_written(self) -> None:
        """A certificate whose key comes a little later is not read before."""
        renewed = self.authority.server()
        (self.home / "server.pem").write_bytes(renewed.pem)
        self.passing(INTERVAL)
        (self.home / "server.key").write_bytes(renewed.key_pem)
        self.passing(INTERVAL)
        self.assertEqual(self.log.having("certificates"), [])
        self.passing(INTERVAL)
        self.assertEqual(len(self.log.having("New certificates are in force")), 1)

    def test_bad_files_are_told_once(self) -> None:
        """And read again as soon as they change again."""
        good = (self.home / "server.pem").read_bytes()
        (self.home / "server.pem").write_bytes(b"garbage")
        self.passing(600)
        self.assertEqual(len(self.log.having("The certificates in force stay")), 1)
        (self.home / "server.pem").write_bytes(good)
        self.passing(60)
        self.assertEqual(len(self.log.having("New certificates are in force")), 1)

    def test_a_hangup_is_not_followed_by_the_watch(self) -> None:
        self.authority.server().write(self.home, "server")
        self.cipher.reload()
        self.passing(600)
        self.assertEqual(len(self.log.having("New certificates are in force")), 1)


class ReminderTests(ReloadCase):
    """What expires is said before it does."""

    def warnings(self) -> list[str]:
        """The warnings since the last time."""
        lines = [
            line
            for event, line in zip(self.log.events, self.log.lines, strict=True)
            if event["log_level"].name == "warn"
        ]
        self.log.events.clear()
        return lines

    def test_every_day(self) -> None:
        """From two weeks before the end of a certificate, a week before that of a revocation list."""
        self.assertEqual(self.warnings(), [])
        self.now = NOW + 22 * DAY
        self.reactor.advance(REMINDER)
        self.assertEqual(self.warnings(), [])
        self.now = NOW + 24 * DAY
        self.reactor.advance(REMINDER)
        (line,) = self.warnings()
        self.assertIn("revocation list", line)
        self.assertIn("within 6 days", line)
        self.assertIn("encchat-admin ca crl", line)
        self.now = NOW + 67 * DAY
        self.reactor.advance(REMINDER)
        lines = self.warnings()
        self.assertEqual(len(lines), 3)
        self.assertIn(f"The certificate {self.home / 'server.pem'} expires in 13 days", lines[0])
        self.assertIn("encchat-admin ca renew", lines[0])
        self.assertIn("CN=Test CA", lines[1])
        self.assertIn("everybody is refused until it is renewed", lines[2])

    def test_at_the_start(self) -> None:
        """As a note for the person who starts the service, and in the log."""
        write_crl(self.home / "crl.pem", self.authority.crl(ends=NOW + 3 * DAY))
        cipher = self.server()
        self.assertEqual(len(cipher.notes), 1)
        self.assertIn("must be renewed within 2 days", cipher.notes[0])
        self.assertEqual(self.warnings(), list(cipher.notes))

    def test_after_a_reload(self) -> None:
        write_crl(self.home / "crl.pem", self.authority.crl(ends=NOW + 3 * DAY))
        self.cipher.reload()
        self.assertEqual(len(self.warnings()), 1)

    def test_stopping(self) -> None:
        """Nothing is left when the cipher stops, and it may be stopped before it was started."""
        self.cipher.stop()
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        TlsServer(place(self.home, "", certs=self.home)).stop()


class FileWatchTests(SynchronousTestCase):
    """The watch by itself."""

    def test_what_is_a_change(self) -> None:
        """Content, replacement, appearance, disappearance and permissions are; a look is not."""
        clock, changes = Clock(), []
        path = Path(self.mktemp())
        watch = FileWatch(clock, lambda: (path,), lambda: changes.append(clock.seconds()))
        watch.start()
        for change in (
            lambda: path.write_bytes(b"one"),
            lambda: os.utime(path, ns=(1, 1)),
            lambda: path.chmod(0o600),
            lambda: (path.with_suffix(".new").write_bytes(b"two"), path.with_suffix(".new").replace(path)),
            path.unlink,
        ):
            change()
            clock.advance(INTERVAL)
            self.assertEqual(changes, [])
            clock.advance(INTERVAL)
            self.assertEqual(len(changes), 1)
            changes.clear()
            clock.pump([INTERVAL] * 5)
            self.assertEqual(changes, [])
        self.assertLessEqual(2 * INTERVAL, 60)
        watch.stop()
        watch.stop()
        self.assertEqual(clock.getDelayedCalls(), [])


def _crl(authority: Authority, updated: datetime = NOW - timedelta(hours=1)) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return authority.crl(updated=updated).public_bytes(Encoding.PEM)
