"""Files with a real service and real clients: killed on either side in the middle, whole at the end."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from collections.abc import Iterator
from pathlib import Path

from twisted.internet.task import deferLater

from tests.process.harness import PATIENCE, SCRIPT, Child, reactor
from tests.process.test_client_pipe import ClientCase

#: Enough to take some seconds over rsa, so that it can be interrupted.
SIZE = 200_000


def _sizes(directory: Path, pattern: str) -> Iterator[int]:
    """Of the files there, some of which may be gone by now."""
    for path in directory.glob(pattern):
        with contextlib.suppress(FileNotFoundError):
            yield path.stat().st_size


class Files(ClientCase):
    """Alice gives, Bob fetches."""

    def setUp(self) -> None:
        super().setUp()
        self.data = random.Random(5).randbytes(SIZE)
        self.path = self.home / "plan.bin"
        self.path.write_bytes(self.data)

    def begin(self, child: Child) -> None:
        child.say(json.dumps({"command": f"/file {self.path}"}))

    async def under_way(self, child: Child, directory: Path, pattern: str = "*") -> None:
        """Wait until some of it, and not all of it, is in a directory. (What is told of its progress is told
        four times a second, which may be too late.)"""
        since = reactor.seconds()
        while not any(0 < size < SIZE for size in _sizes(directory, pattern)):
            self.assertLess(reactor.seconds() - since, PATIENCE, child.report())
            await deferLater(reactor, 0.002)

    async def get(self, address: str, name: str = "bob", *options: str) -> Path:
        """Bob fetches the first file of the lobby."""
        child = await self.run_client(
            "--accept-new", "--get", "lobby", "1", "--to", f"{self.home}/", *options, address, name=name
        )
        (path,) = child.out
        return self.home / path

    async def test_one_errand_each_and_a_guest_who_hears_of_it(self) -> None:
        service = await self.serve()
        guest = self.spawn([*SCRIPT, "2", str(service.port)], Child("guest"))
        await guest.line("Here: nobody else yet")
        small = self.home / "note.txt"
        small.write_text("hello")
        sent = await self.run_client(
            "--accept-new", "--json", "--send-file", "lobby", str(small), service.address
        )
        (result,) = map(json.loads, sent.out)
        self.assertEqual(
            (result["event"], result["seq"], result["name"], result["size"]), ("sent", 1, "note.txt", 5)
        )
        await guest.line("* alice offers the file note.txt (5 bytes)")
        guest.close_stdin()
        first, second = await self.get(service.address), await self.get(service.address)
        self.assertEqual((first.name, second.name), ("note (1).txt", "note (2).txt"))
        self.assertEqual((first.read_text(), second.read_text()), ("hello", "hello"))
        for wrong, code, word in (
            (("--send-file", "lobby", str(self.home / "none")), 2, "No such file"),
            (("--send-file", "lobby", str(self.home)), 2, "directory"),
            (("--get", "lobby", "99"), 2, "is no file"),
            (("--get", "lobby", "1", "--to", "/proc/nowhere/x"), 1, "cannot be written"),
            (("--get", "lobby", "nothing"), 2, "integer"),
        ):
            failed = await self.run_client(*wrong, service.address, code=code, name="bob")
            self.assertIn(word, "\n".join(failed.err))
        await service.stop()

    async def test_a_server_without_files(self) -> None:
        service = await self.serve("--file-limit", "0")
        failed = await self.run_client(
            "--accept-new", "--send-file", "lobby", str(self.path), service.address, code=2
        )
        self.assertIn("takes no files", failed.err[-1])

    async def test_the_server_is_killed_in_the_middle(self) -> None:
        service = await self.serve("--rate", "0")
        port = service.port
        alice = self.client("--accept-new", "--json", "--follow", service.address, name="alice")
        await alice.line('"joined"')
        self.begin(alice)
        await self.under_way(alice, self.home / "server" / "uploads")
        service.signal(signal.SIGKILL)
        await service.end()
        (upload,) = (self.home / "server" / "uploads").iterdir()
        held = upload.stat().st_size
        self.assertGreater(held, 0)
        service = await self.serve("--rate", "0", port=port)
        await alice.line('"event":"sent"')
        resumed = [json.loads(line) for line in alice.out if '"file-progress"' in line]
        self.assertGreaterEqual(sum(event["done"] >= held for event in resumed), 1)
        path = await self.get(service.address)
        self.assertEqual((path.name, path.read_bytes()), ("plan (1).bin", self.data))
        self.assertEqual(list((self.home / "server" / "uploads").iterdir()), [])
        alice.close_stdin()
        alice.signal(signal.SIGTERM)
        await alice.end()
        await service.stop()

    async def test_the_clients_are_killed_in_the_middle(self) -> None:
        service = await self.serve("--rate", "0")
        alice = self.client("--accept-new", "--json", "--follow", service.address, name="alice")
        await alice.line('"joined"')
        self.begin(alice)
        await self.under_way(alice, self.home / "server" / "uploads")
        alice.signal(signal.SIGKILL)
        await alice.end()
        again = self.client("--json", service.address, name="alice")
        again.close_stdin()
        await self.finish(again)
        self.assertIn('"event":"sent"', "\n".join(again.out))

        bob = self.client("--accept-new", "--json", "--follow", service.address, name="bob")
        await bob.line('"joined"')
        bob.say(json.dumps({"command": f"/save 1 {self.home}/got.bin"}))
        await self.under_way(bob, self.home, "*.part")
        bob.signal(signal.SIGKILL)
        await bob.end()
        (part,) = self.home.glob("*.part")
        self.assertLess(part.stat().st_size, SIZE)
        bob = self.client("--json", "--follow", service.address, name="bob")
        await bob.line('"joined"')
        bob.say(json.dumps({"command": f"/save 1 {self.home}/got.bin"}))
        await bob.line('"file-saved"')
        self.assertEqual((self.home / "got.bin").read_bytes(), self.data)
        self.assertEqual(list(self.home.glob("*.part")), [])
        bob.signal(signal.SIGTERM)
        await bob.end()
        await service.stop()
