"""The client's start, by what it does and not by how long it takes: which modules are there when the first
prompt is. (bench/start.py measures.)"""

from __future__ import annotations

import json
import sys

from tests.process.harness import reserve
from tests.process.screen import Screen
from tests.process.test_client_terminal import TerminalCase

#: Runs the client as its console script does, and writes down what is imported at the first prompt.
WATCHED = """
import json, sys
from encchat.cli import first_prompt
load = first_prompt.load

def first():
    with open("modules.json", "w") as file:
        json.dump(sorted(sys.modules), file)
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
    "encchat.client.console",
    "encchat.client.pipe",
    "encchat.client.session",
    "encchat.client.store",
    "encchat.core.sealed",
    "encchat.server",
    "encchat.logs",
    "encchat.wire",
)
#: More than there are, whatever the versions of libraries; there were 637 when all was imported before.
MODULES = 500


class Start(TerminalCase):
    async def test_the_prompt_waits_for_nothing_that_only_the_connection_needs(self) -> None:
        screen = Screen("encchat-client")
        self.children.append(screen)
        state = str(self.home / "client")
        command = [sys.executable, "-c", WATCHED, "--name", "alice", "--state", state, "--keep-trying"]
        screen.start([*command, f"127.0.0.1:{reserve(self)}"], self.environment(), str(self.home))
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
