"""``encchat-client`` on a terminal, for tests: it takes no answer for late.

A person sees what was typed as queued when it is not back within a second. A machine that is busy with other
tests may well take longer, and each line would be on the screen once more. The rest is the program as it is.
"""

from __future__ import annotations

from importlib import import_module

from encchat.cli import client_run
from encchat.cli.client import main

_install = client_run._install_for_terminal


def _patiently() -> None:
    _install()
    import_module("encchat.client.terminal").SHOWN_AFTER = 100_000.0


client_run._install_for_terminal = _patiently
main()
