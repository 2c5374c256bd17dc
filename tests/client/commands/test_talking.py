"""What says something about what was said: replies, edits, deletions, reactions; and how that reads."""

from __future__ import annotations

from pathlib import Path

from encchat import messages as m
from encchat.client.view.entrylines import file_words
from encchat.contents import File, body_of, parse
from encchat.messages import Entry
from tests.client.screen.test_console import LOBBY, ConsoleTestCase
from tests.hostile import is_unsafe


class TalkingCase(ConsoleTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.server.say(LOBBY, "shall we have tea?")
        self.world.server.say(LOBBY, "or coffee", "zoe")
        self.start(history=10)

    def sent(self) -> list[tuple[str, object]]:
        """What was sent: the kind, and what the body says."""
        sends = [x for x in self.world.transport.link.received if isinstance(x, m.Send)]
        return [
            (x.kind, x.body.decode() if x.kind in ("text", "me") else parse(x.kind, x.body)) for x in sends
        ]


class Replies(TalkingCase):
    def test_to_the_last_one_who_spoke(self) -> None:
        self.type("mine")
        self.assertEqual(self.type("/reply yes please"), '12:34 alice: [to zoe, "or coffee"] yes please')

    def test_to_somebody_or_to_a_number(self) -> None:
        self.assertEqual(self.type("/reply Bob yes"), '12:34 alice: [to bob, "shall we have tea?"] yes')
        self.assertEqual(self.type("/reply @bob: yes"), '12:34 alice: [to bob, "shall we have tea?"] yes')
        self.assertEqual(self.type("/reply 1 yes"), '12:34 alice: [to bob, "shall we have tea?"] yes')
        self.assertEqual(self.type("/reply #77 yes"), "12:34 alice: [to #77] yes")
        self.assertEqual(self.type("/reply 77 yes"), '12:34 alice: [to zoe, "or coffee"] 77 yes')
        self.assertEqual(self.type("/reply bob"), '12:34 alice: [to zoe, "or coffee"] bob')

    def test_what_cannot_be(self) -> None:
        self.assertIn("Write /reply [NUMBER|NAME] TEXT: as in", self.type("/reply"))
        self.assertIn("too long for one message", self.type("/reply " + "x" * 70_000))
        self.type("/join empty")
        self.assertIn("Nobody else has said anything here lately. Give a number", self.type("/reply hm"))
        self.assertEqual(len(self.sent()), 0)

    def test_a_reply_to_me_is_for_me(self) -> None:
        self.type("what time is it?")
        body = b'{"target": 3, "text": "five\\u001b[2J\\nsharp"}'
        self.world.server.append(LOBBY, "bob", "reply", b"r" * 16, body)
        self.world.settle()
        self.assertEqual(
            self.screen.lines[-2:], ['12:34 bob: [to alice, "what time is it?"] five', "      | sharp"]
        )
        self.assertEqual(self.screen.signals, ["\x07"])


class Edits(TalkingCase):
    def test_the_last_one_of_mine_or_a_number(self) -> None:
        self.type("the bulid is red", "/me waves", "the bulid is green")
        self.type(
            "/edit the build is green", "/edit #3 the build is red", "/edit 3 red", "/edit 1 apple a day"
        )
        targets = [(x.target, x.text) for kind, x in self.sent() if kind == "edit"]  # type: ignore[attr-defined]  # edits
        self.assertEqual(
            targets, [(5, "the build is green"), (3, "the build is red"), (3, "red"), (5, "1 apple a day")]
        )
        self.assertIn("alice corrects #5: the build is green", self.screen.text)

    def test_alone_it_puts_the_last_one_into_the_line(self) -> None:
        self.assertIn("You have said nothing here lately", self.type("/edit"))
        self.type("hello wrold", "/edit")
        self.assertEqual(self.screen.prefilled, "/edit #3 hello wrold")
        self.screen.can_prefill = False
        self.assertIn("Write /edit [NUMBER] TEXT", self.type("/edit"))

    def test_too_long(self) -> None:
        self.type("x")
        self.assertIn("too long for one message", self.type("/edit " + "x" * 70_000))


class Deletions(TalkingCase):
    def test_the_last_one_of_mine_or_a_number(self) -> None:
        self.assertIn("You have said nothing here lately", self.type("/delete"))
        self.type("oops")
        self.assertEqual(self.type("/delete"), "12:34 -- alice takes back #3")
        self.assertIn("alice hides #1", self.type("/delete #1"))
        self.assertIn("Write /delete [NUMBER]", self.type("/delete that"))


class Reactions(TalkingCase):
    def test_a_sign_to_the_last_one_or_a_number(self) -> None:
        self.assertEqual(self.type("/react +1"), '12:34 -- alice: +1 to #2 (zoe: "or coffee")')
        self.assertEqual(self.type("/react 👍 #1"), '12:34 -- alice: 👍 to #1 (bob: "shall we have tea?")')
        self.assertIn("alice takes back 👍 to #1", self.type("/unreact 👍 1"))
        for wrong in ("/react", "/react a b", "/react a 1 2", "/react " + "x" * 33):
            self.assertIn("Write /react SIGN [NUMBER]", self.type(wrong))
        self.assertIn("Write /unreact SIGN [NUMBER]", self.type("/unreact"))


class Others(TalkingCase):
    def test_files(self) -> None:
        file = File("rep\u202eort.pdf\x1b]0;x\x07", 1_300_000, "0" * 64)
        self.world.server.append(LOBBY, "bob", "file", b"f" * 16, body_of(file))
        self.world.settle()
        self.assertEqual(
            self.screen.lines[-1], "12:34 bob: [file #3: report.pdf, 1.2 MiB; /save 3 fetches it]"
        )
        self.assertEqual(file_words(File("\x1b", 0, "0" * 64)), "?, 0 bytes")

    def test_bodies_that_are_none(self) -> None:
        for number, kind in enumerate(("reply", "edit", "delete", "reaction", "file")):
            self.world.server.append(LOBBY, "bob", kind, bytes([number + 100] * 16), b"{\x1b")
        self.world.settle()
        self.assertIn("12:34 -- bob did something (reply)", self.screen.lines)
        self.assertFalse([c for c in self.screen.text if is_unsafe(c)])

    def test_private_talk(self) -> None:
        self.assertIn("Write /msg NAME [TEXT]", self.type("/msg"))
        self.assertIn("no sealed rooms here", self.type("/msg bob hello"))

    def test_numbers(self) -> None:
        self.assertEqual(self.type("/numbers on"), "-- messages are shown with their numbers")
        self.assertEqual(self.type("hi"), "12:34 #3 alice: hi")
        self.assertEqual(self.type("/numbers"), "-- messages are shown without their numbers")
        self.assertEqual(self.type("hi"), "12:34 alice: hi")
        self.assertIn("Write /numbers [on|off]", self.type("/numbers perhaps"))
        self.assertEqual(self.world.chat.setting("numbers"), "off")

    def test_bells(self) -> None:
        self.assertIn("when somebody says your name or answers you, with the terminal's", self.type("/bell"))
        said = Entry(LOBBY, 3, 0, "bob", "", "text", bytes(16), b"hi alice")
        self.assertTrue(self.screen.entries.is_for_me(said))
        for setting, text, signals in (
            ("mentions", "nothing", []),
            ("mentions", "hi Alice", ["\x07"]),
            ("all notice", "nothing", ["\x1b]9;bob in +lobby\x07"]),
            ("off", "alice!", []),
        ):
            self.type(f"/bell {setting}")
            self.screen.signals.clear()
            self.world.server.say(LOBBY, text)
            self.world.settle()
            self.assertEqual(self.screen.signals, signals, setting)
        self.type("/bell all")
        self.type("mine")
        self.assertEqual(self.screen.signals, [])
        self.assertIn("Write /bell", self.type("/bell loud"))
        self.assertEqual(self.world.chat.setting("bell"), "all")


class Exports(TalkingCase):
    def test_in_each_form(self) -> None:
        directory = Path(self.mktemp())
        directory.mkdir()
        self.world.server.append(LOBBY, "bob", "text", b"e" * 16, b"<b>\x1b[31mred")
        self.world.settle()
        for name, part in (
            ("a.txt", "zoe: or coffee\n"),
            ("a.html", "&lt;b&gt;red"),
            ("a.jsonl", '"body": "<b>\\u001b[31mred"'),
        ):
            told = self.type(f"/export {directory / name}")
            self.assertRegex(told, r"-- 3 entries of \+lobby, from .* on, written to .*" + name)
            self.assertIn(part, (directory / name).read_text())
            self.assertEqual((directory / name).stat().st_mode & 0o777, 0o600)
        self.assertIn("cannot be written: File exists", self.type(f"/export {directory / 'a.txt'}"))
        self.assertIn("cannot be written", self.type(f"/export {directory}/none/x"))
        self.assertIn("Write /export FILE", self.type("/export"))
        self.assertIn("cannot be written", self.type("/export x\0y"))

    def test_without_a_connection_and_of_nothing(self) -> None:
        self.world.refuse_connections(9)
        self.world.cut()
        path = Path(self.mktemp())
        self.assertIn("-- 2 entries", self.type(f"/export {path}"))
        self.screen.room = "+never"
        self.assertIn("has kept nothing of +never", self.type(f"/export {path}x"))


class Going(TalkingCase):
    def test_rooms_by_number_and_name(self) -> None:
        self.type("/join ops", "/join dev", "/go 1")
        self.assertEqual(self.screen.room, LOBBY)
        self.world.server.say("+ops", "over here")
        self.world.server.say("+ops", "alice?")
        self.world.settle()
        self.assertEqual(self.screen.tabs.unread, {"+ops": 2})
        self.assertEqual(
            self.type("/go"), "-- 1: +lobby, open (here)\n-- 2: +ops, open, 2 unread\n-- 3: +dev, open"
        )
        self.assertEqual(
            self.type("/go op"), "-- now in +ops, 2 unread\n12:34 bob: over here\n12:34 bob: alice?"
        )
        self.assertEqual(self.type("/go dev"), "-- now in +dev")
        self.assertIn("You are not in +nowhere.", self.type("/go nowhere"))
        self.assertIn("You are not in", self.type("/go 9"))

    def test_days(self) -> None:
        self.patch(self.console, "moment", lambda time, form: f"day {time // 100}")
        self.patch(self.console, "now", lambda: 250)
        console = self.screen
        console._day = None
        shown = [console._day_line(time) for time in (210, 290, 310, 330, 150)]
        self.assertEqual([bool(lines) for lines in shown], [False, False, True, False, True])
        self.assertEqual(shown[2], [[("day", "---- Thursday 1970-01-01 ----")]])

    def test_the_whole_server(self) -> None:
        self.type("/server kick bob enough", "/server ban mallory 2h spam", "/server unban bob")
        sent = [x for x in self.world.transport.link.received if isinstance(x, m.Kick | m.Ban | m.Unban)]
        self.assertEqual([x.room for x in sent], ["", "", ""])
        ban = sent[1]
        assert isinstance(ban, m.Ban)
        self.assertEqual((ban.name, ban.seconds, ban.reason), ("mallory", 7200, "spam"))
        wrongs = ("/server", "/server ban", "/server shout x", "/server unban bob now", "/server announce ")
        for wrong in wrongs:
            self.assertIn("Write /server kick|ban|unban NAME", self.type(wrong))
        self.world.transport.link.answer(m.Sent(sent[0].id, 1, 0))
        self.world.settle()
        self.assertEqual(self.screen.lines[-1], "-- done on the whole server: kick")

    def test_a_word_to_everybody(self) -> None:
        self.type("/server announce  down  at noon ", "/server announce again")
        sent = [x for x in self.world.transport.link.received if isinstance(x, m.Send)]
        self.assertEqual([(x.room, x.kind) for x in sent], [("", "text")] * 2)
        self.assertEqual([x.body for x in sent], [b"down  at noon", b"again"])
        self.world.transport.link.answer(m.Sent(sent[0].id, 0, 0))
        self.world.settle()
        self.assertEqual(self.screen.lines[-1], "-- done on the whole server: announce")
        self.world.transport.link.answer(m.Error(sent[1].id, "not-admin", "You are no admin."))
        self.world.settle()
        self.assertIn("You are no admin.", self.screen.lines[-1])
