"""What sealed rooms cost: one message, the first message to many devices, a change of who is in.

    python -m bench.sealed [--messages N] [--json FILE]

``message`` is a text of 200 bytes, from what was typed to the bytes of the entry and back, with all checks,
pins and encrypted state (kept in memory: the disk is the store's), beside what vodozemac alone takes for the
same padded plaintext, in the same run. ``burst`` is the same with the entries read in one go, as a client
catches up. ``first`` is the first message to a room of 50 people's devices that were never met: identities,
device lists, certificates, one-time keys and Olm sessions are all new. ``rotation`` is the message after
somebody left a room of 200, with all Olm sessions there; ``roster`` is the change itself and reading it.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from vodozemac import GroupSession, InboundGroupSession, MegolmMessage

from encchat.core.sealed import effects as fx
from encchat.core.sealed.changes import Change
from encchat.core.sealed.identities import LocalIdentity
from encchat.core.sealed.keeper import MemoryStore
from encchat.core.sealed.vault import Vault
from encchat.messages import Entry, Position
from encchat.wire import advance, encode

KEY = bytes(32)
TEXT = b"x" * 200
NOW = 1_750_000_000_000


class Someone:
    """A vault with the tables of a server behind it."""

    directory: ClassVar[dict[str, tuple[bytes, bytes, str]]] = {}
    one_time: ClassVar[dict[str, list[bytes]]] = {}

    def __init__(self, name: str, identity: LocalIdentity) -> None:
        self.name = name
        self.vault = Vault(MemoryStore(), KEY, name, identity, os.urandom, NOW)
        self.actions: list[fx.Action] = []
        self.answer(self.vault.connected(NOW))

    def answer(self, outcome: fx.Outcome) -> None:
        """Do what the vault asks for; keep what goes into rooms and mailboxes."""
        for action in outcome.actions:
            match action:
                case fx.AskDevices(name) if name in self.directory:
                    listing, certificate, _ = self.directory[name]
                    self.answer(self.vault.devices(name, listing, [certificate], NOW))
                case fx.AskDevices(name):
                    self.answer(self.vault.no_devices(name, NOW))
                case fx.Publish():
                    if action.devices:
                        listed = (action.devices, action.certificate, self.vault.device)
                        self.directory[self.name] = listed
                    self.one_time.setdefault(self.vault.device, []).extend(action.one_time)
                    self.answer(self.vault.published(50, NOW))
                case fx.Claim(name, devices):
                    keys = [self.one_time[device].pop() for device in devices]
                    self.answer(self.vault.claimed(name, devices, keys, NOW))
                case _:
                    self.actions.append(action)


class Room:
    """The log of one room, in memory."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.position = Position()
        self.entries: list[tuple[Entry, bytes]] = []

    def take(self, who: Someone) -> None:
        """Append what somebody's vault wants appended."""
        for action in who.actions:
            if not isinstance(action, fx.Append | fx.Create):
                continue
            kind = action.kind if isinstance(action, fx.Append) else "roster"
            seq = self.position.seq + 1
            device = who.vault.device
            entry = Entry(self.name, seq, NOW, who.name, device, kind, action.msgid, action.body)
            self.position = advance(self.position, [encode(entry)])
            self.entries.append((entry, self.position.chain))
        who.actions.clear()

    def read(self, who: Someone) -> fx.Outcome:
        """Somebody reads on."""
        outcome = who.vault.entries(self.entries[who.vault.position(self.name).seq :], NOW)
        who.answer(outcome)
        who.answer(who.vault.caught_up(self.name, NOW))
        return outcome


def microseconds(work: Callable[[], object]) -> float:
    """The CPU time of ``work``, in microseconds: what else runs here makes little difference to it."""
    start = time.thread_time()
    work()
    return (time.thread_time() - start) * 1e6


