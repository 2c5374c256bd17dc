"""Names that pass to another key: what goes along with them, and what does not."""

from __future__ import annotations

from functools import partial
from hashlib import sha256

from encchat import messages as m
from encchat.contents import Delete, Edit, File, body_of
from encchat.core.accounts import operator
from encchat.core.accounts.operator import OPERATOR
from encchat.core.accounts.takeover import NoFingerprint, rekey
from encchat.core.files.blobs import MIB, FileRules
from encchat.core.files.keeper import Keeper
from encchat.core.moderation.rules import Rank
from encchat.core.names import LOBBY
from encchat.core.refusals import Certified, NoSuchName
from encchat.logs.memory_blobs import MemoryBlobs
from encchat.wire import decode_entry
from tests.core.accounts.test_operator import Notebook, OperatorTestCase, fingerprint
from tests.core.moderation.test_moderation import ROOT, TEA, invite, number, role, world_of
from tests.core.test_directory import run
from tests.core.world import Peer, World, msgid

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


class Words(OperatorTestCase):
    """Whose an entry is, when its sender's name has passed to another key."""

    def setUp(self) -> None:
        super().setUp()
        self.said = [self.sent(self.bob, send("text", b"mine")).seq]
        self.bob.ask(m.Join(1, TEA))
        self.said += [self.sent(self.bob, send("text", b"mine too", TEA)).seq]

    def sent(self, peer: Peer, message: m.Send) -> m.Sent:
        (sent,) = [one for one in peer.ask(message) if isinstance(one, m.Sent)]
        return sent

    def changes(self, seq: int, room: str = LOBBY) -> list[m.Send]:
        return [
            send("edit", body_of(Edit(seq, "other words")), room),
            send("delete", body_of(Delete(seq)), room),
        ]

    def assert_not_own(self, peer: Peer, seq: int, room: str = LOBBY) -> None:
        for change in self.changes(seq, room):
            (error,) = peer.ask(change)
            self.assertEqual((type(error), error.code), (m.Error, "not-allowed"))

    def assert_own(self, peer: Peer, seq: int, room: str = LOBBY) -> None:
        for change in self.changes(seq, room):
            self.sent(peer, change)

    def certified(self, key: str = "a certificate's") -> Peer:
        peer = self.world.peer(key, "bob")
        self.assertIs(type(peer.ask(m.Hello((1,), "bob"))[0]), m.Welcome)
        peer.ask(m.Join(1, LOBBY), m.Join(2, TEA))
        return peer

    def test_a_certificate_does_not_give_what_was_said_before(self) -> None:
        peer = self.certified()
        self.assert_not_own(peer, self.said[0])
        self.assert_not_own(peer, self.said[1], TEA)
        own = self.sent(peer, send("text", b"my own", TEA)).seq
        again = self.certified("a renewed certificate's")
        self.assert_own(again, own, TEA)
        self.assert_not_own(again, self.said[1], TEA)

    def test_a_moderator_takes_it_back_all_the_same(self) -> None:
        self.certified()
        olga = self.world.member("olga", LOBBY, ROOT)
        self.sent(olga, self.changes(self.said[0])[1])

    def test_who_had_a_certificate_from_the_start(self) -> None:
        carol = self.world.peer("a key", "carol")
        carol.ask(m.Hello((1,), "carol"), m.Join(1, LOBBY))
        seq = self.sent(carol, send("text", b"mine")).seq
        renewed = self.world.peer("another key", "carol")
        renewed.ask(m.Hello((1,), "carol"), m.Join(1, LOBBY))
        self.assert_own(renewed, seq)

    def test_what_was_on_its_way_while_the_name_was_taken(self) -> None:
        """Until the certificate's holder is in, all is of who was in before."""
        for step in range(60):
            self.setUp()
            peer = self.world.peer("a certificate's", "bob")
            late = send("text", b"late", TEA)
            self.world.at_step(step, partial(peer.send, m.Hello((1,), "bob")), partial(self.bob.send, late))
            peer.ask(m.Join(1, TEA))
            for frame in self.world.log_frames(TEA):
                self.assert_not_own(peer, decode_entry(frame).seq, TEA)
            own = self.sent(peer, send("text", b"my own", TEA)).seq
            self.assert_own(peer, own, TEA)

    def test_cut_off_while_the_name_was_taken(self) -> None:
        """A server that was killed half-way goes on when the certificate's holder comes again."""
        for step in range(60):
            self.setUp()
            peer = self.world.peer("a certificate's", "bob")
            self.log.gates = []
            peer.send(m.Hello((1,), "bob"))
            for _ in range(step):
                self.world.turn.end()
                if self.log.gates:
                    self.world.turn.open(self.log.gates.pop(0))
            self.bob.send(send("text", b"late", TEA))
            self.world.turn.end()
            self.log.gates = None
            late = self.world.log_frames(TEA)
            self.world = world_of(self.log)
            peer = self.certified()
            for frame in late:
                self.assert_not_own(peer, decode_entry(frame).seq, TEA)
            self.assert_own(peer, self.sent(peer, send("text", b"my own", TEA)).seq, TEA)

    def test_two_connections_take_the_name_at_once(self) -> None:
        for step in range(60):
            self.setUp()
            one, other = (self.world.peer("a certificate's", "bob") for _ in range(2))
            hello = m.Hello((1,), "bob")
            self.world.at_step(
                step,
                partial(one.send, hello, m.Join(1, TEA), send("text", b"my own", TEA)),
                partial(other.send, hello, m.Join(1, TEA)),
            )
            (sent,) = [found for found in one.news() if isinstance(found, m.Sent)]
            other.news()
            self.assert_own(other, sent.seq, TEA)
            self.assert_not_own(other, self.said[1], TEA)

    def test_linked_devices_and_new_keys_are_the_same_person(self) -> None:
        code = self.bob.ask(m.Link(1))[0].code
        phone = self.world.peer("bob's phone")
        phone.ask(m.Hello((1,), "bob", "", "", code), m.Join(1, LOBBY))
        self.assert_own(phone, self.said[0])
        self.work(rekey(self.world.hub, "bob", fingerprint(NEW), OPERATOR))
        self.assert_own(self.world.member("bob", LOBBY, NEW), self.said[0])

    def test_another_name_of_the_same_person(self) -> None:
        for old, new in (("bob", "robert"), ("robert", "rob")):
            self.work(operator.rename(self.world.hub, old, new, operator.Actor()))
        rob = self.world.member("rob", LOBBY, "bob's key")
        self.assert_own(rob, self.said[0])
        certified = self.certified()
        own = self.sent(certified, send("text", b"mine now")).seq
        rob.news()
        self.assert_not_own(rob, own)
        self.assert_not_own(certified, self.said[0])


