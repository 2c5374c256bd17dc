"""Runs ``twistd`` several times, each in a process of its own, forked from one that has imported what takes
long: for commands that end at once, as importing is nearly all that they do.

Reads lists of arguments, a JSON array of arrays, from stdin, and prints for each of them one line of JSON:
its exit code, and its lines on stderr.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Sequence

from twisted.scripts import twistd


def run(arguments: Sequence[str]) -> tuple[int, list[str]]:
    """One of them, to its end."""
    with tempfile.TemporaryFile() as said:
        pid = os.fork()
        if pid == 0:
            code = 70
            try:
                os.dup2(said.fileno(), 2)
                sys.argv = ["twistd", *arguments]
                twistd.run()
                code = 0
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else 1
            finally:
                sys.stderr.flush()
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        said.seek(0)
        return status, said.read().decode("utf-8", "replace").splitlines()


if __name__ == "__main__":
    __import__("encchat.tap")
    for each in json.loads(sys.stdin.read()):
        print(json.dumps(run(each)), flush=True)
