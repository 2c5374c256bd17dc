"""Files given and fetched, with the real hub at the far end: whole, resumed, refused, and never twice."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client import events as e
from encchat.client.files import files
from encchat.contents import File, body_of, parse
from encchat.core.files.blobs import MIB, FileRules
from tests.client.hub_server import HubLink, HubServer
from tests.client.world import Listener, World
from tests.core.world import Peer, msgid

LOBBY = "+lobby"
DATA = bytes(range(256)) * 2000  # eight pieces


class Case(TestCase):
    """Alice's client in the lobby, and Bob there too."""

    rules = FileRules()
    rate = 0

    def setUp(self) -> None:
        self.here = Path(self.mktemp()).absolute()
        self.here.mkdir()
        self.world = World(self.here / "profile")
        self.server = HubServer(self.world.clock, self.rules, rate=self.rate)
        self.world.server = self.server  # type: ignore[assignment]  # as far as a World needs one
        self.addCleanup(self.world.store.close)
        self.path = self.here / "plan.pdf"
        self.path.write_bytes(DATA)
        (self.here / "got").mkdir()
        self.start()

    def start(self) -> None:
        """A run of the client begins."""
        self.listener = Listener()
        self.world.chat.files.in_thread = _now
        self.world.start(self.listener)
        self.world.chat.session.join(LOBBY)
        self.world.chat.flush()
        self.run_for(0)

    def restart(self) -> None:
        """The client ends as it is, and starts again."""
        self.world.chat.stop()
        self.world.transport.end(ConnectionError())  # type: ignore[arg-type]  # any reason
        self.world.link.abort()
        self.world.new_run()
        self.start()

    def run_for(self, seconds: float = 20) -> None:
        """Let everything happen that does within so many seconds."""
        for _ in range(60):
            self.world.settle()
        self.world.later(seconds, 0.25)

    def run_until(self, link: HubLink, messages: int) -> None:
        """Go on until the server has received so many more messages, or there is nothing left to do."""
        enough = link.received + messages
        for _ in range(1000):
            if link.received >= enough or not self.world.chat.files.transfers:
                return
            self.world.transport.move()
            self.world.clock.advance(0)
        raise AssertionError(f"only {link.received} of {enough} messages came")

    def give(self, path: Path | None = None, seconds: float = 20) -> int:
        number = self.world.chat.files.give(LOBBY, str(path or self.path))
        self.run_for(seconds)
        return number

    def fetch(self, seq: int = 1, wish: str | None = None, seconds: float = 20) -> None:
        self.world.chat.files.fetch(LOBBY, seq, wish or str(self.here / "got"))
        self.run_for(seconds)

    def one(self, kind: type[Any]) -> Any:
        """The one event of a kind."""
        found = self.listener.of(kind)
        self.assertEqual(len(found), 1, self.listener.events)
        return found[0]

    def failed(self) -> Any:
        """Why the one transfer failed; nothing else came of it."""
        self.assertEqual(self.listener.of(e.FileSaved) + self.listener.of(e.FileGiven), [])
        self.assertEqual(self.world.chat.files.transfers, [])
        return self.one(e.FileFailed)

    def offered(self) -> list[File]:
        """The files that the room's log tells of."""
        bodies = [
            entry.entry.body
            for entry in self.listener.of(e.NewEntry)
            if entry.entry.kind == "file"  # type: ignore[union-attr]  # all are NewEntry
        ]
        return [parse("file", body) for body in bodies]  # type: ignore[misc]  # of that kind

    def bob(self) -> Peer:
        """Somebody else, in the room, without a client."""
        peer = self.server.world.member("bob")
        peer.news()
        return peer

    def offer(self, data: bytes, name: str = "plan.pdf", **changes: Any) -> None:
        """Bob gives a file."""
        peer, blob = self.bob(), sha256(data).digest()
        peer.ask(m.Upload(1, LOBBY, blob, len(data)))
        for offset in range(0, len(data), m.MAX_PIECE):
            peer.ask(m.Chunk(2, blob, offset, data[offset : offset + m.MAX_PIECE]))
        file = body_of(File(**({"name": name, "size": len(data), "hash": blob.hex()} | changes)))
        peer.ask(m.Send(3, LOBBY, msgid(3), "file", file))
        self.run_for(0)


