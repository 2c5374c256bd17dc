"""Sealed rooms on the server: who may make, enter and change them, and what nobody else finds out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.accounts import operator
from encchat.core.chat import listing
from encchat.core.interfaces import Deed, Unavailable
from encchat.core.sealed.formats import MAX_MEMBERS
from encchat.wire import decode_entry
from tests.core.relay.sealing import Gadget, change, create, enter, key_of, roster, sealed
from tests.core.world import GatedLog, LateLog, Peer, World, identity, msgid

ROOM, PAIR = "#tea", "@alice&bob"


def answer(peer: Peer, message: Any) -> Any:
    """The one answer to a request, whatever else comes with it."""
    (found,) = (got for got in peer.ask(message) if getattr(got, "id", 0) == message.id)
    return found


class Case(SynchronousTestCase):
    """A room of Alice, who runs it, and Bob."""

    room, members = ROOM, ("alice", "bob")

    def setUp(self) -> None:
        self.world = World(limits=m.Limits(rate=0))
        self.genesis = roster(ROOM, "alice", ["alice", "bob"])
        self.alice = enter(self.world, "alice")
        self.assertEqual(type(answer(self.alice, create(ROOM, self.genesis))), m.Sent)
        self.alice.ask(m.Join(2, ROOM))
        self.bob = self.joined("bob")
        self.alice.news()

    def joined(self, name: str, room: str = ROOM) -> Peer:
        peer = enter(self.world, name)
        self.assertEqual(type(answer(peer, m.Join(1, room))), m.Joined)
        return peer

    def code(self, peer: Peer, message: Any) -> str:
        """The code of the error that answers."""
        error = answer(peer, message)
        self.assertIsInstance(error, m.Error)
        return str(error.code)

    def kinds(self, room: str = ROOM) -> list[str]:
        return [decode_entry(frame).kind for frame in self.world.log_frames(room)]

    def changed(self, peer: Peer, number: int, seen: int, body: bytes, room: str = ROOM) -> Any:
        """Change the roster, and return the answer."""
        return answer(peer, change(number, room, seen, body))

    def told(self, peer: Peer, kind: type) -> list[Any]:
        """What of this kind came since the last look."""
        return [found for found in peer.news() if isinstance(found, kind)]


class Creating(Case):
    """``create``."""

    def test_created(self) -> None:
        """The first roster is entry 1, just as it was signed."""
        (frame,) = self.world.log_frames(ROOM)
        entry = decode_entry(frame)
        self.assertEqual(
            (entry.seq, entry.kind, entry.sender, entry.body), (1, "roster", "alice", self.genesis)
        )

    def test_again(self) -> None:
        """Resent, it is answered as before; another one comes too late, also the same member's."""
        self.assertEqual(answer(self.alice, create(ROOM, self.genesis, 1)).seq, 1)
        self.assertEqual(self.code(self.alice, create(ROOM, self.genesis, 5)), "room-exists")
        other = roster(ROOM, "alice", ["alice"], salt=1)
        self.assertEqual(self.code(self.alice, create(ROOM, other, 1)), "msgid-reused")
        carol = enter(self.world, "carol")
        self.assertEqual(self.code(carol, create(ROOM, roster(ROOM, "carol", ["carol"]), 1)), "room-exists")
        self.assertEqual(self.kinds(), ["roster"])

    def test_invited(self) -> None:
        """Who is in the first roster is told; who makes the room knows."""
        self.alice.ask(create("#two", roster("#two", "alice", ["alice", "bob", "carol"]), 7))
        self.assertEqual(self.bob.news(), [m.Invited("#two", "alice")])
        self.assertEqual(self.told(self.alice, m.Invited), [])

    def test_refused(self) -> None:
        """What no member would believe does not become a room."""
        for room, body, code in (
            ("+open", roster("#new", "alice", ["alice"]), "not-sealed"),
            ("#new", b"", "roster-refused"),
            ("#new", b"\xc1" * 100, "roster-refused"),
            ("#new", roster("#other", "alice", ["alice"]), "roster-refused"),
            ("#new", roster("#new", "bob", ["alice", "bob"]), "roster-refused"),
            ("#new", roster("#new", "alice", ["alice", "bob"], admins=["bob"]), "roster-refused"),
            ("#new", roster("#new", "alice", ["alice", "guest-1a2b"]), "roster-refused"),
            (
                "#new",
                roster("#new", "alice", ["alice"], after=roster("#new", "alice", ["alice"])),
                "roster-refused",
            ),
            ("#no good", roster("#new", "alice", ["alice"]), "bad-room"),
            ("@bob", roster("#new", "alice", ["alice"]), "bad-room"),
            (
                "@bob&carol",
                roster("@bob&carol", "alice", ["bob", "carol"], ["bob", "carol"]),
                "roster-refused",
            ),
        ):
            self.assertEqual(self.code(self.alice, create(room, body, 9)), code, room)
        self.assertEqual([list(self.world.log._rooms)], [[ROOM]])
        self.assertFalse(self.alice.closed)

    def test_rate(self) -> None:
        """Rooms cost acts."""
        world = World()
        alice = enter(world, "alice")
        codes = [
            getattr(answer(alice, create(f"#r{n}", roster(f"#r{n}", "alice", ["alice"]), n)), "code", "")
            for n in range(40)
        ]
        self.assertEqual(set(codes), {"", "rate-limited"})

    def test_cut_off_anywhere(self) -> None:
        """Whatever the moment in which the server stops, the same request makes the room, once."""
        for step in range(12):
            log = LateLog(b"a log for tests.")
            first = World(log, limits=m.Limits(rate=0))
            alice = enter(first, "alice")
            log.gates = []
            alice.send(create(ROOM, self.genesis))
            for _ in range(step):
                first.turn.end()
                if log.gates:
                    first.turn.open(log.gates.pop(0))
            log.gates = None
            second = World(log, limits=m.Limits(rate=0))
            alice, bob = enter(second, "alice"), enter(second, "bob")
            self.assertEqual(answer(alice, create(ROOM, self.genesis)).seq, 1)
            self.assertEqual(type(answer(bob, m.Join(1, ROOM))), m.Joined)
            self.assertEqual([decode_entry(f).kind for f in second.log_frames(ROOM)], ["roster"])

    def test_healed_by_who_joins(self) -> None:
        """A room whose making was cut off after it was intended is finished by the first who needs it."""
        log = GatedLog(b"a log for tests.")
        first = World(log, limits=m.Limits(rate=0))
        alice = enter(first, "alice")
        real = log.append

        async def broken(drafts: Any) -> Any:
            if all(draft.again for draft in drafts):  # a mere look whether it was stored before
                return await real(drafts)
            raise Unavailable(reason="killed")

        self.patch(log, "append", broken)
        self.assertEqual(answer(alice, create(ROOM, self.genesis)).code, "storage-unavailable")
        self.patch(log, "append", real)
        second = World(log, limits=m.Limits(rate=0))
        bob = enter(second, "bob")
        self.assertEqual(type(answer(bob, m.Join(1, ROOM))), m.Joined)
        self.assertEqual(len(second.log_frames(ROOM)), 1)
        self.assertEqual(answer(enter(second, "alice"), create(ROOM, self.genesis)).seq, 1)


