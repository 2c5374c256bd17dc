"""``encchat-client``'s options and what stops it, without a process of its own."""

from __future__ import annotations

import gc
import io
import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import TestCase

import encchat
from encchat.cli import client, client_run
from encchat.cli.client import Options, Unforeseen, _main, unforeseen
from encchat.cli.client_classic import CannotListen, run_classic
from encchat.cli.client_run import Program
from encchat.cli.conversation import Conversation
from encchat.client.network.address import parse_address
from encchat.client.network.link import NoConnection
from encchat.client.profile import BadPlace
from encchat.client.store import StoreTooNew, StoreUnusable
from encchat.client.store.lanes import Lane
from encchat.errors import ConfigError, EncchatError, PeerError, UsageError
from tests.process.harness import reserve


def options(*arguments: str) -> Options:
    """What click makes of a command line."""
    context = client.command.make_context("encchat-client", ["--name", "alice", *arguments])
    return Options(**context.params)


def magic() -> bytes:
    """What a backup begins with."""
    from encchat.core.sealed.backup import MAGIC

    return MAGIC


SEND = ("--send", "lobby", "hello")


class CommandLine(TestCase):
    def call(self, *arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with (
            patch.object(sys, "argv", ["encchat-client", *arguments]),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            code = _main()
        return code, out.getvalue(), err.getvalue()

    def test_wrong_options(self) -> None:
        key = "SHA256:" + "A" * 43
        for word, *arguments in (
            ("--bogus", "--bogus"),
            ("99999", "127.0.0.1:99999"),
            ("fingerprint", "--pin", "nonsense"),
            ("--send", "--send", "lobby"),
            ("'+a/b'", "--room", "+a/b"),
            ("--classic", "--listen", "9"),
            ("--json", "--classic", "--json"),
            ("--cipher", "--classic", "--cipher", "tls"),
            ("not empty", "--send", "lobby", ""),
            ("--follow", "--send", "lobby", "x", "--follow"),
            ("--accept-new", "--accept-new", "--pin", key),
            ("-1", "--history", "-1"),
            ("extra", "a", "b"),
            ("name", "--name", "a\x1b[31m\nb"),
        ):
            code, out, err = self.call(*arguments)
            self.assertEqual((code, out, err.count("\n")), (2, "", 1), (arguments, err))
            self.assertTrue(err.startswith("encchat-client: "), err)
            self.assertIn(word, err)
            self.assertNotIn("\x1b", err)

    def test_version_and_help(self) -> None:
        code, out, err = self.call("--version")
        self.assertEqual((code, err), (0, ""))
        self.assertRegex(out, r"\Aencchat-client \d+\.\d+\.\d+\n\Z")
        code, out, err = self.call("--help")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("--accept-new", out)
        code, out, err = self.call("--help-ciphers")
        self.assertEqual((code, err), (0, ""))
        self.assertIn("rsa: ", out)

    def failing(self, error: BaseException) -> tuple[int, str, str]:
        def run(options: Options) -> int:
            raise error

        with patch.object(client_run, "run", run):
            return self.call()

    def test_an_error_of_ours_is_one_sentence(self) -> None:
        code, _, err = self.failing(ConfigError(reason="Repair \x1b[31mit."))
        self.assertEqual((code, err), (78, "encchat-client: Repair it.\n"))

    def test_nobody_to_ask_for_a_passphrase(self) -> None:
        """Without a terminal none is read from wherever the input comes from, and no warning of Python's is
        shown: it is said how to give one."""
        backup = Path(self.mktemp())
        backup.write_bytes(magic() + b"and so on")
        run = "from encchat.cli.client import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", run, "--restore", str(backup)],
            input="long enough for a backup\n",
            capture_output=True,
            text=True,
            start_new_session=True,  # away from the terminal, if there is one
            env={**os.environ, "PYTHONPATH": str(Path(encchat.__file__).parent.parent)},
            check=False,
        )
        self.assertEqual((done.returncode, done.stderr.count("\n")), (2, 1), done.stderr)
        self.assertIn("--passphrase-fd N", done.stderr)

    def test_what_is_to_be_called_once_the_server_is_believed(self) -> None:
        """The advice does what was to be done: a backup is not forgotten."""
        with patch.object(client_run, "_contents", lambda options: None):
            program = Program(options("--state", "there", "--restore", "my keys"))
        called = Conversation(program, None)._command()
        self.assertEqual(called[1:], ["--name", "alice", "--state", "there", "--restore", "my keys"])

    def test_an_interrupt(self) -> None:
        code, out, err = self.failing(KeyboardInterrupt())
        self.assertEqual((code, out, err.strip()), (130, "", ""))

    def test_an_output_that_cannot_be_written(self) -> None:
        code, _, err = self.failing(OSError(28, "No space left on device"))
        self.assertEqual(code, 1)
        self.assertIn("The output cannot be written: No space left on device.", err)

    def test_what_nobody_foresaw_is_written_down(self) -> None:
        for error in (RuntimeError("odd\x1b"), OSError(2, "No such file", "/x")):
            code, _, err = self.failing(error)
            self.assertEqual((code, err.count("\n")), (1, 1))
            self.assertIn(type(error).__name__, err)
            self.assertNotIn("Traceback", err)
            self.assertNotIn("\x1b", err)
            path = Path(err.rpartition(" ")[2].strip().rstrip("."))
            self.addCleanup(path.unlink)
            self.assertIn("Traceback", path.read_text())
            self.assertEqual(stat.S_IMODE(path.stat().st_mode), 0o600)

    def test_nowhere_to_write_it_down(self) -> None:
        with patch("tempfile.mkstemp", side_effect=OSError()):
            self.assertIn("no file", str(unforeseen(RuntimeError("odd"))))

    def test_nobody_to_tell(self) -> None:
        class Gone(io.StringIO):
            def write(self, text: str) -> int:
                raise BrokenPipeError()

        with redirect_stderr(Gone()):
            self.assertEqual(client._told(Unforeseen(what="x", path="y")), 1)


