"""docs/ciphers.md: its code is extracted, installed as a plugin, and put through the whole contract.

Also that the contract finds what is wrong with a bad cipher: the example is broken in one place after the
other, and each time a named test must fail.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.python.failure import Failure
from twisted.trial.reporter import TestResult
from twisted.trial.unittest import SynchronousTestCase, TestCase

import encchat
from encchat.ciphers.registry import client_cipher, find_ciphers, help_ciphers, server_cipher
from encchat.ciphers.testing import Recorder
from encchat.ciphers.testing.harness import RecorderFactory
from encchat.ciphers.testing.streams import Pusher, noise
from tests.ciphers.deadlines import patient
from twisted import plugins

ROOT = Path(encchat.__file__).parent.parent
PAGE = (ROOT / "docs" / "ciphers.md").read_text("utf-8")
PLUGIN, MODULE, TESTS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

_page: dict[str, Any] = {"__name__": __name__}
exec(compile(TESTS, "docs/ciphers.md", "exec"), _page)


def install(case: SynchronousTestCase, module: str = MODULE) -> Path:
    """The example as a package of its own, found for as long as the test runs."""
    root = Path(case.mktemp()).absolute()
    directory = root / "twisted" / "plugins"
    directory.mkdir(parents=True)
    (directory / "psk_plugin.py").write_text(PLUGIN, "utf-8")
    (root / "psk_cipher.py").write_text(module, "utf-8")
    case.patch(sys, "path", [str(root), *sys.path])
    case.patch(plugins, "__path__", [str(directory), *plugins.__path__])
    for name in ("psk_cipher", "twisted.plugins.psk_plugin"):
        case.addCleanup(sys.modules.pop, name, None)
    return root


class Ended(Recorder):
    """A recorder that can be awaited."""

    def __init__(self) -> None:
        super().__init__()
        self.ended: Deferred[None] = Deferred()

    def connectionLost(self, reason: Failure = Failure(ConnectionDone())) -> None:  # noqa: B008 -- as Twisted
        super().connectionLost(reason)
        self.ended.callback(None)


class ExampleTests(_page["PskTests"]):
    """The tests that the page tells its readers to run."""

    examples = 40

    def setUp(self) -> None:
        install(self)
        super().setUp()


class PageTests(SynchronousTestCase):
    """What the page says of the example is so."""

    def test_found_in_a_process(self) -> None:
        """Another package's twisted/plugins on PYTHONPATH is enough, and the plugin imports no cipher."""
        root = install(self)
        code = (
            "import sys; from encchat.ciphers.registry import find_ciphers; print(*sorted(find_ciphers()));"
            "print(*[m for m in sys.modules if m.split('.')[0] in ('psk_cipher', 'cryptography', 'OpenSSL')"
            " or m == 'twisted.internet.reactor'])"
        )
        environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{ROOT}"}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            cwd=root,
        )
        found, imported = done.stdout.split("\n")[:2]
        self.assertEqual(found.split(), ["psk", "rsa", "tls"])
        self.assertEqual(imported, "", done.stderr)

    def test_listed(self) -> None:
        """--help-ciphers has it, with its argument and its default."""
        install(self)
        self.assertIn("psk", find_ciphers())
        self.assertIn("psk: one key that both sides have in a file", help_ciphers())
        self.assertIn(
            "key=...  the file with the key, 64 hexadecimal digits (default: psk.key)", help_ciphers()
        )

    def test_the_table_is_whole(self) -> None:
        """Every method of the layer that the page's tables name exists, and the other way round."""
        from encchat.ciphers.layer import CipherLayer

        named = set(re.findall(r"^\| `(\w+)\(", PAGE, re.MULTILINE)) | {"release"}
        ours = {
            name
            for name, value in vars(CipherLayer).items()
            if callable(value) and not name.startswith("_") and (name.startswith("cipher") or name in named)
        }
        self.assertEqual(named, ours)


