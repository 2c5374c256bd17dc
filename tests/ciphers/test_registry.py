"""The registry: which plugins it finds, which it can do without, and what it makes of a description."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from encchat.ciphers import registry
from encchat.ciphers.interfaces import ICipherMaker
from encchat.ciphers.maker import CipherMaker
from encchat.ciphers.registry import client_cipher, find_ciphers, help_ciphers, server_cipher
from encchat.errors import ConfigError, UsageError
from twisted import plugin, plugins

#: A cipher that does nothing but keep its place.
IDLE = """
from zope.interface import implementer
from encchat.ciphers.interfaces import Argument, IClientCipher, IServerCipher
ARGUMENTS = (
    Argument("mode", "how it idles", default="slow", choices=("slow", "fast")),
    Argument("path", "where it idles"),
)
@implementer(IServerCipher)
class Server:
    def __init__(self, place):
        self.place = place
@implementer(IClientCipher)
class Client(Server):
    pass
server, client = Server, Client
"""

PLUGIN = """
from encchat.ciphers.maker import CipherMaker
{name} = CipherMaker("{name}", "a cipher of the tests", "{module}")
"""


class RegistryCase(SynchronousTestCase):
    """Puts packages with plugins where Twisted looks for them."""

    def setUp(self) -> None:
        self.root = Path(self.mktemp()).absolute()
        self.plugins = self.root / "twisted" / "plugins"
        self.plugins.mkdir(parents=True)
        self.directory = self.root / "place"
        self.patch(sys, "path", [str(self.root), *sys.path])
        self.patch(plugins, "__path__", [*plugins.__path__, str(self.plugins)])
        before = set(sys.modules)
        self.addCleanup(lambda: [sys.modules.pop(name) for name in set(sys.modules) - before])

    def module(self, name: str, text: str = IDLE) -> None:
        (self.root / f"{name}.py").write_text(text, "utf-8")

    def plugin(self, name: str, text: str | None = None, *, module: str = "", file: str = "") -> None:
        """A plugin file; without ``text`` one that offers a cipher ``name``."""
        text = text or PLUGIN.format(name=name, module=module or f"tests_{name}")
        (self.plugins / f"{file or f'tests_{name}_plugin'}.py").write_text(text, "utf-8")

    def idle(self) -> None:
        """A cipher ``idle`` that works."""
        self.plugin("idle")
        self.module("tests_idle")

    def refused(self, kind: type[Exception], *arguments: Any) -> str:
        error = self.assertRaises(kind, *arguments)
        return str(error)


class FindingTests(RegistryCase):
    """What is there."""

    def test_ours(self) -> None:
        """encchat's own two, each of them a maker with names only."""
        found = find_ciphers()
        self.assertEqual(
            {name: maker.module for name, maker in found.items()},
            {"rsa": "encchat.ciphers.rsa", "tls": "encchat.ciphers.tls"},
        )
        for maker in found.values():
            verifyObject(ICipherMaker, maker)
            self.assertTrue(maker.summary)

    def test_a_maker_is_frozen(self) -> None:
        """Nobody changes a plugin that others see too."""
        maker = CipherMaker("a", "b", "c")
        self.assertRaises(AttributeError, setattr, maker, "module", "os")

    def test_another_package(self) -> None:
        """A file in any package's twisted/plugins is enough; its cipher is not imported."""
        self.idle()
        self.assertIn("idle", find_ciphers())
        self.assertNotIn("tests_idle", sys.modules)

    def test_broken_plugins_hide_nobody(self) -> None:
        """Plugins that cannot be imported leave the others as they are, and are named when it matters."""
        self.idle()
        self.plugin("syntax", "this is no python\n")
        self.plugin("missing", "import a_module_that_nobody_has\n")
        self.plugin("raising", "raise RuntimeError('red \\x1b[31m alert')\n")
        self.assertEqual(set(find_ciphers()), {"rsa", "tls", "idle"})
        said = self.refused(UsageError, server_cipher, "morse", self.directory)
        self.assertIn("There is no cipher 'morse'. Found: idle, rsa, tls; could not be loaded: tests_", said)
        for part in (
            "tests_syntax_plugin.py (SyntaxError: invalid syntax",
            "tests_missing_plugin.py (ModuleNotFoundError: No module named 'a_module_that_nobody_has')",
            "tests_raising_plugin.py (RuntimeError: red  alert)",
        ):
            self.assertIn(part, said)
        self.assertNotIn("\x1b", said)
        self.assertFalse(self.directory.exists())
        helped = help_ciphers()
        self.assertIn("idle: a cipher of the tests", helped)
        self.assertIn(f"could not be loaded: {self.plugins / 'tests_missing_plugin.py'}: ModuleNot", helped)
        self.assertEqual(len(self.flushLoggedErrors(SyntaxError)), 3)
        self.assertEqual(len(self.flushLoggedErrors(ImportError)), 3)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 3)

    def test_only_plugins_are_listened_for(self) -> None:
        """The log is watched for broken plugins only while they are read, and for nothing else."""
        observers: list[Any] = []

        class Publisher:
            def addObserver(self, observer: Any) -> None:
                observers.append(observer)
                observer({"log_format": "something else"})

            removeObserver = staticmethod(observers.remove)

        self.patch(registry, "globalLogPublisher", Publisher())
        self.assertNotIn("could not be loaded", help_ciphers())
        self.assertEqual(observers, [])

    def test_makers_without_a_name(self) -> None:
        """A plugin that is no proper maker is passed over, and named."""
        self.idle()
        self.plugin(
            "odd",
            "from encchat.ciphers.maker import CipherMaker\n"
            "empty = CipherMaker('', 'a', 'b')\n"
            "number = CipherMaker(7, 'a', 'b')\n"
            "none = CipherMaker('none', 'a', None)\n"
            "colon = CipherMaker('a:b', 'a', 'b')\n",
        )
        self.assertEqual(set(find_ciphers()), {"rsa", "tls", "idle"})
        said = self.refused(UsageError, server_cipher, "none", self.directory)
        self.assertIn("could not be loaded: CipherMaker(", said)
        self.assertIn("(it has no name, summary and module that make a cipher)", said)
        self.assertEqual(help_ciphers().count("it has no name, summary and module"), 4)

    def test_two_of_one_name(self) -> None:
        """Of two plugins of one name neither is taken: which one would protect what?"""
        self.idle()
        for number in (1, 2, 3):
            self.plugin("twin", module=f"tests_twin{min(number, 2)}", file=f"tests_twin{number}_plugin")
        self.assertEqual(set(find_ciphers()), {"rsa", "tls", "idle"})
        said = self.refused(ConfigError, client_cipher, "twin", self.directory)
        self.assertTrue(said.startswith("Several plugins offer a cipher 'twin': tests_twin"), said)
        self.assertEqual(said.count("tests_twin1"), 1)
        self.assertEqual(said.count("tests_twin2"), 1)
        self.assertIn("Remove all but one of them.", said)
        self.assertIn("twin\n  offered by several plugins: ", help_ciphers())

    def test_one_plugin_twice(self) -> None:
        """The same cipher found in two places is one cipher."""
        self.idle()
        self.plugin("idle", file="tests_idle_again_plugin")
        self.assertIn("idle", find_ciphers())
        self.assertTrue(server_cipher("idle", self.directory))