class Giving(Case):
    """From a path to the room."""

    def test_whole(self) -> None:
        self.give()
        digest = sha256(DATA).hexdigest()
        self.assertEqual(self.offered(), [File("plan.pdf", len(DATA), digest, "application/pdf")])
        given = self.one(e.FileGiven)
        self.assertEqual((given.hash, given.size, given.name), (digest, len(DATA), "plan.pdf"))
        self.assertEqual(self.one(e.Acknowledged).item.msgid, given.msgid)
        progress = [p.done for p in self.listener.of(e.FileProgress)]  # type: ignore[union-attr]  # all are
        self.assertEqual((progress[0], progress[-1]), (0, len(DATA)))
        self.assertEqual(progress, sorted(progress))
        self.assertEqual(self.world.chat.files.transfers, [])
        self.assertEqual(self.world.store.uploads.waiting("chat.example:9999", 0), [])

    def test_every_size(self) -> None:
        for size in (0, 1, m.MAX_PIECE, m.MAX_PIECE + 1):
            self.path.write_bytes(b"x" * size)
            self.give()
        self.assertEqual([file.size for file in self.offered()], [0, 1, m.MAX_PIECE, m.MAX_PIECE + 1])

    def test_at_most_two_at_once_and_all_of_many(self) -> None:
        for number in range(6):
            path = self.here / f"{number}.bin"
            path.write_bytes(DATA + bytes([number]))
            self.world.chat.files.give(LOBBY, str(path))
        self.assertEqual(len(self.world.chat.files.transfers), 6)
        self.run_for()
        self.assertEqual({file.name for file in self.offered()}, {f"{n}.bin" for n in range(6)})

    def test_a_name_is_made_safe(self) -> None:
        path = self.here / "-a\x1b[31m\u202eb.txt"
        path.write_bytes(b"x")
        self.give(path)
        self.assertEqual([file.name for file in self.offered()], ["_ab.txt"])

    def test_what_cannot_be_read(self) -> None:
        self.give(self.here / "none")
        self.assertEqual(self.failed().code, "usage")
        self.assertEqual(self.world.store.uploads.waiting("chat.example:9999", 0), [])

    def test_the_line_is_cut_in_the_middle(self) -> None:
        for cut_after in range(1, 12):
            self.path.write_bytes(DATA + bytes([cut_after]))
            link = self.server.links[-1]
            self.world.chat.files.give(LOBBY, str(self.path))
            self.run_until(link, cut_after)
            self.world.cut()
            self.run_for()
        self.assertEqual(len(self.offered()), 11)
        self.assertEqual(self.listener.of(e.FileFailed), [])

    def test_the_server_restarts_in_the_middle(self) -> None:
        link = self.server.links[-1]
        self.world.chat.files.give(LOBBY, str(self.path))
        self.run_until(link, 5)
        self.server.restart()
        self.run_for()
        self.assertEqual([file.size for file in self.offered()], [len(DATA)])
        self.assertLess(self.server.links[-1].received, 12)  # not all of it again

    def test_the_client_restarts_in_the_middle(self) -> None:
        link = self.server.links[-1]
        self.world.chat.files.give(LOBBY, str(self.path))
        self.run_until(link, 5)
        self.restart()
        self.assertEqual(self.world.waiting, 1)
        self.run_for()
        self.assertEqual([file.size for file in self.offered()], [len(DATA)])
        self.restart()
        self.assertEqual(self.world.waiting, 0)

    def test_it_is_gone_when_the_client_comes_back(self) -> None:
        self.server.links[-1].deaf = True
        self.give(seconds=0)
        self.path.unlink()
        self.restart()
        self.run_for()
        self.assertIn("No such file", self.failed().text)
        self.restart()
        self.assertEqual(self.world.waiting, 0)

    def test_stopped_by_hand(self) -> None:
        self.server.links[-1].deaf = True
        number = self.give(seconds=0)
        self.assertTrue(self.world.chat.files.cancel(number))
        self.run_for(1)
        self.assertFalse(self.world.chat.files.cancel(number))
        self.assertEqual(self.world.chat.files.transfers, [])
        self.restart()
        self.assertEqual(self.world.waiting, 0)

    def test_a_file_that_changes_meanwhile(self) -> None:
        source = files.Source
        paths = []

        class Changing(source):  # type: ignore[misc,valid-type]  # a class all the same
            def read(self, offset: int, size: int) -> bytes:
                data = super().read(offset, size)
                paths.append(offset)
                return b"!" * len(data) if len(paths) > 2 else data

        self.patch(files, "Source", Changing)
        self.give()
        self.assertIn("has changed", self.failed().text)
        self.assertEqual(self.offered(), [])


