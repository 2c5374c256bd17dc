"""Searching from the client: what is asked, what is shown, and answers that cannot be."""

from __future__ import annotations

from encchat import messages as m
from encchat.client import events as e
from encchat.contents import Delete, Edit, body_of
from encchat.errors import UsageError
from tests.client.protocol.test_session import SessionTestCase
from tests.client.screen.test_console import LOBBY, ConsoleTestCase


class Shown(ConsoleTestCase):
    def test_search(self) -> None:
        for number in range(70):
            self.world.server.say(LOBBY, f"tea {number}")
        self.world.server.say(LOBBY, "coffee \x1b[1m")
        self.start(history=0)
        self.assertEqual(
            self.type("/search Coffee"),
            "2026-01-01 12:34 #71 bob: coffee \n"
            "-- 1 found in +lobby; /context NUMBER shows what was said around one",
        )
        self.assertEqual(self.type("/search beer"), "-- nothing found")
        self.assertIn("50 found in +lobby, back to #21: /search looks further", self.type("/search tea"))
        self.assertIn("-- 20 found", self.type("/search"))
        self.assertEqual(self.type("/context #12").count("bob: tea"), 11)
        for wrong in ("x", "", "-1", "1" * 40):
            self.assertRaises(UsageError, self.screen.commands.typed, f"/context {wrong}")
        self.assertRaises(UsageError, self.screen.commands.typed, "/search " + "x" * 201)

    def test_what_became_of_it(self) -> None:
        say = self.world.server.append
        for number, (sender, text) in enumerate(
            (("bob", "tea one"), ("bob", "tea two"), ("zoe", "tea three"))
        ):
            say(LOBBY, sender, "text", bytes([number]) * 16, text.encode())
        for number, (sender, content) in enumerate(
            (
                ("bob", Edit(1, "green tea")),
                ("bob", Edit(1, "white tea")),
                ("bob", Edit(3, "tea of bob")),  # a server that lets him: it is not his
                ("zoe", Edit(2, "tea of zoe")),
                ("mod", Delete(3)),
            )
        ):
            kind = "edit" if isinstance(content, Edit) else "delete"
            say(LOBBY, sender, kind, bytes([9 + number]) * 16, body_of(content))
        self.start(history=100)
        shown = [
            "#1 bob: tea one  (corrected in #5)",
            "#2 bob: tea two",
            "#3 zoe: (taken back in #8)",
            "#4 -- bob corrects #1: green tea  (corrected in #5)",
            "#5 -- bob corrects #1: white tea",
            "#6 bob: (taken back in #8)",
            "#7 -- zoe corrects #2: tea of zoe",
        ]
        for words in ("/search tea", "/search tea"):
            lines = self.type(words).split("\n")
            self.assertEqual([line.removeprefix("2026-01-01 12:34 ") for line in lines[:-1]], shown)
            self.screen.memory.forget(LOBBY)  # what is kept on the disk says the same

    def test_search_for_nothing(self) -> None:
        self.start()
        self.assertRaises(UsageError, self.screen.commands.typed, "/search")


class Answers(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.server.say(LOBBY, "tea")
        self.server.say(LOBBY, "tea again")
        self.server.say("+other", "tea")
        self.enter()
        self.frames = tuple(self.server.room(LOBBY).frames)

    def test_found(self) -> None:
        id = self.session.search(LOBBY, "tea")
        (event,) = self.run_until_quiet()
        assert isinstance(event, e.SearchFound)
        self.assertEqual((event.request, [entry.seq for entry in event.entries]), (id, [1, 2]))

    def test_not_in_order(self) -> None:
        self.breaks(m.Found(self.session.search(LOBBY, "tea"), LOBBY, self.frames[::-1], 1, False))

    def test_of_another_room(self) -> None:
        other = tuple(self.server.room("+other").frames)
        self.breaks(m.Found(self.session.search(LOBBY, "tea"), LOBBY, other, 1, False))
