"""How a server is to be run: from flags and from a TOML file, the flags winning; checked as a whole."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from encchat.core.accounts.admission import Policy, parse_members
from encchat.core.files.blobs import MIB, FileRules
from encchat.core.identity import is_fingerprint
from encchat.errors import ConfigError, UsageError
from encchat.messages import DEFAULT_PORT
from encchat.server.retention import Rules, parse_rules

DEFAULT_CIPHER = "rsa"
DEFAULT_ENDPOINT = f"tcp:{DEFAULT_PORT}:interface=127.0.0.1"
MAX_MOTD = 4000
MAX_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Config:
    """A server's options; the names are those of the flags and of the file's keys."""

    cipher: tuple[str, ...] = (DEFAULT_CIPHER,)
    port: tuple[str, ...] = ()
    data: str = ""
    motd: str = ""
    access: str = "open"
    members: str = ""
    log: str = "sqlite"
    durability: str = "full"
    rate: int = 20
    burst: int = 60
    max_connections: int = 10_000
    max_half_open: int = 10
    max_per_address: int = 1000
    max_new_names: int = 200
    announce: bool = False
    admin: tuple[str, ...] = ()
    retain: tuple[str, ...] = ()
    retain_entries: tuple[str, ...] = ()
    #: Files: MiB of one, of all of one name, and of all; days.
    file_limit: int = 100
    file_quota: int = 1000
    file_space: int = 10_000
    file_days: int = 30

    def listeners(self) -> list[tuple[str, str]]:
        """Pairs of endpoint and cipher description: the n-th cipher belongs to the n-th port.

        :raises UsageError: their numbers differ.
        """
        ports = self.port or ((DEFAULT_ENDPOINT,) if len(self.cipher) == 1 else ())
        if len(ports) != len(self.cipher):
            raise UsageError(
                reason=f"there are {len(self.cipher)} --cipher and {len(ports)} --port: give each --cipher "
                "its own --port, in the same order"
            )
        return list(zip(ports, self.cipher, strict=True))

    def rules(self) -> Rules:
        """What stays of which room.

        :raises UsageError: an option says it in a way that nobody can read.
        """
        return parse_rules(self.retain, self.retain_entries)

    def files(self) -> FileRules:
        """How files are kept."""
        return FileRules(self.file_limit * MIB, self.file_quota * MIB, self.file_space * MIB, self.file_days)

    def policy(self) -> Policy:
        """Who is admitted; reads the members file anew each time.

        :raises ConfigError: the file cannot be read or understood.
        """
        if self.access == "open":
            return Policy()
        return Policy(parse_members(read_text(Path(self.members)), self.members))

    def check(self) -> Config:
        """This configuration, if it makes sense.

        :raises UsageError: it does not; says why.
        """
        self.listeners()
        self.rules()
        if self.access not in ("open", "members"):
            raise UsageError(reason=f"--access is 'open' or 'members', not {self.access!r}")
        if self.access == "members" and not self.members:
            raise UsageError(reason="--access members needs --members FILE: who they are, a line each")
        if self.members and self.access != "members":
            raise UsageError(reason="--members FILE means something only with --access members")
        if self.log not in ("sqlite", "memory"):
            raise UsageError(reason=f"--log is 'sqlite' or 'memory', not {self.log!r}")
        if self.durability not in ("full", "relaxed"):
            raise UsageError(reason=f"--durability is 'full' or 'relaxed', not {self.durability!r}")
        for fingerprint in self.admin:
            if not is_fingerprint(fingerprint):
                raise UsageError(
                    reason=f"--admin {fingerprint!r} is no fingerprint: write SHA256:..., as encchat-client "
                    "prints it"
                )
        if len(self.motd) > MAX_MOTD:
            raise UsageError(reason=f"--motd has {len(self.motd)} characters, more than {MAX_MOTD}")
        for name, least in (
            ("rate", 0),
            ("burst", 1),
            ("max_connections", 1),
            ("max_half_open", 1),
            ("max_per_address", 0),
            ("max_new_names", 0),
            ("file_limit", 0),
            ("file_quota", 1),
            ("file_space", 1),
            ("file_days", 0),
        ):
            if not least <= getattr(self, name) < 2**31:
                flag = name.replace("_", "-")
                raise UsageError(reason=f"--{flag} must be at least {least}, not {getattr(self, name)}")
        if not self.file_limit <= self.file_quota <= self.file_space:
            raise UsageError(
                reason=f"--file-limit {self.file_limit} must not be above --file-quota {self.file_quota}, "
                f"nor that above --file-space {self.file_space} (all in MiB)"
            )
        return self


def load(path: Path) -> Mapping[str, object]:
    """The options in a TOML file, each of the type that ``Config`` gives it.

    :raises ConfigError: it cannot be read, is no TOML, or says something that there is not.
    """
    try:
        found = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(reason=f"{path} is not TOML: {error}") from None
    defaults = Config()
    known = {field.name.replace("_", "-"): field.name for field in fields(Config)}
    options: dict[str, object] = {}
    for key, value in found.items():
        name = known.get(key.replace("_", "-"))
        if name is None:
            raise ConfigError(reason=f"{path}: there is no option {key!r}; there are {', '.join(known)}")
        options[name] = _typed(path, key, value, getattr(defaults, name))
    return options


def _typed(path: Path, key: str, value: object, default: object) -> object:
    if isinstance(default, tuple):
        if isinstance(value, str):
            return (value,)
        if type(value) is int and key.startswith("retain"):  # the server's, which is but a number
            return (str(value),)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return tuple(value)
        raise ConfigError(reason=f'{path}: {key} must be a text or a list of texts, such as ["rsa"]')
    if type(value) is not type(default):
        kind = {str: "a text in quotes", int: "a whole number", bool: "true or false"}[type(default)]
        raise ConfigError(reason=f"{path}: {key} must be {kind}")
    return value


def read_text(path: Path) -> str:
    """A configuration file's text, of at most 1 MiB.

    :raises ConfigError: it cannot be read, or is no UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE + 1)
        if len(content) > MAX_FILE:
            raise ConfigError(reason=f"{path} has more than {MAX_FILE} bytes: is it the right file?")
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError(reason=f"{path} is not UTF-8 text: is it the right file?") from None
    except OSError as error:
        raise ConfigError(reason=f"{path} cannot be read: {error.strerror or error}") from None
