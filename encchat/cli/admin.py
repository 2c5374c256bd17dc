"""``encchat-admin``: certificates, the messages, and whether a configuration can be used.

This module holds the names of the commands only; each one's module is imported when it is called for.
What a person can cause is told in one sentence on stderr: exit code 2 for a wrong command line, 78 for
files that cannot be used.
"""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import import_module
from typing import Any

import click

from encchat import __version__
from encchat.errors import EncchatError

#: Each command: the module and the attribute that hold it, and its line in the help.
COMMANDS = {
    "ca": ("encchat.cli.ca", "ca", "Certificates: make, renew, revoke, list and export them."),
    "doctor": ("encchat.cli.doctor", "doctor", "Say what is wrong with a configuration, or soon will be."),
    "log": ("encchat.cli.log", "log", "The messages: verify, export and count them."),
    "backup": ("encchat.cli.log", "backup", "Copy the messages to a file, while the service runs."),
    "restore": ("encchat.cli.log", "restore", "Put a backup in place, while the service does not run."),
    "users": ("encchat.cli.control", "users", "Who is in."),
    "rooms": ("encchat.cli.control", "rooms", "Which rooms there are."),
    "kick": ("encchat.cli.control", "kick", "Close somebody's sessions."),
    "ban": ("encchat.cli.control", "ban", "Keep somebody out of the server."),
    "unban": ("encchat.cli.control", "unban", "Let somebody in again."),
    "rename": ("encchat.cli.control", "rename", "Give somebody another name."),
    "rekey": ("encchat.cli.control", "rekey", "Give a name a new key, when its own are lost."),
    "announce": ("encchat.cli.control", "announce", "Say something to everybody who is in."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, for help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command itself."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list for help, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; our errors become one line."""
        try:
            return super().invoke(ctx)
        except EncchatError as error:
            click.echo(f"encchat-admin: {error}", err=True)
            ctx.exit(error.exit_code)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="encchat-admin", message="%(prog)s %(version)s")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Run an encchat service: its certificates, its messages and its configuration."""
    if ctx.obj is None:
        ctx.obj = lambda: datetime.now(UTC)
