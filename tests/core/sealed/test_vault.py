"""Sealed rooms as they are meant to be: what people do, and what they see."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.sealed import effects as fx
from encchat.core.sealed.places import OutOfOrder
from tests.core.sealed.world import Person, Server, identity, room_of, sync


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

    def test_kinds_and_targets(self) -> None:
        """A kind and a target travel inside, the topic among them; the server sees neither."""
        server = Server()
        alice, bob = Person(server, "alice"), Person(server, "bob")
        room = room_of(server, alice, bob)
        alice.do(alice.vault.send(room, bytes(16), "topic", b"tea time", server.now))
        alice.do(alice.vault.send(room, b"x" * 16, "reply", b"{}", server.now, target=2))
        sync(alice, bob)
        self.assertEqual(
            [(e.kind, e.target, e.body) for e in bob.of(fx.Opened)],
            [("topic", 0, b"tea time"), ("reply", 2, b"{}")],
        )
        self.assertEqual({e.kind for e in server.logs[room][1:]}, {"sealed"})
        stored = b"".join(entry.body for entry in server.logs[room])
        letters = b"".join(item[3] for mail in server.mail.values() for item in mail)
        self.assertFalse(any(word in stored + letters for word in (b"tea time", b"topic", b"reply")))

    def test_history_again(self) -> None:
        """What was opened can be opened again, after a restart too; what was not cannot be smuggled in so."""
        server = Server()
        alice, bob = Person(server, "alice"), Person(server, "bob")
        room = room_of(server, alice, bob)
        alice.say(room, "hello")
        sync(alice, bob)
        bob.restart()
        entry = server.logs[room][1]
        again = bob.vault.again(entry)
        assert isinstance(again, fx.Opened)
        self.assertEqual((again.body, again.sender), (b"hello", "alice"))
        for changes in (
            {"seq": 3},
            {"sender": "bob"},
            {"msgid": bytes(16)},
            {"device": bob.vault.device},
            {"body": b""},
            {"room": "#oak"},
        ):
            self.assertIsInstance(bob.vault.again(msgspec.structs.replace(entry, **changes)), fx.Failed)

    def test_not_a_server_of_ours(self) -> None:
        """Entries that do not follow are refused; the same one again is no news."""
        server = Server()
        alice, bob = Person(server, "alice"), Person(server, "bob")
        room = room_of(server, alice, bob)
        entry, chain = server.logs[room][0], alice.vault.position(room).chain
        self.assertEqual(alice.vault.entry(entry, chain, server.now).events, ())
        for wrong, at in ((entry, bytes(32)), (msgspec.structs.replace(entry, seq=7), chain)):
            with self.assertRaises(OutOfOrder):
                alice.vault.entry(wrong, at, server.now)
        alice.say(room, "goes on")
        sync(alice, bob)
        self.assertIn("goes on", bob.texts(room).values())


class Refusals(SynchronousTestCase):
    """What the server does not take."""

    def setUp(self) -> None:
        self.server = Server()
        self.alice, self.bob = Person(self.server, "alice"), Person(self.server, "bob")
        self.room = room_of(self.server, self.alice, self.bob)

    def test_refused(self) -> None:
        """A message that the server refuses is given up, with the reason."""
        self.server.append = lambda person, action: "too-large"  # type: ignore[method-assign]  # for this test
        msgid = self.alice.say(self.room, "x")
        failed = self.alice.of(fx.SendFailed)
        self.assertEqual([(e.msgid, e.code) for e in failed], [(msgid, "too-large")])
        self.assertEqual(self.alice.vault.outgoing(), [])

    def test_refused_for_nothing(self) -> None:
        """A server that says that the roster changed and shows no other one: the message waits, is not lost,
        and nothing is sealed again and again."""
        self.server.append = lambda person, action: "roster-changed"  # type: ignore[method-assign]  # a lie
        self.alice.say(self.room, "x")
        sync(self.alice, self.bob)
        self.assertEqual(
            (len(self.alice.vault.outgoing()), self.alice.vault._rooms.places.last(self.room)), (1, 1)
        )

    def test_refused_for_ever(self) -> None:
        """If it shows another one each time, it is given up after a while."""
        put = self.server.put

        def append(person: Person, action: fx.Append | fx.Create) -> str:
            put(self.room, "bob", self.bob.bound, "roster", bytes(16), b"nonsense")
            return "roster-changed"

        self.server.append = append  # type: ignore[method-assign]  # a lie
        self.alice.say(self.room, "x")
        for _ in range(20):
            self.alice.sync()
        self.assertEqual([e.code for e in self.alice.of(fx.SendFailed)], ["roster-changed"])

    def test_changes_that_cannot_be(self) -> None:
        """Changes that say nothing new, add who has no keys, or come from who may not."""
        self.alice.change(self.room, add=("bob",))
        self.alice.change(self.room, add=("nobody",))
        self.alice.change(self.room, add=tuple(f"n{n}" for n in range(3)))
        self.bob.change(self.room, remove=("alice",))
        failed = [*self.alice.of(fx.SendFailed), *self.bob.of(fx.SendFailed)]
        self.assertEqual([e.code for e in failed], ["cannot-change"] * 3 + ["roster-refused"])
        self.assertIn("no keys", failed[1].reason)

    def test_somebody_elses_bytes(self) -> None:
        """An entry under the msgid of a message of ours that holds something else does not count as sent."""
        self.server.append = lambda person, action: "roster-changed"  # type: ignore[method-assign]  # a lie
        msgid = self.alice.say(self.room, "x")
        self.server.put(self.room, "alice", self.alice.vault.device, "sealed", msgid, b"nothing")
        sync(self.alice)
        self.assertEqual(len(self.alice.vault.outgoing()), 1)
        self.assertEqual([e.msgid for e in self.alice.of(fx.SendDone) if e.msgid == msgid], [])

    def test_acknowledgement_lost(self) -> None:
        """A message whose acknowledgement was lost is known to be in the log once it is read there."""
        appended = self.alice.vault.appended
        self.patch(self.alice.vault, "appended", lambda *_: fx.Outcome())
        msgid = self.alice.say(self.room, "x")
        self.assertEqual(len(self.alice.vault.outgoing()), 1)
        sync(self.alice, self.bob)
        self.assertEqual(self.alice.of(fx.SendDone)[-1].msgid, msgid)
        self.assertEqual(appended(msgid, 2, self.server.now), fx.Outcome())

    def test_room_exists(self) -> None:
        """A name that is taken."""
        self.bob.change(self.room, create=True, add=("alice",))
        self.assertEqual([e.code for e in self.bob.of(fx.SendFailed)], ["room-exists"])


class Publication(SynchronousTestCase):
    """The device list, where several machines write it, or the server does not keep it."""

    def test_two_at_once(self) -> None:
        """Two machines with one identity publish at the same time: both are listed in the end."""
        server = Server()
        first = Person(server, "bob", online=False)
        second = Person(server, "bob", seed=1, online=False)
        for person in (first, second):
            person.online = True
        asked = [(person, person.vault.connected(server.now)) for person in (first, second)]
        answered = [
            (person, person.vault.no_devices("bob", server.now)) for person, _ in asked
        ]  # neither has seen the other's list
        for person, outcome in answered:
            person.do(outcome)
        first.do(first.vault.ask_devices("bob", server.now))
        ids = {first.vault.device, second.vault.device}
        for person in (first, second):
            self.assertEqual({c.device.id for c in person.vault.devices_of("bob")}, ids)

    def test_server_lost_it(self) -> None:
        """A server that lost the list, or shows an old one, gets the newest one again."""
        server = Server()
        bob = Person(server, "bob")
        old = server.lists["bob"]
        other = Person(server, "bob", seed=1)
        bob.do(bob.vault.ask_devices("bob", server.now))
        newest = server.lists.pop("bob")
        bob.restart()
        self.assertEqual(server.lists["bob"], newest)
        server.lists["bob"] = old
        other.restart()
        self.assertEqual(server.lists["bob"], newest)
        self.assertTrue(bob.of(fx.DeviceReady)[-1].listed)

    def test_what_is_told_of_a_device(self) -> None:
        """That it takes part, once; that it waits only where another one must let it in."""
        server = Server()
        bob = Person(server, "bob")
        self.assertEqual([news.listed for news in bob.of(fx.DeviceReady)], [True])
        self.assertEqual(bob.of(fx.DeviceChanged), [])
        bob.restart()
        self.assertEqual([news.listed for news in bob.of(fx.DeviceReady)], [True])
        other = Person(server, "bob", seed=1, identity_=identity("another machine"))
        self.assertEqual([news.listed for news in other.of(fx.DeviceReady)], [False])

    def test_server_that_never_takes_it(self) -> None:
        """A server that takes no list is asked a few times, not for ever."""
        server = Server()
        bob = Person(server, "bob", online=False)
        tries = 0

        def publish(person: Person, action: fx.Publish) -> int | None:
            nonlocal tries
            tries += 1
            return None

        server.publish = publish  # type: ignore[method-assign]  # hostile for this test
        bob.connect()
        self.assertLessEqual(tries, 5)
        bob.say("#tea", "nothing goes out")
        self.assertEqual(server.logs, {})
