"""The consoles for people: what is shown, what commands do, how it ends. (The screens: tests/process.)"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client import events as e
from encchat.client.commands.aliases import ALIASES, INSTEAD
from encchat.client.commands.command import UnknownCommand
from encchat.client.commands.table import COMMANDS, Commands
from encchat.client.network.link import Patience
from encchat.client.protocol.outbox import Item
from encchat.client.screen import console
from encchat.client.screen.console import CannotJoin, PersonConsole
from encchat.client.screen.linear import Linear
from encchat.client.view import entrylines, pages
from encchat.client.view.colours import Line
from encchat.client.view.show import (
    member_names,
    moment,
    profile_lines,
    room_lines,
    status_line,
    talk_lines,
)
from encchat.client.view.titles import meant, titled
from encchat.core.plain import ACTS, happening_line
from encchat.errors import EncchatError, UsageError
from tests.client.world import FakeReader, FakeWriter, World

LOBBY = "+lobby"


class Screen(PersonConsole):
    """Shows into a list."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.lines: list[str] = []
        self.styles: set[str] = set()
        self.left: Deferred[None] = Deferred()
        self.signals: list[str] = []
        self.prefilled = ""
        self.can_prefill = True

    def signal(self, code: str) -> None:
        self.signals.append(code)

    def prefill(self, text: str) -> bool:
        self.prefilled = text
        return self.can_prefill

    def show(self, lines: Sequence[Line]) -> None:
        self.lines += ["".join(text for _, text in line) for line in lines]
        self.styles |= {style for line in lines for style, _ in line}

    async def converse(self) -> None:
        await self.left

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


class ConsoleTestCase(TestCase):
    console = console

    def setUp(self) -> None:
        for module in (console, entrylines, pages):
            self.patch(module, "moment", lambda time, form: "12:34" if form == "%H:%M" else "2026-01-01")
        self.world = World(Path(self.mktemp()))
        self.addCleanup(self.world.store.close)

    def start(self, history: int | None = None) -> Screen:
        self.screen = self.make(history)
        self.world.start(self.screen)
        self.code: int | None = None
        self.error: EncchatError | None = None
        self.done = Deferred.fromCoroutine(self.screen.run())
        self.done.addCallbacks(self._ended, self._failed)
        self.world.settle()
        return self.screen

    def make(self, history: int | None) -> Any:
        return Screen(self.world.clock, self.world.chat, LOBBY, history)

    def _ended(self, code: int) -> None:
        self.code = code

    def _failed(self, failure: Any) -> None:
        failure.trap(EncchatError, CancelledError)
        self.error = failure.value if isinstance(failure.value, EncchatError) else None

    def type(self, *lines: str) -> str:
        """Type lines; returns what they made appear."""
        before = len(self.screen.lines)
        for line in lines:
            self.screen.typed(line)
            self.world.settle()
        return "\n".join(self.screen.lines[before:])


