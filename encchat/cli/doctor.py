"""``encchat-admin doctor``: what is wrong with a configuration, or soon will be, and what mends it.

``examine`` reads configurations and ``probe`` asks a running service; here are the options, and what is
printed. It ends with exit code 1 if there is anything to do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict
from datetime import datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import click
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import quoteStringArgument
from twisted.internet.selectreactor import SelectReactor
from twisted.python.failure import Failure

from encchat.ciphers.registry import client_cipher
from encchat.cli.examine import (
    examine_client,
    examine_data,
    examine_server,
    look_at_configuration,
    look_at_port,
    profile_of,
)
from encchat.cli.probe import Answer, findings, probe
from encchat.client.network.address import Address, parse_address
from encchat.client.profile import choose_name
from encchat.core.names import Name
from encchat.errors import ConfigError
from encchat.pki.health import Finding, Severity, worst
from encchat.server.config import DEFAULT_CIPHER, Config, load
from encchat.text import clean_line

_Result = TypeVar("_Result")
_path = click.Path(path_type=Path)

_WHAT = "Say what to look at: --server DIR (or --cipher, --config), --client, or --connect HOST:PORT."


@click.command()
@click.option("--server", "certs", metavar="DIR", type=_path, help="The same as --cipher tls:certs=DIR.")
@click.option("--client", is_flag=True, help="Look at the client of --name, with --cipher, in --state.")
@click.option("--connect", metavar="HOST:PORT", help="Ask a running service, as the client of --name.")
@click.option("--cipher", "ciphers", metavar="DESCRIPTION", multiple=True, help="As in twistd encchat.")
@click.option("--port", "ports", metavar="ENDPOINT", multiple=True, help="Try whether it is free.")
@click.option("--config", metavar="FILE", type=_path, help="The service's TOML file.")
@click.option("--data", metavar="DIR", type=_path, help="The service's data.")
@click.option("--state", metavar="DIR", type=_path, help="The client's profiles.")
@click.option("--name", help="The client's user.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
@click.pass_context
def doctor(
    ctx: click.Context,
    certs: Path | None,
    client: bool,
    connect: str | None,
    ciphers: tuple[str, ...],
    ports: tuple[str, ...],
    config: Path | None,
    data: Path | None,
    state: Path | None,
    name: str | None,
    as_json: bool,
) -> None:
    """Say what is wrong with a configuration, or soon will be: certificates, revocation lists, keys and who
    can read them, the clock, the port. Ends with exit code 1 if there is something to do.

    \b
    A service:          doctor --server DIR, or --cipher ..., or --config FILE
    A client:           doctor --client [--name NAME] [--cipher ...]
    A running service:  doctor --connect HOST:PORT [--name NAME] [--cipher ...]
    """
    now: datetime = ctx.obj()
    if certs is not None:
        ciphers = (*ciphers, f"tls:certs={quoteStringArgument(str(certs))}")
    answer: Answer | None = None
    if client or connect is not None:
        if certs or config or data or ports or len(ciphers) > 1:
            raise click.UsageError("A client has one --cipher, and nothing of a service. " + _WHAT)
        user = choose_name(name, os.environ)
        cipher, profile = (ciphers or (DEFAULT_CIPHER,))[0], profile_of(user, state)
        found = list(examine_client(cipher, profile, user, now))
        if connect is not None:
            answer, seen = _connect(parse_address(connect), cipher, profile, user, now)
            found += seen
    else:
        if not (ciphers or config):
            raise click.UsageError(_WHAT)
        if name is not None or state is not None:
            raise click.UsageError("A service has no --name and no --state. " + _WHAT)
        found = list(_look_at_server(ciphers, ports, config, data, now))
    if as_json:
        click.echo(json.dumps(_as_json(found, answer), ensure_ascii=False, indent=2))
    else:
        _print(found)
    ctx.exit(1 if worst(found) >= Severity.WARNING else 0)


def _look_at_server(
    ciphers: tuple[str, ...], ports: tuple[str, ...], file: Path | None, data: Path | None, now: datetime
) -> Iterator[Finding]:
    config = Config(**load(file)) if file else Config()  # type: ignore[arg-type]  # load() has checked the types
    if file is not None:
        yield look_at_configuration(lambda: config.check().policy(), str(file))
    if data is None and config.data:
        data = Path(config.data).expanduser()
    if data is not None:
        yield from examine_data(data)
    for description in ciphers or config.cipher:
        yield from examine_server(description, data or _default_data(), now)
    for endpoint in ports or config.port:
        yield _run_alone(partial(look_at_port, endpoint=endpoint))


def _default_data() -> Path:
    from platformdirs import user_data_path

    return user_data_path("encchat", appauthor=False) / "server"


def _connect(
    address: Address, description: str, profile: Path, user: Name, now: datetime
) -> tuple[Answer | None, list[Finding]]:
    with TemporaryDirectory() as elsewhere:
        cipher = client_cipher(description, profile if profile.is_dir() else Path(elsewhere), user.shown)
        try:
            cipher.prepare()
        except ConfigError as error:  # as was found before; without it nothing can be asked
            return None, [Finding.error("connection", f"{address} was not asked: {error}")]
        answer = _run_alone(lambda reactor: probe(reactor, address, cipher, user.shown))
    return answer, list(findings(answer, address, cipher.identity, now))


def _run_alone(work: Callable[[Any], Coroutine[Deferred[Any], Any, _Result]]) -> _Result:
    """Run a coroutine on a reactor of its own, to its end."""
    reactor = SelectReactor()
    results: list[_Result | Failure] = []

    def finished(result: _Result | Failure) -> None:
        results.append(result)
        reactor.stop()

    reactor.callWhenRunning(lambda: Deferred.fromCoroutine(work(reactor)).addBoth(finished))
    reactor.run(installSignalHandlers=False)
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result


# ------------------------------------------------------------------------------------ what is printed


def _print(found: list[Finding]) -> None:
    for finding in found:
        word = finding.severity.name
        click.echo(
            f"{word.lower() if finding.severity < Severity.WARNING else word:8}{clean_line(finding.text)}"
        )
        if finding.fix:
            click.echo(f"        > {clean_line(finding.fix)}")
    wrong = sum(finding.severity is Severity.ERROR for finding in found)
    soon = sum(finding.severity is Severity.WARNING for finding in found)
    click.echo(f"{wrong} wrong, {soon} soon to be." if wrong or soon else "All is well.")


def _as_json(found: list[Finding], answer: Answer | None) -> dict[str, Any]:
    return {
        "severity": worst(found).name.lower(),
        "findings": [{**asdict(each), "severity": each.severity.name.lower()} for each in found],
        "connection": None if answer is None else _answer_as_json(answer),
    }


def _answer_as_json(answer: Answer) -> dict[str, Any]:
    version, group, cipher = answer.agreed or (None, None, None)
    return {
        "version": version,
        "group": group,
        "cipher": cipher,
        "alpn": answer.alpn,
        "server": answer.server and asdict(answer.server),
        "accepted": answer.accepted,
        "error": answer.error and {"code": answer.error.code, "text": str(answer.error)},
    }
