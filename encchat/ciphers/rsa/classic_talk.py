"""A connection in the classic profile: the peer's key, then its blocks as lines, our lines as blocks.

Above it is a stream of UTF-8 lines both ways. Blocks are decrypted in a thread, in order; what is no text
is dropped and counted, never shown. Nothing here authenticates anybody: the identity that it gives
names the key that was shown, and says so.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from functools import partial

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from encchat.ciphers.layer import CipherLayer
from encchat.ciphers.rsa import classic
from encchat.ciphers.rsa.keys import in_thread
from encchat.ciphers.rsa.talk import Talk
from encchat.core.identity import PeerIdentity
from encchat.errors import PeerError

#: Blocks that are decrypted in one go: some 15 ms of a thread.
BATCH = 16
#: Blocks that wait beyond which the peer is not read, and at which it is read again.
HIGH_WATER, LOW_WATER = 64, 16
#: Blocks in a row that hold no text beyond which a peer only makes us work.
MAX_NOISE = 100
#: Seconds between two log lines about blocks that hold no text.
LOG_PAUSE = 60.0

_BACKLOG = "backlog"


class OnlyNoise(PeerError):
    """The other side sent {blocks} blocks in a row that hold no text. Does it use the key that it was
    shown?"""

    code = "noise"


class ClassicTalk(Talk):
    """One connection in the classic profile.

    :param key: ours, for what the peer sends.
    :param shown: told the peer's key before the connection is established; sends our own key if that is
        not done, and makes the layer's transport the paced one. Raises if the key is not acceptable.
    """

    def __init__(
        self,
        layer: CipherLayer,
        key: RSAPrivateKey,
        reactor: object,
        shown: Callable[[classic.ShownKey], None],
    ) -> None:
        self._layer = layer
        self._key = key
        self._reactor = reactor
        self._shown = shown
        self._own_fingerprint = classic.key_fingerprint(key.public_key())
        self._pem: classic.PemReader | None = classic.PemReader()
        self._peer: classic.ShownKey | None = None
        self._cutter = classic.BlockCutter(key.key_size // 8)
        self._blocks: deque[bytes] = deque()
        self._held = False
        self._gone = False
        self._noise = 0
        self._dropped = 0
        self._logged: float | None = None

    def received(self, data: bytes) -> None:
        """Bytes from the peer: its key, then blocks."""
        if self._pem is not None:
            answer = self._pem.feed(data)
            if answer is None:
                return
            self._pem = None
            pem, data = answer
            self._establish(classic.read_key(pem))
        self._blocks.extend(self._cutter.feed(data))
        self._decrypt_next()

    def write(self, data: bytes) -> None:
        """Lines for the peer; the paced transport makes blocks of them when it is time."""
        assert self._layer.transport is not None
        self._layer.transport.write(data)

    def finish(self) -> bool:
        """There is nothing to say it with: the end of the stream is all that this profile has."""
        return False

    def ended(self) -> None:
        """The connection is gone."""
        self._gone = True
        self._blocks.clear()
        self._log_dropped()

    def reading(self, going_on: bool) -> None:
        """A block has no length that could stay unfinished: there is nothing to time."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What is known."""
        return {
            "profile": "classic",
            "protocol": None,
            "own_fingerprint": self._own_fingerprint,
            "peer_fingerprint": None if self._peer is None else self._peer.fingerprint,
            "th3": "",
            "stage": "key" if self._pem is not None else "blocks",
        }

    def _establish(self, key: classic.ShownKey) -> None:
        self._peer = key
        if key.fingerprint == self._own_fingerprint:
            raise classic.ClassicKeyRefused(reason="it is our own, sent back")
        self._shown(key)
        self._layer.log.info("{address}: classic peer, not authenticated")
        summary = f"rsa, classic profile, RSA-{key.bits} key {key.fingerprint}, not authenticated"
        identity = PeerIdentity(key.fingerprint, None, "rsa", summary, authenticated=False)
        self._layer.established(None, identity)

    # -------------------------------------------------------------------------------------- blocks

    def _decrypt_next(self) -> None:
        if self._blocks and not self.busy:
            batch = [self._blocks.popleft() for _ in range(min(BATCH, len(self._blocks)))]
            self.busy = True
            deferred: Deferred[list[str | None]] = in_thread(self._reactor, partial(self._open, batch))
            deferred.addCallbacks(self._decrypted, self._failed)
        if not self._held and len(self._blocks) > HIGH_WATER:
            self._held = True
            self._layer.hold(_BACKLOG)
        elif self._held and len(self._blocks) <= LOW_WATER:
            self._held = False
            self._layer.release(_BACKLOG)

    def _open(self, batch: list[bytes]) -> list[str | None]:
        """In a thread. A reactor that stops waits for its threads: what nobody waits for is not done."""
        return [] if self._gone else classic.open_blocks(self._key, batch)

    def _decrypted(self, texts: list[str | None]) -> None:
        self.busy = False
        if not self._gone:
            self._layer.guarded(self._deliver, texts)

    def _failed(self, failure: Failure) -> None:
        """Decrypting turns failures into None, so this is a fault of ours."""
        self.busy = False
        if not self._gone:
            self._layer.guarded(failure.raiseException)

    def _deliver(self, texts: list[str | None]) -> None:
        for text in texts:
            if text is None:
                self._drop()
            else:
                self._noise = 0
                self._layer.deliver(classic.as_line(text))
        self._decrypt_next()

    def _drop(self) -> None:
        self._dropped += 1
        self._noise += 1
        now = self._layer.clock.seconds()
        if self._logged is None or now - self._logged >= LOG_PAUSE:
            self._logged = now
            self._log_dropped()
        if self._noise > MAX_NOISE:
            raise OnlyNoise(blocks=self._noise)

    def _log_dropped(self) -> None:
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            self._layer.log.warn(
                "{address}: dropped {dropped} blocks that hold no text",
                dropped=dropped,
            )
