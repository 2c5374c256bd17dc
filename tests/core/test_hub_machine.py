"""A model of a room against the real hub, under any order of joins, sends, resends, lags and losses."""

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
from encchat.wire import advance, encode
from tests.core.world import LOG_ID, Gate, LateLog, Peer, World, msgid

NAMES = ("alice", "bob", "carol")


class Reader:
    """What a careful client keeps: its own copy of the room, position by position."""

    def __init__(self) -> None:
        self.copy: list[bytes] = []
        self.position = m.Position()
        self.peer: Peer | None = None
        self.in_room = False

    def take_news(self) -> None:
        assert self.peer is not None
        for news in self.peer.news():
            if type(news) is m.Joined:
                self.in_room = True
                assert news.start == self.position, "the server resumed at another place"
            elif type(news) is m.Entry:
                assert news.seq == self.position.seq + 1, f"{news.seq} after {self.position.seq}"
                frame = encode(news)
                self.copy.append(frame)
                self.position = advance(self.position, [frame])


class HubMachine(RuleBasedStateMachine):
    """Every acknowledged message is in the log once, in order; every reader's copy is a prefix of it."""

    def __init__(self) -> None:
        super().__init__()
        self.log = LateLog(LOG_ID)
        self.world = World(self.log, limits=m.Limits(rate=0))
        self.readers = {name: Reader() for name in NAMES}
        self.sent: dict[tuple[str, int], bytes] = {}
        self.acknowledged: dict[tuple[str, int], int] = {}
        self.numbers = 0

    names = st.sampled_from(NAMES)

    @initialize()
    def begin(self) -> None:
        self.log.gates = None

    @rule(name=names)
    def connect(self, name: str) -> None:
        reader = self.readers[name]
        if reader.peer is None:
            gates, self.log.gates = self.log.gates, None
            reader.peer = self.world.named(name)
            self.log.gates = gates
            reader.peer.send(m.Join(1, "+lobby", reader.position))

    @rule(name=names)
    def cut(self, name: str) -> None:
        reader = self.readers[name]
        if reader.peer is not None:
            reader.peer.session.lost()
            reader.peer, reader.in_room = None, False

    @rule(name=names, count=st.integers(1, 5))
    def send(self, name: str, count: int) -> None:
        reader = self.readers[name]
        if reader.peer is not None and reader.in_room:
            for _ in range(count):
                self.numbers += 1
                body = f"{name} {self.numbers}".encode()
                self.sent[name, self.numbers] = body
                reader.peer.send(m.Send(self.numbers, "+lobby", msgid(self.numbers), "text", body))

    @rule(name=names)
    def resend(self, name: str) -> None:
        reader = self.readers[name]
        mine = [number for (sender, number) in self.sent if sender == name]
        if reader.peer is not None and reader.in_room and mine:
            for number in mine[-4:]:
                body = self.sent[name, number]
                reader.peer.send(m.Send(number, "+lobby", msgid(number), "text", body))

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

    @precondition(lambda self: self.log.gates is None)
    @rule()
    def the_log_becomes_slow(self) -> None:
        self.log.gates = []

    @precondition(lambda self: self.log.gates)
    @rule(index=st.integers(0, 100))
    def the_log_answers_one(self, index: int) -> None:
        assert self.log.gates
        self.world.turn.open(self.log.gates.pop(index % len(self.log.gates)))

    @precondition(lambda self: self.log.gates is not None)
    @rule()
    def the_log_is_quick_again(self) -> None:
        gates: list[Gate] = self.log.gates or []
        self.log.gates = None
        for gate in gates:
            self.world.turn.open(gate)

    @invariant()
    def copies_are_prefixes(self) -> None:
        stored = self.world.log_frames("+lobby")
        for reader in self.readers.values():
            if reader.peer is not None:
                reader.take_news()
            assert stored[: len(reader.copy)] == reader.copy

    def teardown(self) -> None:
        """Once everything runs again, everybody has everything, once."""
        if self.log.gates is not None:
            self.the_log_is_quick_again()
        self.world.turn.end()
        for name in NAMES:
            self.connect(name)
            self.drain(name)
        self.world.turn.end()
        self.copies_are_prefixes()
        for name in NAMES:
            self.resend(name)
        self.world.turn.end()
        self.world.hub.tick()
        self.world.turn.end()
        self.copies_are_prefixes()
        assert not self.world.turn.unforeseen, self.world.turn.unforeseen
        stored = self.world.log_frames("+lobby")
        for reader in self.readers.values():
            assert reader.copy == stored
            assert reader.peer is not None
            assert reader.in_room
            assert not reader.peer.closed
        bodies = [frame.rpartition(b"\xc4")[2][1:] for frame in stored]
        assert len(set(bodies)) == len(bodies), "a message is there twice"
        assert set(bodies) <= set(self.sent.values())


class Model(SynchronousTestCase):
    """The machine above, as a test."""

    def test_hub(self) -> None:
        run_state_machine_as_test(
            HubMachine, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
        )
