"""docs/operating.md is true: what it tells an operator to type is typed here, and what it says is said.

Each machine of the page is a directory. Stand-ins come first on the PATH for what would change this very
machine (users, owners, mail), a service listens on free ports of the loopback, and what systemd does for a
service (its unit's command line, its socket, SIGHUP) is done here from the page's own unit files.
"""

from __future__ import annotations

import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from encchat.pki import authority, build
from encchat.pki.build import Signer
from encchat.pki.hosts import parse_host
from tests.process.harness import ADMIN, CLIENT, ROOT, TWISTD, Child, ProcessCase, Service

PAGE = ROOT / "docs" / "operating.md"
MACHINES = ("server", "ca", "alice", "bob")
#: The ports of the page.
PORTS = ("9999", "9998")
#: 127.0.0.1 for a socket that takes both.
MAPPED = "::ffff:127.0.0.1"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_PROMPT = re.compile(rf"({'|'.join(MACHINES)})\$ (.*)")


@dataclass(frozen=True, slots=True)
class Command:
    """A line to type, on which machine, and what should be seen."""

    machine: str
    line: str
    expected: tuple[str, ...]


def blocks() -> list[tuple[str, str]]:
    """The kind and the text of each block on the page."""
    return _FENCE.findall(PAGE.read_text(encoding="utf-8"))


def commands(block: str) -> Iterator[Command]:
    """The commands of a console block."""
    machine, line, expected = "", "", []
    for text in block.splitlines():
        prompt = _PROMPT.fullmatch(text)
        if prompt is None:
            expected.append(text)
            continue
        if line:
            yield Command(machine, line, tuple(expected))
        (machine, line), expected = prompt.groups(), []
    yield Command(machine, line, tuple(expected))


def files() -> dict[str, str]:
    """The files on the page, by the path in their first comment: the last of each, as it stands there."""
    return dict(_files())


def _files() -> Iterator[tuple[str, str]]:
    for kind, text in blocks():
        if kind != "console":
            found = re.search(r"^# (/\S+)$", text, re.MULTILINE)
            assert found is not None, text
            yield found[1], text


def pattern(expected: tuple[str, ...]) -> re.Pattern[str]:
    """What the lines of the page mean: ``...`` is anything, and alone in a line any number of lines."""
    parts = []
    for line in expected:
        if line == "...":
            parts.append(r"(?:.*\n)*?")
            continue
        words = [re.escape(word).replace(r"\.\.\.", ".*") for word in line.split()]
        parts.append(r"\ +".join(words) + r"\ *\n")
    text = "".join(parts)
    for port in PORTS:
        text = re.sub(rf":{port}\b", r":\\d+", text)
    return re.compile(text)


def _listen(family: socket.AddressFamily, host: str) -> socket.socket:
    listening = socket.socket(family)
    if family is socket.AF_INET6:
        listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listening.bind((host, 0))
    listening.listen(1024)
    return listening


