"""A sealed room outside of its log: its entries are there, and are not taken for text."""

from __future__ import annotations

import json
from base64 import b64decode

from twisted.trial.unittest import SynchronousTestCase

from encchat.client.commands.reading import Kept
from encchat.core.export import as_html, as_json, as_text
from encchat.logs.offline import Room
from encchat.messages import Entry


class Sealed(SynchronousTestCase):
    """Bytes that happen to be text are shown as little as others."""

    def setUp(self) -> None:
        self.entries = [
            Entry("#tea", 1, 0, "alice", "", "roster", bytes(16), b"a roster"),
            Entry("#tea", 2, 0, "alice", "", "sealed", bytes(16), b"<b>sealed</b>"),
            Entry("@alice&bob", 3, 0, "alice", "", "sealed", bytes(16), b"\xff"),
        ]
        self.rooms = [(Room("#tea", 3, 0, 0, 0), self.entries)]

    def test_json(self) -> None:
        """Every byte, as base64."""
        lines = [json.loads(line) for line in as_json(self.rooms)]
        self.assertEqual([b64decode(line["body_base64"]) for line in lines], [e.body for e in self.entries])
        self.assertFalse(any("body" in line for line in lines))

    def test_for_people(self) -> None:
        """How large it is."""
        for form in (as_text, as_html):
            page = "\n".join(form(self.rooms))
            for words in (
                "alice, roster: (8 bytes)",
                "alice, sealed: (13 bytes, sealed)",
                "(1 bytes, sealed)",
            ):
                self.assertIn(words, page)
            self.assertNotIn("a roster", page)
            self.assertNotIn("<b>sealed", page)


class Opened(SynchronousTestCase):
    """What a member's client has opened of one is told like what was said in an open room."""

    def setUp(self) -> None:
        roster = b'{"by":"alice","epoch":1,"added":["alice","bob"]}'
        entries = [
            Entry("#tea", 1, 0, "alice", "", "roster", bytes(16), roster),
            Entry("#tea", 2, 0, "alice", "", "text", bytes(16), b"<b>tea</b>"),
            Entry("#tea", 3, 0, "bob", "", "waiting", bytes(16), b""),
        ]
        self.rooms = [(Kept("#tea", 0), entries)]

    def test_json(self) -> None:
        self.assertEqual(json.loads(list(as_json(self.rooms))[1])["body"], "<b>tea</b>")

    def test_for_people(self) -> None:
        page = "\n".join(as_text(self.rooms))
        for words in ("#1 * alice made this sealed room with bob", "#2 alice: <b>tea", "no key yet from bob"):
            self.assertIn(words, page)
        self.assertIn("<b>alice</b> &lt;b&gt;tea", "\n".join(as_html(self.rooms)))
