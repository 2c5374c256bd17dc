"""One conversation from its start to its end: store, cipher, trust, chat and link, joined with a console."""

from __future__ import annotations

import asyncio
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool

from encchat.cli.client import PROGRAM
from encchat.cli.client_run import Program
from encchat.cli.consoles import Consoles
from encchat.cli.meeting import ask
from encchat.cli.standard import status
from encchat.client.network.link import GOODBYE, Link, Patience
from encchat.client.network.trust import Trust, UnknownServer
from encchat.client.profile import open_profile
from encchat.client.streams.ending import race
from encchat.client.view.show import count
from encchat.library.opening import Opening, milliseconds

if TYPE_CHECKING:
    from encchat.ciphers.interfaces import IClientCipher
    from encchat.cli.wire import ClientWire
    from encchat.client.screen.prompt import Prompt

#: Seconds that a pipe goes without a connection before it gives up.
PIPE_PATIENCE = 120.0
#: Seconds that a goodbye may take when the user is in a hurry.
HURRIED_GOODBYE = 1.0


class Conversation:
    """What a program does, once it is known what; on a terminal the prompt stands already."""

    def __init__(self, program: Program, prompt: Prompt | None) -> None:
        self.program = program
        self.options = program.options
        self.prompt = prompt
        self.status = status(PROGRAM)
        self.wire: ClientWire | None = None
        self.cipher: IClientCipher | None = None

    def _tell(self, text: str) -> None:
        """Tell a line before there is a console: above the prompt, if there is one."""
        if self.prompt is not None and self.prompt.running:
            self.prompt.tell(text)
        else:
            self.status(text)

    async def run(self, reactor: Any) -> int:
        """The conversation, with whatever is needed for it opened before and let go of after it."""
        if not self.options.wire:
            return await self._run(reactor)
        from encchat.cli.wire import ClientWire

        self.wire = ClientWire(self.options.wire, self._tell, milliseconds)
        try:
            return await self._run(reactor)
        finally:
            self.wire.tap.close()

    async def _run(self, reactor: Any) -> int:
        if self.options.classic:
            from encchat.cli.client_classic import run_classic

            tap = None if self.wire is None else self.wire.tap
            return await run_classic(reactor, self.program.address, self.options.listen, self.status, tap)
        self.directory = open_profile(
            self.program.name, None if not self.options.state else Path(self.options.state)
        )
        opening = Opening(
            self.directory, self.program.address, lane=not (self.program.errand or self.program.span)
        )
        try:
            for notice in opening.store.take_notices():
                self._tell(notice)
            if opening.lane is not None and not opening.lane.alone:
                self._tell(
                    f"{self.program.name} is here in another encchat-client too; this is one more session"
                )
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

            cipher = client_cipher(self.options.cipher, self.directory, self.program.name.shown)
            cipher.prepare()
            if self.program.sealed:
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
            self.program.address,
            milliseconds,
            pin=self.options.pin,
            accept_new=self.options.accept_new,
            command=self._command(),
        )
        try:
            return await self._talk(reactor, opening, trust)
        except UnknownServer as error:
            if not self.program.interactive or not await ask(reactor, error):
                raise
            trust.accept(str(error.facts["fingerprint"]))
            if self.prompt is not None:  # which had to make room for the question
                self.prompt = self.prompt.again()
                self.prompt.start(asyncio.get_running_loop())
        return await self._talk(reactor, opening, trust)

    async def _talk(self, reactor: Any, opening: Opening, trust: Trust) -> int:
        chat = opening.chat(
            reactor,
            trust,
            self.program.name.shown,
            link_code=self.program.link,
            accept_log=self.options.accept_log,
        )
        console = Consoles(self.program, reactor, chat, self.status).make(self.prompt)
        console.secret_fd = self.options.passphrase_fd
        if self.program.interactive:
            console.unmet = trust.unmet
            if self.wire is not None:
                self.wire.move_to(console)
        waiting = chat.start(console)
        if waiting:
            console.warn(f"{count(waiting, 'message', 'messages')} of an earlier run to be sent")
        for_ever = self.program.interactive or self.options.keep_trying
        # Of a server that was met a person reads and writes on without it; else its address may be wrong.
        known = self.program.interactive and opening.store.last_met(str(self.program.address)) is not None
        patience = Patience(self.options.keep_trying or known, None if for_ever else PIPE_PATIENCE)
        links: list[Link] = []
        outcome: list[int] = []

        async def connect() -> None:
            cipher = await self._ready_cipher(reactor)
            link = opening.link(reactor, cipher, trust, chat, patience, sealed=self.program.sealed)
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
            if self.prompt is not None:
                await console.closed()
        return outcome[0]

    def _command(self) -> list[str]:
        """How this client was called, as far as it matters for whom it trusts, and for a backup that is then
        to be taken."""
        command = [PROGRAM]
        given = (
            ("--name", self.options.name),
            ("--state", self.options.state),
            ("--restore", self.options.restore),
        )
        for option, value in given:
            if value is not None:
                command += [option, value]
        if self.options.cipher != "rsa":
            command += ["--cipher", self.options.cipher]
        return command
