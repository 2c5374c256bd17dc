"""The hub over the log that a server has: what was acknowledged, and every rule, outlives a restart."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.core.chat.hub import Hub, Settings
from encchat.logs.sqlite import SqliteLog, open_sqlite_log
from encchat.server.turn import ReactorTurn
from encchat.wire import advance, encode
from tests.core.moderation.test_moderation import TEA, access, ban, invite, mute, role, unban
from tests.core.world import Peer, World, identity, text


class RealWorld:
    """A hub on the real reactor, over a file; ``Peer`` takes it for a ``World``."""

    def __init__(self, log: SqliteLog) -> None:
        self.log = log
        self.hub = Hub(log, log, ReactorTurn(reactor), Settings(limits=m.Limits(rate=0)))  # type: ignore[arg-type]  # it tells the time

    async def ask(self, peer: Peer, message: Any) -> Any:
        """The answer to a request; what else came is kept in ``others``."""
        self.others: list[Any] = []
        peer.send(message)
        while True:
            self.others += peer.news()
            for news in self.others:
                asked = getattr(news, "id", -1) == getattr(message, "id", 0)
                if asked or type(news) in (m.Welcome, m.Refused):
                    return news
            await self.wait()

    async def wait(self) -> None:
        """Let the reactor turn."""
        await deferLater(cast(Any, reactor), 0.002)

    async def named(self, name: str, key: str = "", link: str = "") -> Peer:
        peer = Peer(cast(World, self), identity(key or f"{name}'s key"))
        answer = await self.ask(peer, m.Hello((1,), name, "", "", link))
        assert type(answer) is m.Welcome, answer
        return peer

    async def member(self, name: str, room: str = TEA) -> Peer:
        peer = await self.named(name)
        answer = await self.ask(peer, m.Join(900, room))
        assert type(answer) is m.Joined, answer
        return peer


class Durable(TestCase):
    """One file, one server after the other."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp()) / "data" / "log.sqlite"
        self.log: SqliteLog | None = None
        self.addCleanup(lambda: ensureDeferred(self.stop()))

    async def start(self) -> RealWorld:
        await self.stop()
        self.log = open_sqlite_log(self.path, reactor)
        return RealWorld(self.log)

    async def stop(self) -> None:
        if self.log is not None:
            log, self.log = self.log, None
            await log.close()

    async def test_sent_again(self) -> None:
        world = await self.start()
        alice = await world.member("alice")
        first = await world.ask(alice, text(1, "one", TEA))
        second = await world.ask(alice, text(2, "two", TEA))
        world = await self.start()
        alice = await world.member("alice")
        self.assertEqual(await world.ask(alice, text(2, "two", TEA)), second)
        self.assertEqual(await world.ask(alice, text(1, "one", TEA)), first)
        self.assertEqual((await world.ask(alice, text(1, "other", TEA))).code, "msgid-reused")
        self.assertEqual((await world.ask(alice, text(3, "three", TEA))).seq, 3)

    async def test_resumed(self) -> None:
        world = await self.start()
        alice = await world.member("alice")
        for n in range(1, 6):
            await world.ask(alice, text(n, f"{n}", TEA))
        page = await world.ask(alice, m.Read(9, TEA))
        here = advance(m.Position(), page.entries[:2])
        world = await self.start()
        alice = await world.named("alice")
        joined = await world.ask(alice, m.Join(1, TEA, here))
        self.assertEqual((joined.start, joined.head), (here, advance(m.Position(), page.entries)))
        frames: list[bytes] = []
        news = world.others
        while len(frames) < 3:
            frames += [encode(entry) for entry in news if type(entry) is m.Entry]
            await world.wait()
            news = alice.news()
        self.assertEqual(advance(here, frames), joined.head)

    async def test_rules(self) -> None:
        world = await self.start()
        olga = await world.member("olga")
        bob, carol = await world.member("bob"), await world.member("carol")
        mona = await world.named("mona")
        acts = [role("mona", "moderator"), ban("bob"), mute("carol"), access("private", "moderators")]
        answers = [await world.ask(olga, act) for act in acts]
        self.assertEqual([answer.seq for answer in answers], [1, 2, 3, 4])
        self.assertEqual((await world.ask(bob, m.Read(1, TEA))).code, "not-in-room")
        self.assertEqual((await world.ask(carol, text(1, "x", TEA))).code, "muted")
        self.assertEqual(await world.ask(mona, m.Mark(1, TEA, 0)), await world.ask(mona, m.Mark(1, TEA, 0)))
        code = (await world.ask(mona, m.Link(2))).code

        world = await self.start()
        bob, carol = await world.named("bob"), await world.member("carol")
        self.assertEqual((await world.ask(bob, m.Join(1, TEA))).code, "invite-only")
        self.assertEqual((await world.ask(carol, text(1, "x", TEA))).code, "muted")
        self.assertEqual((await world.ask(carol, m.Mark(3, TEA, 4))), m.Done(3))
        phone = await world.named("mona", "mona's phone", code)
        self.assertIs(type(await world.ask(phone, m.Join(1, TEA))), m.Joined)
        for act in (invite("bob"), unban("bob")):
            self.assertIs(type(await world.ask(phone, act)), m.Sent)
        olga = await world.member("olga")
        self.assertEqual(await world.ask(olga, acts[1]), answers[1])  # sent again, and not done again
        self.assertIs(type(await world.ask(bob, m.Join(2, TEA))), m.Joined)

        world = await self.start()
        carol = await world.named("carol")
        self.assertEqual((await world.ask(carol, m.Join(1, TEA))).mark, 4)

    async def test_many_acts_at_once(self) -> None:
        """What each says of the room is true in the end, whoever came first."""
        world = await self.start()
        olga = await world.member("olga")
        others = [await world.member(f"n{n}") for n in range(5)]
        for n in range(5):
            await world.ask(olga, role(f"n{n}", "moderator"))
        asked = [
            (peer, m.Topic(100 * n + i, TEA, bytes([n, i]) * 8, f"{n} {i}"))
            for n, peer in enumerate(others)
            for i in range(10)
        ]
        answers: list[Deferred[Any]] = [ensureDeferred(self.quiet(world, peer, one)) for peer, one in asked]
        seqs = [await answer for answer in answers]
        self.assertEqual(sorted(seqs), list(range(6, 56)))
        last = asked[seqs.index(55)][1].topic
        joined = await world.ask(olga, m.Join(1, TEA))
        self.assertEqual((joined.topic, joined.head.seq), (last, 55))

    async def quiet(self, world: RealWorld, peer: Peer, message: m.Topic) -> int:
        """Send, and find the entry by its msgid: others take the peer's answers meanwhile."""
        peer.send(message)
        room = world.hub.present_room(TEA)
        assert room is not None
        while True:
            page = await world.log.read(TEA, 5, 500, 1 << 20)
            for number, frame in enumerate(page.frames, 6):
                if message.msgid in frame:
                    return number
            await world.wait()
