"""Which names are well-formed, and which are one and the same."""

from __future__ import annotations

from itertools import product

import precis_i18n
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.names import (
    LOBBY,
    MAX_NAME,
    BadName,
    BadRoom,
    conversation,
    is_conversation,
    is_guest,
    is_open,
    other,
    pair,
    parse_name,
    parse_room,
)
from encchat.text import clean_line

FULL_WIDTH = str.maketrans({chr(code): chr(code + 0xFEE0) for code in range(0x21, 0x7F)})
#: The largest part of what people are called, and of what attackers try.
any_text = st.text(max_size=40) | st.text(st.characters(codec="ascii"), max_size=40)


def refusal(text: str) -> str:
    """The sentence with which a name is refused; an AssertionError if it is not."""
    try:
        name = parse_name(text)
    except BadName as error:
        return str(error)
    raise AssertionError(f"{text!r} was accepted as {name!r}")


class Names(SynchronousTestCase):
    """People's names."""

    def test_examples_of_rfc_8265(self) -> None:
        """Section 3.5, table 1 (those that a chat's other rules allow) and table 2."""
        for text, key in {
            "juliet@example.com": "juliet@example.com",
            "fussball": "fussball",
            "fu\u00dfball": "fu\u00dfball",
            "\u03c0": "\u03c0",
            "\u03a3": "\u03c3",
            "\u03c3": "\u03c3",
            "\u03c2": "\u03c2",
        }.items():
            self.assertEqual(parse_name(text).key, key)
        for text in ("foo bar", "", "henry\u2163", "\u265a"):
            refusal(text)

    def test_plain_names_are_mapped_as_precis_maps_them(self) -> None:
        """They take a short way, without its tables."""
        precis = precis_i18n.get_profile("UsernameCaseMapped")
        visible = [chr(code) for code in range(0x21, 0x7F)]
        for one, two in product(visible, repeat=2):
            self.assertEqual(precis.enforce(one + two), (one + two).lower())
        for text in ("Alice", "BOB-2", "x_Y.z"):
            self.assertEqual(parse_name(text).key, precis.enforce(text))

    def test_one_name(self) -> None:
        """Case, width and the way an accent is written make no other name."""
        for spellings in (
            ("alice", "Alice", "ALICE", "ＡＬＩＣＥ", "ａｌｉｃｅ", "aLiＣe"),
            ("rené", "René", "rene\u0301", "RENE\u0301"),
            ("алиса", "АЛИСА"),
            ("ガ", "ｶﾞ", "カ\u3099"),
            ("k", "K", "\u212a", "Ｋ"),
            ("å", "Å", "\u212b", "a\u030a"),
            ("a-1", "Ａ－１"),
        ):
            self.assertEqual(len({parse_name(text).key for text in spellings}), 1, spellings)

    def test_other_names(self) -> None:
        """What differs by more stays apart: sharp s, final sigma, an accent, another script."""
        for one, another in (("fussball", "fußball"), ("ς", "σ"), ("rene", "rené"), ("a", "а")):
            self.assertNotEqual(parse_name(one).key, parse_name(another).key)

    def test_shown(self) -> None:
        """A person is shown as he writes himself; text is composed (NFC)."""
        self.assertEqual(str(parse_name("Rene\u0301")), "René")
        self.assertEqual(parse_name("Alice").shown, "Alice")

    def test_length(self) -> None:
        """1 to 32 characters, as typed and as compared."""
        self.assertEqual(parse_name("x" * MAX_NAME).key, "x" * MAX_NAME)
        self.assertIn("it has 33 characters", refusal("x" * 33))
        self.assertIn("it has 0 characters", refusal(""))
        self.assertIn("64 characters when written plainly", refusal("\u0130" * 32))  # its lower case is two
        self.assertLess(len(refusal("x" * 100_000)), 700)

    def test_harmful(self) -> None:
        """New lines, escape sequences, controls, bidi, invisible characters: refused, and not repeated."""
        for text in (
            "a\nb",
            "a\r\nb",
            "a\tb",
            "\x1b[31mred",
            "\x1b]52;c;AAAA\x07",
            "a\x9b31m",
            "a\x00",
            "a\x7f",
            "\u202ealice",
            "al\u200bice",
            "al\u00adice",
            "alice\ufeff",
            "a\u2028b",
            "a\u200db",
            "a\u034fb",
            "a\u3164",
            "a\ue000",
            "a\ufdd0",
            "a\ud800",
            "a\U000e0041",
            "a" + "\u0301" * 20,
        ):
            sentence = refusal(text)
            self.assertEqual(sentence, clean_line(sentence))

    def test_signs(self) -> None:
        """What a command line, a path, a mention or a room would read as its own, also in full width."""
        for text in ("+a", "#a", "@a", "-a", ".a", "a.", "..", ".", "~", "a~"):
            self.assertIn("must not begin" if text[0] in "+#@-." and text != "." else "it ", refusal(text))
        for sign in "/\\\"'`,;:<>|&$*?!(){}[]~^%=":
            self.assertIn("it has the character", refusal(f"a{sign}b"))
            refusal(f"a{sign}b".translate(FULL_WIDTH))
        for sign in "+#@-.":
            refusal(f"{sign}a".translate(FULL_WIDTH))
        for text in ("a-b", "a_b", "a.b", "_a", "a-", "1", "a+b", "a@b"):
            self.assertEqual(parse_name(text).key, text)

    def test_blanks_and_emoji(self) -> None:
        """No blank of any kind, no symbol."""
        for text in (
            " ",
            "a b",
            " a",
            "a ",
            "a\u00a0b",
            "a\u3000b",
            "\U0001f600",
            "a\U0001f600",
            "☃",
            "a\u2764\ufe0f",
        ):
            refusal(text)

    def test_leading_mark(self) -> None:
        """A name does not change the character that happens to stand before it."""
        for mark in ("\u0301", "\u0345", "\u0903"):
            self.assertIn("combining mark", refusal(mark + "a"))

    def test_right_to_left(self) -> None:
        """Hebrew and Arabic names are names; one that would be shown in disorder is not (RFC 5893)."""
        for text in ("שלום", "محمد", "דוד1"):
            self.assertEqual(parse_name(text).shown, text)
        for text in ("של1a", "1של", "aש"):
            refusal(text)

    def test_letters_that_look_alike(self) -> None:
        """A name has letters of one alphabet, so that no letter in it is another's double."""
        for text in (
            "\u0430lice",  # a of Cyrillic
            "b\u043eb",
            "\u03bfwner",  # o of Greek
            "op\u0435rator",
            "\u0412ob",
            "p\u0430\u03c1a",
            "b\u0585b",  # Armenian
            "\u13a0lice",  # Cherokee
        ):
            self.assertIn("look alike", refusal(text))
            self.assertRaises(BadRoom, parse_room, f"+{text}")
        for text in (
            "\u0430\u043b\u0438\u0441\u0430-1",
            "\u03b1\u03bb\u03af\u03ba\u03b7",
            "\u0410\u043b\u0438\u0441\u0430",
            "\u5c71\u7530taro",
            "\u305f\u308d\u3046\u30fc\u30bf\u30ed\u30fcX",
            "\ud64d\uae38\ub3d9kr",
            "fu\u00dfball",
            "\u0e2a\u0e21\u0e0a\u0e32\u0e221",
        ):
            self.assertEqual(parse_name(text).shown, text)

    def test_guests(self) -> None:
        """The names kept for classic peers, however written."""
        for text in ("guest-1a2b", "Guest-1", "ＧＵＥＳＴ－x", "GUEST-"):
            self.assertTrue(is_guest(parse_name(text)), text)
        for text in ("guest", "guests", "aguest-1", "guest_1"):
            self.assertFalse(is_guest(parse_name(text)), text)

    @given(any_text)
    def test_any_text(self, text: str) -> None:
        """Any text is a name that is safe to show and stays the same name, or one clear refusal."""
        try:
            name = parse_name(text)
        except BadName as error:
            self.assertEqual(str(error), clean_line(str(error)))
            return
        for form in (name.shown, name.key):
            self.assertEqual(form, clean_line(form))
            self.assertTrue(1 <= len(form) <= MAX_NAME)
            self.assertEqual(parse_name(form).key, name.key)

    @given(st.from_regex(r"[a-zA-Z0-9_][a-zA-Z0-9_.@+-]{0,30}[a-zA-Z0-9_-]", fullmatch=True))
    def test_any_plain_name(self, text: str) -> None:
        """An ordinary name in another case or width is the same name."""
        self.assertEqual(parse_name(text).shown, text)
        for spelling in (text.upper(), text.lower(), text.swapcase(), text.translate(FULL_WIDTH)):
            self.assertEqual(parse_name(spelling).key, text.lower())