class SocketTests(TestCase):
    """The example over real TCP on loopback, where the transport is Twisted's own."""

    def setUp(self) -> None:
        patient(self)

    async def talk(self, client: Ended, server: Ended) -> None:
        """Connect the two, and wait until both have ended."""
        root = install(self)
        (root / "psk.key").write_text("ef" * 32)
        ciphers = [
            make("psk:key=" + str(root / "psk.key"), root / make.__name__)
            for make in (server_cipher, client_cipher)
        ]
        for cipher in ciphers:
            cipher.prepare()
            cipher.start(reactor)
        listening = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await listening.listen(ciphers[0].wrap(RecorderFactory(server)))
        self.addCleanup(port.stopListening)
        connecting = TCP4ClientEndpoint(reactor, "127.0.0.1", port.getHost().port)
        await connecting.connect(ciphers[1].wrap(RecorderFactory(client), "127.0.0.1", lambda claim: None))
        for recorder in (client, server):
            await recorder.ended

    async def test_the_last_words(self) -> None:
        """All that a side wrote before it closed arrives, although the peer never stops writing."""
        said = bytes(200_000) + b"closing: full"

        class Server(Ended):
            def secure(self) -> None:
                self.secure_transport.write(said)
                self.secure_transport.loseConnection()

        class Client(Ended):
            def secure(self) -> None:
                self.secure_transport.write(bytes(2_000_000))

        client, server = Client(), Server()
        await self.talk(client, server)
        self.assertEqual(len(client.received), len(said))
        self.assertEqual(client.received, said)
        for recorder in (client, server):
            self.assertIsInstance(recorder.reason, ConnectionDone)

    async def test_back_pressure(self) -> None:
        """A producer over a socket is paused by a reader that pauses, and all arrives in the end."""

        class Server(Ended):
            def secure(self) -> None:
                self.secure_transport.pauseProducing()
                reactor.callLater(0, self.secure_transport.resumeProducing)

        class Client(Ended):
            def secure(self) -> None:
                self.source = Pusher(self.secure_transport, noise(8_000_000))
                self.secure_transport.registerProducer(self.source, True)
                self.source.resumeProducing()
                self.secure_transport.loseConnection()

        client, server = Client(), Server()
        await self.talk(client, server)
        self.assertGreater(client.source.pauses, 0)
        self.assertEqual(server.received, client.source.data)
        for recorder in (client, server):
            self.assertIsInstance(recorder.reason, ConnectionDone)

    async def test_an_abort(self) -> None:
        """An abort is one on both sides."""

        class Server(Ended):
            def secure(self) -> None:
                self.secure_transport.abortConnection()

        client, server = Ended(), Server()
        await self.talk(client, server)
        self.assertIsInstance(server.reason, ConnectionAborted)
        self.assertIsInstance(client.reason, ConnectionLost)


@dataclass(frozen=True)
class Fault:
    """What is wrong with the example once ``changes`` are made to it, and the test that must see it."""

    what: str
    test: str
    changes: tuple[tuple[str, str], ...]


def fault(what: str, test: str, *texts: str) -> Fault:
    """A fault made by replacing the first, third, ... of ``texts`` with the one that follows it."""
    return Fault(what, test, tuple(zip(texts[::2], texts[1::2], strict=True)))


CHECK = "not hmac.compare_digest("
COUNTED_IN, COUNTED_OUT = 'self.received.to_bytes(12, "big")', 'self.sent.to_bytes(12, "big")'
KEYS = "(ChaCha20Poly1305(derive(s)) for s in (self.side, OPPOSITE[self.side]))"
TAMPERED = "raise BrokenRecord() from None"
METHODS = "    # ---- the handshake;"
STEP = "        self.step = self.read_proof\n"