class Page(ProcessCase):
    """The page from top to bottom."""

    def setUp(self) -> None:
        super().setUp()
        self.service: Service | None = None
        for place in (*MACHINES, "usb", "bin"):
            (self.home / place).mkdir(mode=0o700)
        # They stay open for as long as the page runs, so that the service finds its ports again.
        self.sockets = {
            "9999": _listen(socket.AF_INET, "127.0.0.1"),
            "9998": _listen(socket.AF_INET6, MAPPED),
        }
        self._stand_ins()
        self._public_authority()

    def tearDown(self) -> None:
        for each in self.sockets.values():
            each.close()

    # ------------------------------------------------------------------- what stands for the world

    def _stand_ins(self) -> None:
        python = shlex.quote(sys.executable)
        real_install = shutil.which("install")
        for name, script in {
            "encchat-admin": f'exec {python} {shlex.join(ADMIN)} "$@"',
            "encchat-client": f'exec {python} {shlex.join(CLIENT)} "$@"',
            "useradd": "exit 0",
            "chown": "exit 0",
            "mail": 'echo "mail was sent: $*" >&2; exit 1',
            # The owners of the page do not exist here; all else is install's own.
            "install": f"""
                for word; do shift; case "$word" in -o|-g) skip=1;; *)
                    if [ "$skip" ]; then skip=; else set -- "$@" "$word"; fi;; esac; done
                exec {real_install} "$@"
            """,
        }.items():
            path = self.home / "bin" / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)

    def _public_authority(self) -> None:
        """Another authority, which this "machine" trusts, and the certificate that it gave to the server."""
        now = datetime.now(UTC)
        change = authority.found("public CA", now)
        (key,) = change.keys.values()
        signer = Signer(change.records[0].certificate, key)
        made = authority.issue_server(change.index, signer, [parse_host("localhost")], "server", now)
        (leaf_key,) = made.keys.values()
        live = self.home / "etc/letsencrypt/live/localhost"
        live.mkdir(parents=True)
        leaf = made.records[0].certificate.public_bytes(Encoding.PEM)
        (live / "fullchain.pem").write_bytes(leaf)
        (live / "privkey.pem").write_bytes(build.key_pem(leaf_key))
        (self.home / "trusted.pem").write_bytes(signer.certificate.public_bytes(Encoding.PEM))

    def here(self, text: str) -> str:
        """The page's hosts, paths and ports as they are here."""
        text = text.replace("chat.example.org", "localhost")
        for path in ("/etc/encchat", "/etc/letsencrypt", "/var/lib/encchat"):
            text = re.sub(rf"(?<![\w/]){path}", f"{self.home}{path}", text)
        text = text.replace("/media/usb", str(self.home / "usb"))
        for port, each in self.sockets.items():
            text = text.replace(f"localhost:{port}", f"localhost:{each.getsockname()[1]}")
        return re.sub(r"\btcp:999[89]\b", "tcp:0:interface=127.0.0.1", text)

    def machine_environment(self, machine: str) -> dict[str, str]:
        """Of one machine: a home of its own, and the stand-ins first."""
        return self.environment(
            HOME=str(self.home / machine),
            PATH=f"{self.home / 'bin'}:{self.environment()['PATH']}",
            SSL_CERT_FILE=str(self.home / "trusted.pem"),
            COLUMNS="200",
        )

    # --------------------------------------------------------------------------------- what is done

    async def type(self, command: Command) -> None:
        """Do what a line says."""
        line = self.here(command.line)
        if line.startswith("twistd "):
            await self._start(command)
        elif line.startswith("systemctl "):
            await self._systemctl(shlex.split(line)[1:])
        else:
            await self._shell(line, command)

    async def _shell(self, line: str, command: Command) -> None:
        child = Child(f"{command.machine}$ {line}")
        self.children.append(child)
        environment = self.machine_environment(command.machine)
        if line.startswith("encchat-"):  # so that the test's child is the command itself
            line = f"exec {line}" if "||" not in line else line
        shell = ["/bin/sh", "-c", line]
        path = str(self.home / command.machine)
        reactor.spawnProcess(child, shell[0], shell, environment, path)
        child.close_stdin()
        code = await child.end()
        wrong = any(text.startswith(("ERROR", "WARNING")) for text in command.expected)
        self.assertEqual(code, 1 if wrong else 0, child.report())
        self._compare("".join(f"{text}\n" for text in child.out), command, child)

    def _compare(self, said: str, command: Command, child: Child) -> None:
        if command.expected:
            wanted = pattern(tuple(map(self.here, command.expected)))
            self.assertIsNotNone(wanted.fullmatch(said), f"{wanted.pattern}\n{child.report()}")

    async def _start(self, command: Command) -> None:
        """A service in the foreground."""
        options = command.line.removeprefix("twistd -n encchat ")
        self.assertNotEqual(options, command.line)
        ports = re.findall(r"--port tcp:(\d+)", options)
        for index, port in enumerate(ports):
            domain = self.sockets[port].family.name.removeprefix("AF_")
            options = options.replace(f"tcp:{port}", f"systemd:domain={domain}:index={index}")
        service = await self._serve(shlex.split(self.here(options)), ports)
        listening = [text for text in service.out if "listening on" in text]
        self._compare("".join(f"{text}\n" for text in listening), command, service)

    async def _serve(self, options: list[str], ports: list[str]) -> Service:
        """A service with the sockets of these ports, in the place of the one before."""
        await self._stop()
        self.service = service = Service(f"twistd encchat {shlex.join(options)}")
        self.children.append(service)
        # systemd tells the process its own id, so that its children do not take the sockets for theirs.
        code = (
            "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid()); os.execv(sys.argv[1], sys.argv[1:])"
        )
        arguments = [sys.executable, "-c", code, sys.executable, *TWISTD, "encchat", "--announce", *options]
        reactor.spawnProcess(
            service,
            sys.executable,
            arguments,
            {
                **self.machine_environment("server"),
                "LISTEN_FDS": str(len(ports)),
                "LISTEN_FDNAMES": ":".join("encchat.socket" for _ in ports),
            },
            str(self.home / "server"),
            childFDs={0: "w", 1: "r", 2: "r"}
            | {3 + index: self.sockets[port].fileno() for index, port in enumerate(ports)},
        )
        await service.until(
            lambda: sum(text.startswith('{"event"') for text in service.out) >= len(ports), "announcement"
        )
        return service

    async def _stop(self) -> None:
        service, self.service = self.service, None
        if service is not None:
            await service.stop()

    async def _systemctl(self, words: list[str]) -> None:
        """What systemd would do, by the page's units."""
        if words[0] == "daemon-reload":
            return
        if words[0] == "reload":
            self.assertIn("ExecReload=/bin/kill -HUP $MAINPID", self.unit("encchat.service"))
            assert self.service is not None
            before = len(self.service.out)
            self.service.signal(signal.SIGHUP)
            await self.service.line("configuration read again", before)
            self.assertNotIn("are no good", "\n".join(self.service.out[before:]))
            return
        self.assertIn(
            words, [["enable", "--now", "encchat.socket", "encchat.service"], ["restart", "encchat"]]
        )
        self.assertIn("ListenStream=[::]:9998\nBindIPv6Only=both\n", self.unit("encchat.socket"))
        (start,) = re.findall(r"^ExecStart=(.*)$", self.unit("encchat.service"), re.MULTILINE)
        options = start.removeprefix("/opt/encchat/bin/twistd -n --pidfile= encchat ")
        self.assertNotEqual(options, start)
        await self._serve(shlex.split(self.here(options)), ["9998"])

    def unit(self, name: str) -> str:
        """A unit file of the page."""
        return files()[f"/etc/systemd/system/{name}"]

    def write(self, path: str, text: str) -> None:
        """A file of the page, where it belongs here; the service's own are the ones that are read."""
        if path.startswith("/etc/encchat/"):
            tomllib.loads(text)
            Path(self.here(path)).write_text(self.here(text))

    async def test_page(self) -> None:
        """Every command, in its order."""
        typed = 0
        for kind, text in blocks():
            if kind != "console":
                ((path, content),) = [(p, t) for p, t in _files() if t == text]
                self.write(path, content)
                continue
            for command in commands(text):
                await self.type(command)
                typed += 1
        self.assertGreater(typed, 50)
        await self._stop()
        self.assertEqual(self._exposed(), [])

    def _exposed(self) -> list[Path]:
        """Keys that the page leaves readable by others."""
        keys = [*self.home.rglob("*.key"), *self.home.rglob("encchat/public/privkey.pem")]
        assert keys
        return [path for path in keys if stat.S_IMODE(path.stat().st_mode) & 0o077]


