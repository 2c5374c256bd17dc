"""What an hrsa1 handshake must refuse: every item of the profile's list, and every check in it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from twisted.trial.unittest import TestCase

from encchat.ciphers.rsa import hrsa1
from encchat.ciphers.rsa.failures import Downgrade, HandshakeFailed, RecordRefused
from encchat.ciphers.rsa.hrsa1 import ClientMachine, ServerKeys, ServerMachine
from encchat.ciphers.rsa.opening import build_hello, build_s1
from encchat.ciphers.rsa.primitives import EXPONENT, decrypt, encrypt, fingerprint_of, modulus, public_key
from encchat.ciphers.rsa.schedule import (
    Schedule,
    client_label,
    first_transcript,
    second_transcript,
    server_label,
    third_transcript,
)
from encchat.errors import RefusedError
from tests.ciphers.rsa import rig
from tests.ciphers.rsa.rig import C1, C2, E_C, E_S, I_C, I_S, KEYS, RECORDS, S1, S2, Driven


def modulus_of(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big")


def unusable(size: int) -> Iterator[bytes]:
    """Moduli of ``size`` bytes that no key of so many bits has."""
    top = 1 << size * 8 - 1
    yield modulus_of(top | 2, size)  # even
    yield modulus_of(0, size)
    yield modulus_of(1, size)
    yield modulus_of((1 << 511) | 1, size)  # a key of 512 bits
    yield modulus_of(top - 1, size)  # one bit short


class Identities(TestCase):
    """Nobody passes for somebody else."""

    def test_a_wrong_pin_passes_through_and_nothing_was_sent(self) -> None:
        refusal = RefusedError(reason="this is not the key that you know")
        asked: list[tuple[str, bytes]] = []

        def judge(fingerprint: str) -> None:
            asked.append((fingerprint, client.machine.take_output()))
            raise refusal

        client = Driven(ClientMachine(I_C, E_C, judge))
        self.assertIs(self.assertRaises(RefusedError, client.feed, S1), refusal)
        self.assertEqual(asked, [(fingerprint_of(I_S.public_key()), b"")])
        self.assertEqual(client.machine.take_output(), b"")
        self.assertEqual(client.machine.stage, "S1 pin")
        self.assertIs(self.assertRaises(RefusedError, client.feed, b""), refusal)

    def test_the_pin_is_judged_before_all_else_that_the_server_says(self) -> None:
        def judge(fingerprint: str) -> None:
            raise RefusedError(reason="another key")

        offered = build_s1(("other/1",), I_C.public_key(), KEYS.classic)
        self.assertRaises(RefusedError, Driven(ClientMachine(I_C, E_C, judge)).feed, offered)

    def test_a_stripped_header(self) -> None:
        lines = S1.split(b"\n")
        classic = b"\n".join([lines[0], *lines[4:]])
        attempt = rig.Attempt(rig.replace("S1", classic))
        self.assertEqual([type(refusal) for refusal in attempt.refusals], [Downgrade])
        self.assertEqual(attempt.client.machine.take_output(), b"")
        self.assertIn("--classic", str(attempt.refusals[0]))

    def test_a_header_without_an_identity(self) -> None:
        lines = S1.split(b"\n")
        attempt = rig.Attempt(rig.replace("S1", b"\n".join([*lines[:2], *lines[3:]])))
        self.assertEqual(attempt.stage, "S1 grammar")

    def test_our_own_key_as_the_server(self) -> None:
        server = Driven(ServerMachine(ServerKeys(I_C, E_S, KEYS.classic)))
        attempt = rig.Attempt(rig.replace("", b""), server=server)
        self.assertEqual(attempt.stage, "S1 own key")
        self.assertEqual(attempt.client.machine.take_output(), b"")

    def test_our_own_key_as_the_client(self) -> None:
        attempt = rig.Attempt(rig.replace("S1", build_s1(("encchat/1",), I_C.public_key(), KEYS.classic)))
        self.assertEqual(attempt.stage, "S1 own key")
        client = Driven(ClientMachine(I_S, E_C, rig.accept))
        server = Driven(ServerMachine(KEYS))
        # A client with the server's key does not even go on with the server, so it is played by hand.
        hello = build_hello("encchat/1", I_S.public_key(), E_C.public_key())
        error = self.assertRaises(HandshakeFailed, server.feed, hello + C1[-384:])
        self.assertEqual(error.facts["stage"], "C1 own key")
        self.assertRaises(HandshakeFailed, client.feed, S1)

    def test_what_an_end_said_sent_back_to_it(self) -> None:
        self.assertEqual(rig.Attempt(rig.replace("C1", S1)).stage, "C1 hello")
        client = Driven(ClientMachine(I_C, E_C, rig.accept))
        c1 = client.feed(S1)
        self.assertRaises(HandshakeFailed, client.feed, c1[: len(S2)])
        self.assertFalse(client.established)

    def test_a_swapped_client_identity(self) -> None:
        """Unknown key share: the server shall take Alice's session for Mallory's. Mallory reads the
        server's secret, as it is meant for her, and passes it on to Alice."""
        mallory = rig.mallory()
        alice, server = Driven(ClientMachine(I_C, E_C, rig.accept)), Driven(ServerMachine(KEYS))
        s1 = server.machine.take_output()
        c1 = alice.feed(s1)
        start = len(c1) - 384 - 256 - 384
        forged = c1[:start] + modulus(mallory.public_key()) + c1[start + 384 :]
        s2 = server.feed(forged)
        th2 = {
            view: second_transcript(first_transcript(s1, view[:-384]), view[-384:]) for view in (c1, forged)
        }
        secret = decrypt(mallory, s2[256:640], server_label(th2[forged]))
        assert secret is not None
        kex_s = encrypt(I_C.public_key(), secret, server_label(th2[c1]))
        error = self.assertRaises(HandshakeFailed, alice.feed, s2[:256] + kex_s + s2[640:])
        self.assertEqual(error.facts["stage"], "S2 FIN_S")
        self.assertRaises(HandshakeFailed, server.feed, bytes(32))
        self.assertEqual((alice.established, server.established), (False, False))

    def test_a_swapped_server_identity(self) -> None:
        """Unknown key share: Alice shall take her session with the server for one with Mallory. Mallory
        reads Alice's secret, as it is meant for her, and passes it on to the server."""
        mallory = rig.mallory()
        alice, server = Driven(ClientMachine(I_C, E_C, rig.accept)), Driven(ServerMachine(KEYS))
        s1 = server.machine.take_output()
        mallorys = build_s1(("encchat/1",), mallory.public_key(), KEYS.classic)
        c1 = alice.feed(mallorys)
        hello = c1[:-384]
        secret = decrypt(mallory, c1[-384:], client_label(first_transcript(mallorys, hello)))
        assert secret is not None
        kex_c = encrypt(I_S.public_key(), secret, client_label(first_transcript(s1, hello)))
        s2 = server.feed(hello + kex_c)
        error = self.assertRaises(HandshakeFailed, alice.feed, s2)
        self.assertEqual(error.facts["stage"], "S2 FIN_S")
        self.assertEqual((alice.established, server.established), (False, False))

    def test_a_relayed_swap_where_mallory_knows_both_secrets(self) -> None:
        """Mallory as herself on both sides joins two sessions; they stay two, with other keys."""
        mallory = rig.mallory()
        towards_alice = Driven(ServerMachine(ServerKeys(mallory, E_S, KEYS.classic)))
        towards_server = Driven(ClientMachine(mallory, E_C, rig.accept))
        alice, server = Driven(ClientMachine(I_C, E_C, rig.accept)), Driven(ServerMachine(KEYS))
        rig.shake(alice, towards_alice)
        rig.shake(towards_server, server)
        alice.machine.send(b"for Mallory")
        self.assertRaises(RecordRefused, server.feed, alice.machine.take_output())

    def test_replayed_c1_and_c2(self) -> None:
        server = Driven(ServerMachine(KEYS, ("encchat/2", "encchat/1")))
        self.assertEqual(server.machine.take_output(), S1)
        self.assertNotEqual(server.feed(C1), S2)
        error = self.assertRaises(HandshakeFailed, server.feed, C2 + RECORDS[0])
        self.assertEqual(error.facts["stage"], "C2 FIN_C")
        self.assertEqual(server.log, [])

    def test_replayed_s2(self) -> None:
        client = Driven(ClientMachine(I_C, E_C, rig.accept))
        self.assertNotEqual(client.feed(S1), C1)
        error = self.assertRaises(HandshakeFailed, client.feed, S2)
        self.assertEqual(error.facts["stage"], "S2 FIN_S")
        self.assertEqual(client.machine.take_output(), b"")

    def test_a_claimed_client_identity_without_its_private_key(self) -> None:
        server = Driven(ServerMachine(KEYS))
        s1 = server.machine.take_output()
        hello = build_hello("encchat/1", I_C.public_key(), E_C.public_key())
        th1 = first_transcript(s1, hello)
        kex_c = encrypt(I_S.public_key(), bytes(32), client_label(th1))
        s2 = server.feed(hello + kex_c)
        th3 = third_transcript(second_transcript(th1, kex_c), s2[:256], s2[256:640])
        # Mallory knows her own secret, but not the one under Alice's key.
        guess = Schedule(th3, bytes(32), bytes(32)).client_proof()
        error = self.assertRaises(HandshakeFailed, server.feed, guess)
        self.assertEqual(error.facts["stage"], "C2 FIN_C")
        self.assertFalse(server.established)

    def test_a_claimed_server_identity_without_its_private_key(self) -> None:
        client = Driven(ClientMachine(I_C, E_C, rig.accept))
        c1 = client.feed(S1)
        th2 = second_transcript(first_transcript(S1, c1[:-384]), c1[-384:])
        record_modulus = modulus(E_S.public_key())
        kex_s = encrypt(I_C.public_key(), bytes(32), server_label(th2))
        th3 = third_transcript(th2, record_modulus, kex_s)
        guess = Schedule(th3, bytes(32), bytes(32)).server_proof()
        error = self.assertRaises(HandshakeFailed, client.feed, record_modulus + kex_s + guess)
        self.assertEqual(error.facts["stage"], "S2 FIN_S")

    def test_who_the_peer_is_shows_only_after_its_proof(self) -> None:
        server = Driven(rig.fixed_server())
        server.feed(C1)
        self.assertEqual(server.log, [])
        server.feed(C2)
        self.assertTrue(server.established)