class Rooms(SynchronousTestCase):
    """Rooms' names: a sign, and a name."""

    def test_one_form(self) -> None:
        """Everybody uses the same form, whatever was typed."""
        for text in ("+lobby", "+Lobby", "+LOBBY", "+ｌｏｂｂｙ"):
            self.assertEqual(parse_room(text), LOBBY)
        self.assertEqual(parse_room("#Secret"), "#secret")
        for text in ("@alice&bob", "@Bob&ALICE", "@ｂｏｂ&alice"):
            self.assertEqual(parse_room(text), "@alice&bob")

    def test_conversations(self) -> None:
        """Both of two people have one name for it, and find each other in it."""
        self.assertEqual(conversation("Bob", "alice"), "@alice&bob")
        self.assertEqual(conversation("alice", "BOB"), "@alice&bob")
        self.assertEqual(conversation("\U00010428", "\uff5a"), "@z&\U00010428")
        self.assertEqual((other("@alice&bob", "alice"), other("@alice&bob", "bob")), ("bob", "alice"))
        self.assertEqual(pair("@alice&bob"), ("alice", "bob"))
        self.assertTrue(is_conversation("@alice&bob"))
        self.assertFalse(is_conversation("#bob"))
        for room in ("@alice&bob", "#carol"):
            self.assertRaises(BadRoom, other, room, "carol")
        self.assertRaises(BadRoom, conversation, "Bob", "bob")
        self.assertRaises(BadName, conversation, "bob", "a&b")
        for text in ("@bob", "@", "@&", "@a&", "@&a", "@a&a", "@a&A", "@a&b&c", "@a& b", "@a&-b"):
            self.assertRaises(BadRoom, parse_room, text)
        longest = conversation("a" * 32, "\u00e9" * 32)
        self.assertLessEqual(len(longest), 66)

    def test_seal(self) -> None:
        """The sign says whether the server can read it."""
        self.assertTrue(is_open("+lobby"))
        self.assertFalse(is_open("#secret"))
        self.assertFalse(is_open("@alice&bob"))

    def test_refused(self) -> None:
        """No sign, only a sign, a full-width sign, two signs, a bad name behind it."""
        for text in ("", "lobby", "＋lobby", "!a", " +lobby", "+", "#", "++a", "+#a", "+-a", "+a b", "+a\n"):
            error = self.assertRaises(BadRoom, parse_room, text)
            self.assertEqual(str(error), clean_line(str(error)))
        for text in ("+\x1b[31m", "+" + "x" * 33, "+a/b", "+../x", "+\U0001f600"):
            self.assertRaises(BadRoom, parse_room, text)
