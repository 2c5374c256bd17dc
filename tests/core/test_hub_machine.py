"""A model of a room against the real hub, under any order of joins, sends, resends, lags, losses, restarts,
kicks, bans and mutes."""

from __future__ import annotations

from hypothesis import settings
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
from encchat.core.interfaces import Unavailable
from encchat.wire import advance, decode_entry, encode
from tests.core.world import LOG_ID, Gate, LateLog, Peer, World, msgid

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
        self.log = LateLog(LOG_ID)
        self.begin()
        self.readers = {name: Reader() for name in NAMES}
        self.sent: dict[tuple[str, int], bytes] = {}
        self.acts: dict[str, list[m.ClientMessage]] = {name: [] for name in NAMES}
        self.numbers = 0

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

    @rule(name=names, count=st.integers(1, 5))
    def send(self, name: str, count: int) -> None:
        reader = self.readers[name]
        if reader.peer is not None and reader.in_room:
            for _ in range(count):
                self.numbers += 1
                body = f"{name} {self.numbers}".encode()
                self.sent[name, self.numbers] = body
                reader.peer.send(m.Send(self.numbers, ROOM, msgid(self.numbers), "text", body))

    @rule(name=names)
    def resend(self, name: str) -> None:
        reader = self.readers[name]
        mine = [number for (sender, number) in self.sent if sender == name]
        if reader.peer is not None and reader.in_room and mine:
            for number in mine[-4:]:
                body = self.sent[name, number]
                reader.peer.send(m.Send(number, ROOM, msgid(number), "text", body))

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

    @invariant()
    def nobody_wrote_who_may_not(self) -> None:
        self.banned_and_muted()

    def banned_and_muted(self) -> tuple[bool, bool]:
        """What the log says of the target at its end. Wherever it stands, nothing of hers comes behind a
        ban or a mute."""
        banned = muted = False
        for frame in self.world.log_frames(ROOM):
            entry = decode_entry(frame)
            if entry.kind == "text" and entry.sender == TARGET:
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
        assert {entry.body for entry in said if entry.kind == "text"} <= set(self.sent.values())


class Model(SynchronousTestCase):
    """The machine above, as a test."""

    def test_hub(self) -> None:
        run_state_machine_as_test(
            HubMachine, settings=settings(max_examples=150, stateful_step_count=40, deadline=None)
        )