class Secrets(TestCase):
    """A secret that cannot be read shows nowhere but in the proof that fails."""

    def answered(self, kex_c: bytes) -> None:
        """The server answers with a secret of its own making in the place of the client's."""
        entropy = iter([b"f" * 32, b"s" * 32])
        server = Driven(ServerMachine(KEYS, entropy=lambda size: next(entropy)))
        s1, hello = server.machine.take_output(), C1[:-384]
        s2 = server.feed(hello + kex_c)
        self.assertEqual(len(s2), len(S2))
        th2 = second_transcript(first_transcript(s1, hello), kex_c)
        ours = Schedule(third_transcript(th2, s2[:256], s2[256:640]), b"f" * 32, b"s" * 32)
        self.assertEqual(s2[640:], ours.server_proof())
        self.assertEqual(server.machine.stage, "C2")

    def test_a_kex_that_is_no_oaep(self) -> None:
        for kex_c in (bytes(384), b"\xff" * 384, bytes(383) + b"\1"):
            self.answered(kex_c)

    def test_a_kex_of_another_handshake(self) -> None:
        self.answered(C1[-384:])

    def test_a_secret_of_another_size(self) -> None:
        server = ServerMachine(KEYS)
        label = client_label(first_transcript(server.s1, C1[:-384]))
        for secret in (b"", bytes(31), bytes(33)):
            self.answered(encrypt(I_S.public_key(), secret, label))

    def test_a_servers_secret_of_another_size(self) -> None:
        client = Driven(rig.fixed_client())
        th2 = rig.octets("TH2")
        client.feed(S1)
        kex_s = encrypt(I_C.public_key(), bytes(31), server_label(th2))
        th3 = third_transcript(th2, S2[:256], kex_s)
        proof = Schedule(th3, rig.octets("s_C"), bytes(31)).server_proof()
        self.assertRaises(HandshakeFailed, client.feed, S2[:256] + kex_s + proof)

    def test_proofs_are_compared_in_constant_time(self) -> None:
        compared: list[bytes] = []
        real = hrsa1.hmac.compare_digest

        def watched(left: bytes, right: bytes) -> bool:
            compared.append(left)
            return real(left, right)

        self.patch(hrsa1.hmac, "compare_digest", watched)
        rig.shake(Driven(rig.fixed_client()), Driven(rig.fixed_server()))
        self.assertEqual(compared, [rig.octets("FIN_S"), rig.octets("FIN_C")])


