"""What a command line of ``encchat-client`` comes to: checked before anything is opened, then run.

Imports little: on a terminal the prompt is drawn before the rest is there (``first_prompt``).
"""

from __future__ import annotations

import gc
import os
import sys
import warnings
from datetime import datetime
from getpass import GetPassWarning, getpass
from typing import TYPE_CHECKING, Any

from encchat.cli.client import Options
from encchat.cli.standard import open_standard_handles
from encchat.client.network.address import parse_address
from encchat.client.profile import choose_name
from encchat.client.view.titles import meant
from encchat.core.names import Name, is_open
from encchat.errors import UsageError

if TYPE_CHECKING:
    from encchat.client.pipe.span import Span
    from encchat.client.screen.prompt import Prompt
    from encchat.core.sealed.backup import Contents


class BadFingerprint(UsageError):
    """{text!r} is not a fingerprint. --pin takes it as the server's start-up line prints it: SHA256: and 43
    characters."""


class BadCode(UsageError):
    """{text!r} is not a link code. Type /link on a device that has the name already; it shows one, such as
    7K2QX-0M9DF-3HWTB."""


def link_code(text: str, name: Name) -> str:
    """A code that a person typed, in any of the ways that it may be written.

    :raises BadCode: it cannot be one.
    """
    from encchat.core.accounts.links import digest
    from encchat.core.refusals import BadLink

    try:
        digest(text, name.key)
    except BadLink:
        raise BadCode(text=text[:40]) from None
    return text.replace("-", "").replace(" ", "")


def check_pin(text: str) -> None:
    """What --pin names.

    :raises BadFingerprint: it is not one.
    """
    from encchat.core.identity import is_fingerprint

    if not is_fingerprint(text):
        raise BadFingerprint(text=text)


def span_of(options: Options) -> Span:
    """What --tail, --since and --until ask for.

    :raises UsageError: a time that is none, or nothing between them.
    """
    from encchat.client.pipe.span import Span, parse_moment

    now = datetime.now().astimezone()
    since = None if options.since is None else parse_moment("--since", options.since, now)
    until = None if options.until is None else parse_moment("--until", options.until, now)
    return Span(options.tail, since, until)


def _contents(options: Options) -> Contents | None:
    """What the backup holds that is to be taken, before anything else is done."""
    if options.restore is None:
        return None
    from encchat.client.commands.backing import NoPassphrase, read_backup, read_passphrase

    def passphrase() -> str:
        if options.passphrase_fd is not None:
            return read_passphrase(options.passphrase_fd)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", GetPassWarning)  # else it reads what is no terminal
                return getpass("Passphrase of the backup: ")
        except GetPassWarning:
            from encchat.client.shown import NobodyToAsk

            raise NobodyToAsk() from None
        except EOFError:
            raise NoPassphrase(reason="the input ended") from None

    return read_backup(options.restore, passphrase)


def run(options: Options) -> int:
    """Do what the command line asks for; returns the exit code.

    :raises EncchatError: it cannot be done; says why.
    """
    open_standard_handles()
    if options.help_ciphers:
        from encchat.ciphers.registry import help_ciphers

        print(help_ciphers(), end="")
        return 0
    program = Program(options)
    if program.full_screen:
        from encchat.cli.first_prompt import run_on_terminal

        return run_on_terminal(program)
    from twisted.internet import reactor

    import encchat.cli.conversation  # noqa: F401 -- before what is here is frozen
    from encchat.cli.running import Runner

    # What is here by now stays to the end: not to be looked through each time that garbage is collected.
    gc.freeze()
    gc.enable()
    return Runner(reactor).run(lambda: program.run(reactor))


class Program:
    """One run of the client: what it is to do, and with whom."""

    def __init__(self, options: Options) -> None:
        self.options = options
        if options.pin is not None:
            check_pin(options.pin)
        self.address = parse_address(options.address)
        #: What does one thing and ends: --send, --send-file, --get.
        self.errand = options.send or options.send_file or options.get
        self.restored = _contents(options)
        self.name = choose_name(options.name, os.environ)
        self.room = meant(self.errand[0] if self.errand else options.room, self.name.shown)
        self.link = link_code(options.link, self.name) if options.link is not None else ""
        on_terminal = sys.stdin is not None and os.isatty(0) and os.isatty(1)
        #: A person types and reads.
        self.interactive = on_terminal and not (
            options.json or self.errand or options.extract or options.restore
        )
        dumb = os.environ.get("TERM", "dumb") in ("dumb", "")
        #: The terminal may be drawn on.
        self.full_screen = self.interactive and not (options.linear or dumb or options.classic)
        self.span = span_of(options) if options.extract else None
        #: Sealed rooms are not needed where one thing is done in an open one.
        self.sealed = not ((self.errand or options.extract) and is_open(self.room))

    async def run(self, reactor: Any, prompt: Prompt | None = None) -> int:
        """Do it; returns the exit code. On a terminal, the prompt stands already.

        :raises EncchatError: it cannot be done; says why.
        """
        from encchat.cli.conversation import Conversation

        return await Conversation(self, prompt).run(reactor)