class MakingTests(RegistryCase):
    """From a description to a cipher."""

    def setUp(self) -> None:
        super().setUp()
        self.idle()

    def test_a_cipher(self) -> None:
        """Its place has the directory, the name, and all arguments, with defaults for those not given."""
        for make, kind in ((server_cipher, "Server"), (client_cipher, "Client")):
            cipher: Any = make("idle:path=/a\\:b", self.directory, "alice")
            self.assertEqual(type(cipher).__name__, kind)
            self.assertEqual(cipher.place.directory, self.directory)
            self.assertEqual(cipher.place.name, "alice")
            self.assertEqual(cipher.place.arguments, {"mode": "slow", "path": "/a:b"})
        self.assertEqual(self.directory.stat().st_mode & 0o777, 0o700)

    def test_the_choice(self) -> None:
        """A value that is one of the choices is passed on."""
        cipher: Any = server_cipher("idle:mode=fast", self.directory)
        self.assertEqual(cipher.place.arguments["mode"], "fast")
        self.assertEqual(cipher.place.name, "")

    def test_bad_arguments(self) -> None:
        """An unknown argument or value is refused with what there is, before anything is made."""
        usage = "Its arguments are: mode=slow|fast, path=...."
        for text, why in (
            ("idle:mode=warp", "mode cannot be 'warp'"),
            ("idle:speed=9", "it has no argument 'speed'"),
            ("idle:MODE=slow", "it has no argument 'MODE'"),
        ):
            said = self.refused(UsageError, server_cipher, text, self.directory)
            self.assertEqual(said, f"The cipher 'idle' cannot be used like this: {why}. {usage}")
        self.assertRaises(UsageError, server_cipher, "idle:", self.directory)
        self.assertFalse(self.directory.exists())

    def test_no_arguments(self) -> None:
        """A cipher without arguments says so."""
        self.plugin("plain")
        self.module("tests_plain", IDLE + "ARGUMENTS = ()\n")
        said = self.refused(UsageError, server_cipher, "plain:a=b", self.directory)
        self.assertIn("It has no arguments.", said)

    def test_unknown(self) -> None:
        """A name that is not there, by whatever side, is answered with those that are."""
        for make in (server_cipher, client_cipher):
            for name in ("rot13", "RSA", " rsa", "\x7frsa"):
                said = self.refused(UsageError, make, name, self.directory)
                if name.isprintable():
                    self.assertEqual(said, f"There is no cipher {name!r}. Found: idle, rsa, tls.")

    def test_no_plugins_at_all(self) -> None:
        """An installation that lost its plugins has ours."""
        self.patch(plugin, "getPlugins", lambda interface: [])
        said = self.refused(UsageError, server_cipher, "idle", self.directory)
        self.assertEqual(said, "There is no cipher 'idle'. Found: rsa, tls.")
        server_cipher("rsa", self.directory)

    def test_ours_are_found_without_a_look_at_plugins(self) -> None:
        """That takes longer than all else that a client does to have its cipher."""
        self.patch(plugin, "getPlugins", lambda interface: self.fail("looked"))
        for name in ("rsa", "tls:trust=pin"):
            client_cipher(name, self.directory, "alice")

    def test_nobody_takes_the_place_of_ours(self) -> None:
        """A plugin with the name of one of ours is told, and not used."""
        self.plugin("rsa", module="tests_idle")
        self.module("tests_idle")
        self.assertEqual(find_ciphers()["rsa"].module, "encchat.ciphers.rsa")
        self.assertIn("rsa\n  offered by several plugins: encchat.ciphers.rsa, tests_idle", help_ciphers())

    def test_broken_modules(self) -> None:
        """A module that cannot be imported, or lacks a part, is a fault of the installation, in words."""
        for number, (text, why) in enumerate(
            (
                (None, "cannot be imported: ModuleNotFoundError: No module named 'tests_broken0'"),
                ("1 +", "cannot be imported: SyntaxError: "),
                ("raise ValueError('no \\x1b[31m way')", "cannot be imported: ValueError: no  way"),
                ("", "has no ARGUMENTS and no server and no client"),
                ("ARGUMENTS = ()\ndef server(place): pass", "has no client"),
                (
                    "ARGUMENTS = ()\ndef server(place): return 7\nclient = server",
                    ".server(place) returned no IServerCipher",
                ),
            )
        ):
            name = f"broken{number}"
            self.plugin(name)
            if text is not None:
                self.module(f"tests_{name}", text)
            said = self.refused(ConfigError, server_cipher, name, self.directory)
            self.assertTrue(said.startswith(f"The cipher {name!r} cannot be used: tests_{name}"), said)
            self.assertIn(why, said)
            self.assertIn("Found: broken0, ", said)
            self.assertNotIn("\x1b", said)

    def test_the_other_side_is_checked_too(self) -> None:
        """A client that is no client is refused."""
        self.plugin("half")
        self.module("tests_half", IDLE + "client = server\n")
        self.assertTrue(server_cipher("half", self.directory))
        said = self.refused(ConfigError, client_cipher, "half", self.directory)
        self.assertIn("tests_half.client(place) returned no IClientCipher", said)

    def test_bad_places(self) -> None:
        """A directory that cannot be made, or that others can read, is refused with what to do."""
        self.directory.write_text("a file")
        said = self.refused(ConfigError, server_cipher, "idle", self.directory)
        self.assertIn("File exists", said)
        said = self.refused(ConfigError, server_cipher, "idle", self.directory / "below")
        self.assertIn("Not a directory", said)
        open_to_all = self.root / "open"
        open_to_all.mkdir()
        open_to_all.chmod(0o750)
        said = self.refused(ConfigError, server_cipher, "idle", open_to_all)
        self.assertIn(f"others can read it; run: chmod 700 {open_to_all}", said)
        open_to_all.chmod(0o700)
        self.assertTrue(server_cipher("idle", open_to_all))
        self.patch(os, "geteuid", lambda: 4711)
        said = self.refused(ConfigError, server_cipher, "idle", open_to_all)
        self.assertIn("it belongs to somebody else", said)

    def test_help(self) -> None:
        """Every cipher with its summary, its arguments with choices and defaults, and examples."""
        self.plugin("gone")
        helped = help_ciphers()
        self.assertIn(
            "idle: a cipher of the tests\n"
            "  mode=slow|fast  how it idles (default: slow)\n"
            "  path=...  where it idles\n"
            "  --cipher idle\n  --cipher idle:path=PATH\n  --cipher idle:mode=fast\n",
            helped,
        )
        self.assertIn(
            "gone: a cipher of the tests\n  cannot be used: tests_gone cannot be imported: ", helped
        )
        for name in ("rsa", "tls"):
            self.assertIn(f"\n{name}: ", helped)
        self.assertLessEqual(max(len(line) for line in helped.splitlines() if "cannot" not in line), 110)