class Entering(Case):
    """Who comes in, and what others find out."""

    def test_members(self) -> None:
        """A member, a second device of a member."""
        again = enter(self.world, "bob")
        joined = answer(again, m.Join(1, ROOM, history=10))
        self.assertEqual((joined.head.seq, [x.name for x in joined.members]), (1, ["alice", "bob"]))
        self.assertEqual(self.told(self.alice, m.Presence), [])

    def test_nobody_else(self) -> None:
        """Others are answered as if there were no such room, admins of the server too."""
        carol = enter(self.world, "carol")
        self.world.settings.admins = frozenset({carol.session.identity.fingerprint})
        for peer in (carol, enter(self.world, "dave")):
            there, nowhere = (answer(peer, m.Join(1, room)) for room in (ROOM, "#none"))
            self.assertEqual((there.code, nowhere.code), ("invite-only", "invite-only"))
            self.assertEqual(there.text.replace(ROOM, ""), nowhere.text.replace("#none", ""))
            self.assertEqual([info.room for info in answer(peer, m.Rooms(2)).rooms], ["+lobby"])
            for message in (
                m.Read(3, ROOM),
                m.Who(3, ROOM),
                m.About(3, ROOM),
                m.Mark(3, ROOM, 1),
                m.Part(3, ROOM),
                sealed(3, ROOM, 1),
                change(4, ROOM, 1, roster(ROOM, "carol", ["carol"], after=self.genesis)),
            ):
                self.assertEqual(self.code(peer, message), "not-in-room")
            self.assertEqual(peer.ask(m.Typing(ROOM)), [])
            # Nor does anything that is sent tell a room that there is from one that there is not.
            for message in (
                sealed(5, "#none", 1),
                change(6, "#none", 1, roster("#none", "carol", ["carol"])),
                m.Read(7, "#none"),
                m.Send(8, "#none", msgid(8), "text", b"hello"),
                m.Send(8, ROOM, msgid(8), "text", b"hello"),
            ):
                self.assertEqual(self.code(peer, message), "not-in-room")
        self.assertEqual(self.kinds(), ["roster"])
        self.assertIsNone(self.world.hub.present_room("#none"))

    def test_list(self) -> None:
        """Members find their rooms in the list, whether somebody is there or not, after a restart too."""
        self.alice.ask(create(PAIR, roster(PAIR, "alice", ["alice", "bob"], ["alice", "bob"]), 5))
        for world in (self.world, World(self.world.log, limits=m.Limits(rate=0))):
            bob = enter(world, "bob")
            infos = {info.room: info for info in answer(bob, m.Rooms(1)).rooms}
            self.assertEqual(list(infos), ["+lobby", ROOM, PAIR])
            self.assertEqual((infos[ROOM].entries, infos[ROOM].private), (1, True))
            self.assertEqual(len(answer(enter(world, "carol"), m.Rooms(1)).rooms), 1)

    def test_open_rooms_are_not_crowded_out(self) -> None:
        """However many sealed rooms there are."""
        self.bob.ask(m.Join(5, "+zebra"))
        self.patch(listing, "MAX_ROOM_LIST", 5)
        for n in range(10):
            self.alice.ask(create(f"#r{n}", roster(f"#r{n}", "alice", ["alice"]), n + 10))
        carol = enter(self.world, "carol")
        self.assertEqual([i.room for i in answer(carol, m.Rooms(1)).rooms], ["+lobby", "+zebra"])

    def test_guests(self) -> None:
        """A classic peer is in the lobby alone."""
        guest = self.world.guest()
        guest.session.admit()
        self.world.turn.end()
        self.assertEqual(guest.session.rooms(), [])

    def test_about(self) -> None:
        """Members are told who is in, and who runs it."""
        self.assertEqual(
            self.bob.ask(m.About(1, ROOM)),
            [
                m.RoomProfile(
                    1, ROOM, "sealed", "", (m.Standing("alice", "admin"), m.Standing("bob", "member"))
                )
            ],
        )

    def test_what_does_not_exist_here(self) -> None:
        """Nothing that only a server could decide, nor what it would have to read; whoever asks."""
        for peer in (self.alice, enter(self.world, "carol")):
            for room in (ROOM, PAIR, "#none"):
                for message in (
                    m.Search(1, room, "word"),
                    m.Topic(1, room, msgid(1), "a topic"),
                    m.Kick(1, room, msgid(1), "bob"),
                    m.Ban(1, room, msgid(1), "bob"),
                    m.Unban(1, room, msgid(1), "bob"),
                    m.Mute(1, room, msgid(1), "bob"),
                    m.Unmute(1, room, msgid(1), "bob"),
                    m.Role(1, room, msgid(1), "bob", "owner"),
                    m.Access(1, room, msgid(1), "open"),
                    m.Invite(1, room, msgid(1), "carol"),
                ):
                    self.assertEqual(self.code(peer, message), "sealed-room", message)
        self.assertEqual(self.kinds(), ["roster"])


