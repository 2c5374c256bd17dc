"""Times as people write them, and where in a log they are."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from encchat.client.pipe.span import BadMoment, EmptySpan, Span, first_since, parse_moment

ZONE = timezone(timedelta(hours=2))
NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=ZONE)


def moment(text: str) -> datetime:
    return datetime.fromtimestamp(parse_moment("--since", text, NOW) / 1000, UTC).astimezone(ZONE)


class Moments(SynchronousTestCase):
    def test_how_long_ago(self) -> None:
        for text, seconds in (
            ("90s", 90),
            ("15m", 900),
            ("2h", 7200),
            ("1h30m", 5400),
            ("3d", 259_200),
            ("1w", 604_800),
        ):
            self.assertEqual(moment(text), NOW - timedelta(seconds=seconds), text)

    def test_times_and_dates(self) -> None:
        for text, expected in (
            ("10:30", NOW.replace(hour=10, minute=30)),
            ("9:05", NOW.replace(hour=9, minute=5)),
            ("10:30:15", NOW.replace(hour=10, minute=30, second=15)),
            ("2026-11-20", datetime(2026, 11, 20, tzinfo=ZONE)),
            ("2026-11-20T10:30", datetime(2026, 11, 20, 10, 30, tzinfo=ZONE)),
            ("2026-11-20 10:30:05", datetime(2026, 11, 20, 10, 30, 5, tzinfo=ZONE)),
            ("2026-11-20T10:30Z", datetime(2026, 11, 20, 10, 30, tzinfo=UTC)),
            ("2026-11-20T10:30+01:00", datetime(2026, 11, 20, 9, 30, tzinfo=UTC)),
            (" 2026-11-20 ", datetime(2026, 11, 20, tzinfo=ZONE)),
        ):
            self.assertEqual(moment(text), expected, text)

    def test_nonsense(self) -> None:
        for text in (
            "",
            "soon",
            "10",
            "-1h",
            "1y",
            "25:00",
            "2026-13-01",
            "1:2",
            "20261120",
            "9999999999s",
            "1h 2m",
            "999999999w",
            "٣h",
        ):
            with self.assertRaises(BadMoment, msg=text) as caught:
                parse_moment("--since", text, NOW)
            self.assertIn("--since", str(caught.exception))

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=30) | st.from_regex(r"[0-9smhdw:T+Z -]{1,25}", fullmatch=True))
    def test_whatever_is_written(self, text: str) -> None:
        with contextlib.suppress(BadMoment):
            self.assertIsInstance(parse_moment("--until", text, NOW), int)


class Spans(SynchronousTestCase):
    def test_asked_for(self) -> None:
        self.assertFalse(Span())
        for span in (Span(tail=0), Span(since=0), Span(until=1)):
            self.assertTrue(span)

    def test_nothing_between(self) -> None:
        self.assertRaises(EmptySpan, Span, None, 5, 5)


class Places(SynchronousTestCase):
    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.integers(0, 50), max_size=60).map(sorted), st.integers(-1, 51), st.integers(0, 30))
    def test_the_first_one(self, times: list[int], since: int, trimmed: int) -> None:
        """Against a search from the beginning, also where the oldest entries are gone."""
        kept = {seq: time for seq, time in enumerate(times, 1) if seq > trimmed}
        asked = 0

        async def time_after(seq: int) -> tuple[int, int] | None:
            nonlocal asked
            asked += 1
            return next(((at, time) for at, time in kept.items() if at > seq), None)

        found = self.successResultOf(Deferred.fromCoroutine(first_since(since, len(times), time_after)))
        self.assertLessEqual(asked, len(times).bit_length() + 1)
        expected = [seq for seq, time in kept.items() if time >= since]
        self.assertEqual([seq for seq in kept if seq >= found], expected)

    def test_a_clock_that_was_set_back(self) -> None:
        """It ends, and somewhere."""
        times = [5, 1, 7, 2, 9]

        async def time_after(seq: int) -> tuple[int, int] | None:
            return (seq + 1, times[seq]) if seq < len(times) else None

        for since in range(12):
            found = self.successResultOf(Deferred.fromCoroutine(first_since(since, 5, time_after)))
            self.assertIn(found, range(1, 7))