class Given(OperatorTestCase):
    """Files that were given under a name which has passed to a certificate's holder."""

    DATA = b"a file of bob's"

    def setUp(self) -> None:
        super().setUp()
        rules = FileRules(MIB, MIB, 10 * MIB, 30)
        self.world = World(self.log, lambda turn: MemoryBlobs(turn.now), limits=m.Limits(rate=0), files=rules)
        self.bob = self.world.member("bob", TEA)
        self.blob = sha256(self.DATA).digest()
        self.give(self.bob, self.DATA)
        large = bytes(MIB - 100_000)
        self.give(self.bob, large)
        self.bob.ask(m.Upload(1, TEA, sha256(b"half").digest(), 1000))

    def give(self, peer: Peer, data: bytes, room: str = TEA) -> set[str]:
        blob = sha256(data).digest()
        pieces = range(0, len(data), m.MAX_PIECE)
        answers = peer.ask(
            m.Upload(1, room, blob, len(data)),
            *[m.Chunk(2, blob, at, data[at : at + m.MAX_PIECE]) for at in pieces],
        )
        return {one.code for one in answers if isinstance(one, m.Error)}

    def certified(self) -> Peer:
        peer = self.world.peer("a certificate's", "bob")
        peer.ask(m.Hello((1,), "bob"), m.Join(1, TEA), m.Join(2, LOBBY))
        return peer

    def test_they_are_not_the_new_holder_s(self) -> None:
        peer = self.certified()
        (ready,) = [
            x for x in peer.ask(m.Upload(3, LOBBY, self.blob, len(self.DATA))) if isinstance(x, m.Ready)
        ]
        self.assertEqual(ready.offset, 0)  # who has not had them sends all of them

    def test_nor_do_they_count_against_his_quota(self) -> None:
        self.assertEqual(self.give(self.bob, b"x" * 200_000), {"quota-full", "no-upload"})
        peer = self.certified()
        self.assertEqual(self.give(peer, b"x" * 200_000), set())
        keeper = self.world.hub.keeper
        assert keeper is not None
        fresh = Keeper(self.world.blobs, self.world.hub.directory, self.world.turn, self.world.settings.files)
        self.world.turn.spawn(fresh._count(), None)
        self.assertEqual(fresh._counts.names, keeper._counts.names)

    def test_they_stay_for_the_room(self) -> None:
        peer = self.certified()
        piece = peer.ask(m.Download(3, TEA, self.blob))[-1]
        self.assertEqual(piece.data, self.DATA)

    def test_the_same_bytes_from_both(self) -> None:
        peer = self.certified()
        ready = peer.ask(m.Upload(3, TEA, self.blob, len(self.DATA)))[-1]
        self.assertEqual(ready.offset, len(self.DATA))
        entry = m.Send(4, TEA, msgid(77), "file", body_of(File("a", len(self.DATA), self.blob.hex())))
        (sent,) = [one for one in peer.ask(entry) if isinstance(one, m.Sent)]
        peer.ask(send("delete", body_of(Delete(sent.seq)), TEA))
        self.assertEqual(peer.ask(m.Download(5, TEA, self.blob))[-1].data, self.DATA)


def send(kind: str, body: bytes, room: str = LOBBY) -> m.Send:
    n = number()
    return m.Send(n, room, msgid(n), kind, body)
