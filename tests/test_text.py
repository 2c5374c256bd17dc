"""Nothing from outside steers a terminal, reorders what a person reads, or hides in it."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from wcwidth import wcwidth

from encchat.text import MAX_MARKS, clean, clean_line
from tests.hostile import BIDI, FILLERS, JOINERS, hostile_text, is_unsafe

ESC = "\x1b"


def longest_zero_width(text: str) -> int:
    """How many marks and joiners follow one character at most."""
    longest = run = 0
    for character in text:
        run = run + 1 if character in JOINERS or unicodedata.category(character) in {"Mn", "Me"} else 0
        longest = max(longest, run)
    return longest


class Characters(SynchronousTestCase):
    """Single characters."""

    def test_every_character(self) -> None:
        """Of all of Unicode, just the unsafe ones are taken out, wherever they stand."""
        for block in range(0, 0x110000, 0x100):
            safe = "".join(
                f"a{chr(code)}" for code in range(block, block + 0x100) if not is_unsafe(chr(code))
            )
            self.assertEqual(clean(safe), safe)
        for character in filter(is_unsafe, map(chr, range(0x110000))):
            self.assertIn(clean(f"a{character}b"), ("ab", "a"))  # a C1 string opener takes what follows

    def test_controls(self) -> None:
        """C0 but LF and TAB, DEL, and C1: nothing is left of them, also in one line."""
        for code in (*range(0x20), *range(0x7F, 0xA0)):
            character = chr(code)
            kept = character if character in "\n\t" else ""
            self.assertEqual(clean(character), kept)
            self.assertEqual(clean_line(character), " " if kept else "")

    def test_bidi(self) -> None:
        """Overrides, embeddings, isolates and marks: none can reorder the line around them."""
        self.assertEqual(clean(f"pay {BIDI}alice{BIDI} 10"), "pay alice 10")
        self.assertEqual(clean("\u202egnp.exe"), "gnp.exe")

    def test_right_to_left_text(self) -> None:
        """Hebrew and Arabic themselves are text like any other."""
        for text in ("שלום עולם", "مرحبا بالعالم", "a שלום b"):
            self.assertEqual(clean(text), text)

    def test_new_lines(self) -> None:
        """CR LF is a new line, CR alone (which would overwrite the line) is nothing."""
        self.assertEqual(clean("a\r\nb\rc\n\rd"), "a\nbc\nd")
        self.assertEqual(clean("a\u2028b\u2029c\x85d\x0be\x0cf"), "abcdef")


class Sequences(SynchronousTestCase):
    """ANSI escape sequences go as a whole."""

    def test_known_attacks(self) -> None:
        """Title, clipboard, cursor, colours, screen, device queries, links: the text around them stays."""
        for sequence in (
            f"{ESC}]0;title\x07",
            f"{ESC}]2;title{ESC}\\",
            f"{ESC}]52;c;cm0gLXJmIC8=\x07",
            f"{ESC}]8;;http://evil.example/{ESC}\\",
            f"{ESC}]1337;File=inline=1:AAAA\x07",
            f"{ESC}[31m",
            f"{ESC}[1;31;4m",
            f"{ESC}[2J",
            f"{ESC}[H",
            f"{ESC}[10A",
            f"{ESC}[?1049h",
            f"{ESC}[?2004l",
            f"{ESC}[6n",
            f"{ESC}[>c",
            f"{ESC}[200~",
            f"{ESC}[!p",
            f"{ESC}[4 q",
            f"{ESC}c",
            f"{ESC}7",
            f"{ESC}(0",
            f"{ESC}#8",
            f"{ESC}Pq#0;2;0;0;0{ESC}\\",
            f"{ESC}P+q544e{ESC}\\",
            f"{ESC}_Gf=100;AAAA{ESC}\\",
            f"{ESC}^private{ESC}\\",
            f"{ESC}Xstring{ESC}\\",
            "\x9b31m",
            "\x9b2J",
            "\x9d0;title\x9c",
            "\x9d52;c;AAAA\x07",
            "\x90q\x9c",
            "\x9fG\x9c",
        ):
            self.assertEqual(clean(f"before{sequence}after"), "beforeafter", repr(sequence))

    def test_unfinished(self) -> None:
        """A sequence that is cut short opens nothing either."""
        for sequence in (ESC, f"{ESC}[", f"{ESC}[31", f"{ESC}]0;title", f"{ESC}P", "\x9b", "\x9b3", "\x9d"):
            self.assertNotIn(ESC, clean(f"a{sequence}"))
            self.assertTrue(clean(f"a{sequence}").startswith("a"))

    def test_long_string(self) -> None:
        """A control string longer than any real one ends; what is left of it is plain text."""
        left = clean(f"{ESC}]0;" + "x" * 10_000)
        self.assertEqual(left.strip("x"), "")

    def test_joined_from_pieces(self) -> None:
        """What is taken out does not join its neighbours into something new with an ESC."""
        for pieces in (
            f"{ESC}{ESC}[31m[31m",
            f"{ESC}{ESC}]0;t\x07]0;t\x07",
            f"\x1b\u200b[31m{ESC}[3{ESC}[31m1m",
            f"{ESC}\x9b31m[31m",
            "\x1b\x1b\x1b\x1b[[[[31m",
        ):
            self.assertFalse(any(map(is_unsafe, clean(pieces))), repr(clean(pieces)))


class Floods(SynchronousTestCase):
    """What takes no room on the screen cannot fill it, nor hide text."""

    def test_combining_marks(self) -> None:
        """10,000 marks on one character: a few stay."""
        self.assertEqual(clean("a" + "\u0301" * 10_000 + "b"), "a" + "\u0301" * MAX_MARKS + "b")
        self.assertEqual(clean("\u20dd" * 10_000), "\u20dd" * MAX_MARKS)

    def test_whatever_takes_no_room(self) -> None:
        """A flood of anything that a terminal puts onto the character before is bounded, mark or not: the
        vowels and finals of Hangul, spacing marks, marks of a newer Unicode."""
        for code in range(0xA0, 0x110000):
            if wcwidth(chr(code)) <= 0:
                self.assertLessEqual(len(clean("a" + chr(code) * 20)), 1 + MAX_MARKS, hex(code))

    def test_marks_between_joiners(self) -> None:
        """Joiners between the marks do not start the count anew."""
        for piece in ("\u0301" * MAX_MARKS + "\u200d", "\u0301\u200c", "\u0301" * 20 + "\u200d\u200c"):
            self.assertLessEqual(len(clean("a" + piece * 1000)), 1 + MAX_MARKS)

    def test_zero_width(self) -> None:
        """Zero-width characters by the thousand leave nothing, or one joiner."""
        self.assertEqual(clean("a" + "\u200b\u2060\ufeff\u00ad" * 2500 + "b"), "ab")
        self.assertEqual(clean("a" + "\u200d\u200c" * 5000 + "b"), "a\u200db")
        self.assertEqual(clean("a" + "".join(map(chr, range(0xE0000, 0xE0080))) * 100 + "b"), "ab")

    def test_text_that_needs_them(self) -> None:
        """Real writing keeps its marks and joiners."""
        for text in (
            "e\u0301te\u0301",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",
            "\u2764\ufe0f\u200d\U0001f525",
            "\u0915\u094d\u200d\u0937",
            "می\u200cخواهم",
            "Việt Nam",
            "ກຸ້ງ",
            "บึ้ง",
            "שִׁיר",
        ):
            self.assertEqual(clean(text), text)


class Properties(SynchronousTestCase):
    """For any text."""

    @given(hostile_text)
    def test_nothing_unsafe_remains(self, text: str) -> None:
        """No unsafe character, no run of zero-width ones, and it can be written as UTF-8."""
        for cleaned in (clean(text), clean_line(text)):
            self.assertFalse(any(map(is_unsafe, cleaned)), repr(cleaned))
            self.assertLessEqual(longest_zero_width(cleaned), MAX_MARKS)
            cleaned.encode("utf-8")
        self.assertNotIn("\n", clean_line(text))
        self.assertNotIn("\t", clean_line(text))

    @given(hostile_text)
    def test_clean_text_is_clean(self, text: str) -> None:
        """Cleaning again changes nothing, so it does not matter how often text passes by."""
        self.assertEqual(clean(clean(text)), clean(text))
        self.assertEqual(clean_line(clean_line(text)), clean_line(text))

    @given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs"), exclude_characters=FILLERS)))
    def test_plain_text_is_unchanged(self, text: str) -> None:
        """Letters, digits, signs, emoji and blanks of all scripts stay as they are."""
        self.assertEqual(clean(text), text)
        self.assertEqual(clean_line(text), text)

    @given(hostile_text, st.integers(1, 80))
    def test_limit(self, text: str, limit: int) -> None:
        """One line is never longer than asked for, and says when it was cut."""
        whole, line = clean_line(text), clean_line(text, limit)
        self.assertLessEqual(len(line), limit)
        self.assertEqual(line, whole if len(whole) <= limit else whole[: limit - 1] + "…")
