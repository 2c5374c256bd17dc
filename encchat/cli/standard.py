"""What a program is started with: standard handles, and signals that it is to heed. Imports nothing that
takes time."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

#: What each signal ends with, as a shell would say it.
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def heeded() -> list[signal.Signals]:
    """The signals that end us; what the caller has us ignore (nohup, a shell's background job) stays so."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def status(program: str) -> Callable[[str], None]:
    """A function that tells a line on stderr, and does not mind if nobody is there."""

    def tell(text: str) -> None:
        with suppress(OSError):
            print(f"{program}: {text}", file=sys.stderr, flush=True)

    return tell


def open_standard_handles() -> None:
    """Let stdin, stdout and stderr be /dev/null where the caller has closed them: else the next file that
    is opened, a key perhaps, would take their place."""
    for handle in (0, 1, 2):
        try:
            os.fstat(handle)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
