"""``encchat-admin ca``: the certificate authority of a small service, in one directory.

The rules are in ``encchat.pki.authority`` and the files in ``encchat.pki.store``; here are options,
passphrases and what is printed. A passphrase is asked for on the terminal or read from a file, never
taken from the command line, where every user of the machine could read it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import click
from cryptography.hazmat.primitives.asymmetric import ec

from encchat.cli.ca_shown import crl_of, days_left, index_as_json, print_crl, print_made, print_table
from encchat.cli.params import passphrase_file_option, read_passphrase, to_hosts, to_user
from encchat.core.names import Name
from encchat.pki import authority, build, files
from encchat.pki.authority import REASONS, Change
from encchat.pki.export import pkcs12
from encchat.pki.health import look_at_certificate, look_at_crl, stamp
from encchat.pki.hosts import Host
from encchat.pki.index import Index, State
from encchat.pki.names import RESERVED_STEMS
from encchat.pki.store import Store
from encchat.text import clean_line

Clock = Callable[[], datetime]

_dir_option = click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path),
    default=Path("certs"),
    show_default=True,
    help="The certificate directory.",
)
_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")


@click.group()
def ca() -> None:
    """A certificate authority of your own, and what it signs."""


@ca.command()
@_dir_option
@click.option("--name", default="encchat CA", show_default=True, help="What the authority is called.")
@click.option("--passphrase", "ask", is_flag=True, help="Protect the key; asks for the passphrase.")
@passphrase_file_option
@click.pass_obj
def init(clock: Clock, directory: Path, name: str, ask: bool, passphrase_file: Path | None) -> None:
    """Make a certificate authority: ca.pem for everybody, ca.key for you alone."""
    store = Store(directory)
    shown = clean_line(name.strip())
    if not 1 <= len(shown) <= build.MAX_COMMON_NAME:
        raise click.BadParameter(f"must have 1 to {build.MAX_COMMON_NAME} characters", param_hint="--name")
    passphrase = None
    if passphrase_file is not None:
        passphrase = read_passphrase(passphrase_file)
    elif ask:
        passphrase = _ask("Passphrase for the authority's key", confirm=True)
    with store.first_turn():
        change = authority.found(shown, clock())
        _commit(store, change, passphrase)
    record = change.records[0]
    click.echo(f"Made the certificate authority {shown!r} in {directory}, good until {stamp(record.ends)}.")
    click.echo(f"Its fingerprint is {record.fingerprint}.")
    click.echo(
        f"Everybody needs {store.certificate_path('ca')}. Nobody but you needs {store.key_path('ca')}."
    )


@ca.command()
@click.argument("hosts", metavar="HOST...", nargs=-1, required=True, callback=to_hosts)
@_dir_option
@click.option("--as", "stem", metavar="NAME", default="server", show_default=True, help="NAME.pem, NAME.key.")
@click.option("--force", is_flag=True, help="Give up the certificate that is there, though it is still good.")
@passphrase_file_option
@click.pass_obj
def server(
    clock: Clock,
    hosts: tuple[Host, ...],
    directory: Path,
    stem: str,
    force: bool,
    passphrase_file: Path | None,
) -> None:
    """Make a server's certificate and key, for each HOST that clients may type: names and addresses."""
    if stem != "server" and (stem in RESERVED_STEMS or not _is_file_name(stem)):
        raise click.BadParameter(f"{stem!r} cannot be the name of a file here", param_hint="--as")

    def change(index: Index, signer: build.Signer) -> Change:
        store.check_ours(index, stem)
        return authority.issue_server(index, signer, hosts, stem, clock(), force=force)

    store = Store(directory)
    _, made = _change(store, passphrase_file, change)
    print_made(store, made)
    click.echo(f"The service needs ca.pem, {stem}.pem and {stem}.key, and crl.pem if there is one.")


@ca.command()
@click.argument("name", callback=to_user)
@_dir_option
@passphrase_file_option
@click.pass_obj
def user(clock: Clock, name: Name, directory: Path, passphrase_file: Path | None) -> None:
    """Make a user's certificate and key: whoever holds them is NAME."""

    def change(index: Index, signer: build.Signer) -> Change:
        made = authority.issue_user(index, signer, name, clock())
        store.check_ours(index, made.records[0].stem)
        return made

    store = Store(directory)
    _, made = _change(store, passphrase_file, change)
    print_made(store, made)


@ca.command()
@click.argument("what", metavar="NAME|FINGERPRINT")
@_dir_option
@click.option("--reason", type=click.Choice(list(REASONS)), default="unspecified", show_default=True)
@passphrase_file_option
@click.pass_obj
def revoke(clock: Clock, what: str, directory: Path, reason: str, passphrase_file: Path | None) -> None:
    """Take back every certificate of a user, a server or a key, and write crl.pem."""

    def change(index: Index, signer: build.Signer) -> Change:
        return authority.revoke(index, signer, authority.to_revoke(index, what, clock()), reason, clock())

    store = Store(directory)
    index, made = _change(store, passphrase_file, change)
    for record in made.records:
        click.echo(f"Revoked {record.role} {record.name}, serial {record.serial}, {record.fingerprint}.")
    print_crl(store, index)


