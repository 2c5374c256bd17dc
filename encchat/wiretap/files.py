"""The file of ``--wire FILE``: new, for its owner alone, and never in the way of the conversation.

Its ending says what it is: ``.pcap`` for the network's bytes alone, as Wireshark reads them; ``.jsonl`` for
everything, one JSON object a line.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from pathlib import PurePath

from encchat.errors import ConfigError, UsageError

#: The value of ``--wire`` that is no file.
SCREEN = "-"
#: Endings, and what they mean.
PCAP, JSON = frozenset({".pcap", ".cap"}), frozenset({".jsonl", ".ndjson", ".json"})


class BadWireName(UsageError):
    """--wire {name}: write --wire - to see it on the screen, or a file that ends in .jsonl (everything, one
    JSON object a line) or in .pcap (the network's bytes, for Wireshark)."""


class WireFileExists(ConfigError):
    """{path} is there already, and is not overwritten. Name another file for --wire, or remove it."""


class WireFileFailed(ConfigError):
    """{path} cannot be written: {reason}. Name another file for --wire."""


def is_pcap(name: str) -> bool:
    """Whether a file of this name holds network bytes only.

    :raises BadWireName: its ending says nothing.
    """
    ending = PurePath(name).suffix.casefold()
    if ending in PCAP:
        return True
    if ending in JSON:
        return False
    raise BadWireName(name=name[:100])


def check_names(names: Sequence[str]) -> None:
    """The values of ``--wire``: the screen, or files.

    :raises BadWireName: one of them is neither.
    """
    for name in names:
        if name != SCREEN:
            is_pcap(name)


class WireFile:
    """A file that is only written. When that fails it is told once, and no more is written.

    :param trouble: told why.
    :raises WireFileExists: there is something in it already.
    :raises WireFileFailed: it cannot be opened.
    """

    def __init__(self, path: str, trouble: Callable[[str], object]) -> None:
        self._path = path
        self._trouble = trouble
        self._handle: int | None = _open(path)

    def write(self, data: bytes) -> None:
        """Append ``data``."""
        if self._handle is None:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
        except OSError as error:
            self.close()
            self._trouble(f"{self._path} cannot be written any more: {error.strerror or error}")

    def close(self) -> None:
        """It is complete."""
        handle, self._handle = self._handle, None
        if handle is not None:
            os.close(handle)


def _open(path: str) -> int:
    try:
        try:
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            handle = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        found = os.fstat(handle)
        if stat.S_ISREG(found.st_mode):
            if found.st_size:
                os.close(handle)
                raise WireFileExists(path=path)
            os.fchmod(handle, 0o600)
        return handle
    except OSError as error:
        raise WireFileFailed(path=path, reason=error.strerror or str(error)) from None
