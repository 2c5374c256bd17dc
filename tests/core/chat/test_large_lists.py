"""However many people and rooms there are, what tells of them fits one frame."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.chat import listing, rooms
from encchat.core.chat.allowances import REQUEST_BURST, REQUEST_BYTES
from encchat.wire import encode
from tests.core.world import LOG_ID, GatedLog, World, msgid

#: A tenth of the real bound, and so a tenth of the people.
BOUND = rooms.LIST_BYTES // 10
SLACK = (m.MAX_PAYLOAD - rooms.LIST_BYTES) // 10


def wide(number: int) -> str:
    """A name of as many bytes as one can have, for each number."""
    digits = "".join(chr(0x20000 + int(digit, 16)) for digit in f"{number:08x}")
    return "\U00020000" * 24 + digits


class LargeLists(SynchronousTestCase):
    """A frame above the limit ends the connection of whoever gets it: nobody may make others get one."""

    def setUp(self) -> None:
        self.patch(rooms, "LIST_BYTES", BOUND)
        self.patch(listing, "LIST_BYTES", BOUND)

    def test_a_crowd_with_long_names(self) -> None:
        world = World()
        for number in range(210):
            crowd = world.peer(f"key {number}")
            crowd.send(m.Hello((1,), wide(number)), m.Join(1, "+lobby"))
            crowd.session.congested = True  # spares the test what all of them are told of all
        world.turn.end()
        alice = world.named("alice")
        (joined, *_) = alice.ask(m.Join(1, "+lobby"))
        self.assertGreater(len(joined.members), 150)
        self.assertLess(len(encode(joined)), BOUND + SLACK)
        (members, *_) = alice.ask(m.Who(2, "+lobby"))
        self.assertEqual(members.members, joined.members)

    def leave_behind(self, world: World, count: int) -> None:
        mallory = world.named("mallory")
        for number in range(count):
            room = f"+{number}"
            topic = m.Topic(number, room, msgid(number), "\u4e2d" * 1000)
            mallory.ask(m.Join(number, room), topic, m.Part(number, room))

    def test_many_rooms_with_long_topics(self) -> None:
        world = World(limits=m.Limits(rate=0))
        self.leave_behind(world, 30)
        bob = world.member("bob", "+zebra")
        (found,) = bob.ask(m.Rooms(1))
        names = [info.room for info in found.rooms]
        self.assertEqual(names[0], "+lobby")
        self.assertIn("+zebra", names)  # whoever leaves many rooms behind hides none that is used
        self.assertGreater(len(names), 5)
        self.assertLess(len(encode(found)), BOUND + SLACK)

    def test_they_are_paid_for(self) -> None:
        """Nobody gets megabytes a second, or thousands of records read, for a few bytes."""
        world = World(limits=m.Limits(rate=0))
        self.leave_behind(world, 30)
        world.settings.limits = m.Limits()
        bob = world.member("bob", "+zebra")
        names = [wide(number) for number in range(180)]
        for name in names:
            crowd = world.named(name)
            crowd.ask(m.Join(1, "+zebra"))
            crowd.session.congested = True
        roles = [m.Role(n, "+zebra", msgid(5000 + n), name, "moderator") for n, name in enumerate(names)]
        for at in range(0, len(roles), 20):
            bob.ask(*roles[at : at + 20])
            world.turn.time += 60
        world.turn.time += 3600
        bob.news()
        for ask in (m.Rooms(1), m.Who(1, "+zebra"), m.Join(1, "+zebra"), m.About(1, "+zebra")):
            size = len(encode(bob.ask(ask)[0]))
            kinds = (m.RoomList, m.Members, m.Joined, m.RoomProfile)
            answered = [one for one in bob.ask(*[ask] * 200) if isinstance(one, kinds)]
            self.assertLess(
                len(answered) * max(1, size / REQUEST_BYTES), REQUEST_BURST + size / REQUEST_BYTES
            )
            world.turn.time += 60

    def test_deserted_rooms_are_not_looked_up_again_and_again(self) -> None:
        """A thousand look-ups for one small question would be a lever."""
        log = GatedLog(LOG_ID)
        world = World(log, limits=m.Limits(rate=0))
        self.leave_behind(world, 3)
        bob = world.named("bob")
        (before,) = bob.ask(m.Rooms(1))
        heads: list[str] = []

        async def head(room: str) -> m.Position:
            heads.append(room)
            return m.Position()

        self.patch(log, "head", head)
        (after,) = bob.ask(m.Rooms(1))
        self.assertEqual((after, heads), (before, []))
        self.assertEqual([info.entries for info in after.rooms], [0, 1, 1, 1])

    def test_what_is_said_meanwhile_counts(self) -> None:
        world = World(limits=m.Limits(rate=0))
        self.leave_behind(world, 1)
        bob = world.named("bob")
        bob.ask(m.Rooms(1))
        bob.ask(m.Join(2, "+0"), m.Send(3, "+0", msgid(9), "text", b"x"))
        bob.ask(m.Part(4, "+0"))
        (found,) = bob.ask(m.Rooms(5))
        self.assertEqual([info.entries for info in found.rooms], [0, 2])

    def test_typing_is_paid_for_as_it_reaches_many(self) -> None:
        world = World()
        alice, bob = world.member("alice"), world.member("bob")
        bob.news()
        alice.ask(*[m.Typing("+lobby")] * 200)
        told = [one for one in bob.news() if isinstance(one, m.Typing)]
        self.assertTrue(0 < len(told) <= REQUEST_BURST / 5, len(told))

    def test_marks_do_not_pile_up_for_a_device_that_does_not_listen(self) -> None:
        world = World(limits=m.Limits(rate=0))
        laptop, phone = world.member("alice"), world.member("alice", key="alice's key")
        laptop.ask(m.Send(1, "+lobby", msgid(1), "text", b"words"))
        phone.news()
        phone.session.congested = True
        for _ in range(100):
            laptop.ask(m.Mark(2, "+lobby", 1))
        self.assertEqual(phone.news(), [])