def quick(times: list[float]) -> float:
    """What the quickest tenth takes at most: whatever else runs here only makes the others slower."""
    return sorted(times)[len(times) // 10]


def letters(sender: Someone, reader: Someone) -> None:
    """Deliver what one wrote to the other."""
    found = [
        parcel.body
        for action in sender.actions
        if isinstance(action, fx.Post)
        for parcel in action.letters
        if parcel.device == reader.vault.device
    ]
    mail = [(number, sender.name, sender.vault.device, body) for number, body in enumerate(found, 1)]
    reader.answer(reader.vault.mail(mail, NOW))


def message(count: int) -> dict[str, float]:
    """One message of 200 bytes, both ways, in microseconds: the quickest tenth of ``count``."""
    alice, bob = (
        Someone(name, LocalIdentity(ec.generate_private_key(ec.SECP256R1()))) for name in ("alice", "bob")
    )
    room = Room("#tea")
    alice.answer(alice.vault.change(room.name, os.urandom(16), Change(create=True, add=("bob",)), NOW))
    room.take(alice)
    room.read(alice)
    room.read(bob)
    sending: list[float] = []
    reading: list[float] = []

    outcomes: list[fx.Outcome] = []

    def say(msgid: bytes) -> None:
        outcomes.append(alice.vault.send(room.name, msgid, "text", TEXT, NOW))

    def said() -> None:
        alice.answer(outcomes.pop())
        letters(alice, bob)
        room.take(alice)
        alice.answer(alice.vault.entries(room.entries[-1:], NOW))

    group = GroupSession()
    inbound = InboundGroupSession(group.session_key)
    bare_sending: list[float] = []
    bare_reading: list[float] = []
    sealed: list[bytes] = []
    for _ in range(count):
        bare_sending.append(microseconds(lambda: sealed.append(group.encrypt(bytes(512)).to_bytes())))
        bare_reading.append(microseconds(lambda: inbound.decrypt(MegolmMessage.from_bytes(sealed[-1]))))
        msgid = os.urandom(16)
        sending.append(microseconds(lambda msgid=msgid: say(msgid)))  # type: ignore[misc]  # msgid is of now
        said()
        last = room.entries[-1:]
        reading.append(microseconds(lambda last=last: bob.vault.entries(last, NOW)))  # type: ignore[misc]  # last is of now
    for _ in range(count):
        say(os.urandom(16))
        said()
    burst = microseconds(lambda: room.read(bob)) / count
    return {
        "seal_us": quick(sending),
        "vodozemac_encrypt_us": quick(bare_sending),
        "open_us": quick(reading),
        "open_burst_us": burst,
        "vodozemac_decrypt_us": quick(bare_reading),
    }


def crowd(count: int, key: Callable[[], LocalIdentity]) -> tuple[Someone, list[str], Room]:
    """Alice in a room with ``count`` others whom she never wrote to."""
    Someone.directory.clear()
    names = [f"friend{number}" for number in range(count)]
    shared = key()  # whose key it is makes no difference to what it costs
    for name in names:
        Someone(name, shared)
    alice = Someone("alice", key())
    room = Room("#crowd")
    alice.answer(alice.vault.change(room.name, os.urandom(16), Change(create=True, add=tuple(names)), NOW))
    room.take(alice)
    room.read(alice)
    return alice, names, room


def first(count: int, key: Callable[[], LocalIdentity]) -> float:
    """Milliseconds from the first line to a room of ``count`` devices until all of it could be sent.

    The devices were asked for when the room was made: they are forgotten and asked for again, so that their
    lists and certificates are checked within the time that is measured.
    """
    alice, names, room = crowd(count, key)
    for name in names:
        alice.vault.contacts.outdate(name)
    say = alice.vault.send
    took = microseconds(lambda: alice.answer(say(room.name, os.urandom(16), "text", TEXT, NOW)))
    posted = sum(len(action.letters) for action in alice.actions if isinstance(action, fx.Post))
    assert posted == count, posted
    return took / 1000


def rotation(count: int) -> dict[str, float]:
    """Milliseconds, in a room of ``count``: a roster change, reading it, and the next message."""
    alice, names, room = crowd(count, lambda: LocalIdentity(ec.generate_private_key(ec.SECP256R1())))
    alice.answer(alice.vault.send(room.name, os.urandom(16), "text", TEXT, NOW))
    room.take(alice)
    room.read(alice)
    change = Change(remove=(names[0],))
    making = microseconds(lambda: alice.answer(alice.vault.change(room.name, os.urandom(16), change, NOW)))
    size = max(len(action.body) for action in alice.actions if isinstance(action, fx.Append))
    room.take(alice)
    reading = microseconds(lambda: room.read(alice))
    say = alice.vault.send
    took = microseconds(lambda: alice.answer(say(room.name, os.urandom(16), "text", TEXT, NOW)))
    again = microseconds(lambda: alice.answer(say(room.name, os.urandom(16), "text", TEXT, NOW)))
    return {
        "roster_bytes": size,
        "roster_make_ms": making / 1000,
        "roster_read_ms": reading / 1000,
        "first_after_ms": took / 1000,
        "next_us": again,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--messages", type=int, default=500)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    gc.freeze()  # as the client does once it has started
    result: dict[str, object] = {"message": message(min(arguments.messages, 5000))}
    result["first_50_p256_ms"] = first(50, lambda: LocalIdentity(ec.generate_private_key(ec.SECP256R1())))
    result["first_50_rsa3072_ms"] = first(50, lambda: LocalIdentity(rsa.generate_private_key(65537, 3072)))
    result["rotation_200"] = rotation(199)
    print(json.dumps(result, indent=2))
    if arguments.json:
        arguments.json.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
