"""Every error that a person may see, split by who must act.

An error's docstring is the sentence that the user reads: it says what happened and what to do. The
facts in braces are given as keywords::

    raise NameTaken(name="alice", fingerprint="SHA256:...")

Facts that came from the network are sanitised here, so that no message can carry an escape sequence
to a terminal or a log. ``code`` is the stable word that goes over the wire; ``exit_code`` is what a
command ends with (sysexits.h).
"""

from __future__ import annotations

import inspect
from typing import ClassVar

from encchat.text import clean_line


class EncchatError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, **facts: object) -> None:
        super().__init__(facts)
        self.facts = facts

    def __str__(self) -> str:
        sentence = " ".join((inspect.getdoc(type(self)) or "").split())
        shown = {
            name: value if isinstance(value, int | float) else clean_line(str(value), 400)
            for name, value in self.facts.items()
        }
        return sentence.format(**shown)


class UsageError(EncchatError):
    """{reason}"""

    code = "usage"
    exit_code = 2


class ConfigError(EncchatError):
    """{reason}"""

    code = "configuration"
    exit_code = 78


class PeerError(EncchatError):
    """The other side broke the protocol: {reason}."""

    code = "malformed"
    exit_code = 76


class RefusedError(EncchatError):
    """{reason}"""

    code = "refused"
    exit_code = 77


class StorageError(EncchatError):
    """The messages cannot be stored right now: {reason}."""

    code = "storage-unavailable"
    exit_code = 1


class LinkError(EncchatError):
    """{address} cannot be reached: {reason}."""

    code = "unreachable"
    exit_code = 69
