"""Who may do what in a room: roles, kick, ban, mute, invitations; and all who try to get around that."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec.msgpack import encode
from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.core.accounts import operator
from encchat.core.chat.allowances import ACT_BURST
from encchat.core.chat.kinds import KINDS
from encchat.core.moderation import rules
from encchat.logs.memory import MemoryLog
from encchat.wire import decode_entry
from tests.core.test_directory import run
from tests.core.world import LOG_ID, LateLog, Peer, World, identity, msgid, text

ROOT = "root's key"
TEA = "+tea"


def world_of(log: MemoryLog | None = None, **settings: Any) -> World:
    """A world without rates, with an admin."""
    admins = frozenset({identity(ROOT).fingerprint})
    return World(log, limits=m.Limits(rate=0), admins=admins, **settings)


class Numbers:
    """Numbers for requests, each used once."""

    def __init__(self) -> None:
        self.last = 1000

    def __call__(self) -> int:
        self.last += 1
        return self.last


number = Numbers()


def kick(name: str, room: str = TEA, reason: str = "") -> m.Kick:
    n = number()
    return m.Kick(n, room, msgid(n), name, reason)


def ban(name: str, room: str = TEA, seconds: int = 0, reason: str = "") -> m.Ban:
    n = number()
    return m.Ban(n, room, msgid(n), name, seconds, reason)


def unban(name: str, room: str = TEA) -> m.Unban:
    n = number()
    return m.Unban(n, room, msgid(n), name)


def mute(name: str, seconds: int = 0, room: str = TEA) -> m.Mute:
    n = number()
    return m.Mute(n, room, msgid(n), name, seconds)


def unmute(name: str, room: str = TEA) -> m.Unmute:
    n = number()
    return m.Unmute(n, room, msgid(n), name)


def invite(name: str, room: str = TEA) -> m.Invite:
    n = number()
    return m.Invite(n, room, msgid(n), name)


def role(name: str, word: str, room: str = TEA) -> m.Role:
    n = number()
    return m.Role(n, room, msgid(n), name, word)


def access(word: str = "", topic_by: str = "", room: str = TEA) -> m.Access:
    n = number()
    return m.Access(n, room, msgid(n), word, topic_by)


def topic(words: str, room: str = TEA) -> m.Topic:
    n = number()
    return m.Topic(n, room, msgid(n), words)


def entries(world: World, room: str = TEA) -> list[tuple[str, str, Any]]:
    """What the log holds of a room: sender, kind, and the body, read if it is an act's."""
    found = []
    for frame in world.log_frames(room):
        entry = decode_entry(frame)
        plain = entry.kind in ("text", "me", "topic")
        found.append((entry.sender, entry.kind, entry.body.decode() if plain else json.loads(entry.body)))
    return found


class ModerationTestCase(SynchronousTestCase):
    """olga owns +tea, mona moderates it, bob and carol are in it."""

    def setUp(self) -> None:
        self.world = world_of()
        self.begin()

    def begin(self) -> None:
        self.olga = self.world.member("olga", TEA)
        self.mona, self.bob, self.carol = (self.world.member(name, TEA) for name in ("mona", "bob", "carol"))
        self.done(self.olga, role("mona", "moderator"))
        self.hush()

    def hush(self) -> None:
        for peer in (self.olga, self.mona, self.bob, self.carol):
            peer.news()

    def answer(self, peer: Peer, message: Any) -> Any:
        """The one answer to a request."""
        answers = [n for n in peer.ask(message) if getattr(n, "id", None) == message.id]
        self.assertEqual(len(answers), 1, answers)
        return answers[0]

    def done(self, peer: Peer, message: Any) -> m.Sent:
        """The answer to a request that is granted."""
        answer = self.answer(peer, message)
        self.assertIs(type(answer), m.Sent, answer)
        sent: m.Sent = answer
        return sent

    def refused(self, peer: Peer, message: Any, code: str) -> None:
        """A request that is not, and leaves no entry."""
        before = len(self.world.log_frames(TEA))
        answer = self.answer(peer, message)
        self.assertIs(type(answer), m.Error, answer)
        self.assertEqual(answer.code, code, answer.text)
        self.assertEqual(len(self.world.log_frames(TEA)), before)

    def assert_outside(self, peer: Peer, code: str | None) -> None:
        """Whoever this is can neither write nor read in +tea; ``code`` is what a join is refused with."""
        before = self.world.log_frames(TEA)
        for message in (
            text(number(), "ghost", TEA),
            topic("ghost"),
            m.Read(number(), TEA),
            m.Read(number(), TEA, 0, 99),
            m.Search(number(), TEA, "secret"),
            m.Who(number(), TEA),
            m.About(number(), TEA),
            m.Mark(number(), TEA, 1),
            m.Part(number(), TEA),
            kick("carol"),
            unban(peer.session.name.shown),
            invite(peer.session.name.shown),
        ):
            self.assertEqual(self.answer(peer, message).code, "not-in-room", message)
        self.carol.news()
        peer.ask(m.Typing(TEA))
        self.assertEqual([n for n in self.carol.news() if type(n) is m.Typing], [])
        if code is not None:
            for join in (
                m.Join(number(), TEA),
                m.Join(number(), TEA, None, 100),
                m.Join(number(), TEA, m.Position()),
            ):
                self.assertEqual(self.answer(peer, join).code, code)
        self.assertEqual(self.world.log_frames(TEA), before)
        self.done(self.carol, text(number(), "secret", TEA))
        self.assertEqual([n for n in peer.news() if type(n) in (m.Entry, m.Page, m.Presence, m.Members)], [])


