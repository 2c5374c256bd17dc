"""What an observer is told of TLS: the records, and what the two hellos say to everybody."""

from __future__ import annotations

from functools import cache

from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from OpenSSL import SSL
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.explaining import Part
from encchat.ciphers.tls.explain import TlsExplainer
from encchat.ciphers.tls.hello import Alert, plain_alert
from tests.ciphers.tls.authority import Authority
from tests.ciphers.tls.rig import raw_context


@cache
def conversation() -> list[tuple[bool, bytes]]:
    """A handshake and two messages, as a network carries them: from the client or not, and the bytes."""
    authority = Authority()
    client = SSL.Connection(raw_context(), None)
    client.set_tlsext_host_name(b"chat.example")
    client.set_connect_state()
    server = SSL.Connection(raw_context(authority.server(x509.DNSName("chat.example")), server=True), None)
    server.set_accept_state()
    said: list[tuple[bool, bytes]] = []

    def carry() -> bool:
        moved = False
        for from_client, source, target in ((True, client, server), (False, server, client)):
            try:
                data = source.bio_read(65536)
            except SSL.WantReadError:
                continue
            said.append((from_client, data))
            target.bio_write(data)
            moved = True
        return moved

    done = False
    while not done:
        done = True
        for end in (client, server):
            try:
                end.do_handshake()
            except SSL.WantReadError:
                done = False
        carry()
    client.send(b"a secret of 23 bytes ..")
    carry()
    server.send(b"x" * 100)
    carry()
    return said


def watch(said: list[tuple[bool, bytes]]) -> list[tuple[bool, Part]]:
    explainer = TlsExplainer()
    return [(client, part) for client, data in said for part in explainer.feed(client, data)]


class Records(SynchronousTestCase):
    @property
    def said(self) -> list[tuple[bool, bytes]]:
        return conversation()

    def test_hellos_are_in_the_clear_and_nothing_else_is(self) -> None:
        parts = watch(self.said)
        hello = next(part for client, part in parts if client)
        self.assertEqual(hello.name, "TLS ClientHello")
        self.assertEqual(hello.facts["server_name"], "chat.example")
        self.assertEqual(hello.facts["protocols"], "encchat/1")
        self.assertIn("TLS 1.3", str(hello.facts["versions"]))
        self.assertIn("X25519", str(hello.facts["groups"]))
        answer = next(part for client, part in parts if not client)
        self.assertEqual(answer.name, "TLS ServerHello")
        self.assertEqual(answer.facts["chosen_version"], "TLS 1.3")
        self.assertIn("X25519", str(answer.facts["group"]))
        self.assertIn(answer.facts["suite"], ("AES-256-GCM", "ChaCha20-Poly1305", "AES-128-GCM"))
        rest = {part.name for _, part in parts} - {"TLS ClientHello", "TLS ServerHello"}
        self.assertEqual(rest, {"TLS change cipher spec", "TLS protected record"})

    def test_sizes_show(self) -> None:
        parts = watch(self.said)
        self.assertEqual([part.facts.get("hides") for client, part in parts if client][-1], 23)
        self.assertEqual(parts[-1][1].facts["hides"], 100)
        self.assertEqual(sum(part.size for _, part in parts), sum(len(data) for _, data in self.said))

    def test_bytes_one_by_one(self) -> None:
        single = [(client, bytes([byte])) for client, data in self.said for byte in data]
        self.assertEqual(watch(single), watch(self.said))

    def test_an_alert_in_plain_text(self) -> None:
        ((_, part),) = watch([(False, plain_alert(Alert.HANDSHAKE_FAILURE))])
        self.assertEqual((part.name, part.facts["alert"]), ("TLS alert", 40))

    def test_what_is_no_tls(self) -> None:
        parts = watch([(True, b"GET / HTTP/1.0\r\n"), (True, b"\x16\x03\x01\x00\x01\x01")])
        self.assertEqual([part.size for _, part in parts], [16, 6])
        self.assertEqual({part.name for _, part in parts}, {"bytes that do not belong here"})

    @settings(max_examples=150, deadline=None)
    @given(st.integers(0, 600), st.binary(max_size=40), st.booleans())
    def test_no_hello_can_break_it(self, place: int, noise: bytes, client: bool) -> None:
        data = next(data for from_client, data in self.said if from_client is client)
        place %= len(data)
        altered = data[:5] + (data[:place] + noise + data[place + len(noise) :])[5 : len(data)]
        explainer = TlsExplainer()
        told = sum(part.size for part in explainer.feed(client, altered))
        self.assertEqual(told + len(explainer._streams[client].data), len(altered))
