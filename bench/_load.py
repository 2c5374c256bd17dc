"""The load: many members of one room in one process, as lean as Python allows.

Run as ``python -m bench._load SPEC`` with a JSON object, it connects the members, lets some of them send, and
prints a JSON object with what it saw. Every member decrypts all that it is sent, but only a few of them look
at each message: those measure latencies, and what they were sent says how many bytes every other member must
have got, as a room's messages are the same bytes for all. A message carries the time at which it was meant
to be sent; so a load that comes late, or a server that stops reading, shows in the latencies.

The CPU of the server and of the load itself is read over the same time: from the first measured message
until the last one has reached everybody.
"""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from bench._histogram import Histogram
from bench._proc import cpu_of, raise_descriptors, rss_of
from encchat import messages as m
from encchat.wire import encode

#: Digits of the time in a body, in nanoseconds.
STAMP = 20
BUFFER = 1 << 20
ROOM = "bench"
#: Members that look at each message at most, of how many one does, and members that send.
PROBES, PROBE_EVERY, SENDERS = 10, 20, 10
#: Seconds until what is on its way must have arrived.
PATIENCE = 60.0


class Spec(msgspec.Struct, frozen=True):
    """What to do."""

    port: int
    #: The server's process.
    pid: int
    #: ``encchat``, ``sealed`` or ``irc``.
    speaks: str
    cipher: str
    members: int
    #: Where the certificates of ``u0`` and so on are.
    certs: str
    #: Messages a second; 0: as many as the server takes, with ``window`` of them on their way.
    rate: float
    seconds: float
    size: int = 100
    window: int = 1000
    #: Messages that a member sends in one write: when saturating, and when paced.
    share: int = 50
    burst: int = 1
    warm_up: float = 1.0


class Failed(Exception):
    """The server did what it should not."""


def msgid() -> bytes:
    """A message's id, as our client makes them: the time first, which the server's index likes."""
    return (time.time_ns() // 1_000_000).to_bytes(6, "big") + os.urandom(10)


class EncchatSpeech:
    """What is said to a server of ours, and found in what it says."""

    alpn: tuple[str, ...] = (m.PROTOCOL,)
    room = f"+{ROOM}"
    kind = "text"
    #: The roster that a sender has seen, in a sealed room.
    roster: int | None = None

    def __init__(self, size: int) -> None:
        self.tail = size  # a frame ends with the body

    def found(self, names: list[str]) -> bytes:
        """What the first member says to make the room; nothing, where coming in does."""
        return b""

    def founded(self, data: bytes) -> bool:
        return b"\xa4sent" in data

    def hello(self, name: str) -> bytes:
        return encode(m.Hello((1,), name, "bench", "bench"))

    def welcomed(self, data: bytes) -> bool:
        return b"\xa7welcome" in data

    def join(self) -> bytes:
        return encode(m.Join(1, self.room))

    def joined(self, data: bytes) -> bool:
        return b"\xa6joined" in data

    def alive(self) -> bytes:
        return encode(m.Ping(2))

    def message(self, body: bytes) -> bytes:
        return encode(m.Send(3, self.room, msgid(), self.kind, body, self.roster))

    def split(self, data: bytearray) -> tuple[list[bytes], int]:
        """The entries in ``data``, and how much of it they and whatever else is whole take."""
        entries = []
        start, size = 0, len(data)
        unpack = struct.Struct(">I").unpack_from
        while size - start >= 4:
            end = start + 4 + unpack(data, start)[0]
            if end > size:
                break
            if data[start + 5 : start + 11] == b"\xa5entry":
                entries.append(bytes(data[start:end]))
            start = end
        return entries, start


class SealedSpeech(EncchatSpeech):
    """The same in a sealed room: all its members are in its first roster, and what they say is sealed."""

    room = f"#{ROOM}"
    kind = "sealed"
    roster = 1

    def found(self, names: list[str]) -> bytes:
        """The roster, which the server reads and whose signatures it cannot check."""
        from tests.core.relay.sealing import roster

        return encode(m.Create(4, self.room, os.urandom(16), roster(self.room, names[0], names)))


class IrcSpeech:
    """What is said to an IRC server."""

    alpn: tuple[str, ...] = ()
    room = f"#{ROOM}"

    def __init__(self, size: int) -> None:
        self.tail = size + 2

    def found(self, names: list[str]) -> bytes:
        return b""

    def hello(self, name: str) -> bytes:
        return f"NICK {name}\r\nUSER {name} 0 * :{name}\r\n".encode()

    def welcomed(self, data: bytes) -> bool:
        return b" 376 " in data or b" 422 " in data

    def join(self) -> bytes:
        return f"JOIN {self.room}\r\n".encode()

    def joined(self, data: bytes) -> bool:
        return b" 366 " in data

    def alive(self) -> bytes:
        return b"PING :x\r\n"

    def message(self, body: bytes) -> bytes:
        return b"PRIVMSG %s :%s\r\n" % (self.room.encode(), body)

    def split(self, data: bytearray) -> tuple[list[bytes], int]:
        """As above."""
        end = data.rfind(b"\n") + 1
        lines = bytes(data[:end]).split(b"\n")[:-1]
        return [line + b"\n" for line in lines if b" PRIVMSG #" in line], end


SPEECHES: dict[str, Callable[[int], Any]] = {
    "encchat": EncchatSpeech,
    "sealed": SealedSpeech,
    "irc": IrcSpeech,
}


@dataclass(slots=True, eq=False)
class Member:
    """One connection."""

    socket: socket.socket
    tls: ssl.SSLObject
    incoming: ssl.MemoryBIO
    outgoing: ssl.MemoryBIO
    #: Bytes of plain text that were received.
    received: int = 0
    probe: bool = False
    rest: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)


