"""What a file that somebody else named is called here, and where it goes.

A name from the network is only a wish: it never leaves the directory, hides, passes for an option or a
device, or shows other than it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from encchat.text import clean_line

#: Bytes of a name at most, of which an ending may have so many; file systems take 255, with a number and
#: an ending of ours.
MAX_NAME, MAX_ENDING = 180, 20
#: What no name may have on some system, or what steers a shell or a path.
_FOREIGN = re.compile(r'[/\\:*?"<>|]')
#: Names of devices, where Windows reads the directory; superscripts count as digits there.
_DEVICES = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])(?:\.|$)", re.IGNORECASE)
#: How often a name that is taken is tried with another number.
MAX_NUMBER = 10_000


def safe_name(name: str) -> str:
    """A file name that is safe in any directory: no separators, control characters, leading dots or
    hyphens; at most ``MAX_NAME`` bytes, the ending kept."""
    name = _FOREIGN.sub("_", clean_line(name)).strip()
    name = name.lstrip(". ").rstrip(". ")
    if name.startswith(("-", "~")):
        name = "_" + name[1:]
    if _DEVICES.match(name):
        name = "_" + name
    stem, dot, ending = name.rpartition(".")
    if not dot or len(ending.encode("utf-8", "replace")) > MAX_ENDING:
        stem, ending = name, ""
    else:
        ending = dot + ending
    return _cut(stem, MAX_NAME - len(ending.encode("utf-8", "replace"))) + ending or "file"


def candidates(name: str) -> Iterator[str]:
    """A name, and what to take where it is taken: ``report (1).pdf``."""
    yield name
    stem, dot, ending = name.rpartition(".")
    if not dot:
        stem, ending = name, ""
    for number in range(1, MAX_NUMBER):
        yield f"{stem} ({number}){dot}{ending}"


def place(wish: str | None, name: str) -> tuple[Path, str]:
    """The directory and the name for a file that is offered as ``name``; ``wish`` is where the person wants
    it: a directory, or a path. Without one it is the directory for downloads, or where we are."""
    if wish:
        path = Path(wish).expanduser()
        if path.is_dir() or wish.endswith(os.sep):
            return path, safe_name(name)
        return path.parent, path.name
    from platformdirs import user_downloads_path

    try:
        downloads = user_downloads_path()
    except (OSError, RuntimeError):  # no home
        downloads = Path()
    return (downloads if downloads.is_dir() else Path()).absolute(), safe_name(name)


def _cut(text: str, size: int) -> str:
    return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")
