"""Searching a room: who may, what for, and what comes back."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.words import MAX_WORDS, words_of
from encchat.wire import decode_entry
from tests.core.world import World, text


class SearchCase(SynchronousTestCase):
    """A room in which something was said."""

    def setUp(self) -> None:
        self.world = World()
        self.alice = self.world.member("alice")
        for number, words in enumerate(("good morning", "Morning, all", "good night", "MORNING good"), 1):
            self.alice.ask(text(number, words))

    def search(self, words: str, **more: Any) -> Any:
        (answer,) = self.alice.ask(m.Search(9, "+lobby", words, **more))
        return answer

    def seqs(self, found: m.Found) -> list[int]:
        return [decode_entry(frame).seq for frame in found.entries]


class Answers(SearchCase):
    """What comes back."""

    def test_found(self) -> None:
        found = self.search("morning GOOD")
        self.assertEqual((found.id, found.room, self.seqs(found)), (9, "+lobby", [1, 4]))
        self.assertEqual((found.reached, found.more), (1, False))
        self.assertEqual(list(found.entries), [self.world.log_frames("+lobby")[n] for n in (0, 3)])

    def test_a_page_at_a_time(self) -> None:
        first = self.search("morning", limit=2)
        self.assertEqual((self.seqs(first), first.more), ([2, 4], True))
        second = self.search("morning", limit=2, before=first.reached)
        self.assertEqual((self.seqs(second), second.more), ([1], False))

    def test_nothing(self) -> None:
        found = self.search("evening")
        self.assertEqual((found.entries, found.more), ((), False))


class Refusals(SearchCase):
    """What is not answered."""

    def test_no_words(self) -> None:
        many = " ".join(f"w{n}" for n in range(MAX_WORDS + 1))
        for words in ("", "  ", '"* -- _ ()', many):
            self.assertEqual(self.search(words).code, "no-words", words)
        self.assertEqual(type(self.search(many.rpartition(" ")[0])), m.Found)

    def test_only_members(self) -> None:
        stranger = self.world.named("bob")
        for room in ("+lobby", "#sealed"):
            (answer,) = stranger.ask(m.Search(1, room, "morning"))
            self.assertEqual(type(answer), m.Error)

    def test_put_out_meanwhile(self) -> None:
        search = type(self.world.log).search

        async def leave_first(log: Any, *arguments: Any) -> Any:
            self.alice.session.exit(self.alice.session.room("+lobby"))
            return await search(log, *arguments)

        self.patch(type(self.world.log), "search", leave_first)
        self.assertEqual(self.search("morning").code, "not-in-room")


class Words(SynchronousTestCase):
    """What a word is."""

    def test_words(self) -> None:
        for written, words in (
            ("", set()),
            ("It's_so: (fine)", {"it", "s", "so", "fine"}),
            ("STRASSE straße", {"strasse"}),
            ("ＡＢＣ １２", {"abc", "12"}),
            ("e\u0301te\u0301", {"été"}),
            ("东京 Москва", {"东京", "москва"}),
            ("\x1b[31m\u202e\ud800", {"31m"}),
        ):
            self.assertEqual(words_of(written), words, written)
