"""Where the key of a local store is: in the system's keyring, or in a file beside the store.

``store.key`` holds either the key itself or the name under which the keyring has it. The keyring is asked
in a thread and has so many seconds to answer: one that is locked, or wants to show a window where there
is no display, makes nobody wait longer. A new store whose keyring does not work gets a file, with a
notice; a store whose key is in a keyring that does not answer stays closed, with words.
"""

from __future__ import annotations

import importlib
import os
import threading
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from encchat.client.store.vault import KEY
from encchat.errors import ConfigError

FILE = "store.key"
#: What the keyring files our keys under.
SERVICE = "encchat"
#: Seconds that a keyring may take to answer.
PATIENCE = 10.0

_T = TypeVar("_T")


class Keyring(Protocol):
    """The functions of the package ``keyring`` that are used."""

    def get_password(self, service: str, username: str) -> str | None: ...
    def set_password(self, service: str, username: str, password: str) -> None: ...


class KeyUnusable(ConfigError):
    """The key of your local messages, {path}, cannot be used: {reason}. Repair it, or name another place
    with --state DIR."""


class KeyringSilent(ConfigError):
    """The key of your local messages is in the system's keyring, which does not give it: {reason}. Unlock
    it, or name another place with --state DIR."""


def find_keyring() -> Keyring | None:
    """The system's keyring, where the optional package ``keyring`` is installed."""
    try:
        module: Any = importlib.import_module("keyring")
    except ImportError:
        return None
    found: Keyring = module
    return found


class Found(NamedTuple):
    """A store's key, and what a person should be told of it."""

    key: bytes
    notices: tuple[str, ...] = ()


def take_key(directory: Path, keyring: Callable[[], Keyring | None]) -> Found:
    """The key of the store in ``directory``; made if there is none. ``keyring`` is called where it is needed.

    :raises ConfigError: it is there and cannot be had.
    """
    path = directory / FILE
    try:
        text = path.read_text("ascii", "replace")
        open_ = bool(path.stat().st_mode & 0o077)
        path.chmod(0o600)
    except FileNotFoundError:
        return _make(path, keyring())
    except OSError as error:
        raise KeyUnusable(path=str(path), reason=error.strerror) from None
    where, _, rest = text.strip().partition(" ")
    if where == "key":
        key = _decoded(rest)
        if key is None:
            raise KeyUnusable(path=str(path), reason="it holds no key")
        told = f"others on this machine could read {path}, the key of your local messages; now they cannot"
        return Found(key, (told,) if open_ else ())
    if where != "keyring" or not rest:
        raise KeyUnusable(path=str(path), reason="it holds neither a key nor the name of one")
    return _ask(path, keyring(), rest, keyring)


def _ask(path: Path, ring: Keyring | None, name: str, keyring: Callable[[], Keyring | None]) -> Found:
    if ring is None:
        raise KeyringSilent(reason="the Python package keyring is not installed any more")
    try:
        text = _within(lambda: ring.get_password(SERVICE, name))
    except Exception as error:  # whatever a keyring's backend raises
        raise KeyringSilent(reason=_words(error)) from None
    key = _decoded(text or "")
    if key is None:  # it was taken out, or this is another keyring and the first one will come back
        aside = path.with_name(f"{FILE}.gone-{os.urandom(4).hex()}")
        path.replace(aside)
        made = _make(path, keyring())
        told = (
            "the keyring does not have the key of your local messages any more; the name that it had is "
            f"kept as {aside.name}"
        )
        return Found(made.key, (told, *made.notices))
    return Found(key)


def _make(path: Path, ring: Keyring | None) -> Found:
    key = os.urandom(KEY)
    text = b64encode(key).decode()
    content = f"key {text}\n"
    notices: tuple[str, ...] = ()
    if ring is not None:
        name = f"local messages {os.urandom(8).hex()}"
        try:
            _within(lambda: ring.set_password(SERVICE, name, text))
            if _within(lambda: ring.get_password(SERVICE, name)) != text:
                raise RuntimeError("it forgets what it is given")
            content = f"keyring {name}\n"
        except Exception as error:  # whatever a keyring's backend raises
            notices = (
                f"the system's keyring does not work ({_words(error)}); the key of your local messages is "
                f"kept in {path}",
            )
    try:
        if not _place(path, content):  # another client was faster
            return take_key(path.parent, lambda: ring)
    except OSError as error:
        raise KeyUnusable(path=str(path), reason=error.strerror) from None
    return Found(key, notices)


def _place(path: Path, content: str) -> bool:
    """Write the file at once and whole; false if there is one already."""
    draft = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _decoded(text: str) -> bytes | None:
    try:
        key = b64decode(text, validate=True)
    except (NotBase64, ValueError):
        return None
    return key if len(key) == KEY else None


def _within(call: Callable[[], _T]) -> _T:
    """What ``call`` returns or raises, if it does so in time."""
    outcome: list[Callable[[], _T]] = []

    def run() -> None:
        try:
            result = call()
        except Exception as error:  # told to whoever waits
            outcome.append(_raiser(error))
        else:
            outcome.append(lambda: result)

    # A daemon: one that never answers does not keep the program from ending.
    thread = threading.Thread(target=run, name="keyring", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    if not outcome:
        raise TimeoutError(f"it has not answered within {PATIENCE:g} seconds")
    return outcome[0]()


def _raiser(error: Exception) -> Callable[[], Any]:
    def fail() -> Any:
        raise error

    return fail


def _words(error: Exception) -> str:
    return (str(error) or type(error).__name__).strip().rstrip(".")[:200]
