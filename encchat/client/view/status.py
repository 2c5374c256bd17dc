"""The status line: where one is, who is there, how the connection is, what waits, what is unread.

What matters least goes first when the window is narrow: the address, then the seal and the latency, then
the names of unread rooms and how much is unread there, then those with the highest numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from encchat.client.view.wrapping import columns_of
from encchat.text import clean_line

#: Milliseconds above which the latency is not told exactly.
SLOW = 9_999
#: Seconds without an answer from which the line tells them instead of the latency.
SILENT = 10
#: Words of a seal that no window is too narrow for.
ALARMS = ("KEY CHANGED", "FORKED")
#: A file that comes, and one that goes.
_ARROWS = "↓↑"


class Status(NamedTuple):
    """What the line tells. ``room`` is as people call it, ``seal`` how it is protected; ``unread`` has
    (number, room, count, mentioned)."""

    room: str | None
    members: int | None
    connected: bool
    address: str
    latency: float | None = None
    queued: int = 0
    unread: Sequence[tuple[int, str, int, bool]] = ()
    #: Files on their way: name, whether it goes to the server, percent.
    files: Sequence[tuple[str, bool, int]] = ()
    seal: str = "open"
    #: The first connection is not made yet, and none has failed.
    coming: bool = False
    #: Seconds that the server owes an answer.
    unanswered: float = 0.0


def shown_room(room: str) -> str:
    """A room's name, safe to show."""
    return clean_line(room, 80)


def status_text(status: Status, columns: int) -> str:
    """The line for a window of so many columns."""
    first = [shown_room(status.room) if status.room else "no room"]
    sealed = [status.seal] if status.room else []
    alarm = [status.seal] if any(word in status.seal for word in ALARMS) else []
    there = status.connected and status.members is not None
    members = [f"{status.members} here"] if there else []
    link = ["connected" if status.connected else "connecting" if status.coming else "not connected"]
    silent = status.connected and status.unanswered >= SILENT
    if silent:
        link = [f"no answer for {status.unanswered:.0f} s"]
    told = status.connected and not silent and status.latency is not None
    timed = [_latency(status.latency)] if told and status.latency is not None else link
    queued = [f"{status.queued} queued"] if status.queued else []
    files = [_file(*one) for one in status.files[:2]]
    brief = [f"{_ARROWS[up]} {percent} %" for _, up, percent in status.files[:2]]
    unread = [_unread(*one) for one in status.unread]
    address = [clean_line(status.address, 100)]
    vital = link if silent or not status.connected else []
    numbers = [" ".join(_number(number, for_me) for number, _, _, for_me in status.unread)]
    numbers = [f"[{numbers[0]}]"] if len(status.unread) > 1 else []
    wordings = (
        [*first, *sealed, *members, *address, *timed, *queued, *files, *unread],
        [*first, *sealed, *members, *timed, *queued, *files, *unread],
        [*first, *alarm, *members, *vital, *queued, *brief, *unread],
        [*first, *alarm, *vital, *queued, *unread],
        [*first, *alarm, *members, *vital, *queued, *numbers],
        [*first, *alarm, *vital, *queued, *numbers],
        *([*first, *alarm, *vital, *queued, *unread[:some]] for some in range(len(unread) - 1, -1, -1)),
    )
    lines = (" " + " · ".join(parts) for parts in wordings)
    return next((line for line in lines if columns_of(line) < columns), _cut(" " + first[0], columns))


def _latency(seconds: float) -> str:
    milliseconds = max(1, round(seconds * 1000))
    return f"{milliseconds} ms" if milliseconds <= SLOW else f"over {SLOW // 1000 + 1} s"


def _file(name: str, up: bool, percent: int) -> str:
    shown = clean_line(name, 24)
    filled = percent // 10
    return f"{_ARROWS[up]} {shown} {'█' * filled}{'░' * (10 - filled)} {percent} %"


def _unread(number: int, room: str, count: int, mentioned: bool) -> str:
    shown = f"{count}" if count <= 999 else "999+"
    return f"[{number}:{shown_room(room)} {shown}{'!' if mentioned else ''}]"


def _number(number: int, for_me: bool) -> str:
    return f"{number}{'!' if for_me else ''}"


def _cut(line: str, columns: int) -> str:
    while line and columns_of(line) >= columns:
        line = line[:-1]
    return line
