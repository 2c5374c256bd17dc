"""A server made for the tests of the client: it speaks encchat/1 from memory, and misbehaves on order.

Pure: ``FakeServer`` holds the rooms; each ``FakeLink`` is one connection: frames of the client go into
``feed``, frames for it are found in ``out``.
"""

from __future__ import annotations

from collections.abc import Sequence

from encchat import messages as m
from encchat.core.words import matches, words_of
from encchat.wire import advance, decode_client, encode


class FakeRoom:
    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.positions = [m.Position()]
        self.seqs: dict[tuple[str, bytes], int] = {}
        self.topic = ""

    @property
    def head(self) -> m.Position:
        return self.positions[-1]


class FakeServer:
    """``refuse`` maps (kind of request) to (code, wait): such requests are answered with that error."""

    def __init__(self, log: bytes = b"L" * 16, limits: m.Limits | None = None) -> None:
        self.log = log
        self.limits = limits or m.Limits()
        self.rooms: dict[str, FakeRoom] = {}
        self.links: list[FakeLink] = []
        self.refuse: dict[type, tuple[str, int]] = {}
        self.motd = ""

    def room(self, name: str) -> FakeRoom:
        return self.rooms.setdefault(name, FakeRoom())

    def connect(self) -> FakeLink:
        link = FakeLink(self)
        self.links.append(link)
        return link

    def append(self, name: str, sender: str, kind: str, msgid: bytes, body: bytes) -> int:
        """Store an entry once, and tell it to everybody in the room."""
        room = self.room(name)
        known = room.seqs.get((sender, msgid))
        if known is not None:
            return known
        seq = len(room.frames) + 1
        frame = encode(m.Entry(name, seq, 1_700_000_000_000 + seq, sender, "", kind, msgid, body))
        room.frames.append(frame)
        room.positions.append(advance(room.head, [frame]))
        room.seqs[sender, msgid] = seq
        for link in self.links:
            if name in link.inside:
                link.out.append(frame)
        return seq

    def say(self, name: str, text: str, sender: str = "bob") -> int:
        """Somebody else says something."""
        number = len(self.room(name).frames)
        return self.append(name, sender, "text", number.to_bytes(16, "big"), text.encode())


class FakeLink:
    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.out: list[bytes] = []
        self.received: list[m.ClientMessage] = []
        self.inside: set[str] = set()
        self.name = ""
        self.closed = False

    def feed(self, messages: Sequence[m.ClientMessage]) -> None:
        """What the client sent; encoded and decoded on the way, as the wire would."""
        for message in messages:
            self.feed_frame(encode(message))

    def feed_frame(self, frame: bytes) -> None:
        message = decode_client(frame)
        self.received.append(message)
        refused = self.server.refuse.get(type(message))
        if refused is not None:
            self.answer(m.Error(getattr(message, "id", 0), refused[0], "no", refused[1]))
            return
        handler = getattr(self, "on_" + type(message).__name__.lower(), None)
        if handler is not None:
            handler(message)

    def answer(self, *messages: m.ServerMessage) -> None:
        self.out.extend(encode(message) for message in messages)

    def drain(self) -> list[bytes]:
        out, self.out = self.out, []
        return out

    def cut(self) -> None:
        self.closed = True
        if self in self.server.links:
            self.server.links.remove(self)

    def on_hello(self, message: m.Hello) -> None:
        self.name = message.name
        server = self.server
        self.answer(m.Welcome(message.name, 1, server.limits, server.motd, 0, server.log, "fake"))

    def on_join(self, message: m.Join) -> None:
        room = self.server.room(message.room)
        if message.after is not None:
            if message.after.seq > room.head.seq:
                self.answer(m.Error(message.id, "unknown-position", "There is no such entry."))
                return
            if room.positions[message.after.seq] != message.after:
                self.answer(m.Error(message.id, "wrong-chain", "Your copy differs."))
                return
            start = message.after
        else:
            start = room.positions[max(0, room.head.seq - message.history)]
        self.inside.add(message.room)
        members = (m.Member(self.name), m.Member("bob"))
        self.answer(m.Joined(message.id, message.room, room.head, start, members, room.topic))
        self.out.extend(room.frames[start.seq :])

    def on_part(self, message: m.Part) -> None:
        self.inside.discard(message.room)
        self.answer(m.Done(message.id))

    def on_send(self, message: m.Send) -> None:
        if not message.room:  # to everybody, which tests answer themselves
            return
        if message.room not in self.inside:
            self.answer(m.Error(message.id, "not-in-room", "join it first"))
            return
        seq = self.server.append(message.room, self.name, message.kind, message.msgid, message.body)
        self.answer(m.Sent(message.id, seq, 1_700_000_000_000 + seq))

    def on_topic(self, message: m.Topic) -> None:
        body = message.topic.encode()
        seq = self.server.append(message.room, self.name, "topic", message.msgid, body)
        self.answer(m.Sent(message.id, seq, 0))

    def on_read(self, message: m.Read) -> None:
        room = self.server.room(message.room)
        if message.before:
            end = min(message.before - 1, room.head.seq)
            start = max(0, end - message.limit)
            more = start > 0
        else:
            start = min(message.after, room.head.seq)
            end = min(start + message.limit, room.head.seq)
            more = end < room.head.seq
        page = m.Page(message.id, message.room, room.positions[start], tuple(room.frames[start:end]), more)
        self.answer(page)

    def on_search(self, message: m.Search) -> None:
        room = self.server.room(message.room)
        end = min(message.before or room.head.seq + 1, room.head.seq + 1)
        seqs = [n for n in range(1, end) if matches(room.frames[n - 1], words_of(message.words))]
        seqs, earlier = seqs[-message.limit :], seqs[: -message.limit]
        reached = seqs[0] if earlier else 1
        frames = tuple(room.frames[n - 1] for n in seqs)
        self.answer(m.Found(message.id, message.room, frames, reached, bool(earlier)))

    def on_who(self, message: m.Who) -> None:
        self.answer(m.Members(message.id, message.room, (m.Member(self.name), m.Member("guest-1", True))))

    def on_rooms(self, message: m.Rooms) -> None:
        infos = [m.RoomInfo(name, 1, len(r.frames), r.topic) for name, r in self.server.rooms.items()]
        self.answer(m.RoomList(message.id, tuple(infos)))

    def on_whois(self, message: m.Whois) -> None:
        self.answer(m.Profile(message.id, message.name, "SHA256:x", 0, False, True, False, ("+lobby",)))

    def on_ping(self, message: m.Ping) -> None:
        self.answer(m.Pong(message.id))

    def on_bye(self, message: m.Bye) -> None:
        self.cut()
