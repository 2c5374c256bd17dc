"""What an observer is told of the rsa cipher: every byte once, in any segments, and nothing raises."""

from __future__ import annotations

from collections.abc import Iterable

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.explaining import Part
from encchat.ciphers.rsa.classic import key_fingerprint, pem, read_key, seal_block
from encchat.ciphers.rsa.explain import RsaExplainer
from encchat.ciphers.rsa.primitives import fingerprint_of
from tests.ciphers.rsa import rig
from tests.ciphers.rsa.rig import C1, C2, RECORDS, S1, S2, cut

#: A whole conversation: what each side sends, the server first.
HARDENED = ((False, S1), (True, C1), (False, S2), (True, C2 + b"".join(RECORDS)))
SERVER_PEM, CLIENT_PEM = pem(rig.PRIVATE["CL"].public_key()), pem(rig.E_C.public_key())
CLASSIC = (
    (False, SERVER_PEM),
    (True, CLIENT_PEM + seal_block(read_key(SERVER_PEM), b"hello")),
    (False, seal_block(read_key(CLIENT_PEM), b"welcome") * 2),
)


def watch(said: Iterable[tuple[bool, bytes]]) -> list[tuple[bool, Part]]:
    explainer = RsaExplainer()
    return [(client, part) for client, data in said for part in explainer.feed(client, data)]


class Conversations(SynchronousTestCase):
    def test_hrsa1(self) -> None:
        parts = watch(HARDENED)
        self.assertEqual(
            [(client, part.name) for client, part in parts],
            [
                (False, "hrsa1 S1: the server's identity, and its classic key"),
                (True, "hrsa1 C1: hello with an identity and a record key"),
                (True, "hrsa1 C1: a sealed secret"),
                (False, "hrsa1 S2: a record key, a sealed secret, a proof"),
                (True, "hrsa1 C2: a proof"),
                *[(True, "hrsa1 record")] * len(RECORDS),
            ],
        )
        self.assertEqual(parts[0][1].facts["identity"], fingerprint_of(rig.I_S.public_key()))
        self.assertEqual(parts[1][1].facts["identity"], fingerprint_of(rig.I_C.public_key()))
        records = [part for _, part in parts if part.name == "hrsa1 record"]
        self.assertEqual([part.size for part in records], [len(record) for record in RECORDS])
        self.assertEqual([part.facts["blocks"] for part in records], [1, 2, 1])
        self.assertEqual([part.facts["number"] for part in records], [0, 1, 2])

    def test_classic(self) -> None:
        parts = watch(CLASSIC)
        names = ["classic key of the server", "classic key of the client", *["classic RSA block"] * 3]
        self.assertEqual([part.name for _, part in parts], names)
        self.assertEqual(parts[0][1].facts["key"], key_fingerprint(rig.PRIVATE["CL"].public_key()))
        self.assertEqual([part.size for _, part in parts[2:]], [256, 256, 256])

    def test_a_classic_client_of_a_server_that_speaks_both(self) -> None:
        parts = watch([(False, S1), *CLASSIC[1:]])
        self.assertEqual([part.name for _, part in parts[2:]], ["classic RSA block"] * 3)

    @settings(max_examples=40, deadline=None)
    @given(st.sampled_from([HARDENED, CLASSIC]), st.lists(st.integers(0, 5000), max_size=6))
    def test_segments_change_nothing(self, said: tuple[tuple[bool, bytes], ...], places: list[int]) -> None:
        pieces = [(client, piece) for client, data in said for piece in cut(data, places)]
        self.assertEqual(watch(pieces), watch(said))
        self.assertEqual(sum(part.size for _, part in watch(pieces)), sum(len(data) for _, data in said))


class Nonsense(SynchronousTestCase):
    def test_what_does_not_belong_there(self) -> None:
        parts = watch([(False, b"HTTP/1.0 400 Bad Request\r\n\r\n"), (False, b"more"), (True, b"GET /")])
        self.assertEqual([part.name for _, part in parts], ["bytes that do not belong here"] * 3)
        self.assertEqual([part.size for _, part in parts], [28, 4, 5])

    def test_a_record_of_no_possible_size(self) -> None:
        parts = watch([*HARDENED, (True, b"\xff\xff"), (True, b"x")])
        self.assertEqual([part.size for _, part in parts[-2:]], [2, 1])

    def test_a_pem_without_end(self) -> None:
        explainer = RsaExplainer()
        parts = explainer.feed(False, b"-----BEGIN RSA PUBLIC KEY-----\n" + b"A" * 5000)
        self.assertEqual([part.size for part in parts], [5031])

    @settings(max_examples=100, deadline=None)
    @given(
        st.integers(0, 4),
        st.lists(st.tuples(st.booleans(), st.binary(max_size=700)), max_size=8),
    )
    def test_it_never_raises_and_holds_little(self, kept: int, noise: list[tuple[bool, bytes]]) -> None:
        explainer = RsaExplainer()
        said = [*HARDENED[:kept], *noise]
        told = sum(part.size for client, data in said for part in explainer.feed(client, data))
        held = len(explainer._client.data) + len(explainer._server.data)
        self.assertEqual(told + held, sum(len(data) for _, data in said))
