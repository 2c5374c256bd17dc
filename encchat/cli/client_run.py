"""The client's composition root: profile, store, cipher, session, link and console, joined and run."""

from __future__ import annotations

import gc
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from getpass import getpass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool

from encchat.cli.client import PROGRAM, Options
from encchat.cli.running import Runner, open_standard_handles, status
from encchat.client.address import parse_address
from encchat.client.chat import Chat
from encchat.client.ending import race
from encchat.client.events import Acknowledged, FileGiven, FileSaved
from encchat.client.lines import Reader, Writer
from encchat.client.link import GOODBYE, Link, Patience
from encchat.client.profile import choose_name, open_profile
from encchat.client.show import count
from encchat.client.titles import meant
from encchat.client.trust import Trust, UnknownServer
from encchat.core.identity import is_fingerprint
from encchat.core.links import digest
from encchat.core.names import Name, is_open
from encchat.core.refusals import BadLink
from encchat.errors import UsageError
from encchat.library.opening import Opening, milliseconds

if TYPE_CHECKING:
    from encchat.ciphers.interfaces import IClientCipher
    from encchat.cli.wire import ClientWire
    from encchat.client.progress import Progress
    from encchat.client.span import Span
    from encchat.core.sealed.backup import Contents

#: Seconds that a pipe goes without a connection before it gives up.
PIPE_PATIENCE = 120.0
#: Seconds that a goodbye may take when the user is in a hurry.
HURRIED_GOODBYE = 1.0


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
    try:
        digest(text, name.key)
    except BadLink:
        raise BadCode(text=text[:40]) from None
    return text.replace("-", "").replace(" ", "")


def span_of(options: Options) -> Span:
    """What --tail, --since and --until ask for.

    :raises UsageError: a time that is none, or nothing between them.
    """
    from encchat.client.span import Span, parse_moment

    now = datetime.now().astimezone()
    since = None if options.since is None else parse_moment("--since", options.since, now)
    until = None if options.until is None else parse_moment("--until", options.until, now)
    return Span(options.tail, since, until)


