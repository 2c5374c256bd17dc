"""A server that was never met: a person is shown its key, and says whether it is the right one."""

from __future__ import annotations

from shutil import get_terminal_size
from textwrap import fill
from typing import Any

from encchat.client.network.trust import UnknownServer
from encchat.client.streams.lines import Reader


async def ask(reactor: Any, error: UnknownServer) -> bool:
    """Show an unknown server's key, and ask whether it is the right one."""
    address, fingerprint = error.facts["address"], error.facts["fingerprint"]
    columns = max(20, get_terminal_size().columns)
    first = fill(f"You have not met the server {address} yet. Its key is", columns)
    last = fill("The service prints it when it starts; its operator can tell you. Is it the same?", columns)
    # The answer stands on the last line if there is room for it.
    between = " " if len(last.rpartition("\n")[2]) + len(" [yes/no] yes") < columns else "\n"
    print(f"{first}\n\n    {fingerprint}\n\n{last}{between}[yes/no] ", end="", flush=True)
    while True:
        answer = (await Reader(reactor, 0).read()).decode("utf-8", "replace").strip().casefold()
        if answer in ("yes", "y", fingerprint):
            return True
        if answer in ("no", "n", ""):
            return False
        print("Please type yes or no: ", end="", flush=True)
