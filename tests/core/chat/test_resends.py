"""What was stored is acknowledged again, also to somebody who may not say it any more."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat import messages as m
from encchat.contents import Delete, body_of
from tests.core.world import Peer, World, msgid, text

TEA = "+tea"


class ResendTests(SynchronousTestCase):
    """Alice owns a room, Bob said something in it."""

    def setUp(self) -> None:
        self.world = World()
        self.alice = self.world.member("alice", TEA)
        self.bob = self.world.member("bob", TEA)
        (*_, self.sent) = [one for one in self.bob.ask(text(1, "stored", TEA)) if isinstance(one, m.Sent)]
        self.alice.news()

    def assert_known(self, peer: Peer, code: str) -> None:
        """What was stored is acknowledged as it was, and nothing else is stored."""
        before = len(self.world.log_frames(TEA))
        (answer,) = peer.ask(text(1, "stored", TEA, request=9))
        self.assertEqual(answer, m.Sent(9, self.sent.seq, self.sent.time))
        (answer,) = peer.ask(text(2, "new", TEA))
        self.assertEqual((type(answer), answer.code), (m.Error, code))
        (answer,) = peer.ask(text(1, "another", TEA))
        self.assertEqual((type(answer), answer.code), (m.Error, code))
        self.assertEqual(len(self.world.log_frames(TEA)), before)

    def test_muted(self) -> None:
        self.alice.ask(m.Mute(5, TEA, msgid(50), "bob"))
        self.bob.news()
        self.assert_known(self.bob, "muted")

    def test_put_out(self) -> None:
        self.alice.ask(m.Kick(5, TEA, msgid(50), "bob"))
        self.bob.news()
        self.assert_known(self.bob, "not-in-room")

    def test_banned_and_come_again(self) -> None:
        self.alice.ask(m.Ban(5, TEA, msgid(50), "bob"))
        self.bob.session.lost()
        self.assert_known(self.world.named("bob"), "not-in-room")

    def test_when_the_room_is_empty(self) -> None:
        for peer in (self.alice, self.bob):
            peer.session.lost()
        self.assert_known(self.world.named("bob"), "not-in-room")

    def test_in_a_room_that_never_was(self) -> None:
        (answer,) = self.bob.ask(text(1, "stored", "+never"))
        self.assertEqual(answer.code, "not-in-room")

    def test_of_another(self) -> None:
        carol = self.world.named("carol")
        (answer,) = carol.ask(text(1, "stored", TEA))
        self.assertEqual(answer.code, "not-in-room")

    def test_what_a_moderator_did(self) -> None:
        dave = self.world.member("dave", TEA)
        take_back = m.Send(6, TEA, msgid(60), "delete", body_of(Delete(self.sent.seq)))
        self.alice.ask(m.Role(5, TEA, msgid(50), "dave", "moderator"))
        dave.news()
        done = [one for one in dave.ask(take_back) if isinstance(one, m.Sent)]
        self.alice.ask(m.Role(7, TEA, msgid(70), "dave", "member"))
        dave.news()
        self.assertEqual(dave.ask(take_back), done)
        again = m.Send(8, TEA, msgid(80), "delete", take_back.body)
        self.assertEqual(type(dave.ask(again)[0]), m.Error)