class Roles(ModerationTestCase):
    """Who may do what."""

    def test_the_creator_owns_the_room(self) -> None:
        profile = self.answer(self.bob, m.About(1, TEA))
        self.assertEqual(profile.roles, (m.Standing("olga", "owner"), m.Standing("mona", "moderator")))
        self.assertEqual((profile.access, profile.topic_by, profile.bans), ("open", "members", ()))

    def test_members_may_do_nothing(self) -> None:
        for message in (
            kick("carol"),
            ban("carol"),
            mute("carol"),
            unban("carol"),
            unmute("carol"),
            invite("carol"),
            role("bob", "owner"),
            role("carol", "moderator"),
            access("private"),
            access("", "moderators"),
        ):
            self.refused(self.bob, message, "not-allowed")
        self.done(self.bob, topic("anybody may"))

    def test_moderators_may_not_do_what_owners_may(self) -> None:
        for message in (role("mona", "owner"), role("bob", "moderator"), access("private")):
            self.refused(self.mona, message, "not-allowed")
        for message in (
            kick("carol"),
            ban("carol"),
            unban("carol"),
            mute("bob"),
            unmute("bob"),
            invite("carol"),
        ):
            self.done(self.mona, message)

    def test_nobody_acts_on_their_equals(self) -> None:
        self.done(self.olga, role("carol", "moderator"))
        for make in (kick, ban, mute):
            for name in ("olga", "carol", "mona"):
                self.refused(self.mona, make(name), "not-allowed")
            self.refused(self.olga, make("olga"), "not-allowed")
        self.done(self.olga, kick("mona"))
        self.assert_outside(self.mona, None)

    def test_owners(self) -> None:
        self.refused(self.olga, role("olga", "member"), "not-allowed")
        self.done(self.olga, role("carol", "owner"))
        self.refused(self.carol, role("olga", "member"), "not-allowed")
        self.refused(self.carol, kick("olga"), "not-allowed")
        self.done(self.olga, role("olga", "member"))
        self.refused(self.olga, role("olga", "owner"), "not-allowed")
        self.done(self.carol, kick("olga"))

    def test_a_moderator_no_more(self) -> None:
        self.done(self.olga, role("mona", "member"))
        self.refused(self.mona, kick("bob"), "not-allowed")

    def test_a_ban_takes_the_role(self) -> None:
        self.done(self.olga, ban("mona"))
        self.done(self.olga, unban("mona"))
        self.assertIs(type(self.answer(self.mona, m.Join(1, TEA))), m.Joined)
        self.refused(self.mona, kick("bob"), "not-allowed")

    def test_the_lobby_is_nobodys(self) -> None:
        first = self.world.member("bob")
        for message in (
            kick("bob", "+lobby"),
            role("bob", "owner", "+lobby"),
            access("private", "", "+lobby"),
        ):
            self.assertEqual(self.answer(first, message).code, "not-allowed")

    def test_admins_are_above_owners_everywhere(self) -> None:
        root = self.world.member("root", TEA, ROOT)
        self.refused(self.olga, kick("root"), "not-allowed")
        self.refused(self.olga, ban("root"), "not-allowed")
        self.done(root, ban("olga"))
        self.assert_outside(self.olga, "banned")
        self.done(root, unban("olga"))
        self.done(root, role("olga", "owner"))
        root.ask(m.Join(1, "+lobby"))
        self.assertEqual(self.answer(root, access("private", "", "+lobby")).code, "not-allowed")
        self.assertIs(type(self.answer(root, access("", "moderators", "+lobby"))), m.Sent)

    def test_an_admin_is_one_by_the_key_alone(self) -> None:
        self.world.named("root", "not root's key")
        guest = self.world.guest(ROOT)  # anybody can show that key to the classic profile
        guest.session.admit()
        self.assertFalse(guest.session.person.admin)

    def test_roles_are_for_names_that_have_an_owner(self) -> None:
        guest = self.world.guest()
        guest.session.admit()
        for name in ("nobody", guest.session.name.shown):
            self.refused(self.olga, role(name, "moderator"), "no-such-name")
            self.refused(self.olga, invite(name), "no-such-name")
        self.refused(self.olga, kick("nobody"), "no-such-name")
        self.refused(self.olga, role("bob", "emperor"), "unknown-word")
        self.refused(self.olga, access("closed"), "unknown-word")
        self.refused(self.olga, access("", "guests"), "unknown-word")

    def test_only_from_inside(self) -> None:
        self.olga.ask(m.Part(1, TEA))
        self.refused(self.olga, kick("bob"), "not-in-room")
        self.refused(self.olga, unban("bob"), "not-in-room")

    def test_acts_are_entries(self) -> None:
        self.done(self.olga, mute("Bob", 60))
        self.done(self.olga, unmute("bob"))
        self.done(self.olga, invite("carol"))
        self.done(self.mona, kick("carol", reason="go\x1b[31m\nhome"))
        self.done(self.mona, ban("carol", reason="stay"))
        self.done(self.mona, unban("carol"))
        self.done(self.olga, access("private", "moderators"))
        self.assertEqual(
            entries(self.world),
            [
                ("olga", "role", {"name": "mona", "role": "moderator"}),
                ("olga", "mute", {"name": "bob", "seconds": 60}),
                ("olga", "unmute", {"name": "bob"}),
                ("olga", "invite", {"name": "carol"}),
                ("mona", "kick", {"name": "carol", "reason": "go home"}),
                ("mona", "ban", {"name": "carol", "reason": "stay"}),
                ("mona", "unban", {"name": "carol"}),
                ("olga", "access", {"access": "private", "topic_by": "moderators"}),
            ],
        )
        self.assertIn("kick", [n.kind for n in self.bob.news() if type(n) is m.Entry])

    def test_lists_are_told_to_moderators(self) -> None:
        self.done(self.olga, ban("carol", seconds=60))
        self.done(self.olga, mute("bob"))
        until = self.world.hub.milliseconds() + 60_000
        profile = self.answer(self.mona, m.About(1, TEA))
        self.assertEqual(profile.bans, (m.Restriction("carol", "olga", until),))
        self.assertEqual(profile.mutes, (m.Restriction("bob", "olga", 0),))
        self.assertEqual(self.answer(self.bob, m.About(1, TEA)).bans, ())
        self.world.turn.time += 60
        self.assertEqual(self.answer(self.mona, m.About(1, TEA)).bans, ())

    def test_nobody_sends_an_act_as_a_message(self) -> None:
        self.assertTrue(rules.ACT_KINDS.isdisjoint(KINDS))
        for kind in sorted(rules.ACT_KINDS):
            forged = m.Send(number(), TEA, msgid(number()), kind, b'{"name":"bob"}')
            for peer in (self.bob, self.olga):
                self.refused(peer, forged, "unknown-kind")

    def test_topic_by_moderators(self) -> None:
        self.done(self.olga, access("", "moderators"))
        self.refused(self.bob, topic("mine"), "not-allowed")
        self.done(self.mona, topic("ours"))
        self.assertEqual(self.answer(self.bob, m.Join(1, TEA)).topic, "ours")
        self.done(self.olga, access("", "members"))
        self.done(self.bob, topic("mine"))

    def test_a_rate_of_their_own(self) -> None:
        world = World()
        alice = world.member("alice", TEA)  # making the room was one
        answers = alice.ask(*[access("", "members") for _ in range(ACT_BURST + 4)])
        codes = [n.code for n in answers if type(n) is m.Error]
        self.assertEqual(codes, ["rate-limited"] * 5)


