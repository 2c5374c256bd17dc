"""Who may come in: the rules, one by one, without a network."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from encchat.core.accounts.admission import (
    Claim,
    NameMismatch,
    NameReserved,
    NameTaken,
    NameVouched,
    NotAuthenticated,
    NotMember,
    Policy,
    guest_name,
    judge,
    judge_guest,
    parse_members,
)
from encchat.core.names import BadName
from encchat.errors import ConfigError
from tests.core.world import identity

OPEN = Policy()
ALICE = identity("alice's key")
OTHER = identity("another key")


def claim(key: str, vouched: bool = False, shown: str = "Alice") -> Claim:
    return Claim(shown, identity(key).fingerprint, 0, vouched)


class Judging(SynchronousTestCase):
    """judge() decides from the identity, the name asked for, the claim and the policy alone."""

    def test_a_free_name(self) -> None:
        self.assertEqual(judge(ALICE, "Alice", None, OPEN).shown, "Alice")

    def test_its_owner_gets_it_as_first_written(self) -> None:
        self.assertEqual(judge(ALICE, "ALICE", claim("alice's key"), OPEN).shown, "Alice")

    def test_another_key_does_not(self) -> None:
        error = self.assertRaises(NameTaken, judge, OTHER, "alice", claim("alice's key"), OPEN)
        self.assertIn(ALICE.fingerprint, str(error))

    def test_malformed_and_reserved(self) -> None:
        self.assertRaises(BadName, judge, ALICE, "a\nb", None, OPEN)
        self.assertRaises(NameReserved, judge, ALICE, "Guest-1a2b", None, OPEN)

    def test_vouched(self) -> None:
        vouched = identity("cert key", "alice")
        self.assertEqual(judge(vouched, "ALICE", None, OPEN).key, "alice")
        self.assertRaises(NameMismatch, judge, vouched, "bob", None, OPEN)

    def test_a_vouched_name_goes_before_a_claim(self) -> None:
        vouched = identity("cert key", "alice")
        self.assertEqual(judge(vouched, "alice", claim("alice's key"), OPEN).shown, "Alice")
        self.assertEqual(judge(vouched, "alice", claim("old cert key", vouched=True), OPEN).key, "alice")
        self.assertRaises(NameVouched, judge, ALICE, "alice", claim("alice's key", vouched=True), OPEN)

    def test_members(self) -> None:
        policy = Policy({"alice": frozenset({ALICE.fingerprint}), "carol": frozenset()})
        self.assertEqual(judge(ALICE, "alice", None, policy).key, "alice")
        self.assertRaises(NotMember, judge, OTHER, "alice", None, policy)
        self.assertRaises(NotMember, judge, OTHER, "bob", None, policy)
        self.assertRaises(NotMember, judge, OTHER, "carol", None, policy)
        self.assertEqual(judge(identity("cert", "carol"), "carol", None, policy).key, "carol")
        self.assertRaises(NotAuthenticated, judge_guest, policy)
        judge_guest(OPEN)


class Guests(SynchronousTestCase):
    """guest-1a2b, from the key."""

    def test_from_the_key(self) -> None:
        name = guest_name(ALICE, {})
        self.assertRegex(name.key, r"\Aguest-[0-9a-f]{4}\Z")
        self.assertEqual(name, guest_name(ALICE, {name.key: ALICE.fingerprint}))

    def test_another_key_of_the_same_digits(self) -> None:
        short = guest_name(ALICE, {}).key
        name = guest_name(ALICE, {short: OTHER.fingerprint})
        self.assertTrue(name.key.startswith(short))
        self.assertEqual(len(name.key), len(short) + 1)


class Members(SynchronousTestCase):
    """The members file."""

    def test_lines(self) -> None:
        one, two = ALICE.fingerprint, OTHER.fingerprint
        text = f"# us\nAlice {one}\nalice {two}  # the phone\n\n  carol\n"
        self.assertEqual(
            parse_members(text, "members"), {"alice": frozenset({one, two}), "carol": frozenset()}
        )

    def test_mistakes_name_the_line(self) -> None:
        for line in ("a/b SHA256:x", "alice SHA256:x", f"alice {ALICE.fingerprint} more", "alice sha1"):
            error = self.assertRaises(ConfigError, parse_members, f"bob\n{line}", "members.txt")
            self.assertIn("members.txt, line 2", str(error))
