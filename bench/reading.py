"""What one entry costs a client, from its bytes to its event: cut, decoded, checked against the chain, told;
and kept for the local history. Without a network and without a cipher.

    python bench/reading.py [--entries 200000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from twisted.internet.task import Clock

from encchat import messages as m
from encchat.client.chat import Chat
from encchat.client.events import Event, NewEntry
from encchat.client.network.address import Address
from encchat.client.network.trust import Trust
from encchat.client.protocol.session import Session
from encchat.client.store import Store
from encchat.client.store.keeping import Keeper
from encchat.wire import FrameSplitter, advance, encode

ROOM = "+lobby"
#: Bytes that one read of a socket gives.
CHUNK = 64 * 1024


class Told:
    """A console that counts."""

    def __init__(self) -> None:
        self.count = 0

    def happened(self, events: Sequence[Event]) -> None:
        for event in events:
            self.count += isinstance(event, NewEntry)

    def warn(self, text: str) -> None:
        raise SystemExit(text)


def stream(count: int) -> tuple[bytes, m.Position]:
    """So many entries as a server sends them, and the position after them."""
    here, frames = m.Position(), []
    for seq in range(1, count + 1):
        body = f"message {seq} of some length, as people write them when they talk".encode()
        entry = m.Entry(ROOM, seq, 1_700_000_000_000 + seq, "bob", "", "text", seq.to_bytes(16, "big"), body)
        frames.append(encode(entry))
        here = advance(here, frames[-1:])
    return b"".join(frames), here


def let_in(session: Session, head: m.Position) -> list[Event]:
    """The server lets the session in, and into the room; returns what it says of that."""
    session.opened(0.0)
    session.received(encode(m.Welcome("alice", 1, m.Limits(), "", 0, bytes(16))), 0.0)
    (join,) = (one for one in session.take(0.0) if isinstance(one, m.Join))
    joined = m.Joined(join.id, ROOM, head, m.Position(), (m.Member("alice"),))
    return list(session.received(encode(joined), 0.0))


def read(session: Session, data: bytes, told: Callable[[list[Event]], None]) -> float:
    """Feed the session as a connection does; returns the seconds of the processor that it took."""
    splitter = FrameSplitter()
    start = time.process_time()
    for at in range(0, len(data), CHUNK):
        events: list[Event] = []
        for frame in splitter.feed(data[at : at + CHUNK]):
            events += session.received(frame, 1.0)
        told(events)
    return time.process_time() - start


def rss() -> int:
    """The memory that the process holds now, in KiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


def main() -> None:
    """Measure, print, and write JSON."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--entries", type=int, default=200_000)
    options.add_argument("--json", type=Path)
    given = options.parse_args()
    data, head = stream(given.entries)
    results: dict[str, dict[str, float]] = {}

    def note(what: str, seconds: float) -> None:
        results[what] = {"seconds": seconds, "a_second": given.entries / seconds}
        print(f"{what:<40} {seconds / given.entries * 1e6:6.2f} us/entry {given.entries / seconds:10,.0f}/s")

    session = Session(m.Hello((1,), "alice"))
    session.join(ROOM, given.entries, resume=False)
    let_in(session, head)
    note("cut, decoded, checked", read(session, data, lambda events: None))
    assert session.rooms[ROOM].position == head
    for kept in (50_000, 1_000_000):
        with tempfile.TemporaryDirectory() as directory:
            store = Store.open(Path(directory))
            store.set("history", str(kept))
            clock = Clock()
            trust = Trust(store, Address("127.0.0.1", 9999), lambda: 0)
            keeper = Keeper(store, "127.0.0.1:9999", 0)
            chat = Chat(
                clock, m.Hello((1,), "alice"), trust, keeper, token=lambda: bytes(16), milliseconds=lambda: 0
            )
            chat.start(told := Told())
            chat.session.join(ROOM, given.entries, resume=False)
            chat._keeping.proved("SHA256:x", accept_log=False)
            chat.happened(let_in(chat.session, head))

            before, most = rss(), [0]

            def tell(
                events: list[Event], chat: Chat = chat, clock: Clock = clock, most: list[int] = most
            ) -> None:
                chat.happened(events)
                clock.advance(0.05)
                most[0] = max(most[0], rss())

            note(what := f"... told, the last {kept:,} kept", read(chat.session, data, tell))
            grown = most[0] - before
            results[what]["grown_kib"] = grown
            print(f"{'':<40} memory grew by {grown:,} KiB at most")
            assert told.count == given.entries
            chat.stop()
            store.close()
    if given.json is not None:
        given.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