class PuttingOut(ModerationTestCase):
    """Kick and ban."""

    def test_kicked(self) -> None:
        self.done(self.mona, kick("bob", reason="shouting"))
        (removed,) = [n for n in self.bob.news() if type(n) is m.Removed]
        self.assertEqual(removed, m.Removed(TEA, "kicked", "mona put you out of +tea: shouting"))
        self.assertIn(m.Presence(TEA, "bob", False), self.carol.news())
        self.assert_outside(self.bob, None)
        self.assertIs(type(self.answer(self.bob, m.Join(1, TEA))), m.Joined)
        self.done(self.bob, text(number(), "sorry", TEA))

    def test_banned(self) -> None:
        self.done(self.mona, ban("bob"))
        self.assertEqual([n.code for n in self.bob.news() if type(n) is m.Removed], ["banned"])
        self.assert_outside(self.bob, "banned")
        self.assertFalse(self.bob.closed)
        self.assertIs(type(self.bob.ask(m.Join(1, "+lobby"))[0]), m.Joined)

    def test_all_devices_go_and_stay_out(self) -> None:
        second = self.world.member("bob", TEA)
        code = self.answer(self.bob, m.Link(number())).code
        third = self.world.peer("bob's other key")
        third.ask(m.Hello((1,), "bob", "phone", "", code), m.Join(1, TEA))
        self.done(self.mona, ban("bob"))
        for device in (self.bob, second, third):
            self.assert_outside(device, "banned")
        code = self.answer(self.bob, m.Link(number())).code
        fourth = self.world.peer("bob's newest key")
        fourth.ask(m.Hello((1,), "bob", "tablet", "", code))
        self.assert_outside(fourth, "banned")

    def test_another_name_with_the_same_key(self) -> None:
        other = self.world.member("robert", TEA, "bob's key")
        self.done(self.mona, ban("bob"))
        self.assert_outside(other, "banned")
        self.assert_outside(self.world.named("bobby", "bob's key"), "banned")

    def test_also_kicked_under_another_name(self) -> None:
        other = self.world.member("robert", TEA, "bob's key")
        self.done(self.mona, kick("bob"))
        self.assert_outside(other, None)

    def test_a_key_that_was_taken_away_stays_banned(self) -> None:
        code = self.answer(self.bob, m.Link(number())).code
        phone = self.world.peer("bob's phone")
        phone.ask(m.Hello((1,), "bob", "phone", "", code))
        self.done(self.mona, ban("bob"))
        self.answer(self.bob, m.Unlink(number(), identity("bob's phone").fingerprint))
        self.assert_outside(self.world.named("fred", "bob's phone"), "banned")
        self.done(self.mona, ban("bob", seconds=60))  # again, when the name has another set of keys
        self.assert_outside(self.world.named("fred", "bob's phone"), "banned")

    def test_no_ban_through_the_other_name_of_somebody_with_a_role(self) -> None:
        self.world.named("olga2", "olga's key")
        self.done(self.mona, ban("olga2"))
        self.assertTrue(self.olga.session.is_in(TEA))
        self.done(self.olga, text(number(), "still here", TEA))
        self.olga.ask(m.Part(1, TEA))
        self.assertIs(type(self.answer(self.olga, m.Join(1, TEA))), m.Joined)
        self.assert_outside(self.world.named("olga2", "olga's key"), "banned")

    def test_it_lasts_over_a_restart(self) -> None:
        self.done(self.mona, ban("bob"))
        self.done(self.mona, mute("carol"))
        self.world = world_of(self.world.log)
        bob = self.world.named("bob")
        self.assertEqual(self.answer(bob, m.Join(1, TEA)).code, "banned")
        self.carol = self.world.member("carol", TEA)
        self.refused(self.carol, text(number(), "x", TEA), "muted")
        self.olga = self.world.member("olga", TEA)
        self.done(self.olga, unban("bob"))
        self.assertIs(type(self.answer(bob, m.Join(1, TEA))), m.Joined)

    def test_it_lasts_as_long_as_it_was_said(self) -> None:
        self.done(self.mona, ban("bob", seconds=60))
        self.world.turn.time += 59.9
        self.assert_outside(self.bob, "banned")
        self.world.turn.time += 0.1
        self.assertIs(type(self.answer(self.bob, m.Join(1, TEA))), m.Joined)

    def test_somebody_who_is_not_here_can_be_banned(self) -> None:
        eve = self.world.named("eve")
        self.done(self.mona, ban("eve"))
        self.assert_outside(eve, "banned")
        eve.session.lost()
        self.done(self.mona, unban("EVE"))
        self.assertIs(type(self.answer(self.world.named("eve"), m.Join(1, TEA))), m.Joined)

    def test_a_squatters_ban_is_not_the_certificate_holders(self) -> None:
        self.done(self.mona, ban("bob"))
        holder = self.world.peer("bob's certificate", "bob")
        holder.ask(m.Hello((1,), "bob"))
        self.assertTrue(self.bob.closed)  # who merely claimed the name has lost it
        self.assertIs(type(self.answer(holder, m.Join(1, TEA))), m.Joined)
        self.done(self.mona, ban("bob"))
        self.assert_outside(holder, "banned")
        renewed = self.world.peer("bob's next certificate", "bob")
        renewed.ask(m.Hello((1,), "bob"))
        self.assert_outside(renewed, "banned")

    def test_guests(self) -> None:
        root = self.world.member("root", "+lobby", ROOT)
        guest = self.world.guest("bob's key")  # a key that it merely shows
        guest.session.admit()
        guest.session.receive(m.Join(0, "+lobby"))
        self.world.turn.end()
        name = guest.session.name.shown
        self.done(root, mute(name, room="+lobby"))
        guest.session.receive(text(1, "x"))
        self.world.turn.end()
        self.assertEqual(guest.news()[-1].code, "muted")
        self.done(root, ban(name, "+lobby"))
        self.assertTrue(guest.closed)
        again = self.world.guest("bob's key")
        again.session.admit()
        again.session.receive(m.Join(0, "+lobby"))
        self.world.turn.end()
        self.assertEqual(again.news()[-1].code, "banned")
        self.bob.ask(m.Join(1, "+lobby"))
        self.assertTrue(self.bob.session.is_in("+lobby"))
        self.done(root, unban(name, "+lobby"))