class Speaking(Case):
    """``send``."""

    def test_said(self) -> None:
        """What is sealed is stored and told as it is, whatever its bytes."""
        body = bytes(range(256))
        self.assertEqual(type(answer(self.bob, sealed(5, ROOM, 1, body))), m.Sent)
        (entry,) = self.told(self.alice, m.Entry)
        self.assertEqual((entry.seq, entry.kind, entry.sender, entry.body), (2, "sealed", "bob", body))
        self.assertEqual(answer(self.bob, sealed(5, ROOM, 1, body)).seq, 2)
        self.assertEqual(self.code(self.bob, sealed(5, ROOM, 1, b"other")), "msgid-reused")
        page = answer(self.alice, m.Read(6, ROOM))
        self.assertEqual([decode_entry(frame).seq for frame in page.entries], [1, 2])

    def test_kinds(self) -> None:
        """Nothing that the server could read."""
        for kind in ("text", "me", "topic", "reply", "file", "kick", ""):
            self.assertEqual(
                self.code(self.bob, m.Send(1, ROOM, msgid(1), kind, b"hello", 1)), "unknown-kind"
            )
        for kind in ("sealed", "roster"):
            self.bob.ask(m.Join(1, "+lobby"))
            self.assertEqual(
                self.code(self.bob, m.Send(1, "+lobby", msgid(1), kind, b"hello", 1)), "unknown-kind"
            )

    def test_sizes(self) -> None:
        """As large as any entry."""
        self.assertEqual(self.code(self.bob, sealed(1, ROOM, 1, bytes(m.MAX_BODY + 1))), "too-large")
        big = change(2, ROOM, 1, bytes(m.MAX_BODY + 1))
        self.assertEqual(self.code(self.bob, big), "too-large")
        self.assertEqual(type(answer(self.bob, sealed(3, ROOM, 1, bytes(m.MAX_BODY)))), m.Sent)

    def test_without_a_roster(self) -> None:
        """Who does not say which roster it has seen has seen none."""
        self.assertEqual(self.code(self.bob, sealed(1, ROOM, None)), "roster-changed")
        self.assertEqual(self.code(self.bob, sealed(1, ROOM, 0)), "roster-changed")

    def test_a_roster_between(self) -> None:
        """What was sealed for others than are in now is refused; what was stored before is known again."""
        self.bob.ask(sealed(5, ROOM, 1))
        second = roster(ROOM, "alice", ["alice", "bob", "carol"], after=self.genesis)
        self.assertEqual(self.changed(self.alice, 6, 1, second).seq, 3)
        self.assertEqual(self.code(self.bob, sealed(7, ROOM, 1)), "roster-changed")
        self.assertEqual(answer(self.bob, sealed(5, ROOM, 1)).seq, 2)
        self.assertEqual(answer(self.bob, sealed(7, ROOM, 3)).seq, 4)

    def test_a_roster_races_a_send(self) -> None:
        """In whatever order the log answers: no entry stands behind a roster that its sender had not seen."""
        for step in range(12):
            self.setUp()
            second = roster(ROOM, "alice", ["alice"], after=self.genesis)
            self.world.at_step(
                step,
                lambda second=second: self.alice.send(change(6, ROOM, 1, second)),
                lambda: self.bob.send(sealed(7, ROOM, 1)),
            )
            kinds = self.kinds()
            self.assertIn(kinds, (["roster", "roster"], ["roster", "sealed", "roster"]))
            news = self.bob.news()
            sent = [found for found in news if isinstance(found, m.Sent)]
            self.assertEqual(len(sent), kinds.count("sealed"))
            self.assertEqual([found.code for found in news if isinstance(found, m.Removed)], ["kicked"])
            self.assertFalse(self.bob.session.is_in(ROOM))

    def test_marks_and_typing(self) -> None:
        """As in any room."""
        self.assertEqual(self.bob.ask(m.Mark(1, ROOM, 1)), [m.Done(1)])
        self.bob.ask(m.Typing(ROOM))
        self.assertIn(m.Typing(ROOM, "bob"), self.alice.news())


