"""Many sessions in one process, each over a TLS connection of its own, with one key for all of them.

Run as ``python -m bench._crowd PORT FIRST COUNT SESSIONS ROOMS DIRECTORY``: COUNT of SESSIONS come in, from
number FIRST on, as ``u0`` and so on, and join their rooms. Then it prints a line and waits for one; then
each says one thing, and when everybody has what everybody in the room said, it prints a JSON line and stays
until its input ends. DIRECTORY holds the key and certificate (``tls-pin.key``, ``tls-pin.pem``).
"""

from __future__ import annotations

import json
import selectors
import socket
import ssl
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench._proc import raise_descriptors
from encchat import messages as m
from encchat.wire import FrameSplitter, decode_server, encode

#: Seconds without anything new, after which something is missing.
PATIENCE = 60.0


class Member:
    """One session."""

    __slots__ = ("heard", "joined", "line", "room", "sent", "splitter")

    def __init__(self, line: ssl.SSLSocket, room: str) -> None:
        self.line = line
        self.room = room
        self.splitter = FrameSplitter()
        self.joined = self.sent = False
        self.heard = 0


class Crowd:
    """All of them."""

    def __init__(self, port: int, first: int, count: int, sessions: int, rooms: int, keys: Path) -> None:
        self._port = port
        self._numbers = range(first, first + count)
        self._sessions, self._rooms = sessions, rooms
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._context.check_hostname = False
        self._context.verify_mode = ssl.CERT_NONE
        self._context.load_cert_chain(keys / "tls-pin.pem", keys / "tls-pin.key")
        self._context.set_alpn_protocols([m.PROTOCOL])
        self._selector = selectors.DefaultSelector()
        self._members: list[Member] = []
        self.errors = 0

    def come_in(self) -> None:
        """Everybody connects and joins."""
        for number in self._numbers:
            raw = socket.create_connection(("127.0.0.1", self._port))
            line = self._context.wrap_socket(raw)
            member = Member(line, f"+room{number % self._rooms}")
            line.sendall(encode(m.Hello((1,), f"u{number}")) + encode(m.Join(1, member.room)))
            line.setblocking(False)
            self._selector.register(line, selectors.EVENT_READ, member)
            self._members.append(member)
            # One after the other, so that there are never many on their way in.
            self._until(partial(getattr, member, "joined"))

    def wait(self) -> None:
        """Listen until there is a line on standard input."""
        self._selector.register(sys.stdin, selectors.EVENT_READ)
        while not any(key.data is None for key, _ in self._selector.select()):
            self._turn(0)
        self._selector.unregister(sys.stdin)
        sys.stdin.readline()

    def speak(self) -> None:
        """Everybody says one thing, and hears what everybody says."""
        for number, member in zip(self._numbers, self._members, strict=True):
            send = m.Send(2, member.room, number.to_bytes(16, "big"), "text", b"Hello, all of you.")
            member.line.sendall(encode(send))
            self._turn(0)
        self._until(lambda: all(one.sent and one.heard >= self._size(one) for one in self._members))

    def heard(self) -> int:
        """The entries that were heard."""
        return sum(member.heard for member in self._members)

    def _size(self, member: Member) -> int:
        return len(range(int(member.room[5:]), self._sessions, self._rooms))

    def _until(self, done: Callable[[], bool]) -> None:
        last = time.monotonic()
        while not done():
            if self._turn(1.0):
                last = time.monotonic()
            elif time.monotonic() - last > PATIENCE:
                raise SystemExit("somebody missed something")

    def _turn(self, wait: float) -> int:
        ready = self._selector.select(wait)
        for key, _ in ready:
            if key.data is not None:
                self._read(key.data)
        return len(ready)

    def _read(self, member: Member) -> None:
        while True:
            try:
                data = member.line.recv(65536)
            except (ssl.SSLWantReadError, BlockingIOError):
                return
            if not data:
                raise SystemExit("a session was closed")
            for frame in member.splitter.feed(data):
                message = decode_server(frame)
                if isinstance(message, m.Entry):
                    member.heard += 1
                elif isinstance(message, m.Joined):
                    member.joined = True
                elif isinstance(message, m.Ping):
                    member.line.sendall(encode(m.Pong(message.id)))
                elif isinstance(message, m.Sent):
                    member.sent = True
                elif isinstance(message, m.Error | m.Refused):
                    self.errors += 1
                    raise SystemExit(f"refused: {message}")


def main() -> None:
    raise_descriptors()
    port, first, count, sessions, rooms = map(int, sys.argv[1:6])
    crowd = Crowd(port, first, count, sessions, rooms, Path(sys.argv[6]))
    crowd.come_in()
    print("joined", flush=True)
    crowd.wait()
    crowd.speak()
    print(json.dumps({"heard": crowd.heard(), "errors": crowd.errors}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