def progress_on(reactor: Any) -> Progress | None:
    """A line on stderr about a large input, where that is a terminal and the input is none."""
    if sys.stderr is None or not os.isatty(2) or os.isatty(0) or os.environ.get("TERM", "") in ("dumb", ""):
        return None
    from encchat.client.progress import Progress

    found = os.fstat(0)

    def write(text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()

    size = found.st_size if stat.S_ISREG(found.st_mode) else None
    return Progress(reactor, write, size, shared=os.isatty(1))


def run(options: Options) -> int:
    """Do what the command line asks for; returns the exit code.

    :raises EncchatError: it cannot be done; says why.
    """
    open_standard_handles()
    if options.help_ciphers:
        from encchat.ciphers.registry import help_ciphers

        print(help_ciphers(), end="")
        return 0
    if options.pin is not None and not is_fingerprint(options.pin):
        raise BadFingerprint(text=options.pin)
    program = Program(options)
    if program.full_screen:
        _install_for_terminal()
    from twisted.internet import reactor

    # What is here by now stays to the end: not to be looked through each time that garbage is collected.
    gc.freeze()
    gc.enable()
    return Runner(reactor).run(lambda: program.run(reactor))


def _contents(options: Options) -> Contents | None:
    """What the backup holds that is to be taken, before anything else is done."""
    if options.restore is None:
        return None
    from encchat.client.backing import NoPassphrase, read_backup, read_passphrase

    def passphrase() -> str:
        if options.passphrase_fd is not None:
            return read_passphrase(options.passphrase_fd)
        try:
            return getpass("Passphrase of the backup: ")
        except EOFError:
            raise NoPassphrase(reason="the input ended") from None

    return read_backup(options.restore, passphrase)


#: What Twisted's reactors import for TLS of their own, which we do not use: it brings OpenSSL and X.509.
_TLS = ("twisted.protocols.tls", "twisted.internet.ssl", "twisted.internet._newtls")


def _install_for_terminal() -> None:
    """Install Twisted's asyncio reactor, and import the console that needs it. A cipher that needs OpenSSL
    imports it later, while the prompt is there already."""
    hidden = [name for name in _TLS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None makes an import fail
    try:
        from twisted.internet import asyncioreactor

        asyncioreactor.install()
    finally:
        for name in hidden:
            del sys.modules[name]
    import_module("encchat.client.terminal")


class Program:
    """One run of the client, from its options to its exit code."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.address = parse_address(options.address)
        #: What does one thing and ends: --send, --send-file, --get.
        self.errand = options.send or options.send_file or options.get
        self.restored = _contents(options)
        self.name = choose_name(options.name, os.environ)
        self.room = meant(self.errand[0] if self.errand else options.room, self.name.shown)
        self.link = link_code(options.link, self.name) if options.link is not None else ""
        self.status = status(PROGRAM)
        on_terminal = sys.stdin is not None and os.isatty(0) and os.isatty(1)
        #: A person types and reads.
        self.interactive = on_terminal and not (
            options.json or self.errand or options.extract or options.restore
        )
        dumb = os.environ.get("TERM", "dumb") in ("dumb", "")
        #: The terminal may be drawn on.
        self.full_screen = self.interactive and not (options.linear or dumb or options.classic)
        self.wire: ClientWire | None = None
        self.cipher: IClientCipher | None = None
        self.span = span_of(options) if options.extract else None
        #: Sealed rooms are not needed where one thing is done in an open one.
        self.sealed = not ((self.errand or options.extract) and is_open(self.room))

    async def run(self, reactor: Any) -> int:
        """The conversation, with whatever is needed for it opened before and let go of after it."""
        if not self.options.wire:
            return await self._run(reactor)
        from encchat.cli.wire import ClientWire

        self.wire = ClientWire(self.options.wire, self.status, milliseconds)
        try:
            return await self._run(reactor)
        finally:
            self.wire.tap.close()

    async def _run(self, reactor: Any) -> int:
        if self.options.classic:
            from encchat.cli.client_classic import run_classic

            tap = None if self.wire is None else self.wire.tap
            return await run_classic(reactor, self.address, self.options.listen, self.status, tap)
        self.directory = open_profile(self.name, None if not self.options.state else Path(self.options.state))
        opening = Opening(self.directory, self.address, lane=not (self.options.send or self.span))
        try:
            for notice in opening.store.take_notices():
                self.status(notice)
            if opening.lane is not None and not opening.lane.alone:
                self.status(f"{self.name} is here in another encchat-client too; this is one more session")
            try:
                return await self._converse(reactor, opening)
            finally:
                if self.cipher is not None:
                    self.cipher.stop()
        finally:
            opening.close()

    async def _ready_cipher(self, reactor: Any) -> IClientCipher:
        """The cipher, with its keys. A person sees the prompt meanwhile: what takes long to import or to make
        is done in a thread."""
        if self.cipher is not None:
            return self.cipher

        def make() -> IClientCipher:
            from encchat.ciphers.registry import client_cipher

            cipher = client_cipher(self.options.cipher, self.directory, self.name.shown)
            cipher.prepare()
            if self.sealed:
                import_module("encchat.client.sealed.rooms")
            return cipher

        cipher = await deferToThreadPool(reactor, reactor.getThreadPool(), make)
        if self.wire is not None:
            cipher = self.wire.tap.client(cipher)
        cipher.start(reactor)
        self.cipher = cipher
        return cipher

    async def _converse(self, reactor: Any, opening: Opening) -> int:
        trust = Trust(
            opening.store,
            self.address,
            milliseconds,
            pin=self.options.pin,
            accept_new=self.options.accept_new,
            command=self._command(),
        )
        try:
            return await self._talk(reactor, opening, trust)
        except UnknownServer as error:
            if not self.interactive or not await self._ask(reactor, error):
                raise
            trust.accept(str(error.facts["fingerprint"]))
        return await self._talk(reactor, opening, trust)

    async def _talk(self, reactor: Any, opening: Opening, trust: Trust) -> int:
        chat = opening.chat(
            reactor, trust, self.name.shown, link_code=self.link, accept_log=self.options.accept_log
        )
        console = self._console(reactor, chat)
        console.secret_fd = self.options.passphrase_fd
        if self.interactive:
            console.unmet = trust.unmet
            if self.wire is not None:
                self.wire.move_to(console)
        waiting = chat.start(console)
        if waiting:
            console.warn(f"{count(waiting, 'message', 'messages')} of an earlier run to be sent")
        for_ever = self.interactive or self.options.keep_trying
        # Of a server that was met a person reads and writes on without it; else its address may be wrong.
        known = self.interactive and opening.store.last_met(str(self.address)) is not None
        patience = Patience(self.options.keep_trying or known, None if for_ever else PIPE_PATIENCE)
        links: list[Link] = []
        outcome: list[int] = []

        async def connect() -> None:
            if self.full_screen:
                await console.painted
            cipher = await self._ready_cipher(reactor)
            link = opening.link(reactor, cipher, trust, chat, patience, sealed=self.sealed)
            links.append(link)
            chat.attach(link)
            await link.run()

        async def talk() -> None:
            outcome.append(await console.run())

        async def leave(seconds: float) -> None:
            chat.tell_read()
            for link in links:
                await link.leave(seconds)

        try:
            await race(reactor, Deferred.fromCoroutine(connect()), Deferred.fromCoroutine(talk()))
            await leave(GOODBYE)
        except CancelledError:
            await leave(HURRIED_GOODBYE)
            raise
        finally:
            for link in links:
                link.abort()
            chat.stop()
            if self.full_screen:
                await console.closed()
        return outcome[0]

    def _console(self, reactor: Any, chat: Chat) -> Any:
        options = self.options
        if self.restored is not None:
            from encchat.client.backing import Restoring

            return Restoring(chat, self.restored, self.status)
        if options.send:
            from encchat.client.sending import Sending

            return Sending(reactor, chat, self.room, options.send[1], self.status)
        if options.send_file or options.get:
            return self._carrying(reactor, chat)

        def writer(changed: Callable[[], None]) -> Writer:
            return Writer(reactor, 1, changed)

        if self.full_screen:
            from encchat.client.terminal import Terminal

            return Terminal(reactor, chat, self.room, str(self.address), options.history)
        if self.interactive:
            from encchat.client.linear import Linear

            return Linear(reactor, chat, self.room, options.history, Reader(reactor, 0), writer)
        from encchat.client.pipe import Manner, Pipe

        manner = Manner(self.room, options.json, options.history, options.follow)
        if self.span:
            from encchat.client.extract import Extract

            return Extract(
                reactor, chat, manner, self.span, Reader(reactor, 0), writer, self.status, milliseconds
            )
        return Pipe(reactor, chat, manner, Reader(reactor, 0), writer, self.status, progress_on(reactor))

    def _carrying(self, reactor: Any, chat: Chat) -> Any:
        from encchat.client.carrying import Carrying, result_fields
        from encchat.client.jsonlines import line

        options = self.options

        def start() -> int:
            if options.send_file:
                return chat.files.give(self.room, options.send_file[1])
            assert options.get is not None
            return chat.files.fetch(self.room, options.get[1], options.to)

        def done(event: FileGiven | FileSaved, sent: Acknowledged | None) -> None:
            if options.json:
                word = "sent" if isinstance(event, FileGiven) else "file-saved"
                print(line(word, **result_fields(event, sent)).decode(), end="", flush=True)
            elif isinstance(event, FileSaved):
                print(event.path, flush=True)

        progress = sys.stderr is not None and sys.stderr.isatty()
        return Carrying(reactor, chat, self.room, start, done, self.status, progress=progress)

    async def _ask(self, reactor: Any, error: UnknownServer) -> bool:
        """Show an unknown server's key, and ask whether it is the right one."""
        address, fingerprint = error.facts["address"], error.facts["fingerprint"]
        from shutil import get_terminal_size
        from textwrap import fill

        columns = max(20, get_terminal_size().columns)
        first = fill(f"You have not met the server {address} yet. Its key is", columns)
        last = fill(
            "The service prints it when it starts; its operator can tell you. Is it the same?", columns
        )
        # The answer stands on the last line if there is room for it.
        between = " " if len(last.rpartition("\n")[2]) + len(" [yes/no] yes") < columns else "\n"
        print(f"{first}\n\n    {fingerprint}\n\n{last}{between}[yes/no] ", end="", flush=True)
        while True:
            answer = (await Reader(reactor, 0).read()).decode("utf-8", "replace").strip().casefold()
            if answer in ("yes", "y", fingerprint):
                return True
            if answer in ("no", "n", ""):
                return False
            print("Please type yes or no: ", end="", flush=True)

    def _command(self) -> list[str]:
        """How this client was called, as far as it matters for whom it trusts."""
        command = [PROGRAM]
        for option, value in (("--name", self.options.name), ("--state", self.options.state)):
            if value is not None:
                command += [option, value]
        if self.options.cipher != "rsa":
            command += ["--cipher", self.options.cipher]
        return command
