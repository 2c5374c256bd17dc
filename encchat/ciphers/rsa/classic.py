"""The classic profile as a pure transform: what a thirty-line classroom script speaks.

Each side shows a PKCS#1 public key as PEM; from there on every message is one PKCS#1 v1.5 block
(RFC 8017, sections 7.2 and A.1.1) under the other's key, one after the other, without framing, without
authentication and without an end. What is sent is made with the ``rsa`` package, as the script makes
it; what is received is decrypted through ``cryptography``, in constant time, where bad padding gives
random bytes instead of an error (implicit rejection, OpenSSL 3.2).

When a block may be sent is ``pacing``'s concern; threads and connections are ``classic_talk``'s.
"""

from __future__ import annotations

import re
import unicodedata
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import rsa
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric import rsa as openssl_rsa

from encchat.core.identity import fingerprint
from encchat.errors import PeerError

BEGIN = b"-----BEGIN RSA PUBLIC KEY-----"
END = b"-----END RSA PUBLIC KEY-----"
#: Bytes of a peer's PEM: the script reads its peer's with one recv of this size.
PEM_LIMIT = 1024
MIN_BITS, MAX_BITS = 1024, 4096
#: Above it an exponent only makes our encryption slow; everyone uses 65537.
MAX_EXPONENT = 2**31 - 1
#: Bytes of a block that PKCS#1 v1.5 needs for itself.
OVERHEAD = 11

_PEM = re.compile(
    re.escape(BEGIN) + rb"\r?\n"
    rb"(?:[!-9;-~]+:[ -~]*\r?\n)*"  # header lines, which the script's parser skips
    rb"([A-Za-z0-9+/=\r\n]+)" + re.escape(END) + rb"\r?\n"
)


class ClassicKeyRefused(PeerError):
    """The other side's classic key cannot be used: {reason}."""

    code = "classic-key"


@dataclass(frozen=True, slots=True)
class ShownKey:
    """The public key that a classic peer showed. It proves nothing."""

    public: rsa.PublicKey
    bits: int
    #: Bytes of a block that is encrypted to it.
    size: int
    #: As everywhere: of the DER SubjectPublicKeyInfo.
    fingerprint: str

    @property
    def room(self) -> int:
        """Bytes of text that one block holds."""
        return self.size - OVERHEAD


def pem(key: openssl_rsa.RSAPublicKey) -> bytes:
    """``key`` as the script sends its own."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.PKCS1)


def key_fingerprint(key: openssl_rsa.RSAPublicKey) -> str:
    """The fingerprint of ``key``."""
    return fingerprint(
        key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


# ----------------------------------------------------------------------------------- the peer's key


class PemReader:
    """Takes a PEM off the front of a stream, however it is cut; never holds more than PEM_LIMIT."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> tuple[bytes, bytes] | None:
        """The whole PEM and what came behind it, or None while it is not complete.

        :raises ClassicKeyRefused: this is not, or does not become, a public key in PEM.
        """
        known = len(self._held)
        self._held += data[: PEM_LIMIT - known]
        if not BEGIN.startswith(self._held[: len(BEGIN)]):
            self._refuse_beginning()
        end = self._held.find(END, max(0, known - len(END)))
        newline = self._held.find(b"\n", end + len(END)) if end >= 0 else -1
        if newline >= 0:
            whole = self._held[: newline + 1]
            return whole, data[newline + 1 - known :]
        if len(self._held) == PEM_LIMIT:
            raise ClassicKeyRefused(reason=f"it does not end within {PEM_LIMIT} bytes")
        return None

    def _refuse_beginning(self) -> None:
        if b"PRIVATE" in self._held[: len(BEGIN)]:
            raise ClassicKeyRefused(reason="it is a private key, which nobody may ever be sent")
        raise ClassicKeyRefused(reason="it does not begin with " + BEGIN.decode("ascii"))


