"""The command itself: quick, and one sentence for what a person can cause."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

import encchat
from encchat import __version__
from encchat.cli.admin import COMMANDS, main

#: For a child process, which finds encchat where we did.
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(encchat.__file__).parent.parent)}

_RUN = "import sys; sys.argv[0] = 'encchat-admin'; from encchat.cli.admin import main; main()"


def _run(code: str, *arguments: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True, env=ENVIRONMENT).stdout


class AdminTests(SynchronousTestCase):
    """What is there before any command is imported."""

    def test_version(self) -> None:
        """The version, under the name of the command."""
        self.assertEqual(_run(_RUN, "--version"), f"encchat-admin {__version__}\n")

    def test_imports(self) -> None:
        """Help imports neither cryptography nor twisted: the first line appears at once."""
        code = f"import sys\ntry:\n    {_RUN}\nfinally:\n    print(sorted(sys.modules))"
        said = _run(code, "--help")
        self.assertIn("'click'", said)
        for module in ("'cryptography'", "'twisted'", "'msgspec'", "'encchat.core'"):
            self.assertNotIn(module, said)

    def test_help(self) -> None:
        """Help lists every command, and every command has help."""
        said = CliRunner().invoke(main, ["--help"]).output
        for name in COMMANDS:
            self.assertIn(name, said)
            self.assertEqual(CliRunner().invoke(main, [name, "--help"]).exit_code, 0)

    def test_unknown(self) -> None:
        """An unknown command is a wrong command line."""
        done = CliRunner().invoke(main, ["no-such-command"])
        self.assertEqual(done.exit_code, 2)
        self.assertIn("no-such-command", done.output)
