"""Fingerprints are what ssh prints for the same key."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import FrozenInstanceError
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from encchat.core.identity import PeerIdentity, fingerprint, is_fingerprint

#: SHA-256 of nothing (FIPS 180-4's well-known value e3b0c442...), in base64.
OF_NOTHING = "SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"


class Fingerprints(SynchronousTestCase):
    """How they are written, and what is none."""

    def test_known(self) -> None:
        """The form, by a known value."""
        self.assertEqual(fingerprint(b""), OF_NOTHING)

    @given(st.binary(max_size=100))
    def test_any_key(self, spki: bytes) -> None:
        """Each is recognised as one, and holds the whole hash."""
        found = fingerprint(spki)
        self.assertTrue(is_fingerprint(found))
        self.assertEqual(b64decode(found.removeprefix("SHA256:") + "="), sha256(spki).digest())

    def test_not_one(self) -> None:
        """Other hashes, lengths, alphabets and spellings, and bits that no hash of 32 bytes has."""
        for text in (
            "",
            "SHA256:",
            OF_NOTHING[:-1],
            OF_NOTHING + "=",
            OF_NOTHING + "\n",
            " " + OF_NOTHING,
            OF_NOTHING.lower(),
            OF_NOTHING[:-1] + "V",
            OF_NOTHING.replace("+", "-").replace("/", "_"),
            OF_NOTHING.replace("SHA256", "MD5"),
            "SHA256:" + "\u0661" * 43,
        ):
            self.assertFalse(is_fingerprint(text), repr(text))


class Identities(SynchronousTestCase):
    """What a cipher found out does not change afterwards."""

    def test_frozen(self) -> None:
        """Nobody above can give a peer another key or name."""
        identity = PeerIdentity(OF_NOTHING, None, "rsa", "a key")
        self.assertTrue(identity.authenticated)
        with self.assertRaises(FrozenInstanceError):
            identity.vouched_name = "alice"  # type: ignore[misc]  # that it cannot be set is the test
