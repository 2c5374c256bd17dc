"""One connection as both its taps see it: bytes become messages above the cipher, and parts below it.

It only looks on. What it cannot read it shows as it is: a peer's error must not become one of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.python.failure import Failure

from encchat.ciphers.explaining import Explainer
from encchat.ciphers.interfaces import ISecureTransport
from encchat.errors import PeerError
from encchat.messages import MAX_PAYLOAD
from encchat.text import clean_line
from encchat.wire import FrameSplitter, UnknownMessage, decode_client, decode_server
from encchat.wiretap.seen import Began, Ended, Opened, Proved, Sealed, Seen, Wire, Witness

#: Bytes of a classic line at most that a tap holds; longer ones are shown in pieces.
MAX_LINE = 64 * 1024


class Recorder:
    """Numbers what passes, and tells the witnesses.

    :param milliseconds: the time, since 1970-01-01 UTC.
    """

    def __init__(self, witnesses: Sequence[Witness], milliseconds: Callable[[], int]) -> None:
        self._witnesses = witnesses
        self._wires = 0
        self._numbers = 0
        #: The time.
        self.now = milliseconds

    def close(self) -> None:
        """Tell the witnesses that there is no more."""
        for witness in self._witnesses:
            witness.close()

    def tell(self, seen: Seen) -> None:
        """Something passed."""
        for witness in self._witnesses:
            witness.saw(seen)

    def next_wire(self) -> int:
        """The number of a new connection."""
        self._wires += 1
        return self._wires

    def next_number(self) -> int:
        """The number of what passes now."""
        self._numbers += 1
        return self._numbers


class Watch:
    """One connection as both its taps see it."""

    def __init__(self, recorder: Recorder, cipher: str, client: bool, explainer: Explainer | None) -> None:
        self._recorder = recorder
        self._cipher = cipher
        self._client = client
        self._explainer = explainer
        self._wire: Wire | None = None
        self._readers: dict[bool, _Frames | _Lines] = {}
        #: By direction, the last message that was seen above.
        self._last = {True: 0, False: 0}

    @property
    def wire(self) -> Wire:
        """Which connection this is; there is one from ``began`` on."""
        assert self._wire is not None, "seen before it began"
        return self._wire

    def began(self, here: object, there: object) -> None:
        """The connection below is there."""
        ends = (_end(here), _end(there))
        self._wire = Wire(self._recorder.next_wire(), self._cipher, self._client, *ends)
        self._recorder.tell(Began(self._wire, self._recorder.now()))

    def proved(self, transport: ISecureTransport) -> None:
        """The handshake is complete."""
        protocol = transport.negotiatedProtocol
        for out in (True, False):
            self._readers[out] = _Lines() if protocol is None else _Frames(from_client=out is self._client)
        identity = transport.peerIdentity
        self._recorder.tell(
            Proved(
                self.wire,
                self._recorder.now(),
                None if protocol is None else protocol.decode("ascii", "replace"),
                "" if identity is None else identity.fingerprint,
                "" if identity is None else identity.summary,
            )
        )

    def opened(self, out: bool, data: bytes) -> None:
        """Plain bytes, on their way from or to the protocol above."""
        reader = self._readers.get(out)
        if reader is None:
            return
        now = self._recorder.now()
        for message in reader.feed(data):
            number = self._last[out] = self._recorder.next_number()
            self._recorder.tell(Opened(self.wire, now, number, out, *message))

    def sealed(self, out: bool, data: bytes) -> None:
        """Bytes of the network."""
        from_client = out is self._client
        parts = () if self._explainer is None else self._explainer.feed(from_client, data)
        number = self._recorder.next_number()
        self._recorder.tell(
            Sealed(self.wire, self._recorder.now(), number, out, data, tuple(parts), self._last[out])
        )

    def ended(self, reason: Failure) -> None:
        """The connection below is gone."""
        self._recorder.tell(Ended(self.wire, self._recorder.now(), clean_line(str(reason.value), 200)))


class _Frames:
    """Reads frames of one direction; from the first one that is none on, whatever comes."""

    def __init__(self, from_client: bool) -> None:
        self._decode: Callable[[bytes], Any] = decode_client if from_client else decode_server
        self._splitter: FrameSplitter | None = FrameSplitter(MAX_PAYLOAD)

    def feed(self, data: bytes) -> list[tuple[Any, ...]]:
        """What ``data`` completes: the bytes, the message and what is wrong with it."""
        if self._splitter is None:
            return [(data, None, "not a frame")]
        try:
            frames = self._splitter.feed(data)
        except PeerError as error:
            self._splitter = None
            return [(data, None, str(error))]
        return [self._read(frame) for frame in frames]

    def _read(self, frame: bytes) -> tuple[Any, ...]:
        try:
            return frame, self._decode(frame)
        except (PeerError, UnknownMessage) as error:
            return frame, None, str(error)


class _Lines:
    """Reads lines of one direction."""

    def __init__(self) -> None:
        self._held = b""

    def feed(self, data: bytes) -> list[tuple[Any, ...]]:
        """The lines that ``data`` completes, each with its end."""
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > MAX_LINE:
            lines.append(self._held)
            self._held = b""
        return [(line + b"\n",) for line in lines]


def _end(address: object) -> tuple[str, int]:
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    return (clean_line(str(host), 64), port) if host is not None and isinstance(port, int) else ("local", 0)
