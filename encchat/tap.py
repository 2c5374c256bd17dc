"""``twistd encchat``: the options, and the service made from them. This is where the parts are joined."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from twisted.application.service import IService
from twisted.internet.endpoints import serverFromString
from twisted.logger import Logger
from twisted.python import usage

import encchat
from encchat.ciphers.interfaces import IServerCipher
from encchat.ciphers.registry import help_ciphers, server_cipher
from encchat.core.chat.hub import Hub, Settings
from encchat.directories import make_private
from encchat.errors import ConfigError, EncchatError, UsageError
from encchat.logs.blobs import FileBlobs
from encchat.logs.memory import MemoryLog
from encchat.logs.sqlite import SqliteLog, open_sqlite_log
from encchat.messages import PASSING_LOG, Limits
from encchat.server import audit, collecting, control
from encchat.server.audit import AuditLog
from encchat.server.caps import Caps
from encchat.server.config import Config, load
from encchat.server.control import Control
from encchat.server.service import ChatService, Listener
from encchat.server.sweeping import Sweeping
from encchat.server.turn import ReactorTurn
from encchat.wiretap.files import check_names

#: Options that a configuration file cannot have: --wire keeps what people say, and must be seen to be on.
NOT_IN_FILE = frozenset({"config", "wire"})


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None


class Options(usage.Options):
    """The options of ``twistd encchat``. A mistake in them is one sentence on stderr, and exit code 2."""

    synopsis = "[options]"
    longdesc = (
        "Runs an encrypted chat. The n-th --cipher belongs to the n-th --port. Without options it listens "
        "on this machine only, with the cipher rsa."
    )
    optParameters = [  # noqa: RUF012 -- usage.Options reads it from the class
        ["data", "d", None, "directory for keys and messages [default: your data directory]"],
        ["motd", None, None, "message of the day, shown to everyone who comes in"],
        ["access", None, None, "who may come in: open or members [default: open]"],
        ["members", None, None, "file of members: NAME SHA256:... on each line; read again on SIGHUP"],
        ["log", None, None, "where messages are kept: sqlite or memory [default: sqlite]"],
        [
            "durability",
            None,
            None,
            "full: an acknowledged message survives a power cut; relaxed: faster, and the last seconds may "
            "be lost with the power, though not with the program [default: full]",
        ],
        ["rate", None, None, "messages a second that one connection may send, 0: any [default: 20]", _whole],
        ["burst", None, None, "messages that it may send at once [default: 60]", _whole],
        ["max-connections", None, None, "connections in all [default: 10000]", _whole],
        ["max-half-open", None, None, "connections of one address not admitted yet [default: 10]", _whole],
        ["max-per-address", None, None, "connections of one address, 0: any [default: 1000]", _whole],
        [
            "max-new-names",
            None,
            None,
            "names that one address may claim in a day, and a fifth of the rooms that it may make, 0: any "
            "[default: 200]",
            _whole,
        ],
        ["file-limit", None, None, "MiB that one file may have, 0: no files [default: 100]", _whole],
        ["file-quota", None, None, "MiB of files that one name may give in all [default: 1000]", _whole],
        ["file-space", None, None, "MiB that all files may take [default: 10000]", _whole],
        ["file-days", None, None, "days for which a file is kept, 0: for ever [default: 30]", _whole],
        ["config", "c", None, "TOML file with any of these options; flags win over it"],
    ]
    optFlags = [  # noqa: RUF012 -- as above
        ["announce", None, "print one JSON line on stdout for each listener"],
    ]
    compData = usage.Completions(optActions={"config": usage.CompleteFiles("*.toml")})

    def __init__(self) -> None:
        super().__init__()
        self["cipher"] = []
        self["port"] = []
        self["admin"] = []
        self["wire"] = []
        self["retain"] = []
        self["retain_entries"] = []
        self.config = Config()

    def opt_cipher(self, description: str) -> None:
        """the cipher, with its arguments: rsa, rsa:classic=no, tls:certs=DIR [default: rsa]"""
        self["cipher"].append(description)

    def opt_port(self, endpoint: str) -> None:
        """where to listen: an endpoint string [default: tcp:9999:interface=127.0.0.1]"""
        self["port"].append(endpoint)

    def opt_admin(self, fingerprint: str) -> None:
        """fingerprint of an admin's key, SHA256:..., as encchat-client prints it; several times for more"""
        self["admin"].append(fingerprint)

    def opt_retain(self, days: str) -> None:
        """let messages go after DAYS, 0: never; or of one room, ROOM=DAYS; repeatable"""
        self["retain"].append(days)

    def opt_retain_entries(self, entries: str) -> None:
        """keep so many messages of each room, 0: all; or of one, ROOM=N; repeatable"""
        self["retain_entries"].append(entries)

    def opt_wire(self, file: str) -> None:
        """for a lesson: show messages and the network's bytes that carry them, on the screen (-) or in
        FILE.jsonl or, for Wireshark, FILE.pcap; repeatable"""
        self["wire"].append(file)

    def opt_help_ciphers(self) -> None:
        """list the ciphers with their arguments, and exit"""
        sys.stdout.write(help_ciphers())
        raise SystemExit(0)

    def opt_version(self) -> None:
        """print the version and exit"""
        sys.stdout.write(f"encchat {encchat.__version__}\n")
        raise SystemExit(0)

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Parse and check the command line; ends with exit code 2 or 78 and one sentence if it is wrong."""
        try:
            super().parseOptions(options)
            self.config = self._configured().check()
            check_names(self["wire"])
        except usage.UsageError as error:
            _give_up(UsageError(reason=f"{error} (twistd encchat --help lists the options)"))
        except EncchatError as error:
            _give_up(error)

    def _configured(self) -> Config:
        options = dict(load(Path(self["config"]))) if self["config"] else {}
        flags = {key.replace("-", "_"): value for key, value in self.items() if key not in NOT_IN_FILE}
        for name in ("cipher", "port", "admin", "retain", "retain_entries"):
            flags[name] = tuple(flags[name])
        options.update({name: value for name, value in flags.items() if value})
        # 0 says something here, and so wins over the file; it is not the flag that was left out.
        options.update(
            {
                name: 0
                for name in ("rate", "file_limit", "file_days", "max_per_address", "max_new_names")
                if flags[name] == 0
            }
        )
        return Config(**options)  # type: ignore[arg-type]  # load() has given each option its type


def makeService(options: Options) -> IService:
    """The service for these options. Keys and files are read here, so that what is wrong with them ends the
    program with one sentence and exit code 78 before anything listens."""
    from twisted.internet import reactor

    collecting.settle()
    try:
        return _make_service(options.config, reactor, _tapped(options["wire"]))
    except EncchatError as error:
        _give_up(error)


def _make_service(
    config: Config, reactor: Any, tapped: Callable[[IServerCipher], IServerCipher] = lambda cipher: cipher
) -> ChatService:
    data = _data_directory(config)
    listeners = []
    for endpoint, description in config.listeners():
        try:
            where = serverFromString(reactor, endpoint)
        except (ValueError, LookupError, TypeError) as error:
            raise UsageError(
                reason=f"--port {endpoint}: {error}; write an endpoint such as tcp:9999 or "
                "tcp:9999:interface=127.0.0.1"
            ) from None
        cipher = server_cipher(description, data, "")
        cipher.prepare()
        listeners.append(Listener(endpoint, where, tapped(cipher)))
    settings = Settings(
        motd=config.motd,
        software=f"encchat {encchat.__version__}",
        limits=Limits(rate=config.rate, burst=config.burst, file=config.files().limit),
        policy=config.policy(),
        max_sessions=config.max_connections,
        admins=frozenset(config.admin),
        files=config.files(),
        new_names=config.max_new_names,
    )

    def make_hub() -> Hub:
        log = _open_log(config, data, reactor)
        return Hub(log, log, ReactorTurn(reactor), settings, blobs=FileBlobs(data, reactor))

    caps = Caps(config.max_connections + 100, config.max_half_open, config.max_per_address)
    companions = (
        AuditLog(data / audit.FILE, reactor),
        Control(data / control.FILE, reactor),
        Sweeping(reactor),
    )
    return ChatService(
        reactor,
        make_hub,
        caps,
        listeners,
        config.policy,
        _give_up,
        config.announce,
        config.rules(),
        companions,
    )


def _tapped(names: Sequence[str]) -> Callable[[IServerCipher], IServerCipher]:
    """What --wire makes of a cipher. Its files are open from here on: nobody may find them later."""
    if not names:
        return lambda cipher: cipher
    from encchat.wiretap.opening import open_wiretap
    from encchat.wiretap.screen import Screen, on_stderr

    log = Logger(namespace="encchat")
    screen = Screen(on_stderr(os.environ))
    return open_wiretap(
        names, screen, lambda text: log.warn("{text}", text=text), lambda: time.time_ns() // 1_000_000
    ).server


def _open_log(config: Config, data: Path, reactor: Any) -> MemoryLog | SqliteLog:
    """The log that is asked for. One that may lose something says so."""
    log = Logger(namespace="encchat")
    if config.log == "memory":
        log.warn(
            "--log memory: messages, names and rooms are kept nowhere; when the service ends they are gone"
        )
        return MemoryLog(PASSING_LOG + os.urandom(8))
    if config.durability == "relaxed":
        log.warn(
            "--durability relaxed: what is acknowledged outlives the service, but a power cut may take the "
            "last seconds of it"
        )
        return open_sqlite_log(data / "log.sqlite", reactor, durability="relaxed")
    return open_sqlite_log(data / "log.sqlite", reactor, durability="full")


def _data_directory(config: Config) -> Path:
    if config.data:
        data = Path(config.data).expanduser()
    else:
        from platformdirs import user_data_path

        data = user_data_path("encchat", appauthor=False) / "server"
    try:
        make_private(data)
        if data.stat().st_mode & 0o077:
            data.chmod(0o700)
    except OSError as error:
        raise ConfigError(
            reason=f"{data} cannot be used: {error.strerror or error}; name another directory with --data"
        ) from None
    return data


def _give_up(error: EncchatError) -> NoReturn:
    stderr = sys.__stderr__ or sys.stderr  # twistd makes sys.stderr a log
    stderr.write(f"encchat: {error}\n")
    raise SystemExit(error.exit_code)
