"""Tests of encchat.contents: bodies that are more than text."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from encchat.contents import CONTENTS, Delete, Edit, File, NoContent, Reaction, Reply, body_of, parse

_TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=50)
_TARGET = st.integers(1, 2**63 - 1)
_CONTENT = st.one_of(
    st.builds(Reply, _TARGET, _TEXT),
    st.builds(Edit, _TARGET, _TEXT),
    st.builds(Delete, _TARGET),
    st.builds(Reaction, _TARGET, st.text(min_size=1, max_size=8), st.booleans()),
    st.builds(File, _TEXT, st.integers(0, 2**53), st.from_regex("[0-9a-f]{64}", fullmatch=True)),
)
_KINDS = {content: kind for kind, content in CONTENTS.items()}


class Bodies(TestCase):
    """What is written is read back; what is not of the kind is refused."""

    @settings(deadline=None, max_examples=100)
    @given(_CONTENT)
    def test_every_content_comes_back(self, content: Reply | Edit | Delete | Reaction | File) -> None:
        self.assertEqual(parse(_KINDS[type(content)], body_of(content)), content)

    @settings(deadline=None, max_examples=200)
    @given(st.sampled_from(sorted(CONTENTS)), st.binary(max_size=60))
    def test_any_bytes_are_a_content_or_refused(self, kind: str, body: bytes) -> None:
        try:
            self.assertIsInstance(parse(kind, body), CONTENTS[kind])
        except NoContent as error:
            self.assertIn(kind, str(error))

    def test_what_is_out_of_bounds_is_refused(self) -> None:
        for kind, body in (
            ("reply", b'{"target": 0, "text": "x"}'),
            ("reply", b'{"target": 1, "text": ""}'),
            ("edit", b'{"target": 9223372036854775808, "text": "x"}'),
            ("delete", b"{}"),
            ("reaction", b'{"target": 1, "sign": "' + b"x" * 33 + b'"}'),
            ("file", b'{"name": "a", "size": -1, "hash": "' + b"0" * 64 + b'"}'),
            ("file", b'{"name": "a", "size": 1, "hash": "' + b"0" * 63 + b'"}'),
            ("file", b'{"name": "a", "size": 1, "hash": "' + b"0" * 64 + b'\\n"}'),
            ("delete", b"[" * 100_000),
            ("delete", b"\xff"),
        ):
            self.assertRaises(NoContent, parse, kind, body)

    def test_a_field_of_a_later_version_is_let_pass(self) -> None:
        self.assertEqual(parse("delete", b'{"target": 7, "why": "spam"}'), Delete(7))
