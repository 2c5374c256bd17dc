"""Sealed rooms as they are meant to be: what people do, and what they see."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import effects as fx
from tests.core.sealed.world import Person, Server, room_of, sync


class Talk(SynchronousTestCase):
    """People in a room."""

    def test_conversation(self) -> None:
        """Everybody reads what everybody says, with who said it."""
        server = Server()
        alice, *_ = people = [Person(server, name) for name in ("alice", "rsabob", "carol")]
        room = room_of(server, *people)
        for person in people:
            person.say(room, f"hello from {person.name}")
            sync(*people)
        said = {2: "hello from alice", 3: "hello from rsabob", 4: "hello from carol"}
        for person in people:
            self.assertEqual(person.texts(room), said, person.events)
            self.assertEqual(person.of(fx.Failed) + person.of(fx.MailRejected), [])
        self.assertEqual({e.trust for e in alice.of(fx.Opened) if e.sender != "alice"}, {fx.PINNED})
