"""``encchat-admin doctor``: configurations, and services that run."""

from __future__ import annotations

import json
import os
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from encchat.cli import examine
from encchat.cli.admin import main
from encchat.cli.probe import Answer, findings
from encchat.client.network.address import Address
from encchat.core.identity import PeerIdentity
from encchat.errors import ConfigError
from encchat.pki import authority
from encchat.pki.health import Severity
from encchat.pki.hosts import parse_host
from tests.pki.support import NOW, commit, issue_server, issue_user, new_store
from tests.process.harness import ADMIN, Child, ProcessCase, reserve

DAY = timedelta(days=1)


class Doctor(SynchronousTestCase):
    """Runs the doctor on files of its own, at a time that stands still."""

    def setUp(self) -> None:
        self.now = NOW
        self.home = Path(self.mktemp())
        self.certs = self.home / "certs"
        self.store, self.signer = new_store(self.certs)
        issue_server(self.store, self.signer, "localhost", "127.0.0.1")
        issue_user(self.store, self.signer, "alice")
        for path in self.certs.iterdir():
            os.utime(path, (NOW.timestamp(), NOW.timestamp()))
        self.patch(os, "environ", {**os.environ, "XDG_DATA_HOME": str(self.home.absolute() / "share")})

    def invoke(self, *arguments: str | Path) -> Result:
        """One look, which may fail."""
        return CliRunner().invoke(main, ["doctor", *map(str, arguments)], obj=lambda: self.now)

    def look(self, code: int, *arguments: str | Path) -> str:
        """One look, and what it says; ``code`` is 0 if all is well and 1 if not."""
        done = self.invoke(*arguments)
        self.assertEqual(done.exit_code, code, done.output)
        self.assertEqual(done.stderr, "")
        self.assertEqual(code == 0, done.stdout.endswith("All is well.\n"))
        return done.stdout

    def read(self, *arguments: str | Path) -> list[tuple[str, str]]:
        """The severities and words of what is found, as programs read them."""
        found = json.loads(self.invoke(*arguments, "--json").stdout)
        return [(each["severity"], each["check"]) for each in found["findings"]]


class ServerTests(Doctor):
    """What a service would read."""

    def test_well(self) -> None:
        """All is well, in words; what was looked at is told."""
        said = self.look(0, "--server", self.certs)
        self.assertIn("is for localhost, 127.0.0.1.", said)
        self.assertIn("ca.key is on this machine", said)
        self.assertEqual(said, self.look(0, "--cipher", f"tls:certs={self.certs}"))

    def test_json(self) -> None:
        """The same for programs."""
        found = json.loads(self.invoke("--server", self.certs, "--json").stdout)
        self.assertEqual(found["severity"], "note")
        self.assertIsNone(found["connection"])
        (names,) = [each for each in found["findings"] if each["check"] == "names"]
        self.assertEqual(set(names), {"severity", "check", "text", "fix"})

    def test_wrong(self) -> None:
        """What is wrong is told with what mends it, all of it at once."""
        (self.certs / "server.key").chmod(0o644)
        self.now += 80 * DAY
        said = self.look(1, "--server", self.certs)
        self.assertIn("1 wrong, 1 soon to be.", said)
        self.assertIn(f"> chmod 600 {self.certs / 'server.key'}", said)
        self.assertIn("WARNING The certificate", said)
        self.assertIn("> encchat-admin ca renew", said)

    def test_soon(self) -> None:
        """What is only soon to go wrong is something to do, too."""
        self.now += 80 * DAY
        self.assertIn("0 wrong, 1 soon to be.", self.look(1, "--server", self.certs))

    def test_as_the_service_would(self) -> None:
        """What the cipher's own loading refuses is wrong, though nothing else was."""

        def refuse(*arguments: object) -> None:
            raise ConfigError(reason="no good, for a reason of its own")

        self.patch(examine, "load", refuse)
        self.assertIn("for a reason of its own", self.look(1, "--server", self.certs))

    def test_port(self) -> None:
        """A port that is taken, and one that is free."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            endpoint = f"tcp:{port}:interface=127.0.0.1"
            said = self.look(1, "--server", self.certs, "--port", endpoint)
            self.assertIn(f"Nobody can listen at {endpoint}: Address already in use", said)
        free = self.look(0, "--server", self.certs, "--port", "tcp:0:interface=127.0.0.1")
        self.assertIn("The service can listen at", free)
        systemd = self.look(0, "--server", self.certs, "--port", "systemd:domain=INET6:index=0")
        self.assertIn("is opened by systemd", systemd)
        self.assertEqual(self.invoke("--server", self.certs, "--port", "nonsense:1").exit_code, 78)

    def test_config(self) -> None:
        """The service's own file, with its members and its data."""
        file, data = self.home / "encchat.toml", self.home / "data"
        file.write_text(
            f'cipher = "tls:certs={self.certs}"\ndata = "{data}"\nport = "tcp:0:interface=127.0.0.1"\n'
        )
        said = self.look(0, "--config", file)
        self.assertIn(f"{file} can be used.", said)
        self.assertIn(f"{data}, the service's data, will be made", said)
        self.assertIn("The service can listen", said)
        self.assertFalse(data.exists())
        data.mkdir(mode=0o755)
        self.assertIn(f"> chmod 700 {data}", self.look(1, "--config", file))
        data.rmdir()
        data.write_text("")
        self.assertIn("is no directory", self.look(1, "--config", file))
        self.assertIn("cannot be used", self.look(1, "--config", file, "--data", data / "beneath"))
        data.unlink()
        with file.open("a") as more:
            more.write(f'access = "members"\nmembers = "{self.home / "nobody"}"\n')
        self.assertIn("nobody", self.look(1, "--config", file))
        file.write_text("nonsense")
        self.assertEqual(self.invoke("--config", file).exit_code, 78)

    def test_other_ciphers(self) -> None:
        """Keys without certificates: those that are there can be used, and none is made."""
        data = self.home / "data"
        for cipher, name in [("rsa", "rsa-identity.pem"), ("tls:trust=pin", "tls-pin.key")]:
            self.assertIn("it is made at the first start", self.look(0, "--cipher", cipher, "--data", data))
            self.assertFalse(data.exists())
            data.mkdir(mode=0o700)
            (data / name).write_bytes(b"nothing")
            (data / name).chmod(0o600)
            self.look(1, "--cipher", cipher, "--data", data)
            (data / name).unlink()
            data.rmdir()
        self.look(0, "--cipher", "rsa")

    def test_owner(self) -> None:
        """Somebody else's directory is a note: the doctor may be run by the wrong person."""
        if os.geteuid() != 0:
            return
        data = self.home / "data"
        data.mkdir(mode=0o700)
        os.chown(data, 12345, -1)
        self.assertIn("Run this as the user", self.look(0, "--cipher", "rsa", "--data", data))

    def test_command_line(self) -> None:
        """A wrong command line is exit code 2, and one sentence in the end."""
        for arguments in (
            [],
            ["--json"],
            ["--cipher", "nonsense"],
            ["--cipher", "tls:colour=blue"],
            ["--server", self.certs, "--client"],
            ["--server", self.certs, "--name", "alice"],
            ["--client", "--cipher", "rsa", "--cipher", "rsa"],
            ["--client", "--port", "tcp:0"],
            ["--client", "--name", "a/b"],
            ["--connect", "a b"],
        ):
            done = self.invoke(*arguments)
            self.assertEqual((done.exit_code, done.stdout), (2, ""), arguments)
        self.assertEqual(self.invoke("--cipher", "tls").exit_code, 78)