class Changing(Case):
    """Rosters."""

    def test_added(self) -> None:
        """Who is added is told, and can come in; the others get the entry."""
        carol = enter(self.world, "carol")
        second = roster(ROOM, "alice", ["alice", "bob", "carol"], after=self.genesis)
        self.assertEqual(self.changed(self.alice, 5, 1, second).seq, 2)
        self.assertEqual(carol.news(), [m.Invited(ROOM, "alice")])
        self.assertEqual([found.body for found in self.told(self.bob, m.Entry)], [second])
        self.assertEqual(type(answer(carol, m.Join(1, ROOM))), m.Joined)
        third = roster(ROOM, "alice", ["alice", "bob", "carol"], ["alice", "carol"], after=second)
        self.changed(self.alice, 6, 2, third)
        self.assertEqual(self.told(carol, m.Invited), [])

    def test_removed(self) -> None:
        """Who is removed is out at once, on all devices, gets nothing that follows, and stays out."""
        phone = self.joined("bob")
        second = roster(ROOM, "alice", ["alice"], after=self.genesis)
        self.changed(self.alice, 5, 1, second)
        self.alice.ask(sealed(6, ROOM, 2))
        for peer in (self.bob, phone):
            news = [found for found in peer.news() if not isinstance(found, m.Presence)]
            self.assertEqual(news, [m.Removed(ROOM, "kicked", "alice put you out of #tea.")])
            self.assertEqual(self.code(peer, sealed(9, ROOM, 2)), "not-in-room")
            self.assertEqual(self.code(peer, m.Join(9, ROOM)), "invite-only")
        self.assertEqual([i.room for i in answer(self.bob, m.Rooms(1)).rooms], ["+lobby"])

    def test_leaving(self) -> None:
        """Anybody may leave; told so on all devices; the request can be sent again."""
        phone = self.joined("bob")
        second = roster(ROOM, "bob", ["alice"], ["alice"], after=self.genesis)
        told = self.bob.ask(change(5, ROOM, 1, second))
        self.assertEqual([type(found) for found in told], [m.Removed, m.Sent])
        self.assertEqual([told[0].code, *(found.code for found in self.told(phone, m.Removed))], ["left"] * 2)
        again = enter(self.world, "bob")
        self.assertEqual(answer(again, change(5, ROOM, 1, second)).seq, 2)
        self.assertEqual(self.code(again, change(6, ROOM, 1, second)), "not-in-room")
        self.assertEqual([found.body for found in self.told(self.alice, m.Entry)], [second])

    def test_the_last_one_leaves(self) -> None:
        """Then the room is nobody's, and stays so."""
        self.changed(self.bob, 5, 1, second := roster(ROOM, "bob", ["alice"], ["alice"], after=self.genesis))
        third = roster(ROOM, "alice", [], [], after=second)
        self.assertEqual(type(self.changed(self.alice, 6, 2, third)), m.Sent)
        self.assertEqual(self.code(self.alice, m.Join(1, ROOM)), "invite-only")
        self.assertEqual(self.code(self.alice, create(ROOM, self.genesis, 7)), "room-exists")

    def test_refused(self) -> None:
        """Who may not, what does not follow, what is another's."""
        for peer, body in (
            (self.bob, roster(ROOM, "bob", ["alice", "bob", "carol"], ["alice"], after=self.genesis)),
            (self.bob, roster(ROOM, "bob", ["bob"], ["bob"], after=self.genesis)),
            (self.bob, roster(ROOM, "alice", ["alice"], after=self.genesis)),
            (self.alice, roster(ROOM, "alice", ["alice"], salt=5)),
            (self.alice, roster("#other", "alice", ["alice"], after=self.genesis)),
            (self.alice, roster(ROOM, "alice", ["alice"], after=roster(ROOM, "alice", ["alice"], salt=9))),
            (self.alice, roster(ROOM, "alice", ["alice", "bob"], [], after=self.genesis)),
            (self.alice, roster(ROOM, "alice", ["alice", "guest-1"], after=self.genesis)),
            (self.alice, b"nonsense"),
        ):
            self.assertEqual(self.code(peer, change(5, ROOM, 1, body)), "roster-refused")
            self.assertFalse(peer.closed)
        self.assertEqual(self.kinds(), ["roster"])
        self.assertTrue(self.bob.session.is_in(ROOM))

    def test_two_at_once(self) -> None:
        """Of two rosters that follow the same one, the second is refused, whatever the order of answers."""
        for step in range(12):
            self.setUp()
            phone = self.joined("alice")
            one = roster(ROOM, "alice", ["alice", "bob", "carol"], after=self.genesis)
            other = roster(ROOM, "alice", ["alice"], after=self.genesis)
            self.world.at_step(
                step,
                lambda one=one: self.alice.send(change(6, ROOM, 1, one)),
                lambda other=other, phone=phone: phone.send(change(7, ROOM, 1, other)),
            )
            answers = [
                found
                for peer in (self.alice, phone)
                for found in peer.news()
                if isinstance(found, m.Sent | m.Error)
            ]
            self.assertEqual(sorted(type(found).__name__ for found in answers), ["Error", "Sent"])
            self.assertEqual(
                {found.code for found in answers if isinstance(found, m.Error)}, {"roster-changed"}
            )
            self.assertEqual(len(self.kinds()), 2)

    def test_again(self) -> None:
        """The same roster again gets the same seq, also after others; as does one whose answer was lost."""
        second = roster(ROOM, "alice", ["alice", "bob", "carol"], after=self.genesis)
        third = roster(ROOM, "alice", ["alice", "bob"], after=second)
        self.changed(self.alice, 5, 1, second)
        self.assertEqual(self.changed(self.alice, 5, 1, second).seq, 2)
        self.changed(self.alice, 6, 2, third)
        for seen in (1, 2, 3):
            self.assertEqual(self.changed(self.alice, 5, seen, second).seq, 2)
        self.assertEqual(self.code(self.alice, change(5, ROOM, 3, third)), "msgid-reused")
        self.assertEqual(self.kinds(), ["roster"] * 3)

    def test_seen_too_far(self) -> None:
        """A roster that there is not was seen by nobody."""
        second = roster(ROOM, "alice", ["alice"], after=self.genesis)
        for seen in (0, 2, 10**9, None):
            self.assertEqual(self.code(self.alice, change(5, ROOM, seen, second)), "roster-changed")

    def test_cut_off_anywhere(self) -> None:
        """Whatever the moment in which the server stops: the record says what the log says, once somebody
        needs it, and the same request is answered."""
        second = roster(ROOM, "alice", ["alice", "carol"], after=self.genesis)
        for step in range(14):
            log = LateLog(b"a log for tests.")
            first = World(log, limits=m.Limits(rate=0))
            alice = enter(first, "alice")
            alice.ask(create(ROOM, self.genesis))
            alice.ask(m.Join(1, ROOM))
            log.gates = []
            alice.send(change(5, ROOM, 1, second))
            for _ in range(step):
                first.turn.end()
                if log.gates:
                    first.turn.open(log.gates.pop(0))
            log.gates = None
            world = World(log, limits=m.Limits(rate=0))
            alice, bob = enter(world, "alice"), enter(world, "bob")
            alice.ask(m.Join(1, ROOM))
            self.assertEqual(answer(alice, change(5, ROOM, 1, second)).seq, 2)
            self.assertEqual([decode_entry(f).kind for f in world.log_frames(ROOM)], ["roster"] * 2)
            self.assertEqual(self.code(bob, m.Join(1, ROOM)), "invite-only")
            self.assertEqual(type(answer(enter(world, "carol"), m.Join(1, ROOM))), m.Joined)

    def test_storage_fails_between(self) -> None:
        """A roster that was intended is in force at the next tick, without anybody's asking."""
        second = roster(ROOM, "alice", ["alice"], after=self.genesis)
        log, real = self.world.log, self.world.log.append

        async def broken(drafts: Any) -> Any:
            if all(draft.again for draft in drafts):  # a mere look whether it was stored before
                return await real(drafts)
            raise Unavailable(reason="disk full")

        self.patch(log, "append", broken)
        self.assertEqual(self.code(self.alice, change(5, ROOM, 1, second)), "storage-unavailable")
        self.assertTrue(self.bob.session.is_in(ROOM))
        self.patch(log, "append", real)
        self.world.hub.tick()
        self.world.turn.end()
        self.assertFalse(self.bob.session.is_in(ROOM))
        self.assertEqual(self.kinds(), ["roster"] * 2)

    def test_removed_while_changing(self) -> None:
        """Who is put out while asking for a change is not in the room, whatever the order of answers."""
        for step in range(12):
            self.setUp()
            second = roster(ROOM, "alice", ["alice"], after=self.genesis)
            leaving = roster(ROOM, "bob", ["alice"], ["alice"], after=self.genesis)
            self.world.at_step(
                step,
                lambda second=second: self.alice.send(change(6, ROOM, 1, second)),
                lambda leaving=leaving: self.bob.send(change(7, ROOM, 1, leaving)),
            )
            (error,) = [found for found in self.bob.news() if isinstance(found, m.Error)] or [None]
            if error is not None:
                self.assertIn(error.code, ("not-in-room", "roster-changed"))
            self.assertEqual(len(self.kinds()), 2)
            self.assertFalse(self.bob.session.is_in(ROOM))

    def test_storage_fails_for_what_is_refused(self) -> None:
        """Whether it was done before is not known then: try again."""

        async def broken(drafts: Any) -> Any:
            raise Unavailable(reason="disk full")

        self.patch(self.world.log, "append", broken)
        body = roster(ROOM, "alice", ["alice"], after=self.genesis)
        self.assertEqual(self.code(self.alice, change(5, ROOM, 0, body)), "storage-unavailable")

    def test_large(self) -> None:
        """As many members as a roster can name."""
        names = ["alice", *(f"m{n:03}" for n in range(MAX_MEMBERS - 1))]
        second = roster(ROOM, "alice", names, after=self.genesis)
        self.assertEqual(type(self.changed(self.alice, 5, 1, second)), m.Sent)
        third = roster(ROOM, "alice", names[:-1], after=second)
        self.assertEqual(type(self.changed(self.alice, 6, 2, third)), m.Sent)

    def test_recorded(self) -> None:
        """The audit log has who changed it and when, and nothing of what it says."""
        deeds: list[Deed] = []

        class Book:
            def record(self, deed: Deed) -> None:
                deeds.append(deed)

        self.world.hub.audit = Book()  # type: ignore[assignment]  # all that is used of it
        self.changed(self.alice, 5, 1, roster(ROOM, "alice", ["alice"], after=self.genesis))
        (deed,) = deeds
        self.assertEqual(
            (deed.what, deed.who, deed.key), ("roster", "alice", identity(key_of("alice")).fingerprint)
        )
        self.assertEqual(deed.facts, {"room": ROOM, "seq": 2})

    def test_a_certificate_takes_a_members_name(self) -> None:
        """Its holder is not whom the roster means, until one says so."""
        key = key_of("bob, vouched")
        bob = self.world.peer(key, vouched="bob")
        self.assertEqual(type(bob.ask(m.Hello((1,), "bob"))[0]), m.Welcome)
        self.assertFalse(self.bob.session.is_in(ROOM))
        second = roster(ROOM, "alice", ["alice", "bob", "carol"], after=self.genesis)
        self.changed(self.alice, 5, 1, second)
        self.assertEqual(self.code(bob, m.Join(1, ROOM)), "invite-only")
        self.assertEqual([i.room for i in answer(bob, m.Rooms(2)).rooms], ["+lobby"])
        third = roster(ROOM, "alice", ["alice", "bob"], after=second, keys={"bob": key})
        self.changed(self.alice, 6, 2, third)
        self.assertEqual(self.told(bob, m.Invited), [m.Invited(ROOM, "alice")])
        self.assertEqual(type(answer(bob, m.Join(3, ROOM))), m.Joined)

    def test_a_certificate_takes_a_name_that_was_left(self) -> None:
        """The roster still means whoever had the name before it was renamed."""
        self.world.turn.spawn(operator.rename(self.world.hub, "bob", "robert", operator.Actor()), None)
        self.world.turn.end()
        bob = self.world.peer(key_of("bob, vouched"), vouched="bob")
        self.assertEqual(type(bob.ask(m.Hello((1,), "bob"))[0]), m.Welcome)
        self.assertEqual([i.room for i in answer(bob, m.Rooms(2)).rooms], ["+lobby"])
        self.assertEqual(self.code(bob, m.Join(1, ROOM)), "invite-only")

    def test_operator(self) -> None:
        """The operator sees that there is a room, who runs it, and no more; a rename changes no roster."""
        found: list[Mapping[str, object]] = []

        async def look() -> None:
            found.extend(await operator.rooms(self.world.hub))
            await operator.rename(self.world.hub, "bob", "robert", operator.Actor())

        self.world.turn.spawn(look(), None)
        self.world.turn.end()
        (info,) = found
        self.assertEqual((info["room"], info["access"], info["owners"]), (ROOM, "sealed", ["alice"]))
        robert = enter(self.world, "robert", key_of("bob"))
        self.assertEqual(self.code(robert, m.Join(1, ROOM)), "invite-only")
        second = roster(ROOM, "alice", ["alice", "robert"], after=self.genesis)
        self.changed(self.alice, 5, 1, second)
        self.assertEqual(type(answer(robert, m.Join(2, ROOM))), m.Joined)


