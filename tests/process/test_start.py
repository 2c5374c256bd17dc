"""The client's start, by what it does and not by how long it takes: which modules are there when the first
prompt is. (bench/start.py measures.)"""

from __future__ import annotations

import json
import os
import sys
from signal import SIGTERM

from tests.process.harness import reserve
from tests.process.screen import Screen
from tests.process.test_client_terminal import TerminalCase

#: Runs the client as its console script does, and writes down what is imported at the first prompt.
WATCHED = """
import json, os, sys
from encchat.cli import first_prompt
load = first_prompt.load

def first():
    with open("modules.json", "w") as file:
        json.dump(sorted(sys.modules), file)
    if os.path.exists("go"):  # a pipe: wait for whoever opens it
        open("go").close()
    load()

first_prompt.load = first
from encchat.cli.client import main
main()
"""
#: What takes long, and is needed only to connect.
LATER = (
    "twisted",
    "zope",
    "msgspec",
    "precis_i18n",
    "platformdirs",
    "sqlite3",
    "OpenSSL",
    "cryptography",
    "service_identity",
    "rsa",
    "vodozemac",
    "keyring",
    "encchat.ciphers.registry",
    "encchat.ciphers.rsa",
    "encchat.ciphers.tls",
    "encchat.client.chat",
    "encchat.client.screen.console",
    "encchat.client.pipe.pipe",
    "encchat.client.protocol.session",
    "encchat.client.store",
    "encchat.core.sealed",
    "encchat.server",
    "encchat.logs",
    "encchat.wire",
)
#: More than there are, whatever the versions of libraries; there were 637 when all was imported before.
MODULES = 500


class Start(TerminalCase):
    def begin(self) -> Screen:
        screen = Screen("encchat-client")
        self.children.append(screen)
        state = str(self.home / "client")
        command = [sys.executable, "-c", WATCHED, "--name", "alice", "--state", state, "--keep-trying"]
        screen.start([*command, f"127.0.0.1:{reserve(self)}"], self.environment(), str(self.home))
        return screen

    async def early(self) -> Screen:
        """A client of which there is nothing but the prompt, until ``go``."""
        os.mkfifo(self.home / "go")
        screen = self.begin()
        await screen.shows("+lobby>")
        return screen

    def go(self) -> None:
        """Let it go on: somebody may write."""
        self.addCleanup(os.close, os.open(self.home / "go", os.O_RDWR))

    async def test_what_is_typed_before_the_rest_is_there_is_told_in_its_order(self) -> None:
        screen = await self.early()
        screen.enter("/nonsense")
        screen.enter("hello")
        screen.press("half a li")
        await screen.shows("+lobby> half a li")
        self.go()
        await screen.told("/nonsense")
        await screen.told("its key comes first")
        screen.press("\x03\x04")
        await self.finish(screen)

    async def test_one_may_leave_before_the_rest_is_there(self) -> None:
        screen = await self.early()
        screen.press("\x04")
        await screen.hides("+lobby>")
        self.go()
        await self.finish(screen)

    async def test_a_signal_before_the_rest_is_there(self) -> None:
        screen = await self.early()
        screen.signal(SIGTERM)
        await screen.hides("+lobby>")
        self.go()
        await self.finish(screen, 143)

    async def test_two_signals(self) -> None:
        screen = await self.early()
        screen.signal(SIGTERM)
        await screen.hides("+lobby>")
        screen.signal(SIGTERM)
        await self.finish(screen, 143)

    async def test_the_prompt_waits_for_nothing_that_only_the_connection_needs(self) -> None:
        screen = self.begin()
        await screen.shows("cannot be reached")
        modules = json.loads((self.home / "modules.json").read_text())
        self.assertIn("prompt_toolkit", modules)
        self.assertEqual([name for name in modules if name.startswith(LATER)], [])
        self.assertLess(len(modules), MODULES)
        screen.enter("typed before there is a connection")
        await screen.shows("its key comes first")
        await screen.shows("+lobby> typed before there is a connection")
        screen.press("\x03\x04")
        await self.finish(screen)
