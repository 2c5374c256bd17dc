"""Description strings: read as they were written, refused in words when they say nothing clear."""

from __future__ import annotations

import unicodedata

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import quoteStringArgument
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.description import BadDescription, Description, parse_description
from encchat.errors import UsageError

WORDS = st.text(min_size=1, max_size=30).filter(
    lambda text: not any(unicodedata.category(character) == "Cc" for character in text)
)
LETTERS = st.text("ab:=\\ ", max_size=12)


class DescriptionTests(SynchronousTestCase):
    """parse_description and its inverse."""

    def test_examples(self) -> None:
        """The forms that the documentation shows."""
        for text, name, arguments in (
            ("rsa", "rsa", {}),
            ("rsa:classic=no", "rsa", {"classic": "no"}),
            ("tls:certs=/etc/encchat", "tls", {"certs": "/etc/encchat"}),
            ("tls:trust=pin:certs=/x", "tls", {"trust": "pin", "certs": "/x"}),
            (r"tls:certs=C\:\\keys", "tls", {"certs": "C:\\keys"}),
            ("psk:key=a=b", "psk", {"key": "a=b"}),
            (r"psk:key=a\=b", "psk", {"key": "a=b"}),
            (r"psk:k\=ey=a b", "psk", {"k=ey": "a b"}),
            (r"p\sk", "psk", {}),
        ):
            self.assertEqual(parse_description(text), Description(name, arguments), text)

    @settings(deadline=None, max_examples=200)
    @given(WORDS, st.dictionaries(WORDS, WORDS, max_size=4))
    def test_round_trip(self, name: str, arguments: dict[str, str]) -> None:
        """What a description is written as is read as that description, in the same order."""
        read = parse_description(str(Description(name, arguments)))
        self.assertEqual(read, Description(name, arguments))
        self.assertEqual(list(read.arguments), list(arguments))

    @settings(deadline=None, max_examples=200)
    @given(WORDS)
    def test_twisted_quotes(self, value: str) -> None:
        """Twisted's own function quotes a value for us."""
        text = f"tls:certs={quoteStringArgument(value)}"
        self.assertEqual(parse_description(text).arguments, {"certs": value})

    @settings(deadline=None, max_examples=300)
    @given(LETTERS)
    def test_either_or(self, text: str) -> None:
        """Any text is either refused or means one thing, which can be written again."""
        try:
            description = parse_description(text)
        except BadDescription as error:
            self.assertIn("Write it like rsa", str(error))
        else:
            self.assertEqual(parse_description(str(description)), description)
            self.assertTrue(description.name)
            self.assertTrue(all(name and value for name, value in description.arguments.items()))

    def test_refused(self) -> None:
        """What is wrong is said, with how to write it."""
        for text, why in (
            ("", "it has no name"),
            (":classic=no", "it has no name"),
            ("classic=no", "it begins with an argument, 'classic'"),
            ("=no", "it begins with an argument"),
            ("rsa:", "there is nothing behind a ':'"),
            ("rsa::classic=no", "there is nothing behind a ':'"),
            ("rsa:=no", "an argument has no name"),
            ("rsa:=", "there is nothing behind a ':'"),
            ("rsa:classic", "the argument 'classic' has no value; write classic=..."),
            ("rsa:classic=", "the argument 'classic' has no value"),
            ("rsa:classic=no:classic=no", "the argument 'classic' is given twice"),
            ("rsa:classic=no\\", "it ends in a backslash"),
            ("rsa:classic=n\x00o", "it has a control character"),
            ("rsa\n", "it has a control character"),
        ):
            error = self.assertRaises(UsageError, parse_description, text)
            self.assertIn(why, str(error), text)
            self.assertIn("Write it like rsa, rsa:classic=no or tls:certs=/etc/encchat", str(error))
            self.assertEqual(error.exit_code, 2)

    def test_nothing_escapes(self) -> None:
        """What is refused is shown without what could steer a terminal."""
        error = self.assertRaises(BadDescription, parse_description, "rsa:\x1b[31mred")
        self.assertNotIn("\x1b", str(error))
