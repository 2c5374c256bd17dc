"""Several clients of one profile: one has the keys, and says what the others have to say."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IReactorUNIX
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from encchat import messages as m
from encchat.client import events as e
from encchat.client.pipe.pipe import CannotJoin, Manner, Pipe
from encchat.client.pipe.sealedextract import FollowedThere, SealedExtract
from encchat.client.pipe.sending import Sending, Unwanted
from encchat.client.pipe.span import Span
from encchat.client.protocol.outbox import Item
from encchat.client.sealed import beside, doorway
from encchat.client.sealed.beside import Beside
from encchat.client.sealed.doorway import Answer, Ask, Doorway
from encchat.core.sealed import events as fx
from tests.client.sealed import town
from tests.client.sealed.town import TALK, Person, TownCase
from tests.client.world import FakeReader, FakeWriter

ROOM = "#tea"


class End:
    """One end of a socket in memory."""

    disconnecting = False

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.protocol: Any = None
        self.other: Any = None
        self.open = True

    def write(self, data: bytes) -> None:
        self.clock.callLater(0, self.other.receive, data)

    def writeSequence(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def receive(self, data: bytes) -> None:
        if self.open:
            self.protocol.dataReceived(data)

    def loseConnection(self) -> None:
        for end in (self, self.other):
            if end.open:
                end.open = False
                self.clock.callLater(0, end.protocol.connectionLost, Failure(ConnectionDone()))


@implementer(IReactorUNIX)
class Sockets(Clock):
    """A clock with sockets in memory."""

    def __init__(self) -> None:
        super().__init__()
        self.listening: dict[str, Any] = {}

    def listenUNIX(self, address: str, factory: Any, backlog: int = 50, mode: int = 0o666, **_: Any) -> Any:
        assert mode == 0o600
        self.listening[address] = factory
        return self._port(address)

    def _port(self, address: str) -> Any:
        class Port:
            def stopListening(_) -> None:  # noqa: N805 -- the outer self is meant below
                self.listening.pop(address, None)

        return Port()

    def connectUNIX(self, address: str, factory: Any, timeout: int = 30, **_: Any) -> None:
        self.callLater(0, self._connect, address, factory)

    def _connect(self, address: str, factory: Any) -> None:
        if address not in self.listening:
            factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
            return
        ends = End(self), End(self)
        for end, other, side in ((ends[0], ends[1], self.listening[address]), (ends[1], ends[0], factory)):
            end.other, end.protocol = other, side.buildProtocol(None)
        for end in ends:
            end.protocol.makeConnection(end)


class SharingCase(TownCase):
    """Alice has a terminal; a script runs beside it."""

    def setUp(self) -> None:
        self.patch(town, "Clock", Sockets)
        for module in (doorway, beside):
            self.patch(module, "MAX_PATH", 10_000)
        self.patch(town.Person, "end", _ended(town.Person.end))
        super().setUp()
        self.alice, self.bob = self.person("alice"), self.person("bob")
        self.alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        self.alice.say(ROOM, "one")
        self.script = self.person("alice", lane=1, by_itself=False)
        self.status: list[str] = []

    def run_(self, console: Any) -> Deferred[int]:
        self.script.chat._console = console
        work: Deferred[int] = Deferred.fromCoroutine(console.run())
        self.town.later(5)
        return work

    def sending(self, room: str, text: str) -> Deferred[int]:
        return self.run_(Sending(self.town.clock, self.script.chat, room, text, self.status.append))

    def pipe(self, **manner: Any) -> tuple[Pipe, FakeReader]:
        reader = FakeReader()
        pipe = Pipe(
            self.town.clock,
            self.script.chat,
            Manner(ROOM, **manner),
            reader,  # type: ignore[arg-type]  # a stub
            FakeWriter,  # type: ignore[arg-type]  # a stub
            self.status.append,
        )
        return pipe, reader

    def said(self) -> list[str]:
        """What bob read, and alice, too, without anything wrong."""
        for person in (self.alice, self.bob):
            self.assertEqual(person.news(fx.RolledBack) + person.news(fx.Forked), [])
        return self.bob.texts(ROOM)


class Through(SharingCase):
    def test_one_message(self) -> None:
        """It is said by the one that has the keys, and the script hears that it is stored."""
        self.assertFalse(self.script.sealed.available)
        self.assertEqual(self.successResultOf(self.sending(ROOM, "from a script")), 0)
        self.assertEqual(self.said(), ["one", "from a script"])
        shown = self.alice.of(e.NewEntry)[-1]
        self.assertEqual((shown.entry.body, shown.own), (b"from a script", False), "she did not type it")
        self.assertNotIn(shown.entry.msgid, [x.item.msgid for x in self.alice.of(e.Acknowledged)])
        self.assertEqual(str(self.script.listener.warnings).count("another encchat-client"), 1)
        self.alice.say(ROOM, "two")
        self.assertEqual(self.said(), ["one", "from a script", "two"])

    def test_lines_of_a_pipe(self) -> None:
        pipe, reader = self.pipe()
        reader.feed(b"".join(b"line %d\n" % n for n in range(50)), b"")
        self.assertEqual(self.successResultOf(self.run_(pipe)), 0)
        self.assertEqual(self.said(), ["one", *(f"line {n}" for n in range(50))])
        self.assertIn("another encchat-client", str(self.script.listener.warnings) + str(self.status))

    def test_a_conversation_that_begins(self) -> None:
        self.assertEqual(self.successResultOf(self.sending(TALK, "hello bob")), 0)
        self.assertEqual(self.bob.texts(TALK), ["hello bob"])

    def test_a_room_that_one_is_not_in(self) -> None:
        error = self.failureResultOf(self.sending("#oak", "x"), Unwanted).value
        self.assertIn("not in #oak", str(error))

    def test_what_would_have_to_be_read(self) -> None:
        """A pipe that goes on reading is told why it cannot."""
        for manner in ({"follow": True}, {"json": True}):
            pipe, _ = self.pipe(**manner)
            error = self.failureResultOf(self.run_(pipe), CannotJoin).value
            self.assertIn("another encchat-client of this name has their keys", str(error))
            self.script.restart()

    def test_what_was_opened_can_be_read(self) -> None:
        page = self.script.chat.local_history(ROOM)
        self.assertEqual([entry.body for entry in page.entries if entry.kind == "text"], [b"one"])


class Printed(SharingCase):
    """--tail, --since and --until of a sealed room."""

    def extract(self, room: str = ROOM, *, follow: bool = False, **span: Any) -> Deferred[int]:
        def writer(changed: Any) -> Any:
            self.writer = FakeWriter(changed)
            return self.writer

        return self.run_(
            SealedExtract(
                self.town.clock,
                self.script.chat,
                Manner(room, follow=follow),
                Span(**span),
                FakeReader(),  # type: ignore[arg-type]  # a stub
                writer,
                self.status.append,
                self.server_time,
            )
        )

    def server_time(self) -> int:
        """Now, as the server would write it."""
        last = self.bob.of(e.NewEntry)[-1].entry.time
        return int(last + (self.town.clock.seconds() - self.said_at) * 1000)

    def printed(self, room: str = ROOM, **span: Any) -> list[str]:
        self.assertEqual(self.successResultOf(self.extract(room, **span)), 0)
        return list(self.writer.lines)

    def talk(self) -> None:
        for number in range(5):
            self.town.later(60, 30)
            self.bob.say(ROOM, f"bob {number}")
        self.said_at = self.town.clock.seconds()

    def test_beside_the_one_that_has_the_keys(self) -> None:
        """What that one has opened; what comes from now on is shown there alone."""
        self.talk()
        self.assertEqual(self.printed(tail=2), ["bob: bob 3", "bob: bob 4"])
        self.assertEqual(self.printed(tail=0), [])
        self.assertEqual(len(self.printed(tail=100)), 6)
        since = self.bob.of(e.NewEntry)[-2].entry.time
        self.assertEqual(self.printed(since=since), ["bob: bob 3", "bob: bob 4"])
        self.assertEqual(self.printed(until=since), ["alice: one", "bob: bob 0", "bob: bob 1", "bob: bob 2"])
        self.failureResultOf(self.extract(tail=1, follow=True), FollowedThere)

    def test_alone(self) -> None:
        """It reads what is new first; and leaves no trace: the next client shows it as new."""
        self.alice.chat.mark(self.alice.chat.reached([ROOM]))
        self.alice.stop()
        self.talk()
        self.script.restart()
        self.script.chat.joins_by_itself = False
        self.assertTrue(self.script.sealed.available)
        self.assertEqual(self.printed(tail=2), ["bob: bob 3", "bob: bob 4"])
        self.script.stop()
        self.alice.start()
        self.town.later(5)
        self.assertEqual(self.alice.texts(ROOM), [f"bob {number}" for number in range(5)])

    def test_followed(self) -> None:
        """What is said from now on is printed too, until that time has come."""
        self.alice.end()
        self.script.restart()
        self.said_at = self.town.clock.seconds()
        until = self.server_time() + 200_000
        work = self.extract(tail=1, follow=True, until=until)
        self.assertNoResult(work)
        self.bob.say(ROOM, "and now this")
        self.assertEqual(self.writer.lines, ["alice: one", "bob: and now this"])
        self.town.later(250, 10)
        self.assertEqual(self.successResultOf(work), 0)

    def test_a_room_that_was_never_read_here(self) -> None:
        """Somebody spoke to us while no client that reads was there."""
        self.alice.end()
        self.bob.say(self.bob.sealed.conversation("alice"), "are you there?")
        self.script.restart()
        self.script.chat.joins_by_itself = False
        self.assertEqual(self.printed(TALK, tail=5), ["bob: are you there?"])

    def test_a_conversation_that_is_none(self) -> None:
        """Reading begins none."""
        self.alice.end()
        self.script.restart()
        self.failureResultOf(self.extract("@alice&carol", tail=5), CannotJoin)
        self.assertNotIn("@alice&carol", self.script.sealed.rooms())


class History(SharingCase):
    """--history N of a sealed room, in a pipe."""

    def test_what_was_shown_before_and_then_what_is_new(self) -> None:
        self.bob.say(ROOM, "two")
        self.alice.chat.mark(self.alice.chat.reached([ROOM]))
        self.alice.stop()
        self.bob.say(ROOM, "three")
        self.script.restart()
        self.script.chat.joins_by_itself = False
        pipe, reader = self.pipe(history=1)
        reader.feed(b"")
        self.assertEqual(self.successResultOf(self.run_(pipe)), 0)
        self.assertEqual(pipe._writer.lines, ["bob: two", "bob: three"])  # type: ignore[attr-defined]  # a stub


class Gone(SharingCase):
    """The process with the keys ends."""

    def test_its_place_is_taken(self) -> None:
        pipe, reader = self.pipe()
        reader.feed(b"before\n")
        work = self.run_(pipe)
        self.assertEqual(self.said(), ["one", "before"])
        self.alice.end()
        self.town.later(10)
        self.assertTrue(self.script.sealed.available)
        reader.feed(b"after\n", b"")
        self.town.later(10)
        self.assertEqual(self.successResultOf(work), 0)
        self.assertEqual(self.said(), ["one", "before", "after"])

    def test_with_something_on_its_way(self) -> None:
        """Handed over, and killed before it was said; or said, and killed before it told: it is said once."""
        for number, loses in enumerate(("asks", "answers")):
            said = self.said()
            if loses == "asks":
                self.patch(doorway.Doorway, "asked", lambda *_: None)
            else:
                self.patch(doorway.Visitor, "tell", lambda *_: None)
            pipe, reader = self.pipe()
            reader.feed(b"mine %d\n" % number, b"")
            work = self.run_(pipe)
            self.assertNoResult(work)
            self.alice.end()
            self.town.later(15)
            self.assertEqual(self.successResultOf(work), 0)
            self.town.later(5)
            self.assertEqual(self.said(), [*said, f"mine {number}"])
            self.script.end()
            self.alice.start()
            self.script.start()
            self.town.later(10)

    def test_it_does_not_say_anything(self) -> None:
        """Whoever waits is told after two minutes that it is kept, and by whom."""
        self.bob.end()
        self.patch(doorway.Visitor, "tell", lambda *_: None)
        work = self.sending(ROOM, "x")
        self.assertNoResult(work)
        self.town.later(130, 5)
        self.assertIn("keeps it", str(self.failureResultOf(work, Unwanted).value))

    def test_it_does_not_even_listen(self) -> None:
        """Nothing was handed over, so nothing is said later: that is told, too."""
        self.alice.sealed._doorway.close()
        self.town.later(1)
        work = self.sending(ROOM, "x")
        self.town.later(130, 5)
        self.assertIn("it was not sent", str(self.failureResultOf(work, Unwanted).value))
        self.assertEqual(self.said(), ["one"])


class GivingWay(SharingCase):
    """A pipe that only speaks has the keys when a person comes."""

    def setUp(self) -> None:
        super().setUp()
        self.alice.end()
        self.script.end()
        self.script.start()
        self.town.later(5)
        self.assertTrue(self.script.sealed.available)
        pipe, self.reader = self.pipe()
        self.reader.feed(b"first\n")
        self.work = self.run_(pipe)
        self.town.later(5)

    def test_the_person_reads_and_the_pipe_speaks_on(self) -> None:
        self.assertEqual(self.said(), ["one", "first"])
        self.alice.start()
        self.reader.feed(b"second\n")
        self.town.later(10)
        self.assertTrue(self.alice.sealed.available)
        self.assertFalse(self.script.sealed.available)
        self.reader.feed(b"third\n")
        self.town.later(5)
        self.alice.say(ROOM, "hers")
        self.assertEqual(self.said(), ["one", "first", "second", "third", "hers"])
        self.assertEqual(self.alice.texts(ROOM)[-3:], ["second", "third", "hers"])
        self.bob.say(ROOM, "bob's")
        self.assertEqual(self.alice.texts(ROOM)[-1], "bob's")
        self.alice.end()
        self.town.later(10)
        self.reader.feed(b"fourth\n", b"")
        self.town.later(10)
        self.assertEqual(self.successResultOf(self.work), 0)
        self.assertEqual(self.said()[-2:], ["bob's", "fourth"])

    def test_with_something_on_its_way(self) -> None:
        """What was said and is not acknowledged goes over with the keys, once."""
        self.script.bend = lambda message: () if isinstance(message, m.Sent | m.Entry) else (message,)
        self.reader.feed(b"second\n")
        self.town.later(1)
        self.alice.start()
        self.script.bend = lambda message: (message,)
        self.town.later(15)
        self.reader.feed(b"third\n", b"")
        self.town.later(10)
        self.assertEqual(self.successResultOf(self.work), 0)
        self.assertEqual(self.said(), ["one", "first", "second", "third"])
        self.assertTrue(self.alice.sealed.available)

    def test_not_where_somebody_reads(self) -> None:
        """A pipe that prints what is said keeps the keys; the person is told."""
        self.reader.feed(b"")
        self.town.later(5)
        self.script.restart()
        pipe, _ = self.pipe(follow=True)
        work = self.run_(pipe)
        self.alice.start()
        self.town.later(30)
        self.assertTrue(self.script.sealed.available)
        self.assertFalse(self.alice.sealed.available)
        self.assertIn("another encchat-client", str(self.alice.listener.warnings))
        self.assertNoResult(work)


class Real(TestCase):
    """A true socket, for its owner alone."""

    def setUp(self) -> None:
        self.here = Path(tempfile.mkdtemp())  # paths of sockets are short
        self.addCleanup(shutil.rmtree, self.here)

    async def test_there_and_back(self) -> None:
        path = self.here / "door"
        path.write_text("left behind by a process that was killed")
        asked: list[Ask] = []
        answered: list[Answer] = []
        heard: Deferred[None] = Deferred()

        def say(ask: Ask) -> None:
            asked.append(ask)
            door.ended(Answer(ask.msgid, 7, 8))

        def ended(answer: Answer) -> None:
            answered.append(answer)
            heard.callback(None)

        door = Doorway(say, self.fail)
        door.open(reactor, path)
        found = os.stat(path)
        self.assertTrue(stat.S_ISSOCK(found.st_mode))
        self.assertEqual(found.st_mode & 0o777, 0o600)
        other = Beside(reactor, path, ended, lambda: False)  # type: ignore[arg-type]  # a module for mypy
        self.assertTrue(other.is_possible)
        other.say(Item(b"m" * 16, ROOM, "text", b"hello \xff"))
        await heard
        self.assertEqual(asked, [Ask(b"m" * 16, ROOM, "text", b"hello \xff")])
        self.assertEqual(answered, [Answer(b"m" * 16, 7, 8)])
        self.assertEqual(other.pending(), [])
        ends: tuple[Deferred[None], Deferred[None]] = (Deferred(), Deferred())
        self.patch(Beside, "lost", lambda *_: ends[0].callback(None))
        self.patch(Doorway, "left", lambda *_: ends[1].callback(None))
        other.stop()
        await ends[0]
        await ends[1]
        port, door._port = door._port, None
        assert port is not None
        await maybeDeferred(port.stopListening)

    def test_bad_lines(self) -> None:
        """Whatever is no request ends the connection, and says nothing."""
        for line in (
            b"",
            b"{",
            b"[1]",
            b'{"msgid":"","room":"#tea","kind":"text","body":""}',
            b"[" * 100_000,
        ):
            door = Doorway(self.fail, self.fail)
            visitor, transport = door.buildProtocol(None), StringTransport()
            visitor.makeConnection(transport)
            visitor.dataReceived(line + b"\n")
            self.assertTrue(transport.disconnecting, line[:20])

    def test_a_path_that_is_too_long(self) -> None:
        """Then there is no door, and nothing is broken."""
        door = Doorway(self.fail, self.fail)
        door.open(reactor, self.here / ("x" * 120))
        door.close()
        self.assertEqual(list(self.here.iterdir()), [])


def _ended(end: Callable[[Person], None]) -> Callable[[Person], None]:
    """A process that ends takes its sockets along."""

    def ended(person: Person) -> None:
        person.sealed._doorway.close()
        other = person.sealed._beside
        if other is not None:
            other.stop()
        end(person)

    return ended
