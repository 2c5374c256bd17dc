"""What both ends of hrsa1 have in common: the buffer, the work, the records, and failing for good.

An end goes on by one message at a time, as its table of states allows. A refusal is raised as soon as
nothing that came before it is still to be told; otherwise it follows as a ``Work`` of its own, so that the
order of events never depends on how the stream was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from functools import partial
from typing import TypeAlias, cast

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey

from encchat.ciphers.rsa.events import Data, Established, Event, PeerClosed, Work
from encchat.ciphers.rsa.failures import HandshakeFailed, RecordRefused, Truncated
from encchat.ciphers.rsa.primitives import IDENTITY_BITS, Encrypt, fingerprint_of, modulus, public_key
from encchat.ciphers.rsa.records import Decrypted, Opener, Sealer, decrypt_batch
from encchat.ciphers.rsa.schedule import Schedule
from encchat.core.identity import PeerIdentity
from encchat.errors import EncchatError

#: The most bytes that may wait for work; a layer that stops reading at a reasonable bound never gets here.
MAX_BACKLOG = 4 << 20

#: Gives so many random bytes.
Entropy: TypeAlias = Callable[[int], bytes]


class State(Enum):
    """What a machine waits for. The value is the stage that a log shows."""

    NEW = "not started"
    AWAIT_S1 = "S1"
    AWAIT_C1 = "C1"
    AWAIT_S2 = "S2"
    KEX = "KEX"
    AWAIT_C2 = "C2"
    OPEN = "records"
    PEER_CLOSED = "closed"


#: What may happen in which state, and where it leads; anything else is a bug of the caller.
Table: TypeAlias = Mapping[tuple[State, str], State]


class End:
    """What both ends have in common: the buffer, the work, the records, and failing for good."""

    def __init__(
        self, table: Table, identity: RSAPrivateKey, record: RSAPrivateKey, entropy: Entropy, encrypt: Encrypt
    ) -> None:
        self._table = table
        self._identity = identity
        self._own_modulus = modulus(identity.public_key())
        self._record = record
        self._entropy = entropy
        self._encrypt = encrypt
        self._state = State.NEW
        #: Where the handshake or the stream is, or where it failed.
        self.stage = State.NEW.value
        #: The fingerprint of our own identity.
        self.own_fingerprint = fingerprint_of(identity.public_key())
        #: The peer's, as it claims until ``Established``; None before it did.
        self.peer_fingerprint: str | None = None
        #: The protocol that was agreed on; None before.
        self.protocol: str | None = None
        #: The first 8 bytes of TH3 in hex, the same in both ends' logs; empty before there is one.
        self.th3_prefix = ""
        self._buffer = bytearray()
        self._output = bytearray()
        self._sealer: Sealer | None = None
        self._opener: Opener | None = None
        self._then: Callable[[object, list[Event]], None] | None = None
        self._failure: EncchatError | None = None
        self._ended = False

    # ------------------------------------------------------------------------------ for the layer

    @property
    def backlog(self) -> int:
        """Bytes held that wait for work; the layer stops reading below past a bound."""
        return 0 if self._then is None or self._opener is None else len(self._opener)

    @property
    def incomplete(self) -> int | None:
        """The number of the record that has begun to arrive and is not whole; None if there is none. A
        layer ends a connection on which one stays for too long."""
        if self._then is not None or self._opener is None or not len(self._opener):
            return None
        return self._opener.sequence

    def receive(self, data: bytes) -> list[Event]:
        """Take bytes from the peer.

        :raises PeerError: it broke the protocol; from here on every call fails in the same way.
        :raises RefusedError: it cannot be trusted (also whatever the client's judge raises).
        """
        self._usable()
        return self._run(partial(self._feed, data))

    def work_done(self, result: object) -> list[Event]:
        """Take what the job of the last ``Work`` returned; raises as ``receive`` does."""
        self._usable()
        if self._then is None:
            raise RuntimeError("work_done without work")
        then, self._then = self._then, None
        return self._run(partial(then, result))

    def eof(self) -> list[Event]:
        """The stream has ended; raises as ``receive`` does, once all that was received is told.

        :raises Truncated: it ended without the peer's close.
        """
        self._usable()
        self._ended = True
        return self._run()

    def send(self, data: bytes) -> None:
        """Protect ``data``: it is in the next ``take_output``, which packs what was sent together."""
        if self._failure is None:
            if self._sealer is None:
                raise RuntimeError("send before Established")
            self._sealer.write(data)

    def close(self) -> None:
        """Tell the peer that we close, if the handshake is complete; sends after it are dropped."""
        if self._sealer is not None:
            self._sealer.finish()

    def take_output(self) -> bytes:
        """What is to be written to the peer now. Encrypting takes about 45 µs for every 190 bytes."""
        output = bytes(self._output)
        self._output.clear()
        return output + self._sealer.take() if self._sealer is not None else output

    # ----------------------------------------------------------------------------- for the two ends

    def _step(self, events: list[Event]) -> bool:
        """Go on by one message, if it is there."""
        raise NotImplementedError  # abstract

    def _advance(self, what: str) -> None:
        following = self._table.get((self._state, what))
        if following is None:
            raise RuntimeError(f"{what} in state {self._state.name}")
        self._state = following
        self.stage = following.value

    def _order(
        self, job: Callable[[], object], then: Callable[[object, list[Event]], None], events: list[Event]
    ) -> None:
        events.append(Work(job))
        self._then = then

    def _take(self, size: int) -> bytes:
        taken = bytes(self._buffer[:size])
        del self._buffer[:size]
        return taken

    def _peek(self, size: int) -> bytes:
        return bytes(self._buffer[:size])

    def _nothing_else(self) -> None:
        """Until we have answered, the peer cannot have anything more to say."""
        if self._buffer:
            raise HandshakeFailed(
                stage=f"after {self.stage}", reason="the other side sent more than the protocol allows"
            )

    def _peer_key(self, stage: str, sent: bytes, bits: int) -> RSAPublicKey:
        try:
            return public_key(sent, bits)
        except ValueError as error:
            raise HandshakeFailed(stage=stage, reason=f"the other side's key is unusable: {error}") from None

    def _not_our_own(self, stage: str, sent: bytes) -> None:
        if sent == self._own_modulus:
            raise HandshakeFailed(stage=stage, reason="the other side shows our own key as its own")

    def _derive(self, th3: bytes, client_secret: bytes, server_secret: bytes) -> Schedule:
        self.th3_prefix = th3[:8].hex()
        return Schedule(th3, client_secret, server_secret)

    def _open(self, sealer: Sealer, opener: Opener, events: list[Event]) -> None:
        """The handshake is complete."""
        assert self.protocol is not None
        assert self.peer_fingerprint is not None
        peer = self.peer_fingerprint
        opener.feed(self._take(len(self._buffer)))
        self._sealer, self._opener = sealer, opener
        identity = PeerIdentity(peer, None, "rsa", f"rsa, hrsa1 profile, RSA-{IDENTITY_BITS} key {peer}")
        events.append(Established(self.protocol, identity))

    # -------------------------------------------------------------------------------------- records

    def _step_records(self, events: list[Event]) -> bool:
        assert self._opener is not None
        if self._state is State.PEER_CLOSED:
            if len(self._opener):
                raise RecordRefused(stage="closed", reason="there is more after the closing record")
            return False
        batch = self._opener.next_batch()
        if batch:
            self._order(partial(decrypt_batch, self._record, batch), self._opened, events)
        return bool(batch)

    def _opened(self, result: object, events: list[Event]) -> None:
        assert self._opener is not None
        for record in cast(Decrypted, result):
            if self._state is State.PEER_CLOSED:
                raise RecordRefused(stage="closed", reason="there is more after the closing record")
            plain = self._opener.opened(record)
            if plain.closes:
                self._advance("close record")
                events.append(PeerClosed())
            elif plain.data:
                events.append(Data(plain.data))

    # -------------------------------------------------------------------------------------- running

    def _feed(self, data: bytes, events: list[Event]) -> None:
        if self._opener is not None:
            if len(self._opener) + len(data) > MAX_BACKLOG:
                raise RecordRefused(stage=self.stage, reason="it came faster than it can be opened")
            self._opener.feed(data)
        else:
            self._buffer += data
            if self._then is not None:
                self._nothing_else()

    def _run(self, first: Callable[[list[Event]], None] | None = None) -> list[Event]:
        events: list[Event] = []
        try:
            if first is not None:
                first(events)
            while self._then is None and self._step(events):
                pass
            if self._ended and self._then is None and self._state is not State.PEER_CLOSED:
                raise Truncated(stage=self.stage)
        except EncchatError as error:
            self._fail(error)
            if not events:
                raise
            # What came before in the stream is told before; the layer comes back for the failure.
            events.append(Work(lambda: None))
        return events

    def _usable(self) -> None:
        if self._failure is not None:
            raise self._failure
        if self._state is State.NEW:
            raise RuntimeError("not started")

    def _fail(self, error: EncchatError) -> None:
        self.stage = str(error.facts.get("stage", self.stage))
        self._failure = error
        self._then = None
        self._buffer.clear()
        self._output.clear()
        self._sealer = self._opener = None
