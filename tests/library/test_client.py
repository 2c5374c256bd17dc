"""The library over a fake server in memory: rooms, sends, answers, bounds, ends."""

from __future__ import annotations

import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client import NotJoined, NotSent, PutOut, RequestRefused, Room, connect
from encchat.client import events as e
from encchat.client.network.link import Patience
from encchat.client.protocol.roomcopy import LogMismatch
from encchat.contents import Reply
from encchat.errors import LinkError
from encchat.library import driving
from encchat.library import room as room_module
from encchat.library.client import Over
from encchat.library.driving import NoReactor, find_reactor
from encchat.library.held import EVENTS, PARTS
from encchat.library.pending import Pending
from encchat.library.room import NotIn, ReadTwice, TooLong
from encchat.wire import encode
from tests.client.world import World
from tests.process.harness import reserve

LOBBY = "+lobby"
T = TypeVar("T")


class LibraryTestCase(TestCase):
    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()), patience=Patience())
        self.addCleanup(self.world.store.close)
        self.start()

    def start(self) -> None:
        """A client, as ``connect`` makes it, in the world's memory."""
        self.client = connect("chat.example:9999", name="alice", reactor=self.world.clock)
        self.client.chat, self.client._link = self.world.chat, self.world.link
        self.client._pending = Pending(self.world.clock)
        self.running = self.world.start(self.client)
        self.running.addCallback(lambda _: self.client._failed(Failure(self.world.failure or Over())))
        self.world.settle()

    def begin(self, work: Coroutine[Any, Any, T]) -> Deferred[T]:
        """Begin something, and see how far it comes."""
        result = Deferred.fromCoroutine(work)
        self.world.settle()
        return result

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something to its end."""
        return self.successResultOf(self.begin(work))

    def fails(self, work: Coroutine[Any, Any, object], kind: type[Exception]) -> Exception:
        error = self.failureResultOf(self.begin(work), kind).value
        assert isinstance(error, Exception)
        return error

    def join(self, history: int | None = None) -> Room:
        return self.do(self.client.join(LOBBY, history))

    def say(self, *texts: str, room: str = LOBBY) -> None:
        for text in texts:
            self.world.server.say(room, text)
        self.world.settle()

    def next(self, room: Room) -> str:
        return self.do(room.__anext__()).text

    def take(self, room: Room, count: int) -> list[str]:
        return [self.next(room) for _ in range(count)]


class Rooms(LibraryTestCase):
    def test_entries_in_order_from_now_on(self) -> None:
        self.say("old")
        room = self.join()
        waiting = self.begin(room.__anext__())
        self.assertNoResult(waiting)
        self.say("one", "two")
        heard = self.successResultOf(waiting)
        self.assertEqual(
            (heard.text, heard.sender, heard.seq, heard.own, heard.old), ("one", "bob", 2, False, False)
        )
        self.assertEqual((heard.room, heard.kind, heard.is_talk, heard.content), (LOBBY, "text", True, None))
        self.assertEqual(self.next(room), "two")

    def test_history(self) -> None:
        self.say(*"abcde")
        room = self.join(history=3)
        self.assertEqual(self.take(room, 3), ["c", "d", "e"])

    def test_the_next_run_goes_on_behind_what_was_handled(self) -> None:
        room = self.join()
        self.say(*"abc")
        self.assertEqual(self.take(room, 2), ["a", "b"])  # b is in hand, and not known to be handled
        self.world.link.abort()
        self.world.settle()
        self.world.chat.stop()
        self.world.new_run()
        self.start()
        self.assertEqual(self.take(self.join(), 2), ["b", "c"])

    def test_topic_and_members(self) -> None:
        room = self.join()
        self.assertEqual([member.name for member in room.members], ["alice", "bob"])
        self.assertEqual(room.topic, "")
        self.assertIs(self.join(), room)

    def test_what_steers_a_terminal_is_not_in_a_text(self) -> None:
        room = self.join()
        self.say("\x1b[31mred\x07")
        self.assertEqual(self.next(room), "red")

    def test_typed_contents(self) -> None:
        room = self.join()
        self.say("question")
        self.world.server.append(LOBBY, "bob", "reply", b"r" * 16, b'{"target":1,"text":"yes"}')
        self.world.server.append(LOBBY, "bob", "reply", b"s" * 16, b"nonsense")
        self.world.server.append(LOBBY, "bob", "kick", b"k" * 16, b'{"name":"carol"}')
        self.world.settle()
        _, reply, nonsense, kick = [self.do(room.__anext__()) for _ in range(4)]
        self.assertEqual((reply.content, reply.text), (Reply(target=1, text="yes"), "yes"))
        self.assertIsNone(nonsense.content)
        self.assertIn("carol", kick.text)
        self.assertEqual((reply.is_talk, kick.is_talk), (True, False))

    def test_not_let_in(self) -> None:
        self.world.server.refuse[m.Join] = ("not-invited", 0)
        self.fails(self.client.join(LOBBY), NotJoined)

    def test_put_out(self) -> None:
        room = self.join()
        self.say("last")
        self.world.server.links[0].answer(m.Removed(LOBBY, "kicked", "You were put out."))
        self.world.settle()
        self.assertEqual(self.next(room), "last")
        self.assertIn("You were put out", str(self.fails(room.__anext__(), PutOut)))
        self.fails(room.send("hello"), NotIn)
        self.assertIsNot(self.join(), room)

    def test_leaving(self) -> None:
        room = self.join()
        waiting = self.begin(room.__anext__())
        self.do(room.part())
        self.failureResultOf(waiting, StopAsyncIteration)
        self.fails(room.send("x"), NotIn)
        self.fails(room.history(), NotIn)
        self.do(room.part())

    def test_one_reader(self) -> None:
        room = self.join()
        first = self.begin(room.__anext__())
        self.fails(room.__anext__(), ReadTwice)
        self.say("x")
        self.assertEqual(self.successResultOf(first).text, "x")

    def test_cancelling_whoever_reads(self) -> None:
        room = self.join()
        waiting = self.begin(room.__anext__())
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        self.say("x")
        self.assertEqual(self.next(room), "x")


class Sending(LibraryTestCase):
    def test_returns_what_the_server_says(self) -> None:
        self.say("first")
        room = self.join()
        self.assertEqual(self.do(room.send("hello")), 2)
        self.assertEqual(self.do(room.send(Reply(target=1, text="yes"))), 3)
        heard = [self.do(room.__anext__()) for _ in range(2)]
        self.assertEqual(
            [(one.text, one.kind, one.own) for one in heard],
            [("hello", "text", True), ("yes", "reply", True)],
        )

    def test_refused(self) -> None:
        room = self.join()
        self.world.server.refuse[m.Send] = ("muted", 0)
        self.fails(room.send("hello"), NotSent)
        self.assertEqual(self.world.chat.unacknowledged, 0)

    def test_too_long(self) -> None:
        room = self.join()
        self.fails(room.send("x" * (m.MAX_BODY + 1)), TooLong)

    def test_across_a_lost_connection(self) -> None:
        room = self.join()
        self.world.transport.paused = True
        sending = self.begin(room.send("hello"))
        self.assertNoResult(sending)
        self.world.cut()
        self.world.later(5)
        self.assertEqual(self.successResultOf(sending), 1)
        self.assertEqual(len(self.world.server.room(LOBBY).frames), 1)

    def test_cancelled_it_is_sent_nevertheless(self) -> None:
        room = self.join()
        self.world.transport.paused = True
        sending = self.begin(room.send("hello"))
        sending.cancel()
        self.failureResultOf(sending, CancelledError)
        self.world.transport.paused = False
        self.world.settle()
        self.assertEqual(self.next(room), "hello")
        self.assertEqual(len(self.client._pending), 0)


class Bounded(LibraryTestCase):
    """Whoever does not iterate costs a bound, and misses nothing."""

    def test_what_nobody_iterates_over_is_read_again(self) -> None:
        self.patch(room_module, "QUEUE", 10)
        self.patch(room_module, "PAGE", 7)
        room = self.join()
        self.say(*(f"{number}" for number in range(100)))
        self.assertLessEqual(room.waiting, 10)
        self.assertEqual(self.take(room, 100), [f"{number}" for number in range(100)])
        self.assertNoResult(waiting := self.begin(room.__anext__()))
        self.say("live")
        self.assertEqual(self.successResultOf(waiting).text, "live")

    def test_by_bytes(self) -> None:
        self.patch(room_module, "QUEUE_BYTES", 1000)
        room = self.join()
        self.say(*("x" * 100 for _ in range(50)))
        self.assertEqual(room.waiting, 10)
        self.assertEqual(len(self.take(room, 50)), 50)

    def test_while_more_comes(self) -> None:
        self.patch(room_module, "QUEUE", 5)
        self.patch(room_module, "PAGE", 3)
        room = self.join()
        seen = []
        for number in range(60):
            self.say(f"{2 * number}", f"{2 * number + 1}")
            seen.append(self.next(room))
        seen += self.take(room, 60)
        self.assertEqual(seen, [f"{number}" for number in range(120)])

    def test_sending_inside_of_the_loop(self) -> None:
        """The echo bot: each answer waits for the server, while entries pour in."""
        self.patch(room_module, "QUEUE", 3)
        room = self.join()
        self.say(*(f"{number}" for number in range(20)))
        for number in range(20):
            self.assertEqual(self.next(room), f"{number}")
            self.do(room.send(f"echo {number}"))
        self.assertEqual(self.take(room, 20), [f"echo {number}" for number in range(20)])

    def test_across_a_lost_connection(self) -> None:
        self.patch(room_module, "QUEUE", 3)
        room = self.join()
        self.say(*(f"{number}" for number in range(10)))
        seen = self.take(room, 3)
        self.world.cut()
        reading = self.begin(room.__anext__())
        self.assertNoResult(reading)
        self.world.later(5)
        seen += [self.successResultOf(reading).text, *self.take(room, 6)]
        self.assertEqual(seen, [f"{number}" for number in range(10)])

    def test_a_page_that_is_refused_for_now(self) -> None:
        self.patch(room_module, "QUEUE", 3)
        room = self.join()
        self.say(*(f"{number}" for number in range(5)))
        seen = self.take(room, 3)
        self.world.server.refuse[m.Read] = ("rate-limited", 100)
        reading = self.begin(room.__anext__())
        self.world.later(5)
        self.assertNoResult(reading)
        self.world.server.refuse.clear()
        self.world.later(5)
        self.assertEqual([*seen, self.successResultOf(reading).text, *self.take(room, 1)], list("01234"))

    def test_a_server_that_gives_other_pages_than_it_told(self) -> None:
        self.patch(room_module, "QUEUE", 3)
        room = self.join()
        self.say(*(f"{number}" for number in range(10)))
        self.take(room, 3)
        fake = self.world.server.room(LOBBY)
        for seq in (5, 6):
            entry = m.Entry(LOBBY, seq, 1, "bob", "", "text", bytes(16), b"forged")
            fake.frames[seq - 1] = encode(entry)
        self.fails(room.__anext__(), LogMismatch)

    def test_events_that_nobody_looks_at(self) -> None:
        self.join()
        link = self.world.server.links[0]
        for _ in range(EVENTS + 100):
            link.answer(m.Notice("hear, hear"))
            self.world.settle()
        self.assertEqual(len(self.client._events), EVENTS)

    def test_large_events_that_nobody_looks_at(self) -> None:
        self.join()
        link = self.world.server.links[0]
        crowd = tuple(m.Member(f"name{number}") for number in range(5000))
        for _ in range(30):
            link.answer(m.Members(0, LOBBY, crowd))
            self.world.settle()
        self.assertEqual(len(self.client._events), PARTS // 5001)
        last = self.client._events.take()
        assert isinstance(last, e.RoomMembers)
        self.assertEqual(len(last.members), 5000)

    def test_answers_are_for_whoever_asked(self) -> None:
        room = self.join()
        before = len(self.client._events)
        self.say("one")
        self.do(room.history())
        self.do(self.client.rooms())
        self.world.server.refuse[m.Whois] = ("no-such-name", 0)
        self.fails(self.client.whois("nobody"), RequestRefused)
        self.assertEqual(len(self.client._events), before)


class Asking(LibraryTestCase):
    def test_rooms_and_people(self) -> None:
        self.join()
        self.assertEqual([info.room for info in self.do(self.client.rooms())], [LOBBY])
        self.assertEqual(self.do(self.client.whois("bob")).name, "bob")

    def test_history_and_search(self) -> None:
        room = self.join()
        self.say("coffee", "tea", "coffee again")
        self.assertEqual([entry.seq for entry in self.do(room.history(limit=2)).entries], [2, 3])
        self.assertEqual([entry.seq for entry in self.do(room.search("coffee")).entries], [1, 3])

    def test_an_error(self) -> None:
        self.join()
        self.world.server.refuse[m.Whois] = ("no-such-name", 0)
        error = self.fails(self.client.whois("nobody"), RequestRefused)
        assert isinstance(error, RequestRefused)
        self.assertEqual(error.reason, "no-such-name")

    def test_a_connection_that_is_lost_meanwhile(self) -> None:
        self.join()
        self.world.transport.paused = True
        asking = self.begin(self.client.whois("bob"))
        self.world.cut()
        self.world.settle()
        error = self.failureResultOf(asking, RequestRefused).value
        self.assertEqual(error.reason, "disconnected")

    def test_events(self) -> None:
        events = self.client.events()
        self.assertIsInstance(self.do(events.__anext__()), e.Admitted)
        self.join()
        kinds = [type(self.do(events.__anext__())) for _ in range(2)]
        self.assertEqual(kinds, [e.JoinedRoom, e.CaughtUp])
        waiting = self.begin(events.__anext__())
        self.world.cut()
        self.world.settle()
        self.assertIsInstance(self.successResultOf(waiting), e.LinkLost)


class Ends(LibraryTestCase):
    def test_whoever_waits_hears_why(self) -> None:
        room = self.join()
        self.world.transport.paused = True
        reading, sending = self.begin(room.__anext__()), self.begin(room.send("x"))
        events = self.client.events()
        self.client._events.clear()
        watching = self.begin(events.__anext__())
        self.world.cut(LogMismatch(room=LOBBY, reason="it differs"))
        self.world.settle()
        for waiting in (reading, sending, watching):
            self.failureResultOf(waiting, LogMismatch)
        self.fails(self.client.whois("bob"), LogMismatch)
        self.fails(room.send("x"), NotIn)

    def test_a_clean_end(self) -> None:
        room = self.join()
        self.say("last")
        self.client._ended(Over())
        self.world.settle()
        self.assertEqual(self.next(room), "last")
        self.failureResultOf(self.begin(room.__anext__()), StopAsyncIteration)
        self.fails(self.client.join("+ops"), Over)


class Reactors(TestCase):
    def test_where_none_is(self) -> None:
        modules = {name: module for name, module in sys.modules.items() if name != "twisted.internet.reactor"}
        self.patch(driving.sys, "modules", modules)
        self.assertRaises(NoReactor, find_reactor)

    async def test_inside(self) -> None:
        from twisted.internet import reactor

        await deferLater(reactor, 0)  # type: ignore[arg-type]  # it is a module to the checker
        self.assertIs(find_reactor(), reactor)

    async def test_nobody_there(self) -> None:
        """A real attempt."""
        client = connect(
            f"127.0.0.1:{reserve(self)}", name="alice", state=self.mktemp(), cipher="tls:trust=pin"
        )
        with self.assertRaises(LinkError):
            async with client:
                self.fail("let in by nobody")
        await client.close()
