"""Reads a configuration as a server or a client would, and yields what is wrong with it or soon will be.

Nothing is made or changed on the way: a key that does not exist yet is not made, a port that is free is
free again afterwards. Certificates are looked at by ``encchat.pki.checkup``, and then by the cipher's own
loading, so that nothing passes here that the service would refuse.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory

from encchat.ciphers.description import parse_description
from encchat.ciphers.registry import client_cipher, server_cipher
from encchat.ciphers.rsa import IDENTITY_FILE
from encchat.ciphers.rsa.keys import load_identity
from encchat.ciphers.tls.material import Sources, load, sources
from encchat.client.profile import default_place, directory_name
from encchat.core.names import Name, parse_name
from encchat.errors import ConfigError, EncchatError
from encchat.pki.checkup import Checkup, Files
from encchat.pki.health import Finding, Severity, worst
from encchat.pki.profiles import Role


def examine_data(data: Path) -> Iterator[Finding]:
    """What is wrong with a server's ``--data``."""
    yield from _look_at_home(data, "the service's data", "at the service's first start")


def examine_server(description: str, data: Path, now: datetime) -> Iterator[Finding]:
    """What is wrong with one cipher of a server whose ``--data`` is ``data``.

    :raises UsageError: the description itself is wrong.
    """
    with TemporaryDirectory() as elsewhere:  # as a directory that does not exist would be made
        server_cipher(description, Path(elsewhere))
    yield from _examine(description, data, now, server=True, user="")


def profile_of(name: Name, state: Path | None) -> Path:
    """Where the client of ``name`` keeps its files, whether it exists or not."""
    return (default_place() if state is None else state) / directory_name(name)


def examine_client(description: str, profile: Path, name: Name, now: datetime) -> Iterator[Finding]:
    """What is wrong with one cipher of the client of ``name``, and with its profile.

    :raises UsageError: the description itself is wrong.
    """
    yield from _look_at_home(profile, f"the profile of {name}", f"when {name} first connects")
    with TemporaryDirectory() as elsewhere:
        client_cipher(description, Path(elsewhere), name.shown)
    yield from _examine(description, profile, now, server=False, user=name.shown)


async def look_at_port(reactor: Any, endpoint: str) -> Finding:
    """Whether a service could listen there now. It is listened there for a moment.

    :raises ConfigError: the endpoint cannot be understood.
    """
    check = "port"
    if endpoint.startswith("systemd:"):
        return Finding.note(check, f"{endpoint} is opened by systemd, where the .socket unit says.")
    try:
        where = serverFromString(reactor, endpoint)
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError(reason=f"--port {endpoint}: {error}; write an endpoint such as tcp:9999") from None
    try:
        port = await where.listen(Factory())
    except CannotListenError as error:
        why = getattr(error.socketError, "strerror", None) or str(error.socketError)
        text = f"Nobody can listen at {endpoint}: {why}. If that is this service, running, all is well."
        return Finding.error(check, text, "ss -ltnp tells who listens where.")
    await port.stopListening()
    return Finding.ok(check, f"The service can listen at {endpoint}.")


def look_at_configuration(read: Callable[[], object], what: str) -> Finding:
    """Whether something can be read at all."""
    try:
        read()
    except EncchatError as error:
        return Finding.error("configuration", str(error))
    return Finding.ok("configuration", f"{what} can be used.")


def _examine(
    description: str, directory: Path, now: datetime, *, server: bool, user: str
) -> Iterator[Finding]:
    parsed = parse_description(description)
    if parsed.name == "rsa":
        yield _look_at_identity(directory / IDENTITY_FILE, load_identity)
        return
    if parsed.name != "tls":
        yield Finding.note(
            "certificate", f"Nothing is known here about the files of the cipher {parsed.name}."
        )
        return
    where = sources(parsed.arguments, directory, server=server, user=user)
    if where.pinned:
        yield _look_at_identity(where.key, lambda path: load(where, now))
        return
    checkup = Checkup(_files(where), now)
    findings = list(checkup.run())
    yield from findings
    if worst(findings) < Severity.ERROR:
        yield look_at_configuration(lambda: load(where, now), f"The cipher {description}")


def _files(where: Sources) -> Files:
    return Files(
        role=Role.SERVER if where.server else Role.USER,
        certificate=where.certificate,
        key=where.key,
        authorities=where.authorities,
        crl=where.crl,
        crl_required=where.crl_required,
        user=None if where.server else parse_name(where.user),
    )


def _look_at_identity(path: Path, read: Callable[[Path], object]) -> Finding:
    """The key that we make ourselves, and are known by; nothing about it expires."""
    if not path.exists():
        return Finding.note("key", f"There is no key {path} yet: it is made at the first start.")
    return look_at_configuration(lambda: read(path), f"The key {path}")


def _look_at_home(directory: Path, what: str, when: str) -> Iterator[Finding]:
    try:
        status = directory.stat()
    except FileNotFoundError:
        yield Finding.note("directory", f"{directory}, {what}, will be made {when}.")
        return
    except OSError as error:
        yield Finding.error("directory", f"{directory} cannot be used: {error.strerror}.")
        return
    if not stat.S_ISDIR(status.st_mode):
        yield Finding.error("directory", f"{directory} is no directory.", f"Move {directory} away.")
    elif status.st_uid != os.geteuid():
        text = f"{directory}, {what}, belongs to another user than you."
        yield Finding.note("directory", text, "Run this as the user who runs the service.")
    elif status.st_mode & 0o077:
        text = f"Others can look into {directory}, {what}."
        yield Finding.warning("permissions", text, f"chmod 700 {directory}")
