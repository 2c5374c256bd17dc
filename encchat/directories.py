"""Directories for what nobody else is to see or exchange.

Whoever may write in a directory may put another one in the place of one below it. So those above a private
directory that have to be made with it are made private, too; those that were there are somebody's own choice.
"""

from __future__ import annotations

from pathlib import Path


def make_private(directory: Path) -> None:
    """Make the directory, and those above it that are missing, for their owner alone (mode 0700), whatever
    the umask lets through. One that is there is left as it is.

    :raises FileExistsError: there is something else of that name.
    :raises OSError: it cannot be made.
    """
    try:
        directory.mkdir(mode=0o700)
    except FileNotFoundError:
        if directory.parent == directory:
            raise
        make_private(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)
    except OSError:  # some systems say of what is there that it cannot be written
        if not directory.is_dir():
            raise