class Keys(TestCase):
    """A peer's modulus is of the right size and odd; the exponent is never its choice."""

    def test_the_servers_identity(self) -> None:
        asked: list[str] = []
        for sent in unusable(384):
            client = Driven(ClientMachine(I_C, E_C, asked.append))
            error = self.assertRaises(HandshakeFailed, client.feed, rig.s1_with(sent))
            self.assertEqual(error.facts["stage"], "S1 identity")
            self.assertEqual(client.machine.take_output(), b"")
        self.assertEqual(asked, [])

    def test_the_clients_keys(self) -> None:
        line = C1[: -384 - 256 - 384]
        identity, record = C1[len(line) : len(line) + 384], C1[-384 - 256 : -384]
        cases = chain(
            (("C1 identity", sent + record) for sent in unusable(384)),
            (("C1 record key", identity + sent) for sent in unusable(256)),
        )
        for stage, moduli in cases:
            server = Driven(ServerMachine(KEYS))
            error = self.assertRaises(HandshakeFailed, server.feed, line + moduli + C1[-384:])
            self.assertEqual(error.facts["stage"], stage)
            self.assertEqual(server.jobs, 0)

    def test_the_servers_record_key(self) -> None:
        for sent in unusable(256):
            client = Driven(rig.fixed_client())
            client.feed(S1)
            error = self.assertRaises(HandshakeFailed, client.feed, sent + S2[256:])
            self.assertEqual(error.facts["stage"], "S2 record key")
            self.assertEqual(client.jobs, 0)

    def test_numbers_that_are_nobodys_key(self) -> None:
        line = C1[: -384 - 256 - 384]
        for identity in ((1 << 3071) | 1, (1 << 3072) - 1):
            for record in ((1 << 2047) | 1, (1 << 2048) - 1):
                server = Driven(ServerMachine(KEYS))
                server.machine.take_output()
                moduli = modulus_of(identity, 384) + modulus_of(record, 256)
                self.assertEqual(len(server.feed(line + moduli + C1[-384:])), len(S2))
                self.assertRaises(HandshakeFailed, server.feed, C2)

    def test_the_exponent(self) -> None:
        sent = modulus(I_C.public_key())
        self.assertEqual(public_key(sent, 3072).public_numbers().e, EXPONENT)


