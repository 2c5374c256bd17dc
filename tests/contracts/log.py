"""What every ``IRoomLog`` and ``IDirectory`` promises, as one suite to run over each implementation.

Mix :class:`LogContract` into a trial ``TestCase`` and give it :meth:`~LogContract.open_log`. An engine that
survives a restart sets ``durable`` and opens the same log again at each call within one test.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any
from unittest.mock import patch

from twisted.internet.defer import Deferred, DeferredQueue, ensureDeferred, gatherResults
from zope.interface.verify import verifyObject

from encchat.contents import Delete, Edit, File, Reaction, Reply, body_of
from encchat.core.interfaces import (
    Conflict,
    Draft,
    IDirectory,
    IRoomLog,
    Rejected,
    Slice,
    Stored,
    Trimmed,
    Unavailable,
    UnknownPosition,
)
from encchat.core.words import words_of
from encchat.messages import GENESIS, Entry, Position
from encchat.wire import advance, decode_entry, encode

ROOM = "+lobby"
MUCH = 1 << 30


def msgid(number: int) -> bytes:
    """A msgid for each number."""
    return sha256(number.to_bytes(8, "big")).digest()[:16]


def draft(number: int, **changes: Any) -> Draft:
    """A draft for each number, with the changes that a test is about."""
    fields: dict[str, Any] = {
        "room": ROOM,
        "time": 1_000_000 + number,
        "sender": "Alice",
        "device": "desk",
        "kind": "text",
        "msgid": msgid(number),
        "body": b"line %d" % number,
    }
    return Draft(**(fields | changes))


def frame_of(made_from: Draft, seq: int) -> bytes:
    """The frame that a draft becomes as entry ``seq``, from the messages alone."""
    return encode(
        Entry(
            made_from.room,
            seq,
            made_from.time,
            made_from.sender,
            made_from.device,
            made_from.kind,
            made_from.msgid,
            made_from.body,
        )
    )


class Hinted:
    """The hints that a log gives, one at a time, as they may come late."""

    def __init__(self, log: Any) -> None:
        self._told: DeferredQueue[tuple[str, int]] = DeferredQueue()
        log.hints(lambda room, seq: self._told.put((room, seq)))

    def next(self) -> Deferred[tuple[str, int]]:
        return self._told.get()


class LogContract:
    """The suite; see the module."""

    #: Whether :meth:`open_log` finds again what was acknowledged before.
    durable = False

    def open_log(self) -> Any:
        """The log under test, fresh in each test; closed by the test case that opened it."""
        raise NotImplementedError

    async def filled(self, count: int, **changes: Any) -> Any:
        log = self.open_log()
        await log.append([draft(n, **changes) for n in range(1, count + 1)])
        return log

    async def reopened(self, log: Any) -> Any:
        """The same log after a restart, where it survives one; otherwise just the log."""
        if not self.durable:
            return log
        await log.close()
        return self.open_log()

    async def chain_of(self, log: Any, room: str = ROOM) -> list[bytes]:
        """Every frame of the room, read in small pages and checked against the head."""
        position, frames, more = Position(), [], True
        while more:
            page: Slice = await log.read(room, position.seq, 3, MUCH)
            self.assertEqual(page.start, position)
            position = advance(position, page.frames)
            frames += page.frames
            more = page.more
        self.assertEqual(position, await log.head(room))
        return frames

    def assert_raises(self, error: type[Exception], awaitable: Any) -> Deferred[Any]:
        return self.assertFailure(ensureDeferred(awaitable), error)

    # ------------------------------------------------------------------------------------------- append

    def test_provides_the_interfaces(self) -> None:
        log = self.open_log()
        self.assertTrue(verifyObject(IRoomLog, log))
        self.assertTrue(verifyObject(IDirectory, log))
        self.assertEqual(len(log.log_id), 16)

    async def test_entries_are_numbered_from_one_without_holes(self) -> None:
        log = self.open_log()
        first = await log.append([draft(1), draft(2)])
        second = await log.append([draft(3)])
        self.assertEqual([stored.seq for stored in [*first, *second]], [1, 2, 3])
        self.assertEqual([stored.duplicate for stored in first], [False, False])

    async def test_the_frame_is_the_encoded_entry(self) -> None:
        log = self.open_log()
        (stored,) = await log.append([draft(1, body=bytes(range(256)), device="", sender="Ålice")])
        self.assertEqual(
            stored.frame, frame_of(draft(1, body=bytes(range(256)), device="", sender="Ålice"), 1)
        )
        self.assertEqual(stored.time, draft(1).time)
        page = await log.read(ROOM, 0, 10, MUCH)
        self.assertEqual(list(page.frames), [stored.frame])

    async def test_each_room_is_numbered_on_its_own(self) -> None:
        log = self.open_log()
        outcomes = await log.append(
            [draft(n, room=room) for n, room in enumerate(["+a", "#b", "+a", "+a", "#b"])]
        )
        self.assertEqual([stored.seq for stored in outcomes], [1, 1, 2, 3, 2])

    async def test_the_chain_is_the_hash_of_all_frames(self) -> None:
        log = await self.filled(5)
        chain = GENESIS
        for n in range(1, 6):
            chain = sha256(chain + frame_of(draft(n), n)).digest()
            self.assertEqual(await log.position(ROOM, n), Position(n, chain))
        self.assertEqual(await log.head(ROOM), Position(5, chain))

    async def test_nothing_to_append(self) -> None:
        log = self.open_log()
        self.assertEqual(list(await log.append([])), [])
        self.assertEqual(await log.head(ROOM), Position())

    async def test_many_appends_at_once_keep_order_and_lose_nothing(self) -> None:
        log = self.open_log()
        waiting = [
            ensureDeferred(log.append([draft(2 * n, room=f"+{n % 3}"), draft(2 * n + 1)])) for n in range(100)
        ]
        outcomes = await gatherResults(waiting)
        self.assertEqual([pair[1].seq for pair in outcomes], list(range(1, 101)))
        for room in range(3):
            seqs = [pair[0].seq for n, pair in enumerate(outcomes) if n % 3 == room]
            self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        frames = await self.chain_of(log)
        self.assertEqual(frames, [pair[1].frame for pair in outcomes])

    async def test_what_nobody_could_decode_is_refused_whole(self) -> None:
        log = self.open_log()
        for bad in (draft(2, msgid=b"short"), draft(2, time=-1), draft(2, sender="\ud800")):
            await self.assert_raises(ValueError, log.append([draft(1), bad]))
        self.assertEqual(await log.head(ROOM), Position())
        (stored,) = await log.append([draft(1)])
        self.assertFalse(stored.duplicate)

    # ------------------------------------------------------------------------------------- exactly once

    async def test_a_resend_gets_what_was_stored_first(self) -> None:
        log = await self.filled(3)
        (again,) = await log.append([draft(2, time=99, device="phone")])
        self.assertEqual(again, Stored(2, draft(2).time, frame_of(draft(2), 2), duplicate=True))
        self.assertEqual((await log.head(ROOM)).seq, 3)

    async def test_a_resend_after_a_restart(self) -> None:
        log = await self.reopened(await self.filled(3))
        outcomes = await log.append([draft(2), draft(4)])
        self.assertEqual([(o.seq, o.duplicate) for o in outcomes], [(2, True), (4, False)])

    async def test_a_duplicate_within_one_append(self) -> None:
        log = self.open_log()
        outcomes = await log.append([draft(1), draft(1, time=5), draft(2), draft(1, body=b"other")])
        self.assertEqual([o.seq for o in outcomes[:3]], [1, 1, 2])
        self.assertEqual([o.duplicate for o in outcomes[:3]], [False, True, False])
        self.assertEqual(outcomes[1].frame, outcomes[0].frame)
        self.assertEqual(outcomes[3], Rejected("msgid-reused"))

    async def test_the_same_msgid_in_appends_at_once(self) -> None:
        log = self.open_log()
        outcomes = await gatherResults([ensureDeferred(log.append([draft(1)])) for _ in range(20)])
        self.assertEqual({o.seq for (o,) in outcomes}, {1})
        self.assertEqual(sum(o.duplicate for (o,) in outcomes), 19)

    async def test_a_msgid_belongs_to_room_and_sender(self) -> None:
        log = await self.filled(1)
        outcomes = await log.append([draft(1, room="+other"), draft(1, sender="Bob")])
        self.assertEqual([(o.seq, o.duplicate) for o in outcomes], [(1, False), (2, False)])

    async def test_a_msgid_with_other_content_is_rejected(self) -> None:
        log = await self.filled(1)
        for changed in (draft(1, body=b"other"), draft(1, kind="me")):
            self.assertEqual(list(await log.append([changed])), [Rejected("msgid-reused")])
        self.assertEqual((await log.head(ROOM)).seq, 1)

    async def test_a_rejected_draft_does_not_hold_up_the_others(self) -> None:
        log = await self.filled(1)
        outcomes = await log.append([draft(2), draft(1, body=b"other"), draft(3)])
        self.assertEqual(outcomes[1], Rejected("msgid-reused"))
        self.assertEqual([outcomes[0].seq, outcomes[2].seq], [2, 3])

    # ------------------------------------------------------------------------------------------- roster

    async def test_a_draft_that_is_only_to_be_known_again(self) -> None:
        log = await self.filled(2)
        again, new = draft(2, again=True), draft(3, again=True)
        first, second, third, fourth = await log.append([new, again, draft(3), new])
        self.assertEqual((first, fourth.duplicate), (Rejected("not-stored"), True))
        self.assertEqual((second.seq, second.duplicate), (2, True))
        self.assertEqual((third.seq, third.duplicate), (3, False))
        other = draft(2, again=True, body=b"other")
        self.assertEqual(list(await log.append([other])), [Rejected("msgid-reused")])
        self.assertEqual(
            list(await log.append([draft(1, room="+never", again=True)])), [Rejected("not-stored")]
        )
        self.assertNotIn("+never", await log.rooms())
        log = await self.reopened(log)
        (outcome,) = await log.append([again])
        self.assertEqual((outcome.seq, outcome.duplicate), (2, True))

    async def test_a_draft_is_known_again_under_another_name(self) -> None:
        log = await self.filled(3, sender="Bob")
        await log.trim(ROOM, 3)
        log = await self.reopened(log)
        former = ("Bobby", "Bob")
        sent = [draft(number, sender="Robert", former=former, time=9) for number in (1, 3, 4)]
        outcomes = await log.append([*sent, draft(4, sender="Rob", former=("Bob", "Robert"))])
        for outcome, number in zip(outcomes, (1, 3), strict=False):
            first = draft(number, sender="Bob")
            self.assertEqual(outcome, Stored(number, first.time, frame_of(first, number), duplicate=True))
        self.assertEqual([(o.seq, o.duplicate) for o in outcomes[2:]], [(4, False), (4, True)])
        self.assertEqual(
            list(await log.append([draft(3, sender="Robert", former=former, body=b"other")])),
            [Rejected("msgid-reused")],
        )
        (other,) = await log.append([draft(1, sender="Carol", former=("Caroline",))])
        self.assertEqual((other.seq, other.duplicate), (5, False))

    async def test_a_draft_for_an_old_roster_is_rejected(self) -> None:
        log = self.open_log()
        outcomes = await log.append(
            [
                draft(1, roster=0),
                draft(2, kind="roster", roster=0),
                draft(3, roster=0),
                draft(4, roster=2),
                draft(5),
                draft(6, room="#other", roster=0),
            ]
        )
        self.assertEqual(outcomes[2], Rejected("roster-changed"))
        self.assertEqual([o.seq for o in (*outcomes[:2], *outcomes[3:])], [1, 2, 3, 4, 1])

    async def test_two_rosters_race(self) -> None:
        log = await self.reopened(await self.filled(1, kind="roster"))
        outcomes = await log.append([draft(n, kind="roster", roster=1) for n in (2, 3)])
        self.assertEqual(outcomes[0].seq, 2)
        self.assertEqual(outcomes[1], Rejected("roster-changed"))
        log = await self.reopened(log)
        self.assertEqual(list(await log.append([draft(4, roster=1)])), [Rejected("roster-changed")])

    async def test_a_resend_is_answered_though_the_roster_moved_on(self) -> None:
        log = self.open_log()
        await log.append([draft(1, roster=0), draft(2, kind="roster", roster=0)])
        (again,) = await log.append([draft(1, roster=0)])
        self.assertEqual((again.seq, again.duplicate), (1, True))

    # --------------------------------------------------------------------------------------------- read

    async def test_read_in_pages(self) -> None:
        log = await self.filled(10)
        page = await log.read(ROOM, 3, 4, MUCH)
        self.assertEqual([decode_entry(frame).seq for frame in page.frames], [4, 5, 6, 7])
        self.assertEqual(page.start, await log.position(ROOM, 3))
        self.assertTrue(page.more)
        page = await log.read(ROOM, 7, 4, MUCH)
        self.assertEqual([decode_entry(frame).seq for frame in page.frames], [8, 9, 10])
        self.assertFalse(page.more)
        self.assertEqual(len(await self.chain_of(log)), 10)

    async def test_read_bounded_by_size(self) -> None:
        log = await self.filled(4)
        one = len(frame_of(draft(1), 1))
        for size, count in ((0, 1), (1, 1), (one, 1), (2 * one - 1, 1), (2 * one, 2), (MUCH, 4)):
            page = await log.read(ROOM, 0, 100, size)
            self.assertEqual((size, len(page.frames), page.more), (size, count, count < 4))

    async def test_a_first_entry_larger_than_the_size_comes_alone(self) -> None:
        log = self.open_log()
        await log.append([draft(1), draft(2, body=bytes(60_000)), draft(3)])
        page = await log.read(ROOM, 1, 100, 1000)
        self.assertEqual([decode_entry(frame).seq for frame in page.frames], [2])
        page = await log.read(ROOM, 0, 100, 1000)
        self.assertEqual([decode_entry(frame).seq for frame in page.frames], [1])
        page = await log.read_back(ROOM, 3, 100, 1000)
        self.assertEqual([decode_entry(frame).seq for frame in page.frames], [2])
        self.assertTrue(page.more)
        self.assertEqual(len(await self.chain_of(log)), 3)

    async def test_read_at_the_head(self) -> None:
        log = await self.filled(2)
        page = await log.read(ROOM, 2, 5, MUCH)
        self.assertEqual((page.start, list(page.frames), page.more), (await log.head(ROOM), [], False))

    async def test_a_room_without_entries(self) -> None:
        log = self.open_log()
        self.assertEqual(await log.head("+none"), Position())
        self.assertEqual(await log.position("+none", 0), Position())
        for page in (await log.read("+none", 0, 5, MUCH), await log.read_back("+none", 9, 5, MUCH)):
            self.assertEqual((page.start, list(page.frames), page.more), (Position(), [], False))
        await self.assert_raises(UnknownPosition, log.read("+none", 1, 5, MUCH))

    async def test_a_position_beyond_the_head_is_unknown(self) -> None:
        log = await self.filled(2)
        await self.assert_raises(UnknownPosition, log.read(ROOM, 3, 5, MUCH))
        await self.assert_raises(UnknownPosition, log.position(ROOM, 3))
        await self.assert_raises(UnknownPosition, log.position(ROOM, 2**62))

    async def test_bounds_that_make_no_sense_are_refused(self) -> None:
        log = await self.filled(2)
        for awaitable in (
            log.read(ROOM, -1, 5, MUCH),
            log.read(ROOM, 0, 0, MUCH),
            log.read(ROOM, 0, -1, MUCH),
            log.read_back(ROOM, -1, 5, MUCH),
            log.read_back(ROOM, 2, -5, MUCH),
            log.position(ROOM, -1),
            log.scan("name", "", -1),
        ):
            await self.assert_raises(ValueError, awaitable)

    async def test_read_back(self) -> None:
        log = await self.filled(10)
        for before, limit, expected, more in (
            (11, 3, [8, 9, 10], True),
            (2**62, 2, [9, 10], True),
            (5, 3, [2, 3, 4], True),
            (4, 3, [1, 2, 3], False),
            (3, 50, [1, 2], False),
            (2, 1, [1], False),
            (1, 5, [], False),
            (0, 5, [], False),
        ):
            page = await log.read_back(ROOM, before, limit, MUCH)
            self.assertEqual([decode_entry(frame).seq for frame in page.frames], expected)
            self.assertEqual(page.more, more, f"before {before}")
            start = expected[0] - 1 if expected else 0
            self.assertEqual(page.start, await log.position(ROOM, start))

    async def test_read_back_bounded_by_size(self) -> None:
        log = await self.filled(4)
        one = len(frame_of(draft(1), 1))
        page = await log.read_back(ROOM, 5, 100, 2 * one)
        self.assertEqual([decode_entry(frame).seq for frame in page.frames], [3, 4])
        page = await log.read_back(ROOM, 5, 100, 0)
        self.assertEqual([decode_entry(frame).seq for frame in page.frames], [4])

    async def test_a_read_sees_what_was_acknowledged(self) -> None:
        log = self.open_log()
        for n in range(1, 30):
            await log.append([draft(n)])
            page = await log.read(ROOM, n - 1, 5, MUCH)
            self.assertEqual(len(page.frames), 1)

    async def test_a_read_sees_what_was_announced(self) -> None:
        log = self.open_log()
        hinted = Hinted(log)
        await gatherResults([ensureDeferred(log.append([draft(n)])) for n in range(1, 21)])
        seen = 0
        while seen < 20:
            _, seen = await hinted.next()
            page = await log.read(ROOM, seen - 1, 5, MUCH)
            self.assertEqual(decode_entry(page.frames[0]).seq, seen)

    # ------------------------------------------------------------------------------------------ search

    async def found(self, log: Any, words: str, before: int = MUCH, limit: int = 100) -> list[int]:
        """The seqs of what is found for some words, asked for until there is no more."""
        seqs: list[int] = []
        while True:
            findings = await log.search(ROOM, words_of(words), before, limit, MUCH)
            self.assertLessEqual(len(findings.frames), limit)
            here = [decode_entry(frame).seq for frame in findings.frames]
            self.assertEqual(here, sorted(here))
            self.assertTrue(all(findings.reached <= seq < before for seq in here))
            seqs = here + seqs
            if not findings.more:
                return seqs
            self.assertLess(findings.reached, before)
            before = findings.reached

    async def test_search_finds_whole_words(self) -> None:
        log = self.open_log()
        bodies = [
            "The Straße is long",
            "STRASSE, the long one",
            "along the strassen",
            "ﬁne: café\u0301?",
            "long",
        ]
        await log.append([draft(n, body=body.encode()) for n, body in enumerate(bodies, 1)])
        await log.append([draft(6, kind="me", body=b"is long gone"), draft(7, kind="topic", body=b"long")])
        await log.append([draft(8, room="+other", body=b"long")])
        for words, seqs in (
            ("long", [1, 2, 5, 6]),
            ("LONG strasse", [1, 2]),
            ("the straße long", [1, 2]),
            ("fine", [4]),
            ("strass", []),
            ("nowhere", []),
        ):
            for limit in (1, 2, 100):
                self.assertEqual(await self.found(log, words, limit=limit), seqs, words)
        self.assertEqual(await self.found(log, "long", before=5), [1, 2])
        self.assertEqual(await self.found(log, "long", before=0), [])

    async def test_search_finds_what_people_said(self) -> None:
        log = self.open_log()
        bodies: list[tuple[str, bytes]] = [
            ("reply", body_of(Reply(1, "a late reply"))),
            ("edit", body_of(Edit(1, "a late edit"))),
            ("file", body_of(File("late notes.pdf", 1, "0" * 64, "application/late"))),
            ("reaction", body_of(Reaction(1, "late"))),
            ("delete", body_of(Delete(1))),
            ("reply", b"late"),
            ("kick", b'{"name": "late"}'),
            ("file", b'{"name": "late"}'),
        ]
        await log.append([draft(n, kind=kind, body=body) for n, (kind, body) in enumerate(bodies, 1)])
        for words, seqs in (("late", [1, 2, 3]), ("text", []), ("pdf notes", [3]), ("reply", [1]), ("1", [])):
            self.assertEqual(await self.found(log, words), seqs, words)

    async def test_search_takes_no_orders(self) -> None:
        log = self.open_log()
        await log.append([draft(1, body=b"a AND b OR c NOT d NEAR e")])
        for words in (
            '"',
            "a* OR",
            'a" OR "b',
            "NEAR(a b)",
            "c:a",
            "^a",
            "{a b}",
            "'; DROP TABLE rooms",
            "\0a",
        ):
            await self.found(log, words)
        self.assertEqual(await self.found(log, 'a" AND b NEAR('), [1])
        self.assertEqual(await self.found(log, "a NOT f"), [])

    async def test_search_is_bounded(self) -> None:
        log = self.open_log()
        await log.append([draft(n, body=b"word " + b"." * 500) for n in range(1, 31)])
        findings = await log.search(ROOM, words_of("word"), MUCH, 100, 1)
        self.assertEqual([decode_entry(frame).seq for frame in findings.frames], [30])
        self.assertEqual((findings.reached, findings.more), (30, True))
        with patch("encchat.logs.searching.MAX_LOOKS", 7):
            findings = await log.search(ROOM, words_of("absent"), MUCH, 100, MUCH)
            self.assertEqual(list(findings.frames), [])
            self.assertEqual(findings.more, findings.reached > 1)
            self.assertLessEqual(findings.reached, 24)
            self.assertEqual(await self.found(log, "word"), list(range(1, 31)))
        await self.assert_raises(ValueError, log.search(ROOM, words_of("word"), -1, 1, MUCH))
        await self.assert_raises(ValueError, log.search(ROOM, words_of("word"), 1, 0, MUCH))

    async def test_search_finds_nothing_that_left(self) -> None:
        log = self.open_log()
        await log.append([draft(n, body=b"word " + b"." * 500) for n in range(1, 31)])
        await log.trim(ROOM, 20)
        self.assertEqual(await self.found(log, "word"), list(range(20, 31)))
        self.assertEqual(await self.found(log, "word", before=20), [])
        await log.trim(ROOM, 31)
        self.assertEqual(await self.found(log, "word"), [])
        findings = await log.search("+none", words_of("word"), MUCH, 100, MUCH)
        self.assertEqual((list(findings.frames), findings.more), ([], False))

    # ------------------------------------------------------------------------------------------- rooms

    async def test_rooms_are_listed_in_order(self) -> None:
        log = self.open_log()
        self.assertEqual(await log.rooms(), [])
        names = ["+b", "+a", "#sealed", "+é", "+ab"]
        for number, name in enumerate(names, 1):
            await log.append([draft(number, room=name), draft(number + 10, room=name)])
        await log.read("+never", 0, 1, MUCH)
        self.assertEqual(list(await log.rooms()), sorted(names))
        self.assertEqual(list(await log.rooms("+a", 2)), ["+ab", "+b"])
        self.assertEqual(list(await log.rooms("+é")), [])
        await log.trim("+b", 3)
        self.assertIn("+b", await log.rooms())
        await self.assert_raises(ValueError, log.rooms("", 0))

    # -------------------------------------------------------------------------------------------- trim

    async def test_trimmed_entries_are_gone_and_the_rest_verifies(self) -> None:
        log = await self.filled(20)
        frames = await self.chain_of(log)
        kept_from = await log.position(ROOM, 7)
        self.assertEqual(await log.trim(ROOM, 8), kept_from)
        for restart in (False, True):
            log = await self.reopened(log) if restart else log
            error = await self.assert_raises(Trimmed, log.read(ROOM, 6, 5, MUCH))
            self.assertEqual((error.first, error.facts["room"]), (7, ROOM))
            await self.assert_raises(Trimmed, log.position(ROOM, 0))
            page = await log.read(ROOM, error.first, 100, MUCH)
            self.assertEqual((page.start, list(page.frames)), (kept_from, frames[7:]))
            self.assertEqual(advance(page.start, page.frames), await log.head(ROOM))
            page = await log.read_back(ROOM, 11, 100, MUCH)
            self.assertEqual((page.start, list(page.frames), page.more), (kept_from, frames[7:10], False))
            page = await log.read_back(ROOM, 5, 100, MUCH)
            self.assertEqual((page.start, list(page.frames), page.more), (kept_from, [], False))

    async def test_a_msgid_is_known_after_its_entry_left(self) -> None:
        log = await self.filled(5, sender="Bob")
        await log.trim(ROOM, 5)
        log = await self.reopened(log)
        outcomes = await log.append(
            [
                draft(2, sender="Bob", time=1, device="phone"),
                draft(3, sender="Bob", body=b"other"),
                draft(5, sender="Bob"),
                draft(2),
            ]
        )
        first = draft(2, sender="Bob")
        self.assertEqual(outcomes[0], Stored(2, first.time, frame_of(first, 2), duplicate=True))
        self.assertEqual(outcomes[1], Rejected("msgid-reused"))
        self.assertEqual((outcomes[2].seq, outcomes[2].duplicate), (5, True))
        self.assertEqual((outcomes[3].seq, outcomes[3].duplicate), (6, False))

    async def test_trim_all_and_go_on(self) -> None:
        log = await self.filled(3, kind="roster")
        head = await log.head(ROOM)
        self.assertEqual(await log.trim(ROOM, 1000), head)
        log = await self.reopened(log)
        self.assertEqual(await log.head(ROOM), head)
        self.assertEqual(list(await log.append([draft(4, roster=2)])), [Rejected("roster-changed")])
        (stored,) = await log.append([draft(4, roster=3)])
        self.assertEqual(stored.seq, 4)
        page = await log.read(ROOM, 3, 5, MUCH)
        self.assertEqual((page.start, list(page.frames)), (head, [stored.frame]))

    async def test_trim_never_goes_back(self) -> None:
        log = await self.filled(9)
        five = await log.trim(ROOM, 6)
        self.assertEqual(five.seq, 5)
        for before in (6, 3, 0):
            self.assertEqual(await log.trim(ROOM, before), five)
        self.assertEqual(await log.trim("+none", 6), Position())
        await self.assert_raises(ValueError, log.trim(ROOM, -1))

    # ------------------------------------------------------------------------------------------- hints

    async def test_hints_name_room_and_seq(self) -> None:
        log = self.open_log()
        hinted = Hinted(log)
        await log.append([draft(1), draft(2), draft(3, room="+other")])
        self.assertEqual({await hinted.next(), await hinted.next()}, {(ROOM, 2), ("+other", 1)})
        await log.append([draft(1)])
        await log.append([draft(4)])
        self.assertEqual(await hinted.next(), (ROOM, 3))

    async def test_a_listener_that_fails_harms_nobody(self) -> None:
        log = self.open_log()
        log.hints(lambda room, seq: 1 // 0)
        hinted = Hinted(log)
        (stored,) = await log.append([draft(1)])
        self.assertEqual((stored.seq, await hinted.next()), (1, (ROOM, 1)))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    # --------------------------------------------------------------------------------------- directory

    async def test_a_record_is_stored_and_found(self) -> None:
        log = self.open_log()
        self.assertIsNone(await log.get("name", "alice"))
        revision = await log.put("name", "alice", b"\x00key", 0)
        log = await self.reopened(log)
        item = await log.get("name", "alice")
        self.assertEqual((item.value, item.revision), (b"\x00key", revision))
        self.assertGreater(revision, 0)
        self.assertIsNone(await log.get("room", "alice"))

    async def test_compare_and_set(self) -> None:
        log = self.open_log()
        first = await log.put("name", "alice", b"one", 0)
        await self.assert_raises(Conflict, log.put("name", "alice", b"two", 0))
        second = await log.put("name", "alice", b"two", first)
        error = await self.assert_raises(Conflict, log.put("name", "alice", b"three", first))
        self.assertEqual(error.facts["key"], "alice")
        await self.assert_raises(Conflict, log.put("name", "bob", b"three", second))
        self.assertEqual((await log.get("name", "alice")).value, b"two")
        self.assertNotEqual(first, second)

    async def test_of_many_that_race_one_wins(self) -> None:
        log = self.open_log()
        waiting = [ensureDeferred(log.put("name", "alice", b"%d" % n, 0)) for n in range(10)]
        wins = []
        for n, deferred in enumerate(waiting):
            try:
                await deferred
                wins.append(n)
            except Conflict:
                pass
        self.assertEqual(len(wins), 1)
        self.assertEqual((await log.get("name", "alice")).value, b"%d" % wins[0])

    async def test_delete(self) -> None:
        log = self.open_log()
        revision = await log.put("name", "alice", b"one", 0)
        await self.assert_raises(Conflict, log.delete("name", "alice", 0))
        await self.assert_raises(Conflict, log.delete("name", "alice", revision + 1))
        await self.assert_raises(Conflict, log.delete("name", "bob", 5))
        await log.delete("name", "alice", revision)
        self.assertIsNone(await log.get("name", "alice"))
        await log.delete("name", "alice", 0)

    async def test_a_revision_never_comes_again(self) -> None:
        log = self.open_log()
        first = await log.put("name", "alice", b"one", 0)
        await log.delete("name", "alice", first)
        log = await self.reopened(log)
        second = await log.put("name", "alice", b"two", 0)
        self.assertNotEqual(first, second)
        await self.assert_raises(Conflict, log.delete("name", "alice", first))

    async def test_scan_in_the_order_of_keys(self) -> None:
        log = self.open_log()
        keys = ["b", "a", "é", "B", "aa", "\U0001f600", "\uff5e", "z"]
        for key in keys:
            await log.put("name", key, key.encode(), 0)
        await log.put("room", "q", b"", 0)
        found = await log.scan("name")
        self.assertEqual(list(found), sorted(keys))
        self.assertEqual([item.value.decode() for item in found.values()], sorted(keys))
        walked: list[str] = []
        while page := await log.scan("name", walked[-1] if walked else "", 3):
            self.assertLessEqual(len(page), 3)
            walked += page
        self.assertEqual(walked, sorted(keys))
        self.assertEqual(dict(await log.scan("none")), {})

    # ------------------------------------------------------------------------------------------- close

    async def test_state_is_ok(self) -> None:
        log = self.open_log()
        self.assertEqual(await log.state(), "ok")

    async def test_a_closed_log_says_so(self) -> None:
        log = await self.filled(2)
        await log.close()
        await log.close()
        calls: Sequence[Any] = (
            log.append([draft(3)]),
            log.read(ROOM, 0, 5, MUCH),
            log.read_back(ROOM, 2, 5, MUCH),
            log.head(ROOM),
            log.position(ROOM, 0),
            log.trim(ROOM, 1),
            log.get("name", "alice"),
            log.put("name", "alice", b"", 0),
            log.delete("name", "alice", 0),
            log.scan("name"),
        )
        for call in calls:
            await self.assert_raises(Unavailable, call)
        self.assertEqual(await log.state(), "down")

    async def test_close_finishes_what_was_begun(self) -> None:
        log = self.open_log()
        waiting = [ensureDeferred(log.append([draft(n)])) for n in range(1, 51)]
        closing = ensureDeferred(log.close())
        outcomes = await gatherResults(waiting)
        self.assertEqual([o.seq for (o,) in outcomes], list(range(1, 51)))
        await closing
        if self.durable:
            self.assertEqual((await self.open_log().head(ROOM)).seq, 50)

    async def test_the_log_keeps_its_name(self) -> None:
        log = self.open_log()
        name = log.log_id
        self.assertEqual((await self.reopened(log)).log_id, name)
