"""Names that pass to another key: what goes along with them, and what does not."""

from __future__ import annotations

from encchat import messages as m
from encchat.core.operator import OPERATOR
from encchat.core.refusals import Certified, NoSuchName
from encchat.core.rules import Rank
from encchat.core.takeover import NoFingerprint, rekey
from tests.core.test_directory import run
from tests.core.test_moderation import TEA, invite, role
from tests.core.test_operator import Notebook, OperatorTestCase, fingerprint
from tests.core.world import Peer

NEW = "bob's new key"


class Rekeying(OperatorTestCase):
    """The operator gives a name a new key."""

    def rekey(self, name: str = "bob", key: str = "") -> int:
        closed = self.work(rekey(self.world.hub, name, key or fingerprint(NEW), OPERATOR))
        assert isinstance(closed, int)
        return closed

    def test_the_new_key_has_the_name_and_its_roles(self) -> None:
        olga = self.world.member("olga", TEA)
        self.bob.ask(m.Join(1, TEA))
        olga.ask(role("bob", "moderator"))
        self.world.hub.audit = notebook = Notebook()
        self.assertEqual(self.rekey(), 1)
        self.assertTrue(self.bob.closed)
        (deed,) = [deed for deed in notebook.deeds if deed.what == "rekey"]
        self.assertEqual((deed.who, deed.facts), (OPERATOR, {"target": "bob", "device": fingerprint(NEW)}))
        refused = self.world.peer("bob's key").ask(m.Hello((1,), "bob"))[0]
        self.assertEqual((refused.code, fingerprint(NEW) in refused.text), ("name-taken", True))
        bob = self.world.member("bob", TEA, NEW)
        self.assertEqual(bob.session.room(TEA).rank(bob.session.person), Rank.MODERATOR)

    def test_all_the_old_keys_are_out(self) -> None:
        code = self.bob.ask(m.Link(1))[0].code
        phone = self.world.peer("bob's phone")
        phone.ask(m.Hello((1,), "bob", "", "", code))
        code = self.bob.ask(m.Link(2))[0].code
        self.assertEqual(self.rekey(), 2)
        for key in ("bob's key", "bob's phone"):
            self.assertEqual(self.world.peer(key).ask(m.Hello((1,), "bob"))[0].code, "name-taken")
        self.assertEqual(self.world.peer("eve's").ask(m.Hello((1,), "bob", "", "", code))[0].code, "bad-link")
        self.assertTrue(self.world.named("bob", NEW).welcomed)

    def test_a_key_that_it_has_is_kept_alone(self) -> None:
        self.assertEqual(self.rekey(key=fingerprint("bob's key")), 0)
        self.assertFalse(self.bob.closed)

    def test_refusals(self) -> None:
        self.world.peer("ca key", "carol").ask(m.Hello((1,), "carol"))
        for name, key, error in (
            ("nobody", "", NoSuchName),
            ("carol", "", Certified),
            ("bob", "SHA256:x", NoFingerprint),
        ):
            with self.assertRaises(error):
                self.rekey(name, key)
        self.assertFalse(self.bob.closed)


class Certificates(OperatorTestCase):
    """A certificate's holder gets a name that somebody had merely claimed."""

    def setUp(self) -> None:
        super().setUp()
        self.olga = self.world.member("olga", TEA)
        self.olga.ask(role("bob", "owner"), invite("bob"))
        self.bob.ask(m.Join(1, "+bobs"))

    def certified(self, key: str = "a certificate's") -> Peer:
        peer = self.world.peer(key, "bob")
        self.assertTrue(isinstance(peer.ask(m.Hello((1,), "bob"))[0], m.Welcome))
        return peer

    def test_roles_do_not_go_along(self) -> None:
        self.world.hub.audit = notebook = Notebook()
        peer = self.certified()
        self.assertTrue(self.bob.closed)
        self.assertIn("takeover", [deed.what for deed in notebook.deeds])
        for room in (TEA, "+bobs"):
            record = run(self.world.hub.directory.room(room))
            self.assertNotIn("bob", record.roles)
            self.assertEqual(record.invites, ())
            peer.ask(m.Join(1, room))
            self.assertEqual(peer.session.room(room).rank(peer.session.person), Rank.MEMBER)

    def test_roles_given_to_the_certificate_stay(self) -> None:
        self.certified()
        self.olga.ask(role("bob", "moderator"))
        again = self.certified("a renewed certificate's")
        again.ask(m.Join(1, TEA))
        self.assertEqual(again.session.room(TEA).rank(again.session.person), Rank.MODERATOR)

    def test_private_rooms_stay_closed(self) -> None:
        self.bob.ask(m.Access(1, "+bobs", bytes(16), "private"))
        self.assertEqual(self.certified().ask(m.Join(1, "+bobs"))[0].code, "invite-only")