class ClientTests(Doctor):
    """What a client would read."""

    def look_at(self, code: int, name: str, *more: str | Path) -> str:
        """One look at a client's profile."""
        cipher = f"tls:certs={self.certs}"
        return self.look(
            code, "--client", "--state", self.home / "state", "--cipher", cipher, "--name", name, *more
        )

    def test_well(self) -> None:
        """The user's certificate and profile; nothing is made."""
        said = self.look_at(0, "alice")
        self.assertIn("is for the user alice, SHA256:", said)
        self.assertNotIn("ca.key", said)
        self.assertFalse((self.home / "state").exists())

    def test_profile(self) -> None:
        """A profile that others can look into."""
        profile = self.home / "state" / "alice"
        profile.mkdir(parents=True)
        profile.chmod(0o755)
        self.assertIn(f"> chmod 700 {profile}", self.look_at(1, "alice"))

    def test_wrong(self) -> None:
        """No certificate, and a revoked one."""
        self.assertIn("bob.pem", self.look_at(1, "bob"))
        with self.store.turn() as index:
            gone = authority.to_revoke(index, "alice", NOW)
            commit(self.store, authority.revoke(index, self.signer, gone, "unspecified", NOW))
        self.assertIn("itself is revoked", self.look_at(1, "alice"))

    def test_rsa(self) -> None:
        """Without --cipher it is rsa, as for the client; the place is that of XDG."""
        said = self.look(0, "--client", "--name", "alice")
        self.assertIn(f"{self.home.absolute()}/share/encchat/client/alice", said)
        self.assertIn("rsa-identity.pem", said)


