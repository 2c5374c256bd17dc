"""TLS as the network sees it: records with their type and length, and the two hellos, which are in the
clear (RFC 8446, sections 4 and 5). Everything after the ServerHello is one kind of record, whatever is in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from encchat.ciphers.explaining import Fact, Part, Stream
from encchat.ciphers.tls.hello import is_hello_retry

#: Bytes of a record's header, and of its content at most (section 5.2).
HEADER, MAX_RECORD = 5, 16_384 + 256
#: What a protected record is longer than its text: the true type, and the tag of AES-GCM or ChaCha20.
OVERHEAD = 17

_CHANGE, _ALERT, _HANDSHAKE, _DATA = 20, 21, 22, 23
_TYPES = {_CHANGE: "change cipher spec", _ALERT: "alert", _HANDSHAKE: "handshake", _DATA: "protected record"}
_VERSIONS = {0x0301: "TLS 1.0", 0x0302: "TLS 1.1", 0x0303: "TLS 1.2", 0x0304: "TLS 1.3"}
_SUITES = {0x1301: "AES-128-GCM", 0x1302: "AES-256-GCM", 0x1303: "ChaCha20-Poly1305"}
_GROUPS = {0x001D: "X25519", 0x0017: "P-256", 0x0018: "P-384", 0x11EC: "X25519MLKEM768"}
_SNI, _ALPN, _SUPPORTED, _KEY_SHARE = 0, 16, 43, 51


class TlsExplainer:
    """Both directions of one connection (``ciphers.explaining.Explainer``)."""

    def __init__(self) -> None:
        self._streams = {True: Stream(), False: Stream()}

    def feed(self, from_client: bool, data: bytes) -> Sequence[Part]:
        """The records that ``data`` completes."""
        stream = self._streams[from_client]
        stream.data += data
        parts: list[Part] = []
        while not stream.lost and len(stream.data) >= HEADER:
            kind, size = stream.data[0], int.from_bytes(stream.data[3:HEADER], "big")
            if kind not in _TYPES or stream.data[1] != 3 or size > MAX_RECORD:
                break
            if len(stream.data) < HEADER + size:
                return parts
            parts.append(_record(kind, from_client, stream.take(HEADER + size)))
        if stream.data and (stream.lost or len(stream.data) >= HEADER):
            parts.append(stream.give_up())
        return parts


def _record(kind: int, from_client: bool, record: bytes) -> Part:
    facts: dict[str, Fact] = {"type": kind, "version": record[1:3].hex(), "length": len(record) - HEADER}
    name = _TYPES[kind]
    content = record[HEADER:]
    if kind == _DATA:
        facts["hides"] = max(0, len(content) - OVERHEAD)
    elif kind == _ALERT and len(content) == 2:
        facts["alert"] = content[1]
    elif kind == _HANDSHAKE:
        try:
            name, told = _hello(from_client, record)
            facts = {**told, **facts}
        except ValueError:
            name = "handshake, malformed"
    return Part(f"TLS {name}", len(record), facts)


def _hello(from_client: bool, record: bytes) -> tuple[str, dict[str, Fact]]:
    """What a hello says to everybody.

    :raises ValueError: it is none.
    """
    reader = _Reader(record[HEADER:])
    kind, body = reader.number(1), _Reader(reader.block(3))
    if kind != (1 if from_client else 2):
        raise ValueError("no hello")
    body.take(2 + 32)  # an old version, and the random
    body.block(1)
    if from_client:
        suites = [int.from_bytes(pair, "big") for pair in body.many(2, 2)]
        body.block(1)
        return "ClientHello", {**_offered(body), "suites": _named(suites, _SUITES)}
    suite = body.number(2)
    body.take(1)
    name = "HelloRetryRequest" if is_hello_retry(record) else "ServerHello"
    return name, {"suite": _name(suite, _SUITES), **_chosen(body)}


def _offered(body: _Reader) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for kind, data in body.extensions():
        if kind == _SNI:
            names = _Reader(data.block(2))
            names.take(1)
            facts["server_name"] = names.block(2).decode("ascii", "replace")
        elif kind == _ALPN:
            protocols = _Reader(data.block(2))
            facts["protocols"] = ", ".join(p.decode("ascii", "replace") for p in protocols.blocks(1))
        elif kind == _SUPPORTED:
            facts["versions"] = _named([int.from_bytes(v, "big") for v in data.many(1, 2)], _VERSIONS)
        elif kind == _KEY_SHARE:
            shares, groups = _Reader(data.block(2)), []
            while shares.left:
                groups.append(shares.number(2))
                shares.block(2)
            facts["groups"] = _named(groups, _GROUPS)
    return facts


def _chosen(body: _Reader) -> dict[str, Fact]:
    facts: dict[str, Fact] = {}
    for kind, data in body.extensions():
        if kind == _SUPPORTED:
            facts["chosen_version"] = _name(data.number(2), _VERSIONS)
        elif kind == _KEY_SHARE:
            facts["group"] = _name(data.number(2), _GROUPS)
    return facts


def _named(numbers: Sequence[int], names: dict[int, str]) -> str:
    return ", ".join(_name(number, names) for number in numbers[:8])


def _name(number: int, names: dict[int, str]) -> str:
    return names.get(number, f"0x{number:04x}")


class _Reader:
    """Takes TLS's vectors apart (RFC 8446, section 3.4).

    Every method raises ValueError when there is not enough.
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        if size > self.left:
            raise ValueError("cut short")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def block(self, size: int) -> bytes:
        """A vector whose length has ``size`` bytes."""
        return self.take(self.number(size))

    def blocks(self, size: int) -> Iterator[bytes]:
        """All vectors to the end."""
        while self.left:
            yield self.block(size)

    def many(self, size: int, each: int) -> list[bytes]:
        """A vector of things of ``each`` bytes."""
        inner = _Reader(self.block(size))
        return [inner.take(each) for _ in range(inner.left // each)]

    def extensions(self) -> Iterator[tuple[int, _Reader]]:
        """The type and data of each extension."""
        inner = _Reader(self.block(2))
        while inner.left:
            kind = inner.number(2)
            yield kind, _Reader(inner.block(2))
