"""Files through the library, with the real hub at the far end."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from encchat.client import RequestRefused, Room, connect
from encchat.contents import File
from encchat.core.files.blobs import FileRules
from encchat.library.client import Over
from encchat.library.pending import Pending
from encchat.library.room import NotIn
from tests.client.hub_server import HubServer
from tests.client.world import World

LOBBY = "+lobby"
DATA = bytes(range(256)) * 1000
T = TypeVar("T")


class Files(TestCase):
    """Alice's program, in the lobby."""

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()
        self.world = World(self.here / "profile")
        self.server = HubServer(self.world.clock, FileRules(), rate=0)
        self.world.server = self.server  # type: ignore[assignment]  # as far as a World needs one
        self.addCleanup(self.world.store.close)
        self.world.chat.files.in_thread = maybeDeferred
        self.client = connect("chat.example:9999", name="alice", reactor=self.world.clock)
        self.client.chat, self.client._link = self.world.chat, self.world.link
        self.client._pending = Pending(self.world.clock)
        running = self.world.start(self.client)
        running.addCallback(lambda _: self.client._failed(Failure(self.world.failure or Over())))
        self.room: Room = self.do(self.client.join(LOBBY))
        self.path = self.here / "plan.pdf"
        self.path.write_bytes(DATA)

    def begin(self, work: Coroutine[Any, Any, T], seconds: float = 0) -> Deferred[T]:
        result = Deferred.fromCoroutine(work)
        for _ in range(40):
            self.world.settle()
        self.world.later(seconds, 0.25)
        return result

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.successResultOf(self.begin(work, 5))

    def fails(self, work: Coroutine[Any, Any, object], kind: type[Exception]) -> Exception:
        error = self.failureResultOf(self.begin(work, 5), kind).value
        assert isinstance(error, Exception)
        return error

    def test_there_and_back(self) -> None:
        seq = self.do(self.room.send_file(self.path))
        heard = self.do(self.room.__anext__())
        self.assertEqual((heard.seq, heard.kind, heard.own), (seq, "file", True))
        assert isinstance(heard.content, File)
        self.assertEqual((heard.content.name, heard.content.size), ("plan.pdf", len(DATA)))
        saved = self.do(self.room.save_file(seq, self.here / "got.pdf"))
        self.assertEqual((saved, saved.read_bytes()), (self.here / "got.pdf", DATA))

    def test_nothing_is_overwritten(self) -> None:
        seq = self.do(self.room.send_file(str(self.path)))
        again = self.do(self.room.save_file(seq, str(self.here) + "/"))
        self.assertEqual(again, self.here / "plan (1).pdf")
        self.assertEqual(
            sorted(path.name for path in self.here.iterdir() if path.is_file()), [again.name, "plan.pdf"]
        )

    def test_what_cannot_be_sent_or_saved(self) -> None:
        self.assertIn(
            "cannot be sent", str(self.fails(self.room.send_file(self.here / "none"), RequestRefused))
        )
        self.assertIn("directory", str(self.fails(self.room.send_file(self.here), RequestRefused)))
        seq = self.do(self.room.send("no file"))
        self.assertIn(
            "is no file", str(self.fails(self.room.save_file(seq, self.here / "x"), RequestRefused))
        )
        self.assertIn("is no file", str(self.fails(self.room.save_file(99, self.here / "x"), RequestRefused)))
        self.assertFalse((self.here / "x").exists())

    def test_cancelled_it_is_sent_nevertheless(self) -> None:
        sending = self.begin(self.room.send_file(self.path))
        if not sending.called:
            sending.cancel()
            self.failureResultOf(sending, CancelledError)
        self.world.later(5, 0.25)
        self.assertEqual(self.do(self.room.__anext__()).kind, "file")
        self.assertEqual(len(self.client._pending), 0)

    def test_across_a_lost_connection(self) -> None:
        sending = self.begin(self.room.send_file(self.path))
        self.world.cut()
        self.world.later(5, 0.25)
        seq = self.successResultOf(sending)
        self.assertEqual(self.do(self.room.save_file(seq, self.here / "got.pdf")).read_bytes(), DATA)

    def test_after_leaving(self) -> None:
        self.do(self.room.part())
        self.fails(self.room.send_file(self.path), NotIn)

    def test_at_the_end(self) -> None:
        self.world.link.abort()
        self.world.later(1)
        self.fails(self.room.send_file(self.path), NotIn)
        self.fails(self.room.save_file(1, self.here / "x"), Over)
