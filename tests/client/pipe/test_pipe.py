"""The client in a pipe and ``--send``: what goes in, what comes out, and with which exit code it ends."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client.network.link import Patience
from encchat.client.pipe.pipe import (
    HIGH_WATER,
    LOW_WATER,
    MAX_JSON,
    PATIENCE,
    CannotJoin,
    Manner,
    NotStored,
    Pipe,
)
from encchat.client.pipe.sending import Sending, SendNotStored, Unwanted
from encchat.client.protocol.knownlog import OtherLog
from encchat.client.protocol.outbox import Item
from encchat.client.store import StoreFailed
from encchat.errors import EncchatError
from encchat.messages import PASSING_LOG
from encchat.wire import decode_entry
from tests.client.world import HERE, FakeReader, FakeWriter, World

LOBBY = "+lobby"


class PipeTestCase(TestCase):
    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()), patience=Patience(False, 120.0))
        self.world.server.limits = m.Limits(rate=0)
        self.addCleanup(self.world.store.close)
        self.status: list[str] = []

    def start(self, *, server_first: bool = True, **manner: Any) -> None:
        self.reader = FakeReader()

        def writer(changed: Any) -> Any:
            self.writer = FakeWriter(changed)
            return self.writer

        self.pipe = Pipe(
            self.world.clock,
            self.world.chat,
            Manner(LOBBY, **manner),
            self.reader,  # type: ignore[arg-type]  # a stub
            writer,
            self.status.append,
        )
        self.world.start(self.pipe)
        self.code: int | None = None
        self.error: EncchatError | None = None
        self.done = Deferred.fromCoroutine(self.pipe.run())
        self.done.addCallbacks(self._ended, self._failed)
        self.world.settle()

    def _ended(self, code: int) -> None:
        self.code = code

    def _failed(self, failure: Any) -> None:
        failure.trap(EncchatError, CancelledError)
        self.error = failure.value if isinstance(failure.value, EncchatError) else None

    def feed(self, *chunks: bytes) -> None:
        self.reader.feed(*chunks)
        self.world.settle()

    def restart(self, **manner: Any) -> None:
        """The client ends, and starts anew."""
        self.world.link.abort()
        self.world.settle()
        self.world.chat.stop()
        self.world.new_run()
        self.status.clear()
        self.start(**manner)

    @property
    def said(self) -> list[str]:
        """What is in the lobby."""
        return [decode(frame) for frame in self.world.server.room(LOBBY).frames]


def decode(frame: bytes) -> str:
    return decode_entry(frame).body.decode()


class Lines(PipeTestCase):
    def test_a_line_in_is_a_message_and_the_end_is_waited_for(self) -> None:
        self.start()
        self.feed(b"one\ntwo\r\n\nthr", b"ee")
        self.assertIsNone(self.code)
        self.feed(b"")
        self.assertEqual(self.said, ["one", "two", "three"])
        self.assertEqual(self.code, 0)
        self.assertEqual(self.writer.data, b"", "own lines stand in the input already")
        self.assertEqual(self.world.store.outbox(str(HERE), 0), [self_item(1), self_item(2), self_item(3)])
        self.world.chat.stop()
        self.assertEqual(self.world.store.outbox(str(HERE), 0), [])

    def test_a_message_is_a_line_out_and_status_is_not(self) -> None:
        self.start()
        self.world.server.say(LOBBY, "hi")
        self.world.server.append(LOBBY, "bob", "me", b"m" * 16, b"waves")
        self.world.server.append(LOBBY, "bob", "topic", b"t" * 16, b"tea")
        self.world.server.append(LOBBY, "bob", "poll", b"p" * 16, b"?")
        self.world.settle()
        self.assertEqual(self.writer.lines, ["bob: hi", "* bob waves"])
        self.assertIn("bob set the topic of +lobby to: tea", self.status)
        self.assertIn("bob sent something that this version cannot show (poll)", self.status)

    def test_replies_and_files_are_messages_and_what_changes_others_is_told(self) -> None:
        self.start()
        say = self.world.server.append
        say(LOBBY, "bob", "text", b"0" * 16, b"tea?")
        say(LOBBY, "carol", "reply", b"1" * 16, b'{"target":1,"text":"yes\\nplease"}')
        say(LOBBY, "bob", "file", b"2" * 16, b'{"name":"tea.txt","size":3,"hash":"' + b"ab" * 32 + b'"}')
        say(LOBBY, "bob", "reaction", b"3" * 16, b'{"target":2,"sign":"+1"}')
        self.world.settle()
        self.assertEqual(len(self.writer.lines), 3, self.writer.lines)
        self.assertIn("carol", self.writer.lines[1])
        self.assertIn("yes please", self.writer.lines[1])
        self.assertIn("tea.txt", self.writer.lines[2])
        self.assertTrue(any("+1" in line for line in self.status))

    def test_every_line_of_a_message_says_whose_it_is(self) -> None:
        self.start()
        self.world.server.say(LOBBY, "hi\nalice: I owe bob money")
        self.world.settle()
        self.assertEqual(self.writer.lines, ["bob: hi", "bob: alice: I owe bob money"])

    def test_nothing_steers_a_terminal(self) -> None:
        self.world.server.motd = "\x1b]0;title\x07be kind\x1b[2J"
        self.start()
        evil = "\x1b]52;c;AAAA\x07\x1b[31mred\x1b[0m \x9b5m \u202ereversed\r gone\x00"
        self.world.server.append(LOBBY, "b\x1b[1mob", "text", b"1" * 16, evil.encode())
        self.world.server.append(LOBBY, "bob", "topic", b"2" * 16, evil.encode())
        self.world.transport.link.answer(m.Presence(LOBBY, "\x1b[5mzoe", True))
        self.world.settle()
        self.assertEqual(self.writer.lines, ["bob: red  reversed gone"])
        self.assertIn("be kind", self.status)
        self.assertIn("zoe joined +lobby", self.status)
        shown = self.writer.data.decode() + "".join(self.status)
        self.assertFalse(
            [c for c in shown if c != "\n" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0 or c == "\u202e")]
        )

    def test_a_slash_is_nothing_special(self) -> None:
        self.start()
        self.feed(b"/quit\n//x\n", b"")
        self.assertEqual(self.said, ["/quit", "//x"])
        self.assertEqual(self.code, 0)

    def test_what_is_no_text_is_told_and_makes_the_exit_code_1(self) -> None:
        self.start()
        self.feed(b"good\n\xff\xfe\nalso good\n", b"")
        self.assertEqual(self.said, ["good", "also good"])
        self.assertEqual(self.code, 1)
        self.assertIn("line 2: The line is not UTF-8 text and was not sent.", self.status)

    def test_a_long_line_becomes_several_messages(self) -> None:
        self.world.server.limits = m.Limits(rate=0, body=256)
        self.start()
        self.feed(("ä" * 300 + "\nshort\n").encode(), b"")
        self.assertEqual("".join(self.said), "ä" * 300 + "short")
        self.assertEqual(len(self.said), 4)
        self.assertEqual(self.status.count("line 1 is too long for one message and is sent as several"), 1)
        self.assertEqual(self.code, 0)

    def test_input_is_read_only_as_fast_as_it_is_acknowledged(self) -> None:
        self.start()
        self.world.transport.paused = True
        self.feed(b"x\n" * (3 * HIGH_WATER), b"")
        self.assertEqual(len(self.world.chat.session.outbox), HIGH_WATER)
        self.assertEqual(self.reader.reads, 1)
        self.world.transport.paused = False
        self.world.settle()
        self.assertEqual(len(self.said), 3 * HIGH_WATER)
        self.assertEqual(self.code, 0)
        self.assertLess(LOW_WATER, HIGH_WATER)

    def test_nothing_is_read_before_we_are_in_the_room(self) -> None:
        self.world.refuse_connections(1)
        self.start()
        self.assertEqual(self.reader.reads, 0)

    def test_no_input(self) -> None:
        self.start()
        self.feed(b"")
        self.assertEqual(self.code, 0)

    def test_staying_after_the_end_of_the_input(self) -> None:
        self.start(follow=True)
        self.feed(b"hello\n", b"")
        self.assertIsNone(self.code)
        self.world.server.say(LOBBY, "still here")
        self.world.settle()
        self.assertEqual(self.writer.lines, ["bob: still here"])

    def test_a_refused_message_makes_the_exit_code_1(self) -> None:
        self.start()
        self.world.server.refuse[m.Send] = ("muted", 0)
        self.feed(b"hello\n", b"")
        self.assertEqual(self.code, 1)
        self.assertIn("not sent to +lobby: no", self.status)

    def test_commands_answers_in_plain_words(self) -> None:
        self.start()
        for line in ("/who", "/whois bob", "/rooms", "/help who", "/topic"):
            self.pipe._commands.do(line)
        self.world.settle()
        told = "\n".join(self.status)
        for words in ("in +lobby: alice, guest-1 (classic)", "key SHA256:x", "+lobby: 1 here", "who is here"):
            self.assertIn(words, told)


def self_item(number: int) -> Item:
    text = {1: b"one", 2: b"two", 3: b"three"}[number]
    return Item(number.to_bytes(16, "big"), LOBBY, "text", text)


class Positions(PipeTestCase):
    def test_the_next_run_goes_on_where_the_last_one_ended(self) -> None:
        self.world.server.say(LOBBY, "before")
        self.start()
        self.feed(b"")
        self.assertEqual(self.writer.lines, [])
        self.world.server.say(LOBBY, "missed")
        self.restart()
        self.feed(b"")
        self.assertEqual(self.writer.lines, ["bob: missed"])
        self.assertEqual(self.code, 0)
        self.restart()
        self.feed(b"")
        self.assertEqual(self.writer.lines, [])

    def test_history_on_demand(self) -> None:
        for number in range(5):
            self.world.server.say(LOBBY, str(number))
        self.start(history=2)
        self.feed(b"")
        self.assertEqual(self.writer.lines, ["bob: 3", "bob: 4"])
        self.restart(history=3)
        self.assertEqual(self.writer.lines, ["bob: 2", "bob: 3", "bob: 4"])

    def test_what_was_not_written_is_shown_again(self) -> None:
        self.start()
        self.world.server.say(LOBBY, "one")
        self.world.later(1)
        self.writer.stuck = True
        self.world.server.say(LOBBY, "two")
        self.world.later(1)
        self.restart()
        self.assertEqual(self.writer.lines, ["bob: two"])

    def test_it_waits_for_everything_from_before(self) -> None:
        self.start()
        self.feed(b"")
        self.world.server.say(LOBBY, "missed")
        self.world.link.abort()
        self.world.settle()
        self.world.chat.stop()
        self.world.new_run()
        self.world.clock.advance(0)
        room = self.world.server.room(LOBBY)
        frames, room.frames = room.frames, []
        self.start()
        self.feed(b"")
        self.assertIsNone(self.code)
        room.frames = frames
        self.world.transport.deliver(frames[-1])
        self.world.settle()
        self.assertEqual(self.code, 0)

    def test_a_log_in_memory_is_another_one_after_a_restart(self) -> None:
        self.world.server.log = PASSING_LOG + b"M" * 8
        self.start()
        self.feed(b"")
        self.world.server.log = PASSING_LOG + b"N" * 8
        self.world.server.rooms.clear()
        self.restart()
        told = "connected as alice; the server keeps its log in memory only, and has begun a new one"
        self.assertIn(told, self.status)
        self.restart()
        self.assertIn("connected as alice", self.status)

    def test_another_log_is_refused_until_it_is_accepted(self) -> None:
        self.start()
        self.feed(b"")
        for log in (b"N" * 16, PASSING_LOG + b"N" * 8):
            self.world.server.log = log
            self.restart()
            self.assertIsInstance(self.world.failure, OtherLog)
            self.assertEqual(self.world.failure.exit_code, 76)
            self.assertIn("--accept-log", str(self.world.failure))
            self.assertNotIn(LOBBY, self.world.transport.link.inside)
            self.done.cancel()
        self.world.accept_log = True
        self.restart()
        self.assertIsNone(self.world.failure)
        self.done.cancel()
        self.world.accept_log = False
        self.restart()
        self.assertIsNone(self.world.failure)

    def test_a_log_that_went_back_is_refused_until_it_is_accepted(self) -> None:
        self.world.server.say(LOBBY, "one")
        self.start(history=5)
        self.feed(b"")
        self.world.server.rooms.clear()
        self.restart()
        assert self.world.failure is not None
        self.assertEqual(self.world.failure.exit_code, 76)
        self.assertIn("--accept-log", str(self.world.failure))
        self.done.cancel()
        self.world.accept_log = True
        self.restart()
        self.assertIsNone(self.world.failure)


class Outages(PipeTestCase):
    def test_lines_outlive_the_process(self) -> None:
        self.start()
        self.world.transport.link.name = ""
        self.world.server.refuse[m.Send] = ("storage-unavailable", 1000)
        self.feed(b"one\ntwo\n")
        self.world.server.refuse.clear()
        self.restart()
        self.assertEqual(self.world.waiting, 2)
        self.feed(b"")
        self.assertEqual(self.said, ["one", "two"])
        self.assertEqual(self.code, 0)
        self.restart()
        self.assertEqual(self.world.waiting, 0)

    def test_lines_that_were_stored_but_not_acknowledged_are_not_doubled(self) -> None:
        self.start()
        self.world.transport.paused = True
        self.feed(b"one\n")
        self.assertEqual(self.said, ["one"])
        self.restart()
        self.feed(b"")
        self.assertEqual(self.said, ["one"])
        self.assertEqual(self.code, 0)

    def test_it_comes_back_and_goes_on(self) -> None:
        self.start()
        self.world.cut()
        self.feed(b"typed meanwhile\n")
        self.world.later(2)
        self.feed(b"")
        self.assertEqual(self.said, ["typed meanwhile"])
        self.assertEqual(self.code, 0)
        self.assertTrue(any("Trying again in 0.5 s" in words for words in self.status))
        self.assertIn("back in +lobby", self.status)

    def test_the_motd_is_told_once(self) -> None:
        self.world.server.motd = "be kind"
        self.start()
        self.world.cut()
        self.world.later(2)
        self.assertEqual(self.status.count("be kind"), 1)

    def test_a_room_that_cannot_be_joined(self) -> None:
        self.world.server.refuse[m.Join] = ("banned", 0)
        self.start()
        assert isinstance(self.error, CannotJoin)
        self.assertEqual(self.error.exit_code, 77)

    def test_being_put_out(self) -> None:
        self.start()
        self.world.transport.link.answer(m.Removed(LOBBY, "kicked", "bob put you out of +lobby."))
        self.world.settle()
        assert isinstance(self.error, CannotJoin)
        self.assertIn("bob put you out", str(self.error))

    def test_a_server_that_cannot_store_for_too_long(self) -> None:
        self.start()
        self.world.server.refuse[m.Send] = ("storage-unavailable", 2000)
        self.feed(b"hello\n", b"")
        self.world.later(PATIENCE - 4)
        self.assertIsNone(self.error)
        self.world.later(8)
        assert isinstance(self.error, NotStored)
        self.assertEqual(self.error.exit_code, 1)
        self.world.chat.stop()
        self.assertEqual(len(self.world.store.outbox(str(HERE), 0)), 1)

    def test_a_server_that_stores_again_in_time(self) -> None:
        self.start()
        for _ in range(3):
            self.world.server.refuse[m.Send] = ("storage-unavailable", 2000)
            self.feed(b"hello\n")
            self.world.later(PATIENCE / 2)
            self.world.server.refuse.clear()
            self.world.later(5)
        self.feed(b"")
        self.assertEqual(self.code, 0)

    def test_a_store_that_fails(self) -> None:
        self.start()
        self.world.store._database.connection.execute("PRAGMA query_only = ON")
        self.feed(b"hello\n")
        assert isinstance(self.error, StoreFailed)
        self.assertEqual(self.error.exit_code, 1)
        self.assertEqual(self.said, [])

    def test_a_store_that_fails_later_is_told_only(self) -> None:
        self.start()
        self.feed(b"hello\n")
        self.world.store._database.connection.execute("PRAGMA query_only = ON")
        self.world.later(1)
        for number in range(5):  # each would be told for as long as the disk is full
            self.world.server.say(LOBBY, str(number))
            self.world.later(1)
        self.assertEqual(sum("cannot be written" in words for words in self.status), 1)
        self.assertIsNone(self.error)
        self.assertEqual(self.kept(), None)
        self.world.store._database.connection.execute("PRAGMA query_only = OFF")
        self.world.server.say(LOBBY, "there is room again")
        self.world.later(1)
        self.assertEqual(self.world.chat._keeping.waiting(), [])
        self.assertEqual(self.kept(), 7)

    def kept(self) -> int | None:
        """How far the next run would go on."""
        keeping = self.world.chat._keeping
        found = keeping.recall(keeping.log, LOBBY)
        return None if found is None else found.seq

    def test_a_store_that_fails_at_the_welcome(self) -> None:
        self.world.server.log = PASSING_LOG + b"M" * 8
        self.start()
        self.world.store._database.connection.execute("PRAGMA query_only = ON")
        self.world.server.log = PASSING_LOG + b"N" * 8
        self.world.server.rooms.clear()
        self.world.cut()
        self.world.later(2)
        self.assertTrue(any("cannot be written" in words for words in self.status))
        self.assertTrue(self.world.chat.session.admitted)


class SlowAndBrokenOutput(PipeTestCase):
    def test_a_full_output_makes_the_server_wait(self) -> None:
        self.start()
        self.writer.full = True
        self.world.server.say(LOBBY, "one")
        self.world.settle()
        self.assertTrue(self.world.transport.paused)
        self.writer.full = False
        self.writer.flow()
        self.assertFalse(self.world.transport.paused)

    def test_a_broken_output_ends_it(self) -> None:
        self.start()
        self.world.server.say(LOBBY, "one")
        self.world.settle()
        self.writer.broken = True
        self.writer.changed()
        self.writer.changed()
        self.world.settle()
        self.assertEqual(self.code, 1)

    def test_what_nobody_reads_is_shown_again(self) -> None:
        self.start()
        self.world.later(1)
        self.writer.broken = True
        self.world.server.say(LOBBY, "one")
        self.world.settle()
        self.restart()
        self.assertEqual(self.writer.lines, ["bob: one"])


class Json(PipeTestCase):
    def start(self, **manner: Any) -> None:  # type: ignore[override]  # always with json
        super().start(json=True, **manner)

    def out(self, event: str | None = None) -> list[dict[str, Any]]:
        found = [json.loads(line) for line in self.writer.lines]
        return [x for x in found if event is None or x["event"] == event]

    def test_every_line_has_version_and_event(self) -> None:
        self.start()
        self.feed(b'{"text": "hello", "ref": "a"}\n', b"")
        self.assertEqual(
            [x["event"] for x in self.out()], ["admitted", "joined", "caught-up", "message", "sent"]
        )
        self.assertEqual({x["v"] for x in self.out()}, {1})
        self.assertEqual(self.code, 0)

    def test_messages(self) -> None:
        self.start()
        self.world.server.append(LOBBY, "bob", "me", b"m" * 16, "w\x1bäves\n2".encode())
        self.feed(b'"mine"\n')
        theirs, mine = self.out("message")
        self.assertEqual(
            theirs,
            {
                "v": 1,
                "event": "message",
                "room": LOBBY,
                "seq": 1,
                "time": 1_700_000_000_001,
                "from": "bob",
                "device": "",
                "kind": "me",
                "text": "wäves\n2",
                "msgid": "6d" * 16,
                "own": False,
                "old": False,
            },
        )
        self.assertEqual((mine["text"], mine["own"]), ("mine", True))
        self.assertTrue(self.writer.data.isascii())

    def test_a_msgid_of_the_caller_makes_sending_again_safe(self) -> None:
        line = b'{"text": "once", "msgid": "' + b"ab" * 16 + b'", "ref": 7}\n'
        self.start()
        self.feed(line)
        self.restart()
        self.feed(line, b"")
        self.assertEqual(self.said, ["once"])
        (sent,) = self.out("sent")
        self.assertEqual((sent["seq"], sent["msgid"], sent["ref"]), (1, "ab" * 16, 7))

    def test_other_rooms_and_kinds(self) -> None:
        self.start()
        self.feed(b'{"command": "/join ops"}\n', b'{"room": "+ops", "text": "waves", "kind": "me"}\n')
        (entry,) = self.out("message")
        self.assertEqual((entry["room"], entry["kind"]), ("+ops", "me"))
        self.feed(b'{"room": "+other", "text": "x", "ref": 1}\n')
        (error,) = self.out("error")
        self.assertEqual((error["line"], error["ref"], error["code"]), (3, 1, "usage"))

    def test_a_command_is_done_in_the_room_that_its_line_names(self) -> None:
        self.start()
        self.feed(b'{"command": "/join ops"}\n', b'{"command": "/topic tea", "room": "ops", "ref": "t"}\n')
        self.assertEqual([(x["room"], x["text"]) for x in self.out("message")], [("+ops", "tea")])
        self.assertEqual([sent["ref"] for sent in self.out("sent")], ["t"])
        self.feed(b'{"command": "/topic cake"}\n', b'{"command": "/kick bob", "room": "+nope", "ref": 2}\n')
        self.assertEqual([(x["room"], x["text"]) for x in self.out("message")][1:], [(LOBBY, "cake")])
        (error,) = self.out("error")
        self.assertEqual((error["ref"], error["code"]), (2, "usage"))
        self.feed(b'{"command": "/go lobby", "room": "+ops"}\n', b'{"text": "here"}\n')
        self.assertEqual(self.said[-1], "here")

    def test_answers_say_which_line_they_answer(self) -> None:
        self.start()
        asked = ("/who", "/rooms", "/whois bob", "/history 5", "/search tea")
        self.feed(*(b'{"command": "%b", "ref": "%b"}\n' % (x.encode(), x.encode()) for x in asked))
        self.feed(b'{"command": "/who"}\n')
        told = {}
        for event in ("members", "rooms", "profile", "history", "found"):
            first, *more = self.out(event)
            told[first["ref"]] = event
            self.assertFalse([x for x in more if "ref" in x])
        self.assertEqual(list(told), list(asked))
        self.world.server.refuse[m.Kick] = ("not-allowed", 0)
        self.feed(b'{"command": "/kick bob", "ref": 1}\n', b'{"command": "/kick bob", "ref": 2}\n')
        self.assertEqual([error["ref"] for error in self.out("error")], [1, 2])

    def test_bad_lines_are_told_and_change_nothing(self) -> None:
        bad = [
            b"nonsense",
            b"{}",
            b"[]",
            b'{"text": 5}',
            b'{"text": "x", "command": "/who"}',
            b'{"text": "x", "kind": "topic"}',
            b'{"text": "x", "msgid": "zz"}',
            b'{"text": "x", "msgid": "' + b" a" * 16 + b'"}',
            b'{"text": "x", "room": "+a/b"}',
            b'{"text": "x", "unknown": 1}',
            b'{"command": "/nonsense"}',
            b'{"command": "join"}',
            b'"\xff"',
            b"[" * 5000,
            b'"' + b"x" * (MAX_JSON + 5) + b'"',
        ]
        self.start()
        self.feed(b"\n".join(bad) + b"\n\n  \n", b'{"text": "fine"}\n', b"")
        errors = self.out("error")
        self.assertEqual([error["line"] for error in errors], list(range(1, len(bad) + 1)))
        self.assertEqual(self.said, ["fine"])
        self.assertEqual(self.code, 0)

    def test_a_text_in_parts_cannot_have_one_msgid(self) -> None:
        self.world.server.limits = m.Limits(rate=0, body=256)
        self.start()
        long = b"x" * 300
        self.feed(b'{"text": "' + long + b'", "msgid": "' + b"ab" * 16 + b'"}\n')
        self.assertEqual(len(self.out("error")), 1)
        self.feed(b'{"text": "' + long + b'", "ref": 5}\n')
        self.assertEqual([sent["ref"] for sent in self.out("sent")], [5, 5])

    def test_an_empty_text_is_nothing(self) -> None:
        self.start()
        self.feed(b'{"text": ""}\n', b"")
        self.assertEqual(self.said, [])
        self.assertEqual(self.code, 0)

    def test_commands(self) -> None:
        self.world.server.say(LOBBY, "old")
        self.start()
        for command in ("/who", "rooms", "/whois bob", "/help", "/history 5", "/me waves", "/topic tea"):
            self.feed(json.dumps({"command": command}).encode() + b"\n")
        events = {x["event"] for x in self.out()}
        self.assertLessEqual({"members", "rooms", "profile", "notice", "history", "message", "sent"}, events)
        (history,) = self.out("history")
        self.assertEqual(history["entries"][0]["text"], "old")

    def test_quitting_by_command(self) -> None:
        self.start(follow=True)
        self.feed(b'{"text": "bye"}\n{"command": "/quit"}\n')
        self.assertEqual(self.said, ["bye"])
        self.assertEqual(self.code, 0)

    def test_refused(self) -> None:
        self.start()
        self.world.server.refuse[m.Send] = ("muted", 0)
        self.feed(b'{"text": "x", "ref": 1}\n', b"")
        (refused,) = self.out("not-sent")
        self.assertEqual((refused["code"], refused["text"], refused["ref"]), ("muted", "no", 1))
        self.assertEqual(self.code, 1)

    def test_everything_else_that_happens(self) -> None:
        self.world.server.log = PASSING_LOG + b"M" * 8
        self.start()
        self.world.server.refuse[m.Join] = ("no-such-room", 0)
        self.world.server.refuse[m.Whois] = ("no-such-name", 0)
        self.world.server.refuse[m.Send] = ("rate-limited", 500)
        self.feed(b'{"command": "/join ops"}\n{"command": "/whois x"}\n"x"\n')
        self.world.transport.link.answer(
            m.Presence(LOBBY, "zoe", True),
            m.Typing(LOBBY, "zoe"),
            m.Invited("+ops", "zoe"),
            m.Notice("tea"),
            m.Page(0, LOBBY, m.Position(4, b"x" * 32), (), True),
            m.Error(0, "strange", "what?"),
            m.Closing("down"),
        )
        self.world.settle()
        self.world.server.refuse.clear()
        self.world.server.rooms.clear()
        self.world.server.log = PASSING_LOG + b"N" * 8
        self.world.cut()
        self.world.later(2)
        self.feed(b'{"command": "/part"}\n')
        expected = "not-joined error waiting presence typing invited announced lost link sent left"
        events = {x["event"] for x in self.out()}
        self.assertLessEqual(set(expected.split()), events, set(expected.split()) - events)
        self.assertEqual([x["state"] for x in self.out("link")], ["closing", "lost"])

    def test_ignored_people_are_not_told(self) -> None:
        self.start()
        self.feed(b'{"command": "/ignore bob"}\n')
        self.world.server.say(LOBBY, "hi")
        self.world.transport.link.answer(m.Presence(LOBBY, "BOB", False), m.Typing(LOBBY, "bob"))
        self.world.transport.link.answer(m.Presence(LOBBY, "b b", True))
        self.world.settle()
        self.assertEqual(self.out("message"), [])
        self.assertEqual([x["name"] for x in self.out("presence")], ["b b"])
        self.restart()
        self.world.server.say(LOBBY, "hi again")
        self.world.settle()
        self.assertEqual(self.out("message"), [])


class Send(TestCase):
    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()), lane=None)
        self.addCleanup(self.world.store.close)
        self.status: list[str] = []

    def start(self, text: str = "hello") -> None:
        sending = Sending(self.world.clock, self.world.chat, LOBBY, text, self.status.append)
        self.world.start(sending)
        self.done = Deferred.fromCoroutine(sending.run())
        self.world.settle()

    def test_ends_once_it_is_stored(self) -> None:
        self.start()
        self.assertEqual(self.successResultOf(self.done), 0)
        self.assertEqual(decode(self.world.server.room(LOBBY).frames[0]), "hello")
        self.assertEqual(self.status, [])

    def test_leaves_nothing_behind(self) -> None:
        self.world.server.say(LOBBY, "unread")
        self.start()
        self.world.chat.stop()
        self.assertIsNone(self.world.store.position(self.world.chat._keeping.server, b"L" * 16, LOBBY))
        self.assertEqual(self.world.store.outbox(str(HERE), 0), [])

    def test_not_before(self) -> None:
        self.world.server.refuse[m.Send] = ("storage-unavailable", 1000)
        self.start()
        self.assertNoResult(self.done)
        self.world.later(10)
        self.assertNoResult(self.done)
        self.world.server.refuse.clear()
        self.world.later(2)
        self.assertEqual(self.successResultOf(self.done), 0)

    def test_not_for_ever(self) -> None:
        self.world.server.refuse[m.Send] = ("storage-unavailable", 1000)
        self.start()
        self.world.later(PATIENCE + 5)
        self.assertEqual(self.failureResultOf(self.done, SendNotStored).value.exit_code, 1)

    def test_a_refusal(self) -> None:
        self.world.server.refuse[m.Send] = ("muted", 0)
        self.start()
        self.assertEqual(self.failureResultOf(self.done, Unwanted).value.exit_code, 77)

    def test_no_such_room(self) -> None:
        self.world.server.refuse[m.Join] = ("no-such-room", 0)
        self.start()
        self.failureResultOf(self.done, CannotJoin)

    def test_across_a_lost_connection(self) -> None:
        self.world.server.refuse[m.Send] = ("storage-unavailable", 1000)
        self.start()
        self.world.server.refuse.clear()
        self.world.transport.link.answer(m.Error(0, "odd", "what?"))
        self.world.settle()
        self.world.cut()
        self.world.later(3)
        self.assertEqual(self.successResultOf(self.done), 0)
        self.assertEqual(len(self.status), 2)

    def test_a_long_text_and_a_strange_one(self) -> None:
        self.world.server.limits = m.Limits(body=256)
        self.start("€" * 200 + "\udcff")
        self.assertEqual(self.successResultOf(self.done), 0)
        said = "".join(decode(frame) for frame in self.world.server.room(LOBBY).frames)
        self.assertEqual(said, "€" * 200 + "?")