@ca.command()
@click.argument("names", metavar="[NAME...]", nargs=-1)
@_dir_option
@click.option("--all-due", is_flag=True, help="Whatever ends within 30 days or has ended, and crl.pem.")
@click.option("--new-key", is_flag=True, help="Make new keys too; the fingerprints change.")
@passphrase_file_option
@click.pass_obj
def renew(
    clock: Clock,
    names: tuple[str, ...],
    directory: Path,
    all_due: bool,
    new_key: bool,
    passphrase_file: Path | None,
) -> None:
    """Make new certificates in the place of old ones. The keys, and so the fingerprints, stay."""
    if bool(names) == all_due:
        raise click.UsageError("Give the names to renew, or --all-due.")
    store = Store(directory)
    if all_due and not (authority.due(store.load(), clock()) or authority.crl_due(store.load(), clock())):
        click.echo("Nothing is due.")
        return

    def change(index: Index, signer: build.Signer) -> Change:
        now = clock()
        chosen = [authority.to_renew(index, name) for name in names] or authority.due(index, now)
        unique = {record.serial: record for record in chosen}.values()
        made = authority.renew(index, signer, unique, now, new_key=new_key)
        if all_due and authority.crl_due(index, now):
            crl = authority.publish_crl(made.index, signer, now)
            made = Change(crl.index, made.records, made.keys)
        return made

    before = store.load().crl_number
    index, made = _change(store, passphrase_file, change)
    print_made(store, made)
    if index.crl_number != before:
        print_crl(store, index)


@ca.command()
@_dir_option
@passphrase_file_option
@click.pass_obj
def crl(clock: Clock, directory: Path, passphrase_file: Path | None) -> None:
    """Write crl.pem anew: it holds for 30 days, and then refuses everybody."""
    store = Store(directory)
    index, _ = _change(
        store, passphrase_file, lambda index, signer: authority.publish_crl(index, signer, clock())
    )
    print_crl(store, index)


@ca.command()
@click.argument("name")
@_dir_option
@click.option("--p12", is_flag=True, help="As PKCS#12: certificate, key and ca.pem in one encrypted file.")
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; default NAME.p12 beside it.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@passphrase_file_option
@click.pass_obj
def export(
    clock: Clock,
    name: str,
    directory: Path,
    p12: bool,
    out: Path | None,
    force: bool,
    passphrase_file: Path | None,
) -> None:
    """Pack certificate, key and ca.pem into one file, for the way to a user."""
    if not p12:
        raise click.UsageError("Say how: --p12 is the one format there is.")
    store = Store(directory)
    index = store.load()
    record = authority.to_renew(index, name)
    target = out if out is not None else directory / f"{record.stem}.p12"
    if target.exists() and not force:
        raise click.UsageError(f"{target} exists. Overwrite it with --force, or take another with --out.")
    hint = f"{record.name}'s key is not kept here. A new one: encchat-admin ca renew --new-key {record.name}"
    key = files.read_private_key(store.key_path(record.stem), hint=hint)
    if passphrase_file is not None:
        passphrase = read_passphrase(passphrase_file)
    else:
        passphrase = _ask(f"Passphrase for {target}", confirm=True)
    packed = pkcs12(record.name, key, record.certificate, index.authority.certificate, passphrase)
    files.write_file(target, packed, 0o600)
    click.echo(f"Wrote {target}. Send the passphrase by another way than the file.")


@ca.command("list")
@_dir_option
@click.option("--all", "everything", is_flag=True, help="Also those that were replaced.")
@_json_option
@click.pass_obj
def list_(clock: Clock, directory: Path, everything: bool, as_json: bool) -> None:
    """Show the certificates: whose, until when, and in which state."""
    index, now = Store(directory).load(), clock()
    if as_json:
        click.echo(json.dumps(index_as_json(index, now), ensure_ascii=False, indent=2))
        return
    rows: list[tuple[str, ...]] = [("NAME", "ROLE", "STATE", "DAYS", "FILE", "FINGERPRINT")]
    for record, state in index.states(now):
        if everything or state is not State.REPLACED:
            left = str(days_left(record.ends, now)) if state in {State.VALID, State.REPLACED} else "-"
            rows.append((record.name, record.role, state, left, f"{record.stem}.pem", record.fingerprint))
    print_table(rows)
    click.echo()
    click.echo(look_at_certificate(index.authority.certificate, "The authority", now).text)
    if index.crl:
        click.echo(look_at_crl(crl_of(index), f"crl.pem, number {index.crl_number},", now).text)
    else:
        click.echo("There is no crl.pem: nobody was revoked.")


# ------------------------------------------------------------------------------------------ the work


def _change(
    store: Store, passphrase_file: Path | None, operation: Callable[[Index, build.Signer], Change]
) -> tuple[Index, Change]:
    with store.turn():
        pass  # finishes an interrupted command, so that the authority's key is in its place
    signer = _signer(store, passphrase_file)  # may ask for a passphrase: not while others wait
    with store.turn() as index:
        change = operation(index, signer)
        return _commit(store, change), change


def _commit(store: Store, change: Change, passphrase: bytes | None = None) -> Index:
    pems = {serial: build.key_pem(key, passphrase) for serial, key in change.keys.items()}
    return store.commit(change.index, pems)


def _signer(store: Store, passphrase_file: Path | None) -> build.Signer:
    path = store.key_path("ca")
    hint = "It signs everything: bring it back, or work on the machine that has it."
    passphrase = None if passphrase_file is None else read_passphrase(passphrase_file)
    try:
        key = files.read_private_key(path, passphrase, hint)
    except files.KeyEncrypted:
        if not sys.stdin.isatty():
            raise
        key = files.read_private_key(path, _ask(f"Passphrase of {path}"), hint)
    certificate = store.load().authority.certificate
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise authority.WrongAuthorityKey(path=str(path))
    return build.Signer(certificate, key)


def _ask(what: str, *, confirm: bool = False) -> bytes:
    passphrase: str = click.prompt(what, hide_input=True, confirmation_prompt=confirm, err=True)
    return passphrase.encode("utf-8")


def _is_file_name(stem: str) -> bool:
    return stem == clean_line(stem) != "" and not set(stem) & set("/\\%") and not stem.startswith((".", "-"))