class Talk(ConsoleTestCase):
    def test_coming_in(self) -> None:
        self.world.server.motd = "be kind\nor be quiet"
        self.world.server.room(LOBBY).topic = "tea"
        self.world.server.say(LOBBY, "old")
        screen = self.start()
        self.assertEqual(
            screen.lines,
            [
                "-- connected as alice",
                "-- be kind",
                "-- or be quiet",
                "-- in +lobby with alice, bob; topic: tea; 1 entry from before",
                "12:34 bob: old",
            ],
        )

    def test_saying(self) -> None:
        self.start()
        self.assertEqual(self.type("hello"), "12:34 alice: hello")
        self.assertEqual(self.type("//slash"), "12:34 alice: /slash")
        self.assertEqual(self.type("/me waves"), "12:34 * alice waves")
        self.assertEqual(self.type("  "), "")
        self.assertEqual(self.type("one\ntwo"), "12:34 alice: one\n      | two")
        self.assertIn("own", self.screen.styles)

    def test_saying_much(self) -> None:
        self.world.server.limits = m.Limits(body=256)
        self.start()
        self.assertEqual(len(self.type("x" * 600 + "\udcff").split("\n")), 3)

    def test_others_and_other_rooms(self) -> None:
        self.start()
        self.type("/join ops", "/join lobby")
        self.world.server.say("+ops", "over here")
        self.world.server.say(LOBBY, "hi")
        self.world.settle()
        self.assertEqual(self.screen.lines[-2:], ["12:34 [+ops] bob: over here", "12:34 bob: hi"])
        self.assertEqual(self.screen.unread, {"+ops": 1})

    def test_nothing_is_said_to_a_server_that_was_never_met_before_its_key_is_known(self) -> None:
        screen = self.make(None)
        screen.unmet = True
        screen.typed("yes")
        self.assertIn("its key comes first", screen.lines[-1])
        self.assertEqual(screen.prefilled, "yes")
        screen.typed("/help me")
        self.assertIn("/me", screen.lines[0] + screen.lines[1])
        self.assertEqual(self.world.chat.unacknowledged, 0)
        self.start()
        self.screen.unmet = True
        self.assertEqual(self.type("hello"), "12:34 alice: hello")

    def test_what_one_did_oneself_and_what_moderators_do_is_not_unread(self) -> None:
        self.start()
        self.type("/join ops", "/join lobby")
        self.world.server.append("+ops", "alice", "text", bytes(16), b"from another device")
        self.world.server.append("+ops", "bob", "topic", bytes(16), b"tea")
        self.world.settle()
        self.assertEqual(self.screen.unread, {})

    def test_only_the_last_of_what_was_missed(self) -> None:
        self.patch(console, "MISSED", 3)
        self.start()
        self.world.chat.mark(self.world.chat.reached([LOBBY]))
        self.world.chat.stop()
        for number in range(10):
            self.world.server.say(LOBBY, str(number))
        self.world.link.abort()
        self.world.settle()
        self.world.new_run()
        screen = self.start()
        self.assertEqual(
            screen.lines[1:],
            [
                "-- in +lobby with alice, bob; 10 entries from before",
                "-- the last 3 of them follow; /history shows older ones",
                "12:34 bob: 7",
                "12:34 bob: 8",
                "12:34 bob: 9",
            ],
        )

    def test_what_happens_besides(self) -> None:
        self.start()
        self.world.transport.link.answer(
            m.Presence(LOBBY, "guest-1", True, True),
            m.Presence(LOBBY, "guest-1", False, True),
            m.Invited("+ops", "bob"),
            m.Notice("tea time"),
            m.Error(0, "odd", "what?"),
            m.Closing("down"),
            m.Typing(LOBBY, "bob"),
        )
        self.world.settle()
        self.world.cut()
        self.assertEqual(
            self.screen.lines[-7:],
            [
                "-- guest-1 (classic) joined +lobby",
                "-- guest-1 (classic) left +lobby",
                "-- bob invites you into +ops",
                "-- the server's operator says: tea time",
                "-- the server says: what?",
                "-- the server closes the connection: down",
                "-- The connection to chat.example:9999 has ended: the line was cut. Trying again in 0.5 s.",
            ],
        )

    def test_typing_while_the_link_is_down(self) -> None:
        self.start()
        self.world.cut()
        self.assertEqual(self.type("hello"), "-- queued: it is sent when the connection is back")
        self.world.later(1)
        self.assertIn("12:34 alice: hello", self.screen.lines)

    def test_an_outage_is_told_once(self) -> None:
        self.start()
        for _ in range(2):
            before = len(self.screen.lines)
            self.world.endpoint.failures = [OSError("no route")] * 3 + [ConnectionRefusedError()] * 3
            self.world.cut()
            self.world.later(600)
            told = [line for line in self.screen.lines[before:] if "Trying again" in line]
            self.assertEqual(len(told), 3, told)
            self.assertTrue(self.screen.connected)

    def test_a_store_that_fails(self) -> None:
        self.start()
        self.world.store._database.connection.execute("PRAGMA query_only = ON")
        self.assertIn("cannot be written", self.type("hello"))
        self.assertEqual(self.world.server.room(LOBBY).frames, [])

    def test_being_put_out_of_the_room(self) -> None:
        self.start()
        self.type("/join ops")
        self.world.transport.link.answer(m.Removed("+ops", "kicked", "bob put you out of +ops."))
        self.world.settle()
        self.assertEqual(self.screen.room, LOBBY)
        self.world.transport.link.answer(m.Removed(LOBBY, "banned", "bob banned you from +lobby."))
        self.world.settle()
        self.assertIn("You are in no room", self.type("hello"))
        self.assertIn("You are in no room", self.type("/who"))

    def test_nothing_steers_the_terminal(self) -> None:
        self.start()
        evil = "\x1b]0;x\x07\x1b[31m\u202ea\rb\x9b1m"
        self.world.server.append(LOBBY, f"b{evil}", "text", b"1" * 16, f"t{evil}\n{evil}".encode())
        self.world.server.append(LOBBY, "bob", "topic", b"2" * 16, f"t{evil}".encode())
        self.world.server.append(LOBBY, "bob", f"k{evil}"[:32], b"3" * 16, b"")
        body = b'{"name": "\\u001b[31mx"}'
        self.world.server.append(LOBBY, "bob", "kick", b"4" * 16, body)
        self.world.transport.link.answer(m.Notice(evil), m.Invited(evil, evil), m.Closing(evil))
        self.world.settle()
        self.type("/topic", "/rooms", "/whois x")
        self.assertFalse(
            [c for c in self.screen.text if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]
        )
        self.assertNotIn("\u202e", self.screen.text)


