"""The load over rsa: as ``bench._load``, with Twisted and our own cipher, since no other program speaks it.

Each block costs a member's side a private operation of RSA-2048, near a millisecond: so there are few members
here, and few messages.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import msgspec
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import IHandshakeListener, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater, react
from zope.interface import implementer

from bench._histogram import Histogram
from bench._load import STAMP, EncchatSpeech, Failed, Spec
from bench._proc import cpu_of, rss_of
from encchat.ciphers.registry import client_cipher

clock: Any = reactor


@implementer(IHandshakeListener)
class Member(Protocol):
    """One connection."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.rest = bytearray()
        self.seen = 0
        self.began = Deferred[None]()
        self.answer: Deferred[None] | None = None
        self.part = b""

    def handshakeCompleted(self) -> None:  # noqa: N802 -- Twisted's
        """The server has proved its key."""
        self.began.callback(None)

    def dataReceived(self, data: bytes) -> None:  # noqa: N802 -- Twisted's
        """Frames."""
        self.rest += data
        if self.answer is not None and self.part in self.rest:
            answer, self.answer = self.answer, None
            answer.callback(None)
        entries, used = self.load.speech.split(self.rest)
        del self.rest[:used]
        self.seen += len(entries)
        now, tail = time.monotonic_ns(), self.load.speech.tail
        self.load.latency.extend((now - int(entry[-tail : STAMP - tail])) // 1000 for entry in entries)

    async def ask(self, request: bytes, part: bytes) -> None:
        """Send a request and wait for an answer that contains ``part``."""
        self.answer, self.part = Deferred(), part
        cast(Any, self.transport).write(request)
        await self.answer


class Load:
    """The members."""

    def __init__(self, spec: Spec, home: Path) -> None:
        self.spec = spec
        self.home = home
        self.speech = EncchatSpeech(spec.size)
        self.latency = Histogram()
        self.members: list[Member] = []

    async def connect(self, number: int) -> None:
        """Bring one member into the room."""
        name = f"u{number}"
        place = self.home / name
        place.mkdir(mode=0o700)
        cipher = client_cipher("rsa", place, name)
        cipher.prepare()
        cipher.start(clock)
        member = Member(self)
        factory = Factory.forProtocol(lambda: member)  # type: ignore[arg-type]  # it is called, and no more
        factory.noisy = False
        wrapped = cipher.wrap(cast(IProtocolFactory, factory), "127.0.0.1", lambda claim: None)
        await TCP4ClientEndpoint(clock, "127.0.0.1", self.spec.port).connect(wrapped)
        await member.began
        await member.ask(self.speech.hello(name), b"\xa7welcome")
        await member.ask(self.speech.join(), b"\xa6joined")
        cipher.stop()
        self.members.append(member)

    async def pace(self, seconds: float) -> int:
        """Send at the rate, each message at its time, then wait for the last; how many they were."""
        begun, step = time.monotonic_ns(), 1e9 / self.spec.rate
        messages = int(seconds * self.spec.rate)
        pad = b"x" * (self.spec.size - STAMP)
        for number in range(messages):
            due = begun + int(number * step)
            # What is due by now goes in one turn, and so over rsa into as few blocks as it can.
            if due > time.monotonic_ns():
                await deferLater(clock, max(0.0, (due - time.monotonic_ns()) / 1e9))
            sender = self.members[number % min(10, len(self.members))]
            cast(Any, sender.transport).write(self.speech.message(b"%020d" % due + pad))
        end = time.monotonic() + 60
        while any(member.seen < messages for member in self.members):
            await deferLater(clock, 0.01)
            if time.monotonic() > end:
                raise Failed("messages were lost")
        return messages


async def run(spec: Spec, home: Path) -> dict[str, Any]:
    """Connect, measure."""
    load = Load(spec, home)
    for number in range(spec.members):
        await load.connect(number)
    await deferLater(clock, 1.0)
    load.latency = Histogram()
    for member in load.members:
        member.seen = 0
    rss = rss_of(spec.pid)
    server, own, begun = cpu_of(spec.pid), time.process_time(), time.monotonic()
    messages = await load.pace(spec.seconds)
    server, own, wall = cpu_of(spec.pid) - server, time.process_time() - own, time.monotonic() - begun
    deliveries = messages * spec.members
    return {
        "messages": messages,
        "deliveries": deliveries,
        "wall_s": wall,
        "per_second": deliveries / wall,
        "server_cpu_s": server,
        "load_cpu_s": own,
        "us_per_delivery": server / deliveries * 1e6,
        "rss_mib": rss_of(spec.pid) / 2**20,
        "rss_before_mib": rss / 2**20,
        **load.latency.summary(),
    }


def main() -> None:
    """Read the spec, do it, print what was seen."""
    spec = msgspec.json.decode(sys.stdin.read(), type=Spec)

    async def go() -> None:
        with tempfile.TemporaryDirectory(prefix="encchat-bench-") as home:
            try:
                print(json.dumps(await run(spec, Path(home))))
            except (Failed, OSError) as error:
                print(json.dumps({"failed": str(error) or type(error).__name__}))

    react(lambda _: Deferred.fromCoroutine(go()))


if __name__ == "__main__":
    main()