class Muting(ModerationTestCase):
    """Read, not write."""

    def assert_muted(self, peer: Peer) -> None:
        for message in (
            text(number(), "ghost", TEA),
            m.Send(number(), TEA, msgid(number()), "me", b"haunts"),
            topic("ghost"),
        ):
            self.refused(peer, message, "muted")
        self.carol.news()
        peer.ask(m.Typing(TEA))
        self.assertEqual(self.carol.news(), [])
        self.done(self.carol, text(number(), "talk", TEA))
        self.assertIn(m.Entry, [type(n) for n in peer.news()])
        self.assertIs(type(self.answer(peer, m.Read(number(), TEA))), m.Page)

    def test_muted_and_not(self) -> None:
        self.done(self.mona, mute("bob"))
        self.assert_muted(self.bob)
        self.bob.ask(m.Part(1, TEA), m.Join(2, TEA))
        self.assert_muted(self.bob)
        self.assert_muted(self.world.member("bob", TEA))
        self.assert_muted(self.world.member("robert", TEA, "bob's key"))
        self.done(self.mona, unmute("bob"))
        self.done(self.bob, text(number(), "free", TEA))

    def test_for_a_while(self) -> None:
        self.done(self.mona, mute("bob", 60))
        self.world.turn.time += 59
        answer = self.answer(self.bob, text(number(), "x", TEA))
        self.assertEqual(answer.code, "muted")
        self.assertIn("for another 1 s.", answer.text)
        self.world.turn.time += 1
        self.done(self.bob, text(number(), "free", TEA))

    def test_a_muted_moderator_does_not_free_herself(self) -> None:
        self.done(self.olga, mute("mona"))
        for message in (unmute("mona"), kick("bob"), unban("bob"), mute("bob")):
            self.refused(self.mona, message, "muted")

    def test_a_clock_that_goes_back(self) -> None:
        self.done(self.mona, mute("bob", 60))
        self.world.turn.time -= 3600
        self.assert_muted(self.bob)
        self.done(self.mona, unmute("bob"))
        self.done(self.bob, text(number(), "free", TEA))


