"""The pure session: what it asks, what it believes, what it sends again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from msgspec.structs import replace
from twisted.trial.unittest import TestCase

from encchat import messages as m
from encchat.client import events as e
from encchat.client.protocol import roomcopy
from encchat.client.protocol.answers import TOLD
from encchat.client.protocol.membership import UNASKED
from encchat.client.protocol.outbox import WINDOW, Item
from encchat.client.protocol.requests import MAX_QUESTIONS, TooManyRequests
from encchat.client.protocol.roomcopy import LogMismatch
from encchat.client.protocol.session import MAX_UNSENT, Refused, Session
from encchat.client.protocol.states import State
from encchat.errors import PeerError
from encchat.wire import decode_entry, encode
from tests.client.fake_server import FakeLink, FakeServer

LOBBY = "+lobby"


def item(number: int, room: str = LOBBY, kind: str = "text", body: bytes | None = None) -> Item:
    return Item(
        (1000 + number).to_bytes(16, "big"),
        room,
        kind,
        f"message {number}".encode() if body is None else body,
    )


def texts(events: Iterable[e.Event]) -> list[str]:
    return [event.entry.body.decode() for event in events if isinstance(event, e.NewEntry)]


class SessionTestCase(TestCase):
    """A session, a server, and a connection between them that moves when ``run`` is called."""

    def setUp(self) -> None:
        self.remembered: dict[tuple[bytes, str], m.Position] = {}
        self.session = self.new_session()
        self.server = FakeServer()
        self.now = 100.0
        self.events: list[e.Event] = []

    def new_session(self) -> Session:
        return Session(m.Hello((1,), "alice"), lambda log, room: self.remembered.get((log, room)))

    def connect(self) -> FakeLink:
        self.link = self.server.connect()
        self.session.opened(self.now)
        return self.link

    def push(self) -> None:
        """What the client has to say goes to the server."""
        self.link.feed(self.session.take(self.now))

    def pull(self) -> list[e.Event]:
        """What the server has to say goes to the client."""
        events = [event for frame in self.link.drain() for event in self.session.received(frame, self.now)]
        self.events += events
        return events

    def run_until_quiet(self) -> list[e.Event]:
        events: list[e.Event] = []
        for _ in range(1000):
            self.push()
            if not self.link.out:
                return events
            events += self.pull()
        raise AssertionError("they never end")

    def lose(self) -> list[e.Event]:
        self.link.cut()
        return self.session.lost()

    def enter(self, room: str = LOBBY, history: int = 0) -> list[e.Event]:
        """Connect and join."""
        self.session.join(room, history)
        self.connect()
        return self.run_until_quiet()

    def tell(self, *messages: m.ServerMessage) -> list[e.Event]:
        """The server says something of its own accord."""
        self.link.answer(*messages)
        return self.pull()

    def breaks(self, message: m.ServerMessage) -> str:
        frame = encode(message)
        return str(self.assertRaises(PeerError, self.session.received, frame, self.now))


class Admission(SessionTestCase):
    def test_hello_goes_first_and_alone(self) -> None:
        self.session.join(LOBBY)
        self.assertEqual(self.session.take(self.now), [])
        self.connect()
        self.assertEqual(self.session.take(self.now), [m.Hello((1,), "alice")])

    def test_welcome_admits_and_joins(self) -> None:
        self.server.motd = "be kind"
        events = self.enter()
        admitted, joined, caught_up = events
        self.assertEqual(admitted, e.Admitted("alice", b"L" * 16, "be kind", "fake", False))
        assert isinstance(joined, e.JoinedRoom)
        self.assertEqual((joined.room, joined.first, joined.members[0].name), (LOBBY, True, "alice"))
        self.assertEqual(caught_up, e.CaughtUp(LOBBY))
        self.assertTrue(self.session.admitted)

    def test_refused(self) -> None:
        self.connect()
        frame = encode(m.Refused("name-taken", "The name is\x1b[31m taken."))
        error = self.assertRaises(Refused, self.session.received, frame, self.now)
        self.assertEqual((error.exit_code, error.reason, error.passing), (77, "name-taken", False))
        self.assertEqual(str(error), "The server does not let you in: The name is taken.")

    def test_an_error_instead_of_a_welcome_is_a_refusal(self) -> None:
        self.connect()
        frame = encode(m.Error(0, "server-full", "full"))
        error = self.assertRaises(Refused, self.session.received, frame, self.now)
        self.assertTrue(error.passing)

    def test_closing_instead_of_a_welcome(self) -> None:
        self.connect()
        self.assertEqual(self.tell(m.Closing("going down")), [e.ServerCloses("going down")])

    def test_limits_that_make_no_sense(self) -> None:
        for limits in (m.Limits(body=3), m.Limits(page=0)):
            self.session = self.new_session()
            self.connect()
            self.breaks(m.Welcome("alice", 1, limits, "", 0, bytes(16)))

    def test_a_generous_server_does_not_make_us_break_the_protocol(self) -> None:
        self.server.limits = m.Limits(body=2**31 - 1)
        self.enter()
        self.assertEqual(self.session.max_body, m.MAX_BODY)

    def test_requests_before_the_welcome_are_ours_to_avoid(self) -> None:
        self.connect()
        self.assertRaises(AssertionError, self.session.who, LOBBY)


class OutOfPlace(SessionTestCase):
    samples: ClassVar[dict[type, m.ServerMessage]] = {
        m.Welcome: m.Welcome("alice", 1, m.Limits(), "", 0, bytes(16)),
        m.Refused: m.Refused("no", "no"),
        m.Joined: m.Joined(7, LOBBY, m.Position(), m.Position(), ()),
        m.Done: m.Done(7),
        m.Sent: m.Sent(7, 1, 0),
        m.Ready: m.Ready(7, 1),
        m.Piece: m.Piece(7, 0, 1, b"x"),
        m.Page: m.Page(7, LOBBY, m.Position(), (), False),
        m.Found: m.Found(7, LOBBY, (), 1, False),
        m.Entry: m.Entry("+other", 1, 0, "bob", "", "text", bytes(16), b""),
        m.Members: m.Members(7, LOBBY, ()),
        m.RoomList: m.RoomList(7, ()),
        m.Profile: m.Profile(7, "bob", "", 0, False, False),
        m.Presence: m.Presence("+other", "bob", True),
        m.Typing: m.Typing("+other", "bob"),
        m.Error: m.Error(7, "no", "no"),
        m.Ping: m.Ping(5),
        m.Pong: m.Pong(5),
        m.Closing: m.Closing("bye"),
        m.RoomProfile: m.RoomProfile(7, LOBBY, "open", "members"),
        m.Linked: m.Linked(7, "code", 600),
        m.Removed: m.Removed("+other", "kicked", "out"),
        m.Invited: m.Invited("+other", "bob"),
        m.Marked: m.Marked("+other", 1),
        m.Notice: m.Notice("hear, hear"),
        m.Published: m.Published(7, "device", 1),
        m.DeviceList: m.DeviceList(7, "bob", b"", ()),
        m.Keys: m.Keys(7, "bob", ()),
        m.Posted: m.Posted(7),
        m.Mail: m.Mail(1, "bob", "device", b"letter"),
    }

    def test_every_message_that_a_session_takes_has_a_sample(self) -> None:
        self.assertLessEqual({*Session._HANDLERS, *UNASKED, *TOLD, m.Entry}, set(self.samples))

    def test_before_the_welcome(self) -> None:
        may = {m.Welcome, m.Refused, m.Error, m.Ping, m.Closing}
        for kind, message in self.samples.items():
            if kind not in may:
                self.session = self.new_session()
                self.connect()
                self.assertIn("out of place", self.breaks(message))

    def test_answers_to_nothing_and_entries_of_other_rooms(self) -> None:
        may = {m.Presence, m.Typing, m.Ping, m.Pong, m.Closing, m.Removed, m.Invited, m.Marked, m.Notice}
        may |= {m.Mail}
        self.enter()
        for kind, message in self.samples.items():
            if kind in may:
                self.session.received(encode(message), self.now)
            else:
                self.breaks(message)

    def test_an_answer_of_the_wrong_kind(self) -> None:
        self.enter()
        id = self.session.who(LOBBY)
        self.breaks(m.Done(id))

    def test_an_answer_about_another_room(self) -> None:
        self.enter()
        self.breaks(m.Members(self.session.who(LOBBY), "+other", ()))
        self.breaks(m.Page(self.session.read(LOBBY), "+other", m.Position(), (), False))
        self.session.join("+more")
        (join,) = self.session.take(self.now)[-1:]
        assert isinstance(join, m.Join)
        self.breaks(m.Joined(join.id, "+other", m.Position(), m.Position(), ()))

    def test_a_message_of_a_newer_server_is_passed_over(self) -> None:
        self.enter()
        payload = b"\x92\xa6newer!\x01"
        frame = len(payload).to_bytes(4, "big") + payload
        self.assertEqual(list(self.session.received(frame, self.now)), [])

    def test_a_malformed_message(self) -> None:
        self.enter()
        self.assertRaises(PeerError, self.session.received, b"\0\0\0\1\xc1", self.now)

    def test_after_bye_nothing_matters(self) -> None:
        self.enter()
        self.session.bye("done")
        self.assertEqual(self.session.take(self.now), [m.Bye("done")])
        for message in self.samples.values():
            self.assertEqual(list(self.session.received(encode(message), self.now)), [])

    def test_bye_without_a_connection(self) -> None:
        self.session.bye()
        self.assertEqual((self.session.state, self.session.take(self.now)), (State.APART, []))

    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.binary(min_size=1, max_size=60), max_size=8), st.booleans())
    def test_noise_raises_nothing_but_peer_errors(self, payloads: list[bytes], admitted: bool) -> None:
        session = self.new_session()
        session.opened(0.0)
        if admitted:
            session.received(encode(self.samples[m.Welcome]), 0.0)
        for payload in payloads:
            try:
                list(session.received(len(payload).to_bytes(4, "big") + payload, 0.0))
            except (PeerError, Refused):
                return


class Rooms(SessionTestCase):
    def test_history_then_live(self) -> None:
        for number in range(5):
            self.server.say(LOBBY, f"old {number}")
        events = self.enter(history=2)
        self.assertEqual(texts(events), ["old 3", "old 4"])
        self.assertEqual([type(event).__name__ for event in events[-1:]], ["CaughtUp"])
        self.server.say(LOBBY, "new")
        (event,) = self.pull()
        assert isinstance(event, e.NewEntry)
        self.assertEqual((event.own, event.old, event.entry.sender), (False, False, "bob"))

    def test_resume_after_a_lost_connection(self) -> None:
        self.enter()
        self.server.say(LOBBY, "one")
        self.pull()
        self.lose()
        self.server.say(LOBBY, "two")
        self.connect()
        events = self.run_until_quiet()
        self.assertEqual(texts(events), ["two"])
        joined = next(event for event in events if isinstance(event, e.JoinedRoom))
        self.assertFalse(joined.first)

    def test_resume_from_an_earlier_run(self) -> None:
        for number in range(4):
            self.server.say(LOBBY, f"{number}")
        self.remembered[b"L" * 16, LOBBY] = self.server.room(LOBBY).positions[2]
        events = self.enter(history=1)
        self.assertEqual(texts(events), ["2", "3"])

    def test_joining_while_connected(self) -> None:
        self.enter()
        self.session.join("+ops")
        self.session.join("+ops")
        events = self.run_until_quiet()
        self.assertEqual([event.room for event in events if isinstance(event, e.JoinedRoom)], ["+ops"])

    def test_part(self) -> None:
        self.enter()
        self.session.part(LOBBY)
        self.session.part(LOBBY)
        self.session.part("+unknown")
        self.server.say(LOBBY, "still on its way")
        self.assertEqual(self.run_until_quiet(), [e.LeftRoom(LOBBY)])
        self.assertEqual(self.session.rooms, {})

    def test_part_of_a_room_without_a_connection(self) -> None:
        self.session.join(LOBBY)
        self.session.part(LOBBY)
        self.assertEqual(self.session.rooms, {})

    def test_part_that_the_connection_did_not_outlive(self) -> None:
        self.enter()
        self.session.part(LOBBY)
        self.assertEqual(self.lose(), [e.LeftRoom(LOBBY)])
        self.assertEqual(self.session.rooms, {})

    def test_part_of_a_room_that_the_server_does_not_see_us_in(self) -> None:
        self.enter()
        self.server.refuse[m.Part] = ("not-in-room", 0)
        self.session.part(LOBBY)
        self.assertEqual(self.run_until_quiet(), [e.LeftRoom(LOBBY)])

    def test_leaving_and_coming_again_at_once(self) -> None:
        self.server.say(LOBBY, "before")
        self.session.join(LOBBY, 10)
        self.connect()
        self.push()
        self.pull()
        self.session.part(LOBBY)
        self.session.join(LOBBY, 10)
        self.session.part(LOBBY)
        self.session.join(LOBBY, 10)
        events = self.run_until_quiet()
        self.server.say(LOBBY, "after")
        self.assertEqual(texts(events + self.pull()), ["before", "after"])

    def test_a_refused_join(self) -> None:
        self.server.refuse[m.Join] = ("bad-room", 0)
        events = self.enter()
        self.assertEqual(events[1:], [e.NotJoined(LOBBY, "bad-room", "no")])
        self.assertEqual(self.session.rooms, {})

    def test_a_join_that_has_to_wait(self) -> None:
        self.server.refuse[m.Join] = ("storage-unavailable", 3000)
        events = self.enter()
        self.assertEqual(events[1:], [e.Delayed("storage-unavailable", "no", 3.0)])
        self.assertEqual(self.session.due(self.now), self.now + 3)
        self.server.refuse.clear()
        self.now += 2.9
        self.assertEqual(self.run_until_quiet(), [])
        self.now += 0.1
        self.assertEqual(len(self.run_until_quiet()), 2)
        self.assertIsNone(self.session.due(self.now))

    def test_a_join_that_waits_is_forgotten_when_we_leave(self) -> None:
        for leave, arguments in ((Session.part, (LOBBY,)), (Session.bye, ()), (Session.lost, ())):
            self.setUp()
            self.server.refuse[m.Join] = ("rate-limited", 1000)
            self.enter()
            leave(self.session, *arguments)
            self.session.take(self.now)
            self.assertIsNone(self.session.due(self.now))

    def test_being_put_out(self) -> None:
        self.enter()
        self.assertEqual(
            self.tell(m.Removed(LOBBY, "kicked", "out you go")), [e.PutOut(LOBBY, "kicked", "out you go")]
        )
        self.assertEqual(self.session.rooms, {})
        self.server.say(LOBBY, "still on its way")
        self.assertEqual(self.pull(), [])
        self.assertEqual(self.tell(m.Removed(LOBBY, "kicked", "again")), [])

    def test_being_put_out_while_we_come_again(self) -> None:
        self.enter()
        self.session.part(LOBBY)
        self.session.join(LOBBY)
        self.assertEqual(self.tell(m.Removed(LOBBY, "kicked", "out you go")), [])
        self.assertEqual([type(x).__name__ for x in self.run_until_quiet()], ["JoinedRoom", "CaughtUp"])

    def test_invitations_and_announcements(self) -> None:
        self.enter()
        events = self.tell(m.Invited("+ops", "bob"), m.Notice("tea"), m.Marked(LOBBY, 3))
        self.assertEqual(events, [e.WasInvited("+ops", "bob"), e.Announced("tea"), e.ReadElsewhere(LOBBY, 3)])

    def test_presence_is_told_when_it_is_news(self) -> None:
        self.enter()
        came = m.Presence(LOBBY, "carol", True, True)
        self.assertEqual(self.tell(came, came), [e.CameOrWent(LOBBY, "carol", True, True)])
        self.assertIn("carol", self.session.rooms[LOBBY].members)
        gone = m.Presence(LOBBY, "carol", False)
        self.assertEqual(self.tell(gone, gone), [e.CameOrWent(LOBBY, "carol", False, False)])

    def test_members_unasked_replace_what_we_knew(self) -> None:
        self.enter()
        event = self.tell(m.Members(0, LOBBY, (m.Member("zoe"),)))
        self.assertEqual(event, [e.RoomMembers(0, LOBBY, (m.Member("zoe"),))])
        self.assertEqual(list(self.session.rooms[LOBBY].members), ["zoe"])
        self.assertEqual(self.tell(m.Members(0, "+other", ())), [])

    def test_topics(self) -> None:
        self.server.room(LOBBY).topic = "first"
        self.enter()
        self.assertEqual(self.session.rooms[LOBBY].topic, "first")
        self.session.send(item(1, kind="topic", body=b"second"))
        events = self.run_until_quiet()
        self.assertEqual(self.session.rooms[LOBBY].topic, "second")
        self.assertTrue(any(isinstance(event, e.Acknowledged) for event in events))

    def test_typing(self) -> None:
        self.session.typing(LOBBY)
        self.enter()
        self.session.typing(LOBBY)
        self.session.typing("+other")
        self.assertEqual(self.session.take(self.now), [m.Typing(LOBBY)])
        self.assertEqual(self.tell(m.Typing(LOBBY, "bob")), [e.IsTyping(LOBBY, "bob")])


class Questions(SessionTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enter()

    def ask(self, id: int) -> e.Event:
        (event,) = self.run_until_quiet()
        self.assertEqual(event.request, id)  # type: ignore[union-attr]
        return event

    def test_who(self) -> None:
        event = self.ask(self.session.who(LOBBY))
        assert isinstance(event, e.RoomMembers)
        self.assertEqual([member.name for member in event.members], ["alice", "guest-1"])
        self.session.who("+elsewhere")
        self.assertEqual(len(self.run_until_quiet()), 1)

    def test_rooms(self) -> None:
        event = self.ask(self.session.list_rooms())
        assert isinstance(event, e.RoomsListed)
        self.assertEqual([info.room for info in event.rooms], [LOBBY])

    def test_whois(self) -> None:
        event = self.ask(self.session.whois("bob" * 100))
        assert isinstance(event, e.ProfileFound)
        self.assertEqual(event.profile.name, ("bob" * 100)[:64])

    def test_history(self) -> None:
        for number in range(10):
            self.server.say(LOBBY, str(number))
        self.pull()
        event = self.ask(self.session.read(LOBBY, before=6, limit=3))
        assert isinstance(event, e.History)
        self.assertEqual(([entry.seq for entry in event.entries], event.more), ([3, 4, 5], True))
        event = self.ask(self.session.read(LOBBY, after=8, limit=10**6))
        assert isinstance(event, e.History)
        self.assertEqual(([entry.seq for entry in event.entries], event.more), ([9, 10], False))

    def test_history_of_a_room_that_we_left_meanwhile(self) -> None:
        self.server.say(LOBBY, "one")
        self.pull()
        self.session.read(LOBBY)
        self.session.part(LOBBY)
        events = self.run_until_quiet()
        self.assertEqual([type(event).__name__ for event in events], ["History", "LeftRoom"])

    def test_an_error(self) -> None:
        self.server.refuse[m.Whois] = ("no-such-name", 0)
        id = self.session.whois("nobody")
        self.assertEqual(self.run_until_quiet(), [e.RequestFailed(id, "no-such-name", "no")])

    def test_a_lost_connection_fails_questions_and_nothing_else(self) -> None:
        id = self.session.who(LOBBY)
        self.session.send(item(1))
        self.session.take(self.now)
        (event,) = self.session.lost()
        assert isinstance(event, e.RequestFailed)
        self.assertEqual(event.request, id)

    def test_there_is_an_end_to_them(self) -> None:
        for _ in range(MAX_QUESTIONS):
            self.session.list_rooms()
        self.assertRaises(TooManyRequests, self.session.list_rooms)
        self.session.send(item(1))
        self.assertIn("Send", [type(message).__name__ for message in self.session.take(self.now)])

    def test_a_server_that_asks_and_never_reads_is_given_up(self) -> None:
        frame = encode(m.Ping(9))
        for _ in range(MAX_UNSENT):
            self.session.received(frame, self.now)
        self.assertRaises(PeerError, self.session.received, frame, self.now)
        self.assertEqual(len(self.session.take(self.now)), MAX_UNSENT)

    def test_ping_and_pong(self) -> None:
        self.tell(m.Ping(9))
        self.session.ping()
        pong, ping = self.session.take(self.now)
        self.assertEqual((pong, type(ping)), (m.Pong(9), m.Ping))
        self.assertEqual(self.tell(m.Pong(0)), [])
        self.session.bye()
        self.session.ping()
        self.assertEqual(self.session.take(self.now), [m.Bye()])

    def test_complaints(self) -> None:
        events = self.tell(m.Error(0, "malformed", "what?"), m.Closing("bye"))
        self.assertEqual(events, [e.ServerComplains("malformed", "what?"), e.ServerCloses("bye")])


class Sending(SessionTestCase):
    def test_what_is_sent_comes_back_as_our_own_and_is_acknowledged_once(self) -> None:
        self.enter()
        self.session.send(item(1))
        events = self.run_until_quiet()
        self.assertEqual([type(event).__name__ for event in events], ["NewEntry", "Acknowledged"])
        entry, acknowledged = events
        assert isinstance(entry, e.NewEntry)
        assert isinstance(acknowledged, e.Acknowledged)
        self.assertTrue(entry.own)
        self.assertEqual((acknowledged.item, acknowledged.seq), (item(1), 1))
        self.assertEqual(len(self.session.outbox), 0)

    def test_somebody_elses_message_with_our_msgid_is_not_ours(self) -> None:
        self.enter()
        self.session.send(item(1))
        self.session.take(self.now)
        self.server.append(LOBBY, "mallory", "text", item(1).msgid, b"mine now")
        (event,) = self.pull()
        assert isinstance(event, e.NewEntry)
        self.assertFalse(event.own)

    def test_nothing_is_sent_to_a_room_before_we_are_in_it(self) -> None:
        self.session.send(item(1))
        self.session.send(item(2, "+other"))
        self.enter()
        self.assertEqual(texts(self.events), ["message 1"])
        self.assertEqual(list(self.session.outbox), [item(2, "+other")])
        self.session.join("+other")
        self.run_until_quiet()
        self.assertEqual(len(self.session.outbox), 0)

    def test_a_window_is_in_flight_at_most(self) -> None:
        self.server.limits = m.Limits(rate=0)
        self.enter()
        for number in range(3 * WINDOW):
            self.session.send(item(number))
        self.assertEqual(len(self.session.take(self.now)), WINDOW)
        self.assertIsNone(self.session.due(self.now))

    def test_no_faster_than_the_server_says(self) -> None:
        self.server.limits = m.Limits(rate=10, burst=5)
        self.enter()
        for number in range(20):
            self.session.send(item(number))
        sent = 0
        for _ in range(100):
            sent += len(self.session.take(self.now))
            if self.now == 100.0:
                self.assertEqual(sent, 4)  # nine tenths of the burst
            due = self.session.due(self.now)
            if due is None:
                break
            self.assertGreater(due, self.now)
            self.now = due
        self.assertEqual(sent, 20)
        self.assertGreaterEqual(self.now - 100, 15 / 9)

    def test_a_lost_connection_sends_again_in_order_under_the_same_msgids(self) -> None:
        self.enter()
        for number in range(3):
            self.session.send(item(number))
        self.link.feed(self.session.take(self.now)[:2])  # the third never arrived; no answer did
        self.lose()
        self.session.send(item(3))
        self.connect()
        events = self.run_until_quiet()
        self.assertEqual(texts(events), [f"message {number}" for number in range(4)])
        acknowledged = [event.seq for event in events if isinstance(event, e.Acknowledged)]
        self.assertEqual(acknowledged, [1, 2, 3, 4])

    def test_what_the_server_never_takes_leaves_the_outbox(self) -> None:
        self.enter()
        self.server.refuse[m.Send] = ("too-large", 0)
        self.session.send(item(1))
        self.assertEqual(self.run_until_quiet(), [e.NotSent(item(1), "too-large", "no")])
        self.assertEqual(len(self.session.outbox), 0)

    def test_what_the_server_cannot_take_now_waits_and_goes_again_in_order(self) -> None:
        self.enter()
        self.server.refuse[m.Send] = ("rate-limited", 1500)
        for number in range(3):
            self.session.send(item(number))
        self.assertEqual(self.run_until_quiet(), [e.Delayed("rate-limited", "no", 1.5)])
        self.assertEqual(self.session.due(self.now), self.now + 1.5)
        self.now += 1.4
        self.assertEqual(self.session.take(self.now), [])
        self.server.refuse.clear()
        self.now += 0.11
        self.assertEqual(texts(self.run_until_quiet()), [f"message {number}" for number in range(3)])

    def test_an_answer_to_the_first_copy_counts_though_a_second_is_due(self) -> None:
        self.enter()
        for number in range(3):
            self.session.send(item(number))
        first, second, third = self.session.take(self.now)
        assert isinstance(first, m.Send)
        assert isinstance(second, m.Send)
        assert isinstance(third, m.Send)
        self.tell(m.Error(first.id, "storage-unavailable", "wait"))
        self.tell(m.Sent(second.id, 1, 0))
        self.assertEqual(
            self.tell(m.Error(third.id, "too-large", "no")), [e.NotSent(item(2), "too-large", "no")]
        )
        self.now += 2.0
        self.assertEqual([message.msgid for message in self.session.take(self.now)], [item(0).msgid])

    def test_answers_to_both_copies(self) -> None:
        self.enter()
        self.session.send(item(1))
        (first,) = self.session.take(self.now)
        assert isinstance(first, m.Send)
        self.session.send(item(2))
        (other,) = self.session.take(self.now)
        assert isinstance(other, m.Send)
        self.tell(m.Error(first.id, "rate-limited", "wait", 10))
        self.now += 1
        again, other_again = self.session.take(self.now)
        assert isinstance(again, m.Send)
        assert isinstance(other_again, m.Send)
        self.assertEqual(len(self.tell(m.Sent(other.id, 1, 0))), 1)
        self.assertEqual(self.tell(m.Sent(other_again.id, 1, 0)), [])
        self.assertEqual(len(self.tell(m.Error(again.id, "too-large", "no"))), 1)

    def test_a_refusal_of_what_is_acknowledged_already(self) -> None:
        self.enter()
        self.session.send(item(1))
        (first,) = self.session.take(self.now)
        assert isinstance(first, m.Send)
        self.session.outbox.rewind()
        second, third = self.session.take(self.now)[0], None
        self.session.outbox.rewind()
        (third,) = self.session.take(self.now)
        assert isinstance(second, m.Send)
        assert isinstance(third, m.Send)
        self.tell(m.Sent(first.id, 1, 0))
        self.assertEqual(self.tell(m.Error(second.id, "rate-limited", "wait")), [])
        self.assertEqual(self.tell(m.Error(third.id, "too-large", "no")), [])

    def test_only_so_many_own_msgids_are_remembered(self) -> None:
        self.enter()
        for number in range(5000):
            self.session.send(item(number))
        self.assertLessEqual(len(self.session._outgoing._own), 4096)


class LogChecks(SessionTestCase):
    """A server that leaves out, alters, reorders, repeats or forks is found out."""

    def setUp(self) -> None:
        super().setUp()
        for number in range(6):
            self.server.say(LOBBY, f"{number}")
        self.room = self.server.room(LOBBY)

    def found_out(self, *frames: bytes) -> LogMismatch:
        def receive() -> None:
            for frame in frames:
                list(self.session.received(frame, self.now))

        error = self.assertRaises(LogMismatch, receive)
        self.assertEqual(error.exit_code, 76)
        self.assertIn("does not match what you saw", str(error))
        self.assertNotIn("..", str(error))
        return error

    def joining(self, history: int = 0) -> m.Join:
        self.session.join(LOBBY, history)
        self.connect()
        self.push()
        self.pull()
        (join,) = self.session.take(self.now)
        assert isinstance(join, m.Join)
        return join

    def joined(self, join: m.Join, start: m.Position, head: m.Position | None = None) -> bytes:
        return encode(m.Joined(join.id, LOBBY, head or self.room.head, start, ()))

    def test_a_gap(self) -> None:
        self.enter()
        self.server.say(LOBBY, "left out")
        self.link.drain()
        self.server.say(LOBBY, "told")
        self.found_out(*self.link.drain())

    def test_the_position_stays_at_the_last_good_entry(self) -> None:
        self.enter()
        self.server.say(LOBBY, "left out")
        self.link.drain()
        self.server.say(LOBBY, "told")
        self.found_out(*self.link.drain())
        position = self.session.rooms[LOBBY].position
        self.assertEqual(position, self.room.positions[6])

    def test_a_repeated_entry(self) -> None:
        self.enter()
        self.found_out(self.room.frames[-1])

    def test_history_that_does_not_lead_to_the_head(self) -> None:
        join = self.joining(history=3)
        altered = encode(replace(decode_entry(self.room.frames[4]), body=b"altered"))
        self.found_out(
            self.joined(join, self.room.positions[3]), self.room.frames[3], altered, self.room.frames[5]
        )

    def test_a_head_that_contradicts_the_start(self) -> None:
        join = self.joining()
        self.found_out(self.joined(join, self.room.head, m.Position(6, b"x" * 32)))

    def test_a_beginning_that_is_none(self) -> None:
        join = self.joining(history=100)
        self.found_out(self.joined(join, m.Position(0, b"x" * 32)))

    def test_a_log_that_ends_before_it_begins(self) -> None:
        join = self.joining()
        frame = self.joined(join, self.room.head, self.room.positions[2])
        self.assertIn(
            "ends before it begins", str(self.assertRaises(PeerError, self.session.received, frame, 0.0))
        )

    def test_a_resume_from_somewhere_else(self) -> None:
        self.remembered[b"L" * 16, LOBBY] = self.room.positions[4]
        join = self.joining()
        self.assertEqual(join.after, self.room.positions[4])
        self.found_out(self.joined(join, self.room.positions[3]))
        self.found_out(self.joined(join_again(self), m.Position(4, b"x" * 32)))

    def test_a_head_before_what_we_read(self) -> None:
        self.remembered[b"L" * 16, LOBBY] = self.room.positions[4]
        self.session.join(LOBBY, 1, resume=False)
        self.connect()
        self.push()
        self.pull()
        (join,) = self.session.take(self.now)
        assert isinstance(join, m.Join)
        self.assertIsNone(join.after)
        self.found_out(self.joined(join, self.room.positions[3], self.room.positions[3]))

    def test_a_position_of_an_earlier_run_is_met_on_the_way_through_history(self) -> None:
        self.remembered[b"L" * 16, LOBBY] = m.Position(5, b"x" * 32)
        self.session.join(LOBBY, 3, resume=False)
        self.connect()
        self.push()
        self.pull()
        (join,) = self.session.take(self.now)
        assert isinstance(join, m.Join)
        self.found_out(self.joined(join, self.room.positions[3]), *self.room.frames[3:])

    def test_a_server_that_does_not_know_our_position(self) -> None:
        for position in (m.Position(5, b"x" * 32), m.Position(99, b"x" * 32)):
            self.session = self.new_session()
            self.remembered[b"L" * 16, LOBBY] = position
            self.session.join(LOBBY)
            self.connect()
            self.push()
            self.pull()
            self.push()
            self.found_out(*self.link.drain())

    def test_after_a_reconnect_the_log_must_still_be_ours(self) -> None:
        self.enter()
        self.lose()
        fork = FakeServer()
        for number in range(6):
            fork.say(LOBBY, f"fork {number}")
        self.server = fork
        self.connect()
        self.push()
        self.pull()
        self.push()
        self.found_out(*self.link.drain())

    def test_another_log_is_begun_afresh(self) -> None:
        self.enter()
        self.lose()
        self.server = FakeServer(b"M" * 16)
        self.server.say(LOBBY, "a new start")
        self.connect()
        events = self.run_until_quiet()
        admitted, joined = events[:2]
        assert isinstance(admitted, e.Admitted)
        assert isinstance(joined, e.JoinedRoom)
        self.assertTrue(admitted.new_log)
        self.assertTrue(joined.first)

    def test_entries_that_left_the_log_are_said_to_be_lost(self) -> None:
        self.remembered[b"L" * 16, LOBBY] = self.room.positions[1]
        join = self.joining()
        frames = [self.joined(join, self.room.positions[3]), *self.room.frames[3:]]
        events = [event for frame in frames for event in self.session.received(frame, self.now)]
        self.assertEqual(events[0], e.Lost(LOBBY, 2))
        self.assertEqual(texts(events), ["3", "4", "5"])

    def test_entries_that_left_the_log_while_we_were_slow(self) -> None:
        join = self.joining(history=6)
        list(self.session.received(self.joined(join, m.Position()), self.now))
        skip = m.Page(0, LOBBY, self.room.positions[4], (), True)
        self.assertEqual(self.tell(skip), [e.Lost(LOBBY, 4)])
        self.assertEqual(self.tell(skip), [])
        end = m.Page(0, LOBBY, self.room.positions[6], (), True)
        self.assertEqual(self.tell(end), [e.Lost(LOBBY, 2), e.CaughtUp(LOBBY)])
        self.found_out(encode(skip))

    def test_a_skip_is_checked_too(self) -> None:
        self.enter()
        self.found_out(encode(m.Page(0, LOBBY, m.Position(6, b"x" * 32), (), True)))
        self.breaks(m.Page(0, LOBBY, self.room.positions[6], (self.room.frames[0],), True))
        self.breaks(m.Page(0, "+other", m.Position(), (), True))
        self.session.part(LOBBY)
        self.assertEqual(self.tell(m.Page(0, LOBBY, m.Position(), (), True)), [])

    def page(self, start: m.Position, frames: Iterable[bytes]) -> bytes:
        return encode(m.Page(self.session.read(LOBBY, before=7), LOBBY, start, tuple(frames), False))

    def test_a_page_must_lead_to_what_we_know(self) -> None:
        self.enter()
        self.found_out(
            self.page(self.room.positions[3], [*self.room.frames[3:5], _altered(self.room.frames[5])])
        )
        self.found_out(self.page(m.Position(3, b"x" * 32), self.room.frames[3:]))
        self.found_out(self.page(m.Position(0, b"x" * 32), self.room.frames[:2]))

    def test_what_a_page_proved_the_next_one_must_meet(self) -> None:
        self.enter()
        list(self.session.received(self.page(self.room.positions[3], self.room.frames[3:]), self.now))
        self.found_out(
            self.page(self.room.positions[1], [self.room.frames[1], _altered(self.room.frames[2])])
        )

    def test_a_page_apart_proves_nothing(self) -> None:
        self.enter()
        strange = [_altered(self.room.frames[1])]
        list(self.session.received(self.page(m.Position(1, b"x" * 32), strange), self.now))
        list(self.session.received(self.page(self.room.positions[1], self.room.frames[1:3]), self.now))

    def test_a_page_of_other_entries(self) -> None:
        self.enter()
        other = encode(m.Entry("+other", 4, 0, "bob", "", "text", bytes(16), b""))
        for frames in ([self.room.frames[4]], [other], [b"junk"], [encode(m.Pong())]):
            frame = self.page(self.room.positions[3], frames)
            self.assertRaises(PeerError, self.session.received, frame, self.now)

    def test_many_pages_are_remembered_within_a_bound(self) -> None:
        for number in range(300):
            self.server.say(LOBBY, f"more {number}")
        self.enter()
        for before in range(300, 2, -1):
            self.session.read(LOBBY, before=before, limit=1)
            self.run_until_quiet()
        self.assertLessEqual(len(self.session.rooms[LOBBY]._anchors), 66)

    def test_a_doubled_message_is_told_once(self) -> None:
        self.enter()
        for _ in range(2):
            self.room.seqs.clear()
            self.server.append(LOBBY, "bob", "text", b"same" * 4, b"twice?")
        self.assertEqual(texts(self.pull()), ["twice?"])
        self.assertEqual(self.session.rooms[LOBBY].position, self.room.head)

    def test_only_the_last_messages_are_remembered(self) -> None:
        self.enter()
        for number in range(600):
            self.server.say(LOBBY, f"more {number}")
        self.pull()
        self.assertLessEqual(len(self.session.rooms[LOBBY]._recent), 512)

    def test_members_are_bounded(self) -> None:
        self.patch(roomcopy, "MAX_MEMBERS", 3)
        self.enter()
        for number in range(9):
            self.tell(m.Presence(LOBBY, f"crowd-{number}", True))
        self.assertEqual(len(self.session.rooms[LOBBY].members), 3)


def _altered(frame: bytes) -> bytes:
    return encode(replace(decode_entry(frame), body=b"altered"))


def join_again(case: LogChecks) -> m.Join:
    """A new run of the client that has sent its Join."""
    case.session = case.new_session()
    return case.joining()


class Outage(RuleBasedStateMachine):
    """People talk while the connection is cut at any point between any two frames, and the server now and
    then cannot store. Whatever happens, what was typed is in the log once and everybody's entries are
    seen once, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.server = FakeServer(limits=m.Limits(rate=50, burst=10))
        self.session = Session(m.Hello((1,), "alice"))
        self.now = 0.0
        self.link: FakeLink | None = None
        self.typed: list[Item] = []
        self.seen: list[int] = []
        self.acknowledged: list[bytes] = []
        self.trouble = False
        self.session.join(LOBBY)

    @rule()
    def type_a_line(self) -> None:
        new = item(len(self.typed))
        self.typed.append(new)
        self.session.send(new)

    @rule()
    def somebody_speaks(self) -> None:
        self.server.say(LOBBY, "hello")

    @precondition(lambda self: self.link is None)
    @rule()
    def connect(self) -> None:
        self.link = self.server.connect()
        self.session.opened(self.now)

    @precondition(lambda self: self.link is not None)
    @rule(arrive=st.integers(0, 5))
    def cut(self, arrive: int) -> None:
        assert self.link is not None
        self.link.feed(self.session.take(self.now)[:arrive])
        self.link.cut()
        self.session.lost()
        self.link = None

    @precondition(lambda self: self.link is not None)
    @rule()
    def up(self) -> None:
        assert self.link is not None
        self.link.feed(self.session.take(self.now))

    @precondition(lambda self: self.link is not None)
    @rule(count=st.integers(1, 20))
    def down(self, count: int) -> None:
        assert self.link is not None
        frames, self.link.out = self.link.out[:count], self.link.out[count:]
        for frame in frames:
            for event in self.session.received(frame, self.now):
                if isinstance(event, e.NewEntry):
                    self.seen.append(event.entry.seq)
                elif isinstance(event, e.Acknowledged):
                    self.acknowledged.append(event.item.msgid)

    @rule(seconds=st.floats(0.01, 5))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(code=st.sampled_from(["rate-limited", "storage-unavailable"]))
    def trouble_begins(self, code: str) -> None:
        self.trouble = True
        self.server.refuse = {m.Send: (code, 100), m.Join: (code, 100)}

    @rule()
    def trouble_ends(self) -> None:
        self.server.refuse = {}

    @invariant()
    def entries_are_seen_once_and_in_order(self) -> None:
        if self.seen:
            first = self.seen[0]
            assert self.seen == list(range(first, first + len(self.seen)))

    @invariant()
    def acknowledged_is_stored(self) -> None:
        stored = {msgid for sender, msgid in self.server.room(LOBBY).seqs if sender == "alice"}
        assert stored >= set(self.acknowledged)
        assert len(self.acknowledged) == len(set(self.acknowledged))

    def teardown(self) -> None:
        self.trouble_ends()
        if self.link is None:
            self.connect()
        for _ in range(10 + 3 * len(self.typed)):
            self.up()
            self.down(10_000)
            self.now = max(self.now, self.session.due(self.now) or self.now)
        assert len(self.session.outbox) == 0
        mine = [msgid for sender, msgid in self.server.room(LOBBY).seqs if sender == "alice"]
        assert sorted(mine) == [typed.msgid for typed in self.typed]
        if not self.trouble:  # a server that refuses one and takes the next has changed their order itself
            assert mine == [typed.msgid for typed in self.typed]
        if self.seen:
            assert self.seen[-1] == len(self.server.room(LOBBY).frames)
        self.entries_are_seen_once_and_in_order()
        super().teardown()


class Outages(TestCase):
    def test_nothing_is_lost_or_doubled(self) -> None:
        run_state_machine_as_test(
            Outage, settings=settings(max_examples=60, stateful_step_count=40, deadline=None)
        )
