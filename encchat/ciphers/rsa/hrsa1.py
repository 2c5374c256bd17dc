"""The hrsa1 profile as two pure state machines: bytes in, events and bytes out.

    client                                         server
                          <- S1    what I speak, who I am; K for the classroom script
    C1  hello, KEX_C      ->       what I want, who I am; a secret that only I_S can read
                          <- S2    E_S, KEX_S, FIN_S: my secret for I_C, and proof that I read yours
    C2  FIN_C, records    ->       proof that I read yours
                          <- records

Identity keys (I) sign nothing: each side proves its own by reading the other's secret. Record keys (E) carry
the data and are forgotten, which gives forward secrecy. Randomness, encryption and the judgement of the
server come as arguments; what takes milliseconds is given away as ``Work`` (see ``events``); time-outs,
who may come in, and closing are the layer's.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from encchat.ciphers.rsa.events import Event
from encchat.ciphers.rsa.failures import HandshakeFailed
from encchat.ciphers.rsa.machine import End, Entropy, State, Table
from encchat.ciphers.rsa.opening import (
    MAX_C1,
    MAX_S1,
    build_hello,
    build_s1,
    find_hello,
    find_s1,
    parse_hello,
    parse_s1,
)
from encchat.ciphers.rsa.primitives import (
    IDENTITY_BITS,
    IDENTITY_BYTES,
    RECORD_BITS,
    RECORD_BYTES,
    Encrypt,
    decrypt,
    encrypt,
    fingerprint_of,
    modulus,
)
from encchat.ciphers.rsa.records import Opener, Sealer
from encchat.ciphers.rsa.schedule import (
    SIZE,
    TO_CLIENT,
    TO_SERVER,
    Schedule,
    client_label,
    first_transcript,
    second_transcript,
    server_label,
    third_transcript,
)

#: What our peers speak above this profile.
PROTOCOLS = ("encchat/1",)

#: Given the server's fingerprint, returns or raises the error that the connection shall fail with.
Judge: TypeAlias = Callable[[str], None]

SERVER: Table = {
    (State.NEW, "start"): State.AWAIT_C1,
    (State.AWAIT_C1, "C1"): State.KEX,
    (State.KEX, "secret"): State.AWAIT_C2,
    (State.AWAIT_C2, "C2"): State.OPEN,
    (State.OPEN, "close record"): State.PEER_CLOSED,
}

CLIENT: Table = {
    (State.NEW, "start"): State.AWAIT_S1,
    (State.AWAIT_S1, "S1"): State.AWAIT_S2,
    (State.AWAIT_S2, "S2"): State.KEX,
    (State.KEX, "secret"): State.OPEN,
    (State.OPEN, "close record"): State.PEER_CLOSED,
}


@dataclass(frozen=True, slots=True)
class ServerKeys:
    """What a server shows and proves in one connection."""

    #: I_S, long-lived, 3072 bits.
    identity: RSAPrivateKey = field(repr=False)
    #: E_S, the current record key, 2048 bits; shared by the sessions of some minutes.
    record: RSAPrivateKey = field(repr=False)
    #: K, for classic peers only.
    classic: RSAPublicKey = field(repr=False)


class ServerMachine(End):
    """The server's end of one connection.

    :param keys: the server's keys, as they are at this moment.
    :param offered: the protocols above, at most four.
    :param entropy: gives random bytes; for tests.
    :param encrypt: OAEP encryption; for tests.
    """

    def __init__(
        self,
        keys: ServerKeys,
        offered: Sequence[str] = PROTOCOLS,
        *,
        entropy: Entropy = os.urandom,
        encrypt: Encrypt = encrypt,
    ) -> None:
        super().__init__(SERVER, keys.identity, keys.record, entropy, encrypt)
        self._offered = tuple(offered)
        self._schedule: Schedule | None = None
        #: The opening, which classic peers read as well.
        self.s1 = build_s1(self._offered, keys.identity.public_key(), keys.classic)

    def start(self) -> None:
        """Open: S1 is to be sent."""
        self._advance("start")
        self._output += self.s1

    def _step(self, events: list[Event]) -> bool:
        if self._state is State.AWAIT_C1:
            return self._read_c1(events)
        if self._state is State.AWAIT_C2:
            return self._read_c2(events)
        return self._step_records(events)

    def _read_c1(self, events: list[Event]) -> bool:
        size = find_hello(self._peek(MAX_C1))
        if size is None or len(self._buffer) < size + IDENTITY_BYTES:
            return False
        hello = parse_hello(self._take(size))
        kex_c = self._take(IDENTITY_BYTES)
        if hello.protocol not in self._offered:
            raise HandshakeFailed(
                stage="C1 protocol", reason=f"we do not speak {hello.protocol}; one side is too old"
            )
        self.protocol = hello.protocol
        self._peer = self._peer_key("C1 identity", hello.identity, IDENTITY_BITS)
        self._peer_record = self._peer_key("C1 record key", hello.record, RECORD_BITS)
        self.peer_fingerprint = fingerprint_of(self._peer)
        self._not_our_own("C1 own key", hello.identity)
        self._nothing_else()
        th1 = first_transcript(self.s1, hello.raw)
        self._th2 = second_transcript(th1, kex_c)
        self._advance("C1")
        self._order(partial(decrypt, self._identity, kex_c, client_label(th1)), self._answer, events)
        return True

    def _answer(self, result: object, events: list[Event]) -> None:
        """KEX_C was decrypted. If that failed we go on with a secret that nobody has, so that the peer
        learns no more than that its handshake fails (as RFC 5246, section 7.4.7.1, does)."""
        fallback = self._entropy(SIZE)
        client_secret = result if isinstance(result, bytes) and len(result) == SIZE else fallback
        server_secret = self._entropy(SIZE)
        kex_s = self._encrypt(self._peer, server_secret, server_label(self._th2))
        record_modulus = modulus(self._record.public_key())
        th3 = third_transcript(self._th2, record_modulus, kex_s)
        self._schedule = self._derive(th3, client_secret, server_secret)
        self._output += record_modulus + kex_s + self._schedule.server_proof()
        self._advance("secret")

    def _read_c2(self, events: list[Event]) -> bool:
        if len(self._buffer) < SIZE:
            return False
        assert self._schedule is not None
        if not hmac.compare_digest(self._take(SIZE), self._schedule.client_proof()):
            raise HandshakeFailed(stage="C2 FIN_C", reason="the client has not proved its key")
        self._advance("C2")
        sealer = Sealer(self._schedule, TO_CLIENT, self._peer_record, self._encrypt)
        opener = Opener(self._schedule, TO_SERVER)
        self._schedule = None
        self._open(sealer, opener, events)
        return True


class ClientMachine(End):
    """The client's end of one connection.

    :param identity: I_C, long-lived, 3072 bits.
    :param record_key: E_C, 2048 bits, made for this connection alone.
    :param judge: told the server's fingerprint before anything is sent; raises what the connection shall
        fail with, and that error passes through untouched.
    :param wanted: the protocols above, best first.
    :param entropy: gives random bytes; for tests.
    :param encrypt: OAEP encryption; for tests.
    """

    def __init__(
        self,
        identity: RSAPrivateKey,
        record_key: RSAPrivateKey,
        judge: Judge,
        wanted: Sequence[str] = PROTOCOLS,
        *,
        entropy: Entropy = os.urandom,
        encrypt: Encrypt = encrypt,
    ) -> None:
        super().__init__(CLIENT, identity, record_key, entropy, encrypt)
        self._judge = judge
        self._wanted = tuple(wanted)

    def start(self) -> None:
        """Wait for the server to open."""
        self._advance("start")

    def _step(self, events: list[Event]) -> bool:
        if self._state is State.AWAIT_S1:
            return self._read_s1()
        if self._state is State.AWAIT_S2:
            return self._read_s2(events)
        return self._step_records(events)

    def _read_s1(self) -> bool:
        size = find_s1(self._peek(MAX_S1))
        if size is None:
            return False
        opening = parse_s1(self._take(size))
        self._nothing_else()
        peer = self._peer_key("S1 identity", opening.identity, IDENTITY_BITS)
        self.peer_fingerprint = fingerprint_of(peer)
        self.stage = "S1 pin"
        self._judge(self.peer_fingerprint)
        self._not_our_own("S1 own key", opening.identity)
        self.protocol = next((name for name in self._wanted if name in opening.protocols), None)
        if self.protocol is None:
            offer = ", ".join(opening.protocols)
            raise HandshakeFailed(
                stage="S1 protocol", reason=f"the server speaks only {offer}; one side is too old"
            )
        hello = build_hello(self.protocol, self._identity.public_key(), self._record.public_key())
        th1 = first_transcript(opening.raw, hello)
        self._client_secret = self._entropy(SIZE)
        kex_c = self._encrypt(peer, self._client_secret, client_label(th1))
        self._th2 = second_transcript(th1, kex_c)
        self._output += hello + kex_c
        self._advance("S1")
        return True

    def _read_s2(self, events: list[Event]) -> bool:
        if len(self._buffer) < RECORD_BYTES + IDENTITY_BYTES + SIZE:
            return False
        record_modulus = self._take(RECORD_BYTES)
        kex_s = self._take(IDENTITY_BYTES)
        self._server_proof = self._take(SIZE)
        self._nothing_else()
        self._peer_record = self._peer_key("S2 record key", record_modulus, RECORD_BITS)
        self._th3 = third_transcript(self._th2, record_modulus, kex_s)
        self._advance("S2")
        self._order(partial(decrypt, self._identity, kex_s, server_label(self._th2)), self._finish, events)
        return True

    def _finish(self, result: object, events: list[Event]) -> None:
        """KEX_S was decrypted; if that failed, the proof fails as any wrong one does."""
        fallback = self._entropy(SIZE)
        server_secret = result if isinstance(result, bytes) and len(result) == SIZE else fallback
        schedule = self._derive(self._th3, self._client_secret, server_secret)
        if not hmac.compare_digest(self._server_proof, schedule.server_proof()):
            raise HandshakeFailed(stage="S2 FIN_S", reason="the server has not proved its key")
        self._output += schedule.client_proof()
        self._advance("secret")
        sealer = Sealer(schedule, TO_SERVER, self._peer_record, self._encrypt)
        self._client_secret = b""
        self._open(sealer, Opener(schedule, TO_CLIENT), events)