class Private(ModerationTestCase):
    """Rooms for those who were invited."""

    def setUp(self) -> None:
        super().setUp()
        self.eve = self.world.named("eve")
        self.done(self.olga, access("private"))
        self.hush()

    def rooms(self, peer: Peer) -> list[str]:
        return [room.room for room in self.answer(peer, m.Rooms(number())).rooms]

    def test_outsiders(self) -> None:
        self.assert_outside(self.eve, "invite-only")
        self.assertEqual(self.rooms(self.eve), ["+lobby"])
        self.assertEqual(self.rooms(self.bob), ["+lobby", TEA])
        self.assertEqual(self.answer(self.eve, m.Whois(number(), "bob")).rooms, ())

    def test_outsiders_learn_nothing_from_positions(self) -> None:
        here = m.Position(1, b"x" * 32)
        self.assertEqual(self.answer(self.eve, m.Join(1, TEA, here)).code, "invite-only")
        self.assertEqual(self.answer(self.eve, m.Join(1, TEA, m.Position(99))).code, "invite-only")

    def test_nobody_is_there(self) -> None:
        for peer in (self.olga, self.mona, self.bob, self.carol):
            peer.ask(m.Part(1, TEA))
        self.assertIsNone(self.world.hub.present_room(TEA))
        self.assertEqual(self.answer(self.eve, m.Join(1, TEA)).code, "invite-only")
        self.assertIsNone(self.world.hub.present_room(TEA))
        self.assertEqual((self.rooms(self.eve), self.rooms(self.bob)), (["+lobby"], ["+lobby", TEA]))

    def test_who_was_in_may_come_again(self) -> None:
        self.world = world_of(self.world.log)
        self.assertTrue(self.world.member("bob", TEA).session.is_in(TEA))
        self.assertTrue(self.world.member("mona", TEA).session.is_in(TEA))

    def test_invited(self) -> None:
        self.done(self.mona, invite("Eve"))
        self.assertEqual(self.eve.news(), [m.Invited(TEA, "mona")])
        self.done(self.olga, invite("eve"))
        self.assertEqual(self.eve.news(), [])
        self.assertEqual(self.rooms(self.eve), ["+lobby", TEA])
        self.assertIs(type(self.answer(self.eve, m.Join(1, TEA))), m.Joined)
        self.eve.ask(m.Part(2, TEA))
        self.assertIs(type(self.answer(self.eve, m.Join(3, TEA))), m.Joined)  # it stands

    def test_a_kick_takes_the_invitation_back(self) -> None:
        self.done(self.mona, kick("bob"))
        self.assert_outside(self.bob, "invite-only")
        self.done(self.mona, invite("eve"))
        self.done(self.mona, kick("eve"))  # who never came
        self.assert_outside(self.eve, "invite-only")

    def test_an_invitation_does_not_lift_a_ban(self) -> None:
        self.done(self.mona, ban("bob"))
        self.assert_outside(self.bob, "invite-only")
        self.done(self.mona, invite("bob"))
        self.assert_outside(self.bob, "banned")

    def test_open_again(self) -> None:
        self.done(self.olga, access("open"))
        self.assertIs(type(self.answer(self.eve, m.Join(1, TEA))), m.Joined)

    def test_another_key_of_an_invited_name_is_refused_at_the_door(self) -> None:
        peer = self.world.peer("eve's key")
        self.assertEqual(peer.ask(m.Hello((1,), "bob"))[0].code, "name-taken")

    def test_an_admin_comes_in(self) -> None:
        self.world.member("root", TEA, ROOT)


