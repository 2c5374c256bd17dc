"""Whom a client believes: every row of the table, and nothing written down before it is proved."""

from dataclasses import dataclass

from twisted.trial.unittest import TestCase

from encchat.client.network.address import Address
from encchat.client.network.trust import (
    PROFILES,
    Downgraded,
    NotAuthenticated,
    NotThePinnedKey,
    ServerKeyChanged,
    Trust,
    UnknownServer,
)
from encchat.client.store import Pin
from encchat.errors import RefusedError

HERE = Address("chat.example", 9999)
A, B = "SHA256:" + "A" * 43, "SHA256:" + "B" * 42 + "A"


@dataclass(frozen=True)
class Shown:
    profile: str = "hrsa1"
    fingerprint: str = A
    vouched: bool = False
    summary: str = "RSA 3072"


class Book:
    """Pins in memory."""

    def __init__(self, *pins: Pin) -> None:
        self.kept = {(pin.endpoint, pin.profile): pin for pin in pins}
        self.writes = 0

    def pins(self, endpoint: str) -> list[Pin]:
        return [pin for pin in self.kept.values() if pin.endpoint == endpoint]

    def pin(self, pin: Pin, *, replace: bool) -> None:
        self.writes += 1
        if replace:
            self.kept = {key: kept for key, kept in self.kept.items() if key[0] != pin.endpoint}
        self.kept[pin.endpoint, pin.profile] = pin


def known(profile: str = "hrsa1", fingerprint: str = A, vouched: bool = False) -> Pin:
    return Pin(str(HERE), profile, fingerprint, vouched, 1)


class TrustTestCase(TestCase):
    def trust(self, *pins: Pin, pin: str | None = None, accept_new: bool = False) -> Trust:
        self.book = Book(*pins)
        return Trust(
            self.book,
            HERE,
            lambda: 42,
            pin=pin,
            accept_new=accept_new,
            command=["encchat-client", "--name", "it's me"],
        )

    def refused(self, kind: type[RefusedError], trust: Trust, claim: Shown) -> str:
        error = self.assertRaises(kind, trust.judge, claim)
        self.assertEqual(error.exit_code, 77)
        trust.proved()
        self.assertEqual(self.book.writes, 0, "a refused server was written down")
        self.assertIsNone(trust.claim)
        return str(error)

    def learnt(self, trust: Trust, claim: Shown) -> list[Pin]:
        trust.judge(claim)
        self.assertEqual(self.book.writes, 0, "written down before it was proved")
        self.assertEqual(trust.claim, claim)
        trust.proved()
        trust.proved()
        self.assertLessEqual(self.book.writes, 1)
        return sorted(self.book.kept.values(), key=lambda pin: pin.profile)


class UnknownServers(TrustTestCase):
    def test_who_is_a_stranger(self) -> None:
        self.assertTrue(self.trust().unmet)
        self.assertFalse(self.trust(known()).unmet)
        self.assertFalse(self.trust(pin=A).unmet)
        self.assertFalse(self.trust(accept_new=True).unmet)

    def test_are_refused_with_the_fingerprint_and_the_command(self) -> None:
        words = self.refused(UnknownServer, self.trust(), Shown())
        self.assertIn(A, words)
        self.assertIn(f"encchat-client --name 'it'\"'\"'s me' --pin {A} chat.example:9999", words)

    def test_are_learnt_when_new_ones_are_accepted(self) -> None:
        pins = self.learnt(self.trust(accept_new=True), Shown())
        self.assertEqual(pins, [Pin(str(HERE), "hrsa1", A, False, 42)])

    def test_are_learnt_when_their_key_was_named(self) -> None:
        self.assertEqual(self.learnt(self.trust(pin=A), Shown()), [Pin(str(HERE), "hrsa1", A, False, 42)])

    def test_are_learnt_when_the_user_says_yes(self) -> None:
        trust = self.trust()
        self.refused(UnknownServer, trust, Shown())
        trust.accept(A)
        self.assertEqual(len(self.learnt(trust, Shown())), 1)

    def test_yes_to_one_key_is_not_yes_to_another(self) -> None:
        trust = self.trust()
        self.refused(UnknownServer, trust, Shown())
        trust.accept(A)
        self.refused(NotThePinnedKey, trust, Shown(fingerprint=B))

    def test_after_a_yes_another_key_is_a_change(self) -> None:
        trust = self.trust()
        trust.accept(A)
        self.learnt(trust, Shown())
        self.book.writes = 0
        words = self.refused(ServerKeyChanged, trust, Shown(fingerprint=B))
        self.assertIn(A, words)
        self.assertIn(f"--pin {B}", words)

    def test_another_servers_pin_does_not_count(self) -> None:
        elsewhere = Pin("chat.example:1", "hrsa1", A, False, 1)
        self.refused(UnknownServer, self.trust(elsewhere), Shown())

    def test_vouched_ones_need_no_pin(self) -> None:
        claim = Shown("tls-ca", vouched=True)
        self.assertEqual(self.learnt(self.trust(), claim), [Pin(str(HERE), "tls-ca", A, True, 42)])