class Refusing(Case):
    """What the server does not take."""

    rules = FileRules(limit=MIB, per_name=MIB, space=10 * MIB)

    def test_too_large(self) -> None:
        self.path.write_bytes(bytes(MIB + 1))
        self.give()
        self.assertIn("1,048,576", self.failed().text)

    def test_the_quota(self) -> None:
        self.path.write_bytes(bytes(MIB))
        self.give()
        self.path.write_bytes(b"one more")
        self.listener.events.clear()
        self.give()
        self.assertEqual(self.failed().code, "quota-full")

    def test_put_out_of_the_room(self) -> None:
        self.server.links[-1].deaf = True
        self.give(seconds=0)
        self.server.links[-1].deaf = False
        self.world.chat.session.part(LOBBY)
        self.world.chat.flush()
        self.run_for()
        self.assertEqual(len(self.world.chat.files.transfers), 1)  # it waits until we are back
        self.assertEqual(self.offered(), [])


class NoFiles(Case):
    """A server that takes none."""

    rules = FileRules(limit=0)

    def test_none(self) -> None:
        self.give()
        self.assertIn("takes no files", self.failed().text)


class Slowly(Case):
    """The server's rate holds; the transfer waits for it."""

    rate = 20

    def test_more_than_the_burst(self) -> None:
        data = bytes(24 * MIB)
        self.path.write_bytes(data)
        self.give(seconds=30)
        self.assertEqual([file.size for file in self.offered()], [len(data)])
        self.listener.events.clear()
        self.fetch(seconds=30)
        self.assertEqual(Path(self.one(e.FileSaved).path).read_bytes(), data)


