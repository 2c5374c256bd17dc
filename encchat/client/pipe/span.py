"""Which part of a room's log to read: ``--tail``, ``--since`` and ``--until``, and where that begins.

Times are milliseconds since 1970-01-01 UTC, as entries carry them. A room's entries are in the order in which
they were stored; that is the order of their times too, unless the server's clock was set back meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from encchat.errors import UsageError

_DURATION = re.compile(r"(?:[0-9]{1,9}[smhdw])+")
_STEP = re.compile(r"([0-9]+)([smhdw])")
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9]))?")
#: What ``fromisoformat`` takes goes further than people mean.
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class BadMoment(UsageError):
    """{option} {text!r} is no time. Write how long ago (90s, 15m, 2h, 1h30m, 3d, 1w), a time of today
    (10:30), a date, or both (2026-11-23T10:30, with Z or +01:00 if it is not this machine's time zone)."""


class EmptySpan(UsageError):
    """--until is not after --since, so there is nothing between them."""


@dataclass(frozen=True, slots=True)
class Span:
    """What to read: the last ``tail`` entries, or those from ``since`` on, and only those before ``until``.

    :raises EmptySpan: there is nothing between them.
    """

    tail: int | None = None
    since: int | None = None
    until: int | None = None

    def __post_init__(self) -> None:
        if self.since is not None and self.until is not None and self.until <= self.since:
            raise EmptySpan()

    def __bool__(self) -> bool:
        """Whether it was asked for at all."""
        return (self.tail, self.since, self.until) != (None, None, None)


def parse_moment(option: str, text: str, now: datetime) -> int:
    """A moment as people write it, in milliseconds.

    :param option: where it was written, for the error.
    :param now: with the time zone that is meant where none is written.
    :raises BadMoment: it is none.
    """
    try:
        return int(_moment(text.strip(), now).timestamp() * 1000)
    except (ValueError, OverflowError):
        raise BadMoment(option=option, text=text[:60]) from None


def _moment(text: str, now: datetime) -> datetime:
    if _DURATION.fullmatch(text):
        steps = ((int(number), _SECONDS[unit]) for number, unit in _STEP.findall(text))
        return now - timedelta(seconds=sum(number * seconds for number, seconds in steps))
    if (clock := _CLOCK.fullmatch(text)) is not None:
        hour, minute, second = (int(part or 0) for part in clock.groups())
        return now.replace(hour=hour, minute=minute, second=second, microsecond=0)
    if _DATE.match(text) is None:
        raise ValueError(text)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=now.tzinfo)


async def first_since(
    since: int, head: int, time_after: Callable[[int], Awaitable[tuple[int, int] | None]]
) -> int:
    """The seq of the first entry that is not older than ``since``; ``head`` + 1 if there is none.

    :param head: the seq of the last entry.
    :param time_after: given a seq, tells the (seq, time) of the next entry that is there; None: there is
        none. It is asked about log2(head) times.
    """
    low, high = 0, head  # the wanted entry is the first one after a seq in low..high
    while low < high:
        middle = (low + high) // 2
        found = await time_after(middle)
        if found is None or found[1] >= since:
            high = middle
        else:
            low = max(middle + 1, found[0])
    return min(low, head) + 1
