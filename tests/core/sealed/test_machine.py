"""Five people, three rooms, everything that happens to them in any order, and a server that cheats where it
can.

What is said is unique, so every opened text is known. Whatever the server does: nobody opens what was not
said to the room while they were in it, nor twice, nor in another's name. At the end, everybody comes online,
no letter is lost any more, and everybody has read exactly what was said while they were in.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import effects as fx
from encchat.core.sealed.formats import Roster, parse_roster
from encchat.core.sealed.rosters import RosterRefused, check_genesis, check_successor
from encchat.messages import Entry
from tests import SOAK
from tests.core.sealed.world import Person, Server

NAMES = ("alice", "bob", "carol", "dave", "rsaerin")
ROOMS = ("#tea", "#oak", "#elm")
people = st.sampled_from(NAMES)
rooms = st.sampled_from(ROOMS)


class Model:
    """What ought to be: told by what was said and by the rosters that the log shows in order."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.said: dict[str, tuple[str, str, bytes]] = {}

    def genuine(self, room: str) -> dict[int, str]:
        """The seq of each text that is in the log, as its sender put it there."""
        by_msgid = {msgid: text for text, (_, _, msgid) in self.said.items()}
        found: dict[int, str] = {}
        for entry in self.server.logs.get(room, []):
            text = by_msgid.get(entry.msgid) if entry.seq not in self.server.forged[room] else None
            if text is not None:
                found[entry.seq] = text
        return found

    def members(self, room: str, seq: int) -> set[str]:
        """Who was in a room when entry ``seq`` came."""
        now: Roster | None = None
        digest = b""
        for entry in self.server.logs.get(room, [])[:seq]:
            if entry.kind != "roster" or entry.seq in self.server.forged[room]:
                continue
            read = parse_roster(entry.body)
            try:
                if now is None:
                    check_genesis(read.roster)
                else:
                    check_successor(now, digest, read.roster)
            except RosterRefused:
                continue
            now, digest = read.roster, read.hash
        return set(now.identities) if now else set()


class Cheat(Server):
    """The server of the machine: it knows which entries it made up itself."""

    def __init__(self) -> None:
        super().__init__()
        self.forged: dict[str, set[int]] = {room: set() for room in ROOMS}

    def forge(self, entry: Entry, room: str, sender: str, device: str, msgid: bytes) -> None:
        """Show the content of an entry once more, elsewhere or in another's name."""
        seq = self.put(room, sender, device, entry.kind, msgid, entry.body)
        self.forged[room].add(seq)