class TheCommands(ConsoleTestCase):
    def test_every_one_teaches(self) -> None:
        self.start()
        self.assertIn("-- talk: /me /reply ", self.type("/help"))
        self.assertIn("Alt-Enter", self.type("/help keys"))
        shown = self.type("/help all")
        for command in COMMANDS.values():
            self.assertIn(command.usage, shown)
            self.assertIn(command.help, self.type(f"/help {command.name}"))
        self.assertIn("no command /nope", self.type("/help nope"))

    def test_an_unknown_one_is_never_sent(self) -> None:
        self.start()
        shown = self.type("/wohis bob")
        self.assertEqual(
            shown,
            "!! There is no command /wohis. Did you mean /whois? /help lists the commands; begin with // to "
            "send a line that begins with a slash.",
        )
        self.assertIn("There is no command /xyzzy.", self.type("/xyzzy"))
        self.assertIn("Did you mean /history?", self.type("/hist"))
        self.assertIn("Did you mean /msg?", self.type("/querry bob"))
        self.assertIn("follows right after the slash", self.type("/", "/ hello"))
        self.assertEqual(self.world.server.room(LOBBY).frames, [])

    def test_conversations_are_called_by_the_other_name(self) -> None:
        self.start()
        self.world.server.append("@alice&bob", "bob", "sealed", bytes(16), b"x")
        told = self.type("/rooms")
        self.assertIn("-- @bob: ", told)
        self.assertNotIn("&", told)
        profile = m.Profile(1, "bob", "SHA256:x", 0, False, True, rooms=("+ops", "@alice&bob"))
        shown = titled(e.ProfileFound(1, profile), "alice")
        self.assertEqual(shown.profile.rooms, ("+ops", "@bob"))

        item = Item(bytes(16), "@alice&bob", "text", b"x")
        not_sent = e.NotSent(item, "cannot-change", "@alice&bob was not changed: @zoe&bob. See @alice&bob.")
        self.assertEqual(
            status_line(titled(not_sent, "alice")),
            "not sent to @bob: @bob was not changed: @zoe&bob. See @bob.",
        )

    def test_the_names_that_they_have_elsewhere(self) -> None:
        self.start()
        for name, here in ALIASES.items():
            self.assertNotIn(name, COMMANDS)
            self.assertIs(self.screen.commands.find(name), COMMANDS[here])
        self.assertIn("+ops", self.type("/j ops"))
        for name in INSTEAD:
            self.assertNotIn(name, COMMANDS)
            self.assertEqual(f"!! There is no /{name} here: {INSTEAD[name]}", self.type(f"/{name}"))
        self.assertEqual(self.world.server.room(LOBBY).frames, [])

    def test_rooms(self) -> None:
        self.start()
        self.assertEqual(self.type("/join Ops"), "-- in +ops with alice, bob")
        self.assertEqual(self.screen.room, "+ops")
        self.assertEqual(self.type("/join +lobby"), "-- now in +lobby")
        self.assertIn("Write /join +ROOM", self.type("/join"))
        self.assertIn("Write /join +ROOM", self.type("/join a b"))
        self.assertIn("cannot be used", self.type("/join a/b"))
        self.assertEqual(self.type("/part ops"), "-- left +ops")
        self.assertIn("You are not in +ops.", self.type("/part ops"))
        self.assertIn("Write /part [+ROOM]", self.type("/part see you"))
        self.assertEqual(
            self.type("/join ops,+dev"), "-- in +ops with alice, bob\n-- in +dev with alice, bob"
        )
        self.assertIn("Write /join +ROOM", self.type("/join ops,,dev"))
        self.assertEqual(self.type("/part +ops see you", "/part +dev"), "-- left +ops\n-- left +dev")
        self.assertIn("-- +lobby: 1 here, 0 entries\n-- +ops: 1 here, 0 entries", self.type("/rooms"))
        self.world.server.refuse[m.Join] = ("no-such-room", 0)
        self.assertEqual(self.type("/join x"), "-- cannot join +x: no")

    def test_windows_as_elsewhere(self) -> None:
        self.start()
        self.type("/join ops")
        self.assertEqual(self.type("/window goto 1"), "-- now in +lobby")
        self.assertEqual(self.type("/win next"), "-- now in +ops")
        self.assertEqual(self.type("/win prev"), "-- now in +lobby")
        self.assertEqual(self.type("/buffer list"), self.type("/go"))
        self.assertEqual(self.type("/window close"), "-- left +lobby")
        self.type("/join +next", "/go ops")
        self.assertEqual(self.type("/go next"), "-- now in +next")

    def test_what_happens_in_other_rooms_is_told_where_it_is_shown(self) -> None:
        self.start()
        self.type("/join ops", "/join dev")
        before = len(self.screen.lines)
        for room in ("+ops", "+dev"):
            self.world.transport.link.answer(m.Presence(room, "zoe", True, False))
        self.world.settle()
        self.assertEqual(self.screen.lines[before:], ["-- zoe joined +dev"])
        self.world.server.say("+ops", "meanwhile")
        self.world.cut()
        self.world.server.say(LOBBY, "missed")
        self.world.later(2)
        back = [line for line in self.screen.lines if "back in" in line]
        self.assertEqual(sorted(back)[:1], ["-- back in +dev"])
        self.assertFalse([line for line in back if line == "-- back in +ops"])
        self.assertIn("-- back in +lobby; 1 entry from before", back)

    def test_a_room_that_would_be_made_by_joining_it_elsewhere(self) -> None:
        refused = e.NotJoined("#tea", "invite-only", "No.")
        self.assertEqual(
            status_line(refused),
            "cannot join #tea: No. /create #tea makes one that is yours; /join +tea is an open room",
        )
        self.assertEqual(status_line(e.NotJoined("+x", "invite-only", "No.")), "cannot join +x: No.")

    def test_saying_something_elsewhere(self) -> None:
        self.start()
        self.type("/join ops", "/go lobby")
        self.assertEqual(self.type("/msg +ops hello ops"), "12:34 [+ops] alice: hello ops")
        self.assertEqual(self.type("/query +ops"), "-- now in +ops")
        self.assertIn("You are not in +dev right now", self.type("/msg +dev hello"))

    def test_nothing_to_clear(self) -> None:
        self.start()
        self.assertIn("nothing to clear", self.type("/clear"))

    def test_people(self) -> None:
        self.start()
        self.assertEqual(self.type("/who"), "-- in +lobby: alice, guest-1 (classic)")
        self.assertIn("-- key SHA256:x", self.type("/whois bob"))
        self.assertIn("Write /whois NAME", self.type("/whois"))
        self.world.server.refuse[m.Whois] = ("no-such-name", 0)
        self.assertEqual(self.type("/whois nobody"), "-- no")
        self.assertIn("--name", self.type("/nick zoe"))
        self.assertIn("Write /me", self.type("/me"))

    def test_the_topic(self) -> None:
        self.start()
        self.assertEqual(self.type("/topic"), "-- there is no topic")
        self.assertEqual(
            self.type("/topic tea  time"), "12:34 -- alice set the topic of +lobby to: tea  time"
        )
        self.assertEqual(self.type("/topic"), "-- the topic of +lobby is: tea  time")
        self.assertEqual(self.type("/topic -delete"), "12:34 -- alice cleared the topic")
        self.assertEqual(self.type("/topic"), "-- there is no topic")

    def test_history(self) -> None:
        for number in range(30):
            self.world.server.say(LOBBY, str(number))
        self.start(history=2)
        self.assertEqual(
            self.type("/history 3"),
            "-- +lobby from 2026-01-01:\n12:34 #26 bob: 25\n12:34 #27 bob: 26\n12:34 #28 bob: 27\n-- so far",
        )
        self.assertIn("12:34 #6 bob: 5\n", self.type("/history"))
        self.assertIn("-- as far as there is", self.type("/history 400"))
        self.assertEqual(self.type("/history"), "-- +lobby has nothing older")
        again = self.type("/history 2")
        self.assertIn("12:34 #29 bob: 28\n12:34 #30 bob: 29", again)
        for wrong in ("x", "0", "-3", "99999", "٣"):
            self.assertIn("Write /history", self.type(f"/history {wrong}"))

    def test_history_of_an_empty_room(self) -> None:
        self.start()
        self.assertEqual(self.type("/history"), "-- +lobby has nothing older")

    def test_ignoring(self) -> None:
        self.start()
        self.assertEqual(self.type("/ignore"), "-- nobody is ignored")
        self.assertIn("bob is ignored", self.type("/ignore Bob").replace("Bob", "bob"))
        self.assertEqual(self.type("/ignore"), "-- ignored: bob")
        self.world.server.say(LOBBY, "hi")
        self.world.settle()
        self.assertNotIn("12:34 bob: hi", self.screen.lines)
        self.assertIn("/unignore bob ends it", self.type("/ignore bob"))
        self.assertIn("cannot be used", self.type("/unignore a b"))
        self.assertIn("Write /unignore NAME", self.type("/unignore"))
        self.assertEqual(self.type("/unignore bob"), "-- bob is shown again")
        self.assertEqual(self.type("/unignore bob"), "-- bob was not ignored")
        self.world.server.say(LOBBY, "hi")
        self.world.settle()
        self.assertIn("12:34 bob: hi", self.screen.lines)
        self.assertIn("cannot be used", self.type("/ignore a b"))

    def test_without_a_connection(self) -> None:
        self.start()
        self.world.refuse_connections(5)
        self.world.cut()
        for line in ("/who", "/whois bob", "/rooms"):
            self.assertIn("There is no connection right now", self.type(line))
        attempts = self.world.endpoint.attempts
        self.type("/reconnect")
        self.assertEqual(self.world.endpoint.attempts, attempts + 1)
        self.world.later(60)
        self.assertEqual(self.type("/reconnect"), "-- you are connected")

    def test_what_was_kept_is_there_without_a_connection(self) -> None:
        for number in range(30):
            self.world.server.say(LOBBY, f"tea {number}")
        self.start(history=12)
        self.world.refuse_connections(5)
        self.world.cut()
        self.assertEqual(
            self.type("/history"),
            "-- there is no connection, and nothing more of that was kept here",
        )
        found = self.type("/search tea")
        self.assertIn("12:34 #30 bob: tea 29\n", found)
        self.assertIn("-- 12 found in +lobby", found)

    def test_the_first_connection_fails(self) -> None:
        self.world.server.say(LOBBY, "kept")
        self.start(history=5)
        self.world.chat.stop()
        self.world.link.abort()
        self.world.settle()
        self.world._patience = Patience(first=True)
        self.world.new_run()
        self.world.refuse_connections(1)
        screen = self.start()
        self.assertTrue(screen.ready)
        self.assertEqual(screen.tabs.numbers, {LOBBY: 1})
        self.assertIn("12:34 #1 bob: kept", screen.lines)
        self.assertEqual(self.type("hello"), "-- queued: it is sent when the connection is back")
        self.world.later(2)
        self.assertIn("12:34 alice: hello", screen.lines)

    def test_room_names(self) -> None:
        self.assertEqual([meant(text, "alice") for text in ("Lobby", "+x", "#y")], ["+lobby", "+x", "#y"])
        for bad in ("", "+", "a b", "+a/b"):
            self.assertRaises(UsageError, meant, bad, "alice")

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=40))
    def test_no_line_that_begins_with_one_slash_is_ever_sent(self, text: str) -> None:
        said = []

        class Nowhere:
            room = LOBBY

        commands = Commands(None, Nowhere(), lambda *what: said.append(what))  # type: ignore[arg-type]  # unused
        word = text.partition(" ")[0].strip().lower()
        if word in COMMANDS or word in ALIASES or text.startswith("/"):
            return
        self.assertRaises(UnknownCommand, commands.typed, "/" + text)
        self.assertEqual(said, [])


