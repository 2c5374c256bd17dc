"""A sealed room under anything that members, leavers and strangers do, across restarts, with a model: what is
in the log is what the last roster allowed."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.sealed.formats import parse_roster
from encchat.wire import decode_entry
from tests.core.relay.sealing import change, create, enter, roster, sealed
from tests.core.world import LOG_ID, GatedLog, Peer, World

ROOM = "#tea"
NAMES = ("alice", "bob", "carol", "dave")
someone = st.sampled_from(NAMES)
some = st.sets(someone, max_size=4)


class SealedMachine(RuleBasedStateMachine):
    """The model: the members, admins and seq of the last roster, and who is in the room."""

    def __init__(self) -> None:
        super().__init__()
        self.log = GatedLog(LOG_ID)
        self.number = 0
        self.last = roster(ROOM, "alice", ["alice", "bob"])
        self.start()
        assert type(self.ask("alice", create(ROOM, self.last, 999))) is m.Sent
        self.members, self.admins, self.seen = {"alice", "bob"}, {"alice"}, 1
        self.log_length = 1
        self.there: set[str] = set()

    def start(self) -> None:
        self.world = World(self.log, limits=m.Limits(rate=0))
        self.peers: dict[str, Peer] = {name: enter(self.world, name) for name in NAMES}

    def ask(self, name: str, message: Any) -> Any:
        """The answer, with which everything is told that there is to tell."""
        found = [got for got in self.peers[name].ask(message) if getattr(got, "id", None) == message.id]
        assert len(found) == 1, found
        assert not self.world.turn.unforeseen
        return found[0]

    @rule()
    def restart(self) -> None:
        self.start()
        self.there = set()

    @rule(name=someone)
    def join(self, name: str) -> None:
        answer = self.ask(name, m.Join(1, ROOM))
        if name in self.members:
            assert type(answer) is m.Joined, answer
            self.there.add(name)
        else:
            assert answer.code == "invite-only"

    @rule(name=someone, behind=st.integers(0, 2))
    def say(self, name: str, behind: int) -> None:
        self.number += 1
        claimed = max(0, self.seen - behind)
        answer = self.ask(name, sealed(self.number, ROOM, claimed, b"%d" % claimed))
        if name not in self.there:
            assert answer.code == "not-in-room"
        elif behind:
            assert answer.code == "roster-changed"
        else:
            self.log_length += 1
            assert (type(answer), answer.seq) == (m.Sent, self.log_length)

    @rule(name=someone, members=some, admins=some, behind=st.booleans(), again=st.booleans())
    def change(self, name: str, members: set[str], admins: set[str], behind: bool, again: bool) -> None:
        self.number += 1
        admins &= members
        body = roster(ROOM, name, sorted(members), sorted(admins), after=self.last, salt=self.number)
        request = change(self.number, ROOM, self.seen - behind, body)
        answer = self.ask(name, request)
        leaves = members == self.members - {name} and sorted(admins) == sorted(
            self.admins - {name} or self.members - {name}
        )
        if name not in self.there:
            assert answer.code == "not-in-room"
        elif behind:
            assert answer.code == "roster-changed"
        elif not (leaves or (name in self.admins and (admins or not members))):
            assert answer.code == "roster-refused"
        else:
            self.log_length += 1
            assert (type(answer), answer.seq) == (m.Sent, self.log_length), answer
            self.last, self.members, self.admins, self.seen = body, members, admins, answer.seq
            self.there &= members
            if again:
                assert self.ask(name, request).seq == answer.seq

    @invariant()
    def only_members_are_there(self) -> None:
        inside = {name for name, peer in self.peers.items() if peer.session.is_in(ROOM)}
        assert inside == self.there <= self.members

    @invariant()
    def the_log_holds_what_was_allowed(self) -> None:
        last = 0
        entries = list(map(decode_entry, self.world.log_frames(ROOM)))
        assert len(entries) == self.log_length
        for entry in entries:
            if entry.kind == "roster":
                last = entry.seq
            else:
                assert entry.body == b"%d" % last
        assert last == self.seen
        assert parse_roster(entries[last - 1].body).raw == self.last


class Machine(SynchronousTestCase):
    """The model."""

    def test_machine(self) -> None:
        run_state_machine_as_test(
            SealedMachine, settings=settings(max_examples=60, stateful_step_count=30, deadline=None)
        )
