"""What the commands' arguments are: hosts, users and passphrases, checked before anything is done."""

from __future__ import annotations

import stat
from pathlib import Path

import click

from encchat.core.names import BadName, Name, parse_name
from encchat.errors import UsageError
from encchat.pki.files import check_private, read_bytes
from encchat.pki.hosts import BadHost, Host, parse_host

#: Bytes of the longest passphrase file.
MAX_PASSPHRASE = 4096


class NoPassphrase(UsageError):
    """The passphrase file {path} is empty. Its first line is the passphrase."""


def to_hosts(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> tuple[Host, ...]:
    """The hosts of an argument, each once."""
    try:
        return tuple(dict.fromkeys(parse_host(text, wildcard=True) for text in value))
    except BadHost as error:
        raise click.BadParameter(str(error), ctx, param) from None


def to_user(ctx: click.Context, param: click.Parameter, value: str) -> Name:
    """The user of an argument."""
    try:
        return parse_name(value)
    except BadName as error:
        raise click.BadParameter(str(error), ctx, param) from None


passphrase_file_option = click.option(
    "--passphrase-file",
    type=click.Path(path_type=Path),
    help="A file whose first line is the passphrase.",
)


def read_passphrase(path: Path) -> bytes:
    """The first line of a passphrase file, which only its owner may read; of a pipe, too.

    :raises KeyExposed: others may.
    :raises NoPassphrase: there is nothing in it.
    """
    if path.exists() and stat.S_ISREG(path.stat().st_mode):
        check_private(path)
    passphrase = read_bytes(path, limit=MAX_PASSPHRASE).partition(b"\n")[0].removesuffix(b"\r")
    if not passphrase:
        raise NoPassphrase(path=str(path))
    return passphrase