class Units(SynchronousTestCase):
    """The files on the page that others read."""

    def test_systemd(self) -> None:
        """systemd finds nothing wrong with the units, if it is here; they can be parsed in any case."""
        directory = Path(self.mktemp())
        directory.mkdir()
        units = {path: text for path, text in files().items() if path.startswith("/etc/systemd/system/")}
        self.assertEqual(len(units), 3)
        paths = []
        for path, text in units.items():
            parser = ConfigParser(interpolation=None, strict=False)
            parser.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep case
            parser.read_string(text)
            self.assertTrue(parser.sections())
            place = directory / path.removeprefix("/etc/systemd/system/")
            place.parent.mkdir(exist_ok=True)
            place.write_text(text.replace("/opt/encchat/bin/twistd", "/bin/true"))
            if place.suffix != ".conf":
                paths.append(str(place.absolute()))
        analyze = shutil.which("systemd-analyze")
        if analyze is not None:
            done = subprocess.run([analyze, "verify", *paths], capture_output=True, text=True, check=False)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            done = subprocess.run(
                [analyze, "security", "--offline=true", "--threshold=25", str(paths[-1])],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            self.assertEqual(done.returncode, 0, done.stdout[-400:] + done.stderr)

    def test_logrotate(self) -> None:
        """logrotate reads its file, if it is here; it has one entry, in braces, for our log."""
        (text,) = [text for path, text in files().items() if path == "/etc/logrotate.d/encchat"]
        match = re.fullmatch(r"# \S+\n(/\S+) \{\n((?:    [a-z]+(?: \d+)?\n)+)\}\n", text)
        assert match is not None
        (log,) = re.findall(
            r"append:(\S+)\nStandardError", files()["/etc/systemd/system/encchat.service.d/log.conf"]
        )
        self.assertEqual(match[1], log)
        self.assertIn("copytruncate", match[2].split())
        logrotate = shutil.which("logrotate") or "/usr/sbin/logrotate"
        if Path(logrotate).exists():
            path = Path(self.mktemp())
            path.write_text(text)
            done = subprocess.run([logrotate, "--debug", path], capture_output=True, text=True, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("error", done.stderr)

    def test_hook(self) -> None:
        """The deploy hook is a script that the shell understands, and copies what the page copied."""
        text = files()["/etc/letsencrypt/renewal-hooks/deploy/encchat"]
        done = subprocess.run(["/bin/sh", "-n"], input=text, capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for name in ("privkey.pem", "fullchain.pem"):
            self.assertIn(f"/etc/encchat/public/{name}", files()["/etc/encchat/encchat.toml"])
            self.assertIn(f'"$RENEWED_LINEAGE/{name}"', text)


class Words(SynchronousTestCase):
    """The page's own words."""

    def test_contents(self) -> None:
        """Every heading is in the contents, under its anchor."""
        page = PAGE.read_text(encoding="utf-8")
        for heading in re.findall(r"^## (.*)$", page, re.MULTILINE):
            anchor = heading.lower().replace(",", "").replace(" ", "-")
            self.assertIn(f"[{heading}](#{anchor})", page)

    def test_pattern(self) -> None:
        """What the page's lines match, and what they do not."""
        wanted = pattern(("one  two ...", "...", "end: :9998."))
        self.assertTrue(wanted.fullmatch("one two three\na\nb\nend: :41079.\n"))
        self.assertTrue(wanted.fullmatch("one   two \nend: :1.\n"))
        self.assertFalse(wanted.fullmatch("one two three\nend: :41079!\n"))
        self.assertFalse(wanted.fullmatch("one two three\nend: :41079.\nmore\n"))
