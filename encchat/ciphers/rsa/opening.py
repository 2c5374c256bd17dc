"""The two messages in the clear: S1, with which a server opens, and the hello in front of C1.

S1 is a PEM that the classroom script reads as the key K of the classic profile: its parser skips the
header lines, in which our own peers find the protocols and the identity. Both grammars are exact; bytes
are refused as soon as they can no longer become a message, so that nothing is collected for nothing.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from encchat.ciphers.rsa.failures import Downgrade, HandshakeFailed
from encchat.ciphers.rsa.primitives import IDENTITY_BYTES, RECORD_BYTES, modulus

#: The most bytes that S1 may have.
MAX_S1 = 1024

_TOKEN = rb"[a-z0-9./-]{1,15}"
_BEGIN = b"-----BEGIN RSA PUBLIC KEY-----\n"
_PROFILE = b"Encchat: hrsa1 "
_END = b"-----END RSA PUBLIC KEY-----\n"
_S1 = re.compile(
    _BEGIN
    + _PROFILE
    + rb"(%(token)s(?:,%(token)s){0,3})\n" % {b"token": _TOKEN}
    + rb"Encchat-Id: ([A-Za-z0-9_-]{512})\n"
    + rb"\n"
    + rb"[A-Za-z0-9+/=\n]{100,720}"
    + _END
)

_HELLO = b"ENCCHAT hrsa1 "
#: The most bytes that C1 may have: the hello and KEX_C.
MAX_C1 = len(_HELLO) + 16 + IDENTITY_BYTES + RECORD_BYTES + IDENTITY_BYTES
_HELLO_LINE = re.compile(_HELLO + rb"(" + _TOKEN + rb")\n")
_HELLO_BEGUN = re.compile(_HELLO + rb"[a-z0-9./-]{0,15}")
_PROTOCOL = re.compile(_TOKEN.decode("ascii"))


@dataclass(frozen=True, slots=True)
class Opening:
    """S1 as read: what the server offers, and who it says that it is."""

    raw: bytes
    protocols: tuple[str, ...]
    #: The modulus of I_S; its size is that of the grammar, its worth is not checked yet.
    identity: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """The first part of C1 as read: what the client wants, and who it says that it is."""

    raw: bytes
    protocol: str
    #: The moduli of I_C and E_C, not checked yet.
    identity: bytes
    record: bytes


def build_s1(protocols: Sequence[str], identity: RSAPublicKey, classic: RSAPublicKey) -> bytes:
    """S1, for our own peers and for the classroom script.

    :raises ValueError: it cannot be said: too many protocols, a strange one, keys of other sizes.
    """
    pem = classic.public_bytes(Encoding.PEM, PublicFormat.PKCS1)
    headers = [
        _PROFILE + ",".join(protocols).encode("ascii") + b"\n",
        b"Encchat-Id: " + urlsafe_b64encode(modulus(identity)) + b"\n",
        b"\n",
    ]
    s1 = b"".join([_BEGIN, *headers, pem.removeprefix(_BEGIN)])
    if len(s1) > MAX_S1 or not _S1.fullmatch(s1):
        raise ValueError("these protocols and keys do not fit S1")
    return s1


def find_s1(received: bytes) -> int | None:
    """How many bytes at the start of ``received`` are S1, or None while its end is still to come.

    :raises HandshakeFailed: it cannot become S1.
    :raises Downgrade: it is the key of a classic server, without our header.
    """
    if not _BEGIN.startswith(received[: len(_BEGIN)]):
        raise HandshakeFailed(
            stage="S1 grammar", reason="the server does not speak encchat's rsa cipher; try another --cipher"
        )
    if not _PROFILE.startswith(received[len(_BEGIN) : len(_BEGIN) + len(_PROFILE)]):
        raise Downgrade(stage="S1 header")
    at = received.find(_END, 0, MAX_S1)
    if at >= 0:
        return at + len(_END)
    if len(received) >= MAX_S1:
        raise HandshakeFailed(stage="S1 grammar", reason=f"it does not end within {MAX_S1} bytes")
    return None


def parse_s1(raw: bytes) -> Opening:
    """S1, taken apart.

    :raises HandshakeFailed: it is not exactly in the grammar.
    """
    match = _S1.fullmatch(raw)
    if match is None or len(raw) > MAX_S1:
        raise HandshakeFailed(stage="S1 grammar", reason="the server's opening is malformed")
    protocols = tuple(match[1].decode("ascii").split(","))
    return Opening(raw, protocols, urlsafe_b64decode(match[2]))


def build_hello(protocol: str, identity: RSAPublicKey, record: RSAPublicKey) -> bytes:
    """The hello in front of KEX_C.

    :raises ValueError: a strange protocol.
    """
    if not _PROTOCOL.fullmatch(protocol):
        raise ValueError(f"{protocol!r} cannot be a protocol")
    return _HELLO + protocol.encode("ascii") + b"\n" + modulus(identity) + modulus(record)


def find_hello(received: bytes) -> int | None:
    """How many bytes at the start of ``received`` are the hello, or None while some are still to come.

    :raises HandshakeFailed: it cannot become one.
    """
    line = _HELLO_LINE.match(received)
    if line is None:
        if _HELLO_BEGUN.fullmatch(received) or _HELLO.startswith(received):
            return None
        raise HandshakeFailed(stage="C1 hello", reason="the client does not speak encchat's rsa cipher")
    size = line.end() + IDENTITY_BYTES + RECORD_BYTES
    return size if len(received) >= size else None


def parse_hello(raw: bytes) -> Hello:
    """A hello of the size that :func:`find_hello` told, taken apart."""
    line = _HELLO_LINE.match(raw)
    assert line is not None, "parse_hello without find_hello"
    middle = line.end() + IDENTITY_BYTES
    return Hello(raw, line[1].decode("ascii"), raw[line.end() : middle], raw[middle:])
