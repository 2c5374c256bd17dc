"""``encchat-client`` on a terminal, for tests: it takes no answer for late.

A person sees what was typed as queued when it is not back within a second. A machine that is busy with other
tests may well take longer, and each line would be on the screen once more. The rest is the program as it is.
"""

from __future__ import annotations

from importlib import import_module

from encchat.cli import first_prompt
from encchat.cli.client import main

_load = first_prompt.load


def _patiently() -> None:
    _load()
    import_module("encchat.client.screen.terminal").SHOWN_AFTER = 100_000.0


first_prompt.load = _patiently
main()
