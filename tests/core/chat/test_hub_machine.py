"""A model of a room against the real hub, under any order of joins, sends, resends, lags, losses, restarts,
kicks, bans and mutes."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.contents import Reply, body_of
from encchat.core.interfaces import Unavailable
from encchat.logs.sqlite import open_sqlite_log
from encchat.wire import advance, decode_entry, encode
from tests.core.world import LOG_ID, Gate, LateLog, Peer, World, msgid
from tests.logs.rig import Rig

NAMES = ("alice", "bob", "carol")
#: alice owns the room, bob moderates it; this one is kicked, banned and muted.
ROOM = "+tea"
#: The id of every Join.
JOIN = 2**32 - 1
TARGET = "carol"
#: What a client asks of the room's order, by what it answers for.
MAKE = {
    "kick": lambda n: m.Kick(n, ROOM, msgid(n), TARGET),
    "ban": lambda n: m.Ban(n, ROOM, msgid(n), TARGET),
    "unban": lambda n: m.Unban(n, ROOM, msgid(n), TARGET),
    "mute": lambda n: m.Mute(n, ROOM, msgid(n), TARGET),
    "unmute": lambda n: m.Unmute(n, ROOM, msgid(n), TARGET),
    "topic": lambda n: m.Topic(n, ROOM, msgid(n), f"topic {n}"),
}


class Reader:
    """What a careful client keeps: its own copy of the room, position by position."""

    def __init__(self) -> None:
        self.copy: list[bytes] = []
        self.position = m.Position()
        self.peer: Peer | None = None
        self.in_room = False
        self.joining = False
        #: What was acknowledged: the seq of each request.
        self.acknowledged: dict[int, int] = {}

    def join(self) -> None:
        assert self.peer is not None
        self.take_news()
        if not self.in_room and not self.joining:
            self.joining = True
            self.peer.send(m.Join(JOIN, ROOM, self.position))

    def take_news(self) -> None:
        assert self.peer is not None
        for news in self.peer.news():
            if type(news) is m.Joined:
                self.in_room, self.joining = True, False
                assert news.start == self.position, "the server resumed at another place"
            elif type(news) is m.Sent:
                assert self.acknowledged.setdefault(news.id, news.seq) == news.seq, "acknowledged elsewhere"
            elif type(news) is m.Removed:
                assert self.in_room
                self.in_room = False
            elif type(news) is m.Error and news.id == JOIN:
                self.joining = False
            elif type(news) is m.Entry:
                assert self.in_room, "an entry for somebody who is not in the room"
                assert news.seq == self.position.seq + 1, f"{news.seq} after {self.position.seq}"
                frame = encode(news)
                self.copy.append(frame)
                self.position = advance(self.position, [frame])


class HubMachine(RuleBasedStateMachine):
    """Every acknowledged message is in the log once, in order; every reader's copy is a prefix of it; and
    the log itself shows that nobody wrote who was banned or muted."""

    def __init__(self) -> None:
        super().__init__()
        self.log = self.open()
        self.begin()
        self.readers = {name: Reader() for name in NAMES}
        self.sent: dict[tuple[str, int], m.Send] = {}
        self.acts: dict[str, list[m.ClientMessage]] = {name: [] for name in NAMES}
        self.numbers = 0

    def open(self) -> LateLog:
        return LateLog(LOG_ID)

    def begin(self) -> None:
        self.world = World(self.log, limits=m.Limits(rate=0))

    names = st.sampled_from(NAMES)
    moderators = st.sampled_from(("alice", "bob"))

    @initialize()
    def roles(self) -> None:
        """The room is there, with its roles, before anything else happens."""
        alice = self.world.member("alice", ROOM)
        for name in NAMES:
            self.world.named(name)
        alice.ask(m.Role(1, ROOM, msgid(10**6), "bob", "moderator"))
        for session in list(self.world.hub.sessions):
            session.lost()
        self.world.turn.end()
        self.connect_all()

    def connect_all(self) -> None:
        for name in NAMES:
            self.connect(name)
        self.world.turn.end()
        self.copies_are_prefixes()

    @rule(name=names)
    def connect(self, name: str) -> None:
        reader = self.readers[name]
        if reader.peer is None:
            gates, self.log.gates = self.log.gates, None
            reader.peer = self.world.named(name)
            self.log.gates = gates
            reader.join()

    @rule(name=names)
    def join(self, name: str) -> None:
        if self.readers[name].peer is not None:
            self.readers[name].join()

    @rule(name=names)
    def cut(self, name: str) -> None:
        reader = self.readers[name]
        if reader.peer is not None:
            reader.peer.session.lost()
            reader.peer, reader.in_room, reader.joining = None, False, False

    @rule(name=names, count=st.integers(1, 5), reply=st.booleans())
    def send(self, name: str, count: int, reply: bool = False) -> None:
        """Text, or what is looked up in the log before it is let in."""
        reader = self.readers[name]
        if reader.peer is not None and reader.in_room:
            for _ in range(count):
                self.numbers += 1
                words = f"{name} {self.numbers}"
                kind, body = ("reply", body_of(Reply(1, words))) if reply else ("text", words.encode())
                message = m.Send(self.numbers, ROOM, msgid(self.numbers), kind, body)
                self.sent[name, self.numbers] = message
                reader.peer.send(message)

    @rule(name=names)
    def resend(self, name: str) -> None:
        """Also by who is not in the room any more, or may not write."""
        reader = self.readers[name]
        mine = [number for (sender, number) in self.sent if sender == name]
        if reader.peer is not None and mine:
            for number in mine[-4:]:
                reader.peer.send(self.sent[name, number])

    @rule(name=moderators, kind=st.sampled_from(sorted(MAKE)))
    def act(self, name: str, kind: str) -> None:
        peer = self.readers[name].peer
        if peer is not None:
            self.numbers += 1
            message = MAKE[kind](self.numbers)
            self.acts[name].append(message)
            peer.send(message)

    @rule(name=moderators, index=st.integers(0, 100))
    def act_again(self, name: str, index: int) -> None:
        peer = self.readers[name].peer
        if peer is not None and self.acts[name]:
            peer.send(self.acts[name][index % len(self.acts[name])])

    @rule(name=moderators, kind=st.sampled_from(sorted(MAKE)), steps=st.integers(0, 12), again=st.booleans())
    def act_step_by_step(self, name: str, kind: str, steps: int, again: bool) -> None:
        """An act on a slow log, while its target writes at every step."""
        if self.log.gates is None:
            self.log.gates = []
        if again:
            self.act_again(name, steps)
        else:
            self.act(name, kind)
        for _ in range(steps):
            self.send(TARGET, 1)
            self.the_log_answers_some(1, False, False)

    @rule(name=names)
    def congest(self, name: str) -> None:
        peer = self.readers[name].peer
        if peer is not None:
            peer.session.congested = True

    @rule(name=names)
    def drain(self, name: str) -> None:
        peer = self.readers[name].peer
        if peer is not None:
            peer.session.drained()

    @rule()
    def end_of_turn(self) -> None:
        self.world.turn.end()

    @rule()
    def tick(self) -> None:
        self.world.hub.tick()

    @rule()
    def restart(self) -> None:
        """The server dies with whatever was on its way, and comes up again on the same log."""
        for name in NAMES:
            self.cut(name)
        assert not self.world.turn.unforeseen, self.world.turn.unforeseen
        self.log.gates = None
        self.begin()
        self.connect_all()

    @precondition(lambda self: self.log.gates is None)
    @rule()
    def the_log_becomes_slow(self) -> None:
        self.log.gates = []

    @precondition(lambda self: self.log.gates)
    @rule(count=st.integers(1, 8), last=st.booleans(), fails=st.booleans())
    def the_log_answers_some(self, count: int, last: bool, fails: bool) -> None:
        for left in reversed(range(count)):
            self.world.turn.end()
            if self.log.gates:
                gate = self.log.gates.pop(-1 if last else 0)
                gate.error = Unavailable(reason="the disk is away") if fails and not left else None
                self.world.turn.open(gate)

    @precondition(lambda self: self.log.gates is not None)
    @rule()
    def the_log_is_quick_again(self) -> None:
        gates: list[Gate] = self.log.gates or []
        self.log.gates = None
        for gate in gates:
            self.world.turn.open(gate)

    @invariant()
    def copies_are_prefixes(self) -> None:
        stored = self.world.log_frames(ROOM)
        for reader in self.readers.values():
            if reader.peer is not None:
                reader.take_news()
            assert stored[: len(reader.copy)] == reader.copy
        for reader in self.readers.values():
            for number, seq in reader.acknowledged.items():
                assert decode_entry(stored[seq - 1]).msgid == msgid(number), "acknowledged, and not there"

    @invariant()
    def nobody_wrote_who_may_not(self) -> None:
        self.banned_and_muted()

    def banned_and_muted(self) -> tuple[bool, bool]:
        """What the log says of the target at its end. Wherever it stands, nothing of hers comes behind a
        ban or a mute."""
        banned = muted = False
        for frame in self.world.log_frames(ROOM):
            entry = decode_entry(frame)
            if entry.kind in ("text", "reply") and entry.sender == TARGET:
                assert not banned, "the banned wrote"
                assert not muted, "the muted wrote"
            banned = (banned or entry.kind == "ban") and entry.kind != "unban"
            muted = (muted or entry.kind == "mute") and entry.kind != "unmute"
        return banned, muted

    def teardown(self) -> None:
        """Once everything runs again, everybody who may be there has everything, once."""
        if self.log.gates is not None:
            self.the_log_is_quick_again()
        for _ in range(3):
            self.world.turn.end()
            self.world.hub.tick()
        for name in NAMES:
            self.connect(name)
            self.drain(name)
            self.world.turn.end()
            self.join(name)
        self.world.turn.end()
        self.copies_are_prefixes()
        banned, muted = self.banned_and_muted()
        record = self.world.hub.present_room(ROOM)
        assert record is not None, "nobody is in the room"
        assert ([b.name for b in record.record.bans], [b.name for b in record.record.mutes]) == (
            [TARGET] * banned,
            [TARGET] * muted,
        ), "the record is not what the log says"
        for name in NAMES:
            self.resend(name)
        self.world.turn.end()
        self.world.hub.tick()
        self.world.turn.end()
        self.copies_are_prefixes()
        self.banned_and_muted()
        assert not self.world.turn.unforeseen, self.world.turn.unforeseen
        stored = self.world.log_frames(ROOM)
        for name, reader in self.readers.items():
            assert reader.peer is not None
            assert not reader.peer.closed
            assert reader.in_room == (name != TARGET or not banned)
            if reader.in_room:
                assert reader.copy == stored
        said = [decode_entry(frame) for frame in stored]
        ids = [(entry.sender, entry.msgid) for entry in said]
        assert len(set(ids)) == len(ids), "a message is there twice"
        for entry in said:
            if entry.kind in ("text", "reply"):
                message = self.sent[entry.sender, int.from_bytes(entry.msgid, "big")]
                assert (entry.kind, entry.body) == (message.kind, message.body)


class OnDisk(LateLog):
    """The same late answers from the log that a server has, in a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(LOG_ID)
        self.path = path
        self.rig = Rig()
        self.open()

    def open(self) -> None:
        self.disk = open_sqlite_log(self.path, self.rig, durability="relaxed")

    def restart(self) -> None:
        self.rig.wait(self.disk.close())
        self.open()

    async def _done(self, work: Coroutine[Any, Any, Any]) -> Any:
        found = self.rig.wait(work)
        await self._gate()
        return found

    async def append(self, drafts: Any) -> Any:
        return await self._done(self.disk.append(drafts))

    async def read(self, room: str, after: int, limit: int, size: int) -> Any:
        return await self._done(self.disk.read(room, after, limit, size))

    async def read_back(self, room: str, before: int, limit: int, size: int) -> Any:
        return await self._done(self.disk.read_back(room, before, limit, size))

    async def head(self, room: str) -> Any:
        return await self._done(self.disk.head(room))

    async def position(self, room: str, seq: int) -> Any:
        return await self._done(self.disk.position(room, seq))

    async def get(self, kind: str, key: str) -> Any:
        return await self._done(self.disk.get(kind, key))

    async def put(self, kind: str, key: str, value: bytes, expected: int) -> Any:
        return await self._done(self.disk.put(kind, key, value, expected))

    async def delete(self, kind: str, key: str, expected: int) -> None:
        await self._done(self.disk.delete(kind, key, expected))

    async def scan(self, kind: str, after: str = "", limit: int = 1000) -> Any:
        return await self._done(self.disk.scan(kind, after, limit))

    def hints(self, callback: Callable[[str, int], None]) -> None:
        self.disk.hints(callback)


