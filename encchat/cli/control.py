"""``encchat-admin users``, ``rooms``, ``kick``, ``ban``, ``unban``, ``rename`` and ``announce``: what the
running service is asked through the control socket in its data directory."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from encchat.errors import ConfigError, EncchatError, LinkError, UsageError
from encchat.text import clean_line

#: The socket's name in the data directory; encchat.server.control listens there.
FILE = "control"
#: Seconds to wait for an answer, and bytes of one at most.
PATIENCE = 30.0
MAX_ANSWER = 64 * 1024 * 1024
#: What the letter behind a time stands for, in seconds.
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class NoServer(LinkError):
    """No service runs on {data}. Start it with twistd encchat, or name its directory with --data."""


class NotYours(ConfigError):
    """The service on {data} belongs to another user. Run this as its owner."""


class NoAnswer(LinkError):
    """The service on {data} does not answer ({reason}). Its log may say why."""


class Refusal(EncchatError):
    """{text}"""

    exit_code = 1


data_option = click.option(
    "--data",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="The service's data [default: your data directory].",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
reason_option = click.option("--reason", default="", help="What those who are put out are told.")


def ask(data: Path | None, request: Mapping[str, Any]) -> dict[str, Any]:
    """The service's answer to a request.

    :raises EncchatError: there is none, or it is a refusal.
    """
    if data is None:
        from platformdirs import user_data_path

        data = user_data_path("encchat", appauthor=False) / "server"
    data = data.expanduser()
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(PATIENCE)
            line.connect(str(data / FILE))
            line.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(_line(line))
    except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
        raise NoServer(data=str(data)) from None
    except PermissionError:
        raise NotYours(data=str(data)) from None
    except (OSError, ValueError) as error:
        raise NoAnswer(data=str(data), reason=str(error) or type(error).__name__) from None
    if not isinstance(answer, dict) or not isinstance(answer.get("ok"), bool):
        raise NoAnswer(data=str(data), reason="it says something else")
    if not answer["ok"]:
        raise Refusal(text=str(answer.get("text", "It refuses.")))
    return answer


def _line(line: socket.socket) -> bytes:
    found = bytearray()
    while not found.endswith(b"\n"):
        more = line.recv(65536)
        if not more or len(found) > MAX_ANSWER:
            raise ValueError("it broke off")
        found += more
    return bytes(found)


@click.command()
@data_option
@json_option
def users(data: Path | None, as_json: bool) -> None:
    """Who is in: a line for each session."""
    found = ask(data, {"do": "users"})["users"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for user in found:
        marks = "".join(f" [{word}]" for word in ("admin", "classic") if user[word])
        device = f" ({_clean(user['device'])})" if user["device"] else ""
        rooms = " ".join(map(_clean, user["rooms"])) or "in no room"
        who = f"{_clean(user['name'])}{device}{marks}"
        how = f"over {_clean(user['cipher'])} since {_when(user['since'])}, {_clean(user['key'])}"
        click.echo(f"{who} {how}: {rooms}")
    click.echo(f"{len(found)} sessions.")


@click.command()
@data_option
@json_option
def rooms(data: Path | None, as_json: bool) -> None:
    """Which rooms there are, private ones too."""
    found = ask(data, {"do": "rooms"})["rooms"]
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for room in found:
        owners = ", ".join(map(_clean, room["owners"])) or "nobody"
        topic = f": {_clean(room['topic'])}" if room["topic"] else ""
        name = _clean(room["room"]) + (" [private]" if room["access"] == "private" else "")
        click.echo(f"{name} {room['members']} here, {room['bans']} banned, owned by {owners}{topic}")
    click.echo(f"{len(found)} rooms.")


@click.command()
@click.argument("who", metavar="NAME|FINGERPRINT")
@reason_option
@data_option
def kick(who: str, reason: str, data: Path | None) -> None:
    """Close somebody's sessions. They may come again; ban keeps them out."""
    closed = ask(data, {"do": "kick", "who": who, "reason": reason})["closed"]
    click.echo(f"{closed} sessions closed.")


def to_seconds(ctx: click.Context, param: click.Parameter, value: str | None) -> int:
    """How long, such as 90s, 15m, 2h or 7d; 0, for ever, where nothing is said. What was said must be more
    than 0: a ban of 0m is not meant for ever."""
    if value is None:
        return 0
    number, unit = value[:-1], value[-1:]
    if number.isascii() and number.isdigit() and unit in UNITS and 0 < int(number) * UNITS[unit] < 2**31:
        return int(number) * UNITS[unit]
    raise click.BadParameter("write a number above 0 and s, m, h, d or w, such as 2h", ctx, param)


@click.command()
@click.argument("who", metavar="NAME|FINGERPRINT")
@click.option(
    "--for",
    "seconds",
    metavar="TIME",
    callback=to_seconds,
    help="How long, such as 15m, 2h or 7d [default: until you unban].",
)
@reason_option
@data_option
def ban(who: str, seconds: int, reason: str, data: Path | None) -> None:
    """Keep somebody out of the server: a NAME with all its keys, or the key with this FINGERPRINT."""
    closed = ask(data, {"do": "ban", "who": who, "seconds": seconds, "reason": reason})["closed"]
    click.echo(f"Banned; {closed} sessions closed.")


@click.command()
@click.argument("who", metavar="NAME|FINGERPRINT")
@data_option
@click.pass_context
def unban(ctx: click.Context, who: str, data: Path | None) -> None:
    """Let somebody in again. Ends with exit code 1 if there was no such ban."""
    if ask(data, {"do": "unban", "who": who})["found"]:
        click.echo("Not banned any more.")
    else:
        click.echo("There was no ban of that name or fingerprint.", err=True)
        ctx.exit(1)


@click.command()
@click.argument("who", metavar="NAME")
@click.argument("to", metavar="NEW-NAME")
@data_option
def rename(who: str, to: str, data: Path | None) -> None:
    """Give a name's holder another name, with its roles in all rooms. Nobody gets the old one."""
    ask(data, {"do": "rename", "who": who, "to": to})
    click.echo(f"{_clean(who)} is {_clean(to)} now, and was told so.")


@click.command()
@click.argument("who", metavar="NAME")
@click.argument("key", metavar="FINGERPRINT")
@data_option
def rekey(who: str, key: str, data: Path | None) -> None:
    """Give a NAME to the key with this FINGERPRINT, when its own are lost; those cannot use it any more."""
    closed = ask(data, {"do": "rekey", "who": who, "key": key})["closed"]
    click.echo(f"{_clean(who)} belongs to {_clean(key)} now; {closed} sessions closed.")


@click.command()
@click.argument("text")
@data_option
def announce(text: str, data: Path | None) -> None:
    """Say something to everybody who is in."""
    if not text.strip():
        raise UsageError(reason="there is nothing to announce")
    click.echo(f"{ask(data, {'do': 'announce', 'text': text})['told']} sessions were told.")


def _clean(text: object) -> str:
    return clean_line(str(text))


def _when(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%MZ")