class Ending(ConsoleTestCase):
    def test_quitting(self) -> None:
        self.start()
        self.type("/quit see you")
        self.assertEqual(self.code, 0)

    def test_the_input_ends(self) -> None:
        self.start()
        self.screen.left.callback(None)
        self.world.settle()
        self.assertEqual(self.code, 0)

    def test_an_interrupt(self) -> None:
        self.start()
        self.screen.finish(130)
        self.screen.finish(0)
        self.world.settle()
        self.assertEqual(self.code, 130)

    def test_what_was_typed_last_is_waited_for_a_moment(self) -> None:
        self.start()
        self.world.transport.paused = True
        self.type("last words", "/quit")
        self.assertIsNone(self.code)
        self.world.later(3)
        self.assertEqual(self.code, 0)
        self.assertEqual(self.screen.lines[-1], "-- 1 message is kept, and sent when you come back")

    def test_a_first_room_that_cannot_be_joined(self) -> None:
        self.world.server.refuse[m.Join] = ("invite-only", 0)
        self.start()
        self.assertIsInstance(self.error, CannotJoin)

    def test_one_that_cannot_be_joined_again_later(self) -> None:
        self.start()
        self.world.server.refuse[m.Join] = ("invite-only", 0)
        self.world.cut()
        self.world.later(2)
        self.assertIsNone(self.error)
        self.assertIn("-- cannot join +lobby: no", self.screen.lines)
        self.assertIsNone(self.screen.room)