class Protocols(TestCase):
    """Both ends speak a protocol that they know."""

    def test_none_that_the_client_wants(self) -> None:
        client = Driven(ClientMachine(I_C, E_C, rig.accept, ("encchat/9",)))
        attempt = rig.Attempt(rig.replace("", b""), client=client)
        self.assertEqual(attempt.stage, "S1 protocol")
        self.assertIn("encchat/1", str(attempt.refusals[0]))
        self.assertEqual(client.machine.take_output(), b"")

    def test_one_that_the_server_does_not_offer(self) -> None:
        server = Driven(ServerMachine(KEYS, ("encchat/2",)))
        error = self.assertRaises(HandshakeFailed, server.feed, C1)
        self.assertEqual(error.facts["stage"], "C1 protocol")
        self.assertEqual(server.jobs, 0)


class Sessions(TestCase):
    """Records belong to their session, their direction and their place in it."""

    def test_a_record_sent_back_to_its_sender(self) -> None:
        client, _ = rig.open_pair()
        client.machine.send(b"hello")
        self.assertRaises(RecordRefused, client.feed, client.machine.take_output())

    def test_a_record_sent_twice(self) -> None:
        client, server = rig.open_pair()
        client.machine.send(b"hello")
        record = client.machine.take_output()
        server.feed(record)
        self.assertRaises(RecordRefused, server.feed, record)
        self.assertEqual(server.data, b"hello")

    def test_records_in_another_order(self) -> None:
        client, server = rig.open_pair()
        client.machine.send(b"one")
        client.machine.take_output()
        client.machine.send(b"two")
        self.assertRaises(RecordRefused, server.feed, client.machine.take_output())

    def test_a_record_of_another_session_of_the_same_two(self) -> None:
        client, _ = rig.open_pair()
        _, server = rig.open_pair()
        client.machine.send(b"hello")
        self.assertRaises(RecordRefused, server.feed, client.machine.take_output())

    def test_a_replayed_close(self) -> None:
        server = Driven(rig.fixed_server())
        server.feed(C1)
        self.assertRaises(RecordRefused, server.feed, C2 + RECORDS[2])
        self.assertNotIn(("closed", None), server.log)
