"""Identity keys for processes. They were made long ago, as making one takes as long as all else that a client
does at its start; that keys are made where there are none is tested where it matters.

    python -m tests.process.keys NAME...    makes keys for more names
"""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from encchat.ciphers.rsa import IDENTITY_FILE
from encchat.ciphers.rsa.keys import load_or_make_identity

MADE = Path(__file__).with_name("keys.json")
#: A key of the classroom script's.
CLASSIC = Path(__file__).with_name("classic_key.pem")


@cache
def _made() -> dict[str, str]:
    keys: dict[str, str] = json.loads(MADE.read_text("ascii"))
    return keys


def has_identity(who: str) -> bool:
    """Whether there is a key for ``who``."""
    return who in _made()


def place_identity(directory: Path, who: str) -> None:
    """Put the key of ``who`` where a service or a profile keeps its own, unless there is one."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / IDENTITY_FILE
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(_made()[who], "ascii")


def main(names: list[str]) -> None:
    """Make keys for names that have none."""
    keys = _made() if MADE.exists() else {}
    for name in names:
        with TemporaryDirectory() as directory:
            path = Path(directory) / IDENTITY_FILE
            load_or_make_identity(path)
            keys.setdefault(name, path.read_text("ascii"))
    MADE.write_text(json.dumps(keys, indent=1) + "\n", "ascii")


if __name__ == "__main__":
    main(sys.argv[1:])
