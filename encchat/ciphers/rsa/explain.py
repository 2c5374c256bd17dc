"""The rsa cipher as the network sees it: the keys that both sides show, and then blocks and records that
only tell how long they are.

Who speaks which profile is read off the client's first byte, as the server does. Keys are shown by their
fingerprints: they are public, and that is what an observer learns.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from encchat.ciphers.explaining import Fact, Part, Stream
from encchat.ciphers.rsa import classic
from encchat.ciphers.rsa.opening import MAX_C1, find_hello, parse_hello, parse_s1
from encchat.ciphers.rsa.primitives import (
    CHUNK,
    IDENTITY_BITS,
    IDENTITY_BYTES,
    RECORD_BYTES,
    fingerprint_of,
    public_key,
)
from encchat.ciphers.rsa.records import MAX_BLOCKS
from encchat.ciphers.rsa.schedule import SIZE
from encchat.errors import EncchatError

_HEADER = 2


class RsaExplainer:
    """Both directions of one connection (``ciphers.explaining.Explainer``)."""

    def __init__(self) -> None:
        self._client, self._server = Stream(), Stream()
        self._steps = {True: self._of_client(), False: self._of_server()}
        #: Bytes of a block for each side, once its classic key was shown.
        self._block = {True: 0, False: 0}
        #: Whether the client speaks hrsa1; None until it has said anything.
        self._hardened: bool | None = None

    def feed(self, from_client: bool, data: bytes) -> Sequence[Part]:
        """The parts that ``data`` completes; of the other side too, if that waited for it."""
        (self._client if from_client else self._server).data += data
        parts = self._go_on(from_client)
        return parts + self._go_on(not from_client)

    def _go_on(self, client: bool) -> list[Part]:
        stream = self._client if client else self._server
        parts: list[Part] = []
        if not stream.lost:
            try:
                while (part := next(self._steps[client])) is not None:
                    parts.append(part)
            except (EncchatError, ValueError):  # what came is not what the profile says
                stream.lost = True
            else:
                return parts
        if stream.data:
            parts.append(stream.give_up())
        return parts

    # A direction is a generator of its parts; it yields None while the next one is not complete.

    def _of_server(self) -> Iterator[Part | None]:
        pem = yield from self._pem(self._server)
        yield self._server_key(pem)
        while self._hardened is None:
            yield None
        if not self._hardened:
            yield from self._blocks(self._server, True)
        s2 = RECORD_BYTES + IDENTITY_BYTES + SIZE
        yield from self._wait(self._server, s2)
        self._server.take(s2)
        yield Part("hrsa1 S2: a record key, a sealed secret, a proof", s2)
        yield from _records(self._server)

    def _of_client(self) -> Iterator[Part | None]:
        yield from self._wait(self._client, 1)
        self._hardened = not self._client.data.startswith(b"-")
        if not self._hardened:
            pem = yield from self._pem(self._client)
            yield self._key("classic key of the client", pem, False)
            yield from self._blocks(self._client, False)
        while (size := find_hello(bytes(self._client.data[:MAX_C1]))) is None:
            yield None
        hello = parse_hello(self._client.take(size))
        key = fingerprint_of(public_key(hello.identity, IDENTITY_BITS))
        facts: dict[str, Fact] = {"protocol": hello.protocol, "identity": key}
        yield Part("hrsa1 C1: hello with an identity and a record key", size, facts)
        yield from self._wait(self._client, IDENTITY_BYTES)
        self._client.take(IDENTITY_BYTES)
        yield Part("hrsa1 C1: a sealed secret", IDENTITY_BYTES)
        yield from self._wait(self._client, SIZE)
        self._client.take(SIZE)
        yield Part("hrsa1 C2: a proof", SIZE)
        yield from _records(self._client)

    @staticmethod
    def _wait(stream: Stream, size: int) -> Generator[None, None, None]:
        while len(stream.data) < size:
            yield None

    @staticmethod
    def _pem(stream: Stream) -> Generator[None, None, bytes]:
        while True:
            end = stream.data.find(classic.END, 0, classic.PEM_LIMIT)
            newline = stream.data.find(b"\n", end) if end >= 0 else -1
            if newline >= 0:
                return stream.take(newline + 1)
            begun = stream.data[: len(classic.BEGIN)]
            if not classic.BEGIN.startswith(begun) or len(stream.data) > classic.PEM_LIMIT:
                raise ValueError("no key")
            yield None

    def _server_key(self, pem: bytes) -> Part:
        if b"\nEncchat: " not in pem:
            return self._key("classic key of the server", pem, True)
        opening = parse_s1(pem)
        self._key("", pem, True)
        key = fingerprint_of(public_key(opening.identity, IDENTITY_BITS))
        facts: dict[str, Fact] = {"protocols": ", ".join(opening.protocols), "identity": key}
        return Part("hrsa1 S1: the server's identity, and its classic key", len(pem), facts)

    def _key(self, name: str, pem: bytes, server: bool) -> Part:
        key = classic.read_key(pem)
        self._block[server] = key.size
        return Part(name, len(pem), {"bits": key.bits, "key": key.fingerprint})

    def _blocks(self, stream: Stream, to_client: bool) -> Iterator[Part | None]:
        """Classic blocks for ever: each as large as the key of whom it is for."""
        number = 0
        while True:
            size = self._block[not to_client]
            if not size or len(stream.data) < size:
                yield None
                continue
            stream.take(size)
            yield Part("classic RSA block", size, {"number": number, "holds_up_to": size - classic.OVERHEAD})
            number += 1


def _records(stream: Stream) -> Iterator[Part | None]:
    """The records of hrsa1 for ever."""
    number = 0
    while True:
        blocks = int.from_bytes(stream.data[:_HEADER], "big") if len(stream.data) >= _HEADER else 1
        if not 1 <= blocks <= MAX_BLOCKS:
            raise ValueError("no record")
        size = _HEADER + blocks * RECORD_BYTES + SIZE
        if len(stream.data) < size:
            yield None
            continue
        stream.take(size)
        facts: dict[str, Fact] = {"number": number, "blocks": blocks, "tag": SIZE}
        yield Part("hrsa1 record", size, {**facts, "holds_up_to": blocks * CHUNK - 1})
        number += 1
