"""Two people, then three, in sealed rooms and conversations: what they see, and what the server has."""

from __future__ import annotations

from encchat.client import events as e
from encchat.client.sealed.holding import SealedUnavailable
from encchat.contents import Edit, Reply, body_of
from encchat.core.sealed import events as fx
from tests.client.sealed.town import TALK, TownCase

ROOM = "#ops"


class Conversations(TownCase):
    """A word with somebody, sealed from its first line."""

    def test_from_the_first_line(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        room = alice.sealed.conversation("bob")
        self.assertEqual(room, TALK)
        alice.say(room, "hello")
        self.assertEqual(alice.texts(room), ["hello"])
        self.assertEqual(bob.texts(room), ["hello"])
        self.assertEqual(alice.chat.unacknowledged, 0)
        bob.say(room, "hi alice")
        self.assertEqual(alice.texts(room), ["hello", "hi alice"])
        self.assertEqual([x.by_itself for x in bob.of(e.JoinedRoom)], [True])
        seals = [x.seal for x in bob.of(e.NewEntry)]
        self.assertEqual([x.state for x in seals], ["roster", "opened", "opened"])
        self.assertEqual(bob.sealed.seal_of(room).trust, fx.PINNED)
        self.assertEqual((alice.sealed.title(room), bob.sealed.title(room)), ("@bob", "@alice"))
        self.assertEqual(bob.sealed.room_named("@Alice"), room)

    def test_both_at_once(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.conversation("bob")
        bob.sealed.conversation("alice")
        alice.chat.say(TALK, "from alice")
        bob.chat.say(TALK, "from bob")
        self.town.settle()
        for person in (alice, bob):
            self.assertEqual(sorted(person.texts(TALK)), ["from alice", "from bob"])
            self.assertEqual(person.of(e.RequestFailed), [])
            self.assertEqual(person.chat.unacknowledged, 0)

    def test_with_nobody(self) -> None:
        alice = self.person("alice")
        room = alice.sealed.conversation("nobody")
        msgid = alice.say(room, "is there anybody?")
        (failed,) = alice.of(e.RequestFailed)
        self.assertIn("nobody has no keys here yet", failed.text)
        self.assertEqual([x.item.msgid for x in alice.of(e.NotSent)], [msgid])
        self.assertEqual((alice.chat.unacknowledged, alice.chat.waiting()), (0, []))

    def test_who_was_away_is_told_later(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        bob.end()
        room = alice.sealed.conversation("bob")
        alice.say(room, "one")
        alice.say(room, "two")
        bob.start()
        self.assertEqual(bob.texts(room), ["one", "two"])
        self.assertEqual([x.seal.late for x in bob.of(e.NewEntry)], [False] * 3)

    def test_without_a_connection(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.conversation("bob")
        self.town.settle()
        alice.offline = True
        alice.cut()
        alice.say(TALK, "later")
        self.assertEqual((alice.chat.unacknowledged, bob.texts(TALK)), (1, []))
        alice.offline = False
        self.town.later(5)
        self.assertEqual((alice.chat.unacknowledged, bob.texts(TALK)), (0, ["later"]))

    def test_parted_and_back(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "one")
        bob.chat.session.part(TALK)
        bob.chat.flush()
        self.town.settle()
        bob.chat.mark({TALK: [x.start for x in bob.of(e.NewEntry)][-1]})  # only "one" is new then
        self.town.later(1)
        alice.say(TALK, "two")
        self.assertEqual(bob.texts(TALK), ["one"])
        bob.restart()  # who parts from a conversation is not drawn into it by a start
        self.assertEqual(bob.texts(TALK), [])
        bob.sealed.conversation("alice")
        self.town.settle()
        self.assertEqual(bob.texts(TALK), ["one", "two"])


class Rooms(TownCase):
    """Rooms with rosters."""

    def test_created_with_others(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        request = alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        self.assertEqual([(x.request, x.act) for x in alice.of(e.ActDone)], [(request, "create")])
        alice.say(ROOM, "welcome")
        self.assertEqual(bob.texts(ROOM), ["welcome"])
        people = {person.name: person.admin for person in bob.sealed.members(ROOM)}
        self.assertEqual(people, {"alice": True, "bob": False})
        self.assertEqual([x.name for x in bob.of(e.WasInvited)], ["alice"])

    def test_invited_removed_promoted(self) -> None:
        alice, bob, carol = (self.person(name) for name in ("alice", "bob", "carol"))
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        alice.say(ROOM, "before carol")
        alice.sealed.invite(ROOM, "carol")
        self.town.settle()
        alice.say(ROOM, "with carol")
        self.assertEqual(carol.texts(ROOM), ["with carol"])
        self.assertNotIn("before", str(carol.entries(ROOM)))
        self.assertEqual([kind for _, kind, _ in carol.entries(ROOM)], ["roster", "roster", "text"])
        alice.sealed.promote(ROOM, "bob")
        self.town.settle()
        bob.sealed.remove(ROOM, "carol")
        self.town.settle()
        self.assertEqual([x.code for x in carol.of(e.PutOut)], ["kicked"])
        alice.say(ROOM, "without carol")
        self.assertEqual(bob.texts(ROOM), ["before carol", "with carol", "without carol"])
        self.assertEqual(carol.texts(ROOM), ["with carol"])
        self.assertIn('"promoted":["bob"]', str(alice.entries(ROOM)))

    def test_left(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        request = bob.sealed.leave(ROOM)
        self.town.settle()
        self.assertEqual([x.room for x in bob.of(e.LeftRoom)], [ROOM], "as it was wanted")
        self.assertEqual(bob.of(e.PutOut), [])
        self.assertEqual([(x.request, x.act) for x in bob.of(e.ActDone)], [(request, "leave")])
        alice.say(ROOM, "alone")
        bob.restart()
        self.assertNotIn(ROOM, bob.chat.session.rooms)
        alice.sealed.invite(ROOM, "bob")
        self.town.settle()
        alice.say(ROOM, "and back")
        self.assertEqual(bob.texts(ROOM), ["and back"])

    def test_left_without_hearing_the_answer(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        bob.bend = lambda message: () if type(message).__name__ in ("Sent", "Removed") else (message,)
        bob.sealed.leave(ROOM)
        self.town.settle()
        bob.bend = lambda message: (message,)
        bob.restart()
        self.town.later(1)
        self.assertEqual(bob.chat.unacknowledged, 0)
        self.assertEqual([person.name for person in alice.sealed.members(ROOM)], ["alice"])

    def test_what_only_an_admin_may(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        self.person("carol")
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        request = bob.sealed.invite(ROOM, "carol")
        self.town.settle()
        self.assertEqual([x.request for x in bob.of(e.RequestFailed)], [request])

    def test_a_name_that_is_taken(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.create(ROOM)
        self.town.settle()
        request = bob.sealed.create(ROOM)
        self.town.settle()
        self.assertEqual([(x.request, x.code) for x in bob.of(e.RequestFailed)], [(request, "room-exists")])
        self.assertNotIn(ROOM, bob.chat.session.rooms)

    def test_topic_reply_edit(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        alice.chat.say(ROOM, "plans", kind="topic")
        alice.say(ROOM, "helo")
        alice.chat.say(ROOM, body_of(Edit(3, "hello")).decode(), kind="edit")
        bob.chat.say(ROOM, body_of(Reply(3, "yes?")).decode(), kind="reply")
        self.town.settle()
        self.assertEqual(
            [kind for _, kind, _ in bob.entries(ROOM)], ["roster", "topic", "text", "edit", "reply"]
        )
        self.assertEqual(bob.chat.session.rooms[ROOM].topic, "plans")
        bob.restart()
        self.assertEqual(bob.of(e.JoinedRoom)[0].topic, "plans")

    def test_nobody_edits_what_another_said(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        alice.say(ROOM, "mine")
        bob.chat.say(ROOM, body_of(Edit(2, "yours")).decode(), kind="edit")
        bob.chat.say(ROOM, "no json", kind="reaction")
        bob.chat.say(ROOM, "what is this", kind="poll")
        self.town.settle()
        seals = [x.seal for x in alice.of(e.NewEntry)][2:]
        self.assertEqual([(x.state, x.code) for x in seals], [("failed", "unfit")] * 3)
        self.assertIn("what somebody else said", seals[0].reason)

    def test_an_errand_forgets_only_what_is_its_own(self) -> None:
        """What a run that keeps nothing (--send) could not send is forgotten; what was typed before stays."""
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        alice.offline = True
        alice.cut()
        alice.say(ROOM, "typed on the way")
        alice.end()
        alice.lane = None
        alice.start()
        alice.say(ROOM, "by a script that gave up")
        alice.stop()
        alice.lane, alice.offline = 0, False
        alice.start()
        self.town.later(10)
        self.assertEqual(bob.texts(ROOM), ["typed on the way"])

    def test_history_and_search_without_a_server(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        for number in range(5):
            alice.say(ROOM, f"number {number}")
        bob.offline = True
        bob.restart()
        page = bob.chat.local_history(ROOM, 0, 3)
        self.assertEqual([x.body for x in page.entries], [b"number 2", b"number 3", b"number 4"])
        self.assertEqual((page.more, page.local, len(page.seals)), (True, True, 3))
        older = bob.chat.local_history(ROOM, page.entries[0].seq, 3)
        self.assertEqual([x.body for x in older.entries[1:]], [b"number 0", b"number 1"])
        bob.chat.search(ROOM, "number 3")
        (found,) = bob.of(e.SearchFound)
        self.assertEqual([x.body for x in found.entries], [b"number 3"])
        bob.chat.history(ROOM, before=4, limit=1)
        (page,) = bob.of(e.History)
        self.assertEqual([x.body for x in page.entries], [b"number 1"])
        self.assertIn(ROOM, bob.chat.local_rooms())

    def test_what_was_not_shown_is_shown_again(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        alice.say(ROOM, "one")
        alice.say(ROOM, "two")
        bob.chat.mark({ROOM: [x.start for x in bob.of(e.NewEntry)][-1]})  # behind "one"
        self.town.later(1)
        bob.restart()
        self.assertEqual(bob.texts(ROOM), ["two"])
        self.assertEqual([(x.own, x.old) for x in bob.of(e.NewEntry)], [(False, True)])
        self.assertEqual(bob.of(e.JoinedRoom)[0].start.seq, 2)

    def test_a_bot_is_not_drawn_into_rooms(self) -> None:
        alice, bot = self.person("alice"), self.person("bot", by_itself=False)
        alice.sealed.create(ROOM, ["bot"])
        self.town.settle()
        self.assertEqual(([x.room for x in bot.of(e.WasInvited)], bot.of(e.JoinedRoom)), ([ROOM], []))
        bot.chat.session.join(ROOM)
        bot.chat.flush()
        self.town.settle()
        alice.say(ROOM, "hello bot")
        self.assertEqual(bot.texts(ROOM), ["hello bot"])

    def test_a_large_message(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        room = alice.sealed.conversation("bob")
        limit = alice.chat.max_body(room)
        alice.say(room, "x" * limit)
        self.assertEqual([len(text) for text in bob.texts(room)], [limit])
        self.assertGreater(limit, 50_000)


class Keys(TownCase):
    """Who has the keys, and what is said where nobody has."""

    def test_two_clients_of_one_profile(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        second = self.person("alice", "alice")
        self.assertFalse(second.sealed.available)
        self.assertIn("another encchat-client", second.sealed.why_not)
        self.assertIn("another encchat-client", str(second.listener.warnings))
        self.assertRaises(SealedUnavailable, second.sealed.conversation, "bob")
        self.assertRaises(SealedUnavailable, second.chat.say, TALK, "hello")
        second.chat.session.join(TALK)
        second.chat.flush()
        alice.say(alice.sealed.conversation("bob"), "hello")
        self.assertEqual((bob.texts(TALK), second.texts(TALK)), (["hello"], []))
        self.assertEqual(second.sealed.seal_of(TALK).trust, fx.UNKNOWN)

    def test_a_cipher_that_cannot_sign(self) -> None:
        alice = self.person("alice")
        alice.end()
        alice.identity_less = True
        alice.start()
        error = self.assertRaises(SealedUnavailable, alice.sealed.create, ROOM)
        self.assertIn("cannot sign", str(error))
        alice.chat.session.join(ROOM)
        alice.chat.flush()
        self.town.settle()
        self.assertEqual([x.room for x in alice.of(e.NotJoined)], [ROOM])

    def test_nothing_in_the_log_is_in_the_clear(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        alice.say(ROOM, "a very secret word")
        alice.chat.say(ROOM, "a very secret topic", kind="topic")
        self.town.settle()
        self.assertEqual(len(bob.entries(ROOM)), 3)
        stored = b"".join(self.town.world.log_frames(ROOM))
        self.assertNotIn(b"secret", stored)
        self.assertNotIn(b"secret", b"".join(alice.sent))
        self.assertEqual(stored.count(alice.sealed.devices()[0].id.encode()) > 0, True)

    def test_nothing_at_rest_is_in_the_clear(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "a very secret word")
        self.town.later(1)
        for person in (alice, bob):
            person.stop()
            for path in person.directory.iterdir():
                data = path.read_bytes()
                for word in (b"secret", TALK.encode(), b"@alice"):
                    self.assertNotIn(word, data, path.name)
