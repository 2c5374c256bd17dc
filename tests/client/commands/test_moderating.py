"""Moderation, own devices and read marks on the client's side: what is asked, and what is shown of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.cli.client_run import BadCode, link_code
from encchat.client import events as e
from encchat.client.chat import MARK_AFTER
from encchat.client.commands.moderating import BadDuration, parse_duration
from encchat.client.commands.table import COMMANDS
from encchat.client.pipe import jsonlines
from encchat.client.view.show import code_lines
from encchat.core.accounts.links import digest
from encchat.core.names import parse_name
from encchat.core.plain import ACTS, duration, entry_line, happening_line
from tests.client.screen.test_console import LOBBY, ConsoleTestCase
from tests.client.world import Listener, World

KEY = "SHA256:" + "A" * 43


def entry(kind: str, body: bytes, sender: str = "alice") -> m.Entry:
    return m.Entry(LOBBY, 1, 0, sender, "", kind, bytes(16), body)


class Words(TestCase):
    """Acts as people read them."""

    acts: ClassVar[list[tuple[str, dict[str, object], str]]] = [
        ("kick", {"name": "bob"}, "alice put bob out"),
        ("kick", {"name": "bob", "reason": "noise"}, "alice put bob out: noise"),
        (
            "ban",
            {"name": "mallory", "seconds": 7200, "reason": "spam"},
            "alice banned mallory for 2 hours: spam",
        ),
        ("ban", {"name": "mallory"}, "alice banned mallory"),
        ("unban", {"name": "mallory"}, "alice lifted the ban of mallory"),
        ("mute", {"name": "bob", "seconds": 90}, "alice muted bob for 90 seconds"),
        ("unmute", {"name": "bob"}, "alice lets bob speak again"),
        ("invite", {"name": "bob"}, "alice invited bob"),
        ("role", {"name": "bob", "role": "moderator"}, "alice made bob a moderator"),
        ("role", {"name": "bob", "role": "owner"}, "alice made bob an owner"),
        ("role", {"name": "bob", "role": "member"}, "alice made bob a mere member"),
        ("access", {"access": "private"}, "alice made the room private"),
        (
            "access",
            {"access": "open", "topic_by": "moderators"},
            "alice opened the room to everybody and lets only moderators set the topic",
        ),
        ("access", {}, "alice changed how the room is run"),
    ]

    def test_each_act(self) -> None:
        self.assertEqual({kind for kind, _, _ in self.acts}, set(ACTS))
        for kind, body, words in self.acts:
            act = entry(kind, json.dumps(body).encode())
            self.assertEqual(happening_line(act), words)
            self.assertEqual(entry_line(act), "* " + words)

    def test_talk_and_the_unknown(self) -> None:
        self.assertEqual(entry_line(entry("text", b"a\nb")), "alice: a b")
        self.assertEqual(entry_line(entry("me", b"waves")), "* alice waves")
        self.assertEqual(entry_line(entry("topic", b"tea")), "* alice set the topic: tea")
        self.assertIsNone(entry_line(entry("dance", b"")))
        self.assertIn("cannot show (dance)", happening_line(entry("dance", b"")))

    def test_bodies_without_the_shape_of_their_act(self) -> None:
        bad = (
            b"",
            b"[]",
            b"{}",
            b'{"name": 1}',
            b'{"name": "bob", "seconds": -1}',
            b'{"name": "\xff"}',
            b'{"name": "bob", "seconds": 1e99}',
            b'{"name": "bob", "more": ' + b"[" * 50_000,
        )
        for body in bad:
            self.assertEqual(happening_line(entry("ban", body)), "alice did something (ban)")
        for body in (b'{"name": "bob", "role": "king"}', b'{"role": "owner"}'):
            self.assertEqual(happening_line(entry("role", body)), "alice did something (role)")

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from(sorted(ACTS)), st.text(max_size=80), st.text(max_size=80), st.text(max_size=80))
    def test_nothing_steers_a_terminal(self, kind: str, sender: str, name: str, reason: str) -> None:
        facts = {"name": name + "\x1b[2J\r", "reason": reason + "\n\x9b1m\u202e", "role": "owner"}
        line = happening_line(entry(kind, json.dumps(facts).encode(), sender + "\x07"))
        self.assertFalse(set(line) & set("\x1b\r\n\x9b\x07\u202e"))
        self.assertLess(len(line), 400)

    def test_durations(self) -> None:
        for seconds, words in (
            (1, "1 second"),
            (90, "90 seconds"),
            (5400, "90 minutes"),
            (3600, "1 hour"),
            (86_400, "1 day"),
            (604_800, "7 days"),
            (3601, "3,601 seconds"),
        ):
            self.assertEqual(duration(seconds), words)
        for text, seconds in (("90s", 90), ("10m", 600), ("2H", 7200), ("1d", 86_400), ("1w", 604_800)):
            self.assertEqual(parse_duration(text), seconds)
        for text in ("", "10", "0s", "10min", "-1d", "1.5h", "99999999999s", "9999999d", "\u0661h"):
            self.assertRaises(BadDuration, parse_duration, text)

    def test_codes(self) -> None:
        alice = parse_name("alice")
        for text in ("7K2QX-0M9DF-3HWTB", "7k2qx om9df 3hwtb", "7-K-2-Q-X-0-M-9-D-F-3-H-W-T-B" + "-" * 40):
            code = link_code(text, alice)
            self.assertLessEqual(len(code), 32)
            self.assertEqual(digest(code, "alice"), digest("7K2QX0M9DF3HWTB", "alice"))
        for text in ("", "7K2QX", "U" * 15, "7K2QX-0M9DF-3HWTB-7"):
            self.assertRaises(BadCode, link_code, text, alice)

    def test_what_to_type_is_safe_to_paste(self) -> None:
        lines = code_lines(e.LinkCode(1, "X; rm -rf ~", 600, "a'b", "chat.example:9999"))
        self.assertIn("within 10 minutes", lines[0])
        self.assertEqual(
            lines[1].strip(),
            """encchat-client --name 'a'"'"'b' --link 'X; rm -rf ~' chat.example:9999""",
        )
        self.assertIn("a moment", code_lines(e.LinkCode(1, "X", 0, "a"))[0])


class Asking(ConsoleTestCase):
    """What each command asks for, and how its answer is shown."""

    def setUp(self) -> None:
        super().setUp()
        self.start()
        self.link = self.world.transport.link

    def asked(self, line: str) -> m.ClientMessage:
        """What the server gets for a line; its id and msgid are set to 0."""
        before = len(self.link.received)
        self.assertEqual(self.type(line), "")
        (message,) = self.link.received[before:]
        self.id = message.id  # type: ignore[union-attr]
        zero = {"id": 0, "msgid": bytes(16)}
        names = message.__struct_fields__
        return type(message)(**{n: zero.get(n, getattr(message, n)) for n in names})

    def test_acts(self) -> None:
        head = (0, LOBBY, bytes(16))
        for line, message in (
            ("/kick bob", m.Kick(*head, "bob")),
            ("/kick bob  too loud ", m.Kick(*head, "bob", "too loud")),
            ("/ban bob", m.Ban(*head, "bob")),
            ("/ban bob spam", m.Ban(*head, "bob", 0, "spam")),
            ("/ban bob 2h", m.Ban(*head, "bob", 7200)),
            ("/ban bob 2h spam and eggs", m.Ban(*head, "bob", 7200, "spam and eggs")),
            ("/unban bob", m.Unban(*head, "bob")),
            ("/mute bob 10m", m.Mute(*head, "bob", 600)),
            ("/unmute bob", m.Unmute(*head, "bob")),
            ("/invite bob", m.Invite(*head, "bob")),
            ("/op bob", m.Role(*head, "bob", "moderator")),
            ("/owner bob", m.Role(*head, "bob", "owner")),
            ("/deop bob", m.Role(*head, "bob", "member")),
            ("/access private", m.Access(*head, "private")),
            ("/access topic moderators", m.Access(*head, "", "moderators")),
            ("/access OPEN topic members", m.Access(*head, "open", "members")),
        ):
            self.assertEqual(self.asked(line), message)
            self.link.answer(m.Sent(self.id, 1, 0))
        self.world.settle()
        self.assertEqual(self.world.chat.session.questions, 0)

    def test_a_reason_is_bounded(self) -> None:
        message = self.asked("/kick bob " + "x" * 900)
        assert isinstance(message, m.Kick)
        self.assertEqual(len(message.reason), 200)

    def test_a_refusal_is_told(self) -> None:
        self.world.server.refuse[m.Ban] = ("not-allowed", 0)
        self.assertEqual(self.type("/ban bob"), "-- no")

    def test_how_a_room_is_run(self) -> None:
        self.assertEqual(self.asked("/access"), m.About(0, LOBBY))
        before = len(self.screen.lines)
        self.link.answer(
            m.RoomProfile(
                self.id,
                LOBBY,
                "private",
                "moderators",
                (m.Standing("alice", "owner"), m.Standing("bob", "moderator")),
                (m.Restriction("mal\x1b", "bob", 1000), m.Restriction("", "bob")),
                (),
                ("carol",),
            )
        )
        self.world.settle()
        self.assertEqual(
            self.screen.lines[before:],
            [
                "-- +lobby: only who was invited may come in, only moderators set the topic",
                "-- owners: alice",
                "-- moderators: bob",
                self.screen.lines[before + 3],
                "-- invited: carol",
            ],
        )
        banned = r"\A-- banned: mal \(by bob, until [0-9: -]+\), a key \(by bob\)\Z"
        self.assertRegex(self.screen.lines[before + 3], banned)

    def test_a_code_for_another_device(self) -> None:
        self.assertEqual(self.asked("/link"), m.Link(0))
        self.link.answer(m.Linked(self.id, "7K2QX-0M9DF-3HWTB", 600))
        self.world.settle()
        self.assertIn(
            "--     encchat-client --name alice --link 7K2QX-0M9DF-3HWTB chat.example:9999", self.screen.lines
        )

    def test_own_devices(self) -> None:
        self.link.on_whois = lambda x: self.link.answer(  # type: ignore[method-assign]
            m.Profile(x.id, x.name, "SHA256:x", 0, False, True, keys=(KEY,))
        )
        shown = self.type("/devices")
        self.assertIn("key SHA256:x\n", shown)
        self.assertIn(f"key {KEY} of a device that was linked later", shown)
        self.assertEqual(self.asked(f"/unlink {KEY}"), m.Unlink(0, KEY))
        self.link.answer(m.Done(self.id))
        self.world.settle()
        self.assertEqual(self.screen.lines[-1], "-- the key was taken from your name")

    def test_mistakes_are_taught(self) -> None:
        for line in (
            "/kick",
            "/ban",
            "/unban bob 2h",
            "/mute",
            "/op",
            "/invite bob carol",
            "/access shut",
            "/access topic everybody",
            "/access open topic",
            "/link now",
            "/devices all",
            "/unlink",
        ):
            name = line[1:].split()[0]
            self.assertIn(f"Write {COMMANDS[name].usage}: ", self.type(line), line)
        self.assertIn("10min is no duration. Write a number and its unit", self.type("/ban bob 10min"))
        self.assertIn("3 is no duration", self.type("/mute bob 3 strikes"))
        self.assertIn("is not a fingerprint. /devices shows", self.type("/unlink SHA256:x"))
        self.assertIn("must not begin with '+'", self.type("/kick +bob"))
        asked = {type(message) for message in self.link.received}
        self.assertEqual(asked, {m.Hello, m.Join})

    def test_where_nothing_can_be_done(self) -> None:
        self.type("/part")
        self.assertIn("You are in no room", self.type("/kick bob"))
        self.world.cut()
        self.assertIn("no connection", self.type("/link"))

    def test_lost_before_the_answer(self) -> None:
        self.asked("/kick bob")
        self.world.cut()
        self.assertIn("-- The connection was lost.", self.screen.lines)
        self.world.later(5)
        self.assertNotIn(m.Kick, {type(x) for x in self.world.transport.link.received})

    def test_the_table(self) -> None:
        for command in COMMANDS.values():
            self.assertNotIn("\n", command.help)
            self.assertFalse(command.help.endswith("."))

    def test_acts_in_the_room(self) -> None:
        self.world.server.append(
            LOBBY, "bob", "ban", b"m" * 16, b'{"name":"mal","seconds":60,"reason":"spam"}'
        )
        self.world.settle()
        self.assertEqual(self.screen.lines[-1], "12:34 -- bob banned mal for 1 minute: spam")


class Marks(ConsoleTestCase):
    """How far was read, told to the server and by it."""

    def marks(self) -> list[m.Mark]:
        link = self.world.transport.link
        return [message for message in link.received if isinstance(message, m.Mark)]

    def see(self) -> None:
        """Everything that was told is on the screen."""
        self.screen.seen(self.world.chat.reached(self.world.chat.session.rooms))

    def test_of_the_room_that_is_shown_and_not_often(self) -> None:
        self.start()
        self.type("/join ops", "/join lobby")
        for number in range(5):
            self.world.server.say(LOBBY, f"{number}")
            self.world.server.say("+ops", f"{number}")
            self.world.settle()
            self.see()
        self.assertEqual(self.marks(), [])
        self.world.later(MARK_AFTER)
        (mark,) = self.marks()
        self.assertEqual((mark.room, mark.seq), (LOBBY, 5))
        self.see()
        self.world.later(MARK_AFTER)
        self.assertEqual(len(self.marks()), 1)
        self.assertEqual(self.screen.unread, {"+ops": 5})
        self.type("/join ops")
        self.see()
        self.assertEqual(self.screen.unread, {})
        self.world.chat.tell_read()
        self.assertEqual([(x.room, x.seq) for x in self.marks()], [(LOBBY, 5), ("+ops", 5)])

    def test_a_mark_that_is_refused_is_no_news(self) -> None:
        self.world.server.refuse[m.Mark] = ("rate-limited", 0)
        self.world.server.say(LOBBY, "hello")
        screen = self.start()
        self.see()
        lines = list(screen.lines)
        self.world.later(MARK_AFTER)
        self.assertEqual(len(self.marks()), 1)
        self.assertEqual(screen.lines, lines)

    def test_told_again_after_a_lost_connection(self) -> None:
        self.world.server.say(LOBBY, "hello")
        self.start()
        self.see()
        self.world.cut()
        self.world.later(20)
        self.assertEqual([(x.room, x.seq) for x in self.marks()], [(LOBBY, 1)])

    def test_nothing_of_another_log(self) -> None:
        self.world.server.log = m.PASSING_LOG + b"M" * 8
        self.world.server.say(LOBBY, "hello")
        self.start()
        self.see()
        self.world.server.log = m.PASSING_LOG + b"N" * 8
        self.world.server.rooms.clear()
        self.world.cut()
        self.world.later(20)
        self.assertIn("has begun a new one", "".join(self.screen.lines))
        self.assertEqual(self.marks(), [])

    def test_read_on_another_device(self) -> None:
        self.start()
        self.type("/join ops", "/join lobby")
        for number in range(5):
            self.world.server.say("+ops", f"{number}")
        self.world.settle()
        link = self.world.transport.link
        for seq, unread in ((2, {"+ops": 3}), (5, {})):
            link.answer(m.Marked("+ops", seq))
            self.world.settle()
            self.assertEqual(self.screen.unread, unread)
        link.answer(m.Marked("+nowhere", 5))
        self.world.settle()
        self.assertEqual(self.screen.unread, {})

    def test_what_another_device_read_before_is_not_unread(self) -> None:
        for number in range(5):
            self.world.server.say("+ops", f"{number}")
        self.start()
        link = self.world.transport.link
        link.on_join = lambda x: link.answer(  # type: ignore[method-assign]
            m.Joined(x.id, x.room, room.head, room.positions[0], (), "", 3)
        )
        room = self.world.server.room("+ops")
        self.type("/join ops")
        self.type("/join lobby")
        link.out += room.frames
        self.world.settle()
        self.assertEqual(self.screen.unread, {"+ops": 2})


class OtherEvents(TestCase):
    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()))
        self.addCleanup(self.world.store.close)

    def test_the_code_goes_out_until_it_was_redeemed(self) -> None:
        session = self.world.chat.session
        session.hello = replace(session.hello, link="7K2QX0M9DF3HWTB")
        self.world.start(Listener())
        self.world.settle()
        self.world.cut()
        self.world.later(5)
        first, second = (transport.link.received[0] for transport in self.world.transports)
        assert isinstance(first, m.Hello)
        assert isinstance(second, m.Hello)
        self.assertEqual((first.link, second.link), ("7K2QX0M9DF3HWTB", ""))

    def test_of_another_room_than_was_asked_for(self) -> None:
        listener = Listener()
        self.world.chat.session.join(LOBBY)
        self.world.start(listener)
        self.world.settle()
        id = self.world.chat.ask(lambda id: m.About(id, LOBBY))
        self.world.transport.link.answer(m.RoomProfile(id, "+ops", "open", "members"))
        self.world.settle()
        (lost,) = listener.of(e.LinkLost) or [self.world.failure]
        self.assertIn("it tells of +ops", str(lost))

    def test_as_json(self) -> None:
        restriction = m.Restriction("mal\x1b[1m", "bob", 5)
        about = m.RoomProfile(
            1, LOBBY, "open", "members", (m.Standing("a", "owner"),), (restriction,), (), ("c",)
        )
        profile = m.Profile(1, "alice", "k1", 0, False, True, keys=("k2",))
        act = entry("ban", b'{"name":"bob"}')
        for event, fields in (
            (e.PutOut(LOBBY, "kicked", "out"), {"event": "put-out", "code": "kicked"}),
            (e.WasInvited(LOBBY, "bob"), {"event": "invited", "name": "bob"}),
            (e.Announced("tea"), {"event": "announced", "text": "tea"}),
            (e.ReadElsewhere(LOBBY, 3), {"event": "marked", "room": LOBBY, "seq": 3}),
            (e.ActDone(1, "ban", LOBBY, 3, 4), {"event": "done", "act": "ban", "seq": 3, "time": 4}),
            (e.Unlinked(1), {"event": "unlinked"}),
            (e.ProfileFound(1, profile), {"event": "profile", "keys": ["k2"]}),
            (
                e.LinkCode(1, "CODE", 600, "alice", "here:1"),
                {"event": "link-code", "code": "CODE", "seconds": 600, "name": "alice", "server": "here:1"},
            ),
            (
                e.RoomDescribed(1, about),
                {
                    "event": "about",
                    "access": "open",
                    "topic_by": "members",
                    "invites": ["c"],
                    "mutes": [],
                    "roles": [{"name": "a", "role": "owner"}],
                    "bans": [{"name": "mal", "by": "bob", "until": 5}],
                },
            ),
            (
                e.NewEntry(act, False, False),
                {"kind": "ban", "shown": "alice banned bob", "text": '{"name":"bob"}'},
            ),
        ):
            line = jsonlines.of_event(event)
            assert line is not None
            told = json.loads(line)
            self.assertEqual({name: told[name] for name in fields}, fields)
        talk = jsonlines.of_event(e.NewEntry(entry("text", b"hi"), False, False))
        assert talk is not None
        self.assertNotIn("shown", json.loads(talk))

    def test_an_ignored_name_invites_unheard(self) -> None:
        self.world.chat.set_ignored("bob", True)
        self.assertTrue(self.world.chat.hides(e.WasInvited(LOBBY, "Bob")))