class Load:
    """The members, and what they have seen."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.speech = SPEECHES[spec.speaks](spec.size)
        self.members: list[Member] = []
        self.latency = Histogram()
        self.epoll = select.epoll()
        self._by_fd: dict[int, Member] = {}
        self._raw = bytearray(BUFFER)
        self._raw_view = memoryview(self._raw)
        self._plain = bytearray(BUFFER)
        #: Bytes of all members together, messages seen by the first probe, and their bytes.
        self.total = 0
        self.seen = 0
        self.seen_bytes = 0
        self.sent = 0

    # ------------------------------------------------------------------------------------ the way in

    def connect(self) -> None:
        """Bring everybody into the room."""
        count = self.spec.members
        # All at once, as InspIRCd lets newcomers in once a second.
        for number in range(count):
            self.members.append(self._connect(f"u{number}"))
        for member in self.members:
            self._wait_for(member, self.speech.welcomed)
        founding = self.speech.found([f"u{number}" for number in range(count)])
        if founding:
            self._say(self.members[0], founding)
            self._wait_for(self.members[0], self.speech.founded)
        for member in self.members:
            self._say(member, self.speech.join())
            self._wait_for(member, self.speech.joined)
        receivers = self.members[min(SENDERS, count // 2) :] if self.spec.speaks == "irc" else self.members
        probes = min(PROBES, max(1, count // PROBE_EVERY))
        self.probes = receivers[:: max(1, len(receivers) // probes)][:probes] or self.members[-1:]
        for probe in self.probes:
            probe.probe = True
        self.senders = self.members[: max(1, min(SENDERS, count // 2))]
        for member in self.members:
            member.socket.setblocking(False)
            self._by_fd[member.socket.fileno()] = member
            self.epoll.register(member.socket, select.EPOLLIN)
            self._send(member, self.speech.alive())
        self._settle()

    def _connect(self, name: str) -> Member:
        context = ssl.create_default_context(cafile=f"{self.spec.certs}/ca.pem")
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # it is the server that is measured
        context.load_cert_chain(f"{self.spec.certs}/{name}.pem", f"{self.spec.certs}/{name}.key")
        if self.speech.alpn:
            context.set_alpn_protocols(list(self.speech.alpn))
        raw = socket.create_connection(("127.0.0.1", self.spec.port))
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        member = Member(raw, context.wrap_bio(incoming, outgoing), incoming, outgoing)
        raw.settimeout(PATIENCE)
        while True:
            try:
                member.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(outgoing.read())
                self._more(member)
        self._say(member, self.speech.hello(name))
        return member

    def _more(self, member: Member) -> None:
        data = member.socket.recv(65536)
        if not data:
            raise Failed("the server closed the connection")
        member.incoming.write(data)

    def _say(self, member: Member, request: bytes) -> None:
        member.tls.write(request)
        member.socket.sendall(member.outgoing.read())

    def _wait_for(self, member: Member, answered: Callable[[bytes], bool]) -> None:
        found = b""
        while not answered(found):
            try:
                found += member.tls.read(65536)
            except ssl.SSLWantReadError:
                self._more(member)

    def _settle(self) -> None:
        """Read until nothing comes any more: the news of who came in."""
        while self.turn(0.5):
            pass
        for member in self.members:
            member.received = 0
        self.total = self.seen = self.seen_bytes = 0
        self.latency = Histogram()
        self.sent = 0

    # ---------------------------------------------------------------------------------------- turns

    def turn(self, wait: float) -> int:
        """Read what is there, waiting at most so many seconds; how many members had something."""
        events = self.epoll.poll(wait, 256)
        for fd, event in events:
            member = self._by_fd[fd]
            if event & ~select.EPOLLOUT:
                self._read(member)
            if event & select.EPOLLOUT:
                self._flush(member)
        return len(events)

    def _read(self, member: Member) -> None:
        try:
            size = member.socket.recv_into(self._raw)
        except BlockingIOError:
            return
        if not size:
            raise Failed("the server closed the connection")
        incoming, tls, plain = member.incoming, member.tls, self._plain
        incoming.write(self._raw_view[:size])
        got = 0
        while incoming.pending or tls.pending():
            try:
                read = tls.read(BUFFER, plain)
            except ssl.SSLWantReadError:
                break
            got += read
            if member.probe:
                member.rest += plain[:read]
        member.received += got
        self.total += got
        if member.probe and got:
            self._look(member)

    def _look(self, member: Member) -> None:
        entries, used = self.speech.split(member.rest)
        del member.rest[:used]
        now = time.monotonic_ns()
        tail, record = self.speech.tail, self.latency.record
        for entry in entries:
            record((now - int(entry[-tail : STAMP - tail])) // 1000)
        if member is self.probes[0]:
            self.seen += len(entries)
            self.seen_bytes += sum(map(len, entries))

    def say(self, sender: int, due: list[int]) -> None:
        """Send messages, in one write; ``due`` is when each was meant to be sent, in nanoseconds."""
        pad = b"x" * (self.spec.size - STAMP)
        message = self.speech.message
        self._send(self.senders[sender], b"".join(message(b"%020d" % at + pad) for at in due))
        self.sent += len(due)

    def _send(self, member: Member, data: bytes) -> None:
        for start in range(0, len(data), 16384):
            member.tls.write(data[start : start + 16384])
        member.unsent += member.outgoing.read()
        self._flush(member)

    def _flush(self, member: Member) -> None:
        waited = True
        while member.unsent:
            try:
                sent = member.socket.send(member.unsent)
            except BlockingIOError:
                self.epoll.modify(member.socket, select.EPOLLIN | select.EPOLLOUT)
                return
            del member.unsent[:sent]
            waited = False
        if waited or not member.unsent:
            self.epoll.modify(member.socket, select.EPOLLIN)

    # ---------------------------------------------------------------------------------------- loads

    def pace(self, seconds: float, rate: float) -> None:
        """Send ``rate`` messages a second, each at its time, whatever the server does."""
        begun = time.monotonic_ns()
        step = 1e9 / rate * self.spec.burst
        number, writes = 0, int(seconds * rate / self.spec.burst)
        while number < writes:
            now = time.monotonic_ns()
            while number < writes and (due := begun + int(number * step)) <= now:
                self.say(number % len(self.senders), [due] * self.spec.burst)
                number += 1
            left = (begun + int(number * step) - time.monotonic_ns()) / 1e9
            self.turn(max(0.0, left))

    def saturate(self, seconds: float) -> None:
        """Keep ``window`` messages on their way, as the members together have seen them."""
        end = time.monotonic() + seconds
        turn_of = 0
        window, share = self.spec.window, self.spec.share
        while time.monotonic() < end:
            while self.sent - self.arrived < window - share:
                self.say(turn_of % len(self.senders), [time.monotonic_ns()] * share)
                turn_of += 1
            self.turn(0.1)

    @property
    def arrived(self) -> float:
        """How many messages the members have got, on average, but for those who send on IRC."""
        if not self.seen:
            return 0
        others = sum(member.received for member in self.senders)
        size = self.seen_bytes / self.seen
        if self.spec.members > 2 * len(self.senders):
            return min(self.seen, (self.total - others) / size / (self.spec.members - len(self.senders)))
        return self.seen

    def drain(self) -> None:
        """Read until everybody has everything."""
        end = time.monotonic() + PATIENCE
        while self.seen < self.sent or self._behind():
            self.turn(0.01)
            if time.monotonic() > end:
                raise Failed(
                    f"{self.sent} messages were sent, {self.seen} arrived; {self._behind()} are behind"
                )

    def _behind(self) -> int:
        wanted = self.seen_bytes
        return sum(member.received < wanted for member in self.members if member not in self.senders)


def run(spec: Spec) -> dict[str, Any]:
    """Connect, warm up, measure."""
    load = Load(spec)
    load.connect()

    def once(seconds: float) -> None:
        if spec.rate:
            load.pace(seconds, spec.rate)
        else:
            load.saturate(seconds)
        load.drain()

    once(spec.warm_up)
    load._settle()
    rss = rss_of(spec.pid)
    server, own, begun = cpu_of(spec.pid), time.process_time(), time.monotonic()
    once(spec.seconds)
    server, own = cpu_of(spec.pid) - server, time.process_time() - own
    wall = time.monotonic() - begun
    echo = 0 if spec.speaks == "irc" else 1
    each = spec.members - 1 + echo
    deliveries = load.sent * each
    uneven = sum(member.received != load.seen_bytes for member in load.members if member not in load.senders)
    return {
        "messages": load.sent,
        "deliveries": deliveries,
        "wall_s": wall,
        "per_second": deliveries / wall,
        "server_cpu_s": server,
        "load_cpu_s": own,
        "us_per_delivery": server / deliveries * 1e6,
        "frame_bytes": load.seen_bytes / max(1, load.seen),
        "uneven": uneven,
        "rss_mib": rss_of(spec.pid) / 2**20,
        "rss_before_mib": rss / 2**20,
        **load.latency.summary(),
    }


def main() -> None:
    """Read the spec, do it, print what was seen."""
    raise_descriptors()
    spec = msgspec.json.decode(
        Path(sys.argv[1]).read_bytes() if sys.argv[1] != "-" else sys.stdin.read(), type=Spec
    )
    try:
        print(json.dumps(run(spec)))
    except (Failed, OSError) as error:
        print(json.dumps({"failed": str(error) or type(error).__name__}))
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