class Machine(RuleBasedStateMachine):
    """The rules; ``check`` looks at every event as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self.server = Cheat()
        self.model = Model(self.server)
        self.people: dict[str, Person] = {}
        self.opened: dict[tuple[str, str], dict[int, str]] = {}
        self.texts = 0

    @initialize()
    def begin(self) -> None:
        for name in NAMES:
            self.people[name] = person = Person(self.server, name)
            person.rooms = set(ROOMS)
        self.people["alice"].change("#tea", create=True, add=NAMES)
        self.people["bob"].change("#oak", create=True, add=("alice", "carol"), policy="members")
        for person in self.people.values():
            person.sync()
        self.check()

    def check(self) -> None:
        """Look at what was shown since the last time."""
        for name, person in self.people.items():
            for event in person.events:
                if isinstance(event, fx.Opened):
                    text = event.body.decode()
                    room, sender, _ = self.model.said[text]
                    assert (event.room, event.sender) == (room, sender), event
                    assert name in self.model.members(room, event.seq), (name, event)
                    mine = self.opened.setdefault((name, room), {})
                    assert event.seq not in mine, ("twice at one place", event)
                    assert text not in mine.values(), ("twice", event)
                    mine[event.seq] = text
                assert not isinstance(event, fx.Forked | fx.RolledBack), event
            person.events.clear()

    def exists(self, room: str) -> bool:
        return bool(self.server.logs.get(room))

    # ------------------------------------------------------------------------------- what people do

    @rule(who=people, room=rooms, others=st.sets(people))
    def create(self, who: str, room: str, others: set[str]) -> None:
        if not self.exists(room) and self.people[who].online:
            self.people[who].change(room, create=True, add=tuple(sorted(others)))
        self.check()

    @rule(who=people, room=rooms, whom=people, what=st.sampled_from(("add", "remove", "promote", "demote")))
    def change(self, who: str, room: str, whom: str, what: str) -> None:
        if self.exists(room):
            self.people[who].change(room, **{what: (whom,)})
        self.check()

    @rule(who=people, room=rooms)
    def leave(self, who: str, room: str) -> None:
        if self.exists(room):
            self.people[who].change(room, leave=True)
        self.check()

    @rule(who=people, room=rooms, times=st.integers(1, 3))
    def say(self, who: str, room: str, times: int) -> None:
        for _ in range(times):
            self.texts += 1
            text = f"{who} says {self.texts}"
            person = self.people[who]
            msgid = person.msgid()
            self.model.said[text] = (room, who, msgid)
            person.do(person.vault.send(room, msgid, "text", text.encode(), self.server.now))
        self.check()

    @rule(who=st.sets(people, min_size=1))
    def sync(self, who: set[str]) -> None:
        for name in sorted(who):
            self.people[name].sync()
        self.check()

    @rule(room=st.sampled_from(ROOMS[:2]), talk=st.lists(people, min_size=1, max_size=6))
    def talk(self, room: str, talk: list[str]) -> None:
        for who in talk:
            self.people[who].sync()
            self.say(who, room, 1)

    @rule(who=people)
    def go_offline(self, who: str) -> None:
        self.people[who].disconnect()

    @rule(who=people)
    def come_online(self, who: str) -> None:
        if not self.people[who].online:
            self.people[who].connect()
        self.check()

    @rule(who=people)
    def restart(self, who: str) -> None:
        self.people[who].restart()
        self.check()

    @rule(seconds=st.sampled_from((5, 60, 3600, 25 * 3600)))
    def time_passes(self, seconds: int) -> None:
        self.server.now += seconds * 1000
        for person in self.people.values():
            person.tick()
        self.check()

    # ------------------------------------------------------------------------ what the server does

    @rule(who=people, which=st.integers(0, 50))
    def lose_mail(self, who: str, which: int) -> None:
        mail = self.server.mail.get(self.people[who].bound, [])
        if mail:
            mail.pop(which % len(mail))

    @rule(who=people, order=st.randoms(use_true_random=False))
    def reorder_mail(self, who: str, order: object) -> None:
        mail = self.server.mail.get(self.people[who].bound, [])
        seqs = [item[0] for item in mail]
        order.shuffle(mail)  # type: ignore[attr-defined]  # hypothesis' strategy is typed as an object here
        mail[:] = [(seq, *item[1:]) for seq, item in zip(seqs, mail, strict=True)]

    @rule(who=people, which=st.integers(0, 50), whom=people)
    def replay_mail(self, who: str, which: int, whom: str) -> None:
        mail = self.server.mail.get(self.people[who].bound, [])
        if mail:
            self.server.mail_seq += 1
            again = (self.server.mail_seq, *mail[which % len(mail)][1:])
            self.server.mail[self.people[whom].bound].append(again)

    @precondition(lambda self: any(self.server.logs.values()))
    @rule(
        which=st.integers(0, 10_000),
        room=rooms,
        sender=people,
        keep=st.sampled_from(("all", "msgid", "none")),
    )
    def forge(self, which: int, room: str, sender: str, keep: str) -> None:
        entries = [entry for log in self.server.logs.values() for entry in log]
        entry = entries[which % len(entries)]
        if not self.exists(room):
            return
        device = self.people[sender].bound
        if keep == "all":
            sender, device = entry.sender, entry.device
        msgid = b"%016d" % which if keep == "none" else entry.msgid
        self.server.forge(entry, room, sender, device, msgid)

    @rule(who=people)
    def swap_claims(self, who: str) -> None:
        bound = self.people[who].bound
        keys = self.server.one_time.get(bound, [])
        other = self.server.one_time.get(self.people[NAMES[0]].bound, [])
        if keys and other:
            keys[0], other[0] = other[0], keys[0]

    # --------------------------------------------------------------------------------- at the end

    def teardown(self) -> None:
        for person in self.people.values():
            if not person.online:
                person.connect()
        for hours in (2, 2, 2, 25, 25, 25, 25):  # as often as keys are asked for at the slowest
            self.server.now += hours * 3600 * 1000
            for person in self.people.values():
                person.tick()
                person.sync()
            for person in self.people.values():
                person.sync()
        self.check()
        for room in ROOMS:
            for seq, text in self.model.genuine(room).items():
                sender = self.model.said[text][1]
                members = self.model.members(room, seq)
                assert sender in members or not any(
                    text in self.opened.get((name, room), {}).values() for name in NAMES
                )
                for name in members if sender in members else ():
                    read = self.opened.get((name, room), {})
                    assert read.get(seq) == text, (name, room, seq, text, read)


class Anything(SynchronousTestCase):
    """Everybody reads exactly what was said to them."""

    def test_anything(self) -> None:
        """Under any order of all of that."""
        run_state_machine_as_test(
            Machine,
            settings=settings(
                max_examples=400 if SOAK else 25, stateful_step_count=80 if SOAK else 40, deadline=None
            ),
        )
