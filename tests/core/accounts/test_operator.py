"""What the operator and the admins do to the whole server, and what of it is kept for the audit."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from msgspec.structs import replace
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from encchat import messages as m
from encchat.core.accounts import operator
from encchat.core.accounts.admission import NameReserved
from encchat.core.accounts.operator import Actor
from encchat.core.interfaces import Deed, IAudit
from encchat.core.moderation import rules
from encchat.core.moderation.rules import Rank
from encchat.core.refusals import Certified, NoSuchName, TooManyListed
from encchat.logs.memory import MemoryLog
from tests.core.moderation.test_moderation import (
    ROOT,
    TEA,
    ban,
    invite,
    kick,
    mute,
    number,
    role,
    topic,
    unban,
    world_of,
)
from tests.core.test_directory import run
from tests.core.world import LOG_ID, GatedLog, LateLog, Peer, Promised, World, identity, text

SELF = Actor()


def fingerprint(key: str) -> str:
    return identity(key).fingerprint


@implementer(IAudit)
class Notebook:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.deeds: list[Deed] = []
        #: Fires when the disk has them; None: at once.
        self.disk: Promised | None = None

    async def settle(self) -> None:
        if self.disk is not None:
            await self.disk

    def record(self, deed: Deed) -> None:
        self.deeds.append(deed)

    def lines(self) -> list[tuple[str, str]]:
        return [(deed.what, deed.who) for deed in self.deeds]


class OperatorTestCase(SynchronousTestCase):
    """bob is in +lobby."""

    def setUp(self) -> None:
        self.log = LateLog(LOG_ID)
        self.world = world_of(self.log)
        self.bob = self.world.member("bob")
        self.bob.news()

    def work(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run something that may have to wait for the end of the turn."""
        found: list[Any] = []

        async def keep() -> None:
            found.append(await coroutine)

        self.world.turn.spawn(keep(), None)
        self.world.turn.end()
        if self.world.turn.unforeseen:
            raise self.world.turn.unforeseen.pop()
        return found[0]

    async def quietly(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Only do it."""
        await coroutine


class Server(OperatorTestCase):
    """Kick, ban, unban and announce, for the whole server."""

    def refused(self, key: str, name: str) -> str:
        peer = self.world.peer(key)
        answer = peer.ask(m.Hello((1,), name))[0]
        return answer.code if type(answer) is m.Refused else ""

    def test_kick(self) -> None:
        self.assertEqual(run(operator.kick(self.world.hub, "Bob", SELF, "go\nhome")), 1)
        self.assertTrue(self.bob.closed)
        self.assertEqual(self.bob.news()[-1], m.Closing("You were put out of this server: go home"))
        self.assertEqual(self.refused("bob's key", "bob"), "")
        self.assertEqual(run(operator.kick(self.world.hub, fingerprint("bob's key"), SELF)), 1)
        self.assertRaises(NoSuchName, run, operator.kick(self.world.hub, "nobody", SELF))

    def test_ban_of_a_name(self) -> None:
        other = self.world.named("robert", "bob's key")
        self.assertEqual(run(operator.ban(self.world.hub, "bob", SELF, reason="spam")), 2)
        for peer in (self.bob, other):
            self.assertEqual(peer.news()[-1], m.Closing("You are banned from this server: spam"))
        for world in (self.world, world_of(self.log)):
            self.world = world
            for key, name in (("bob's key", "bob"), ("bob's key", "fred"), ("bob's key", "robert")):
                self.assertEqual(self.refused(key, name), "banned")
        self.assertEqual(self.refused("another key", "bob"), "banned")
        self.assertTrue(run(operator.unban(self.world.hub, "bob", SELF)))
        self.assertFalse(run(operator.unban(self.world.hub, "bob", SELF)))
        self.assertEqual(self.refused("bob's key", "bob"), "")

    def test_ban_of_a_key(self) -> None:
        guest = self.world.guest("bob's key")
        guest.session.admit()
        self.assertEqual(run(operator.ban(self.world.hub, fingerprint("bob's key"), SELF)), 2)
        self.assertEqual(self.refused("bob's key", "fred"), "banned")
        again = self.world.guest("bob's key")
        again.session.admit()
        self.assertEqual((again.closed, again.news()[-1].code), (True, "banned"))
        self.assertTrue(run(operator.unban(self.world.hub, fingerprint("bob's key"), SELF)))
        self.assertEqual(self.refused("bob's key", "fred"), "")

    def test_ban_of_a_guest_is_not_of_who_holds_the_key(self) -> None:
        guest = self.world.guest("bob's key")
        guest.session.admit()
        run(operator.ban(self.world.hub, guest.session.name.shown, SELF))
        self.assertEqual((guest.closed, self.bob.closed), (True, False))

    def test_for_a_while(self) -> None:
        run(operator.ban(self.world.hub, "bob", SELF, 60))
        self.world.turn.time += 60
        self.assertEqual(self.refused("bob's key", "bob"), "")

    def test_admins_stay(self) -> None:
        self.world.named("root", ROOT)
        self.assertRaises(operator.AdminStays, run, operator.ban(self.world.hub, "root", SELF))
        self.assertRaises(operator.AdminStays, run, operator.ban(self.world.hub, fingerprint(ROOT), SELF))

    def test_bounded(self) -> None:
        self.patch(rules, "MAX_LISTED", 3)
        self.patch(operator, "MAX_LISTED", 3)
        for n in range(3):
            run(operator.ban(self.world.hub, fingerprint(f"{n}"), SELF))
        self.assertRaises(TooManyListed, run, operator.ban(self.world.hub, "bob", SELF))
        run(operator.unban(self.world.hub, fingerprint("1"), SELF))
        run(operator.ban(self.world.hub, "bob", SELF))

    def test_banned_at_any_step_of_coming_in(self) -> None:
        for step in range(20):
            self.setUp()
            self.bob.session.lost()
            peer = self.world.peer("bob's key")
            self.world.at_step(
                step,
                partial(peer.send, m.Hello((1,), "bob")),
                lambda: self.world.turn.spawn(self.quietly(operator.ban(self.world.hub, "bob", SELF)), None),
            )
            self.assertTrue(peer.closed, step)
            self.assertEqual(self.world.hub.sessions, set())

    def test_a_guest_is_banned_at_any_step_of_coming_in(self) -> None:
        for step in range(6):
            self.setUp()
            guest = self.world.guest("eve's key")
            self.world.at_step(
                step,
                guest.session.admit,
                lambda: self.world.turn.spawn(
                    self.quietly(operator.ban(self.world.hub, fingerprint("eve's key"), SELF)), None
                ),
            )
            self.assertTrue(guest.closed, step)

    def test_announce(self) -> None:
        waiting = self.world.peer("late")
        self.assertEqual(operator.announce(self.world.hub, "down at\x1b[31m noon\n", SELF), 1)
        self.world.turn.end()
        self.assertEqual(self.bob.news(), [m.Notice("down at noon ")])
        self.assertEqual(waiting.news(), [])

    def test_announce_by_message(self) -> None:
        root = self.world.named("root", ROOT)
        self.world.hub.audit = notebook = Notebook()
        told = m.Send(5, "", bytes(16), "text", b"down at noon")
        self.assertEqual(self.bob.ask(told)[0].code, "not-allowed")
        sent, notice = sorted(root.ask(told), key=lambda one: isinstance(one, m.Notice))
        self.assertEqual((sent.id, sent.seq, notice), (5, 0, m.Notice("down at noon")))
        self.assertEqual(self.bob.news(), [notice])
        self.assertIn(("announce", "root"), notebook.lines())
        for kind, body in (("text", b" "), ("text", b"\xff"), ("me", b"waves")):
            self.assertEqual(root.ask(m.Send(6, "", bytes(16), kind, body))[0].code, "not-text", body)
        self.assertEqual(self.bob.news(), [])

    def test_nothing_is_said_to_be_done_before_the_disk_has_it(self) -> None:
        root = self.world.named("root", ROOT)
        self.world.hub.audit = notebook = Notebook()
        for request in (m.Send(5, "", bytes(16), "text", b"now"), unban("bob", ""), kick("bob", "")):
            notebook.disk = disk = self.world.turn.promise()
            said = root.ask(request)
            self.assertEqual([type(one) for one in said if not isinstance(one, m.Notice)], [])
            disk.resolve(None)
            self.world.turn.end()
            self.assertEqual([type(one) for one in root.news()], [m.Sent])

    def test_by_message_once(self) -> None:
        """What an admin asks for is done once, though it comes again: after a restart, a year later, under
        another name."""
        root = self.world.named("root", ROOT)
        told = m.Send(5, "", bytes(16), "text", b"down at noon")
        asked = (told, kick("bob", ""), ban("bob", "", 3600), unban("bob", ""), ban("bob", ""))
        first = [self.sent(root, message) for message in asked]
        self.work(operator.unban(self.world.hub, "bob", SELF))
        self.work(operator.rename(self.world.hub, "root", "toor", SELF))
        for life in range(2):
            bob, toor = self.world.named("bob"), self.world.named("toor", ROOT)
            self.world.hub.audit = notebook = Notebook()
            self.assertEqual([self.sent(toor, message) for message in asked], first, life)
            self.assertEqual((bob.closed, bob.news(), notebook.deeds), (False, [], []))
            self.world = world_of(self.log)
            self.world.turn.time += 365 * 86400

    def sent(self, peer: Peer, message: Any) -> m.Sent:
        (sent,) = [one for one in peer.ask(message) if isinstance(one, m.Sent)]
        return sent

    def test_the_msgid_of_another_order(self) -> None:
        root = self.world.named("root", ROOT)
        (told,) = [one for one in root.ask(m.Unban(5, "", bytes(16), "bob")) if isinstance(one, m.Sent)]
        self.assertEqual(root.ask(m.Ban(5, "", bytes(16), "bob"))[0].code, "msgid-reused")
        self.assertFalse(self.bob.closed)
        self.assertEqual(root.ask(m.Unban(9, "", bytes(16), "bob")), [replace(told, id=9)])

    def test_an_order_on_its_way_comes_again(self) -> None:
        """Over a new connection, while the first one's is not answered."""
        for step in range(12):
            self.setUp()
            root, again = self.world.named("root", ROOT), self.world.named("root", ROOT)
            told = m.Send(5, "", bytes(16), "text", b"down at noon")
            self.world.at_step(step, partial(root.send, told), partial(again.send, told))
            self.assertEqual(self.bob.news(), [m.Notice("down at noon")], step)
            for peer in (root, again):
                self.assertEqual(len([one for one in peer.news() if isinstance(one, m.Sent)]), 1, step)

    def test_by_message(self) -> None:
        root = self.world.named("root", ROOT)
        for message in (kick("bob", ""), ban("bob", ""), unban("bob", "")):
            self.assertEqual(self.world.named("eve").ask(message)[0].code, "not-allowed")
        self.assertFalse(self.bob.closed)
        sent = root.ask(ban("bob", "", 60))[0]
        self.assertEqual((type(sent), sent.seq), (m.Sent, 0))
        self.assertTrue(self.bob.closed)
        self.assertEqual(self.refused("bob's key", "bob"), "banned")
        root.ask(unban("bob", ""))
        self.assertEqual(self.refused("bob's key", "bob"), "")
        self.assertEqual(root.ask(kick("bob", ""))[0].seq, 0)
        self.assertEqual(root.ask(kick("root", ""))[0].code, "not-allowed")
        self.assertEqual(root.ask(ban("root", ""))[0].code, "not-allowed")
        self.assertEqual(root.ask(mute("bob", room=""))[0].code, "bad-room")


class Renaming(OperatorTestCase):
    """Another name for somebody, with everything that the old one had."""

    def test_everything_goes_along(self) -> None:
        olga = self.world.member("olga", TEA)
        self.bob.ask(m.Join(1, TEA), m.Join(2, "+bobs"), m.Part(3, "+bobs"))
        for message in (role("bob", "moderator"), invite("bob"), mute("bob")):
            olga.ask(message)
        self.work(operator.rename(self.world.hub, "bob", "Robert", SELF))
        self.assertTrue(self.bob.closed)
        for world in (self.world, world_of(self.log)):
            self.world = world
            refused = self.world.peer("bob's key").ask(m.Hello((1,), "bob"))[0]
            self.assertEqual(refused.code, "name-moved")
            self.assertIn("Robert", refused.text)
            self.assertEqual(self.world.peer("eve's").ask(m.Hello((1,), "bob"))[0].code, "name-taken")
            robert = self.world.named("robert", "bob's key")
            self.assertEqual(robert.session.name.shown, "Robert")
            robert.ask(m.Join(1, TEA))
            self.assertEqual(robert.ask(text(number(), "x", TEA))[-1].code, "muted")
        record = run(self.world.hub.directory.room(TEA))
        self.assertEqual(record.roles, {"olga": Rank.OWNER, "robert": Rank.MODERATOR})
        self.assertEqual((record.invites, [r.name for r in record.mutes]), (("robert",), ["robert"]))
        self.assertEqual(run(self.world.hub.directory.room("+bobs")).roles, {"robert": Rank.OWNER})

    def test_no_way_around_a_ban(self) -> None:
        olga = self.world.member("olga", TEA)
        olga.ask(ban("bob"))
        run(operator.ban(self.world.hub, "bob", SELF))
        self.work(operator.rename(self.world.hub, "bob", "robert", SELF))
        peer = self.world.peer("bob's key")
        self.assertEqual(peer.ask(m.Hello((1,), "robert"))[0].code, "banned")
        self.assertTrue(run(operator.unban(self.world.hub, "robert", SELF)))
        robert = self.world.named("robert", "bob's key")
        self.assertEqual(robert.ask(m.Join(1, TEA))[0].code, "banned")

    def test_the_keys_go_along_and_no_codes(self) -> None:
        code = self.bob.ask(m.Link(1))[0].code
        phone = self.world.peer("bob's phone")
        phone.ask(m.Hello((1,), "bob", "", "", code))
        code = self.bob.ask(m.Link(2))[0].code
        self.work(operator.rename(self.world.hub, "bob", "robert", SELF))
        self.assertTrue(phone.closed)
        for name in ("bob", "robert"):
            self.assertEqual(
                self.world.peer("eve's").ask(m.Hello((1,), name, "", "", code))[0].code, "bad-link"
            )
        self.assertTrue(self.world.named("robert", "bob's phone").welcomed)

    def test_refused(self) -> None:
        self.world.named("eve")
        cert = self.world.peer("cert", "carol")
        cert.ask(m.Hello((1,), "carol"))
        cases: dict[Callable[[], Any], type[Exception]] = {
            lambda: operator.rename(self.world.hub, "bob", "eve", SELF): operator.NameInUse,
            lambda: operator.rename(self.world.hub, "bob", "carol", SELF): operator.NameInUse,
            lambda: operator.rename(self.world.hub, "bob", "BOB", SELF): operator.NameInUse,
            lambda: operator.rename(self.world.hub, "bob", "guest-1234", SELF): NameReserved,
            lambda: operator.rename(self.world.hub, "nobody", "dave", SELF): NoSuchName,
            lambda: operator.rename(self.world.hub, "carol", "dave", SELF): Certified,
        }
        for make, error in cases.items():
            self.assertRaises(error, run, make())
        self.assertFalse(self.bob.closed)
        self.bob.session.lost()
        self.world.named("bob")

    def test_cut_off_and_done_again(self) -> None:
        class Short(MemoryLog):
            left = 10**6

            async def put(self, kind: str, key: str, value: bytes, expected: int) -> int:
                self.left -= 1
                if self.left < 0:
                    raise ZeroDivisionError  # as if the process had ended
                return await super().put(kind, key, value, expected)

        for left in range(12):
            log = Short(LOG_ID)
            self.world = world_of(log)
            self.world.member("bob", TEA)
            log.left = left
            try:
                self.work(operator.rename(self.world.hub, "bob", "robert", SELF))
            except ZeroDivisionError:
                log.left = 10**6
                self.world = world_of(log)
                self.work(operator.rename(self.world.hub, "bob", "robert", SELF))
            else:
                self.assertGreater(left, 2)
            self.assertEqual(run(self.world.hub.directory.room(TEA)).roles, {"robert": Rank.OWNER})
            self.assertTrue(self.world.named("robert", "bob's key").welcomed)

    def test_the_new_name_is_taken_at_any_step(self) -> None:
        outcomes = set()
        for step in range(30):
            self.setUp()
            eve = self.world.peer("eve's key")
            self.world.at_step(
                step,
                lambda: self.world.turn.spawn(self.rename_somehow(), None),
                partial(eve.send, m.Hello((1,), "robert")),
            )
            outcomes.add(self.outcome)
            mine = "bob" if self.outcome else "robert"
            self.bob.session.lost()
            self.assertTrue(self.world.named(mine, "bob's key").welcomed, step)
            self.assertEqual(eve.welcomed, bool(self.outcome))
        self.assertEqual(outcomes, {"", "name-taken"})

    async def rename_somehow(self) -> None:
        self.outcome = ""
        try:
            await operator.rename(self.world.hub, "bob", "robert", SELF)
        except operator.NameInUse as error:
            self.outcome = error.code

    def test_coming_in_at_any_step(self) -> None:
        for step in range(20):
            self.setUp()
            again = self.world.peer("bob's key")
            self.world.at_step(
                step,
                partial(again.send, m.Hello((1,), "bob")),
                lambda: self.world.turn.spawn(self.rename_somehow(), None),
            )
            self.assertTrue(again.closed, step)

    def test_a_key_is_taken_away_at_any_step(self) -> None:
        """Whoever is told that it is gone can rely on that."""
        for step in range(30):
            self.setUp()
            code = self.bob.ask(m.Link(1))[0].code
            self.world.peer("bob's phone").ask(m.Hello((1,), "bob", "", "", code))
            self.world.at_step(
                step,
                lambda: self.world.turn.spawn(self.rename_somehow(), None),
                lambda: self.bob.send(m.Unlink(2, fingerprint("bob's phone"))),
            )
            if m.Done(2) in self.bob.news():
                phone = self.world.peer("bob's phone")
                self.assertEqual(phone.ask(m.Hello((1,), "robert"))[0].code, "name-taken", step)

    def test_what_was_sent_under_the_old_name_is_known_again(self) -> None:
        """Though its acknowledgement was lost, and through more than one rename."""
        self.bob.ask(m.Join(1, TEA), text(5, "once", TEA))
        before = self.world.log_frames(TEA)
        for old, new in (("bob", "robert"), ("robert", "rob")):
            self.work(operator.rename(self.world.hub, old, new, SELF))
            renamed = self.world.member(new, TEA, "bob's key")
            (sent,) = renamed.ask(text(5, "once", TEA))
            self.assertEqual(type(sent), m.Sent)
            self.assertEqual(self.world.log_frames(TEA), before)
        eve = self.world.member("eve", TEA)
        eve.ask(text(5, "once", TEA))
        self.assertEqual(len(self.world.log_frames(TEA)), len(before) + 1)

    def test_nobody_acts_on_the_old_name(self) -> None:
        olga = self.world.member("olga", TEA)
        self.work(operator.rename(self.world.hub, "bob", "robert", SELF))
        for message in (kick("bob"), invite("bob"), role("bob", "owner"), m.Whois(number(), "bob")):
            self.assertEqual(olga.ask(message)[0].code, "no-such-name")


class Audit(OperatorTestCase):
    """Who, what, when, by which key; never what was written."""

    def setUp(self) -> None:
        self.notebook = Notebook()
        self.world = World(GatedLog(LOG_ID), limits=m.Limits(rate=0), admins=frozenset({fingerprint(ROOT)}))
        self.world.hub.audit = self.notebook

    def test_what_is_kept(self) -> None:
        olga, bob = self.world.member("olga", TEA), self.world.member("bob", TEA)
        olga.ask(kick("bob", reason="sesame"))
        bob.ask(m.Join(1, TEA), kick("olga"))
        olga.ask(ban("bob", seconds=60))
        bob.ask(m.Join(2, TEA))
        self.world.peer("eve's key").ask(m.Hello((1,), "olga"))
        root = self.world.named("root", ROOT)
        root.ask(ban("bob", ""))
        self.world.peer("bob's key").ask(m.Hello((1,), "bob"))
        operator.announce(self.world.hub, "sesame", SELF)
        self.assertEqual(
            self.notebook.lines(),
            [
                ("admit", "olga"),
                ("admit", "bob"),
                ("kick", "olga"),
                ("refuse", "bob"),
                ("ban", "olga"),
                ("refuse", "bob"),
                ("refuse", "olga"),
                ("admit", "root"),
                ("ban", "root"),
                ("refuse", "bob"),
                ("announce", "the operator"),
            ],
        )
        kicked, banned = (next(d for d in self.notebook.deeds if d.what == what) for what in ("kick", "ban"))
        self.assertEqual(kicked.key, fingerprint("olga's key"))
        self.assertEqual(
            kicked.facts, {"room": TEA, "seq": 1, "target": "bob", "keys": fingerprint("bob's key")}
        )
        self.assertEqual(banned.facts["until"], banned.time + 60_000)
        refused = [
            (d.key, d.facts["asked"], d.facts["code"]) for d in self.notebook.deeds if d.what == "refuse"
        ]
        self.assertIn((fingerprint("eve's key"), "hello", "name-taken"), refused)
        self.assertIn((fingerprint("bob's key"), "join", "banned"), refused)

    def test_no_text(self) -> None:
        word = "sesame"
        olga, bob = self.world.member("olga", TEA), self.world.member("bob", TEA)
        olga.ask(text(1, word, TEA), topic(word), m.Send(2, TEA, bytes(16), "me", word.encode()))
        olga.ask(kick("bob", reason=word), ban("bob", reason=word), mute("olga"), unban("bob"))
        bob.ask(m.Join(1, TEA), text(3, word, TEA), m.Topic(4, TEA, bytes(15) + b"x", word))
        run(operator.kick(self.world.hub, "bob", SELF, word))
        operator.announce(self.world.hub, word, SELF)
        self.assertNotIn(word, repr(self.notebook.deeds))
        self.assertGreater(len(self.notebook.deeds), 6)

    def test_what_a_refused_peer_wrote_is_cleaned(self) -> None:
        self.world.peer("eve's key").ask(m.Hello((1,), "a\x1b]0;owned\x07\nb"))
        (deed,) = self.notebook.deeds
        self.assertNotIn("\x1b", deed.who + repr(deed.facts))
        self.assertNotIn("\n", deed.who)

    def test_an_act_that_comes_again_is_kept_once(self) -> None:
        olga = self.world.member("olga", TEA)
        self.world.named("bob")
        message = ban("bob")
        olga.ask(message, message)
        olga.ask(message)
        self.assertEqual([what for what, _ in self.notebook.lines()].count("ban"), 1)

    def test_guests(self) -> None:
        guest = self.world.guest()
        guest.session.admit()
        self.assertEqual(self.notebook.lines(), [("admit", guest.session.name.shown)])
