"""A tls service to measure, in a process of its own, and what the measuring side needs to reach it.

``Service`` makes an authority in a temporary directory and starts this very file with it. The process
listens on a free port of the loopback with the tls cipher, sends back what it gets, and announces itself
with one line of JSON. What it costs is read from /proc.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives.serialization import Encoding
from OpenSSL import SSL

from encchat.ciphers.tls.contexts import PROTOCOL
from encchat.core.names import parse_name
from encchat.pki import authority, build
from encchat.pki.hosts import parse_host
from encchat.pki.index import Index

PAGE = os.sysconf("SC_PAGE_SIZE")
ROOT = Path(__file__).parent.parent


class Service:
    """The process that listens; use it in a ``with`` statement."""

    def __init__(self, *, crl: bool = True) -> None:
        self._home = tempfile.TemporaryDirectory(prefix="encchat-bench-")
        self.certs = Path(self._home.name) / "certs"
        self.signer = make_certificates(self.certs, crl=crl)
        self._process = subprocess.Popen(
            [sys.executable, __file__, str(self.certs)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) > 1:  # the service on one core, the load on the others
            os.sched_setaffinity(self._process.pid, cores[:1])
            os.sched_setaffinity(0, cores[1:])

    def __enter__(self) -> Service:
        assert self._process.stdout is not None
        self.port = int(json.loads(self._process.stdout.readline())["port"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait(10)
        self._home.cleanup()

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def cpu(self) -> float:
        """Seconds of CPU, in user and system, that the process has used."""
        return int(Path(f"/proc/{self.pid}/schedstat").read_text().split()[0]) / 1e9

    @property
    def rss(self) -> int:
        """Bytes of memory that the process holds."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * PAGE

    @property
    def descriptors(self) -> int:
        """How many files and sockets the process has open."""
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def context(self) -> SSL.Context:
        """What a client connects with."""
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        context.set_min_proto_version(SSL.TLS1_3_VERSION)
        context.use_certificate_chain_file(str(self.certs / "alice.pem"))
        context.use_privatekey_file(str(self.certs / "alice.key"))
        context.load_verify_locations(str(self.certs / "ca.pem"))
        context.set_verify(SSL.VERIFY_PEER, lambda connection, cert, error, depth, ok: bool(ok))
        context.set_alpn_protos([PROTOCOL])
        return context

    def connect(self, context: SSL.Context) -> SSL.Connection:
        """A connection whose handshake is complete on the client's side."""
        raw = socket.create_connection(("127.0.0.1", self.port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = SSL.Connection(context, raw)
        connection.set_connect_state()
        connection.do_handshake()
        return connection


def make_certificates(directory: Path, *, crl: bool) -> build.Signer:
    """What `encchat-admin ca init`, `ca server 127.0.0.1` and `ca user alice` make; who signed it."""
    now = datetime.now(UTC)
    directory.mkdir(mode=0o700)
    change = authority.found("Bench CA", now)
    (root,) = change.records
    signer = build.Signer(root.certificate, change.keys[root.serial])
    for made in (
        change,
        authority.issue_server(Index(), signer, [parse_host("127.0.0.1")], "server", now),
        authority.issue_user(Index(), signer, parse_name("alice"), now),
    ):
        for record in made.records:
            (directory / f"{record.stem}.pem").write_text(record.pem)
            key = directory / f"{record.stem}.key"
            key.touch(mode=0o600)
            key.write_bytes(build.key_pem(made.keys[record.serial]))
    if crl:
        revoked = build.revocation_list((), 1, signer, now)
        (directory / "crl.pem").write_bytes(revoked.public_bytes(Encoding.PEM))
    return signer


def serve(certs: str) -> None:
    """Listen until the process is terminated."""
    from twisted.internet import reactor
    from twisted.internet.protocol import Factory
    from twisted.protocols.wire import Echo

    from encchat.ciphers.interfaces import Place
    from encchat.ciphers.tls import server

    class Quiet(Echo):
        noisy = False

    cipher = server(Place(Path(certs), "", {"certs": certs}))
    cipher.prepare()
    cipher.start(reactor)
    signal.signal(signal.SIGHUP, lambda *_: reactor.callFromThread(cipher.reload))
    factory = cipher.wrap(Factory.forProtocol(Quiet))
    port = reactor.listenTCP(0, factory, interface="127.0.0.1", backlog=512)
    sys.stdout.write(json.dumps({"port": port.getHost().port}) + "\n")
    sys.stdout.flush()
    reactor.run()


if __name__ == "__main__":
    serve(sys.argv[1])