class Moments(ModerationTestCase):
    """What is on its way when somebody is put out or muted."""

    def setUp(self) -> None:
        self.log = LateLog(LOG_ID)
        self.world = world_of(self.log)
        self.begin()

    def through(self) -> None:
        """Let the log answer everything, oldest first."""
        for _ in range(1000):
            self.world.turn.end()
            if not self.log.gates:
                break
            self.world.turn.open(self.log.gates.pop(0))
        self.log.gates = None
        self.assertEqual(self.world.turn.unforeseen, [])

    def test_nothing_of_the_banned_stands_behind_the_ban(self) -> None:
        for make in (ban, mute, kick):
            self.setUp()
            self.log.gates = []
            self.bob.send(text(number(), "before", TEA))
            self.mona.send(make("bob"))
            for _ in range(200):  # bob writes at every step of it
                self.world.turn.end()
                self.bob.send(text(number(), "x", TEA))
                if not self.log.gates:
                    break
                self.world.turn.open(self.log.gates.pop(0))
            self.through()
            kinds = [kind for _, kind, _ in entries(self.world)]
            at = kinds.index(make("bob").__class__.__name__.lower())
            self.assertGreater(at, 1)
            self.assertEqual([e for e in entries(self.world)[at:] if e[0] == "bob"], [], make)

    def test_a_page_on_its_way_is_not_given_to_the_banned(self) -> None:
        asked = (m.Read(1, TEA), m.Read(1, TEA, 0, 99), m.Search(1, TEA, "ghost"))
        for message in asked:
            self.setUp()
            self.log.gates = []
            self.bob.send(message)
            reading, self.log.gates = self.log.gates, None
            self.assertTrue(reading)
            self.done(self.mona, ban("bob"))
            self.log.gates = reading
            self.through()
            self.assertEqual([type(n) for n in self.bob.news()], [m.Removed, m.Error], message)

    def test_catching_up_ends_with_the_ban(self) -> None:
        self.bob.session.congested = True
        for n in range(5):
            self.done(self.carol, text(number(), f"{n}", TEA))
        self.log.gates = []
        self.bob.session.drained()
        reading, self.log.gates = self.log.gates, None
        self.done(self.mona, ban("bob"))
        self.log.gates = reading
        self.through()
        self.assertEqual([type(n) for n in self.bob.news()], [m.Removed])

    def test_joining_at_any_step_of_a_ban(self) -> None:
        for step in range(40):
            self.setUp()
            self.bob.ask(m.Part(1, TEA))
            self.bob.news()
            self.world.at_step(
                step,
                lambda: self.bob.send(m.Join(2, TEA, None, 100)),
                lambda: self.mona.send(ban("bob")),
            )
            self.assertFalse(self.bob.session.is_in(TEA), step)
            self.assertEqual([n for n in self.bob.news() if type(n) is m.Entry and n.kind == "ban"], [])

    def test_a_ban_at_any_step_of_joining(self) -> None:
        for step in range(40):
            self.setUp()
            self.bob.ask(m.Part(1, TEA))
            self.world.at_step(
                step,
                lambda: self.mona.send(ban("bob")),
                lambda: self.bob.send(m.Join(2, TEA, None, 100)),
            )
            self.assertFalse(self.bob.session.is_in(TEA), step)

    def test_two_owners_ban_each_other(self) -> None:
        self.done(self.olga, role("carol", "owner"))
        root = self.world.member("root", TEA, ROOT)
        self.done(root, role("olga", "moderator"))  # so that carol outranks her, for now
        self.done(root, role("olga", "owner"))
        self.log.gates = []
        self.olga.send(role("bob", "moderator"))
        root.send(ban("olga"))
        self.olga.send(role("mona", "owner"))
        self.through()
        kinds = [(sender, kind) for sender, kind, _ in entries(self.world)][-2:]
        self.assertEqual(kinds, [("olga", "role"), ("root", "ban")])
        self.assertEqual(self.olga.news()[-1].code, "not-in-room")

    def test_of_two_moderators_who_race_the_first_wins(self) -> None:
        root = self.world.member("root", TEA, ROOT)
        self.log.gates = []
        root.send(role("mona", "member"))
        self.mona.send(kick("bob"))
        self.through()
        self.assertEqual(self.mona.news()[-1].code, "not-allowed")
        self.assertTrue(self.bob.session.is_in(TEA))

    def test_two_servers_on_one_log(self) -> None:
        """Each has a mind of its own; the record is one."""
        other = world_of(self.log)
        mona, bob = other.member("mona", TEA), other.member("bob", TEA)
        self.done(self.olga, role("mona", "member"))
        mona.ask(kick("bob"))
        self.assertEqual(mona.news(), [])
        self.assertEqual([e for e in entries(self.world) if e[1] == "kick"], [])
        self.done(self.olga, ban("bob"))
        other.turn.end()
        other.hub.tick()
        other.turn.end()
        self.assertFalse(bob.session.is_in(TEA))

    def test_a_thousand_acts_at_once(self) -> None:
        self.log.gates = []
        for n in range(300):
            for peer in (self.olga, self.mona, self.bob, self.carol):
                peer.send(topic(f"{n}"))
        for _ in range(20_000):
            self.world.turn.end()
            if not self.log.gates:
                break
            self.world.turn.open(self.log.gates.pop(0))
        self.assertEqual(len([e for e in entries(self.world) if e[1] == "topic"]), 1200)


