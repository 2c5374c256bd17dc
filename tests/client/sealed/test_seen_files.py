"""Files in sealed rooms, with names and contents that the server must not learn."""

from __future__ import annotations

import random
from hashlib import sha256
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from encchat import messages as m
from encchat.client.files.disk import FileChanged
from encchat.client.files.sealedfiles import SealedSource
from encchat.core.sealed.files import FileOpener, sealed_size
from encchat.wire import decode_client
from tests.client.sealed.viewer import SeenCase


class Files(SeenCase):
    """Alice gives, Bob saves."""

    def setUp(self) -> None:
        super().setUp()
        self.alice.type("/create #tea bob")
        self.bob.type("/go #tea")

    def give(self, size: int, name: str = "secret plans.pdf") -> Path:
        path = self.here / name
        path.write_bytes(random.Random(size).randbytes(size))
        return path

    def begin(self, path: Path) -> None:
        """Some of it goes, and not all."""
        self.alice.screen.typed(f"/file {path}")
        for _ in range(100):
            self.alice.transports[-1].move()
            self.town.clock.advance(0)
            if any(isinstance(decode_client(frame), m.Chunk) for frame in self.alice.sent):
                return

    def uploads(self) -> list[m.Upload]:
        found = [decode_client(frame) for frame in self.alice.sent]
        return [message for message in found if isinstance(message, m.Upload)]

    def test_there_and_back(self) -> None:
        path = self.give(0)
        for number, size in enumerate((0, 1, 65536, 65537, 200_000)):
            path = self.give(size)
            shown = self.alice.type(f"/file {path}")
            self.assertIn(f"the server has all of {path.name}", shown)
            self.assertIn(f"[file #{number + 2}: secret plans.pdf, ", self.bob.text)
            target = self.here / f"got {number}"
            self.assertIn("saved secret plans.pdf", self.bob.type(f"/save {number + 2} {target}"))
            self.assertEqual(target.read_bytes(), path.read_bytes())
        self.assertEqual([x.name for x in self.here.iterdir() if x.suffix in (".part", ".opening")], [])
        sent = b"".join([*self.alice.sent, *self.bob.sent])
        self.assertNotIn(b"secret plans", sent)
        self.assertNotIn(path.read_bytes()[:40], sent)

    def test_after_a_restart_under_the_same_key(self) -> None:
        self.begin(self.give(900_000))
        self.assertEqual(len(self.uploads()), 1)
        self.alice.restart()
        self.alice.type("/join #tea")
        self.town.later(20)
        self.assertEqual(len({message.hash for message in self.uploads()}), 1)
        self.assertEqual({message.size for message in self.uploads()}, {sealed_size(900_000)})
        self.assertGreater(len(self.uploads()), 1)
        self.assertIn("[file #2: secret plans.pdf", self.bob.text)

    def run_once(self) -> None:
        """A run of a client as --send-file is one: it keeps nothing that others go on with."""
        self.alice.end()
        self.alice.sent.clear()
        self.alice.lane = None
        self.alice.start()
        self.town.later(5)
        self.alice.type("/join #tea")

    def test_given_once_goes_on_when_it_is_asked_to(self) -> None:
        """What --send-file could not finish is the same for the server when it is called again; what it did
        finish is another the next time: the server need not know that it is the same. By itself nothing
        goes on."""
        path = self.give(900_000)
        self.run_once()
        self.begin(path)
        (first,) = self.uploads()
        self.run_once()
        self.town.later(30)
        self.assertEqual(self.uploads(), [])
        self.alice.type(f"/file {path}")
        self.town.later(20)
        self.assertEqual({message.hash for message in self.uploads()}, {first.hash})
        self.assertEqual(self.bob.text.count("[file #"), 1)
        self.run_once()
        self.alice.type(f"/file {path}")
        self.town.later(20)
        self.assertNotIn(first.hash, {message.hash for message in self.uploads()})

    def test_given_once_and_changed(self) -> None:
        """Another file in its place has another key, with the same secret."""
        path = self.give(900_000)
        self.run_once()
        self.begin(path)
        (first,) = self.uploads()
        self.run_once()
        path.write_bytes(bytes(900_000))
        self.alice.type(f"/file {path}")
        self.town.later(20)
        self.assertNotIn(first.hash, {message.hash for message in self.uploads()})
        self.assertIn("[file #2: secret plans.pdf", self.bob.text)

    def test_another_file_in_its_place_has_another_key(self) -> None:
        path = self.give(900_000)
        self.begin(path)
        path.write_bytes(bytes(900_000))
        self.alice.restart()
        self.alice.type("/join #tea")
        self.town.later(20)
        self.assertEqual(len({message.hash for message in self.uploads()}), 2)

    def test_what_the_server_gives_is_checked(self) -> None:
        self.alice.type(f"/file {self.give(1000)}")

        def bent(message: Any) -> Any:
            if isinstance(message, m.Piece):
                message = replace(message, data=bytes(len(message.data)))
            return (message,)

        self.bob.bend = bent
        self.assertIn("was not saved", self.bob.type(f"/save 2 {self.here / 'got'}"))
        self.assertFalse((self.here / "got").exists())

    def test_while_it_is_read_it_changes(self) -> None:
        path = self.give(200_000)
        source = SealedSource(path, bytes(32))
        self.addCleanup(source.close)
        digest = source.digest()
        whole = source.read(0, source.size)
        self.assertEqual(sha256(whole).digest(), digest)
        parts = [source.read(at, min(1000, source.size - at)) for at in range(0, source.size, 1000)]
        self.assertEqual(b"".join(parts), whole)
        opener = FileOpener(source.key)
        self.assertEqual(opener.update(whole) + opener.finish(), path.read_bytes())
        with path.open("r+b") as file:
            file.write(b"other")
        self.assertRaises(FileChanged, source.read, 0, 1000)
        self.assertRaises(FileChanged, source.digest)