class ConnectTests(ProcessCase):
    """A service that runs."""

    def setUp(self) -> None:
        super().setUp()
        now = datetime.now(UTC)
        self.certs = self.home / "certs"
        self.store, self.signer = new_store(self.certs, now)
        issue_server(self.store, self.signer, "localhost", "127.0.0.1", now=now)
        issue_user(self.store, self.signer, "alice", now)
        self.cipher = f"tls:certs={self.certs}"
        self.now = now

    async def ask(self, address: str, *more: str, cipher: str = "") -> tuple[int, dict[str, Any]]:
        """What the doctor says of a service: exit code, and the JSON."""
        options = ["doctor", "--json", "--connect", address, "--cipher", cipher or self.cipher]
        options += ["--name", "alice", "--state", str(self.home / "state"), *more]
        child = self.spawn([*ADMIN, *options], Child("encchat-admin doctor"))
        code = await child.end()
        self.assertEqual(child.err, [], child.report())
        return code, json.loads("\n".join(child.out))

    def words(self, said: dict[str, Any], severity: str) -> str:
        """The sentences of one severity."""
        return " ".join(each["text"] for each in said["findings"] if each["severity"] == severity)

    async def test_tls(self) -> None:
        """What was negotiated, what each side proved, and what will expire; and nobody entered the chat."""
        service = await self.serve("--cipher", self.cipher)
        code, said = await self.ask(f"localhost:{service.port}")
        self.assertEqual(code, 0, said)
        connection = said["connection"]
        self.assertEqual((connection["version"], connection["alpn"]), ("TLSv1.3", "encchat/1"))
        self.assertEqual(connection["group"], "X25519MLKEM768")
        self.assertIn(connection["cipher"], {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
        self.assertEqual(connection["server"]["fingerprint"], service.listener()["fingerprint"])
        self.assertTrue(connection["accepted"])
        words = self.words(said, "ok")
        for part in (
            "We proved to be alice",
            "The server's certificate expires in 88 days",
            "for localhost, 127",
        ):
            self.assertIn(part, words)

    async def test_revoked(self) -> None:
        """A server that refuses us after our own side was done is heard."""
        with self.store.turn() as index:
            gone = authority.to_revoke(index, "alice", self.now)
            commit(self.store, authority.revoke(index, self.signer, gone, "unspecified", self.now))
        service = await self.serve("--cipher", self.cipher)
        code, said = await self.ask(service.address)
        self.assertEqual(code, 1)
        self.assertFalse(said["connection"]["accepted"])
        self.assertEqual(said["connection"]["version"], "TLSv1.3")
        self.assertIn("revoked", said["connection"]["error"]["text"])

    async def test_wrong_host(self) -> None:
        """A server whose certificate is for another host proves nothing."""
        hosts = [parse_host("chat.example.org")]
        with self.store.turn() as index:
            change = authority.issue_server(index, self.signer, hosts, "server", self.now, force=True)
            commit(self.store, change)
        service = await self.serve("--cipher", self.cipher)
        code, said = await self.ask(service.address)
        self.assertEqual(code, 1)
        self.assertIn("chat.example.org", self.words(said, "error"))
        self.assertIsNone(said["connection"]["server"])

    async def test_pin_and_rsa(self) -> None:
        """Ciphers without an authority; the key is the server's, and none of ours stays behind."""
        service = await self.serve(
            *("--cipher", "rsa", "--port", "tcp:0:interface=127.0.0.1"),
            *("--cipher", "tls:trust=pin", "--port", "tcp:0:interface=127.0.0.1"),
            listeners=2,
        )
        for number, cipher in enumerate(["rsa", "tls:trust=pin"]):
            listener = service.listener(number)
            code, said = await self.ask(listener["address"], cipher=cipher)
            self.assertEqual(code, 0, said)
            self.assertEqual(said["connection"]["server"]["fingerprint"], listener["fingerprint"])
            self.assertTrue(said["connection"]["accepted"])
            self.assertIn("We proved to hold the key", self.words(said, "ok"))
        self.assertFalse((self.home / "state").exists())

    async def test_another_cipher(self) -> None:
        """A service that speaks something else is told as such."""
        service = await self.serve()
        code, said = await self.ask(service.address)
        self.assertEqual(code, 1)
        self.assertIn("TLS", self.words(said, "error"))

    async def test_nobody(self) -> None:
        """Nobody there, and nothing to ask with."""
        port = reserve(self)
        code, said = await self.ask(f"127.0.0.1:{port}")
        self.assertEqual((code, said["connection"]["error"]["code"]), (1, "unreachable"))
        code, said = await self.ask(f"127.0.0.1:{port}", cipher=f"tls:certs={self.home / 'none'}")
        self.assertEqual((code, said["connection"]), (1, None))
        self.assertIn("was not asked", self.words(said, "error"))


class FindingTests(SynchronousTestCase):
    """What an answer means."""

    def _words(self, answer: Answer) -> str:
        ours = PeerIdentity("SHA256:ours", None, "tls", "us")
        found = list(findings(answer, Address("localhost", 1), ours, NOW))
        self.assertTrue(all(each.severity <= Severity.NOTE for each in found))
        return " ".join(each.text for each in found)

    def test_classic(self) -> None:
        """A classic server has shown a key, and proved nothing."""
        server = PeerIdentity("SHA256:theirs", None, "rsa", "classic", authenticated=False)
        said = self._words(Answer(server=server))
        self.assertIn("Connected to localhost:1: classic.", said)
        self.assertIn("showed, and did not prove, the key SHA256:theirs", said)
        self.assertNotIn("let us through", said)

    def test_group(self) -> None:
        """A key exchange that a quantum computer could undo is noted."""
        server = PeerIdentity("SHA256:theirs", None, "tls", "CN=x")
        for group, noted in [("x25519", True), ("X25519MLKEM768", False)]:
            said = self._words(Answer(server=server, alpn="encchat/1", agreed=("TLSv1.3", group, "AES")))
            self.assertEqual("may be read one day" in said, noted)