class Fetching(Case):
    """From the room to a path."""

    def got(self) -> list[str]:
        return sorted(path.name for path in (self.here / "got").iterdir())

    def test_whole(self) -> None:
        self.offer(DATA)
        self.fetch()
        saved = self.one(e.FileSaved)
        self.assertEqual((saved.path, saved.size), (str(self.here / "got" / "plan.pdf"), len(DATA)))
        self.assertEqual(Path(saved.path).read_bytes(), DATA)
        self.assertEqual(self.got(), ["plan.pdf"])

    def test_twice_is_two_files(self) -> None:
        self.offer(DATA)
        self.fetch()
        self.fetch()
        self.assertEqual(self.got(), ["plan (1).pdf", "plan.pdf"])

    def test_a_hostile_name(self) -> None:
        self.offer(b"x", "../../.profile")
        self.fetch()
        self.assertEqual(self.got(), ["_.._.profile"])

    def test_an_entry_that_was_shown(self) -> None:
        self.offer(DATA)
        (event,) = self.listener.of(e.NewEntry)
        self.world.chat.files.fetch(LOBBY, 1, str(self.here / "got"), event.entry)  # type: ignore[union-attr]
        self.run_for()
        self.assertEqual(self.got(), ["plan.pdf"])

    def test_what_is_no_file(self) -> None:
        self.bob().ask(m.Send(3, LOBBY, msgid(3), "text", b"hello"))
        self.run_for(0)
        for seq in (1, 99):
            self.listener.events.clear()
            self.fetch(seq)
            self.assertIn("no file", self.failed().text)

    def test_one_that_is_gone(self) -> None:
        self.offer(DATA)
        self.world.clock.advance(31 * 24 * 3600)
        self.run_for(120)
        self.listener.events.clear()
        self.fetch()
        self.assertEqual(self.failed().code, "no-such-file")
        self.assertEqual(self.got(), [])

    def test_the_line_is_cut_in_the_middle(self) -> None:
        self.offer(DATA)
        for cut_after in range(1, 10):
            link = self.server.links[-1]
            self.world.chat.files.fetch(LOBBY, 1, str(self.here / "got" / f"{cut_after}"))
            self.run_until(link, cut_after)
            self.world.cut()
            self.run_for()
        self.assertEqual(self.got(), sorted(f"{n}" for n in range(1, 10)))
        self.assertTrue(all((self.here / "got" / f).read_bytes() == DATA for f in self.got()))

    def test_the_client_restarts_in_the_middle(self) -> None:
        self.offer(DATA)
        self.world.chat.files.fetch(LOBBY, 1, str(self.here / "got"))
        link = self.server.links[-1]
        self.run_until(link, 4)
        self.restart()
        (part,) = self.got()
        self.assertTrue(part.endswith(".part"))
        self.assertGreater((self.here / "got" / part).stat().st_size, 0)
        self.fetch()
        self.assertEqual(self.got(), ["plan.pdf"])
        self.assertEqual((self.here / "got" / "plan.pdf").read_bytes(), DATA)

    def test_the_same_name_twice_at_once(self) -> None:
        self.offer(DATA)
        for _ in range(2):
            self.world.chat.files.fetch(LOBBY, 1, str(self.here / "got"))
        self.run_for()
        self.assertEqual(len(self.listener.of(e.FileSaved)), 1)
        self.assertIn("already", self.one(e.FileFailed).text)

    def test_nowhere_to_write(self) -> None:
        self.offer(DATA)
        self.fetch(wish=str(self.here / "none" / "a"))
        self.assertEqual(self.failed().code, "cannot-write")


class Lies(Case):
    """A server that gives something else."""

    def lie(self, change: Any) -> Any:
        """The server's pieces are changed on their way; what came of it."""
        self.offer(DATA)
        self.listener.events.clear()
        real = self.world.chat.files.notice

        def changed(event: e.Event) -> bool:
            return real(change(event) if isinstance(event, e.FilePiece) else event)

        self.world.chat.files.notice = changed  # type: ignore[method-assign]  # between server and client
        self.fetch()
        self.assertEqual([p for p in (self.here / "got").iterdir() if not p.name.endswith(".part")], [])
        return self.failed()

    def test_other_bytes(self) -> None:
        failed = self.lie(lambda p: e.FilePiece(p.request, p.offset, p.size, b"!" * len(p.data)))
        self.assertEqual(failed.code, "wrong-hash")
        self.assertEqual(list((self.here / "got").iterdir()), [])

    def test_another_size(self) -> None:
        self.lie(lambda p: e.FilePiece(p.request, p.offset, p.size + 1, p.data))

    def test_another_place(self) -> None:
        self.lie(lambda p: e.FilePiece(p.request, p.offset + 1, p.size, p.data))

    def test_nothing_for_ever(self) -> None:
        self.lie(lambda p: e.FilePiece(p.request, p.offset, p.size, b""))

    def test_crumbs(self) -> None:
        self.lie(lambda p: e.FilePiece(p.request, p.offset, p.size, p.data[:1]))

    def test_more_than_there_is(self) -> None:
        self.lie(lambda p: e.FilePiece(p.request, p.offset, p.size, p.data + bytes(len(DATA))))


def _now(work: Any, *arguments: Any) -> Deferred[Any]:
    """What would be done in a thread."""
    return maybeDeferred(work, *arguments)
