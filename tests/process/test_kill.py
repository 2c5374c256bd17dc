"""The service and the client are killed, and disks fill up: what was acknowledged is there, once, and what
was not is there once after it was sent again."""

from __future__ import annotations

import os
import random
import resource
import signal
import sqlite3
import sys
from contextlib import closing
from unittest import SkipTest, skipUnless

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessValue

from encchat import messages as m
from encchat.client.store import FILE, Store
from encchat.logs.verify import verify
from encchat.wire import advance, decode_entry
from tests import SOAK
from tests.process.harness import ProcessCase, Service, reactor
from tests.process.talkers import ROOM, Place, Talker
from tests.process.wire_peer import FramePeer, welcome

TLS = "tls:trust=pin"
KILLS = 50 if SOAK else 3
#: Over rsa each of them needs a key of its own, which takes long to make.
TALKERS = {"rsa": 8 if SOAK else 3, TLS: 8}
#: Lines on their way at once, of each talker.
WINDOW = 8
#: Mounting a file system of our own needs more than a user has.
_MAY_MOUNT = sys.platform == "linux" and os.geteuid() == 0


class KillCase(ProcessCase):
    """Talkers, a service that they talk to, and what must be true at the end."""

    timeout = 900 + 60 * KILLS
    options = ("--rate", "0")

    def begin(self, window: int = WINDOW, cipher: str = "rsa") -> None:
        self.place = Place()
        self.cipher = cipher
        self.talkers = [Talker(n, self.home, self.place, cipher, window) for n in range(TALKERS[cipher])]
        self.runs = [Deferred.fromCoroutine(talker.run()) for talker in self.talkers]

    async def open(self, *options: str) -> Service:
        service = await self.serve(*self.options, *options)
        self.place.opened(service.port)
        return service

    async def kill(self, service: Service) -> None:
        self.place.closed()
        service.signal(signal.SIGKILL)
        self.assertEqual(await service.end(), -signal.SIGKILL)

    async def finish(self, service: Service) -> list[m.Entry]:
        """Let the talkers end, and look at everything."""
        for talker in self.talkers:
            talker.finish()
        await gatherResults(self.runs, consumeErrors=True)
        entries = await self.read_all(service)
        await service.stop()
        self.check(entries)
        return entries

    async def read_all(self, service: Service) -> list[m.Entry]:
        """The whole room as a client reads it, with its chain."""
        peer = await welcome(service.port, self.home / "reader", "reader", self.cipher)
        peer.send(m.Join(1, ROOM))
        head = (await peer.news_of(m.Joined)).head
        at = m.Position()
        entries: list[m.Entry] = []
        while at.seq < head.seq:
            before = len(peer.news)
            peer.send(m.Read(2, ROOM, at.seq, limit=m.MAX_PAGE))
            page = await peer.news_of(m.Page, before)
            self.assertEqual(page.start, at, "the chain broke")
            at = advance(at, page.entries)
            entries += map(decode_entry, page.entries)
        self.assertEqual(at, head)
        peer.transport.abortConnection()
        await peer.closed()
        return entries

    def check(self, entries: list[m.Entry]) -> None:
        self.assertEqual([entry.seq for entry in entries], list(range(1, len(entries) + 1)))
        for talker in self.talkers:
            self.assertEqual(talker.faults, [])
            said = [entry for entry in entries if entry.sender == talker.name]
            count = len(talker.acknowledged)
            # Once and in order, and nothing else: by now all that was sent is acknowledged.
            self.assertEqual([e.body for e in said], [talker.line(talker.name, n + 1) for n in range(count)])
            self.assertEqual([e.seq for e in said], [talker.acknowledged[n + 1] for n in range(count)])
        self.assertEqual(len(entries), sum(len(talker.acknowledged) for talker in self.talkers))
        path = self.home / "server" / "log.sqlite"
        self.assertEqual(list(verify(path)), [])
        with closing(sqlite3.connect(path)) as connection:
            self.assertEqual(connection.execute("PRAGMA integrity_check").fetchall(), [("ok",)])