class Running(TestCase):
    """Up to where something stops it."""

    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.home.mkdir()

    async def stopped(self, kind: type[EncchatError], *arguments: str) -> EncchatError:
        """Run with these arguments, which must end with an error of this kind."""
        program = Program(options("--state", str(self.home / "client"), *arguments))
        error: EncchatError = await self.assertFailure(Deferred.fromCoroutine(program.run(reactor)), kind)
        self.assertNotIn("\n", str(error))
        return error

    async def listen(self, answer: bytes) -> str:
        class Stranger(Protocol):
            def connectionMade(self) -> None:
                assert self.transport is not None
                self.transport.write(answer)
                self.transport.loseConnection()

        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        port = await endpoint.listen(Factory.forProtocol(Stranger))
        self.addCleanup(port.stopListening)
        return f"127.0.0.1:{port.getHost().port}"

    async def test_nobody_there(self) -> None:
        error = await self.stopped(NoConnection, *SEND, f"127.0.0.1:{reserve(self)}")
        self.assertEqual(error.exit_code, 69)
        self.assertIn("Connection refused", str(error))

    async def test_somebody_else_there(self) -> None:
        for answer in (b"HTTP/1.0 400 Bad Request\r\n\r\n", b"\xff" * 70_000, b"", b"SSH-2.0-x\r\n"):
            error = await self.stopped(PeerError, *SEND, await self.listen(answer))
            self.assertEqual(error.exit_code, 76)

    async def test_places_that_cannot_be_used(self) -> None:
        (self.home / "client").write_text("")
        await self.stopped(BadPlace)

    async def test_a_store_that_is_none(self) -> None:
        (self.home / "client" / "alice" / "client.sqlite").mkdir(parents=True)
        await self.stopped(StoreUnusable)

    async def test_a_store_of_the_future(self) -> None:

        (self.home / "client" / "alice").mkdir(parents=True, mode=0o700)
        database = sqlite3.connect(self.home / "client" / "alice" / "client.sqlite")
        database.execute("PRAGMA user_version = 99")
        database.close()
        await self.stopped(StoreTooNew)

    async def test_ciphers_that_are_none(self) -> None:
        for cipher in ("nope", "rsa:colour=red", "rsa:classic=yes", ""):
            error = await self.stopped(UsageError, *SEND, "--cipher", cipher)
            self.assertEqual(error.exit_code, 2)

    async def test_everything_is_let_go(self) -> None:
        """After a failure the profile can be opened by the next run, and no file stays open."""
        address = await self.listen(b"nonsense")
        await self.stopped(PeerError, *SEND, address)
        gc.collect()  # what other tests left is not to be closed meanwhile
        before = os.listdir("/dev/fd")
        await self.stopped(PeerError, "--json", address)
        self.assertEqual(os.listdir("/dev/fd"), before)
        with patch.object(Lane, "take", side_effect=ConfigError(reason="x")):
            await self.stopped(ConfigError, "--json", address)
        self.assertEqual(os.listdir("/dev/fd"), before)

    async def test_classic(self) -> None:

        told: list[str] = []
        address = await self.listen(b"nonsense that is no key" * 100)
        port = address.rpartition(":")[2]
        for kind, where, listen in (
            (CannotListen, address, port),
            (UsageError, address, "x"),
            (PeerError, address, None),
            (NoConnection, f"127.0.0.1:{reserve(self)}", None),
        ):
            work = run_classic(reactor, parse_address(where), listen, told.append)
            await self.assertFailure(Deferred.fromCoroutine(work), kind)
        self.assertEqual(told, [])
