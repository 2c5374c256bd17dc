"""What a client knows without a connection: history, search, what is unread; and what it does when it has
one again."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from encchat.client import events as e
from encchat.client.network.link import Patience
from encchat.client.protocol.roomcopy import LogMismatch
from encchat.client.store.keeping import HISTORY
from encchat.messages import PASSING_LOG
from tests.client.world import Listener, World

LOBBY = "+lobby"


class OfflineTestCase(TestCase):
    def setUp(self) -> None:
        self.world = World(Path(self.mktemp()), patience=Patience(True))
        self.addCleanup(self.world.store.close)
        self.start()

    def start(self) -> None:
        self.console = Listener()
        self.world.start(self.console)

    def join(self, history: int = 100) -> None:
        self.world.chat.session.join(LOBBY, history)
        self.world.chat.flush()
        self.world.settle()

    def leave(self) -> None:
        self.world.link.abort()
        self.world.settle()
        self.world.chat.stop()

    def restart(self) -> None:
        """The client ends, and starts again while the server is away."""
        self.leave()
        self.world.refuse_connections(1)
        self.world.new_run()
        self.start()

    def local(self, before: int = 0, limit: int = 100) -> list[str]:
        found = self.world.chat.local_history(LOBBY, before, limit)
        self.assertEqual((found.request, found.room, found.local), (0, LOBBY, True))
        return [entry.body.decode() for entry in found.entries]


class Offline(OfflineTestCase):
    def test_what_was_seen_is_shown_and_searched(self) -> None:
        for number in range(5):
            self.world.server.say(LOBBY, f"message {number}")
        self.join()
        self.world.server.say(LOBBY, "live")
        self.world.settle()
        self.restart()
        self.assertEqual(self.local(limit=2), ["message 4", "live"])
        self.assertEqual(self.local(before=5, limit=2), ["message 2", "message 3"])
        found = self.world.chat.local_search(LOBBY, "MESSAGE 3")
        self.assertEqual([entry.seq for entry in found.entries], [4])
        self.assertTrue(found.local)
        self.assertEqual(self.world.chat.local_rooms(), [LOBBY])
        self.assertEqual(self.world.chat.local_history("+other").entries, ())

    def test_before_any_server_was_met(self) -> None:
        self.assertEqual(self.local(), [])
        self.assertEqual(self.world.chat.local_rooms(), [])

    def test_what_is_typed_is_queued_and_sent_later(self) -> None:
        self.join()
        self.restart()
        self.world.chat.session.join(LOBBY)
        self.world.chat.say(LOBBY, "typed offline")
        self.assertEqual(self.world.chat.unacknowledged, 1)
        self.restart()
        self.assertEqual(self.world.waiting, 1)
        self.world.chat.session.join(LOBBY)
        self.world.later(5)
        self.assertEqual(self.world.chat.unacknowledged, 0)
        self.assertEqual(len(self.world.server.room(LOBBY).frames), 1)

    def test_pages_that_are_proved_are_kept_too(self) -> None:
        for number in range(20):
            self.world.server.say(LOBBY, f"{number}")
        self.join(history=5)
        self.assertEqual(len(self.local()), 5)
        self.world.chat.session.read(LOBBY, before=16, limit=10)
        self.world.chat.flush()
        self.world.settle()
        self.assertEqual(self.local(), [str(number) for number in range(5, 20)])

    def test_pages_that_hang_in_the_air_are_not(self) -> None:
        for number in range(20):
            self.world.server.say(LOBBY, f"{number}")
        self.join(history=5)
        self.world.chat.session.read(LOBBY, before=8, limit=3)
        self.world.chat.flush()
        self.world.settle()
        self.assertEqual(len(self.console.of(e.History)), 1)
        self.assertEqual(self.world.chat.local_history(LOBBY, 16, 100).entries, ())

    def test_a_catch_up_keeps_only_what_is_within_the_bound(self) -> None:
        self.world.chat.set_setting(HISTORY, "10")
        self.restart()
        for number in range(100):
            self.world.server.say(LOBBY, f"{number}")
        self.world.later(5)
        self.join(history=100)
        self.assertEqual(len(self.console.texts), 100)
        self.assertEqual(self.local(), [str(number) for number in range(90, 100)])

    def test_the_person_decides(self) -> None:
        chat = self.world.chat
        self.assertEqual(chat.kept_history, 50_000)
        self.join()
        chat.keep_history(0)
        self.world.server.say(LOBBY, "secret")
        self.world.settle()
        self.assertEqual(self.local(), [])
        chat.keep_history(5)
        self.world.server.say(LOBBY, "hello")
        self.world.settle()
        self.assertEqual(self.local(), ["hello"])
        self.restart()
        self.assertEqual(self.world.chat.kept_history, 5)

    def test_keeping_nothing(self) -> None:
        self.world.chat.set_setting(HISTORY, "0")
        self.restart()
        self.world.later(5)
        self.world.server.say(LOBBY, "secret")
        self.join()
        self.assertEqual(self.console.texts, ["secret"])
        self.assertEqual(self.local(), [])

    def test_a_setting_that_makes_no_sense_is_none(self) -> None:
        for value in ("", "-1", "x", "9" * 30, "٣"):
            self.world.chat.set_setting(HISTORY, value)
            self.world.new_run()
            self.assertEqual(self.world.store.archive.bounds.entries, 50_000)
        self.assertEqual(self.world.chat.setting(HISTORY), "٣")
        self.assertIsNone(self.world.chat.setting("bell"))

    def test_a_damaged_row_is_told_once(self) -> None:
        self.world.server.say(LOBBY, "hello")
        self.join()
        self.world.chat.stop()
        database = self.world.store.archive._database
        assert database is not None
        with database.change() as changing:
            changing.execute("UPDATE blocks SET sealed = x'00'")
        self.assertEqual(self.local(), [])
        self.assertEqual(self.local(), [])
        (warning,) = self.console.warnings
        self.assertIn("entries 1 to 1 of +lobby are damaged", warning)


class AnotherLog(OfflineTestCase):
    """A server that shows, after an offline start, a log that is not the one that was kept."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(5):
            self.world.server.say(LOBBY, f"{number}")
        self.join()
        self.world.chat.mark(self.world.chat.reached([LOBBY]))
        self.restart()
        self.assertEqual(len(self.local()), 5)
        self.world.server.rooms.clear()
        for number in range(9):
            self.world.server.say(LOBBY, f"other {number}")

    def test_is_refused_and_the_kept_one_stays(self) -> None:
        self.world.chat.session.join(LOBBY)
        self.world.later(5)
        self.assertIsInstance(self.world.failure, LogMismatch)
        self.assertEqual(self.local(), ["0", "1", "2", "3", "4"])

    def test_is_refused_also_when_read_anew(self) -> None:
        self.world.chat.session.join(LOBBY, 100, resume=False)
        self.world.later(5)
        self.assertIsInstance(self.world.failure, LogMismatch)
        self.assertEqual(self.local()[-1], "4")

    def test_takes_the_place_of_the_kept_one_when_it_is_accepted(self) -> None:
        self.world.accept_log = True
        self.restart()
        self.world.chat.session.join(LOBBY, 100)
        self.world.later(5)
        self.assertIsNone(self.world.failure)
        self.assertEqual(self.local(), [f"other {number}" for number in range(9)])

    def test_under_another_name_is_kept_apart(self) -> None:
        self.world.server.log = PASSING_LOG + b"M" * 8
        self.world.accept_log = True
        self.restart()
        self.world.chat.session.join(LOBBY, 100)
        self.world.later(5)
        self.assertIsNone(self.world.failure)
        self.assertEqual(self.local(), [f"other {number}" for number in range(9)])


class Unread(OfflineTestCase):
    def test_counts_what_came_and_was_not_read(self) -> None:
        self.assertEqual(self.world.chat.unread(LOBBY), 0)
        self.join()
        self.assertEqual(self.world.chat.unread(LOBBY), 0)
        for number in range(3):
            self.world.server.say(LOBBY, f"{number}")
        self.world.settle()
        self.assertEqual(self.world.chat.unread(LOBBY), 3)
        self.world.chat.read(self.world.chat.reached([LOBBY]))
        self.assertEqual(self.world.chat.unread(LOBBY), 0)
        self.world.server.say(LOBBY, "more")
        self.world.settle()
        self.assertEqual(self.world.chat.unread(LOBBY), 1)