FAULTS = (
    fault("no proof is checked", "test_a_replay", CHECK, "False and ("),
    fault("any client is let in", "test_a_stranger", CHECK, "False and ("),
    fault(
        "trust is never asked",
        "test_a_server_that_is_not_trusted",
        "self.trust(ServerClaim",
        "str(ServerClaim",
    ),
    fault("one side does not count", "test_one_stream", COUNTED_IN, "bytes(12)"),
    fault("nobody counts", "test_a_record_twice", COUNTED_IN, "bytes(12)", COUNTED_OUT, "bytes(12)"),
    fault("one key for both ways", "test_a_reflection", KEYS, '[ChaCha20Poly1305(derive("both"))] * 2'),
    fault("the nonces are not fresh", "test_a_replay", "secrets.token_bytes(32)", "bytes(32)"),
    fault("no closing message", "test_a_proper_close", "        self.write_record(CLOSE)\n", ""),
    fault(
        "a broken record is an end",
        "test_a_flipped_bit_of_the_stream",
        TAMPERED,
        "return self.peerClosed()",
    ),
    fault(
        "any end is a proper one",
        "test_a_truncation",
        METHODS,
        "    def cipherEnded(self):\n        self._peer_closed = True\n\n" + METHODS,
    ),
    fault(
        "nothing is encrypted",
        "test_nothing_shows",
        "self.seal.encrypt(nonce, plain, header)",
        "plain + bytes(16)",
        "self.open.decrypt(nonce, record[2:], record[:2])",
        "record[2:-16]",
    ),
    fault(
        "another server is claimed",
        "test_the_client_is_asked_first",
        'self.cipher.identity_of("server")',
        'self.cipher.identity_of("x")',
    ),
    fault(
        "another peer is shown",
        "test_each_sees_the_other",
        "self.cipher.identity_of(OPPOSITE[self.side])",
        "self.cipher.identity",
    ),
    fault("another protocol", "test_each_sees_the_other", 'b"encchat/1"', "None"),
    fault(
        "told before the proof",
        "test_a_truncated_handshake",
        STEP,
        STEP + "        self.established(b'encchat/1', self.cipher.identity)\n",
    ),
    fault(
        "whole records are expected",
        "test_any_segments_of_the_stream",
        "max(size, 2)",
        "len(self.buffer)",
    ),
    fault("a long write is cut short", "test_sizes", "range(0, len(data), PIECE)", "range(0, 1, PIECE)"),
    fault(
        "the client says who it is first",
        "test_a_server_that_is_not_trusted",
        "    def cipherStarted(self):\n",
        "    def cipherStarted(self):\n"
        '        if self.side == "client":\n'
        "            self.transport.write(self.cipher.identity.fingerprint.encode())\n",
    ),
    fault(
        "a factory that builds nothing is not expected",
        "test_a_factory_that_builds_nothing",
        "return CipherFactory(factory, ",
        "return Careless(factory, ",
        "def server(place)",
        "class Careless(CipherFactory):\n"
        "    def buildProtocol(self, address):\n"
        "        return self.layer(self.wrapped.buildProtocol(address), address)\n\n\n"
        "def server(place)",
    ),
    fault(
        "attributes shine through",
        "test_nothing_below_shines_through",
        METHODS,
        "    def __getattr__(self, name):\n"
        '        return getattr(self.__dict__["transport"], name)\n\n' + METHODS,
    ),
    fault(
        "a timer is left",
        "test_sizes",
        "        self.reactor = reactor\n",
        "        self.reactor = reactor\n        reactor.callLater(99, print)\n",
    ),
    fault(
        "connections are kept",
        "test_nothing_is_kept",
        "        self.cipher, self.trust",
        "        kept.append(self)\n        self.cipher, self.trust",
        "PIECE = ",
        "kept = []\nPIECE = ",
    ),
    fault(
        "the socket is closed at once",
        "test_closing_while_the_other_writes",
        "return True  # the peer",
        "return False  # the peer",
    ),
    fault(
        "the end does not wait for a producer",
        "test_a_streaming_producer",
        METHODS,
        "    def loseConnection(self):\n        self._finish()\n\n" + METHODS,
    ),
    fault(
        "a pause is not kept",
        "test_pausing_within_a_delivery",
        METHODS,
        "    def pauseProducing(self):\n        pass\n\n" + METHODS,
    ),
    fault(
        "no deadline",
        "test_silence",
        METHODS,
        "    def _too_slow(self):\n        pass\n\n" + METHODS,
    ),
)


class FaultTests(SynchronousTestCase):
    """The contract finds each of the FAULTS."""


def _finds(fault: Fault) -> Callable[[SynchronousTestCase], None]:
    def find(self: SynchronousTestCase) -> None:
        broken = MODULE
        for old, new in fault.changes:
            self.assertIn(old, broken)
            broken = broken.replace(old, new)

        class Broken(_page["PskTests"]):
            shrink = False

            def setUp(self) -> None:
                install(self, broken)
                super().setUp()

        result = TestResult()
        Broken(fault.test).run(result)
        self.assertEqual(result.testsRun, 1)
        self.assertFalse(result.wasSuccessful(), f"{fault.test} found nothing")

    find.__doc__ = fault.what
    return find


for _fault in FAULTS:
    setattr(FaultTests, f"test_{_fault.what.replace(' ', '_')}", _finds(_fault))