class DiskWorld(World):
    """A world whose log is looked at on disk."""

    def log_frames(self, room: str) -> list[bytes]:
        assert isinstance(self.log, OnDisk)
        return list(self.log.rig.wait(self.log.disk.read(room, 0, 10**6, 10**9)).frames)


class DurableHubMachine(HubMachine):
    """The same over a file, which is closed and opened at each restart, and sound at the end."""

    log: OnDisk

    def open(self) -> OnDisk:
        self.place = tempfile.TemporaryDirectory()
        self.began = False
        return OnDisk(Path(self.place.name) / "log.db")

    def begin(self) -> None:
        if self.began:
            self.log.restart()
        self.began = True
        self.world = DiskWorld(self.log, limits=m.Limits(rate=0))

    def teardown(self) -> None:
        super().teardown()
        assert self.log.rig.wait(self.log.disk.verify()) == []
        self.log.rig.wait(self.log.disk.close())
        self.place.cleanup()


class Model(SynchronousTestCase):
    """The machine above, as a test."""

    def test_hub(self) -> None:
        run_state_machine_as_test(
            HubMachine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
        )

    def test_hub_on_disk(self) -> None:
        run_state_machine_as_test(
            DurableHubMachine,
            settings=settings(
                max_examples=15,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=[HealthCheck.too_slow],
            ),
        )