def read_key(pem: bytes) -> ShownKey:
    """The key in a peer's PEM, checked before anything is done with it.

    :raises ClassicKeyRefused: it is malformed, too small, too large, or its numbers are unsafe.
    """
    match = _PEM.fullmatch(pem)
    if match is None:
        raise ClassicKeyRefused(reason="it is not PEM")
    try:
        modulus, exponent = _numbers(
            b64decode(match[1].replace(b"\r", b"").replace(b"\n", b""), validate=True)
        )
    except ValueError:
        raise ClassicKeyRefused(reason="it is not the PKCS#1 form of an RSA public key") from None
    bits = modulus.bit_length()
    if not MIN_BITS <= bits <= MAX_BITS:
        raise ClassicKeyRefused(reason=f"it has {bits} bits, where {MIN_BITS} to {MAX_BITS} are accepted")
    if modulus % 2 == 0:
        raise ClassicKeyRefused(reason="its modulus is even")
    if exponent % 2 == 0 or not 3 <= exponent <= MAX_EXPONENT:
        raise ClassicKeyRefused(reason=f"its exponent is not an odd number from 3 to {MAX_EXPONENT}")
    public = rsa.PublicKey.load_pkcs1(pem)
    openssl = openssl_rsa.RSAPublicNumbers(exponent, modulus).public_key()
    return ShownKey(public, bits, (bits + 7) // 8, key_fingerprint(openssl))


def _numbers(der: bytes) -> tuple[int, int]:
    """Modulus and exponent of a DER RSAPublicKey (RFC 8017, appendix A.1.1).

    Strict, since a general ASN.1 decoder fails in more ways on hostile bytes than can be foreseen.

    :raises ValueError: it is anything else.
    """
    body, rest = _element(der, 0x30)
    modulus, body = _element(body, 0x02)
    exponent, body = _element(body, 0x02)
    if rest or body:
        raise ValueError("trailing bytes")
    return _natural(modulus), _natural(exponent)


def _element(der: bytes, tag: int) -> tuple[bytes, bytes]:
    if len(der) < 2 or der[0] != tag:
        raise ValueError("another element")
    length, start = der[1], 2
    if length >= 0x80:
        start = 2 + (length & 0x7F)
        length = int.from_bytes(der[2:start], "big")
        if start not in (3, 4) or length < (0x80 if start == 3 else 0x100):
            raise ValueError("not a DER length")
    if len(der) < start + length:
        raise ValueError("cut short")
    return der[start : start + length], der[start + length :]


def _natural(number: bytes) -> int:
    if not number or number[0] >= 0x80 or (number[0] == 0 and b"" < number[1:2] < b"\x80"):
        raise ValueError("negative, or not as short as it can be")
    return int.from_bytes(number, "big")


# ------------------------------------------------------------------------------------------ blocks


class BlockCutter:
    """Cuts a stream into blocks of ``size`` bytes, whatever the segments were."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._held = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The blocks that are complete now."""
        held = self._held + data
        whole = len(held) - len(held) % self.size
        self._held = held[whole:]
        return [held[at : at + self.size] for at in range(0, whole, self.size)]


def open_blocks(key: openssl_rsa.RSAPrivateKey, blocks: Sequence[bytes]) -> list[str | None]:
    """The text in each block, None for one that holds no UTF-8. Takes about a millisecond a block."""
    return [_open_block(key, block) for block in blocks]


def _open_block(key: openssl_rsa.RSAPrivateKey, block: bytes) -> str | None:
    try:
        return key.decrypt(block, padding.PKCS1v15()).decode("utf-8")
    except ValueError:  # the number is not below the modulus, or the bytes are not text
        return None


def as_line(text: str) -> bytes:
    """A message as one line of the stream above; line ends inside it become spaces."""
    return text.replace("\r\n", " ").replace("\n", " ").encode("utf-8") + b"\n"


def seal_block(key: ShownKey, text: bytes) -> bytes:
    """``text``, at most ``key.room`` bytes, as a block that the script decrypts."""
    return bytes(rsa.encrypt(text, key.public))


# ------------------------------------------------------------------------------------- cutting text


def pieces(line: str, room: int) -> Iterator[bytes]:
    """``line`` in UTF-8, in pieces of at most ``room`` bytes that make the line when put together.

    Cut behind a space where the last third of a piece has one, else between two things that a reader
    sees as characters, and at the least never inside a code point. ``room`` is at least 4.
    """
    start = 0
    while True:
        end = _fitting(line, start, room)
        if end < len(line):
            end = _good_cut(line, start, end)
        yield line[start:end].encode("utf-8")
        start = end
        if start >= len(line):
            return


def _fitting(line: str, start: int, room: int) -> int:
    """The end of the longest slice from ``start`` that has at most ``room`` bytes in UTF-8."""
    encoded = line[start : start + room].encode("utf-8")[:room]
    return start + len(encoded.decode("utf-8", "ignore"))


def _good_cut(line: str, start: int, end: int) -> int:
    space = line.rfind(" ", end - (end - start) // 3, end)
    if space >= 0:
        return space + 1
    for cut in range(end, start, -1):
        if _between_characters(line, start, cut):
            return cut
    return end


def _between_characters(line: str, start: int, cut: int) -> bool:
    """Whether a reader sees a boundary there; the cases of UAX #29 that matter for cutting text."""
    before, after = line[cut - 1], line[cut]
    if after in "\u200d\u200c" or before == "\u200d" or "\U0001f3fb" <= after <= "\U0001f3ff":
        return False
    if unicodedata.category(after) in ("Mn", "Mc", "Me") or "\U000e0020" <= after <= "\U000e007f":
        return False
    if not (_is_flag_half(before) and _is_flag_half(after)):
        return True
    halves = 0
    while cut - halves > start and _is_flag_half(line[cut - halves - 1]):
        halves += 1
    return halves % 2 == 0


def _is_flag_half(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"
