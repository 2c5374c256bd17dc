"""Acts when the log fails at any step, before or after it did what it was asked; and when the server dies."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.accounts import operator
from encchat.core.directory import Directory
from encchat.core.interfaces import Unavailable
from encchat.logs.memory import MemoryLog
from tests.core.moderation.test_moderation import (
    TEA,
    ban,
    entries,
    invite,
    kick,
    mute,
    number,
    role,
    unban,
    world_of,
)
from tests.core.test_directory import run
from tests.core.world import LOG_ID, Peer, World, text


class Failing(MemoryLog):
    """A log whose ``at``-th call from now on fails; ``late``: after it did what it was asked."""

    at = 0
    late = False
    #: It goes on failing until it is repaired.
    broken = False

    async def _call(self, work: Any) -> Any:
        self.at -= 1
        fails = self.at == 0 or (self.broken and self.at < 0)
        if fails and not self.late:
            work.close()
            raise Unavailable(reason="the disk is away")
        found = await work
        if fails:
            raise Unavailable(reason="the disk went away")
        return found

    def repair(self) -> None:
        self.at, self.broken = 0, False

    async def append(self, drafts: Any) -> Any:
        return await self._call(super().append(drafts))

    async def get(self, kind: str, key: str) -> Any:
        return await self._call(super().get(kind, key))

    async def put(self, kind: str, key: str, value: bytes, expected: int) -> Any:
        return await self._call(super().put(kind, key, value, expected))

    async def head(self, room: str) -> Any:
        return await self._call(super().head(room))


class Faults(SynchronousTestCase):
    """One act, and one failure in the course of it."""

    def begin(self) -> None:
        self.log = Failing(LOG_ID)
        self.world = world_of(self.log)
        self.olga, self.mona, self.bob = (self.world.member(n, TEA) for n in ("olga", "mona", "bob"))
        self.olga.ask(role("mona", "moderator"))
        for peer in (self.olga, self.mona, self.bob):
            peer.news()

    def failures(self, message: Any) -> Iterator[str]:
        """Do the act in a new world for each way in which it can fail."""
        for broken in (False, True):
            for late in (False, True):
                for at in range(1, 20):
                    self.begin()
                    self.log.at, self.log.late, self.log.broken = at, late, broken
                    answers = [n for n in self.mona.ask(message) if getattr(n, "id", 0) == message.id]
                    reached = self.log.at <= 0
                    self.log.repair()
                    self.assertEqual(len(answers), 1)
                    if not reached:
                        break
                    self.assertEqual(answers[0].code, "storage-unavailable")
                    self.assertEqual(self.world.turn.unforeseen, [])
                    yield f"at {at}, late {late}, broken {broken}"
                else:
                    self.fail("the act never ends")

    def restart(self) -> None:
        self.world = world_of(self.log)
        self.olga, self.mona, self.bob = (self.world.named(n) for n in ("olga", "mona", "bob"))
        self.mona.ask(m.Join(1, TEA))

    def is_in(self, peer: Peer) -> bool:
        peer.ask(m.Join(number(), TEA))
        return peer.session.is_in(TEA)

    def test_sent_again(self) -> None:
        message = ban("bob")
        seen = 0
        for case in self.failures(message):
            seen += 1
            sent = next(n for n in self.mona.ask(message) if getattr(n, "id", 0) == message.id)
            self.assertIs(type(sent), m.Sent, case)
            self.assertFalse(self.is_in(self.bob), case)
            self.assertEqual([k for _, k, _ in entries(self.world)], ["role", "ban"], case)
        self.assertGreater(seen, 15)

    def test_sent_again_after_a_restart(self) -> None:
        message = ban("bob")
        for case in self.failures(message):
            self.restart()
            sent = next(n for n in self.mona.ask(message) if getattr(n, "id", 0) == message.id)
            self.assertIs(type(sent), m.Sent, case)
            self.assertFalse(self.is_in(self.bob), case)
            self.assertEqual([k for _, k, _ in entries(self.world)], ["role", "ban"], case)

    def test_never_sent_again(self) -> None:
        """The ban is in force if, and only if, it is an entry."""
        for again in (self.restart, self.tick, self.another_act):
            for case in self.failures(ban("bob")):
                again()
                self.assertIsNone(run(Directory(self.log).room(TEA)).pending, (case, again))
                banned = not self.is_in(self.bob)
                self.assertEqual("ban" in [k for _, k, _ in entries(self.world)], banned, (case, again))

    def tick(self) -> None:
        self.world.hub.tick()
        self.world.turn.end()

    def another_act(self) -> None:
        self.olga.ask(invite("bob"))
        self.assertEqual(entries(self.world)[-1][1], "invite")

    def test_undone_meanwhile_and_sent_again(self) -> None:
        message = ban("bob")
        for restart in (False, True):
            for case in self.failures(message):
                self.mona.ask(message)
                self.olga.ask(unban("bob"))
                if restart:
                    self.restart()
                self.mona.ask(message)
                self.assertTrue(self.is_in(self.bob), case)
                self.assertEqual([k for _, k, _ in entries(self.world)], ["role", "ban", "unban"], case)

    def test_a_kick_hits_once(self) -> None:
        message = kick("bob")
        for case in self.failures(message):
            self.mona.ask(message)
            self.assertFalse(self.bob.session.is_in(TEA), case)
            self.assertEqual(len([n for n in self.bob.news() if type(n) is m.Removed]), 1, case)
            self.assertTrue(self.is_in(self.bob), case)
            self.tick()
            self.mona.ask(message)
            self.assertTrue(self.bob.session.is_in(TEA), case)

    def test_while_it_is_unknown_nothing_forbidden_comes_in(self) -> None:
        for make in (ban, mute, kick):
            for case in self.failures(make("bob")):
                self.bob.ask(text(number(), "ghost", TEA))
                self.tick()
                kinds = [(sender, kind) for sender, kind, _ in entries(self.world)]
                if ("mona", make.__name__) in kinds:
                    behind = kinds[kinds.index(("mona", make.__name__)) :]
                    self.assertNotIn(("bob", "text"), behind, case)

    def test_a_name_that_is_given_another(self) -> None:
        """What a rename makes of a room is known there too, however it was cut off."""
        for late in (False, True):
            for at in range(1, 20):
                self.begin()
                self.log.at, self.log.late = at, late
                self.world.turn.spawn(self.rename(), None)
                self.world.turn.end()
                reached = self.log.at <= 0
                self.log.repair()
                if not reached:
                    break
                self.tick()
                room = self.world.hub.present_room(TEA)
                assert room is not None
                self.assertEqual(room.record, run(Directory(self.log).room(TEA)), (late, at))
            else:
                self.fail("the rename never ends")

    async def rename(self) -> None:
        with contextlib.suppress(Unavailable):
            await operator.rename(self.world.hub, "mona", "lisa", operator.Actor())

    def test_a_room_that_cannot_be_read_lets_nobody_in(self) -> None:
        self.begin()
        self.mona.ask(ban("bob"))
        for at in range(1, 20):
            self.world = world_of(self.log)
            self.bob = self.world.named("bob")
            self.log.at = at
            (answer,) = self.bob.ask(m.Join(1, TEA))
            self.assertIn(answer.code, ("storage-unavailable", "banned"))
            if self.log.at > 0:
                break
            self.log.repair()
            self.assertEqual(self.bob.ask(m.Join(2, TEA))[0].code, "banned")
            self.assertIsNone(self.world.hub.present_room(TEA))
        else:
            self.fail("the join never ends")

    def test_many_join_a_room_that_cannot_be_read(self) -> None:
        log = Failing(LOG_ID)
        first = world_of(log)
        first.member("olga", TEA)
        world: World = world_of(log)
        peers = [world.named(f"n{n}") for n in range(5)]
        log.at = 3
        for peer in peers:
            peer.send(m.Join(1, TEA))
        world.turn.end()
        kinds: list[Callable[..., Any]] = [type(peer.news()[0]) for peer in peers]
        self.assertEqual(kinds.count(m.Error), 1)
        self.assertEqual(kinds.count(m.Joined), 4)