class Conversations(Case):
    """``@alice&bob``."""

    def setUp(self) -> None:
        super().setUp()
        self.first = roster(PAIR, "bob", ["alice", "bob"], ["alice", "bob"])

    def test_either_may_begin(self) -> None:
        """Both are told of it under one name, and both run it."""
        self.assertEqual(type(answer(self.bob, create("@Bob&Alice", self.first, 3))), m.Sent)
        self.assertIn(m.Invited(PAIR, "bob"), self.alice.news())
        for peer in (self.alice, self.bob):
            self.assertEqual(type(answer(peer, m.Join(4, PAIR))), m.Joined)
            (profile,) = self.told_about(peer)
            self.assertEqual({standing.role for standing in profile.roles}, {"admin"})

    def told_about(self, peer: Peer) -> list[Any]:
        return [found for found in peer.ask(m.About(5, PAIR)) if isinstance(found, m.RoomProfile)]

    def test_just_these_two(self) -> None:
        """Neither more nor fewer, nor run by one alone, from the first roster to the last."""
        for members, admins in (
            (["bob"], ["bob"]),
            (["alice", "bob", "carol"], ["alice", "bob"]),
            (["alice", "bob"], ["bob"]),
            (["bob", "carol"], ["bob", "carol"]),
        ):
            self.assertEqual(
                self.code(self.bob, create(PAIR, roster(PAIR, "bob", members, admins), 3)), "roster-refused"
            )
        self.bob.ask(create(PAIR, self.first, 3))
        self.bob.ask(m.Join(4, PAIR))
        for members, admins in (
            (["alice", "bob", "carol"], ["alice", "bob"]),
            (["alice"], ["alice"]),
            (["bob"], ["bob"]),
            (["alice", "bob"], ["bob"]),
        ):
            body = roster(PAIR, "bob", members, admins, after=self.first)
            self.assertEqual(self.code(self.bob, change(5, PAIR, 1, body)), "roster-refused")
        same = roster(PAIR, "bob", ["alice", "bob"], ["alice", "bob"], after=self.first)
        self.assertEqual(type(self.changed(self.bob, 6, 1, same, PAIR)), m.Sent)

    def test_nobody_else_finds_out(self) -> None:
        """Not even that there is one."""
        self.bob.ask(create(PAIR, self.first, 3))
        carol = enter(self.world, "carol")
        there, nowhere = (answer(carol, m.Join(1, room)) for room in (PAIR, "@alice&dave"))
        self.assertEqual((there.code, nowhere.code), ("invite-only", "invite-only"))
        for room in (PAIR, "@alice&dave"):
            body = roster(room, "carol", ["alice", "carol"], ["carol"])
            self.assertEqual(self.code(carol, create(room, body, 1)), "roster-refused")
        self.bob.ask(m.Join(4, PAIR))
        self.assertEqual(answer(carol, m.Whois(2, "bob")).rooms, ())


class Devices(Case):
    """Keys and rooms beside each other."""

    def test_a_device_of_a_member(self) -> None:
        """Publishing keys has nothing to do with being in a room."""
        gadget = Gadget("bob")
        self.assertEqual(type(answer(self.bob, gadget.publish())), m.Published)
        self.assertTrue(self.bob.session.is_in(ROOM))
