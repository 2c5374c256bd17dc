"""What a user's own authority says of people whose certificates came from the server."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.trial.unittest import SynchronousTestCase

from encchat.ciphers.interfaces import ISealing, Place
from encchat.ciphers.rsa import client as rsa_client
from encchat.ciphers.tls import client
from encchat.ciphers.tls.cipher import CannotSign
from encchat.ciphers.tls.vouching import NotVouchedFor
from encchat.core.sealed.identities import check_identity_signature
from encchat.errors import UsageError
from encchat.pki.profiles import spki
from tests.ciphers.tls.authority import (
    CLIENT_AUTH,
    DAY,
    NOW,
    SERVER_AUTH,
    Authority,
    Leaf,
    new_key,
    uri,
    write_crl,
    write_set,
)


class VouchingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.home = Path(self.mktemp()).absolute()
        self.authority = Authority()
        self.made = write_set(self.home, self.authority, "alice", "bob")

    def alice(self, **arguments: str) -> Any:
        cipher = client(Place(self.home, "alice", arguments or {"certs": str(self.home)}))
        cipher.prepare()
        return cipher

    def ask(self, leaf: Leaf, name: str = "bob", *, key: ec.EllipticCurvePrivateKey | None = None) -> None:
        chain = tuple(each.public_bytes(Encoding.DER) for each in (leaf.certificate, *leaf.chain))
        self.alice().voucher()(name, spki((key or leaf.key).public_key()), chain)

    def refused(self, leaf: Leaf, word: str, name: str = "bob", **more: Any) -> None:
        error = self.assertRaises(NotVouchedFor, self.ask, leaf, name, **more)
        self.assertIn(word, str(error))

    def test_good(self) -> None:
        self.ask(self.made["bob"])

    def test_through_an_authority_between(self) -> None:
        (self.home / "crl.pem").unlink()
        self.ask(Authority("Below", parent=self.authority, path_length=0).user("bob"))

    def test_others(self) -> None:
        stranger = Authority("Another CA")
        own = new_key()
        cases = (
            (stranger.user("bob"), "authority"),
            (self.made["alice"], "names"),
            (self.authority.user("bob", ends=NOW - timedelta(hours=1), begins=NOW - 9 * DAY), "expired"),
            (self.authority.user("bob", begins=NOW + DAY), "valid"),
            (self.authority.user("bob", purposes=[SERVER_AUTH]), "serverAuth"),
            (self.authority.user("bob", purposes=[SERVER_AUTH, CLIENT_AUTH]), "alone"),
            (self.authority.user("bob", names=[uri("encchat:bob"), uri("encchat:alice")]), "bob"),
        )
        for leaf, word in cases:
            self.refused(leaf, word)
        self.refused(self.made["bob"], "for the key", key=own)

    def test_revoked(self) -> None:
        write_crl(self.home / "crl.pem", self.authority.crl(self.made["bob"]))
        self.refused(self.made["bob"], "revoked")

    def test_an_old_revocation_list(self) -> None:
        ended = self.authority.crl(updated=NOW - 9 * DAY, ends=NOW - DAY)
        cipher = self.alice()
        write_crl(self.home / "crl.pem", ended)
        material = cipher.material
        object.__setattr__(material, "crls", (ended,))
        chain = (self.made["bob"].certificate.public_bytes(Encoding.DER),)
        key = spki(self.made["bob"].key.public_key())
        self.assertRaises(NotVouchedFor, cipher.voucher(), "bob", key, chain)

    def test_nonsense(self) -> None:
        vouches = self.alice().voucher()
        for chain in ((), (b"",), (b"\x30\x03\x02\x01\x00",), (b"x",) * 9):
            self.assertRaises(NotVouchedFor, vouches, "bob", b"key", chain)

    def test_any_byte_changed(self) -> None:
        """A server's certificate is refused in words, whatever the libraries make of it."""
        der = self.made["bob"].certificate.public_bytes(Encoding.DER)
        vouches, key = self.alice().voucher(), spki(self.made["bob"].key.public_key())
        for place in range(len(der)):
            other = der[:place] + bytes([der[place] ^ 1 << place % 8]) + der[place + 1 :]
            self.assertRaises(NotVouchedFor, vouches, "bob", key, (other,))

    def test_the_signer(self) -> None:
        cipher = self.alice()
        self.assertTrue(ISealing.providedBy(cipher))
        signer = cipher.signer()
        self.assertEqual(signer.spki, spki(self.made["alice"].key.public_key()))
        self.assertEqual(signer.chain, (self.made["alice"].certificate.public_bytes(Encoding.DER),))
        check_identity_signature(signer.spki, b"what we made", signer.sign(b"what we made"), "thing")
        cipher.voucher()("alice", signer.spki, signer.chain)

    def test_a_key_that_cannot_sign(self) -> None:
        self.authority.user("alice", key=ed25519.Ed25519PrivateKey.generate()).write(self.home, "alice")
        signer = self.alice().signer()
        self.assertRaises(CannotSign, signer.sign, b"data")

    def test_pins(self) -> None:
        cipher = self.alice(trust="pin")
        self.assertIsNone(cipher.voucher())
        signer = cipher.signer()
        self.assertEqual(signer.chain, ())
        check_identity_signature(signer.spki, b"what we made", signer.sign(b"what we made"), "thing")

    def test_rsa(self) -> None:
        cipher: Any = rsa_client(Place(self.home, "alice"))
        cipher.prepare()
        self.assertTrue(ISealing.providedBy(cipher))
        self.assertIsNone(cipher.voucher())
        signer = cipher.signer()
        check_identity_signature(signer.spki, b"what we made", signer.sign(b"what we made"), "thing")
        classic: Any = rsa_client(Place(self.home, "alice", {"classic": "only"}))
        self.assertRaises(UsageError, classic.signer)
