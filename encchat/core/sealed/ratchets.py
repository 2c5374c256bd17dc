"""vodozemac, as we use it: raw bytes at the edges, and one error for whatever it makes of what peers send.

Its exceptions are ValueErrors, but malformed input also raises TypeError, OverflowError and
UnicodeEncodeError; ``checked`` turns all of them into ``BadCrypto``. Its calls hold the GIL for 20 to 250
microseconds, so they are made where they are needed. Pickles are made under a fixed key, as vodozemac's own
encryption of them is weak: ``keeper`` is what protects them.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator
from contextlib import contextmanager

from vodozemac import (
    Account,
    AnyOlmMessage,
    Curve25519PublicKey,
    Ed25519PublicKey,
    Ed25519Signature,
    ExportedSessionKey,
    GroupSession,
    InboundGroupSession,
    MegolmMessage,
    Session,
    SessionKey,
)

from encchat.core.sealed.identities import BadSignature
from encchat.errors import PeerError

__all__ = [
    "PICKLE_KEY",
    "Account",
    "AnyOlmMessage",
    "BadCrypto",
    "Curve25519PublicKey",
    "GroupSession",
    "InboundGroupSession",
    "MegolmMessage",
    "Session",
    "base64",
    "check_device_signature",
    "checked",
    "curve_key",
    "ed_key",
    "exported",
    "imported",
    "inbound",
    "raw",
    "same_ratchet",
    "session_id",
    "sign",
]

#: Not a secret: the pickles are encrypted by ``keeper``.
PICKLE_KEY = bytes(32)


class BadCrypto(PeerError):
    """The {what} cannot be used: {reason}."""

    code = "bad-crypto"


@contextmanager
def checked(what: str) -> Iterator[None]:
    """Whatever vodozemac raises within is a ``BadCrypto`` that names ``what``."""
    try:
        yield
    except (ValueError, TypeError, OverflowError) as error:
        raise BadCrypto(what=what, reason=str(error) or type(error).__name__) from None


def raw(base64: str) -> bytes:
    """The bytes of vodozemac's unpadded base64."""
    return b64decode(base64 + "=" * (-len(base64) % 4))


def base64(data: bytes) -> str:
    """vodozemac's unpadded base64, in the one form that has no stray bits."""
    return b64encode(data).decode("ascii").rstrip("=")


def ed_key(account: Account) -> bytes:
    """The account's signing key, 32 bytes."""
    return raw(account.ed25519_key.to_base64())


def curve_key(account: Account) -> bytes:
    """The account's agreement key, 32 bytes."""
    return account.curve25519_key.to_bytes()


def sign(account: Account, data: bytes) -> bytes:
    """The account's ed25519 signature, 64 bytes."""
    return raw(account.sign(data).to_base64())


def check_device_signature(ed: bytes, data: bytes, signature: bytes, what: str) -> None:
    """Whether the device with this ed25519 key signed ``data``.

    :raises BadSignature: it did not.
    """
    try:
        Ed25519PublicKey.from_base64(base64(ed)).verify_signature(
            data, Ed25519Signature.from_base64(base64(signature))
        )
    except (ValueError, TypeError, OverflowError):
        raise BadSignature(what=what) from None


def session_id(session: GroupSession | InboundGroupSession) -> bytes:
    """A Megolm session's id, 32 bytes. It does not commit to the ratchet: compare keys besides."""
    return raw(session.session_id)


def inbound(key: str) -> InboundGroupSession:
    """The session of a room key that its owner sent.

    :raises BadCrypto: it is none.
    """
    with checked("room key"):
        return InboundGroupSession(SessionKey(key))


def imported(key: str) -> InboundGroupSession:
    """The session of a room key that somebody exported: unauthenticated.

    :raises BadCrypto: it is none.
    """
    with checked("room key"):
        return InboundGroupSession.import_session(ExportedSessionKey(key))


def exported(session: InboundGroupSession, index: int) -> str:
    """The room key from ``index`` on.

    :raises BadCrypto: the session begins later.
    """
    with checked("room key"):
        key = session.export_at(index)
    if key is None:
        raise BadCrypto(what="room key", reason=f"it begins after message {index}")
    return key.to_base64()


def same_ratchet(one: InboundGroupSession, other: InboundGroupSession) -> bool:
    """Whether two sessions of one id hold the same secret, as far as both reach."""
    index = max(one.first_known_index, other.first_known_index)
    return exported(one, index) == exported(other, index)