class Once(ModerationTestCase):
    """An act that is sent again is done once, for ever."""

    def setUp(self) -> None:
        self.world = world_of(LateLog(LOG_ID))
        self.begin()

    def test_again(self) -> None:
        message = ban("bob")
        first = self.done(self.mona, message)
        self.assertEqual(self.done(self.mona, message), first)
        self.assertEqual(len([e for e in entries(self.world) if e[1] == "ban"]), 1)

    def test_again_after_it_was_undone(self) -> None:
        for make, undo in ((ban, unban), (mute, unmute)):
            message = make("bob")
            first = self.done(self.mona, message)
            self.done(self.olga, undo("bob"))
            self.assertEqual(self.done(self.mona, message), first)
            self.bob.ask(m.Join(1, TEA))
            self.done(self.bob, text(number(), "free", TEA))

    def test_again_after_a_restart(self) -> None:
        message = kick("bob")
        first = self.done(self.mona, message)
        self.world = world_of(self.world.log)
        self.mona, self.bob = self.world.member("mona", TEA), self.world.member("bob", TEA)
        self.assertEqual(self.done(self.mona, message), first)
        self.assertTrue(self.bob.session.is_in(TEA))

    def test_again_when_the_sender_is_called_otherwise(self) -> None:
        """Under the old name it is an entry already, which is found, and nothing is done anew."""
        for make, undo in (
            (kick, invite),
            (ban, unban),
            (mute, unmute),
            (partial(role, word="moderator"), None),
        ):
            with self.subTest(make=make):
                self.setUp()
                message = make("bob")
                first = self.done(self.olga, message)
                if undo is not None:
                    self.done(self.olga, undo("bob"))
                else:
                    self.done(self.olga, role("bob", "member"))
                before = self.world.log_frames(TEA)
                self.rename("olga", "olivia")
                olivia = self.world.member("olivia", TEA, "olga's key")
                self.bob.ask(m.Join(1, TEA))
                self.assertEqual(self.done(olivia, message), first)
                self.assertEqual(self.world.log_frames(TEA), before)
                self.assertTrue(self.bob.session.is_in(TEA))
                self.assertNotIn("bob", self.olga.session.hub.present_room(TEA).record.roles)
                self.done(self.bob, text(number(), "free", TEA))

    def test_again_by_whoever_may_not_any_more(self) -> None:
        """It is acknowledged as it was: who asked must not believe that it was never done."""
        for message in (
            kick("bob"),
            ban("carol"),
            mute("carol"),
            topic("tea"),
            invite("bob"),
            unban("carol"),
        ):
            with self.subTest(message=message):
                self.setUp()
                first = self.done(self.mona, message)
                self.done(self.olga, role("mona", "member"))
                self.done(self.olga, access(topic_by="moderators"))
                before = self.world.log_frames(TEA)
                self.assertEqual(self.done(self.mona, message), first)
                self.done(self.olga, ban("mona"))
                self.mona.news()
                self.assertEqual(self.done(self.mona, message), first)
                self.assertEqual(len(self.world.log_frames(TEA)), len(before) + 1)

    def test_again_about_somebody_who_is_called_otherwise(self) -> None:
        message = mute("bob")
        first = self.done(self.mona, message)
        self.rename("bob", "robert")
        self.assertEqual(self.done(self.mona, message), first)
        self.assertEqual(self.answer(self.mona, mute("bob")).code, "no-such-name")

    def test_again_a_year_later(self) -> None:
        """The entry has left the log; and the time of a ban does not begin anew."""
        message = ban("bob", seconds=3600)
        first = self.done(self.mona, message)
        self.world.turn.time += 365 * 86400
        run(self.world.log.trim(TEA, 10**6))
        mona = self.world.member("mona", TEA)
        self.assertEqual(self.done(mona, message), first)
        self.assertEqual(type(self.world.named("bob").ask(m.Join(1, TEA))[0]), m.Joined)

    def test_again_holds_nobody_up(self) -> None:
        """What was undone since is not in force again, not even while the act is looked up."""
        message = mute("bob")
        self.done(self.mona, message)
        self.done(self.olga, unmute("bob"))
        for step in range(12):
            gated = self.world.log
            assert isinstance(gated, LateLog)
            said = text(number(), "free", TEA)
            self.world.at_step(step, lambda: self.mona.send(message), lambda said=said: self.bob.send(said))
            self.assertNotIn(m.Error, [type(one) for one in self.bob.news()], step)

    def rename(self, old: str, new: str) -> None:
        self.world.turn.spawn(operator.rename(self.world.hub, old, new, operator.Actor()), None)
        self.world.turn.end()
        self.assertEqual(self.world.turn.unforeseen, [])

    def test_the_same_msgid_for_something_else(self) -> None:
        said = text(5, "hello", TEA)
        self.done(self.mona, said)
        answer = self.answer(self.mona, m.Ban(6, TEA, said.msgid, "bob"))
        self.assertEqual(answer.code, "msgid-reused")
        self.assertTrue(self.bob.session.is_in(TEA))
        self.done(self.bob, text(number(), "free", TEA))
        self.done(self.mona, ban("bob"))


