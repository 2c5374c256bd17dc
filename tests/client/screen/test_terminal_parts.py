"""The parts of the terminal that are no screen: colours, the status line, Tab, pastes, mentions, numbers."""

from __future__ import annotations

import itertools
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from prompt_toolkit.utils import get_cwidth
from twisted.trial.unittest import SynchronousTestCase

from encchat.client.commands.completion import Completion, Known, candidates
from encchat.client.screen.paste import MAX_LINES, Pasting, TooLong
from encchat.client.view.colours import GREY, NAMES_OF_MANY, RED, Line, Painter, codes, name_style
from encchat.client.view.depth import Depth, depth_of
from encchat.client.view.memory import MAX_ENTRIES, MAX_SPEAKERS, Memory
from encchat.client.view.notify import call, mentions
from encchat.client.view.preferences import Preferences
from encchat.client.view.status import Status, status_text
from encchat.client.view.tabs import Tabs
from encchat.client.view.wrapping import wrapped
from encchat.messages import Entry
from tests.hostile import hostile_text, is_unsafe


def luminance(red: int, green: int, blue: int) -> float:
    """WCAG 2.1's relative luminance."""
    parts = [x / 255 for x in (red, green, blue)]
    r, g, b = (x / 12.92 if x <= 0.03928 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def of_palette(number: int) -> float:
    """The luminance of one of xterm's 256 colours."""
    if number >= 232:
        return luminance(*[8 + 10 * (number - 232)] * 3)
    levels = (0, 95, 135, 175, 215, 255)
    number -= 16
    return luminance(levels[number // 36], levels[number // 6 % 6], levels[number % 6])


class Colours(SynchronousTestCase):
    def test_each_can_be_read_on_white_and_on_black(self) -> None:
        for number in (*NAMES_OF_MANY, GREY, RED):
            light = of_palette(number)
            self.assertGreater(1.05 / (light + 0.05), 3.8, number)
            self.assertGreater((light + 0.05) / 0.05, 3.8, number)

    def test_a_name_keeps_its_colour(self) -> None:
        self.assertEqual(name_style("alice"), name_style("alice"))
        self.assertEqual(codes(name_style("alice"), Depth.MANY), "1;38;5;164")
        found = {codes(name_style(f"name{number}"), Depth.MANY) for number in range(300)}
        self.assertEqual(len(found), len(set(NAMES_OF_MANY)))

    def test_what_a_terminal_can_do(self) -> None:
        for environment, depth in (
            ({}, Depth.PLAIN),
            ({"TERM": "dumb", "NO_COLOR": "1"}, Depth.PLAIN),
            ({"TERM": "xterm-256color"}, Depth.MANY),
            ({"TERM": "xterm-256color", "NO_COLOR": ""}, Depth.MANY),
            ({"TERM": "xterm-256color", "NO_COLOR": "1"}, Depth.MONO),
            ({"TERM": "vt100"}, Depth.MONO),
            ({"TERM": "linux"}, Depth.FEW),
        ):
            self.assertEqual(depth_of(environment), depth, environment)

    def test_painting(self) -> None:
        line = [("time", "12:34 "), (name_style("alice"), "alice"), ("", ": hi")]
        self.assertEqual(
            Painter(Depth.MANY).paint([line]), "\x1b[38;5;243m12:34 \x1b[m\x1b[1;38;5;164malice\x1b[m: hi\r\n"
        )
        self.assertEqual(Painter(Depth.MONO).paint([line]), "12:34 \x1b[1malice\x1b[m: hi\r\n")
        self.assertEqual(Painter(Depth.PLAIN).paint([line, line]), "12:34 alice: hi\r\n" * 2)
        painter = Painter(Depth.FEW)
        for number in range(3000):
            painter.paint([[(name_style(str(number)), "x")]])
        self.assertLess(len(painter._codes), 1100)


class StatusLine(SynchronousTestCase):
    full = Status(
        "+lobby", 3, True, "chat.example:9999", 0.0123, 2, ((2, "+ops", 3, True), (3, "+dev", 1200, False))
    )

    def test_all_of_it(self) -> None:
        self.assertEqual(
            status_text(self.full, 100),
            " +lobby · open · 3 here · chat.example:9999 · 12 ms · 2 queued · [2:+ops 3!] · [3:+dev 999+]",
        )

    def test_what_goes_first_when_it_is_narrow(self) -> None:
        self.assertEqual(
            [status_text(self.full, columns) for columns in (80, 60, 50, 40, 25, 5)],
            [
                " +lobby · open · 3 here · 12 ms · 2 queued · [2:+ops 3!] · [3:+dev 999+]",
                " +lobby · 3 here · 2 queued · [2:+ops 3!] · [3:+dev 999+]",
                " +lobby · 2 queued · [2:+ops 3!] · [3:+dev 999+]",
                " +lobby · 3 here · 2 queued · [2! 3]",
                " +lobby · 2 queued",
                " +lo",
            ],
        )

    def test_ten_rooms_in_a_small_window(self) -> None:
        unread = [(number, f"+room-{number}", number, number == 7) for number in range(2, 12)]
        many = Status("+lobby", 3, True, "chat.example:9999", 0.0123, unread=unread)
        self.assertEqual(status_text(many, 40), " +lobby · [2 3 4 5 6 7! 8 9 10 11]")
        self.assertEqual(status_text(many, 30), " +lobby · [2:+room-2 2]")

    def test_an_answer_that_is_owed(self) -> None:
        late = Status("+lobby", 3, True, "h:1", 0.0123, unanswered=15.2)
        self.assertEqual(status_text(late, 80), " +lobby · open · 3 here · h:1 · no answer for 15 s")
        self.assertEqual(status_text(late, 40), " +lobby · 3 here · no answer for 15 s")
        soon = Status("+lobby", 3, True, "h:1", 0.0123, unanswered=3)
        self.assertEqual(status_text(soon, 80), " +lobby · open · 3 here · h:1 · 12 ms")

    def test_without_a_connection(self) -> None:
        away = Status("#plans", None, False, "h:1", 0.5, seal="sealed")
        self.assertEqual(status_text(away, 80), " #plans · sealed · h:1 · not connected")
        coming = Status("+a", None, False, "h:1", coming=True)
        self.assertEqual(status_text(coming, 80), " +a · open · h:1 · connecting")
        self.assertEqual(status_text(Status(None, None, True, "h:1"), 80), " no room · h:1 · connected")
        files = (("plan.pdf", True, 45), ("b" * 90, False, 0))
        busy = Status("+a", 1, True, "h:1", files=files)
        for columns, words in (
            (120, " ↑ plan.pdf ████░░░░░░ 45 % · ↓ " + "b" * 23 + "… ░░░░░░░░░░ 0 %"),
            (40, "+a · 1 here · ↑ 45 % · ↓ 0 %"),
            (20, "+a"),
        ):
            self.assertIn(words, status_text(busy, columns))
        self.assertIn("1 ms", status_text(Status("+a", 1, True, "h:1", 0.00001), 80))
        self.assertIn("over 10 s", status_text(Status("+a", 1, True, "h:1", 77.0), 80))

    def test_an_alarm_is_there_as_long_as_it_fits(self) -> None:
        alarm = Status("#tea", 3, True, "chat.example:9999", 0.01, seal="sealed, BOB'S KEY CHANGED")
        for columns in (100, 60, 40):
            self.assertIn(" #tea · sealed, BOB'S KEY CHANGED", status_text(alarm, columns))

    @settings(max_examples=100, deadline=None)
    @given(hostile_text, hostile_text, st.integers(1, 120))
    def test_it_fits_and_steers_nothing(self, room: str, address: str, columns: int) -> None:
        line = status_text(Status(room, 5, True, address, 1.0, 1, ((2, room, 1, True),)), columns)
        self.assertLess(get_cwidth(line), max(columns, 1))
        self.assertFalse([c for c in line if is_unsafe(c) or c == "\n"])


class Wrapping(SynchronousTestCase):
    def rows(self, line: Line, columns: int) -> list[str]:
        return ["".join(text for _, text in row) for row in wrapped(line, columns)]

    def test_between_words(self) -> None:
        line = [("time", "12:34 "), ("own", "alice"), ("", ": one two three four  five six seven eight")]
        self.assertEqual(
            self.rows(line, 36), ["12:34 alice: one two three four", "        five six seven eight"]
        )
        self.assertEqual(self.rows(line, 80), ["12:34 alice: one two three four  five six seven eight"])
        self.assertEqual(self.rows(line, 20)[1:], ["two three four", "five six seven", "eight"])
        self.assertEqual(wrapped(line, 36)[0][:2], line[:2])

    def test_an_address_stays_in_one_piece(self) -> None:
        address = "https://example.org/" + "x" * 60
        self.assertEqual(
            self.rows([("", f"12:34 bob: see {address} there")], 40),
            ["12:34 bob: see", f"        {address}", "        there"],
        )

    def test_wide_characters(self) -> None:
        self.assertEqual(self.rows([("", "漢字 " * 12)], 31)[0], "漢字 漢字 漢字 漢字 漢字 漢字")

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.text("ab 漢é", max_size=30), min_size=1, max_size=5), st.integers(1, 60))
    def test_no_word_is_lost(self, texts: list[str], columns: int) -> None:
        line = [("", text) for text in texts]
        self.assertEqual("".join(self.rows(line, columns)).replace(" ", ""), "".join(texts).replace(" ", ""))


KNOWN = Known(
    ("help", "history", "file"),
    frozenset({"file"}),
    ("+lobby", "+ops"),
    ("zoe", "Alan", "alice", "al "),
    ("names", "hilight"),
)


class Tab(SynchronousTestCase):
    def test_what_a_word_may_become(self) -> None:
        for before, found in (
            ("/h", ["/help ", "/history "]),
            ("/x", []),
            ("/na", ["/names "]),
            ("/hil", ["/hilight "]),
            ("al", ["Alan: ", "alice: ", "al : "]),
            ("so al", ["Alan ", "alice ", "al  "]),
            ("so @al", ["Alan ", "alice ", "al  "]),
            ("/whois z", ["zoe "]),
            ("/join +o", ["+ops "]),
            ("+", ["+lobby ", "+ops "]),
            ("", []),
            ("so ", []),
        ):
            self.assertEqual(candidates(before, KNOWN), found, before)

    def test_again_and_again(self) -> None:
        tab = Completion(lambda: KNOWN)
        self.assertEqual(tab.step("say al"), "say Alan ")
        self.assertEqual(tab.shown("say Alan ", 80), " [Alan] alice al")
        self.assertEqual(tab.shown("say Alan ", 14), " [Alan] …")
        self.assertEqual(tab.step("say Alan "), "say alice ")
        self.assertEqual(tab.step("say alice ", -1), "say Alan ")
        self.assertEqual(tab.step("say Alan ", -1), "say al  ")
        self.assertIsNone(tab.shown("say al  x", 80))
        self.assertIsNone(tab.step("say nobody"))
        self.assertEqual(tab.step("/hel"), "/help ")
        self.assertIsNone(tab.shown("/help ", 80))
        self.assertEqual(Completion(lambda: KNOWN).step("al", -1), "al : ")

    def test_paths(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        for name in ("one.txt", "one more.txt", ".hidden", "e\x1bvil"):
            (directory / name).touch()
        (directory / "on").mkdir()
        tab = Completion(lambda: KNOWN)
        base = f"/file {directory}/"
        self.assertEqual(tab.step(base), f"{base}on/")
        self.assertEqual(tab.step(f"{base}on/"), f"{base}one more.txt")
        self.assertEqual(tab.step(f"{base}one more.txt"), f"{base}one.txt")
        self.assertEqual(tab.shown(f"{base}one.txt", 80), " [one.txt] on/ one more.txt")
        self.assertEqual(Completion(lambda: KNOWN).step(f"{base}."), f"{base}.hidden")
        self.assertEqual(Completion(lambda: KNOWN).step(f"{base}one m"), f"{base}one more.txt")
        self.assertIsNone(Completion(lambda: KNOWN).step(f"{base}nothing/"))
        self.assertIsNone(Completion(lambda: KNOWN).step("/file \0"))

    @settings(max_examples=100, deadline=None)
    @given(hostile_text, st.integers(-1, 1))
    def test_anything_may_be_typed(self, text: str, by: int) -> None:
        Completion(lambda: KNOWN).step(text.replace("/", ""), by)


class Pastes(SynchronousTestCase):
    def test_many_lines_are_asked_about(self) -> None:
        paste = Pasting()
        self.assertEqual(paste.paste("one\r\ntwo\rthree\n", ""), "one\ntwo\nthree")
        self.assertFalse(paste.may_send("one\ntwo\nthree"))
        self.assertEqual(paste.question("one\ntwo\nthree"), "send 3 lines as one message? y/n")
        self.assertTrue(paste.asking)
        paste.kept()
        self.assertFalse(paste.asking)
        self.assertFalse(paste.may_send("one\ntwo\nthree"))
        self.assertTrue(paste.may_send("one\ntwo\nthree"))
        paste.cleared()
        self.assertTrue(paste.may_send("typed\nby hand"))

    def test_one_line_is_not(self) -> None:
        paste = Pasting()
        self.assertEqual(paste.paste("one\n", ""), "one")
        self.assertTrue(paste.may_send("one"))

    def test_far_too_much(self) -> None:
        paste = Pasting()
        for data in ("x" * 70_000, "\n" * MAX_LINES, "x"):
            already = "y" * 65_536 if data == "x" else "y"
            self.assertIn("/file PATH", str(self.assertRaises(TooLong, paste.paste, data + "z", already)))
        self.assertTrue(paste.may_send("y"))


class Mentions(SynchronousTestCase):
    def test_who_is_meant(self) -> None:
        for text in ("alice", "Alice: hi", "hi @ALICE!", "so,alice?"):
            self.assertTrue(mentions(text, "alice"), text)
        for text in ("", "malice", "alices", "alice-bot", "al"):
            self.assertFalse(mentions(text, "alice"), text)
        self.assertFalse(mentions("anything", ""))
        self.assertTrue(mentions("is a.b+c here", "a.b+c"))

    @given(hostile_text, hostile_text)
    def test_a_call_is_one_sequence(self, sender: str, room: str) -> None:
        self.assertEqual(call("bell", sender, room), "\x07")
        notice = call("notice", sender, room)
        self.assertRegex(notice, r"\A\x1b\]9;[^;]+\x07\Z")
        self.assertFalse([c for c in notice[4:-1] if is_unsafe(c) or c == "\n"])


class Settings(SynchronousTestCase):
    def test_they_are_kept_and_what_makes_no_sense_is_not_taken(self) -> None:
        kept: dict[str, str] = {"bell": "all", "numbers": "perhaps"}
        first = Preferences(kept.get, kept.__setitem__)
        self.assertEqual((first["bell"], first["call"], first["numbers"]), ("all", "bell", "off"))
        first["numbers"] = "on"
        self.assertEqual(Preferences(kept.get)["numbers"], "on")
        self.assertRaises(AssertionError, first.__setitem__, "bell", "loud")


class Rooms(SynchronousTestCase):
    def test_numbers_stay(self) -> None:
        tabs = Tabs()
        for room in ("+a", "+b", "+c"):
            tabs.entered(room, 0)
        tabs.left("+b")
        self.assertEqual(tabs.numbers, {"+a": 1, "+c": 3})
        tabs.entered("+d", 0)
        self.assertEqual(tabs.numbers, {"+a": 1, "+d": 2, "+c": 3})
        self.assertEqual([tabs.numbered(number) for number in (2, 3, 4)], ["+d", "+c", None])
        self.assertEqual(
            [tabs.beside("+c", 1), tabs.beside("+a", -1), tabs.beside(None, 1)], ["+a", "+c", "+a"]
        )
        self.assertIsNone(Tabs().beside("+a", 1))

    def test_unread(self) -> None:
        tabs = Tabs()
        tabs.entered("+a", 5)
        tabs.entered("+b", 0)
        for seq in (5, 6, 7):
            tabs.arrived("+a", seq, seq == 6)
        tabs.arrived("+b", 1, False)
        tabs.arrived("+gone", 1, True)
        self.assertEqual(tabs.unread, {"+a": 2, "+b": 1})
        self.assertEqual(tabs.next_unread(), "+a")
        tabs.read_elsewhere("+a", 6, 7)
        self.assertEqual((tabs.unread["+a"], tabs.mentioned("+a")), (1, True))
        self.assertEqual((tabs.read("+a"), tabs.read("+a"), tabs.read("+gone")), (1, 0, 0))
        self.assertEqual(tabs.next_unread(), "+b")
        tabs.entered("+b", 3)
        tabs.arrived("+b", 3, True)
        self.assertEqual(tabs.unread, {"+b": 1})
        tabs.read_elsewhere("+b", 9, 9)
        self.assertIsNone(tabs.next_unread())


class Remembering(SynchronousTestCase):
    def entry(self, seq: int, sender: str = "bob", kind: str = "text", body: bytes = b"x") -> Entry:
        return Entry("+a", seq, 0, sender, "", kind, bytes(16), body)

    def test_it_is_bounded(self) -> None:
        memory = Memory()
        for seq in range(1, 2000):
            memory.remember(self.entry(seq, f"n{seq}", body=b"y" * 10_000))
        self.assertIsNone(memory.entry("+a", 1999 - MAX_ENTRIES))
        kept = memory.entry("+a", 1999)
        assert kept is not None
        self.assertEqual(len(kept.body), 4096)
        self.assertEqual(len(memory.speakers("+a")), MAX_SPEAKERS)
        self.assertEqual(memory.speakers("+a")[0], "n1999")
        memory.remember(self.entry(3, "old one"), old=True)
        self.assertEqual(memory.entry("+a", 1999), kept)
        memory.forget("+a")
        self.assertEqual((memory.speakers("+a"), memory.latest("+a", 5)), ([], []))

    def test_the_last_one(self) -> None:
        memory = Memory()
        for seq, (sender, kind) in enumerate(itertools.product(("bob", "zoe"), ("text", "kick", "me")), 1):
            memory.remember(self.entry(seq, sender, kind))
        memory.remember(self.entry(99, "bob"), old=True)
        last = memory.last("+a", frozenset({"text"}), "zoe")
        self.assertEqual(last and last.seq, 4)
        self.assertEqual([entry.seq for entry in memory.latest("+a", 3)], [4, 6, 99])
        self.assertEqual(memory.latest("+a", 0), [])
        self.assertIsNone(memory.last("+b", frozenset({"text"})))
        self.assertEqual(memory.speakers("+a"), ["zoe", "bob"])
