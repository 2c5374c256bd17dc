"""Whatever ends whenever: what was said in a sealed room is in its log once, and shown."""

from __future__ import annotations

from typing import Any

from encchat import messages as m
from encchat.client import events as e
from encchat.wire import decode_client
from tests.client.sealed.town import TALK, Person, TownCase

#: Messages of the server after which it is over.
STEPS = 14


class Once(TownCase):
    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.person("alice"), self.person("bob")
        self.alice.say(self.alice.sealed.conversation("bob"), "before")

    def cut_after(self, person: Person, steps: int) -> None:
        """From now on only so many messages of the server arrive."""
        left = [steps]

        def bend(message: Any) -> tuple[Any, ...]:
            left[0] -= 1
            return (message,) if left[0] >= 0 else ()

        person.bend = bend

    def heal(self, person: Person) -> None:
        person.bend = lambda message: (message,)

    def check(self, *texts: str) -> None:
        """All was said once, and nothing waits."""
        self.assertEqual(self.bob.texts(TALK), ["before", *texts])
        self.assertEqual((self.alice.chat.unacknowledged, self.alice.chat.waiting()), (0, []))

    def test_killed_at_every_step(self) -> None:
        said = []
        for steps in range(STEPS):
            self.cut_after(self.alice, steps)
            self.alice.chat.say(TALK, f"step {steps}")
            said.append(f"step {steps}")
            self.town.settle()
            self.heal(self.alice)
            self.alice.restart()
            self.town.later(1)
            self.check(*said)

    def test_the_line_is_cut_at_every_step(self) -> None:
        said = []
        for steps in range(STEPS):
            self.cut_after(self.alice, steps)
            self.alice.chat.say(TALK, f"step {steps}")
            said.append(f"step {steps}")
            self.town.settle()
            self.heal(self.alice)
            self.alice.cut()
            self.alice.chat.reconnect()
            self.town.later(1)
            self.check(*said)

    def test_killed_while_it_starts(self) -> None:
        for steps in range(STEPS):
            self.alice.offline = True
            self.alice.restart()
            self.alice.chat.say(TALK, f"step {steps}")
            self.alice.offline = False
            self.cut_after(self.alice, steps)
            self.alice.restart()
            self.town.later(1)
            self.heal(self.alice)
            self.alice.restart()
            self.town.later(1)
            self.check(*(f"step {number}" for number in range(steps + 1)))

    def test_the_same_bytes_go_again(self) -> None:
        self.alice.bend = lambda message: () if isinstance(message, m.Sent | m.Entry) else (message,)
        self.alice.chat.say(TALK, "again")
        self.town.settle()
        self.heal(self.alice)
        self.alice.restart()
        self.town.later(1)
        sent = [decode_client(frame) for frame in self.alice.sent]
        bodies = [x.body for x in sent if isinstance(x, m.Send) and x.kind == "sealed"]
        self.assertEqual(bodies[-1], bodies[-2])
        self.check("again")

    def test_the_roster_changes_meanwhile(self) -> None:
        carol = self.person("carol")
        room = "#ops"
        self.alice.sealed.create(room, ["bob"])
        self.town.settle()
        self.alice.sealed.promote(room, "bob")
        self.town.settle()
        self.alice.transport.paused = True
        self.bob.sealed.invite(room, "carol")
        self.town.settle()
        self.alice.chat.say(room, "for whoever is in")
        self.town.settle()
        self.alice.transport.paused = False
        self.town.settle()
        self.assertEqual(carol.texts(room), ["for whoever is in"])
        self.assertEqual(self.bob.texts(room), ["for whoever is in"])
        self.assertEqual(self.alice.of(e.NotSent), [])

    def test_the_server_restarts(self) -> None:
        self.alice.chat.say(TALK, "one")
        self.town.restart()
        self.alice.chat.say(TALK, "two")
        self.bob.chat.say(TALK, "three")
        self.town.later(10)
        self.assertEqual(sorted(self.bob.texts(TALK)), ["before", "one", "three", "two"])
        self.assertEqual(self.bob.texts(TALK).index("one") < self.bob.texts(TALK).index("two"), True)

    def test_the_server_begins_anew(self) -> None:
        """Once a person accepts that, rooms begin anew, and who is who stays known."""
        self.alice.sealed.verify(self.alice.sealed.safety_number("bob"))
        self.town.settle()
        for person in (self.alice, self.bob):
            person.end()
        self.town.begin_anew()
        for person in (self.alice, self.bob):
            person.accept_log = True
            person.start()
        self.town.later(1)
        self.assertEqual(self.alice.sealed.rooms(), [])
        self.assertEqual(self.alice.sealed.history(TALK).entries, ())
        self.alice.say(self.alice.sealed.conversation("bob"), "once more")
        self.assertEqual(self.bob.texts(TALK), ["once more"])
        self.assertEqual(self.alice.sealed.seal_of(TALK).trust, "verified")

    def test_bob_is_killed_while_he_reads(self) -> None:
        seen: list[str] = []
        for steps in range(STEPS):
            self.cut_after(self.bob, steps)
            self.alice.say(TALK, f"step {steps}")
            self.heal(self.bob)
            self.bob.restart()
            self.town.later(12)
            seen = self.bob.texts(TALK)
        self.assertEqual(seen, ["before", *(f"step {number}" for number in range(STEPS))])
