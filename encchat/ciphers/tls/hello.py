"""The first bytes of a connection: what a peer that does not speak TLS 1.3 speaks instead, and alerts in
plain text, which is all that can be said before there are keys (RFC 8446, sections 4.1, 5.1 and 6).
"""

from __future__ import annotations

import re
from enum import IntEnum

#: Bytes from the beginning of a stream that tell what it is.
ENOUGH = 16

#: The ServerHello.random of a HelloRetryRequest: SHA-256 of "HelloRetryRequest" (section 4.1.3).
_RETRY = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")

_ALERT, _HANDSHAKE = 0x15, 0x16
_VERSIONS = {0x0300: "SSL 3.0", 0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2"}
_HTTP = re.compile(rb"(?:GET|HEAD|POST|PUT|DELETE|OPTIONS|TRACE|CONNECT|PATCH|PRI) ")


class Alert(IntEnum):
    """The alerts that we write ourselves (RFC 8446, section 6; RFC 7301, section 3.2)."""

    HANDSHAKE_FAILURE = 40
    CERTIFICATE_UNKNOWN = 46
    NO_APPLICATION_PROTOCOL = 120


def plain_alert(alert: Alert) -> bytes:
    """A fatal alert as an unprotected record."""
    return bytes((_ALERT, 3, 3, 0, 2, 2, alert))


def is_hello_retry(flight: bytes) -> bool:
    """Whether what a server is about to send asks for another ClientHello."""
    return flight[11:43] == _RETRY


def foreign(first: bytes) -> str | None:
    """What a stream is that begins with ``first``, in words; None if it can be TLS."""
    if first[0] in (_ALERT, _HANDSHAKE) and first[1:2] in (b"", b"\x03"):
        return None
    if first.startswith(b"-----BEGIN"):
        return "a PEM key, as the rsa cipher and the classroom script do"
    if _HTTP.match(first):
        return "an HTTP request"
    if first.startswith(b"HTTP/"):
        return "an HTTP answer"
    if first.startswith(b"SSH-"):
        return "an ssh greeting"
    if first[0] & 0x80 and first[2:3] == b"\x01":
        return "a hello of SSL 2"
    if all(byte in b"\t\n\r" or 0x20 <= byte < 0x7F for byte in first):
        return "plain text"
    return "bytes that are no TLS"


def version(first: bytes) -> str:
    """The newest version before TLS 1.3 that a hello offers or chooses: bytes 9 and 10."""
    return _VERSIONS.get(int.from_bytes(first[9:11]), "an older version")
