"""What the taps see of a conversation over real ciphers, and of a peer that says nonsense."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from twisted.internet.error import ConnectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.ciphers.interfaces import IClientCipher, ISecureTransport, IServerCipher
from encchat.ciphers.testing.harness import Harness, RecorderFactory
from encchat.ciphers.testing.link import CLIENT_ADDRESS, SERVER_ADDRESS
from encchat.wire import encode, encode_all
from encchat.wiretap.seen import Began, Ended, Opened, Proved, Sealed
from encchat.wiretap.taps import Wiretap
from encchat.wiretap.watch import MAX_LINE, Recorder, Watch
from tests.ciphers.rsa.test_rsa_contract import RsaContract
from tests.ciphers.tls.test_contract import PinContractTests
from tests.wiretap.rig import Notes

SECRET = "the password is swordfish"
SAID = (m.Hello((1,), "alice"), m.Send(1, "+lobby", b"i" * 16, "text", SECRET.encode()))


class Conversation(Harness):
    """Both sides are tapped, each by a wiretap of its own."""

    make_plain = RsaContract.make_ciphers

    def make_ciphers(self, directory: Path) -> tuple[IServerCipher, IClientCipher]:
        server, client = self.make_plain(directory)
        self.there, self.here = Notes(), Notes()
        self.time = 0
        tapped = Wiretap([self.there], self.now).server(server), Wiretap([self.here], self.now).client(client)
        return tapped

    def now(self) -> int:
        self.time += 1
        return self.time

    def test_a_conversation(self) -> None:
        session = self.secured()
        session.client.secure_transport.write(encode_all(SAID))
        session.server.secure_transport.writeSequence([encode(m.Pong()), encode(m.Done(7))])
        self.flush(session)
        session.client.secure_transport.loseConnection()
        self.flush(session)
        for notes, client, end in (
            (self.here, True, session.link.client),
            (self.there, False, session.link.server),
        ):
            seen = notes.seen
            self.assertIsInstance(seen[0], Began)
            wire = seen[0].wire
            ends = (CLIENT_ADDRESS, SERVER_ADDRESS) if client else (SERVER_ADDRESS, CLIENT_ADDRESS)
            self.assertEqual(
                (wire.number, wire.client, wire.here, wire.there),
                (1, client, *((x.host, x.port) for x in ends)),
            )
            self.assertIsInstance(seen[-1], Ended)
            (proof,) = notes.of(Proved)
            first = next(index for index, x in enumerate(seen) if isinstance(x, Opened))
            self.assertLess(seen.index(proof), first, "nothing is opened before the handshake is complete")
            messages = [(x.out, x.message) for x in seen if isinstance(x, Opened)]
            self.assertEqual([said for out, said in messages if out is client], list(SAID))
            self.assertEqual([said for out, said in messages if out is not client], [m.Pong(), m.Done(7)])
            sent = b"".join(x.data for x in seen if isinstance(x, Sealed) and x.out)
            self.assertEqual(sent, bytes(end.sent), "exactly what the network carried")
            every = b"".join(x.data for x in seen if isinstance(x, Sealed))
            for plain in (SECRET.encode(), b"swordfish", b"alice", b"+lobby"):
                self.assertNotIn(plain, every)
            parts = [part for x in seen if isinstance(x, Sealed) for part in x.parts]
            self.assertEqual(sum(part.size for part in parts), len(every), "every byte is part of something")
            numbers = [x.number for x in seen if isinstance(x, Opened | Sealed)]
            self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
            times = [x.time for x in seen]
            self.assertEqual(times, sorted(times))

    def test_what_carries_which(self) -> None:
        """Outgoing bytes name the last message before them."""
        session = self.secured()
        session.client.secure_transport.write(encode_all(SAID))
        self.flush(session)
        seen = self.here.seen
        last = [x for x in seen if isinstance(x, Opened)][-1]
        carrier = next(x for x in seen[seen.index(last) :] if isinstance(x, Sealed) and x.out)
        self.assertEqual(carrier.after, last.number)

    def test_a_factory_that_builds_nothing(self) -> None:
        factory = self.server_cipher.wrap(RecorderFactory(None))
        self.assertIsNone(factory.buildProtocol(CLIENT_ADDRESS))
        self.assertEqual(self.there.seen, [])

    def test_two_connections_are_told_apart(self) -> None:
        for _ in range(2):
            self.secured()
        self.assertEqual([seen.wire.number for seen in self.there.of(Began)], [1, 2])


class OverRsa(Conversation, SynchronousTestCase):
    """The cipher rsa, in its hardened profile."""


class OverTls(Conversation, SynchronousTestCase):
    """The cipher tls."""

    make_plain = PinContractTests.make_ciphers


class FakeSecure:
    """A secure transport that only has facts."""

    peerIdentity = None

    def __init__(self, protocol: bytes | None) -> None:
        self.negotiatedProtocol = protocol


class Nonsense(SynchronousTestCase):
    """A peer's error is shown and not raised."""

    def setUp(self) -> None:
        self.notes = Notes()
        recorder = Recorder([self.notes], lambda: 1)
        self.watch = Watch(recorder, "some", True, None)
        self.watch.began(SERVER_ADDRESS, object())

    def prove(self, protocol: bytes | None = b"encchat/1") -> None:
        self.watch.proved(cast(ISecureTransport, FakeSecure(protocol)))

    def seen(self) -> list[tuple[bytes, object, bool]]:
        return [(x.data, x.message, bool(x.trouble)) for x in self.notes.of(Opened)]  # type: ignore[union-attr]

    def test_an_address_without_a_port(self) -> None:
        self.assertEqual(self.watch.wire.there, ("local", 0))

    def test_bytes_before_the_proof_are_not_opened(self) -> None:
        self.watch.opened(False, encode(m.Pong()))
        self.assertEqual(self.seen(), [])

    def test_frames_that_are_none(self) -> None:
        self.prove()
        strange = b"\0\0\0\3\x91\xa1x"
        self.watch.opened(False, encode(m.Pong()) + strange)
        self.watch.opened(False, b"\xff\xff\xff\xff")
        self.watch.opened(False, b"whatever")
        self.assertEqual(
            self.seen(),
            [
                (encode(m.Pong()), m.Pong(), False),
                (strange, None, True),
                (b"\xff\xff\xff\xff", None, True),
                (b"whatever", None, True),
            ],
        )

    def test_a_client_does_not_send_what_a_server_sends(self) -> None:
        self.prove()
        self.watch.opened(True, encode(m.Joined(1, "+x", m.Position(), m.Position(), ())))
        self.assertEqual([trouble for _, _, trouble in self.seen()], [True])

    def test_lines_of_the_classic_profile(self) -> None:
        self.prove(None)
        self.watch.opened(True, b"hello\nwo")
        self.watch.opened(True, b"rld\n")
        self.watch.opened(False, b"x" * (MAX_LINE + 1))
        self.assertEqual(
            [data for data, _, _ in self.seen()], [b"hello\n", b"world\n", b"x" * (MAX_LINE + 1) + b"\n"]
        )

    def test_a_cipher_that_explains_nothing(self) -> None:
        self.watch.sealed(True, b"abc")
        (seen,) = self.notes.of(Sealed)
        assert isinstance(seen, Sealed)
        self.assertEqual((seen.data, seen.parts, seen.after), (b"abc", (), 0))

    def test_the_end_is_clean(self) -> None:
        self.watch.ended(Failure(ConnectionDone("\x1b[2Jgone")))
        (seen,) = self.notes.of(Ended)
        assert isinstance(seen, Ended)
        self.assertNotIn("\x1b", seen.reason)


del RsaContract, PinContractTests  # trial would collect them here too
