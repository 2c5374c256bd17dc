"""Where the client of one name keeps what it keeps: key, pins, outbox, positions.

Every name has a directory of its own, readable by its owner alone: ``--state DIR`` holds them, or the
place that XDG gives (``~/.local/share/encchat/client``). Two people who share an account, or one person
with two names, never share a key.
"""

from __future__ import annotations

import getpass
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from encchat.core.names import BadName, Name, parse_name
from encchat.directories import make_private
from encchat.errors import ConfigError, UsageError

#: The longest directory name that we make, in characters: file systems take 255 bytes.
MAX_DIRECTORY = 120

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-")


class NoHome(ConfigError):
    """There is no home directory to keep your key in. Say where with --state DIR."""


class BadPlace(ConfigError):
    """{path} cannot be used to keep your key in: {reason}. Repair it, or name another place with --state
    DIR."""


class NoLoginName(UsageError):
    """Your login name ({login!r}) cannot be your name in a chat: {why} Choose one with --name."""


class BadNameOption(UsageError):
    """{why} Choose another with --name."""


def choose_name(given: str | None, environment: Mapping[str, str]) -> Name:
    """The name to be known by: as given, else ENCCHAT_NAME, else the login name.

    :raises UsageError: it is not well-formed; says why.
    """
    chosen = given if given is not None else environment.get("ENCCHAT_NAME")
    if chosen is not None:
        try:
            return parse_name(chosen)
        except BadName as error:
            raise BadNameOption(why=str(error)) from None
    try:
        login = getpass.getuser()
    except (OSError, KeyError, ImportError):
        raise NoLoginName(login="", why="there is none.") from None
    try:
        return parse_name(login)
    except BadName as error:
        raise NoLoginName(login=login, why=str(error)) from None


def directory_name(name: Name) -> str:
    """A file name for any name: the same for all its spellings, never another's, never special."""
    quoted = "".join(c if c in _PLAIN else "".join(f"%{b:02x}" for b in c.encode()) for c in name.key)
    if quoted.startswith("."):
        quoted = "%2e" + quoted[1:]
    if len(quoted) > MAX_DIRECTORY:
        from hashlib import sha256

        quoted = "%" + sha256(name.key.encode()).hexdigest()
    return quoted


def default_place() -> Path:
    """The directory of all profiles when ``--state`` does not name one.

    :raises NoHome: the user has none.
    """
    import platformdirs  # takes longer than all else here, and --state needs none

    try:
        place = platformdirs.user_data_path("encchat", appauthor=False)
    except (RuntimeError, OSError, KeyError):
        raise NoHome() from None
    if not place.is_absolute():
        raise NoHome()
    return place / "client"


def open_profile(name: Name, state: Path | None) -> Path:
    """The directory of ``name``'s profile, made when it is new, readable by its owner alone.

    :raises ConfigError: it cannot be made, or belongs to somebody else.
    """
    place = default_place() if state is None else state.absolute()
    profile = place / directory_name(name)
    try:
        make_private(place)
        profile.mkdir(mode=0o700, exist_ok=True)
        found = profile.stat()
        if found.st_uid != os.geteuid():
            raise BadPlace(path=str(profile), reason="it belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            profile.chmod(0o700)
        if not os.access(profile, os.R_OK | os.W_OK | os.X_OK):
            raise BadPlace(path=str(profile), reason="it cannot be written to")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise BadPlace(path=str(profile), reason=reason) from None
    return profile
