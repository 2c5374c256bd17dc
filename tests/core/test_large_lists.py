"""However many people and rooms there are, what tells of them fits one frame."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from tests.core.world import World, msgid


class LargeLists(SynchronousTestCase):
    """A frame above the limit ends the connection of whoever gets it: nobody may make others get one."""

    def test_a_crowd_with_long_names(self) -> None:
        world = World()
        for number in range(2100):
            digits = "".join(chr(0x20000 + int(digit, 16)) for digit in f"{number:08x}")
            crowd = world.peer(f"key {number}")
            crowd.send(m.Hello((1,), "\U00020000" * 24 + digits), m.Join(1, "+lobby"))
            crowd.session.congested = True  # spares the test what all of them are told of all
        world.turn.end()
        alice = world.named("alice")
        (joined, *_) = alice.ask(m.Join(1, "+lobby"))
        self.assertGreater(len(joined.members), 1500)
        (members, *_) = alice.ask(m.Who(2, "+lobby"))
        self.assertEqual(members.members, joined.members)

    def test_many_rooms_with_long_topics(self) -> None:
        world = World(limits=m.Limits(rate=0))
        mallory, bob = world.named("mallory"), world.member("bob", "+zebra")
        for number in range(300):
            room = f"+{number}"
            mallory.ask(
                m.Join(number, room),
                m.Topic(number, room, msgid(number), "\u4e2d" * 1000),
                m.Part(number, room),
            )
        (rooms,) = bob.ask(m.Rooms(1))
        names = [info.room for info in rooms.rooms]
        self.assertEqual(names[0], "+lobby")
        self.assertIn("+zebra", names)  # whoever leaves many rooms behind hides none that is used
        self.assertGreater(len(names), 50)