class Bounds(ModerationTestCase):
    """Nothing grows for ever. (The bounds are made small here, so that they are met soon.)"""

    def setUp(self) -> None:
        super().setUp()
        self.patch(rules, "MAX_LISTED", 20)
        self.names = [f"n{n}" for n in range(40)]
        for name in self.names:
            self.world.named(name)

    def fill(self, make: Callable[[str], Any], less: Any) -> None:
        """Do it until it is refused; after ``less``, once more."""
        answers = [self.answer(self.olga, make(name)) for name in self.names]
        refused = [a.code for a in answers if type(a) is m.Error]
        self.assertEqual(set(refused), {"too-many"})
        self.done(self.olga, less)
        self.done(self.olga, make("carol"))
        self.refused(self.olga, make("bob"), "too-many")

    def test_lists(self) -> None:
        self.fill(mute, unmute("n5"))
        self.fill(invite, kick("n5"))
        self.fill(lambda name: role(name, "moderator"), role("n5", "member"))
        self.done(self.olga, role("carol", "member"))
        self.fill(ban, unban("n5"))

    def test_bytes(self) -> None:
        self.patch(rules, "MAX_LISTED", 1000)
        self.patch(rules, "MAX_RECORD", 2000)
        self.fill(mute, unmute("n5"))
        record = self.world.hub.present_room(TEA).record  # type: ignore[union-attr]  # olga is in it
        self.assertLess(len(encode(record)), 2000)

    def test_expired_ones_make_room(self) -> None:
        for name in self.names[:20]:
            self.done(self.mona, mute(name, 60))
        self.refused(self.mona, mute("bob"), "too-many")
        self.world.turn.time += 60
        self.done(self.mona, mute("bob"))

    def test_a_room_too_full_to_become_private(self) -> None:
        for name in self.names:
            self.world.member(name, TEA)
        self.refused(self.olga, access("private"), "too-many")

    def test_the_profile_of_a_full_room_fits_a_frame(self) -> None:
        self.assertLess(2 * rules.MAX_RECORD, m.MAX_PAYLOAD + 1)
