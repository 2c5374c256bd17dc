"""Who may correct or take back what was said: whoever said it, which is an identity and not a name."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat.client import events as e
from encchat.client.sealed.fitting import Unfit, check
from encchat.client.sealed.kept import Kept
from encchat.contents import Delete, Edit, body_of
from encchat.messages import Entry, Position
from tests.client.sealed.town import TALK, TownCase
from tests.core.sealed.world import identity

ROOM = "#tea"
OLD, NEW = b"o" * 32, b"n" * 32


class Judged(SynchronousTestCase):
    """What ``fitting`` says of a correction."""

    def said(self, seq: int, kind: str = "text", body: bytes = b"x", **what: object) -> Kept:
        device, identity_ = str(what.get("device", "d1")), what.get("identity", OLD)
        assert isinstance(identity_, bytes)
        entry = Entry(ROOM, seq, 0, str(what.get("sender", "bob")), device, kind, bytes(16), body)
        state, trust = str(what.get("state", "opened")), str(what.get("trust", "pinned"))
        seal = e.Seal(state, trust, str(what.get("vouched_by", "")))
        return Kept(entry, seal, Position(seq), identity_)

    def may(self, before: Kept, *, admin: bool = False, delete: bool = False, **what: object) -> bool:
        content = Delete(2) if delete else Edit(2, "else")
        kind = "delete" if delete else "edit"
        try:
            check(self.said(9, kind, body_of(content), **what), admin, lambda seq: before)
        except Unfit:
            return False
        return True

    def test_by_whom(self) -> None:
        said = self.said(2)
        self.assertTrue(self.may(said))
        self.assertTrue(self.may(said, device="d2"), "another machine of the same person")
        self.assertFalse(self.may(said, sender="carol"))
        self.assertFalse(self.may(said, device="d2", identity=NEW), "whoever has the name now")
        self.assertFalse(self.may(said, device="d2", identity=b""))

    def test_from_a_machine_that_was_taken_back(self) -> None:
        self.assertTrue(self.may(self.said(2), trust="revoked"), "its own")
        self.assertFalse(self.may(self.said(2), trust="revoked", device="d2"))
        self.assertFalse(self.may(self.said(2, sender="carol"), trust="revoked", admin=True, delete=True))

    def test_what_is_only_vouched_for(self) -> None:
        self.assertFalse(self.may(self.said(2), vouched_by="backup"))
        self.assertTrue(self.may(self.said(2, vouched_by="backup"), vouched_by="backup"))
        self.assertTrue(self.may(self.said(2, vouched_by="backup"), device="d2"))
        self.assertFalse(self.may(self.said(2, sender="carol"), vouched_by="d3", admin=True, delete=True))

    def test_of_what_waits_for_its_key(self) -> None:
        waits = self.said(2, "waiting", b"", state="waiting", identity=b"")
        self.assertTrue(self.may(waits), "of the same machine")
        self.assertFalse(self.may(waits, device="d2"))

    def test_by_an_admin(self) -> None:
        said = self.said(2, sender="carol")
        self.assertTrue(self.may(said, admin=True, delete=True))
        self.assertFalse(self.may(said, admin=True))
        self.assertFalse(self.may(said, delete=True))


class Named(TownCase):
    """Bob has lost his key; somebody has the name, and alice took the new key for bob's."""

    def setUp(self) -> None:
        super().setUp()
        self.alice, self.bob = self.person("alice"), self.person("bob")
        self.alice.sealed.create(ROOM, ["bob"])
        self.town.settle()
        self.bob.say(ROOM, "I owe alice 10")
        self.alice.say(ROOM, "so you do")
        self.bob.end()
        self.other = self.person("bob", "elsewhere", key=identity("another bob"), vouched="bob")
        self.town.later(700, 50)
        self.alice.sealed.meet("bob")
        self.town.settle()
        self.alice.sealed.accept_identity("bob")
        self.town.settle()
        self.alice.sealed.renew(ROOM, "bob")
        self.town.later(5)
        self.other.chat.session.join(ROOM)
        self.other.chat.flush()
        self.town.later(5)

    def change(self, kind: str, content: Edit | Delete) -> e.NewEntry:
        self.other.chat.say(ROOM, body_of(content).decode(), kind=kind)
        self.town.later(5)
        shown = self.alice.of(e.NewEntry)[-1]
        assert isinstance(shown, e.NewEntry)
        return shown

    def test_what_was_said_before_stays(self) -> None:
        for kind, content in (("edit", Edit(2, "alice owes me 10")), ("delete", Delete(2))):
            shown = self.change(kind, content)
            self.assertEqual((shown.seal.state, shown.seal.code), ("failed", "unfit"))
            self.assertIn("somebody else said", shown.seal.reason)

    def test_their_own_words(self) -> None:
        self.other.say(ROOM, "helo")
        self.town.later(5)
        seq = self.alice.of(e.NewEntry)[-1].entry.seq
        shown = self.change("edit", Edit(seq, "hello"))
        self.assertEqual((shown.entry.kind, shown.seal.state), ("edit", "opened"))


class Conversation(TownCase):
    """Both run it, and neither takes back what the other said."""

    def test_each_their_own(self) -> None:
        alice, bob = self.person("alice"), self.person("bob")
        alice.say(alice.sealed.conversation("bob"), "I owe you 10")
        bob.chat.say(TALK, body_of(Delete(2)).decode(), kind="delete")
        self.town.settle()
        self.assertEqual([x.seal.code for x in alice.of(e.NewEntry)][-1], "unfit")
        alice.chat.say(TALK, body_of(Delete(2)).decode(), kind="delete")
        self.town.settle()
        self.assertEqual(bob.of(e.NewEntry)[-1].entry.kind, "delete")
