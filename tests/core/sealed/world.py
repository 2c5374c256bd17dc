"""An untrusted server in memory, and people with vaults: everything in the test's hand.

The server does what the real one does with keys, mail and rooms, without asking who may: a test that is
to be hostile changes its tables or overrides a method. A person carries out what the vault asks for as a
client does, and keeps an ordered list of what is shown.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from encchat.core.sealed import effects as fx
from encchat.core.sealed.changes import Change
from encchat.core.sealed.formats import parse_certificate, parse_device_list
from encchat.core.sealed.identities import LocalIdentity
from encchat.core.sealed.keeper import MemoryStore
from encchat.core.sealed.vault import Vault
from encchat.messages import Entry, Position
from encchat.wire import advance, encode

KEY = bytes(range(32))
START = 1_750_000_000_000


@lru_cache(maxsize=64)
def identity(name: str) -> LocalIdentity:
    """The identity of a name: P-256, made once; an RSA one for names that begin with ``rsa``."""
    if name.startswith("rsa"):
        return LocalIdentity(rsa.generate_private_key(65537, 2048))
    return LocalIdentity(ec.generate_private_key(ec.SECP256R1()))


class Server:
    """Orders the logs, queues the mail, hands out the keys. It believes everybody."""

    def __init__(self) -> None:
        self.now = START
        self.logs: dict[str, list[Entry]] = {}
        self.lists: dict[str, bytes] = {}
        self.certificates: dict[str, dict[str, bytes]] = {}
        self.one_time: dict[str, list[bytes]] = {}
        self.fallback: dict[str, bytes] = {}
        self.mail: dict[str, list[tuple[int, str, str, bytes]]] = {}
        self.mail_seq = 0
        self.people: list[Person] = []

    def publish(self, person: Person, action: fx.Publish) -> int | None:
        """How many one-time keys the device has now; None if the list is not the next one."""
        if action.devices:
            known = self.lists.get(person.name)
            version = parse_device_list(action.devices).version
            if known and known != action.devices and version != parse_device_list(known).version + 1:
                return None
            self.lists[person.name] = action.devices
        if action.certificate:
            id = parse_certificate(action.certificate).device.id
            self.certificates.setdefault(person.name, {})[id] = action.certificate
            person.bound = id
        assert person.bound
        self.one_time.setdefault(person.bound, []).extend(action.one_time)
        if action.fallback:
            self.fallback[person.bound] = action.fallback
        self.mail.setdefault(person.bound, [])
        return len(self.one_time[person.bound])

    def devices(self, asker: Person, name: str) -> tuple[bytes, list[bytes]]:
        """The list and certificates of a name."""
        return self.lists.get(name, b""), list(self.certificates.get(name, {}).values())

    def claim(self, name: str, devices: tuple[str, ...]) -> list[bytes]:
        """One key for each device."""
        return [
            self.one_time[d].pop(0) if self.one_time.get(d) else self.fallback.get(d, b"") for d in devices
        ]

    def post(self, person: Person, parcel: fx.Parcel) -> None:
        """Queue a letter."""
        if parcel.device in self.mail:
            self.mail_seq += 1
            self.mail[parcel.device].append((self.mail_seq, person.name, person.bound, parcel.body))

    def append(self, person: Person, action: fx.Append | fx.Create) -> int | str:
        """The seq of the entry, or the code of the refusal."""
        create = isinstance(action, fx.Create)
        log = self.logs.setdefault(action.room, [])
        kind = "roster" if isinstance(action, fx.Create) else action.kind
        known = [e for e in log if (e.sender, e.msgid) == (person.name, action.msgid)]
        if known:
            return known[0].seq if known[0].body == action.body else "msgid-reused"
        last = max((e.seq for e in log if e.kind == "roster"), default=0)
        if create and log:
            return "room-exists"
        if isinstance(action, fx.Append) and action.roster != last:
            return "roster-changed"
        return self.put(action.room, person.name, person.bound, kind, action.msgid, action.body)

    def put(self, room: str, sender: str, device: str, kind: str, msgid: bytes, body: bytes) -> int:
        """Put anything into a log."""
        log = self.logs.setdefault(room, [])
        log.append(Entry(room, len(log) + 1, self.now, sender, device, kind, msgid, body))
        return len(log)

    def log_of(self, person: Person, room: str) -> list[Entry]:
        """The log as it is shown to one person."""
        return self.logs.get(room, [])


class Person:
    """A client of one device: it does what its vault asks for, at once unless it is ``offline``."""

    def __init__(
        self,
        server: Server,
        name: str,
        *,
        identity_: LocalIdentity | None = None,
        store: MemoryStore | None = None,
        vouches: Callable[[str, bytes, tuple[bytes, ...]], None] | None = None,
        seed: int = 0,
        online: bool = True,
    ) -> None:
        self.server = server
        self.name = name
        self.identity = identity_ or identity(name)
        self.store = store if store is not None else MemoryStore()
        self.vouches = vouches
        self.random = random.Random(f"{name}{seed}")
        self.rooms: set[str] = set()
        self.events: list[fx.Event] = []
        self.bound = ""
        self.online = False
        self.line: deque[fx.Action] = deque()
        self.busy = False
        server.people.append(self)
        self.start()
        if online:
            self.connect()

    def start(self) -> None:
        """A new process: nothing is known but the store."""
        self.vault = Vault(
            self.store,
            KEY,
            self.name,
            self.identity,
            self.random.randbytes,
            self.server.now,
            self.vouches,
        )

    def restart(self) -> None:
        """The process ends and begins again."""
        self.disconnect()
        self.start()
        self.connect()

    def connect(self) -> None:
        """Come online."""
        self.online = True
        self.do(self.vault.connected(self.server.now))

    def disconnect(self) -> None:
        """Go offline."""
        if self.online:
            self.online = False
            self.do(self.vault.disconnected(self.server.now))

    def do(self, outcome: fx.Outcome) -> None:
        """Carry out what a vault asked for, in order, and then what comes of it: answers come after all that
        was sent before them, as over a connection."""
        self.events.extend(outcome.events)
        self.line.extend(outcome.actions)
        if self.busy:
            return
        self.busy = True
        try:
            while self.line and self.online:
                self.act(self.line.popleft())
        finally:
            self.busy = False
            self.line.clear()

    def act(self, action: fx.Action) -> None:
        """Carry out one action."""
        server, vault, now = self.server, self.vault, self.server.now
        match action:
            case fx.Publish():
                left = server.publish(self, action)
                self.do(vault.not_published(now) if left is None else vault.published(left, now))
            case fx.AskDevices(name):
                listing, certificates = server.devices(self, name)
                if listing or certificates:
                    self.do(vault.devices(name, listing, certificates, now))
                else:
                    self.do(vault.no_devices(name, now))
            case fx.Claim(name, devices):
                self.do(vault.claimed(name, devices, server.claim(name, devices), now))
            case fx.Post(letters):
                for parcel in letters:
                    server.post(self, parcel)
            case fx.Append(room, msgid) | fx.Create(room, msgid):
                result = server.append(self, action)
                self.rooms.add(room)
                if isinstance(result, int):
                    self.do(vault.appended(msgid, result, now))
                else:
                    self.do(vault.refused(msgid, result, "the server says so", now))
            case fx.AckMail(seq):
                server.mail[self.bound] = [item for item in server.mail[self.bound] if item[0] > seq]

    # ------------------------------------------------------------------------------------- at hand

    def msgid(self) -> bytes:
        """The next msgid."""
        return self.random.randbytes(16)

    def fetch(self) -> None:
        """Take the mail."""
        while self.online and self.server.mail.get(self.bound):
            before = list(self.server.mail[self.bound])
            self.do(self.vault.mail(before, self.server.now))
            if self.server.mail[self.bound] == before:
                break

    def read(self, room: str) -> None:
        """Read on in a room."""
        self.rooms.add(room)
        at = self.vault.position(room)
        for entry in self.server.log_of(self, room)[at.seq :]:
            at = advance(at, [encode(entry)])
            self.do(self.vault.entry(entry, at.chain, self.server.now))
        self.do(self.vault.caught_up(room, self.server.now))

    def sync(self) -> None:
        """Take the mail and read on everywhere, as long as there is something."""
        if not self.online:
            return
        for _ in range(10):
            self.fetch()
            before = [self.vault.position(room) for room in sorted(self.rooms)]
            for room in sorted(self.rooms):
                self.read(room)
            if before == [self.vault.position(room) for room in sorted(self.rooms)]:
                break

    def say(self, room: str, text: str) -> bytes:
        """Say something in a room."""
        msgid = self.msgid()
        self.do(self.vault.send(room, msgid, "text", text.encode(), self.server.now))
        return msgid

    def change(self, room: str, **what: Any) -> bytes:
        """Change a room."""
        msgid = self.msgid()
        self.do(self.vault.change(room, msgid, Change(**what), self.server.now))
        return msgid

    def tick(self, seconds: float = 0) -> None:
        """Time passes."""
        self.server.now += int(seconds * 1000)
        self.do(self.vault.tick(self.server.now))

    def texts(self, room: str) -> dict[int, str]:
        """What was opened, by seq."""
        return {e.seq: e.body.decode() for e in self.of(fx.Opened) if e.room == room}

    def of(self, kind: type[Any]) -> list[Any]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    def codes(self, room: str) -> dict[int, str]:
        """What failed, by seq."""
        return {e.seq: e.code for e in self.of(fx.Failed) if e.room == room}


def sync(*people: Person) -> None:
    """Everybody reads until nothing is new."""
    for _ in range(2):
        for person in people:
            person.sync()


def room_of(server: Server, *people: Person, name: str = "#tea") -> str:
    """A room that the first one makes, and everybody has read."""
    people[0].change(name, create=True, add=tuple(person.name for person in people[1:]))
    for person in people:
        person.rooms.add(name)
    sync(*people)
    return name


def place(person: Person, room: str) -> Position:
    """How far somebody has read."""
    return person.vault.position(room)