class TheLinearConsole(ConsoleTestCase):
    def make(self, history: int | None) -> Any:
        self.reader = FakeReader()

        def writer(changed: Any) -> Any:
            self.writer = FakeWriter(changed)
            return self.writer

        return Linear(self.world.clock, self.world.chat, LOBBY, history, self.reader, writer)  # type: ignore[arg-type]  # stubs

    def test_lines_in_and_out(self) -> None:
        self.start()
        self.reader.feed(b"hello\n/who\n", b"\xff\n")
        self.world.server.say(LOBBY, "hi")
        self.world.settle()
        self.assertEqual(
            self.writer.lines,
            [
                "-- connected as alice",
                "-- in +lobby with alice, bob",
                "-- in +lobby: alice, guest-1 (classic)",
                "12:34 bob: hi",
            ],
        )
        self.assertEqual(len(self.world.server.room(LOBBY).frames), 3)
        self.reader.feed(b"")
        self.world.settle()
        self.assertEqual(self.code, 0)

    def test_the_next_run_shows_what_is_new(self) -> None:
        self.start()
        self.world.server.say(LOBBY, "one")
        self.world.later(1)
        self.world.link.abort()
        self.world.settle()
        self.world.server.say(LOBBY, "two")
        self.world.chat.stop()
        self.world.new_run()
        self.start()
        self.assertEqual(self.writer.lines[-1], "12:34 bob: two")
        self.assertEqual(len(self.writer.lines), 3)

    def test_output(self) -> None:
        self.start()
        self.writer.full = True
        self.world.server.say(LOBBY, "one")
        self.world.settle()
        self.assertTrue(self.world.transport.paused)
        self.writer.full = False
        self.writer.flow()
        self.assertFalse(self.world.transport.paused)
        self.writer.broken = True
        self.writer.changed()
        self.world.settle()
        self.assertEqual(self.code, 1)