class KilledService(KillCase):
    """SIGKILL at moments that chance decides."""

    async def kill_again_and_again(self, cipher: str, kills: int) -> None:
        self.begin(cipher=cipher)
        for number in range(kills):
            service = await self.open("--cipher", cipher)
            if number % 5 != 4:  # else while they are still coming in
                talker = random.choice(self.talkers)
                await talker.reach(len(talker.acknowledged) + random.randrange(1, 100))
            await deferLater(reactor, random.uniform(0, 0.05))
            await self.kill(service)
        service = await self.open("--cipher", cipher)
        for talker in self.talkers:
            await talker.reach(len(talker.acknowledged) + 1)
        entries = await self.finish(service)
        if SOAK:
            print(f"\n{kills} kills, {len(entries)} entries over {cipher}")

    async def test_nothing_is_lost_and_nothing_twice(self) -> None:
        await self.kill_again_and_again(TLS, KILLS)

    async def test_over_rsa(self) -> None:
        await self.kill_again_and_again("rsa", max(1, KILLS // 5))


class FullDisk(KillCase):
    """No room for a while: sends are refused for now, the service stays, and all of it is stored later."""

    async def refuse_and_recover(self, service: Service) -> None:
        talker = self.talkers[0]
        refused = talker.refusals
        while talker.refusals < refused + 3:
            await deferLater(reactor, 0.05)
            self.assertIsNone(service.status, service.report())

    @skipUnless(hasattr(resource, "prlimit"), "needs prlimit, to bound the files of a running process")
    async def test_files_that_may_not_grow(self) -> None:
        self.begin(window=1, cipher=TLS)
        service = await self.open("--cipher", TLS)
        for _ in range(2):
            await gatherResults([Deferred.fromCoroutine(self._ten_more(talker)) for talker in self.talkers])
            size = max(file.stat().st_size for file in (self.home / "server").glob("log.sqlite*"))
            resource.prlimit(service.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
            await self.refuse_and_recover(service)
            resource.prlimit(
                service.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            )
        await gatherResults([Deferred.fromCoroutine(self._ten_more(talker)) for talker in self.talkers])
        await self.finish(service)

    @skipUnless(_MAY_MOUNT, "needs to be root, to mount a small file system")
    async def test_a_file_system_without_room(self) -> None:
        data = self.home / "server"
        data.mkdir(mode=0o700)
        if await getProcessValue("/bin/mount", ["-t", "tmpfs", "-o", "size=2m,mode=700", "none", str(data)]):
            raise SkipTest("mounting a file system is not allowed here")
        self.addCleanup(getProcessValue, "/bin/umount", ["-l", str(data)])
        self.begin(window=1, cipher=TLS)
        service = await self.open("--cipher", TLS)
        await gatherResults([Deferred.fromCoroutine(self._ten_more(talker)) for talker in self.talkers])
        ballast = data / "ballast"
        with ballast.open("wb", 0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass  # it is full
        await self.refuse_and_recover(service)
        # Killed while it is full, too: it may not even start, but what there is stays whole.
        await self.kill(service)
        ballast.unlink()
        service = await self.open("--cipher", TLS)
        await gatherResults([Deferred.fromCoroutine(self._ten_more(talker)) for talker in self.talkers])
        await self.finish(service)

    async def _ten_more(self, talker: Talker) -> None:
        await talker.reach(len(talker.acknowledged) + 10)


class KilledClient(ProcessCase):
    """A client in a pipe is killed: what it had taken is sent by the next one, once."""

    async def test_what_was_typed_is_sent_once(self) -> None:
        service = await self.serve("--rate", "0")
        reader = await welcome(service.port, self.home / "reader", "reader")
        reader.send(m.Join(1, ROOM))
        await reader.news_of(m.Joined)
        for number in range(10 if SOAK else 3):
            lines = [f"round {number} line {n}" for n in range(random.randrange(100, 300))]
            client = self.client(service.address, "--accept-new", name="alice")
            client.say(*lines[:50])
            begun = m.Entry, lines[0].encode()
            await reader.until(
                lambda b=begun: any((type(n), n.body) == b for n in self._entries(reader)), "line"
            )
            # In every third round the service hears nothing any more, so all that follows waits in the
            # client's own store; in the others chance decides how much does.
            stopped = number % 3 == 2
            if stopped:
                os.kill(service.pid, signal.SIGSTOP)
            client.say(*lines[50:])
            while stopped and lines[-1] not in self._kept(service.address):
                self.assertIsNone(client.status, client.report())
                await deferLater(reactor, 0.05)
            await deferLater(reactor, random.uniform(0, 0.1))
            client.signal(signal.SIGKILL)
            self.assertEqual(await client.end(), -signal.SIGKILL)
            kept = self._kept(service.address)
            os.kill(service.pid, signal.SIGCONT)
            again = self.client(service.address, name="alice")
            again.close_stdin()
            self.assertEqual(await again.end(), 0, again.report())
            self.assertEqual(self._kept(service.address), [])
            marker = m.Send(number + 2, ROOM, bytes([number] * 16), "text", b"the round is over")
            before = len(reader.news)
            reader.send(marker)
            await reader.news_of(m.Sent, before)
            sent = next(n for n in reader.news[before:] if type(n) is m.Sent)
            await reader.until(
                lambda s=sent: any(entry.seq == s.seq for entry in self._entries(reader)), "the marker"
            )
            words = f"round {number} "
            said = [text for e in self._entries(reader) if (text := e.body.decode()).startswith(words)]
            self.assertEqual(said, lines[: len(said)], "lost, twice, or out of order")
            self.assertEqual(kept, lines[len(said) - len(kept) : len(said)])
            if stopped:
                self.assertEqual(len(said), len(lines))
        reader.transport.abortConnection()
        await reader.closed()
        await service.stop()

    def _entries(self, reader: FramePeer) -> list[m.Entry]:
        return [message for message in reader.news if type(message) is m.Entry]

    def _kept(self, endpoint: str) -> list[str]:
        """The lines in the client's store that are not acknowledged, as it is on disk."""
        (path,) = (self.home / "client").rglob(FILE)
        with closing(Store.open(path.parent)) as store:
            kept = [item.body.decode() for item in store.outbox(endpoint, lane=0)]
            self.assertEqual(store.take_notices(), [])
        return kept
