"""The servers that are measured, each on loopback and on a core of its own: ours, and the peers beside it.

Ours runs as ``twistd encchat`` does, with the SQLite log on disk and ``synchronous=FULL`` unless it is told
otherwise. The peers are IRC servers as Debian packages them, with TLS on and their flood limits off; they
store nothing. Each is used in a ``with`` statement and knows its port, its CPU and its memory.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from bench._proc import cores, cpu_of, rss_of, start, stop
from encchat.core.names import parse_name
from encchat.pki import authority, build
from encchat.pki.hosts import parse_host
from encchat.pki.index import Index

TWISTD = "from twisted.scripts.twistd import run; run()"


class CannotRun(Exception):
    """A server that is not installed, or that does not start; says why."""


class Certificates:
    """A certificate authority, a server's certificate and those of the members ``u0``, ``u1`` and so on;
    all in one directory, and made once for all runs."""

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="encchat-bench-certs-")
        self.directory = Path(self._home.name)
        now = datetime.now(UTC)
        founded = authority.found("Bench CA", now)
        (root,) = founded.records
        self._signer = build.Signer(root.certificate, founded.keys[root.serial])
        self._keep(founded)
        self._keep(authority.issue_server(Index(), self._signer, [parse_host("127.0.0.1")], "server", now))
        self._members = 0

    def members(self, count: int) -> Path:
        """The directory, with the certificates of at least so many members."""
        now = datetime.now(UTC)
        while self._members < count:
            self._keep(authority.issue_user(Index(), self._signer, parse_name(f"u{self._members}"), now))
            self._members += 1
        return self.directory

    def close(self) -> None:
        """Remove them."""
        self._home.cleanup()

    def _keep(self, change: authority.Change) -> None:
        for record in change.records:
            (self.directory / f"{record.stem}.pem").write_text(record.pem)
            key = self.directory / f"{record.stem}.key"
            key.touch(mode=0o600)
            key.write_bytes(build.key_pem(change.keys[record.serial]))


class Server:
    """One running server."""

    name: ClassVar[str]
    #: What the load speaks to it: ``encchat`` or ``irc``.
    speaks: ClassVar[str]
    cipher = "tls"
    port: int
    _process: subprocess.Popen[str]

    def __init__(self) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="encchat-bench-")
        self.home = Path(self._home.name)

    def __enter__(self) -> Server:
        try:
            self._begin()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if hasattr(self, "_process"):
            stop(self._process)
        self._home.cleanup()

    def _begin(self) -> None:
        raise NotImplementedError  # abstract

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        return cpu_of(self.pid)

    @property
    def rss(self) -> int:
        """Bytes of memory that it holds."""
        return rss_of(self.pid)


class Encchat(Server):
    """The service."""

    name = "encchat"
    speaks = "encchat"

    def __init__(
        self,
        certs: Path,
        cipher: str = "tls",
        *,
        log: str = "sqlite",
        options: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        """``prefix``: a program that runs the service, such as a profiler."""
        super().__init__()
        self.cipher = cipher
        description = f"tls:certs={certs}" if cipher == "tls" else cipher
        self._command = [
            *prefix,
            *(sys.executable, "-c", TWISTD, "--pidfile=", "-n", "--logfile", str(self.home / "twistd.log")),
            *(
                "encchat",
                "--announce",
                "--cipher",
                description,
                "--log",
                log,
                "--data",
                str(self.home / "data"),
            ),
            *("--port", "tcp:0:interface=127.0.0.1:backlog=512", "--rate", "0"),
            *(
                "--max-connections",
                "20000",
                "--max-half-open",
                "2000",
                "--max-per-address",
                "20000",
                "--max-new-names",
                "0",
                *options,
            ),
        ]

    def _begin(self) -> None:
        self._process = start(self._command, cores()[0])
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith('{"event"'):
                self.port = int(json.loads(line)["port"])
                return
        raise CannotRun(f"the service did not start: {self.log}")

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.home / "twistd.log").read_text()


class Peer(Server):
    """An IRC server that waits on a port that was free a moment ago."""

    speaks = "irc"
    program: ClassVar[str]

    def __init__(self, certs: Path) -> None:
        super().__init__()
        self.certs = certs
        found = shutil.which(self.program, path="/usr/sbin:/usr/bin:/usr/local/bin:/usr/local/sbin")
        if found is None:
            self._home.cleanup()
            raise CannotRun(f"{self.program} is not installed (make bench-peers installs it)")
        self.path = found

    def _begin(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        # They give up root's rights on their own, and must still be able to read what is theirs.
        self.home.chmod(0o755)
        for name in ("ca.pem", "server.pem", "server.key"):
            copy = self.home / name
            copy.write_bytes((self.certs / name).read_bytes())
            copy.chmod(0o644)
        config = self.home / "server.conf"
        config.write_text(self.config())
        output = self.home / "output"
        self._process = start(self.command(config), cores()[0], output=output, cwd=self.home)
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except ConnectionRefusedError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.05)
        raise CannotRun(f"{self.program} does not start: {output.read_text()[-500:]}")

    def config(self) -> str:
        """The configuration file."""
        raise NotImplementedError  # abstract

    def command(self, config: Path) -> list[str]:
        """What starts it in the foreground."""
        raise NotImplementedError  # abstract


class InspIRCd(Peer):
    """InspIRCd 3."""

    name = "inspircd"
    program = "inspircd"

    def config(self) -> str:
        """Everybody may send what they like; the name of a client's host is not looked up."""
        return f"""
<config format="xml">
<module name="ssl_gnutls">
<sslprofile name="Clients" provider="gnutls" cafile="{self.home}/ca.pem" certfile="{self.home}/server.pem"
  keyfile="{self.home}/server.key" requestclientcert="yes" hash="sha256">
<server name="irc.bench" description="bench" network="Bench">
<admin name="b" nick="b" email="b@bench">
<bind address="127.0.0.1" port="{self.port}" type="clients" sslprofile="Clients">
<connect allow="*" timeout="60" threshold="100000000" fakelag="no" commandrate="1000000000" pingfreq="600"
  hardsendq="268435456" softsendq="134217728" recvq="134217728" localmax="20000" globalmax="20000"
  maxchans="20" resolvehostnames="no" useident="no" uniqueusername="no" limit="20000" maxconnwarn="no">
<performance softlimit="20000" somaxconn="512" quietbursts="yes" nouserdns="yes" clonesonconnect="no">
<security hidemodes="eI" runasuser="" runasgroup="">
<options defaultmodes="not" nosnoticestack="yes">
<cidr ipv4clone="32" ipv6clone="128">
<log method="file" type="*" level="default" target="{self.home}/inspircd.log">
"""

    def command(self, config: Path) -> list[str]:
        """In the foreground."""
        root = ["--runasroot"] if _is_root() else []
        return [self.path, "--nofork", "--nopid", "--config", str(config), *root]


class Ngircd(Peer):
    """ngIRCd."""

    name = "ngircd"
    program = "ngircd"

    def config(self) -> str:
        """As above."""
        return f"""
[Global]
Name = irc.bench
Info = bench
ServerUID = nobody
ServerGID = nogroup
PidFile =
MotdPhrase = bench
AdminEMail = b@bench
[Limits]
MaxConnections = 0
MaxConnectionsIP = 0
MaxJoins = 100
MaxPenaltyTime = 0
PingTimeout = 600
[Options]
DNS = no
Ident = no
PAM = no
SyslogFacility = local1
[SSL]
CertFile = {self.home}/server.pem
KeyFile = {self.home}/server.key
Ports = {self.port}
"""

    def command(self, config: Path) -> list[str]:
        """In the foreground."""
        return [self.path, "--nodaemon", "--config", str(config)]


PEERS: tuple[type[Peer], ...] = (InspIRCd, Ngircd)


def _is_root() -> bool:
    return os.geteuid() == 0