class Words(TestCase):
    def entry(self, kind: str, body: bytes) -> m.Entry:
        return m.Entry(LOBBY, 1, 0, "alice", "", kind, bytes(16), body)

    def test_acts(self) -> None:
        for kind in ACTS:
            line = happening_line(self.entry(kind, b'{"name": "bob", "role": "owner", "reason": "noise"}'))
            self.assertTrue(line.startswith("alice "))
            self.assertTrue(line.endswith(": noise"))
        for bad in (b"", b"[]", b"{}", b'{"name": []}', b'{"name": "\xff"}'):
            self.assertEqual(happening_line(self.entry("kick", bad)), "alice did something (kick)")
        self.assertEqual(happening_line(self.entry("topic", b"")), "alice cleared the topic")

    def test_talk(self) -> None:
        self.assertEqual(talk_lines(self.entry("text", b"\xff\n")), ["alice: \ufffd", "alice: "])

    def test_names(self) -> None:
        self.assertEqual(member_names([]), "nobody")
        crowd = [m.Member(f"n{number:03}") for number in range(250)]
        self.assertTrue(member_names(crowd).endswith(" and 50 more"))
        self.assertEqual(member_names([m.Member("")]), "?")

    def test_lists(self) -> None:
        self.assertEqual(room_lines([]), ["there are no rooms"])
        self.assertEqual(room_lines([m.RoomInfo("+a", 2, 1, "t")]), ["+a: 2 here, 1 entry, t"])
        classic = m.Profile(0, "guest", "SHA256:x", 0, False, True, True)
        self.assertEqual(profile_lines(classic)[-1], "speaks the classic profile: nobody proved who that is")
        vouched = m.Profile(0, "bob", "SHA256:x", 0, True, False)
        self.assertIn("a certificate authority vouches", profile_lines(vouched)[-1])

    def test_times_that_no_clock_shows(self) -> None:
        self.assertEqual(moment(2**62, "%H:%M"), "?")
        self.assertRegex(moment(0, "%Y"), r"\A19[67]")