class KnownServers(TrustTestCase):
    def test_with_their_key_are_welcome_and_nothing_is_written(self) -> None:
        trust = self.trust(known())
        self.learnt(trust, Shown())
        self.assertEqual(self.book.writes, 0)

    def test_with_another_key_are_refused_with_both_fingerprints(self) -> None:
        words = self.refused(ServerKeyChanged, self.trust(known()), Shown(fingerprint=B))
        self.assertIn(A, words)
        self.assertIn(f"--pin {B} chat.example:9999", words)

    def test_even_when_new_ones_are_accepted(self) -> None:
        self.refused(ServerKeyChanged, self.trust(known(), accept_new=True), Shown(fingerprint=B))

    def test_unless_that_key_was_named(self) -> None:
        pins = self.learnt(self.trust(known(), pin=B), Shown(fingerprint=B))
        self.assertEqual(pins, [Pin(str(HERE), "hrsa1", B, False, 42)])

    def test_a_named_key_that_is_known_is_not_written_again(self) -> None:
        self.learnt(self.trust(known(), pin=A), Shown())
        self.assertEqual(self.book.writes, 0)

    def test_the_named_key_is_the_only_one(self) -> None:
        words = self.refused(NotThePinnedKey, self.trust(known(), pin=B), Shown())
        self.assertIn(A, words)
        self.assertIn(B, words)
        self.refused(NotThePinnedKey, self.trust(pin=B), Shown("tls-ca", vouched=True))

    def test_a_vouched_one_may_renew_its_key(self) -> None:
        trust = self.trust(known("tls-ca", A, vouched=True))
        (pin,) = self.learnt(trust, Shown("tls-ca", B, vouched=True))
        self.assertEqual(pin.fingerprint, B)

    def test_a_vouched_one_with_its_key_is_not_written_again(self) -> None:
        self.learnt(self.trust(known("tls-ca", A, vouched=True)), Shown("tls-ca", A, vouched=True))
        self.assertEqual(self.book.writes, 0)


class Downgrades(TrustTestCase):
    def test_anything_weaker_than_what_was_met_is_refused(self) -> None:
        for strong, met in enumerate(PROFILES):
            for offered in PROFILES[:strong]:
                for accept_new in (False, True):
                    claim = Shown(offered, vouched=offered == "tls-ca")
                    words = self.refused(Downgraded, self.trust(known(met), accept_new=accept_new), claim)
                    self.assertIn(met, words)
                    self.assertIn(offered, words)
                    self.assertIn("--pin", words)

    def test_a_profile_that_nobody_knows_is_weaker_than_any(self) -> None:
        self.refused(Downgraded, self.trust(known("hrsa1")), Shown("rot13"))
        self.refused(UnknownServer, self.trust(known("rot13")), Shown("xor"))
        self.learnt(self.trust(known("rot13")), Shown("rot13"))

    def test_classic_is_never_believed(self) -> None:
        for trust in (self.trust(), self.trust(accept_new=True), self.trust(pin=A)):
            words = self.refused(NotAuthenticated, trust, Shown("classic"))
            self.assertIn("--classic chat.example:9999", words)

    def test_something_stronger_is_judged_as_new(self) -> None:
        self.refused(UnknownServer, self.trust(known("hrsa1")), Shown("tls-pin", B))
        pins = self.learnt(self.trust(known("hrsa1"), accept_new=True), Shown("tls-pin", B))
        self.assertEqual([pin.profile for pin in pins], ["hrsa1", "tls-pin"])
        self.learnt(self.trust(known("hrsa1")), Shown("tls-ca", B, vouched=True))

    def test_naming_the_key_accepts_the_weaker_one_and_forgets_the_stronger(self) -> None:
        trust = self.trust(known("tls-pin", B), known("hrsa1", A), pin=A)
        pins = self.learnt(trust, Shown("hrsa1", A))
        self.assertEqual(pins, [Pin(str(HERE), "hrsa1", A, False, 42)])
        again = Trust(self.book, HERE, lambda: 43)
        again.judge(Shown("hrsa1", A))
