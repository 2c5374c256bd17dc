"""Altered, cut and meaningless bytes: no hrsa1 handshake completes, and nothing else breaks."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import TestCase

from encchat.ciphers.rsa.failures import Downgrade, HandshakeFailed, Truncated
from encchat.ciphers.rsa.hrsa1 import ServerMachine
from encchat.ciphers.rsa.opening import MAX_S1, build_s1
from encchat.errors import PeerError, RefusedError
from tests import SOAK
from tests.ciphers.rsa import rig
from tests.ciphers.rsa.rig import C1, C2, I_S, KEYS, RECORDS, S1, S2, Driven

#: Of the bytes of a message, those that are altered: all, or every fifth and those at both ends.
STEP, ENDS = (1, 0) if SOAK else (5, 8)


class Mutations(TestCase):
    """No handshake completes when any byte of it was altered."""

    def altered(self, name: str, size: int, wanted: tuple[bool, bool] = (False, False)) -> None:
        for place in sorted({*range(0, size, STEP), *range(ENDS), *range(size - ENDS, size)}):
            attempt = rig.Attempt(rig.flip(name, place))
            self.assertEqual(attempt.established, wanted, f"{name}[{place}]")
            self.assertLessEqual(len(attempt.refusals), 1)

    def test_without_any(self) -> None:
        self.assertEqual(rig.Attempt(lambda name, carried: carried).established, (True, True))

    def test_s1(self) -> None:
        self.altered("S1", len(build_s1(("encchat/1",), I_S.public_key(), KEYS.classic)))

    def test_c1(self) -> None:
        self.altered("C1", len(C1))

    def test_s2(self) -> None:
        self.altered("S2", len(S2))

    def test_c2(self) -> None:
        # The client has its proof by then and may have sent; the server believes nothing of it.
        self.altered("C2", len(C2), (True, False))


GARBAGE = [
    b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    b"HTTP/1.1 400 Bad Request\r\n\r\n",
    bytes.fromhex("16030100c8010000c40303"),  # a TLS ClientHello
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"\xff\xff\xff\xff",  # a length of 4 GiB
    b"\0",
    b"\n",
    b"ENCCHAT hrsa2 encchat/1\n",
    b"ENCCHAT hrsa1 Encchat/1\n",
    b"ENCCHAT hrsa1 \n",
    b"ENCCHAT hrsa1 sixteen-letters.\x20",
    b"ENCCHAT hrsa1 sixteen-letters..\n",
    b"-----BEGIN PUBLIC KEY-----\n",
]


class Garbage(TestCase):
    """What is no hrsa1 is refused at its first wrong byte, without a word and without collecting it."""

    def test_towards_the_server(self) -> None:
        for garbage in [*GARBAGE, S1, b"-----BEGIN RSA PUBLIC KEY-----\n"]:
            server = Driven(ServerMachine(KEYS))
            server.machine.take_output()
            error = self.assertRaises(HandshakeFailed, server.feed, garbage)
            self.assertEqual(error.facts["stage"], "C1 hello")
            self.assertEqual(server.machine.take_output(), b"")

    def test_towards_the_client(self) -> None:
        for garbage in [*GARBAGE, C1]:
            client = Driven(rig.fixed_client())
            error = self.assertRaises(HandshakeFailed, client.feed, garbage)
            self.assertEqual(error.facts["stage"], "S1 grammar")
            self.assertEqual(client.machine.take_output(), b"")

    def test_an_endless_pem(self) -> None:
        client = Driven(rig.fixed_client())
        self.assertEqual(client.feed((S1[:700] + b"A" * 1000)[: MAX_S1 - 1]), b"")
        self.assertRaises(HandshakeFailed, client.feed, b"A")
        self.assertRaises(HandshakeFailed, Driven(rig.fixed_client()).feed, S1[:700] + b"A" * 100_000)

    def test_an_endless_classic_pem(self) -> None:
        pem = b"-----BEGIN RSA PUBLIC KEY-----\n" + b"A" * 100_000
        self.assertRaises(Downgrade, Driven(rig.fixed_client()).feed, pem)

    def test_every_refusal_is_a_sentence(self) -> None:
        for end, received in (
            (rig.fixed_client(), GARBAGE[0]),
            (rig.fixed_client(), rig.s1_with(bytes(384))),
            (rig.fixed_server(), GARBAGE[0]),
        ):
            error = self.assertRaises(HandshakeFailed, Driven(end).feed, received)
            self.assertEqual(end.stage, error.facts["stage"])
            self.assertRegex(str(error), r"^[A-Z].*\.$")
            self.assertNotRegex(str(error), r"[{}]|b'")


class Truncation(TestCase):
    """Whatever is cut short is never enough."""

    def ends(self, end: Driven, received: bytes) -> None:
        before = len(end.log)
        self.assertEqual(end.feed(received), b"")
        error = self.assertRaises(Truncated, end.end)
        self.assertEqual(error.facts["stage"], end.machine.stage)
        self.assertEqual(len(end.log), before)

    def test_s1(self) -> None:
        for size in range(len(S1)):
            self.ends(Driven(rig.fixed_client()), S1[:size])

    def test_c1(self) -> None:
        for size in range(len(C1)):
            server = Driven(rig.fixed_server())
            server.machine.take_output()
            self.ends(server, C1[:size])

    def test_s2(self) -> None:
        for size in range(len(S2)):
            client = Driven(rig.fixed_client())
            client.feed(S1)
            self.ends(client, S2[:size])

    def test_c2(self) -> None:
        for size in range(len(C2)):
            server = Driven(rig.fixed_server())
            server.feed(C1)
            self.ends(server, C2[:size])

    def test_the_records_of_a_session(self) -> None:
        stream = b"".join(RECORDS)
        edges = [len(b"".join(RECORDS[:count])) for count in range(3)]
        for size in sorted({*edges, *(edge + 1 for edge in edges), *range(0, len(stream), 150)}):
            server = Driven(rig.fixed_server())
            server.feed(C1)
            server.feed(C2 + stream[:size])
            self.assertRaises(Truncated, server.end)
            self.assertNotIn(("closed", None), server.log)

    def test_a_closed_stream_ends_well(self) -> None:
        server = Driven(rig.fixed_server())
        server.feed(C1)
        server.feed(C2 + b"".join(RECORDS))
        server.end()
        self.assertEqual(server.log[-1], ("closed", None))


PIECES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from([S1, C1, S2, C2, *RECORDS, *GARBAGE]),
        st.sampled_from([S1, C1, S2, C2, *RECORDS]).flatmap(
            lambda known: st.integers(0, len(known)).map(lambda size: known[:size])
        ),
        st.sampled_from([S1, C1, S2, C2, *RECORDS]).flatmap(
            lambda known: st.integers(0, len(known) - 1).map(
                lambda place: known[:place] + bytes([known[place] ^ 1]) + known[place + 1 :]
            )
        ),
    ),
    max_size=6,
)


class Hostile(TestCase):
    """Whatever arrives, in whatever state: no error but the two that a layer expects."""

    @settings(max_examples=150, deadline=None)
    @given(st.booleans(), st.sampled_from([(), (0,), (0, 1), (0, 1, 2)]), PIECES)
    def test_any_bytes(self, serves: bool, before: tuple[int, ...], pieces: list[bytes]) -> None:
        end = Driven(rig.fixed_server() if serves else rig.fixed_client())
        known = [C1, C2, RECORDS[0]] if serves else [S1, S2, b""]
        for place in before:
            end.feed(known[place])
        try:
            for piece in pieces:
                end.feed(piece)
            end.end()
        except (PeerError, RefusedError) as error:
            self.assertEqual(end.machine.stage, error.facts["stage"])
            self.assertEqual(end.machine.take_output(), b"")
        for what, value in end.log:
            if what == "data":
                self.assertIn(value, (rig.MESSAGE, rig.MESSAGE + b"x" * 200))
