"""Entries in plain words: what each kind reads like, and that nothing in one reaches a terminal."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.contents import CONTENTS, Content, Delete, Edit, File, Reaction, Reply, body_of
from encchat.core.plain import entry_line, happening_line, size_words
from encchat.messages import Entry
from tests.hostile import is_unsafe

_KINDS = {content: kind for kind, content in CONTENTS.items()}


def entry(kind: str, body: bytes, sender: str = "alice", seq: int = 50) -> Entry:
    return Entry("+lobby", seq, 1, sender, "desk", kind, bytes(16), body)


def said(content: Content, sender: str = "alice") -> Entry:
    return entry(_KINDS[type(content)], body_of(content), sender)


BOB = entry("text", b"shall we meet at the usual place, or at another one?", "bob", 41)
REPORT = File("report.pdf", 12 * 1024, "0" * 64)


class Contents(SynchronousTestCase):
    """Replies, edits, deletions, reactions and files."""

    def reads(self, content: Content, words: str, target: Entry | None = None) -> None:
        self.assertEqual(happening_line(said(content), target), words)

    def test_a_reply(self) -> None:
        self.reads(Reply(41, "yes"), "alice: (to #41) yes")
        self.reads(Reply(41, "yes"), 'alice: (to bob: "shall we meet at the usual place, or at…") yes', BOB)
        self.assertEqual(entry_line(said(Reply(41, "yes"))), "alice: (to #41) yes")

    def test_only_the_right_target_is_quoted(self) -> None:
        self.reads(Reply(40, "yes"), "alice: (to #40) yes", BOB)

    def test_a_target_without_words(self) -> None:
        ban = entry("ban", b'{"name": "carol"}', "bob", 41)
        self.reads(Reply(41, "why?"), "alice: (to bob, #41) why?", ban)

    def test_a_target_of_another_kind_is_quoted_by_its_text(self) -> None:
        for content, words in ((Reply(3, "hm"), "hm"), (REPORT, "report.pdf")):
            target = entry(_KINDS[type(content)], body_of(content), "bob", 41)
            self.reads(Reply(41, "ok"), f'alice: (to bob: "{words}") ok', target)

    def test_an_edit(self) -> None:
        self.reads(Edit(41, "hello"), "alice corrects #41: hello")
        self.assertEqual(entry_line(said(Edit(41, "hello"))), "* alice corrects #41: hello")

    def test_a_deletion(self) -> None:
        self.reads(Delete(41), "alice takes back #41")
        self.reads(Delete(41), 'alice hides #41 (bob: "shall we meet at the usual place, or at…")', BOB)
        self.reads(Delete(41), "alice takes back #41", entry("text", b"hi", "alice", 41))

    def test_a_reaction(self) -> None:
        self.reads(Reaction(41, "👍"), "alice: 👍 to #41")
        self.reads(Reaction(41, "👍", undo=True), "alice takes back 👍 to #41")
        bob = entry("text", b"lunch?", "bob", 41)
        self.reads(Reaction(41, "👍"), 'alice: 👍 to #41 (bob: "lunch?")', bob)

    def test_a_file(self) -> None:
        self.reads(REPORT, "alice offers the file report.pdf (12 KiB)")
        self.assertEqual(entry_line(said(REPORT)), "* alice offers the file report.pdf (12 KiB)")

    def test_what_is_not_of_its_kind(self) -> None:
        for kind in CONTENTS:
            self.assertEqual(happening_line(entry(kind, b"?")), f"alice did something ({kind})")
            self.assertEqual(
                entry_line(entry(kind, b"[" * 9999)).lstrip("* "), f"alice did something ({kind})"
            )

    def test_a_kind_of_a_later_version(self) -> None:
        self.assertIsNone(entry_line(entry("poll", b"{}")))

    @settings(deadline=None, max_examples=100)
    @given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60), st.booleans())
    def test_one_safe_line_whatever_is_in_it(self, text: str, known: bool) -> None:
        target = entry("text", text.encode(), text, 41) if known else None
        for content in (
            Reply(41, text),
            Edit(41, text),
            Delete(41),
            Reaction(41, text[:32]),
            File(text, 1, "0" * 64),
        ):
            line = happening_line(said(content, text), target)
            self.assertFalse(any(map(is_unsafe, line)), repr(line))
            self.assertNotIn("\n", line)


class Sizes(SynchronousTestCase):
    """Bytes in words."""

    def test_sizes(self) -> None:
        for size, words in (
            (0, "0 bytes"),
            (1, "1 byte"),
            (1023, "1023 bytes"),
            (1024, "1 KiB"),
            (1536, "1.5 KiB"),
            (12 * 1024 + 1023, "12 KiB"),
            (100 * 2**20, "100 MiB"),
            (5 * 2**40, "5 TiB"),
            (2**53, "8,192 TiB"),
        ):
            self.assertEqual(size_words(size), words)
