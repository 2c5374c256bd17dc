"""``encchat-admin log``, ``backup`` and ``restore``: the messages of a service, checked, counted, exported,
copied and brought back. All but ``restore`` work beside the running service."""

from __future__ import annotations

import codecs
import errno
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from encchat.core.export import FORMATS
from encchat.errors import ConfigError, UsageError
from encchat.logs import archive, offline
from encchat.logs import backup as copying
from encchat.logs.partials import finish, partial_beside
from encchat.logs.verify import index_problem, verify
from encchat.text import clean_line

_path = click.Path(path_type=Path)
data_option = click.option(
    "--data", metavar="DIR", type=_path, help="The service's data [default: your data directory]."
)


class NoSuchRoom(UsageError):
    """The log has no room {room}. encchat-admin log stats lists the rooms."""


def log_file(data: Path | None) -> Path:
    """The log in a data directory, or in the one that ``twistd encchat`` takes by itself."""
    if data is None:
        from platformdirs import user_data_path

        data = user_data_path("encchat", appauthor=False) / "server"
    return data.expanduser() / offline.FILE


@click.group()
def log() -> None:
    """The log of the messages: verify, export, count."""


@log.command("verify")
@data_option
@click.pass_context
def verify_log(ctx: click.Context, data: Path | None) -> None:
    """Recompute every chain, look for whatever is missing, altered or there twice, and compare the search
    index with the messages. Ends with exit code 1 if there is anything."""
    path = log_file(data)
    wrong = 0
    with offline.opened(path) as connection:
        for problem in verify(path):
            click.echo(clean_line(problem))
            wrong += 1
        stale = index_problem(path) if not wrong else None
        if stale is not None:
            click.echo(clean_line(stale))
        elif not wrong:
            found = offline.rooms(connection)
            entries = sum(room.kept for room in found)
            click.echo(f"All is well: {entries} entries in {len(found)} rooms.")
    if wrong:
        click.echo(
            f"{wrong} problems. Keep a copy of {path}, and restore a backup: encchat-admin restore FILE"
        )
        ctx.exit(1)
    if stale is not None:
        click.echo("No message is lost. Stop the service, and forget the index: encchat-admin log reindex")
        ctx.exit(1)


@log.command("reindex")
@data_option
def forget_index(data: Path | None) -> None:
    """Forget the search index, while the service does not run; the service makes it anew when it starts, and
    finds everything meanwhile."""
    offline.reindex(log_file(data).parent)
    click.echo("The search index is made anew when the service starts.")


@log.command("stats")
@data_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, for programs.")
def show_stats(data: Path | None, as_json: bool) -> None:
    """How many entries there are, in which rooms, how large, and until when."""
    path = log_file(data)
    with offline.opened(path) as connection:
        found = offline.rooms(connection)
    files = [path.with_name(path.name + beside) for beside in ("", "-wal")]
    size = sum(file.stat().st_size for file in files if file.exists())
    if as_json:
        rooms = [
            {"room": r.name, "head": r.head, "kept": r.kept, "bytes": r.size, "last": r.last} for r in found
        ]
        click.echo(json.dumps({"file": str(path), "bytes": size, "rooms": rooms}, indent=2))
        return
    for room in found:
        last = datetime.fromtimestamp(room.last / 1000, UTC).strftime("%Y-%m-%d %H:%MZ") if room.last else "-"
        gone = f", {room.floor} left" if room.floor else ""
        click.echo(f"{clean_line(room.name):24} {room.kept:10} entries{gone}, {room.size} bytes, last {last}")
    click.echo(f"{sum(room.kept for room in found)} entries in {len(found)} rooms; {size} bytes on disk.")


@log.command("export")
@data_option
@click.option(
    "--room", "names", metavar="ROOM", multiple=True, help="Only this room; several times for more."
)
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="json", show_default=True)
@click.option("--output", metavar="FILE", type=_path, help="A new file [default: standard output].")
def export_log(data: Path | None, names: tuple[str, ...], form: str, output: Path | None) -> None:
    """Write entries as JSON lines, as text, or as one page of HTML that needs nothing else."""
    with offline.opened(log_file(data)) as connection:
        try:
            found = offline.chosen(offline.rooms(connection), names)
        except KeyError as error:
            raise NoSuchRoom(room=error.args[0]) from None
        with _writing(output) as out:
            for line in FORMATS[form]((room, offline.entries(connection, room)) for room in found):
                out.write(line + "\n")


@contextmanager
def _writing(output: Path | None) -> Iterator[Any]:
    """Standard output, or a new private file that has its name only once it is whole."""
    if output is None:
        yield codecs.getwriter("utf-8")(sys.stdout.buffer)
        return
    try:
        if os.path.lexists(output):
            raise FileExistsError(errno.EEXIST, "there is a file of this name")
        with partial_beside(output) as partial:
            with partial.open("w", encoding="utf-8") as file:
                yield file
            finish(partial, output)
    except OSError as error:
        raise ConfigError(reason=f"{output} cannot be written: {error.strerror or error}") from None


@click.command()
@click.argument("file", type=_path)
@click.option("--without-files", is_flag=True, help="Only the messages, names and rooms, as one SQLite file.")
@data_option
@click.pass_context
def backup(ctx: click.Context, file: Path, without_files: bool, data: Path | None) -> None:
    """Copy the messages, names and rooms, and the files that people gave to rooms, to the new tar FILE, while
    the service runs or not. The service's keys are not in it: copy the other files of its data directory
    once."""
    log = log_file(data)
    with offline.opened(log) as connection:
        if without_files:
            copying.copy(connection, file)
        else:
            contents = archive.write(connection, log.parent, file)
    size = f"{file} has {file.stat().st_size} bytes"
    if without_files:
        click.echo(f"{size}, and no files in it; encchat-admin restore verifies it first.")
        return
    click.echo(f"{size}, and {contents.files} files in it; encchat-admin restore verifies it first.")
    for name in contents.damaged:
        click.echo(f"The file {name} has suffered on the disk, and is not in the backup.", err=True)
    if contents.damaged:
        ctx.exit(1)


@click.command()
@click.argument("file", type=_path)
@data_option
def restore(file: Path, data: Path | None) -> None:
    """Put the backup FILE in place, while the service does not run. It is verified first, and what was there
    is kept beside it."""
    target = log_file(data)
    restored = offline.restore(file, target.parent)
    click.echo(f"{target} is as it was when {file} was made.")
    if restored.files is None:
        click.echo(
            "There are no files in that backup: those of the data directory stay, as far as it knows them."
        )
    else:
        click.echo(f"{restored.files} files are back.")
    if restored.before is not None:
        click.echo(f"The log that was there is now {restored.before}.")
    click.echo("Clients that have read further than that will ask before they trust it (--accept-log).")
