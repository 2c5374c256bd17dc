"""The rsa cipher as the registry loads it: its argument, its identity, its notes, its life."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from encchat.ciphers import rsa
from encchat.ciphers.interfaces import IClientCipher, IServerCipher, Place
from encchat.ciphers.rsa.layer import RsaClassicClientLayer, RsaClientLayer, RsaServerLayer
from encchat.ciphers.rsa.primitives import fingerprint_of
from encchat.ciphers.testing import ContractReactor
from encchat.core.identity import is_fingerprint
from encchat.errors import ConfigError, UsageError
from tests.ciphers.rsa.rig import I_S, VECTORS


class Cipher(SynchronousTestCase):
    """In a directory of its own."""

    def place(self, classic: str | None = None) -> Place:
        self.directory = Path(self.mktemp())
        self.directory.mkdir(mode=0o700)
        if classic != "only":  # making an identity takes long; test_keys does it
            path = self.directory / rsa.IDENTITY_FILE
            path.touch(mode=0o600)
            path.write_text(VECTORS["private_keys"]["IS"])
        return Place(self.directory, arguments={} if classic is None else {"classic": classic})

    def start(self, cipher: rsa.RsaServer | rsa.RsaClient) -> ContractReactor:
        reactor = ContractReactor()
        cipher.start(reactor)
        reactor.settle()
        self.addCleanup(self.assertEqual, reactor.getDelayedCalls(), [])
        return reactor

    def test_the_argument_is_explained(self) -> None:
        (argument,) = rsa.ARGUMENTS
        self.assertEqual((argument.name, argument.choices), ("classic", ("yes", "no", "only")))
        self.assertIn("authenticates nobody", argument.help)

    def test_wrong_values_are_said_in_a_sentence(self) -> None:
        for make, value in ((rsa.server, "maybe"), (rsa.client, "maybe"), (rsa.client, "yes")):
            with self.assertRaises(UsageError) as caught:
                make(self.place(value))
            self.assertEqual(caught.exception.exit_code, 2)
            self.assertIn("classic", str(caught.exception))

    def test_a_server(self) -> None:
        for value in (None, "", "yes", "no"):
            cipher = rsa.server(self.place(value))
            cipher.prepare()
            verifyObject(IServerCipher, cipher)
            self.assertTrue(is_fingerprint(cipher.identity.fingerprint))
            self.assertTrue(cipher.identity.authenticated)
            self.assertEqual(cipher.identity.fingerprint, fingerprint_of(I_S.public_key()))
            self.assertEqual(any("classic=no" in note for note in cipher.notes), value != "no")

    def test_a_client(self) -> None:
        for value in (None, "no"):
            cipher = rsa.client(self.place(value))
            cipher.prepare()
            verifyObject(IClientCipher, cipher)
            self.assertTrue(cipher.identity.authenticated)
            self.assertEqual(cipher.notes, ())

    def test_an_identity_is_made_where_there_is_none(self) -> None:
        place = self.place()
        path = place.directory / rsa.IDENTITY_FILE
        path.unlink()
        cipher = rsa.client(place)
        cipher.prepare()
        self.assertEqual(path.stat().st_mode & 0o777, 0o600)
        self.assertNotEqual(cipher.identity.fingerprint, fingerprint_of(I_S.public_key()))

    def test_the_identity_lasts_and_prepare_may_be_repeated(self) -> None:
        place = self.place()
        first, second = rsa.server(place), rsa.server(place)
        for cipher in (first, first, second):
            cipher.prepare()
        self.assertEqual(first.identity, second.identity)

    def test_classic_alone_keeps_nothing(self) -> None:
        for make in (rsa.server, rsa.client):
            cipher = make(self.place("only"))
            cipher.prepare()
            first = cipher.identity
            cipher.prepare()
            self.assertEqual(cipher.identity, first)
            self.assertFalse(first.authenticated)
            self.assertIn("not authenticated", first.summary)
            self.assertEqual(list(self.directory.iterdir()), [])

    def test_only_classic_is_noted(self) -> None:
        self.assertIn("nobody", rsa.server(self.place("only")).notes[0])

    def test_an_unusable_identity_is_told(self) -> None:
        place = self.place()
        (place.directory / rsa.IDENTITY_FILE).write_text("nonsense")
        with self.assertRaises(ConfigError):
            rsa.server(place).prepare()

    def test_what_is_built(self) -> None:
        factory = Factory.forProtocol(Protocol)
        for value in ("yes", "no", "only"):
            server = rsa.RsaServer(self.place(value), rsa.Classic(value))
            server.prepare()
            self.start(server)
            self.assertIsInstance(server.wrap(factory).buildProtocol(None), RsaServerLayer)
            server.reload()
            server.stop()
        for value, kind in (("no", RsaClientLayer), ("only", RsaClassicClientLayer)):
            client = rsa.RsaClient(self.place(value), rsa.Classic(value))
            client.prepare()
            self.start(client)
            self.assertIsInstance(
                client.wrap(factory, "127.0.0.1", lambda claim: None).buildProtocol(None), kind
            )
            client.reload()
            client.stop()

    def test_record_keys_rotate(self) -> None:
        server = rsa.RsaServer(self.place(), rsa.Classic.YES)
        server.prepare()
        reactor = ContractReactor()
        server.start(reactor)
        before = server._record_key.current
        reactor.advance(600)
        reactor.settle()
        self.assertIsNot(server._record_key.current, before)
        server.stop()
        self.assertEqual(reactor.getDelayedCalls(), [])
