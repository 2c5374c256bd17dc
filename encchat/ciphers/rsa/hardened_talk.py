"""Drives an hrsa1 machine for a layer: thread work, records that are worth their RSA, and bounds.

What is written within one turn of the reactor is sealed together, since a record costs the same whether
its blocks are full or not. A peer that sends faster than we decrypt is not read for a while; one that
begins a record and does not end it is cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.python.failure import Failure

from encchat.ciphers.layer import CipherLayer
from encchat.ciphers.rsa.events import Data, Established, Event, Machine, PeerClosed, Work
from encchat.ciphers.rsa.keys import in_thread
from encchat.ciphers.rsa.records import MAX_DATA
from encchat.ciphers.rsa.talk import Talk
from encchat.errors import PeerError

#: Bytes that wait for a thread beyond which the peer is not read, and at which it is read again.
HIGH_WATER, LOW_WATER = 128 * 1024, 32 * 1024
#: Seconds that a peer has to send the rest of a record.
RECORD_DEADLINE = 30.0

_BACKLOG = "backlog"


class RecordTimeout(PeerError):
    """The other side began a record and did not end it within {seconds:g} seconds."""

    code = "record-timeout"


class TellingMachine(Machine, Protocol):
    """A machine, with what it knows of the connection."""

    stage: str
    own_fingerprint: str
    peer_fingerprint: str | None
    protocol: str | None
    th3_prefix: str

    @property
    def incomplete(self) -> int | None: ...


class HardenedTalk(Talk):
    """One connection in the hrsa1 profile."""

    def __init__(self, layer: CipherLayer, machine: TellingMachine, reactor: object) -> None:
        self._layer = layer
        self._machine = machine
        self._reactor = reactor
        self._unsealed = 0
        self._flushing: IDelayedCall | None = None
        self._record: int | None = None  # the one whose rest is waited for
        self._record_timer: IDelayedCall | None = None
        self._reading = True
        self._held = False
        self._gone = False
        self._facts: Mapping[str, object] = {}

    def start(self) -> None:
        """Send what opens the handshake, if it is ours to open."""
        self._machine.start()
        self._write_output()

    def received(self, data: bytes) -> None:
        """Bytes from the peer."""
        self._go_on(self._machine.receive(data))

    def write(self, data: bytes) -> None:
        """Seal ``data`` with what else is written in this turn of the reactor.

        Past a full record it is sealed at once: whoever writes until he is paused must be paused.
        """
        self._machine.send(data)
        self._unsealed += len(data)
        if self._unsealed >= MAX_DATA:
            self._flush()
        elif self._flushing is None:
            self._flushing = self._layer.clock.callLater(0, self._layer.guarded, self._flush)

    def finish(self) -> bool:
        """Send what was written, and the closing record, which the peer answers with its own."""
        self._machine.close()
        self._flush()
        return True

    def ended(self) -> None:
        """The connection is gone, and so are its keys, however long somebody keeps hold of the layer."""
        if self._gone:
            return
        self._facts = self.facts
        self._gone = True
        del self._machine
        _cancel(self._flushing)
        _cancel(self._record_timer)

    def reading(self, going_on: bool) -> None:
        """While nobody reads, the peer cannot be blamed for a record that does not end."""
        self._reading = going_on
        if not self._gone:
            self._wait_for(None)
            self._watch_record()

    @property
    def facts(self) -> Mapping[str, object]:
        """What is known."""
        if self._gone:
            return self._facts
        machine = self._machine
        return {
            "profile": "hrsa1",
            "protocol": machine.protocol,
            "own_fingerprint": machine.own_fingerprint,
            "peer_fingerprint": machine.peer_fingerprint,
            "th3": machine.th3_prefix,
            "stage": machine.stage,
        }

    # ------------------------------------------------------------------------------------- sending

    def _flush(self) -> None:
        _cancel(self._flushing)
        self._flushing = None
        self._write_output()

    def _write_output(self) -> None:
        self._unsealed = 0
        output = self._machine.take_output()
        if output and self._layer.transport is not None:
            self._layer.transport.write(output)

    # ----------------------------------------------------------------------------------- receiving

    def _go_on(self, events: list[Event]) -> None:
        # What the handshake has to say goes out before the protocol above may write or close.
        self._write_output()
        for event in events:
            match event:
                case Established(protocol, identity):
                    self._layer.log.info("{address}: handshake complete")
                    self._layer.established(protocol.encode("ascii"), identity)
                case Data(data):
                    self._layer.deliver(data)
                case PeerClosed():
                    self._layer.peerClosed()
                case Work(job):
                    self._give_away(job)
            if self._gone:  # whoever is above closed what was cut already
                return
        self._watch_backlog()
        self._watch_record()

    def _give_away(self, job: Callable[[], object]) -> None:
        """Have a thread do it, unless the connection is gone by then: a reactor that stops waits for all
        that its threads still have to do."""
        self.busy = True
        deferred: Deferred[object] = in_thread(self._reactor, lambda: None if self._gone else job())
        deferred.addCallbacks(self._worked, self._failed)

    def _worked(self, result: object) -> None:
        self.busy = False
        if not self._gone:
            self._layer.guarded(lambda: self._go_on(self._machine.work_done(result)))

    def _failed(self, failure: Failure) -> None:
        """A job turns failures into its result, so this is a fault of ours."""
        self.busy = False
        if not self._gone:
            self._layer.guarded(failure.raiseException)

    # -------------------------------------------------------------------------------------- bounds

    def _watch_backlog(self) -> None:
        backlog = self._machine.backlog
        if not self._held and backlog > HIGH_WATER:
            self._held = True
            self._layer.hold(_BACKLOG)
        elif self._held and backlog <= LOW_WATER:
            self._held = False
            self._layer.release(_BACKLOG)

    def _watch_record(self) -> None:
        record = self._machine.incomplete if self._reading else None
        if record != self._record:
            self._wait_for(record)

    def _wait_for(self, record: int | None) -> None:
        self._record = record
        _cancel(self._record_timer)
        self._record_timer = None
        if record is not None:
            self._record_timer = self._layer.clock.callLater(RECORD_DEADLINE, self._too_slow)

    def _too_slow(self) -> None:
        self._layer.fail(RecordTimeout(seconds=RECORD_DEADLINE))


def _cancel(call: IDelayedCall | None) -> None:
    if call is not None and call.active():
        call.cancel()
